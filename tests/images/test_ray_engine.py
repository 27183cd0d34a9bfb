"""The Ray engine on a real cluster of two nodes, one of which is killed on the way: the same store and the same catalog, byte
for byte."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

from cxrdata.images.build import StoreRequest, build_store
from cxrdata.images.resize import Frame
from cxrdata.sources.base import Registry
from cxrdata.store.build import BuildRequest, build_catalog
from cxrdata.store.layout import CatalogFolder

# A process of its own: Ray leaves threads and sockets behind.
BEGIN = """
import sys
from pathlib import Path
import polars as pl
from ray.cluster_utils import Cluster
from cxrdata.engines import Engine

folder = Path(sys.argv[1])
cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
doomed = cluster.add_node(num_cpus=1)
alive = True

def kill_a_node():
    global alive
    if alive:
        cluster.remove_node(doomed, allow_graceful=False)
        alive = False
"""
STORE = """
from cxrdata.images.build import StoreRequest, build_store
from cxrdata.images.resize import Frame

located = pl.read_parquet(folder / "located.parquet")
engine = Engine("ray", address=cluster.address)
request = StoreRequest(folder / "ray", located, Frame(64), engine=engine, shard_bytes=4 * 64 * 64)
report = build_store(request, tell=lambda done, _: done and kill_a_node())
assert not alive
print("decoded", report.decoded)
cluster.shutdown()
"""
CATALOG = """
from cxrdata.sources import dicom
from cxrdata.sources.base import Registry
from cxrdata.store.build import BuildRequest, build_catalog

dicom._CHUNK = 20
told = []

def progress(text):
    if "DICOM headers" in text:
        told.append(text)
        if len(told) == 2:
            kill_a_node()

named = [(Registry().get("vindr"), folder / "vindr_cxr")]
build_catalog(BuildRequest(folder / "ray", named=named, engine="ray", address=cluster.address), progress)
assert not alive
print(told[-1])
cluster.shutdown()
"""


def run_script(script: str, folder: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-c", BEGIN + script, str(folder)], capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.mark.soak
def test_a_node_that_dies_costs_nothing_but_time(tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="needs the extra cxrdata[ray]")
    rows = []
    for number in range(40):
        path = tmp_path / f"{number}.png"
        noise = np.random.default_rng(number).integers(0, 256, (700, 700), dtype=np.uint8)
        Image.fromarray(noise).save(path, compress_level=1)
        rows.append(("nih_cxr14", path.name, str(path), None))
    located = pl.DataFrame(rows, schema=["dataset", "image_id", "path", "member"], orient="row")
    located.write_parquet(tmp_path / "located.parquet")
    assert "decoded 40" in run_script(STORE, tmp_path)
    build_store(StoreRequest(tmp_path / "local", located, Frame(64), shard_bytes=4 * 64 * 64))
    files = [
        {path.name: path.read_bytes() for path in (tmp_path / name).iterdir() if path.is_file()}
        for name in ("ray", "local")
    ]
    assert len(files[0]) == 10 + 3
    assert files[0] == files[1]


@pytest.mark.soak
def test_headers_read_on_a_cluster_give_the_same_catalog(
    registry: Registry, synthetic: Callable[..., Path], tmp_path: Path
) -> None:
    pytest.importorskip("ray", reason="needs the extra cxrdata[ray]")
    (tmp_path / "vindr_cxr").symlink_to(synthetic("vindr_cxr"))
    headers = len(list(synthetic("vindr_cxr").rglob("*.dicom")))
    assert f"{headers} of {headers} DICOM headers" in run_script(CATALOG, tmp_path)
    build_catalog(BuildRequest(tmp_path / "local", named=[(registry.get("vindr"), tmp_path / "vindr_cxr")], workers=1))
    builds = [CatalogFolder(tmp_path / name).current_build() for name in ("ray", "local")]
    assert builds[0] is not None
    assert builds[1] is not None
    # A build's name is the digest of its manifest, which holds the digest of each of its tables.
    assert builds[0].build_id == builds[1].build_id
    files = [{path.relative_to(b.path): path.read_bytes() for path in b.path.rglob("*.parquet")} for b in builds if b]
    assert len(files[0]) > 5
    assert files[0] == files[1]
