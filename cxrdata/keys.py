"""The one resolver of image keys: any spelling in the wild -> (dataset, image_id) of CONTRACT §2.

First the form of a key is recognised, which needs no catalog: roots, folders, path separators and file suffixes
fall away. Then membership in the catalog decides, so a key never resolves to an image that is not there. Nothing is
guessed: a number without its leading zeros, or an id that a spreadsheet rounded, stays unresolved.

What a dataset's keys look like, its catalog entry says (`[keys]`); a build keeps that of its datasets in its manifest,
so keys of a dataset from an overlay are known wherever its catalog is.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import polars as pl

from cxrdata.errors import CxrError
from cxrdata.sources.base import Registry

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

EMPTY = "empty"
FORM_NOT_KNOWN = "form not known"
NOT_IN_CATALOG = "not in the catalog"
SEVERAL_DATASETS = "in several datasets"
REASONS = (EMPTY, FORM_NOT_KNOWN, NOT_IN_CATALOG, SEVERAL_DATASETS)

# What people convert the images to; chains such as `.dicom.png` occur. Only here does case not matter.
_SUFFIXES = r"(?i)(?:\.(?:png|jpe?g|dcm|dicom|tiff?|bmp|webp|npy|npz|pt))+$"
_SAMPLE = 1000


@dataclass(frozen=True)
class Form:
    """One form of image keys, as `[keys]` of a catalog entry declares it.

    `datasets`: those whose keys look so. `pattern`: what the key without file suffix ends in; its groups, joined by
    `/`, and `suffix` are the key's `name`. That is the image_id, or with a `folder` what stands below the id's first
    folder: keys often lack it, and `folder` finds it in those that have it.
    """

    datasets: tuple[str, ...]
    pattern: str
    suffix: str = ""
    folder: str = ""

    @property
    def title(self) -> str:
        return " or ".join(self.datasets)

    def names(self, stem: pl.Expr) -> pl.Expr:
        """The names of keys of this form, null for all others."""
        groups = stem.str.extract_groups(self.pattern)
        parts = [groups.struct[i] for i in range(re.compile(self.pattern).groups)]
        return pl.concat_str([*parts[:-1], parts[-1] + self.suffix], separator="/")


_FORM_SCHEMA = {"dataset": pl.String, "name": pl.String, "form": pl.String}


def declared_keys(registry: Registry) -> dict[str, dict[str, str]]:
    """dataset -> `[keys]` of its catalog entry, for those that have it. Raises CxrError CXR-505 for a broken one."""
    declared = {source.name: source.entry["keys"] for source in registry if "keys" in source.entry}
    _forms(declared)
    return declared


def key_forms(manifest: Mapping[str, Any]) -> tuple[Form, ...]:
    """The forms of our datasets and of those of a build, from its manifest; where both speak of a dataset, the build's."""
    return _forms(_shipped() | manifest.get("keys", {}))


@cache
def _shipped() -> dict[str, dict[str, str]]:
    return declared_keys(Registry())


def _forms(declared: Mapping[str, Mapping[str, str]]) -> tuple[Form, ...]:
    """One form for all datasets that declare the same. Raises CxrError CXR-505 for what is no pattern."""
    alike: dict[tuple[str, str, str], list[str]] = {}
    for dataset, entry in declared.items():
        if "pattern" not in entry:
            raise CxrError(
                "CXR-505", "[keys] lacks pattern", where=f"{dataset}.toml [keys]", fix="add it, or remove [keys]"
            )
        pattern, suffix, folder = entry["pattern"], entry.get("suffix", ""), entry.get("folder", "")
        for text in filter(None, (pattern, folder)):
            _check_pattern(text, dataset)
        alike.setdefault((pattern, suffix, folder), []).append(dataset)
    return tuple(Form(tuple(datasets), *entry) for entry, datasets in alike.items())


@cache
def _check_pattern(pattern: str, dataset: str) -> None:
    try:
        groups = re.compile(pattern).groups
        pl.select(pl.lit("").str.extract(pattern, 1))  # the engine knows less than Python does
    except (re.error, pl.exceptions.PolarsError) as error:
        problem = str(error).partition("\n")[0]
        raise CxrError("CXR-505", f"not a valid pattern of keys: {problem}", where=f"{dataset}.toml [keys]") from error
    if not groups:
        raise CxrError(
            "CXR-505",
            "the pattern of keys has no group",
            where=f"{dataset}.toml [keys]",
            fix="put what names the image in parentheses",
        )


def recognise(keys: pl.Series, datasets: Iterable[str] = (), forms: Sequence[Form] | None = None) -> pl.DataFrame:
    """The form of each key, without a catalog: one row a key, in their order.

    dataset: as the key itself states it (`dataset:image_id`), else null. name: what identifies the image (see
    `Form`), the bare text where no form fits, null for an empty key. form: the dataset or datasets
    whose keys look so, or null. `datasets`: further dataset names that may stand before the colon. `forms`: of
    `key_forms`; None: those of our datasets.
    """
    forms = key_forms({}) if forms is None else forms
    text = keys.cast(pl.String).str.strip_chars(" \t\r\n\"'").rename("key")
    text = pl.select(pl.when(text != "").then(text).alias("key")).to_series()
    known = sorted({*datasets, *(name for form in forms for name in form.datasets)})
    stated = pl.col("key").str.extract(rf"^({'|'.join(known)}):.", 1)
    frame = text.to_frame().select(
        dataset=stated,
        bare=pl.when(stated.is_not_null()).then(pl.col("key").str.splitn(":", 2).struct[1]).otherwise("key"),
    )
    frame = frame.with_columns(stem=pl.col("bare").str.replace_all("\\", "/", literal=True).str.replace(_SUFFIXES, ""))
    rest = frame.with_row_index("_at")
    found = []
    for form in _likely_first(forms, rest["stem"]):
        if rest.is_empty():
            break
        rest = rest.with_columns(name=form.names(pl.col("stem")))
        hits = rest.filter(pl.col("name").is_not_null())
        if not hits.is_empty():
            found.append(hits.select("_at", "dataset", "name", form=pl.lit(form.title)))
            rest = rest.filter(pl.col("name").is_null())
    found.append(rest.select("_at", "dataset", name="bare", form=pl.lit(None, pl.String)))
    return pl.concat(found).sort("_at").select(pl.col(c).cast(t) for c, t in _FORM_SCHEMA.items())


def _likely_first(forms: Sequence[Form], stems: pl.Series) -> list[Form]:
    """The forms, those of the first keys before the others: a file mostly holds one."""
    sample = stems.head(_SAMPLE)
    return sorted(forms, key=lambda form: -int(sample.str.contains(form.pattern).sum()))


@dataclass(frozen=True)
class KeyIndex:
    """The catalog's images by name, made once for many columns.

    names: name, dataset, image_id, n_images (over 1: the name alone does not tell which image).
    several: name, dataset, image_id of those names. forms: what the keys look like.
    """

    names: pl.DataFrame
    several: pl.DataFrame
    datasets: tuple[str, ...]
    forms: tuple[Form, ...]

    @classmethod
    def of(cls, images: pl.DataFrame | pl.LazyFrame, forms: tuple[Form, ...] | None = None) -> KeyIndex:
        """From the columns `dataset` and `image_id` of the catalog's images, and the `key_forms` of its manifest."""
        forms = key_forms({}) if forms is None else forms
        in_folders = [name for form in forms if form.folder for name in form.datasets]
        frame = images.lazy().select("dataset", "image_id").collect()
        # Our own ids have no root and no odd suffix, so their form leaves them as they are, a first folder aside.
        names = frame.with_columns(
            name=pl.when(pl.col("dataset").is_in(in_folders))
            .then(pl.col("image_id").str.splitn("/", 2).struct[1])
            .otherwise("image_id")
        )
        counts = names.select("name", n=pl.len().over("name"))
        several = names.filter(counts["n"] > 1)
        firsts = names.with_columns(n_images=counts["n"]).unique("name", keep="first", maintain_order=True)
        return cls(
            firsts.select("name", "dataset", "image_id", "n_images"),
            several.select("name", "dataset", "image_id"),
            tuple(frame["dataset"].unique().sort()),
            forms,
        )


def _in_index(frame: pl.DataFrame, index: KeyIndex) -> pl.DataFrame:
    """`frame` with the index's columns by `name`; a key of no known form may also be a path to a known id."""
    found = frame.join(index.names, on="name", how="left", maintain_order="left")
    is_path = pl.col("form").is_null() & pl.col("image_id").is_null() & pl.col("name").str.contains(r"[/\\]")
    paths = found.select(is_path.fill_null(value=False)).to_series()
    if not paths.any():
        return found
    last = pl.col("name").str.extract(r"([^/\\]+)$", 1)
    named = frame.with_columns(name=pl.when(paths).then(last).otherwise("name"))
    return named.join(index.names, on="name", how="left", maintain_order="left")


def _told_apart(frame: pl.DataFrame, index: KeyIndex) -> pl.DataFrame:
    """`frame` with those keys resolved whose name stands for several images, but whose dataset or first folder
    is stated and leaves one.
    """
    folders = [
        pl.when(pl.col("form") == form.title).then(pl.col("key").str.extract(form.folder, 1))
        for form in index.forms
        if form.folder
    ]
    asked = (
        frame.with_row_index("_at")
        .filter(pl.col("n_images") > 1)
        .select("_at", "name", "stated", folder=pl.coalesce(*folders, pl.lit(None, pl.String)))
    )
    left = asked.join(index.several, on="name").filter(
        (pl.col("stated") == pl.col("dataset")).fill_null(value=True),
        pl.col("image_id").str.starts_with(pl.col("folder") + "/").fill_null(value=True),
    )
    left = left.unique("_at", keep="none").select("_at", _dataset="dataset", _image="image_id")
    frame = frame.with_row_index("_at").join(left, on="_at", how="left", maintain_order="left")
    told = pl.col("_image").is_not_null()
    return frame.with_columns(
        dataset=pl.coalesce("_dataset", "dataset"),
        image_id=pl.coalesce("_image", "image_id"),
        n_images=pl.when(told).then(1).otherwise("n_images"),
    ).drop("_at", "_dataset", "_image")


def resolve(
    keys: pl.Series, known: pl.DataFrame | pl.LazyFrame | KeyIndex, *, dataset: pl.Series | None = None
) -> pl.DataFrame:
    """Which image of the catalog each key names: one row a key, in their order.

    keys: in any spelling. known: the catalog's images (`dataset`, `image_id`) or a `KeyIndex` of them. dataset: the
    dataset of each key where something beside the key states it (null: unstated).

    Returns `dataset` and `image_id` (null where unresolved), `reason` (null where resolved, else one of `REASONS`)
    and `form`, the dataset or datasets whose keys look so (null: no known form).
    """
    index = known if isinstance(known, KeyIndex) else KeyIndex.of(known)
    frame = recognise(keys, index.datasets, index.forms).rename({"dataset": "stated"})
    if dataset is not None:
        frame = frame.with_columns(stated=pl.coalesce("stated", dataset.cast(pl.String)))
    frame = _in_index(frame, index)
    if not index.several.is_empty():
        frame = _told_apart(frame.with_columns(key=keys.cast(pl.String)), index)
    elsewhere = (pl.col("stated") != pl.col("dataset")).fill_null(value=False)
    frame = frame.with_columns(
        reason=pl.when(pl.col("name").is_null())
        .then(pl.lit(EMPTY))
        .when(elsewhere)
        .then(pl.lit(NOT_IN_CATALOG))
        .when(pl.col("n_images") == 1)
        .then(None)
        .when(pl.col("n_images") > 1)
        .then(pl.lit(SEVERAL_DATASETS))
        .when(pl.col("form").is_null())
        .then(pl.lit(FORM_NOT_KNOWN))
        .otherwise(pl.lit(NOT_IN_CATALOG))
    )
    resolved = pl.col("reason").is_null()
    return frame.select(
        dataset=pl.when(resolved).then("dataset"),
        image_id=pl.when(resolved).then("image_id"),
        reason=pl.col("reason"),
        form=pl.col("form"),
    )
