"""Files that the dataset classes of TorchXRayVision read in place of the official ones (checked with 1.5.7; Cohen et al., MIDL 2022).

Each file has the official columns that the class reads, for one split. The classes keep PA films and one image a patient
unless told otherwise.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from cxrdata.interop.label_orders import CHEXPERT_LABELS
from cxrdata.interop.layout_facts import (
    ASSESSED,
    SEXES,
    Tables,
    by_split,
    datasets_of,
    of_dataset,
    positive_labels,
    with_labels,
    writable,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from cxrdata.store.catalog import Catalog

ABOUT = "csvpath (MIMIC: also metacsvpath) of the dataset classes of TorchXRayVision"
_WHOLE = 'pass views=["*"] and unique_patients=False, or the class keeps PA films and one image a patient'


def tables(catalog: Catalog, frame: pl.DataFrame) -> Tables:
    """One file a dataset and split; of VinDr-CXR one a folder too, of MIMIC-CXR two."""
    made = Tables()
    for dataset in datasets_of(frame):
        _WRITERS[dataset](catalog, frame, made)
    return made


def _nih(catalog: Catalog, frame: pl.DataFrame, made: Tables) -> None:
    rows = of_dataset(catalog, frame, "nih_cxr14", ("patient_id", "age_years", "sex", "view"))
    rows = _listed(catalog, rows, "nih_cxr14", ("text_mining",), made.notes)
    table = rows.select(
        "split",
        pl.col("image_id").alias("Image Index"),
        pl.col("_labels").list.join("|").alias("Finding Labels"),
        pl.col("patient_id").alias("Patient ID"),
        pl.col("age_years").alias("Patient Age"),
        pl.col("sex").alias("Patient Gender"),
        pl.col("view").alias("View Position"),
    )
    made.tables |= {f"nih_cxr14.{split}.csv": part for split, part in by_split(table, short=False)}
    made.notes.append(f"nih_cxr14: read with NIH_Dataset(imgpath, csvpath=FILE): {_WHOLE}")


def _chexpert(catalog: Catalog, frame: pl.DataFrame, made: Tables) -> None:
    """The class looks for `train` or `valid` in the file's path and in every Path, so it reads images of train.csv alone."""
    rows = of_dataset(catalog, frame, "chexpert", ("path", "sex", "age_years", "view_raw"))
    rows = with_labels(catalog, rows, "chexpert", "chexpert", CHEXPERT_LABELS)
    needs = {
        "the class reads images below train/ alone from a file for all splits": pl.col("path").str.starts_with(
            "train/"
        ),
        "no label of the labeler chexpert": pl.col(ASSESSED),
    }
    rows = writable(rows, "chexpert", needs, made.notes)
    view = pl.col("view_raw").str.split("|").list
    table = rows.select(
        "split",
        pl.col("path").alias("Path"),
        pl.col("sex").replace_strict(SEXES, default="Unknown", return_dtype=pl.String).alias("Sex"),
        pl.col("age_years").alias("Age"),
        view.get(0, null_on_oob=True).alias("Frontal/Lateral"),
        view.get(1, null_on_oob=True).replace("", None).alias("AP/PA"),
        *CHEXPERT_LABELS,
    )
    made.tables |= {f"chexpert_train_images.{split}.csv": part for split, part in by_split(table, short=False)}
    made.notes.append(
        f"chexpert: read with CheX_Dataset(imgpath, csvpath=FILE); keep `train` in the file's name, which the class looks for: {_WHOLE}"
    )


def _mimic(catalog: Catalog, frame: pl.DataFrame, made: Tables) -> None:
    """The class joins labels by study with metadata by image: the metadata of the split's images restrict it to them."""
    rows = of_dataset(catalog, frame, "mimic_cxr", ("patient_id", "study_id", "view_raw", "view_source", "study_date"))
    rows = with_labels(catalog, rows, "mimic_cxr", "chexpert", CHEXPERT_LABELS)
    rows = writable(rows, "mimic_cxr", {"no label of the labeler chexpert": pl.col(ASSESSED)}, made.notes)
    study = {"subject_id": "patient_id", "study_id": "study_id"}
    labels = rows.select("split", **study, **{name: name for name in sorted(CHEXPERT_LABELS)}).unique(
        maintain_order=True
    )
    metadata = rows.select(
        "split",
        dicom_id="image_id",
        **study,
        ViewPosition=_said_by("ViewPosition"),
        StudyDate=pl.col("study_date").dt.strftime("%Y%m%d"),
    )
    for kind, table in (("labels", labels), ("metadata", metadata)):
        made.tables |= {f"mimic_cxr.{split}.{kind}.csv": part for split, part in by_split(table, short=False)}
    made.notes.append(
        f"mimic_cxr: read with MIMIC_Dataset(imgpath, csvpath=….labels.csv, metacsvpath=….metadata.csv): {_WHOLE}"
    )


def _padchest(catalog: Catalog, frame: pl.DataFrame, made: Tables) -> None:
    columns = ("patient_id", "age_raw", "sex_raw", "view_raw", "view_source", "study_date")
    rows = _listed(
        catalog, of_dataset(catalog, frame, "padchest", columns), "padchest", ("physician", "rnn"), made.notes
    )
    # The class looks for words with the quote behind them, so the list is written as the official file has it.
    words = pl.lit("['") + pl.col("_labels").list.join("', '") + pl.lit("']")
    table = rows.select(
        "split",
        ImageID="image_id",
        StudyDate_DICOM=pl.col("study_date").dt.strftime("%Y%m%d"),
        PatientID="patient_id",
        PatientBirth="age_raw",
        PatientSex_DICOM="sex_raw",
        Projection=_said_by("Projection"),
        Labels=pl.when(pl.col("_labels").list.len() > 0).then(words),
    )
    made.tables |= {f"padchest.{split}.csv": part for split, part in by_split(table, short=False)}
    made.notes.append(
        f"padchest: read with PC_Dataset(imgpath, csvpath=FILE): {_WHOLE}; it leaves out patients born from 2009 on, children above all, "
        "images without labels, and files that it knows to be broken"
    )


def _vindr(catalog: Catalog, frame: pl.DataFrame, made: Tables) -> None:
    """The class looks for all images in one folder: one file for those of train/, one for those of test/."""
    rows = of_dataset(catalog, frame, "vindr_cxr", ("path",))
    boxes = (
        catalog.table("boxes")
        .filter(dataset="vindr_cxr")
        .select("image_id", "reader_id", "native_label", "x_min", "y_min", "x_max", "y_max")
        .collect()
    )
    joined = rows.with_row_index("_at").join(
        boxes.sort(pl.all()), on="image_id", how="left", maintain_order="left_right"
    )
    table = joined.select(
        "split",
        "image_id",
        pl.col("reader_id").alias("rad_id"),
        pl.col("native_label").fill_null("No finding").alias("class_name"),
        "x_min", "y_min", "x_max", "y_max",
        folder=pl.col("path").str.split("/").list.first(),
    )  # fmt: skip
    for folder in table["folder"].unique().sort().to_list():
        part = table.filter(folder=folder).drop("folder")
        made.tables |= {f"vindr_cxr_{folder}_images.{split}.csv": one for split, one in by_split(part, short=False)}
    made.notes.append(
        "vindr_cxr: read with VinDr_Dataset(imgpath, csvpath=FILE), imgpath being the folder that the file names (train or test); an image without boxes is No finding there, as in the annotation files"
    )


def _said_by(column: str) -> pl.Expr:
    """The view as this official column has it; blank where the catalog took it from another one, as this says nothing."""
    return pl.when(view_source=column).then("view_raw")


def _listed(
    catalog: Catalog, rows: pl.DataFrame, dataset: str, labelers: tuple[str, ...], notes: list[str]
) -> pl.DataFrame:
    """The rows with `_labels`, the sorted list of positive native labels, of the first labeler that looked at the image."""
    found = rows.with_columns(_labels=pl.lit(None, pl.List(pl.String)))
    for labeler in labelers:
        said = positive_labels(catalog, dataset, labeler)
        found = (
            found.join(said, on="image_id", how="left", maintain_order="left")
            .with_columns(_labels=pl.coalesce("_labels", "labels"))
            .drop("labels")
        )
    return writable(found, dataset, {f"no label of {' or '.join(labelers)}": pl.col("_labels").is_not_null()}, notes)


_WRITERS: dict[str, Callable[[Catalog, pl.DataFrame, Tables], None]] = {
    "chexpert": _chexpert, "mimic_cxr": _mimic, "nih_cxr14": _nih, "padchest": _padchest, "vindr_cxr": _vindr,
}  # fmt: skip
DATASETS = tuple(_WRITERS)
