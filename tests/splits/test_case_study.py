"""Adults to train on, healthy adults and healthy children to test on."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

import cxrdata
from cxrdata.errors import CxrError
from cxrdata.splits.attributes import with_attributes
from cxrdata.splits.case_study import CaseStudy, Shares, case_study
from cxrdata.splits.leaks import find_leaks
from cxrdata.splits.members import members_of
from cxrdata.splits.request import SplitRequest
from cxrdata.store.catalog import Catalog

_SCHEMA = {
    "dataset": pl.String, "image_id": pl.String, "patient_id": pl.String, "frontal": pl.Boolean, "healthy": pl.Boolean,
    "cardiomegaly": pl.String, "age_low_years": pl.Float64, "age_high_years": pl.Float64, "sex": pl.String, "view": pl.String,
}  # fmt: skip


def _image(image: str, patient: str | None = None, age: float | None = 40, **said: object) -> dict[str, object]:
    """A healthy frontal film of a dataset `d`, of a patient of its own, aged in completed years unless said otherwise."""
    plain = {
        "dataset": "d",
        "image_id": image,
        "patient_id": patient or f"p{image}",
        "frontal": True,
        "healthy": True,
        "sex": "F",
        "view": "PA",
    }
    return plain | {"age_low_years": age, "age_high_years": None if age is None else age + 1} | said


def _positive(image: str, patient: str | None = None, age: float | None = 40, **said: object) -> dict[str, object]:
    return _image(image, patient, age, **({"healthy": False, "cardiomegaly": "positive"} | said))


def _members(*images: dict[str, object]) -> pl.DataFrame:
    frame = pl.DataFrame([dict.fromkeys(_SCHEMA) | image for image in images], schema=_SCHEMA)
    low, high = pl.col("age_low_years"), pl.col("age_high_years")
    group = pl.when(low >= 18).then(pl.lit("adult")).when(high <= 18).then(pl.lit("pediatric"))
    return frame.with_columns(unit=pl.coalesce("patient_id", "image_id"), age_group=group)


def _adults(n_healthy: int, n_positive: int, **said: object) -> list[dict[str, object]]:
    """Healthy ones aged 20 to 89 in turn, and positive ones."""
    healthy = [_image(f"h{at:04}", age=20 + at % 70, **said) for at in range(n_healthy)]
    return [*healthy, *(_positive(f"c{at:04}", **said) for at in range(n_positive))]


def _sizes(study: CaseStudy, dataset: str = "d") -> dict[tuple[str, str], int]:
    counted = study.rows.filter(dataset=dataset).group_by("split", "label").len().rows()
    return {(split, label): n for split, label, n in counted}


def _reasons(study: CaseStudy) -> dict[str, int]:
    return {f"{dataset}: {reason}": n for dataset, reason, n in study.left_out.rows()}


def test_shares_of_the_design() -> None:
    """10 % of 700 healthy; 10 % of the 630 left and of 300 positive; 75/25 of what is left then."""
    study = case_study(_members(*_adults(700, 300), *(_image(f"k{at}", age=at) for at in range(18))), seed=0)
    assert _sizes(study) == {
        ("test_healthy_adult", "healthy"): 70,
        ("calibration", "healthy"): 63,
        ("calibration", "positive"): 30,
        ("train", "healthy"): 425,
        ("train", "positive"): 203,
        ("valid", "healthy"): 142,
        ("valid", "positive"): 67,
        ("test_pediatric", "healthy"): 18,
    }
    bins = study.counts.filter(split="test_healthy_adult").select("age_bin", "images").rows()
    assert bins == [("18-24", 5), ("25-39", 15), ("40-59", 20), ("60-79", 20), ("80+", 10)]
    assert study.counts.filter(split="test_pediatric")["age_bin"].sort().to_list() == sorted(map(str, range(18)))


def test_vindr_tests_a_fifth() -> None:
    rows = [row | {"dataset": "vindr_cxr", "patient_id": None} for row in _adults(700, 100)]
    study = case_study(_members(*rows), seed=0)
    assert _sizes(study, "vindr_cxr")["test_healthy_adult", "healthy"] == 140
    other = case_study(_members(*rows), seed=0, shares=Shares(adult_test_of={"vindr_cxr": 0.5}))
    assert _sizes(other, "vindr_cxr")["test_healthy_adult", "healthy"] == 350


def test_ages_that_straddle_two_bins_are_a_stratum_of_their_own() -> None:
    straddling = [_image(f"s{at}", age=39.5) for at in range(50)]
    study = case_study(_members(*_adults(700, 50), *straddling), seed=0)
    assert study.counts.filter(split="test_healthy_adult", age_bin="unknown")["images"].to_list() == [5]


def test_only_certain_adults_and_children() -> None:
    study = case_study(
        _members(
            *_adults(40, 20),
            _image("without", age=None),
            _positive("without too", age=None),
            _image("either", age=17.4),
            _image("child", age=17),
            _image("adult", age=18),
            _positive("sick child", age=3),
            _image("unknown child", age=3, healthy=None),
            _positive("both", healthy=True),
            _image("neither", healthy=False, cardiomegaly="uncertain"),
            _image("side", frontal=False),
            _image("view unknown", frontal=None, view=None),
        )
    )
    assert _reasons(study) == {
        "d: a child not known to be healthy": 2,
        "d: an adult neither healthy nor positive for cardiomegaly": 1,
        "d: healthy and positive for cardiomegaly at once": 1,
        "d: no frontal view": 1,
        "d: the age is not known": 2,
        "d: the age leaves both sides of 18 open": 1,
    }
    kept = study.rows["image_id"].to_list()
    assert {"child", "adult", "view unknown"} <= set(kept)
    assert study.rows.filter(split="test_pediatric")["image_id"].to_list() == ["child"]


def test_possible_children() -> None:
    members = _members(
        *_adults(40, 20), _image("either", age=17.4), _image("without", age=None), _positive("sick", age=17.4)
    )
    study = case_study(members, children="possible")
    assert study.rows.filter(split="test_pediatric").select("image_id", "age_group").rows() == [("either", "pediatric")]
    assert _reasons(study) == {"d: a child not known to be healthy": 1, "d: the age is not known": 1}


def test_a_certain_film_of_a_child_goes_before_a_possible_one() -> None:
    for seed in range(8):
        members = _members(*_adults(40, 20), _image("a either", "k", age=17.4), _image("b certain", "k", age=17))
        study = case_study(members, children="possible", seed=seed)
        assert study.rows.filter(split="test_pediatric")["image_id"].to_list() == ["b certain"]


def test_one_image_a_patient_positive_first_then_by_the_hash() -> None:
    many = [_image(f"m{at}", "m") for at in range(6)]
    mixed = [_image("x1", "x"), _image("x2", "x"), _positive("x3", "x"), _positive("x4", "x")]
    chosen = set()
    for seed in range(20):
        study = case_study(_members(*_adults(40, 20), *many, *mixed), seed=seed)
        of = dict(study.rows.select("unit", "image_id").rows())
        assert of["x"] in {"x3", "x4"}
        assert study.rows["unit"].n_unique() == study.rows.height
        assert _reasons(study) == {"d: another image of the patient was chosen": 8}
        chosen.add(of["m"])
    assert len(chosen) > 3, "not always the same row"


def test_who_was_a_child_is_no_adult() -> None:
    grown = [_image("g1", "g", age=12), _image("g2", "g", age=19), _positive("g3", "g", age=25)]
    # A sick child is of no use to the study: as an adult the same patient may stand in it.
    sick = [_positive("s1", "s", age=12), _positive("s2", "s", age=30)]
    study = case_study(_members(*_adults(40, 20), *grown, *sick))
    split_of = dict(study.rows.select("image_id", "split").rows())
    assert split_of["g1"] == "test_pediatric"
    assert not {"g2", "g3", "s1"} & set(split_of)
    assert split_of["s2"] in {"train", "valid", "calibration"}
    assert _reasons(study) == {"d: a child not known to be healthy": 1, "d: the patient stands among the children": 2}
    assert find_leaks(study.rows).n_patients == 0


def test_datasets_of_children_or_of_adults_only() -> None:
    children = [_image(f"k{at}", age=at, dataset="kids", patient_id=None) for at in range(5)]
    odd = [_image("a1", dataset="kids", age=30), _image("o1", dataset="odd", healthy=False)]
    study = case_study(_members(*_adults(40, 20), *children, *odd))
    assert set(study.rows.filter(dataset="kids")["split"]) == {"test_pediatric"}
    assert study.notes[:3] == [
        "d: adults only; it has no healthy child",
        "kids: children only; it lacks healthy adults or adults positive for cardiomegaly",
        "odd: no image is of use here",
    ]
    assert "100% of the children are from kids" in study.notes
    assert (
        _reasons(study)["kids: an adult of a dataset that lacks healthy adults or adults positive for cardiomegaly"]
        == 1
    )


def test_no_child_at_all_and_too_few_adults() -> None:
    study = case_study(_members(_image("h1"), _positive("c1")))
    assert "no dataset here gives a healthy child: test such a model on another dataset's children" in study.notes
    assert any(note.startswith("d: too few adults for ") for note in study.notes)
    assert study.rows.height == 2


def test_children_alone() -> None:
    study = case_study(_members(*(_image(f"k{at}", age=at) for at in range(5)), _positive("c", age=40)), match=["sex"])
    assert set(study.rows["split"]) == {"test_pediatric"}
    assert study.notes[0] == "d: not matched by sex: it has no adults in the test"
    assert study.matching is not None and study.matching.is_empty()
    assert study.confounding.associations["note"].to_list() == ["it is known of no adult"] * 3


def test_matched_within_the_dataset() -> None:
    """Half of the adults are male, three quarters of the children."""
    adults = [row | {"sex": "FM"[at % 2]} for at, row in enumerate(_adults(700, 100))]
    children = [_image(f"k{at}", age=at % 18, sex="FMMM"[at % 4]) for at in range(80)]
    other = [row | {"dataset": "e"} for row in _adults(100, 40)]
    plain = case_study(_members(*adults, *children, *other), seed=1)
    study = case_study(_members(*adults, *children, *other), seed=1, match=["sex"])
    before = dict(plain.rows.filter(dataset="d", split="test_healthy_adult")["sex"].value_counts().rows())
    after = dict(study.rows.filter(dataset="d", split="test_healthy_adult")["sex"].value_counts().rows())
    assert after["M"] == before["M"]
    assert abs(after["F"] - after["M"] / 3) < 1
    assert study.matching is not None
    assert study.matching.rows() == [("d", "F", 20, before["F"], after["F"]), ("d", "M", 60, before["M"], after["M"])]
    assert _reasons(study) == {
        "d: a healthy adult of the test beyond the children's distribution of sex": 70 - sum(after.values())
    }
    assert "e: not matched by sex: it has no children in the test" in study.notes
    # Nobody else moves.
    assert study.rows.filter(pl.col("split") != "test_healthy_adult").equals(
        plain.rows.filter(pl.col("split") != "test_healthy_adult")
    )
    assert study.rows.join(plain.rows, on=["image_id", "split"], how="anti").is_empty()


def test_row_order_and_other_datasets_do_not_matter() -> None:
    rows = [*_adults(300, 90), *(_image(f"k{at}", f"p{at // 2}", age=at % 18) for at in range(40))]
    other = [row | {"dataset": "e"} for row in rows]
    alone = case_study(_members(*rows), seed=4, match=["sex", "view"])
    both = case_study(_members(*rows, *other).sample(fraction=1, shuffle=True, seed=9), seed=4, match=["sex", "view"])
    assert both.rows.filter(dataset="d").equals(alone.rows)
    assert not case_study(_members(*rows), seed=5).rows.equals(alone.rows)


def test_report_is_json_without_ids() -> None:
    study = case_study(_members(*_adults(70, 20), *(_image(f"k{at}", age=3) for at in range(5))), match=["sex"])
    text = json.dumps(study.report())
    assert not any(image in text for image in ("h0001", "c0001", "k1"))
    assert study.report()["shares"] == {
        "adult_test": 0.1,
        "adult_test_of": {"vindr_cxr": 0.2},
        "calibration": 0.1,
        "train": 0.75,
    }
    assert study.report()["confounding"]["largest_dataset_of_children"] == "d"


@pytest.mark.parametrize(
    ("wishes", "expected"),
    [
        ({"finding": "hernia"}, "CXR-501: there is no column 'hernia'"),
        ({"match": ["sexx"]}, "CXR-501: there is no column 'sexx'; did you mean sex?"),
        (
            {"match": ["age_group"]},
            "CXR-502: 'age_group' cannot be matched: it says who is compared\n  fix: match attributes such as sex,view",
        ),
        ({"children": "all"}, "CXR-502: children are certain or possible, not 'all'\n  fix: --children certain"),
        (
            {"finding": "healthy"},
            "CXR-502: 'healthy' says who is healthy, so it cannot be what is to be found\n  fix: --finding cardiomegaly",
        ),
    ],
)
def test_bad_wishes(wishes: dict[str, object], expected: str) -> None:
    with pytest.raises(CxrError) as caught:
        case_study(_members(*_adults(10, 5)), **wishes)  # type: ignore[arg-type]
    assert expected in caught.value.block()


def test_nobody_is_left() -> None:
    with pytest.raises(CxrError) as caught:
        case_study(_members(_image("a", healthy=False), _image("b", healthy=None, age=3)))
    assert caught.value.block() == (
        "error CXR-507: no image is of an adult positive for cardiomegaly or of a healthy person\n"
        "  fix: widen --cohort, --where or --dataset, or name another --finding"
    )


@pytest.mark.parametrize("share", [0, 1, -0.1, float("nan")])
def test_bad_shares(share: float) -> None:
    with pytest.raises(CxrError, match="a share must be above 0 and below 1"):
        Shares(calibration=share)


def _of_catalog(catalog: Catalog) -> pl.DataFrame:
    members = with_attributes(catalog, members_of(catalog, SplitRequest()).frame, ["cardiomegaly"], policy="raw")
    return members.join(
        catalog.table("healthy").collect(), on=["dataset", "image_id"], how="left", maintain_order="left"
    )


def test_every_image_is_placed_or_left_out(split_catalog: Catalog) -> None:
    members = _of_catalog(split_catalog)
    study = case_study(members, seed=0, match=["sex"])
    assert study.rows.height + study.left_out["images"].sum() == members.height
    assert find_leaks(study.rows).n_patients == 0
    assert study.rows.filter(split="test_pediatric")["age_group"].unique().to_list() == ["pediatric"]
    assert (study.rows.filter(pl.col("split") != "test_pediatric")["age_low_years"] >= 18).all()


def test_real_nih(nih_catalog: Path) -> None:
    """Counted apart from the engine: one row a patient, positive before healthy, nobody who is there as a healthy child."""
    with cxrdata.open(nih_catalog) as catalog:
        study = case_study(_of_catalog(catalog), seed=0)
        people = catalog.sql(
            "SELECT patient_id, bool_or(age_group = 'pediatric' AND healthy) AS child, "
            "bool_or(age_group = 'adult' AND cardiomegaly = 1) AS positive, bool_or(age_group = 'adult' AND healthy) AS well "
            "FROM images JOIN image_labels USING (dataset, image_id) JOIN healthy USING (dataset, image_id) GROUP BY ALL"
        )
    n_children = people.filter("child").height
    n_positive = people.filter(~pl.col("child") & pl.col("positive")).height
    n_healthy = people.filter(~pl.col("child") & ~pl.col("positive") & pl.col("well")).height
    assert (n_children, n_positive, n_healthy) == (1377, 1490, 22_606)
    sizes = _sizes(study, "nih_cxr14")
    assert sizes["test_pediatric", "healthy"] == n_children
    assert sum(n for (_, label), n in sizes.items() if label == "positive") == n_positive
    assert sizes["test_healthy_adult", "healthy"] == round(0.1 * n_healthy)
    assert sizes["calibration", "positive"] == round(0.1 * n_positive)
