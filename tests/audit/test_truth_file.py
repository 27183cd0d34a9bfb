"""Truth and groups from a file: the same answers without a catalog."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

import cxrdata
from cxrdata.audit.result import Audit
from cxrdata.errors import CxrError

N = 240


@pytest.fixture
def hospital(tmp_path: Path) -> Path:
    """A hospital's files: 240 exams of 80 patients, three each."""
    exams = [f"exam {at}" for at in range(N)]
    rows = {
        "exam": exams,
        "patient": [f"p{at // 3}" for at in range(N)],
        "Pleural effusion": [["1", "0", "0", "-1", ""][at % 5] for at in range(N)],
        "edema": [["positive", "Negative", "no"][at % 3] for at in range(N)],
        "sex": [["M", "F"][at // 3 % 2] for at in range(N)],
        "site": [["north", "south", ""][at // 3 % 3] for at in range(N)],
        "age_years": [at // 3 for at in range(N)],
        "healthy": [int(at % 2) for at in range(N)],
    }
    pl.DataFrame(rows).write_csv(tmp_path / "truth.csv")
    scores = [(at * 37 % 100) / 100 for at in range(N)]
    table = {"file": exams, "prob_Effusion": scores, "logit_Edema": [score * 8 - 4 for score in scores]}
    pl.DataFrame(table).sample(fraction=1, shuffle=True, seed=1).write_csv(tmp_path / "preds.csv")
    return tmp_path


def _audit(folder: Path, **wishes: object) -> Audit:
    wishes = {"metrics": ["auroc", "prevalence"], "bootstrap": 0, **wishes}
    return cxrdata.audit(predictions=folder / "preds.csv", truth_from=folder / "truth.csv", **wishes)


def _counts(answer: Audit, **where: str) -> list[tuple[int, int]]:
    rows = answer.rows.filter(
        pl.col("metric") == "prevalence", *(pl.col(name) == value for name, value in where.items())
    )
    return list(rows.select("n", "n_positive").iter_rows())


def test_no_catalog_is_looked_for(hospital: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXRDATA_CATALOG", str(hospital / "no such folder"))
    answer = _audit(hospital, by=["sex", "site", "age_group:decades"])
    assert answer.overall["label"].unique(maintain_order=True).to_list() == ["Pleural effusion", "edema"]
    assert set(answer.rows["truth"]) == {"truth.csv"}
    assert _counts(answer, label="edema", group_by="overall") == [(240, 80)]
    assert _counts(answer, label="edema", group_by="sex", group_value="F") == [(120, 40)]
    assert _counts(answer, label="edema", group_by="age_group:decades", group_value="10-19") == [(30, None)]
    assert "site is unknown of 78 images: in the overall rows alone" in answer.notes
    assert not any("without a patient id" in note for note in answer.notes)


def test_groups_of_two_values(hospital: Path) -> None:
    answer = _audit(hospital, by=["age_years>60", "site=north"], labels=["edema"], min_cell=0)
    assert _counts(answer, group_by="age_years>60", group_value=">60") == [
        (57, 19)
    ]  # of 80 patients the 61 to 79 years old
    assert _counts(answer, group_by="age_years>60", group_value="<=60") == [(183, 61)]
    assert _counts(answer, group_by="site=north", group_value="north") == [(81, 27)]
    assert _counts(answer, group_by="site=north", group_value="other") == [(81, 27)]
    assert "site=north is unknown of 78 images: in the overall rows alone" in answer.notes


@pytest.mark.parametrize(("policy", "counts"), [("ignore", (144, 48)), ("zeros", (240, 48)), ("ones", (240, 96))])
def test_policies(hospital: Path, policy: str, counts: tuple[int, int]) -> None:
    answer = _audit(hospital, policy=policy, labels=["effusion"])
    assert _counts(answer, group_by="overall") == [counts]
    assert answer.left_out["images"].sum() == N - counts[0]


def test_among_the_healthy_of_the_file(hospital: Path) -> None:
    assert _counts(_audit(hospital, among="healthy", labels=["edema"])) == [(120, 40)]


def test_calibration_file_of_other_patients(hospital: Path) -> None:
    predictions = pl.read_csv(hospital / "preds.csv").with_columns(at=pl.col("file").str.slice(5).cast(pl.Int64))
    predictions.filter(pl.col("at") < 120).drop("at").write_csv(hospital / "calibration.csv")
    predictions.filter(pl.col("at") >= 120).drop("at").write_csv(hospital / "preds.csv")
    wishes = {
        "threshold": "youden",
        "metrics": ["tpr"],
        "calibrate_on": hospital / "calibration.csv",
        "labels": ["edema"],
    }
    answer = _audit(hospital, **wishes)
    assert answer.warnings == []
    assert answer.rows.filter(metric="threshold").select("n", "n_positive").row(0) == (120, 40)
    assert "preds: 120 of 240 images of file have no prediction" in answer.notes


def test_without_a_patient_column_it_says_so(hospital: Path) -> None:
    pl.read_csv(hospital / "truth.csv").drop("patient").write_csv(hospital / "truth.csv")
    assert any("without a patient id" in note for note in _audit(hospital).notes)


@pytest.mark.parametrize(
    ("wishes", "code"),
    [
        ({"by": ["race"]}, "CXR-501"),
        ({"split": "mine"}, "CXR-502"),
        ({"dataset": "nih"}, "CXR-502"),
        ({"labels": ["hernia"]}, "CXR-501"),
        ({"key": "exam"}, "CXR-501"),
    ],
)
def test_wishes_that_a_file_cannot_meet(hospital: Path, wishes: dict[str, object], code: str) -> None:
    with pytest.raises(CxrError) as caught:
        _audit(hospital, **wishes)
    assert caught.value.code == code


def test_whole_numbers_as_keys(hospital: Path) -> None:
    """Parquet and frames hold them as numbers."""
    for name in ("truth.csv", "preds.csv"):
        frame = pl.read_csv(hospital / name)
        first = frame.columns[0]
        frame = frame.with_columns(pl.col(first).str.slice(5).cast(pl.Int64))
        frame.write_parquet((hospital / name).with_suffix(".parquet"))
    by_number = cxrdata.audit(
        predictions=hospital / "preds.parquet", truth_from=hospital / "truth.parquet", metrics=["auroc"], bootstrap=0
    )
    assert by_number.rows["estimate"].to_list() == _audit(hospital, metrics=["auroc"]).rows["estimate"].to_list()


def test_files_that_have_nothing_in_common(hospital: Path) -> None:
    pl.DataFrame({"file": ["a", "b"], "prob_edema": [0.1, 0.2]}).write_csv(hospital / "preds.csv")
    with pytest.raises(CxrError) as caught:
        _audit(hospital)
    assert caught.value.code == "CXR-504"
