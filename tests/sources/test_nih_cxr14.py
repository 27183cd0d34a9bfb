"""NIH ChestX-ray14: the real file, and its four variants."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from cxrdata.store.catalog import Catalog

# formats.md 1.4, verified on the real v2020 file.
LABEL_COUNTS = {
    "No Finding": 60361, "Infiltration": 19894, "Effusion": 13317, "Atelectasis": 11559, "Nodule": 6331, "Mass": 5782, "Pneumothorax": 5302,
    "Consolidation": 4667, "Pleural_Thickening": 3385, "Cardiomegaly": 2776, "Emphysema": 2516, "Edema": 2303, "Fibrosis": 1686, "Pneumonia": 1431,
    "Hernia": 227,
}  # fmt: skip
AGE_BANDS = [
    (0, 1, 14),
    (1, 2, 54),
    (2, 5, 273),
    (5, 10, 1197),
    (10, 15, 2005),
    (15, 18, 1859),
    (18, 40, 31037),
    (40, 60, 49243),
    (60, 80, 25419),
    (80, 999, 1019),
]


@pytest.fixture
def real(nih_catalog: Path) -> Catalog:
    return Catalog(nih_catalog)


def test_real_counts(real: Catalog) -> None:
    """Issue 'Catalog' and formats.md 1.4 [V]: images, patients, sexes, views, children; no row rejected."""
    row = real.sql("""
        SELECT count(*), count(DISTINCT patient_id), count_if(sex = 'F'), count_if(sex = 'M'), count_if(view = 'PA'), count_if(view = 'AP'),
          count_if(age_group = 'pediatric'), count(DISTINCT patient_id) FILTER (age_group = 'pediatric'), count_if(age_years IS NULL)
        FROM images""").row(0)
    assert row == (112_120, 30_805, 48_780, 63_340, 67_310, 44_810, 5_402, 1_637, 0)
    assert real.sql("SELECT count(*) FROM patients").item() == 30_805
    assert real.sql("SELECT count(*) FROM rejects").item() == 0
    ledger = real.sql("SELECT source_file, rows_read, rows_kept FROM ledger ORDER BY 1").rows()
    assert ledger == [("BBox_List_2017.csv.gz", 984, 984), ("Data_Entry_2017_v2020.csv.gz", 112_120, 112_120)]


def test_real_age_bands(real: Catalog) -> None:
    """formats.md 1.4 [V], age bands of v2020."""
    for low, high, n in AGE_BANDS:
        assert (
            real.sql(
                "SELECT count(*) FROM images WHERE age_years >= $low AND age_years < $high", {"low": low, "high": high}
            ).item()
            == n
        )


def test_real_labels_by_image_labels_and_naively(real: Catalog) -> None:
    """formats.md 1.4 [V]: No Finding 60,361 … Hernia 227, by both roads (CONTRACT §5: prevalence asked naively is right)."""
    naive = real.sql("SELECT native_label, count_if(state = 'positive'), count(*) FROM labels GROUP BY ALL")
    assert {label: n for label, n, _ in naive.rows()} == LABEL_COUNTS
    assert set(naive["count_star()"]) == {112_120}
    exact = dict(
        real.sql(
            "SELECT native_label, finding FROM label_map WHERE dataset = 'nih_cxr14' AND predicate = 'exactMatch'"
        ).rows()
    )
    for label, n in LABEL_COUNTS.items():
        assert real.sql(f"SELECT count(*) FROM image_labels WHERE {exact[label]} = 1").item() == n


def test_real_closed_world(real: Catalog) -> None:
    """formats.md 'No Finding differs in kind': text mining lists what it found, so silence means negative and is not stated."""
    assert real.sql("SELECT DISTINCT labeler, closed_world FROM assessments").rows() == [("text_mining", True)]
    states = real.sql("SELECT state, stated, count(*) FROM labels GROUP BY ALL ORDER BY 1").rows()
    assert [(state, stated) for state, stated, _ in states] == [("negative", False), ("positive", True)]


def test_real_boxes(real: Catalog) -> None:
    """formats.md 1.4: 984 boxes on 880 images, Infiltrate means infiltration, in the frame of the distributed 1024 x 1024 PNGs."""
    assert real.sql("SELECT count(*), count(DISTINCT image_id) FROM boxes").row(0) == (984, 880)
    assert (
        real.sql("SELECT count(*) FROM boxes WHERE native_label = 'Infiltrate' AND finding = 'infiltration'").item()
        == 123
    )
    outside = "SELECT count(*) FROM boxes JOIN images USING (dataset, image_id) WHERE x_min < 0 OR y_min < 0 OR x_max > columns_px OR y_max > rows_px"
    assert real.sql(outside).item() == 0
    assert real.sql("SELECT DISTINCT rows_px, columns_px FROM images").rows() == [(1024, 1024)]
    assert (
        real.sql("SELECT count(*) FROM images WHERE original_rows_px = 1024 AND original_columns_px = 1024").item() == 0
    )


@pytest.fixture(scope="module")
def variants(harmonised: Callable, synthetic: Callable) -> dict[str, object]:
    return {
        letter: harmonised("nih_cxr14", synthetic("nih_cxr14", letter, "lists", "boxes", "google")) for letter in "abcd"
    }


@pytest.mark.parametrize("letter", "abcd")
def test_variant_is_recognised_and_complete(letter: str, variants: dict, synthetic: Callable) -> None:
    """formats.md 1.4, the table of variants: header, trailing comma, line ends and ids differ, the images do not."""
    found, reference = variants[letter]["images"], variants["c"]["images"]
    assert found["image_id"].to_list() == reference["image_id"].to_list()
    assert found["patient_id"].to_list() == reference["patient_id"].to_list()
    assert found["sex"].to_list() == reference["sex"].to_list()
    assert variants[letter].account.rejects().filter(pl.col("source_file").str.starts_with("Data_Entry")).is_empty()
    assert not any(str(patient).startswith("0") for patient in found["patient_id"])


def test_variant_a_ages_with_units(variants: dict) -> None:
    """formats.md 1.4 A: `058Y`, `013M` is 1.083 years, `001D`; ages above 100 such as `411Y` are implausible."""
    ages = variants["a"]["images"].select("age_raw", "age_years", "age_precision", "age_flag")
    months = ages.filter(pl.col("age_raw").str.ends_with("M"))
    assert months.height and months["age_precision"].unique().to_list() == ["month"]
    expected = months["age_raw"].str.head(3).cast(pl.Int32) / 12
    assert (months["age_years"] - expected).abs().max() < 1e-12
    days = ages.filter(pl.col("age_raw").str.ends_with("D"))
    assert days["age_precision"].to_list() == ["day"] * days.height
    old = ages.filter(pl.col("age_raw").str.head(3).cast(pl.Int32) > 120, pl.col("age_raw").str.ends_with("Y"))
    assert (
        old.height
        and old["age_flag"].unique().to_list() == ["implausible"]
        and old["age_years"].null_count() == old.height
    )


def test_variant_b_names_its_ambiguity(variants: dict) -> None:
    """formats.md 1.4 B: the unit was stripped, months became years, irrecoverably: the build says so."""
    note = variants["b"].account.notes().filter(pl.col("topic") == "ambiguity").row(0, named=True)
    assert note["item"] == "age" and "lost the unit" in note["message"] and note["n"] > 0
    for letter in "acd":
        assert variants[letter].account.notes().filter(pl.col("topic") == "ambiguity").is_empty()


def test_official_lists_google_and_study_order(variants: dict) -> None:
    """formats.md 1.4: two lists give the split; Google assessed four findings on some images only, silence meaning nothing."""
    images = variants["c"]["images"]
    assert set(images["source_split"].unique()) == {"train_valid", "test"}
    google = variants["c"]["states_nih_cxr14_google"]
    assert 0 < google.height < images.height and not google["closed_world"].any()
    assert set(google.columns[2:]) == {"Airspace opacity", "Fracture", "Nodule or mass", "Pneumothorax"}
    assert images["study_order"].min() == 1


def test_images_on_both_lists(harmonised: Callable, synthetic: Callable, tmp_path: Path) -> None:
    """An image on both official lists has no split, and is counted."""
    import shutil

    shutil.copytree(synthetic("nih_cxr14"), tmp_path / "nih")
    train, test = tmp_path / "nih" / "train_val_list.txt", tmp_path / "nih" / "test_list.txt"
    test.write_text(test.read_text() + train.read_text().splitlines()[0] + "\n")
    result = harmonised("nih_cxr14", tmp_path / "nih")
    assert result["images"]["source_split"].null_count() == 1
    assert result.account.notes().filter(pl.col("item") == "source_split")["n"].to_list() == [1]
