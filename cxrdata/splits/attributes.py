"""Attributes that a split can be balanced, stratified or matched by, for any images of a catalog.

An attribute is named as on the command line: a column of `images` (`race`, `sex`, `view`, `manufacturer`, …);
`age_group:SCHEME`; one of these with a value, `race=White`, or `age_years>60` (`binary`); a canonical finding, read under a
label policy; `healthy`; `disease`, the three classes of Glocker et al. 2023. Its values are text; null is unknown, not
assessed, or left open by the policy.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import polars as pl

from cxrdata.errors import CxrError, nearest
from cxrdata.harmonise.age import age_group_in
from cxrdata.splits.binary import Binary

if TYPE_CHECKING:
    from cxrdata.store.catalog import Catalog

SCHEME = "age_group:"
DISEASE = "disease"
HEALTHY = "healthy"
POLICY = "ignore"
KEYS = ("dataset", "image_id")
# Measures take nearly as many values as there are images: they are no groups.
_NO_GROUPS = (
    "image_id", "path", "source_row", "age_years", "age_low_years", "age_high_years", "age_raw", "study_date", "pixel_spacing_row_mm",
    "pixel_spacing_column_mm", "patient_size_m", "patient_weight_kg", "image_uid", "patient_id", "study_id",
)  # fmt: skip
_DISEASE_SQL = "CASE WHEN labeler IS NULL THEN NULL WHEN pleural_effusion = 1 THEN 'Pleural Effusion' WHEN no_finding = 1 THEN 'No Finding' ELSE 'Other' END"
_STATES = {1: "positive", 0: "negative", -1: "uncertain"}


def check_attributes(catalog: Catalog, names: Sequence[str]) -> None:
    """Raise CxrError CXR-501 for the first name that is no attribute, with the nearest ones."""
    columns = image_columns(catalog)
    findings = _findings(catalog)
    schemes = _schemes(catalog)
    of_images = [*columns, *(SCHEME + scheme for scheme in schemes)]
    known = [*of_images, *findings, HEALTHY, DISEASE]
    for name in names:
        if name not in known:
            if (binary := Binary.parse(name)) is not None and (binary.above is not None or binary.of in of_images):
                _check_value(catalog, binary)
                continue
            fix = (
                "a column of images (`cxrdata describe images`), a finding, healthy, disease, or age_group:SCHEME with SCHEME one of "
                f"{', '.join(schemes)}; of two values: race=White, age_years>60"
            )
            if name in _NO_GROUPS:
                raise CxrError(
                    "CXR-501", f"{name!r} takes a value of its own for nearly every image; it makes no groups", fix=fix
                )
            raise CxrError("CXR-501", f"there is no attribute {name!r}{nearest(name, known)}", fix=fix)


def _check_value(catalog: Catalog, binary: Binary) -> None:
    """Raise CxrError CXR-501 where no image has the value."""
    if binary.above is None:
        values = _from_images(catalog, [binary.of]).select(pl.col(binary.of).drop_nulls().unique().sort())
        known = values.collect()[binary.of].to_list()
        if binary.values[0] not in known:
            raise CxrError(
                "CXR-501",
                f"no image has {binary.of} {binary.values[0]!r}{nearest(binary.values[0], known)}",
                where=binary.name,
                fix=f"values here: {', '.join(known) or 'none, it is null throughout'}",
            )


def image_columns(catalog: Catalog) -> list[str]:
    """Columns of `images` that make groups."""
    return [name for name in catalog.table("images").collect_schema().names() if name not in _NO_GROUPS]


def is_finding(catalog: Catalog, name: str) -> bool:
    """Whether an attribute is a label."""
    return name in _findings(catalog)


def with_attributes(
    catalog: Catalog, rows: pl.DataFrame, names: Sequence[str], *, policy: str = POLICY, labeler: str | None = None
) -> pl.DataFrame:
    """`rows` (dataset, image_id, …) with one String column an attribute added, in the order of the rows.

    policy: what becomes of uncertain and unmentioned labels (`Catalog.labels`). labeler: whose labels findings, `disease` and
    `healthy` are read from; None is the one that each dataset prefers. An image that the catalog does not know, or that
    this labeler did not assess, has null; columns that `rows` has already stay as they are.

    Raises CxrError CXR-501 for an unknown attribute, policy or labeler.
    """
    check_attributes(catalog, names)
    wanted = [name for name in dict.fromkeys(names) if name not in rows.columns]
    frames = []
    columns = image_columns(catalog)
    if from_images := [name for name in wanted if name in columns or name.startswith(SCHEME) or Binary.parse(name)]:
        frames.append(_from_images(catalog, from_images))
    if findings := [name for name in wanted if name in _findings(catalog)]:
        labels = catalog.labels(findings=findings, policy=policy, labeler=labeler)
        frames.append(
            labels.select(
                *KEYS, *(pl.col(name).replace_strict(_STATES, return_dtype=pl.String) for name in findings)
            ).lazy()
        )
    if DISEASE in wanted:
        frames.append(_disease(catalog, labeler).lazy())
    if HEALTHY in wanted:
        said = {True: "healthy", False: "not healthy"}
        health = health_of(catalog, labeler)
        frames.append(health.with_columns(pl.col(HEALTHY).replace_strict(said, return_dtype=pl.String)).lazy())
    joined = rows.lazy()
    for frame in frames:
        joined = joined.join(frame, on=KEYS, how="left", maintain_order="left")
    return joined.select(*rows.columns, *wanted).collect()


def health_of(catalog: Catalog, labeler: str | None = None) -> pl.DataFrame:
    """dataset, image_id, healthy (Boolean) by each dataset's rule: the relation `healthy`, or the same rule on the labels of one
    labeler alone, of the images that it assessed. Raises CxrError CXR-501 for an unknown labeler."""
    if labeler is None:
        return catalog.table("healthy").select(*KEYS, HEALTHY).collect()
    labels = catalog.labels(labeler=labeler, rollup=True)
    rules = dict(catalog.table("datasets").select("dataset", "healthy_rule").collect().iter_rows())
    parts = []
    for (dataset,), part in labels.group_by("dataset", maintain_order=True):
        rule = f"coalesce(({rules[str(dataset)]}), false)" if rules[str(dataset)] else "NULL::BOOLEAN"
        parts.append(
            catalog.sql(f"SELECT dataset, image_id, {rule} AS {HEALTHY} FROM labels_of_one", labels_of_one=part)
        )
    return pl.concat(parts)


def _disease(catalog: Catalog, labeler: str | None) -> pl.DataFrame:
    if labeler is None:
        return catalog.sql(f"SELECT dataset, image_id, {_DISEASE_SQL} AS {DISEASE} FROM image_labels")
    labels = catalog.labels(labeler=labeler, findings=["no_finding", "pleural_effusion"])
    return catalog.sql(
        f"SELECT dataset, image_id, {_DISEASE_SQL} AS {DISEASE} FROM labels_of_one", labels_of_one=labels
    )


def _from_images(catalog: Catalog, names: list[str]) -> pl.LazyFrame:
    groups = catalog.table("age_groups").sort("scheme", "group_order").collect()

    def value(name: str) -> pl.Expr:
        if name.startswith(SCHEME):
            return age_group_in(groups.filter(scheme=name.removeprefix(SCHEME))).alias(name)
        return pl.col(name).cast(pl.String)

    binaries = {name: Binary.parse(name) for name in names}
    columns = [
        value(name) if binary is None else binary.expression(value(binary.of)) for name, binary in binaries.items()
    ]
    return catalog.table("images").select(*KEYS, *columns)


def _findings(catalog: Catalog) -> list[str]:
    return catalog.table("findings").sort("finding_order").select("finding").collect()["finding"].to_list()


def _schemes(catalog: Catalog) -> list[str]:
    return catalog.table("age_groups").select("scheme").unique().sort("scheme").collect()["scheme"].to_list()
