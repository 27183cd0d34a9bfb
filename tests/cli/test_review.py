"""`cxrdata review`: the facts from a workbook, and the summary of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from cxrdata.cli.main import run
from cxrdata.review import workbook as sheets
from cxrdata.review.facts import load_facts
from cxrdata.review.tables import RULES, TABLES, make_table
from tests.review.workbooks import ADULTS, write_workbook


def test_summary_without_a_workbook(capsys: pytest.CaptureFixture[str]) -> None:
    """CONTRACT §7: the columns and the order of the sources."""
    assert run(["review", "summary", "--rules", "published", "--format", "csv"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "source,countries,institutions,datasets,analysed,patients,children,percent_children"
    assert lines[1] == "total,34,181,203,135,512608,6026,1.18"
    assert [line.split(",")[0] for line in lines[1:]] == [
        "total",
        "without_cancer",
        "collections",
        "tcia",
        "midrc",
        "stanford_aimi",
        "challenges",
        "grand_challenge",
        "kaggle",
        "highly_cited",
        "benchmarks",
        "msd",
        "medfair",
        "amos",
    ]


def test_import_then_summary(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The summary is the same of a workbook and of the facts that were made from it, and bad cells are printed."""
    doubtful = {**ADULTS, sheets.NAME: "<script>", sheets.ADULT: "Teenagers", sheets.LOCATION: "Kaggle"}
    path = write_workbook(tmp_path / "w.xlsx", {"Challenges": [ADULTS, doubtful]})
    assert run(["review", "import", str(path), "--out", str(tmp_path / "facts"), "--format", "csv"]) == 0
    said = capsys.readouterr()
    assert said.out.splitlines() == [
        "code,sheet,cell,column_name,value,message",
        'CXR-309,Challenges,I3,Peds vs. Adult,Teenagers,"neither Adult, Peds, `Peds, Adult`, `Peds, Adult (>x%)` nor Adult/Prenatal"',
    ]
    assert "7 datasets listed; 1 cell not understood or doubtful" in said.err
    facts = tmp_path / "facts" / "open_datasets.tsv"
    assert run(["review", "summary", str(facts), "--format", "csv"]) == 0
    of_facts = capsys.readouterr()
    assert run(["review", "summary", str(path), "--format", "csv"]) == 0
    of_workbook = capsys.readouterr()
    assert of_facts.out == of_workbook.out
    assert "kaggle,0,0,1,0,0,0,\n" in of_facts.out
    assert (of_facts.err, "review import" in of_workbook.err) == ("", True)


def test_import_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    path = write_workbook(tmp_path / "w.xlsx", {"Challenges": [ADULTS]})
    made = [tmp_path / name for name in ("a.tsv", "b.tsv")]
    for place in made:
        assert run(["review", "import", str(path), "--out", str(place), "--quiet"]) == 0
    assert made[0].read_bytes() == made[1].read_bytes()
    assert str(tmp_path).encode() not in made[0].read_bytes()


@pytest.mark.parametrize(
    ("name", "text", "code", "problem"),
    [
        ("w.xlsx", "no workbook", 1, "error CXR-110: this is not an Excel workbook (.xlsx), or it is damaged or encrypted"),
        ("facts.tsv", "entry\n1\n", 2, "error CXR-505: the file lacks the column source"),
        ("gone.tsv", None, 3, "error CXR-101: the file of the review's facts does not exist"),
    ],
)  # fmt: skip
def test_files_that_are_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, text: str | None, code: int, problem: str
) -> None:
    if text is not None:
        (tmp_path / name).write_text(text)
    assert run(["review", "summary", str(tmp_path / name)]) == code
    assert capsys.readouterr().err.splitlines()[0] == problem


@pytest.mark.parametrize("rules", RULES)
@pytest.mark.parametrize("name", TABLES)
def test_every_table_is_a_command(name: str, rules: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["review", name, "--rules", rules, "--format", "csv"]) == 0
    said = capsys.readouterr()
    assert said.out == make_table(name, load_facts()[0], rules).write_csv()
    assert said.err == ""


def test_a_table_is_drawn(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("altair")
    folder = tmp_path / "figures"
    assert run(["review", "modalities", "--rules", "careful", "--figures", str(folder), "--format", "csv"]) == 0
    assert sorted(path.name for path in folder.iterdir()) == [
        "review_modalities_careful.png",
        "review_modalities_careful.svg",
    ]
    assert "figure written to" in capsys.readouterr().err


def test_add_then_count(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mine = tmp_path / "mine.toml"
    mine.write_text('[[dataset]]\ndataset_name = "Toy"\nsource = "challenges"\npatients = 40\nage_class = "children"\n')
    assert run(["review", "add", str(mine), "--to", str(tmp_path / "facts.tsv")]) == 0
    assert "1 dataset added" in capsys.readouterr().err
    assert run(["review", "summary", str(tmp_path / "facts.tsv"), "--format", "csv"]) == 0
    assert "total,34,181,204,136,512648,6066,1.18\n" in capsys.readouterr().out
    assert (
        run(["review", "add", str(mine), "--facts", str(tmp_path / "facts.tsv"), "--to", str(tmp_path / "x.tsv")]) == 1
    )
    assert "error CXR-119: 'Toy' is listed already" in capsys.readouterr().err


@pytest.mark.parametrize("name", TABLES)
def test_lists_that_are_not_the_users_are_remarked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    path = write_workbook(tmp_path / "w.xlsx", {})
    facts = tmp_path / "facts" / "open_datasets.tsv"
    assert run(["review", "import", str(path), "--out", str(facts), "--quiet"]) == 0
    capsys.readouterr()
    assert run(["review", name, str(facts), "--format", "csv"]) == 0
    assert capsys.readouterr().err == ""
    (facts.parent / "review_papers.tsv").unlink()
    assert run(["review", name, str(facts), "--format", "csv"]) == 0
    said = capsys.readouterr().err
    shown = name in {"papers", "documentation"}
    assert said == ("no review_papers.tsv beside open_datasets.tsv: those that ship are shown\n" if shown else "")
    (facts.parent / "review_listings.tsv").unlink()
    assert run(["review", name, str(facts), "--format", "csv"]) == 0
    assert ("review_listings.tsv" in capsys.readouterr().err) == (name in {"papers", "repackaging"})


def test_import_writes_papers_and_lists_beside_the_facts(tmp_path: Path) -> None:
    path = write_workbook(tmp_path / "w.xlsx", {"Challenges": [ADULTS]})
    assert run(["review", "import", str(path), "--out", str(tmp_path / "facts"), "--quiet"]) == 0
    assert sorted(file.name for file in (tmp_path / "facts").iterdir()) == [
        "open_datasets.tsv",
        "review_listings.tsv",
        "review_papers.tsv",
    ]
    facts, _ = load_facts(tmp_path / "facts" / "open_datasets.tsv")
    assert (facts.papers.height, facts.listings.height) == (0, 5)
