"""Experiments as TOML: read, changed by `--set`, checked, and written out again as they were run."""

from __future__ import annotations

import json
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar

from cxrdata.errors import CxrError, nearest
from cxrdata.tomlfile import read_toml
from cxrtrain import config as c
from cxrtrain.resources import experiments_folder

Kind = TypeVar("Kind")

# Of each table: key -> what it may be.
_CHOICES: dict[str, tuple[str, ...]] = {
    "heads.kind": c.HEAD_KINDS,
    "heads.loss": c.LOSSES,
    "heads.against": c.AGAINST,
    "heads.policy": c.POLICIES,
    "data.sampling": c.SAMPLING,
    "data.fit": c.FITS,
    "input.scale": c.SCALES,
    "input.normalise": c.NORMALISE,
    "optim.name": c.OPTIMISERS,
    "optim.schedule": c.SCHEDULES,
    "optim.turns": c.TURNS,
    "objective.name": c.OBJECTIVES,
    "loop.precision": c.PRECISIONS,
    "loop.compile": c.SWITCH,
}
_POSITIVE = (
    "data.side", "data.images_per_epoch", "input.channels", "input.crop", "optim.lr", "optim.clip", "optim.accumulate",
    "optim.swa_from", "loop.epochs", "loop.batch", "loop.max_steps", "loop.checkpoint_steps", "loop.stop_after",
    "augment.histogram_images",
)  # fmt: skip
# Of [augment], from and to, both included; both ends of a range lie in them, the first not above the second.
_ENDS = {f"{step}_p": (0.0, 1.0) for step in (
    "flip", "affine", "crop", "zoom_out", "equalise", "sharpness", "blur", "histogram",
)} | {
    "rotate_degrees": (0.0, 180.0), "translate": (0.0, 1.0), "zoom": (0.05, 20.0), "shear_degrees": (0.0, 80.0),
    "crop": (0.01, 1.0), "zoom_out": (1.0, 20.0), "sharpness": (0.0, 100.0), "blur_sigma": (0.0, 100.0),
    "histogram_blend": (0.0, 1.0), "mixup_alpha": (0.0, 1000.0),
}  # fmt: skip


_NOT_NEGATIVE = (
    "loop.seed", "optim.weight_decay", "optim.momentum", "optim.patience", "optim.min_lr", "optim.warmup_epochs",
    "objective.step_size", "model.dropout", "heads.weight",
)  # fmt: skip

DNE = "dne-"  # how the files of noise editing are called


def experiment_names() -> list[str]:
    """The experiments that ship, by name; those of `cxrdata dne` are of another kind (`cxrtrain.dne.experiments`)."""
    return sorted(path.stem for path in experiments_folder().glob("*.toml") if not path.stem.startswith(DNE))


def read_experiment(said: str, sets: Sequence[str] = ()) -> c.Experiment:
    """An experiment by the name of one that ships, or a TOML file; `sets` are `key.key=value`, values as in TOML.

    Raises CxrError: CXR-501 no such experiment or key, CXR-505 a value that does not fit.
    """
    path = experiments_folder() / f"{said}.toml"
    if said.startswith(DNE) and path.is_file():
        raise CxrError("CXR-501", f"{said!r} is no experiment of `cxrdata train`", fix=f"cxrdata dne run {said}")
    if not path.is_file():
        path = Path(said)
        if not path.is_file():
            raise CxrError(
                "CXR-501",
                f"there is no experiment and no file {said!r}{nearest(said, experiment_names())}",
                fix=f"experiments: {', '.join(experiment_names())}; or name a TOML file",
            )
    return with_sets(path, sets, experiment_of)


def with_sets(path: Path, sets: Sequence[str], made_of: Callable[..., Kind]) -> Kind:
    """What a file says, changed by `--set`. made_of: of the content and `where`, the experiment, raising what does not fit.

    A value of `--set` that does not fit is told as such, and the file's own mistakes as the file's.
    """
    content, _ = read_toml(path)
    content.setdefault("name", path.stem)

    def fits(some: Sequence[str]) -> bool:
        """Whether these make an experiment: then the value that was left out is the one that does not fit."""
        try:
            made_of(_changed(content, some), where="")
        except CxrError:
            return False
        return True

    try:
        return made_of(_changed(content, sets), where=path.name)
    except CxrError as error:
        if sets and error.where == path.name:
            made_of(content, where=path.name)
            guilty = [at for at in range(len(sets)) if fits([*sets[:at], *sets[at + 1 :]])]
            told = [sets[at] for at in guilty[-1:]] or sets
            raise CxrError(
                error.code, error.problem, where=" ".join(f"--set {one}" for one in told), fix=error.fix
            ) from error
        raise


def _changed(content: Mapping[str, Any], sets: Sequence[str]) -> dict[str, Any]:
    changed = dict(deepcopy(content))
    for text in sets:
        set_value(changed, text)
    return changed


def experiment_of(content: Mapping[str, Any], *, where: str) -> c.Experiment:
    """An experiment from the content of its file. Raises as `read_experiment` does."""
    experiment: c.Experiment = build(c.Experiment, content, "", where)
    _check(experiment, where)
    return experiment


def set_value(content: dict[str, Any], text: str) -> None:
    """Apply one `--set`."""
    import tomllib

    key, sign, value = text.partition("=")
    parts = key.strip().split(".")
    if not sign or not all(parts):
        raise CxrError("CXR-502", f"--set needs KEY=VALUE, got {text!r}", fix="for example --set optim.lr=1e-4")
    try:
        parsed = tomllib.loads(f"x = {value}")["x"]
    except tomllib.TOMLDecodeError:
        parsed = value.strip()  # words need no quotes on a command line
    table: Any = content
    for part in parts[:-1]:
        if isinstance(table, list):  # heads.0.policy, or heads.NAME.policy
            known = {str(at): head for at, head in enumerate(table)} | {head.get("name"): head for head in table}
            if part not in known:
                raise CxrError(
                    "CXR-501", f"there is no head {part!r}", where=f"--set {text}", fix="name one of the heads"
                )
            table = known[part]
        else:
            table = table.setdefault(part, {})
    if not isinstance(table, dict):
        raise CxrError(
            "CXR-501", f"{key!r} names no value", where=f"--set {text}", fix="for example --set optim.lr=1e-4"
        )
    if parsed == "null":
        table.pop(parts[-1], None)
    else:
        table[parts[-1]] = parsed


def build(kind: type, content: Any, at: str, where: str) -> Any:  # noqa: ANN401
    """A dataclass from a TOML table, every key known and every value of its type."""
    if not isinstance(content, Mapping):
        raise CxrError(
            "CXR-505", f"{at or 'the file'} is no table", where=where, fix="see train/experiments for examples"
        )
    hints = typing.get_type_hints(kind)
    known = [one.name for one in fields(kind)]
    for key in content:
        if key not in known:
            raise CxrError(
                "CXR-501",
                f"there is no key {_join(at, str(key))!r}{nearest(str(key), known)}",
                where=where,
                fix=f"keys here: {', '.join(known)}",
            )
    try:
        return kind(**{key: _value(hints[key], value, _join(at, key), where) for key, value in content.items()})
    except TypeError as error:
        raise CxrError(
            "CXR-505", f"{at or 'the experiment'}: {error}", where=where, fix="add what is missing"
        ) from error


def _join(at: str, key: str) -> str:
    return f"{at}.{key}" if at else key


def _value(hint: Any, value: Any, at: str, where: str) -> Any:  # noqa: ANN401, PLR0911 - one for each kind of type
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return _value(next(one for one in arguments if one is not type(None)), value, at, where)
    if is_dataclass(hint):
        return build(typing.cast("type", hint), value, at, where)
    if origin is tuple:
        several = arguments[-1] is Ellipsis
        if isinstance(value, list | tuple) and (several or len(value) == len(arguments)):
            return tuple(_value(arguments[0], one, at, where) for one in value)
        if several and isinstance(value, str):  # one name is a list of one
            return (value,)
    elif origin is dict and isinstance(value, Mapping):
        return {str(key): _value(arguments[1], one, at, where) for key, one in value.items()}
    elif hint is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    elif isinstance(hint, type) and isinstance(value, hint) and (hint is bool or not isinstance(value, bool)):
        return value
    raise CxrError("CXR-505", f"{at} cannot be {value!r}", where=where, fix=f"it is {_words(hint)}")


def _words(hint: Any) -> str:  # noqa: ANN401
    names = {int: "a whole number", float: "a number", str: "a text", bool: "true or false"}
    if typing.get_origin(hint) is tuple:
        several = typing.get_args(hint)[-1] is Ellipsis
        return "a list" if several else f"a list of {len(typing.get_args(hint))} numbers"
    return names.get(hint, "a table")


def _check(experiment: c.Experiment, where: str) -> None:
    """Values against what they may be, and against each other."""
    if not experiment.heads:
        raise CxrError("CXR-505", "the experiment learns nothing: it has no heads", where=where, fix="add a [[heads]]")
    names = [head.name for head in experiment.heads]
    if len(set(names)) < len(names):
        raise CxrError("CXR-505", "two heads have one name", where=where, fix="give each its own")
    _check_values(experiment, where)
    for head in experiment.heads:
        _check_head(head, where)
    if experiment.loop.monitor is not None and experiment.loop.monitor not in names:
        raise CxrError(
            "CXR-505",
            f"loop.monitor names no head: {experiment.loop.monitor!r}",
            where=where,
            fix=f"heads: {', '.join(names)}",
        )
    needs_groups = experiment.objective.name != "erm" or experiment.data.sampling == "group_balanced"
    if needs_groups and not experiment.data.groups:
        raise CxrError(
            "CXR-505",
            "the objective or sampling is by group, and data.groups names none",
            where=where,
            fix='groups = ["race"]',
        )


def _check_values(experiment: c.Experiment, where: str) -> None:
    for at, known in _CHOICES.items():
        for said in _said(experiment, at):
            if said is not None and said not in known:
                raise CxrError(
                    "CXR-505",
                    f"{at} cannot be {said!r}{nearest(str(said), list(known))}",
                    where=where,
                    fix=f"one of {', '.join(known)}",
                )
    _check_floor(experiment, _POSITIVE, lambda said: said > 0, "it is above 0", where)
    _check_floor(experiment, _NOT_NEGATIVE, lambda said: said >= 0, "it is 0 or above", where)
    if experiment.optim.swa_from is not None and experiment.optim.swa_from > experiment.loop.epochs:
        problem = f"optim.swa_from is {experiment.optim.swa_from}, and there are {experiment.loop.epochs} epochs"
        raise CxrError("CXR-505", problem, where=where, fix="average from an earlier epoch on")
    for key, (low, high) in _ENDS.items():
        said = getattr(experiment.augment, key)
        first, last = said if isinstance(said, tuple) else (said, said)
        if not low <= first <= last <= high:
            fix = f"from {low:g} to {high:g}" + (", the lower first" if isinstance(said, tuple) else "")
            raise CxrError("CXR-505", f"augment.{key} cannot be {literal(said)}", where=where, fix=fix)


def _check_floor(
    experiment: c.Experiment, places: Sequence[str], holds: Callable[[float], bool], fix: str, where: str
) -> None:
    for at in places:
        for said in _said(experiment, at):
            if said is not None and not holds(said):
                raise CxrError("CXR-505", f"{at} cannot be {said}", where=where, fix=fix)


def _said(experiment: c.Experiment, at: str) -> list[Any]:
    table, key = at.split(".")
    holder = getattr(experiment, table)
    return [getattr(one, key) for one in (holder if isinstance(holder, tuple) else (holder,))]


def _check_head(head: c.HeadConfig, where: str) -> None:
    needed = {"binary": "finding", "multilabel": "labels", "classes": "classes", "regression": "attribute"}[head.kind]
    if not getattr(head, needed):
        raise CxrError(
            "CXR-505", f"head {head.name!r} is {head.kind} and has no {needed}", where=where, fix=f"add {needed}"
        )
    if head.kind == "classes" and head.attribute is None:
        raise CxrError("CXR-505", f"head {head.name!r} has classes of no attribute", where=where, fix="add attribute")
    allowed = {"binary": ("bce", "ce"), "multilabel": ("bce",), "classes": ("ce",), "regression": ("mse", "l1")}[
        head.kind
    ]
    if head.loss is not None and head.loss not in allowed:
        raise CxrError(
            "CXR-505",
            f"head {head.name!r} is {head.kind} and cannot have the loss {head.loss}",
            where=where,
            fix=f"one of {', '.join(allowed)}",
        )


def to_toml(experiment: c.Experiment) -> str:
    """The whole experiment, defaults included, as TOML that `experiment_of` reads back to the same; null is left out."""
    lines = [f"{key} = {literal(getattr(experiment, key))}" for key in ("name", "title", "source")]
    for one in fields(experiment):
        value = getattr(experiment, one.name)
        if is_dataclass(value):
            lines += ["", f"[{one.name}]", *table_lines(value)]
    for head in experiment.heads:
        lines += ["", "[[heads]]", *table_lines(head)]
    return "\n".join(lines) + "\n"


def table_lines(value: Any) -> list[str]:  # noqa: ANN401
    pairs = [(one.name, getattr(value, one.name)) for one in fields(value)]
    return [f"{key} = {literal(said)}" for key, said in pairs if said is not None]


def literal(value: Any) -> str:  # noqa: ANN401
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)} = {literal(one)}" for key, one in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(literal(one) for one in value) + "]"
    return json.dumps(value, ensure_ascii=False)  # TOML's texts, numbers and booleans are JSON's
