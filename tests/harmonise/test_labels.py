"""Label cells as states, against plain Python loops."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cxrdata.harmonise.labels import codes_from_lists, codes_from_numbers, majority, published, rolled_up
from cxrdata.sources.account import Account
from cxrdata.sources.base import NEGATIVE, POSITIVE, SILENT, UNCERTAIN, UNMENTIONED

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cxrdata.vocabularies import Vocabularies

DATASETS = ("chexpert", "mimic_cxr", "nih_cxr14", "padchest", "vindr_cxr", "vindr_pcxr")
STORED = (POSITIVE, NEGATIVE, UNCERTAIN, UNMENTIONED, SILENT, None)
CELLS = {
    "1.0": 1, "1": 1, " 1.00 ": 1, "0.0": 0, "0": 0, "-1.0": -1, "-1": -1,
    "2": None, "0.5": None, "x": None, "NaN": None, "-2": None, "-3": None, "YES": None, " ": None,
}  # fmt: skip


def texts(columns: dict[str, Sequence[str | None]]) -> pl.DataFrame:
    frame = pl.DataFrame(columns, schema=dict.fromkeys(columns, pl.String))
    return frame.with_row_index("_line", offset=2)


@given(
    st.lists(st.tuples(*[st.sampled_from([None, *CELLS])] * 3), min_size=1, max_size=20),
    st.sampled_from([None, UNMENTIONED, NEGATIVE, SILENT]),
)
@settings(max_examples=150, deadline=None)
def test_numbers_against_a_plain_loop(rows: list[tuple[str | None, ...]], blank: int | None) -> None:
    labels = ["Edema", "Mass", "No Finding"]
    frame = texts({label: [row[at] for row in rows] for at, label in enumerate(labels)})
    account = Account("chexpert")
    got = codes_from_numbers(frame, labels, blank=blank, account=account, source_file="f.csv")
    expected, wrong = [], []
    for line, row in enumerate(rows, 2):
        expected.append(tuple(blank if cell is None else CELLS[cell] for cell in row))
        wrong += [
            (line, label, cell)
            for label, cell in zip(labels, row, strict=True)
            if cell is not None and CELLS[cell] is None
        ]
    assert got.select(labels).rows() == expected
    assert set(got.select(labels).dtypes) == {pl.Int8}
    rejects = account.rejects()
    assert sorted(rejects.select("line", "column_name", "value").rows()) == sorted(wrong)
    assert set(rejects["code"]) <= {"CXR-305"}
    assert set(rejects["kind"]) <= {"value"}


def test_numbers_that_a_file_does_not_use_are_refused() -> None:
    """visualCheXbert knows no uncertainty: a -1 there is a fault."""
    account = Account("chexpert")
    got = codes_from_numbers(
        texts({"Edema": ["1", "-1", None]}), ["Edema"], blank=None, account=account, source_file="f.csv", allowed=(1, 0)
    )
    assert got["Edema"].to_list() == [1, None, None]
    assert account.rejects()["value"].to_list() == ["-1"]


LABELS = ("a", "b", "c", "d")
LISTS = st.lists(
    st.tuples(
        st.none() | st.lists(st.sampled_from([*LABELS, "e", " a"]), max_size=4), st.sampled_from([SILENT, UNMENTIONED])
    ),
    min_size=1,
    max_size=20,
)


@given(LISTS)
@settings(max_examples=150, deadline=None)
def test_lists_against_a_plain_loop(rows: list[tuple[list[str] | None, int]]) -> None:
    """Closed world: silence is negative. Open world: unmentioned. Not assessed: null."""
    listed = pl.Series([labels for labels, _ in rows], dtype=pl.List(pl.String))
    silence = pl.Series([code for _, code in rows], dtype=pl.Int8)
    frame = pl.DataFrame({"_line": range(2, len(rows) + 2)})
    account = Account("padchest")
    got = codes_from_lists(
        frame, listed, LABELS, silence=silence, account=account, source_file="f.csv", column="Labels"
    )
    expected, unknown = [], []
    for line, (labels, code) in enumerate(rows, 2):
        if labels is None:
            expected.append((None,) * len(LABELS))
            continue
        expected.append(tuple(POSITIVE if label in labels else code for label in LABELS))
        unknown += [(line, "CXR-304", "Labels", label) for label in labels if label not in LABELS]
    assert got.columns == list(LABELS)
    assert got.rows() == expected
    assert set(got.dtypes) == {pl.Int8}
    rejects = account.rejects().select("line", "code", "column_name", "value").rows()
    assert sorted(rejects) == sorted(unknown)


@pytest.mark.parametrize(("code", "shown"), [(1, 1), (0, 0), (-1, -1), (UNMENTIONED, None), (SILENT, 0), (None, None)])
def test_published_coding(code: int | None, shown: int | None) -> None:
    """CONTRACT §5: CheXpert's coding; silence of a closed-world labeler is 0, unmentioned and not assessed null."""
    states = pl.DataFrame({"Mass": [code], "Blob": [1]}, schema={"Mass": pl.Int8, "Blob": pl.Int8})
    got = published(states, {"Mass": "mass", "Hernia": "hernia"}, ["hernia", "mass", "edema"])
    assert got.rows() == [(None, shown, None)]
    assert set(got.dtypes) == {pl.Int8}


def test_published_uses_exact_matches_alone(vocabularies: Vocabularies) -> None:
    """CONTRACT §5: as published, never rolled up."""
    for dataset in DATASETS:
        exact = vocabularies.exact(dataset)
        for native in vocabularies.native_labels(dataset):
            states = pl.DataFrame({native: [POSITIVE]}, schema={native: pl.Int8})
            row = published(states, exact, vocabularies.finding_names).row(0, named=True)
            shown = {finding for finding, code in row.items() if code is not None}
            assert shown == ({exact[native]} if native in exact else set()), native


def walked_up(vocabularies: Vocabularies, dataset: str, native: str) -> set[str]:
    """The findings that a positive native label makes positive: a plain walk along the files' rows."""
    found = {
        row["object_id"].removeprefix("cxr:")
        for row in vocabularies.crosswalk.iter_rows(named=True)
        if row["subject_id"] == f"{dataset}:{native}"
        and row["predicate_id"] in {"skos:exactMatch", "skos:broadMatch"}
        and row["object_id"].startswith("cxr:")
    }
    waiting = list(found)
    while waiting:
        child = waiting.pop()
        above = {row["parent"] for row in vocabularies.finding_tree.iter_rows(named=True) if row["child"] == child}
        waiting += above - found
        found |= above
    return found


def roll(vocabularies: Vocabularies, dataset: str, rows: list[dict[str, int | None]]) -> tuple[pl.DataFrame, ...]:
    native = list(rows[0])
    states = pl.DataFrame(rows, schema=dict.fromkeys(native, pl.Int8))
    base = published(states, vocabularies.exact(dataset), vocabularies.finding_names)
    above, overridden = rolled_up(states, base, vocabularies, dataset)
    return base, above, overridden  # type: ignore[return-value]


@pytest.mark.parametrize("dataset", DATASETS)
def test_every_label_rolls_up_along_the_tree(dataset: str, vocabularies: Vocabularies) -> None:
    """Each native label positive alone, the others negative."""
    labels = vocabularies.native_labels(dataset)
    # Two spellings of one finding never stand in one file (Airspace Opacity, Infiltrate, Other disease).
    exact = vocabularies.exact(dataset)
    labels = [
        label for at, label in enumerate(labels) if exact.get(label) not in [exact.get(a, "") for a in labels[:at]]
    ]
    rows = [{other: POSITIVE if other == label else NEGATIVE for other in labels} for label in labels]
    base, above, overridden = roll(vocabularies, dataset, rows)
    lifted: dict[str, int] = {}
    for label, before, after in zip(labels, base.iter_rows(named=True), above.iter_rows(named=True), strict=True):
        up = walked_up(vocabularies, dataset, label)
        assert {finding for finding, code in after.items() if code == 1} == up, label
        assert {f: c for f, c in after.items() if f not in up} == {f: c for f, c in before.items() if f not in up}
        for finding in up:
            if before[finding] == 0:
                lifted[finding] = lifted.get(finding, 0) + 1
    assert overridden == lifted


@given(st.data())
@settings(max_examples=40, deadline=None)
def test_roll_up_of_random_states(vocabularies: Vocabularies, data: st.DataObject) -> None:
    labels = vocabularies.native_labels("chexpert")
    row = st.fixed_dictionaries({label: st.sampled_from(STORED) for label in labels})
    rows = data.draw(st.lists(row, min_size=1, max_size=6))
    base, above, overridden = roll(vocabularies, "chexpert", rows)
    counted: dict[str, int] = {}
    for states, before, after in zip(rows, base.iter_rows(named=True), above.iter_rows(named=True), strict=True):
        positive = set().union(
            *(walked_up(vocabularies, "chexpert", label) for label, code in states.items() if code == POSITIVE)
        )
        assert after == {finding: 1 if finding in positive else code for finding, code in before.items()}
        for finding in positive:
            if before[finding] == 0:
                counted[finding] = counted.get(finding, 0) + 1
    assert overridden == counted


def test_narrow_and_close_matches_never_go_up(vocabularies: Vocabularies) -> None:
    """CONTRACT §5."""
    matches = vocabularies.label_map.filter(pl.col("predicate").is_in(["narrowMatch", "closeMatch"]))
    assert matches.height > 10
    for row in matches.iter_rows(named=True):
        assert row["finding"] not in vocabularies.upward(row["dataset"]).get(row["native_label"], [])


def test_uncertain_and_unmentioned_do_not_go_up(vocabularies: Vocabularies) -> None:
    for code in (UNCERTAIN, UNMENTIONED, NEGATIVE, SILENT, None):
        base, above, overridden = roll(vocabularies, "chexpert", [{"Pneumonia": code, "Lung Opacity": NEGATIVE}])
        assert above.equals(base)
        assert overridden == {}


READERS = st.lists(st.tuples(st.sampled_from("xyz"), st.sampled_from(STORED)), min_size=1, max_size=12)


def voted(codes: list[int | None]) -> int | None:
    positive = codes.count(POSITIVE)
    negative = codes.count(NEGATIVE) + codes.count(SILENT)
    if positive > negative:
        return POSITIVE
    if negative > positive:
        return SILENT if SILENT in codes else NEGATIVE
    return UNCERTAIN if positive else None


@given(READERS)
@settings(max_examples=150, deadline=None)
def test_majority_against_a_plain_count(readings: list[tuple[str, int | None]]) -> None:
    """A tie of positive and negative is uncertain; who did not assess has no vote."""
    images: dict[str, list[int | None]] = {}
    for image, code in readings:
        images.setdefault(image, []).append(code)
    frame = pl.DataFrame(
        {"image_id": [image for image, _ in readings], "Mass": [code for _, code in readings]},
        schema={"image_id": pl.String, "Mass": pl.Int8},
    )
    got = majority(frame, ["Mass"])
    assert got.rows() == [(image, voted(codes)) for image, codes in sorted(images.items())]
    assert got["Mass"].dtype == pl.Int8


@pytest.mark.parametrize(
    ("codes", "state"),
    [([1, 1, 0], 1), ([1, 0, 0], 0), ([1, -3, -3], -3), ([1, 0], -1), ([1, -3], -1), ([None, None], None), ([1], 1)],
)
def test_majority_of_few(codes: list[Any], state: int | None) -> None:
    frame = pl.DataFrame({"image_id": ["i"] * len(codes), "Mass": pl.Series(codes, dtype=pl.Int8)})
    assert majority(frame, ["Mass"])["Mass"].to_list() == [state]
