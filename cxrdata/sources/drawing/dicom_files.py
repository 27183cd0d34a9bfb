"""Small but valid DICOM files, as the VinDr data sets distribute them.

The public files keep a dozen header elements (no patient, study or series
identifier). Twenty-seven thousand `Dataset.save_as` calls would take minutes, so each
element is encoded once by pydicom and the encoded pieces are put together.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Literal

import numpy as np
from pydicom import config
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import DataElement
from pydicom.dataset import FileMetaDataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_data_element, write_file_meta_info
from pydicom.uid import UID, DigitalXRayImageStorageForPresentation, ExplicitVRLittleEndian

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

Defect = Literal["", "no_transfer_syntax", "no_pixel_data"]
PREAMBLE = bytes(128) + b"DICM"
# A "2.25." UID of constant length, so that one meta header serves all files:
# 39 digits that begin with 1 stay below the 2^128 that the UUID form allows.
UID_DIGITS = 38
UID_TEMPLATE = "2.25.1" + "0" * UID_DIGITS
WRITER_UID = "2.25.2" + "0" * UID_DIGITS
NOISE_LEVELS = 64


@dataclass(frozen=True)
class Header:
    """One file's header. None leaves an element out; an empty string writes it empty.

    Spacings are millimetres as the decimal text of the file; size metres, weight kilograms.
    """

    image_id: str
    rows: int
    columns: int
    age: str | None
    sex: str | None
    photometric: str = "MONOCHROME2"
    bits_stored: int = 12
    pixel_spacing: str | None = None
    imager_pixel_spacing: str | None = None
    window: tuple[int, int] | None = None
    size_m: str | None = None
    weight_kg: str | None = None
    defect: Defect = ""


def write_dicoms(folder: Path, headers: Sequence[Header], rng: np.random.Generator) -> None:
    """Write one `<image_id>.dicom` a header into `folder`, with a chest-like pattern
    and noise for pixels (16 bits allocated, `bits_stored` used)."""
    folder.mkdir(parents=True, exist_ok=True)
    for header in headers:
        noise = rng.integers(0, NOISE_LEVELS, (header.rows, header.columns), dtype=np.uint16)
        (folder / f"{header.image_id}.dicom").write_bytes(encode_dicom(header, noise))


def encode_dicom(header: Header, noise: NDArray[np.uint16]) -> bytes:
    """The bytes of one Part-10 file (DICOM PS3.10), Explicit VR Little Endian."""
    with_syntax = header.defect != "no_transfer_syntax"
    uid = f"2.25.1{int(header.image_id, 16) % 10**UID_DIGITS:0{UID_DIGITS}d}"
    meta = _file_meta(with_transfer_syntax=with_syntax).replace(UID_TEMPLATE.encode(), uid.encode())
    elements = [_element(keyword, value) for keyword, value in _values(header) if value is not None]
    if header.defect != "no_pixel_data":
        elements.append(_pixel_data(header, noise))
    return b"".join((PREAMBLE, meta, *elements))


def _values(header: Header) -> tuple[tuple[str, str | int | None], ...]:
    """Header elements in ascending tag order, which Part 5 of the standard demands."""
    window = header.window or (None, None)
    return (
        ("PatientSex", header.sex),
        ("PatientAge", header.age),
        ("PatientSize", header.size_m),
        ("PatientWeight", header.weight_kg),
        ("ImagerPixelSpacing", header.imager_pixel_spacing),
        ("SamplesPerPixel", 1),
        ("PhotometricInterpretation", header.photometric),
        ("Rows", header.rows),
        ("Columns", header.columns),
        ("PixelSpacing", header.pixel_spacing),
        ("BitsAllocated", 16),
        ("BitsStored", header.bits_stored),
        ("HighBit", header.bits_stored - 1),
        ("PixelRepresentation", 0),
        ("WindowCenter", window[0]),
        ("WindowWidth", window[1]),
        ("RescaleIntercept", "0"),
        ("RescaleSlope", "1"),
        ("LossyImageCompression", "00"),
    )


@lru_cache(maxsize=65536)
def _element(keyword: str, value: str | int) -> bytes:
    tag = tag_for_keyword(keyword)
    if tag is None:
        message = f"{keyword} is not in pydicom's dictionary"
        raise KeyError(message)
    # No validation: spellings such as "Y" for an age are what these files are known for.
    element = DataElement(tag, dictionary_VR(tag), value, validation_mode=config.IGNORE)
    buffer = DicomBytesIO()
    buffer.is_little_endian, buffer.is_implicit_VR = True, False
    write_data_element(buffer, element)
    return buffer.getvalue()


@lru_cache(maxsize=2)
def _file_meta(*, with_transfer_syntax: bool) -> bytes:
    meta = FileMetaDataset()
    meta.FileMetaInformationVersion = b"\x00\x01"
    meta.MediaStorageSOPClassUID = DigitalXRayImageStorageForPresentation
    meta.MediaStorageSOPInstanceUID = UID(UID_TEMPLATE)
    if with_transfer_syntax:
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = UID(WRITER_UID)
    meta.FileMetaInformationGroupLength = 0
    buffer = DicomBytesIO()
    write_file_meta_info(buffer, meta, enforce_standard=False)
    return buffer.getvalue()


def _pixel_data(header: Header, noise: NDArray[np.uint16]) -> bytes:
    bright = _chest_pattern(header.rows, header.columns)
    # The pattern has 8 bits; noise must not carry over the top of the stored bits.
    shift = header.bits_stored - 8
    pixels = np.minimum((bright << shift) + noise, (1 << header.bits_stored) - 1).astype("<u2")
    if header.photometric == "MONOCHROME1":
        pixels = ((1 << header.bits_stored) - 1 - pixels).astype("<u2")
    body: bytes = pixels.tobytes()
    return struct.pack("<HH2sHI", 0x7FE0, 0x0010, b"OW", 0, len(body)) + body


@lru_cache(maxsize=64)
def _chest_pattern(rows: int, columns: int) -> NDArray[np.uint16]:
    """Two dark lung fields and a bright heart, 8 bits; no more than a recognisable mark."""
    y = (np.arange(rows, dtype=np.float64)[:, None] + 0.5) / rows
    x = (np.arange(columns, dtype=np.float64)[None, :] + 0.5) / columns
    picture = np.full((rows, columns), 170, dtype=np.uint16)
    for centre_x, centre_y, half_x, half_y, level in (
        (0.30, 0.45, 0.17, 0.32, 60),
        (0.70, 0.45, 0.17, 0.32, 60),
        (0.54, 0.62, 0.20, 0.14, 200),
    ):
        inside = ((x - centre_x) / half_x) ** 2 + ((y - centre_y) / half_y) ** 2 < 1
        picture[inside] = level
    return picture
