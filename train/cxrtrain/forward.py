"""A model over many images without gradients: for validation, prediction and embeddings."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from cxrtrain.distributed import Place, gathered
from cxrtrain.inputs import Inputs, as_float
from cxrtrain.pixels import Pixels

if TYPE_CHECKING:
    from numpy.typing import NDArray

Forward = Callable[[Tensor], dict[str, Tensor]]


def autocast(precision: str, device: torch.device) -> AbstractContextManager[object]:
    """bf16 where the config asks for it, or says `auto` and the device is a GPU that has it."""
    wanted = precision == "bf16" or (precision == "auto" and device.type == "cuda" and torch.cuda.is_bf16_supported())
    return torch.autocast(device.type, dtype=torch.bfloat16) if wanted else nullcontext()


@torch.inference_mode()
def outputs_of(
    model: nn.Module,
    forward: Forward,
    pixels: Pixels,
    rows: NDArray[np.int64],
    *,
    inputs: Inputs,
    batch: int,
    precision: str,
    place: Place,
    change: Callable[[Tensor], Tensor] | None = None,
    tell: Callable[[int], None] = lambda _: None,
) -> dict[str, Tensor]:
    """What `forward` gives for the images of rows, on the CPU in their order, by name; shape (rows, …).

    change: what else is done to the float images before they are normalised (histogram matching). Several processes share
    the rows, and each gets all of the result; with fewer rows than processes each does all.
    """
    model.eval()
    shared = place.world > 1 and len(rows) >= place.world
    mine = np.array_split(rows, place.world)[place.rank] if shared else rows
    cut = [mine[start : start + batch] for start in range(0, len(mine), batch)]
    found: dict[str, list[Tensor]] = {}
    done = 0
    for images in pixels.batches(cut):
        values = as_float(images)
        values = change(values) if change is not None else values
        with autocast(precision, place.device):
            said = forward(inputs(values))
        for name, value in said.items():
            found.setdefault(name, []).append(value.float())
        done += len(images)
        tell(done)
    if not shared:
        return {name: torch.cat(parts).cpu() for name, parts in found.items()}
    return {name: torch.cat(gathered(torch.cat(parts))).cpu() for name, parts in found.items()}
