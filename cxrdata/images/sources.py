"""From the catalog's images to their files: roots, layouts and archives in one place.

A root is walked once and each file's name is resolved as any image key is (`cxrdata.keys`), so every layout that the
catalog's entry for the dataset recognises is found: CheXpert small, full and in batches, MIMIC's `files/p10/…`, NIH in
one folder or twelve, PadChest's numbered folders and zips, VinDr's `train/` and `test/`.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import polars as pl

from cxrdata.errors import CxrError
from cxrdata.images.archives import open_archive
from cxrdata.images.listing import list_images
from cxrdata.images.roots import ImageRoots
from cxrdata.images.streams import is_stream, open_stream
from cxrdata.keys import KeyIndex, key_forms, resolve
from cxrdata.wording import counted

if TYPE_CHECKING:
    from cxrdata.store.catalog import Catalog

__all__ = ["ImageFile", "ImageRoots", "files_of", "in_reading_order", "locate", "locate_all", "read_together"]

KEY = ["dataset", "image_id"]
FOUND = {"dataset": pl.String, "image_id": pl.String, "path": pl.String, "member": pl.String}
# So few images are looked for where the catalog says before everything is listed: a walk of MIMIC opens 230,000 folders.
_FEW = 200


@dataclass(frozen=True)
class ImageFile:
    """Where the file of an image is: a path, or a member of the archive (.zip, .tar, .tar.gz) at `path`."""

    dataset: str
    image_id: str
    path: Path
    member: str | None = None

    def open(self) -> BinaryIO:
        """The file for reading. Archives stay open in the process; safe from several threads and after a fork.

        Raises OSError, and CxrError CXR-131 or CXR-132 for an archive or a member that is damaged.
        """
        return self.path.open("rb") if self.member is None else io.BytesIO(self.read())

    def read(self) -> bytes:
        """All its bytes. Raises as `open` does."""
        if self.member is None:
            return self.path.read_bytes()
        return (open_stream if is_stream(self.path.name) else open_archive)(self.path).read(self.member)

    def size(self) -> int:
        """Its size in bytes, without reading it. Raises OSError or CxrError."""
        if self.member is None:
            return self.path.stat().st_size
        return (open_stream if is_stream(self.path.name) else open_archive)(self.path).size(self.member)

    def fingerprint(self) -> tuple[int, int]:
        """Size and time of change, by which a changed one is known without reading it; of a member the archive's time, and
        the archive's size where the member's cannot be told without decompressing. Raises as `size` does."""
        state = self.path.stat()
        of_itself = self.member is None or is_stream(self.path.name)
        return state.st_size if of_itself else self.size(), state.st_mtime_ns

    @property
    def told(self) -> str:
        """What messages call it."""
        return self.path.name if self.member is None else f"{self.path.name}:{self.member}"


def in_reading_order(located: pl.DataFrame) -> pl.DataFrame:
    """The rows (path, member, more) in an order in which no archive is read again: members of those that are compressed as a
    whole as they lie there, where this process has listed them."""
    places = {
        (path, member): at
        for path in located["path"].unique().drop_nulls()
        if is_stream(path) and Path(path).is_file()
        for at, member in enumerate(open_stream(Path(path)).members)
    }
    if not places:
        return located
    at = [places.get(key, -1) for key in located.select("path", "member").iter_rows()]
    order = located.select(path=pl.when(pl.Series(at) >= 0).then("path")).with_columns(at=pl.Series(at))
    return located[order.with_row_index("row").sort("path", "at", "row", nulls_last=False)["row"]]


def read_together(files: Sequence[ImageFile]) -> Iterator[tuple[int, bytes | CxrError | OSError]]:
    """The bytes of each file, or what `read` raises: plain ones and members of archives in their order, then those of
    archives that are compressed as a whole as they lie there. With the place of each in `files`."""
    streams: dict[Path, dict[str, int]] = {}
    for at, file in enumerate(files):
        if file.member is not None and is_stream(file.path.name):
            streams.setdefault(file.path, {})[file.member] = at
            continue
        try:
            yield at, file.read()
        except (CxrError, OSError) as error:
            yield at, error
    for path, members in streams.items():
        try:
            for name, found in open_stream(path).read_many(members):
                yield members[name], found
        except (CxrError, OSError) as error:
            for at in members.values():
                yield at, error


def files_of(located: pl.DataFrame) -> Iterator[ImageFile | None]:
    """The rows of `locate` as objects, None where nothing was found."""
    for dataset, image_id, path, member in located.select(list(FOUND)).iter_rows():
        yield None if path is None else ImageFile(dataset, image_id, Path(path), member)


def locate(
    catalog: Catalog, frame: pl.DataFrame, roots: ImageRoots, *, remarks: Callable[[str], None] = lambda _: None
) -> pl.DataFrame:
    """Where the file of each row of `frame` (dataset, image_id) is: one row a row, in their order.

    Returns dataset, image_id, path, member (of the archive at `path`; null for a plain file); path is null where no file
    was found. Of several files of one image the one where the catalog says it lies is taken, else a plain one rather than
    a member, the dataset's own format rather than another, the first by name. `remarks` is told what was passed over.
    """
    keys = frame.select(pl.col(KEY).cast(pl.String))
    wanted = keys.drop_nulls().unique()
    parts = [
        _in_dataset(catalog, dataset, wanted.filter(pl.col("dataset") == dataset), roots.of(dataset), remarks)
        for dataset in wanted["dataset"].unique().sort()
    ]
    found = pl.concat([pl.DataFrame(schema=FOUND), *(part.select(list(FOUND)) for part in parts)])
    return keys.join(found, on=KEY, how="left", maintain_order="left").select(list(FOUND))


def locate_all(
    catalog: Catalog, dataset: str, roots: tuple[Path, ...], *, remarks: Callable[[str], None] = lambda _: None
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Of one dataset: its images that have a file (FOUND, and `n_files`), and the files below its roots that are no image
    of the catalog (path, member, name)."""
    images = catalog.table("images").filter(pl.col("dataset") == dataset).select(*KEY, official="path").collect()
    listing = list_images(roots)
    for remark in listing.remarks:
        remarks(remark)
    index = KeyIndex.of(images, key_forms(catalog.manifest))
    named = listing.files["name"]
    resolved = resolve(named, index, dataset=pl.repeat(dataset, len(named), dtype=pl.String, eager=True))
    files = listing.files.with_columns(resolved["dataset", "image_id"])
    others = files.filter(pl.col("image_id").is_null()).select("path", "member", "name")
    files = files.drop_nulls("image_id").join(images, on=KEY, how="left", maintain_order="left")
    suffix = pl.col("official").str.extract(r"(\.\w+)$", 1).str.to_lowercase()
    # False sorts before true; ties as the roots were named, then by name.
    ranked = files.with_row_index("_at").sort(
        ((pl.col("name") == pl.col("official")) & pl.col("member").is_null()).not_().fill_null(value=True),
        pl.col("member").is_not_null(),
        pl.col("name").str.to_lowercase().str.ends_with(suffix).not_().fill_null(value=True),
        "_at",
    )
    best = ranked.with_columns(n_files=pl.len().over(KEY)).unique(KEY, keep="first", maintain_order=True)
    return best.sort(KEY).select(*FOUND, "n_files"), others


def _in_dataset(
    catalog: Catalog, dataset: str, wanted: pl.DataFrame, roots: tuple[Path, ...], remarks: Callable[[str], None]
) -> pl.DataFrame:
    if not roots:
        remarks(f"it is not known where the images of {dataset} are on this machine (roots.toml, --root)")
        return pl.DataFrame(schema=FOUND)
    official = _where_said(catalog, wanted, roots) if wanted.height <= _FEW else pl.DataFrame(schema=FOUND)
    left = wanted.join(official, on=KEY, how="anti")
    if left.is_empty():
        return official
    found, _ = locate_all(catalog, dataset, roots, remarks=remarks)
    found = left.join(found, on=KEY, how="inner")
    if missing := left.height - found.height:
        remarks(f"{dataset}: {counted(missing, 'image')} of {wanted.height:,} without a file")
    return pl.concat([official, found.select(list(FOUND))])


def _where_said(catalog: Catalog, wanted: pl.DataFrame, roots: tuple[Path, ...]) -> pl.DataFrame:
    """Those that lie exactly where the catalog says, below one of the roots."""
    said = catalog.table("images").join(wanted.lazy(), on=KEY, how="semi").select(*KEY, "path").sort(KEY).collect()
    rows = []
    for dataset, image_id, below in said.iter_rows():
        place = next((root / below for root in roots if (root / below).is_file()), None)
        if place is not None:
            rows.append((dataset, image_id, str(place), None))
    return pl.DataFrame(rows, schema=FOUND, orient="row")
