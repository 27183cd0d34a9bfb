"""Audits from files to rows, on synthetic datasets: what is judged, by whose truth, in which groups."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from made import KEY, auroc_of, one_row, score, states_of

import cxrdata
from cxrdata.cli.main import run
from cxrdata.errors import CxrError
from cxrdata.store.catalog import Catalog


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
    states = states_of(catalog, "chexpert", "cardiomegaly").filter(pl.col("state").is_in([*positive, *negative]))
    truth = states["state"].is_in(positive).to_numpy()
    scores = np.array([score("m", "cardiomegaly", key) for key in states["image_id"]])
    row = one_row(answer, "auroc")
    assert (row["n"], row["n_positive"]) == (len(truth), int(truth.sum()))
    assert row["estimate"] == pytest.approx(auroc_of(scores, truth), abs=1e-12)
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
    assert one_row(answer, "auroc", group_by="sex & race", group_value="F & White")["n"] == both.height
    ages = answer.by_group.filter(group_by="age_group:chexploration")["group_value"].to_list()
    assert ages == [age for age in ["<=20", "<=30", "<=40", "<=50", "<=60", "<=70", "<=80", ">80"] if age in ages]


def test_a_policy_that_ships_and_groups_of_two_values(catalog: Catalog, predicted: Callable[..., Path]) -> None:
    path = predicted("chexpert", labels=("Edema", "Effusion"))
    answer = cxrdata.audit(
        predictions=path, catalog=catalog, policy="dne", by=["race=White", "age_years>60"], metrics=["auroc"], bootstrap=0, min_cell=0
    )  # fmt: skip
    assert dict(answer.overall.select("label", "policy").iter_rows()) == {"edema": "ones", "pleural_effusion": "zeros"}
    groups = answer.by_group.select("group_by", "group_value").unique(maintain_order=True).rows()
    assert groups == [
        ("race=White", "White"), ("race=White", "other"), ("age_years>60", "<=60"), ("age_years>60", ">60"),
    ]  # fmt: skip


def test_by_dataset(catalog: Catalog, predicted: Callable[..., Path]) -> None:
    path = predicted("nih_cxr14", "vindr_cxr", name="both.parquet")
    both = cxrdata.audit(predictions=path, catalog=catalog, by=["dataset"], metrics=["auroc"], bootstrap=0, min_cell=0)
    assert set(both.rows["truth"]) == {"consensus+reader_majority+text_mining"}
    for dataset in ("nih_cxr14", "vindr_cxr"):
        alone = cxrdata.audit(predictions=path, catalog=catalog, dataset=dataset, metrics=["auroc"], bootstrap=0)
        of_group, of_all = one_row(both, "auroc", group_value=dataset), one_row(alone, "auroc")
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
    row = one_row(answer, "fpr", label="cardiomegaly")
    assert (row["n"], row["n_positive"]) == (len(healthy), 0)
    called = np.mean([score("m", "cardiomegaly", key) >= 0.5 for key in healthy])
    assert row["estimate"] == pytest.approx(called, abs=1e-12)
    assert row["policy"] == "ignore, among healthy"
    everybody = catalog.table("images").filter(dataset="nih_cxr14").collect().height
    out = f"{everybody - len(healthy)} predicted images of {everybody} not healthy and left out"
    assert any(note.endswith(out) for note in answer.notes)
    tpr = one_row(answer, "tpr", label="cardiomegaly")
    assert (tpr["estimate"], tpr["note"]) == (None, "undefined: no positives")
    assert one_row(answer, "prevalence", label="no_finding")["estimate"] == 1


def test_what_a_healthy_image_is_not_said_to_have_it_has_not(catalog: Catalog, predicted: Callable[..., Path]) -> None:
    """CheXpert's labeler mentions next to nothing on a normal film; by the policy alone nobody would be left to judge."""
    answer = cxrdata.audit(
        predictions=predicted("chexpert"), catalog=catalog, among="healthy", threshold=0.5, metrics=["fpr"], bootstrap=0
    )
    healthy = catalog.sql(
        "SELECT count(*) FILTER (cardiomegaly IS DISTINCT FROM -1 AND cardiomegaly IS DISTINCT FROM 1), count(*)"
        " FROM healthy JOIN image_labels USING (dataset, image_id) WHERE dataset = 'chexpert' AND healthy"
    ).row(0)
    row = one_row(answer, "fpr")
    assert (row["n"], row["n_positive"]) == (healthy[0], 0)
    assert healthy[0] > 20


def test_among_the_healthy_the_threshold_comes_from_all(catalog: Catalog, predicted: Callable[..., Path]) -> None:
    path = predicted("nih_cxr14")
    wishes = {"predictions": path, "catalog": catalog, "threshold": "youden", "metrics": ["fpr"], "bootstrap": 0}
    healthy = cxrdata.audit(**wishes, among="healthy")
    assert one_row(healthy, "threshold")["estimate"] == one_row(cxrdata.audit(**wishes), "threshold")["estimate"]
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
    scores = np.array([score("m", "cardiomegaly", key) for key in truth["image_id"]])
    expected = auroc_of(scores, truth["cardiomegaly"].to_numpy() == 1, truth["n_draws"].to_numpy().astype(float))
    assert one_row(answer, "auroc")["estimate"] == pytest.approx(expected, abs=1e-12)
    assert any("predictions of images outside the split drawn left out" in note for note in answer.notes)


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
        ({"policy": "perhaps"}, "CXR-513"),
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


def test_a_fixed_threshold_cannot_be_chosen_anew(catalog: Catalog, predicted: Callable[..., Path]) -> None:
    with pytest.raises(CxrError) as refused:
        cxrdata.audit(predictions=predicted("nih_cxr14"), catalog=catalog, threshold=0.5, rederive=True)
    assert (refused.value.code, refused.value.problem) == ("CXR-502", "there is no threshold to choose anew")


def test_one_name_is_a_list_of_one(catalog: Catalog, predicted: Callable[..., Path]) -> None:
    path = predicted("nih_cxr14")
    one = cxrdata.audit(predictions=path, catalog=catalog, by="sex", metrics="auroc", bootstrap=0)
    assert one.rows.equals(
        cxrdata.audit(predictions=path, catalog=catalog, by=["sex"], metrics=["auroc"], bootstrap=0).rows
    )
    with pytest.raises(CxrError, match="no predictions"):
        cxrdata.audit(predictions=[], catalog=catalog)


def test_a_policy_file_has_a_default_and_says_something(
    catalog: Catalog, predicted: Callable[..., Path], tmp_path: Path
) -> None:
    """The same file means the same to `export labels --policy`."""
    file = tmp_path / "policy.toml"
    file.write_text('default = "zeros"\nedema = "ones"\n')
    path = predicted("chexpert", labels=("edema", "cardiomegaly"))
    told = cxrdata.audit(predictions=path, catalog=catalog, policy=str(file), metrics=["auroc"], bootstrap=0).overall
    assert dict(told.select("label", "policy").iter_rows()) == {"edema": "ones", "cardiomegaly": "zeros"}
    for text in ("", 'edema = "perhaps"\n'):
        file.write_text(text)
        with pytest.raises(CxrError) as refused:
            cxrdata.audit(predictions=path, catalog=catalog, policy=str(file))
        assert refused.value.code == "CXR-513"
