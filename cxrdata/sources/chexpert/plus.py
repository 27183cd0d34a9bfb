"""CheXpert Plus: demographics by image, the order of a patient's reports, and images of its own.

The table repeats each report several times in quoted text that runs over lines; none of it is read
into the frame.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from cxrdata.sources.chexpert.demographics import statements
from cxrdata.sources.chexpert.paths import with_image_keys
from cxrdata.sources.rows import numbers, without_repeats
from cxrdata.sources.textfile import read_csv

if TYPE_CHECKING:
    from cxrdata.sources.account import Account
    from cxrdata.sources.base import FoundFile, ReadContext

VIEW_SOURCE = "frontal_lateral|ap_pa"
_PATIENT = r"^[^/]+/(patient\d+)/"
# Statements of Plus are believed after both columns of the workbook (precedence 0 and 1).
_ETHNICITY_PRECEDENCE, _RACE_PRECEDENCE = 2, 3


def read_plus(found: FoundFile, context: ReadContext) -> pl.DataFrame:
    """One row an image, with `image_id`, `patient_id`, the columns of `images` that Plus fills, `_order` (place of the
    report among the patient's), `race` and `ethnicity`.
    """
    account = context.account
    table = read_csv(
        found.path, name=found.name, account=account, required=found.spec.columns, columns=found.spec.columns
    )
    table = with_image_keys(table, account, column="path_to_image")
    table = without_repeats(table, account, keys=["image_id"])
    frame = numbers(table.frame, {"patient_report_date_order": pl.Int64}, account, found.name)
    frame = frame.select(
        "image_id",
        patient_id=pl.col("image_id").str.extract(_PATIENT, 1),
        sex_raw="sex",
        age_raw="age",
        view_raw=view(pl.col("frontal_lateral"), pl.col("ap_pa")),
        view_source=pl.lit(VIEW_SOURCE),
        source_file=pl.lit(found.name),
        source_row="_record",
        _line="_line",
        _order="patient_report_date_order",
        race="race",
        ethnicity="ethnicity",
        _named="deid_patient_id",
    )
    misnamed = frame.filter(pl.col("_named") != pl.col("patient_id")).height
    if misnamed:
        account.note(
            "disagreement",
            "patient_id",
            misnamed,
            "images whose deid_patient_id in CheXpert Plus is not the patient of the path; the path is believed",
        )
    return frame.drop("_named")


def view(frontal_lateral: pl.Expr, ap_pa: pl.Expr) -> pl.Expr:
    """`Frontal|AP`, `Lateral|`, as metadata/views.tsv spells the pair; null where the first is."""
    return pl.concat_str(frontal_lateral, pl.lit("|"), ap_pa.fill_null(""))


def merge(images: pl.DataFrame, plus: pl.DataFrame, account: Account) -> pl.DataFrame:
    """`images` with `_order`, gaps filled from `plus`, and the images that only Plus lists behind them."""
    described = ("sex_raw", "age_raw", "view_raw", "view_source")
    other = plus.select(
        "image_id", "_order", *(pl.col(c).alias(f"_{c}") for c in described), _in_plus=pl.lit(value=True)
    )
    joined = images.join(other, on="image_id", how="left", maintain_order="left")
    _note_differences(joined, account)
    merged = joined.with_columns(
        sex_raw=pl.coalesce("sex_raw", "_sex_raw"),
        age_raw=pl.coalesce("age_raw", "_age_raw"),
        view_source=pl.when(pl.col("view_raw").is_null() & pl.col("_view_raw").is_not_null())
        .then("_view_source")
        .otherwise("view_source"),
        view_raw=pl.coalesce("view_raw", "_view_raw"),
    ).select(*images.columns, "_order")
    added = plus.join(images, on="image_id", how="anti", maintain_order="left")
    if not plus.is_empty():
        account.settle(plus["source_file"][0], kept=added.height, merged=plus.height - added.height)
    if images.height:
        absent = joined["_in_plus"].null_count()
        if absent:
            account.note("coverage", "plus", absent, "images of the CSV files that CheXpert Plus does not list")
        if added.height:
            account.note("coverage", "images", added.height, "images that only CheXpert Plus lists")
    return pl.concat([merged, added.select(merged.columns)])


def _note_differences(joined: pl.DataFrame, account: Account) -> None:
    age, other_age = (pl.col(c).cast(pl.Float64, strict=False) for c in ("age_raw", "_age_raw"))
    differ = joined.select(
        age=(age != other_age).sum(),
        sex=(pl.col("sex_raw") != pl.col("_sex_raw")).sum(),
        view=(pl.col("view_raw") != pl.col("_view_raw")).sum(),
    )
    for item, n in differ.row(0, named=True).items():
        if n:
            account.note(
                "disagreement",
                item,
                n,
                f"images whose {item} differs between train.csv or valid.csv, which are believed, and CheXpert Plus",
            )


def study_order(images: pl.DataFrame, account: Account) -> pl.DataFrame:
    """Add `study_order`: the place of the study by Plus's order of reports, or the number in the study's name.

    Plus numbers reports, and the images of a study at times have several, so a study stands where its first
    report does. The two orders are not mixed: a patient with a study that Plus does not list keeps the numbers.
    """
    if "_order" not in images.columns:
        return images.with_columns(study_order="_study_number")
    studies = images.group_by("patient_id", "study_id").agg(
        pl.col("_order").min(), pl.col("_study_number").first(), _several=pl.col("_order").drop_nulls().n_unique() > 1
    )
    several = int(studies["_several"].sum())
    if several:
        account.note(
            "disagreement",
            "study_order",
            several,
            "studies whose images stand at different places in CheXpert Plus's order; the first counts",
        )
    studies = studies.sort("patient_id", "_order", "_study_number", nulls_last=True).with_columns(
        _place=pl.int_range(1, pl.len() + 1).over("patient_id"),
        _whole=pl.col("_order").is_not_null().all().over("patient_id"),
    )
    studies = studies.with_columns(study_order=pl.when("_whole").then("_place").otherwise("_study_number"))
    _note_orders(studies, account)
    return images.join(studies.select("study_id", "study_order"), on="study_id", how="left", maintain_order="left")


def _note_orders(studies: pl.DataFrame, account: Account) -> None:
    by_patient = studies.group_by("patient_id").agg(
        whole=pl.col("_whole").first(),
        partly=pl.col("_order").is_not_null().any() & ~pl.col("_whole").first(),
        moved=(pl.col("_whole") & (pl.col("_place") != pl.col("_study_number").rank("ordinal"))).any(),
    )
    partly, moved = int(by_patient["partly"].sum()), int(by_patient["moved"].sum())
    if partly:
        account.note(
            "coverage",
            "study_order",
            partly,
            "patients with a study that CheXpert Plus does not list; their studies keep the order of their numbers",
        )
    if moved:
        account.note(
            "disagreement",
            "study_order",
            moved,
            "patients whose studies CheXpert Plus orders otherwise than the study numbers; Plus is believed",
        )


def race_records(plus: pl.DataFrame, account: Account) -> pl.DataFrame:
    """What Plus says of race and ethnicity. It repeats a patient's answers on every image: each distinct one counts once."""
    parts = []
    for field, precedence in (("ethnicity", _ETHNICITY_PRECEDENCE), ("race", _RACE_PRECEDENCE)):
        distinct = plus.unique(["patient_id", field], keep="first", maintain_order=True)
        several = distinct.drop_nulls(field).group_by("patient_id").len().filter(pl.col("len") > 1).height
        if several:
            account.note(
                "disagreement", field, several, f"patients with several statements of {field} in CheXpert Plus"
            )
        source_file = plus["source_file"][0] if plus.height else ""
        parts.append(
            statements(
                distinct.rename({"source_row": "_record"}),
                field,
                about=field,
                precedence=precedence,
                source_file=source_file,
            )
        )
    return pl.concat(parts)
