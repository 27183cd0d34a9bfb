"""What a black box answered, kept on the disk by the digest of each image: what was paid for is not asked again.

    FOLDER/answers.bin    a line of JSON (who answered, how wide), then records: SHA-256 of an image, checksum, embedding

Whoever is killed leaves at most one record cut short, which is cut off. `forget` empties it when a state was saved from which
no earlier question will be asked again; else it grows by 4 bytes a number.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import zlib
from pathlib import Path
from typing import Self

import numpy as np

from cxrdata.errors import CxrError
from cxrdata.stages import make_private
from cxrtrain.dne.black_box import Counted, Embeddings, Images
from cxrtrain.run_folder import writing

FORMAT = 1
_FILE = "answers.bin"
_DIGEST, _CHECK = 32, 4


class Remembered:
    """A black box that is asked about an image once. counted: what is asked where an answer is not known; batch: images asked
    for at once, after which their answers are safe on the disk.

    Raises CxrError: CXR-167 the answers here are of another box, CXR-603 another process is using them, CXR-602.
    """

    def __init__(self, counted: Counted, folder: Path, *, batch: int = 64) -> None:
        self.counted, self._batch = counted, batch
        self.name, self.width = counted.name, counted.width
        self._path = folder / _FILE
        self._size = _DIGEST + _CHECK + 4 * self.width
        with writing(self._path):
            make_private(folder)
            self._file = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            self._hold()
            self._head = self._begin()
            self._places = self._index()
        except BaseException:
            self.close()
            raise

    def __call__(self, images: Images, /) -> Embeddings:
        """Raises what the box raises; what it answered before that is kept."""
        images = np.ascontiguousarray(images, dtype=np.float32)
        keys = [_digest(image) for image in images]
        unknown = list({key: at for at, key in enumerate(keys) if key not in self._places}.values())
        for start in range(0, len(unknown), self._batch):
            rows = unknown[start : start + self._batch]
            self._keep([keys[at] for at in rows], self.counted(images[rows]))
        made = np.empty((len(images), self.width), dtype=np.float32)
        for at, key in enumerate(keys):
            record = os.pread(self._file, self._size, self._places[key])
            made[at] = np.frombuffer(record[_DIGEST + _CHECK :], dtype="<f4")
        return made

    def forget(self) -> None:
        """Drop all answers."""
        with writing(self._path):
            os.ftruncate(self._file, self._head)
        self._places.clear()

    def close(self) -> None:
        """Let others use the answers."""
        if self._file >= 0:
            os.close(self._file)
        self._file = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _hold(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            fix = "wait until it is done, or name another folder"
            raise CxrError("CXR-603", "another process keeps answers here", where=str(self._path), fix=fix) from error
        except OSError:  # the share has no locks
            return

    def _begin(self) -> int:
        """Bytes of the head, which is written where there is none yet."""
        head = json.dumps({"format": FORMAT, "box": self.name, "width": self.width}).encode() + b"\n"
        there = os.pread(self._file, 1 << 16, 0)
        if b"\n" not in there:  # new, or killed while it was begun
            with writing(self._path):
                os.ftruncate(self._file, 0)
                os.pwrite(self._file, head, 0)
        elif not there.startswith(head):
            told = there.partition(b"\n")[0].decode("utf-8", "replace")[:200]
            raise CxrError(
                "CXR-167",
                f"another black box answered before: {told}; now it is {self.name}, {self.width} wide",
                where=str(self._path),
                fix="serve that one again, or name another folder to begin anew",
            )
        return len(head)

    def _index(self) -> dict[bytes, int]:
        """Where each answer is; what comes after the first damaged record is cut off."""
        found: dict[bytes, int] = {}
        at = self._head
        while len(record := os.pread(self._file, self._size, at)) == self._size:
            if _check(record[_DIGEST + _CHECK :]) != record[_DIGEST : _DIGEST + _CHECK]:
                break
            found[record[:_DIGEST]] = at
            at += self._size
        with writing(self._path):
            os.ftruncate(self._file, at)
        return found

    def _keep(self, keys: list[bytes], answers: Embeddings) -> None:
        at = self._head + self._size * len(self._places)
        values = [row.astype("<f4").tobytes() for row in answers]
        text = b"".join(key + _check(value) + value for key, value in zip(keys, values, strict=True))
        with writing(self._path):
            os.pwrite(self._file, text, at)
            os.fsync(self._file)
        self._places |= {key: at + self._size * number for number, key in enumerate(keys)}


def _digest(image: Images) -> bytes:
    return hashlib.sha256(f"{image.shape}".encode() + image.tobytes()).digest()


def _check(value: bytes) -> bytes:
    return zlib.crc32(value).to_bytes(_CHECK, "big")
