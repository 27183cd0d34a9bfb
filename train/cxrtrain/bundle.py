"""A bundle: all that training needs to know of images besides their pixels. Read with numpy and pyarrow alone.

    BUNDLE/rows.parquet   dataset, image_id, part, fold, n_draws, weight, group, target_<head>[_<label>] …
    BUNDLE/bundle.json    the heads and their outputs, names of the groups, where the rows come from, counts, a digest

`fold` and `group` may be null. A target that is null is not known: that image counts nothing for that head.
`prepare` writes it from a catalog; nothing of a patient but the image's key, the targets and the group stands in it.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cxrdata.errors import CxrError, nearest

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

FORMAT = 1
ROWS = "rows.parquet"
ABOUT = "bundle.json"
KEY = ("dataset", "image_id")


@dataclass(frozen=True)
class HeadTargets:
    """What a head is asked: `outputs` names what it puts out, in order, `columns` the targets in rows.parquet.

    kind `binary` and `multilabel`: a column an output, 0 or 1. `classes`: one column, the place of the class in `outputs`.
    `regression`: one column, the number; `mean` and `sd` of the training part, by which it is scaled.
    """

    name: str
    kind: str
    loss: str
    outputs: tuple[str, ...]
    columns: tuple[str, ...]
    mean: float = 0.0
    sd: float = 1.0

    @property
    def width(self) -> int:
        """Numbers that the model puts out: two for one finding under a softmax."""
        return 2 if self.kind == "binary" and self.loss == "ce" else len(self.outputs)


def heads_of(about: dict[str, Any]) -> tuple[HeadTargets, ...]:
    """The heads as bundle.json and run.json tell of them."""
    return tuple(
        HeadTargets(**(head | {"outputs": tuple(head["outputs"]), "columns": tuple(head["columns"])}))
        for head in about["heads"]
    )


def scale_of(values: Sequence[float]) -> tuple[float, float]:
    """Mean and SD (of the population; 1 where all are equal) by which a number is scaled. Summed exactly, so that the order
    of the sum, and thereby the machine, changes nothing."""
    mean = math.fsum(values) / len(values)
    return mean, math.sqrt(math.fsum((value - mean) ** 2 for value in values) / len(values)) or 1.0


@dataclass(frozen=True)
class Bundle:
    """An opened bundle; rows are numbered as in rows.parquet, which is sorted by key."""

    folder: Path
    about: dict[str, Any]
    table: pa.Table

    def __len__(self) -> int:
        return int(self.table.num_rows)

    @cached_property
    def heads(self) -> tuple[HeadTargets, ...]:
        return heads_of(self.about)

    @property
    def digest(self) -> str:
        return str(self.about["rows_sha256"])

    @property
    def file_digest(self) -> str:
        """Of rows.parquet itself, also where the bundle was narrowed."""
        return str(self.about.get("file_sha256", self.digest))

    @property
    def groups(self) -> tuple[str, ...]:
        """Names of the groups, such as `race=Black, sex=F`, by their number."""
        return tuple(self.about["groups"])

    @cached_property
    def dataset(self) -> list[str]:
        return list(self.table["dataset"].to_pylist())

    @cached_property
    def image_id(self) -> list[str]:
        return list(self.table["image_id"].to_pylist())

    def keys_of(self, rows: Sequence[int]) -> list[str]:
        """`dataset:image_id` of rows."""
        return [f"{self.dataset[row]}:{self.image_id[row]}" for row in rows]

    @cached_property
    def group(self) -> NDArray[np.int64]:
        """Number of each row's group, -1 where unknown."""
        return self._numbers("group", -1).astype(np.int64)

    @cached_property
    def weight(self) -> NDArray[np.float64]:
        return self._numbers("weight", 1.0)

    def targets(self, head: HeadTargets) -> NDArray[np.float32]:
        """Shape (rows, columns of the head); NaN where not known."""
        columns = [self._numbers(name, np.nan) for name in head.columns]
        return np.stack(columns, axis=1).astype(np.float32)

    def parts(self) -> dict[str, int]:
        """Rows by part of the split."""
        names, counts = np.unique(np.asarray(self.table["part"].to_pylist()), return_counts=True)
        return {str(name): int(count) for name, count in zip(names, counts, strict=True)}

    def rows(self, part: str, *, fold: tuple[int, int] | None = None, repeated: bool = False) -> NDArray[np.int64]:
        """Rows of a part of the split, in their order. repeated: each as often as it was drawn (`n_draws`).

        fold (k, K): `train` is then all folds but the k-th (from 0) and `valid` the k-th; other parts stay. Raises CxrError:
        CXR-501 no such part, CXR-502 no such fold.
        """
        said = np.asarray(self.table["part"].to_pylist())
        if fold is None or part not in (self.about["train"], self.about["valid"]):
            if part not in said:
                known = sorted(set(said.tolist()))
                raise CxrError(
                    "CXR-501",
                    f"the split has no part {part!r}{nearest(part, known)}",
                    where=str(self.folder),
                    fix=f"parts: {', '.join(known)}",
                )
            chosen = said == part
        else:
            chosen = self._fold(part, fold)
        rows = np.flatnonzero(chosen)
        return np.repeat(rows, self._numbers("n_draws", 1)[rows].astype(np.int64)) if repeated else rows

    def _fold(self, part: str, fold: tuple[int, int]) -> NDArray[np.bool_]:
        number, of = fold
        folds = self._numbers("fold", -1).astype(np.int64)
        there = int(folds.max()) + 1 if len(folds) else 0
        if there != of or not 0 <= number < of:
            fix = f"--fold 1/{there} to {there}/{there}" if there else f"make it with cxrdata split --folds {of}"
            raise CxrError(
                "CXR-502", f"the split has {there} folds, not {of}", where=f"--fold {number + 1}/{of}", fix=fix
            )
        inside: NDArray[np.bool_] = folds == number
        return inside if part == self.about["valid"] else (folds >= 0) & ~inside

    def scaled_to(self, rows: NDArray[np.int64]) -> Bundle:
        """The bundle with numbers scaled by those rows, each once: what is held out must not say by what is learnt."""
        heads = [dict(head) for head in self.about["heads"]]
        for head in heads:
            if head["kind"] == "regression":
                said = self._numbers(head["columns"][0], np.nan)[np.unique(rows)]
                if known := said[~np.isnan(said)].tolist():
                    head["mean"], head["sd"] = scale_of(known)
        return Bundle(self.folder, self.about | {"heads": heads}, self.table)

    def only(self, chosen: NDArray[np.bool_]) -> Bundle:
        """The bundle narrowed to some rows; another digest, since it is another one to train on."""
        import pyarrow as pa

        digest = hashlib.sha256(self.digest.encode() + np.packbits(chosen).tobytes()).hexdigest()
        return Bundle(
            self.folder,
            self.about | {"rows_sha256": digest, "file_sha256": self.file_digest},
            self.table.filter(pa.array(chosen)),
        )

    def _numbers(self, name: str, missing: float) -> NDArray[np.float64]:
        import pyarrow as pa
        import pyarrow.compute as pc

        column = self.table[name].cast(pa.float64())
        return np.asarray(pc.fill_null(column, float(missing)).to_numpy(), dtype=np.float64)


def open_bundle(folder: Path) -> Bundle:
    """Raises CxrError CXR-150 where there is none, or it is damaged."""
    import pyarrow.parquet as pq

    fix = "write it anew: cxrdata train EXPERIMENT --prepare BUNDLE"
    try:
        about = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
        data = (folder / ROWS).read_bytes()
    except (OSError, ValueError) as error:
        raise CxrError("CXR-150", "there is no finished bundle here", where=str(folder), fix=fix) from error
    if about.get("format") != FORMAT:
        problem = f"the bundle has format {about.get('format')!r}, and this cxrdata reads {FORMAT}"
        raise CxrError("CXR-150", problem, where=str(folder), fix=fix)
    if hashlib.sha256(data).hexdigest() != about["rows_sha256"]:
        raise CxrError("CXR-150", f"{ROWS} is not the one that was written", where=str(folder), fix=fix)
    # From the file: of a buffer of Python's, a thread of Arrow may be the last to let go, and abort a program that is ending.
    with pq.ParquetFile(folder / ROWS) as file:
        return Bundle(folder, about, file.read())


def write_bundle(folder: Path, table: pa.Table, *, heads: Sequence[HeadTargets], **about: Any) -> Bundle:  # noqa: ANN401
    """Write a bundle whole: rows first, bundle.json last. `about`: groups, train, valid, and what else is to be told."""
    import pyarrow.parquet as pq

    folder.mkdir(parents=True, exist_ok=True)
    (folder / ABOUT).unlink(missing_ok=True)
    pq.write_table(table, folder / ROWS, row_group_size=1 << 17, compression="zstd")
    digest = hashlib.sha256((folder / ROWS).read_bytes()).hexdigest()
    said = {"format": FORMAT, "heads": [asdict(head) for head in heads], "rows_sha256": digest, **about}
    (folder / ABOUT).write_text(json.dumps(said, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    return open_bundle(folder)
