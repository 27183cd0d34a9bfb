"""Stages that train a model of a study and ask it: `cxrdata train` and `cxrdata predict`, as by hand."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from cxrtrain.config_file import read_experiment
from cxrtrain.studies.commands import run_command
from cxrtrain.studies.data import StudyData
from cxrtrain.studies.stages import Stage, Work

RUN = "run"


def train_stage(
    data: StudyData,
    name: str,
    experiment: str,
    sets: Sequence[str],
    *,
    weights_of: str | None = None,
    backbone_alone: bool = False,
) -> Stage:
    """`train-NAME`, whose result holds the run (`run_of`). sets: `--set` values. weights_of: the model whose best weights it
    begins from, its heads too unless `backbone_alone`. Interrupted, it goes on from its last checkpoint.

    Raises CxrError, all before anything is made: those of `read_experiment`, of `StudyData.inputs` and `check_store`.
    """
    inputs = data.inputs()
    data.check_store(read_experiment(experiment, sets).data)

    def work(on: Work) -> None:
        from cxrtrain.run_folder import open_run

        catalog, store = data.places(on)
        run = on.scratch / RUN
        alone = "#backbone" if backbone_alone else ""
        known = [*sets, f"model.weights=run:{run_of(on, weights_of)}{alone}"] if weights_of else sets
        changes = [text for one in known for text in ("--set", one)]
        run_command("train", experiment, *changes, "--store", store, *data.skip, "--out", run, "-q", "-c", catalog)
        if open_run(run).about["state"] != "finished":
            raise KeyboardInterrupt
        shutil.move(run, on.folder / RUN)

    after = (*data.before, *((f"train-{weights_of}",) if weights_of else ()))
    return Stage(f"train-{name}", work, after, {"sets": list(sets), "experiment": experiment, **inputs})


def run_of(on: Work, name: str) -> Path:
    """The run of a model, for a stage that comes after its training."""
    return on.of[f"train-{name}"] / RUN


def predict_stage(
    data: StudyData,
    name: str,
    files: Mapping[str, Sequence[object]],
    *,
    command: str = "predict",
    stage: str | None = None,
) -> Stage:
    """`predict-NAME`: files by their name, each with the arguments of `cxrdata predict RUN` that make it. command: `embed`
    writes features instead; stage: another name than COMMAND-NAME."""

    def work(on: Work) -> None:
        catalog, store = data.places(on)
        for file, arguments in files.items():
            on.tell(file)
            place = on.folder / file
            place.parent.mkdir(parents=True, exist_ok=True)
            run_command(
                command, run_of(on, name), *arguments, "--store", store, *data.skip, "--out", place, "-q", "-c", catalog
            )

    inputs = {"files": {file: [str(one) for one in arguments] for file, arguments in files.items()}, **data.inputs()}
    return Stage(stage or f"{command}-{name}", work, (f"train-{name}", *data.before), inputs)


def command_stage(
    data: StudyData,
    name: str,
    run: Callable[[Work, Path, Path], None],
    after: Sequence[str],
    inputs: Mapping[str, object],
) -> Stage:
    """A stage of other commands: `run(on, catalog, store)`."""

    def work(on: Work) -> None:
        run(on, *data.places(on))

    return Stage(name, work, (*after, *data.before), {**inputs, **data.inputs()})
