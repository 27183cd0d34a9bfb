"""The synthetic MIMIC-CXR population: subjects, studies, images and their DICOM metadata.

Counts are those of MIMIC-CXR-JPG's metadata and split files. Subjects are drawn from the same
list of people that the synthetic MIMIC-IV tables use, so that the two join as the real ones do.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import polars as pl

from cxrdata.sources.drawing.totals import (
    Ints,
    apportion,
    draw_text,
    group_sizes,
    shuffled_classes,
    spread,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cxrdata.sources.synthesis import SynthPlan

Bools = npt.NDArray[np.bool_]

# Official subjects, studies and images of each split, and what the smallest set keeps of them.
SPLITS = {
    "train": ((64_586, 222_758, 368_960), (20, 60, 100)),
    "validate": ((500, 1_808, 2_991), (2, 4, 7)),
    "test": ((293, 3_269, 5_159), (2, 6, 10)),
}
STUDY_SHARES = (0.0, 0.46, 0.47, 0.64, 0.80, 0.92, 0.98, 0.999, 1.0)
STUDY_COUNTS = (1.0, 1.0, 2.0, 2.0, 4.0, 8.0, 20.0, 60.0, 170.0)
IMAGE_SHARES = (0.0, 0.52, 0.53, 0.86, 0.87, 0.96, 0.995, 1.0)
IMAGE_COUNTS = (1.0, 1.0, 2.0, 2.0, 3.0, 3.0, 4.0, 11.0)
# ViewPosition in the official metadata: rows by value; None is a blank cell.
VIEWS: dict[str | None, int] = {
    "AP": 147_173,
    "PA": 96_161,
    "LATERAL": 82_853,
    "LL": 35_133,
    None: 15_769,
    "PA LLD": 4,
    "LAO": 3,
    "RAO": 3,
    "AP AXIAL": 2,
    "AP LLD": 2,
    "XTABLE LATERAL": 2,
    "AP RLD": 2,
    "SWIMMERS": 1,
    "PA RLD": 1,
    "LPO": 1,
}
LATERAL_VIEWS = ("LATERAL", "LL")
# ViewCodeSequence_CodeMeaning beside each ViewPosition. A few cells hold a patient orientation instead.
VIEW_CODES: dict[str | None, dict[str | None, float]] = {
    "AP": {"antero-posterior": 9980, "postero-anterior": 10, None: 5, "Recumbent": 5},
    "PA": {"postero-anterior": 9975, "antero-posterior": 20, "Erect": 5},
    "LATERAL": {"lateral": 9970, "left lateral": 20, "Erect": 10},
    "LL": {"left lateral": 9990, "lateral": 10},
    None: {None: 30, "postero-anterior": 25, "lateral": 20, "antero-posterior": 20, "left lateral": 5},
    "PA LLD": {"postero-anterior": 1},
    "LAO": {"left anterior oblique": 1},
    "RAO": {None: 1},
    "AP AXIAL": {"antero-posterior": 1},
    "AP LLD": {"antero-posterior": 1},
    "XTABLE LATERAL": {"lateral": 1},
    "AP RLD": {"antero-posterior": 1},
    "SWIMMERS": {None: 1},
    "PA RLD": {"postero-anterior": 1},
    "LPO": {None: 1},
}
ORIENTATIONS: dict[str, dict[str | None, float]] = {
    "AP": {"Erect": 50, "Recumbent": 25, None: 25},
    "other": {"Erect": 93, "Recumbent": 1, None: 6},
}
PROCEDURES: dict[str, dict[str | None, float]] = {
    "two views": {
        "CHEST (PA AND LAT)": 80,
        None: 10,
        "Performed Desc": 5,
        "CHEST (PRE-OP PA AND LAT)": 3,
        "CHEST (PA AND LAT) PORT": 1,
        "CHEST (BOTH OBLIQUES ONLY)": 0.1,
    },
    "one view": {
        "CHEST (PORTABLE AP)": 80,
        None: 8,
        "CHEST (SINGLE VIEW)": 5,
        "DX CHEST PORTABLE PICC LINE PLACEMENT": 2,
        "CHEST PORT. LINE PLACEMENT": 2,
        "TRAUMA #3 (PORT CHEST ONLY)": 1,
        "Performed Desc": 1,
        "PORTABLE ABDOMEN": 0.3,
        "CHEST (LAT DECUB ONLY)": 0.2,
    },
}
SIZES = ((3056, 2544), (2544, 3056), (2022, 2022), (2539, 2705), (2140, 1760), (1760, 2140), (2828, 2320))
AGE_SHARES = (0.0, 0.05, 0.25, 0.50, 0.75, 0.95, 1.0)
FILMED_AGES = (18.0, 23.0, 43.0, 59.0, 73.0, 88.0, 96.9)
UNFILMED_AGES = (18.0, 20.0, 32.0, 50.0, 66.0, 85.0, 96.9)
FEMALE = 0.48
OLDEST_EXACT, ABOVE_OLDEST = 89, 91  # MIMIC-IV gives anyone over 89 the age 91
NEXT_DOOR = 0.8  # how firmly the second image of a study is a lateral


@dataclass(frozen=True)
class People:
    """Everyone in MIMIC-IV or MIMIC-CXR, sorted by `subject_id`: age at the anchor year, that year,
    sex, and whether the subject has chest films. `rank` is a fixed random order of those without."""

    subject_id: Ints
    anchor_age: Ints
    anchor_year: Ints
    female: Bools
    filmed: Bools
    rank: Ints


@dataclass(frozen=True)
class Films:
    """`studies`: a row a study (`subject_id`, `study_id`, `split`, `n_images`), sorted by the two
    ids; `images`: a row an image with the metadata columns, `split` and `path`, sorted likewise."""

    studies: pl.DataFrame
    images: pl.DataFrame


def numbers(rng: np.random.Generator, n: int, first: int, last: int) -> Ints:
    """`n` different integers of the range, ascending, evenly scattered."""
    step = (last - first + 1) // n
    return first + step * np.arange(n) + rng.integers(0, step, n)


def filmed_subjects(plan: SynthPlan) -> int:
    """How many subjects have chest films in this plan."""
    return sum(plan.count(official[0], at_least=least[0]) for official, least in SPLITS.values())


def people(plan: SynthPlan, n_unfilmed: int) -> People:
    """`n_unfilmed` people without chest films and all with."""
    rng = plan.rng("mimic_cxr", "people")
    n_filmed = filmed_subjects(plan)
    n = n_filmed + n_unfilmed
    filmed = rng.permutation(n) < n_filmed
    ages = np.empty(n)
    ages[filmed] = np.floor(spread(rng, n_filmed, AGE_SHARES, FILMED_AGES))
    ages[~filmed] = np.floor(spread(rng, n_unfilmed, AGE_SHARES, UNFILMED_AGES))
    anchor_age = np.where(ages > OLDEST_EXACT, ABOVE_OLDEST, ages).astype(np.int64)
    rank = np.full(n, n, dtype=np.int64)
    rank[~filmed] = rng.permutation(n_unfilmed)
    return People(
        subject_id=numbers(rng, n, 10_000_032, 19_999_987),
        anchor_age=anchor_age,
        anchor_year=rng.integers(2110, 2203, n),
        female=rng.random(n) < FEMALE,
        filmed=filmed,
        rank=rank,
    )


def films(plan: SynthPlan, everyone: People) -> Films:
    """All studies and images of the filmed subjects."""
    studies = _studies(plan, everyone)
    rows = studies["n_images"].to_numpy()
    study_row = np.repeat(np.arange(len(rows)), rows)
    slot = np.arange(len(study_row)) - (np.cumsum(rows) - rows)[study_row]
    view = _views(plan, study_row, slot, rows)
    images = studies[study_row].hstack(_metadata(plan, view, study_row, rows))
    images = images.sort("subject_id", "study_id", "dicom_id")
    path = pl.format(
        "files/p{}/p{}/s{}/{}.jpg", pl.col("subject_id") // 1_000_000, "subject_id", "study_id", "dicom_id"
    )
    return Films(studies.sort("subject_id", "study_id"), images.with_columns(path=path))


def _studies(plan: SynthPlan, everyone: People) -> pl.DataFrame:
    rng = plan.rng("mimic_cxr", "studies")
    subjects = rng.permutation(np.flatnonzero(everyone.filmed))
    parts = []
    for split, (official, least) in SPLITS.items():
        n_subjects, n_studies, n_images = (
            plan.count(count, at_least=low) for count, low in zip(official, least, strict=True)
        )
        # Validation and test subjects were drawn with more studies than train: stretch the tail.
        stretch = max(1.0, official[1] / official[0] / 3.4)
        values = [1 + (value - 1) * stretch for value in STUDY_COUNTS]
        of_subject = group_sizes(rng, n_subjects, n_studies, STUDY_SHARES, values)
        rows = group_sizes(rng, n_studies, n_images, IMAGE_SHARES, IMAGE_COUNTS)
        here, subjects = subjects[:n_subjects], subjects[n_subjects:]
        parts.append(
            pl.DataFrame({"person": np.repeat(here, of_subject), "n_images": rows}).with_columns(split=pl.lit(split))
        )
    # In the order of persons: the dates below count up within each.
    studies = pl.concat(parts).sort("person", maintain_order=True)
    person = studies["person"].to_numpy()
    date, time = _moments(plan, everyone, person)
    return studies.select(
        subject_id=pl.Series(everyone.subject_id[person]),
        study_id=pl.Series(rng.permutation(numbers(rng, len(person), 50_000_014, 59_999_999))),
        split="split",
        n_images="n_images",
        StudyDate=date,
        StudyTime=time,
    )


def _moments(plan: SynthPlan, everyone: People, person: Ints) -> tuple[pl.Series, pl.Series]:
    """StudyDate as yyyymmdd and StudyTime as hhmmss with a fraction, no leading zeros.

    Dates lie within the subject's shifted years, ascending, never before the age of 18.
    """
    rng = plan.rng("mimic_cxr", "dates")
    _, first, inverse, n_studies = np.unique(person, return_index=True, return_inverse=True, return_counts=True)
    ages = everyone.anchor_age[person[first]]
    year = everyone.anchor_year[person[first]] - np.minimum(ages - 18, rng.integers(0, 4, len(first)))
    start = (year - 1970).astype("datetime64[Y]").astype("datetime64[D]").astype(np.int64)
    gaps = np.floor(spread(rng, len(person), (0, 0.3, 0.6, 0.9, 1), (0, 3, 60, 500, 1500))).astype(np.int64)
    gaps = gaps // (1 + n_studies[inverse] // 10)
    running = np.cumsum(gaps)
    day = start[inverse] + rng.integers(0, 365, len(first))[inverse] + running - running[first][inverse]
    seconds = rng.integers(0, 86_400, len(person))
    seconds[0] = rng.integers(60, 600)  # just after midnight: 556.875 is 00:05:56.875
    clock = seconds // 3600 * 10_000 + seconds // 60 % 60 * 100 + seconds % 60
    thousandths = rng.integers(0, 8, len(person)) * 125
    date = pl.Series(day).cast(pl.Int32).cast(pl.Date).dt.strftime("%Y%m%d").cast(pl.Int64)
    return date, pl.Series((clock * 1000 + thousandths) / 1000)


def _views(plan: SynthPlan, study_row: Ints, slot: Ints, rows: Ints) -> Ints:
    """Each image's position in VIEWS: frontals first, laterals second, PA where there are several."""
    rng = plan.rng("mimic_cxr", "views")
    names = list(VIEWS)
    counts = apportion(len(study_row), list(VIEWS.values()))
    view = np.full(len(study_row), names.index("AP"), dtype=np.int64)
    order = rng.permutation(len(study_row))
    rare = [names.index(name) for name in names if name not in ("AP", "PA", *LATERAL_VIEWS)]
    for code in rare:
        view[order[: counts[code]]] = code
        order = order[counts[code] :]
    score = rng.random(len(study_row)) - NEXT_DOOR * (slot % 2 == 1)
    order = order[np.argsort(score[order], kind="stable")]
    by_study = rng.random(len(rows))
    laterals = [names.index(name) for name in LATERAL_VIEWS]
    n_lateral = int(counts[laterals].sum())
    beside = order[:n_lateral][np.argsort(by_study[study_row[order[:n_lateral]]], kind="stable")]
    view[beside[: counts[laterals[0]]]] = laterals[0]
    view[beside[counts[laterals[0]] :]] = laterals[1]
    frontal = order[n_lateral:]
    paired = by_study - 0.7 * (rows > 1)
    frontal = frontal[np.argsort(paired[study_row[frontal]], kind="stable")]
    view[frontal[: counts[names.index("PA")]]] = names.index("PA")
    return view


def _metadata(plan: SynthPlan, view: Ints, study_row: Ints, rows: Ints) -> pl.DataFrame:
    """The columns of the metadata file that belong to an image or to how the study was taken."""
    rng = plan.rng("mimic_cxr", "metadata")
    n = len(view)
    sizes = np.array(SIZES)[shuffled_classes(rng, apportion(n, (40, 20, 10, 10, 8, 7, 5)))]
    procedure = _by_group(rng, (rows > 1).astype(np.int64), [PROCEDURES["one view"], PROCEDURES["two views"]])
    coded = procedure.replace("Performed Desc", None).fill_null("CHEST (PA AND LAT)")
    names = list(VIEWS)
    codes = _by_group(rng, view, [VIEW_CODES[name] for name in names])
    for name, misplaced in (("AP", "Recumbent"), ("LATERAL", "Erect")):  # once in any size
        codes[int(np.flatnonzero(view == names.index(name))[0])] = misplaced
    recumbent = (view == names.index("AP")).astype(np.int64)
    return pl.DataFrame(
        {
            "dicom_id": _dicom_ids(rng, n),
            "PerformedProcedureStepDescription": procedure[study_row],
            "ViewPosition": pl.Series(names, dtype=pl.String)[view],
            "Rows": sizes[:, 0],
            "Columns": sizes[:, 1],
            "ProcedureCodeSequence_CodeMeaning": coded[study_row],
            "ViewCodeSequence_CodeMeaning": codes,
            "PatientOrientationCodeSequence_CodeMeaning": _by_group(
                rng, recumbent, [ORIENTATIONS["other"], ORIENTATIONS["AP"]]
            ),
        }
    )


def _by_group(rng: np.random.Generator, group: Ints, options: list[Mapping[str | None, float]]) -> pl.Series:
    """A text for each row, drawn with its group's own shares."""
    rows = [np.flatnonzero(group == number) for number in range(len(options))]
    texts = [draw_text(rng, len(here), shares) for here, shares in zip(rows, options, strict=True)]
    return pl.concat(texts)[np.argsort(np.concatenate(rows), kind="stable")]


def _dicom_ids(rng: np.random.Generator, n: int) -> pl.Series:
    """Five groups of eight hexadecimal digits, as the DICOM files are named."""
    digits = np.frombuffer(rng.bytes(20 * n).hex().encode(), dtype="S40").astype("U40")
    whole = pl.Series("d", digits.tolist()).to_frame()
    groups = [pl.col("d").str.slice(start, 8) for start in range(0, 40, 8)]
    return whole.select(pl.concat_str(groups, separator="-"))["d"]
