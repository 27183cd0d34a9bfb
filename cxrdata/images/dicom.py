"""The pixels of a DICOM file as a reader would see them (DICOM PS3.3 C.11): rescale, VOI, MONOCHROME1 inverted.

All three depend on a pixel's value alone, so they are computed once a value and looked up a pixel.
"""

from __future__ import annotations

import io
import logging
import warnings
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cxrdata.errors import CxrError
from cxrdata.images.decode import Grey, ImageFacts, check_size, refusal

if TYPE_CHECKING:
    from pydicom import Dataset

Floats = NDArray[np.float64]
_MOST_BITS = 16


def decode_dicom(data: bytes) -> tuple[Grey, ImageFacts]:
    """The first frame of a DICOM file as 8-bit grey, shape (rows, columns).

    Raises CxrError: CXR-141 cut short, CXR-142 too large, CXR-143 no pixels, CXR-144 no transfer syntax, CXR-145 no
    decoder installed for its compression, CXR-146 otherwise damaged.
    """
    import pydicom

    logging.getLogger("pydicom").setLevel(logging.CRITICAL)  # it tells of what is refused here with a reason
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            dataset = pydicom.dcmread(io.BytesIO(data))
            facts = _facts(dataset)
            return _to_grey(dataset, facts), facts
        except CxrError:
            raise
        except Exception as error:  # pydicom and its decoders raise whatever happens to them
            raise _told(error) from error


def _told(error: Exception) -> CxrError:
    text = str(error)
    if "missing dependencies" in text or ("unable to decompress" in text.lower() and "plugin" in text.lower()):
        return CxrError("CXR-145", text.splitlines()[0], fix="pip install 'cxrdata[dicom]'")
    return refusal(error)


def _facts(dataset: Dataset) -> ImageFacts:
    if not getattr(dataset.file_meta, "TransferSyntaxUID", None):
        raise CxrError("CXR-144", "the file does not say how its pixels are encoded (no Transfer Syntax UID)")
    if "PixelData" not in dataset or not dataset["PixelData"].value:
        raise CxrError("CXR-143", "the file has no pixel data")
    rows, columns = int(dataset.get("Rows") or 0), int(dataset.get("Columns") or 0)
    check_size(rows, columns * max(1, int(dataset.get("NumberOfFrames") or 1)))
    bits = int(dataset.get("BitsStored") or dataset.BitsAllocated)
    return ImageFacts("DICOM", str(dataset.PhotometricInterpretation), rows, columns, bits)


def _to_grey(dataset: Dataset, facts: ImageFacts) -> Grey:
    stored = dataset.pixel_array
    if int(dataset.SamplesPerPixel) > 1:
        from PIL import Image

        picture = stored if stored.ndim == 3 else stored[0]
        return np.asarray(Image.fromarray(picture.astype(np.uint8)).convert("L"))
    if stored.ndim > 2:
        stored = stored[0]
    if facts.bits > _MOST_BITS or stored.dtype.kind not in "iu":
        raise CxrError("CXR-146", f"{facts.bits} bits a pixel are not those of a radiograph")
    lowest, highest = int(stored.min()), int(stored.max())
    values = np.arange(lowest, highest + 1, dtype=np.float64)
    shown = _windowed(dataset, values, stored)
    if facts.mode == "MONOCHROME1":
        shown = 1 - shown
    table = np.rint(shown * 255).astype(np.uint8)
    shown_grey: Grey = table[stored - lowest] if lowest else table[stored]
    return shown_grey


def _windowed(dataset: Dataset, values: Floats, stored: NDArray[np.integer]) -> Floats:
    """Each stored value as 0 (black, before inversion) to 1."""
    from pydicom.pixels.processing import apply_modality_lut, apply_voi

    rescaled = np.asarray(apply_modality_lut(values.astype(np.int64), dataset), dtype=np.float64)
    if dataset.get("VOILUTSequence"):
        bits = int(dataset.VOILUTSequence[0].LUTDescriptor[2])
        looked_up = np.asarray(apply_voi(rescaled.astype(np.int64), dataset), dtype=np.float64)
        return np.asarray(np.clip(looked_up / (2**bits - 1), 0, 1), dtype=np.float64)
    centre, width = _first(dataset.get("WindowCenter")), _first(dataset.get("WindowWidth"))
    if centre is not None and width is not None and width > 0:
        return _window(rescaled, centre, width, str(dataset.get("VOILUTFunction") or "LINEAR"))
    padding = dataset.get("PixelPaddingValue")
    used = rescaled
    if padding is not None and len(values) > 1 and values[0] <= padding <= values[-1]:
        others = stored[stored != padding]  # what the detector did not see says nothing of exposure
        if others.size:
            used = rescaled[int(others.min() - values[0]) : int(others.max() - values[0]) + 1]
    low, high = float(used.min()), float(used.max())
    return np.clip((rescaled - low) / (high - low), 0, 1) if high > low else np.zeros_like(rescaled)


def _window(values: Floats, centre: float, width: float, function: str) -> Floats:
    """PS3.3 C.11.2.1.2 and C.11.2.1.3: linear, exactly linear, or sigmoid."""
    if function == "SIGMOID":
        return np.asarray(1 / (1 + np.exp(-4 * (values - centre) / width)), dtype=np.float64)
    if function == "LINEAR_EXACT":
        return np.clip((values - centre) / width + 0.5, 0, 1)
    if width <= 1:
        return (values > centre - 0.5).astype(np.float64)
    return np.clip((values - (centre - 0.5)) / (width - 1) + 0.5, 0, 1)


def _first(value: object) -> float | None:
    """A number that DICOM may repeat."""
    from pydicom.multival import MultiValue

    if isinstance(value, MultiValue):
        value = value[0] if len(value) else None
    return None if value is None or value == "" else float(str(value))
