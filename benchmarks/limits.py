"""What the build is compared with, each a process of its own: `python -m benchmarks.limits NAME FOLDER`.

`read`: the bytes are read and forgotten. `hash`: their SHA-256. `parse`: `polars.read_csv` of the same files, every
column as text. `notebook`: pandas, as an analysis of race and sex usually begins: CheXpert's train.csv with the
demographics workbook, and MIMIC-CXR's metadata with labels, split, patients and admissions of MIMIC-IV. Nothing is
checked, harmonised or stored by any of them.
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

from benchmarks.data import files_by_role, table_files, text_files

_BLOCK = 1 << 20


def read(folder: Path) -> None:
    """Read every byte."""
    for file in table_files(folder):
        with file.path.open("rb", buffering=0) as stream:
            while stream.read(_BLOCK):
                pass


def digest(folder: Path) -> None:
    """Hash every byte."""
    for file in table_files(folder):
        with file.path.open("rb") as stream:
            hashlib.file_digest(stream, "sha256")


def parse(folder: Path) -> None:
    """Parse every text file with Polars; the frames stay in memory, as they would for any use."""
    import polars as pl

    frames = []
    for path in text_files(folder):
        if path.suffix == ".json":
            frames.append(pl.read_ndjson(path, infer_schema_length=None))
        else:
            frames.append(pl.read_csv(path, has_header=False, infer_schema=False, truncate_ragged_lines=True))


def notebook(folder: Path) -> None:
    """Join two of the six datasets with pandas."""
    files = files_by_role(folder)
    _chexpert(files["chexpert"])
    _mimic(files["mimic_cxr"])


def _chexpert(files: dict[str, Path]) -> None:
    import pandas as pd  # type: ignore[import-untyped]

    images = pd.read_csv(files["train"])
    people = pd.read_excel(files["demographics"])
    images["PATIENT"] = images["Path"].str.split("/").str[2]
    joined = images.merge(people, on="PATIENT", how="left")
    joined["race"] = "Other"
    for name in ("White", "Black", "Asian"):
        joined.loc[joined["PRIMARY_RACE"].str.contains(name, na=False), "race"] = name


def _mimic(files: dict[str, Path]) -> None:
    import pandas as pd

    admissions = pd.read_csv(files["admissions"])
    column = "race" if "race" in admissions else "ethnicity"
    first = admissions.drop_duplicates("subject_id")[["subject_id", column]]
    joined = pd.read_csv(files["images"])
    joined = joined.merge(pd.read_csv(files["chexpert"]), on=["subject_id", "study_id"], how="left")
    joined = joined.merge(pd.read_csv(files["split"]), on=["dicom_id", "study_id", "subject_id"], how="left")
    joined = joined.merge(pd.read_csv(files["patients"]), on="subject_id", how="left").merge(
        first, on="subject_id", how="left"
    )
    joined["age"] = joined["anchor_age"] + joined["StudyDate"] // 10_000 - joined["anchor_year"]


LIMITS = {"read": read, "hash": digest, "parse": parse, "notebook": notebook}

if __name__ == "__main__":
    LIMITS[sys.argv[1]](Path(sys.argv[2]))
