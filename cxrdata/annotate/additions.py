"""The columns that annotate adds to a file."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from cxrdata.errors import CxrError, nearest
from cxrdata.harmonise.age import age_group_in

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cxrdata.annotate.facts import Facts

DEFAULT = (
    "dataset",
    "image_id",
    "patient_id",
    "age_years",
    "age_group",
    "sex",
    "race",
    "ethnicity",
    "view",
    "labels",
)
LABELS = "labels"
SUFFIX = "_cxrdata"
_SCHEME = "age_group:"


def added_columns(facts: Facts, add: str | Sequence[str] | None) -> pl.DataFrame:
    """The columns that `add` asks for, one row a row of the file.

    add: names, or one text of names separated by commas: a column of `images`; `labeler`; a canonical finding;
    `labels` for all findings that the labelers of these rows assess; `age_group:SCHEME`, which becomes the column
    `age_group_SCHEME`. None: `DEFAULT`.

    Raises CxrError CXR-501 for an unknown name.
    """
    wanted = (
        DEFAULT
        if add is None
        else [name.strip() for name in (add.split(",") if isinstance(add, str) else add) if name.strip()]
    )
    columns: dict[str, pl.Series] = {}
    for name in wanted:
        for series in _columns(facts, name):
            columns.setdefault(series.name, series)
    return pl.DataFrame(list(columns.values()))


def _columns(facts: Facts, name: str) -> list[pl.Series]:
    if name == LABELS:
        return [facts.labels[finding] for finding in facts.findings]
    if name.startswith(_SCHEME):
        return [_age_groups(facts, name.removeprefix(_SCHEME))]
    if name in facts.images.columns:
        return [facts.images[name]]
    if name == "labeler" or name in facts.all_findings:
        return [facts.labels[name]]
    known = [
        *facts.images.columns,
        LABELS,
        "labeler",
        *facts.all_findings,
        *(f"{_SCHEME}{scheme}" for scheme in _schemes(facts)),
    ]
    raise CxrError(
        "CXR-501",
        f"there is nothing called {name!r} to add{nearest(name, known)}",
        fix="columns of images (`cxrdata describe images`, cat.table('images')), labels, labeler, a finding, or age_group:SCHEME",
    )


def _schemes(facts: Facts) -> list[str]:
    return facts.catalog.table("age_groups").collect()["scheme"].unique().sort().to_list()


def _age_groups(facts: Facts, scheme: str) -> pl.Series:
    """The group of each age; null where the range that the age's precision leaves straddles a bound."""
    groups = facts.catalog.table("age_groups").filter(pl.col("scheme") == scheme).collect()
    if groups.is_empty():
        known = _schemes(facts)
        raise CxrError(
            "CXR-501",
            f"there is no scheme of age groups {scheme!r}{nearest(scheme, known)}",
            fix=f"schemes: {', '.join(known)}",
        )
    return facts.images.select(age_group_in(groups).alias(f"age_group_{scheme}")).to_series()


def joined(frame: pl.DataFrame, added: pl.DataFrame) -> tuple[pl.DataFrame, list[str]]:
    """`frame` with the added columns after its own, which are never overwritten, and the names that they got.

    Case makes no difference: beside a column `Cardiomegaly` ours is `cardiomegaly_cxrdata`, since SQL, spreadsheets and
    readers take the two for one.
    """
    names: list[str] = []
    for name in added.columns:
        taken = {column.casefold() for column in (*frame.columns, *names)}
        unique, number = name, 1
        while unique.casefold() in taken:
            unique = name + SUFFIX + (f"_{number}" if number > 1 else "")
            number += 1
        names.append(unique)
    return frame.hstack([series.alias(name) for series, name in zip(added.get_columns(), names, strict=True)]), names
