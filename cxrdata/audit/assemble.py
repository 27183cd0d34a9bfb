"""Scores and truth put together: the engine's input, and what is said about the images that it lacks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import polars as pl
from numpy.typing import NDArray

from cxrdata.audit.classes import CONFUSION_SCHEMA, confusion_matrix
from cxrdata.audit.data import Grouping, Scored
from cxrdata.audit.predictions import KEY, Predictions
from cxrdata.audit.truth import Judged
from cxrdata.errors import CxrError
from cxrdata.wording import counted

CROSS = " & "


def together(models: Sequence[Predictions]) -> pl.DataFrame:
    """dataset, image_id of all images that any model predicts, sorted."""
    return pl.concat([model.frame.select(KEY) for model in models]).unique(maintain_order=True).sort(KEY)


def in_common(models: Sequence[Predictions]) -> list[Predictions]:
    """The models on the images that all of them predict; how many others there were, each notes."""
    shared = models[0].frame.select(KEY)
    for model in models[1:]:
        shared = shared.join(model.frame.select(KEY), on=KEY, how="semi", maintain_order="left")
    if shared.is_empty():
        names = " and ".join(model.name for model in models)
        raise CxrError("CXR-502", f"{names} have no image in common", fix="compare models on the same images")
    found = []
    for model in models:
        kept = model.frame.join(shared, on=KEY, how="semi", maintain_order="left")
        lost = model.frame.height - kept.height
        notes = [f"{model.name}: {counted(lost, 'image')} that not all models predict left out of the comparison"]
        found.append(replace(model, frame=kept, notes=[*model.notes, *(notes if lost else [])]))
    return found


def coverage(models: Sequence[Predictions], wanted: pl.DataFrame, what: str) -> tuple[pl.DataFrame, list[str]]:
    """Of the images `wanted` (dataset, image_id, weight), those that any model predicts; and, counted, the two remainders."""
    predicted = together(models)
    judged = wanted.join(predicted, on=KEY, how="semi", maintain_order="left")
    notes = []
    for model in models:
        without = wanted.join(model.frame.select(KEY), on=KEY, how="anti").height
        beyond = model.frame.select(KEY).join(wanted, on=KEY, how="anti").height
        if without:
            notes.append(f"{model.name}: {without:,} of {counted(wanted.height, 'image')} of {what} have no prediction")
        if beyond:
            notes.append(f"{model.name}: {counted(beyond, 'prediction')} of images outside {what} left out")
    return judged, notes


def scored(
    models: Sequence[Predictions],
    judged: Judged,
    labels: Sequence[str],
    *,
    by: Sequence[str] = (),
    cross: Sequence[Sequence[str]] = (),
) -> list[Scored]:
    """One `Scored` a model and label, of the images whose truth is known, in the order of their keys.

    A label that is judged on no image of a model, or that the model does not predict, is left out.
    """
    columns = {name: grouping(name, judged.groups[name], judged.values[name]) for name in judged.groups.columns}
    groupings = [columns[name] for name in by] + [crossed([columns[name] for name in names]) for names in cross]
    units = judged.frame["unit"].rank("dense").cast(pl.Int64).to_numpy() - 1
    weights = judged.frame["weight"].to_numpy()
    found = []
    for model in models:
        joined = judged.frame.select(KEY).join(model.frame, on=KEY, how="left", maintain_order="left")
        for label in labels:
            if label not in model.labels:
                continue
            state = judged.states[label]
            known = _known(joined, judged, label)
            if not known.any():
                continue
            found.append(
                Scored(
                    model=model.name,
                    label=label,
                    truth=judged.truth[label],
                    policy=judged.policy[label],
                    scores=joined[label].to_numpy()[known],
                    positive=state.fill_null(value=False).to_numpy()[known],
                    patients=np.unique(units[known], return_inverse=True)[1].astype(np.int64),
                    weights=weights[known],
                    groupings=tuple(replace(one, codes=one.codes[known]) for one in groupings),
                    probabilities=True,
                )
            )
    return found


def _known(joined: pl.DataFrame, judged: Judged, label: str) -> NDArray[np.bool_]:
    """Which images have both a score and a truth."""
    return (judged.states[label].is_not_null() & joined[label].is_not_null()).to_numpy()


def ages_of(one: Scored, models: Sequence[Predictions], judged: Judged) -> NDArray[np.float64]:
    """The age in years of each image of a `Scored` of these models, nan where it is not known."""
    model = next(model for model in models if model.name == one.model)
    joined = judged.frame.select(KEY).join(model.frame, on=KEY, how="left", maintain_order="left")
    ages = judged.ages.cast(pl.Float64).fill_null(np.nan).to_numpy()
    return ages[_known(joined, judged, one.label)]


def confusion(tests: Sequence[Scored], attributes: Mapping[str, str]) -> pl.DataFrame:
    """The confusion matrix of each model's classes of an attribute (`attributes`: class -> attribute), normalised by truth."""
    frames = []
    for model in dict.fromkeys(one.model for one in tests):
        for attribute in dict.fromkeys(attributes.values()):
            parts = [one for one in tests if one.model == model and attributes.get(one.label) == attribute]
            if len(parts) > 1:
                scores = np.column_stack([one.scores for one in parts])
                truth = np.argmax([one.positive for one in parts], axis=0)
                matrix = confusion_matrix([one.label for one in parts], scores, truth, parts[0].weights)
                frames.append(
                    matrix.select(pl.lit(model).alias("model"), pl.lit(attribute).alias("attribute"), pl.all())
                )
    schema = {"model": pl.String(), "attribute": pl.String(), **CONFUSION_SCHEMA}
    return pl.concat(frames) if frames else pl.DataFrame(schema=schema)


def grouping(by: str, values: pl.Series, order: Sequence[str]) -> Grouping:
    """A column of group names as codes. Raises CxrError CXR-125 where it says nothing of anybody."""
    if not order:
        raise CxrError(
            "CXR-125",
            f"{by} is known of none of {counted(len(values), 'image')}, so there is no group to audit",
            fix="leave it out of --by and --cross; `cxrdata describe images` shows what each dataset says",
        )
    codes = {name: at for at, name in enumerate(order)}
    return Grouping(by, tuple(order), _codes(values, codes))


def _codes(values: pl.Series, codes: dict[str, int]) -> NDArray[np.int32]:
    return values.replace_strict(codes, default=-1, return_dtype=pl.Int32).fill_null(-1).to_numpy().astype(np.int32)


def crossed(parts: Sequence[Grouping]) -> Grouping:
    """The combinations of several groupings that somebody is in; unknown where one of them is."""
    codes = np.zeros(len(parts[0].codes), np.int64)
    unknown = np.zeros(len(codes), bool)
    names = [""]
    for part in parts:
        codes = codes * len(part.values) + part.codes
        unknown |= part.codes < 0
        names = [f"{name}{CROSS if name else ''}{value}" for name in names for value in part.values]
    present = sorted(set(codes[~unknown].tolist()))
    place = np.full(len(names), -1, np.int32)
    place[present] = np.arange(len(present), dtype=np.int32)
    whole = np.where(unknown, -1, place[np.where(unknown, 0, codes)]).astype(np.int32)
    return Grouping(CROSS.join(part.by for part in parts), tuple(names[at] for at in present), whole)


def check_targets(models: Sequence[Predictions], judged: Judged) -> None:
    """Hold the truth that a file brings along against ours: rows in another order than their order file show in it.

    Raises CxrError CXR-126 where most images that a file has for positive are not so by our truth.
    """
    for model in models:
        labels = [label for label in model.targets.columns if label in judged.states.columns]
        own = judged.frame.select(KEY).join(model.targets, on=KEY, how="left", maintain_order="left")
        said = agreed = 0
        for label in labels:
            both = (own[label] == 1) & judged.states[label].is_not_null()
            said += int(both.sum())
            agreed += int((both & judged.states[label]).sum())
        if 2 * agreed < said:
            raise CxrError(
                "CXR-126",
                f"of {said:,} labels that {model.name} has for positive, {agreed:,} are so for the images of the order file",
                where=model.name,
                fix="name the file that was predicted, with its rows in that order",
            )
