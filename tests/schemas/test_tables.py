"""The canonical tables: every column described, every rule kept, every broken row named."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest

from cxrdata.errors import CxrError
from cxrdata.schemas import tables, vocabulary_tables
from cxrdata.schemas.tables import Table
from cxrdata.schemas.validate import conform, validate
from cxrdata.schemas.views import VIEWS
from cxrdata.schemas.vocabulary_tables import vocabulary_frames

if TYPE_CHECKING:
    from cxrdata.sources.base import Registry
    from cxrdata.vocabularies import Vocabularies

TABLES = [
    *(value for module in (tables, vocabulary_tables) for value in vars(module).values() if isinstance(value, Table)),
    tables.label_codes("nih_cxr14", ["mass", "edema"], ["mass"]),
    tables.states("nih_cxr14", "text_mining", ["Mass"]),
    tables.readings("vindr_cxr", ["Nodule/Mass"]),
]
TABLES = list({table.name: table for table in TABLES}.values())
SOUND: dict[str, Any] = {
    "dataset": "nih_cxr14", "image_id": "a.png", "patient_id": "1", "study_id": "a.png", "path": "a.png",
    "source_file": "f.csv", "source_row": 0, "source_split": "train", "view": "PA", "position": "erect",
    "age_years": 58.0, "age_low_years": 58.0, "age_high_years": 59.0, "age_precision": "year", "age_flag": "ok",
    "age_group": "adult", "sex": "F", "study_date": dt.date(2017, 1, 1), "rows_px": 1024, "columns_px": 1024,
}  # fmt: skip
# Column of images, a value that its rule refuses.
REFUSED = {
    "dataset": None, "image_id": None, "source_file": None, "age_flag": None, "study_order": 0, "source_row": -1,
    "source_split": "dev", "view": "LL", "position": "lying", "age_years": -0.5, "age_low_years": -1.0,
    "age_high_years": -1.0, "age_precision": "decade", "age_group": "child", "sex": "Female", "rows_px": 0,
    "columns_px": -1, "original_rows_px": 0, "original_columns_px": 0,
}  # fmt: skip


def images(*rows: dict[str, Any]) -> pl.DataFrame:
    types = tables.IMAGES.types()
    return conform(pl.DataFrame([SOUND | row for row in rows], schema={k: types[k] for k in types}), tables.IMAGES)


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_every_table_and_column_is_described(table: Table) -> None:
    """DESIGN: a build without a description fails. A description is a sentence."""
    assert table.description.endswith(".")
    assert set(table.key) <= set(table.columns)
    for name, text in table.describe().items():
        assert text != "None", name
        assert text.endswith("."), name


@pytest.mark.parametrize("view", VIEWS, ids=lambda view: view.name)
def test_every_view_and_its_columns_are_described(view: Any) -> None:
    assert view.description.endswith(".")
    assert all(text.endswith(".") for text in view.describe().values())


def test_images_has_the_columns_of_the_contract() -> None:
    """CONTRACT §5."""
    assert " ".join(tables.IMAGES.columns) == (
        "dataset image_id patient_id study_id study_order path source_file source_row source_split view view_raw view_source "
        "frontal position age_years age_low_years age_high_years age_raw age_precision age_flag age_group age_group_reason sex "
        "sex_raw race ethnicity race_ethnicity study_date rows_px columns_px original_rows_px original_columns_px "
        "pixel_spacing_row_mm pixel_spacing_column_mm manufacturer patient_size_m patient_weight_kg"
    )


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_an_empty_frame_is_sound(table: Table) -> None:
    sound, broken = validate(table.empty(), table)
    assert sound.schema == pl.Schema(table.types())
    assert broken.is_empty()


def test_conform_orders_casts_and_fills() -> None:
    frame = pl.DataFrame(
        {"n_images": pl.Series([3], dtype=pl.UInt32), "study_id": ["s"], "extra": [1], "dataset": ["d"]}
    )
    got = conform(frame, tables.STUDIES)
    assert got.columns == tables.STUDIES.columns
    assert got.row(0) == ("d", "s", None, None, None, 3)
    assert got.schema == pl.Schema(tables.STUDIES.types())


def test_sound_rows_stay_as_they_are() -> None:
    frame = images({}, {"image_id": "b.png", "view": None, "age_years": None, "age_flag": "missing"})
    sound, broken = validate(frame, tables.IMAGES)
    assert sound.equals(frame)
    assert broken.is_empty()
    assert broken.columns == ["row", "column_name", "value", "message"]


@pytest.mark.parametrize("column", sorted(REFUSED))
def test_a_broken_row_is_named_with_column_and_value(column: str) -> None:
    value = REFUSED[column]
    frame = images({"image_id": "a.png"}, {"image_id": "b.png", column: value}, {"image_id": "c.png"})
    sound, broken = validate(frame, tables.IMAGES)
    assert sound["source_row"].to_list() == [0, 0]
    assert sound.equals(frame[[0, 2]])
    assert broken.select("row", "column_name").rows() == [(1, column)]
    assert broken["value"].to_list() == [None if value is None else str(value)]
    assert broken["message"][0].startswith("breaks the rule of images: ")


def test_every_fault_of_every_row_is_told() -> None:
    frame = images({"view": "LL", "sex": "W"}, {}, {"rows_px": 0})
    sound, broken = validate(frame, tables.IMAGES)
    assert sound.height == 1
    assert broken.select("row", "column_name", "value").rows() == [
        (0, "sex", "W"),
        (0, "view", "LL"),
        (2, "rows_px", "0"),
    ]


def test_a_frame_of_the_wrong_shape_is_a_defect_not_a_reject() -> None:
    """A missing column or a wrong type is a reader's fault, and ends the build (CXR-404)."""
    for frame in (images({}).drop("view"), images({}).with_columns(pl.col("rows_px").cast(pl.Int32))):
        with pytest.raises(CxrError) as caught:
            validate(frame, tables.IMAGES)
        assert caught.value.code == "CXR-404"
        assert caught.value.problem.startswith("images: ")


@pytest.mark.parametrize("code", [1, 0, -1, -2, -3, None])
def test_codes_of_labels(code: int | None) -> None:
    """CONTRACT §5: stored states know two more codes than the published CheXpert coding."""
    stored, published = (
        tables.states("nih_cxr14", "text_mining", ["mass"]),
        tables.label_codes("nih_cxr14", ["mass"], []),
    )
    frame = pl.DataFrame({"dataset": ["d"], "image_id": ["i"], "closed_world": [True], "mass": [code]})
    assert validate(conform(frame, stored), stored)[1].is_empty()
    assert validate(conform(frame, published), published)[1].is_empty() == (code not in {-2, -3})


def test_vocabulary_tables_are_sound(vocabularies: Vocabularies, registry: Registry) -> None:
    built = {"nih_cxr14": True, "padchest": False}
    for table, frame in vocabulary_frames(vocabularies, registry, built):
        sound, broken = validate(conform(frame, table), table)
        assert broken.is_empty(), table.name
        assert sound.height > 0
        assert sound.select(table.key).is_unique().all(), table.name
        if table.name == "datasets":
            assert {row["dataset"]: row["synthetic"] for row in sound.iter_rows(named=True) if row["in_build"]} == built
