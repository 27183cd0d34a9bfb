"""Black boxes: anything that makes embeddings of images and lets nobody look inside.

    box = Counted(LocalBackbone.of_run(open_run(RUN)), budget=100_000, journal=OUT/"queries.json")
    embeddings = box(images)              # (n, side, side), values 0 to 1 → (n, box.width)

A query is one image embedded. `api.open_api` gives one behind an HTTP address.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Protocol, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from cxrdata.errors import CxrError
from cxrdata.stages import make_private, sha256_file
from cxrdata.wording import counted
from cxrtrain.distributed import Place
from cxrtrain.forward import autocast
from cxrtrain.inputs import Inputs
from cxrtrain.models.net import Net
from cxrtrain.predict import load
from cxrtrain.run_folder import Run, writing

_BATCH = 64

Images = NDArray[np.float32]
Embeddings = NDArray[np.float32]


class BlackBox(Protocol):
    """`images → embeddings`: float32, (n, side, side), values 0 to 1, to float32, (n, width), all finite.

    name: who answers; the same name answers the same images the same.
    """

    @property
    def name(self) -> str: ...

    @property
    def width(self) -> int: ...

    def __call__(self, images: Images, /) -> Embeddings: ...


class BudgetSpent(CxrError):  # noqa: N818 - nothing failed
    """CXR-168: what is asked next would cost more queries than are left. Nothing of it was asked."""


class Counted:
    """A black box whose queries are counted, and refused beyond a budget.

    journal: a file that keeps the count, so that a restart goes on counting. What a box was asked counts from the moment it is
    asked, for who is interrupted may have to pay for it; of what it failed to answer with an error nothing counts.
    queries, calls: asked so far, those of earlier processes included.
    """

    def __init__(self, box: BlackBox, *, budget: int | None = None, journal: Path | None = None) -> None:
        self._box, self.budget, self._journal = box, budget, journal
        self.name, self.width = box.name, box.width
        self.queries, self.calls = (0, 0) if journal is None else self._read(journal)

    def __call__(self, images: Images, /) -> Embeddings:
        """Raises BudgetSpent, and what the box raises."""
        n = len(images)
        if self.budget is not None and self.queries + n > self.budget:
            raise BudgetSpent(
                "CXR-168",
                f"the budget is spent: of {self.budget:,} queries {self.queries:,} were asked of {self.name}, and {n:,} "
                "more would be next",
                fix="the same command with a larger budget goes on from here",
            )
        self._note(n, 1)
        try:
            return self._box(images)
        except Exception:
            self._note(-n, -1)
            raise

    def _note(self, queries: int, calls: int) -> None:
        self.queries, self.calls = self.queries + queries, self.calls + calls
        if self._journal is None:
            return
        # One write of a length that does not change: whoever is killed leaves the count of before or of after.
        line = f'{{"box": {json.dumps(self.name)}, "queries": {self.queries:15}, "calls": {self.calls:15}}}\n'
        with writing(self._journal):
            make_private(self._journal.parent)
            file = os.open(self._journal, os.O_WRONLY | os.O_CREAT, 0o600)
            try:
                os.pwrite(file, line.encode(), 0)
            finally:
                os.close(file)

    def _read(self, journal: Path) -> tuple[int, int]:
        if not journal.exists():
            return 0, 0
        try:
            said = json.loads(journal.read_text(encoding="utf-8"))
            name, queries, calls = said["box"], int(said["queries"]), int(said["calls"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            fix = "remove it to count from 0"
            raise CxrError("CXR-155", "the count of queries cannot be read", where=str(journal), fix=fix) from error
        if name != self.name:
            raise CxrError(
                "CXR-167",
                f"the queries counted here were asked of {name}, not of {self.name}",
                where=str(journal),
                fix="name another folder; nothing here was changed",
            )
        return queries, calls


class LocalBackbone:
    """A net's features of images, in eval mode and without autograd. batch: images at once; side: of the images it takes."""

    def __init__(
        self, net: Net, inputs: Inputs, name: str, *, side: int, batch: int = _BATCH, precision: str = "fp32"
    ) -> None:
        self._net, self._inputs, self._batch, self._precision = net.eval(), inputs, batch, precision
        self.name, self.width, self.side = name, net.width, side

    @classmethod
    def of_run(cls, run: Run, place: Place | None = None) -> Self:
        """The best model of a run. Raises CxrError CXR-155."""
        net, inputs = load(run, place or Place(0, 1, torch.device("cpu")))
        loop, side = run.experiment.loop, run.experiment.data.side
        name = f"run {run.run_id}, weights {sha256_file(run.folder.best)[:12]}"  # those of its best epoch so far
        return cls(net, inputs, name, side=side, batch=max(loop.batch, _BATCH), precision=loop.precision)

    @torch.inference_mode()
    def __call__(self, images: Images, /) -> Embeddings:
        self._net.eval()  # whoever shares the net may have trained it since
        device = next(self._net.parameters()).device
        made = []
        for start in range(0, len(images), self._batch):
            values = torch.from_numpy(np.ascontiguousarray(images[start : start + self._batch], dtype=np.float32))
            with autocast(self._precision, device):
                made.append(self._net.features(self._inputs(values[:, None].to(device))).float().cpu().numpy())
        whole = np.concatenate(made) if made else np.empty((0, self.width), dtype=np.float32)
        return checked(whole, len(images), self.width, self.name)


class NoBackward(nn.Module):
    """A backbone through which no gradient goes: backward raises. What works with it in a net needs no gradients."""

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self, x: Tensor) -> Tensor:
        through: Tensor = _Refused.apply(self.backbone(x))
        return through


class _Refused(torch.autograd.Function):
    @staticmethod
    def forward(_: object, x: Tensor) -> Tensor:
        return x.view_as(x)

    @staticmethod
    def backward(_: object, *__: Tensor) -> Tensor:
        raise RuntimeError("a gradient was asked of a black box")


class Function:
    """A function of Python as a black box. side: of the images it will get; its width is found by asking about one black
    image."""

    def __init__(self, function: Callable[[Images], object], name: str, *, side: int) -> None:
        self._function, self.name = function, name
        first = np.asarray(function(np.zeros((1, side, side), dtype=np.float32)))
        if first.ndim != 2 or first.shape[1] < 1:
            raise unusable(name, f"of shape {first.shape}, not (1, width)", "one row of numbers for each image")
        self.width = first.shape[1]

    def __call__(self, images: Images, /) -> Embeddings:
        return checked(np.asarray(self._function(images)), len(images), self.width, self.name)


def named_function(said: str, *, side: int) -> Function:
    """The function `MODULE:FUNCTION`, looked for in the current folder too. Raises CxrError CXR-501, CXR-167."""
    module, colon, name = said.partition(":")
    fix = "MODULE:FUNCTION, a function of the current folder's MODULE.py or of an installed package"
    if not (module and colon and name):
        raise CxrError("CXR-501", f"{said!r} names no function", fix=fix)
    here = str(Path.cwd())
    sys.path.insert(0, here)
    try:
        module_there = importlib.import_module(module)
        found = getattr(module_there, name)
    except (ImportError, AttributeError) as error:
        raise CxrError("CXR-501", f"there is no function {said}: {error}", fix=fix) from error
    finally:
        sys.path.remove(here)
    if not callable(found):
        raise CxrError("CXR-501", f"{said} is no function", fix=fix)
    file = Path(getattr(module_there, "__file__", None) or "")
    code = (
        f" (code {sha256_file(file)[:12]})" if file.is_file() else ""
    )  # the same name answers the same images the same
    return Function(found, f"{said}{code}", side=side)


def checked(answer: NDArray[np.generic], n: int, width: int, name: str, *, where: str | None = None) -> Embeddings:
    """What a box answered, as float32. Raises CxrError CXR-167 where it is not n rows of `width` finite numbers."""
    if answer.dtype.kind != "f":
        raise unusable(name, f"of type {answer.dtype}", "floating-point numbers", where)
    if answer.ndim != 2 or len(answer) != n:
        raise unusable(name, f"of shape {answer.shape} for {counted(n, 'image')}", f"({n}, {width})", where)
    if answer.shape[1] != width:
        raise unusable(
            name, f"{counted(answer.shape[1], 'number')} wide, and {width} was said", f"({n}, {width})", where
        )
    with np.errstate(over="ignore"):
        made = np.ascontiguousarray(answer, dtype=np.float32)
    if bad := int((~np.isfinite(made)).any(axis=1).sum()):
        raise unusable(name, f"not finite for {bad:,} of {counted(n, 'image')}", "finite numbers", where)
    return made


def unusable(name: str, problem: str, wanted: str, where: str | None = None) -> CxrError:
    """CXR-167: the black box answers something that is no embedding of the images."""
    return CxrError(
        "CXR-167",
        f"the answer of {name} is {problem}",
        where=where,
        fix=f"it must be {wanted}; mend the black box, then the same command goes on from here",
    )
