"""One image file looked at: is it whole, what is it, what does it look like. The order of the columns is the caller's."""

from __future__ import annotations

import hashlib
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from cxrdata.errors import CxrError
from cxrdata.images.decode import decode_picture
from cxrdata.images.fingerprint import perceptual_hash, polarity, thumb
from cxrdata.images.sources import ImageFile
from cxrdata.schemas.registered import MISSING, OK, TRUNCATED, UNREADABLE

if TYPE_CHECKING:
    from PIL import Image

Facts = dict[str, Any]
_CUT_SHORT = "CXR-141"
_CONSTANT_SD = 0.5  # of 255 grey levels: less than the eye sees
# Of the 36 real images one is a negative (-0.29); the least of the others is 0.01, and all but two of them are below
# this when negated.
_INVERTED = -0.15


def examine(file: ImageFile | None, *, with_hash: bool, quick: bool = False) -> Facts:
    """What `image_files` says of one file; what depends on other files or the catalog is left out.

    quick: only whether it is there and its size in bytes. None is a file that was not found.
    """
    if file is None:
        return {"status": MISSING, "message": "no file below the image root is this image"}
    facts: Facts = {}
    try:
        facts = {"file_mtime_ns": file.path.stat().st_mtime_ns}
        if quick:
            return facts | _sized(file.size())
        data = file.read()
        facts |= _sized(len(data))
        if with_hash:
            facts["sha256"] = hashlib.sha256(data).hexdigest()
        return facts | _picture(data)
    except FileNotFoundError:
        return {"status": MISSING, "message": "the file is gone"}
    except OSError as error:
        refused = "CXR-605", error.strerror or str(error)
    except CxrError as error:
        refused = error.code, error.problem
    except MemoryError:
        refused = "CXR-606", "there is not enough memory for it"
    return facts | _refused(*refused)


def _sized(size: int) -> Facts:
    return {"file_bytes": size} | ({"status": OK} if size else _refused(_CUT_SHORT, "the file is empty"))


def _refused(code: str, problem: str) -> Facts:
    return {"status": TRUNCATED if code == _CUT_SHORT else UNREADABLE, "message": f"{code}: {problem}"}


def _picture(data: bytes) -> Facts:
    picture, facts = decode_picture(data, None)
    mean, spread = _moments(picture)
    small = thumb(picture)
    likeness = polarity(small)
    constant = spread < _CONSTANT_SD
    return {
        "status": OK,
        "kind": facts.kind,
        "mode": facts.mode,
        "bits": facts.bits,
        "rows_px": facts.rows,
        "columns_px": facts.columns,
        "wrong_mode": not is_grey(facts.mode),
        "pixel_mean": round(mean, 3),
        "pixel_sd": round(spread, 3),
        "constant": constant,
        "polarity": None if likeness is None else round(likeness, 3),
        "inverted": not constant and likeness is not None and likeness < _INVERTED,
        "perceptual_hash": perceptual_hash(small),
    }


def _moments(picture: Image.Image) -> tuple[float, float]:
    """Mean and standard deviation of a picture of mode `L`."""
    counts = np.array(picture.histogram(), dtype=np.float64)
    shares, levels = counts / counts.sum(), np.arange(len(counts))
    mean = float((shares * levels).sum())
    return mean, math.sqrt(float((shares * (levels - mean) ** 2).sum()))


def is_grey(mode: str) -> bool:
    """Whether a mode is one channel of grey: Pillow's L and 16-bit kinds, DICOM's MONOCHROME1 and 2."""
    return mode in {"1", "L"} or mode.startswith(("I", "F", "MONOCHROME"))
