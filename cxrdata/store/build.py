"""`build-catalog`: official files in, one published build out."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from cxrdata.engines import Engine
from cxrdata.errors import CxrError
from cxrdata.harmonise.race import DEFAULT_SCHEME
from cxrdata.interrupts import Interrupts, held_back
from cxrdata.processes import process_pool, start_fork_server
from cxrdata.resources import data_folder
from cxrdata.sources.base import Registry, Source, SourceFiles
from cxrdata.sources.dicom import scan_headers
from cxrdata.sources.discover import Found, find
from cxrdata.stages import code_digest, make_private, remove_unfinished, stage_key, unfinished
from cxrdata.store.dataset_stage import DatasetJob, DatasetStage, dataset_key, run_dataset
from cxrdata.store.fingerprints import fingerprint_files
from cxrdata.store.layout import BuildFolder, CatalogFolder
from cxrdata.store.publish import crash_point, locked, publish, replace_text, writing
from cxrdata.vocabularies import Vocabularies

INPUTS_RECORD = "inputs.json"
# What a worker needs and takes most of a second to import.
_PRELOAD = ("cxrdata.store.dataset_stage", "cxrdata.harmonise.dataset", "cxrdata.schemas.validate", "pyarrow")


@dataclass(frozen=True)
class BuildRequest:
    """What to build and how. `named`: (dataset, folder or file); `roots`: folders to search for any dataset. `engine` and
    `address`: who reads DICOM headers, as `cxrdata.engines.Engine` says; the rest is done here."""

    catalog: Path
    named: Sequence[tuple[Source, Path]] = ()
    roots: Sequence[Path] = ()
    overlays: Path | None = None
    race_rule: str = "majority"
    race_scheme: str = DEFAULT_SCHEME
    strict: bool = False
    keep_going: bool = False
    keep_raw: bool = False
    with_text: bool = False
    workers: int = field(default_factory=lambda: os.cpu_count() or 1)
    engine: str = "local"
    address: str | None = None


@dataclass
class BuildResult:
    """What came of it. `unchanged`: the catalog already was this build, and nothing was read."""

    build: BuildFolder
    unchanged: bool
    reused: list[str]
    left_out: list[tuple[str, CxrError]]
    unclaimed: list[str]


def build_catalog(request: BuildRequest, progress: Callable[[str], None] = lambda _: None) -> BuildResult:
    """Build and publish. Raises CxrError; then nothing is published and the old catalog stands.

    Ctrl-C is answered between the steps, and at once while workers are waited for.
    """
    with held_back() as interrupts:

        def step(text: str) -> None:
            interrupts.check()
            progress(text)

        return _build_catalog(request, step, interrupts)


def _build_catalog(request: BuildRequest, progress: Callable[[str], None], interrupts: Interrupts) -> BuildResult:
    engine = Engine(request.engine, request.workers, request.address)
    several = len(request.named) > 1 or bool(request.roots)
    if several and request.workers > 1 and not CatalogFolder(request.catalog).current.exists():
        start_fork_server(request.workers, _PRELOAD)  # with nothing built yet, workers will be needed
    registry = Registry(request.overlays)
    vocabularies = Vocabularies.load(request.overlays)
    progress("looking for official files")
    found = find(registry, request.named, request.roots, keep_going=request.keep_going)
    if not found.datasets and found.left_out:
        raise found.left_out[0][1]
    if not found.datasets:
        raise CxrError(
            "CXR-113",
            f"no official file of any known dataset was found in {', '.join(root.name or str(root) for root in request.roots) or 'the folders named'}",
            fix="name a dataset and its folder, e.g. `cxrdata build-catalog nih=PATH`; `cxrdata sources` lists what is looked for; "
            "`cxrdata synth data` writes synthetic files to try with",
        )
    folder = CatalogFolder(request.catalog)
    with locked(folder):
        crash_point(1)
        with writing(folder.path):
            result = _build(request, engine, folder, registry, vocabularies, found, progress, interrupts)
    result.left_out[:0] = found.left_out
    return result


def _build(
    request: BuildRequest,
    engine: Engine,
    folder: CatalogFolder,
    registry: Registry,
    vocabularies: Vocabularies,
    found: Found,
    progress: Callable[[str], None],
    interrupts: Interrupts,
) -> BuildResult:
    for place in (folder.path, folder.builds, folder.cache, folder.stages):
        remove_unfinished(place)
    progress("comparing the files with the last build")
    fingerprints = fingerprint_files(found.datasets, folder.cache / "files.json")
    crash_point(2)
    jobs = [_job(request, folder, files, fingerprints, vocabularies) for files in found.datasets]
    code = code_digest()
    keys = {job.dataset: dataset_key(job, code) for job in jobs}
    inputs = stage_key(datasets=keys, sql=_sql_digest(), strict=request.strict)
    if (current := _unchanged(folder, inputs)) is not None:
        _drop_old_stages(folder, keys)  # the last build may have been killed before it did
        return BuildResult(
            current, unchanged=True, reused=[job.dataset for job in jobs], left_out=[], unclaimed=found.unclaimed
        )
    if engine.name != "local":
        _scan_headers(jobs, keys, engine, progress, interrupts)
    try:
        stages, left_out = _run_jobs(jobs, code, request, progress, interrupts)
    finally:
        remove_unfinished(folder.stages)  # of workers that were ended
    crash_point(4)
    aside = unfinished(folder.builds / "new")
    make_private(folder.builds)
    shutil.rmtree(aside, ignore_errors=True)
    try:
        from cxrdata.store.assemble import assemble

        build_id = assemble(aside, stages, registry, vocabularies, strict=request.strict, progress=progress)
        build = folder.build(build_id)
        publish(aside, build, folder)
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        raise
    _remember(folder, inputs, build)
    _drop_old_stages(folder, {stage.dataset: keys[stage.dataset] for stage in stages})
    return BuildResult(
        build,
        unchanged=False,
        reused=[stage.dataset for stage in stages if stage.reused],
        left_out=left_out,
        unclaimed=found.unclaimed,
    )


def _job(
    request: BuildRequest,
    folder: CatalogFolder,
    files: SourceFiles,
    fingerprints: dict[tuple[str, str], Any],
    vocabularies: Vocabularies,
) -> DatasetJob:
    return DatasetJob(
        files=files,
        fingerprints={
            name: fingerprint for (dataset, name), fingerprint in fingerprints.items() if dataset == files.source.name
        },
        overlays=request.overlays,
        vocabulary_digests=vocabularies.digests,
        stages=folder.stages,
        header_cache=folder.cache,
        race_rule=request.race_rule,
        race_scheme=request.race_scheme,
        with_text=request.with_text,
        keep_raw=request.keep_raw,
        keep_going=request.keep_going,
        workers=request.workers,
    )


def _scan_headers(
    jobs: list[DatasetJob],
    keys: dict[str, str],
    engine: Engine,
    progress: Callable[[str], None],
    interrupts: Interrupts,
) -> None:
    """Read the DICOM headers of the stages to come into their caches, where the stages will find them all."""
    for job in jobs:
        if not job.files.dicom or (job.stages / f"{job.dataset}-{keys[job.dataset]}").is_dir():
            continue
        name = job.dataset

        def tell(done: int, total: int, name: str = name) -> None:
            progress(f"{name}: {done:,} of {total:,} DICOM headers")

        with interrupts.let_through():
            scan_headers(job.files.dicom, job.headers, engine, tell=tell)


def _run_jobs(
    jobs: list[DatasetJob],
    code: str,
    request: BuildRequest,
    progress: Callable[[str], None],
    interrupts: Interrupts,
) -> tuple[list[DatasetStage], list[tuple[str, CxrError]]]:
    """All stages, the largest first; results in the order of `jobs`."""
    order = sorted(jobs, key=lambda job: -job.size)
    done: dict[str, DatasetStage] = {}
    failed: dict[str, CxrError] = {}
    if request.workers > 1 and len(jobs) > 1:
        try:
            with interrupts.let_through(), process_pool(min(request.workers, len(jobs)), _PRELOAD) as pool:
                futures = {pool.submit(run_dataset, job, code): job for job in order}
                for future in as_completed(futures):
                    _settle(
                        futures[future], future.result, done, failed, keep_going=request.keep_going, progress=progress
                    )
        except BrokenProcessPool as error:
            raise CxrError("CXR-606", "a worker process was killed (out of memory?)", fix="try --workers 1") from error
    else:
        for job in order:
            outcome = partial(run_dataset, job, code)
            _settle(job, outcome, done, failed, keep_going=request.keep_going, progress=progress)
            interrupts.check()
    if not done:
        raise next(iter(failed.values()))
    ordered = [job.dataset for job in jobs]
    return [done[name] for name in ordered if name in done], [
        (name, failed[name]) for name in ordered if name in failed
    ]


def _settle(
    job: DatasetJob,
    outcome: Callable[[], DatasetStage],
    done: dict[str, DatasetStage],
    failed: dict[str, CxrError],
    *,
    keep_going: bool,
    progress: Callable[[str], None],
) -> None:
    try:
        stage = outcome()
    except CxrError as error:
        where = f"{job.dataset}: {error.where}" if error.where else job.dataset
        located = CxrError(error.code, error.problem, where=where, fix=error.fix)
        if not keep_going:
            raise located from error
        failed[job.dataset] = located
        return
    done[job.dataset] = stage
    progress(f"{job.dataset}: {'unchanged' if stage.reused else 'read'}")
    if len(done) == 1:
        crash_point(3)


def _sql_digest() -> str:
    digest = hashlib.sha256()
    for path in sorted(data_folder("sql").rglob("*.sql")):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()


def _unchanged(folder: CatalogFolder, inputs: str) -> BuildFolder | None:
    """The current build if it was made from these very inputs and its files still have their sizes."""
    try:
        record = json.loads((folder.cache / INPUTS_RECORD).read_text(encoding="utf-8"))
        current = folder.current_build()
    except (OSError, ValueError, CxrError):
        return None
    if current is None or record.get("inputs") != inputs or record.get("build") != current.build_id:
        return None
    if any(
        not (current.path / name).is_file() or (current.path / name).stat().st_size != size
        for name, size in record.get("files", {}).items()
    ):
        return None
    return current


def _remember(folder: CatalogFolder, inputs: str, build: BuildFolder) -> None:
    files = {
        path.relative_to(build.path).as_posix(): path.stat().st_size
        for path in sorted(build.path.rglob("*"))
        if path.is_file()
    }
    replace_text(folder.cache / INPUTS_RECORD, json.dumps({"inputs": inputs, "build": build.build_id, "files": files}))


def _drop_old_stages(folder: CatalogFolder, keys: dict[str, str]) -> None:
    """Keep one stage a dataset, by its key: the build holds the rest."""
    keep = {f"{dataset}-{key}" for dataset, key in keys.items()}
    for path in folder.stages.iterdir() if folder.stages.is_dir() else ():
        if path.name not in keep and path.name.rpartition("-")[0] in keys:
            shutil.rmtree(path, ignore_errors=True)
