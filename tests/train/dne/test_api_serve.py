"""Servers of a black box: that of a run, and that of the docs."""

from __future__ import annotations

import importlib
import socket
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import urllib3
from click.testing import CliRunner
from faulty_service import SIDE, embedded, npy, pictures
from made_run import make_run

from cxrtrain.dne.api import Manners, open_api
from cxrtrain.dne.black_box import LocalBackbone
from cxrtrain.dne.serve import Served, main
from cxrtrain.run_folder import open_run

KEPT = "chexpert"  # a dataset whose terms keep images on this machine


def test_the_backbone_of_a_run_is_served(tmp_path: Path) -> None:
    made = make_run(tmp_path / "made")
    inner = LocalBackbone.of_run(open_run(made.run.folder.path))
    images = np.random.default_rng(0).random((5, inner.side, inner.side), dtype=np.float32)
    with Served(inner, side=inner.side) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        with open_api(server.url, datasets=[KEPT], journal=tmp_path / "journal", manners=Manners(timeout=20.0)) as box:
            assert np.array_equal(box(images), inner(images)) and box.name == inner.name
        assert server.server_address[0] == "127.0.0.1"
        for wrong, told in (
            (npy(images[:, :4]), b"of shape"), (npy(images + 1), b"from 0 to 1"), (b"hello", b"no .npy file"),
            (npy(images.astype(int)), b"from 0 to 1"),
        ):  # fmt: skip
            answer = urllib3.request("POST", server.url, body=wrong, timeout=20.0)
            assert answer.status == 400 and told in answer.data
        server.shutdown()
        thread.join()


def test_serving_what_is_no_run_is_one_block(tmp_path: Path) -> None:
    found = CliRunner().invoke(main, [str(tmp_path)])
    assert found.exit_code == 1 and found.stderr.startswith("error CXR-155: there is no run here\n  at: ")
    assert CliRunner().invoke(main, ["--help"]).exit_code == 0


def test_the_server_of_the_docs_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (Path(__file__).parents[3] / "docs" / "studies" / "dne_black_box.md").read_text(encoding="utf-8")
    code = page.split("```python\n")[1].split("```")[0]
    assert len([line for line in code.splitlines() if line.strip()]) <= 20
    own = type(sys)("my_model")
    own.embed = lambda images: np.tile(embedded(images), (1, 256))  # 768 wide, as the page says
    monkeypatch.setitem(sys.modules, "my_model", own)
    http = importlib.import_module("http.server")
    made: list[socket.socket] = []
    ready = threading.Event()

    class Noted(http.HTTPServer):  # type: ignore[name-defined,misc]
        def serve_forever(self, poll_interval: float = 0.01) -> None:
            made.append(self)
            ready.set()
            super().serve_forever(poll_interval)

    monkeypatch.setattr(http, "HTTPServer", Noted)
    monkeypatch.setattr(http.BaseHTTPRequestHandler, "log_message", lambda *_: None)
    quick = code.replace("8765", "0").replace("224", str(SIDE))
    thread = threading.Thread(target=exec, args=(quick, {}), daemon=True)
    thread.start()
    assert ready.wait(20)
    port = made[0].server_address[1]
    with open_api(f"http://127.0.0.1:{port}", datasets=[KEPT], journal=tmp_path, manners=Manners(timeout=20.0)) as box:
        assert np.array_equal(box(pictures(3)), np.tile(embedded(pictures(3)), (1, 256)))
    made[0].shutdown()
    thread.join()
    made[0].server_close()
