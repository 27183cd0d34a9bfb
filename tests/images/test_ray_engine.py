"""The Ray engine on a real cluster of two nodes, one of which is killed on the way: the same store, byte for byte."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

from cxrdata.errors import CxrError
from cxrdata.images.build import StoreRequest, build_store
from cxrdata.images.engines import run_shards
from cxrdata.images.resize import Frame

# A process of its own: Ray leaves threads and sockets behind.
SCRIPT = """
import sys
from pathlib import Path
import polars as pl
from ray.cluster_utils import Cluster
from cxrdata.images.build import StoreRequest, build_store
from cxrdata.images.resize import Frame

folder = Path(sys.argv[1])
cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
doomed = cluster.add_node(num_cpus=1)
alive = True

def tell(done, total):
    global alive
    if alive and done:
        cluster.remove_node(doomed, allow_graceful=False)
        alive = False

located = pl.read_parquet(folder / "located.parquet")
request = StoreRequest(
    folder / "ray", located, Frame(64), shard_bytes=4 * 64 * 64, engine="ray", address=cluster.address
)
report = build_store(request, tell=tell)
assert not alive
print("decoded", report.decoded)
cluster.shutdown()
"""


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
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path)], capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "decoded 40" in done.stdout
    build_store(StoreRequest(tmp_path / "local", located, Frame(64), shard_bytes=4 * 64 * 64))
    files = [
        {path.name: path.read_bytes() for path in (tmp_path / name).iterdir() if path.is_file()}
        for name in ("ray", "local")
    ]
    assert len(files[0]) == 10 + 3
    assert files[0] == files[1]


def test_without_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(CxrError) as error:
        run_shards([], engine="ray")
    assert error.value.code == "CXR-604"


def test_an_engine_that_is_none() -> None:
    with pytest.raises(CxrError) as error:
        run_shards([], engine="dask")
    assert error.value.code == "CXR-502"
