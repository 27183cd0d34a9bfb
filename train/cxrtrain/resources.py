"""Where `train/experiments` is: beside the package in a clone, inside it in a wheel."""

from __future__ import annotations

from functools import cache
from pathlib import Path


@cache
def experiments_folder() -> Path:
    """Raises FileNotFoundError if the installation is damaged."""
    package = Path(__file__).resolve().parent
    for candidate in (package / "_experiments", package.parent / "experiments"):
        if candidate.is_dir():
            return candidate
    message = "cxrdata's own experiments are missing; install cxrdata again"
    raise FileNotFoundError(message)
