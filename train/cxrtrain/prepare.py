"""From a split of a catalog to a bundle: what `cxrdata train --prepare` writes. Runs where the catalog is, with polars."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from cxrdata.errors import CxrError, nearest
from cxrdata.splits.attributes import with_attributes
from cxrdata.splits.members import known_datasets
from cxrdata.splits.stored import open_split, split_names, told
from cxrdata.wording import counted
from cxrtrain.bundle import KEY, Bundle, scale_of, write_bundle
from cxrtrain.targets import Targets, targets_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cxrdata.splits.stored import Split
    from cxrdata.store.catalog import Catalog
    from cxrtrain.bundle import HeadTargets
    from cxrtrain.config import DataConfig, Experiment

# What a stored split may say of a row, as the bundle holds it.
_SAID = {"fold": pl.Int64, "n_draws": pl.Int64, "weight": pl.Float64}
_OTHER_DATASET = "of a dataset that the experiment does not ask for"
PREDICT = "predict"  # the part of images that stand in no split


def prepare(catalog: Catalog, experiment: Experiment, folder: Path, *, split: str | None = None) -> Bundle:
    """Write the bundle of an experiment: the images of its split (or of `split`) that have a known target of a head.

    bundle.json counts the images by part and target and those that were left out, by reason; nothing in it depends on
    where the catalog lies.

    Raises CxrError: CXR-501 no such split, part, finding, attribute, labeler or dataset; CXR-502 no split is named;
    CXR-152 nothing to learn in the training or validation part; those of `write_bundle`.
    """
    data = experiment.data
    name = split or data.split
    if name is None:
        raise CxrError("CXR-502", "the experiment names no split", where=experiment.name, fix="add --split NAME")
    stored = opened_split(catalog, name, data)
    rows = _rows(stored)
    asked = _of_datasets(catalog, rows, data.datasets)
    targets = [targets_of(catalog, asked, head) for head in experiment.heads]
    kept, left_out = _with_targets(asked, targets)
    if rows.height > asked.height:
        left_out[_OTHER_DATASET] = rows.height - asked.height
    heads = [_scaled(kept, target.head, data) for target in targets]
    for head in heads:
        _check(kept, head, data, name)
    kept, groups = _grouped(catalog, kept, data.groups)
    return write_bundle(
        folder,
        _ordered(kept, [column for head in heads for column in head.columns]).to_arrow(),
        heads=heads,
        experiment=experiment.name,
        train=data.train,
        valid=data.valid,
        groups=groups,
        group_attributes=list(data.groups),
        counts=_counts(kept, heads),
        images_of_split=rows.height,
        left_out=[{"reason": reason, "images": n} for reason, n in sorted(left_out.items())],
        **_origin(catalog, kept, name, stored),
    )


def bundle_of_split(catalog: Catalog, said: str, folder: Path, *, datasets: Sequence[str] = ()) -> Bundle:
    """Write a bundle for prediction alone: every image of a split, or with `NAME:PART` of one of its parts, known targets or
    not; it has no heads.

    Raises CxrError CXR-501 for a split, part or dataset that there is not, CXR-507 where no image is left.
    """
    name, _, part = said.partition(":")
    stored = open_split(catalog, name)
    rows = _of_datasets(catalog, _rows(stored), datasets)
    if part:
        known = rows["part"].unique().sort().to_list()
        if part not in known:
            raise CxrError(
                "CXR-501",
                f"the split {name} has no part {part!r}{nearest(part, known)}",
                fix=f"parts: {', '.join(known)}",
            )
        rows = rows.filter(part=part)
    return bundle_of_frame(rows, folder, **_origin(catalog, rows, name, stored))


def bundle_of_frame(frame: pl.DataFrame, folder: Path, **about: Any) -> Bundle:  # noqa: ANN401
    """Write a bundle for prediction alone, of any images: dataset, image_id, and if it is there `part`. Each image stands in it
    once. about: what else bundle.json is to tell. Raises CxrError CXR-507 where there are no images.
    """
    if frame.is_empty():
        raise CxrError("CXR-507", "there is no image to predict", fix="name a split, part or dataset that has images")
    rows = frame if "part" in frame.columns else frame.with_columns(part=pl.lit(PREDICT))
    rows = rows.unique([*KEY], keep="first", maintain_order=True).with_columns(group=pl.lit(None, pl.Int32))
    plain: dict[str, Any] = {"train": "train", "valid": "valid", "groups": [], "group_attributes": [], "left_out": []}
    return write_bundle(
        folder, _ordered(rows, []).to_arrow(), heads=(), **(plain | {"counts": _counts(rows, [])} | about)
    )


def opened_split(catalog: Catalog, name: str, data: DataConfig) -> Split:
    """The split. Where the experiment's own is missing, the fix is the command that makes it."""
    if data.made_by and name in data.made_by.split() and name not in split_names(catalog):
        raise CxrError("CXR-501", f"the catalog has no split {name!r} yet", fix=f"make it: {data.made_by}")
    stored = open_split(catalog, name)
    known = stored["split"].unique().sort().to_list()
    folds = "fold" in stored.columns and stored["fold"].null_count() < stored.height
    for part in (data.train,) if folds else (data.train, data.valid):  # with folds, one of them is the validation
        if part not in known:
            raise CxrError(
                "CXR-501",
                f"the split {name} has no part {part!r}{nearest(part, known)}",
                fix=f"parts: {', '.join(known)}; say which with --set data.train=… and --set data.valid=…",
            )
    return stored


def _rows(stored: Split) -> pl.DataFrame:
    """dataset, image_id, part and what else the split says of a row."""
    said = [pl.col(name).cast(kind) for name, kind in _SAID.items() if name in stored.columns]
    return pl.DataFrame(stored).select(*KEY, pl.col("split").alias("part"), *said).sort(KEY)


def _of_datasets(catalog: Catalog, rows: pl.DataFrame, datasets: Sequence[str]) -> pl.DataFrame:
    return rows.filter(pl.col("dataset").is_in(known_datasets(catalog, datasets))) if datasets else rows


def _with_targets(rows: pl.DataFrame, targets: Sequence[Targets]) -> tuple[pl.DataFrame, dict[str, int]]:
    """The rows of which some target is known, with the targets; and how many others there are, by reason."""
    several = len(targets) > 1
    reasons = pl.select(
        pl.concat_str(
            [pl.lit(f"{target.head.name}: " if several else "") + target.reasons for target in targets], separator="; "
        ).alias("reason")
    ).to_series()  # null where one of them is
    whole = rows.hstack([column for target in targets for column in target.frame])
    counts = reasons.drop_nulls().value_counts().iter_rows()
    return whole.filter(reasons.is_null()), {str(reason): int(n) for reason, n in counts}


def _grouped(catalog: Catalog, rows: pl.DataFrame, attributes: Sequence[str]) -> tuple[pl.DataFrame, list[str]]:
    """The rows with the number of their group, null where one of its attributes is not known; and the groups' names."""
    if not attributes:
        return rows.with_columns(group=pl.lit(None, pl.Int32)), []
    known = with_attributes(catalog, rows.select(KEY), attributes)
    name = pl.concat_str([pl.lit(f"{one}=") + pl.col(one) for one in attributes], separator=", ")
    said = known.select(name.alias("group")).to_series()
    names = said.drop_nulls().unique().sort().to_list()
    places = {one: place for place, one in enumerate(names)}
    return rows.with_columns(said.replace_strict(places, default=None, return_dtype=pl.Int32).alias("group")), names


def _ordered(rows: pl.DataFrame, targets: Sequence[str]) -> pl.DataFrame:
    """The columns of rows.parquet, by key."""
    missing = [pl.lit(None, kind).alias(name) for name, kind in _SAID.items() if name not in rows.columns]
    return rows.with_columns(missing).select(*KEY, "part", *_SAID, "group", *targets).sort(KEY)


@dataclass(frozen=True)
class _Place:
    """A part of the split in which a head learns or is validated: its name for people, and its rows."""

    said: str
    rows: pl.DataFrame


def _learnt_from(rows: pl.DataFrame, data: DataConfig) -> list[_Place]:
    """Training and validation. With folds they are one: what each fold leaves to be learnt from, training itself checks."""
    if "fold" in rows.columns and rows["fold"].null_count() < rows.height:
        return [_Place("all folds", rows.filter(pl.col("fold").is_not_null()))]
    return [_Place(part, rows.filter(part=part)) for part in (data.train, data.valid)]


def _scaled(rows: pl.DataFrame, head: HeadTargets, data: DataConfig) -> HeadTargets:
    """With the scale of a number over the training part, each image once; training takes it anew for a fold."""
    learnt = rows.filter(part=data.train)[head.columns[0]].drop_nulls().to_list() if head.kind == "regression" else []
    if not learnt:
        return head
    mean, sd = scale_of(learnt)
    return replace(head, mean=mean, sd=sd)


def _check(rows: pl.DataFrame, head: HeadTargets, data: DataConfig, split: str) -> None:
    """Raise CxrError CXR-152 if a part that is learnt from holds no target of a head, or one value only."""
    for place in _learnt_from(rows, data):
        counts = {name: place.rows[column].drop_nulls() for name, column in _named(head)}
        if any(values.n_unique() > 1 for values in counts.values()):
            continue
        if all(values.is_empty() for values in counts.values()):
            problem = f"{split}, {place.said}: no image has a known target of head {head.name!r}"
        else:
            said = "; ".join(_told(head, name, values) for name, values in counts.items())
            problem = f"{split}, {place.said}: head {head.name!r} has one value only: {said}"
        fix = "make another split, with more or other images"
        if head.kind in {"binary", "multilabel"}:
            fix += f", or read the labels otherwise, such as --set heads.{head.name}.policy=zeros"
        raise CxrError("CXR-152", problem, where=f"splits/{split}", fix=fix)


def _named(head: HeadTargets) -> list[tuple[str, str]]:
    """Name and column of each target."""
    return (
        list(zip(head.outputs, head.columns, strict=True)) if len(head.columns) > 1 else [(head.name, head.columns[0])]
    )


def _told(head: HeadTargets, name: str, values: pl.Series) -> str:
    """`cardiomegaly 0 positive, 12 negative`; `12 images of class White`; `12 images of age_years 50`."""
    if values.is_empty():
        return f"{name} 0 known"
    first = values[0]
    if head.kind == "classes":
        return f"{counted(len(values), 'image')} of class {head.outputs[first]}"
    if head.kind == "regression":
        return f"{counted(len(values), 'image')} of {head.outputs[0]} {first:g}"
    positive = int((values == 1).sum())
    return f"{name} {positive:,} positive, {len(values) - positive:,} negative"


def _counts(rows: pl.DataFrame, heads: Sequence[HeadTargets]) -> list[dict[str, Any]]:
    """For people, by part: images, and of each target of each head how many are of which value, or known."""
    counts: list[dict[str, Any]] = []
    for part in rows["part"].unique().sort().to_list():
        here = rows.filter(part=part)
        targets = {head.name: {name: _values(head, here[column]) for name, column in _named(head)} for head in heads}
        counts.append({"part": part, "images": here.height, "targets": targets})
    return counts


def _values(head: HeadTargets, column: pl.Series) -> Mapping[str, int]:
    unknown = column.null_count()
    if head.kind == "regression":
        return {"known": len(column) - unknown, "unknown": unknown}
    names = dict(enumerate(head.outputs if head.kind == "classes" else ("negative", "positive")))
    return {name: int((column == value).sum()) for value, name in names.items()} | {"unknown": unknown}


def _origin(catalog: Catalog, rows: pl.DataFrame, name: str, stored: Split) -> dict[str, Any]:
    """Where the rows come from, and the terms that hold for them."""
    assert stored.manifest is not None
    datasets = rows["dataset"].unique().sort().to_list()
    table = catalog.table("datasets").select("dataset", "licence").collect()
    licences = dict(table.iter_rows())
    return {
        "catalog_build": catalog.build.build_id,
        "split": {
            "name": name,
            "rows_sha256": stored.manifest["rows_sha256"],
            "made_with": told(stored.manifest["arguments"]),
            "catalog_build": stored.manifest["catalog_build"],
        },
        "terms": {one: licences[one] for one in datasets},
        "synthetic": [one for one in catalog.manifest["synthetic"] if one in datasets],
    }
