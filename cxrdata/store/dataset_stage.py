"""One dataset's stage of a build: read, harmonise, validate, write Parquet. Runs in a worker process."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import polars as pl

from cxrdata.errors import CxrError
from cxrdata.sources.account import Account
from cxrdata.sources.base import FoundFile, ReadContext, SourceFiles
from cxrdata.sources.textfile import AGAIN, read_head
from cxrdata.sources.twins import refuse_other_content
from cxrdata.stages import run_stage, sha256_file, stage_key
from cxrdata.store.fingerprints import Fingerprint
from cxrdata.store.parquet import rows_digest, table_path, write_parquet

STAGE_FILE = "stage.json"
# How many bytes of text a byte of these files stands for, about.
_COMPRESSED = (".gz", ".xlsx")
_INFLATION = 6


@dataclass(frozen=True)
class DatasetJob:
    """All that a worker needs; picklable."""

    files: SourceFiles
    fingerprints: dict[str, Fingerprint]
    overlays: Path | None
    vocabulary_digests: dict[str, str]
    stages: Path
    header_cache: Path
    race_rule: str
    race_scheme: str
    with_text: bool
    keep_raw: bool
    keep_going: bool
    workers: int

    @property
    def dataset(self) -> str:
        return self.files.source.name

    @property
    def headers(self) -> Path:
        """The cache of the dataset's DICOM headers."""
        return self.header_cache / f"headers_{self.dataset}.parquet"

    @property
    def size(self) -> int:
        """Bytes to be read, about, once decompressed: the largest dataset is begun first."""
        return sum(
            fingerprint.bytes * (_INFLATION if name.endswith(_COMPRESSED) else 1)
            for name, fingerprint in self.fingerprints.items()
        )


@dataclass(frozen=True)
class DatasetStage:
    """A finished stage: its folder, and whether it was there already."""

    dataset: str
    folder: Path
    reused: bool

    def describe(self) -> dict[str, Any]:
        """What `stage.json` says: tables with digests, labelers, source files."""
        return json.loads((self.folder / STAGE_FILE).read_text(encoding="utf-8"))  # type: ignore[no-any-return]


def dataset_key(job: DatasetJob, code: str) -> str:
    """The stage's key: everything that the dataset's tables depend on."""
    return stage_key(
        code=code,
        catalog_entry=job.files.source.catalog_text,
        vocabularies=job.vocabulary_digests,
        files=[
            (file.name, file.spec.role, file.variant, job.fingerprints[file.name].sha256) for file in job.files.files
        ],
        twins=[(file.name, job.fingerprints[file.name].sha256) for file in job.files.twins],
        dicom=[(file.name, *_times(file)) for file in job.files.dicom],
        race=(job.race_rule, job.race_scheme),
        text=job.with_text,
        raw=job.keep_raw,
        keep_going=job.keep_going,
    )


def _times(file: FoundFile) -> tuple[int, int]:
    status = file.path.stat()
    return status.st_size, status.st_mtime_ns


def run_dataset(job: DatasetJob, code: str) -> DatasetStage:
    """Run or find the stage. Raises CxrError for a broken file unless `keep_going`."""
    folder, reused = run_stage(
        job.stages, job.dataset, dataset_key(job, code), lambda aside: _fill(aside, job), whole=_is_whole
    )
    return DatasetStage(job.dataset, folder, reused)


def _is_whole(folder: Path) -> bool:
    """Whether the stage's files are as they were written: a build's files are links to them."""
    try:
        stage = json.loads((folder / STAGE_FILE).read_text(encoding="utf-8"))
        return all(
            sha256_file(folder / table["path"]) == table["file_sha256"] for table in (*stage["tables"], *stage["raw"])
        )
    except (OSError, ValueError, KeyError):
        return False


def _fill(aside: Path, job: DatasetJob) -> None:
    from cxrdata.harmonise.dataset import harmonise
    from cxrdata.schemas import tables
    from cxrdata.schemas.validate import conform
    from cxrdata.vocabularies import Vocabularies

    vocabularies = Vocabularies.load(job.overlays)
    files, account, raw = _read(job, vocabularies)
    source = files.source
    canonical = harmonise(raw, source, vocabularies, account, race_rule=job.race_rule, race_scheme=job.race_scheme)
    if canonical.frames["images"].is_empty():
        raise _nothing_survives(files, account)
    for spec in source.files:
        if spec.gives and not (files.all(spec.role) or (spec.kind == "dicom" and files.dicom)):
            account.note("missing_file", spec.role, 1, f"{spec.names[0]} was not found; it gives {spec.gives}")
    _note_extra_columns(files, account)
    source_files = _source_files(job, files, folder_digests(job))
    for table, frame in (
        (tables.REJECTS, account.rejects()),
        (tables.LEDGER, account.ledger()),
        (tables.BUILD_NOTES, account.notes()),
        (tables.SOURCE_FILES, source_files),
    ):
        canonical.add(table, conform(frame, table))
    if job.keep_raw:
        from cxrdata.store.raw import write_raw

        raw_tables = write_raw(files, aside / "raw", with_text=job.with_text)
    else:
        raw_tables = []
    described = []
    for name, frame in canonical.frames.items():
        table = canonical.tables[name]
        path = table_path(name, job.dataset if table.per_dataset else None)
        write_parquet(frame, aside / path, description=table.description)
        described.append(
            {
                "name": name, "path": path, "rows": frame.height, "digest": rows_digest(frame), "file_sha256": sha256_file(aside / path),
                "description": table.description, "columns": table.describe(),
            }
        )  # fmt: skip
    stage = {
        "dataset": job.dataset,
        "tables": described,
        "raw": raw_tables,
        "labelers": [[labels.labeler, source.labeler(labels.labeler).level] for labels in raw.labels],
        "readers": raw.readings is not None,
        "synthetic": any((parent / "SYNTHETIC.txt").is_file() for parent in (files.root, *files.root.parents[:3])),
    }
    (aside / STAGE_FILE).write_text(json.dumps(stage, indent=1, ensure_ascii=False), encoding="utf-8")


def folder_digests(job: DatasetJob) -> dict[str, tuple[int, str]]:
    """DICOM folders as they stand in the ledger: `folder/*` -> (bytes, digest of names and sizes)."""
    folders: dict[str, list[tuple[str, int]]] = {}
    for file in job.files.dicom:
        name = f"{file.name.rpartition('/')[0]}/*{file.path.suffix}".removeprefix("/")
        folders.setdefault(name, []).append((file.name, file.path.stat().st_size))
    return {name: (sum(size for _, size in members), stage_key(members=members)) for name, members in folders.items()}


def _nothing_survives(files: SourceFiles, account: Account) -> CxrError:
    """The error for a dataset none of whose rows is accepted: its rejects are published nowhere, so the first one is told."""
    rejects = account.rejects().filter(pl.col("kind") == "row")
    problem = f"every row of {files.source.name}'s images was refused"
    if rejects.is_empty():
        return CxrError("CXR-111", problem, where=files.files[0].name if files.files else None, fix=AGAIN)
    first = rejects.row(0, named=True)
    place = ":".join(str(part) for part in (first["source_file"], first["line"]) if part is not None)
    value = f" ({first['value']})" if first["value"] else ""
    where = f"{place} {first['column_name']}" if first["column_name"] else place
    return CxrError(
        "CXR-111",
        f"{problem}, {rejects.height:,} in all; the first: {first['code']}: {first['message']}{value}",
        where=where,
        fix=AGAIN,
    )


def _note_extra_columns(files: SourceFiles, account: Account) -> None:
    for file in files.files:
        head = read_head(file.path) if file.spec.kind == "csv" else None
        if head and (extra := file.spec.beyond(head.fields)):
            account.note(
                "extra_column",
                file.name,
                len(extra),
                f"columns that the official file does not have; they are not read: {', '.join(extra)}",
            )


def _source_files(job: DatasetJob, files: SourceFiles, folders: dict[str, tuple[int, str]]) -> pl.DataFrame:
    rows = [
        (
            job.dataset,
            file.name,
            file.spec.role,
            file.variant or None,
            job.fingerprints[file.name].bytes,
            job.fingerprints[file.name].sha256,
        )
        for file in files.files
    ]
    rows += [(job.dataset, name, "dicom", None, size, digest) for name, (size, digest) in sorted(folders.items())]
    return pl.DataFrame(rows, schema=["dataset", "source_file", "role", "variant", "bytes", "sha256"], orient="row")


def _is_about(error: CxrError, file: FoundFile) -> bool:
    """Whether the error's place is in the file: `name`, `name:line` or `name [sheet]:row`."""
    where = error.where or ""
    return where == file.name or where.startswith((f"{file.name}:", f"{file.name} ["))


def _compare_twins(job: DatasetJob) -> tuple[list[str], list[tuple[str, CxrError]]]:
    """Names of gzipped files that hold what their unpacked twins hold; with `keep_going`, also of those that do not."""
    plain = {file.name: file for file in job.files.files}
    same, left_out = [], []
    for twin in job.files.twins:
        try:
            refuse_other_content(plain[twin.name.removesuffix(".gz")], twin)
        except CxrError as error:
            if not job.keep_going or twin.spec.lists_images:
                raise
            left_out.append((twin.name, error))
        else:
            same.append(twin.name)
    return same, left_out


def _read(job: DatasetJob, vocabularies: Any) -> tuple[SourceFiles, Account, Any]:  # noqa: ANN401
    """Read the dataset; with `keep_going`, again without each file that proves broken."""
    files = job.files
    same, left_out = _compare_twins(job)
    while True:
        account = Account(job.dataset)
        context = ReadContext(
            files.source,
            vocabularies,
            account,
            with_text=job.with_text,
            workers=job.workers,
            header_cache=job.headers,
        )
        try:
            raw = files.source.module("read").read(files, context)
        except CxrError as error:
            broken = next((file for file in files.files if _is_about(error, file)), None)
            if not job.keep_going or broken is None or broken.spec.lists_images:
                raise
            left_out.append((broken.name, error))
            files = replace(files, files=tuple(file for file in files.files if file is not broken))
            continue
        for name in same:
            account.note(
                "twin_file", name, 1, f"the same as {name.removesuffix('.gz')}, which is read; this one is not"
            )
        for name, problem in left_out:
            account.note(
                "left_out", name, 1, f"{problem.code}: {problem.problem}; the file was left out (--keep-going)"
            )
        return files, account, raw
