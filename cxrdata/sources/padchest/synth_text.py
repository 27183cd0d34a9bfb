"""Report and label columns of the synthetic PadChest table, one row a study."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from cxrdata.sources.padchest.synth_labels import LOCALIZATIONS, concept_code, label_counts

if TYPE_CHECKING:
    from cxrdata.sources.padchest.synth_studies import Studies
    from cxrdata.sources.synthesis import SynthPlan

PHYSICIAN_SHARE = 0.27
# Reports are Spanish word stems without punctuation; these words are no report's.
WORDS = np.array(["sintetico", "inventado", "azar", "ejemplo", "relleno", "prueba", "ficticio", "generado"])


def report_columns(plan: SynthPlan, studies: Studies) -> pl.DataFrame:
    """ReportID, Report, MethodLabel and the five list columns; null lists where the study
    has no labels."""
    rng = plan.rng("padchest", "reports")
    count = len(studies.patient)
    method = np.where(rng.random(count) < PHYSICIAN_SHARE, "Physician", "RNN_model")
    method[:2] = ("Physician", "RNN_model")
    frame = pl.DataFrame({"study": np.arange(count), "labelled": studies.study_labelled})
    lists = _list_columns(plan, studies)
    frame = frame.join(lists, on="study", how="left", maintain_order="left")
    names = [name for name in lists.columns if name != "study"]
    return frame.select(
        pl.Series("ReportID", 100_000 + rng.permutation(9 * count)[:count]),
        pl.Series("Report", _reports(rng, count)),
        pl.Series("MethodLabel", method),
        *(pl.when("labelled").then(pl.col(name).fill_null("[]")) for name in names),
    )


def _reports(rng: np.random.Generator, count: int) -> pl.Series:
    words = WORDS[rng.integers(0, len(WORDS), (count, 7))]
    words[np.arange(7) >= rng.integers(2, 8, count)[:, None]] = ""
    text = pl.DataFrame(words).select(pl.concat_str(pl.all(), separator=" ").str.strip_chars_end())
    return "informe sintetico " + text.to_series()


def _joined(name: str, *, separator: str = ", ") -> pl.Expr:
    """The non-null items of each study in brackets."""
    return pl.format("[{}]", pl.col(name).drop_nulls().str.join(separator)).alias(name)


def _list_columns(plan: SynthPlan, studies: Studies) -> pl.DataFrame:
    """The five list columns by study, each study's labels in order."""
    rng = plan.rng("padchest", "lists")
    names = np.array(list(label_counts()))
    places = np.array(LOCALIZATIONS)
    label_codes = [concept_code("label", position) for position in range(len(names))]
    place_codes = [concept_code("localization", position) for position in range(len(places))]
    count, study = len(studies.label), studies.label_study
    place = rng.integers(0, len(places), count)
    first = np.r_[True, study[1:] != study[:-1]]
    several = ~first | np.r_[~first[1:], False]
    located = (rng.random(count) < 0.55) & (names[studies.label] != "exclude")
    located[:1] = True
    # Items after the first keep the space that followed the comma in the list they came from.
    spaced_study = rng.random(len(studies.patient)) < 0.12
    spaced_study[study[np.flatnonzero(several)[:1]]] = True
    flat_study = rng.random(len(studies.patient)) < 0.03
    flat_study[study[np.flatnonzero(several)[-1:]]] = True
    also_normal = rng.random(len(studies.patient)) < 0.15
    also_normal[study[np.flatnonzero(several)[:1]]] = True
    frame = pl.DataFrame(
        {
            "study": study,
            "label": names[studies.label],
            "space": np.where(spaced_study[study] & ~first, " ", ""),
            "place": pl.Series(places[place]).set(pl.Series(~located), None),
            "label_code": pl.Series(label_codes)[studies.label],
            "place_code": pl.Series(place_codes)[place].set(pl.Series(~located), None),
        }
    )
    quoted = frame.select(
        "study",
        pl.format("'{}{}'", "space", "label").alias("Labels"),
        pl.format("'{}'", "place").alias("Localizations"),
        pl.concat_str(pl.format("'{}'", "label"), pl.format("'{}'", "place"), separator=", ", ignore_nulls=True).alias(
            "sentence"
        ),
        pl.format("'{}'", "label_code").alias("labelCUIS"),
        pl.format("'{}'", "place_code").alias("LocalizationsCUIS"),
    )
    by_study = quoted.group_by("study", maintain_order=True).agg(
        _joined("Labels"),
        _joined("Localizations"),
        pl.format("[{}]", pl.col("sentence").str.join(", ")).alias("flat"),
        pl.format("[{}]", pl.format("[{}]", "sentence").str.join(", ")).alias("nested"),
        _joined("labelCUIS", separator=" "),
        _joined("LocalizationsCUIS", separator=" "),
    )
    # One normal sentence does not make a normal image.
    with_normal = pl.col("nested").str.replace(r"\]$", ", ['normal']]")
    is_flat = pl.Series(flat_study)[by_study["study"]]
    has_normal = pl.Series(also_normal)[by_study["study"]]
    return by_study.select(
        "study",
        "Labels",
        "Localizations",
        pl.when(is_flat)
        .then("flat")
        .when(has_normal)
        .then(with_normal)
        .otherwise("nested")
        .alias("LabelsLocalizationsBySentence"),
        "labelCUIS",
        "LocalizationsCUIS",
    )
