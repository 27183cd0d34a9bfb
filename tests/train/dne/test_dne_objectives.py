"""The two objectives against arithmetic done by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import entropy

from cxrtrain.dne import config
from cxrtrain.dne.objectives import OBJECTIVES, OF, negative_ce, penalised, uniform

LOGITS = torch.tensor(np.random.default_rng(0).normal(0, 2, (20, 3)))
TRUTH = torch.tensor(np.random.default_rng(1).integers(0, 3, 20))


def test_uniform_is_the_divergence_from_ignorance() -> None:
    posterior = LOGITS.softmax(1).numpy()
    expected = np.mean([entropy(row, np.full(3, 1 / 3)) for row in posterior])
    assert float(uniform(LOGITS, TRUTH)) == pytest.approx(expected)
    assert float(uniform(torch.full((4, 3), 7.0), TRUTH[:4])) == pytest.approx(0, abs=1e-6)


def test_uniform_has_a_bound_and_negative_ce_has_none() -> None:
    sure_and_wrong = torch.zeros(2, 2)
    sure_and_wrong[:, 0] = 1000.0
    truth = torch.ones(2, dtype=torch.int64)
    assert float(uniform(sure_and_wrong, truth)) == pytest.approx(np.log(2))
    assert float(negative_ce(sure_and_wrong, truth)) == pytest.approx(-1000)
    # It prefers being sure of the wrong answer to knowing nothing; the default does not.
    nothing = torch.zeros(2, 2)
    assert negative_ce(sure_and_wrong, truth) < negative_ce(nothing, truth)
    assert uniform(nothing, truth) < uniform(sure_and_wrong, truth)


def test_negative_ce() -> None:
    expected = np.log(LOGITS.softmax(1).numpy()[np.arange(20), TRUTH.numpy()]).mean()
    assert float(negative_ce(LOGITS, TRUTH)) == pytest.approx(expected)


def test_the_penalty_has_a_gradient_where_the_noise_begins() -> None:
    noise = torch.zeros(3, 3, requires_grad=True)
    whole = penalised(torch.tensor(2.0), noise, weight=0.5, penalty=0.1)
    whole.backward()
    assert whole.item() == 1.0
    assert noise.grad is not None
    assert torch.isfinite(noise.grad).all()
    assert penalised(torch.tensor(2.0), torch.ones(4, 4), weight=1, penalty=0.25).item() == pytest.approx(3.0)


def test_the_names_are_those_of_experiments() -> None:
    assert tuple(OF) == OBJECTIVES == config.OBJECTIVES
