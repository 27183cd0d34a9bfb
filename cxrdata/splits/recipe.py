"""Sharing a split without data: a recipe that anyone with the same source files can run and check.

A recipe holds what a split was made from (cohort, arguments, seed, version, SHA-256 of the source files) and what came
out (images, patients and a digest of the sorted keys by split and dataset). It holds no id of an image or a patient.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from cxrdata.errors import CxrError
from cxrdata.splits.members import known_datasets
from cxrdata.splits.recipe_ids import check_no_ids
from cxrdata.splits.request import SplitRequest
from cxrdata.splits.stored import OPTIONAL, manifest_text, read_split, read_split_manifest, split_digests
from cxrdata.stages import sha256_file
from cxrdata.version import __version__

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cxrdata.splits.make import MadeSplit
    from cxrdata.store.catalog import Catalog

FORMAT = 1
RESAMPLE = "resample"  # under which arguments hold a ResampleRequest
_FROM_FILE = "from_file"
_READING = ("key", "rows_of", "listed", "split_column")  # how that file is read
WHAT = "recipe of a cxrdata split"
_NEEDED = ("split_name", "cxrdata", "arguments", "cohort", "datasets", "digests")
_SUMS = 64  # sums of digests a split and dataset: two sets that differ in few images differ in as many sums
_SUM_RANGE = 1 << 16
_SHOWN = 2  # differences in one sentence; the table has all
_DIFFERENCES = {
    "dataset": pl.String, "split": pl.String, "images_expected": pl.Int64, "images_here": pl.Int64, "differ_at_least": pl.Int64, "same": pl.Boolean,
}  # fmt: skip
_SOURCES: dict[str, pl.DataType | type[pl.DataType]] = {
    "dataset": pl.String,
    "files_expected": pl.Int64,
    "missing_here": pl.List(pl.String),
    "further_here": pl.List(pl.String),
}


@dataclass(frozen=True)
class Rebuilt:
    """A split made again from a recipe.

    made: the split as `make_split` makes it here. differences: one row a dataset and split: images_expected, images_here,
    differ_at_least (images that are in one of the two alone; a lower bound, as no ids are compared), same. sources: the
    datasets whose source files differ: SHA-256 that are missing here, files here that the recipe does not know.
    """

    made: MadeSplit
    differences: pl.DataFrame
    sources: pl.DataFrame
    version: str

    @property
    def identical(self) -> bool:
        """Whether every split of every dataset has exactly the images of the recipe."""
        return bool(self.differences["same"].all())

    @property
    def verdict(self) -> str:
        """The result in words."""
        if self.identical:
            return "identical"
        wrong = self.differences.filter(~pl.col("same"))
        said = [
            f"{row['dataset']} {row['split']}: {row['images_here']:,} images, {row['images_expected']:,} in the recipe, at least {row['differ_at_least']:,} differ"
            for row in wrong.head(_SHOWN).iter_rows(named=True)
        ]
        said += [f"{wrong.height - _SHOWN} more"] if wrong.height > _SHOWN else []
        why = [f"{name}: other source files than the recipe's" for name in self.sources["dataset"].to_list()]
        if self.version != __version__:
            why.append(f"made by cxrdata {self.version}, this is {__version__}")
        return "not identical: " + "; ".join(said) + (f" ({'; '.join(why)})" if why else "")


def recipe_of(catalog: Catalog, name: str) -> dict[str, Any]:
    """The recipe of a stored split, as JSON can hold it.

    Raises CxrError: CXR-501 no such split; CXR-408 a condition or cohort that names images or patients.
    """
    manifest = read_split_manifest(catalog, name)
    frame = read_split(catalog, name)
    kept = ("split_name", "cxrdata", "arguments", "cohort", "datasets", "unit_of_datasets", "with_columns")
    recipe = {key: manifest[key] for key in kept if key in manifest}
    recipe |= {"what": WHAT, "format": FORMAT, "digests": split_digests(frame), "sums": _sums(frame)}
    check_no_ids(catalog, recipe)
    return recipe


def recipe_text(recipe: Mapping[str, Any]) -> str:
    """The recipe as it is written: one form for one content."""
    return manifest_text(dict(recipe))


def read_recipe(path: str | Path) -> dict[str, Any]:
    """A recipe, or a split's manifest, which holds the same and more.

    Raises CxrError: CXR-101 not there, CXR-103 neither, CXR-502 of a later version.
    """
    path = Path(path)
    try:
        recipe = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise CxrError(
            "CXR-101",
            "this file cannot be read",
            where=path.name,
            fix="name a recipe, as `cxrdata split recipe NAME` writes it",
        ) from error
    except ValueError as error:
        raise CxrError(
            "CXR-103",
            "this is no JSON, so no recipe",
            where=path.name,
            fix="name a recipe, as `cxrdata split recipe NAME` writes it",
        ) from error
    missing = [key for key in _NEEDED if not isinstance(recipe, dict) or key not in recipe]
    if missing:
        raise CxrError(
            "CXR-103",
            f"this is no recipe: it has no {missing[0]!r}",
            where=path.name,
            fix="name a recipe, as `cxrdata split recipe NAME` writes it",
        )
    if recipe.get("format") != FORMAT:
        raise CxrError(
            "CXR-502",
            f"the recipe has format {recipe.get('format')!r}, this version reads {FORMAT}",
            where=path.name,
            fix=f"use cxrdata {recipe['cxrdata']}",
        )
    return dict(recipe)


def rebuild(catalog: Catalog, recipe: Mapping[str, Any], file: Path | None = None) -> Rebuilt:
    """Make the split of a recipe from this catalog and compare. Datasets that the split has no image of are left aside.

    file: the published file that the split was read from, where it was; a recipe holds its name and SHA-256.

    Raises CxrError: CXR-501 none of its datasets is here; CXR-502 arguments that this version does not know, or a file
    that is missing or another; and those of `make_split`.
    """
    made = remake(catalog, recipe, file)
    return Rebuilt(made, compare(recipe, made.frame), _sources(catalog, recipe["datasets"]), str(recipe["cxrdata"]))


def remake(catalog: Catalog, recipe: Mapping[str, Any], file: Path | None = None) -> MadeSplit:
    """The split that the arguments and the cohort's text of a recipe or manifest ask for, made from this catalog. One that
    was resampled is drawn again from the split that it was drawn from."""
    from cxrdata.splits.make import make_from_file, make_split
    from cxrdata.splits.resample_split import ResampleRequest, resample_frame

    arguments, request = recipe["arguments"], request_of(catalog, recipe)
    columns = tuple(recipe.get("with_columns", ()))
    if _FROM_FILE in arguments:
        reading = {name: arguments[name] for name in _READING if name in arguments}
        made = make_from_file(catalog, request, _checked_file(arguments, file), with_columns=columns, **reading)
    else:
        made = make_split(catalog, request, with_columns=columns)
    if (drawn := arguments.get(RESAMPLE)) is not None:
        made, _ = resample_frame(catalog, made.frame, made.manifest, ResampleRequest.from_arguments(drawn))
    return made


def _checked_file(arguments: Mapping[str, Any], file: Path | None) -> Path:
    name, wanted = arguments[_FROM_FILE], str(arguments.get("sha256"))
    if file is None:
        raise CxrError(
            "CXR-502",
            f"the split was read from the file {name} (SHA-256 {wanted[:12]}…), which is part of its recipe",
            fix=f"give that file: --file {name}",
        )
    if not file.is_file():
        raise CxrError("CXR-101", "this file does not exist", where=file.name, fix=f"give {name}")
    if (found := sha256_file(file)) != wanted:
        raise CxrError(
            "CXR-502",
            f"this is another file than the recipe's: SHA-256 {found[:12]}…, not {wanted[:12]}…",
            where=file.name,
            fix=f"give the {name} that the recipe's maker had",
        )
    return file


def request_of(catalog: Catalog, recipe: Mapping[str, Any]) -> SplitRequest:
    """What a recipe or manifest asks of this catalog: its arguments, with the cohort as its text was.

    Raises CxrError: CXR-501 none of its datasets is here, CXR-502 arguments that this version does not know.
    """
    aside = {_FROM_FILE, "sha256", RESAMPLE, *_READING}
    arguments = {name: value for name, value in recipe["arguments"].items() if name not in aside}
    here: list[str] = catalog.manifest["datasets"]
    expected = sorted(recipe["datasets"])
    if not set(expected) & set(here):
        raise CxrError(
            "CXR-501",
            f"the catalog has none of the recipe's datasets ({', '.join(expected)})",
            fix=f"it has {', '.join(here)}; build a catalog with them, or name one with -c",
        )
    if "datasets" in arguments:
        arguments["datasets"] = [name for name in arguments["datasets"] if _is_known(catalog, name)]
    elif not set(here) <= set(expected):
        arguments["datasets"] = [name for name in expected if name in here]
    if recipe["cohort"] is not None:
        # The text as it was then: a cohort that ships may have another text in this version.
        arguments.pop("cohort", None)
        arguments["cohort_text"] = recipe["cohort"]["text"]
    return SplitRequest.from_arguments(arguments)


def compare(recipe: Mapping[str, Any], frame: pl.DataFrame) -> pl.DataFrame:
    """A split frame beside what a recipe or manifest says of it: the rows of `Rebuilt.differences`, sorted."""
    here, sums = split_digests(frame), _sums(frame)
    expected = recipe["digests"]
    cells = sorted(
        {(dataset, split) for found in (here, expected) for split, datasets in found.items() for dataset in datasets}
    )
    rows = []
    for dataset, split in cells:
        one, other = expected.get(split, {}).get(dataset), here.get(split, {}).get(dataset)
        counts = (one["images"] if one else 0, other["images"] if other else 0)
        same = one is not None and other is not None and one["sha256"] == other["sha256"]
        said = recipe.get("sums", {}).get(split, {}).get(dataset)
        differing = (
            0 if same else max(abs(counts[0] - counts[1]), _differing(said, sums.get(split, {}).get(dataset)), 1)
        )
        rows.append((dataset, split, *counts, differing, same))
    return pl.DataFrame(rows, schema=_DIFFERENCES, orient="row")


def _is_known(catalog: Catalog, dataset: str) -> bool:
    try:
        return bool(known_datasets(catalog, [dataset]))
    except CxrError:
        return False


def _sources(catalog: Catalog, expected: Mapping[str, list[str]]) -> pl.DataFrame:
    """Datasets whose source files are not those of the recipe, sorted."""
    rows = []
    for dataset in sorted(expected):
        here = {
            source["sha256"]: source["source_file"]
            for source in catalog.manifest["sources"]
            if source["dataset"] == dataset
        }
        missing = sorted(set(expected[dataset]) - set(here))
        further = sorted(here[digest] for digest in set(here) - set(expected[dataset]))
        if missing or further:
            rows.append((dataset, len(expected[dataset]), missing, further))
    return pl.DataFrame(rows, schema=_SOURCES, orient="row")


def _sums(frame: pl.DataFrame) -> dict[str, dict[str, str]]:
    """By split and dataset, 64 sums (four hexadecimal digits each) of parts of the SHA-256 of the rows.

    Each image adds to one sum, so the number of sums in which two sets differ is at most the number of images that one of
    them has alone. A sum says nothing of a single image where there are more images than sums.
    """
    said = [pl.col(name).cast(pl.String).fill_null("") for name in OPTIONAL if name in frame.columns]
    rows = frame.select("split", "dataset", line=pl.concat_str([pl.col("image_id"), *said], separator="\t"))
    found: dict[str, dict[str, str]] = {}
    for (split, dataset), part in sorted(rows.group_by("split", "dataset"), key=lambda item: item[0]):
        sums = [0] * _SUMS
        for line in part["line"].to_list():
            digest = sha256(line.encode()).digest()
            at = digest[0] % _SUMS
            sums[at] = (sums[at] + int.from_bytes(digest[1:3])) % _SUM_RANGE
        found.setdefault(str(split), {})[str(dataset)] = "".join(f"{one:04x}" for one in sums)
    return found


def _differing(one: str | None, other: str | None) -> int:
    """In how many sums two sets differ; 0 where one is not known."""
    if one is None or other is None:
        return 0
    return sum(one[at : at + 4] != other[at : at + 4] for at in range(0, len(one), 4))
