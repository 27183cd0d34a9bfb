"""Wide label tables: the policies of `Catalog.labels`, and cells that no spreadsheet runs."""

from __future__ import annotations

import csv
import gzip
from pathlib import Path
from types import SimpleNamespace

import polars as pl
import pytest
from hostile import HOSTILE_FILE, HOSTILE_NAME, HOSTILE_VIEW

from cxrdata.errors import CxrError
from cxrdata.export.csv_cells import harmless
from cxrdata.export.labels import export_labels, labels_table, policy_of_findings
from cxrdata.export.relations import terms_notes
from cxrdata.store.catalog import Catalog

IDS = ["image_uid", "dataset", "image_id", "patient_id"]


@pytest.mark.parametrize("policy", ["raw", "zeros", "ones", "ignore"])
def test_the_cells_are_those_of_the_policy(catalog: Catalog, tmp_path: Path, policy: str) -> None:
    made = export_labels(catalog, tmp_path / "l.csv", policy=policy)
    expected = catalog.labels(policy=policy)
    findings = expected.columns[3:]
    seen = pl.read_csv(tmp_path / "l.csv", schema_overrides=dict.fromkeys(findings, pl.Int8), infer_schema=False)
    assert seen.columns == [*IDS, *findings]
    assert seen.select("dataset", "image_id", *findings).equals(expected.drop("labeler"), null_equal=True)
    assert (seen["image_uid"] == seen["dataset"] + ":" + seen["image_id"]).all()
    assert made.files == {tmp_path / "l.csv": expected.height}
    assert made.notes == []
    uncertain = sum((seen[name] == -1).sum() for name in findings)
    assert (uncertain > 0) == (policy == "raw")


def test_parquet_and_gzip_hold_the_same(catalog: Catalog, tmp_path: Path) -> None:
    for name in ("a.csv.gz", "b.csv.gz", "l.csv", "l.parquet"):
        export_labels(catalog, tmp_path / name, policy="raw", columns=["age_years", "sex", "labeler"])
    assert (tmp_path / "a.csv.gz").read_bytes() == (tmp_path / "b.csv.gz").read_bytes()
    assert gzip.decompress((tmp_path / "a.csv.gz").read_bytes()) == (tmp_path / "l.csv").read_bytes()
    frame = pl.read_parquet(tmp_path / "l.parquet")
    assert frame.columns[4:7] == ["age_years", "sex", "labeler"]
    assert frame.schema["edema"] == pl.Int8
    images = catalog.table("images").select("dataset", "image_id", "patient_id", "age_years", "sex").collect()
    joined = frame.select(images.columns).join(images, on=images.columns, how="semi", nulls_equal=True)
    assert joined.height == frame.height == images.height


def test_choices(catalog: Catalog) -> None:
    table = labels_table(
        catalog,
        policy="raw",
        datasets=["nih"],
        labeler="text_mining",
        findings=["hernia", "mass"],
        split="plain",
        rollup=True,
    )
    assert table.columns == [*IDS, "split", "hernia", "mass"]
    split = catalog.split("plain").filter(dataset="nih_cxr14")
    assert table.height == split.height
    expected = catalog.labels(dataset="nih_cxr14", labeler="text_mining", findings=["hernia", "mass"], rollup=True)
    assert table.select("dataset", "image_id", "hernia", "mass").equals(
        expected.drop("labeler").join(split, on=["dataset", "image_id"], how="semi", maintain_order="left"),
        null_equal=True,
    )
    with pytest.raises(CxrError, match="did you mean age_years"):
        labels_table(catalog, policy="raw", columns=["age_year"])


def test_nothing_left_of_a_split_is_said(catalog: Catalog, tmp_path: Path) -> None:
    split = catalog.split("plain")
    other = next(name for name in catalog.manifest["datasets"] if name not in split["dataset"].to_list())
    labelers = {name: {one for one, _ in ones} for name, ones in catalog.manifest["labelers"].items()}
    (foreign, *_) = sorted(labelers[other] - set().union(*(labelers[name] for name in set(split["dataset"]))))
    for wishes, said in (
        ({"datasets": [other]}, f"has no image of {other}"),
        ({"labeler": foreign}, f"with labels of {foreign}"),
    ):
        with pytest.raises(CxrError, match=said) as refused:
            export_labels(catalog, tmp_path / "l.csv", policy="raw", split="plain", **wishes)
        assert refused.value.code == "CXR-502"
    assert list(tmp_path.iterdir()) == []


def test_a_policy_file(catalog: Catalog, tmp_path: Path) -> None:
    path = tmp_path / "policy.toml"
    path.write_text('default = "zeros"\nedema = "ones"\natelectasis = "ignore"\n')
    policy = policy_of_findings(catalog, str(path))
    table = labels_table(catalog, policy=policy, datasets=["chexpert"])
    for finding, same in (("edema", "ones"), ("atelectasis", "ignore"), ("consolidation", "zeros")):
        assert table[finding].equals(catalog.labels(dataset="chexpert", policy=same)[finding], null_equal=True)
    for content, problem in (
        ('edem = "ones"', "did you mean edema"),
        ('edema = "maybe"', "is no policy"),
        ("edema = 1", "is no policy"),
        ("edema = [1]", "is no policy"),
        ("", "says nothing"),
        ("# nothing yet\n", "says nothing"),
    ):
        path.write_text(content)
        with pytest.raises(CxrError, match=problem) as refused:
            policy_of_findings(catalog, str(path))
        assert refused.value.code == "CXR-513"
    with pytest.raises(CxrError, match="did you mean zeros"):
        policy_of_findings(catalog, "zeroes")


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", "\n", "＝"])  # noqa: RUF001
def test_what_a_spreadsheet_would_run_is_quoted(start: str) -> None:
    frame = pl.DataFrame({"id": ["a", f"{start}1", None], "n": [-1, 0, None], start + "h": ["x", "y", "z"]})
    safe, notes = harmless(frame)
    assert safe["id"].to_list() == ["a", f"'{start}1", None]
    assert safe["n"].equals(frame["n"], null_equal=True)
    assert safe.columns == ["id", "n", f"'{start}h"]
    assert notes[0].startswith("id: 1 cell began")
    assert notes[1].startswith("1 column name began")


def test_hostile_cells(hostile: Catalog, tmp_path: Path) -> None:
    columns = ["view_raw", "source_file"]
    made = export_labels(hostile, tmp_path / "safe.csv", policy="raw", columns=columns)
    kept = export_labels(hostile, tmp_path / "kept.csv", policy="raw", columns=columns, escape=False)
    for name, view in (("safe.csv", "'" + HOSTILE_VIEW), ("kept.csv", HOSTILE_VIEW)):
        with (tmp_path / name).open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        assert rows[0]["view_raw"] == view
        assert {row["source_file"] for row in rows} == {HOSTILE_FILE}
        assert {row["dataset"] for row in rows} == {HOSTILE_NAME}
    assert [note.split(":")[0] for note in made.notes] == ["view_raw"]
    assert kept.notes == []


def test_nothing_is_replaced_unasked(catalog: Catalog, tmp_path: Path) -> None:
    out = tmp_path / "l.csv"
    out.write_text("mine")
    with pytest.raises(CxrError, match="CXR-511"):
        export_labels(catalog, out, policy="raw")
    assert out.read_text() == "mine"
    export_labels(catalog, out, policy="raw", force=True)
    assert out.read_text().startswith("image_uid,")
    with pytest.raises(CxrError, match="CXR-511"):
        export_labels(catalog, _folder(tmp_path / "d.csv"), policy="raw", force=True)
    with pytest.raises(CxrError, match="CXR-602"):
        export_labels(catalog, tmp_path / "nowhere" / "l.csv", policy="raw")
    with pytest.raises(CxrError, match="CXR-502"):
        export_labels(catalog, tmp_path / "l.xlsx", policy="raw")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["d.csv", "l.csv"]


def _folder(path: Path) -> Path:
    path.mkdir()
    return path


def test_rows_that_may_not_be_passed_on_are_named(catalog: Catalog) -> None:
    """NIH's may; rows that `cxrdata synth` made up may, whatever they imitate."""
    assert terms_notes(catalog, catalog.manifest["datasets"]) == []
    real = SimpleNamespace(manifest={"synthetic": ["chexpert"]})
    (note,) = terms_notes(real, ["chexpert", "mimic_cxr", "nih_cxr14"])  # type: ignore[arg-type]
    assert note.startswith("rows of mimic_cxr may not be passed on")
