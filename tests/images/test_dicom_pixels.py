"""DICOM to grey: rescale, window, lookup table, inversion, compressed syntaxes, and what is refused."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    DigitalXRayImageStorageForPresentation,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLosslessSV1,
)

from cxrdata.errors import CxrError
from cxrdata.images.decode import Grey, decode

RAMP = np.arange(0, 4096, 16, dtype=np.uint16).reshape(16, 16)


def dataset(pixels: NDArray[Any] = RAMP, **elements: object) -> Dataset:
    made = Dataset()
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made.file_meta.MediaStorageSOPClassUID = DigitalXRayImageStorageForPresentation
    made.file_meta.MediaStorageSOPInstanceUID = "2.25.1"
    made.SOPClassUID, made.SOPInstanceUID = DigitalXRayImageStorageForPresentation, "2.25.1"
    made.Rows, made.Columns = pixels.shape[:2]
    made.SamplesPerPixel, made.PhotometricInterpretation = 1, "MONOCHROME2"
    made.BitsAllocated, made.BitsStored, made.HighBit, made.PixelRepresentation = 16, 12, 11, 0
    made.PixelData = pixels.tobytes()
    for name, value in elements.items():
        setattr(made, name, value)
    return made


def file(made: Dataset) -> bytes:
    buffer = io.BytesIO()
    made.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def grey(pixels: NDArray[Any] = RAMP, **elements: object) -> Grey:
    return decode(file(dataset(pixels, **elements))).pixels


def refused(data: bytes) -> str:
    with pytest.raises(CxrError) as error:
        decode(data)
    return error.value.code


def test_without_a_window_the_range_that_is_there_is_shown() -> None:
    assert grey().ravel().tolist() == np.rint(np.arange(256)).astype(int).tolist()


def test_monochrome1_is_inverted() -> None:
    assert np.array_equal(grey(PhotometricInterpretation="MONOCHROME1"), 255 - grey())


def test_a_window_as_the_standard_says() -> None:
    # PS3.3 C.11.2.1.2.1: centre 2048, width 4096 is the identity on 12 bits.
    shown = grey(WindowCenter=2048, WindowWidth=4096)
    assert shown.ravel().tolist() == np.rint(RAMP.ravel() / 4095 * 255).astype(int).tolist()
    narrow = grey(WindowCenter=1000, WindowWidth=200)
    assert (narrow[RAMP <= 899] == 0).all()
    assert (narrow[RAMP > 1099] == 255).all()
    assert 0 < narrow[RAMP == 1008][0] < 255


def test_the_window_is_of_rescaled_values() -> None:
    plain = grey(WindowCenter=1000, WindowWidth=200)
    shifted = grey(RescaleSlope=2, RescaleIntercept=-500, WindowCenter=1500.5, WindowWidth=399)
    assert np.abs(plain.astype(int) - shifted.astype(int)).max() <= 1


def test_a_window_against_pydicom() -> None:
    made = dataset(WindowCenter=1800, WindowWidth=1500)
    theirs = pydicom.pixels.apply_windowing(made.pixel_array, made)
    assert np.abs(grey(WindowCenter=1800, WindowWidth=1500) - theirs / 4095 * 255).max() <= 0.51
    sigmoid = dataset(WindowCenter=1800, WindowWidth=1500, VOILUTFunction="SIGMOID")
    theirs = pydicom.pixels.apply_windowing(sigmoid.pixel_array, sigmoid)
    ours = grey(WindowCenter=1800, WindowWidth=1500, VOILUTFunction="SIGMOID")
    assert np.abs(ours - theirs / 4095 * 255).max() <= 0.51


def test_a_lookup_table_wins_over_the_window() -> None:
    table = Dataset()
    table.LUTDescriptor = [4096, 0, 12]
    table.add_new("LUTData", "OW", (4095 - np.arange(4096, dtype=np.uint16)).tobytes())
    shown = grey(VOILUTSequence=[table], WindowCenter=100, WindowWidth=2)
    assert shown.ravel().tolist() == np.rint((4095 - RAMP.ravel()) / 4095 * 255).astype(int).tolist()


def test_signed_values() -> None:
    signed = (RAMP.astype(np.int16) - 2048).astype(np.int16)
    assert np.array_equal(grey(signed, PixelRepresentation=1), grey())


def test_padding_says_nothing_of_the_range() -> None:
    padded = RAMP // 4 + 1000
    padded[0, 0] = 0
    shown = grey(padded, PixelPaddingValue=0)
    assert shown[0, 0] == 0
    assert shown[-1, -1] == 255
    assert shown[0, 1] == 0


def test_jpeg_2000(chest: Grey) -> None:
    pytest.importorskip("openjpeg", reason="needs the extra cxrdata[dicom]")
    made = dataset(chest.astype(np.uint16) * 16)
    made.compress(JPEG2000Lossless, encoding_plugin="pylibjpeg")
    assert np.array_equal(decode(file(made)).pixels, decode(file(dataset(chest.astype(np.uint16) * 16))).pixels)


def test_jpeg_lossless(chest: Grey, tmp_path: Path) -> None:
    gdcm = pytest.importorskip("gdcm", reason="needs the extra cxrdata[dicom]")
    plain = dataset(chest.astype(np.uint16) * 16)
    (tmp_path / "plain.dcm").write_bytes(file(plain))
    reader = gdcm.ImageReader()
    reader.SetFileName(str(tmp_path / "plain.dcm"))
    assert reader.Read()
    change = gdcm.ImageChangeTransferSyntax()
    change.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.JPEGLosslessProcess14_1))
    change.SetInput(reader.GetImage())
    assert change.Change()
    writer = gdcm.ImageWriter()
    writer.SetFileName(str(tmp_path / "lossless.dcm"))
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    assert writer.Write()
    data = (tmp_path / "lossless.dcm").read_bytes()
    assert pydicom.dcmread(io.BytesIO(data)).file_meta.TransferSyntaxUID == JPEGLosslessSV1
    assert np.array_equal(decode(data).pixels, decode(file(plain)).pixels)


def test_compression_without_a_decoder(monkeypatch: pytest.MonkeyPatch, chest: Grey) -> None:
    made = dataset(chest.astype(np.uint16) * 16)
    made.file_meta.TransferSyntaxUID = JPEGLosslessSV1
    made.PixelData = pydicom.encaps.encapsulate([b"\xff\xd8\xff\xd9"])
    made["PixelData"].is_undefined_length = True
    from pydicom.pixels.decoders import JPEGLosslessSV1Decoder

    monkeypatch.setattr(JPEGLosslessSV1Decoder, "_available", {})
    assert refused(file(made)) == "CXR-145"


def test_files_without_pixels_or_syntax() -> None:
    without = dataset()
    del without.PixelData
    assert refused(file(without)) == "CXR-143"
    whole = file(dataset())
    unnamed = whole.replace(b"\x02\x00\x10\x00UI", b"\x02\x00\x11\x00UI", 1)
    assert refused(unnamed) == "CXR-144"


def test_a_file_cut_short() -> None:
    assert refused(file(dataset())[:-100]) == "CXR-141"


def test_a_bomb() -> None:
    assert refused(file(dataset(Rows=65_000, Columns=65_000))) == "CXR-142"
