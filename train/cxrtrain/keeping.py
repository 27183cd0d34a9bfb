"""What a run keeps: the checkpoint that it goes on from, the best model, and where it stands."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from torch.optim import Optimizer

from cxrtrain import checkpoint, run_folder
from cxrtrain.distributed import Place, agreed
from cxrtrain.evaluate import Judged
from cxrtrain.models.net import Net
from cxrtrain.models.weights import outputs_metadata
from cxrtrain.objectives import Objective
from cxrtrain.optim import Average, Schedule


@dataclass
class Progress:
    """Where a run stands: whole epochs done, steps done in the one that runs, steps in all; the best loss so far."""

    epoch: int = 0
    step_in_epoch: int = 0
    step: int = 0
    best: float = math.inf
    best_epoch: int = 0
    waited: int = 0
    finished: bool = False

    def facts(self) -> dict[str, Any]:
        """As plain data; infinity is null, which JSON has not."""
        return asdict(self) | {"best": None if math.isinf(self.best) else self.best}

    @classmethod
    def of(cls, facts: dict[str, Any]) -> Progress:
        return cls(**facts | {"best": math.inf if facts["best"] is None else facts["best"]})


@dataclass(frozen=True)
class Kept:
    """All that changes while training. averages: by name, `ema` and `swa` where they are wished for."""

    model: Net
    optimisers: list[Optimizer]
    schedule: Schedule
    objective: Objective
    averages: dict[str, Average]


class Keeper:
    """Writes and reads what is kept, in the folder of a run; only the first process writes."""

    def __init__(self, folder: run_folder.RunFolder, run_id: str, kept: Kept, place: Place) -> None:
        self.folder, self.run_id, self.kept, self.place = folder, run_id, kept, place

    def restore(self) -> Progress | None:
        """Put the last checkpoint back; None where there is none. Raises CxrError CXR-155 where it is damaged, or where
        other processes see one and this one does not."""
        if not agreed(self.folder.last.is_file(), self.place.device):
            return None
        found, kept = checkpoint.load(self.folder.last), self.kept
        kept.model.load_state_dict(found.part("model."))
        for number, optim in enumerate(kept.optimisers):
            checkpoint.restore_optimiser(optim, found.part(f"optim.{number}."), found.facts["optimisers"][number])
        for name, average in kept.averages.items():
            average.restore(found.part(f"{name}."), found.facts[name])
        kept.objective.state = found.tensors["objective"].to(self.place.device)
        kept.schedule.restore(found.facts["schedule"])
        return Progress.of(found.facts["progress"])

    def save_last(self, at: Progress) -> None:
        """Replace the checkpoint that a run goes on from."""
        if not self.place.first:
            return
        kept = self.kept
        tensors = {f"model.{name}": value for name, value in kept.model.state_dict().items()}
        facts: dict[str, Any] = {"run_id": self.run_id, "progress": at.facts(), "schedule": kept.schedule.state()}
        facts["optimisers"] = []
        for number, optim in enumerate(kept.optimisers):
            state, plain = checkpoint.optimiser_tensors(optim, f"optim.{number}.")
            tensors |= state
            facts["optimisers"].append(plain)
        for name, average in kept.averages.items():
            tensors |= {f"{name}.{key}": value for key, value in average.tensors.items()}
            facts[name] = average.n
        checkpoint.save(self.folder.last, tensors | {"objective": kept.objective.state}, facts)

    def save_best(self, judged: Judged, at: Progress) -> None:
        """Replace the best model, with what it was judged to be."""
        if self.place.first:
            facts = {"run_id": self.run_id, "epoch": at.epoch, "valid": judged.losses, "metrics": judged.metrics}
            model = self.kept.model
            checkpoint.save(self.folder.best, model.state_dict(), facts, header=outputs_metadata(model))

    def note(self, state: str, at: Progress) -> None:
        """Say in run.json where the run stands."""
        if self.place.first:
            now = {"state": state, "epochs": at.epoch, "steps": at.step, "best_epoch": at.best_epoch}
            now["best_loss"] = at.facts()["best"]
            run_folder.write_about(self.folder, run_folder.open_run(self.folder.path).about | now)
