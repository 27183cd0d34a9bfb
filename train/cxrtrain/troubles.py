"""What ends a run before its time, and what to tell of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from cxrdata.errors import CxrError
from cxrtrain.run_folder import writing

_SHOWN = 3
_OF_THE_CPU = ("can't allocate memory", "not enough memory")  # what torch's allocator says in a plain RuntimeError


def not_finite(what: str, keys: Sequence[str], place: Path | None) -> CxrError:
    """CXR-153. what: `the loss of step 7 is nan`. keys: the batch's images, which are listed in the file `place`, where this
    process is the one to write it."""
    if place is not None:
        with writing(place):
            place.write_text("\n".join(keys) + "\n", encoding="utf-8")
    shown = ", ".join(keys[:_SHOWN]) + (", …" if len(keys) > _SHOWN else "")
    return CxrError(
        "CXR-153",
        f"{what}; its images: {shown}",
        where=str(place) if place is not None else None,
        fix="not_finite.txt in the run's folder lists them all; try a smaller optim.lr, optim.clip=1.0 or "
        "loop.precision=fp32. The last checkpoint is from before",
    )


@torch.no_grad()
def weights_finite(model: nn.Module) -> bool:
    """Whether no weight is NaN or infinite: a finite loss can have a gradient that is not."""
    return bool(torch.stack([parameter.isfinite().all() for parameter in model.parameters()]).all())


def is_out_of_memory(error: BaseException) -> bool:
    """Whether a device, or the machine, had no memory left."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or (
        isinstance(error, RuntimeError) and any(words in str(error) for words in _OF_THE_CPU)
    )


def too_large(
    said: str, batch: int, accumulate: int, world: int, fits: Callable[[int], bool], device: torch.device
) -> CxrError:
    """CXR-154: out of memory. The batch is halved until a step fits, to say which would. batch: over all processes."""
    size = batch // world // 2
    while size and not fits(size):
        size //= 2
    wish = size * world
    steps = math.ceil(batch * accumulate / wish) if wish else 0
    fix = (
        f"{wish} would fit: --set loop.batch={wish} --set optim.accumulate={steps}"
        if size
        else "not even one image fits: take a smaller backbone or data.side"
    )
    first = said.splitlines()[0] if said else "out of memory"
    return CxrError("CXR-154", f"a batch of {batch} does not fit: {first}", where=str(device), fix=fix)


def step_fits(model: nn.Module, images: Callable[[int], Tensor], size: int, *, spare: int) -> bool:
    """Whether the forward and backward pass over so many images fits into what memory there is. spare: numbers that the
    optimiser has yet to keep for each weight."""
    model.zero_grad(set_to_none=True)
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    model.train()
    try:
        kept = [torch.empty_like(one) for one in model.parameters() if one.requires_grad for _ in range(spare)]
        said = model(images(size))
        torch.stack([value.float().sum() for value in said.values()]).sum().backward()  # type: ignore[no-untyped-call]
        del kept
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        return False
    finally:
        model.zero_grad(set_to_none=True)
    return True
