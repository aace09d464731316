"""Intervals, calibration, the temperature, classes and confusions: by hand, by SciPy, and by draws of a known law."""

import math

import numpy as np
import pytest
from scipy import optimize, special, stats

from alexnet.evaluate import scores


@pytest.mark.parametrize("error, count, low, high", [
    (0.5, 100, 0.4038, 0.5962), (0.0, 50, 0.0, 0.0713), (1.0, 50, 0.9287, 1.0), (0.182, 50_000, 0.1787, 0.1854)])
def test_wilson(error, count, low, high):
    """Against values worked out with the formula by hand, and SciPy's."""
    assert scores.wilson(error, count) == pytest.approx([low, high], abs=1e-4)
    theirs = stats.binomtest(round(error * count), count).proportion_ci(method="wilson")
    assert scores.wilson(error, count) == pytest.approx(list(theirs), abs=1e-6)


def test_mean_and_spread():
    assert scores.mean_interval([1, 2, 3, 4]) == pytest.approx([2.5 - 1.265, 2.5 + 1.265], abs=1e-3)  # s = 1.291, / 2 * 1.96
    assert scores.spread([0.40, 0.42, 0.44]) == pytest.approx(0.02) and scores.spread([0.4]) is None
    assert scores.mean_interval([1.0]) == [-math.inf, math.inf]


def test_calibration_error_by_hand():
    """Two in the last bin (0.95, 0.99; one right), three of 0.5 in the eighth (all right): (2 * 0.47 + 3 * 0.5) / 5."""
    found = scores.bins([0.95, 0.99, 0.5, 0.5, 0.5], [1, 0, 1, 1, 1])
    assert found.pictures[14] == 2 and found.pictures[7] == 3 and found.pictures.sum() == 5
    assert found.error() == pytest.approx((2 * 0.47 + 3 * 0.5) / 5)
    assert scores.bins([1.0, 0.0], [1, 0]).error() == 0  # the ends belong to bins too
    assert math.isnan(scores.bins([math.nan], [0]).error()) and math.isnan(scores.chance_error([math.nan]))


def test_what_chance_alone_gives_a_calibrated_net():
    draw = np.random.default_rng(1)
    confidence = draw.beta(2, 2, 2000)
    errors = [scores.bins(confidence, draw.random(2000) < confidence).error() for _ in range(300)]
    assert scores.chance_error(confidence) == pytest.approx(np.mean(errors), rel=0.03)


@pytest.mark.parametrize("scale", [0.3, 1.0, 4.0])
def test_the_temperature_is_scipys_and_the_one_that_was_put_in(scale):
    draw = np.random.default_rng(2)
    calm = draw.normal(size=(6000, 10)) * 2
    labels = (special.softmax(calm, 1).cumsum(1) > draw.random((6000, 1))).argmax(1)
    logits = (calm * scale + 100).astype(np.float32)  # what is added to all logits says nothing

    def loss(temperature):
        return -special.log_softmax(logits.astype(np.float64) / temperature, 1)[np.arange(6000), labels].mean()

    found = scores.fitted_temperature(logits, labels)
    assert found == pytest.approx(scale, rel=0.05)
    theirs = optimize.minimize_scalar(loss, bounds=(0.05, 20), method="bounded", options={"xatol": 1e-9})
    assert found == pytest.approx(theirs.x, rel=1e-5) and loss(found) <= theirs.fun + 1e-12


def test_a_temperature_without_bottom_stops_at_the_ends():
    logits, right = np.eye(4) * 3, np.arange(4)
    assert scores.fitted_temperature(logits, right) == pytest.approx(scores.COLDEST, rel=1e-3)
    assert scores.fitted_temperature(logits, (right + 1) % 4) == pytest.approx(scores.HOTTEST, rel=1e-3)
    assert scores.COLDEST < scores.fitted_temperature(np.vstack([logits, logits]), np.r_[right, right[:3], 0]) < scores.HOTTEST


def test_halves_are_fixed_and_even():
    half = scores.halves(1000)
    assert half.sum() == 500 and half[:8].tolist() == [False, True, False, True, False, False, True, False]
    assert (scores.halves(10) == half[:10]).all()


def test_classes_worst_first():
    labels = np.array([0, 0, 0, 1, 1, 3, 3])
    table = scores.by_class(labels, np.array([1, 0, 1, 0, 0, 0, 0.5]), np.array([1, 1, 1, 1, 0, 1, 1.0]), 5)
    assert [one["index"] for one in table] == [1, 3, 0, 2, 4]
    assert table[0]["top1_error"] == 1 and table[0]["top5_error"] == 0.5 and table[0]["images"] == 2
    assert table[0]["top1_interval"] == scores.wilson(1, 2) and table[1]["top1_error"] == 0.75
    assert table[-1]["images"] == 0 and table[-1]["top1_error"] is table[-1]["top1_interval"] is table[-1]["top5_interval"] is None


def test_confused_pairs():
    labels, answers = np.array([0, 0, 0, 1, 2, 2, 2, 2]), np.array([1, 1, 0, 0, 0, 0, 0, 1])
    assert scores.confused(labels, answers, 3) == [(2, 0, 3), (0, 1, 2), (1, 0, 1), (2, 1, 1)]
    assert scores.confused(labels, answers, 3, most=1) == [(2, 0, 3)] and scores.confused(labels, labels, 3) == []
