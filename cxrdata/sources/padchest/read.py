"""PadChest: one table, a row an image; labels are those of the study's report."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from cxrdata.harmonise.labels import codes_from_lists
from cxrdata.sources.base import SILENT, UNMENTIONED, LabelerStates, RawDataset
from cxrdata.sources.rows import dates, numbers, with_sound_keys, without_repeats
from cxrdata.sources.textfile import TextTable, read_csv

if TYPE_CHECKING:
    from cxrdata.sources.account import Account
    from cxrdata.sources.base import FoundFile, ReadContext, SourceFiles

IMAGE_ID = r"^[^\s/\\]+\.png$"
# Up to 45 digits. A float's point or exponent means that digits were lost, and patients would run together.
DIGITS_OR_NAME = r"^[0-9A-Za-z_-]+$"
DIGITS_FORM = "digits alone (a spreadsheet rounds them: read the ids as text)"
MISSING = "None"
METHODS = {"Physician": "physician", "RNN_model": "rnn"}
# The report says no more than "as before", or was set aside: what it does not list is not thereby absent (CONTRACT §5).
OPEN_LABELS = ("unchanged", "exclude")
CHILD_FLAGS = {"Yes": True, "PED": True, "No": False}
LIST = r"^\s*\[.*\]\s*$"


def read(files: SourceFiles, context: ReadContext) -> RawDataset:
    """Read the table. Reports and everything else that is no column of the catalog is left in the file."""
    found = files.one("images")
    assert found is not None
    frame = _rows(found, context)
    images = _images(frame, found.name, context)
    _compare_view_fields(frame, context)
    _compare_child_flag(
        frame.select("Pediatric", "_line").hstack(images.select("birth_year", "study_date")), found.name, context
    )
    _compare_within_studies(frame, context.account)
    return RawDataset(images, age_form="birth_year", labels=_labels(frame, found, context))


def _rows(found: FoundFile, context: ReadContext) -> pl.DataFrame:
    """The sound rows, with the columns in use; the word None is null."""
    account = context.account
    wanted = found.spec.columns
    table = read_csv(found.path, name=found.name, account=account, required=wanted, columns=wanted)
    table = TextTable(
        table.frame.with_columns(pl.when(pl.col(c) != MISSING).then(c).alias(c) for c in wanted), found.name
    )
    table = with_sound_keys(table, account, column="ImageID", pattern=IMAGE_ID, form="NAME.png, without a folder")
    table = with_sound_keys(
        table, account, column="PatientID", pattern=DIGITS_OR_NAME, form=DIGITS_FORM, code_missing="CXR-209"
    )
    table = without_repeats(table, account, keys=["ImageID"])
    account.settle(found.name, kept=table.frame.height)
    sound = pl.col("StudyID").str.contains(DIGITS_OR_NAME)
    account.reject_values(
        found.name,
        table.frame.filter(~sound),
        "CXR-207",
        column="StudyID",
        message=f"StudyID is not of the form {DIGITS_FORM}",
    )
    return table.frame.with_columns(pl.when(sound).then("StudyID").alias("StudyID"))


def _images(frame: pl.DataFrame, name: str, context: ReadContext) -> pl.DataFrame:
    account = context.account
    typed = numbers(frame, {"ImageDir": pl.Int32, "Rows_DICOM": pl.Int32, "Columns_DICOM": pl.Int32}, account, name)
    typed = _positive(typed, ("Rows_DICOM", "Columns_DICOM"), account, name)
    typed = dates(typed, "StudyDate_DICOM", account, name)
    year = pl.col("PatientBirth").str.strip_chars().cast(pl.Float64, strict=False)
    no_view = pl.col("Projection").is_null() | (pl.col("Projection") == "EXCLUDE")
    from_dicom = no_view & pl.col("ViewPosition_DICOM").is_not_null()
    return typed.select(
        image_id="ImageID",
        patient_id="PatientID",
        study_id="StudyID",
        path=pl.format("{}/{}", "ImageDir", "ImageID"),
        source_file=pl.lit(name),
        source_row="_record",
        study_date="StudyDate_DICOM",
        # The rules of an unreadable age are those of harmonise.age, which sees the raw text.
        birth_year=pl.when(year == year.floor()).then(year).cast(pl.Int32, strict=False),
        age_raw="PatientBirth",
        sex_raw="PatientSex_DICOM",
        view_raw=pl.when(from_dicom).then("ViewPosition_DICOM").otherwise("Projection"),
        view_source=pl.when(from_dicom)
        .then(pl.lit("ViewPosition_DICOM"))
        .when(pl.col("Projection").is_not_null())
        .then(pl.lit("Projection")),
        manufacturer="Manufacturer_DICOM",
        original_rows_px="Rows_DICOM",
        original_columns_px="Columns_DICOM",
        _line="_line",
    )


def _positive(frame: pl.DataFrame, columns: tuple[str, ...], account: Account, name: str) -> pl.DataFrame:
    for column in columns:
        wrong = frame.filter(pl.col(column) < 1)
        account.reject_values(name, wrong, "CXR-301", column=column, message="not a number of pixels")
        frame = frame.with_columns(pl.when(pl.col(column) >= 1).then(column).alias(column))
    return frame


def _labels(frame: pl.DataFrame, found: FoundFile, context: ReadContext) -> list[LabelerStates]:
    """The labels by who made them; an image has one of the two labelers, or none."""
    account, name = context.account, found.name
    given = frame.select("ImageID", "MethodLabel", "Labels", "_line").filter(pl.col("Labels").is_not_null())
    readable = pl.col("Labels").str.contains(LIST)
    account.reject_values(name, given.filter(~readable), "CXR-305", column="Labels", message="not a list in brackets")
    nobody = ~pl.col("MethodLabel").is_in(list(METHODS)).fill_null(value=False)
    account.reject_values(
        name,
        given.filter(readable & nobody),
        "CXR-303",
        column="MethodLabel",
        message=f"labels without a known labeler ({', '.join(METHODS)}) are not used",
    )
    given = (
        given.filter(readable & ~nobody)
        .with_columns(_items=_items(pl.col("Labels")))
        .filter(pl.col("_items").list.len() > 0)
    )
    vocabulary = context.labels_of(found.spec)
    states = []
    for method, labeler in METHODS.items():
        of_labeler = given.filter(pl.col("MethodLabel") == method)
        if of_labeler.is_empty():
            continue
        is_open = pl.any_horizontal(pl.col("_items").list.contains(label) for label in OPEN_LABELS)
        silence = of_labeler.select(
            pl.when(is_open).then(pl.lit(UNMENTIONED)).otherwise(pl.lit(SILENT)).cast(pl.Int8).alias("silence")
        ).to_series()
        codes = codes_from_lists(
            of_labeler,
            of_labeler["_items"],
            vocabulary,
            silence=silence,
            account=account,
            source_file=name,
            column="Labels",
        )
        states.append(
            LabelerStates(
                labeler, codes.with_columns(of_labeler["ImageID"].alias("image_id"), closed_world=silence == SILENT)
            )
        )
    return states


def _items(text: pl.Expr) -> pl.Expr:
    """The items of a list as Python prints it. No label holds a comma or a quote; some carry a leading space."""
    bare = text.str.replace_all(r"""["'\[\]]""", "").str.replace_all(r"\s*,\s*", ",").str.strip_chars(" ,\t\n")
    return bare.str.split(",").list.filter(pl.element() != "")


def _compare_view_fields(frame: pl.DataFrame, context: ReadContext) -> None:
    """Count images whose two view fields name different standard projections; a rib film is taken in any of them."""
    views = context.vocabularies.views.filter(
        (pl.col("dataset") == context.source.name) & pl.col("view").is_in(["PA", "AP", "LATERAL"])
    )

    def meant(field: str) -> pl.Expr:
        rows = views.filter(pl.col("field") == field)
        return pl.col(field).replace_strict(
            dict(zip(rows["raw_value"], rows["view"], strict=True)), default=None, return_dtype=pl.String
        )

    n = int(frame.select((meant("Projection") != meant("ViewPosition_DICOM")).sum()).item())
    if n:
        context.account.note(
            "disagreement",
            "view",
            n,
            "images whose Projection and ViewPosition_DICOM name different projections; Projection is taken",
        )


def _compare_child_flag(frame: pl.DataFrame, name: str, context: ReadContext) -> None:
    """Count images where `Pediatric` contradicts the year of birth however the birthday falls: a difference of
    years of 17 or less is surely a child, of 19 or more surely an adult.
    """
    account = context.account
    flag = pl.col("Pediatric").replace_strict(CHILD_FLAGS, default=None, return_dtype=pl.Boolean)
    unknown = frame.filter(pl.col("Pediatric").is_not_null() & flag.is_null())
    account.reject_values(name, unknown, "CXR-303", column="Pediatric", message=f"not one of {', '.join(CHILD_FLAGS)}")
    years = pl.col("study_date").dt.year() - pl.col("birth_year")
    plausible = years.is_between(0, context.source.entry["age"]["maximum_years"])
    adults, children = frame.select(
        (flag & plausible & (years >= 19)).sum().alias("adults"),
        (~flag & plausible & (years <= 17)).sum().alias("children"),
    ).row(0)
    if adults:
        account.note(
            "disagreement",
            "Pediatric",
            adults,
            "images flagged as a child's, of patients who are adults by their year of birth; the age is taken",
        )
    if children:
        account.note(
            "disagreement",
            "Pediatric",
            children,
            "images not flagged as a child's, of patients who are children by their year of birth; the age is taken",
        )


def _compare_within_studies(frame: pl.DataFrame, account: Account) -> None:
    """Count studies whose images differ in what a study has one of."""
    said = {
        "PatientID": "studies with images of different patients; each image keeps its own",
        "StudyDate_DICOM": "studies with images of different dates; each image keeps its own",
        "Labels": "studies with images of different labels; each image keeps its own",
    }
    several = frame.filter(pl.col("StudyID").is_not_null() & pl.col("StudyID").is_duplicated())
    differing = (
        several.group_by("StudyID").agg(pl.col(list(said)).n_unique() > 1).select(pl.col(list(said)).sum()).row(0)
    )
    for (column, message), n in zip(said.items(), differing, strict=True):
        if n:
            account.note("disagreement", column, n, message)
