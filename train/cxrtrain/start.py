"""Beginning a run: its bundle, taken or made, lies with it."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from cxrdata.errors import CxrError
from cxrdata.stages import make_private, remove_unfinished, unfinished
from cxrdata.wording import counted
from cxrtrain.bundle import Bundle, open_bundle
from cxrtrain.config import Experiment
from cxrtrain.loop import Request, train
from cxrtrain.pixels import stored
from cxrtrain.run_folder import BUNDLE, Run, writing


def start(
    experiment: Experiment,
    *,
    store: Path,
    out: Path,
    bundle: Path | None,
    prepare: Callable[[Path], Bundle],
    fold: tuple[int, int] | None = None,
    device: str | None = None,
    skip_missing: bool = False,
    tell: Callable[[str], None] = lambda _: None,
    say: Callable[[str], None] = lambda _: None,
) -> Run:
    """Train, or go on. bundle: a prepared one; None: `prepare` makes it, and it is kept as RUN/bundle.

    Raises as `train` and `prepare` do; CXR-502 where several processes would each prepare one.
    """
    if bundle is None and int(os.environ.get("WORLD_SIZE", "1")) > 1:
        fix = "cxrdata train EXPERIMENT --prepare BUNDLE once, then torchrun … --bundle BUNDLE"
        raise CxrError("CXR-502", "several processes cannot each make the bundle", fix=fix)
    opened = open_bundle(bundle) if bundle is not None else _made(out / BUNDLE, prepare)
    if skip_missing:
        there = stored(store, opened)
        if not there.all():
            say(f"{counted(int((~there).sum()), 'image')} of the bundle left out: the store lacks them")
            opened = opened.only(there)
    return train(Request(experiment, opened, store, out, fold=fold, device=device), tell=tell, say=say)


def _made(place: Path, prepare: Callable[[Path], Bundle]) -> Bundle:
    """The bundle as the catalog gives it now, at its place unless a run with another one is there."""
    with tempfile.TemporaryDirectory(prefix="cxrdata-bundle-") as scratch:
        fresh = prepare(Path(scratch) / "bundle")
        if place.is_dir():
            there = open_bundle(place)
            # Another bundle makes another run, which the run's folder will refuse.
            return there if there.digest == fresh.digest else fresh
        remove_unfinished(place.parent)
        if place.parent.exists() and (not place.parent.is_dir() or any(place.parent.iterdir())):
            return fresh
        with writing(place.parent):
            make_private(place.parent)
            aside = unfinished(place)
            shutil.copytree(fresh.folder, aside)
            aside.rename(place)
    return open_bundle(place)
