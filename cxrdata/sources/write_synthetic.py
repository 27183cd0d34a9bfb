"""Write synthetic datasets, all or some, through the `synth` module of each source."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import polars as pl

from cxrdata.errors import CxrError, nearest
from cxrdata.sources.base import Registry, Source
from cxrdata.sources.synthesis import SynthPlan


def write_datasets(
    folder: Path,
    *,
    scale: float = 0.001,
    seed: int = 0,
    only: str | None = None,
    variants: Sequence[str] = (),
    images: bool = False,
    official_size: bool = False,
    overlays: Path | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> list[str]:
    """Write to `folder/<dataset>` and return the datasets' names.

    `variants`: texts `DATASET=NAME,-NAME`. `overlays`: a folder whose `catalog/` has further datasets. Raises CxrError: CXR-501 unknown names, CXR-602 not writable,
    CXR-502 a folder that holds other files.
    """
    registry = Registry(overlays)
    chosen = [registry.get(name.strip()) for name in only.split(",")] if only else list(registry)
    wishes = _wishes(registry, variants)
    for source in chosen:
        module = source.module("synth")
        target = folder / source.name
        _refuse_foreign(target)
        progress(source.name)
        variants_chosen = _chosen(source, wishes.get(source.name, []))
        plan = SynthPlan(scale, seed, variants_chosen, images=images, official_size=official_size)
        try:
            module.write(target, plan)
        except OSError as error:
            raise CxrError(
                "CXR-602",
                f"cannot write: {error.strerror}",
                where=str(folder),
                fix="choose a folder that you may write to and that has space",
            ) from error
    return [source.name for source in chosen]


def _refuse_foreign(target: Path) -> None:
    """Synthetic files never go among others: they could be taken for real."""
    if target.is_dir() and any(target.iterdir()) and not (target / "SYNTHETIC.txt").is_file():
        raise CxrError(
            "CXR-502", "the folder holds files that are not synthetic", where=str(target), fix="name an empty folder"
        )


def _wishes(registry: Registry, variants: Sequence[str]) -> dict[str, list[str]]:
    wishes: dict[str, list[str]] = {}
    for text in variants:
        dataset, sign, names = text.partition("=")
        if not sign:
            raise CxrError(
                "CXR-502",
                f"--variant needs DATASET=NAME, got {text!r}",
                fix="for example --variant nih=a; --list-variants shows all",
            )
        wishes.setdefault(registry.get(dataset).name, []).extend(
            name.strip() for name in names.split(",") if name.strip()
        )
    return wishes


def _chosen(source: Source, names: Sequence[str]) -> frozenset[str]:
    module = source.module("synth")
    result = set(module.DEFAULT)
    for name in names:
        plain = name.removeprefix("-")
        if plain not in module.VARIANTS:
            raise CxrError(
                "CXR-501",
                f"{source.name} has no variant {plain!r}{nearest(plain, list(module.VARIANTS))}",
                fix=f"variants: {', '.join(module.VARIANTS)}",
            )
        if name.startswith("-"):
            result.discard(plain)
            continue
        for group in getattr(module, "ALTERNATIVES", ()):
            if plain in group:
                result -= group
        result.add(plain)
    return frozenset(result)


def list_variants(overlays: Path | None = None) -> pl.DataFrame:
    """dataset, variant, usual, description."""
    rows = [
        (source.name, name, name in source.module("synth").DEFAULT, text)
        for source in Registry(overlays)
        for name, text in source.module("synth").VARIANTS.items()
    ]
    return pl.DataFrame(rows, schema=["dataset", "variant", "usual", "description"], orient="row")
