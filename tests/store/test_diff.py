from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from nih_files import BOXES, Row, rows, write_nih

from cxrdata.errors import CxrError
from cxrdata.store.catalog import Catalog
from cxrdata.store.diff import diff, open_either
from cxrdata.store.layout import CatalogFolder

Compare = Callable[..., tuple[dict[str, int], pl.DataFrame]]


@pytest.fixture
def compared(build_nih: Callable[..., str], tiny_folder: Path, tmp_path: Path) -> Compare:
    """`compared(table)`: what changed from the tiny catalog to one of these rows, as {what: n} and examples."""

    def run(table: list[Row], **wishes: str) -> tuple[dict[str, int], pl.DataFrame]:
        build_nih(tmp_path / "new", write_nih(tmp_path / "nih", table, **wishes))
        with Catalog(tiny_folder) as old, Catalog(tmp_path / "new") as new:
            result = diff(old, new)
        assert set(result.summary["dataset"]) <= {"nih_cxr14"}
        return dict(zip(result.summary["what"], result.summary["n"], strict=True)), result.examples

    return run


def test_equal_rows_have_no_difference(compared: Compare) -> None:
    counts, examples = compared(rows())
    assert counts == {}
    assert examples.is_empty()


def test_rows_added_and_removed(compared: Compare) -> None:
    table = rows()
    last = table.pop()
    table += [
        {**last, "image": f"00000099_{n:03d}.png", "patient": 99, "follow_up": n, "labels": "Hernia"} for n in range(7)
    ]
    counts, examples = compared(table)
    assert counts["images removed"] == counts["studies removed"] == 1
    assert counts["images added"] == counts["studies added"] == 7
    assert counts["patients added"] == 1
    assert counts["text_mining: images no longer assessed"] == 1
    assert counts["text_mining: images newly assessed"] == 7
    added = examples.filter(examples["what"] == "images added")
    assert added["key"].to_list() == [f"00000099_{n:03d}.png" for n in range(5)]


def test_changed_values_with_old_and_new(compared: Compare) -> None:
    table = rows()
    table[3] |= {"age": 44, "view": "PA" if table[3]["view"] == "AP" else "AP"}
    counts, examples = compared(table)
    assert counts == {"images: age_years changed": 1, "images: view changed": 1}
    first = examples.row(0, named=True)
    assert (first["key"], first["old"], first["new"]) == (table[3]["image"], str(float(rows()[3]["age"])), "44.0")


def test_label_states_by_transition(compared: Compare) -> None:
    table = rows()
    for row in table:
        if row["labels"] == "Hernia":
            row["labels"] = "No Finding"
    n = sum(row["labels"] == "Hernia" for row in rows())
    counts, _ = compared(table)
    assert counts["text_mining Hernia: positive to negative by silence"] == n
    assert sum(counts.values()) == 2 * n
    assert n > 5


def test_boxes_by_multiplicity(compared: Compare) -> None:
    body = BOXES.splitlines()
    counts, _ = compared(rows(), boxes="\n".join([*body, body[1], "00000002_000.png,Cardiomegaly,1,2,3,4,,,"]) + "\n")
    assert counts["boxes added"] == 2


def test_other_datasets_and_label_tables(tiny_folder: Path, synthetic_folder: Path) -> None:
    with Catalog(tiny_folder) as old, Catalog(synthetic_folder) as new:
        result = diff(old, new)
        counts = {(dataset, what): n for dataset, what, n in result.summary.iter_rows()}
        images = dict(new.sql("SELECT dataset, count(*) FROM images GROUP BY ALL").iter_rows())
        labelers = new.manifest["labelers"]
    assert counts["padchest", "images added"] == images["padchest"]
    assert all(
        (dataset, f"labeler {labeler} added") in counts
        for dataset, pairs in labelers.items()
        if dataset != "nih_cxr14"
        for labeler, _ in pairs
    )
    examples = result.examples.group_by("dataset", "what").len()
    assert examples["len"].max() == 5


def test_builds_and_folders_by_name(tiny_folder: Path) -> None:
    folder = CatalogFolder(tiny_folder)
    build_id = folder.require_build().build_id
    assert (
        open_either(build_id, folder).build.build_id == open_either(str(tiny_folder), folder).build.build_id == build_id
    )
    with pytest.raises(CxrError, match="did you mean") as caught:
        open_either(build_id[:-1] + "x", folder)
    assert caught.value.code == "CXR-501"
