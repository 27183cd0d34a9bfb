"""The flow diagram: what it says, the same bytes each time, no box over another, no text out of its box."""

from __future__ import annotations

import re
import sys
from itertools import pairwise
from pathlib import Path

import matplotlib as mpl
import polars as pl
import pytest

from cxrdata.errors import CxrError
from cxrdata.report import flow_diagram
from cxrdata.report.flow_diagram import draw_flow_diagram
from cxrdata.splits.cohorts import parse_cohort
from cxrdata.splits.funnel import Funnel

LONG = "Patients whose race is stated in the demographics workbook, costs $5 and $6, electroencephalographicallyelectroencephalographically"
STEPS = [
    ("images", 223_414, 64_540, 223_414),
    (LONG, 160_001, 46_219, 160_724),
    ("the same", 160_001, 46_219, None),
    ("frontal", 160_000, 46_218, None),
    ("nobody", 0, 0, None),
]


def made(
    steps: list[tuple[str, int, int | None, int | None]] = STEPS, remarks: tuple[str, ...] = ("SYNTHETIC: chexpert",)
) -> Funnel:
    frame = pl.DataFrame(steps, schema=["step", "images", "patients", "expected_images"], orient="row")
    return Funnel(parse_cohort("-- A.\n-- step: a\nSELECT 1", name="a.sql"), frame, remarks)


def said(path: Path) -> list[str]:
    """The texts of an SVG, which matplotlib repeats as comments beside their outlines."""
    return re.findall(r"<!-- (.*?) -->", path.read_text(encoding="utf-8"))


def test_what_it_says(tmp_path: Path) -> None:
    draw_flow_diagram(made(), tmp_path / "a.svg")
    texts = said(tmp_path / "a.svg")
    for text in (
        "223,414 images, 64,540 patients",
        "published: 160,724 images",
        "Excluded: 63,413 images",
        "18,321 patients leave",
        "Excluded: 1 image",
        "1 patient leaves",
        "SYNTHETIC: chexpert",
    ):
        assert text in texts, text
    assert sum(text.startswith("Excluded") for text in texts) == 3, (
        "a step that leaves nobody out has no box at its side"
    )


def test_no_patient_ids(tmp_path: Path) -> None:
    draw_flow_diagram(made([("all", 18_000, None, None), ("few", 20, None, None)], ()), tmp_path / "a.svg")
    assert said(tmp_path / "a.svg") == ["Excluded: 17,980 images", "All", "18,000 images", "Few", "20 images"]


@pytest.mark.parametrize("suffix", [".svg", ".png"])
def test_same_bytes_whatever_the_settings(tmp_path: Path, suffix: str) -> None:
    first, second = tmp_path / f"a{suffix}", tmp_path / f"b{suffix}"
    draw_flow_diagram(made(), first)
    with mpl.rc_context({"font.size": 30, "font.family": "serif", "savefig.bbox": "tight", "figure.dpi": 50}):
        draw_flow_diagram(made(), second)
    assert first.read_bytes() == second.read_bytes()
    assert b"Matplotlib v" not in first.read_bytes()


def test_nothing_overlaps() -> None:
    steps, sides = flow_diagram._boxes(made())
    for column in (steps, [side for side in sides if side is not None]):
        for upper, lower in pairwise(column):
            assert upper.bottom < lower.top
        for box in column:
            assert box.left + box.width <= flow_diagram.WIDTH
            for line in box.lines:
                assert flow_diagram._width(line, line.text) <= box.width - 2 * flow_diagram._PADDING + 1e-9
    assert max(step.left + step.width for step in steps) < flow_diagram._SIDE_LEFT
    assert "".join(line.text for line in steps[1].lines if line.weight == "bold").replace(" ", "") == LONG.replace(
        " ", ""
    )


def test_errors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(CxrError, match=r"cannot be written as '\.jpg'") as caught:
        draw_flow_diagram(made(), tmp_path / "a.jpg")
    assert caught.value.code == "CXR-502"
    with pytest.raises(CxrError) as caught:
        draw_flow_diagram(made(), tmp_path / "none" / "a.svg")
    assert caught.value.code == "CXR-602"
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(CxrError) as caught:
        draw_flow_diagram(made(), tmp_path / "a.svg")
    assert (caught.value.code, caught.value.fix) == ("CXR-604", "pip install 'cxrdata[report]'")
