"""What ends a run before its time, and what to tell of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from cxrdata.errors import CxrError

_SHOWN = 3


def not_finite(step: int, value: float, keys: Sequence[str], place: Path) -> CxrError:
    """CXR-153: a loss that is NaN or infinite. keys: the batch's images, which are listed in the file `place`."""
    place.write_text("\n".join(keys) + "\n", encoding="utf-8")
    shown = ", ".join(keys[:_SHOWN]) + (", …" if len(keys) > _SHOWN else "")
    return CxrError(
        "CXR-153",
        f"the loss of step {step} is {value}; its images: {shown}",
        where=str(place),
        fix="the file lists them all; try a smaller optim.lr, optim.clip=1.0 or loop.precision=fp32. "
        "The last checkpoint is from before",
    )


def too_large(error: Exception, batch: int, world: int, fits: Callable[[int], bool], device: torch.device) -> CxrError:
    """CXR-154: out of memory. The batch is halved until a step fits, to say which would."""
    size = batch // world // 2
    while size and not fits(size):
        size //= 2
    wish = size * world
    fix = (
        f"{wish} would fit: --set loop.batch={wish} --set optim.accumulate={math.ceil(batch / wish)}"
        if size
        else "not even one image fits: take a smaller backbone or data.side"
    )
    first = str(error).splitlines()[0] if str(error) else "out of memory"
    return CxrError("CXR-154", f"a batch of {batch} does not fit: {first}", where=str(device), fix=fix)


def step_fits(model: nn.Module, images: Callable[[int], Tensor], size: int) -> bool:
    """Whether the forward and backward pass over so many images fits into what memory there is."""
    model.zero_grad(set_to_none=True)
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    try:
        said = model(images(size))
        torch.stack([value.float().sum() for value in said.values()]).sum().backward()
    except torch.OutOfMemoryError:
        return False
    return True
