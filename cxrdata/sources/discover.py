"""Which official files lie in a folder: recognised by what is in them, names breaking ties.

A file that bears an official name but not the content is handed on as that file, so that
reading it says exactly what is wrong with it.
"""

from __future__ import annotations

import json
import os
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from cxrdata.errors import CxrError
from cxrdata.sources.base import FileSpec, FoundFile, Registry, Source, SourceFiles
from cxrdata.sources.textfile import Head, read_head
from cxrdata.sources.twins import without_twins
from cxrdata.wording import counted

_KINDS = {
    ".csv": "csv",
    ".txt": "lines",
    ".xlsx": "workbook",
    ".json": "jsonlines",
    ".jsonl": "jsonlines",
    ".dicom": "dicom",
    ".dcm": "dicom",
}
# What `cxrdata synth --images` puts beside a dataset's files: what was drawn. It is no dataset's.
TRUTH_FILE = "phantoms.csv"
# Folders that hold nothing but images, hundreds of thousands of them, are not walked.
_IMAGES_ONLY = re.compile(r"(patient\d+|study\d+|p\d{2}|p\d{8}|s\d{8}|images?(_\d+)?|files|\d{1,2})$")


@dataclass
class Found:
    """What a search gave: the datasets, those left out as incomplete, and CSV files that no dataset claims."""

    datasets: list[SourceFiles] = field(default_factory=list)
    left_out: list[tuple[str, CxrError]] = field(default_factory=list)
    unclaimed: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Claim:
    source: Source
    spec: FileSpec
    path: Path
    name: str
    sure: bool
    variant: str = ""


def find(
    registry: Registry, named: Sequence[tuple[Source, Path]], roots: Sequence[Path] = (), *, keep_going: bool = False
) -> Found:
    """Recognise the files of `named` (dataset, folder or file) and of all datasets below `roots`.

    Raises CxrError: CXR-101 no such path, CXR-112 another dataset's files, CXR-113 nothing found,
    CXR-114 no file that lists the images (with `keep_going` such a dataset is left out).
    """
    found = Found()
    claims: dict[str, list[_Claim]] = defaultdict(list)
    for source, path in named:
        claims[source.name] += _claims_named(registry, source, path)
    for root in roots:
        for claim in _claims_below(registry, root, found.unclaimed):
            claims[claim.source.name].append(claim)
    for source in registry:
        if not claims[source.name]:
            continue
        try:
            found.datasets.append(_collect(source, claims[source.name]))
        except CxrError as error:
            if not keep_going or error.code != "CXR-114":
                raise
            found.left_out.append((source.name, error))
    return found


def _claims_named(registry: Registry, source: Source, path: Path) -> list[_Claim]:
    candidates = list(_candidates(path))
    claims = [claim for file, name in candidates if (claim := _recognise([source], file, name, declared=True))]
    # A DICOM file fits every dataset that has some.
    if any((claim.sure and claim.spec.kind != "dicom") or not claim.spec.generic_names for claim in claims):
        return claims
    others = {
        claim.source.name
        for file, name in candidates
        for claim in [_recognise(list(registry), file, name)]
        if claim and claim.sure
    }
    if others:
        listed = ", ".join(sorted(others))
        raise CxrError(
            "CXR-112",
            f"named as {source.name}, but the files are those of {listed}",
            where=str(path),
            fix=f"say {min(others)}=PATH",
        )
    if claims:
        return claims
    expected = next(spec for spec in source.files if spec.lists_images)
    raise CxrError(
        "CXR-113",
        f"no file of {source.name} was recognised ({counted(len(candidates), 'file')} looked at)",
        where=str(path),
        fix=f"put {expected.names[0]} there; `cxrdata sources {source.name}` lists what is looked for",
    )


def _claims_below(registry: Registry, root: Path, unclaimed: list[str]) -> list[_Claim]:
    sources = list(registry)
    claims: list[_Claim] = []
    dicom: list[tuple[Path, str]] = []
    for file, name in _candidates(root):
        kind = _kind(name)
        if kind == "dicom":
            dicom.append((file, name))
        elif claim := _recognise(sources, file, name):
            claims.append(claim)
        elif kind == "csv" and PurePosixPath(name).name != TRUTH_FILE:
            unclaimed.append(name)
    return claims + list(_nearest_owner(claims, dicom))


def _nearest_owner(claims: list[_Claim], dicom: list[tuple[Path, str]]) -> Iterator[_Claim]:
    """DICOM files carry no dataset name: they belong to the dataset whose tables lie nearest."""
    takers = [(claim, spec) for claim in claims for spec in claim.source.files if spec.kind == "dicom"]
    owners: dict[str, tuple[_Claim, FileSpec] | None] = {}
    for file, name in dicom:
        folder = name.rpartition("/")[0]
        if folder not in owners:
            ranked = [((_shared(folder, claim.name), claim.sure), -at) for at, (claim, _) in enumerate(takers)]
            owners[folder] = takers[-max(ranked)[1]] if ranked else None
        if owner := owners[folder]:
            yield _Claim(owner[0].source, owner[1], file, name, sure=True)


def _shared(folder: str, name: str) -> int:
    """How many folders two paths have in common, from the top."""
    return len(os.path.commonprefix([folder.split("/"), name.split("/")[:-1]]))  # noqa: RUF071 - of lists of folders


def _kind(name: str) -> str | None:
    return _KINDS.get(os.path.splitext(name.lower().removesuffix(".gz"))[1])  # noqa: PTH122 - 27,000 times


def _candidates(root: Path) -> Iterator[tuple[Path, str]]:
    """Files that could be official, with their path below `root`, in a fixed order."""
    if not root.exists():
        raise CxrError(
            "CXR-101", "this path does not exist", where=str(root), fix="name the folder that holds the dataset's files"
        )
    if root.is_file():
        yield root, root.name
        return
    seen: set[str] = set()
    for folder, subfolders, files in os.walk(root, followlinks=True):
        real = os.path.realpath(folder)
        if real in seen:
            subfolders.clear()
            continue
        seen.add(real)
        subfolders[:] = sorted(s for s in subfolders if not _IMAGES_ONLY.match(s.lower()) and not s.startswith("."))
        # A folder under an official file's name is handed on, to be refused with a reason.
        named_as_file = [s for s in subfolders if _kind(s)]
        below = Path(folder).relative_to(root).as_posix()
        prefix = "" if below == "." else f"{below}/"
        for name in sorted([*files, *named_as_file]):
            if not name.startswith(".") and _kind(name):
                yield Path(f"{folder}/{name}"), prefix + name


def _recognise(sources: Sequence[Source], path: Path, name: str, *, declared: bool = False) -> _Claim | None:
    kind = _kind(name)
    specs = [(source, spec) for source in sources for spec in source.files if spec.kind == kind]
    if not specs:
        return None
    if kind == "dicom":
        return _Claim(*specs[0], path, name, sure=True)
    named = [(source, spec) for source, spec in specs if spec.is_named(path.name)]
    if kind == "csv":
        head = read_head(path)
        fitting = [(source, spec) for source, spec in specs if head and spec.fits(head.fields)]
        if fitting and head:
            source, spec = _best(fitting, named, path, head)
            return _Claim(source, spec, path, name, sure=True, variant=_variant(source, spec, head))
    elif kind == "workbook" or path.is_dir():
        pass
    else:
        fitting = [(source, spec) for source, spec in specs if _first_line_fits(path, spec)]
        chosen = [pair for pair in fitting if pair in named] or (
            fitting if kind == "jsonlines" and len(fitting) == 1 else []
        )
        if chosen:
            return _Claim(*chosen[0], path, name, sure=True)
    trusted = [(source, spec) for source, spec in named if declared or not spec.generic_names]
    if trusted:
        return _Claim(*trusted[0], path, name, sure=kind == "workbook")
    return None


def _best(
    fitting: list[tuple[Source, FileSpec]], named: list[tuple[Source, FileSpec]], path: Path, head: Head
) -> tuple[Source, FileSpec]:
    """The most demanding of the fitting formats; between equals the content, then the name decides."""
    most = max(len(spec.columns) for _, spec in fitting)
    equals = [(source, spec) for source, spec in fitting if len(spec.columns) == most]
    if len(equals) > 1:
        layout = equals[0][0].module("layout")
        if hasattr(layout, "role"):
            role = layout.role(path.name, head, [spec.role for _, spec in equals])
            return next(pair for pair in equals if pair[1].role == role)
    return next((pair for pair in equals if pair in named), equals[0])


def _variant(source: Source, spec: FileSpec, head: Head) -> str:
    return str(source.module("layout").variant(spec.role, head))


def _first_line_fits(path: Path, spec: FileSpec) -> bool:
    try:
        with path.open("rb") as file:
            line = file.readline(1 << 20).decode("utf-8", errors="replace").strip()
    except OSError:
        return False
    if spec.kind == "lines":
        return bool(re.fullmatch(spec.line_pattern, line))
    try:
        record = json.loads(line)
    except json.JSONDecodeError:
        return False
    return isinstance(record, dict) and set(record).issuperset(spec.columns)


def _collect(source: Source, claims: Iterable[_Claim]) -> SourceFiles:
    claims = sorted(claims, key=lambda claim: claim.name)
    prefix = _common_folder([claim.name for claim in claims])
    named: dict[str, Path] = {}
    files = []
    for claim in claims:
        name = claim.name[len(prefix) :]
        if name in named and named[name] != claim.path:
            raise CxrError(
                "CXR-115",
                f"two files of {source.name} have the same path below the folders named",
                where=name,
                fix="name one folder",
            )
        if name not in named:
            named[name] = claim.path
            files.append(FoundFile(claim.spec, claim.path, name, claim.variant))
    tables, twins = without_twins(tuple(file for file in files if file.spec.kind != "dicom"))
    dicom = tuple(file for file in files if file.spec.kind == "dicom")
    root = claims[0].path
    for _ in PurePosixPath(claims[0].name[len(prefix) :]).parts:
        root = root.parent
    if not any(file.spec.lists_images for file in files):
        expected = next(spec for spec in source.files if spec.lists_images)
        raise CxrError(
            "CXR-114",
            f"{source.name}: {tables[0].name if tables else 'DICOM files'} found, but no file that lists the images",
            where=root.name,
            fix=f"add {expected.names[0]}; `cxrdata sources {source.name}` lists what is looked for",
        )
    return SourceFiles(source, root, tables, dicom, twins)


def _common_folder(names: list[str]) -> str:
    folders = {name.rpartition("/")[0] for name in names}
    shared = os.path.commonprefix([folder.split("/") if folder else [] for folder in folders])  # noqa: RUF071 - of lists of folders
    return "".join(f"{part}/" for part in shared)
