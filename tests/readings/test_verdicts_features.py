"""Verdicts on features by their rules, on counts, orders and accuracies whose truth is known."""

import numpy as np
import pytest

from ntkcore.analysis.features.classes import BETWEEN, BRITTLE, ROBUST, WEAK
from ntkcore.analysis.features.halves import halves
from ntkcore.analysis.features.tradeoff import Judged
from ntkcore.analysis.intervals import UNKNOWN as NOT_KNOWN
from ntkcore.analysis.intervals import Band
from ntkcore.readings.verdicts import (
    HOLDS,
    IN_PART,
    NOT_HERE,
    UNKNOWN,
    Judgement,
    judge_robust_and_brittle,
    judge_robust_is_early,
)

PERMUTED = np.array([0] * 185 + [1] * 5 + [3] * 10)  # of 200: at most 1 in 95 %
M = 400


def counted(robust: int, brittle: int, smallest: float = 0.55) -> Judgement:
    codes = np.array([ROBUST] * robust + [BETWEEN] * 2 + [BRITTLE] * brittle + [WEAK] * 20)
    return judge_robust_and_brittle(codes, PERMUTED, smallest, 2, M, "FGSM", 0.6)


@pytest.mark.parametrize(
    ("robust", "brittle", "smallest", "verdict"),
    [
        pytest.param(2, 31, 0.55, HOLDS, id="both beyond chance"),
        pytest.param(2, 31, 0.65, HOLDS, id="seen although it is hard to see"),
        pytest.param(31, 2, 0.55, IN_PART, id="robust ones are many"),
        pytest.param(1, 31, 0.55, IN_PART, id="brittle alone"),
        pytest.param(2, 1, 0.55, IN_PART, id="robust alone"),
        pytest.param(1, 1, 0.55, NOT_HERE, id="as many as chance gives"),
        pytest.param(0, 0, 0.6, NOT_HERE, id="none"),
        pytest.param(0, 0, 0.61, UNKNOWN, id="too few images to see any"),
    ],
)
def test_robust_and_brittle(robust: int, brittle: int, smallest: float, verdict: str) -> None:
    judged = counted(robust, brittle, smallest)
    assert judged.verdict == verdict
    assert judged.number == f"{robust} robust, {brittle} brittle"
    assert f"of {robust + brittle + 22} features, under FGSM" in judged.of_what
    assert "A robust one keeps at least 60 % of its right answers, a brittle one at most 5 %." in judged.of_what
    assert "In 95 % of shuffles of the test labels at most 1 is useful." in judged.of_what
    assert (f"{M} test images are too few" in judged.reason) == (verdict == UNKNOWN)


FIRST = halves(np.arange(M) % 2)
FALLS, RISES, OPEN = (
    Band(*np.array(one)[:, None]) for one in ((-0.9, -0.95, -0.8), (0.5, 0.2, 0.7), (-0.2, -0.5, 0.1))
)


def along_time(*attacked: float) -> Judged:
    """Shares right under attack at each time, alike on both halves; all are right without it."""
    place = np.arange(M) // 4  # of each image in its class and half
    after = place[:, None] < np.array(attacked) * M / 4
    return Judged(np.geomspace(1e-3, 10, len(attacked)), np.ones_like(after), after)


@pytest.mark.parametrize(
    ("order", "attacked", "verdict"),
    [
        pytest.param(FALLS, (0.6, 0.8, 0.1), HOLDS, id="first in both ways"),
        pytest.param(FALLS, (0.1, 0.2, 0.8), IN_PART, id="longest training keeps most"),
        pytest.param(OPEN, (0.6, 0.8, 0.1), IN_PART, id="no order is told"),
        pytest.param(RISES, (0.6, 0.8, 0.1), IN_PART, id="the last survive most"),
        pytest.param(RISES, (0.1, 0.2, 0.8), NOT_HERE, id="last in both ways"),
        pytest.param(OPEN, (0.1, 0.2, 0.8), UNKNOWN, id="no order is told, longest training keeps most"),
        pytest.param(NOT_KNOWN, (0.5, 0.5, 0.1), UNKNOWN, id="best by guessing"),
        pytest.param(OPEN, (0.1, 0.7, 0.69), UNKNOWN, id="a gain within its interval"),
    ],
)
def test_robust_is_early(order: Band, attacked: tuple[float, ...], verdict: str) -> None:
    judged = judge_robust_is_early(order, 24, along_time(*attacked), FIRST, 0.5, "FGSM")
    assert judged.verdict == verdict
    assert judged.number == f"{100 * max(attacked):.0f} % → {100 * attacked[-1]:.0f} %"
    assert f"of {M // 2} test images right under FGSM" in judged.of_what


def test_the_time_is_chosen_on_one_half_and_told_on_the_other() -> None:
    """The first half is best at the second time, the others at the first: what is told is theirs at the second."""
    after = np.zeros((M, 3), dtype=bool)
    after[FIRST, 1], after[~FIRST, 0] = True, True
    judged = judge_robust_is_early(FALLS, 24, Judged(np.arange(1.0, 4), after, after), FIRST, 0.5, "FGSM")
    assert judged.number == "0 % → 0 %"
    assert judged.verdict == IN_PART


def test_one_image_of_each_class_is_too_few_to_choose_a_time() -> None:
    first = halves(np.array([0, 1]))
    time = Judged(np.array([1.0, 2.0]), np.ones((2, 2), dtype=bool), np.array([[True, False], [True, False]]))
    assert judge_robust_is_early(FALLS, 24, time, first, 0.5, "FGSM").verdict == UNKNOWN
