"""Decoding, resizing and reading images: `python -m benchmarks.images NAME` is one of the things compared, a process of its own.

The images: the 36 real ones of NIH where they are (`$CXRDATA_TEST_DATA`), else as many phantoms of that size; for JPEG the
same enlarged to a detector's 2828 by 2320 pixels. `decode`: the decoder alone, to an array. `ours`: what `images build` does
with each, file to 224 by 224. `pillow`: opened, made grey and resized as a script would. `skimage`: as published code does it.
`build-1`, `build-2`: the store of sixty copies of them, by one process and by two. `batches`: random batches of 256 out of a store
of 8,192 images; `memcpy`: as many bytes copied in memory.
"""

from __future__ import annotations

import io
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from benchmarks.measure import Figure, Run, python, run

SIDE = 224
PHANTOMS = 36
COPIES = 60  # long enough that starting two processes does not count
DETECTOR = (2320, 2828)
STORED = 8192
BATCH = 256
BATCHES = 64
NAMES = {
    "png-decode": "PNG, 1024 by 1024: the decoder alone",
    "png-ours": "PNG: cxrdata, decoded and resized",
    "png-pillow": "PNG: Pillow, opened, made grey, resized",
    "png-skimage": "PNG: scikit-image, as published code does it",
    "jpeg-decode": "JPEG, 2828 by 2320: the decoder alone, at an eighth",
    "jpeg-ours": "JPEG: cxrdata, decoded and resized",
    "jpeg-pillow": "JPEG: Pillow, opened, made grey, resized",
    "jpeg-skimage": "JPEG: scikit-image, as published code does it",
    "build-1": "store of 2,160 PNG images, one process",
    "build-2": "store of 2,160 PNG images, two processes",
    "batches": "random batches out of a store",
    "memcpy": "as many bytes copied in memory",
}
# What each is a share of, and the share that is asked for.
SHARES = {
    "png-ours": ("png-decode", 0.90),
    "jpeg-ours": ("jpeg-decode", 0.80),
    "build-2": ("build-1", 1.8),
    "batches": ("memcpy", 0.5),
}


def figures(*, runs: int) -> list[Figure]:
    """Seconds are those of the work alone; CPU seconds for what one process does."""
    measured: dict[str, tuple[int, list[Run]]] = {}
    for name in NAMES:
        for _ in range(runs):
            whole = run(python("benchmarks.images", name))
            words = whole.stdout.split()
            done = Run(float(words[0]), float(words[1]), whole.others, whole.samples)
            measured.setdefault(name, (int(words[2]), []))[1].append(done)
    return [Figure(NAMES[name], found, note=_note(name, measured)) for name, (_, found) in measured.items()]


def _best(name: str, measured: dict[str, tuple[int, list[Run]]]) -> float:
    """Images a second of the best run, by the clock: on a machine that does something else, look at `others`."""
    n, found = measured[name]
    return n / min(one.seconds for one in found)


def _note(name: str, measured: dict[str, tuple[int, list[Run]]]) -> str:
    text = f"{_best(name, measured):,.0f} images/s"
    if name in SHARES:
        other, asked = SHARES[name]
        text += (
            f", {_best(name, measured) / _best(other, measured):.2f} of the line it is measured by (asked: {asked:.2f})"
        )
    return text


def files(kind: str) -> list[bytes]:
    """The bytes of the images as files of a kind."""
    from PIL import Image

    folder = Path(os.environ.get("CXRDATA_TEST_DATA", "../shared/data")) / "nih" / "images"
    pngs = [path.read_bytes() for path in sorted(folder.glob("*.png"))] or _phantoms()
    if kind == "png":
        return pngs
    made = []
    for data in pngs[:12]:
        buffer = io.BytesIO()
        Image.open(io.BytesIO(data)).convert("L").resize(DETECTOR).save(buffer, "JPEG", quality=95)
        made.append(buffer.getvalue())
    return made


def _phantoms() -> list[bytes]:
    from cxrdata.images.phantom_files import encode_picture
    from cxrdata.images.phantom_norms import Norms
    from cxrdata.images.phantoms import Subject, draw_phantom

    norms = Norms.load()
    subject = Subject("nih_cxr14", None, "PA", enlarged=False)
    drawn = (draw_phantom(np.random.default_rng(at), norms, subject, 1024, 1024)[0] for at in range(PHANTOMS))
    return [encode_picture(picture, ".png", "nih_cxr14") for picture in drawn]


def _decode(data: bytes) -> object:
    from cxrdata.images.decode import decode
    from cxrdata.images.resize import Frame

    return decode(data, needed=Frame(SIDE).scaled)


_OUT = np.empty((SIDE, SIDE), dtype=np.uint8)


def _ours(data: bytes) -> object:
    from cxrdata.images.resize import Frame, decode_into

    return decode_into(data, Frame(SIDE), _OUT)


def _pillow(data: bytes) -> object:
    from PIL import Image

    return np.asarray(Image.open(io.BytesIO(data)).convert("L").resize((SIDE, SIDE)))


def _skimage(data: bytes) -> object:
    from skimage import io as images  # type: ignore[import-untyped]
    from skimage.transform import resize  # type: ignore[import-untyped]

    pixels = images.imread(io.BytesIO(data), as_gray=True)
    return resize(pixels, (SIDE, SIDE), anti_aliasing=True, preserve_range=True).astype(np.uint8)


EACH: dict[str, Callable[[bytes], object]] = {
    "decode": _decode,
    "ours": _ours,
    "pillow": _pillow,
    "skimage": _skimage,
}


def _each(kind: str, way: str) -> tuple[float, float, int]:
    items, work = files(kind), EACH[way]
    if way == "skimage":
        items = items[:12]
    work(items[0])  # imports
    started, cpu = time.perf_counter(), time.process_time()
    for data in items:
        work(data)
    return time.perf_counter() - started, time.process_time() - cpu, len(items)


@contextmanager
def _folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="cxrdata-bench-images-") as scratch:
        yield Path(scratch)


def _build(workers: int) -> tuple[float, float, int]:
    import polars as pl

    from cxrdata.engines import Engine
    from cxrdata.images.build import StoreRequest, build_store
    from cxrdata.images.resize import Frame

    with _folder() as folder:
        rows = []
        for at, data in enumerate(files("png") * COPIES):
            path = folder / f"{at:08d}.png"
            path.write_bytes(data)
            rows.append(("nih_cxr14", path.name, str(path), None))
        located = pl.DataFrame(rows, schema=["dataset", "image_id", "path", "member"], orient="row")
        request = StoreRequest(
            folder / "store", located, Frame(SIDE), engine=Engine(workers=workers), shard_bytes=20 * SIDE * SIDE
        )
        started, cpu = time.perf_counter(), time.process_time()
        done = build_store(request)
        assert done.decoded == len(rows)
        return time.perf_counter() - started, time.process_time() - cpu, len(rows)


def _batches() -> tuple[float, float, int]:
    """Out of a store that is in the page cache, as it is after the first epoch."""
    import json

    import polars as pl

    from cxrdata.images.store import ImageStore

    with _folder() as folder:
        shards = []
        for number in range(8):
            pixels = np.random.default_rng(number).integers(0, 256, (STORED // 8, SIDE, SIDE), dtype=np.uint8)
            np.save(folder / f"shard-{number}.npy", pixels)
            shards.append({"file": f"shard-{number}.npy", "images": len(pixels)})
        at = pl.int_range(STORED, eager=True)
        pl.DataFrame(
            {
                "dataset": ["x"] * STORED,
                "image_id": at.cast(pl.String),
                "shard": pl.Series([f"shard-{n // (STORED // 8)}.npy" for n in at]),
                "row": (at % (STORED // 8)).cast(pl.Int32),
            }
        ).write_parquet(folder / "index.parquet")
        (folder / "manifest.json").write_text(json.dumps({"format": 1, "side": SIDE, "shards": shards}))
        store = ImageStore(folder)
        buffer = np.empty((BATCH, SIDE, SIDE), dtype=np.uint8)
        for start in range(0, STORED, BATCH):
            store.read(np.arange(start, start + BATCH), buffer)
        orders = [np.random.default_rng(7 + n).integers(0, STORED, BATCH) for n in range(BATCHES)]
        started, cpu = time.perf_counter(), time.process_time()
        for order in orders:
            store.read(order, buffer)
        return time.perf_counter() - started, time.process_time() - cpu, BATCHES * BATCH


def _memcpy() -> tuple[float, float, int]:
    """From a region as large as the store, so that neither side gets by with the processor's cache."""
    source = np.zeros((STORED, SIDE, SIDE), dtype=np.uint8)
    source[...] = 1
    buffer = np.empty((BATCH, SIDE, SIDE), dtype=np.uint8)
    buffer[...] = 0
    started, cpu = time.perf_counter(), time.process_time()
    for at in range(BATCHES):
        first = at * BATCH % STORED
        np.copyto(buffer, source[first : first + BATCH])
    return time.perf_counter() - started, time.process_time() - cpu, BATCHES * BATCH


def main(name: str) -> None:
    """Print the seconds and CPU seconds that the named thing took, and the images it was done to."""
    if name == "batches":
        found = _batches()
    elif name == "memcpy":
        found = _memcpy()
    elif name.startswith("build-"):
        found = _build(int(name.removeprefix("build-")))
    else:
        found = _each(*name.split("-"))  # type: ignore[arg-type]
    print(*found)


if __name__ == "__main__":
    main(sys.argv[1])
