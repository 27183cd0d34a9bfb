"""Which images an epoch shows, how often, and which process gets them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from cxrtrain.bundle import Bundle, HeadTargets
from cxrtrain.config import DataConfig
from cxrtrain.sampling import batches, epoch_order, sampling_weights, step_seed
from training import experiment, write_rows

from cxrdata.errors import CxrError

ROWS = np.arange(100, 110)


def bundle(folder: Path, **columns: object) -> Bundle:
    return write_rows(folder / "b", {"target_heart": [0, 0, 0, 1, None]}, ["train"] * 5, **columns)  # type: ignore[arg-type]


def weights(one: Bundle, how: str) -> list[float] | None:
    found = sampling_weights(experiment(data=DataConfig(sampling=how, groups=("g",))), one, np.arange(len(one)))
    return None if found is None else found.tolist()


def test_every_epoch_shows_all_in_another_order() -> None:
    first, again, second = (epoch_order(ROWS, None, seed=0, epoch=epoch) for epoch in (0, 0, 1))
    assert first.tolist() == again.tolist() != second.tolist()
    assert sorted(first) == sorted(second) == ROWS.tolist()


def test_another_seed_is_another_order_and_other_numbers() -> None:
    assert epoch_order(ROWS, None, seed=0, epoch=0).tolist() != epoch_order(ROWS, None, seed=1, epoch=0).tolist()
    assert len({step_seed(seed, epoch, step) for seed in range(3) for epoch in range(3) for step in range(3)}) == 27


@pytest.mark.parametrize("n", [3, 10, 23])
def test_an_epoch_of_so_many_images_shows_none_much_more_often(n: int) -> None:
    order = epoch_order(ROWS, None, seed=0, epoch=0, n=n)
    counts = [int((order == row).sum()) for row in ROWS]
    assert len(order) == n
    assert max(counts) - min(counts) <= 1


def test_weights_are_chances() -> None:
    """40,000 draws: each share within five standard errors, and what weighs nothing never comes."""
    chance = np.array([0.0, 1, 1, 2, 4, 0, 0, 0, 8, 0])
    n = 40_000
    drawn = epoch_order(ROWS, chance, seed=0, epoch=0, n=n)
    share = chance / chance.sum()
    found = np.array([(drawn == row).mean() for row in ROWS])
    assert (np.abs(found - share) <= 5 * np.sqrt(share * (1 - share) / n)).all()


def test_class_balanced_by_hand(tmp_path: Path) -> None:
    assert weights(bundle(tmp_path), "class_balanced") == [1 / 3, 1 / 3, 1 / 3, 1.0, 0.0]


def test_group_balanced_by_hand(tmp_path: Path) -> None:
    one = bundle(tmp_path, group=[0, 0, 1, None, 1], groups=["a", "b"], weight=[1.0, 3.0, 1.0, 1.0, 0.5])
    assert weights(one, "group_balanced") == [0.5, 1.5, 0.5, 0.0, 0.25]


def test_a_shuffle_has_the_splits_weights_or_none(tmp_path: Path) -> None:
    assert weights(bundle(tmp_path), "shuffle") is None
    assert weights(bundle(tmp_path, weight=[1.0, 2.0, 1.0, 1.0, 1.0]), "shuffle") == [1.0, 2.0, 1.0, 1.0, 1.0]


def test_no_known_group(tmp_path: Path) -> None:
    with pytest.raises(CxrError, match="no training image is of a known group") as caught:
        weights(bundle(tmp_path), "group_balanced")
    assert caught.value.code == "CXR-152"


def test_a_number_has_no_classes_to_balance(tmp_path: Path) -> None:
    age = HeadTargets("age", "regression", "mse", ("age",), ("target_heart",))
    with pytest.raises(CxrError, match="head 'age' is regression: it has no classes to balance"):
        weights(bundle(tmp_path, heads=[age]), "class_balanced")


def test_draws_repeat_an_image(tmp_path: Path) -> None:
    one = bundle(tmp_path, n_draws=[2, 0, 1, 3, 1])
    assert one.rows("train", repeated=True).tolist() == [0, 0, 2, 3, 3, 3, 4]
    assert one.rows("train").tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("world", [1, 2, 3])
@pytest.mark.parametrize("n", [12, 13, 10, 1])
def test_processes_share_each_batch(n: int, world: int) -> None:
    """In order, none twice; a last batch of fewer images than processes is left out."""
    order = np.arange(n)
    shares = [batches(order, 6, rank=rank, world=world) for rank in range(world)]
    shown = n - n % 6 if n % 6 < world else n
    together = [row for step in zip(*shares, strict=True) for share in step for row in share.rows.tolist()]
    assert together == list(range(shown))
    for share in (share for one in shares for share in one):
        assert share.batch[share.start : share.start + len(share.rows)].tolist() == share.rows.tolist()
        assert 1 <= len(share.rows) <= -(-6 // world)
