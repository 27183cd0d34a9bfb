"""`cxrdata fetch`: the files of a dataset that may be had without asking, as `[[download]]` of its catalog entry lists them.

Archives of images are unpacked to `<archive>/…` and removed; for a subset only those that hold some of it are fetched,
and only its images kept. `fetched.json` beside the files says what was fetched from where, with its checksums.
"""

from __future__ import annotations

import json
import shutil
import threading
from bisect import bisect_right
from collections.abc import Callable, Collection
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from cxrdata.errors import CxrError
from cxrdata.images.download import Download, Manners, Rate, Stopped, Wanted, difference, digests, http_pool
from cxrdata.images.listing import list_images
from cxrdata.images.unpack import unpack
from cxrdata.interrupts import held_back
from cxrdata.keys import recognise
from cxrdata.store.publish import check_writable, replace_text, writing

if TYPE_CHECKING:
    from cxrdata.sources.base import Source

RECORD = "fetched.json"
_ARCHIVE = (".tar.gz", ".tgz")
_SPARE = 1 << 30
_GLANCE = 0.2  # seconds between looks at whether Ctrl-C came
THERE, NEEDED, NOT_ASKED = "there", "needed", "not asked for"


@dataclass(frozen=True)
class Item:
    """A file of the list. `images`: for an archive the ids wanted of it that are not there yet; None: all that it holds.
    state: `needed`, `there`, or `not asked for`: an archive that holds nothing of the subset."""

    wanted: Wanted
    state: str
    is_archive: bool = False
    images: frozenset[str] | None = None
    n_images: int = 0


@dataclass
class Plan:
    """What a fetch will do, in the order of the list."""

    folder: Path
    items: list[Item]
    record: dict[str, dict[str, Any]] = field(default_factory=dict)

    def frame(self) -> pl.DataFrame:
        """file, state, bytes, images (to be kept), checksum, url."""
        return pl.DataFrame(
            [
                {
                    "file": item.wanted.name,
                    "state": item.state,
                    "bytes": item.wanted.bytes,
                    "images": (len(item.images) if item.images is not None else item.n_images) if item.is_archive else None,
                    "checksum": _checksum(item.wanted),
                    "url": item.wanted.url,
                }
                for item in self.items
            ],
            schema={
                "file": pl.String, "state": pl.String, "bytes": pl.Int64, "images": pl.Int64, "checksum": pl.String,
                "url": pl.String,
            },
        )  # fmt: skip

    @property
    def needed(self) -> list[Item]:
        return [item for item in self.items if item.state == NEEDED]


def _checksum(wanted: Wanted) -> str:
    if wanted.seen_first:
        return "seen first"
    return "published" if wanted.has_checksum else "none published"


def make_plan(
    source: Source, folder: Path, *, images: Collection[str] | None = None, metadata_only: bool = False
) -> Plan:
    """What of a dataset is missing in a folder. images: ids of the only ones wanted; None: all.

    Raises CxrError CXR-136 for a file that is no longer what was fetched, CXR-505 for a list that is not understood.
    """
    record = _read_record(folder)
    entries = [_entry(source, entry, record) for entry in source.entry.get("download", ())]
    archives = [(first, wanted, n) for wanted, first, n in entries if first is not None]
    items = [_file_item(folder, wanted, record) for wanted, first, _ in entries if first is None]
    if metadata_only or not archives:
        return Plan(folder, items, record)
    there = _images_there(folder)
    wished = None if images is None else set(images)
    firsts = sorted(first for first, _, _ in archives)
    by_archive: dict[str, set[str]] = {first: set() for first in firsts}
    for image_id in there if wished is None else wished:
        at = bisect_right(firsts, image_id) - 1
        if at >= 0:
            by_archive[firsts[at]].add(image_id)
    for first, wanted, n in archives:
        ids = by_archive[first]
        if wished is None:
            kept, state = None, NEEDED if len(ids) < n else THERE
        else:
            kept = frozenset(ids - there)
            state = NEEDED if kept else THERE if ids else NOT_ASKED
        items.append(Item(wanted, state, is_archive=True, images=kept, n_images=n))
    return Plan(folder, items, record)


def _entry(source: Source, entry: dict[str, Any], record: dict[str, dict[str, Any]]) -> tuple[Wanted, str | None, int]:
    """A `[[download]]`: the file, and of an archive its first image and how many it holds."""
    try:
        name, url = str(entry["name"]), str(entry["url"])
        first = str(entry["first"]) if name.endswith(_ARCHIVE) else None
        n_images = int(entry.get("images", 0))
    except (KeyError, ValueError) as error:
        raise CxrError(
            "CXR-505",
            f"a [[download]] lacks {error}" if isinstance(error, KeyError) else f"a [[download]]: {error}",
            where=f"{source.name}.toml",
            fix="it needs name and url; an archive of images also first and images",
        ) from error
    if Path(name).name != name:
        raise CxrError("CXR-505", f"{name!r} is no plain file name", where=f"{source.name}.toml [[download]]")
    published = entry.get("sha256")
    before = None if published or entry.get("md5") else record.get(name, {}).get("sha256")
    wanted = Wanted(
        name, url, entry.get("bytes"), entry.get("md5"), published or before, seen_first=before is not None,
        starts_with=entry.get("starts_with", ""),
    )  # fmt: skip
    return wanted, first, n_images


def _file_item(folder: Path, wanted: Wanted, record: dict[str, dict[str, Any]]) -> Item:
    """A plain file: there if it is what is published or was fetched; one that the user put there is trusted as seen first."""
    target = folder / wanted.name
    if not target.is_file():
        return Item(wanted, NEEDED)
    seen = digests(target)
    problem = difference(wanted, seen)
    if problem is not None:
        raise CxrError(
            "CXR-136" if wanted.seen_first else "CXR-135",
            f"{wanted.name} is there and not what it should be: {problem}",
            where=str(target),
            fix="remove or rename it, and run the command again",
        )
    if wanted.name not in record:
        record[wanted.name] = {"url": None, **seen, "checksum": "found here"}
    return Item(wanted, THERE)


def _images_there(folder: Path) -> set[str]:
    """The names of the image files below a folder, as keys are recognised."""
    if not folder.is_dir():
        return set()
    files = list_images([folder], streams=False).files  # an archive that was kept says nothing of what was unpacked
    return set(recognise(files["name"])["name"].drop_nulls().to_list())


def fetch(
    plan: Plan,
    *,
    workers: int = 3,
    keep_archives: bool = False,
    manners: Manners | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> Plan:
    """Get what a plan needs, so many files at a time; the plan's record is written as each is done.

    After Ctrl-C, or an error, what came is kept and a later call goes on with it.
    Raises CxrError: CXR-134 to CXR-137, CXR-602 no space or not writable.
    """
    needed = plan.needed
    if not needed:
        return plan
    with writing(plan.folder, option="--to"):
        plan.folder.mkdir(parents=True, exist_ok=True)
        check_writable(plan.folder, option="--to")
        _check_space(plan, workers)
    parts = [plan.folder / f"{item.wanted.name}.part" for item in needed]
    already = sum(part.stat().st_size for part in parts if part.is_file())
    work = _Work(
        plan.folder,
        manners or Manners(),
        Rate(sum(item.wanted.bytes or 0 for item in needed), progress, already),
        keep_archives=keep_archives,
    )
    with held_back() as interrupts, ThreadPoolExecutor(workers, thread_name_prefix="fetch") as pool:
        running = {pool.submit(work.one, item): item for item in needed}
        failure: Exception | None = None
        while running:
            ready, _ = wait(running, timeout=_GLANCE, return_when=FIRST_COMPLETED)
            for future in ready:
                failure = _settle(plan, running.pop(future), future) or failure
            if interrupts.noted or failure:
                work.stop.set()
                for future in [one for one in running if one.cancel()]:
                    running.pop(future)
        interrupts.check()
    if failure is not None:
        raise failure
    return plan


@dataclass(frozen=True)
class _Work:
    """What the threads share."""

    folder: Path
    manners: Manners
    gained: Rate
    keep_archives: bool
    stop: threading.Event = field(default_factory=threading.Event)

    def one(self, item: Item) -> dict[str, Any]:
        """Get a file and, if it is an archive, its images; what the record says of it."""
        target = self.folder / item.wanted.name
        seen = _kept_archive(item, target)
        if seen is None:
            pool = http_pool(item.wanted.url)
            seen = Download(item.wanted, target, pool, self.manners, self.stop, self.gained).run()
        if item.is_archive:
            folder = self.folder / item.wanted.name.partition(".")[0]
            unpack(target, folder, item.images, expected=item.n_images, stop=self.stop)
            if not self.keep_archives:
                target.unlink()
        return {"url": item.wanted.url, **seen, "checksum": _checksum(item.wanted)}


def _settle(plan: Plan, item: Item, future: Future[dict[str, Any]]) -> Exception | None:
    """Record a file that is done; the error of one that failed."""
    try:
        plan.record[item.wanted.name] = future.result()
        _write_record(plan)
    except Stopped:
        return None
    except Exception as error:  # noqa: BLE001 - raised when all have stopped
        return error
    return None


def _kept_archive(item: Item, target: Path) -> dict[str, Any] | None:
    """The digests of an archive that was kept from before and is whole."""
    if not target.is_file():
        return None
    seen = digests(target)
    return seen if difference(item.wanted, seen) is None else None


def _check_space(plan: Plan, workers: int) -> None:
    """The images of an archive take as much as it does: PNG does not shrink further. Raises CxrError CXR-602."""
    sizes = sorted((item.wanted.bytes or 0 for item in plan.needed), reverse=True)
    kept = sum(
        (item.wanted.bytes or 0)
        * (len(item.images) / item.n_images if item.images is not None and item.n_images else 1.0)
        for item in plan.needed
    )
    need = int(kept) + sum(sizes[:workers])
    free = shutil.disk_usage(plan.folder).free
    if need and free < need + _SPARE:
        raise CxrError(
            "CXR-602",
            f"cannot write: about {need / 1e9:,.1f} GB are needed, {free / 1e9:,.1f} GB are free",
            where=str(plan.folder),
            fix="name another folder with --to, fewer --workers, or a subset with --where",
        )


def _read_record(folder: Path) -> dict[str, dict[str, Any]]:
    place = folder / RECORD
    if not place.is_file():
        return {}
    try:
        found = json.loads(place.read_text(encoding="utf-8"))["files"]
        return {str(name): dict(entry) for name, entry in found.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CxrError(
            "CXR-505", "the record of what was fetched cannot be read", where=str(place), fix="remove it"
        ) from error


def _write_record(plan: Plan) -> None:
    with writing(plan.folder, option="--to"):
        text = json.dumps({"files": dict(sorted(plan.record.items()))}, indent=2, ensure_ascii=False)
        replace_text(plan.folder / RECORD, text + "\n")
