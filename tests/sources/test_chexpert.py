"""CheXpert as a whole, and which of its files is which. Truth is read here with the csv and json modules, not with ours."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest
from chexpert_files import (
    CODES,
    HEADER,
    LABELS,
    ROOT,
    ledger,
    notes,
    rejected,
    rows_of,
    study,
    train,
)

from cxrdata.errors import CxrError
from cxrdata.sources.chexpert import layout
from cxrdata.sources.discover import find
from cxrdata.sources.textfile import read_head

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from cxrdata.sources.base import Registry

    Run = Callable[..., Any]

# ---------------------------------------------------------------- the synthetic dataset as a whole


@pytest.fixture(scope="module")
def whole(synthetic: Run, harmonised: Run) -> tuple[Path, Any]:
    folder = synthetic("chexpert", "small", "labels", "demographics", "test", "plus")
    return folder, harmonised("chexpert", folder)


def test_every_row_of_every_file_is_settled(whole: tuple[Path, Any]) -> None:
    """CONTRACT §5, ledger: image lists start rows, label files merge, workbook rows merge or are unmatched."""
    folder, result = whole
    counts = ledger(result)
    listed = len(rows_of(folder / ROOT / "train.csv"))
    assert counts[f"{ROOT}/train.csv"] == (listed, listed, 0, 0, 0)
    assert counts["train_cheXbert.csv"] == (listed, 0, listed, 0, 0)
    studies = len(rows_of(folder / "cheXpert-test-set-labels/groundtruth.csv"))
    assert counts["cheXpert-test-set-labels/groundtruth.csv"] == (studies, 0, studies, 0, 0)
    read, kept, merged, unmatched, refused = counts["CHEXPERT DEMO.xlsx"]
    patients = set(result["patients"]["patient_id"])
    assert (kept, refused) == (0, 0)
    assert read == merged + unmatched
    assert 0 < merged < len(patients)
    assert unmatched > 0


def test_labels_are_those_of_the_files(whole: tuple[Path, Any]) -> None:
    """formats.md 1.1: floats and blanks; a blank is unmentioned; a row with all fourteen blank was not labelled."""
    folder, result = whole
    for labeler, name in (
        ("chexpert", f"{ROOT}/train.csv"),
        ("chexbert", "train_cheXbert.csv"),
        ("visualchexbert", "train_visualCheXbert.csv"),
    ):
        truth = {
            r["Path"].split("/", 1)[1]: [CODES[r[label]] for label in LABELS]
            for r in rows_of(folder / name)
            if any(r[label] for label in LABELS)
        }
        states = result[f"states_chexpert_{labeler}"]
        assert {r["image_id"]: [r[label] for label in LABELS] for r in states.iter_rows(named=True)} == truth
        assert not states["closed_world"].any()


def test_plus_labels_are_those_of_the_json_lines(whole: tuple[Path, Any]) -> None:
    """formats.md 1.1, CheXpert-Plus: JSON lines by path, null/1/0/-1, No Finding last; labels differ within a study."""
    folder, result = whole
    for labeler in ("findings", "impression", "report"):
        lines = (folder / f"chexbert_labels/{labeler}_fixed.json").read_text().splitlines()
        truth = {r.pop("path_to_image"): r for r in map(json.loads, lines)}
        truth = {
            k: [-2 if r[label] is None else int(r[label]) for label in LABELS]
            for k, r in truth.items()
            if any(v is not None for v in r.values())
        }
        states = result[f"states_chexpert_chexbert_{labeler}"]
        assert {r["image_id"]: [r[label] for label in LABELS] for r in states.iter_rows(named=True)} == truth


def test_image_labels_prefer_readers_then_train_csv(whole: tuple[Path, Any]) -> None:
    """catalog/chexpert.toml: readers of the film, then the published labels, then CheXbert for rows train.csv leaves blank."""
    folder, result = whole
    blank = [
        r["Path"].split("/", 1)[1]
        for r in rows_of(folder / ROOT / "train.csv")
        if not any(r[label] for label in LABELS)
    ]
    assert blank
    chosen = dict(result["image_labels"].select("image_id", "labeler").iter_rows())
    by_split = Counter(
        (image_id.split("/")[0], labeler) for image_id, labeler in chosen.items() if image_id not in blank
    )
    assert set(by_split) == {("train", "chexpert"), ("valid", "radiologist"), ("test", "radiologist")}
    assert {chosen[image_id] for image_id in blank} <= {"chexbert", "chexbert_impression"}
    positives = sum(r["Edema"] == "1.0" for r in rows_of(folder / ROOT / "train.csv"))
    trained = result["image_labels"].filter(pl.col("labeler") == "chexpert")
    assert (trained["edema"] == 1).sum() == positives


def test_ages_views_and_sexes_of_train_csv(whole: tuple[Path, Any]) -> None:
    """formats.md 1.1: age 0 is a placeholder, 90 a top code, laterals have no AP/PA, LL and RL are contradictions."""
    folder, result = whole
    truth = rows_of(folder / ROOT / "train.csv")
    images = result["images"].filter(pl.col("source_split") == "train")
    flags = Counter(images["age_flag"])
    assert flags["placeholder"] == sum(r["Age"] == "0" for r in truth) > 0
    assert flags["top_coded"] == sum(r["Age"] == "90" for r in truth) > 0
    views = Counter(images["view"])
    assert views["LATERAL"] == sum(r["Frontal/Lateral"] == "Lateral" for r in truth)
    assert (views["AP"], views["PA"]) == tuple(sum(r["AP/PA"] == view for r in truth) for view in ("AP", "PA"))
    odd = [r for r in truth if r["AP/PA"] in {"LL", "RL"}]
    assert views[None] == len(odd) == len(images.filter(pl.col("frontal") & pl.col("view").is_null()))
    assert sorted(r[4] for r in rejected(result)) == sorted(f"Frontal|{r['AP/PA']}" for r in odd)
    assert "pediatric" not in images["age_group"].to_list()
    assert Counter(images["sex_raw"]) == Counter(r["Sex"] for r in truth)


def test_race_of_the_workbook(whole: tuple[Path, Any], synthetic: Run, harmonised: Run) -> None:
    """formats.md 1.1: inner joins drop patients without a row silently; here they are counted and kept."""
    folder = synthetic("chexpert", "small", "demographics")
    result = harmonised("chexpert", folder)
    without = result["patients"].filter(pl.col("race_missing_reason") == "no_record")
    assert without.height > 0
    images = result["images"].filter(pl.col("patient_id").is_in(without["patient_id"].implode())).height
    assert sorted(notes(result)["coverage", "race"]) == sorted([without.height, images])
    # Plus repeats what the workbook says, so it changes no one's answer.
    both = result["patients"].join(whole[1]["patients"], on="patient_id", how="inner")
    assert both["race"].eq_missing(both["race_right"]).all()


@pytest.mark.parametrize(
    ("variant", "named"), [("small", "small"), ("full", "full"), ("batches", "full"), ("plus", "plus")]
)
def test_roots_lead_to_the_same_keys(
    variant: str, named: str, synthetic: Run, harmonised: Run, whole: tuple[Path, Any], registry: Registry
) -> None:
    """CONTRACT §2: the key is the path below the root, the same for small, full, batches and Plus."""
    folder = synthetic("chexpert", variant)
    result = harmonised("chexpert", folder)
    everything = set(whole[1]["images"]["image_id"])
    keys = set(result["images"]["image_id"])
    assert keys <= everything
    assert result["images"]["path"].to_list() == result["images"]["image_id"].to_list()
    if variant != "plus":
        assert keys == {k for k in everything if not k.startswith("test/")}
    found = find(registry, [(registry.get("chexpert"), folder)]).datasets[0]
    assert named in {file.variant for file in found.files}


def test_plus_alone_lists_the_images(synthetic: Run, harmonised: Run) -> None:
    """formats.md 1.1, CheXpert-Plus: ages, sexes, views, race and order of studies without train.csv."""
    folder = synthetic("chexpert", "plus")
    truth = {r["path_to_image"]: r for r in rows_of(folder / "df_chexpert_plus_240401.csv")}
    result = harmonised("chexpert", folder)
    assert ledger(result)["df_chexpert_plus_240401.csv"] == (len(truth), len(truth), 0, 0, 0)
    images = {r["image_id"]: r for r in result["images"].iter_rows(named=True)}
    assert images.keys() == truth.keys()
    for key, image in images.items():
        assert image["age_raw"] == truth[key]["age"]
        assert image["sex"] == truth[key]["sex"][0].replace("U", "") or image["sex"] is None
        assert image["source_split"] == truth[key]["split"]
        assert image["frontal"] == (truth[key]["frontal_lateral"] == "Frontal")
        assert image["view_source"] == "frontal_lateral|ap_pa"
    assert result["patients"]["race"].null_count() < result["patients"].height
    assert result["image_labels"]["labeler"][0] == "chexbert_impression"


def test_no_text_of_reports_is_kept(whole: tuple[Path, Any]) -> None:
    """CONTRACT §3, --with-text: report text is not read into any frame."""
    _, result = whole
    for frame in result.canonical.frames.values():
        assert not {c for c in frame.columns if c.startswith(("report", "section"))}


def test_a_login_page_under_an_official_name(harmonised: Run, tmp_path: Path) -> None:
    """CXR-103: what lies under the name train.csv is said to be a web page, not missing."""
    (tmp_path / "train.csv").write_text("<!DOCTYPE html><html>sign in</html>")
    with pytest.raises(CxrError) as caught:
        harmonised("chexpert", tmp_path)
    assert caught.value.code == "CXR-103"


# ---------------------------------------------------------------- which file is which


@pytest.mark.parametrize(
    ("name", "rows", "role"),
    [
        ("train.csv", [{}], "train"),
        ("anything.csv", [{}], "train"),
        ("valid.csv", [{"at": study(1, patient="patient64541", split="valid")}], "valid"),
        ("train.csv", [{"at": study(1, patient="patient64541", split="valid")}], "valid"),
        ("my_test.csv", [{"at": study(1, patient="patient64741", split="test")}], "test"),
        ("train_cheXbert.csv", [{}], "train_chexbert"),
        ("other.csv", [dict.fromkeys(LABELS, "0.0"), dict.fromkeys(LABELS, "1.0")], "train_visualchexbert"),
        ("other.csv", [{}], "train"),
        # The blanks filled with zeros, as many notebooks do: the official name stands.
        ("train.csv", [dict.fromkeys(LABELS, "0.0"), dict.fromkeys(LABELS, "1.0")], "train"),
        ("TRAIN.CSV", [dict.fromkeys(LABELS, "0.0")], "train"),
        ("train_cheXbert.csv", [dict.fromkeys(LABELS, "0.0")], "train_chexbert"),
        ("train_visualCheXbert.csv", [{}], "train_visualchexbert"),
    ],
)
def test_files_of_the_same_columns_are_told_apart(
    name: str, rows: list[dict[str, str]], role: str, tmp_path: Path, registry: Registry
) -> None:
    """formats.md 1.1: train, valid, CheXbert and visualCheXbert share nineteen columns; visualCheXbert is binary."""
    head = read_head(train(tmp_path, *rows, name=name))
    assert head is not None
    roles = [spec.role for spec in registry.get("chexpert").files if len(spec.columns) == len(HEADER)]
    assert layout.role(name, head, roles) == role
    assert layout.role(f"{name}.gz", head, roles) == role


def test_a_zero_filled_train_file_is_train(tmp_path: Path, harmonised: Run) -> None:
    """It lists the images, so taken for visualCheXbert's labels it would leave a dataset without any."""
    train(tmp_path, dict.fromkeys(LABELS, "0.0"), {**dict.fromkeys(LABELS, "1.0"), "at": study(2)})
    result = harmonised("chexpert", tmp_path)
    assert result["states_chexpert_chexpert"].select("Edema", "Fracture").rows() == [(0, 0), (1, 1)]
