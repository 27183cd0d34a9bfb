"""A seventh dataset takes only the places that DESIGN names; the page that says how is true."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import polars as pl
import pytest

from cxrdata.cli.main import run
from cxrdata.store.catalog import Catalog

REPOSITORY = Path(__file__).resolve().parent.parent
TOY = REPOSITORY / "tests" / "toy_source"
OVERLAYS = TOY / "overlay"
PAGE = REPOSITORY / "docs" / "add_a_dataset.md"
NAME = "toy_cxr"
SHIPPED = ("cxrdata", "catalog", "metadata", "sql", "train", "tests", "docs", "benchmarks")
TEXTS = {".py", ".toml", ".tsv", ".sql", ".md", ".txt", ".yml", ".yaml", ".json"}


def _blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


def test_only_its_own_places_mention_it() -> None:
    own = (TOY, PAGE, Path(__file__).resolve())
    mentions = []
    for folder in SHIPPED:
        for path in sorted((REPOSITORY / folder).rglob("*")):
            elsewhere = not any(path == place or place in path.parents for place in own)
            if (
                elsewhere
                and path.suffix in TEXTS
                and path.is_file()
                and NAME in path.read_text(encoding="utf-8", errors="replace")
            ):
                mentions.append(path.relative_to(REPOSITORY).as_posix())
    assert mentions == []


def test_its_places() -> None:
    """A package folder, one TOML, rows in vocabulary files: nothing else."""
    assert {path.name for path in TOY.glob("*.py")} == {"__init__.py", "layout.py", "read.py", "synth.py"}
    assert [path.name for path in (OVERLAYS / "catalog").iterdir()] == [f"{NAME}.toml"]
    assert {path.name for path in OVERLAYS.iterdir() if path.is_file()} <= {
        path.name for path in (REPOSITORY / "metadata").iterdir()
    }


def test_the_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The commands of docs/add_a_dataset.md, one after the other, build the toy source together with NIH."""
    (tmp_path / "toy_source").symlink_to(TOY)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CXRDATA_CATALOG", raising=False)
    commands = [line for block in _blocks("sh") for line in block.splitlines() if line.startswith("cxrdata ")]
    assert len(commands) > 4
    for command in commands:
        assert run(shlex.split(command)[1:]) == 0, f"{command}: {capsys.readouterr().err}"
    with Catalog(tmp_path / "cxr-catalog") as catalog:
        assert catalog.sql("SELECT DISTINCT dataset FROM images ORDER BY ALL").rows() == [("nih_cxr14",), (NAME,)]
        query = "SELECT count(view) = 20 AND count(sex) = 20 AND count(age_years) = 20 AND count(race) > 0 AND count(DISTINCT source_split) = 2 FROM images"
        assert catalog.sql(f"{query} WHERE dataset = '{NAME}'").rows() == [(True,)]
        labels = catalog.sql(
            f"SELECT DISTINCT native_label, finding FROM labels WHERE dataset = '{NAME}' ORDER BY ALL"
        ).rows()
        assert labels == [("fluid", "pleural_effusion"), ("large heart", "cardiomegaly")]
        assert catalog.sql(f"SELECT count(*) FROM healthy WHERE dataset = '{NAME}' AND healthy").rows() > [(0,)]
        assert catalog.sql(f"SELECT count(*) FROM rejects WHERE dataset = '{NAME}'").rows() == [(0,)]
        # Keys in the form that its entry declares, found without the overlay: the catalog knows it.
        keys = pl.DataFrame({"file": ["films/T0001.jpg", "png_T0002.png", "T0003", "T9999"]})
        found = catalog.annotate(keys).frame
        assert found["image_id"].to_list() == ["T0001.png", "T0002.png", "T0003.png", None]


@pytest.mark.parametrize("block", _blocks("python") + _blocks("toml"))
def test_the_page_quotes(block: str) -> None:
    """What the page shows stands so in the toy source."""
    files = [*TOY.glob("*.py"), *OVERLAYS.rglob("*.toml")]
    assert any(block in path.read_text(encoding="utf-8") for path in files)


def test_words_and_codes_agree(tmp_path: Path) -> None:
    """Both releases say the same."""
    labels = []
    for variant in ("coded", "words"):
        folder = tmp_path / variant
        assert (
            run(
                [
                    "synth",
                    str(folder),
                    "--only",
                    "toy",
                    "--variant",
                    f"toy={variant}",
                    "--overlays",
                    str(OVERLAYS),
                    "--quiet",
                ]
            )
            == 0
        )
        source = [
            f"toy={folder}",
            "--overlays",
            str(OVERLAYS),
            "--workers",
            "1",
            "--quiet",
            "-c",
            str(folder / "catalog"),
        ]
        assert run(["build-catalog", *source]) == 0
        with Catalog(folder / "catalog") as catalog:
            assert catalog.sql("SELECT variant FROM source_files WHERE role = 'films'").rows() == [(variant,)]
            labels.append(catalog.sql("SELECT * FROM labels ORDER BY ALL"))
    assert labels[0].equals(labels[1])
