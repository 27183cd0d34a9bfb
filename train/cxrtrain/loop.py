"""The trainer: one experiment on one bundle and one image store, from its first step to its last.

Everything random follows from (seed, epoch, step), so a run that was interrupted goes on from its last checkpoint to the
weights that it would have had: to the bit on a CPU. `batch` is counted over all processes, so that two give the loss curve
of one (where no layer looks at the batch, and nothing is mixed or dropped out).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from cxrtrain import assemble, run_folder
from cxrtrain.augment import Augment
from cxrtrain.bundle import Bundle, HeadTargets
from cxrtrain.config import Experiment
from cxrtrain.distributed import Place, agreed, joined, same_buffers, summed
from cxrtrain.evaluate import Judged, judge
from cxrtrain.feed import Feed
from cxrtrain.forward import autocast, outputs_of
from cxrtrain.inputs import Inputs
from cxrtrain.keeping import Keeper, Kept, Progress
from cxrtrain.objectives import Batch, Objective
from cxrtrain.optim import Average, Schedule, optimiser, renew_statistics, swapped_in
from cxrtrain.pixels import Pixels, PixelStore
from cxrtrain.records import Loggers, Pace
from cxrtrain.sampling import Share, step_seed
from cxrtrain.stopping import Interrupts, stoppable
from cxrtrain.troubles import is_out_of_memory, not_finite, step_fits, too_large, weights_finite

# Losses are looked at so often: on a GPU each look waits for the device.
_LOOK = {"cpu": 1, "cuda": 20}
_EVALUATION = 2  # images of a batch without gradients, as a multiple of a training batch


@dataclass(frozen=True)
class Request:
    """What is to be trained, and where. fold (k, K) from 0; device: None takes a GPU where there is one."""

    experiment: Experiment
    bundle: Bundle
    store: Path
    out: Path
    fold: tuple[int, int] | None = None
    device: str | None = None
    tensorboard: bool = True


def train(
    request: Request, *, tell: Callable[[str], None] = lambda _: None, say: Callable[[str], None] = lambda _: None
) -> run_folder.Run:
    """Train, or go on with what is there. tell: progress, a line that is replaced; say: remarks.

    Raises CxrError: CXR-148, CXR-151 the store; CXR-150 a bundle of another experiment; CXR-152 nothing to learn; CXR-153 a
    loss that is not finite; CXR-154 out of memory; CXR-155 a damaged checkpoint; CXR-156 another run in the folder; CXR-157
    to CXR-159 the weights; CXR-502 no such device or fold; CXR-602 it cannot be written. KeyboardInterrupt after Ctrl-C or
    SIGTERM, once the checkpoint is written.
    """
    with joined(request.device) as place:
        trainer = Trainer(request, place, tell, say)
        with run_folder.held(trainer.folder) if place.first else nullcontext():
            return trainer.run()


class Trainer:
    """The state of a run that is going on."""

    def __init__(self, request: Request, place: Place, tell: Callable[[str], None], say: Callable[[str], None]) -> None:
        experiment = request.experiment
        rows = request.bundle.rows(experiment.data.train, fold=request.fold, repeated=True)
        # The bundle's scales are of all folds.
        bundle = request.bundle if request.fold is None else request.bundle.scaled_to(rows)
        self.request, self.experiment, self.bundle, self.place = request, experiment, bundle, place
        self.device = place.device
        self.tell, self.say = (tell, say) if place.first else (_silent, _silent)
        assemble.numerics(experiment, self.device)
        torch.manual_seed(step_seed(experiment.loop.seed, 0, 0))

        assemble.check_heads(bundle, experiment)
        store = PixelStore(request.store, bundle, side=experiment.data.side, fit=experiment.data.fit)
        self.valid = bundle.rows(experiment.data.valid, fold=request.fold)
        assemble.check_learnable(bundle, {experiment.data.train: rows, experiment.data.valid: self.valid})
        self.inputs = Inputs.of(experiment.input, store.mean_and_sd(rows))
        augment = Augment(experiment.augment, assemble.reference(experiment, store, rows, self.device))
        self.feed = Feed(experiment, bundle, rows, inputs=self.inputs, augment=augment, place=place)
        self.run_id = run_folder.run_id(experiment, bundle.digest, store.digest, request.fold)
        about = assemble.about_run(experiment, bundle, store, self.inputs, request.fold, place)
        # Before the folder is the run's: weights that are refused must not take it.
        side = self.inputs.side(experiment.data.side)
        going_on = agreed(run_folder.RunFolder(request.out).last.is_file(), self.device)
        self.model = assemble.net(experiment, bundle, side, going_on=going_on, say=self.say)
        self.folder = assemble.begun(request.out, experiment, about | {"run_id": self.run_id}, place)
        self.pixels = Pixels(store, np.concatenate([rows, self.valid]), self.device)

        # Convolutions are faster so, on a CPU too.
        self.model.to(self.device)
        self.model.to(memory_format=torch.channels_last)
        self.forward, self.parallel = assemble.wrapped(self.model, experiment, place)
        self.objective = Objective(experiment.objective, assemble.group_counts(bundle, rows), self.device)
        sets = assemble.parameter_sets(self.model, bundle, experiment)
        self.optimisers = [optimiser(experiment.optim, part, self.device) for part in sets]
        # In turn, each optimiser steps for its own head.
        self.turns = [[head] for head in bundle.heads] if len(sets) > 1 else [list(bundle.heads)]
        self.steps_per_epoch, loop = len(self.feed.steps(0)), experiment.loop
        self.schedule = Schedule(
            experiment.optim, steps_per_epoch=self.steps_per_epoch, epochs=loop.epochs, most=loop.max_steps
        )
        self.ema = Average(self.model, experiment.optim.ema) if experiment.optim.ema is not None else None
        self.swa = Average(self.model, None) if experiment.optim.swa_from is not None else None
        averages = {name: one for name, one in (("ema", self.ema), ("swa", self.swa)) if one is not None}
        kept = Kept(self.model, self.optimisers, self.schedule, self.objective, averages)
        self.keeper = Keeper(self.folder, self.run_id, kept, place)
        self.at = Progress()
        self.log = Loggers([], self.folder.path)
        self.looked: list[tuple[int, list[Share], Tensor]] = []

    # The road, from top to bottom.

    def run(self) -> run_folder.Run:
        """All epochs that are left."""
        if (found := self.keeper.restore()) is not None:
            self.at = found
            where = f"going on after epoch {found.epoch}, step {found.step:,}"
            self.say("the run is finished already: nothing to do" if found.finished else where)
        try:
            if self.at.finished:
                self.keeper.note("finished", self.at)
            else:
                self._train()
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            said = str(error)  # its traceback, which holds tensors, is gone before smaller batches are tried
        else:
            return run_folder.open_run(self.folder.path)
        self.keeper.note("stopped", self.at)
        optim, batch = self.experiment.optim, self.experiment.loop.batch
        raise too_large(said, batch, optim.accumulate, self.place.world, self._fits, self.device)

    def _train(self) -> None:
        tensorboard, say = self.request.tensorboard, self.say
        self.log = assemble.loggers(self.folder, self.at, self.place, tensorboard=tensorboard, say=say)
        with closing(self.log), stoppable() as stop:
            while not self._over():
                self._epoch(stop)
            self._finish()

    def _epoch(self, stop: Interrupts) -> None:
        at, most = self.at, self.experiment.loop.max_steps
        steps = self.feed.steps(at.epoch)[at.step_in_epoch :]
        steps = steps if most is None else steps[: most - at.step]
        pace = Pace(self.pixels.waited)
        self.model.train()
        with closing(self.pixels.batches([share.rows for step in steps for share in step])) as images:
            for step in steps:
                self._step(step, images)
                at.step += 1
                at.step_in_epoch += 1
                pace.add(sum(share.total for share in step))
                self._after_step(stop, pace, step)
        self._look()
        self._check_weights(steps[-1] if steps else ())
        at.epoch += 1
        at.step_in_epoch = 0
        self._validate(pace)
        if self.swa is not None and at.epoch >= (self.experiment.optim.swa_from or 0):
            self.swa.add(self.model)
        self._save()
        if not self._over():
            self._answer(agreed(stop.noted, self.device))

    def _step(self, shares: Sequence[Share], images: Iterator[Tensor]) -> None:
        """One step of the optimiser, or of each head's in turn, over one batch or several."""
        rate = self.schedule.rate(self.at.step)
        asked = self.feed.asked(shares)
        sizes = self.objective.sizes(self.bundle.heads, asked)
        pixels = [next(images) for _ in shares]
        made = None
        loss = torch.zeros((), device=self.device)
        # In turn, each optimiser sees what the one before it made of the backbone.
        for turn, optim in zip(self.turns, self.optimisers, strict=True):
            for place, share in enumerate(shares):
                if made is None or len(shares) > 1:  # one batch is changed once for all turns; of several none is kept
                    number = self.at.step * self.experiment.optim.accumulate + place
                    made = self.feed.values(pixels[place], share, epoch=self.at.epoch, number=number)
                values, mixed = made
                with self._synchronised(last=place == len(shares) - 1):
                    part = self._loss(values, replace(asked[place], mixed=mixed), turn, sizes)
                    part.backward()  # type: ignore[no-untyped-call]
                loss = loss + part.detach()
            self._move(optim, rate)
        if self.ema is not None:
            self.ema.add(self.model)
        self.looked.append((self.at.step, list(shares), loss))

    def _loss(self, values: Tensor, batch: Batch, turn: Sequence[HeadTargets], sizes: dict[str, Tensor]) -> Tensor:
        with autocast(self.experiment.loop.precision, self.device):
            outputs = self.forward(values)
        losses = [
            self.experiment.head(head.name).weight
            * self.objective.loss(head, outputs[head.name], batch, sizes[head.name])
            for head in turn
        ]
        if self.parallel is not None and len(self.turns) > 1:
            # Processes wait for the gradients of all heads, those whose turn it is not included.
            losses += [0.0 * outputs[head.name].float().sum() for head in self.bundle.heads if head not in turn]
        return torch.stack(losses).sum()

    def _move(self, optim: torch.optim.Optimizer, rate: float) -> None:
        for group in optim.param_groups:
            group["lr"] = rate
        if self.experiment.optim.clip is not None:
            parameters = [parameter for group in optim.param_groups for parameter in group["params"]]
            nn.utils.clip_grad_norm_(parameters, self.experiment.optim.clip)
        optim.step()
        self.model.zero_grad(set_to_none=True)

    def _after_step(self, stop: Interrupts, pace: Pace, step: Sequence[Share]) -> None:
        at, every = self.at, self.experiment.loop.checkpoint_steps
        look = at.step % _LOOK[self.device.type] == 0
        if look:
            self._look()
            left = self.steps_per_epoch - at.step_in_epoch
            where = f"epoch {at.epoch + 1} of {self.experiment.loop.epochs}"
            self.tell(f"{where}, {pace.told(self.pixels.waited, left)}")
        asked = (look or self.place.world == 1) and agreed(stop.noted, self.device)
        if asked or (every is not None and at.step % every == 0):
            self._look()
            self._check_weights(step)
            self._save()
        self._answer(asked)

    def _answer(self, asked: bool) -> None:  # noqa: FBT001 - its one argument
        """Stop if Ctrl-C or SIGTERM came to any process; the checkpoint is written."""
        if asked:
            self.keeper.note("stopped", self.at)
            self.say("stopped; the checkpoint is written, and the same command goes on from it")
            raise KeyboardInterrupt

    def _look(self) -> None:
        """Write down the losses since the last look. Raises CxrError CXR-153 at the first that is not finite."""
        if not self.looked:
            return
        values = summed(torch.stack([loss for _, _, loss in self.looked])).cpu() / self.place.world
        looked, self.looked = self.looked, []
        for (step, shares, _), value in zip(looked, values.tolist(), strict=True):
            if not math.isfinite(value):
                self._not_finite(f"the loss of step {step} is {value}", shares)
            self.log.step(step, {"loss": value, "lr": self.schedule.rate(step)})

    def _check_weights(self, step: Sequence[Share]) -> None:
        """No checkpoint is written, and no epoch judged, of weights that are not finite."""
        if not weights_finite(self.model):
            self._not_finite(f"the weights are not finite after step {self.at.step - 1}", step)

    def _not_finite(self, what: str, shares: Sequence[Share]) -> None:
        self.keeper.note("stopped", self.at)
        keys = [key for share in shares for key in self.bundle.keys_of(share.batch.tolist())]
        raise not_finite(what, keys, self.folder.path / "not_finite.txt" if self.place.first else None)

    def _save(self) -> None:
        """The files of numbers first: a checkpoint must not know more steps than they do."""
        self.log.flush()
        self.keeper.save_last(self.at)

    def _validate(self, pace: Pace) -> None:
        """Judge the epoch, keep it if it is the best, and let the learning rate know."""
        speed = pace.speed(self.pixels.waited)
        own = swapped_in(self.model, self.ema) if self.ema is not None and self.ema.n else None
        judged = self._judge()
        watched = self._watched(judged)
        improved = watched < self.at.best
        if improved:
            self.at.best, self.at.best_epoch, self.at.waited = watched, self.at.epoch, 0
        else:
            self.at.waited += 1
        if improved or self.at.best_epoch == 0:
            self.keeper.save_best(judged, self.at)
        if own is not None:
            self.model.load_state_dict(own)
        self.schedule.after_epoch(watched)
        self._note_epoch(judged, watched, speed)

    def _finish(self) -> None:
        """The averaged weights where they were asked for, and the last word."""
        if self.swa is not None and self.swa.n:  # else it stopped before the first weights were averaged
            swapped_in(self.model, self.swa)
            renew_statistics(self.model, lambda: self.feed.plain(self.pixels))
            judged = self._judge()
            self.at.best, self.at.best_epoch = self._watched(judged), self.at.epoch
            self.keeper.save_best(judged, self.at)
        self.at.finished = True
        self._save()
        self.keeper.note("finished", self.at)

    # How far, and how well.

    @property
    def _full(self) -> bool:
        most = self.experiment.loop.max_steps
        return most is not None and self.at.step >= most

    def _over(self) -> bool:
        """Whether no epoch is to be begun; one that was begun is ended."""
        at, loop = self.at, self.experiment.loop
        if at.step_in_epoch:
            return False
        return at.epoch >= loop.epochs or self._full or (loop.stop_after is not None and at.waited >= loop.stop_after)

    def _synchronised(self, *, last: bool) -> AbstractContextManager[object]:
        """Gradients are averaged over the processes with the last batch of a step only."""
        return nullcontext() if last or self.parallel is None else self.parallel.no_sync()

    def _judge(self) -> Judged:
        same_buffers(self.model)
        loop = self.experiment.loop
        outputs = outputs_of(
            self.model,
            self.model,
            self.pixels,
            self.valid,
            inputs=self.inputs,
            batch=max(1, loop.batch * _EVALUATION // self.place.world),
            precision=loop.precision,
            place=self.place,
        )
        return judge(self.bundle, self.valid, outputs)

    def _watched(self, judged: Judged) -> float:
        """The loss that chooses the epoch. A validation loss that is not finite is the worst of all."""
        name = self.experiment.loop.monitor
        heads = [head for head in self.experiment.heads if name in (None, head.name)]
        loss = sum((head.weight if name is None else 1.0) * judged.losses[head.name] for head in heads)
        return loss if math.isfinite(loss) else math.inf

    def _fits(self, n: int) -> bool:
        """Whether a step over so many images fits into memory."""
        side = self.inputs.side(self.experiment.data.side)
        shape = (self.experiment.input.channels, side, side)
        spare = 0 if any(optim.state for optim in self.optimisers) else 2
        with autocast(self.experiment.loop.precision, self.device):
            return step_fits(self.model, lambda m: torch.zeros((m, *shape), device=self.device), n, spare=spare)

    def _note_epoch(self, judged: Judged, watched: float, speed: dict[str, float]) -> None:
        losses = {f"valid_{name}": value for name, value in judged.losses.items()}
        self.log.epoch(self.at.epoch, self.at.step, {"valid_loss": watched, **losses, **judged.metrics, **speed})
        told = ", ".join(f"{name} {value:.3f}" for name, value in judged.metrics.items())
        best = ", the best so far" if self.at.best_epoch == self.at.epoch else ""
        self.say(
            f"epoch {self.at.epoch}: validation loss {watched:.4f}{best}; {told} "
            f"({speed['images_per_s']:,.0f} images/s, {speed['waiting_share']:.0%} waiting)"
        )
        self.keeper.note("running", self.at)


def _silent(_: str) -> None:
    """Says nothing."""
