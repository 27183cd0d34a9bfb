"""Sex, view and position: terms through the vocabularies, unknown ones reported."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polars as pl
import pytest

from cxrdata.harmonise.terms import harmonise_sex, harmonise_view
from cxrdata.sources.account import Account

if TYPE_CHECKING:
    from cxrdata.vocabularies import Vocabularies


def frame(**columns: list[str | None]) -> pl.DataFrame:
    table = pl.DataFrame(columns, schema=dict.fromkeys(columns, pl.String))
    return table.with_columns(source_file=pl.lit("f.csv")).with_row_index("_line", offset=2)


def sexes(vocabularies: Vocabularies, dataset: str, *raws: str | None) -> tuple[list[str | None], Account]:
    account = Account(dataset)
    return harmonise_sex(frame(sex_raw=list(raws)), dataset, vocabularies, account)["sex"].to_list(), account


def viewed(vocabularies: Vocabularies, dataset: str, source: str, raw: str | None, **other: str) -> dict[str, Any]:
    account = Account(dataset)
    rows = frame(view_source=[source], view_raw=[raw], **{name: [value] for name, value in other.items()})
    row = harmonise_view(rows, dataset, vocabularies, account).row(0, named=True)
    assert account.rejects().is_empty()
    return {name: row[name] for name in ("view", "frontal", "position")}


def test_every_listed_sex(vocabularies: Vocabularies) -> None:
    for (dataset,), rows in vocabularies.sex.group_by("dataset"):
        got, account = sexes(vocabularies, str(dataset), *rows["raw_value"], None)
        assert got == [*rows["sex"], None]
        assert set(got) <= {"F", "M", "O", None}
        assert account.rejects().is_empty()


@pytest.mark.parametrize("raw", ["Female", "f", "X", "0"])
def test_an_unknown_sex_is_reported(raw: str, vocabularies: Vocabularies) -> None:
    """CONTRACT §6: an unknown value is reported, never silently turned into another."""
    got, account = sexes(vocabularies, "nih_cxr14", "F", raw)
    assert got == ["F", None]
    columns = ("source_file", "line", "kind", "code", "column_name", "value", "message")
    assert account.rejects().select(columns).rows() == [
        ("f.csv", 3, "value", "CXR-303", "sex", raw, "unknown sex; an overlay can add it to the vocabulary")
    ]


def test_every_listed_view(vocabularies: Vocabularies) -> None:
    for row in vocabularies.views.iter_rows(named=True):
        got = viewed(vocabularies, row["dataset"], row["field"], row["raw_value"])
        assert got == {name: row[name] for name in got}


@pytest.mark.parametrize(
    ("dataset", "source", "raw", "expected"),
    [
        ("chexpert", "Frontal/Lateral|AP/PA", "Frontal|AP", ("AP", True, None)),
        ("chexpert", "Frontal/Lateral|AP/PA", "Frontal|LL", (None, True, None)),
        ("chexpert", "Frontal/Lateral|AP/PA", "Lateral|", ("LATERAL", False, None)),
        ("mimic_cxr", "ViewPosition", "LL", ("LATERAL", False, None)),
        ("mimic_cxr", "ViewPosition", "AP LLD", ("DECUBITUS", True, "decubitus")),
        ("padchest", "Projection", "AP_horizontal", ("AP", True, "supine")),
        ("padchest", "Projection", "EXCLUDE", (None, None, None)),
        ("nih_cxr14", "View Position", "PA", ("PA", True, None)),
    ],
)
def test_views(dataset: str, source: str, raw: str, expected: tuple[Any, ...], vocabularies: Vocabularies) -> None:
    """formats.md 1.1 to 1.5."""
    assert tuple(viewed(vocabularies, dataset, source, raw).values()) == expected


@pytest.mark.parametrize(
    ("view", "orientation", "position"),
    [("AP", "Erect", "erect"), ("AP", "Recumbent", "supine"), ("AP LLD", "Recumbent", "decubitus"), ("PA", None, None)],
)
def test_position_beside_the_view(
    view: str, orientation: str | None, position: str | None, vocabularies: Vocabularies
) -> None:
    """A decubitus film is a position of its own, whatever stands beside it."""
    field = "PatientOrientationCodeSequence_CodeMeaning"
    got = viewed(vocabularies, "mimic_cxr", "ViewPosition", view, position_source=field, position_raw=orientation)
    assert got["position"] == position


def test_unknown_view_and_position_are_reported(vocabularies: Vocabularies) -> None:
    account = Account("mimic_cxr")
    rows = frame(
        view_source=["ViewPosition"], view_raw=["UPSIDE DOWN"], position_source=["x"], position_raw=["Floating"]
    )
    got = harmonise_view(rows, "mimic_cxr", vocabularies, account).row(0, named=True)
    assert (got["view"], got["frontal"], got["position"]) == (None, None, None)
    rejects = account.rejects().select("code", "column_name", "value").rows()
    assert rejects == [("CXR-303", "position", "Floating"), ("CXR-303", "view", "UPSIDE DOWN")]


def test_a_term_means_what_its_field_means(vocabularies: Vocabularies) -> None:
    """The same word under another field is another term, and unknown there."""
    account = Account("padchest")
    rows = frame(view_source=["Projection", "ViewPosition_DICOM"], view_raw=["LL", "LL"])
    assert harmonise_view(rows, "padchest", vocabularies, account)["view"].to_list() == [None, "LATERAL"]
    assert account.rejects()["line"].to_list() == [2]


def test_rows_keep_their_order(vocabularies: Vocabularies) -> None:
    got, _ = sexes(vocabularies, "nih_cxr14", "M", None, "F", "M")
    assert got == ["M", None, "F", "M"]
