"""The images of a bundle out of an image store (CONTRACT §7), as batches on the device that trains.

Where all of them fit, they are copied to the device once; else a thread reads the next batches into pinned memory while
the device works. Read with numpy and pyarrow alone.
"""

from __future__ import annotations

import hashlib
import json
import queue
import threading
import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from cxrdata.errors import CxrError
from cxrdata.wording import counted
from cxrtrain.bundle import Bundle
from cxrtrain.frame import check_frame

if TYPE_CHECKING:
    from numpy.typing import NDArray

FORMAT = 1
# Of the memory that is free: how much the images may take.
_SHARE = 0.6
_AHEAD = 3
_CHUNK = 4096


class PixelStore:
    """An image store opened for the rows of a bundle: `read` gives images by row number."""

    def __init__(self, folder: Path, bundle: Bundle, *, side: int, fit: str | None = None) -> None:
        """fit: how images were made square, where that is to be checked.

        Raises CxrError: CXR-148 no finished store, CXR-151 of another size or fit, or images of the bundle are missing.
        """
        self.folder = folder
        self.manifest, index = _opened(folder)
        check_frame(self.manifest, folder, side=side, fit=fit)
        self.side = side
        self._files = [entry["file"] for entry in self.manifest["shards"]]
        self._maps: list[NDArray[np.uint8] | None] = [None] * len(self._files)
        places = _places(bundle, index, folder)
        numbers = {name: number for number, name in enumerate(self._files)}
        self._shard = np.asarray([numbers[name] for name in index["shard"].to_pylist()], dtype=np.int64)[places]
        self._row = index["row"].to_numpy().astype(np.int64)[places]
        sources = index["source_sha256"].to_pylist()
        self._sources = [str(sources[at]) for at in places.tolist()]
        self._mean = index["mean"].to_numpy()[places]
        self._sd = index["sd"].to_numpy()[places]

    @property
    def digest(self) -> str:
        """Of the bundle's pixels: the files that they come from, and what was made of them. Other images of the store, which
        may grow, have no part in it."""
        made = {key: self.manifest.get(key) for key in ("side", "fit", "exact", "decoding")}
        return hashlib.sha256("\n".join([json.dumps(made, sort_keys=True), *self._sources]).encode()).hexdigest()

    def read(self, rows: Sequence[int] | NDArray[np.int64], out: NDArray[np.uint8]) -> None:
        """Images of rows of the bundle into `out`, shape (rows, side, side)."""
        at = np.asarray(rows, dtype=np.int64)
        for place, shard, row in zip(out, self._shard[at].tolist(), self._row[at].tolist(), strict=True):
            place[...] = self._mapped(shard)[row]

    def mean_and_sd(self, rows: NDArray[np.int64]) -> tuple[float, float]:
        """Mean and SD over all pixels of some images, values 0 to 1."""
        mean, sd = self._mean[rows], self._sd[rows]
        whole = float(mean.mean())
        variance = float((sd**2 + mean**2).mean()) - whole**2
        return whole / 255, max(variance, 0.0) ** 0.5 / 255

    def _mapped(self, number: int) -> NDArray[np.uint8]:
        found = self._maps[number]
        if found is None:
            path = self.folder / self._files[number]
            try:
                found = np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))
            except (OSError, ValueError, EOFError) as error:
                fix = "build the store again: what is whole is kept"
                raise CxrError("CXR-148", "a shard is missing or damaged", where=str(path), fix=fix) from error
            self._maps[number] = found
        return found


def _opened(folder: Path) -> tuple[dict[str, Any], Any]:
    """The manifest and the index of a store."""
    import pyarrow.parquet as pq

    try:
        manifest: dict[str, Any] = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        index = pq.read_table(folder / "index.parquet")
    except (OSError, ValueError) as error:
        fix = "build it, or let its build finish: cxrdata images build --size SIDE --out STORE"
        raise CxrError("CXR-148", "there is no finished image store here", where=str(folder), fix=fix) from error
    if manifest.get("format") != FORMAT:
        problem = f"the store has format {manifest.get('format')!r}, and this cxrdata reads {FORMAT}"
        raise CxrError("CXR-148", problem, where=str(folder), fix="build it anew")
    return manifest, index


def _lookup(bundle: Bundle, index: Any) -> NDArray[np.int64]:  # noqa: ANN401 - pyarrow has no types
    """Row of the index for each row of the bundle, -1 where the store lacks the image."""
    keys = zip(index["dataset"].to_pylist(), index["image_id"].to_pylist(), strict=True)
    there = {key: at for at, key in enumerate(keys)}
    wanted = zip(bundle.dataset, bundle.image_id, strict=True)
    return np.asarray([there.get(key, -1) for key in wanted], dtype=np.int64)


def stored(folder: Path, bundle: Bundle) -> NDArray[np.bool_]:
    """Which rows of a bundle a store has. Raises CxrError CXR-148."""
    return _lookup(bundle, _opened(folder)[1]) >= 0


def _places(bundle: Bundle, index: Any, folder: Path) -> NDArray[np.int64]:  # noqa: ANN401
    places = _lookup(bundle, index)
    if lacking := np.flatnonzero(places < 0).tolist():
        raise CxrError(
            "CXR-151",
            f"the store lacks {counted(len(lacking), 'image')} of {len(bundle):,}, such as {bundle.keys_of(lacking[:1])[0]}",
            where=str(folder),
            fix="build it for them too; its refused.parquet lists what could not be decoded: --skip-missing leaves them out",
        )
    return places


class Pixels:
    """Batches of images on a device. `waited` sums the seconds that the thread which works the device stood waiting for one."""

    def __init__(self, store: PixelStore, rows: NDArray[np.int64], device: torch.device) -> None:
        """rows: of the bundle, all that will be asked for."""
        self.store, self.device = store, device
        self.waited = 0.0
        self._resident: torch.Tensor | None = None
        self._place: NDArray[np.int64] | None = None
        used = np.unique(rows)
        if device.type == "cuda" and len(used) * store.side**2 <= _SHARE * torch.cuda.mem_get_info(device)[0]:
            self._copy(used)

    @property
    def resident(self) -> bool:
        """Whether all images lie in the device's memory."""
        return self._resident is not None

    def _copy(self, used: NDArray[np.int64]) -> None:
        side = self.store.side
        resident = torch.empty((len(used), side, side), dtype=torch.uint8, device=self.device)
        buffer = torch.empty((min(_CHUNK, len(used)), side, side), dtype=torch.uint8, pin_memory=True)
        for start in range(0, len(used), _CHUNK):
            rows = used[start : start + _CHUNK]
            self.store.read(rows, buffer[: len(rows)].numpy())
            resident[start : start + len(rows)].copy_(buffer[: len(rows)])
        self._resident = resident
        place = np.full(int(used.max()) + 1 if len(used) else 0, -1, dtype=np.int64)
        place[used] = np.arange(len(used))
        self._place = place

    def batches(self, orders: Sequence[NDArray[np.int64]]) -> Generator[torch.Tensor, None, None]:
        """One uint8 tensor of shape (n, 1, side, side) for each list of rows, in their order."""
        if self._resident is not None:
            yield from self._out_of_memory(orders)
        else:
            yield from self._read_ahead(orders)

    def _out_of_memory(self, orders: Sequence[NDArray[np.int64]]) -> Generator[torch.Tensor, None, None]:
        """The whole order goes to the device at once: a copy a batch would let the device stand still."""
        assert self._resident is not None
        assert self._place is not None
        if not orders:
            return
        places = torch.from_numpy(self._place[np.concatenate(orders)]).to(self.device)
        for at in torch.split(places, [len(rows) for rows in orders]):
            yield self._resident.index_select(0, at).unsqueeze(1)

    def _read_ahead(self, orders: Sequence[NDArray[np.int64]]) -> Generator[torch.Tensor, None, None]:
        """A thread reads, at most so many batches ahead, and sends them on their way to the device."""
        ready: queue.Queue[_Sent | BaseException] = queue.Queue()
        room = threading.Semaphore(_AHEAD)
        stopped = threading.Event()

        def read() -> None:
            try:
                sender = _Sender(self.device, max((len(rows) for rows in orders), default=0), self.store)
                for rows in orders:
                    room.acquire()
                    if stopped.is_set():
                        return
                    ready.put(sender.send(rows))
            except BaseException as error:  # noqa: BLE001 - it is raised where the batch is waited for
                ready.put(error)

        reader = threading.Thread(target=read, name="cxrtrain-reader", daemon=True)
        reader.start()
        try:
            for _ in orders:
                started = time.perf_counter()
                found = ready.get()
                self.waited += time.perf_counter() - started
                room.release()
                if isinstance(found, BaseException):
                    raise found
                yield found.arrived()
        finally:
            stopped.set()
            room.release()
            reader.join()


@dataclass(frozen=True)
class _Sent:
    """A batch, and on a GPU what says that its copy has ended."""

    images: torch.Tensor
    copied: torch.cuda.Event | None

    def arrived(self) -> torch.Tensor:
        """The batch, for what is asked of the device from now on; this thread does not wait for the copy."""
        if self.copied is not None:
            stream = torch.cuda.current_stream(self.images.device)
            stream.wait_event(self.copied)
            self.images.record_stream(stream)
        return self.images


class _Sender:
    """Reads batches, and on a GPU sends them through pinned memory on a stream of its own, beside the work on the device."""

    def __init__(self, device: torch.device, most: int, store: PixelStore) -> None:
        """most: images of the largest batch."""
        self._store, self._device, self._number = store, device, 0
        self._stream: torch.cuda.Stream | None = None
        if device.type == "cuda":
            self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
            shape = (most, 1, store.side, store.side)
            self._pinned = [torch.empty(shape, dtype=torch.uint8, pin_memory=True) for _ in range(2)]
            self._copied: list[torch.cuda.Event | None] = [None, None]

    def send(self, rows: NDArray[np.int64]) -> _Sent:
        side = self._store.side
        if self._stream is None:
            images = torch.empty((len(rows), 1, side, side), dtype=torch.uint8)
            self._store.read(rows, images[:, 0].numpy())
            return _Sent(images, None)
        self._number = 1 - self._number
        if (before := self._copied[self._number]) is not None:
            before.synchronize()  # the buffer is filled again when its last copy has ended
        buffer = self._pinned[self._number][: len(rows)]
        self._store.read(rows, buffer[:, 0].numpy())
        with torch.cuda.stream(self._stream):
            images = buffer.to(self._device, non_blocking=True)
            copied = torch.cuda.Event()  # type: ignore[no-untyped-call]
            copied.record(self._stream)
        self._copied[self._number] = copied
        return _Sent(images, copied)
