"""Whole datasets as the files of TorchXRayVision's classes; what they hold is compared in tests/interop."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from cxrdata.errors import CxrError
from cxrdata.export.torchxrayvision import export_torchxrayvision
from cxrdata.store.catalog import Catalog


def test_nih_is_the_official_list(catalog: Catalog, tmp_path: Path) -> None:
    """NIH_Dataset asks `Finding Labels` for each label, and reads the other columns by name."""
    out = tmp_path / "nih.csv"
    made = export_torchxrayvision(catalog, "nih", out)
    frame = pd.read_csv(out)
    images = catalog.table("images").filter(dataset="nih_cxr14").collect()
    assert list(frame["Image Index"]) == images["image_id"].to_list()
    assert made.files == {out: len(frame)}
    for label in ("Hernia", "Infiltration", "No Finding"):
        n = catalog.sql(
            "SELECT count(*) FROM labels WHERE labeler = 'text_mining' AND native_label = $label AND state = 'positive'",
            {"label": label},
        ).item()
        assert frame["Finding Labels"].str.split("|").map(lambda said, one=label: one in said).sum() == n
    assert "csvpath='nih.csv'" in made.notes[-1]


def test_chexpert_keeps_the_published_coding(catalog: Catalog, tmp_path: Path) -> None:
    with pytest.raises(CxrError, match="CXR-512"):
        export_torchxrayvision(catalog, "chexpert", tmp_path / "chexpert.csv")
    out = tmp_path / "chexpert-train.csv.gz"
    made = export_torchxrayvision(catalog, "chexpert", out)
    frame = pd.read_csv(out)
    assert set(frame["Edema"].dropna()) <= {1.0, 0.0, -1.0}
    assert (frame["Edema"] == -1).sum() + frame["Edema"].isna().sum() > 0
    assert frame["Path"].str.startswith("train/").all()
    assert any("left out" in note for note in made.notes)
    assert any("-1" in note and "NaN" in note for note in made.notes)


def test_classes_that_read_several_files(catalog: Catalog, tmp_path: Path) -> None:
    mimic = export_torchxrayvision(catalog, "mimic", tmp_path / "mimic.csv")
    assert [path.name for path in mimic.files] == ["mimic.labels.csv", "mimic.metadata.csv"]
    labels, metadata = (pd.read_csv(path) for path in mimic.files)
    joined = labels.set_index(["subject_id", "study_id"]).join(metadata.set_index(["subject_id", "study_id"]))
    assert len(joined) == len(metadata)
    vindr = export_torchxrayvision(catalog, "vindr", tmp_path / "v.csv")
    assert [path.name for path in vindr.files] == ["v.test_images.csv", "v.train_images.csv"]


def test_only_a_split(catalog: Catalog, tmp_path: Path) -> None:
    export_torchxrayvision(catalog, "nih", tmp_path / "nih.csv", split="plain")
    kept = catalog.split("plain").filter(dataset="nih_cxr14")
    assert set(pd.read_csv(tmp_path / "nih.csv")["Image Index"]) == set(kept["image_id"])


def test_what_it_cannot_read_is_refused(catalog: Catalog, hostile: Catalog, tmp_path: Path) -> None:
    (tmp_path / "mimic.metadata.csv").write_text("mine")
    with pytest.raises(CxrError, match="CXR-511"):
        export_torchxrayvision(catalog, "mimic", tmp_path / "mimic.csv")
    with pytest.raises(CxrError, match="no class for") as refused:
        export_torchxrayvision(hostile, "x<script>", tmp_path / "x.csv")
    assert refused.value.code == "CXR-512"
    with pytest.raises(CxrError, match="CXR-502"):
        export_torchxrayvision(catalog, "nih", tmp_path / "nih.parquet")
    assert [path.name for path in tmp_path.iterdir()] == ["mimic.metadata.csv"]
