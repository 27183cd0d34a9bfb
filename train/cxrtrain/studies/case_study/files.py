"""Files of predictions, and whose they are: which model's, and under which blend of histogram matching, the path says.

A model is never guessed from what it was tested on: of ped_vs_adults-cxr's MODEL/DATASET/SPLIT/best/predictions.csv only
what stands above DATASET names it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from cxrdata.errors import CxrError
from cxrdata.stages import sha256_file
from cxrdata.wording import counted
from cxrtrain.studies.case_study.design import TRAINED_ON

TABLE = "fpr_by_age.csv"
SUFFIXES = (".csv", ".csv.gz", ".parquet")
# Names of the datasets in the wild: ours, their aliases, and those of ped_vs_adults-cxr. Written here with `_` for any `-`.
ALIASES = {
    "vindr_cxr": "vindr_cxr", "vindr": "vindr_cxr", "vindrcxr": "vindr_cxr", "vindr_pcxr": "vindr_pcxr", "vindrpcxr": "vindr_pcxr",
    "pcxr": "vindr_pcxr", "nih_cxr14": "nih_cxr14", "nih_cxr18": "nih_cxr14", "nih_cxr": "nih_cxr14", "nih": "nih_cxr14",
    "chestx_ray14": "nih_cxr14", "chestxray14": "nih_cxr14", "padchest": "padchest", "pad_chest": "padchest", "chexpert": "chexpert",
    "chexbert": "chexpert",
}  # fmt: skip
LAYOUTS = "see `cxrdata case-study --help`, or docs/studies/case_study.md, for the layouts that are read"
_NAMED = re.compile(rf"(?<![a-z0-9])({'|'.join(sorted(ALIASES, key=len, reverse=True))})(?![a-z0-9])")
_BLEND = re.compile(r"(?:^|\.)hm-(\d+(?:\.\d+)?)(?=$|\.(?:csv|parquet)|\.csv\.gz)")
_BEST = "best"  # of ped_vs_adults-cxr: the folder of the best checkpoint's predictions


@dataclass(frozen=True)
class File:
    """One file of predictions: which model's, and under which blend of histogram matching. doubtful: the folder that says the
    model, where it is called as a dataset and nothing else: it may be the one tested on."""

    path: Path
    told: str
    trained_on: str
    blend: float
    doubtful: str | None = None


def dataset_of(name: str) -> str | None:
    """The dataset that people call so."""
    return ALIASES.get(_plain(name))


def find_files(folder: Path) -> tuple[list[File], list[str]]:
    """The files of predictions below a folder, or the one file, and a note of those whose path names no model.

    Raises CxrError: CXR-101 nothing is there, CXR-120 no file's path names the dataset that its model was trained on.
    """
    if not folder.exists():
        raise CxrError("CXR-101", "there is no such folder or file", where=str(folder), fix="--predictions DIR")
    found, nobodys = [], []
    earlier = {one.parent for one in folder.rglob(TABLE)} - {folder}  # what came out of earlier analyses
    for path in [folder] if folder.is_file() else sorted(folder.rglob("*")):
        told = path.relative_to(folder.parent if folder.is_file() else folder).as_posix()
        if not path.is_file() or not path.name.lower().endswith(SUFFIXES) or not earlier.isdisjoint(path.parents):
            continue
        blends = [float(one) for part in told.split("/") for one in _BLEND.findall(part)]
        trained_on, doubtful = _model(told)
        if trained_on is None:
            nobodys.append(told)
        else:
            found.append(File(path, told, trained_on, blends[0] if blends else 0.0, doubtful))
    if not found:
        raise no_model(nobodys[0] if nobodys else str(folder))
    if not nobodys:
        return found, []
    return found, [f"{counted(len(nobodys), 'file')} whose path names no model, left out, such as {nobodys[0]}"]


def no_model(where: str) -> CxrError:
    return CxrError(
        "CXR-120",
        "no file of predictions here says by its path which dataset its model was trained on",
        where=where,
        fix=f"call the model's folder or file after its dataset: {', '.join(TRAINED_ON)}; DATASET/SPLIT/best says only what was tested, "
        f"so let --predictions name the folder that holds the model's; {LAYOUTS}",
    )


def check_models(read: Iterable[tuple[File, set[str]]]) -> None:
    """read: each file of ped_vs_adults-cxr with the datasets of its rows. Raises CxrError CXR-120 where a model's folder is
    called as a dataset and holds predictions of that one alone: then it says what was tested, as far as anyone can tell."""
    tested: dict[str, set[str]] = {}
    for file, datasets in read:
        if file.doubtful is not None:
            tested.setdefault(file.doubtful, set()).update(datasets)
    for folder, datasets in tested.items():
        if datasets == {dataset_of(folder.rpartition("/")[2])}:
            raise no_model(folder)


def digests(folder: Path) -> dict[str, str]:
    """SHA-256 of each file that `read_cases` would read, by its path below the folder."""
    return {one.told: sha256_file(one.path) for one in find_files(folder)[0]}


def _model(told: str) -> tuple[str | None, str | None]:
    """The dataset that the file's model was trained on, and the folder that says it where that is doubtful."""
    parts = told.split("/")
    tested = _tested(parts[:-1])
    for at, part in enumerate(parts):
        names = [ALIASES[one] for one in _NAMED.findall(_plain(part))]
        if at == tested or (model := next((one for one in names if one in TRAINED_ON), None)) is None:
            continue
        sure = tested is not None or dataset_of(part) is None
        return model, None if sure else "/".join(parts[: at + 1])
    return None, None


def _tested(folders: list[str]) -> int | None:
    """Which folder is DATASET of DATASET/SPLIT/best."""
    below = len(folders) - 1 - folders[::-1].index(_BEST) if _BEST in folders else 0
    return next((at for at in reversed(range(below)) if dataset_of(folders[at])), None)


def _plain(name: str) -> str:
    return name.lower().replace("-", "_")
