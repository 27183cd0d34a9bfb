"""The trainer: one experiment on one bundle and one image store, from its first step to its last.

Everything random follows from (seed, epoch, step), so a run that was interrupted goes on from its last checkpoint to the
weights that it would have had: to the bit on a CPU. `batch` is counted over all processes, so that two give the loss curve
of one (where no layer looks at the batch).
"""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from cxrdata.interrupts import Interrupts, held_back
from cxrtrain import assemble, run_folder
from cxrtrain.augment import Augment
from cxrtrain.augment.mixup import draw_mixup, mix
from cxrtrain.bundle import Bundle
from cxrtrain.config import Experiment
from cxrtrain.distributed import Place, agreed, joined, summed
from cxrtrain.evaluate import Judged, judge
from cxrtrain.forward import autocast, outputs_of
from cxrtrain.inputs import Inputs, as_float
from cxrtrain.keeping import Keeper, Kept, Progress
from cxrtrain.models import build_net, load_weights
from cxrtrain.objectives import Batch, Mixed, Objective
from cxrtrain.optim import Average, Schedule, optimiser, swapped_in
from cxrtrain.pixels import Pixels, PixelStore
from cxrtrain.sampling import Share, batches, epoch_order, sampling_weights, step_seed
from cxrtrain.troubles import not_finite, step_fits, too_large

if TYPE_CHECKING:
    from numpy.typing import NDArray

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

    Raises CxrError: CXR-148, CXR-151 the store; CXR-152 nothing to learn; CXR-153 a loss that is not finite; CXR-154 out of
    memory; CXR-156 another run in the folder; CXR-157, CXR-159 the weights. KeyboardInterrupt after Ctrl-C or SIGTERM, once the
    checkpoint is written.
    """
    with joined(request.device) as place:
        return Trainer(request, place, tell, say).run()


class Trainer:
    """The state of a run that is going on."""

    def __init__(self, request: Request, place: Place, tell: Callable[[str], None], say: Callable[[str], None]) -> None:
        experiment, bundle = request.experiment, request.bundle
        self.request, self.experiment, self.bundle, self.place = request, experiment, bundle, place
        self.device = place.device
        self.tell, self.say = (tell, say) if place.first else (_silent, _silent)
        torch.use_deterministic_algorithms(experiment.loop.deterministic)
        torch.manual_seed(step_seed(experiment.loop.seed, 0, 0))

        store = PixelStore(request.store, bundle, side=experiment.data.side)
        self.rows = bundle.rows(experiment.data.train, fold=request.fold, repeated=True)
        self.valid = bundle.rows(experiment.data.valid, fold=request.fold)
        self.weights = sampling_weights(experiment, bundle, self.rows)
        self.inputs = Inputs.of(experiment.input, store.mean_and_sd(self.rows))
        self.run_id = run_folder.run_id(experiment, bundle.digest, store.digest, request.fold)
        about = assemble.about_run(experiment, bundle, store, self.inputs, request.fold, place)
        self.folder = assemble.begun(request.out, experiment, about | {"run_id": self.run_id}, place)
        self.pixels = Pixels(store, np.concatenate([self.rows, self.valid]), self.device)

        self.model = build_net(
            experiment.model,
            bundle.heads,
            channels=experiment.input.channels,
            side=self.inputs.side(experiment.data.side),
            seed=experiment.loop.seed,
        )
        load_weights(self.model, experiment.model.weights, say=self.say)
        self.model.to(
            self.device, memory_format=torch.channels_last if self.device.type == "cuda" else torch.contiguous_format
        )
        self.forward = assemble.wrapped(self.model, experiment, place)
        self.targets = {head.name: torch.from_numpy(bundle.targets(head)).to(self.device) for head in bundle.heads}
        self.group = torch.from_numpy(bundle.group).to(self.device)
        # Where the split's weights decide how often an image comes, they do not count again in the loss.
        weight = np.ones(len(bundle)) if self.weights is not None else bundle.weight
        self.weight = torch.from_numpy(weight.astype(np.float32)).to(self.device)
        known = bundle.group[self.rows]
        counts = np.bincount(known[known >= 0], minlength=max(len(bundle.groups), 1))
        self.objective = Objective(experiment.objective, counts.tolist(), self.device)
        self.augment = Augment(experiment.augment, assemble.reference(experiment, store, self.rows, self.device))

        self.optimisers = [
            optimiser(experiment.optim, part, self.device)
            for part in assemble.parameter_sets(self.model, bundle, experiment)
        ]
        self.steps_per_epoch = len(self._steps(self._shares(0)))
        self.schedule = Schedule(experiment.optim, steps_per_epoch=self.steps_per_epoch, epochs=experiment.loop.epochs)
        self.ema = Average(self.model, experiment.optim.ema) if experiment.optim.ema is not None else None
        self.swa = Average(self.model, None) if experiment.optim.swa_from is not None else None
        averages = {name: one for name, one in (("ema", self.ema), ("swa", self.swa)) if one is not None}
        kept = Kept(self.model, self.optimisers, self.schedule, self.objective, averages)
        self.keeper = Keeper(self.folder, self.run_id, kept, place)
        self.at = Progress()
        self.looked: list[tuple[int, NDArray[np.int64], Tensor]] = []

    # The road, from top to bottom.

    def run(self) -> run_folder.Run:
        """All epochs that are left."""
        if (at := self.keeper.restore()) is not None:
            self.at = at
            where = f"going on after epoch {at.epoch}, step {at.step:,}"
            self.say("the run is finished already: nothing to do" if at.finished else where)
        if not self.at.finished:
            self.log = assemble.loggers(
                self.folder, self.at, self.place, tensorboard=self.request.tensorboard, say=self.say
            )
            try:
                with _stoppable() as stop:
                    while self.at.epoch < self.experiment.loop.epochs and not self._enough():
                        self._epoch(stop)
                    self._finish()
            finally:
                self.log.close()
        return run_folder.open_run(self.folder.path)

    def _epoch(self, stop: Interrupts) -> None:
        at, experiment = self.at, self.experiment
        started, waited, images = time.perf_counter(), self.pixels.waited, 0
        steps = self._steps(self._shares(at.epoch))[at.step_in_epoch :]
        flat = [share for step in steps for share in step]
        stream_of_images = self.pixels.batches([share.rows for share in flat])
        for step in steps:
            self._step(step, stream_of_images)
            at.step += 1
            at.step_in_epoch += 1
            images += sum(share.total for share in step)
            self._after_step(stop, started, images, waited)
            if self._enough():
                break
        stream_of_images.close()  # type: ignore[attr-defined]
        self._look()
        at.epoch += 1
        at.step_in_epoch = 0
        seconds = time.perf_counter() - started
        speed = {"images_per_s": images / seconds, "waiting_share": (self.pixels.waited - waited) / seconds}
        self._validate(speed)
        if self.swa is not None and at.epoch >= (experiment.optim.swa_from or 0):
            self.swa.add(self.model)
        self._save()

    def _step(self, shares: list[Share], images: Iterator[Tensor]) -> None:
        """One step of the optimiser, or of each head's in turn, over one batch or several."""
        self.model.train()
        rate = self.schedule.rate(self.at.step)
        loss = torch.zeros((), device=self.device)
        for number, share in enumerate(shares):
            last = number == len(shares) - 1
            values, batch = self._batch(share, next(images), number)
            # In turn, each optimiser sees what the one before it made of the backbone.
            turns = [[head] for head in self.bundle.heads] if len(self.optimisers) > 1 else [list(self.bundle.heads)]
            for turn, optim in zip(turns, self.optimisers, strict=True):
                with self._synchronised(last):
                    part = self._loss(values, batch, turn) / len(shares)
                    part.backward()
                loss = loss + part.detach()
                if last:
                    self._move(optim, rate)
        if self.ema is not None:
            self.ema.add(self.model)
        self.looked.append((self.at.step, np.concatenate([share.rows for share in shares]), loss))

    def _batch(self, share: Share, images: Tensor, number: int) -> tuple[Tensor, Batch]:
        """The images as the model gets them, and what is asked of them."""
        seed = step_seed(
            self.experiment.loop.seed, self.at.epoch, self.at.step * self.experiment.optim.accumulate + number
        )
        drawer = torch.Generator().manual_seed(seed)
        drawn = self.augment.draw(share.total, drawer)[share.start : share.start + len(share.rows)]
        values = self.augment.apply(as_float(images), drawn)
        rows = torch.from_numpy(share.rows).to(self.device, non_blocking=True)
        targets = {name: target[rows] for name, target in self.targets.items()}
        mixed = None
        if self.experiment.augment.mixup_alpha > 0:
            partner, kept = draw_mixup(len(share.rows), self.experiment.augment.mixup_alpha, drawer)
            mixed = Mixed(partner.to(self.device), kept)
            values = mix(values, mixed.partner, kept)
        torch.manual_seed(seed + self.place.rank)  # dropout
        values = self.inputs(values)
        if self.device.type == "cuda":
            values = values.contiguous(memory_format=torch.channels_last)
        return values, Batch(targets, self.group[rows], self.weight[rows], mixed)

    def _loss(self, values: Tensor, batch: Batch, heads: list[Any]) -> Tensor:
        try:
            with autocast(self.experiment.loop.precision, self.device):
                outputs = self.forward(values)
            losses = [
                self.experiment.head(head.name).weight * self.objective.loss(head, outputs[head.name], batch)
                for head in heads
            ]
            return torch.stack(losses).sum()
        except torch.OutOfMemoryError as error:
            raise too_large(
                error, self.experiment.loop.batch, self.place.world, lambda n: self._fits(values, n), self.device
            ) from error

    def _fits(self, values: Tensor, n: int) -> bool:
        with autocast(self.experiment.loop.precision, self.device):
            return step_fits(self.model, lambda size: torch.zeros_like(values[:size]), n)

    def _move(self, optim: torch.optim.Optimizer, rate: float) -> None:
        for group in optim.param_groups:
            group["lr"] = rate
        if self.experiment.optim.clip is not None:
            parameters = [parameter for group in optim.param_groups for parameter in group["params"]]
            nn.utils.clip_grad_norm_(parameters, self.experiment.optim.clip)
        optim.step()
        self.model.zero_grad(set_to_none=True)

    def _after_step(self, stop: Interrupts, started: float, images: int, waited: float) -> None:
        at, every = self.at, self.experiment.loop.checkpoint_steps
        look = at.step % _LOOK[self.device.type] == 0
        if look:
            self._look()
            seconds = max(time.perf_counter() - started, 1e-9)
            left = (self.steps_per_epoch - at.step_in_epoch) * seconds / max(at.step_in_epoch, 1)
            share = (self.pixels.waited - waited) / seconds
            self.tell(
                f"epoch {at.epoch + 1} of {self.experiment.loop.epochs}, {images / seconds:,.0f} images/s, "
                f"{left:,.0f} s left of it, {share:.0%} waiting for data"
            )
        asked = (look or self.place.world == 1) and agreed(stop.noted, self.device)
        if asked or (every is not None and at.step % every == 0):
            self._look()
            self._save()
        if asked:
            self.keeper.note("stopped", self.at)
            self.say("stopped; the checkpoint is written, and the same command goes on from it")
            raise KeyboardInterrupt

    def _look(self) -> None:
        """Write down the losses since the last look. Raises CxrError CXR-153 at the first that is not finite."""
        if not self.looked:
            return
        values = summed(torch.stack([loss for _, _, loss in self.looked]))[0].cpu() / self.place.world
        looked, self.looked = self.looked, []
        for (step, rows, _), value in zip(looked, values.tolist(), strict=True):
            if not math.isfinite(value):
                self.keeper.note("stopped", self.at)
                raise not_finite(step, value, self.bundle.keys_of(rows.tolist()), self.folder.path / "not_finite.txt")
            self.log.step(step, {"loss": value, "lr": self.schedule.rate(step)})

    def _save(self) -> None:
        """The files of numbers first: a checkpoint must not know more steps than they do."""
        self.log.flush()
        self.keeper.save_last(self.at)

    def _validate(self, speed: dict[str, float]) -> None:
        """Judge the epoch, keep it if it is the best, and let the learning rate know."""
        own = swapped_in(self.model, self.ema) if self.ema is not None and self.ema.n else None
        judged = self._judge()
        watched = self._watched(judged)
        improved = watched < self.at.best
        if improved:
            self.at.best, self.at.best_epoch, self.at.waited = watched, self.at.epoch, 0
        else:
            self.at.waited += 1
        if (improved or self.at.best_epoch == 0) and self.swa is None:
            self.keeper.save_best(judged, self.at)
        if own is not None:
            self.model.load_state_dict(own)
        self.schedule.after_epoch(watched)
        self._note_epoch(judged, watched, speed)

    def _finish(self) -> None:
        """The averaged weights where they were asked for, and the last word."""
        if self.swa is not None and self.swa.n:
            swapped_in(self.model, self.swa)
            self._renew_statistics()
            judged = self._judge()
            self.at.best, self.at.best_epoch = self._watched(judged), self.at.epoch
            self.keeper.save_best(judged, self.at)
        elif self.swa is not None:
            self.keeper.save_best(self._judge(), self.at)
        self.at.finished = True
        self._save()
        self.keeper.note("finished", self.at)

    # Which images, and how often.

    def _shares(self, epoch: int) -> list[Share]:
        experiment = self.experiment
        order = epoch_order(
            self.rows, self.weights, seed=experiment.loop.seed, epoch=epoch, n=experiment.data.images_per_epoch
        )
        return batches(order, experiment.loop.batch, rank=self.place.rank, world=self.place.world)

    def _steps(self, shares: list[Share]) -> list[list[Share]]:
        n = self.experiment.optim.accumulate
        return [shares[start : start + n] for start in range(0, len(shares), n)]

    @contextmanager
    def _synchronised(self, last: bool) -> Iterator[None]:  # noqa: FBT001
        """Gradients are averaged over the processes with the last batch of a step only."""
        waiting = not last and isinstance(self.forward, DistributedDataParallel)
        with self.forward.no_sync() if waiting else nullcontext():  # type: ignore[operator]
            yield

    def _enough(self) -> bool:
        loop = self.experiment.loop
        if loop.max_steps is not None and self.at.step >= loop.max_steps:
            return True
        return loop.stop_after is not None and self.at.step_in_epoch == 0 and self.at.waited >= loop.stop_after

    # Judging.

    def _judge(self) -> Judged:
        outputs = outputs_of(
            self.model,
            self.model,
            self.pixels,
            self.valid,
            inputs=self.inputs,
            batch=self.experiment.loop.batch * _EVALUATION,
            precision=self.experiment.loop.precision,
            place=self.place,
        )
        return judge(self.bundle, self.valid, outputs)

    def _watched(self, judged: Judged) -> float:
        """The loss that chooses the epoch. A validation loss that is not finite is the worst of all."""
        name = self.experiment.loop.monitor
        heads = [head for head in self.experiment.heads if name in (None, head.name)]
        loss = sum((head.weight if name is None else 1.0) * judged.losses[head.name] for head in heads)
        return loss if math.isfinite(loss) else math.inf

    def _renew_statistics(self) -> None:
        """Batch normalisation's statistics are of no average of weights: taken anew over the training images."""
        layers = [layer for layer in self.model.modules() if isinstance(layer, nn.modules.batchnorm._BatchNorm)]  # noqa: SLF001
        if layers:
            torch.optim.swa_utils.update_bn(self._plain_images(), self.model, self.device)

    def _plain_images(self) -> Iterator[Tensor]:
        size = self.experiment.loop.batch
        orders = [self.rows[start : start + size] for start in range(0, len(self.rows), size)]
        return (self.inputs(as_float(images)) for images in self.pixels.batches(orders))

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


@contextmanager
def _stoppable() -> Iterator[Interrupts]:
    """Ctrl-C, and SIGTERM as schedulers send it, are noted and answered between two steps."""
    with held_back() as interrupts:
        try:
            before = signal.signal(signal.SIGTERM, interrupts.note)
        except ValueError:  # not the main thread
            yield interrupts
            return
        try:
            yield interrupts
        finally:
            signal.signal(signal.SIGTERM, before)


def _silent(_: str) -> None:
    """Says nothing."""
