"""Where the images of each dataset lie on this machine. Not in the catalog: that is the same on every machine."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from cxrdata.config import default_roots
from cxrdata.errors import CxrError
from cxrdata.sources.base import Registry
from cxrdata.tomlfile import read_toml

VARIABLE = "CXRDATA_ROOT_"
FILE_NAME = "roots.toml"
Given = Path | str | Iterable[Path | str]


def roots_file() -> Path:
    """`cxrdata/roots.toml` in the user's folder of configurations ($XDG_CONFIG_HOME, else ~/.config)."""
    base = os.environ.get("XDG_CONFIG_HOME", "")
    folder = (
        Path(base) if Path(base).is_absolute() else Path.home() / ".config"
    )  # the XDG rule: relative ones do not count
    return folder / "cxrdata" / FILE_NAME


@dataclass(frozen=True)
class ImageRoots:
    """The folders (or archives) below which the images of a dataset lie, by dataset. Construct through `load`.

    `told`: where each was named, for messages.
    """

    by_dataset: Mapping[str, tuple[Path, ...]]
    told: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def load(cls, given: Mapping[str, Given] | None = None, *, datasets: Iterable[str] = ()) -> ImageRoots:
        """What is `given` wins over `$CXRDATA_ROOT_<DATASET>` (several separated by `:`), that over roots.toml, that over
        a folder of the dataset's name below `$CXRDATA_ROOT` or ./data, where `cxrdata synth` and `fetch` put it.

        Names may be aliases. `datasets`: further ones that may be named, such as those of a catalog with overlays.
        Raises CxrError: CXR-501 unknown dataset, CXR-505 broken file.
        """
        registry, further = Registry(), set(datasets)
        found: dict[str, tuple[Path, ...]] = {}
        told: dict[str, str] = {}
        for origin, named in (
            ("the default place", _by_default(registry)),
            *_from_file(),
            ("", _from_environment(registry, further)),
            ("given", given or {}),
        ):
            for name, places in named.items():
                dataset = name if name in further else registry.get(name).name
                found[dataset] = _paths(places)
                told[dataset] = origin or f"${VARIABLE}{name.upper()}"
        return cls(found, told)

    def of(self, dataset: str) -> tuple[Path, ...]:
        """The roots of a dataset, none where none is known. Raises CxrError CXR-130 where one is named that is not there:
        only now, since a disk that is not mounted is no matter to the other datasets."""
        paths = self.by_dataset.get(dataset, ())
        for path in paths:
            if not path.exists():
                raise CxrError(
                    "CXR-130",
                    f"the images of {dataset} are said to be where nothing is ({self.told.get(dataset, 'given')})",
                    where=str(path),
                    fix=f"mount it, or correct the path: --root, ${VARIABLE}{dataset.upper()}, {roots_file()}",
                )
        return paths

    def require(self, dataset: str) -> tuple[Path, ...]:
        """The same. Raises CxrError CXR-133 where none is known."""
        if paths := self.of(dataset):
            return paths
        raise CxrError(
            "CXR-133",
            f"it is not known where the images of {dataset} are on this machine",
            fix=f'say it: --root {dataset}=PATH, ${VARIABLE}{dataset.upper()}, or a line {dataset} = "PATH" in {roots_file()}',
        )


def _paths(places: Given) -> tuple[Path, ...]:
    listed = [places] if isinstance(places, str | Path) else list(places)
    return tuple(Path(place).expanduser().absolute() for place in listed)


def _from_file() -> list[tuple[str, Mapping[str, Given]]]:
    path = roots_file()
    if not path.is_file():
        return []
    content, _ = read_toml(path, where=str(path))
    named: dict[str, Given] = {}
    for name, value in content.items():
        places = value if isinstance(value, list) else [value]
        if not all(isinstance(place, str) for place in places):
            raise CxrError(
                "CXR-505", f"{name} must be a path or a list of paths", where=str(path), fix='such as nih = "/data/nih"'
            )
        named[name] = [path.parent / Path(place).expanduser() for place in places]
    return [(str(path), named)]


def _from_environment(registry: Registry, further: Iterable[str]) -> dict[str, Given]:
    names = [name for source in registry for name in (*source.aliases, source.name)]  # its own name wins over an alias
    named: dict[str, Given] = {}
    for name in (*names, *further):
        if value := os.environ.get(VARIABLE + name.upper()):
            named[name] = [part for part in value.split(os.pathsep) if part]
    return named


def _by_default(registry: Registry) -> dict[str, Given]:
    named: dict[str, Given] = {}
    for root in default_roots():
        for source in registry:
            for name in (*source.aliases, source.name):
                if (root / name).is_dir():
                    named[source.name] = root / name
    return named
