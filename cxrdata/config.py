"""`cxrdata.toml`: where the sources are on this machine, and how a build is wished for.

overlays = "my-vocabulary"        # optional folder, beside this file

[sources]
chexpert = "CheXpert-v1.0-small"
mimic = ["mimic-cxr-jpg", "mimiciv"]

[build]
race_rule = "majority"            # first, unanimous
race_scheme = "omb1997"
strict = false
keep_raw = false
with_text = false
workers = 2
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cxrdata.errors import CxrError, nearest
from cxrdata.sources.base import Registry, Source
from cxrdata.tomlfile import read_toml

FILE_NAME = "cxrdata.toml"
ROOT_VARIABLE = "CXRDATA_ROOT"
DEFAULT_ROOT = "data"
_BUILD_TYPES: dict[str, type] = {
    "race_rule": str,
    "race_scheme": str,
    "strict": bool,
    "keep_going": bool,
    "keep_raw": bool,
    "with_text": bool,
    "workers": int,
}


@dataclass(frozen=True)
class Config:
    """What the file says; paths are resolved beside it."""

    named: tuple[tuple[Source, Path], ...] = ()
    overlays: Path | None = None
    build: dict[str, Any] = field(default_factory=dict)


def read_config(path: Path) -> Config:
    """Read and check the file. Raises CxrError: CXR-101, CXR-501 unknown dataset, CXR-505 invalid."""
    try:
        content, _ = read_toml(path, where=str(path), fix="see the example in `docs/configuration.md`")
    except OSError as error:
        raise CxrError(
            "CXR-101", f"cannot be read: {error.strerror}", where=str(path), fix="name a TOML file"
        ) from error
    _known(content, ["overlays", "sources", "build"], path, "key")
    overlays = path.parent / content["overlays"] if "overlays" in content else None
    registry = Registry(overlays)
    named = []
    for name, places in content.get("sources", {}).items():
        for place in places if isinstance(places, list) else [places]:
            if not isinstance(place, str):
                raise CxrError("CXR-505", f"sources.{name} must be a path or a list of paths", where=str(path))
            named.append((registry.get(name), path.parent / Path(place).expanduser()))
    build = content.get("build", {})
    _known(build, list(_BUILD_TYPES), path, "key of [build]")
    for key, value in build.items():
        if not isinstance(value, _BUILD_TYPES[key]):
            raise CxrError(
                "CXR-505", f"build.{key} must be {_BUILD_TYPES[key].__name__}, not {value!r}", where=str(path)
            )
    return Config(tuple(named), overlays, build)


def _known(given: dict[str, Any], known: list[str], path: Path, what: str) -> None:
    for key in given:
        if key not in known:
            raise CxrError(
                "CXR-505",
                f"unknown {what} {key!r}{nearest(key, known)}",
                where=str(path),
                fix=f"known: {', '.join(known)}",
            )


def default_roots() -> list[Path]:
    """Where sources are looked for when none is named: `$CXRDATA_ROOT`, else `./data`."""
    return [Path(os.environ.get(ROOT_VARIABLE) or DEFAULT_ROOT)]


def default_roots_told() -> str:
    """`default_roots` in words, with where they come from."""
    named = os.environ.get(ROOT_VARIABLE)
    return f"{named} (${ROOT_VARIABLE})" if named else f"./{DEFAULT_ROOT}"
