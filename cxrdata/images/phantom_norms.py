"""What phantoms are drawn by: `metadata/phantom_norms.toml`, or a user's copy of it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cxrdata.errors import CxrError, nearest
from cxrdata.images.phantom_marks import Mark
from cxrdata.resources import data_folder
from cxrdata.tomlfile import read_toml

FILE_NAME = "phantom_norms.toml"
_TABLES = ["cardiothoracic_ratio", "heart", "frame", "look", "mark"]


class _WrongNormError(Exception):
    """A value that no chest can be drawn by, in words."""


def _number(
    value: object,
    name: str,
    *,
    least: float | None = None,
    above: float | None = None,
    below: float | None = None,
    most: float | None = None,
) -> float:
    """A finite number within bounds. Raises _WrongNormError."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise _WrongNormError(f"{name} = {value!r}: a number is needed")
    for bound, holds, words in (
        (least, least is None or value >= least, "at least"),
        (above, above is None or value > above, "above"),
        (below, below is None or value < below, "below"),
        (most, most is None or value <= most, "at most"),
    ):
        if not holds:
            raise _WrongNormError(f"{name} = {value!r}: it must be {words} {bound}")
    return float(value)


def _ratios(row: dict[str, Any]) -> tuple[float, float, float, float]:
    """age, mean, sd, limit of a row."""
    age = _number(row["age_years"], "[[cardiothoracic_ratio]] age_years", least=0.0)
    at = f"[[cardiothoracic_ratio]] of age {age:g}:"
    mean = _number(row["mean"], f"{at} mean", above=0.0, below=1.0)
    sd = _number(row["sd"], f"{at} sd", least=0.0)
    return age, mean, sd, _number(row["limit"], f"{at} limit (of a mean of {mean:g})", above=mean, below=1.0)


def _look(name: str, values: dict[str, Any]) -> Look:
    bounds: dict[str, dict[str, float]] = {
        "contrast": {"above": 0.0}, "spread": {"least": 0.0}, "noise": {"least": 0.0}, "border": {"least": 0.0, "most": 1.0},
    }  # fmt: skip
    look = Look(**values)
    for key, value in values.items():
        _number(value, f"[look.{name}] {key}", **bounds.get(key, {}))
    return look


def _mark(values: dict[str, Any]) -> Mark:
    for key in ("attribute", "value"):
        if not isinstance(values[key], str) or not values[key]:
            raise _WrongNormError(f"[mark] {key} = {values[key]!r}: a word is needed")
    place = values["place"]
    if not isinstance(place, list) or len(place) != 2:
        raise _WrongNormError(f"[mark] place = {place!r}: two numbers are needed, from the left and from the top")
    across, down = (_number(share, "[mark] place", least=0.0, most=1.0) for share in place)
    _number(values["contrast"], "[mark] contrast", least=-1.0, most=1.0)
    _number(values["size"], "[mark] size", above=0.0, most=2.0)
    _number(values["jitter"], "[mark] jitter", least=0.0, most=1.0)
    return Mark(**{**values, "place": (across, down)})


@dataclass(frozen=True)
class Look:
    """How a dataset's pictures look: see the file."""

    brightness: float
    contrast: float
    spread: float
    noise: float
    border: float


@dataclass(frozen=True)
class Norms:
    """The file's content. `ratios`: rows of age, mean, sd, limit, sorted by age. `mark`: null: none is drawn."""

    ratios: tuple[tuple[float, float, float, float], ...]
    ap_factor: float
    enlarged_above_limit: tuple[float, float]
    labels_enlarge: bool
    long_side: int
    looks: dict[str, Look]
    mark: Mark | None = None

    @classmethod
    def load(cls, path: Path | None = None) -> Norms:
        """From a user's file, or ours. A table that a user's file leaves out is ours.
        Raises CxrError: CXR-101 no such file, CXR-505 broken."""
        ours = data_folder("metadata") / FILE_NAME
        path = path or ours
        if not path.is_file():
            raise CxrError("CXR-101", "this file does not exist", where=str(path), fix=f"copy metadata/{FILE_NAME}")
        content, _ = read_toml(path)
        try:
            for name in content:
                if name not in _TABLES:
                    raise _WrongNormError(f"[{name}] is no table of the norms{nearest(name, _TABLES)}")
            return cls._of({**read_toml(ours)[0], **content})
        except _WrongNormError as error:
            raise CxrError(
                "CXR-505",
                str(error),
                where=path.name,
                fix=f"compare with metadata/{FILE_NAME}, which says what each is",
            ) from error
        except (KeyError, TypeError, AttributeError) as error:
            raise CxrError(
                "CXR-505",
                f"the norms lack or misspell {error}",
                where=path.name,
                fix=f"begin with a copy of metadata/{FILE_NAME}",
            ) from error

    @classmethod
    def _of(cls, content: dict[str, Any]) -> Norms:
        heart = content["heart"]
        above = heart["enlarged_above_limit"]
        if not isinstance(above, list) or len(above) != 2:
            raise _WrongNormError(f"[heart] enlarged_above_limit = {above!r}: two numbers are needed, from and to")
        low, high = (_number(value, "[heart] enlarged_above_limit", least=0.0, below=1.0) for value in above)
        if low > high:
            raise _WrongNormError(f"[heart] enlarged_above_limit = {above!r}: the first is to be the smaller")
        if not isinstance(heart["labels_enlarge"], bool):
            raise _WrongNormError(f"[heart] labels_enlarge = {heart['labels_enlarge']!r}: true or false is needed")
        ratios = sorted(_ratios(row) for row in content["cardiothoracic_ratio"])
        if not ratios:
            raise KeyError("cardiothoracic_ratio")
        if len({age for age, *_ in ratios}) < len(ratios):
            raise _WrongNormError("[[cardiothoracic_ratio]] has two rows of one age")
        long_side = content["frame"]["long_side"]
        if not isinstance(long_side, int):
            raise _WrongNormError(f"[frame] long_side = {long_side!r}: a whole number is needed")
        return cls(
            tuple(ratios),
            _number(heart["ap_factor"], "[heart] ap_factor", above=0.0),
            (low, high),
            heart["labels_enlarge"],
            int(_number(long_side, "[frame] long_side", least=8)),
            {
                name: _look(name, look)
                for name, look in {"default": content["look"]["default"], **content["look"]}.items()
            },
            _mark(content["mark"]) if "mark" in content else None,
        )

    def look(self, dataset: str) -> Look:
        return self.looks.get(dataset, self.looks["default"])

    def ratio_at(self, age: float) -> tuple[float, float, float]:
        """Mean, standard deviation and upper limit of the cardiothoracic ratio at an age in years."""
        ages, *columns = zip(*self.ratios, strict=True)
        mean, sd, limit = (float(np.interp(age, ages, column)) for column in columns)
        return mean, sd, limit

    def draw_ratio(self, rng: np.random.Generator, age: float, *, enlarged: bool) -> float:
        """A cardiothoracic ratio on PA: of the age's healthy, within its limit, or above it where a label says so."""
        mean, sd, limit = self.ratio_at(age)
        normal = min(float(rng.normal(mean, sd)), limit)
        above = float(rng.uniform(*self.enlarged_above_limit))
        return limit + above if self.enlarges(enlarged) else normal

    def enlarges(self, labelled: bool) -> bool:  # noqa: FBT001 - what a label says
        """Whether a heart that is labelled so, or not, is drawn enlarged."""
        return labelled and self.labels_enlarge
