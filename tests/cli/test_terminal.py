"""Tables on a terminal: text is folded, keys and names stay whole, nothing is lost."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

import cxrdata
from cxrdata.cli.output import _cells
from cxrdata.cli.terminal import terminal_table
from cxrdata.describe import describe
from cxrdata.sources.base import Registry
from cxrdata.sources.listing import sources_frame
from cxrdata.store.build import BuildRequest, build_catalog
from cxrdata.store.queries import list_named


@pytest.fixture(scope="module")
def frames(
    registry: Registry, synthetic: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, pl.DataFrame]:
    """What commands print that is wide."""
    folder = tmp_path_factory.mktemp("terminal") / "cxr-catalog"
    build_catalog(BuildRequest(folder, named=[(registry.get("nih"), synthetic("nih_cxr14", scale=0.0005))], workers=1))
    with cxrdata.open(folder) as catalog:
        return {
            "describe": describe(catalog),
            "describe images": describe(catalog, "images"),
            "images": catalog.sql("FROM images ORDER BY image_id LIMIT 3"),
            "sql --list": list_named(),
            "sources": sources_frame(registry),
        }


def shown(frame: pl.DataFrame, width: int, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setenv("TERM", "dumb")
    text = terminal_table(frame.columns, _cells(frame), [dtype.is_numeric() for dtype in frame.dtypes])
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


@pytest.mark.parametrize("width", [60, 80, 100, 250])
@pytest.mark.parametrize("name", ["describe", "describe images", "images", "sql --list", "sources"])
def test_lines_fit_and_words_stay_whole(
    frames: dict[str, pl.DataFrame], name: str, width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = shown(frames[name], width, monkeypatch)
    assert max(map(len, text.splitlines())) <= width
    words = set(text.split())
    assert {word for row in _cells(frames[name]) for cell in row for word in cell.split()} <= words


def test_a_wide_relation_is_a_block_a_row(frames: dict[str, pl.DataFrame], monkeypatch: pytest.MonkeyPatch) -> None:
    frame = frames["images"]
    text = shown(frame, 80, monkeypatch)
    assert text.startswith(
        f"dataset nih_cxr14\n  image_id: {frame['image_id'][0]} · patient_id: {frame['patient_id'][0]} · "
    )
    blocks = re.split(r"^dataset ", text, flags=re.MULTILINE)[1:]
    assert len(blocks) == frame.height
    for block in blocks:
        named = set(re.findall(r"[a-z0-9_]+", block))
        assert set(frame.columns) - {"dataset"} <= named, "a column that is empty is named too"


def test_a_long_name_over_narrow_numbers_is_folded_at_its_underscores(monkeypatch: pytest.MonkeyPatch) -> None:
    frame = pl.DataFrame({"key": ["k" * 30], "nulls_percent": [1.5], "distinct_values": [7]})
    lines = [line.split() for line in shown(frame, 52, monkeypatch).splitlines()]
    assert lines[:2] == [["nulls_", "distinct_"], ["key", "percent", "values"]]
    assert lines[3] == ["k" * 30, "1.5", "7"]
