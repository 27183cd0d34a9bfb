"""How much of a backbone must learn anew for an attribute: trainings with the first n blocks frozen, as a plan or run."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from cxrdata.errors import CxrError
from cxrtrain.bundle import Bundle
from cxrtrain.config import Experiment
from cxrtrain.config_file import to_toml
from cxrtrain.distributed import Place
from cxrtrain.models.freezing import BACKBONE, FIRST, blocks_of
from cxrtrain.probe.data import ATTRIBUTE, ProbeData
from cxrtrain.probe.embedding import net_of
from cxrtrain.probe.rows import frame_of, rows_with_intervals, targets_of_head
from cxrtrain.run_folder import writing

if TYPE_CHECKING:
    from cxrtrain.run_folder import Run

READ_BY = "trained"


@dataclass(frozen=True)
class Training:
    """One training of the plan. frozen: as `model.freeze` has it."""

    origin: str
    frozen: str
    experiment: Experiment
    out: Path

    def command(self, file: Path, store: Path) -> str:
        model = self.experiment.model
        return shlex.join([
            "cxrdata", "train", str(file), "--store", str(store), "--set", f"model.freeze={model.freeze}",
            "--weights", model.weights, "--out", str(self.out),
        ])  # fmt: skip


def plan(run: Run, data: ProbeData, origins: Sequence[str], counts: Sequence[str], out: Path) -> list[Training]:
    """A training for each origin and each of `counts`: numbers of blocks from the first, or `backbone` (-2 in the draft of
    AhmadM-DL) for all. The attribute alone is learnt, otherwise as the run was.

    Raises CxrError: CXR-501 no such origin; CXR-502 what is no number, or more blocks than the backbone has.
    """
    there = _blocks(run)
    weights = {"run": f"run:{run.folder.path}#backbone", "imagenet": "imagenet", "random": "none"}
    head = data.experiment.heads[0]
    base = replace(
        data.experiment,
        name=f"probe-{ATTRIBUTE}",
        title=f"{head.attribute} with some blocks frozen",
        heads=(head,),
        optim=replace(data.experiment.optim, turns="together"),
        loop=replace(data.experiment.loop, monitor=None),
    )
    found = []
    for origin in origins:
        if origin not in weights:
            raise CxrError("CXR-501", f"there is no origin {origin!r}", fix=f"--origins {','.join(weights)}")
        for said in counts:
            frozen = BACKBONE if said in (BACKBONE, "-2") else f"{FIRST}{said}"
            if frozen != BACKBONE and not said.isdecimal():
                raise CxrError("CXR-502", f"--freeze cannot be {said!r}", fix="for example --freeze 0,1,2,backbone")
            if frozen != BACKBONE and int(said) > there:
                problem = f"--freeze asks for {said} blocks, and the backbone has {there}"
                raise CxrError("CXR-502", problem, fix=f"{there} at most, or backbone")
            model = replace(base.model, freeze=frozen, weights=weights[origin])
            place = out / "runs" / f"{origin}-{frozen.replace(':', '-')}"
            found.append(Training(origin, frozen, replace(base, model=model), place))
    return found


def _blocks(run: Run) -> int:
    """How many blocks the run's backbone has."""
    import torch

    net, _ = net_of(run, "random", Place(0, 1, torch.device("cpu")), lambda _: None)
    return len(blocks_of(net))


def write_experiment(trainings: Sequence[Training], out: Path) -> Path:
    """The experiment that the commands of a plan share."""
    file = out / f"{trainings[0].experiment.name}.toml"
    with writing(out):
        out.mkdir(parents=True, exist_ok=True)
        file.write_text(to_toml(trainings[0].experiment), encoding="utf-8")
    return file


def run_plan(
    trainings: Sequence[Training],
    bundle: Bundle,
    data: ProbeData,
    store: Path,
    *,
    attribute: str,
    device: str | None = None,
    bootstrap: int = 2000,
    seed: int = 0,
    tell: Callable[[str], None] = lambda _: None,
    say: Callable[[str], None] = lambda _: None,
) -> pl.DataFrame:
    """Train each, or go on with it, and judge it on test images: rows of `probe.rows.SCHEMA`. bundle: of the attribute
    alone."""
    import torch

    from cxrtrain.loop import Request, train
    from cxrtrain.predict import Asked, predict
    from cxrtrain.probe.ablation import Reader
    from cxrtrain.probe.heads import LinearHead

    head = bundle.heads[0]
    test = np.zeros(len(bundle), dtype=np.bool_)
    rows = bundle.rows("test")
    wanted = set(data.bundle.keys_of(data.test.tolist()))  # without patients whom the run has learnt from
    test[rows] = [key in wanted for key in bundle.keys_of(rows.tolist())]
    judged = bundle.only(test)
    place = {key: at for at, key in enumerate(data.bundle.keys_of(range(len(data.bundle))))}
    patients = data.patients[[place[key] for key in judged.keys_of(range(len(judged)))]]
    targets = targets_of_head("attribute", head, judged.targets(head), np.arange(len(judged)))
    asked = []
    for one in trainings:
        say(f"{one.origin}, {one.frozen}: {one.out}")
        done = train(Request(one.experiment, bundle, store, one.out, device=device), tell=tell, say=say)
        outputs = predict(done, Asked(judged, store, device=device), tell=tell).outputs[head.name].float()
        # What a head has said is read as features of a head that changes nothing.
        same = Reader(head, LinearHead(torch.eye(outputs.shape[1]), torch.zeros(outputs.shape[1])), READ_BY)
        said = {
            "origin": one.origin,
            "frozen": one.frozen,
            "units": "none",
            "share": 0.0,
            "n_units": 0,
            "read_by": READ_BY,
        }
        asked += [(target, same.scores(outputs.numpy()[target.rows], target.at), said) for target in targets]
    found = rows_with_intervals(asked, patients, bootstrap=bootstrap, seed=seed)
    return frame_of([row | {"attribute": attribute} for row in found])
