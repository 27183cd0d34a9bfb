"""Files as users have them, and the command."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import polars as pl
import pytest

import cxrdata
from cxrdata.annotate import annotate_file
from cxrdata.annotate.tabular import read_table
from cxrdata.cli.main import run
from cxrdata.errors import CxrError
from cxrdata.store.catalog import Catalog

IDS = ["00000001_000.png", "00000002_000.png"]


def _written(folder: Path, body: bytes | str, name: str = "f.csv") -> Path:
    path = folder / name
    path.write_bytes(body.encode() if isinstance(body, str) else body)
    return path


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_delimiters(tmp_path: Path, delimiter: str) -> None:
    text = f'id{delimiter}p{delimiter}note\n{IDS[0]}{delimiter}0,5{delimiter}"a{delimiter}b ""c"""\n{IDS[1]}{delimiter}0.70{delimiter}\n'
    text = text.replace("0,5", "0.5") if delimiter == "," else text
    frame, _ = read_table(_written(tmp_path, text))
    assert frame.rows() == [
        (IDS[0], "0.5" if delimiter == "," else "0,5", f'a{delimiter}b "c"'),
        (IDS[1], "0.70", None),
    ]


def test_oddities(tmp_path: Path) -> None:
    for body in (
        f"\ufeff,id\n0,{IDS[0]}\n1,{IDS[1]}\n".encode(),
        f",id\r\n0,{IDS[0]}\r\n\r\n1,{IDS[1]}".encode(),
        gzip.compress(f",id,,\n0,{IDS[0]},,\n1,{IDS[1]},,\n".encode()),
    ):
        frame, remarks = read_table(_written(tmp_path, body))
        assert (frame.columns, frame.rows(), remarks) == (["", "id"], [("0", IDS[0]), ("1", IDS[1])], [])


def test_latin_1_and_repeated_names_are_remarked(tmp_path: Path) -> None:
    frame, remarks = read_table(_written(tmp_path, f"id,näme,näme\n{IDS[0]},é,1\n".encode("latin-1")))
    assert frame.columns == ["id", "näme", "näme_2"]
    assert len(remarks) == 2


def test_list_without_header(tmp_path: Path) -> None:
    frame, remarks = read_table(_written(tmp_path, "\n".join(IDS)))
    assert (frame["column_1"].to_list(), len(remarks)) == (IDS, 1)


@pytest.mark.parametrize(
    ("body", "code", "line"),
    [
        (f"a,b\n{IDS[0]},1\n{IDS[1]}\n", "CXR-201", 3),
        (f"a,b\n{IDS[0]},1,2\n", "CXR-202", 2),
        ('a,b\n1,2\n3,4"5\n', "CXR-203", 3),
        ("a,b\n", "CXR-111", None),
        ("", "CXR-102", None),
        ("PAR1xx", "CXR-103", None),
    ],
)
def test_broken_files_are_refused(tmp_path: Path, body: str, code: str, line: int | None) -> None:
    with pytest.raises(CxrError) as caught:
        read_table(_written(tmp_path, body))
    assert caught.value.code == code
    assert caught.value.where == (f"f.csv:{line}" if line else "f.csv")


@pytest.mark.parametrize(
    "body",
    [gzip.compress(b"id\n" + b"00000001_000.png\n" * 500)[:40], b"", b"PAR1xx", b"%PDF-1.7 x"],
    ids=["gzip", "empty", "parquet", "pdf"],
)
def test_a_broken_file_of_the_users_own_is_not_to_be_downloaded(tmp_path: Path, body: bytes) -> None:
    with pytest.raises(CxrError) as caught:
        read_table(_written(tmp_path, body))
    assert caught.value.fix == "write the file again, or copy it again from where it is whole"


def test_parquet_by_content(tmp_path: Path, catalog: Catalog, nih: pl.DataFrame) -> None:
    path = tmp_path / "data"
    nih.select("image_id", "age_years").write_parquet(path)
    assert annotate_file(catalog, path).summary["matched"]["rows"] == nih.height


def test_command_finds_the_leak_and_writes_the_rows(
    tmp_path: Path, catalog_folder: Path, nih: pl.DataFrame, capsys: pytest.CaptureFixture[str]
) -> None:
    frame = nih.filter(pl.len().over("patient_id") > 1).select(
        "image_id",
        p=pl.lit("0.50"),
        split=pl.when(pl.int_range(pl.len()).over("patient_id") == 0).then(pl.lit("train")).otherwise(pl.lit("test")),
    )
    source, out = tmp_path / "leaky.csv", tmp_path / "out.csv"
    frame.write_csv(source)
    arguments = ["annotate", str(source), "-c", str(catalog_folder)]
    assert run([*arguments, "--out", str(out), "--add", "patient_id,age_group:decades"]) == 1
    said = capsys.readouterr()
    assert "LEAKS" in said.out
    assert "CXR-406" in said.err
    written = pl.read_csv(out, infer_schema=False)
    assert written.columns == ["image_id", "p", "split", "patient_id", "age_group_decades"]
    assert written.select(frame.columns).equals(frame)
    assert run([*arguments, "--split", "p", "--format", "json", "--out", str(tmp_path / "out.parquet")]) == 0
    assert json.loads(capsys.readouterr().out)["split"]["patients_leaking"] == 0
    assert pl.read_parquet_schema(tmp_path / "out.parquet")["p"] == pl.Float64
    assert run(["annotate", str(tmp_path / "none.csv"), "-c", str(catalog_folder)]) == 3


def test_published_predictions_on_the_real_catalog(real_data: Path, nih_catalog: Path) -> None:
    with cxrdata.open(nih_catalog) as catalog:
        annotation = annotate_file(catalog, real_data / "chexnet" / "preds.csv.gz")
        assert annotation.summary["matched"]["rows"] == annotation.summary["rows"] == 22_433
        assert annotation.summary["matched"]["patients"] == 6_187
        assert annotation.leaks.is_empty()
        official = annotate_file(catalog, real_data / "nih" / "Data_Entry_2017_v2020.csv.gz").summary
    assert official["matched"]["rows"] == 112_120
    assert [official[kind][0]["different"] for kind in ("ages", "sexes", "views")] == [0, 0, 0]
    assert official["children"] == {"certain": 5_402, "possible": 0, "age_unknown": 0}
