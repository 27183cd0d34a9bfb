"""Annotating, step by step: find the key, look the images up, add columns, look the file over."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from cxrdata.annotate.additions import added_columns, joined
from cxrdata.annotate.annotation import Annotation
from cxrdata.annotate.checks import contents, splits
from cxrdata.annotate.facts import KEY, Facts
from cxrdata.annotate.key_column import KeyColumn, find_key_column
from cxrdata.annotate.tabular import as_frame, read_table
from cxrdata.errors import CxrError
from cxrdata.keys import KeyIndex, key_forms
from cxrdata.sources.base import Registry

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cxrdata.store.catalog import Catalog

_EXAMPLES = 5
_DATASET_COLUMN = "dataset"


def annotate_file(
    catalog: Catalog,
    path: str | Path,
    *,
    add: str | Sequence[str] | None = None,
    key: str | None = None,
    split: str | None = None,
) -> Annotation:
    """Annotate a CSV (gzipped or not; comma, semicolon, tab or bar) or Parquet file.

    add: columns to add (`additions.added_columns`); None: key, patient, age, sex, race, ethnicity, view and labels.
    key: the column with the image key; None: the one that the catalog knows best. split: the column whose values must
    not share patients; None: found by its name. The columns of a CSV stay text.

    Raises CxrError: those of `tabular.read_table`, CXR-501 unknown names, CXR-504 no image key.
    """
    frame, remarks = read_table(Path(path))
    return _annotate(catalog, frame, remarks, name=Path(path).name, add=add, key=key, split=split)


def annotate_frame(
    catalog: Catalog,
    frame: Any,  # noqa: ANN401
    *,
    add: str | Sequence[str] | None = None,
    key: str | None = None,
    split: str | None = None,
) -> Annotation:
    """Annotate a polars, pandas or Arrow table; arguments as for `annotate_file`.

    Raises CxrError: CXR-111 no rows, CXR-501 unknown names, CXR-502 no table, CXR-504 no image key.
    """
    return _annotate(catalog, as_frame(frame), [], name=None, add=add, key=key, split=split)


def _annotate(
    catalog: Catalog,
    frame: pl.DataFrame,
    remarks: list[str],
    *,
    name: str | None,
    add: str | Sequence[str] | None,
    key: str | None,
    split: str | None,
) -> Annotation:
    if frame.is_empty():
        raise CxrError("CXR-111", "there are no rows to annotate", where=name, fix="give a table with rows")
    found = find_key_column(
        frame,
        KeyIndex.of(catalog.table("images"), key_forms(catalog.manifest)),
        key=key,
        datasets=stated_datasets(frame),
    )
    facts = Facts(catalog, found.resolved.select(KEY))
    annotated, added = joined(frame, added_columns(facts, add))
    split_summary, leaks = splits(facts, frame, split)
    summary = {
        "file": name,
        "build": catalog.build.build_id,
        "rows": frame.height,
        "key": _key(found),
        "matched": _matched(facts),
        "unmatched": _unmatched(frame[found.column], found),
        "shared_images": _shared_images(facts),
        "split": split_summary,
        "children": _children(facts),
        **contents(facts, frame.drop(found.column)),
        "added": added,
        "remarks": remarks,
    }
    return Annotation(annotated, summary, leaks)


def stated_datasets(frame: pl.DataFrame) -> pl.Series | None:
    """The dataset of each row, where a column `dataset` holds nothing but dataset names or aliases."""
    if _DATASET_COLUMN not in frame.columns or frame[_DATASET_COLUMN].dtype != pl.String:
        return None
    names = Registry().by_alias
    given = frame[_DATASET_COLUMN].str.strip_chars()
    return given.replace_strict(names, default=None) if set(given.drop_nulls().unique()) <= set(names) else None


def _key(found: KeyColumn) -> dict[str, Any]:
    rivals = [
        {"column": rival.column, "matched": rival.matched, "differing": rival.differing} for rival in found.rivals
    ]
    return {"column": found.column, "matched": found.matched, "rivals": rivals}


def _matched(facts: Facts) -> dict[str, Any]:
    images = facts.images.drop_nulls("image_id")
    by_dataset = images.group_by("dataset").agg(
        rows=pl.len(),
        images=pl.col("image_id").n_unique(),
        patients=pl.col("patient_id").drop_nulls().n_unique(),
    )
    ordered = [row for dataset in facts.datasets for row in by_dataset.filter(pl.col("dataset") == dataset).to_dicts()]
    return {
        "rows": images.height,
        "images": sum(row["images"] for row in ordered),
        "patients": sum(row["patients"] for row in ordered),
        "by_dataset": ordered,
    }


def _unmatched(values: pl.Series, found: KeyColumn) -> dict[str, Any]:
    rows = found.resolved.with_columns(row=pl.int_range(1, pl.len() + 1), value=values.cast(pl.String)).filter(
        pl.col("reason").is_not_null()
    )
    groups = rows.group_by("reason", "form").agg(
        n=pl.len(), examples=pl.struct("row", "value").sort_by("row").head(_EXAMPLES)
    )
    by_reason = [
        {"reason": reason, "form": form, "rows": n, "examples": examples}
        for reason, form, n, examples in groups.sort(
            ["n", "reason", "form"], descending=[True, False, False]
        ).iter_rows()
    ]
    return {"rows": rows.height, "by_reason": by_reason}


def _shared_images(facts: Facts) -> dict[str, Any]:
    """Images that several rows name: repeats, or several statements about one image."""
    rows = facts.keys.with_columns(row=pl.int_range(1, pl.len() + 1)).drop_nulls("image_id")
    shared = (
        rows.group_by(KEY)
        .agg(n=pl.len(), rows=pl.col("row").sort().head(_EXAMPLES))
        .filter(pl.col("n") > 1)
        .sort(pl.col("rows").list.first())
    )
    named = shared.head(_EXAMPLES).select(pl.format("{}:{}", "dataset", "image_id").alias("image"), "rows").to_dicts()
    return {"images": shared.height, "rows": int(shared["n"].sum()), "examples": named}


def _children(facts: Facts) -> dict[str, int]:
    """Images of children: certain, possible (the age's precision leaves both sides of 18 open), and of unknown age."""
    images = facts.images.drop_nulls("image_id").unique(KEY)
    unknown = pl.col("age_low_years").is_null()
    certain = pl.col("age_group") == "pediatric"
    possible = pl.col("age_group").is_null() & ~unknown
    n_certain, n_possible, n_unknown = images.select(
        certain=certain.sum(), possible=possible.sum(), unknown=unknown.sum()
    ).row(0)
    return {"certain": n_certain, "possible": n_possible, "age_unknown": n_unknown}
