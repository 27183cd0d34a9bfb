"""`cxrdata images check`: every file asked for looked at, by several processes, and what was found kept with the catalog."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from cxrdata.images.checksums import read_published
from cxrdata.images.duplicates import mark_duplicates
from cxrdata.images.examine import Facts, examine
from cxrdata.images.roots import ImageRoots
from cxrdata.images.sources import ImageFile, files_of, in_reading_order, locate_all
from cxrdata.processes import process_pool
from cxrdata.schemas.registered import ALTERED, FILE_STATUSES, IMAGE_FILES, OK
from cxrdata.stages import sync_path, unfinished
from cxrdata.store.parquet import write_parquet
from cxrdata.store.publish import check_writable, writing
from cxrdata.store.session import image_files
from cxrdata.wording import counted

if TYPE_CHECKING:
    from cxrdata.store.catalog import Catalog

KEY = ["dataset", "image_id"]
_TASK = 32  # files a task: enough that handing over costs nothing, few enough that Ctrl-C loses little
_WAITING = 4  # tasks a worker may have in the queue
# What of a row depends on the file alone; the rest is found here.
_TOLD_OF_FILE = (
    "status", "message", "file_bytes", "sha256", "kind", "mode", "bits", "rows_px", "columns_px", "wrong_mode", "pixel_mean",
    "pixel_sd", "constant", "polarity", "inverted", "perceptual_hash",
)  # fmt: skip


@dataclass(frozen=True)
class CheckRequest:
    """What to look at and how closely. images: dataset, image_id. only_new: leave out those with a row already."""

    images: pl.DataFrame
    roots: ImageRoots
    with_hash: bool = False
    quick: bool = False
    only_new: bool = False
    workers: int = 1


@dataclass
class Checked:
    """What was found: `rows` of IMAGE_FILES for the images that were looked at. complete: not interrupted.
    others: by dataset, the files below its roots that are no image of the catalog."""

    rows: pl.DataFrame
    complete: bool
    remarks: list[str] = field(default_factory=list)
    others: dict[str, int] = field(default_factory=dict)

    @property
    def sound(self) -> bool:
        """Whether every file is there and as it should be, those aside that are published broken."""
        return self.rows.filter(pl.col("status") != OK, pl.col("known_problem").is_null()).is_empty()


def check_images(
    catalog: Catalog, request: CheckRequest, *, progress: Callable[[str], None] = lambda _: None
) -> Checked:
    """Look at the files and store what was found, in place of what was known of the same images.

    On Ctrl-C what was found until then is stored; `only_new` goes on from there. Raises CxrError: CXR-133 where the
    root of a dataset that was asked for is not known, CXR-130, CXR-602.
    """
    check_writable(catalog.folder.path)
    wanted = request.images.select(KEY).unique().sort(KEY)
    known = image_files(catalog.folder)
    if request.only_new and known is not None:
        wanted = wanted.join(known, on=KEY, how="anti", maintain_order="left")
    checked = Checked(pl.DataFrame(schema=IMAGE_FILES.schema), complete=True)
    located = in_reading_order(_located(catalog, wanted, request, checked, progress))
    facts, checked.complete = _examined(located, request, progress)
    rows = _judged(catalog, located, facts)
    progress("comparing the pictures")
    everything = pl.concat([rows, *([known.join(rows, on=KEY, how="anti")] if known is not None else [])])
    everything = IMAGE_FILES.shaped(mark_duplicates(everything.sort(KEY)))
    _store(catalog, everything)
    checked.rows = everything.join(rows.select(KEY), on=KEY, how="semi", maintain_order="left")
    return checked


def _located(
    catalog: Catalog, wanted: pl.DataFrame, request: CheckRequest, checked: Checked, progress: Callable[[str], None]
) -> pl.DataFrame:
    """dataset, image_id, path, member, n_files, file, published_sha256 of what is wanted."""
    frames = []
    for dataset in wanted["dataset"].unique().sort():
        progress(f"looking for the files of {dataset}")
        roots = request.roots.require(dataset)
        found, others = locate_all(catalog, dataset, roots, remarks=checked.remarks.append)
        checked.others[dataset] = others.height
        part = wanted.filter(pl.col("dataset") == dataset).join(found, on=KEY, how="left", maintain_order="left")
        below = pl.coalesce(pl.lit(None, pl.String), *(_below(root) for root in roots))
        published = read_published(roots) if request.with_hash else pl.DataFrame(schema={"path": pl.String})
        part = part.with_columns(file=below).join(published, on="path", how="left", maintain_order="left")
        if "published_sha256" not in part.columns:
            part = part.with_columns(published_sha256=pl.lit(None, pl.String))
        frames.append(part)
    return pl.concat(frames) if frames else wanted.with_columns(pl.lit(None, pl.String).alias("path"))


def _below(root: Path) -> pl.Expr:
    """The path below a root, or of a root that is an archive its name; null for what is not below it."""
    text = str(root)
    return (
        pl.when(pl.col("path") == text)
        .then(pl.lit(root.name))
        .when(pl.col("path").str.starts_with(text.rstrip("/") + "/"))
        .then(pl.col("path").str.slice(len(text.rstrip("/")) + 1))
    )


def _examined(
    located: pl.DataFrame, request: CheckRequest, progress: Callable[[str], None]
) -> tuple[list[Facts], bool]:
    """The facts of the first rows, of all unless Ctrl-C came."""
    if located.is_empty():
        return [], True
    files = list(files_of(located))
    tasks = [files[start : start + _TASK] for start in range(0, len(files), _TASK)]
    done: dict[int, list[Facts]] = {}
    begun = time.monotonic()
    try:
        for at, facts in _answers(tasks, request):
            done[at] = facts
            progress(_rate(min(len(done) * _TASK, len(files)), len(files), time.monotonic() - begun))
    except KeyboardInterrupt:
        whole = next((at for at in range(len(tasks)) if at not in done), len(tasks))
        return [fact for at in range(whole) for fact in done[at]], False
    return [fact for at in range(len(tasks)) for fact in done[at]], True


def _answers(tasks: list[list[ImageFile | None]], request: CheckRequest) -> Iterator[tuple[int, list[Facts]]]:
    if request.workers < 2 or len(tasks) < 2 or request.quick:
        for at, task in enumerate(tasks):
            yield at, examine_all(task, with_hash=request.with_hash, quick=request.quick)
        return
    with process_pool(min(request.workers, len(tasks)), preload=("cxrdata.images.examine",)) as pool:
        yield from _in_flight(pool, tasks, request)


def _in_flight(
    pool: ProcessPoolExecutor, tasks: list[list[ImageFile | None]], request: CheckRequest
) -> Iterator[tuple[int, list[Facts]]]:
    """The answers as they come, never more tasks handed over than keep the workers busy."""
    waiting: dict[Future[list[Facts]], int] = {}
    left = iter(enumerate(tasks))
    while True:
        while len(waiting) < _WAITING * request.workers and (following := next(left, None)) is not None:
            at, task = following
            waiting[pool.submit(examine_all, task, with_hash=request.with_hash)] = at
        if not waiting:
            return
        ready, _ = wait(waiting, return_when=FIRST_COMPLETED)
        for future in ready:
            yield waiting.pop(future), future.result()


def examine_all(files: list[ImageFile | None], *, with_hash: bool, quick: bool = False) -> list[Facts]:
    """`examine` for each file."""
    return [examine(file, with_hash=with_hash, quick=quick) for file in files]


def _rate(done: int, total: int, seconds: float) -> str:
    rate = done / max(seconds, 1e-6)
    left = (total - done) / max(rate, 1e-6)
    return f"{done:,} of {counted(total, 'file')}, {rate:,.0f}/s, {int(left) // 60}:{int(left) % 60:02d} left"


def _judged(catalog: Catalog, located: pl.DataFrame, facts: list[Facts]) -> pl.DataFrame:
    """The rows of IMAGE_FILES for the files that were looked at, duplicates aside."""
    told = pl.DataFrame(
        [{name: fact.get(name) for name in _TOLD_OF_FILE} for fact in facts],
        schema={name: IMAGE_FILES.schema[name] for name in _TOLD_OF_FILE},
        orient="row",
    )
    if not facts:
        return pl.DataFrame(schema=IMAGE_FILES.schema)
    frame = pl.concat([located.head(len(facts)), told], how="horizontal")
    stated = catalog.table("images").select(*KEY, _rows="rows_px", _columns="columns_px").collect()
    broken = catalog.table("broken_images").select(*KEY, known_problem="problem").collect()
    frame = frame.join(stated, on=KEY, how="left", maintain_order="left")
    frame = frame.join(broken, on=KEY, how="left", maintain_order="left").with_columns(
        wrong_size=pl.when(pl.col("dataset").is_in(_synthetic(catalog))).then(_OTHER_SHAPE).otherwise(_OTHER_SIZE),
        matches_published=pl.col("sha256") == pl.col("published_sha256"),
    )
    altered = (pl.col("status") == OK) & ~pl.col("matches_published").fill_null(value=True)
    frame = frame.with_columns(
        status=pl.when(altered).then(pl.lit(ALTERED)).otherwise("status"),
        message=pl.when(altered).then(pl.lit("its SHA-256 is not the one that is published")).otherwise("message"),
    )
    return IMAGE_FILES.shaped(frame)


_OTHER_SIZE = (pl.col("rows_px") != pl.col("_rows")) | (pl.col("columns_px") != pl.col("_columns"))
# Of pictures that are drawn smaller than the tables say: but for rounding, the same proportions.
_OTHER_SHAPE = (
    pl.col("rows_px").cast(pl.Int64) * pl.col("_columns") - pl.col("columns_px").cast(pl.Int64) * pl.col("_rows")
).abs() > pl.max_horizontal("_rows", "_columns")


def _synthetic(catalog: Catalog) -> list[str]:
    """The datasets of which `cxrdata synth` wrote the files."""
    return catalog.table("datasets").filter(pl.col("synthetic")).select("dataset").collect()["dataset"].to_list()


def _store(catalog: Catalog, rows: pl.DataFrame) -> None:
    """Replace what is known, whole or not at all."""
    place = catalog.folder.image_files
    aside = unfinished(place)
    try:
        with writing(catalog.folder.path):
            write_parquet(rows, aside, description=IMAGE_FILES.description)
            sync_path(aside)
            aside.replace(place)
            sync_path(place.parent)
    finally:
        aside.unlink(missing_ok=True)


# What a summary counts beside the statuses: name, condition.
FLAGS = {
    "known_broken": pl.col("known_problem").is_not_null(),
    "wrong_size": pl.col("wrong_size"),
    "wrong_mode": pl.col("wrong_mode"),
    "constant": pl.col("constant"),
    "inverted": pl.col("inverted"),
    "same_bytes": pl.col("same_bytes_as").is_not_null(),
    "look_alike": pl.col("looks_like").is_not_null(),
    "several_files": pl.col("n_files") > 1,
}


def summary(rows: pl.DataFrame) -> pl.DataFrame:
    """One row a dataset: images, how many have each status, how many each flag (null where it was not looked for)."""
    statuses = {status: pl.col("status") == status for status in FILE_STATUSES}
    flags = {
        name: pl.when(condition.is_not_null().any()).then(condition.fill_null(value=False).sum())
        for name, condition in FLAGS.items()
    }
    return (
        rows.group_by("dataset")
        .agg(
            images=pl.len().cast(pl.Int64),
            **{name: condition.sum().cast(pl.Int64) for name, condition in statuses.items()},
            **{name: count.cast(pl.Int64) for name, count in flags.items()},
        )
        .sort("dataset")
    )


def problems(rows: pl.DataFrame) -> pl.DataFrame:
    """The images with a status other than ok, or a flag: dataset, image_id, status, message, flags."""
    flags = pl.concat_list(
        pl.when(condition.fill_null(value=False)).then(pl.lit(name)) for name, condition in FLAGS.items()
    ).list.drop_nulls()
    return rows.select(*KEY, "status", "message", flags=flags).filter(
        (pl.col("status") != OK) | (pl.col("flags").list.len() > 0)
    )
