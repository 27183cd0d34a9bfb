"""Synthetic CheXpert Plus: one table with report text, three files of CheXbert labels.

Columns and shares of filled sections follow the released table (Chambon et al. 2024): the
same images as CheXpert less a few, sections mostly equal within a study but not always,
the full report different on every image. The text is words without meaning.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from cxrdata.sources.drawing.report_labels import (
    FINDINGS,
    UNMENTIONED,
    label_frame,
    other_labeler,
)
from cxrdata.sources.drawing.totals import Ints, draw_text

if TYPE_CHECKING:
    from pathlib import Path

    from cxrdata.sources.chexpert.synth_images import Cohort
    from cxrdata.sources.drawing.report_labels import States
    from cxrdata.sources.synthesis import SynthPlan

FILE_NAME = "df_chexpert_plus_240401.csv"
ROWS_AT_A_TIME = 25_000
POOL = 1_024
TEXT_OF_ITS_OWN = 0.16  # images after the first of a study whose sections are not the first's
QUOTED = 0.1  # lines with a quoted word
BMI_KNOWN = 0.85
PAIR = 2
INSURANCE: dict[str | None, float] = {"Medicare": 45, "Private Insurance": 33, "Medicaid": 17, "Unknown": 5}
WORDS = (
    *(
        "synthetic",
        "sample",
        "placeholder",
        "invented",
        "fictitious",
        "phantom",
        "random",
        "generated",
        "artificial",
    ),
    *("mock", "segment", "panel", "contour", "margin", "shade", "grid", "outline", "marker"),
    *("field", "region", "border", "corner", "layer", "block", "left", "right", "upper"),
    *("lower", "central", "lateral", "stable", "unchanged", "faint", "broad", "narrow", "even"),
    *("uneven", "mild"),
)
# Section: heading in the report, share of reports that have it, sentences (fewest, most).
SECTIONS: dict[str, tuple[str, float, int, int]] = {
    "section_narrative": ("NARRATIVE", 0.975, 1, 2),
    "section_clinical_history": ("CLINICAL HISTORY", 0.62, 1, 2),
    "section_history": ("HISTORY", 0.17, 1, 2),
    "section_comparison": ("COMPARISON", 0.80, 1, 1),
    "section_technique": ("TECHNIQUE", 0.06, 1, 2),
    "section_procedure_comments": ("PROCEDURE COMMENTS", 0.11, 1, 2),
    "section_findings": ("FINDINGS", 0.27, 3, 6),
    "section_impression": ("IMPRESSION", 0.999, 2, 6),
    "section_end_of_impression": ("END OF IMPRESSION", 0.15, 1, 1),
    "section_summary": ("SUMMARY", 0.80, 1, 1),
}
COLUMNS = (
    *("path_to_image", "path_to_dcm", "frontal_lateral", "ap_pa", "deid_patient_id"),
    *("patient_report_date_order", "report", *SECTIONS, "section_accession_number"),
    *(
        "age",
        "sex",
        "race",
        "ethnicity",
        "interpreter_needed",
        "insurance_type",
        "recent_bmi",
    ),
    *("deceased", "split"),
)
# The CheXbert files list No Finding last.
LABEL_ORDER = (*FINDINGS[1:], FINDINGS[0])
# How closely labels of each text agree with train.csv's, which come from the impression.
AGREEMENT = {"findings": 0.90, "impression": 0.95, "report": 0.92}


def write(
    folder: Path,
    plan: SynthPlan,
    train: tuple[Cohort, States],
    valid: tuple[Cohort, States],
    people: pl.DataFrame,
) -> None:
    """Write the table and `chexbert_labels/` into `folder`.

    `people` is the demographics frame, the source of race and ethnicity here as well.
    """
    folder.mkdir(parents=True, exist_ok=True)
    parts, keys, states = [], [], []
    first_study = 0
    for cohort, labels in (train, valid):
        kept = _kept_rows(plan, cohort)
        study = cohort.images["study_row"].to_numpy()[kept]
        parts.append(_facts(cohort)[kept])
        keys.append(study + first_study)
        states.append(labels)
        first_study += len(labels)
    facts = pl.concat(parts).join(
        people.select("patient", race="PRIMARY_RACE", ethnicity="ETHNICITY"),
        on="patient",
        how="left",
        maintain_order="left",
    )
    study_of = np.concatenate(keys)
    facts = facts.hstack(_personal(plan, facts["patient"].to_numpy()))
    facts = facts.hstack(_sections(plan, study_of))
    with (folder / FILE_NAME).open("wb") as out:
        for start in range(0, len(facts), ROWS_AT_A_TIME):
            part = facts.slice(start, ROWS_AT_A_TIME).with_columns(report=_report()).select(COLUMNS)
            part.write_csv(out, include_header=start == 0)
    _write_labels(folder / "chexbert_labels", plan, facts, np.concatenate(states), study_of)


def _kept_rows(plan: SynthPlan, cohort: Cohort) -> Ints:
    """Rows of the cohort that Plus has: all of validation, training less 130 studies with 186
    images, 15 patients entirely gone."""
    if cohort.split != "train":
        return np.arange(len(cohort.images))
    rng = plan.rng("chexpert", "plus rows")
    studies = cohort.images.filter(pl.col("view") == 1)["patient"].to_numpy()
    alone = np.bincount(studies)[studies] == 1
    only = rng.permutation(np.flatnonzero(alone & (cohort.rows == 1)))[: plan.count(15)]
    single = rng.permutation(np.flatnonzero(~alone & (cohort.rows == 1)))[: plan.count(59)]
    double = rng.permutation(np.flatnonzero(~alone & (cohort.rows == PAIR)))[: plan.count(56)]
    gone = np.zeros(len(cohort.rows), dtype=bool)
    gone[np.concatenate([only, single, double])] = True
    return np.flatnonzero(~gone[cohort.images["study_row"].to_numpy()])


def _facts(cohort: Cohort) -> pl.DataFrame:
    paths = cohort.paths()
    return cohort.images.select(
        "patient",
        path_to_image=paths,
        path_to_dcm=paths.str.replace(".jpg", ".dcm", literal=True),
        frontal_lateral="frontal_lateral",
        ap_pa="ap_pa",
        deid_patient_id=paths.str.split("/").list.get(1),
        patient_report_date_order="study",
        age=pl.col("age").cast(pl.Float64),
        sex="sex",
        split=pl.lit(cohort.split),
    )


def _personal(plan: SynthPlan, patient: Ints) -> pl.DataFrame:
    """What Plus says of each patient beyond race: constant over the patient's rows."""
    rng = plan.rng("chexpert", "plus patients")
    numbers, row = np.unique(patient, return_inverse=True)
    n = len(numbers)
    bmi = np.round(rng.integers(140, 520, n) / 10, 1)
    known_bmi = rng.random(n) < BMI_KNOWN
    return pl.DataFrame(
        {
            "interpreter_needed": draw_text(rng, n, {"No": 85, "Yes": 12, "Unknown": 3})[row],
            "insurance_type": draw_text(rng, n, INSURANCE)[row],
            "recent_bmi": pl.Series([b if k else None for b, k in zip(bmi, known_bmi, strict=True)])[row],
            "deceased": draw_text(rng, n, {"No": 72, "Yes": 28})[row],
        }
    )


def _sections(plan: SynthPlan, study_of: Ints) -> pl.DataFrame:
    """Text columns, a row an image: a study's images share each section, but for a few."""
    rng = plan.rng("chexpert", "plus text")
    _, row = np.unique(study_of, return_inverse=True)
    n = int(row.max()) + 1
    repeats = np.concatenate([[False], row[1:] == row[:-1]])
    differs = repeats & (rng.random(len(row)) < TEXT_OF_ITS_OWN)
    differs[np.flatnonzero(repeats)[0]] = True
    columns: dict[str, pl.Series] = {}
    has_clinical = np.zeros(n, dtype=bool)
    for name, (_, share, fewest, most) in SECTIONS.items():
        present = rng.random(n) < share
        if name == "section_clinical_history":
            has_clinical = present
        if name == "section_history":  # stands where the clinical history does not
            present = ~has_clinical & (rng.random(n) < share / 0.38)
        pool = _paragraphs(rng, POOL, fewest, most)
        pick = np.where(present, rng.integers(0, POOL, n), POOL)[row]
        pick[differs & (pick < POOL)] = rng.integers(0, POOL, int((differs & (pick < POOL)).sum()))
        columns[name] = pl.Series([*pool, None], dtype=pl.String)[pick]
    columns["section_accession_number"] = _accessions(plan, rng, n)[row]
    columns["image_note"] = pl.Series(_paragraphs(rng, POOL, 1, 1))[rng.integers(0, POOL, len(row))]
    return pl.DataFrame(columns)


def _paragraphs(rng: np.random.Generator, n: int, fewest: int, most: int) -> list[str]:
    """Paragraphs of numbered lines, with the commas and quotation marks that test a CSV reader."""
    made = []
    for _ in range(n):
        lines = []
        for number in range(1, int(rng.integers(fewest, most + 1)) + 1):
            words = [WORDS[i] for i in rng.integers(0, len(WORDS), int(rng.integers(6, 12))).tolist()]
            words[1] += ","
            if rng.random() < QUOTED:
                words[3] = f'"{words[3]}"'
            lines.append(f"{number}. SYNTHETIC {' '.join(words)}.")
        made.append("\n\n".join(lines) if most > 1 else lines[0].removeprefix("1. "))
    return made


def _accessions(plan: SynthPlan, rng: np.random.Generator, n: int) -> pl.Series:
    """Seven-digit numbers as text; one stands for hundreds of studies, as in the released table."""
    numbers = rng.integers(1_000_000, 10_000_000, n)
    numbers[rng.permutation(n)[: plan.count(650, at_least=3)]] = 9_999_999
    return pl.Series(numbers).cast(pl.String)


def _report() -> pl.Expr:
    """All sections under their headings, one after the other, then a note of the image's own."""
    parts = [pl.format(f"{heading}:\n{{}}", name) for name, (heading, *_) in SECTIONS.items()]
    return pl.concat_str(
        *parts,
        pl.format("ACCESSION NUMBER:\n{}", "section_accession_number"),
        pl.format("SYNTHETIC REPORT. {}", "image_note"),
        separator="\n\n",
        ignore_nulls=True,
    )


def _write_labels(folder: Path, plan: SynthPlan, facts: pl.DataFrame, states: States, study_of: Ints) -> None:
    """One JSON object an image and line, by its path; null where the text does not say."""
    folder.mkdir(parents=True, exist_ok=True)
    repeats = np.concatenate([[False], study_of[1:] == study_of[:-1]])
    for text, agreement in AGREEMENT.items():
        rng = plan.rng("chexpert", "plus labels", text)
        labels = other_labeler(rng, states, agreement)[study_of]
        if text == "findings":
            labels[facts["section_findings"].is_null().to_numpy()] = UNMENTIONED
        # The second image of a study at times got a report, and so labels, of its own.
        other = np.flatnonzero(repeats & (rng.random(len(labels)) < TEXT_OF_ITS_OWN))
        labels[other] = labels[rng.permutation(len(labels))[: len(other)]]
        frame = facts.select("path_to_image").hstack(label_frame(labels).select(LABEL_ORDER))
        frame.write_ndjson(folder / f"{text}_fixed.json")
