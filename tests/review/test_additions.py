"""`review add`: what a file states is checked and completed; what does not hold is named with a way out."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from cxrdata.errors import CxrError
from cxrdata.review.additions import add_datasets, checked
from cxrdata.review.facts import load_facts
from cxrdata.review.tables import make_table
from cxrdata.schemas.open_datasets import OPEN_DATASETS, read_open_datasets
from cxrdata.schemas.vocabulary_tables import vocabulary_frames
from cxrdata.sources.base import Registry
from cxrdata.vocabularies import Vocabularies
from tests.review.workbooks import write_workbook

TOY = """[[dataset]]
dataset_name = "Toy Chest"
source = "collections"
modalities = ["X-ray", "CT"]
patients_stated = 100
images_stated = 300
age_class = "children"
institutions = ["Hospital of Lima"]
institution_countries = ["Peru"]
aliases = ["TOYCHEST"]
"""


def written(folder: Path, text: str, name: str = "mine.toml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def refused(folder: Path, text: str, name: str = "mine.toml") -> tuple[str, str, str, str | None]:
    with pytest.raises(CxrError) as caught:
        add_datasets(written(folder, text, name), folder / "to.tsv")
    assert not (folder / "to.tsv").exists()
    error = caught.value
    return error.code, error.problem, error.where or "", error.fix


def test_an_entry_is_completed_and_counted(tmp_path: Path) -> None:
    added = add_datasets(written(tmp_path, TOY), tmp_path / "to.tsv")
    row = added.datasets.row(0, named=True)
    assert (row["entry"], row["canonical_name"], row["listed_before"]) == (213, "Toy Chest", False)
    assert (row["modality_shares"], row["modality_shares_from"]) == ([0.5, 0.5], "equal")
    assert (row["patients"], row["sequences"], row["sequences_imputed_from"]) == (100, 100, "patients")
    assert (row["adult_share_low"], row["adult_share"], row["adult_share_high"]) == (0.0, 0.0, 0.0)
    facts, remarks = load_facts(tmp_path / "to.tsv")
    assert (facts.datasets.equals(added.facts), remarks) == (True, [])
    before = make_table("summary", load_facts()[0], "published")
    after = make_table("summary", facts, "published")
    assert after["children"][0] - before["children"][0] == 100
    assert after["countries"][0] - before["countries"][0] == 1


def test_facts_that_were_added_to_are_added_to_again(tmp_path: Path) -> None:
    add_datasets(written(tmp_path, TOY), tmp_path / "one.tsv")
    more = TOY.replace("Toy Chest", "Toy Head").replace("TOYCHEST", "TOYHEAD")
    both = add_datasets(written(tmp_path, more, "more.toml"), tmp_path / "two.tsv", facts=tmp_path / "one.tsv")
    assert both.facts["dataset_name"].to_list()[-2:] == ["Toy Chest", "Toy Head"]
    assert "mine.toml" in (tmp_path / "two.tsv").read_text(encoding="utf-8").splitlines()[1]


def test_papers_and_lists_of_a_workbook_go_with_its_facts(tmp_path: Path) -> None:
    """Facts that were imported keep their own; those that ship stay where they are."""
    workbook = write_workbook(tmp_path / "w.xlsx", {})
    add_datasets(written(tmp_path, TOY), tmp_path / "new" / "facts.tsv", facts=workbook)
    facts, _ = load_facts(tmp_path / "new" / "facts.tsv")
    assert (facts.datasets.height, facts.papers.height, facts.listings.height) == (7, 0, 5)
    add_datasets(written(tmp_path, TOY), tmp_path / "of_ours" / "facts.tsv")
    assert [path.name for path in (tmp_path / "of_ours").iterdir()] == ["facts.tsv"]


def test_columns_as_tsv_are_an_entry_too(tmp_path: Path) -> None:
    text = "dataset_name\tsource\tmodalities\tpatients\tadult_share_low\nToy\tchallenges\tCT|MRI\t40\t0.9\n"
    row = add_datasets(written(tmp_path, text, "mine.tsv"), tmp_path / "to.tsv").datasets.row(0, named=True)
    assert (row["modalities"], row["patients"], row["patients_stated"]) == (["CT", "MRI"], 40, 40)
    assert (row["age_class"], row["adult_share_low"], row["adult_share"], row["adult_share_high"]) == ("both", 0.9, 0.9, 1.0)  # fmt: skip


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("modalities", "modalites", "'modalites' is no key of a dataset; did you mean modalities"),
        ('"CT"', '"Xray"', "'modalities' is 'Xray', which is not known; did you mean X-ray?"),
        ('"collections"', '"collection"', "'source' is 'collection', which is not known; did you mean collections?"),
        ('"children"', '"child"', "'age_class' is 'child', which is not known"),
        ("= 100", '= "many"', "'patients_stated' is 'many', of the wrong kind"),
        ("= 100", "= true", "'patients_stated' is True, of the wrong kind"),
        ("= 100", "= -1", "'patients_stated' is -1, which is no number of that kind"),
        ("= 100", "= 100\nage_mean_years = nan", "'age_mean_years' is nan, which is no number of that kind"),
        ("aliases", "entry = 3\naliases", "'entry' is worked out, not stated"),
        ('["Peru"]', '"Peru"', "'institution_countries' is no list"),
        ('["Peru"]', '["Peru", "Chile"]', "'institutions' and 'institution_countries' differ in length"),
        ("aliases", "modality_shares = [0.81, 0.2]\naliases", "'modality_shares' sum to 101 %"),
        ("aliases", "female_share = 55\naliases", "'female_share' is 55, which is no share"),
        ("= 100", "= 99999999999999999999999", "'patients_stated' is 1e+23, more than 1,000,000,000"),
        ("= 300", "= 9223372036854775807", "'images_stated' is 9.22337e+18, more than 1,000,000,000"),
        ("aliases", "age_mean_years = 500\naliases", "'age_mean_years' is 500, more than 130"),
        ("aliases", "adult_share_high = 0.4\naliases", "'age_class' is 'children', and the share of adults is another than 0"),
        ('"children"', '"adult"\nadult_share_low = 0.9', "'age_class' is 'adult', and the share of adults is another than 1"),
        ('"children"', '"adult"\nadult_share = 0.99', "'age_class' is 'adult', and the share of adults is another than 1"),
        ("aliases", 'links = ["ftp://x.org"]\naliases', "'links' holds 'ftp://x.org', which is no link"),
        ("aliases", 'paper_links = ["see below"]\naliases', "'paper_links' holds 'see below', which is no link"),
        ("aliases", "adult_share = 0.5\nadult_share_low = 0.9\naliases", "the share of adults lies outside its bounds"),
        ("aliases", "age_min_years = 9\nage_max_years = 2\naliases", "'age_min_years' is above 'age_max_years'"),
        ("aliases", 'part = "kaggle"\naliases', "'kaggle' is no part of 'collections'"),
        ("Toy Chest", "Toy|Chest", "'dataset_name' holds a tab, a line end or '|'"),
        ('dataset_name = "Toy Chest"\n', "", "'dataset_name' is lacking"),
        ("[[dataset]]", "[[datasets]]", "'datasets' is no list of datasets"),
    ],
)  # fmt: skip
def test_what_does_not_hold_is_named(tmp_path: Path, old: str, new: str, problem: str) -> None:
    code, said, where, fix = refused(tmp_path, TOY.replace(old, new))
    assert code == "CXR-118"
    assert said.startswith(problem)
    assert where.startswith("mine.toml")
    assert fix


@pytest.mark.parametrize("name", ["CheXpert", "chexpert", "C4KC-KiTS", "KiTS19", "VinDr-CXR"])
def test_a_dataset_that_is_listed_is_refused_by_any_name(tmp_path: Path, name: str) -> None:
    code, said, where, fix = refused(tmp_path, TOY.replace("Toy Chest", name))
    assert (code, where) == ("CXR-119", "mine.toml [dataset 1]")
    assert said.startswith(f"{name!r} is listed already, as ")
    assert "again = true" in (fix or "")


def test_a_dataset_is_refused_by_an_alias_and_within_one_file(tmp_path: Path) -> None:
    assert refused(tmp_path, TOY.replace("TOYCHEST", "2022 AMOS"))[:2] == (
        "CXR-119", "'Toy Chest' is listed already, as 'AMOS'",
    )  # fmt: skip
    assert refused(tmp_path, TOY + TOY)[0::2] == ("CXR-119", "mine.toml [dataset 2]")


def test_again_adds_a_further_entry_of_the_same_dataset(tmp_path: Path) -> None:
    text = TOY.replace("Toy Chest", "KiTS19") + "again = true\n"
    row = checked(written(tmp_path, text), read_open_datasets()).row(0, named=True)
    assert row["canonical_name"] == "KiTS19"
    careful = make_table("summary", load_facts()[0], "careful")["datasets"][0]
    more = add_datasets(written(tmp_path, text), tmp_path / "to.tsv")
    facts, _ = load_facts(tmp_path / "to.tsv")
    assert more.facts.height == 213
    assert make_table("summary", facts, "careful")["datasets"][0] == careful


@pytest.mark.parametrize(
    ("text", "name", "code"),
    [("", "mine.toml", "CXR-118"), ("dataset = 3", "mine.toml", "CXR-118"), ("[[dataset", "mine.toml", "CXR-505"),
     ("dataset_name\tsource\tpatients\nA\tchallenges\tmany\n", "mine.tsv", "CXR-118"),
     ("dataset_name\tcolour\nA\tred\n", "mine.tsv", "CXR-118")],
)  # fmt: skip
def test_files_that_hold_no_entries(tmp_path: Path, text: str, name: str, code: str) -> None:
    assert refused(tmp_path, text, name)[0] == code


def test_a_file_that_is_not_there_and_a_place_that_is_no_tsv(tmp_path: Path) -> None:
    with pytest.raises(CxrError, match="CXR-101"):
        add_datasets(tmp_path / "none.toml", tmp_path / "to.tsv")
    with pytest.raises(CxrError, match="CXR-502"):
        add_datasets(written(tmp_path, TOY), tmp_path / "to.csv")


def overlaid(folder: Path) -> pl.DataFrame:
    frames = {table.name: frame for table, frame in vocabulary_frames(Vocabularies.load(folder), Registry(), {})}
    return frames["open_datasets"]


def test_facts_in_the_overlays_folder_join_those_of_a_build(tmp_path: Path) -> None:
    add_datasets(written(tmp_path, TOY), tmp_path / "overlays" / "open_datasets.tsv")
    frame = overlaid(tmp_path / "overlays")
    shipped = read_open_datasets()
    assert frame.height == shipped.height + 1
    assert frame["entry"].to_list() == list(range(1, 214))
    assert frame.head(212).equals(shipped)
    assert frame["dataset_name"].to_list()[-1] == "Toy Chest"
    assert "overlay/open_datasets.tsv" in Vocabularies.load(tmp_path / "overlays").digests


def test_facts_that_no_sum_holds_are_refused(tmp_path: Path) -> None:
    add_datasets(written(tmp_path, TOY), tmp_path / "to.tsv")
    text = (tmp_path / "to.tsv").read_text(encoding="utf-8")
    with pytest.raises(CxrError, match="CXR-505") as caught:
        load_facts(written(tmp_path, text.replace("\t300\t", "\t9223372036854775807\t"), "huge.tsv"))
    assert caught.value.where == "huge.tsv [entry 213]"


def test_an_overlay_wins_and_one_that_does_not_hold_is_named(tmp_path: Path) -> None:
    shipped = read_open_datasets()
    mine = shipped.head(1).with_columns(patients=pl.lit(7, pl.Int64))
    text = "\t".join(OPEN_DATASETS.columns) + "\n" + "\t".join(_cell(value) for value in mine.row(0)) + "\n"
    written(tmp_path, text, "open_datasets.tsv")
    frame = overlaid(tmp_path)
    assert (frame.height, frame["patients"][0]) == (212, 7)
    written(tmp_path, text.replace("challenges", "nowhere"), "open_datasets.tsv")
    with pytest.raises(CxrError, match="CXR-505") as caught:
        overlaid(tmp_path)
    assert caught.value.where == "open_datasets.tsv [entry 1]"


def _cell(value: object) -> str:
    if isinstance(value, list):
        return "|".join(map(str, value))
    return "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
