"""What the synthetic writers of all sources share.

Each source has `synth.py` with one function, `write(folder, plan)`, that writes
the dataset in its official layout and formats from random numbers. The numbers
follow rounded published shares; no value of any real record is used.
"""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import polars as pl

README = """These files are SYNTHETIC: written by `cxrdata synth` from random numbers.
They follow the layout of {title}, not its content.
No patient, image or report behind them exists. Never publish a result from them.
"""


@dataclass(frozen=True)
class SynthPlan:
    """What to write: size, seed and variants, the same for every source.

    `scale` 1 is the dataset's official size. `variants` are names among the source's
    `VARIANTS`; unknown ones are refused before `write_datasets` calls `write`. `images` asks for pixels where the official layout has them,
    `official_size` for as many of them as the official files have.
    """

    scale: float = 0.001
    seed: int = 0
    variants: frozenset[str] = field(default_factory=frozenset)
    images: bool = False
    official_size: bool = False

    def rng(self, *names: str) -> np.random.Generator:
        """A generator of its own for each named purpose, so that one file's size
        never changes another file's numbers."""
        text = "/".join((str(self.seed), *names)).encode()
        digest = hashlib.sha256(text).digest()
        return np.random.default_rng(int.from_bytes(digest[:16], "big"))

    def chosen(self, known: Collection[str], default: frozenset[str]) -> frozenset[str]:
        """The plan's variants that a source knows; with none of them, its `default`."""
        return self.variants.intersection(known) or default

    def count(self, official: int, *, at_least: int = 1) -> int:
        """`official` rows at this plan's scale, but never fewer than `at_least`:
        a quirk must be there even in the smallest set."""
        return max(at_least, round(official * self.scale))


def write_csv(
    frame: pl.DataFrame,
    path: Path,
    *,
    header: str | None = None,
    compress: bool = False,
    crlf: bool = False,
    null_value: str = "",
) -> Path:
    """Write `frame` as CSV; `header` replaces the column line (official files have
    headers that no CSV writer would produce, such as a trailing comma)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    body = frame.write_csv(
        include_header=header is None, null_value=null_value, line_terminator="\r\n" if crlf else "\n"
    ).encode()
    if header is not None:
        body = header.encode() + (b"\r\n" if crlf else b"\n") + body
    return write_bytes(body, path, compress=compress)


def write_bytes(body: bytes, path: Path, *, compress: bool = False) -> Path:
    """Write bytes; `compress` appends `.gz` and keeps the file free of a timestamp."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if compress:
        path = path.with_name(path.name + ".gz")
        body = gzip.compress(body, compresslevel=1, mtime=0)
    path.write_bytes(body)
    return path


def label_as_synthetic(folder: Path, title: str) -> None:
    """Put the note that the files are synthetic beside them."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "SYNTHETIC.txt").write_text(README.format(title=title))
