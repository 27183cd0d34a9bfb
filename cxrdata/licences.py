"""What the licences of datasets forbid, as `[licence]` of their entries in `catalog/` says. Read without any engine."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from cxrdata.resources import data_folder
from cxrdata.tomlfile import read_toml


def kept_from_third_parties(datasets: Iterable[str], overlays: Path | None = None) -> dict[str, str]:
    """Of some datasets those whose images may not be given to others, online services included, and why, in their order.

    What no licence allows is not allowed: a dataset without an entry, or whose entry does not say `third_parties = true`,
    is among them. overlays: a user's folder, whose `catalog/` adds entries or wins.
    """
    allowed: dict[str, bool] = {}
    names: dict[str, str] = {}
    for folder in (data_folder("catalog"), *([overlays / "catalog"] if overlays else [])):
        for path in sorted(folder.glob("*.toml")):
            entry, _ = read_toml(path, where=f"catalog/{path.name}")
            licence = entry.get("licence", {})
            allowed[entry.get("name", path.stem)] = licence.get("third_parties") is True
            names[entry.get("name", path.stem)] = licence.get("name", "")
    return {
        dataset: names.get(dataset) or "no licence is known"
        for dataset in dict.fromkeys(datasets)
        if not allowed.get(dataset, False)
    }
