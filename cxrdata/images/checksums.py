"""PhysioNet's SHA256SUMS.txt, which lies at the top of its projects: what each file's bytes should be."""

from __future__ import annotations

from pathlib import Path

import polars as pl

FILE_NAMES = ("SHA256SUMS.txt", "SHA256SUMS")
_LINE = r"^([0-9a-fA-F]{64})[ \t]+\*?(?:\./)?(.+?)\r?$"
SCHEMA = {"path": pl.String, "published_sha256": pl.String}
_LEVELS_UP = 2


def read_published(roots: tuple[Path, ...]) -> pl.DataFrame:
    """path, published_sha256 by the lists at the top of the roots, one folder below, or up to two above (a root may be
    the project's `files/`). Lines of another form are passed over, as is a list that cannot be read."""
    frames = [pl.DataFrame(schema=SCHEMA)]
    for place in dict.fromkeys(path for root in roots for path in _lists(root)):
        try:
            lines = pl.Series(place.read_text(encoding="utf-8", errors="replace").split("\n"), dtype=pl.String)
        except OSError:
            continue
        parts = lines.str.extract_groups(_LINE)
        frame = pl.DataFrame({"path": parts.struct[1], "published_sha256": parts.struct[0].str.to_lowercase()})
        frames.append(frame.drop_nulls().with_columns(path=pl.lit(f"{place.parent}/") + pl.col("path")))
    return pl.concat(frames).unique("path", keep="first", maintain_order=True)


def _lists(root: Path) -> list[Path]:
    if not root.is_dir():
        return []
    folders = [root, *list(root.parents)[:_LEVELS_UP], *(path for path in sorted(root.iterdir()) if path.is_dir())]
    return [folder / name for folder in folders for name in FILE_NAMES if (folder / name).is_file()]
