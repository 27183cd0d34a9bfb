"""Fixtures of training: one thread of torch, a ground to run on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cxrtrain.config import Experiment
from cxrtrain.run_folder import Run
from training import Ground, ground


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> Iterator[None]:
    """Several workers of the suite share few cores, and sums over one thread have one order."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def _exactness_as_it_was() -> Iterator[None]:
    """A run sets torch's switches for its whole process."""
    import torch

    yield
    torch.use_deterministic_algorithms(mode=False)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Ground:
    """Forty pictures to train on and twelve to validate, half of them bright in the middle."""
    return ground(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., Run]:
    """`run(ground, experiment)`: train on the CPU without TensorBoard; in `out`, else in a folder of its own."""
    from cxrtrain.loop import Request, train

    count = iter(range(1000))

    def trained(on: Ground, wish: Experiment | None = None, *, out: Path | None = None, **request: object) -> Run:
        place = out or tmp_path / f"run-{next(count)}"
        asked = Request(wish or on.experiment, on.bundle, on.store, place, device="cpu", tensorboard=False, **request)  # type: ignore[arg-type]
        return train(asked)

    return trained
