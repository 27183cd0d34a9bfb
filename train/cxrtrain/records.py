"""What a run writes down while it goes: one interface, two loggers that ship (CSV and TensorBoard)."""

from __future__ import annotations

import csv
import time
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, Protocol

from cxrdata.stages import unfinished
from cxrtrain.run_folder import writing

STEPS, EPOCHS = "steps.csv", "epochs.csv"


class Logger(Protocol):
    """Anything that takes numbers by step and by epoch."""

    def step(self, step: int, values: Mapping[str, float]) -> None:
        """Numbers of one step, counted from 0 over the whole run."""

    def epoch(self, epoch: int, step: int, values: Mapping[str, float]) -> None:
        """Numbers of one epoch, counted from 1, that ended before the step."""

    def flush(self) -> None:
        """Before a checkpoint, which must not know more steps than is written."""

    def close(self) -> None:
        """Write what is left."""


class CsvLogger:
    """`steps.csv` and `epochs.csv` in a run's folder. Opened again after so many steps and epochs, later ones are cut off."""

    def __init__(self, folder: Path, *, step: int, epoch: int) -> None:
        self._folder = folder
        rows_before = {STEPS: _rows(folder / STEPS, "step", step - 1), EPOCHS: _rows(folder / EPOCHS, "epoch", epoch)}
        self._files: dict[str, Any] = {}
        for name, rows in rows_before.items():
            if rows:
                self._begin(name, list(rows[0]), rows)

    def _begin(self, name: str, columns: Sequence[str], rows: Sequence[Mapping[str, object]] = ()) -> None:
        """Open a file with some rows. Written aside and renamed: a kill meanwhile must not lose what a checkpoint knows."""
        path = self._folder / name
        aside = unfinished(path)
        with aside.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, columns, restval="")
            writer.writeheader()
            writer.writerows(rows)
        aside.replace(path)
        opened = path.open("a", encoding="utf-8", newline="")
        self._files[name] = (opened, csv.DictWriter(opened, columns, restval=""))

    def _write(self, name: str, row: Mapping[str, object]) -> None:
        if name not in self._files:
            self._begin(name, list(row))
        self._files[name][1].writerow(
            {key: f"{value:.9g}" if isinstance(value, float) else value for key, value in row.items()}
        )

    def step(self, step: int, values: Mapping[str, float]) -> None:
        self._write(STEPS, {"step": step, **values})

    def epoch(self, epoch: int, step: int, values: Mapping[str, float]) -> None:
        self._write(EPOCHS, {"epoch": epoch, "step": step, **values})
        for file, _ in self._files.values():
            file.flush()

    def flush(self) -> None:
        for file, _ in self._files.values():
            file.flush()

    def close(self) -> None:
        for file, _ in self._files.values():
            file.close()


def _rows(path: Path, counter: str, most: int) -> list[dict[str, str]]:
    """The rows up to the last number that counts; a line that a kill cut short is none."""
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        found = list(csv.DictReader(file))
    return [
        row
        for row in found
        if (row[counter] or "").isdecimal() and int(row[counter]) <= most and None not in row.values()
    ]


class TensorBoardLogger:
    """Event files for TensorBoard below a run's folder."""

    def __init__(self, folder: Path, *, step: int) -> None:
        """Raises ImportError without the package tensorboard."""
        from torch.utils.tensorboard import SummaryWriter

        # Whatever an earlier process wrote from this step on is not shown.
        self._writer = SummaryWriter(str(folder / "tensorboard"), purge_step=step or None)

    def step(self, step: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self._writer.add_scalar(f"step/{name}", value, step)

    def epoch(self, epoch: int, step: int, values: Mapping[str, float]) -> None:  # noqa: ARG002 - the interface's
        for name, value in values.items():
            self._writer.add_scalar(f"epoch/{name}", value, step)

    def flush(self) -> None:
        self._writer.flush()

    def close(self) -> None:
        self._writer.close()


class Loggers:
    """Several loggers as one. Raises CxrError CXR-602 where they cannot write."""

    def __init__(self, loggers: Sequence[Logger], folder: Path) -> None:
        self._all, self._folder = loggers, folder

    def step(self, step: int, values: Mapping[str, float]) -> None:
        with writing(self._folder):
            for one in self._all:
                one.step(step, values)

    def epoch(self, epoch: int, step: int, values: Mapping[str, float]) -> None:
        with writing(self._folder):
            for one in self._all:
                one.epoch(epoch, step, values)

    def flush(self) -> None:
        with writing(self._folder):
            for one in self._all:
                one.flush()

    def close(self) -> None:
        with writing(self._folder):
            for one in self._all:
                one.close()


class Pace:
    """How fast an epoch goes: images a second, the share of the time that was spent waiting for data."""

    def __init__(self, waited: float) -> None:
        """waited: seconds waited for data so far, in all."""
        self._began, self._waited = time.perf_counter(), waited
        self.images = self.steps = 0

    def add(self, images: int) -> None:
        """One step more."""
        self.images += images
        self.steps += 1

    def speed(self, waited: float) -> dict[str, float]:
        """`images_per_s`, `waiting_share`."""
        seconds = self._seconds()
        return {"images_per_s": self.images / seconds, "waiting_share": (waited - self._waited) / seconds}

    def told(self, waited: float, steps_left: int) -> str:
        """The same in words, with the time that so many steps will take."""
        speed = self.speed(waited)
        left = timedelta(seconds=round(steps_left * self._seconds() / max(self.steps, 1)))
        return f"{speed['images_per_s']:,.0f} images/s, {left} left, {speed['waiting_share']:.0%} waiting for data"

    def _seconds(self) -> float:
        return max(time.perf_counter() - self._began, 1e-9)
