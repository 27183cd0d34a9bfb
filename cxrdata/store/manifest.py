"""The manifest of a build: what went in, what came out, digests of both. Its own hash names the build."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from cxrdata.stages import sha256_file, sync_path
from cxrdata.store.layout import BUILD_ID_LENGTH

FORMAT = 1


def manifest_bytes(manifest: dict[str, Any]) -> bytes:
    """The manifest as it is stored: sorted keys, one form for one content."""
    return (json.dumps(manifest, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode()


def build_id(manifest: dict[str, Any]) -> str:
    """First 16 hexadecimal digits of the manifest's SHA-256."""
    return hashlib.sha256(manifest_bytes(manifest)).hexdigest()[:BUILD_ID_LENGTH]


def read_manifest(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8"))  # type: ignore[no-any-return]


def write_digest_file(database: Path, target: Path) -> None:
    """`catalog.duckdb.sha256` in the form that `sha256sum --check` reads."""
    target.write_text(f"{sha256_file(database)}  {database.name}\n", encoding="ascii")
    sync_path(target)
