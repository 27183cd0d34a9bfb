"""Figures: one theme, files that come out the same twice, nothing fetched, nothing a spreadsheet would run."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import altair as alt
import polars as pl
import pytest

from cxrdata.errors import CxrError
from cxrdata.report.figure import Figure, save_figures, specification, spreadsheet_safe
from cxrdata.report.theme import CATEGORIES, PALETTE, colour, colour_css, resolved


def figure(name: str = "bars") -> Figure:
    frame = pl.DataFrame({"who": ["<script>", "=1+1"], "n": [20, 30]})
    chart = alt.Chart(frame).mark_bar(color=colour("green")).encode(x="n:Q", y="who:N")
    return Figure(name, "Title", "Caption.", chart, frame)


def test_a_specification_has_the_theme_and_names_no_address() -> None:
    found = specification(figure())
    assert found["config"]["font"] == "sans-serif"
    assert found["description"] == "Title. Caption."
    assert "http" not in json.dumps(found)
    assert "var(--cxr-green)" in json.dumps(found)
    for scheme, side in (("light", 0), ("dark", 1)):
        text = json.dumps(resolved(found, scheme))  # type: ignore[arg-type]
        assert PALETTE["green"][side] in text and "var(" not in text


def _luminance(value: str) -> float:
    parts = [int(value[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _contrast(one: str, other: str) -> float:
    low, high = sorted([_luminance(one), _luminance(other)])
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("side", [0, 1])
def test_the_palette_can_be_read_on_its_ground(side: int) -> None:
    """WCAG 2.2: text 4.5 to 1. Areas of Okabe and Ito's lightest hues reach 2 to 1 on white; their table says the same."""
    paper = PALETTE["paper"][side]
    assert all(_contrast(PALETTE[name][side], paper) >= 4.5 for name in ("ink", "quiet", "blue"))
    assert all(_contrast(PALETTE[name][side], paper) >= 2.0 for name in CATEGORIES)
    assert len({PALETTE[name][side] for name in CATEGORIES}) == len(CATEGORIES)


def test_an_unknown_colour_is_refused_and_all_are_in_the_css() -> None:
    with pytest.raises(CxrError, match="no colour is called"):
        colour("mauve")
    assert re.findall(r"--cxr-([a-z]+):", colour_css("dark")) == list(PALETTE)


def test_files_come_out_the_same_twice(tmp_path: Path) -> None:
    first = save_figures([figure()], tmp_path / "a", formats=("svg", "png", "csv"))
    second = save_figures([figure()], tmp_path / "b", formats=("svg", "png", "csv"))
    assert [path.name for path in first] == ["bars.svg", "bars.png", "bars.csv"]
    for one, other in zip(first, second, strict=True):
        assert one.read_bytes() == other.read_bytes()
    svg = first[0].read_text(encoding="utf-8")
    assert "<script" not in svg and "&lt;script" in svg and PALETTE["green"][0] in svg
    assert first[1].read_bytes().startswith(b"\x89PNG")
    assert first[2].read_text(encoding="utf-8") == "who,n\n<script>,20\n'=1+1,30\n"


def test_a_picture_bears_its_caption(tmp_path: Path) -> None:
    """In lines, which the page has as text and a picture would lack."""
    words = " ".join(f"word{at}" for at in range(40))
    (path,) = save_figures([replace(figure(), caption=words)], tmp_path, formats=("svg",))
    lines = [line for line in re.findall(r">([^<>]+)<", path.read_text(encoding="utf-8")) if line.startswith("word")]
    assert " ".join(lines) == words and len(lines) > 2
    (path,) = save_figures([replace(figure(), caption="")], tmp_path, formats=("svg",))
    assert figure().title in path.read_text(encoding="utf-8")


@pytest.mark.parametrize("sign", ["=", "+", "-", "@", "\t", "\r"])
def test_no_cell_and_no_column_is_a_formula(sign: str) -> None:
    safe = spreadsheet_safe(pl.DataFrame({f"{sign}a": [f"{sign}cmd", "plain", None], "n": [-1, 2, 3]}))
    assert safe.columns == [f"'{sign}a", "n"]
    assert safe.to_series(0).to_list() == [f"'{sign}cmd", "plain", None]
    assert safe["n"].to_list() == [-1, 2, 3]


def test_what_cannot_be_written_is_said(tmp_path: Path) -> None:
    with pytest.raises(CxrError, match="'gif'") as caught:
        save_figures([figure()], tmp_path, formats=("gif",))
    assert caught.value.code == "CXR-502"
    with pytest.raises(CxrError, match="two figures are called 'bars'"):
        save_figures([figure(), figure()], tmp_path)
    (tmp_path / "taken").write_text("")
    with pytest.raises(CxrError) as caught:
        save_figures([figure()], tmp_path / "taken")
    assert caught.value.code == "CXR-602"


def test_without_the_extra_the_way_out_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(__import__("sys").modules, "vl_convert", None)
    with pytest.raises(CxrError) as caught:
        save_figures([figure()], tmp_path)
    assert caught.value.code == "CXR-604"
    assert caught.value.fix == "pip install 'cxrdata[report]'"
