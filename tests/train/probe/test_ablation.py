"""Unit ablation on features in which it is known what lies where."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from scipy.stats import mannwhitneyu

from cxrdata.errors import CxrError
from cxrtrain.bundle import HeadTargets
from cxrtrain.cli import probe as cli
from cxrtrain.probe.ablation import AblationRequest, Reader, ablate
from cxrtrain.probe.heads import LinearHead, fit_head
from cxrtrain.probe.rows import SCHEMA, Target, frame_of, targets_of_head
from cxrtrain.probe.units import CRITERIA, count_of, random_units, ranked, switched_off

N, UNITS = 900, 60
CARRIERS = (7, 31)  # the units that the attribute is planted in
SEX = HeadTargets("attribute", "classes", "ce", ("F", "M"), ("s",))
RACE = HeadTargets("attribute", "classes", "ce", ("White", "Asian", "Black"), ("r",))
FINDING = HeadTargets("finding", "binary", "bce", ("edema",), ("f",))
TRAIN, VALID, TEST = np.arange(400), np.arange(400, 550), np.arange(550, N)
REQUEST = AblationRequest(("difference",), shares=(count := 2 / UNITS, 0.2), draws=10, bootstrap=100)


def features_with(strength: dict[int, float], seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features, sex, and a finding that lies in units 40 … 49 alone. strength: of the attribute, by unit."""
    rng = np.random.default_rng(seed)
    sex, finding = rng.integers(0, 2, N), rng.integers(0, 2, N)
    features = rng.normal(size=(N, UNITS))
    for unit, shift in strength.items():
        features[:, unit] += shift * sex
    features[:, 40:50] += 0.8 * finding[:, None]
    return features.astype(np.float32), sex.astype(np.int64), finding.astype(np.int64)


def ablated(
    strength: dict[int, float], request: AblationRequest = REQUEST, sex: np.ndarray | None = None
) -> pl.DataFrame:
    features, planted, finding = features_with(strength)
    sex = planted if sex is None else sex
    whole = torch.from_numpy(features)

    def fitted(target: np.ndarray) -> LinearHead:
        return fit_head(lambda rows: whole[torch.from_numpy(rows)], target, TRAIN, VALID, classes=2, epochs=40)

    both = fitted(finding)
    edema = LinearHead(both.weight[1:] - both.weight[:1], both.bias[1:] - both.bias[:1])
    readers = {"attribute": Reader(SEX, fitted(sex), "probe"), "finding": Reader(FINDING, edema, "finding")}
    targets = [
        *targets_of_head("attribute", SEX, sex[:, None].astype(np.float32), TEST),
        *targets_of_head("finding", FINDING, finding[:, None].astype(np.float32), TEST),
    ]
    patients = np.arange(N) // 2
    return frame_of(ablate(features, sex, TRAIN, readers["attribute"], readers, targets, patients, request))


def estimate(rows: pl.DataFrame, about: str, units: str, share: float = count) -> dict[str, Any]:
    wanted = rows.filter(about=about, units=units)
    return (wanted if units == "none" else wanted.filter(pl.col("share") == share)).row(0, named=True)


class TestAgainstRandomUnits:
    @pytest.mark.parametrize("criterion", CRITERIA)
    def test_where_the_attribute_is_planted_in_few_units(self, criterion: str) -> None:
        rows = ablated(dict.fromkeys(CARRIERS, 2.0), replace(REQUEST, criteria=(criterion,)))
        assert rows.columns == list(SCHEMA)
        start, off, chance = (estimate(rows, "attribute", units) for units in ("none", "ranked", "random"))
        assert start["estimate"] > 0.95
        assert off["n_units"] == chance["n_units"] == 2
        # Without its two units hardly anything is left to read, whichever other two are switched off.
        assert off["estimate"] < 0.62
        assert chance["ci_low"] > 0.85
        assert off["ci_low"] < off["estimate"] < off["ci_high"] < chance["ci_low"]
        # The finding does not mind.
        finding = [estimate(rows, "finding", units)["estimate"] for units in ("none", "ranked")]
        assert finding[1] == pytest.approx(finding[0], abs=0.02)

    def test_not_where_it_is_nowhere(self) -> None:
        rows = ablated({}, sex=np.random.default_rng(5).integers(0, 2, N))
        start, off, chance = (estimate(rows, "attribute", units) for units in ("none", "ranked", "random"))
        assert abs(start["estimate"] - 0.5) < 0.1
        assert abs(off["estimate"] - start["estimate"]) < 0.05
        assert off["ci_low"] < chance["estimate"] < off["ci_high"]

    def test_not_where_it_is_everywhere_alike(self) -> None:
        rows = ablated(dict.fromkeys(range(UNITS), 0.5))
        start, off, chance = (estimate(rows, "attribute", units) for units in ("none", "ranked", "random"))
        assert start["estimate"] > 0.9
        assert start["estimate"] - off["estimate"] < 0.03
        assert off["ci_high"] > chance["ci_low"]

    def test_rows(self) -> None:
        rows = ablated(dict.fromkeys(CARRIERS, 2.0), replace(REQUEST, to="zero"))
        assert rows["units"].to_list() == ["none"] * 2 + ["ranked"] * 4 + ["random"] * 4
        assert rows.filter(units="random")["draws"].unique().to_list() == [10]
        assert rows["n"].unique().to_list() == [len(TEST)]
        assert rows.filter(units="ranked")["switched_to"].unique().to_list() == ["zero"]
        again = ablated(dict.fromkeys(CARRIERS, 2.0), replace(REQUEST, to="zero"))
        assert rows.equals(again)


class TestRanking:
    def test_planted_units_come_first(self) -> None:
        features, sex, _ = features_with(dict.fromkeys(CARRIERS, 1.0))
        weight = np.zeros((2, UNITS))
        weight[1, CARRIERS] = -1
        for criterion in CRITERIA:
            order = ranked(criterion, features, sex, classes=2, weight=weight)
            assert set(order[:2].tolist()) == set(CARRIERS), criterion
            assert sorted(order.tolist()) == list(range(UNITS))

    def test_by_hand(self) -> None:
        features = np.array([[0.0, 5.0], [2.0, 5.0], [4.0, 6.0], [6.0, 5.0]])
        group = np.array([0, 0, 1, 1])
        # Means 1 and 5, SDs √2 each: 4/√2 = 2.83; of the second unit 5 and 5.5, pooled √(0.5/2) = 0.5: 1.
        assert ranked("difference", features, group, classes=2).tolist() == [0, 1]
        assert ranked("difference", features[:, ::-1], group, classes=2).tolist() == [1, 0]
        # The same added to the weights of all classes changes no probability, so it does not count.
        weight = np.array([[9.0, 3.0], [9.0, 1.0]])
        assert ranked("weight", features, group, classes=2, weight=weight).tolist() == [1, 0]

    def test_area_is_that_of_mann_and_whitney(self) -> None:
        features, sex, _ = features_with({3: 0.7, 9: -1.5, 20: 0.4})
        away = [
            abs(mannwhitneyu(unit[sex == 1], unit[sex == 0]).statistic / ((sex == 1).sum() * (sex == 0).sum()) - 0.5)
            for unit in features.T
        ]
        assert ranked("auroc", features, sex, classes=2).tolist() == np.argsort(-np.array(away), kind="stable").tolist()

    def test_each_of_three_classes_against_the_others(self) -> None:
        rng = np.random.default_rng(3)
        race = rng.integers(0, 3, N)
        features = rng.normal(size=(N, 10))
        features[:, 4] += 2.0 * (race == 2)
        assert ranked("difference", features, race, classes=3)[0] == 4

    def test_nothing_of_the_test_images_steers_it(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Other labels of test images, and other test images, switch off the same units."""
        from cxrtrain.probe import ablation

        orders = []
        real = ablation.ranked

        def spied(*args: Any, **more: Any) -> np.ndarray:
            orders.append(real(*args, **more))
            return orders[-1]

        monkeypatch.setattr(ablation, "ranked", spied)
        features, sex, _ = features_with({3: 0.3, 9: 0.2, 20: 0.1})
        other = sex.copy()
        other[TEST] = 1 - other[TEST]
        noise = features.copy()
        noise[TEST] = 100 * np.random.default_rng(1).normal(size=(len(TEST), UNITS))
        reader = Reader(SEX, LinearHead(torch.ones(2, UNITS), torch.zeros(2)), "probe")
        for one, label in ((features, sex), (features, other), (noise, other)):
            targets = targets_of_head("attribute", SEX, label[:, None].astype(np.float32), TEST)
            request = replace(REQUEST, criteria=("difference", "auroc"), bootstrap=10, draws=1)
            ablate(one, label, TRAIN, reader, {"attribute": reader}, targets, np.arange(N), request)
        assert len(orders) == 6
        for at in (2, 4):
            assert np.array_equal(orders[at], orders[0]) and np.array_equal(orders[at + 1], orders[1])

    def test_there_is_no_such_criterion(self) -> None:
        with pytest.raises(CxrError, match="CXR-501"):
            ranked("luck", np.zeros((4, 2)), np.array([0, 1, 0, 1]), classes=2)
        assert cli.CRITERIA == CRITERIA


def test_units_that_are_off_say_nothing() -> None:
    features = np.arange(12, dtype=np.float32).reshape(3, 4)
    found = switched_off(features, np.array([1, 3]), np.array([9, 8, 7, 6], np.float32))
    assert found.tolist() == [[0, 8, 2, 6], [4, 8, 6, 6], [8, 8, 10, 6]]
    assert features[0, 1] == 1


def test_how_many() -> None:
    assert [count_of(share, 1024) for share in (0.01, 0.02, 0.2)] == [10, 20, 205]
    assert count_of(0.01, 20) == 1
    drawn = [tuple(random_units(5, 50, seed=0, draw=draw).tolist()) for draw in range(4)]
    assert len(set(drawn)) == 4 and all(len(set(one)) == 5 for one in drawn)
    assert drawn[2] == tuple(random_units(5, 50, seed=0, draw=2).tolist())


def test_a_reader_ranks_as_probabilities_do() -> None:
    """Log-odds keep the order where probabilities are rounded to be equal."""
    reader = Reader(RACE, LinearHead(torch.eye(3), torch.zeros(3)), "probe")
    features = np.array([[1.0, 0, 0], [2, 0, 0], [60, 0, 0], [61, 0, 0]], np.float32)
    scores = reader.scores(features, 0)
    assert (np.diff(scores) > 0).all()
    shares = np.exp(features[:2]) / np.exp(features[:2]).sum(1, keepdims=True)
    np.testing.assert_allclose(scores[:2], np.log(shares[:, 0] / (1 - shares[:, 0])), atol=1e-6)
    softmax = replace(FINDING, loss="ce")
    both = Reader(softmax, LinearHead(torch.eye(2), torch.zeros(2)), "finding")
    assert both.scores(np.array([[1.0, 4.0]], np.float32), 0).tolist() == [3.0]


def test_targets_of_heads() -> None:
    race = np.array([[0], [1], [np.nan], [2], [2]], np.float32)
    found = targets_of_head("attribute", RACE, race, np.array([1, 2, 3, 4]))
    assert [one.name for one in found] == ["White", "Asian", "Black"]
    assert found[2].rows.tolist() == [1, 3, 4] and found[2].positive.tolist() == [False, True, True]
    sex = targets_of_head("attribute", SEX, np.array([[0.0], [1.0]], np.float32), np.array([0, 1]))
    assert [one.name for one in sex] == ["F"]
    assert isinstance(sex[0], Target) and sex[0].positive.tolist() == [True, False]
