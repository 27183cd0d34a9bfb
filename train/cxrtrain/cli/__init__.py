"""The commands of training, registered through the entry-point group cxrdata.commands: parse, call, print.

Modules here import click alone, so that help is quick and a missing extra is told, not a traceback.
"""

from __future__ import annotations

from importlib.util import find_spec

from cxrdata.errors import CxrError


def require_torch() -> None:
    """Raises CxrError CXR-604 where the extra [train] is not installed."""
    for name in ("torch", "safetensors"):
        if find_spec(name) is None:
            raise CxrError("CXR-604", f"{name} is not installed", fix="pip install 'cxrdata[train]'")
