"""Two processes (gloo) are one with the double batch: batch sizes are counted over all processes."""

from __future__ import annotations

import csv
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import several
import torch
from cxrtrain.bundle import open_bundle
from cxrtrain.loop import Request, train
from safetensors.torch import load_file

PROGRAM = Path(several.__file__)
SAME = ("masked", "group_dro", "reweight", "in_turn", "accumulated", "frozen")
# Sums over two halves are rounded otherwise than one sum; over the twelve steps of a run it grows to less than this.
TOLERANCE = 1e-4


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All cases run by two processes, which take a while to start, and by this one."""
    folder = tmp_path_factory.mktemp("several")
    several.place(folder)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    names = [*several.CASES, "not_finite"]
    begun = [
        subprocess.Popen(
            [sys.executable, str(PROGRAM), str(folder), *names],
            env=os.environ
            | {"WORLD_SIZE": "2", "RANK": str(rank), "LOCAL_RANK": str(rank)}
            | {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "GLOO_SOCKET_IFNAME": "lo"},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in (0, 1)
    ]
    rows = open_bundle(folder / "rows")
    for name in SAME:
        train(
            Request(several.CASES[name], rows, folder / "store", folder / f"{name}-1", device="cpu", tensorboard=False)
        )
    for process in begun:
        _, errors = process.communicate(timeout=300)
        assert process.returncode == 0, errors
    return folder


def column(folder: Path, file: str, name: str) -> list[float]:
    with (folder / file).open() as opened:
        return [float(row[name]) for row in csv.DictReader(opened)]


@pytest.mark.parametrize("name", SAME)
def test_the_loss_curve_is_that_of_one(folder: Path, name: str) -> None:
    one, two = folder / f"{name}-1", folder / f"{name}-2"
    steps = 9 if name == "accumulated" else 12
    assert len(column(one, "steps.csv", "loss")) == steps
    for file, values in (("steps.csv", "loss"), ("epochs.csv", "valid_loss"), ("epochs.csv", "heart_auroc")):
        np.testing.assert_allclose(column(two, file, values), column(one, file, values), rtol=TOLERANCE, err_msg=values)


@pytest.mark.parametrize("name", SAME)
def test_the_weights_are_those_of_one(folder: Path, name: str) -> None:
    one, two = (load_file(folder / f"{name}-{n}" / "checkpoints" / "last.safetensors") for n in (1, 2))
    for key in one:
        torch.testing.assert_close(two[key], one[key], rtol=1e-3, atol=1e-4)


def test_what_is_judged_is_what_is_kept(folder: Path) -> None:
    """With batch normalisation: the validation loss of two processes is that of the checkpoint, computed by one."""
    from cxrtrain.distributed import Place
    from cxrtrain.evaluate import judge
    from cxrtrain.forward import outputs_of
    from cxrtrain.inputs import Inputs
    from cxrtrain.models.net import build_net
    from cxrtrain.pixels import Pixels, PixelStore

    rows, wish, cpu = open_bundle(folder / "rows"), several.CASES["batch_norm"], torch.device("cpu")
    net = build_net(wish.model, rows.heads, channels=3, side=several.SIDE, seed=0)
    net.load_state_dict(load_file(folder / "batch_norm-2" / "checkpoints" / "best.safetensors"))
    valid = rows.rows("valid")
    pixels = Pixels(PixelStore(folder / "store", rows, side=several.SIDE), valid, cpu)
    inputs = Inputs.of(wish.input, (0.0, 1.0))
    said = outputs_of(net, net, pixels, valid, inputs=inputs, batch=16, precision="fp32", place=Place(0, 1, cpu))
    found = sum(judge(rows, valid, said).losses.values())
    assert min(column(folder / "batch_norm-2", "epochs.csv", "valid_loss")) == pytest.approx(found, rel=1e-5)


def test_both_stop_at_a_loss_that_is_not_finite(folder: Path) -> None:
    """And name the images of the whole batch, those of the other process included."""
    assert [(folder / f"not_finite-2-{rank}.txt").read_text() for rank in (0, 1)] == ["CXR-153", "CXR-153"]
    named = (folder / "not_finite-2" / "not_finite.txt").read_text().split()
    assert len(named) == len(set(named)) == 8
