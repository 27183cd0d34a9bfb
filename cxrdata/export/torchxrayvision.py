"""A whole dataset as the file that its class in TorchXRayVision reads (the layout is that of `cxrdata split --layout`)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from cxrdata.errors import CxrError
from cxrdata.export.csv_cells import harmless, write_csv
from cxrdata.export.place import Exported, new_files
from cxrdata.export.relations import known_datasets, split_keys, terms_notes
from cxrdata.interop import torchxrayvision

if TYPE_CHECKING:
    from cxrdata.store.catalog import Catalog

_ALL = "all"
_PACKED = ".csv.gz"
_WITH_UNCERTAIN = ("chexpert", "mimic_cxr")
# CheX_Dataset looks for this word in the path of its file, and raises where it is not.
_CHEXPERT_WORD = "train"


def export_torchxrayvision(
    catalog: Catalog,
    dataset: str,
    out: Path,
    *,
    split: str | None = None,
    escape: bool = True,
    force: bool = False,
) -> Exported:
    """Write `out` (.csv or .csv.gz). Where a class reads several files (MIMIC-CXR: labels and metadata; VinDr-CXR: one a
    folder of images) the second part of their names goes before the suffix.

    split: only images of this split. Raises CxrError: CXR-501 unknown dataset, CXR-511 a file is there, CXR-512 a dataset
    or a file name that TorchXRayVision cannot read, CXR-602 not writable.
    """
    (name,) = known_datasets(catalog, [dataset])
    if name not in torchxrayvision.DATASETS:
        raise CxrError(
            "CXR-512",
            f"TorchXRayVision has no class for {name}",
            fix=f"it has one for {', '.join(torchxrayvision.DATASETS)}; `cxrdata export labels` writes any dataset",
        )
    if not out.name.lower().endswith((".csv", _PACKED)):
        raise CxrError("CXR-502", "the classes read CSV", where=str(out), fix=f"name a file .csv or {_PACKED}")
    if name == "chexpert" and _CHEXPERT_WORD not in out.name:
        raise CxrError(
            "CXR-512",
            f"CheX_Dataset looks for {_CHEXPERT_WORD!r} in the path of its file and fails without",
            where=str(out),
            fix=f"name it for example chexpert-{_CHEXPERT_WORD}.csv",
        )
    images = catalog.table("images").filter(dataset=name).select("dataset", "image_id").collect()
    if split is not None:
        images = images.join(split_keys(catalog, split), on=["dataset", "image_id"], how="semi", maintain_order="left")
    made = torchxrayvision.tables(catalog, images.with_columns(split=pl.lit(_ALL)))
    places = _places(out, list(made.tables))
    exported = Exported(notes=list(made.notes))
    if len(places) == 1:
        exported.notes = [note.replace("csvpath=FILE", f"csvpath={out.name!r}") for note in made.notes]
    if name in _WITH_UNCERTAIN:
        exported.notes.append(f"{name}: uncertain labels are written -1 as published; the class reads them as NaN")
    with new_files(*places, force=force) as asides:
        for place, aside, table in zip(places, asides, made.tables.values(), strict=True):
            safe, remarks = harmless(table) if escape else (table, [])
            write_csv(safe, aside, packed=place.name.lower().endswith(_PACKED))
            exported.files[place] = table.height
            exported.notes += remarks
    exported.notes += terms_notes(catalog, [name])
    return exported


def _places(out: Path, names: list[str]) -> list[Path]:
    """The file named, or one for each of several tables: `mimic.csv` -> `mimic.labels.csv`, `mimic.metadata.csv`."""
    if len(names) == 1:
        return [out]
    suffix = _PACKED if out.name.lower().endswith(_PACKED) else ".csv"
    stem = out.name[: -len(suffix)]
    return [out.with_name(f"{stem}.{_part(name)}{suffix}") for name in names]


def _part(name: str) -> str:
    """What tells a table's name from the others of its dataset: `mimic_cxr.all.labels.csv`, `vindr_cxr_test_images.all.csv`."""
    plain = name.removesuffix(".csv").replace(f".{_ALL}", "")
    dataset = next(one for one in torchxrayvision.DATASETS if plain.startswith(one))
    return plain.removeprefix(dataset).strip("._")
