"""Audits from files to rows, on synthetic datasets: what is judged, by whose truth, in which groups."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import cxrdata
from cxrdata.audit.result import Audit
from cxrdata.cli.main import run
from cxrdata.errors import CxrError
from cxrdata.interop.layout_facts import CHEXPERT_LABELS
from cxrdata.sources.base import Registry
from cxrdata.store.build import BuildRequest, build_catalog
from cxrdata.store.catalog import Catalog

KEY = ["dataset", "image_id"]


@pytest.fixture(scope="module")
def folder(registry: Registry, synthetic: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("audit") / "cxr-catalog"
    scales = {"chexpert": 0.004, "nih_cxr14": 0.004, "vindr_cxr": 0.01}
    named = [(registry.get(name), synthetic(name, scale=scale)) for name, scale in scales.items()]
    build_catalog(BuildRequest(folder, named=named, workers=1))
    return folder


@pytest.fixture(scope="module")
def catalog(folder: Path) -> Iterator[Catalog]:
    with cxrdata.open(folder) as opened:
        yield opened


def _score(*parts: str) -> float:
    """A number in [0, 1) that depends on nothing but the words; to three digits, so that there are ties."""
    return int(hashlib.sha256("|".join(parts).encode()).hexdigest()[:8], 16) % 1000 / 1000


def _predictions(
    catalog: Catalog, *datasets: str, labels: tuple[str, ...] = ("cardiomegaly",), model: str = "m"
) -> pl.DataFrame:
    """dataset, image_id and a score a label for every image."""
    images = catalog.table("images").select(KEY).sort(KEY).collect().filter(pl.col("dataset").is_in(datasets))
    scores = {f"prob_{label}": [_score(model, label, key) for key in images["image_id"]] for label in labels}
    return images.with_columns(**{name: pl.Series(values) for name, values in scores.items()})


@pytest.fixture
def predicted(catalog: Catalog, tmp_path: Path) -> Callable[..., Path]:
    """`predicted("chexpert", labels=…)`: a file of predictions."""

    def write(*datasets: str, name: str = "preds.csv", **wishes: object) -> Path:
        frame = _predictions(catalog, *datasets, **wishes)  # type: ignore[arg-type]
        frame.write_csv(tmp_path / name) if name.endswith(".csv") else frame.write_parquet(tmp_path / name)
        return tmp_path / name

    return write


def _auroc(scores: np.ndarray, positive: np.ndarray, weights: np.ndarray | None = None) -> float:
    """By its definition: the share of pairs in which the positive one scores higher, ties by half."""
    weights = np.ones(len(scores)) if weights is None else weights
    above, below = scores[positive], scores[~positive]
    pairs = np.outer(weights[positive], weights[~positive])
    wins = (above[:, None] > below[None, :]) + 0.5 * (above[:, None] == below[None, :])
    return float((pairs * wins).sum() / pairs.sum())


def _one(answer: Audit, metric: str, **where: str | None) -> dict[str, object]:
    rows = answer.rows.filter(pl.col("metric") == metric)
    for name, value in where.items():
        rows = rows.filter(pl.col(name).eq_missing(pl.lit(value)))
    return rows.row(0, named=True) if rows.height == 1 else pytest.fail(str(rows))


def _states(catalog: Catalog, dataset: str, label: str) -> pl.DataFrame:
    """image_id and state of the preferred labeler, as the long view has it."""
    return catalog.sql(
        "SELECT l.image_id, l.state FROM labels l JOIN image_labels i ON l.dataset = i.dataset AND l.image_id = i.image_id"
        " AND l.labeler = i.labeler WHERE l.dataset = $dataset AND l.finding = $label",
        {"dataset": dataset, "label": label},
    )


@pytest.mark.parametrize(
    ("policy", "positive", "negative"),
    [
        ("ignore", ("positive",), ("negative",)),
        ("raw", ("positive",), ("negative",)),
        ("zeros", ("positive",), ("negative", "uncertain", "unmentioned")),
        ("ones", ("positive", "uncertain"), ("negative", "unmentioned")),
    ],
)
def test_policy_decides_what_is_judged(
    catalog: Catalog, predicted: Callable[..., Path], policy: str, positive: tuple[str, ...], negative: tuple[str, ...]
) -> None:
    answer = cxrdata.audit(predictions=predicted("chexpert"), catalog=catalog, policy=policy, bootstrap=0)
    states = _states(catalog, "chexpert", "cardiomegaly").filter(pl.col("state").is_in([*positive, *negative]))
    truth = states["state"].is_in(positive).to_numpy()
    scores = np.array([_score("m", "cardiomegaly", key) for key in states["image_id"]])
    row = _one(answer, "auroc")
    assert (row["n"], row["n_positive"]) == (len(truth), int(truth.sum()))
    assert row["estimate"] == pytest.approx(_auroc(scores, truth), abs=1e-12)
    assert row["policy"] == policy
    assert answer.left_out["images"].sum() == catalog.table("images").filter(dataset="chexpert").collect().height - len(
        truth
    )


def test_policy_file_and_labels_by_any_name(catalog: Catalog, predicted: Callable[..., Path], tmp_path: Path) -> None:
    (tmp_path / "policy.toml").write_text('edema = "ones"\n')
    path = predicted("chexpert", labels=("Edema", "Enlarged Cardiomediastinum", "Effusion"))
    answer = cxrdata.audit(
        predictions=path, catalog=catalog, policy=str(tmp_path / "policy.toml"), metrics=["auroc"], bootstrap=0
    )
    assert dict(answer.overall.select("label", "policy").iter_rows()) == {
        "edema": "ones", "enlarged_cardiomediastinum": "ignore", "pleural_effusion": "ignore",
    }  # fmt: skip


def test_labeler_and_groups_stand_in_every_row(catalog: Catalog, predicted: Callable[..., Path]) -> None:
    answer = cxrdata.audit(
        predictions=predicted("chexpert"), catalog=catalog, truth="chexbert", policy="zeros", metrics=["auroc"],
        by=["sex", "age_group:chexploration"], cross=["sex", "race"], bootstrap=5, min_cell=0,
    )  # fmt: skip
    assert set(answer.rows["truth"]) == {"chexbert"}
    assert answer.rows["n"].null_count() == 0
    assert answer.by_group["group_by"].unique(maintain_order=True).to_list() == [
        "sex",
        "age_group:chexploration",
        "sex & race",
    ]
    images = catalog.table("images").filter(dataset="chexpert").collect()
    labelled = catalog.labels(
        dataset="chexpert", labeler="chexbert", findings=["cardiomegaly"], policy="zeros"
    ).drop_nulls("cardiomegaly")
    both = labelled.join(images, on=KEY).filter(sex="F", race="White")
    assert _one(answer, "auroc", group_by="sex & race", group_value="F & White")["n"] == both.height
    ages = answer.by_group.filter(group_by="age_group:chexploration")["group_value"].to_list()
    assert ages == [age for age in ["<=20", "<=30", "<=40", "<=50", "<=60", "<=70", "<=80", ">80"] if age in ages]


def test_by_dataset(catalog: Catalog, predicted: Callable[..., Path]) -> None:
    path = predicted("nih_cxr14", "vindr_cxr", name="both.parquet")
    both = cxrdata.audit(predictions=path, catalog=catalog, by=["dataset"], metrics=["auroc"], bootstrap=0, min_cell=0)
    assert set(both.rows["truth"]) == {"consensus+reader_majority+text_mining"}
    for dataset in ("nih_cxr14", "vindr_cxr"):
        alone = cxrdata.audit(predictions=path, catalog=catalog, dataset=dataset, metrics=["auroc"], bootstrap=0)
        of_group, of_all = _one(both, "auroc", group_value=dataset), _one(alone, "auroc")
        assert [of_group[name] for name in ("n", "n_positive", "estimate")] == [
            of_all[name] for name in ("n", "n_positive", "estimate")
        ]


def test_the_package_is_called_by_keyword_only() -> None:
    import cxrdata.audit as package

    assert package is cxrdata.audit
    assert package.run.audit.__kwdefaults__["bootstrap"] == 2000
    with pytest.raises(TypeError):
        cxrdata.audit("preds.csv")  # type: ignore[misc]


def test_false_positives_among_the_healthy(catalog: Catalog, predicted: Callable[..., Path]) -> None:
    path = predicted("nih_cxr14", labels=("cardiomegaly", "no_finding"))
    answer = cxrdata.audit(
        predictions=path,
        catalog=catalog,
        among="healthy",
        threshold=0.5,
        metrics=["fpr", "tpr", "prevalence"],
        bootstrap=0,
    )
    healthy = catalog.sql("SELECT image_id FROM healthy WHERE dataset = 'nih_cxr14' AND healthy")["image_id"].to_list()
    row = _one(answer, "fpr", label="cardiomegaly")
    assert (row["n"], row["n_positive"]) == (len(healthy), 0)
    called = np.mean([_score("m", "cardiomegaly", key) >= 0.5 for key in healthy])
    assert row["estimate"] == pytest.approx(called, abs=1e-12)
    assert row["policy"] == "ignore, among healthy"
    tpr = _one(answer, "tpr", label="cardiomegaly")
    assert (tpr["estimate"], tpr["note"]) == (None, "undefined: no positives")
    assert _one(answer, "prevalence", label="no_finding")["estimate"] == 1


def test_what_a_healthy_image_is_not_said_to_have_it_has_not(catalog: Catalog, predicted: Callable[..., Path]) -> None:
    """CheXpert's labeler mentions next to nothing on a normal film; by the policy alone nobody would be left to judge."""
    answer = cxrdata.audit(
        predictions=predicted("chexpert"), catalog=catalog, among="healthy", threshold=0.5, metrics=["fpr"], bootstrap=0
    )
    healthy = catalog.sql(
        "SELECT count(*) FILTER (cardiomegaly IS DISTINCT FROM -1 AND cardiomegaly IS DISTINCT FROM 1), count(*)"
        " FROM healthy JOIN image_labels USING (dataset, image_id) WHERE dataset = 'chexpert' AND healthy"
    ).row(0)
    row = _one(answer, "fpr")
    assert (row["n"], row["n_positive"]) == (healthy[0], 0)
    assert healthy[0] > 20


def test_among_the_healthy_the_threshold_comes_from_all(catalog: Catalog, predicted: Callable[..., Path]) -> None:
    path = predicted("nih_cxr14")
    wishes = {"predictions": path, "catalog": catalog, "threshold": "youden", "metrics": ["fpr"], "bootstrap": 0}
    healthy = cxrdata.audit(**wishes, among="healthy")
    assert _one(healthy, "threshold")["estimate"] == _one(cxrdata.audit(**wishes), "threshold")["estimate"]
    assert healthy.warnings[0].startswith("the threshold is chosen on the very images that it is judged on")


def test_draws_of_a_resampled_split_are_weights(
    folder: Path, catalog: Catalog, predicted: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    where = ["-c", str(folder), "--quiet"]
    assert run(["split", "--dataset", "chexpert", "--name", "plain", *where]) == 0
    assert run(["resample", "plain", "--balance", "sex", "--name", "drawn", *where]) == 0
    capsys.readouterr()
    answer = cxrdata.audit(
        predictions=predicted("chexpert"), catalog=folder, split="drawn", policy="zeros", metrics=["auroc"], bootstrap=0
    )
    draws = pl.DataFrame(cxrdata.open(folder).split("drawn")).filter(
        (pl.col("split") == "test") & (pl.col("n_draws") > 0)
    )
    truth = draws.join(catalog.labels(findings=["cardiomegaly"], policy="zeros"), on=KEY).drop_nulls("cardiomegaly")
    scores = np.array([_score("m", "cardiomegaly", key) for key in truth["image_id"]])
    expected = _auroc(scores, truth["cardiomegaly"].to_numpy() == 1, truth["n_draws"].to_numpy().astype(float))
    assert _one(answer, "auroc")["estimate"] == pytest.approx(expected, abs=1e-12)
    assert any("predictions of images outside the split drawn left out" in note for note in answer.notes)


def test_threshold_from_other_patients(
    folder: Path, catalog: Catalog, predicted: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["split", "--dataset", "nih", "--name", "nih", "-c", str(folder), "--quiet"]) == 0
    capsys.readouterr()
    wishes = {
        "predictions": predicted("nih_cxr14"), "catalog": folder, "split": "nih:test", "threshold": "fpr=0.2",
        "metrics": ["fpr"], "bootstrap": 0,
    }  # fmt: skip
    answer = cxrdata.audit(**wishes, calibrate_on="nih:valid")
    assert answer.warnings == []
    valid = pl.DataFrame(cxrdata.open(folder).split("nih")).filter(split="valid")
    states = catalog.labels(dataset="nih", findings=["cardiomegaly"]).join(valid, on=KEY)
    row = _one(answer, "threshold")
    assert row["n"] == states.height
    negatives = np.array([_score("m", "cardiomegaly", key) for key in states.filter(cardiomegaly=0)["image_id"]])
    rate = np.mean(negatives >= row["estimate"])
    assert abs(rate - 0.2) <= min(abs(np.mean(negatives >= other) - 0.2) for other in negatives) + 1e-12
    assert cxrdata.audit(**wishes, calibrate_on="nih").rows.equals(answer.rows)
    same = cxrdata.audit(**wishes)
    assert "flatters" in same.warnings[0]
    with pytest.raises(CxrError) as caught:
        cxrdata.audit(**wishes, calibrate_on=predicted("nih_cxr14", name="all.parquet"))
    assert caught.value.code == "CXR-127"
    allowed = cxrdata.audit(
        **wishes, calibrate_on=predicted("nih_cxr14", name="all.parquet"), allow_shared_patients=True
    )
    assert "are judged too" in allowed.warnings[0]


def test_a_threshold_of_each_group_from_other_patients(
    folder: Path, predicted: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["split", "--dataset", "nih", "--name", "groups", "-c", str(folder), "--quiet"]) == 0
    capsys.readouterr()
    answer = cxrdata.audit(
        predictions=predicted("nih_cxr14"), catalog=folder, split="groups", calibrate_on="groups:train", threshold="fpr=0.2",
        threshold_by="sex", stratify="view", metrics=["fpr"], bootstrap=5, rederive=True, min_cell=0,
    )  # fmt: skip
    thresholds = answer.rows.filter(metric="threshold")
    assert thresholds["group_value"].to_list() == ["F", "M"]
    assert thresholds["n"].sum() == pl.DataFrame(cxrdata.open(folder).split("groups")).filter(split="train").height
    assert thresholds["ci_low"].null_count() == 0
    assert set(answer.by_group["group_by"]) == {"sex", "view"}


def test_classes_are_one_vs_rest(catalog: Catalog, predicted: Callable[..., Path]) -> None:
    path = predicted("chexpert", labels=("White", "Black", "Asian"))
    answer = cxrdata.audit(predictions=path, catalog=catalog, metrics=["auroc"], bootstrap=0)
    races = (
        catalog.table("images")
        .filter(dataset="chexpert")
        .collect()
        .filter(pl.col("race").is_in(["White", "Black", "Asian"]))
    )
    scores = np.array([_score("m", "Asian", key) for key in races["image_id"]])
    row = _one(answer, "auroc", label="Asian")
    assert (row["n"], row["truth"], row["policy"]) == (races.height, "race", "none")
    assert row["estimate"] == pytest.approx(_auroc(scores, (races["race"] == "Asian").to_numpy()), abs=1e-12)


def test_confusion_of_classes_is_normalised_by_truth(catalog: Catalog, predicted: Callable[..., Path]) -> None:
    path = predicted("chexpert", labels=("White", "Black", "Male", "Female"))
    answer = cxrdata.audit(predictions=path, catalog=catalog, metrics=["auroc"], bootstrap=0)
    images = catalog.table("images").filter(dataset="chexpert").collect()
    assert answer.confusion["attribute"].unique(maintain_order=True).to_list() == ["race", "sex"]
    assert set(
        answer.confusion.group_by("attribute", "truth").agg(pl.col("share_of_truth").sum().round(12))["share_of_truth"]
    ) == {1.0}
    black = images.filter(race="Black")["image_id"]
    called = sum(_score("m", "White", key) >= _score("m", "Black", key) for key in black)
    row = answer.confusion.filter(truth="Black", predicted="White").row(0, named=True)
    assert (row["n"], row["share_of_truth"]) == (called, pytest.approx(called / len(black), abs=1e-12))


def test_trend_with_age(catalog: Catalog, tmp_path: Path) -> None:
    """Scores that grow with age call the old more often."""
    images = catalog.table("images").filter(dataset="nih_cxr14").collect().drop_nulls("age_years")
    scores = [age / 200 + _score("m", key) / 2 for key, age in images.select("image_id", "age_years").iter_rows()]
    images.select("image_id", prob_cardiomegaly=pl.Series(scores)).write_csv(tmp_path / "preds.csv")
    answer = cxrdata.audit(
        predictions=tmp_path / "preds.csv", catalog=catalog, threshold=0.5, metrics=["fpr"], bootstrap=20, trend=True,
        by=["age_group:decades"],
    )  # fmt: skip
    correlation, odds = _one(answer, "fpr_age_correlation"), _one(answer, "fpr_age_odds_ratio")
    assert float(str(correlation["estimate"])) > 0.8
    assert float(str(odds["ci_low"])) > 1
    table = answer.by_group.filter(metric="fpr")
    assert correlation["n"] == (table["n"] - table["n_positive"]).sum()
    assert set(answer.gaps["metric"]) >= {"fpr_age_correlation", "fpr_age_odds_ratio"}


def test_positions_are_read_against_the_file_that_was_predicted(catalog: Catalog, tmp_path: Path) -> None:
    """The rows of chexploration's output, in an order that is nobody's, with its 0 for everything that is not positive."""
    images = catalog.table("images").filter(dataset="chexpert", source_split="train").select(*KEY, "path").collect()
    images = images.with_columns(at=pl.col("image_id").map_elements(lambda key: _score("order", key), pl.Float64)).sort(
        "at"
    )
    truth = images.join(
        catalog.labels(dataset="chexpert", labeler="chexpert"), on=KEY, how="left", maintain_order="left"
    )
    images.select(pl.concat_str(pl.lit("CheXpert-v1.0/"), "path").alias("Path")).write_csv(tmp_path / "sample.csv")
    findings = [name.lower().replace(" ", "_") for name in CHEXPERT_LABELS]
    columns = {
        f"class_{at}": [_score("m", finding, key) for key in images["image_id"]] for at, finding in enumerate(findings)
    }
    targets = {
        f"target_{at}": (truth[finding] == 1).fill_null(value=False).cast(pl.Int64)
        for at, finding in enumerate(findings)
    }
    pl.DataFrame({**columns, **targets}).write_csv(tmp_path / "predictions.csv")
    answer = cxrdata.audit(
        predictions=tmp_path / "predictions.csv", catalog=catalog, order=tmp_path / "sample.csv", labels=["Edema"],
        truth="chexpert", metrics=["auroc"], bootstrap=0,
    )  # fmt: skip
    known = truth.filter(pl.col("edema").is_in([0, 1]))
    scores = np.array([_score("m", "edema", key) for key in known["image_id"]])
    assert _one(answer, "auroc")["estimate"] == pytest.approx(_auroc(scores, known["edema"].to_numpy() == 1), abs=1e-12)


def test_two_models_on_the_images_that_both_predict(
    catalog: Catalog, predicted: Callable[..., Path], tmp_path: Path
) -> None:
    first, second = predicted("nih_cxr14", name="first.csv"), tmp_path / "second.csv"
    _predictions(catalog, "nih_cxr14", model="other").head(300).write_csv(second)
    answer = cxrdata.audit(predictions=[first, second], catalog=catalog, compare=True, metrics=["auroc"], bootstrap=20)
    assert set(answer.overall["n"]) == {300}
    difference = _one(answer, "auroc_difference")
    one, other = (_one(answer, "auroc", model=name)["estimate"] for name in ("first", "second"))
    assert difference["model"] == "first - second"
    assert difference["estimate"] == pytest.approx(float(str(one)) - float(str(other)), abs=1e-12)
    assert any("that not all models predict left out" in note for note in answer.notes)


def test_runs_of_one_file_are_models(catalog: Catalog, tmp_path: Path) -> None:
    parts = [_predictions(catalog, "nih_cxr14", model=run).with_columns(run_id=pl.lit(run)) for run in ("a", "b")]
    pl.concat(parts).write_parquet(tmp_path / "predictions.parquet")
    answer = cxrdata.audit(
        predictions=tmp_path / "predictions.parquet", catalog=catalog, metrics=["auroc"], bootstrap=0
    )
    assert answer.overall["model"].to_list() == ["a", "b"]


def test_frames_are_read_as_files_are(catalog: Catalog, predicted: Callable[..., Path]) -> None:
    frame = _predictions(catalog, "nih_cxr14")
    wishes = {"catalog": catalog, "metrics": ["auroc"], "bootstrap": 5}
    by_file = cxrdata.audit(predictions=predicted("nih_cxr14"), **wishes)
    assert cxrdata.audit(predictions={"preds": frame.to_pandas()}, **wishes).rows.equals(by_file.rows)
    twice = pl.concat([frame, frame.tail(1)])
    with pytest.raises(CxrError) as caught:
        cxrdata.audit(predictions=twice, **wishes)
    assert (caught.value.code, caught.value.where) == ("CXR-123", f"predictions, row {twice.height}")


def test_rows_without_an_image_and_images_without_a_row_are_counted(catalog: Catalog, tmp_path: Path) -> None:
    frame = _predictions(catalog, "nih_cxr14").head(100)
    strange = frame.head(2).with_columns(image_id=pl.Series(["99999999_000.png", "unheard of"]))
    pl.concat([frame, strange]).drop("dataset").write_csv(tmp_path / "preds.csv")
    answer = cxrdata.audit(predictions=tmp_path / "preds.csv", catalog=catalog, metrics=["auroc"], bootstrap=0)
    images = catalog.table("images").filter(dataset="nih_cxr14").collect().height
    assert answer.notes[0].startswith(
        "2 of 102 predictions name no known image and are not judged, such as preds.csv:102 '99999999_000.png'"
    )
    assert f"preds: {images - 100:,} of {images:,} images of nih_cxr14 have no prediction" in answer.notes


def test_without_patients_it_says_so(catalog: Catalog, predicted: Callable[..., Path]) -> None:
    answer = cxrdata.audit(predictions=predicted("vindr_cxr"), catalog=catalog, metrics=["auroc"], bootstrap=5)
    assert any("without a patient id: the bootstrap redraws images" in note for note in answer.notes)


def test_predictions_of_another_dataset_than_asked(catalog: Catalog, predicted: Callable[..., Path]) -> None:
    with pytest.raises(CxrError) as caught:
        cxrdata.audit(predictions=predicted("nih_cxr14"), catalog=catalog, dataset="chexpert")
    assert caught.value.code == "CXR-112"


@pytest.mark.parametrize(
    ("wishes", "code"),
    [
        ({"labels": ["edma"]}, "CXR-501"),
        ({"by": ["race"], "dataset": "nih"}, "CXR-125"),
        ({"split": "nobodys"}, "CXR-501"),
        ({"truth": "nobody"}, "CXR-501"),
        ({"policy": "perhaps"}, "CXR-501"),
        ({"among": "tall"}, "CXR-501"),
        ({"threshold": "best"}, "CXR-502"),
        ({"calibrate_on": "nih:valid"}, "CXR-502"),
        ({"calibrate_on": "nowhere.csv", "threshold": "youden"}, "CXR-101"),
        ({"metrics": ["tpr"]}, "CXR-502"),
        ({"compare": True}, "CXR-502"),
        ({"cross": ["sex"]}, "CXR-502"),
    ],
)
def test_wishes_that_cannot_be_met(
    catalog: Catalog, predicted: Callable[..., Path], wishes: dict[str, object], code: str
) -> None:
    with pytest.raises(CxrError) as caught:
        cxrdata.audit(predictions=predicted("nih_cxr14"), catalog=catalog, bootstrap=0, **wishes)
    assert caught.value.code == code
