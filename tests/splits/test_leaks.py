"""Patients on both sides of a split."""

from __future__ import annotations

import polars as pl

from cxrdata.splits.leaks import find_leaks


def _frame(rows: list[tuple[str | None, str | None, str | None, str | None]]) -> pl.DataFrame:
    schema = dict.fromkeys(("dataset", "image_id", "patient_id", "split"), pl.String)
    return pl.DataFrame(rows, schema=schema, orient="row")


def test_pairs_and_examples() -> None:
    rows = [("d", f"{p}{s}", p, s) for p in "abcdefg" for s in ("train", "test")]
    leaks = find_leaks(_frame([*rows, ("d", "h", "h", "train"), ("d", "h2", "h", "train"), ("d", "a3", "a", "valid")]))
    assert (leaks.n_patients, leaks.n_checked) == (7, 8)
    assert leaks.pairs.rows() == [
        ("test", "train", 7, ["d:a", "d:b", "d:c", "d:d", "d:e"]),
        ("test", "valid", 1, ["d:a"]),
        ("train", "valid", 1, ["d:a"]),
    ]
    assert leaks.patients.row(0, named=True)["splits"] == ["test", "train", "valid"]


def test_same_patient_number_in_two_datasets_is_two_patients() -> None:
    assert find_leaks(_frame([("d", "a", "1", "train"), ("e", "b", "1", "test")])).n_patients == 0


def test_image_stands_for_the_patient() -> None:
    leaks = find_leaks(_frame([("v", "a", None, "train"), ("v", "a", None, "test"), ("v", "b", None, "test")]))
    assert leaks.patients.select("dataset", "patient_id", "image_id").rows() == [("v", None, "a")]


def test_rows_in_no_split_do_not_count() -> None:
    leaks = find_leaks(_frame([("d", "a", "1", "train"), ("d", "b", "1", None), (None, None, None, "test")]))
    assert (leaks.n_patients, leaks.n_checked, leaks.pairs.height) == (0, 1, 0)


def test_folds_may_be_numbers() -> None:
    frame = pl.DataFrame({"dataset": ["d"] * 2, "image_id": ["a", "b"], "patient_id": ["1", "1"], "fold": [0, 1]})
    assert find_leaks(frame, "fold").pairs["examples"].to_list() == [["d:1"]]
