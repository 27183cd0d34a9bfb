"""A catalog of CheXpert with the study's split, and made-up outputs of its models, in chexploration's layout and in ours."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

import cxrdata
from cxrdata.interop.label_orders import CHEXPERT_LABELS, findings_of
from cxrdata.sources.base import Registry
from cxrdata.splits.cohorts import load_cohort
from cxrdata.splits.make import make_split
from cxrdata.splits.request import SplitRequest
from cxrdata.splits.stored import store_split
from cxrdata.store.build import BuildRequest, build_catalog

KEY = ["dataset", "image_id"]
SPLIT = "chexploration-chexpert"
RACES, SEXES = ("White", "Asian", "Black"), ("M", "F")
WIDTH = 8
PARTS = {"val": "valid", "test": "test"}


@dataclass(frozen=True)
class Study:
    """catalog: its folder. images: dataset, image_id, part, race, sex, patient_id and the labels as 0 and 1."""

    catalog: Path
    images: pl.DataFrame

    def part(self, name: str) -> pl.DataFrame:
        """The images of `val` or `test`, in an order that is not that of their keys."""
        rows = self.images.filter(part=PARTS[name])
        return rows.sort(pl.col("image_id").str.reverse())


def made_study(folder: Path, chexpert: Path) -> Study:
    """chexpert: the synthetic dataset's folder."""
    catalog = folder / "cxr-catalog"
    build_catalog(BuildRequest(catalog, named=[(Registry().get("chexpert"), chexpert)], workers=1))
    findings = [findings_of("chexpert")[name] for name in CHEXPERT_LABELS]
    with cxrdata.open(catalog) as opened:
        request = SplitRequest(cohort=load_cohort("chexploration_chexpert").name, ratios=(0.6, 0.1, 0.3), seed=42)
        made = make_split(opened, request)
        store_split(opened, SPLIT, made.frame, made.manifest)
        who = opened.table("images").select(*KEY, "race", "sex").collect()
        labels = opened.labels(dataset="chexpert", labeler="chexpert", findings=findings, policy="zeros")
    images = made.frame.rename({"split": "part"}).join(who, on=KEY, how="left", maintain_order="left")
    return Study(catalog, images.join(labels.drop("labeler"), on=KEY, how="left", maintain_order="left"))


def noise(rows: pl.DataFrame, what: str) -> np.ndarray:
    """A number from 0 to 1 of each image, that depends on its key alone."""
    texts = (f"{what}|{image_id}" for image_id in rows["image_id"])
    return np.array([int(hashlib.md5(one.encode()).hexdigest()[:8], 16) / 2**32 for one in texts])


def truth(rows: pl.DataFrame, about: str) -> np.ndarray:
    """(images, outputs) of 0 and 1."""
    if about == "disease":
        names = [findings_of("chexpert")[name] for name in CHEXPERT_LABELS]
        return np.column_stack([rows[name].fill_null(0).to_numpy() for name in names])
    values = RACES if about == "race" else SEXES
    return np.column_stack([(rows[about] == value).fill_null(value=False).to_numpy() for value in values]).astype(int)


def scores(rows: pl.DataFrame, about: str, model: str) -> np.ndarray:
    """(images, outputs): noise, and as much of the truth that an AUROC of about 0.9 comes of it."""
    known = truth(rows, about)
    lots = np.column_stack([noise(rows, f"{model}|{about}|{at}") for at in range(known.shape[1])])
    return np.round(0.6 * lots + 0.35 * known + 0.02, 6)


def features(rows: pl.DataFrame, model: str) -> np.ndarray:
    """(images, WIDTH): of a large first component that says nothing, and a second that knows of effusion."""
    lots = np.column_stack([noise(rows, f"{model}|feature|{at}") for at in range(WIDTH)]) - 0.5
    lots[:, 0] *= 8
    lots[:, 1] = 2 * lots[:, 1] + 2 * rows["pleural_effusion"].fill_null(0).to_numpy()
    return np.round(lots * 1024) / 1024


def positional(rows: pl.DataFrame, about: str, model: str) -> pl.DataFrame:
    """predictions.csv of chexploration."""
    said, known = scores(rows, about, model), truth(rows, about)
    columns = {f"class_{at}": said[:, at] for at in range(said.shape[1])}
    columns |= {f"logit_{at}": np.log(said[:, at] / (1 - said[:, at])) for at in range(said.shape[1])}
    one_of_several = {"target": known.argmax(axis=1)}
    return pl.DataFrame(columns | ({f"target_{at}": known[:, at] for at in range(14)} if about == "disease" else one_of_several))  # fmt: skip


def write_theirs(
    study: Study,
    folder: Path,
    *,
    models: tuple[str, ...] = ("disease", "race", "sex", "multitask"),
    embedded: tuple[str, ...] | None = None,
) -> None:
    """Their output folders, and the files that tell the order: order.test.csv and order.val.csv. embedded: models with features."""
    for part in PARTS:
        rows = study.part(part)
        folder.mkdir(parents=True, exist_ok=True)
        rows.select(Path=pl.lit("CheXpert-v1.0/") + pl.col("image_id")).write_csv(folder / f"order.{part}.csv")
        for model in models:
            own = folder / "output" / model / "densenet-all"
            own.mkdir(parents=True, exist_ok=True)
            several = model == "multitask"
            for about in ("disease", "race", "sex") if several else (model,):
                middle = f"{part}.{about}" if several else part
                positional(rows, about, model).write_csv(own / f"predictions.{middle}.csv")
            if embedded is not None and model not in embedded:
                continue
            table = pl.DataFrame(features(rows, model), schema=[str(at) for at in range(WIDTH)])
            known = truth(rows, "disease")
            targets = {f"target_{at}": known[:, at] for at in range(14)}
            targets |= {"target_sex": truth(rows, "sex")[:, 1], "target_race": truth(rows, "race").argmax(axis=1)}
            table.hstack(pl.DataFrame(targets)).write_csv(own / f"embeddings.{part}.csv")


def write_ours(study: Study, place: Path, about: str, model: str, part: str) -> None:
    """A keyed file of predictions, as `cxrdata predict` writes it."""
    rows = study.part(part)
    outputs = {"disease": [findings_of("chexpert")[name] for name in CHEXPERT_LABELS], "race": [one.lower() for one in RACES], "sex": ["m", "f"]}  # fmt: skip
    said = scores(rows, about, model)
    columns = {f"prob_{name}": said[:, at] for at, name in enumerate(outputs[about])}
    place.parent.mkdir(parents=True, exist_ok=True)
    rows.select(KEY).hstack(pl.DataFrame(columns)).with_columns(run_id=pl.lit(model)).write_parquet(place)


def write_our_features(study: Study, place: Path, model: str, part: str) -> None:
    """Features as `cxrdata embed` writes them."""
    rows = study.part(part)
    place.parent.mkdir(parents=True, exist_ok=True)
    rows.select(KEY).with_columns(pl.Series("embedding", features(rows, model))).write_parquet(place)
