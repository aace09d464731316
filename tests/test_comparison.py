"""Two networks on the same pictures: McNemar's test against SciPy, intervals by hand and by their coverage, and what is said."""

from math import sqrt

import numpy as np
import pytest
from scipy import stats

from alexnet.evaluate import comparison


@pytest.mark.parametrize("one, other", [(0, 0), (5, 0), (1, 9), (42, 24), (300, 280), (470, 530)])
def test_mcnemar_is_the_binomial_test(one, other):
    theirs = stats.binomtest(one, one + other).pvalue if one + other else 1
    assert comparison.mcnemar(one, other) == pytest.approx(theirs, rel=1e-9) == comparison.mcnemar(other, one)


def test_mcnemar_of_many_is_chi_squared_with_correction():
    assert comparison.mcnemar(900, 1000) == pytest.approx(stats.chi2.sf(99**2 / 1900, 1), rel=1e-9)
    assert comparison.mcnemar(600, 600) == 1
    assert comparison.mcnemar(640, 560) == pytest.approx(stats.binomtest(560, 1200).pvalue, rel=0.02)


def test_paired_interval_by_hand():
    """12 and 3 of 98 pictures: (13 - 4) / 100 = 0.09 and sqrt((0.17 - 0.0081) / 100) = 0.04024."""
    assert comparison.paired(12, 3, 98) == pytest.approx([0.09 - 0.07886, 0.09 + 0.07886], abs=1e-4)
    low, high = comparison.paired(0, 0, 50)
    assert low == -high < -0.03  # no disagreement among 50 is no certainty


def test_intervals_hold_what_they_promise():
    """Pairs of which 12 % and 8 % disagree one way and the other; samples of 300, and two samples with those errors."""
    draw = np.random.default_rng(3)
    counts = draw.multinomial(300, [0.12, 0.08, 0.8], size=4000)
    inside = [low <= 0.04 <= high for low, high in (comparison.paired(int(b), int(c), 300) for b, c, _ in counts)]
    assert 0.94 < np.mean(inside) < 0.965
    drawn = draw.binomial(300, [[0.3], [0.2]], size=(2, 4000)) / 300
    inside = [low <= 0.1 <= high for low, high in (comparison.unpaired(a, b, 300) for a, b in drawn.T.tolist())]
    assert 0.94 < np.mean(inside) < 0.965


def test_newcombes_own_example():
    """56 of 70 against 48 of 80 has other sizes; 15 of 100 against 9 of 100 by Wilson's: 0.0931 to 0.2328 and 0.0481 to 0.1623."""
    low, high = comparison.unpaired(0.15, 0.09, 100)
    assert low == pytest.approx(0.06 - sqrt((0.15 - 0.0931) ** 2 + (0.1623 - 0.09) ** 2), abs=2e-4)
    assert high == pytest.approx(0.06 + sqrt((0.2328 - 0.15) ** 2 + (0.09 - 0.0481) ** 2), abs=2e-4)


@pytest.mark.parametrize("disagreements", [0, 3, 5, 6, 17, 100, 999, 4000])
def test_the_smallest_difference_is_the_first_that_counts(disagreements):
    found = round(comparison.smallest(disagreements, 10_000) * 10_000)
    if disagreements < 6:  # 2 / 2^5 is more than 0.05: six on one side are the fewest
        assert found == 6
        return
    more, less = (disagreements + found) // 2, (disagreements - found) // 2
    assert more + less == disagreements and comparison.mcnemar(more, less) < 0.05 <= comparison.mcnemar(more - 1, less + 1)


def made(only_first, only_second, both, neither):
    first = np.r_[np.ones(only_first + both), np.zeros(only_second + neither)] == 1
    second = np.r_[np.zeros(only_first), np.ones(both + only_second), np.zeros(neither)] == 1
    return first, second


def test_who_wins():
    first, second = made(24, 60, 500, 416)
    losses = np.where(first, 0.5, 2.0), np.where(second, 0.5, 2.0)
    found = comparison.compare([first, second], losses, names=["A", "B"])
    assert [found[key] for key in ("both_right", "only_first", "only_second", "both_wrong")] == [500, 24, 60, 416]
    assert found["top1_difference"] == pytest.approx(second.mean() * -1 + first.mean()) == pytest.approx(-0.036)
    assert found["log_loss_difference"] == pytest.approx(-0.036 * 1.5)
    apart = losses[1] - losses[0]
    theirs = stats.norm.interval(0.95, apart.mean(), stats.sem(apart))
    assert found["log_loss_difference_interval"] == pytest.approx(list(theirs), rel=1e-6)
    assert found["better"] == "B" and found["verdict"].startswith("B is better: 3.60 points less top-1 error (1.")
    assert "log loss of B is lower" in found["verdict"]
    turned = comparison.compare([second, first], losses[::-1], names=["B", "A"])
    assert turned["better"] == "B" and turned["top1_difference"] == pytest.approx(0.036) and turned["p"] == found["p"]


def test_what_cannot_be_told_is_said():
    right = made(30, 33, 500, 437)
    found = comparison.compare(right, np.zeros((2, 1000)), names=["A", "B"])
    assert found["better"] is None and "no difference in top-1 error that 1,000 pictures can show" in found["verdict"]
    assert "is about 1.70 points" in found["verdict"]  # 40 to 23 is the first split of 63 with p below 0.05
    assert stats.binomtest(23, 63).pvalue < 0.05 < stats.binomtest(24, 63).pvalue
    assert "the second is better" in comparison.compare(made(0, 20, 5, 5), np.zeros((2, 30)), names=["A", "A"])["verdict"]
    alone = comparison.compare(made(1, 0, 0, 0), np.zeros((2, 1)), names=["A", "B"])
    assert "so few could show none at all" in alone["verdict"] and "points" not in alone["verdict"]
