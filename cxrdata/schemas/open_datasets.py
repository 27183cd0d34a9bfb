"""The table `open_datasets`: the review's facts, and the text file that ships them.

`catalog/open_datasets.tsv` holds the table as text: tab separated, lists joined by `|`, empty cells null.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import polars as pl

from cxrdata.errors import CxrError
from cxrdata.resources import data_folder
from cxrdata.schemas.tables import _BOOL, _INT, _REAL, _TEXT, _TEXTS, Table, _table, column
from cxrdata.schemas.validate import validate
from cxrdata.vocabularies import read_tsv

FILE_NAME = "open_datasets.tsv"
FORMAT_VERSION = 2
_SOURCE = "Source: "
LIST_SEPARATOR = "|"
SOURCES = ("challenges", "benchmarks", "highly_cited", "collections")
PARTS = ("grand_challenge", "kaggle", "msd", "medfair", "amos", "midrc", "stanford_aimi", "tcia")
AGE_CLASSES = ("adult", "children", "both", "adult_prenatal")
AGE_DOCUMENTED_HOW = ("Patient-Level", "Binned Patient-Level", "Summary Statistics", "Task/Data Description")
IMPUTED_FROM = ("sequences", "images", "patients")
SHARES_FROM = ("Modalities", "Modality", "equal")
# What no dataset has more of: also keeps sums over all of them far from the largest 64-bit number.
MOST_COUNT = 10**9
OLDEST_YEARS = 130
_REALS = pl.List(pl.Float64)

OPEN_DATASETS = _table(
    "open_datasets",
    "The review of public medical imaging datasets: one row an entry of a source, facts only (after Hua et al., medRxiv 2025.06.06.25328913). A dataset that several sources list has an entry in each.",
    ("entry",),
    {
        "entry": column(
            _INT,
            "Place of the entry: challenges, benchmarks, highly cited datasets, then the collections of MIDRC, Stanford AIMI and TCIA.",
            nullable=False,
            at_least=1,
        ),
        "source": column(_TEXT, "challenges, benchmarks, highly_cited or collections.", nullable=False, values=SOURCES),
        "part": column(_TEXT, "Platform, benchmark or collection within the source.", values=PARTS),
        "dataset_name": column(_TEXT, "Name of the dataset as the review has it.", nullable=False),
        "canonical_name": column(
            _TEXT,
            "Name under which near-duplicates are one dataset (`catalog/open_dataset_aliases.tsv`); else dataset_name.",
            nullable=False,
        ),
        "aliases": column(_TEXTS, "Further names of that dataset."),
        "listed_before": column(_BOOL, "Whether an entry of exactly this name stands above.", nullable=False),
        "links": column(_TEXTS, "Where the dataset is published."),
        "paper_links": column(_TEXTS, "Papers that describe it."),
        "modalities": column(_TEXTS, "Imaging modalities."),
        "modality_shares": column(
            _REALS,
            "Share of each modality, in their order: as stated, where sums may differ from 1, else equal.",
        ),
        "modality_shares_from": column(
            _TEXT,
            "Where the shares are from: `Modalities` or `Modality`, as the source's key has it (the publication read the first alone), or `equal`.",
            values=SHARES_FROM,
        ),
        "organs": column(_TEXTS, "Organs or body parts."),
        "task_categories": column(_TEXTS, "Kinds of task."),
        "institutions": column(_TEXTS, "Where the data come from; null inside the list where only a country is known."),
        "institution_countries": column(_TEXTS, "Country of each institution, in their order."),
        "patients_stated": column(_INT, "Patients as the source says.", at_least=0, at_most=MOST_COUNT),
        "sequences_stated": column(_INT, "Imaging sequences as the source says.", at_least=0, at_most=MOST_COUNT),
        "images_stated": column(_INT, "Images as the source says.", at_least=0, at_most=MOST_COUNT),
        "patients": column(
            _INT,
            "Patients, imputed where not stated: the sequences of CT and MRI, half the images of fundus photography.",
            at_least=0,
            at_most=MOST_COUNT,
        ),
        "patients_imputed_from": column(
            _TEXT, "What `patients` was imputed from; null if stated.", values=IMPUTED_FROM
        ),
        "sequences": column(
            _INT, "Sequences; where not stated the patients stated, else the images.", at_least=0, at_most=MOST_COUNT
        ),
        "sequences_imputed_from": column(
            _TEXT, "What `sequences` was imputed from; null if stated.", values=IMPUTED_FROM
        ),
        "age_class": column(_TEXT, "adult, children, both or adult_prenatal; null when unknown.", values=AGE_CLASSES),
        "adult_share_low": column(_REAL, "Least share of adults that the statement allows.", at_least=0, at_most=1),
        "adult_share_high": column(_REAL, "Largest share of adults that the statement allows.", at_least=0, at_most=1),
        "adult_share": column(
            _REAL,
            "Share of adults as the publication takes it: `more than x %` is x; null when unknown.",
            at_least=0,
            at_most=1,
        ),
        "age_documented": column(_BOOL, "Whether age is documented."),
        "age_documented_how": column(_TEXT, "In what form age is documented.", values=AGE_DOCUMENTED_HOW),
        "age_complete": column(_BOOL, "Whether every patient has an age."),
        "age_mean_years": column(_REAL, "Mean age in years.", at_least=0, at_most=OLDEST_YEARS),
        "age_mean_unit": column(
            _TEXT, "Unit in which the mean age is stated; null where the source states none.", values=("years", "days")
        ),
        "age_median_years": column(_REAL, "Median age in years.", at_least=0, at_most=OLDEST_YEARS),
        "age_min_years": column(_REAL, "Youngest age in years.", at_least=0, at_most=OLDEST_YEARS),
        "age_max_years": column(
            _REAL, "Oldest age in years; null with a known youngest: unbounded.", at_least=0, at_most=OLDEST_YEARS
        ),
        "female_share": column(_REAL, "Share of female patients, if documented.", at_least=0, at_most=1),
        "male_share": column(_REAL, "Share of male patients, if documented.", at_least=0, at_most=1),
        "sex_stated_as": column(
            _TEXT, "What the source calls it; the publication counted `Sex` alone.", values=("Sex", "Gender")
        ),
        "races": column(
            _TEXTS, "Races and ethnicities that the dataset documents, as it names them; none for unknown."
        ),
        "race_shares": column(_REALS, "Share of each, in their order."),
        "race_unknown_share": column(_REAL, "Share stated as unknown or not available.", at_least=0),
        "secondary_of": column(_TEXTS, "Datasets that this one takes data from."),
        "cancer": column(_BOOL, "Whether name, description, inclusion criteria or task name a cancer.", nullable=False),
    },
    per_dataset=False,
)


def open_datasets_text(frame: pl.DataFrame, *, source: str) -> str:
    """The table as the text of its file; `source` says in one line what it was made from."""
    return facts_text(
        frame, title="Public medical imaging datasets: facts of the review, one row an entry.", source=source
    )


def facts_text(frame: pl.DataFrame, *, title: str, source: str) -> str:
    """A table of facts as the text of its file: two lines of comment, a header, tab separated rows."""
    lines = [
        f"# {title} Lists are joined by `{LIST_SEPARATOR}`.",
        f"# Format {FORMAT_VERSION}. {_SOURCE}{source}",
        "\t".join(frame.columns),
    ]
    lines += ["\t".join(_cell(value) for value in row) for row in frame.iter_rows()]
    return "\n".join(lines) + "\n"


def read_open_datasets(path: Path | None = None) -> pl.DataFrame:
    """The facts of `path`, each value one that its column takes, else those that ship. Raises CxrError CXR-101, CXR-505."""
    if path is None:
        return read_facts(data_folder("catalog") / FILE_NAME, OPEN_DATASETS)
    theirs = read_facts(path, OPEN_DATASETS)
    _, broken = validate(theirs, OPEN_DATASETS)
    if not broken.is_empty():
        row = broken.row(0, named=True)
        raise CxrError(
            "CXR-505",
            f"{row['column_name']} {row['value']!r}: {row['message']}",
            where=f"{path.name} [entry {theirs['entry'][row['row']]}]",
            fix="write it with `cxrdata review add`, which names what does not hold",
        )
    return theirs


def read_facts(path: Path, table: Table) -> pl.DataFrame:
    """A file of facts as its table. Raises CxrError: CXR-101 not there, CXR-505 not such a file."""
    if not path.is_file():
        raise CxrError(
            "CXR-101", "the file of the review's facts does not exist", where=str(path), fix="check the path"
        )
    frame = read_tsv(path)
    if frame.columns != table.columns:
        lacking = [name for name in table.columns if name not in frame.columns]
        problem = f"the file lacks the column {lacking[0]}" if lacking else f"the columns are not those of {table.name}"
        raise CxrError("CXR-505", problem, where=path.name, fix="make it with `cxrdata review import`")
    try:
        return frame.select(typed_columns(table.columns, table.types()))
    except pl.exceptions.InvalidOperationError as error:
        raise CxrError(
            "CXR-505", str(error).splitlines()[0], where=path.name, fix="make it with `cxrdata review import`"
        ) from error


def _cell(value: Any) -> str:  # noqa: ANN401 - any cell of the table
    if value is None:
        return ""
    if isinstance(value, list):
        return LIST_SEPARATOR.join(_cell(part) for part in value)
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def facts_source(path: Path | None = None) -> str:
    """What a file of facts (None: the one that ships) says that it was made from; else its name."""
    path = path or data_folder("catalog") / FILE_NAME
    if path.suffix.lower() == ".tsv":
        with path.open(encoding="utf-8") as lines:
            for line in lines:
                if line.startswith("#") and _SOURCE in line:
                    return line.partition(_SOURCE)[2].strip()
    return path.name


def with_overlay(shipped: pl.DataFrame, path: Path) -> pl.DataFrame:
    """The facts that ship and those of a user's file: an entry of the same source, part and name wins, others are added.

    Raises CxrError: CXR-505 not such a file, or a value that its column refuses.
    """
    theirs = read_open_datasets(path)
    key = ["source", "part", "dataset_name"]
    ours = shipped.join(theirs, on=key, how="anti", nulls_equal=True, maintain_order="left")
    first = pl.concat([ours.with_columns(_theirs=False), theirs.with_columns(_theirs=True)])
    every = first.sort("entry", "_theirs", maintain_order=True).drop("_theirs")
    return every.with_columns(
        entry=pl.int_range(1, pl.len() + 1, dtype=pl.Int64), listed_before=~pl.col("dataset_name").is_first_distinct()
    )


def typed_columns(names: Iterable[str], types: dict[str, Any]) -> list[pl.Expr]:
    """The columns of a text file in their types; a cell that does not fit raises polars' InvalidOperationError."""
    return [_typed(name, types[name]) for name in names]


def _typed(name: str, dtype: Any) -> pl.Expr:  # noqa: ANN401 - a polars type
    text = pl.col(name)
    if isinstance(dtype, pl.List):
        parts = text.str.split(LIST_SEPARATOR)
        return parts.list.eval(pl.when(pl.element() != "").then(pl.element())).cast(dtype).alias(name)
    if dtype == _BOOL:
        return pl.when(text == "true").then(statement=True).when(text == "false").then(statement=False).alias(name)
    return text.cast(dtype)
