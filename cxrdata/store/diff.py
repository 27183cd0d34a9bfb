"""What changed between two builds: rows by key, harmonised values, label states."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from cxrdata.errors import CxrError, nearest
from cxrdata.schemas.names import states_name
from cxrdata.schemas.tables import BOXES, IMAGES, PATIENTS, STUDIES, Table
from cxrdata.store.builds import list_builds
from cxrdata.store.catalog import Catalog
from cxrdata.store.layout import CatalogFolder

EXAMPLES = 5
_TABLES = (IMAGES, PATIENTS, STUDIES, BOXES)
# Columns whose changes are told, by table; other columns may change without a row.
_COMPARED = {
    IMAGES.name: ("age_years", "age_flag", "sex", "view", "race", "ethnicity", "source_split"),
    PATIENTS.name: ("sex", "race", "ethnicity"),
}
_STATES = {1: "positive", 0: "negative", -1: "uncertain", -2: "unmentioned", -3: "negative by silence"}
_NOT_ASSESSED = "not assessed"
_SUMMARY_SCHEMA = {"dataset": pl.String, "what": pl.String, "n": pl.Int64}
_EXAMPLE_SCHEMA = {"dataset": pl.String, "what": pl.String, "key": pl.String, "old": pl.String, "new": pl.String}


@dataclass
class Difference:
    """`summary`: dataset, what, n. `examples`: dataset, what, key, old, new; at most five of each, the first by key."""

    _summary: list[tuple[str, str, int]] = field(default_factory=list)
    _examples: list[pl.DataFrame] = field(default_factory=list)

    @property
    def summary(self) -> pl.DataFrame:
        return pl.DataFrame(self._summary, schema=_SUMMARY_SCHEMA, orient="row")

    @property
    def examples(self) -> pl.DataFrame:
        return pl.concat(self._examples) if self._examples else pl.DataFrame(schema=_EXAMPLE_SCHEMA)

    def note(self, dataset: str, what: str, n: int, rows: pl.DataFrame) -> None:
        """Count one kind of change; `rows` are examples of it (key, and old or new as far as they mean something)."""
        if not n:
            return
        self._summary.append((dataset, what, n))
        columns = {
            name: (pl.col(name) if name in rows.columns else pl.lit(None)).cast(pl.String)
            for name in ("key", "old", "new")
        }
        self._examples.append(rows.head(EXAMPLES).select(dataset=pl.lit(dataset), what=pl.lit(what), **columns))


def open_either(text: str, folder: CatalogFolder) -> Catalog:
    """The catalog of a build id (of `folder`) or of a catalog folder. Raises CxrError CXR-501."""
    if folder.build(text).manifest.is_file():
        return Catalog(folder.path, build_id=text)
    if Path(text).is_dir():
        return Catalog(Path(text))
    known = sorted(path.name for path in folder.builds.glob("[0-9a-f]*"))
    raise CxrError(
        "CXR-501",
        f"{text!r} is neither a build nor a catalog folder{nearest(text, known)}",
        fix="`cxrdata builds list` shows the builds",
    )


def two_builds(folder: CatalogFolder, old: str | None = None) -> tuple[str, str]:
    """What is compared where not both are named: `old` with the current build, or without it the two newest builds.

    Raises CxrError: CXR-502 where there is only one build, CXR-601 no catalog.
    """
    current = folder.require_build().build_id
    if old is not None:
        return old, current
    newest = list_builds(folder)["build_id"].head(2).to_list()
    if len(newest) < 2:
        raise CxrError(
            "CXR-502",
            f"there is only one build, {current}: nothing to compare it with",
            fix="build again after a change, or name another catalog's folder: `cxrdata diff OTHER-CATALOG`",
        )
    return newest[1], newest[0]


def diff(old: Catalog, new: Catalog) -> Difference:
    """Rows added and removed by dataset and table (images, patients, studies, boxes); changed ages, sexes, views, races,
    ethnicities and official splits of the images and patients in both; changed label states of the images in both, by labeler
    and native label."""
    result = Difference()
    for dataset in sorted({*old.manifest["datasets"], *new.manifest["datasets"]}):
        for table in _TABLES:
            _rows(result, dataset, table, _part(old, table.name, dataset), _part(new, table.name, dataset))
        _labels(result, dataset, old, new)
    return result


def _part(catalog: Catalog, table: str, dataset: str) -> pl.LazyFrame | None:
    """One dataset's rows of a table, or None where the build has none."""
    for entry in catalog.manifest["tables"]:
        if entry["schema"] == "main" and entry["table"] == table and entry["dataset"] == dataset:
            return pl.scan_parquet(catalog.build.path / entry["path"], hive_partitioning=False)
    return None


def _rows(result: Difference, dataset: str, table: Table, old: pl.LazyFrame | None, new: pl.LazyFrame | None) -> None:
    keys = [name for name in table.key if name != "dataset"]
    compared = _COMPARED.get(table.name, ())
    empty = table.empty().lazy()
    # Boxes may stand twice: the n-th of equal rows is compared with the n-th.
    frames = [
        (part if part is not None else empty)
        .select(*keys, *compared, pl.int_range(pl.len()).over(keys).alias("_nth"))
        .collect()
        for part in (old, new)
    ]
    for what, one, other in (("removed", frames[0], frames[1]), ("added", frames[1], frames[0])):
        rows = one.join(other, on=[*keys, "_nth"], how="anti", nulls_equal=True, maintain_order="left")
        result.note(dataset, f"{table.name} {what}", rows.height, rows.head(EXAMPLES).select(key=_key(keys)))
    if not compared:
        return
    both = frames[0].join(
        frames[1], on=[*keys, "_nth"], how="inner", suffix="_new", nulls_equal=True, maintain_order="left"
    )
    for name in compared:
        rows = both.filter(pl.col(name).ne_missing(pl.col(f"{name}_new")))
        result.note(
            dataset,
            f"{table.name}: {name} changed",
            rows.height,
            rows.head(EXAMPLES).select(key=_key(keys), old=pl.col(name), new=pl.col(f"{name}_new")),
        )


def _key(names: list[str]) -> pl.Expr:
    return pl.concat_str([pl.col(name).cast(pl.String).fill_null("") for name in names], separator=" ")


def _labels(result: Difference, dataset: str, old: Catalog, new: Catalog) -> None:
    labelers = [[labeler for labeler, _ in catalog.manifest["labelers"].get(dataset, ())] for catalog in (old, new)]
    for labeler in sorted({*labelers[0], *labelers[1]}):
        before, after = (_part(catalog, states_name(dataset, labeler), dataset) for catalog in (old, new))
        for what, one, other in (("removed", before, after), ("added", after, before)):
            if one is not None and other is None:
                images = one.select(key="image_id").collect()
                result.note(dataset, f"labeler {labeler} {what}", images.height, images)
        if before is not None and after is not None:
            _states(result, dataset, labeler, before.collect(), after.collect())


def _states(result: Difference, dataset: str, labeler: str, before: pl.DataFrame, after: pl.DataFrame) -> None:
    """Two wide tables of one labeler, column by column on the images in both."""
    if not before["image_id"].equals(after["image_id"]):
        for what, one, other in (("no longer assessed", before, after), ("newly assessed", after, before)):
            rows = one.join(other, on="image_id", how="anti", maintain_order="left").select(key="image_id")
            result.note(dataset, f"{labeler}: images {what}", rows.height, rows)
        after = before.select("image_id").join(after, on="image_id", how="inner", maintain_order="left")
        before = before.join(after, on="image_id", how="semi", maintain_order="left")
    native = [[name for name in frame.columns if name not in ("image_id", "closed_world")] for frame in (before, after)]
    for what, names, others in (("removed", native[0], native[1]), ("added", native[1], native[0])):
        for label in (name for name in names if name not in others):
            result.note(
                dataset, f"{labeler}: label {label} {what}", before.height, pl.DataFrame(schema={"key": pl.String})
            )
    for label in (name for name in native[0] if name in native[1]):
        for transition, changed in _changes(before["image_id"], before[label], after[label]):
            result.note(dataset, f"{labeler} {label}: {transition}", changed.height, changed)


def _changes(images: pl.Series, before: pl.Series, after: pl.Series) -> Iterator[tuple[str, pl.DataFrame]]:
    """Transitions of one label (`positive to negative`) with the images that made them."""
    differs = before.ne_missing(after)
    if not differs.any():
        return
    words = pl.col("old", "new").replace_strict(_STATES, return_dtype=pl.String, default=None).fill_null(_NOT_ASSESSED)
    rows = pl.DataFrame({"key": images, "old": before, "new": after}).filter(differs).with_columns(words)
    for (was, becomes), part in rows.sort("old", "new", "key").group_by("old", "new", maintain_order=True):
        yield f"{was} to {becomes}", part
