"""Losses by hand; what is not known counts nothing; groups count as their objective says."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from cxrtrain.bundle import HeadTargets
from cxrtrain.config import ObjectiveConfig
from cxrtrain.objectives import Batch, Mixed, Objective, entry_losses, logits, probabilities
from sklearn.metrics import log_loss, mean_absolute_error, mean_squared_error
from torch import Tensor

CPU = torch.device("cpu")
NAN = float("nan")
BINARY = HeadTargets("h", "binary", "bce", ("h",), ("t",))
SOFTMAX = HeadTargets("h", "binary", "ce", ("h",), ("t",))
SEVERAL = HeadTargets("h", "multilabel", "bce", ("a", "b", "c"), ("ta", "tb", "tc"))
CLASSES = HeadTargets("h", "classes", "ce", ("x", "y", "z"), ("t",))
AGE = HeadTargets("h", "regression", "mse", ("age",), ("t",), mean=50.0, sd=20.0)


def batch(targets: Tensor, group: list[int] | None = None, weight: list[float] | None = None, **other: object) -> Batch:
    n = len(targets)
    groups = torch.tensor(group if group is not None else [-1] * n)
    return Batch({"h": targets}, groups, torch.tensor(weight if weight is not None else [1.0] * n), **other)  # type: ignore[arg-type]


def loss(head: HeadTargets, outputs: Tensor, asked: Batch, objective: Objective | None = None) -> Tensor:
    how = objective or Objective(ObjectiveConfig(), {"h": [1]}, CPU)
    return how.loss(head, outputs, asked, how.sizes([head], [asked])["h"])


def numbers(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


# --- each loss against scikit-learn


def test_bce_is_the_log_loss() -> None:
    outputs, true = numbers(6, 1), torch.tensor([[0.0], [1], [1], [0], [1], [0]])
    expected = log_loss(true[:, 0], torch.sigmoid(outputs[:, 0].double()))
    assert float(loss(BINARY, outputs, batch(true))) == pytest.approx(expected, rel=1e-5)


def test_softmax_of_two_is_the_log_loss() -> None:
    outputs, true = numbers(6, 2), torch.tensor([[0.0], [1], [1], [0], [1], [0]])
    expected = log_loss(true[:, 0], torch.softmax(outputs.double(), 1))
    assert float(loss(SOFTMAX, outputs, batch(true))) == pytest.approx(expected, rel=1e-5)
    assert torch.equal(probabilities(SOFTMAX, outputs), torch.softmax(outputs, 1)[:, 1:])
    torch.testing.assert_close(torch.sigmoid(logits(SOFTMAX, outputs)), probabilities(SOFTMAX, outputs))


def test_classes_are_the_log_loss() -> None:
    outputs, true = numbers(5, 3), torch.tensor([[2.0], [0], [1], [1], [2]])
    expected = log_loss(true[:, 0], torch.softmax(outputs.double(), 1), labels=[0, 1, 2])
    assert float(loss(CLASSES, outputs, batch(true))) == pytest.approx(expected, rel=1e-5)


def test_several_labels_are_the_mean_over_all_known_entries() -> None:
    outputs = numbers(4, 3)
    true = torch.tensor([[0, 1, NAN], [1, NAN, NAN], [NAN, NAN, NAN], [1, 0, 1]])
    known = ~torch.isnan(true)
    expected = log_loss(true[known], torch.sigmoid(outputs[known].double()))
    assert float(loss(SEVERAL, outputs, batch(true))) == pytest.approx(expected, rel=1e-5)


def test_regression_is_in_its_own_sd() -> None:
    outputs, true = numbers(5, 1), torch.tensor([[30.0], [50], [70], [90], [11]])
    scaled = (true - 50) / 20
    assert float(loss(AGE, outputs, batch(true))) == pytest.approx(mean_squared_error(scaled, outputs), rel=1e-5)
    absolute = replace(AGE, loss="l1")
    assert float(loss(absolute, outputs, batch(true))) == pytest.approx(mean_absolute_error(scaled, outputs), rel=1e-5)
    torch.testing.assert_close(probabilities(AGE, scaled), true)


# --- what is not known


@pytest.mark.parametrize("head", [BINARY, SOFTMAX, SEVERAL, CLASSES, AGE], ids=lambda head: f"{head.kind}-{head.loss}")
@pytest.mark.parametrize("name", ["erm", "reweight", "group_dro"])
def test_the_unknown_has_no_gradient_at_all(head: HeadTargets, name: str) -> None:
    outputs = numbers(3, head.width).requires_grad_()
    true = torch.ones(3, len(head.columns))
    true[1] = NAN
    how = Objective(ObjectiveConfig(name), {"h": [2, 1]}, CPU)
    loss(head, outputs, batch(true, group=[0, 1, 1]), how).backward()
    assert outputs.grad is not None
    assert torch.equal(outputs.grad[1], torch.zeros(head.width))
    assert outputs.grad[0].abs().min() > 0


def test_where_nothing_is_known_the_loss_is_zero() -> None:
    outputs = numbers(3, 1).requires_grad_()
    found = loss(BINARY, outputs, batch(torch.full((3, 1), NAN)))
    found.backward()
    assert float(found.detach()) == 0
    assert torch.equal(outputs.grad, torch.zeros(3, 1))  # type: ignore[arg-type]


def test_an_infinite_output_where_nothing_is_known_harms_nobody() -> None:
    outputs = torch.tensor([[float("inf")], [0.5]], requires_grad=True)
    found, _ = entry_losses(BINARY, outputs, torch.tensor([[NAN], [1.0]]))
    found.sum().backward()
    assert torch.isfinite(found).all()
    assert outputs.grad is not None and torch.isfinite(outputs.grad).all()


# --- weights


def test_weights_of_images() -> None:
    outputs, true = numbers(3, 1), torch.tensor([[0.0], [1], [1]])
    each = entry_losses(BINARY, outputs, true)[0][:, 0]
    expected = (each[0] * 2 + each[1] * 0.5) / 2.5
    assert float(loss(BINARY, outputs, batch(true, weight=[2.0, 0.5, 0.0]))) == pytest.approx(float(expected))


def test_reweight_by_hand() -> None:
    """60, 30 and 10 images: the weight of each group is 100 over three times its images, so that the three have the same sum."""
    how = Objective(ObjectiveConfig("reweight"), {"h": [60, 30, 10]}, CPU)
    outputs, true = numbers(5, 1), torch.tensor([[0.0], [1], [1], [0], [1]])
    each = entry_losses(BINARY, outputs, true)[0][:, 0].double().numpy()
    weight = np.array([100 / 180, 100 / 180, 100 / 90, 100 / 30, 0])
    found = loss(BINARY, outputs, batch(true, group=[0, 0, 1, 2, -1]), how)
    assert float(found) == pytest.approx((each * weight).sum() / weight.sum(), rel=1e-5)


def test_reweight_over_all_images_is_the_mean_of_the_groups_means() -> None:
    group = [0] * 6 + [1] * 3 + [2]
    how = Objective(ObjectiveConfig("reweight"), {"h": [6, 3, 1]}, CPU)
    outputs, true = numbers(10, 1), (torch.arange(10) % 2).float().unsqueeze(1)
    each = entry_losses(BINARY, outputs, true)[0][:, 0]
    expected = np.mean([float(each[torch.tensor(group) == number].mean()) for number in range(3)])
    assert float(loss(BINARY, outputs, batch(true, group=group), how)) == pytest.approx(expected, rel=1e-5)


def test_a_group_without_images_has_no_weight() -> None:
    how = Objective(ObjectiveConfig("reweight"), {"h": [4, 0]}, CPU)
    outputs, true = numbers(4, 1), torch.ones(4, 1)
    plain = loss(BINARY, outputs, batch(true))
    assert float(loss(BINARY, outputs, batch(true, group=[0] * 4), how)) == pytest.approx(float(plain))


# --- MixUp


def test_mixed_targets_are_the_mixed_losses() -> None:
    outputs, true = numbers(4, 1), torch.tensor([[0.0], [1], [1], [0]])
    partner = torch.tensor([2, 3, 1, 0])
    mine, theirs = entry_losses(BINARY, outputs, true)[0], entry_losses(BINARY, outputs, true[partner])[0]
    expected = (0.3 * mine + 0.7 * theirs).mean()
    found = loss(BINARY, outputs, batch(true, mixed=Mixed(partner, 0.3)))
    assert float(found) == pytest.approx(float(expected), rel=1e-6)


def test_mixed_with_the_unknown_the_known_share_counts() -> None:
    outputs, true = numbers(2, 1), torch.tensor([[1.0], [NAN]])
    known = [float(entry_losses(BINARY, outputs[at : at + 1], true[:1])[0]) for at in (0, 1)]
    found = loss(BINARY, outputs, batch(true, mixed=Mixed(torch.tensor([1, 0]), 0.3)))
    assert float(found) == pytest.approx(0.3 * known[0] + 0.7 * known[1], rel=1e-6)


# --- a step over several batches


def test_several_batches_are_the_large_one() -> None:
    outputs, true = numbers(7, 1), torch.tensor([[0.0], [NAN], [1], [NAN], [NAN], [0], [1]])
    whole = loss(BINARY, outputs, batch(true))
    how = Objective(ObjectiveConfig(), {"h": [1]}, CPU)
    parts = [(outputs[:3], batch(true[:3])), (outputs[3:5], batch(true[3:5])), (outputs[5:], batch(true[5:]))]
    size = how.sizes([BINARY], [asked for _, asked in parts])["h"]
    found = sum(float(how.loss(BINARY, said, asked, size)) for said, asked in parts)
    assert found == pytest.approx(float(whole), rel=1e-6)


# --- GroupDRO


def test_group_dro_by_hand() -> None:
    """Two steps of algorithm 1 of Sagawa et al. 2020."""
    how = Objective(ObjectiveConfig("group_dro", step_size=0.5), {"h": [2, 2, 5]}, CPU)
    outputs, true = numbers(4, 1), torch.tensor([[0.0], [1], [1], [0]])
    each = entry_losses(BINARY, outputs, true)[0][:, 0].double().numpy()
    q = np.full(3, 1 / 3)
    for _ in range(2):
        found = float(loss(BINARY, outputs, batch(true, group=[0, 1, 1, 0]), how))
        means = np.array([each[[0, 3]].mean(), each[[1, 2]].mean()])
        q[:2] *= np.exp(0.5 * means)  # the third group is not in the batch: its weight stays
        q /= q.sum()
        assert found == pytest.approx((q[:2] * means).sum(), rel=1e-5)
    np.testing.assert_allclose(how.state[0], q, rtol=1e-6)


def test_each_head_has_its_own_weights_of_groups() -> None:
    how = Objective(ObjectiveConfig("group_dro", step_size=0.5), {"h": [2, 2], "other": [2, 2]}, CPU)
    loss(BINARY, numbers(2, 1), batch(torch.tensor([[0.0], [1.0]]), group=[0, 1]), how)
    assert torch.equal(how.state[1], torch.full((2,), 0.5, dtype=torch.float64))
    assert not torch.equal(how.state[0], how.state[1])


def test_group_dro_lifts_the_worst_group_more_than_erm() -> None:
    """A planted example: the first feature is clear and follows the label in 19 of 20 cases (group 0), the second is noisy and
    always does. The mean is best served by the first, the worst group by the second."""
    random = np.random.default_rng(0)
    n = 2000
    label = np.arange(n) % 2
    minority = np.arange(n) // 2 % 20 == 0
    sign = 2.0 * label - 1
    clear = np.where(minority, -sign, sign) + 0.3 * random.standard_normal(n)
    noisy = sign + 1.0 * random.standard_normal(n)
    x = torch.tensor(np.stack([clear, noisy], 1), dtype=torch.float32)
    asked = batch(torch.tensor(label, dtype=torch.float32)[:, None], group=minority.astype(int).tolist())

    def worst(name: str) -> float:
        how = Objective(
            ObjectiveConfig(name, step_size=0.05), {"h": [int((~minority).sum()), int(minority.sum())]}, CPU
        )
        linear = torch.zeros(2, 1, requires_grad=True)
        optim = torch.optim.SGD([linear], lr=0.5)
        for _ in range(300):
            optim.zero_grad()
            loss(BINARY, x @ linear, asked, how).backward()
            optim.step()
        right = ((x @ linear)[:, 0] > 0).numpy() == (label == 1)
        return float(min(right[minority].mean(), right[~minority].mean()))

    assert worst("erm") < 0.4
    assert worst("group_dro") > worst("erm") + 0.3
