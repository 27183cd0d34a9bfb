"""Tables that hold no images: datasets, vocabularies, expected counts."""

from __future__ import annotations

import polars as pl

from cxrdata.schemas.open_datasets import FILE_NAME as OPEN_DATASETS_FILE
from cxrdata.schemas.open_datasets import OPEN_DATASETS, read_open_datasets, with_overlay
from cxrdata.schemas.tables import Table, _table, column
from cxrdata.sources.base import Registry
from cxrdata.vocabularies import Vocabularies

_TEXT, _INT, _REAL, _BOOL = pl.String, pl.Int64, pl.Float64, pl.Boolean


def _vocabulary(
    name: str, description: str, key: tuple[str, ...], columns: dict[str, tuple[type[pl.DataType], str]]
) -> Table:
    return _table(
        name, description, key, {k: column(dtype, text) for k, (dtype, text) in columns.items()}, per_dataset=False
    )


DATASETS = _vocabulary(
    "datasets",
    "The datasets that this version can ingest, those of this build marked.",
    ("dataset",),
    {
        "dataset": (_TEXT, "Dataset name, used in every other table."),
        "title": (_TEXT, "Name as published."),
        "institution": (_TEXT, "Where the images were taken."),
        "country": (_TEXT, "Country of that institution."),
        "homepage": (_TEXT, "Where the dataset is published."),
        "doi": (_TEXT, "DOI of the paper or data."),
        "licence": (_TEXT, "Licence or agreement."),
        "terms": (_TEXT, "What the terms ask for, in short."),
        "patient_ids": (
            _BOOL,
            "Whether the dataset tells patients apart; where not, the image stands for the patient.",
        ),
        "healthy_rule": (_TEXT, "What healthy means in this dataset (metadata/healthy.toml)."),
        "in_build": (_BOOL, "Whether this build holds it."),
        "synthetic": (_BOOL, "Whether the files of this build were written by `cxrdata synth`."),
    },
)
FINDINGS = _vocabulary(
    "findings",
    "Canonical findings.",
    ("finding",),
    {
        "finding_order": (_INT, "Place in the list."),
        "finding": (_TEXT, "Name, as in the columns of image_labels."),
        "title": (_TEXT, "Name in words."),
        "finding_group": (_TEXT, "List that it comes from."),
        "definition": (_TEXT, "What it is."),
        "differs": (_TEXT, "How its meaning differs between the datasets."),
    },
)
FINDING_TREE = _vocabulary(
    "finding_tree",
    "Which finding is an instance of which; image_labels_rolled carries positives up along it.",
    ("child", "parent"),
    {
        "child": (_TEXT, "The narrower finding."),
        "parent": (_TEXT, "The broader finding."),
        "source": (_TEXT, "Where the relation comes from."),
        "comment": (_TEXT, "Remark."),
    },
)
LABEL_MAP = _vocabulary(
    "label_map",
    "The crosswalk from native labels to findings (SSSOM, taken apart).",
    ("dataset", "native_label", "finding"),
    {
        "dataset": (_TEXT, "Dataset of the native label."),
        "native_label": (_TEXT, "Label as the dataset spells it."),
        "predicate": (
            _TEXT,
            "exactMatch, broadMatch (the finding is broader), narrowMatch, closeMatch; null when unmapped.",
        ),
        "finding": (_TEXT, "Canonical finding, or null when unmapped."),
        "comment": (_TEXT, "Why."),
    },
)
RACE_MAP = _vocabulary(
    "race_map",
    "How raw statements of race and ethnicity are read, by scheme.",
    ("scheme", "dataset", "field", "raw_value"),
    {
        "scheme": (_TEXT, "Named scheme; the build uses omb1997 unless told otherwise."),
        "dataset": (_TEXT, "Dataset of the field."),
        "field": (_TEXT, "Column of the source."),
        "raw_value": (_TEXT, "Value as the source has it."),
        "race": (_TEXT, "Race that it states, or null."),
        "ethnicity": (_TEXT, "Ethnicity that it states, or null."),
        "missing_reason": (_TEXT, "Why it states none."),
        "comment": (_TEXT, "Remark."),
    },
)
AGE_GROUPS = _vocabulary(
    "age_groups",
    "Schemes of age groups; a group holds ages in [low_years, high_years).",
    ("scheme", "age_group"),
    {
        "scheme": (_TEXT, "Name of the scheme."),
        "group_order": (_INT, "Place of the group in the scheme."),
        "age_group": (_TEXT, "Name of the group."),
        "low_years": (_REAL, "Lower bound in years, inclusive."),
        "high_years": (_REAL, "Upper bound in years, exclusive; null unbounded."),
        "comment": (_TEXT, "Remark."),
    },
)
LABELERS = _vocabulary(
    "labelers",
    "Who labelled.",
    ("labeler",),
    {"labeler": (_TEXT, "Name."), "title": (_TEXT, "Name in words."), "description": (_TEXT, "Method.")},
)
BROKEN_IMAGES = _vocabulary(
    "broken_images",
    "Images known to be missing or damaged in the official distribution.",
    ("dataset", "image_id"),
    {
        "dataset": (_TEXT, "Dataset."),
        "image_id": (_TEXT, "Image key within the dataset."),
        "problem": (_TEXT, "What is wrong with it."),
        "source": (_TEXT, "Who says so."),
    },
)
EXPECTED_COUNTS = _vocabulary(
    "expected_counts",
    "Official counts beside those of this build. A difference is no error: users hold subsets and other versions.",
    ("dataset", "what"),
    {
        "dataset": (_TEXT, "Dataset."),
        "what": (_TEXT, "What is counted."),
        "expected": (_INT, "Official count."),
        "found": (_INT, "Count in this build."),
        "confidence": (
            _TEXT,
            "V verified on the real file, R read in documentation or code, M from memory (never a check).",
        ),
    },
)


def vocabulary_frames(
    vocabularies: Vocabularies, registry: Registry, built: dict[str, bool]
) -> list[tuple[Table, pl.DataFrame]]:
    """The vocabulary tables of a build; `built` maps the build's datasets to whether they are synthetic."""
    return [
        (DATASETS, _datasets(vocabularies, registry, built)),
        (FINDINGS, vocabularies.findings),
        (FINDING_TREE, vocabularies.finding_tree),
        (LABEL_MAP, vocabularies.label_map),
        (RACE_MAP, vocabularies.race),
        (AGE_GROUPS, vocabularies.age_groups),
        (LABELERS, vocabularies.labelers),
        (BROKEN_IMAGES, vocabularies.broken_images),
        (OPEN_DATASETS, _open_datasets(vocabularies)),
    ]


def _open_datasets(vocabularies: Vocabularies) -> pl.DataFrame:
    """The review's facts, with those of an overlay's `open_datasets.tsv`."""
    facts = read_open_datasets()
    for folder in vocabularies.folders[1:]:
        if (folder / OPEN_DATASETS_FILE).is_file():
            facts = with_overlay(facts, folder / OPEN_DATASETS_FILE)
    return facts


def _datasets(vocabularies: Vocabularies, registry: Registry, built: dict[str, bool]) -> pl.DataFrame:
    rows = [
        {
            "dataset": source.name,
            "title": source.title,
            "institution": source.entry.get("institution"),
            "country": source.entry.get("country"),
            "homepage": source.entry.get("homepage"),
            "doi": source.entry.get("doi"),
            "licence": source.entry["licence"]["name"],
            "terms": source.entry["licence"]["terms"],
            "patient_ids": bool(source.entry.get("patient_ids", True)),
            "healthy_rule": vocabularies.healthy.get(source.name, {}).get("sql"),
            "in_build": source.name in built,
            "synthetic": built.get(source.name, False),
        }
        for source in registry
    ]
    return pl.DataFrame(rows, schema=DATASETS.types())
