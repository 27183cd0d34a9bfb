"""What a black box answered, kept on the disk by the digest of each image: what was paid for is not asked again.

    FOLDER/now.bin, FOLDER/before.bin    a line of JSON (who answered, how wide), then records: SHA-256 of an image, checksum,
                                         embedding

Files only grow at their end: whoever is killed leaves at most one record cut short, which is cut off. `forget` drops what has
not been asked for of late; without it a file grows by 4 bytes a number of an embedding.
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
_NOW, _BEFORE, _LOCK = "now.bin", "before.bin", "lock"
_DIGEST, _CHECK = 32, 4


class Remembered:
    """A black box that is asked about an image once. counted: what is asked where an answer is not known; batch: images asked
    for at once, after which their answers are safe on the disk.

    Raises CxrError: CXR-167 the answers here are of another box, CXR-603 another process is using them, CXR-602.
    """

    def __init__(self, counted: Counted, folder: Path, *, batch: int = 64) -> None:
        self.counted, self._batch, self._folder = counted, batch, folder
        self.name, self.width = counted.name, counted.width
        with writing(folder):
            make_private(folder)
            self._lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            self._hold()
            self._now, self._before = (_Records(folder / name, self.name, self.width) for name in (_NOW, _BEFORE))
        except BaseException:
            os.close(self._lock)
            raise

    def __call__(self, images: Images, /) -> Embeddings:
        """Raises what the box raises; what it answered before that is kept."""
        images = np.ascontiguousarray(images, dtype=np.float32)
        keys = [_digest(image) for image in images]
        self._now.add({key: self._before.get(key) for key in keys if key in self._before and key not in self._now})
        unknown = list({key: at for at, key in enumerate(keys) if key not in self._now}.values())
        for start in range(0, len(unknown), self._batch):
            rows = unknown[start : start + self._batch]
            answers = self.counted(images[rows])
            self._now.add({keys[at]: row for at, row in zip(rows, answers, strict=True)})
        made = np.empty((len(images), self.width), dtype=np.float32)
        for at, key in enumerate(keys):
            made[at] = self._now.get(key)
        return made

    def forget(self) -> None:
        """Drop the answers that nobody asked for since `forget` was last called; to be called whenever a state was saved.

        Those since then stay: of the step that is broken off, from which it will be gone on with, nothing is paid twice.
        """
        self._before.close()
        with writing(self._folder):
            self._now.path.replace(self._before.path)
        self._before, self._now = self._now, _Records(self._folder / _NOW, self.name, self.width)
        self._before.path = self._folder / _BEFORE

    def close(self) -> None:
        """Let others use the answers."""
        if self._lock >= 0:
            self._now.close()
            self._before.close()
            os.close(self._lock)
        self._lock = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _hold(self) -> None:
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            fix = "wait until it is done, or name another folder"
            raise CxrError("CXR-603", "another process keeps answers here", where=str(self._folder), fix=fix) from error
        except OSError:  # the share has no locks
            return


class _Records:
    """One file of answers; `places`: where each is."""

    def __init__(self, path: Path, name: str, width: int) -> None:
        self.path, self._size = path, _DIGEST + _CHECK + 4 * width
        with writing(path):
            self._file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            self._end = self._begin(name, width)
            self._places: dict[bytes, int] = {}
            self._find()
        except BaseException:
            self.close()
            raise

    def __contains__(self, key: bytes) -> bool:
        return key in self._places

    def get(self, key: bytes) -> Embeddings:
        record = os.pread(self._file, self._size, self._places[key])
        return np.frombuffer(record[_DIGEST + _CHECK :], dtype="<f4")

    def add(self, answers: dict[bytes, Embeddings]) -> None:
        """Write answers at the end, and to the disk."""
        if not answers:
            return
        records = []
        for key, row in answers.items():
            value = row.astype("<f4").tobytes()
            records.append(key + _check(value) + value)
        with writing(self.path):
            os.pwrite(self._file, b"".join(records), self._end)
            os.fsync(self._file)
        for key in answers:
            self._places[key] = self._end
            self._end += self._size

    def close(self) -> None:
        os.close(self._file)

    def _begin(self, name: str, width: int) -> int:
        """Bytes of the head, which is written where there is none yet."""
        head = json.dumps({"format": FORMAT, "box": name, "width": width}).encode() + b"\n"
        there = os.pread(self._file, 1 << 16, 0)
        if b"\n" not in there:  # new, or killed while it was begun
            with writing(self.path):
                os.ftruncate(self._file, 0)
                os.pwrite(self._file, head, 0)
        elif not there.startswith(head):
            told = there.partition(b"\n")[0].decode("utf-8", "replace")[:200]
            raise CxrError(
                "CXR-167",
                f"another black box answered before: {told}; now it is {name}, {width} wide",
                where=str(self.path),
                fix="serve that one again, or name another folder to begin anew",
            )
        return len(head)

    def _find(self) -> None:
        """The answers that are there; what comes after the first damaged record is cut off."""
        while len(record := os.pread(self._file, self._size, self._end)) == self._size:
            if _check(record[_DIGEST + _CHECK :]) != record[_DIGEST : _DIGEST + _CHECK]:
                break
            self._places[record[:_DIGEST]] = self._end
            self._end += self._size
        with writing(self.path):
            os.ftruncate(self._file, self._end)


def _digest(image: Images) -> bytes:
    return hashlib.sha256(f"{image.shape}".encode() + image.tobytes()).digest()


def _check(value: bytes) -> bytes:
    return zlib.crc32(value).to_bytes(_CHECK, "big")
