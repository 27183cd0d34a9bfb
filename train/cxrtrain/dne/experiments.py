"""DNE experiments as TOML: the published values with what a file and `--set` change, checked."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields, is_dataclass
from pathlib import Path
from typing import Any

from cxrdata.audit.thresholds import Rule
from cxrdata.errors import CxrError, nearest
from cxrtrain.config import NORMALISE, POLICIES, PRECISIONS
from cxrtrain.config_file import DNE, build, literal, table_lines, with_sets
from cxrtrain.dne import config as d
from cxrtrain.resources import experiments_folder

_POSITIVE = (
    "probe.lr", "probe.epochs", "probe.batch", "noise.lr", "noise.batch", "noise.epochs", "noise.weight", "noise.limit", "black.grid",
    "black.steps", "black.directions", "black.scale", "black.batch", "black.budget", "black.judge_every", "black.judge_images",
    "finetune.base_lr", "finetune.epochs", "finetune.batch", "data.side",
)  # fmt: skip
_CHOICES = {
    "noise.access": d.ACCESS,
    "noise.objectives": d.OBJECTIVES,
    "black.spaces": d.SPACES,
    "disease.policy": POLICIES,
    "input.normalise": NORMALISE,
    "backbone.precision": PRECISIONS,
}


def experiment_names() -> list[str]:
    """The experiments that ship, by name."""
    return sorted(path.stem for path in experiments_folder().glob(f"{DNE}*.toml"))


def read_experiment(said: str, sets: Sequence[str] = ()) -> tuple[d.DneExperiment, Path]:
    """An experiment by the name of one that ships, or a TOML file, and the folder that names in it are relative to.

    Raises CxrError: CXR-501 no such experiment or key, CXR-505 a value that does not fit.
    """
    path = experiments_folder() / f"{said}.toml"
    if not said.startswith(DNE) or not path.is_file():
        path = Path(said)
        if not path.is_file():
            known = experiment_names()
            raise CxrError(
                "CXR-501",
                f"there is no experiment of noise editing and no file {said!r}{nearest(said, known)}",
                fix=f"experiments: {', '.join(known)}; or name a TOML file",
            )
    return with_sets(path, sets, experiment_of), path.parent


def experiment_of(content: Mapping[str, Any], *, where: str) -> d.DneExperiment:
    """An experiment from the content of its file. Raises as `read_experiment` does."""
    experiment: d.DneExperiment = build(d.DneExperiment, _with_defaults(content), "", where)
    _check(experiment, where)
    return experiment


def _with_defaults(content: Mapping[str, Any]) -> dict[str, Any]:
    """What a table of the file leaves out is as published, not as another table's class has it."""
    plain = d.DneExperiment(name="", disease=d.DiseaseConfig(""), attribute=d.AttributeConfig("", ()))
    whole = dict(content)
    for one in fields(d.DneExperiment):
        value = getattr(plain, one.name)
        if is_dataclass(value) and one.name not in ("disease", "attribute"):
            said = {key: given for key, given in asdict(value).items() if given is not None}  # type: ignore[arg-type]
            own = content.get(one.name, {})
            whole[one.name] = said | dict(own) if isinstance(own, Mapping) else own
    return whole


def _check(experiment: d.DneExperiment, where: str) -> None:
    for at in _POSITIVE:
        value = _at(experiment, at)
        if value is not None and not 0 < value < math.inf:  # nan is neither
            raise CxrError("CXR-505", f"{at} cannot be {value}", where=where, fix="it is a number above 0")
    for at, known in _CHOICES.items():
        said = _at(experiment, at)
        for one in (said,) if isinstance(said, str) else said:
            if one not in known:
                problem = f"{at} cannot be {one!r}{nearest(one, list(known))}"
                raise CxrError("CXR-505", problem, where=where, fix=f"one of {', '.join(known)}")
        if not said or (not isinstance(said, str) and len(set(said)) < len(said)):
            raise CxrError(
                "CXR-505", f"{at} cannot be {literal(said)}", where=where, fix="name each once, one at least"
            )
    if len(experiment.attribute.classes) != 2:
        problem = f"attribute.classes are two, not {len(experiment.attribute.classes)}"
        raise CxrError("CXR-505", problem, where=where, fix='for example classes = ["F", "M"]')
    _not_below_zero(experiment, where)
    if not experiment.noise.penalty or not all(0 <= one < math.inf for one in experiment.noise.penalty):
        raise CxrError("CXR-505", "noise.penalty names numbers of 0 or above", where=where, fix="penalty = [0.001]")
    if not 0 < experiment.black.decay <= 1 or not 0 <= experiment.black.momentum < 1:
        raise CxrError("CXR-505", "black.decay is in (0, 1], black.momentum in [0, 1)", where=where, fix="0.95 and 0.9")
    _check_judge(experiment, where)


def _not_below_zero(experiment: d.DneExperiment, where: str) -> None:
    for at, least in (
        ("finetune.weight_decay", _at(experiment, "finetune.weight_decay")),
        ("judge.bootstrap", _at(experiment, "judge.bootstrap")),
        ("seed", experiment.seed),
    ):
        if not 0 <= least < math.inf:
            raise CxrError("CXR-505", f"{at} cannot be {least}", where=where, fix="it is 0 or above")


def _check_judge(experiment: d.DneExperiment, where: str) -> None:
    if experiment.judge.test in (experiment.data.train, experiment.data.valid):
        problem = f"judge.test cannot be {experiment.judge.test!r}, which is learnt or chosen by"
        raise CxrError("CXR-505", problem, where=where, fix='a part of its own, such as "test"')
    Rule.parse(experiment.judge.threshold)


def _at(experiment: d.DneExperiment, at: str) -> Any:  # noqa: ANN401
    table, key = at.split(".")
    return getattr(getattr(experiment, table), key)


def to_toml(experiment: d.DneExperiment) -> str:
    """The whole experiment, defaults included, as TOML that `experiment_of` reads back to the same; null is left out."""
    lines = [f"{key} = {literal(getattr(experiment, key))}" for key in ("name", "title", "source", "seed")]
    for one in fields(experiment):
        value = getattr(experiment, one.name)
        if is_dataclass(value):
            lines += ["", f"[{one.name}]", *table_lines(value)]
    return "\n".join(lines) + "\n"
