"""Explorations end to end: what is planted and what is not, samples by key, draws counted, the same twice."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from cxrdata.errors import CxrError
from cxrdata.explore.contrasts import Wish
from cxrdata.explore.projection import principal_components
from cxrdata.explore.result import Exploration
from cxrdata.explore.run import ExploreRequest, explore
from cxrdata.explore.sampling import Sampling, sampled
from cxrdata.store.catalog import Catalog
from tests.golden import check_golden

KEY = ["dataset", "image_id"]
# CXRDATA_UPDATE_EXPECTED=1 writes it anew (`tests/golden.py`).
GOLDEN = Path(__file__).parent / "golden" / "tests.csv"


@pytest.fixture(scope="module")
def request_(embedded: Path, predicted: Path) -> ExploreRequest:
    return ExploreRequest(embedded, predictions=predicted, plane=False, min_cell=1)


@pytest.fixture(scope="module")
def found(explored: Catalog, request_: ExploreRequest) -> Exploration:
    return explore(explored, replace(request_, sampling=Sampling(by="sex", per_group=150)))


def test_what_is_planted_is_found_and_nothing_else(found: Exploration) -> None:
    # By construction: the largest component is noise, the second the one that is greater in women, as is the first logit.
    assert found.marginals == ("pca_1", "pca_2", "pca_3", "pca_4", "logit_no_finding", "logit_pleural_effusion")
    below = found.tests.filter(pl.col("p_adjusted") < 0.05).select("marginal", "attribute", "first", "second")
    assert below.rows() == [("pca_2", "sex", "F", "M"), ("logit_no_finding", "sex", "F", "M")]
    assert found.tests["n_tests"].unique().to_list() == [30]
    assert found.tests.filter(attribute="sex").select("n_first", "n_second").unique().rows() == [(150, 150)]


def test_what_is_tested_does_not_depend_on_what_figures_colour_by(
    explored: Catalog, request_: ExploreRequest, found: Exploration
) -> None:
    other = explore(explored, replace(request_, by=("view",), sampling=Sampling(by="sex", per_group=150)))
    assert other.tests.equals(found.tests) and other.notes == found.notes
    assert set(found.tests["attribute"]) == {"disease", "race", "sex"}
    assert list(other.values) == ["view"]


def test_groups_of_few_patients_are_left_out(explored: Catalog, request_: ExploreRequest, found: Exploration) -> None:
    asked = replace(request_, sampling=Sampling(by="sex", per_group=150), min_cell=11)
    careful = explore(explored, asked)
    assert careful.sample.equals(found.sample) and careful.min_cell == ExploreRequest(Path()).min_cell == 11
    patients = {
        (name, value): n
        for name in asked.by
        for value, n in found.sample.group_by(name).agg(pl.col("patient").n_unique()).iter_rows()
    }
    few = {(name, value) for (name, value), n in patients.items() if n < 11}
    assert few
    for name in asked.by:
        said = [note for note in careful.notes if note.startswith(f"{name} ") and "no group of the figures" in note]
        told = set(said[0].removeprefix(f"{name} ").partition(":")[0].split(", ")) if said else set()
        assert told == {value or "unknown" for by, value in few if by == name}
    for row in careful.tests.iter_rows(named=True):
        hidden = bool(few & {(row["attribute"], row["first"]), (row["attribute"], row["second"])})
        assert (row["p_value"] is None) == hidden


def test_an_order_that_nothing_follows_is_refused(
    explored: Catalog, request_: ExploreRequest, images: pl.DataFrame, tmp_path: Path
) -> None:
    with pytest.raises(CxrError) as error:
        explore(explored, replace(request_, order=tmp_path / "nowhere.csv"))
    assert str(error.value) == (
        "error CXR-502: embeddings.test.parquet names its images itself, so there is nothing for the order file to say\n"
        "  at:  nowhere.csv\n  fix: leave --order away; it is for files that are listed by position"
    )
    # Positional predictions follow it, beside features that do not.
    pl.DataFrame({f"class_{at}": [0.5] * images.height for at in range(14)}).write_csv(tmp_path / "p.csv")
    images.select("image_id").write_csv(tmp_path / "order.csv")
    wishes: dict[str, Any] = {"predictions": tmp_path / "p.csv", "order": tmp_path / "order.csv"}
    assert explore(explored, replace(request_, **wishes)).sample["logit_no_finding"].unique().to_list() == [0.0]


def test_the_golden_table(found: Exploration) -> None:
    check_golden(found.tests, GOLDEN, tolerance=1e-9)


def test_components_are_of_all_images_and_scores_of_the_sample(
    found: Exploration, images: pl.DataFrame, features: np.ndarray
) -> None:
    components = principal_components(features)
    assert found.explained["share"].to_list() == components.explained.tolist()
    scores = pl.DataFrame(components.scores(features)[:, :4], schema=["pca_1", "pca_2", "pca_3", "pca_4"])
    expected = found.sample.select(KEY).join(images.select(KEY).hstack(scores), on=KEY, maintain_order="left")
    np.testing.assert_allclose(
        found.sample.select(scores.columns).to_numpy(), expected.select(scores.columns).to_numpy(), atol=1e-9
    )
    logits = found.sample.join(images, on=KEY, maintain_order="left")
    np.testing.assert_allclose(logits["logit_no_finding"], logits["feature_0"], atol=1e-6)


def test_a_logit_does_not_depend_on_where_the_order_of_positional_features_comes_from(
    explored: Catalog, request_: ExploreRequest, found: Exploration, images: pl.DataFrame, features: np.ndarray, tmp_path: Path
) -> None:  # fmt: skip
    """Features by position in one order, predictions by key in another."""
    at = np.random.default_rng(0).permutation(images.height)
    np.save(tmp_path / "e.npy", features[at])
    images[at].select("image_id").write_csv(tmp_path / "order.csv")
    wishes: dict[str, Any] = {"embeddings": tmp_path / "e.npy", "order": tmp_path / "order.csv"}
    other = explore(explored, replace(request_, sampling=Sampling(by="sex", per_group=150), **wishes))
    assert other.sample.equals(found.sample) and other.tests.equals(found.tests)


def test_positional_predictions_follow_the_order(
    explored: Catalog, request_: ExploreRequest, found: Exploration, images: pl.DataFrame, tmp_path: Path
) -> None:
    """chexploration's fourteen outputs, of which the first is No Finding and the eleventh Pleural Effusion."""
    sigmoid = {
        at: 1 / (1 + (-pl.col(name).cast(pl.Float64)).exp()) for at, name in ((0, "feature_0"), (10, "feature_2"))
    }
    outputs = [sigmoid.get(at, pl.lit(0.5)).alias(f"class_{at}") for at in range(14)]
    shuffled = images.sample(fraction=1.0, shuffle=True, seed=2)
    shuffled.select(outputs).write_csv(tmp_path / "predictions.test.csv")
    shuffled.select("image_id").write_csv(tmp_path / "order.csv")
    wishes: dict[str, Any] = {"predictions": tmp_path / "predictions.test.csv", "order": tmp_path / "order.csv"}
    other = explore(explored, replace(request_, sampling=Sampling(by="sex", per_group=150), **wishes))
    assert other.sample.select(KEY).equals(found.sample.select(KEY))
    for name in ("logit_no_finding", "logit_pleural_effusion"):
        np.testing.assert_allclose(other.sample[name], found.sample[name], atol=1e-6)


def test_predictions_whose_own_truth_contradicts_the_order_are_refused(
    explored: Catalog, request_: ExploreRequest, images: pl.DataFrame, tmp_path: Path
) -> None:
    truth = explored.labels(findings=["no_finding", "pleural_effusion"], policy="zeros")
    joined = images.join(truth, on=KEY, how="left", maintain_order="left")
    said = {0: "no_finding", 10: "pleural_effusion"}
    columns = [pl.lit(0.5).alias(f"class_{at}") for at in range(14)]
    columns += [(pl.col(said[at]) if at in said else pl.lit(0)).alias(f"target_{at}") for at in range(14)]
    joined.select(columns).write_csv(tmp_path / "p.csv")
    request = replace(request_, predictions=tmp_path / "p.csv", order=tmp_path / "order.csv")
    images.select("image_id").write_csv(tmp_path / "order.csv")
    assert explore(explored, request).sample["logit_no_finding"].unique().to_list() == [0.0]
    images.select("image_id").reverse().write_csv(tmp_path / "order.csv")
    with pytest.raises(CxrError, match=r"labels that p\.csv has for positive") as error:
        explore(explored, request)
    assert error.value.code == "CXR-126"


def test_draws_are_counted_and_looked_at_on_the_same_components(explored: Catalog, request_: ExploreRequest) -> None:
    sampling = Sampling(groups=("Black", "White"), per_group=60)
    request = replace(request_, split="plain:train", resampled="drawn:train", sampling=sampling)
    found = explore(explored, request)
    alone = explore(explored, replace(request, resampled=None))
    before, after = found.sample.partition_by("resampled", maintain_order=True)
    assert before["draw"].unique().to_list() == [0]
    for part in (before, after):
        sizes = dict(part.group_by("race").len().iter_rows())
        assert sizes == {"Black": before.height // 2, "White": before.height // 2} and before.height > 20
    # Those of a sample of fewer are among those of more, with the same scores: the split's own components.
    both = before.join(alone.sample, on=KEY, suffix="_alone")
    assert both.height == before.height and both["pca_1"].to_list() == both["pca_1_alone"].to_list()
    assert found.explained.equals(alone.explained)
    # The resampled sample holds draws of the split, no draw twice, and some image more than once.
    drawn = explored.table("images").select(KEY).collect().join(
        explored.sql("SELECT dataset, image_id, n_draws FROM splits WHERE split_name = 'drawn'"), on=KEY
    )  # fmt: skip
    joined = after.join(drawn, on=KEY, how="left")
    assert (joined["draw"] < joined["n_draws"]).all()
    assert after.select(*KEY, "draw").is_unique().all() and not after.select(KEY).is_unique().all()
    same = before.join(after, on=KEY, suffix="_after")
    assert same.height and same["pca_1"].to_list() == same["pca_1_after"].to_list()
    total = drawn["n_draws"].sum()
    assert f"resampled: {total:,} draws of {drawn.filter(pl.col('n_draws') > 0).height:,} images with features" in found.notes  # fmt: skip
    tested = found.tests.filter(pl.col("p_value").is_not_null())
    notes = tested.filter("resampled", attribute="sex")["note"].to_list()
    assert notes == [f"{after.height} draws of {after.n_unique(KEY)} images of {after['patient'].n_unique()} patients count as independent"] * 6  # fmt: skip
    # Draws that no split holds say the same.
    given = explore(explored, replace(request, resampled=drawn))
    assert given.sample.equals(found.sample) and given.tests.equals(found.tests)
    # Each sample is a family of tests of its own.
    families = tested.group_by("resampled").agg(pl.len(), pl.col("n_tests").unique().first())
    assert families["len"].to_list() == families["n_tests"].to_list() and families.height == 2


def test_the_plane_of_an_image_does_not_depend_on_how_often_it_is_drawn(
    explored: Catalog, request_: ExploreRequest
) -> None:
    sampling = Sampling(groups=("Black", "White"), per_group=30)
    request = replace(request_, resampled="drawn:train", sampling=sampling, plane=True, perplexity=5)
    found = explore(explored, request).sample
    planes = found.group_by(KEY).agg(pl.struct("tsne_1", "tsne_2").n_unique())
    assert planes["tsne_1"].max() == 1 and found.height > planes.height
    assert found.select("tsne_1", "tsne_2").null_count().row(0) == (0, 0)


def _candidates(n: int = 90) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "dataset": ["chexpert"] * n,
            "image_id": [f"i{at:03}" for at in range(n)],
            "draw": pl.Series([0] * n, dtype=pl.Int32),
            "patient": [f"p{at % 30}" for at in range(n)],
            "race": [("White", "White", "Asian", None, "Other")[at % 5] for at in range(n)],
        }
    )


def test_a_sample_depends_on_keys_and_seed_alone() -> None:
    rows = _candidates()
    sampling = Sampling(per_group=10)
    (one,) = sampled([rows], sampling).frames
    assert dict(one.group_by("race").len().iter_rows()) == {"Asian": 10, "White": 10}
    shuffled = rows.sample(fraction=1.0, shuffle=True, seed=3)
    assert sampled([shuffled], sampling).frames[0].equals(one)
    assert not sampled([rows], replace(sampling, seed=1)).frames[0].equals(one)
    # Fewer are among more, and images that leave take nobody with them.
    fewer = sampled([rows], replace(sampling, per_group=4)).frames[0]
    assert fewer.join(one, on="image_id", how="anti").is_empty()
    without = sampled([rows.filter(pl.col("image_id") != one["image_id"][0])], sampling).frames[0]
    assert one.join(without, on="image_id", how="anti")["image_id"].to_list() == [one["image_id"][0]]


def test_no_group_has_more_than_the_smallest_and_who_left_is_said() -> None:
    found = sampled([_candidates()], Sampling())
    assert dict(found.frames[0].group_by("race").len().iter_rows()) == {"Asian": 18, "White": 18}
    assert found.notes == [
        "chexpert: 18 images left out of the sample, race is null",
        "chexpert: 18 images left out of the sample, race is Other, a category of the rest",
        "18 images of each of Asian, White: Asian has no more",
    ]


def test_as_many_images_of_each_dataset() -> None:
    rows = _candidates().with_columns(dataset=pl.when(pl.int_range(90) < 30).then(pl.lit("chexpert")).otherwise(pl.lit("nih_cxr14")))  # fmt: skip
    found = sampled([rows], Sampling(by="dataset", per_group=20))
    (one,) = found.frames
    assert dict(one.group_by("dataset").len().iter_rows()) == {"chexpert": 20, "nih_cxr14": 20}
    assert one.columns == rows.columns
    assert found.notes == ["20 images of each of chexpert, nih_cxr14"]


def test_one_image_a_patient() -> None:
    (found,) = sampled([_candidates()], Sampling(one_a_patient=True)).frames
    assert found["patient"].is_unique().all()
    assert found.height == 2 * 6  # thirty patients, of whom every fifth is Asian


def test_a_group_that_was_never_drawn() -> None:
    rows = _candidates().with_columns(pl.col("race").fill_null("Black"))
    drawn = rows.filter(pl.col("race") != "Black")
    found = sampled([rows, drawn], Sampling())
    assert "race Black left out of the sample: the resampled split has drawn none of it" in found.notes
    with pytest.raises(CxrError) as error:
        sampled([rows, drawn], Sampling(groups=("Black", "White")))
    assert str(error.value) == (
        "error CXR-125: the resampled split has drawn no image of race Black that has features\n"
        "  fix: name the groups that it has with --groups, or another split"
    )


def test_the_same_twice_to_the_byte(explored: Catalog, request_: ExploreRequest, tmp_path: Path) -> None:
    request = replace(request_, sampling=Sampling(by="sex", per_group=40), plane=True, perplexity=5)
    one, two = (explore(explored, request).save(tmp_path / name, figures=False) for name in ("one", "two"))
    assert [path.name for path in one] == [f"{name}.{end}" for name in ("sample", "explained", "tests") for end in ("parquet", "csv")]  # fmt: skip
    assert [path.read_bytes() for path in one] == [path.read_bytes() for path in two]


def _models(frame: pl.DataFrame, folder: Path) -> Path:
    two = pl.concat([frame.with_columns(run_id=pl.lit(name)) for name in ("first", "second")])
    two.write_parquet(folder / "p.parquet")
    return folder / "p.parquet"


@pytest.mark.parametrize(
    ("wishes", "said"),
    [
        (
            {"sampling": Sampling(by="racee")},
            "error CXR-501: there is no attribute 'racee'; did you mean race or fracture?",
        ),
        (
            {"contrasts": (Wish.of("race:White:Asain"),)},
            "error CXR-501: no image has the race 'Asain'; did you mean Asian?",
        ),
        (
            {"sampling": Sampling(by="position")},
            "error CXR-410: no dataset has groups of position to balance (chexpert: the dataset does not say position)\n  fix: name another attribute with --sample-by, such as sex",
        ),
        ({"split": "nobodys"}, "error CXR-501: there is no split 'nobodys'"),
        ({"split": "drawn:train", "resampled": "drawn:valid"}, "error CXR-501: the split drawn has no part 'valid'"),
        (
            {"resampled": "plain"},
            "error CXR-502: the split plain has no draws\n  fix: make one that has them with `cxrdata resample`",
        ),
        (
            {"labels": ("edema",)},
            "error CXR-120: there are no predictions of edema\n  at:  predictions.parquet\n  fix: name labels that there are: --labels no_finding,pleural_effusion",
        ),
    ],
)
def test_what_is_refused_says_why(
    explored: Catalog, request_: ExploreRequest, wishes: dict[str, Any], said: str
) -> None:
    with pytest.raises(CxrError) as error:
        explore(explored, replace(request_, **wishes))
    assert str(error.value).startswith(said)


def test_predictions_of_two_models_are_refused(
    explored: Catalog, request_: ExploreRequest, predicted: Path, tmp_path: Path
) -> None:
    with pytest.raises(CxrError) as error:
        explore(explored, replace(request_, predictions=_models(pl.read_parquet(predicted), tmp_path)))
    assert str(error.value) == (
        "error CXR-502: the predictions are of 2 models: first, second\n  at:  p.parquet\n"
        "  fix: keep the rows of the one whose features these are"
    )


def test_features_of_none_of_the_images_of_a_split(
    explored: Catalog, request_: ExploreRequest, embedded: Path, tmp_path: Path
) -> None:
    test = explored.sql("SELECT image_id FROM splits WHERE split_name = 'plain' AND split = 'test'")["image_id"]
    pl.read_parquet(embedded).filter(~pl.col("image_id").is_in(test.implode())).write_parquet(tmp_path / "e.parquet")
    with pytest.raises(CxrError) as error:
        explore(explored, replace(request_, embeddings=tmp_path / "e.parquet", split="plain"))
    assert str(error.value) == (
        "error CXR-125: no image with features is left\n  fix: name the split, and the part of it, that was embedded"
    )


def test_without_the_extra_nothing_long_is_begun(
    explored: Catalog, request_: ExploreRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name, what in (("sklearn", "t-SNE needs scikit-learn"), ("scipy", "Kolmogorov-Smirnov tests need scipy")):
        monkeypatch.setitem(sys.modules, name, None)
        with pytest.raises(CxrError) as error:
            explore(explored, replace(request_, embeddings=tmp_path / "not there", plane=True))
        assert str(error.value) == f"error CXR-604: {what}\n  fix: pip install 'cxrdata[stats]'"
