"""What the noise is fitted to: the attribute's probe is to know nothing.

    uniform       KL(posterior ‖ uniform), 0 where every class is as likely, at most log(classes): it is reached, and stays
    negative_ce   −CE of the true attribute (Jin et al., MICCAI 2024): without bound, so that a noise which makes the probe
                  sure of the wrong answer is better still: that fools the probe and hides nothing

To either comes λ_reg · ‖ε‖₂. What is asked of a way without gradients is the same number.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

UNIFORM, NEGATIVE_CE = "uniform", "negative_ce"
OBJECTIVES = (UNIFORM, NEGATIVE_CE)


def uniform(logits: Tensor, _: Tensor) -> Tensor:
    """The mean over images of KL(posterior ‖ uniform) = log(classes) − entropy. logits: (n, classes)."""
    logs = logits.log_softmax(dim=1)
    return (logs.exp() * logs).sum(dim=1).mean() + torch.log(torch.tensor(float(logits.shape[1]), device=logits.device))


def negative_ce(logits: Tensor, truth: Tensor) -> Tensor:
    """The mean over images of log p(true class). truth: (n,)."""
    return -cross_entropy(logits, truth)


OF: dict[str, Callable[[Tensor, Tensor], Tensor]] = {UNIFORM: uniform, NEGATIVE_CE: negative_ce}


def penalised(objective: Tensor, noise: Tensor, *, weight: float, penalty: float) -> Tensor:
    """λ₁ · objective + λ_reg · ‖ε‖₂."""
    norm: Tensor = torch.linalg.vector_norm(noise)
    return weight * objective + penalty * norm
