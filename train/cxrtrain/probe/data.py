"""What a probe is asked: the images of the run's split, whose attribute and findings are known, and whose patients they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from numpy.typing import NDArray

from cxrdata.errors import CxrError
from cxrdata.splits.attributes import with_attributes
from cxrdata.splits.stored import open_split
from cxrtrain.bundle import KEY, Bundle, HeadTargets
from cxrtrain.choice import TEST
from cxrtrain.config import Experiment, HeadConfig
from cxrtrain.explain.question import group_order
from cxrtrain.pixels import stored
from cxrtrain.prepare import prepare

if TYPE_CHECKING:
    from cxrdata.store.catalog import Catalog
    from cxrtrain.run_folder import Run

ATTRIBUTE = "attribute"  # the name of the probe's head
FINDINGS = ("binary", "multilabel")


@dataclass(frozen=True)
class ProbeData:
    """bundle: of training, validation and test images. heads[0] is the attribute's, the others are the run's of findings.
    patients: (rows,) codes, an image without a patient its own. train, valid, test: rows, whether or not something is known."""

    bundle: Bundle
    experiment: Experiment
    patients: NDArray[np.int64]
    train: NDArray[np.int64]
    valid: NDArray[np.int64]
    test: NDArray[np.int64]

    @property
    def attribute(self) -> HeadTargets:
        return self.bundle.heads[0]

    @property
    def classes(self) -> NDArray[np.int64]:
        """(rows,) number of the attribute's class, -1 where not known."""
        values = self.bundle.targets(self.attribute)[:, 0]
        return np.where(np.isnan(values), -1, values).astype(np.int64)

    def known(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Those of some rows whose attribute is known."""
        return rows[self.classes[rows] >= 0]


def probe_data(
    catalog: Catalog,
    run: Run,
    attribute: str,
    folder: Path,
    *,
    split: str | None = None,
    classes: Sequence[str] = (),
    test: str = TEST,
    store: Path | None = None,
) -> ProbeData:
    """classes: the attribute's values in question; none named, all that training images have. split: None: the run's.
    folder: where the bundle is written. store: leave out the images that this one lacks.

    Raises CxrError: CXR-501 no such attribute, split or part, CXR-502 no split is named, CXR-152 the attribute, or a finding,
    has one value only.
    """
    name = split or run.experiment.data.split
    if name is None:
        raise CxrError("CXR-502", "nothing says on which split to probe", fix="--split NAME")
    head = HeadConfig(
        ATTRIBUTE, "classes", attribute=attribute, classes=tuple(classes) or _classes(catalog, run, attribute, name)
    )
    findings = tuple(one for one in run.experiment.heads if one.kind in FINDINGS)
    experiment = replace(
        run.experiment, heads=(head, *findings), data=replace(run.experiment.data, split=name, groups=())
    )
    bundle = prepare(catalog, experiment, folder)
    fold = tuple(run.about["fold"]) if run.about.get("fold") and split is None else None
    data = experiment.data
    rows = [bundle.rows(data.train, fold=fold), bundle.rows(data.valid, fold=fold), bundle.rows(test)]
    kept = np.zeros(len(bundle), dtype=np.bool_)
    kept[np.concatenate(rows)] = True
    if store is not None:
        kept &= stored(store, bundle)
        rows = [one[kept[one]] for one in rows]
    place = np.cumsum(kept) - 1
    narrowed = bundle.only(kept)
    return ProbeData(narrowed, experiment, patients_of(catalog, narrowed), *(place[one] for one in rows))


def _classes(catalog: Catalog, run: Run, attribute: str, split: str) -> tuple[str, ...]:
    """The values that training images of the run's datasets have, in the order of their scheme."""
    rows = pl.DataFrame(open_split(catalog, split)).filter(pl.col("split") == run.experiment.data.train)
    if run.experiment.data.datasets:
        rows = rows.filter(pl.col("dataset").is_in(run.experiment.data.datasets))
    values = with_attributes(catalog, rows.select(KEY), [attribute])[attribute].drop_nulls().unique().to_list()
    return tuple(group_order(catalog, attribute, values))


def patients_of(catalog: Catalog, bundle: Bundle) -> NDArray[np.int64]:
    """Codes of the patients of a bundle's rows."""
    keys = pl.DataFrame({name: getattr(bundle, name) for name in KEY})
    known = catalog.table("images").select(*KEY, "patient_id").collect()
    rows = keys.join(known, on=list(KEY), how="left", maintain_order="left")
    unit = pl.concat_str(
        "dataset", pl.coalesce(pl.lit("p:") + pl.col("patient_id"), pl.lit("i:") + pl.col("image_id")), separator=":"
    )
    return np.unique(rows.select(unit).to_series().to_numpy(), return_inverse=True)[1].astype(np.int64)
