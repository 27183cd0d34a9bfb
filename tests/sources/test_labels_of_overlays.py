"""docs/errors.md CXR-304: a label that the crosswalk lacks is reported, and an overlay can add it, in every dataset
whose files name labels in their cells."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cxrdata.sources.base import POSITIVE, SILENT, ReadContext, Registry
from cxrdata.vocabularies import Vocabularies

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import Harmonised

NEW = "Pneumomediastinum"
# dataset, variant, a file with labels in its cells, a label as its cells have it, the labeler that it belongs to
CASES = {
    "nih": ("nih_cxr14", "c", "Data_Entry_2017_v2020.csv", "Hernia", "text_mining"),
    "padchest": (
        "padchest",
        "plain",
        "PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv",
        "'cardiomegaly'",
        "physician",
    ),
    "kaggle": ("vindr_cxr", "kaggle", "train.csv", "Cardiomegaly", "reader_majority"),
    "vindr_pcxr": ("vindr_pcxr", "physionet", "annotations_train.csv", "Cardiomegaly", "box"),
}


@pytest.fixture
def overlays(tmp_path: Path) -> Path:
    """A crosswalk that knows one label more in each dataset."""
    folder = tmp_path / "overlay"
    folder.mkdir()
    lines = [
        "subject_id\tpredicate_id\tobject_id",
        *(f"{case[0]}:{NEW}\tskos:relatedMatch\tsssom:NoTermFound" for case in CASES.values()),
    ]
    (folder / "label_map.sssom.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def renamed(source: Path, target: Path, file_name: str, label: str) -> Path:
    """A copy of the folder with the first mention of `label` in a data row replaced by the new label."""
    for path in source.rglob("*"):
        if path.is_file():
            (target / path.relative_to(source)).parent.mkdir(parents=True, exist_ok=True)
            (target / path.relative_to(source)).write_bytes(path.read_bytes())
    path = next(target.rglob(file_name))
    header, rows = path.read_text(encoding="utf-8").split("\n", 1)
    assert label in rows
    changed = rows.replace(label, label.replace(label.strip("'"), NEW), 1)
    path.write_text(f"{header}\n{changed}", encoding="utf-8")
    return target


@pytest.mark.parametrize("case", CASES)
def test_a_label_is_unknown_until_an_overlay_adds_it(
    case: str, overlays: Path, tmp_path: Path, synthetic: Callable[..., Path], harmonised: Callable[..., Harmonised]
) -> None:
    dataset, variant, file_name, label, labeler = CASES[case]
    folder = renamed(synthetic(dataset, variant), tmp_path / "files", file_name, label)
    without = harmonised(dataset, folder)
    refused = without.account.rejects()
    assert refused.select("code", "value").rows() == [("CXR-304", NEW)]
    states = without[f"states_{dataset}_{labeler}"]
    assert NEW not in states.columns
    known = harmonised(dataset, folder, overlays=overlays)
    assert known.account.rejects().is_empty()
    more = known[f"states_{dataset}_{labeler}"]
    assert set(more.columns) - set(states.columns) == {NEW}
    # Assessed wherever the others were. Of Kaggle's three readers one alone names it.
    assert SILENT in more[NEW]
    assert (POSITIVE in more[NEW]) == (labeler != "reader_majority")
    assert more[NEW].null_count() == 0


def test_a_box_of_a_label_that_an_overlay_adds(
    overlays: Path, tmp_path: Path, synthetic: Callable[..., Path], harmonised: Callable[..., Harmonised]
) -> None:
    """VinDr-CXR's labels come from columns; its boxes name theirs."""
    folder = renamed(synthetic("vindr_cxr", "physionet"), tmp_path / "files", "annotations_train.csv", "Cardiomegaly")
    assert harmonised("vindr_cxr", folder).account.rejects()["code"].to_list() == ["CXR-304"]
    known = harmonised("vindr_cxr", folder, overlays=overlays)
    assert known.account.rejects().is_empty()
    assert known["boxes"].filter(native_label=NEW).height == 1


def test_what_text_mining_never_assessed_is_none_of_its_labels(vocabularies: Vocabularies, registry: Registry) -> None:
    """formats.md 1.4: 14 findings and No Finding; Google's labels and the box list's Infiltrate are others'."""
    source = registry.get("nih")
    labels = ReadContext(source, vocabularies, None).labels_of(source.files[0])  # type: ignore[arg-type]
    assert labels == [
        "Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Effusion", "Emphysema", "Fibrosis", "Hernia", "Infiltration",
        "Mass", "No Finding", "Nodule", "Pleural_Thickening", "Pneumonia", "Pneumothorax",
    ]  # fmt: skip
