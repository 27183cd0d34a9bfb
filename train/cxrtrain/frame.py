"""Whether a store's images have the size and the shape that an experiment takes. Neither torch nor pixels are needed to say so."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cxrdata.errors import CxrError


def check_frame(manifest: Mapping[str, Any], folder: Path, *, side: int, fit: str | None = None) -> None:
    """manifest: of the store. fit: how images were made square, where that is to be checked. Raises CxrError CXR-151."""
    if manifest["side"] != side:
        raise CxrError(
            "CXR-151",
            f"the store holds images of {manifest['side']} pixels a side, and the experiment takes {side}",
            where=str(folder),
            fix=f"cxrdata images build --size {side} --out STORE, or --set data.side={manifest['side']}",
        )
    if fit is not None and manifest.get("fit", fit) != fit:
        raise CxrError(
            "CXR-151",
            f"the store's images were made square by {manifest['fit']}, and the experiment takes {fit}",
            where=str(folder),
            fix=f"cxrdata images build --size {side} --fit {fit} --out STORE, or --set data.fit={manifest['fit']}",
        )
