"""Synthetic PadChest label table in its official layout.

One CSV of 36 columns (an unnamed index first), usually gzipped, a row an image. Lists are
written as Python prints them, concept codes as numpy does, missing values often as the
word None (Bustos et al., Medical Image Analysis 2020, doi:10.1016/j.media.2020.101797).
"""

# ruff: noqa: SIM905 -- shares of quirks are clearer in place, column names as the header line

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from cxrdata.sources.drawing.counts import apportion
from cxrdata.sources.padchest.synth_studies import draw_studies
from cxrdata.sources.padchest.synth_text import report_columns
from cxrdata.sources.synthesis import label_as_synthetic, write_csv

if TYPE_CHECKING:
    from pathlib import Path

    from cxrdata.sources.drawing.counts import Bools
    from cxrdata.sources.padchest.synth_studies import Studies
    from cxrdata.sources.synthesis import SynthPlan

VARIANTS = {
    "gz": "the table gzipped, as it is distributed",
    "plain": "the table as plain .csv",
}
DEFAULT = frozenset({"gz"})
# Variants that replace each other: two of them in one folder would be the dataset twice.
ALTERNATIVES = (frozenset({"gz", "plain"}),)

FILE_NAME = "PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv"
COLUMNS = (
    "ImageID,ImageDir,StudyDate_DICOM,StudyID,PatientID,PatientBirth,PatientSex_DICOM,ViewPosition_DICOM,"
    "Projection,MethodProjection,Pediatric,Modality_DICOM,Manufacturer_DICOM,PhotometricInterpretation_DICOM,"
    "PixelRepresentation_DICOM,PixelAspectRatio_DICOM,SpatialResolution_DICOM,BitsStored_DICOM,"
    "WindowCenter_DICOM,WindowWidth_DICOM,Rows_DICOM,Columns_DICOM,XRayTubeCurrent_DICOM,Exposure_DICOM,"
    "ExposureInuAs_DICOM,ExposureTime,RelativeXRayExposure_DICOM,ReportID,Report,MethodLabel,Labels,"
    "Localizations,LabelsLocalizationsBySentence,labelCUIS,LocalizationsCUIS"
).split(",")
# ImageDir 0 to 49 share what the two odd ones leave.
ODD_DIRECTORIES = {50: 1, 54: 4_297}
VIEW_WORDS = {
    "PA": ("PA", "POSTEROANTERIOR"),
    "L": ("LATERAL", "LATERAL"),
    "AP": ("AP", "ANTEROPOSTERIOR"),
    "AP_horizontal": ("AP", "ANTEROPOSTERIOR"),
    "COSTAL": ("PA", "POSTEROANTERIOR"),
    "EXCLUDE": ("PA", "LATERAL"),
}
CODE_LETTERS = np.array(list("abcdefghijklmnopqrstuvwxyz0123456789"))


def write(folder: Path, plan: SynthPlan) -> None:
    """Write the PadChest table below `folder`.

    Raises ValueError when both variants are named: two copies are not a dataset.
    """
    chosen = plan.chosen(VARIANTS, DEFAULT)
    if len(chosen) > 1:
        message = "padchest: write one of the variants gz and plain, not both"
        raise ValueError(message)
    label_as_synthetic(folder, "PadChest")
    frame = _table(plan, draw_studies(plan))
    write_csv(frame, folder / FILE_NAME, header="," + ",".join(COLUMNS), compress="gz" in chosen)


def _table(plan: SynthPlan, studies: Studies) -> pl.DataFrame:
    """The whole table as text, in the official order of columns."""
    philips = _philips(plan, studies)
    columns = {
        **_identity_columns(plan, studies, philips),
        **_patient_columns(plan, studies),
        **_acquisition_columns(plan, studies, philips),
    }
    reports = report_columns(plan, studies)
    frame = pl.DataFrame(columns).hstack(reports[studies.study])
    return frame.select("index", *COLUMNS)


def _philips(plan: SynthPlan, studies: Studies) -> Bools:
    """Per study, which of the two makers' systems took and numbered it."""
    rng = plan.rng("padchest", "manufacturer")
    return rng.random(len(studies.patient)) < np.where(studies.study_portable, 0.9, 0.485)


def _numbers(rng: np.random.Generator, count: int, digits: tuple[int, int, int]) -> pl.Series:
    """Random decimal numbers of the given digits in three parts, as text; no leading zero."""
    first, *rest = digits
    frame = pl.DataFrame({"0": rng.integers(10 ** (first - 1), 10**first, count)}).select(pl.col("0").cast(pl.String))
    for place, width in enumerate(rest, start=1):
        part = pl.Series(rng.integers(0, 10**width, count)).cast(pl.String).str.zfill(width)
        frame = frame.with_columns(part.alias(str(place)))
    return frame.select(pl.concat_str(pl.all())).to_series()


def _identity_columns(plan: SynthPlan, studies: Studies, philips: Bools) -> dict[str, object]:
    """Identifiers of 36 to 45 digits. Philips images are named after their study, the other
    maker's after themselves."""
    rng = plan.rng("padchest", "identifiers")
    count, images = len(studies.patient), len(studies.study)
    lengths = rng.integers(16, 19, count)
    short = _numbers(rng, count, (18, 10, 11))
    short = (
        pl.DataFrame({"id": short, "length": lengths + 21}).select(pl.col("id").str.head(pl.col("length"))).to_series()
    )
    study_id = pl.select(
        pl.when(pl.Series(philips)).then(short).otherwise(_numbers(rng, count, (17, 14, 14)))
    ).to_series()
    patient_id = _numbers(rng, int(studies.patient[-1]) + 1, (18, 10, 11))
    letters = pl.DataFrame(CODE_LETTERS[rng.integers(0, len(CODE_LETTERS), (images, 6))])
    film = pl.DataFrame(rng.integers(0, [5, 200, 200], (images, 3)), schema=["0", "1", "2"])
    padded = (pl.col(name).cast(pl.String).str.zfill(width) for name, width in (("0", 2), ("1", 3), ("2", 3)))
    # Some studies were sent twice.
    twice = np.where(rng.random(images) < 0.004, "-2_", "_")
    twice[np.flatnonzero(philips[studies.study])[:1]] = "-2_"
    by_study = study_id[studies.study] + pl.Series(twice) + letters.select(pl.concat_str(pl.all())).to_series()
    by_image = (
        _numbers(rng, images, (17, 14, 14)) + "_" + film.select(pl.concat_str(list(padded), separator="-")).to_series()
    )
    image = pl.select(pl.when(pl.Series(philips[studies.study])).then(by_study).otherwise(by_image)).to_series()
    odd = {directory: plan.count(official) for directory, official in ODD_DIRECTORIES.items()}
    odd[50] = 1
    shares = apportion(images - sum(odd.values()), np.ones(50))
    directory = np.repeat([*range(50), *odd], [*shares, *odd.values()])
    return {
        "index": np.arange(images),
        "ImageID": image + ".png",
        "ImageDir": directory,
        "StudyID": study_id[studies.study],
        "PatientID": patient_id[studies.patient[studies.study]],
    }


def _patient_columns(plan: SynthPlan, studies: Studies) -> dict[str, object]:
    """Date of the study, year of birth (a float, sometimes missing), sex, and the flag for
    children with its errors both ways."""
    rng = plan.rng("padchest", "children")
    patient = studies.patient[studies.study]
    day = pl.Series(studies.study_day[studies.study].astype("datetime64[ms]")).cast(pl.Date)
    born = pl.Series(studies.birth_year[patient].astype(np.float64)).cast(pl.String)
    sex = np.where(studies.sex_known, np.where(studies.female, "F", "M"), "None")
    child, draw = studies.image_age < 18, rng.random(len(patient))
    flag = np.where(child, np.select([draw < 0.60, draw < 0.85], ["Yes", "PED"], "No"), "No")
    flag[~child & (draw < 0.001)] = "Yes"
    for members, value in ((child, "PED"), (child, "No"), (~child, "Yes")):
        flag[rng.permutation(np.flatnonzero(members))[:1]] = value
    return {
        "StudyDate_DICOM": day.dt.strftime("%Y%m%d"),
        "PatientBirth": born.set(pl.Series(~studies.birth_known[patient]), None),
        "PatientSex_DICOM": sex[patient],
        "Pediatric": flag,
    }


def _or_missing(
    rng: np.random.Generator,
    values: np.ndarray[tuple[int], np.dtype[np.str_]],
    none: float,
    blank: float = 0.0,
) -> pl.Series:
    """`values` with a share of the word None and a share of empty cells, each at least once."""
    draw = rng.random(len(values))
    draw[rng.permutation(len(draw))[:2]] = (0.0, none)
    worded = np.where(draw < none, "None", values.astype(np.str_))
    return pl.Series(worded).set(pl.Series((draw >= none) & (draw < none + blank)), None)


def _acquisition_columns(plan: SynthPlan, studies: Studies, philips: Bools) -> dict[str, object]:
    """What the DICOM headers say, in the several notations of the official table."""
    rng = plan.rng("padchest", "acquisition")
    projection = studies.image_projection
    count = len(projection)
    maker = philips[studies.study]
    draw = rng.random(count)
    words = np.array([VIEW_WORDS[name] for name in VIEW_WORDS])
    place = np.searchsorted(sorted(VIEW_WORDS), projection)
    by_name = np.argsort(list(VIEW_WORDS), kind="stable")
    view = words[by_name[place], (draw < 0.5).astype(np.int64)]
    by_network = np.isin(projection, ["PA", "L"]) & (rng.random(count) < 0.4)
    lateral = projection == "L"
    rows, columns = np.where(maker, 1760, 3000), np.where(maker, 2140, 2262)
    centre = np.select([maker, draw < 0.5], ["2047.0", "5.115000e+02"], "32767")
    width = np.select([maker, draw < 0.5], ["4095.0", "1.023000e+03"], "65535")
    current = rng.choice(["160.0", "200", "320.0", "3.200000e+02"], count)
    return {
        "ViewPosition_DICOM": _or_missing(rng, view, 0.05, 0.45),
        "Projection": projection,
        "MethodProjection": np.where(by_network, "resnet-50.t7", "Manual review of DICOM fields"),
        "Modality_DICOM": np.where(maker, "CR", "DX"),
        "Manufacturer_DICOM": np.where(maker, "PhilipsMedicalSystems", "ImagingDynamicsCompanyLtd"),
        "PhotometricInterpretation_DICOM": np.where(draw < 0.25, "MONOCHROME1", "MONOCHROME2"),
        "PixelRepresentation_DICOM": np.where(rng.random(count) < 0.02, 1, 0),
        "PixelAspectRatio_DICOM": _or_missing(rng, np.full(count, "['1', '1']"), 0.3, 0.3),
        "SpatialResolution_DICOM": _or_missing(rng, np.where(maker, "0.2", "0.143"), 0.05),
        "BitsStored_DICOM": np.where(maker, 12, 16),
        "WindowCenter_DICOM": _or_missing(rng, centre, 0.03),
        "WindowWidth_DICOM": _or_missing(rng, width, 0.03),
        "Rows_DICOM": np.where(lateral, columns, rows),
        "Columns_DICOM": np.where(lateral, rows, columns),
        "XRayTubeCurrent_DICOM": _or_missing(rng, current, 0.4, 0.1),
        "Exposure_DICOM": _or_missing(rng, rng.integers(0, 20, count).astype(np.float64).astype(np.str_), 0.4),
        "ExposureInuAs_DICOM": _or_missing(rng, rng.integers(500, 20_000, count).astype(np.str_), 0.6),
        "ExposureTime": _or_missing(rng, rng.integers(0, 60, count).astype(np.float64).astype(np.str_), 0.4),
        "RelativeXRayExposure_DICOM": _or_missing(
            rng, rng.integers(100, 1600, count).astype(np.float64).astype(np.str_), 0.3
        ),
    }
