"""The registry of sources: entries of a user's overlay that cannot be read."""

from __future__ import annotations

from pathlib import Path

import pytest

from cxrdata.cli.main import run
from cxrdata.errors import CxrError
from cxrdata.sources.base import Registry

ENTRY = Registry().get("nih").catalog_text.replace('name = "nih_cxr14"', 'name = "mine"')
BROKEN = {
    "no value": ("name = \n", "not valid TOML: Invalid value", "catalog/mine.toml:1 column 8"),
    "no quotes": (
        'name = "toy"\ntitle = Toy X-rays\n',
        "not valid TOML: Invalid value",
        "catalog/mine.toml:2 column 9",
    ),
    "ends early": (
        'name = "toy"\n\n[[file',
        "not valid TOML: Expected ']]' at the end of an array declaration at the end of the file",
        "catalog/mine.toml:3",
    ),
    "key missing": (ENTRY.replace('obtain = "', 'obtained = "'), "the entry lacks 'obtain'", "catalog/mine.toml"),
    "role missing": (ENTRY.replace("role = ", "roll = ", 1), "[[file]] number 1 lacks 'role'", "catalog/mine.toml"),
    "licence is a text": (
        ENTRY.replace("[licence]", 'licence = "CC0"\n[rest]'),
        "[licence] is no table",
        "catalog/mine.toml",
    ),
}


def overlay(folder: Path, text: str) -> Path:
    (folder / "catalog").mkdir()
    (folder / "catalog" / "mine.toml").write_text(text, encoding="utf-8")
    return folder


def test_the_entry_as_it_stands_is_sound(tmp_path: Path) -> None:
    assert "mine" in Registry(overlay(tmp_path, ENTRY)).names


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_entry_is_refused_with_its_place(
    case: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text, problem, where = BROKEN[case]
    folder = overlay(tmp_path, text)
    with pytest.raises(CxrError) as caught:
        Registry(folder)
    assert (caught.value.code, caught.value.problem, caught.value.where) == ("CXR-505", problem, where)
    assert caught.value.fix
    for command in ("sources", "build-catalog"):
        assert run([command, "--overlays", str(folder)]) == 2
        assert capsys.readouterr() == ("", caught.value.block() + "\n")


def test_an_entry_that_is_not_utf_8_is_refused(tmp_path: Path) -> None:
    folder = overlay(tmp_path, "")
    (folder / "catalog" / "mine.toml").write_bytes(b'name = "caf\xe9"\n')
    with pytest.raises(CxrError) as caught:
        Registry(folder)
    assert (caught.value.code, caught.value.problem, caught.value.where) == (
        "CXR-505",
        "the file is not UTF-8",
        "catalog/mine.toml",
    )
