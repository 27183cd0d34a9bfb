"""Builds as processes, and what a sound catalog is: used by all tests of the store."""

from __future__ import annotations

import codecs
import hashlib
import json
import os
import signal
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import connection, get_context
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

import duckdb

from cxrdata.sources.base import Registry
from cxrdata.store.build import BuildRequest
from cxrdata.store.parquet import rows_digest

# A process that has the engines loaded and forks a child a build, before any thread is started:
# a build then costs its own time and not that of the imports.
_CONTEXT = get_context("forkserver")
_CONTEXT.set_forkserver_preload(
    [
        "cxrdata.cli.main",
        "cxrdata.store.assemble",
        "cxrdata.store.catalog",
        "cxrdata.harmonise.dataset",
        "cxrdata.schemas.validate",
    ]
)

# Starting a process also polls every other one, and a child's exit status can be read only once: of two threads
# that read it together, one would be told 255.
_POLLING = threading.Lock()


@dataclass(frozen=True)
class Ended:
    """How a process ended. `code` is negative for a signal, as in `subprocess`."""

    code: int
    stderr: str


class Started:
    """A `cxrdata` command that runs in a process group of its own."""

    def __init__(
        self, arguments: Sequence[str], log: Path, *, env: Mapping[str, str] | None = None, before: str = ""
    ) -> None:
        self._log = log
        self._process: ForkServerProcess = _CONTEXT.Process(
            target=_command, args=(list(arguments), str(log), dict(env or {}), before)
        )
        with _POLLING:
            self._process.start()

    @property
    def running(self) -> bool:
        with _POLLING:
            return self._process.is_alive()

    def kill_group(self, number: int = signal.SIGKILL) -> None:
        """Signal the whole group; a process that has ended already is left alone."""
        pid = self._process.pid
        assert pid is not None
        if not self.running:
            return
        try:
            os.killpg(pid, number)
        except ProcessLookupError:  # not yet the leader of a group, so nothing is written yet; or it has just ended
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def wait(self, seconds: float = 60.0) -> Ended:
        connection.wait([self._process.sentinel], seconds)
        if self.running:
            self.kill_group()
            connection.wait([self._process.sentinel])
            message = f"the process did not end within {seconds} s"
            raise TimeoutError(message)
        code = self._process.exitcode
        assert code is not None
        return Ended(code, self._log.read_text() if self._log.is_file() else "")


def _command(arguments: list[str], log: str, env: dict[str, str], before: str) -> None:
    os.setsid()
    os.environ.update(env)
    handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
    os.dup2(handle, 2)
    os.dup2(handle, 1)
    sys.stderr = os.fdopen(2, "w", closefd=False)
    sys.stdout = os.fdopen(1, "w", closefd=False)
    if before:
        getattr(_Before, before)()
    from cxrdata.cli.main import run

    code = None
    try:
        code = run(arguments)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    except KeyboardInterrupt:  # it came when the command had ended
        if code is None:
            raise
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


class _Before:
    """What a child does to itself before it runs the command."""

    @staticmethod
    def no_large_files() -> None:
        """No file may grow over 64 KiB: the nearest to a full disk that needs no rights."""
        import resource

        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, 1 << 16))

    @staticmethod
    def nobody() -> None:
        """Root may write everywhere, so the command runs as someone else."""
        for encoding in ("utf-8-sig", "latin-1", "ascii"):
            codecs.lookup(encoding)  # the interpreter's own files may be closed to others
        if os.getuid() == 0:
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)


def request_of(catalog: Path, folders: Mapping[str, Path], **wishes: Any) -> BuildRequest:
    """A request that names each dataset's folder, to be built in this process."""
    registry = Registry(wishes.get("overlays"))
    return BuildRequest(
        catalog, named=[(registry.get(name), folder) for name, folder in folders.items()], workers=1, **wishes
    )


def build_arguments(catalog: Path, *sources: str, workers: int = 1, wishes: Sequence[str] = ()) -> list[str]:
    """The command line of a build."""
    return ["build-catalog", *sources, "-c", str(catalog), "--workers", str(workers), "--quiet", *wishes]


def current_build(catalog: Path) -> Path:
    return catalog / "builds" / (catalog / "CURRENT").read_text().strip()


def sound_build(catalog: Path, *, rows: bool = True) -> str:
    """The id of the current build, after comparing every byte of it with its manifest and, with `rows`, its DuckDB
    tables with their digests. AssertionError where something differs."""
    build = current_build(catalog)
    text = (build / "manifest.json").read_bytes()
    assert hashlib.sha256(text).hexdigest()[:16] == build.name, "the manifest does not name its folder"
    manifest = json.loads(text)
    for table in manifest["tables"]:
        assert hashlib.sha256((build / table["path"]).read_bytes()).hexdigest() == table["file_sha256"], table["path"]
    database = hashlib.sha256((build / "catalog.duckdb").read_bytes()).hexdigest()
    assert (build / "catalog.duckdb.sha256").read_text() == f"{database}  catalog.duckdb\n"
    if not rows:
        return build.name
    found = database_digests(build)
    for table in manifest["tables"]:
        key = f"{table['schema']}.{table['table']}" + (
            f"/{table['dataset']}" if (table["schema"], table["table"], table["dataset"]) in found.per_dataset else ""
        )
        assert found.digests[key] == table["rows_sha256"], key
    return build.name


@dataclass(frozen=True)
class DatabaseDigests:
    """Digests of the rows in a DuckDB file: `schema.table`, or `schema.table/dataset` where datasets share it."""

    digests: dict[str, str]
    per_dataset: set[tuple[str, str, str]]


def database_digests(build: Path) -> DatabaseDigests:
    manifest = json.loads((build / "manifest.json").read_bytes())
    shared = {(t["schema"], t["table"], t["dataset"]) for t in manifest["tables"] if t["path"].count("/dataset=")}
    digests = {}
    with duckdb.connect(str(build / "catalog.duckdb"), read_only=True) as connection:
        for table in manifest["tables"]:
            name = f'"{table["schema"]}"."{table["table"]}"'
            key = (table["schema"], table["table"], table["dataset"])
            columns = "* EXCLUDE (image_uid)" if table["table"] == "images" else "*"
            where = f"WHERE dataset = '{table['dataset']}'" if key in shared else ""
            suffix = f"/{table['dataset']}" if key in shared else ""
            digests[f"{table['schema']}.{table['table']}{suffix}"] = rows_digest(
                connection.sql(f"SELECT {columns} FROM {name} {where}").pl()
            )
    return DatabaseDigests(digests, shared)


def debris(catalog: Path) -> list[str]:
    """What lies in a catalog and should not: anything but finished builds, stages and the known files."""
    found = []
    for path in sorted(catalog.rglob("*")):
        name = path.relative_to(catalog).as_posix()
        if "unfinished" in name or path.name.startswith("."):
            found.append(name)
    known = {"CURRENT", "DATA_TERMS.md", "builds", "splits", "cache"}
    found += [path.name for path in catalog.iterdir() if path.name not in known]
    cache = {"lock", "inputs.json", "files.json", "stages"}
    found += [
        path.name
        for path in (catalog / "cache").iterdir()
        if path.name not in cache and not path.name.startswith("headers_")
    ]
    for build in (catalog / "builds").glob("*"):
        if not (build / "manifest.json").is_file():
            found.append(f"builds/{build.name}")
    return found
