"""PadChest's table made by hand, and what came of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from cxrdata.sources.account import Account
from cxrdata.sources.base import POSITIVE

if TYPE_CHECKING:
    pass

OFFICIAL = "PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv"
HEADER = (
    ",ImageID,ImageDir,StudyDate_DICOM,StudyID,PatientID,PatientBirth,PatientSex_DICOM,ViewPosition_DICOM,Projection,"
    "MethodProjection,Pediatric,Modality_DICOM,Manufacturer_DICOM,PhotometricInterpretation_DICOM,"
    "PixelRepresentation_DICOM,PixelAspectRatio_DICOM,SpatialResolution_DICOM,BitsStored_DICOM,WindowCenter_DICOM,"
    "WindowWidth_DICOM,Rows_DICOM,Columns_DICOM,XRayTubeCurrent_DICOM,Exposure_DICOM,ExposureInuAs_DICOM,ExposureTime,"
    "RelativeXRayExposure_DICOM,ReportID,Report,MethodLabel,Labels,Localizations,LabelsLocalizationsBySentence,"
    "labelCUIS,LocalizationsCUIS"
)
COLUMNS = HEADER.split(",")
STATES = ("states_padchest_physician", "states_padchest_rnn")
# An ordinary row; a test says only what differs.
ORDINARY = {
    "ImageDir": "7",
    "StudyDate_DICOM": "20140702",
    "PatientBirth": "1950.0",
    "PatientSex_DICOM": "F",
    "ViewPosition_DICOM": "POSTEROANTERIOR",
    "Projection": "PA",
    "Pediatric": "No",
    "Manufacturer_DICOM": "PhilipsMedicalSystems",
    "SpatialResolution_DICOM": "0.2",
    "Rows_DICOM": "1760",
    "Columns_DICOM": "2140",
    "Report": "informe inventado",
    "MethodLabel": "Physician",
    "Labels": "['normal']",
}


def rejects(account: Account) -> list[tuple]:
    return account.rejects().select("kind", "line", "code", "column_name", "value").rows()


def disagreements(account: Account) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for _, topic, item, n, _ in account.notes().rows():
        if topic == "disagreement":
            found.setdefault(item, []).append(n)
    return found


def positives(states: pl.DataFrame) -> set[tuple[str, str]]:
    """(image_id, label) of every positive cell."""
    labels = [column for column in states.columns if column not in {"image_id", "closed_world"}]
    return {(key, label) for label in labels for key in states.filter(pl.col(label) == POSITIVE)["image_id"]}
