"""The long form: 100,000 phantoms into a store, interrupted on the way, as a person at a terminal does it."""

from __future__ import annotations

import os
import pty
import resource
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from cxrdata.cli.main import run
from cxrdata.images.phantom_norms import FILE_NAME
from cxrdata.images.store import ImageStore
from cxrdata.resources import data_folder

IMAGES = int(os.environ.get("CXRDATA_SOAK_IMAGES", "100000"))
OFFICIAL = 112_120
MOST_KILOBYTES = 700_000  # of the largest process: a shard, its decoder and the libraries


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("soak")
    norms = folder / "norms.toml"
    text = (data_folder("metadata") / FILE_NAME).read_text(encoding="utf-8")
    norms.write_text(text.replace("long_side = 320", "long_side = 96"), encoding="utf-8")
    wishes = ["--scale", str(IMAGES / OFFICIAL), "--only", "nih", "--images", "--norms", str(norms), "--workers", "2"]
    assert run(["synth", str(folder / "data"), *wishes]) == 0
    assert run(["build-catalog", "--root", str(folder / "data"), "-c", str(folder / "cat"), "-q"]) == 0
    return folder


def at_a_terminal(command: list[str], env: dict[str, str], *, interrupt_when: Callable[[str], bool]) -> tuple[int, str]:
    """Run a command on a terminal of its own; Ctrl-C once, when what it has printed says so. Its exit code and what it printed."""
    parent, child = pty.openpty()
    process = subprocess.Popen(command, stdin=child, stdout=child, stderr=child, env=env, start_new_session=True)
    os.close(child)
    said, interrupted = "", False
    while True:
        ready, _, _ = select.select([parent], [], [], 1.0)
        if ready:
            try:
                said += os.read(parent, 65536).decode(errors="replace")
            except OSError:  # the terminal's other end is closed
                break
            if not interrupted and interrupt_when(said):
                os.killpg(process.pid, signal.SIGINT)
                interrupted = True
        elif process.poll() is not None:
            break
    os.close(parent)
    return process.wait(), said


@pytest.mark.soak
def test_a_store_of_many_images_is_interrupted_and_continues(drawn: Path) -> None:
    store = drawn / "store"
    command = [sys.executable, "-m", "cxrdata", "images", "build", "--size", "112", "--workers", "2"]
    command += ["--out", str(store), "-c", str(drawn / "cat")]
    env = os.environ | {"CXRDATA_ROOT": str(drawn / "data"), "TERM": "xterm", "COLUMNS": "120"}
    shards = -(-IMAGES // ((64 << 20) // 112**2))

    def parts() -> int:
        return len(list((store / "parts").glob("*.parquet")))

    code, said = at_a_terminal(command, env, interrupt_when=lambda text: " left" in text and parts() > 0)
    assert code == 130, said[-2000:]
    assert "/s" in said  # the rate, beside the time left
    assert not (store / "manifest.json").exists()
    finished = parts()
    assert 0 < finished < shards
    started = time.monotonic()
    code, said = at_a_terminal(command, env, interrupt_when=lambda _: False)
    assert code == 0, said[-2000:]
    opened = ImageStore(store)
    assert opened.refused.is_empty()
    assert len(opened) >= 0.95 * IMAGES
    assert len(opened.manifest["shards"]) == -(-len(opened) // ((64 << 20) // 112**2))
    assert not list(store.rglob("*.unfinished"))
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss < MOST_KILOBYTES
    print(f"{len(opened):,} images in {time.monotonic() - started:.0f} s, {finished} shards were there")
