"""`describe`, `rejects`, `verify`, `builds`, `diff`, `cite` from the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cxrdata.cli.main import run
from cxrdata.errors import Exit
from cxrdata.sources.base import Registry
from cxrdata.store.build import BuildRequest, build_catalog
from cxrdata.store.layout import CatalogFolder

HEADER = (
    "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
    "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y]\n"
)
ROWS = (
    "00000001_000.png,Hernia,0,1,58,M,PA,2500,2048,0.1,0.1\n00000002_000.png,No Finding,0,2,7,F,XY,2500,2048,0.1,0.1\n"
)


@pytest.fixture
def catalog(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The default catalog of the current folder: two NIH images, one with an unknown view."""
    (tmp_path / "Data_Entry_2017_v2020.csv").write_text(HEADER + ROWS)
    folder = tmp_path / "cxr-catalog"
    build_catalog(
        BuildRequest(folder, named=[(Registry().get("nih"), tmp_path / "Data_Entry_2017_v2020.csv")], workers=1)
    )
    monkeypatch.delenv("CXRDATA_CATALOG", raising=False)
    monkeypatch.chdir(tmp_path)
    return folder


@pytest.mark.usefixtures("catalog")
def test_describe_and_rejects(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["describe", "--format", "json"]) == Exit.DONE
    rows = {row["relation"]: row["row_count"] for row in json.loads(capsys.readouterr().out)}
    assert rows["images"] == 2
    assert run(["describe", "images"]) == Exit.DONE
    assert "age_years" in capsys.readouterr().out
    assert run(["rejects", "--dataset", "nih", "--code", "CXR-303", "--kind", "value", "--format", "json"]) == Exit.DONE
    assert [row["value"] for row in json.loads(capsys.readouterr().out)] == ["XY"]


def test_verify_by_exit_code(catalog: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["verify"]) == Exit.DONE
    build = CatalogFolder(catalog).require_build()
    build.terms.write_text("other terms")
    assert run(["verify", "--build", build.build_id]) == Exit.DATA
    said = capsys.readouterr()
    path = f"builds/{build.build_id}/DATA_TERMS.md"
    assert said.out.splitlines() == [f"{'path':<{len(path)}}  problem", f"{path}  its bytes have changed"]
    assert said.err == (
        f"build {build.build_id} is whole\nerror CXR-405: the build {build.build_id} is not whole: 1 fault\n  at:  {path}\n"
        f"  fix: remove builds/{build.build_id} from the catalog's folder and run `cxrdata build-catalog` again\n"
    )
    assert run(["verify", "--format", "ndjson", "-q"]) == Exit.DATA
    assert json.loads(capsys.readouterr().out) == {"path": path, "problem": "its bytes have changed"}
    assert run(["verify", "--build", "0" * 16]) == Exit.USAGE


@pytest.mark.usefixtures("catalog")
def test_a_whole_build_has_no_rows_in_any_format(capsys: pytest.CaptureFixture[str]) -> None:
    for row_format, text in (("csv", "path,problem\n"), ("json", "[]\n"), ("ndjson", ""), ("table", "")):
        assert run(["verify", "--format", row_format, "--quiet"]) == Exit.DONE
        assert capsys.readouterr() == (text, "")


def test_builds_and_diff_by_default(catalog: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = CatalogFolder(catalog).require_build().build_id
    for arguments in ([], ["--format", "csv"], ["-c", str(catalog)]):
        assert run(["builds", "list", *arguments]) == Exit.DONE
        listed = capsys.readouterr().out
        assert run(["builds", *arguments]) == Exit.DONE
        assert capsys.readouterr().out == listed
    assert run(["builds", "--help"]) == Exit.DONE
    assert "prune" in capsys.readouterr().out
    assert run(["diff"]) == Exit.USAGE
    assert capsys.readouterr().err == (
        f"error CXR-502: there is only one build, {first}: nothing to compare it with\n"
        "  fix: build again after a change, or name another catalog's folder: `cxrdata diff OTHER-CATALOG`\n"
    )
    source = catalog.parent / "Data_Entry_2017_v2020.csv"
    source.write_text(HEADER + ROWS.replace(",58,", ",59,"))
    assert run(["build-catalog", f"nih={source}", "-q"]) == Exit.DONE
    second = CatalogFolder(catalog).require_build().build_id
    capsys.readouterr()
    for arguments in ([], [first]):
        assert run(["diff", *arguments, "--format", "csv"]) == Exit.DONE
        said = capsys.readouterr()
        assert "nih_cxr14,images: age_years changed,1\n" in said.out
        assert said.err == f"from {first} to {second}\n"


def test_where_sources_are_looked_for_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "Data_Entry_2017_v2020.csv").write_text(HEADER + ROWS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CXRDATA_ROOT", raising=False)

    def told(*arguments: str) -> str:
        assert run(["build-catalog", *arguments]) == Exit.DONE
        return capsys.readouterr().err.splitlines()[0]

    assert told() == "no source named: searching ./data"
    monkeypatch.setenv("CXRDATA_ROOT", str(tmp_path / "data"))
    assert told() == f"no source named: searching {tmp_path / 'data'} ($CXRDATA_ROOT)"
    (tmp_path / "cxrdata.toml").write_text('[sources]\nnih = "data"\n')
    assert told() == "no source named: those of cxrdata.toml"
    assert "no source named" not in told("nih=data")
    assert run(["build-catalog", "--quiet"]) == Exit.DONE
    assert capsys.readouterr().err == ""


def test_builds_diff_and_cite(catalog: Path, capsys: pytest.CaptureFixture[str]) -> None:
    build_id = CatalogFolder(catalog).require_build().build_id
    assert run(["builds", "list", "--format", "json"]) == Exit.DONE
    assert json.loads(capsys.readouterr().out)[0]["build_id"] == build_id
    assert run(["builds", "prune", "--keep", "0", "--dry-run"]) == Exit.DONE
    assert run(["builds", "prune", build_id]) == Exit.USAGE
    assert run(["diff", build_id, str(catalog), "--format", "csv"]) == Exit.DONE
    assert capsys.readouterr().out == "dataset,what,n\n"
    assert run(["cite"]) == Exit.DONE
    assert "@software{cxrdata," in capsys.readouterr().out
    assert run(["cite", "nothing"]) == Exit.USAGE
