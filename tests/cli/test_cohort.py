"""`cxrdata cohort` and `cxrdata cite COHORT`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from cxrdata.cite import cite
from cxrdata.cli.main import run
from cxrdata.errors import CxrError
from cxrdata.resources import data_folder
from cxrdata.sources.base import Registry
from cxrdata.splits.cohorts import shipped_cohorts
from cxrdata.store.build import BuildRequest, build_catalog
from cxrdata.store.catalog import Catalog

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def folder(registry: Registry, synthetic: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("cohort") / "catalog"
    build_catalog(BuildRequest(made, named=[(registry.get("nih"), synthetic("nih_cxr14"))], workers=1))
    return made


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str]) -> Command:
    def command(*arguments: str) -> tuple[int, str, str]:
        code = run(["cohort", *arguments])
        captured = capsys.readouterr()
        return int(code), captured.out, captured.err

    return command


def test_list_and_show(say: Command) -> None:
    code, out, _ = say("list", "--format", "csv")
    assert code == 0
    assert [line.split(",")[0] for line in out.splitlines()[1:]] == list(shipped_cohorts())
    code, out, _ = say("show", "chexnet_nih")
    assert (code, out) == (0, (data_folder("sql") / "cohorts" / "chexnet_nih.sql").read_text(encoding="utf-8"))


def test_funnel_prints_the_contracts_columns(say: Command, folder: Path) -> None:
    code, out, err = say("funnel", "chexnet_nih", "--format", "csv", "-c", str(folder))
    assert code == 0
    assert out.startswith("step,images,patients,expected_images,delta,race_white,")
    assert "images of NIH ChestX-ray14,112,31,112120,-112008," in out
    assert err == "SYNTHETIC: nih_cxr14; the published counts are those of the real data\n"
    assert say("funnel", "chexnet_nih", "--format", "csv", "-q", "-c", str(folder)) == (0, out, "")


def test_funnel_as_a_table_shows_only_groups_of_somebody(say: Command, folder: Path) -> None:
    code, out, _ = say("funnel", "chexnet_nih", "-q", "-c", str(folder))
    head = out.splitlines()[0].split()
    assert code == 0
    assert head[:5] == ["step", "images", "patients", "expected_images", "delta"]
    assert "race_unknown" in head
    assert "race_white" not in head


def test_funnel_to_files(say: Command, folder: Path, tmp_path: Path) -> None:
    for name, head in (("f.svg", b"<?xml"), ("f.png", b"\x89PNG"), ("f.csv", b"step,images,")):
        assert say("funnel", "chexnet_nih", "-q", "--out", str(tmp_path / name), "-c", str(folder))[:2] == (0, "")
        assert (tmp_path / name).read_bytes().startswith(head)


def test_a_file_by_its_path(say: Command, folder: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine.sql"
    mine.write_text("-- step: all\nSELECT dataset, image_id FROM images\n-- step: bad\nSELECT nothing FROM previous\n")
    code, out, err = say("funnel", str(mine), "-c", str(folder))
    assert (code, out) == (2, "")
    assert err.startswith("error CXR-503: ")
    assert f"  at:  {mine}:3 (step 'bad')\n" in err


def test_time_limit(say: Command, folder: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine.sql"
    mine.write_text(
        "-- step: all\nSELECT dataset, image_id FROM images, range(10000000000000) AS t(n) WHERE n * n < 0\n"
    )
    code, _, err = say("funnel", str(mine), "--timeout", "0.3", "-c", str(folder))
    assert code == 2
    assert err.startswith("error CXR-506: the query ran longer than 0.3 s and was stopped\n")


def test_unknown_cohort(say: Command, folder: Path) -> None:
    code, out, err = say("funnel", "chexnet_nhi", "-c", str(folder))
    assert (code, out) == (2, "")
    assert err.startswith("error CXR-501: there is no cohort 'chexnet_nhi'; did you mean chexnet_nih?\n")


def test_python_and_cite(folder: Path) -> None:
    with Catalog(folder) as catalog:
        keys = catalog.cohort("chexnet_nih")
        assert keys.equals(catalog.table("images").select("dataset", "image_id").sort(pl.all()).collect())
        assert catalog.funnel("chexnet_nih").frame["images"].to_list() == [keys.height] * 2
        assert "The cohort chexnet_nih (SHA-256 " in cite(catalog, "chexnet_nih")
        assert f"holds {keys.height:,} images of this catalog. Its rules follow Zech" in cite(catalog, "chexnet_nih")
        with pytest.raises(CxrError, match="no split or cohort 'chexnet_nhi'; did you mean chexnet_nih") as caught:
            cite(catalog, "chexnet_nhi")
        assert caught.value.code == "CXR-501"
