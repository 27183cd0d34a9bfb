"""What the review holds beside its datasets: conference papers, and lists of datasets that are reused.

Both ship as text beside `open_datasets.tsv`, in its format.
"""

from __future__ import annotations

import polars as pl

from cxrdata.resources import data_folder
from cxrdata.schemas.open_datasets import AGE_CLASSES, AGE_DOCUMENTED_HOW, IMPUTED_FROM, MOST_COUNT, read_facts
from cxrdata.schemas.tables import _BOOL, _INT, _REAL, _TEXT, _TEXTS, _table, column

PAPERS_FILE = "review_papers.tsv"
LISTINGS_FILE = "review_listings.tsv"
PAPER_DATA = ("public", "private", "simulated")
PAPER_AGES = ("adult", "children", "both", "unknown")
LISTINGS = (
    "midl_datasets", "repackaging_primary", "repackaging_secondary", "medsam_ct", "medsam_mri", "vqa_rad",
)  # fmt: skip

REVIEW_PAPERS = _table(
    "review_papers",
    "Conference papers of the review: one row a paper, facts only.",
    ("entry",),
    {
        "entry": column(_INT, "Place in the list.", nullable=False, at_least=1),
        "conference": column(_TEXT, "Conference.", nullable=False),
        "year": column(_INT, "Year.", at_least=1900),
        "link": column(_TEXT, "Where the paper is.", nullable=False),
        "task": column(_TEXT, "What it is about, in a few words."),
        "granularity": column(_TEXT, "General or Niche."),
        "datasets": column(_TEXTS, "Datasets that it uses."),
        "modalities": column(_TEXTS, "Imaging modalities."),
        "excluded": column(_BOOL, "Whether the review excluded it (no imaging of patients).", nullable=False),
        "age_class": column(_TEXT, "Whose images, as far as the review could tell.", values=PAPER_AGES),
        "data_kinds": column(_TEXTS, "public, private, simulated; one or more."),
        "age_mentioned": column(_BOOL, "Whether the paper mentions age."),
        "age_documented_how": column(_TEXT, "In what form.", values=AGE_DOCUMENTED_HOW),
    },
    per_dataset=False,
)
REVIEW_LISTINGS = _table(
    "review_listings",
    "Lists of datasets beside the sources of the review: what papers use, what is repackaged, and into what.",
    ("entry",),
    {
        "entry": column(_INT, "Place in the lists.", nullable=False, at_least=1),
        "listing": column(
            _TEXT,
            "midl_datasets: used by the conference papers; repackaging_primary and _secondary: datasets that reuse others, and those reused; medsam_ct, medsam_mri: what MedSAM was made from; vqa_rad: the cases behind VQA-RAD, one row a kind of image.",
            nullable=False,
            values=LISTINGS,
        ),
        "dataset_name": column(_TEXT, "Name as the list has it.", nullable=False),
        "links": column(_TEXTS, "Where it is published."),
        "validation": column(_TEXT, "MedSAM: internal or external.", values=("internal", "external")),
        "cases_used": column(_INT, "MedSAM: cases that it reports to use.", at_least=0, at_most=MOST_COUNT),
        "only_secondary": column(_BOOL, "Whether all of its data are another's."),
        "scraped": column(_BOOL, "Whether its data were collected from public pages."),
        "secondary_of": column(_TEXTS, "Datasets that it takes data from."),
        "modalities": column(_TEXTS, "Imaging modalities."),
        "patients": column(_INT, "Patients, imputed as in `open_datasets`; of vqa_rad the cases with an age.", at_least=0, at_most=MOST_COUNT),
        "patients_imputed_from": column(_TEXT, "What `patients` was imputed from.", values=IMPUTED_FROM),
        "sequences": column(_INT, "Sequences, filled as in `open_datasets`.", at_least=0, at_most=MOST_COUNT),
        "images": column(_INT, "Images as stated; of vqa_rad the cases.", at_least=0, at_most=MOST_COUNT),
        "age_class": column(_TEXT, "adult, children, both or adult_prenatal; null when unknown.", values=AGE_CLASSES),
        "adult_share_low": column(_REAL, "Least share of adults that the statement allows.", at_least=0, at_most=1),
        "adult_share_high": column(_REAL, "Largest share of adults that the statement allows.", at_least=0, at_most=1),
        "adult_share": column(_REAL, "Share of adults as the publication takes it.", at_least=0, at_most=1),
        "age_documented": column(_BOOL, "Whether age is documented."),
        "age_documented_how": column(_TEXT, "In what form age is documented.", values=AGE_DOCUMENTED_HOW),
        "age_complete": column(_BOOL, "Whether every patient has an age."),
    },
    per_dataset=False,
)  # fmt: skip


def read_papers() -> pl.DataFrame:
    """The conference papers that ship."""
    return read_facts(data_folder("catalog") / PAPERS_FILE, REVIEW_PAPERS)


def read_listings() -> pl.DataFrame:
    """The lists that ship."""
    return read_facts(data_folder("catalog") / LISTINGS_FILE, REVIEW_LISTINGS)
