"""`cxrdata study chexnet` from predictions: the published AUCs of the real files, groups against scikit-learn, the golden table.

CXRDATA_UPDATE_EXPECTED=1 writes the golden table anew (`tests/golden.py`).
"""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from chexnet_catalog import make_catalog, truth_of, write_ours, write_theirs
from polars.testing import assert_frame_equal
from sklearn.metrics import roc_auc_score

import cxrdata
from cxrdata.audit.data import Grouping, Scored
from cxrtrain.studies.chexnet.analyse import Analysis, Given, Wish, analyse
from cxrtrain.studies.chexnet.design import findings
from cxrtrain.studies.chexnet.masking import BESIDE, mask_beside
from cxrtrain.studies.chexnet.predictions import find_files
from cxrtrain.studies.chexnet.published import comparison, published_figures
from cxrtrain.studies.comparison import PHANTOMS
from tests.golden import check_golden

GOLDEN = Path(__file__).parent / "golden" / "chexnet.csv"
SCALE = 0.003
QUICK = Wish(bootstrap=30, min_cell=1)
OUTPUTS = ["aucs.csv", "audit.csv", "auroc_by_group.csv", "report.html", "published.csv", "figures"]
Command = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def catalog(synthetic: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_catalog(tmp_path_factory.mktemp("chexnet") / "cat", synthetic("nih_cxr14", scale=SCALE))


@pytest.fixture
def command(cxrdata_command: Callable[[str, str], Command]) -> Command:
    return cxrdata_command("study", "chexnet")


def of(catalog: Path, *files: Path, wish: Wish = QUICK) -> Analysis:
    with cxrdata.open(catalog) as opened:
        return analyse(Given(files, opened), wish)


# On the real predictions and labels.


@pytest.fixture(scope="module")
def published(real_data: Path, nih_catalog: Path) -> Analysis:
    return of(nih_catalog, real_data / "chexnet" / "preds.csv.gz", wish=Wish(bootstrap=0))


def test_the_published_aucs(published: Analysis, real_data: Path) -> None:
    theirs = pl.read_csv(real_data / "chexnet" / "aucs.csv")
    assert_frame_equal(published.aucs, theirs, abs_tol=1e-12)
    compared = comparison(published)
    assert compared.height == 30
    retrained = compared.filter(system="retrained")
    assert retrained["reason"].null_count() == 16
    assert retrained.filter(quantity="auroc")["difference"].abs().max() <= 5e-5 + 1e-9  # published with four places
    assert retrained.filter(pl.col("quantity") != "auroc").select("quantity", "here", "difference").rows() == [
        ("images", 22_433.0, 0.0), ("patients", 6_187.0, 0.0)
    ]  # fmt: skip
    chexnet = compared.filter(system="chexnet")
    assert chexnet.filter(finding="cardiomegaly")["difference"].item() == pytest.approx(0.9090 - 0.9248, abs=5e-5)
    assert chexnet["reason"].str.contains("not public").all()
    told = comparison(replace(published, trained="trained here anew")).filter(system="retrained")
    assert set(told["reason"]) == {"trained here anew"}
    old = comparison(replace(published, old_labels=True)).filter(system="retrained")
    assert old["reason"].str.starts_with("labels of 2017").sum() == 14


def test_groups_against_scikit_learn(published: Analysis, real_data: Path) -> None:
    """Read from the distributed files by nothing of ours."""
    entries = pl.read_csv(real_data / "nih" / "Data_Entry_2017_v2020.csv.gz")
    said = pl.read_csv(real_data / "chexnet" / "preds.csv.gz").join(entries, on="Image Index")
    age = next(name for name in entries.columns if "Age" in name)
    sex = next(name for name in entries.columns if name in ("Patient Sex", "Patient Gender"))
    groups = {
        ("sex", "F"): pl.col(sex) == "F", ("view", "AP"): pl.col("View Position") == "AP",
        ("age_group:pediatric_adult", "adult"): pl.col(age) >= 18,
        ("age_group:decades", "50-59"): pl.col(age).is_between(50, 59),
    }  # fmt: skip
    for label, finding in (("Cardiomegaly", "cardiomegaly"), ("Effusion", "pleural_effusion"), ("Hernia", "hernia")):
        for (by, value), mask in groups.items():
            own = said.filter(mask)
            positive = own["Finding Labels"].str.split("|").list.contains(label)
            row = published.rows.filter(metric="auroc", label=finding, group_by=by, group_value=value)
            assert (row["n"].item(), row["n_positive"].item()) == (own.height, positive.sum())
            expected = roc_auc_score(positive.to_numpy(), own[f"prob_{label}"].to_numpy())
            assert row["estimate"].item() == pytest.approx(expected, abs=1e-12)


def test_the_masked_decade_does_not_follow_from_the_others(published: Analysis) -> None:
    """Four films are of people over 90: with the eighties masked too, their positives are anything from none to four."""
    decades = published.rows.filter(group_by="age_group:decades", label="hernia")
    rows = {row["group_value"]: row for row in decades.filter(metric="auroc").iter_rows(named=True)}
    assert [value for value, row in rows.items() if row["n_positive"] is None] == ["80-89", "90+"]
    assert [value for value, row in rows.items() if row["estimate"] is None] == ["0-9", "10-19", "80-89", "90+"]
    assert (rows["80-89"]["n"], rows["80-89"]["note"]) == (188, BESIDE)
    assert rows["90+"]["note"] == "masked: fewer than 11 patients"
    own = decades.filter(pl.col("group_value") == "80-89")
    assert own.height > 1 and own["n_positive"].null_count() == own["estimate"].null_count() == own.height
    others = published.rows.filter(pl.col("group_by") != "age_group:decades")
    assert (others["note"] == BESIDE).sum() == 0  # nobody else is masked


# On made-up predictions of synthetic tables.


@pytest.mark.parametrize("named", ["80-89", "70-79"])
def test_what_is_masked_beside_a_masked_group_and_what_compares_with_it(named: str) -> None:
    decades = ("60-69", "70-79", "80-89", "90+")
    codes = np.repeat(np.arange(4, dtype=np.int32), (60, 40, 30, 5))
    n = len(codes)
    scored = Scored(
        model="m", label="hernia", truth="text_mining", policy="zeros", probabilities=True, scores=np.zeros(n),
        positive=np.arange(n) % 3 == 0, patients=np.arange(n), weights=np.ones(n),
        groupings=(Grouping("age_group:decades", decades, codes), Grouping("sex", ("F", "M"), (codes > 0).astype(np.int32))),
    )  # fmt: skip
    said = [
        ("age_group:decades", value, "auroc", None if value != "90+" else "masked: fewer than 11 patients")
        for value in decades
    ]
    said += [
        ("age_group:decades", None, "auroc_gap", f"highest 60-69, lowest {named}; no interval"),
        ("age_group:decades", "60-69", "auroc_difference", f"unstable: 9 positives; less {named}"),
        ("sex", "F", "auroc", None),
        ("sex", None, "auroc_gap", "highest F, lowest M"),
        ("overall", None, "auroc", None),
    ]
    numbers = dict.fromkeys(("estimate", "ci_low", "ci_high", "p_value", "p_adjusted"), 0.5)
    rows = pl.DataFrame(
        [
            dict(zip(("group_by", "group_value", "metric", "note"), one, strict=True))
            | {"model": "m", "label": "hernia", "n_positive": 9, "method": "x", **numbers}
            for one in said
        ]
    )
    told = mask_beside(rows, [scored], 11)
    assert told.columns == rows.columns
    hidden = [one is None for one in told["n_positive"]]
    assert hidden == [False, False, True, False, named == "80-89", named == "80-89", False, False, False]
    assert [note == BESIDE for note in told["note"]] == [one is None for one in told["estimate"]] == hidden
    assert mask_beside(rows, [scored], 1).equals(rows)


def test_the_golden_table(catalog: Path, tmp_path: Path) -> None:
    rows = of(catalog, write_theirs(tmp_path / "preds.csv", catalog)).rows.filter(metric="auroc")
    names = ("label", "group_by", "group_value", "n", "n_positive", "estimate", "ci_low", "ci_high", "note")
    check_golden(rows.select(names), GOLDEN)


def test_their_layout_and_ours_say_the_same(catalog: Path, tmp_path: Path) -> None:
    theirs = of(catalog, write_theirs(tmp_path / "preds.csv", catalog), wish=Wish(bootstrap=0))
    ours = of(catalog, write_ours(tmp_path / "ours.parquet", catalog), wish=Wish(bootstrap=0))
    assert (theirs.models, ours.models) == (["preds"], ["run"])
    assert_frame_equal(theirs.rows.drop("model"), ours.rows.drop("model"))
    assert theirs.aucs.columns == ["label", "auc"]
    assert theirs.aucs["label"].to_list() == list(findings().values())


def test_several_models_and_what_is_not_predicted(catalog: Path, tmp_path: Path) -> None:
    files = [
        write_theirs(tmp_path / name / f"{name}.csv", catalog, drop=drop)
        for name, drop in (("a", ()), ("b", ("hernia",)))
    ]
    both = of(catalog, *files, wish=Wish(bootstrap=0))
    assert both.aucs.columns == ["model", "label", "auc"]
    assert both.aucs.group_by("model").len().sort("model").rows() == [("a", 14), ("b", 13)]
    compared = comparison(both)
    assert compared.height == 2 * published_figures().height
    assert set(compared["reason"]) == {PHANTOMS}  # of synthetic tables nothing is comparable
    # As if the tables were real, each row says what stands in the way.
    real = comparison(Analysis(both.rows, both.judged, old_labels=True))
    of_b = real.filter(model="b", system="retrained")
    assert of_b.filter(finding="hernia")["reason"].item() == "this model does not predict it"
    assert "22,433 of 6,187 patients" in of_b.filter(finding="mass")["reason"].item()
    one = of(catalog, files[1], wish=Wish(bootstrap=0))
    assert "not predicted: hernia" in one.notes


def test_from_predictions_to_the_page(command: Command, catalog: Path, tmp_path: Path) -> None:
    results = tmp_path / "results"
    write_theirs(results / "preds.csv", catalog)
    (results / "aucs.csv").write_text("label,auc\nHernia,0.5\n")  # of the same run: passed over
    arguments = ("--predictions", results, "-c", catalog, "--out", tmp_path / "out", "--bootstrap", 20, "--min-cell", 1)
    code, out, err = command(*arguments)
    assert code == 0, err
    assert "analyse: done" in err and "report: done" in err
    assert [Path(line).name for line in out.splitlines()] == OUTPUTS
    with (tmp_path / "out" / "aucs.csv").open() as file:
        assert [row["label"] for row in csv.DictReader(file)] == list(findings().values())
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    for title in (
        "Published and here",
        "By sex",
        "By children and adults",
        "By decade of age",
        "By view",
        "Differences",
    ):
        assert f">{title}</h2>" in page
    assert '<p class="notice">SYNTHETIC DATA' in page
    assert str(tmp_path) not in page
    figures = {path.stem for path in (tmp_path / "out" / "figures").glob("*.svg")}
    assert figures == {"aucs", "auroc_by_sex", "auroc_by_age_pediatric_adult", "auroc_by_age_decades", "auroc_by_view"}
    code, _, err = command(*arguments)
    assert (code, err.splitlines()[-2:]) == (0, ["analyse: found", "report: found"])
    write_theirs(results / "preds.csv", catalog, drop=("hernia",))
    code, out, _ = command(*arguments, "--dry-run", "--format", "csv")
    assert out == "stage,state,after\nanalyse,to run,\nreport,to run,analyse\n"
    code, out, _ = command(*arguments, "--bootstrap", 21, "--only", "analyse")
    assert (code, len(out.splitlines())) == (0, 3)


def test_positions_need_an_order(command: Command, catalog: Path, tmp_path: Path) -> None:
    """Of chexploration's layout, whose rows name no image; what it predicts besides is not judged."""
    truth = truth_of(catalog)
    scores = {f"class_{at}": [0.1 + 0.8 * (row % 7) / 7 for row in range(truth.height)] for at in range(14)}
    pl.DataFrame(scores).write_csv(tmp_path / "preds.csv")
    truth.select(pl.lit("nih_cxr14").alias("dataset"), "image_id").write_csv(tmp_path / "keys.csv")
    arguments = ("--predictions", tmp_path / "preds.csv", "-c", catalog, "--out", tmp_path / "out", "--bootstrap", 0)
    code, _, err = command(*arguments)
    assert (code, "error CXR-517: the rows name no image" in err) == (2, True), err
    code, _, err = command(*arguments, "--order", tmp_path / "keys.csv", "--only", "analyse")
    assert code == 0, err
    held = pl.read_csv(tmp_path / "out" / "aucs.csv")["label"].to_list()
    assert held and set(held) < set(findings().values())


def test_errors_come_as_blocks(command: Command, catalog: Path, tmp_path: Path) -> None:
    theirs = write_theirs(tmp_path / "preds.csv", catalog)
    out = ("--out", tmp_path / "out")
    wrong = {
        ("--predictions", tmp_path / "no", "-c", catalog): (3, "CXR-101: there is no such file or folder"),
        ("--predictions", theirs, "-c", tmp_path / "no"): (3, "CXR-601"),
        ("--predictions", theirs, "--data", "synthetic"): (2, "CXR-502: --predictions are there already"),
        ("--predictions", theirs, "--pictures", 0): (2, "CXR-502: --predictions are there already"),
        ("--predictions", theirs, "-c", catalog, "--split", "none"): (2, "CXR-501"),
        ("--data", "synthetic", "--order", theirs): (2, "CXR-502"),
        ("--predictions", theirs, "-c", catalog, "--order", tmp_path / "no"): (3, "CXR-101"),
        ("--store", tmp_path / "no", "-c", catalog): (1, "CXR-148: there is no finished image store here"),
        (): (2, "CXR-502: nothing says what to train on"),
    }
    for arguments, (expected, said) in wrong.items():
        code, _, err = command(*arguments, *out)
        assert (code, err.count("error CXR-"), said in err) == (expected, 1, True), err
    assert not (tmp_path / "out").exists()
    (tmp_path / "empty").mkdir()
    image = truth_of(catalog)["image_id"][0]
    pl.DataFrame({"Image Index": [image], "prob_Fracture": [0.5]}).write_csv(tmp_path / "other.csv")
    pl.DataFrame({"Image Index": ["99999999_000.png"], "prob_Mass": [0.5]}).write_csv(tmp_path / "strange.csv")
    for place, told in (
        ("empty", "CXR-120: no file here has columns of scores"),
        ("other.csv", "CXR-120: none of the 14 findings is predicted"),
        ("strange.csv", "CXR-504: 'Image Index' holds keys of nih_cxr14, none of which is in the catalog"),
    ):
        _, _, err = command("--predictions", tmp_path / place, "-c", catalog, *out)
        assert told in err and err.count("error CXR-") == 1, err


def test_files_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "aucs.csv").write_text("label,auc\n")
    (tmp_path / "broken.parquet").write_bytes(b"no")
    (tmp_path / "broken.csv.gz").write_bytes(b"no")
    (tmp_path / "preds.csv").write_text("Image Index,prob_Mass\n")
    assert [path.name for path in find_files(tmp_path)] == ["preds.csv"]
