"""Targets against the source files, read with the csv module alone: synthetic CheXpert, and the real NIH file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import polars as pl
import pytest

from cxrdata.errors import CxrError
from cxrdata.store.catalog import Catalog
from cxrdata.store.label_frames import POLICIES
from cxrtrain.config import HeadConfig
from cxrtrain.config_file import read_experiment
from cxrtrain.targets import Targets, targets_of

Rows = dict[str, dict[str, str]]
CSV_NAME = {
    "no_finding": "No Finding", "enlarged_cardiomediastinum": "Enlarged Cardiomediastinum", "cardiomegaly": "Cardiomegaly",
    "lung_opacity": "Lung Opacity", "lung_lesion": "Lung Lesion", "edema": "Edema", "consolidation": "Consolidation",
    "pneumonia": "Pneumonia", "atelectasis": "Atelectasis", "pneumothorax": "Pneumothorax",
    "pleural_effusion": "Pleural Effusion", "pleural_other": "Pleural Other", "fracture": "Fracture",
    "support_devices": "Support Devices",
}  # fmt: skip
NIH_NAME = {
    "atelectasis": "Atelectasis", "cardiomegaly": "Cardiomegaly", "pleural_effusion": "Effusion",
    "infiltration": "Infiltration", "mass": "Mass", "nodule": "Nodule", "pneumonia": "Pneumonia",
    "pneumothorax": "Pneumothorax", "consolidation": "Consolidation", "edema": "Edema", "emphysema": "Emphysema",
    "fibrosis": "Fibrosis", "pleural_thickening": "Pleural_Thickening", "hernia": "Hernia",
}  # fmt: skip


def images_of(catalog: Catalog, dataset: str, source_split: str | None = None) -> pl.DataFrame:
    images = catalog.table("images").filter(dataset=dataset).select("dataset", "image_id", "source_split").collect()
    return images if source_split is None else images.filter(source_split=source_split)


def by_image(images: pl.DataFrame, targets: Targets) -> dict[str, int | float | None]:
    """image id -> the target of a head with one column."""
    return dict(zip(images["image_id"], targets.frame.to_series(), strict=True))


@pytest.fixture
def train(catalog: Catalog) -> pl.DataFrame:
    """The images of CheXpert's train.csv."""
    return images_of(catalog, "chexpert", "train")


@pytest.fixture
def said(chexpert_rows: Callable[[str], Rows]) -> Rows:
    return chexpert_rows("train.csv")


def all_blank(row: dict[str, str]) -> bool:
    return not any(row[name] for name in CSV_NAME.values())


def test_chexplorations_labels_are_one_where_positive_and_else_zero(
    catalog: Catalog, train: pl.DataFrame, said: Rows
) -> None:
    """systems.md A: label vector of the 14 = (value == 1); uncertain, zero and blank all 0, in rows blank throughout too."""
    head = read_experiment("chexploration-disease").head("disease")
    targets = targets_of(catalog, train, head)
    assert targets.head.outputs == tuple(CSV_NAME)
    expected = [tuple(int(said[image][name] == "1.0") for name in CSV_NAME.values()) for image in train["image_id"]]
    assert targets.frame.rows() == expected
    assert sum(map(sum, expected)) > 1000
    assert any(all_blank(row) for row in said.values())
    assert targets.known.all()


def test_rows_blank_throughout_are_otherwise_not_known(catalog: Catalog, train: pl.DataFrame, said: Rows) -> None:
    head = HeadConfig("d", "multilabel", labels=("edema", "fracture"), policy="zeros", labeler="chexpert")
    targets = targets_of(catalog, train, head)
    blank = [all_blank(said[image]) for image in train["image_id"]]
    assert targets.frame["target_d_edema"].is_null().to_list() == blank
    assert targets.reasons.to_list() == ["chexpert did not label the image" if one else None for one in blank]


def test_blanks_are_zero_only_where_the_labeler_looks(catalog: Catalog, train: pl.DataFrame) -> None:
    """Another dataset's images, and labels that the labeler does not know, stay unknown."""
    head = HeadConfig("d", "multilabel", labels=("edema", "hernia"), unassessed_zero=True, labeler="chexpert")
    images = pl.concat([images_of(catalog, "nih_cxr14"), train])
    frame = targets_of(catalog, images, head).frame.with_columns(images["dataset"])
    assert frame["target_d_hernia"].null_count() == images.height
    assert frame.filter(dataset="nih_cxr14")["target_d_edema"].drop_nulls().is_empty()
    # The policy still holds: of what was assessed, uncertain and not mentioned stay open under `ignore`.
    stated = catalog.labels(dataset="chexpert", labeler="chexpert", findings=["edema"], policy="ignore")
    left = train.join(stated, on=["dataset", "image_id"])["edema"].null_count()
    assert frame.filter(dataset="chexpert")["target_d_edema"].null_count() == left > 0


@pytest.mark.parametrize(
    ("policy", "codes"),
    [
        ("ones", {"1.0": 1, "0.0": 0, "-1.0": 1, "": 0}),
        ("zeros", {"1.0": 1, "0.0": 0, "-1.0": 0, "": 0}),
        ("ignore", {"1.0": 1, "0.0": 0, "-1.0": None, "": None}),
        ("raw", {"1.0": 1, "0.0": 0, "-1.0": None, "": None}),
    ],
)
def test_labels_under_their_policies(
    catalog: Catalog, train: pl.DataFrame, said: Rows, policy: str, codes: dict[str, int | None]
) -> None:
    """A label may have its own: edema as asked, atelectasis always ones."""
    head = HeadConfig(
        "d", "multilabel", labels=("edema", "atelectasis"), policy=policy, policy_by_label={"atelectasis": "ones"}
    )
    targets = targets_of(catalog, train, head)
    ones = {"1.0": 1, "0.0": 0, "-1.0": 1, "": 0}
    rows = dict(zip(train["image_id"], targets.frame.rows(), strict=True))
    labelled = {image: row for image, row in said.items() if not all_blank(row)}
    assert {row["Edema"] for row in labelled.values()} == set(codes)
    assert {image: rows[image] for image in labelled} == {
        image: (codes[row["Edema"]], ones[row["Atelectasis"]]) for image, row in labelled.items()
    }


def test_a_finding_against_strictly_healthy_images(catalog: Catalog, train: pl.DataFrame, said: Rows) -> None:
    """Healthy in CheXpert: No Finding, and support devices neither positive nor uncertain (metadata/healthy.toml)."""
    targets = targets_of(catalog, train, HeadConfig("c", "binary", finding="cardiomegaly", labeler="chexpert"))

    def expected(row: dict[str, str]) -> int | None:
        healthy = row["No Finding"] == "1.0" and row["Support Devices"] not in {"1.0", "-1.0"}
        positive = row["Cardiomegaly"] == "1.0"
        if positive and not healthy:
            return 1
        return 0 if healthy and not positive and row["Cardiomegaly"] != "-1.0" else None

    assert by_image(train, targets) == {image: expected(row) for image, row in said.items()}
    values = targets.frame.to_series().value_counts().rows()
    assert {value for value, _ in values} == {0, 1, None}
    # Each image without a target has a reason, and no other has one.
    assert targets.reasons.is_null().to_list() == targets.frame.to_series().is_not_null().to_list()
    reasons = Counter(targets.reasons.drop_nulls().to_list())
    uncertain = sum(row["Cardiomegaly"] == "-1.0" for row in said.values())
    assert reasons["cardiomegaly is uncertain"] == uncertain > 0
    assert reasons["chexpert did not label the image"] == sum(map(all_blank, said.values()))


class Told:
    """Stands for a catalog of one image each of: stated codes (-2 not mentioned) and whether it is healthy."""

    def __init__(self, *images: tuple[int, bool]) -> None:
        self.images = pl.DataFrame({"dataset": "d", "image_id": [str(n) for n in range(len(images))]})
        self.codes = pl.Series([code for code, _ in images], dtype=pl.Int8)
        self.healthy = [healthy for _, healthy in images]

    def labels(self, *, labeler: str | None, findings: list[str], policy: dict[str, str]) -> pl.DataFrame:
        decided = self.codes.replace(POLICIES[policy["edema"]]).alias("edema")
        return self.images.with_columns(decided, labeler=pl.lit("reader"))

    def table(self, name: str) -> pl.LazyFrame:
        assert name == "healthy"
        return self.images.with_columns(healthy=pl.Series(self.healthy)).lazy()


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        #          positive  uncertain  negative  not mentioned, of the healthy and then of others
        ("ignore", [None, None, 0, 0, 1, None, None, None]),
        ("raw", [None, None, 0, 0, 1, None, None, None]),
        ("zeros", [None, 0, 0, 0, 1, None, None, None]),
        ("ones", [None, None, 0, 0, 1, 1, None, None]),
    ],
)
def test_healthy_and_the_finding_under_each_policy(policy: str, expected: list[int | None]) -> None:
    """Contradictions, which no labeler here makes but a radiologist may: healthy with the finding, or uncertain of it."""
    told = Told(*((code, healthy) for healthy in (True, False) for code in (1, -1, 0, -2)))
    targets = targets_of(told, told.images, HeadConfig("c", "binary", finding="edema", policy=policy))  # type: ignore[arg-type]
    assert targets.frame["target_c"].to_list() == expected
    assert targets.reasons[0] == "healthy and positive for edema at once"


def test_a_finding_against_all_that_were_assessed(catalog: Catalog, train: pl.DataFrame, said: Rows) -> None:
    head = HeadConfig("c", "binary", finding="pleural_effusion", against="all", labeler="chexpert")
    targets = targets_of(catalog, train, head)
    code = {"1.0": 1, "0.0": 0, "-1.0": None, "": None}
    assert by_image(train, targets) == {image: code[row["Pleural Effusion"]] for image, row in said.items()}
    assert "pleural_effusion is not mentioned or not assessed" in targets.reasons.to_list()


def test_another_labeler_says_who_is_positive_and_who_is_healthy(
    catalog: Catalog, train: pl.DataFrame, chexpert_rows: Callable[[str], Rows]
) -> None:
    rows = chexpert_rows("train_cheXbert.csv")
    targets = targets_of(catalog, train, HeadConfig("c", "binary", finding="cardiomegaly", labeler="chexbert"))
    found = by_image(train, targets)
    for image in train["image_id"]:
        row = rows.get(image, {})
        healthy = row.get("No Finding") == "1.0" and row.get("Support Devices") not in {"1.0", "-1.0"}
        positive = row.get("Cardiomegaly") == "1.0"
        if positive != healthy and row.get("Cardiomegaly") != "-1.0":
            assert found[image] == int(positive)
        else:
            assert found[image] is None
    ours = targets_of(catalog, train, HeadConfig("c", "binary", finding="cardiomegaly"))
    assert by_image(train, ours) != found


def test_a_label_that_nobody_assesses_is_null_under_every_policy(catalog: Catalog) -> None:
    images = images_of(catalog, "nih_cxr14")
    for policy in ("raw", "zeros", "ones", "ignore"):
        head = HeadConfig("d", "multilabel", labels=("hernia", "lung_lesion"), policy=policy)
        targets = targets_of(catalog, images, head)
        assert targets.frame["target_d_lung_lesion"].null_count() == images.height
        assert targets.frame["target_d_hernia"].null_count() == 0
        assert targets.known.all()  # of one label


def test_classes_are_numbered_as_the_experiment_says(catalog: Catalog, train: pl.DataFrame, said: Rows) -> None:
    targets = targets_of(catalog, train, HeadConfig("sex", "classes", attribute="sex", classes=("M", "F")))
    code = {"Male": 0, "Female": 1}
    assert by_image(train, targets) == {image: code.get(row["Sex"]) for image, row in said.items()}
    one = targets_of(catalog, train, HeadConfig("sex", "classes", attribute="sex", classes=("F", "O")))
    assert by_image(train, one) == {image: 0 if row["Sex"] == "Female" else None for image, row in said.items()}
    assert "sex is none of F, O" in one.reasons.to_list()


def test_attributes_of_two_values(catalog: Catalog, train: pl.DataFrame, said: Rows) -> None:
    older = HeadConfig("older", "classes", attribute="age_years>60", classes=(">60", "<=60"))
    expected = {image: None if row["Age"] in {"", "0"} else int(int(row["Age"]) <= 60) for image, row in said.items()}
    assert by_image(train, targets_of(catalog, train, older)) == expected
    white = targets_of(
        catalog, train, HeadConfig("white", "classes", attribute="race=White", classes=("White", "other"))
    )
    races = catalog.table("images").select("image_id", "race").collect()
    known = {image: None if race is None else int(race != "White") for image, race in races.iter_rows()}
    found = by_image(train, white)
    assert found == {image: known[image] for image in found}
    assert set(found.values()) >= {0, 1}


def test_the_three_classes_of_disease(catalog: Catalog, train: pl.DataFrame, said: Rows) -> None:
    """systems.md A: No Finding, overridden by Pleural Effusion; else Other."""
    classes = ("No Finding", "Pleural Effusion", "Other")
    head = HeadConfig("d", "classes", attribute="disease", classes=classes, labeler="chexpert")
    found = by_image(train, targets_of(catalog, train, head))
    for image, row in said.items():
        if all_blank(row):
            assert found[image] is None
        else:
            name = "No Finding" if row["No Finding"] == "1.0" else "Other"
            name = "Pleural Effusion" if row["Pleural Effusion"] == "1.0" else name
            assert found[image] == classes.index(name)


def test_age_as_a_number_and_as_groups(catalog: Catalog) -> None:
    images = images_of(catalog, "nih_cxr14")
    years = targets_of(catalog, images, HeadConfig("age", "regression", attribute="age_years"))
    expected = catalog.table("images").filter(dataset="nih_cxr14").collect()
    assert years.frame["target_age"].to_list() == expected["age_years"].to_list()
    groups = ("0-9", "10-19", "20-29", "30-39", "40-49", "50-59", "60-69", "70-79", "80-89", "90+")
    head = HeadConfig("group", "classes", attribute="age_group:decades", classes=groups)
    found = targets_of(catalog, images, head).frame["target_group"]
    known = [
        (group, int(age // 10)) for group, age in zip(found, expected["age_years"], strict=True) if group is not None
    ]
    assert known and all(group == min(decade, 9) for group, decade in known)


def test_targets_come_in_the_order_of_the_images(catalog: Catalog, train: pl.DataFrame) -> None:
    head = HeadConfig("c", "binary", finding="cardiomegaly")
    shuffled = train.sample(fraction=1, shuffle=True, seed=3)
    assert shuffled["image_id"].to_list() != train["image_id"].to_list()
    assert by_image(shuffled, targets_of(catalog, shuffled, head)) == by_image(train, targets_of(catalog, train, head))


@pytest.mark.parametrize(
    ("head", "problem"),
    [
        (
            HeadConfig("h", "binary", finding="cardiomegali"),
            "there is no finding 'cardiomegali'; did you mean cardiomegaly?",
        ),
        (HeadConfig("h", "regression", attribute="sex"), "head 'h': images have no number 'sex'"),
        (
            HeadConfig("h", "classes", attribute="rase", classes=("a", "b")),
            "there is no attribute 'rase'; did you mean race?",
        ),
        (
            HeadConfig("h", "multilabel", labels=("edema",), policy_by_label={"hernia": "ones"}),
            "head 'h' has a policy for 'hernia', which is none of its labels",
        ),
        (
            HeadConfig("h", "binary", finding="cardiomegaly", labeler="chexpertt"),
            "there is no labeler 'chexpertt'; did you mean chexpert or chexbert or visualchexbert?",
        ),
    ],
)
def test_what_there_is_not(catalog: Catalog, train: pl.DataFrame, head: HeadConfig, problem: str) -> None:
    with pytest.raises(CxrError) as raised:
        targets_of(catalog, train, head)
    assert raised.value.code == "CXR-501"
    assert raised.value.problem == problem


def test_real_nih_cardiomegaly_against_no_finding(nih: Catalog, nih_rows: Rows) -> None:
    images = images_of(nih, "nih_cxr14")
    targets = targets_of(nih, images, HeadConfig("c", "binary", finding="cardiomegaly"))
    labels = {image: row["Finding Labels"].split("|") for image, row in nih_rows.items()}
    assert by_image(images, targets) == {
        image: 1 if "Cardiomegaly" in said else 0 if said == ["No Finding"] else None for image, said in labels.items()
    }
    assert Counter(targets.frame.to_series().to_list()) == {1: 2776, 0: 60361, None: 112120 - 2776 - 60361}
    assert set(targets.reasons.drop_nulls()) == {"neither healthy nor positive for cardiomegaly"}


def test_real_nih_fourteen_labels(nih: Catalog, nih_rows: Rows) -> None:
    head = read_experiment("chexnet").head("findings")
    images = images_of(nih, "nih_cxr14")
    targets = targets_of(nih, images, head)
    assert targets.head.outputs == tuple(NIH_NAME)
    expected = Counter(label for row in nih_rows.values() for label in row["Finding Labels"].split("|"))
    assert {name: int(targets.frame[f"target_findings_{name}"].sum()) for name in NIH_NAME} == {
        name: expected[native] for name, native in NIH_NAME.items()
    }
    assert targets.frame.null_count().sum_horizontal().item() == 0


def test_real_nih_ages(nih: Catalog, nih_rows: Rows) -> None:
    images = images_of(nih, "nih_cxr14")
    found = by_image(images, targets_of(nih, images, HeadConfig("age", "regression", attribute="age_years")))
    assert found == {image: float(row["Patient Age"]) for image, row in nih_rows.items()}
