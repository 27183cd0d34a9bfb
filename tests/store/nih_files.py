"""Hand-made NIH files of about fifty rows, small enough to think about."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

HEADER = (
    "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
    "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y]"
)
FINDINGS = ("No Finding", "Cardiomegaly", "Infiltration|Effusion", "Hernia", "Cardiomegaly|Effusion")
BOXES = "Image Index,Finding Label,Bbox [x,y,w,h],,,\n00000002_000.png,Cardiomegaly,100,200,300,250,,,\n00000003_001.png,Infiltrate,10.5,20,30,40,,,\n"

Row = dict[str, object]


def rows() -> list[Row]:
    """Eighteen patients with one to five images, children among them, labels in rotation."""
    return [
        {
            "image": f"{patient:08d}_{number:03d}.png",
            "labels": FINDINGS[(patient + number) % len(FINDINGS)],
            "follow_up": number,
            "patient": patient,
            "age": patient * 5 - 3 + number,
            "sex": "FM"[patient % 2],
            "view": ("PA", "AP")[number % 2],
        }
        for patient in range(1, 19)
        for number in range(1 + patient % 5)
    ]


def write_nih(folder: Path, table: Iterable[Row], *, boxes: str = BOXES) -> Path:
    """Write the image list (v2020 form), a box list and the official lists."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = [
        f"{r['image']},{r['labels']},{r['follow_up']},{r['patient']},{r['age']},{r['sex']},{r['view']},2500,2048,0.168,0.168"
        for r in table
    ]
    (folder / "Data_Entry_2017_v2020.csv").write_text("\n".join([HEADER, *lines]) + "\n", encoding="utf-8")
    (folder / "BBox_List_2017.csv").write_text(boxes, encoding="utf-8")
    return folder


def changed(change: Callable[[Row], None]) -> list[Row]:
    """The rows, each after `change`."""
    table = rows()
    for row in table:
        change(row)
    return table
