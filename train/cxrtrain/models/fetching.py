"""ImageNet's weights: looked for on this machine, else fetched once and announced."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from cxrdata.errors import CxrError
from cxrtrain.models.backbones import OWN, TORCHVISION, check_name

FOLDER = "CXRDATA_WEIGHTS"
SUFFIXES = (".safetensors", ".pth", ".pt")
_TIMEOUT = 30.0
_CHUNK = 1 << 20
_SHORT_SHA256 = re.compile(r"-([0-9a-f]{8})\.pth$")  # torchvision's file names end in the beginning of their checksum


def imagenet_file(backbone: str, say: Callable[[str], None]) -> Path:
    """The file with a backbone's ImageNet weights: `<backbone>.safetensors|.pth|.pt` (a colon as `-`) in the folder that
    $CXRDATA_WEIGHTS names, else as it was fetched before, else fetched now.

    Raises CxrError: CXR-159 it is nowhere, CXR-501 no such backbone.
    """
    check_name(backbone)
    stem = backbone.replace(":", "-")
    folders = [Path(said) for said in (os.environ.get(FOLDER),) if said]
    for folder in (*folders, _cache()):
        for suffix in SUFFIXES:
            if (folder / f"{stem}{suffix}").is_file():
                return folder / f"{stem}{suffix}"
    url = None if backbone in OWN else url_of(backbone)
    if url is None:
        problem = f"there are no ImageNet weights of {backbone}"
        raise CxrError("CXR-159", problem, where="model.weights", fix="name a file of weights, or none")
    target = (folders[0] if folders else _cache()) / f"{stem}{Path(url).suffix}"
    say(f"fetching the ImageNet weights of {backbone}, this once: {url}")
    _fetch(url, target, backbone)
    return target


def _cache() -> Path:
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "cxrdata" / "weights"


def url_of(backbone: str) -> str | None:
    """Where the weights are published, as timm and torchvision know it; null if nowhere."""
    if backbone.startswith(TORCHVISION):
        import torchvision  # type: ignore[import-untyped]

        weights: Any = torchvision.models.get_model_weights(backbone.removeprefix(TORCHVISION))
        # The first weights of ImageNet: those that published work started from.
        chosen = next((one for one in weights if one.name == "IMAGENET1K_V1"), next(iter(weights), None))
        return None if chosen is None else str(chosen.url)
    import timm

    usual: Any = timm.get_pretrained_cfg(backbone)
    if usual is None or not usual.has_weights:
        return None
    if usual.hf_hub_id:
        hub = os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")
        return f"{hub}/{usual.hf_hub_id}/resolve/main/{usual.hf_hub_filename or 'model.safetensors'}"
    return str(usual.url) if usual.url else None


def _fetch(url: str, target: Path, backbone: str) -> None:
    """Into a file of another name first: what has the right name is whole. Several processes may do this at once."""
    import http.client
    import urllib.error
    import urllib.request

    part = target.with_name(f"{target.name}.{os.getpid()}.part")
    try:
        if not url.startswith(("https://", "http://")):
            raise ValueError(f"{url} is not on the web")
        target.parent.mkdir(parents=True, exist_ok=True)
        with urllib.request.urlopen(url, timeout=_TIMEOUT) as answer, part.open("wb") as file:  # noqa: S310 - checked above
            declared = answer.headers.get("Content-Length")
            digest, length = hashlib.sha256(), 0
            while chunk := answer.read(_CHUNK):
                file.write(chunk)
                digest.update(chunk)
                length += len(chunk)
        if declared is not None and int(declared) != length:
            raise ValueError(f"{length:,} of {int(declared):,} bytes came")
        short = _SHORT_SHA256.search(url)
        if short and not digest.hexdigest().startswith(short[1]):
            raise ValueError("what came is not the published file")
        part.replace(target)
    except (OSError, ValueError, http.client.HTTPException) as error:
        if isinstance(error, urllib.error.HTTPError):
            error.close()  # it holds the connection
        fix = f"fetch {url} elsewhere and save it as {target.name} in a folder that ${FOLDER} names"
        problem = f"the ImageNet weights of {backbone} are not on this machine and could not be fetched: {error}"
        raise CxrError("CXR-159", problem, where="model.weights", fix=fix) from error
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)
