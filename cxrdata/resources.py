"""Where the data folders (`catalog/`, `metadata/`, `sql/`) are.

In a clone and in an editable install they lie beside the package; in a wheel they are
shipped inside it, so that no top-level import name but `cxrdata` is taken.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

FOLDERS = ("catalog", "metadata", "sql")


@cache
def data_folder(name: str) -> Path:
    """The folder `name` (one of `FOLDERS`) of this installation.

    Raises FileNotFoundError if the installation is damaged.
    """
    package = Path(__file__).resolve().parent
    for candidate in (package / "_data" / name, package.parent / name):
        if candidate.is_dir():
            return candidate
    message = f"cxrdata's own folder {name!r} is missing; install cxrdata again"
    raise FileNotFoundError(message)
