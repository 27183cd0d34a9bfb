"""A split of the catalog drawn anew: what `cxrdata resample` does, and what a recipe of such a split repeats."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Self

import polars as pl

from cxrdata.errors import CxrError, nearest
from cxrdata.splits.attributes import with_attributes
from cxrdata.splits.cohorts import parse_cohort
from cxrdata.splits.groups import compared
from cxrdata.splits.make import MadeSplit, finished
from cxrdata.splits.recipe import RESAMPLE
from cxrdata.splits.resample import Resampled, resample
from cxrdata.splits.stored import read_split, read_split_manifest, split_names

if TYPE_CHECKING:
    from cxrdata.store.catalog import Catalog


@dataclass(frozen=True, kw_only=True)
class ResampleRequest:
    """All that a resampled split depends on beside the split that it is drawn from.

    split: the part that is drawn from; groups: which of the `balance` attributes' groups take part, as in a balanced split
    (none named: every category but Other and Multiple with at least 2 % of the part's images); `balance`, `match`, `factor`, `seed`, `exact` as `resample` takes them; policy: how
    labels are read where they are attributes.
    """

    split: str = "test"
    balance: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    match: tuple[str, ...] = ()
    factor: float = 3.0
    seed: int = 0
    exact: bool = False
    policy: str = "ignore"

    def arguments(self) -> dict[str, Any]:
        """Every wish, as JSON can hold it."""
        wishes = {one.name: getattr(self, one.name) for one in fields(self)}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in wishes.items()}

    @classmethod
    def from_arguments(cls, arguments: Mapping[str, Any]) -> Self:
        """The request of a manifest or recipe. Raises CxrError CXR-502 for arguments that this version does not know."""
        known = [one.name for one in fields(cls)]
        for name in arguments:
            if name not in known:
                problem = f"the resampling has an argument {name!r} that this version of cxrdata does not know"
                raise CxrError("CXR-502", problem + nearest(name, known), fix="use the version that the manifest names")
        values: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in arguments.items()
        }
        return cls(**values)

    def default_name(self, of: str) -> str:
        """What the new split is called where nobody names it."""
        return f"{of}-{self.split}-resampled" + ("-exactly" if self.exact else "")


def the_split(catalog: Catalog, name: str | None) -> str:
    """The split that is meant: the named one, or the only one that is not itself resampled.

    Raises CxrError CXR-502 where that is not clear.
    """
    if name is not None:
        return name
    known = [one for one in split_names(catalog) if RESAMPLE not in read_split_manifest(catalog, one)["arguments"]]
    if len(known) == 1:
        return known[0]
    if not known:
        raise CxrError("CXR-502", "the catalog has no split to resample", fix="make one first, such as `cxrdata split`")
    problem = f"the catalog has {len(known)} splits, and none is named"
    raise CxrError("CXR-502", problem, fix=f"name one of {', '.join(known)}: cxrdata resample {known[0]} …")


def resample_split(catalog: Catalog, name: str, request: ResampleRequest) -> tuple[MadeSplit, Resampled]:
    """One part of a stored split drawn anew, ready to be stored under another name.

    Raises CxrError: CXR-501 no such split or part, and those of `resample`.
    """
    manifest = read_split_manifest(catalog, name)
    return resample_frame(catalog, read_split(catalog, name), manifest, request)


def resample_frame(
    catalog: Catalog, frame: pl.DataFrame, manifest: Mapping[str, Any], request: ResampleRequest
) -> tuple[MadeSplit, Resampled]:
    """One part of a split drawn anew. frame, manifest: the split's. Its arguments stay in the manifest, so that a recipe
    makes it first and then draws again."""
    subsets = frame["split"].unique().sort().to_list()
    if request.split not in subsets:
        problem = f"the split has no part {request.split!r}{nearest(request.split, subsets)}"
        raise CxrError("CXR-501", problem, fix=f"parts: {', '.join(subsets)}")
    rows = with_attributes(
        catalog, frame.filter(split=request.split), [*request.balance, *request.match], policy=request.policy
    )
    parts, too_few = compared(rows.sort("dataset", "image_id"), request.balance, request.groups)
    resampled = resample(
        pl.concat([part.rows.drop("cell") for part in parts]),
        balance=request.balance,
        match=request.match,
        factor=request.factor,
        seed=request.seed,
        exact=request.exact,
    )
    said = manifest.get("cohort")
    made = finished(
        catalog,
        resampled.rows,
        {**manifest["arguments"], RESAMPLE: request.arguments()},
        None if said is None else parse_cohort(said["text"], name=said["name"]),
        resample=resampled.report(),
    )
    made.manifest["left_out"] = [*too_few, *resampled.left_out.to_dicts()]
    made.manifest["notes"] = [*resampled.notes, *made.manifest["notes"]]
    return made, resampled
