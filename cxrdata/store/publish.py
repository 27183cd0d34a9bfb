"""Making a build appear whole or not at all, with numbered points at which tests kill the process."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from cxrdata.errors import CxrError
from cxrdata.stages import make_private, sha256_file, sync_path, unfinished
from cxrdata.store.layout import BuildFolder, CatalogFolder
from cxrdata.store.manifest import read_manifest

# What DuckDB and Polars pass on of a write that failed.
_REFUSALS = tuple(
    os.strerror(number) for number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES)
)
CRASH_VARIABLE = "CXRDATA_TEST_CRASH_POINT"
CRASH_POINTS = {
    1: "after the lock is taken",
    2: "after the sources are fingerprinted",
    3: "after the first dataset's stage",
    4: "after all datasets' stages",
    5: "after the Parquet files are in place",
    6: "in the middle of the DuckDB file",
    7: "after the DuckDB file",
    8: "after the checks",
    9: "after the manifest",
    10: "before the build takes its name",
    11: "after the build took its name",
    12: "before CURRENT is replaced",
    13: "after CURRENT is replaced",
}


def crash_point(number: int) -> None:
    """Kill this process, unannounced, if a test asked for it at this point."""
    if os.environ.get(CRASH_VARIABLE) == str(number):
        os.kill(os.getpid(), signal.SIGKILL)


@contextmanager
def locked(folder: CatalogFolder) -> Iterator[None]:
    """Hold the catalog's lock while building. Raises CxrError: CXR-602 not writable, CXR-603 another build runs."""
    with writing(folder.path):
        make_private(folder.cache)
    with holding(folder.lock, folder.path, what="catalog"):
        yield


@contextmanager
def holding(lock: Path, folder: Path, *, what: str, alone: bool = True, option: str = "-c") -> Iterator[None]:
    """Hold a folder by its lock file, which is made: alone, or together with others that do not ask to be. The lock dies
    with the process. `what` the folder is, in a word; `option`: what names it.

    Raises CxrError: CXR-602 not writable, CXR-603 held already.
    """
    with writing(folder, option=option):
        handle = os.open(lock, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(handle, (fcntl.LOCK_EX if alone else fcntl.LOCK_SH) | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise CxrError(
                "CXR-603",
                f"another build is writing this {what}",
                where=folder.name,
                fix="wait until it has finished",
            ) from error
        except OSError:
            pass  # a share without locks: two builds at once are then the user's to avoid
        yield
    finally:
        os.close(handle)


@contextmanager
def writing(path: Path, *, option: str = "-c") -> Iterator[None]:
    """Turn the operating system's refusals into CXR-602, also those that an engine reports in its own words. option: what
    names the folder on the command line, such as `--to`, or an argument's name."""
    try:
        yield
    except (CxrError, FileNotFoundError):
        raise
    except Exception as error:
        reason = (
            (error.strerror or str(error))
            if isinstance(error, OSError)
            else next((text for text in _REFUSALS if text in str(error)), None)
        )
        if reason is None:
            raise
        raise CxrError(
            "CXR-602",
            f"cannot write: {reason}",
            where=path.name,
            fix="choose a folder that you may write to and that has space, "
            + (f"with {option} PATH" if option.startswith("-") else f"as {option}"),
        ) from error


def check_writable(folder: Path, *, option: str = "-c") -> None:
    """Raise CxrError CXR-602 where a file could not be put into a folder: before hours of work, not after."""
    aside = unfinished(folder / "probe")
    with writing(folder, option=option):
        try:
            aside.touch()
        finally:
            aside.unlink(missing_ok=True)


def place_file(source: Path, target: Path) -> None:
    """Put a finished file in place: a link where the file system has them, else a copy."""
    make_private(target.parent)
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def publish(aside: Path, build: BuildFolder, folder: CatalogFolder) -> None:
    """Give the finished build its name, then make it the current one. Both steps are atomic."""
    crash_point(10)
    if _is_whole(build):
        shutil.rmtree(aside)  # the same build is there already
    else:
        shutil.rmtree(build.path, ignore_errors=True)
        aside.rename(build.path)
        sync_path(build.path.parent)
    crash_point(11)
    replace_text(folder.terms, build.terms.read_text(encoding="utf-8"))
    crash_point(12)
    replace_text(folder.current, build.build_id + "\n")
    crash_point(13)


def _is_whole(build: BuildFolder) -> bool:
    """Whether the build is there with every file as its manifest says."""
    try:
        tables = read_manifest(build.manifest)["tables"]
        sound = all(sha256_file(build.path / table["path"]) == table["file_sha256"] for table in tables)
        return sound and build.database_digest.read_text(encoding="ascii").startswith(sha256_file(build.database))
    except (OSError, ValueError, KeyError):
        return False


def replace_text(path: Path, text: str) -> None:
    """Write a small file atomically and durably."""
    aside = unfinished(path)
    try:
        aside.write_text(text, encoding="utf-8")
        sync_path(aside)
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)
    sync_path(path.parent)


def remove_folder(path: Path) -> None:
    """Remove a folder so that it is never seen half removed."""
    aside = path.with_name(f".{path.name}.removed")
    with suppress(FileNotFoundError):
        path.rename(aside)
        shutil.rmtree(aside, ignore_errors=True)
