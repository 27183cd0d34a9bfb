"""A file that lies there twice, as it is and gzipped: many people unpack a download and keep both."""

from __future__ import annotations

import gzip
import zlib
from typing import TYPE_CHECKING

from cxrdata.errors import CxrError
from cxrdata.sources.textfile import AGAIN

if TYPE_CHECKING:
    from cxrdata.sources.base import FoundFile

_CHUNK_BYTES = 1 << 20


def without_twins(files: tuple[FoundFile, ...]) -> tuple[tuple[FoundFile, ...], tuple[FoundFile, ...]]:
    """The files to be read, and those left aside: `X.gz` where `X` lies in the same folder and is the same file of the dataset."""
    packed = {(file.spec.role, f"{file.name}.gz") for file in files if file.path.is_file()}
    twins = tuple(file for file in files if (file.spec.role, file.name) in packed and file.path.is_file())
    return tuple(file for file in files if file not in twins), twins


def refuse_other_content(plain: FoundFile, packed: FoundFile) -> None:
    """Compare the bytes of a file with its gzipped twin's, unpacked piece by piece.

    Raises CxrError: CXR-115 where they differ, CXR-101 unreadable, CXR-105 a damaged twin.
    """
    try:
        with plain.path.open("rb") as ours, gzip.open(packed.path, "rb") as theirs:
            same = True
            while same and (chunk := ours.read(_CHUNK_BYTES)):
                same = theirs.read(len(chunk)) == chunk
            same = same and not theirs.read(1)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise CxrError("CXR-105", "the gzip file is truncated or damaged", where=packed.name, fix=AGAIN) from error
    except OSError as error:
        raise CxrError(
            "CXR-101", f"cannot be read: {error.strerror}", where=packed.name, fix="check the path and its permissions"
        ) from error
    if not same:
        raise CxrError(
            "CXR-115",
            f"{plain.name} and {packed.name} are both the {plain.spec.role} file of {plain.spec.dataset}, and their content differs",
            where=packed.name,
            fix="keep one of them below the folder that is named",
        )
