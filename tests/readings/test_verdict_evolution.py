"""The verdict on the seventh claim, on numbers whose truth is known: as the Evolution page's answer has it."""

from math import inf

import pytest

from ntkcore.analysis.evolution.motion import Concentration
from ntkcore.readings.evolution import read_claim
from ntkcore.readings.verdicts import HOLDS, IN_PART, NOT_HERE, UNKNOWN, judge_evolution

LOOSE = [Concentration(0.95, share, rank) for share, rank in ((0.80, 4.0), (0.81, 3.9), (0.79, 4.1))]
TIGHT = [Concentration(0.99, share, rank) for share, rank in ((0.90, 2.0), (0.91, 1.9), (0.89, 2.1))]
EARLY, LATE, NEVER = [4.0, 5.0, 3.0], [11.0, 12.0, inf], [inf] * 3
SLOW, FAST = [0.001, 0.0011, 0.0009], [0.01, 0.011, 0.009]


@pytest.mark.parametrize(
    ("lazy", "late", "gathered", "verdict", "number"),
    [
        pytest.param((EARLY, LATE), (SLOW, FAST), (TIGHT, LOOSE), HOLDS, "lazy: epoch 4 against 12", id="all"),
        pytest.param((LATE, EARLY), (FAST, SLOW), (LOOSE, TIGHT), NOT_HERE, "lazy: epoch 12 against 4", id="none"),
        pytest.param((EARLY, NEVER), (FAST, FAST), (TIGHT, LOOSE), IN_PART, "lazy: epoch 4 against never", id="some"),
        pytest.param((NEVER, EARLY), (FAST, FAST), (LOOSE, TIGHT), NOT_HERE, "lazy: never against 4", id="never"),
        pytest.param((NEVER, NEVER), (FAST, FAST), (LOOSE, LOOSE), UNKNOWN, "neither is lazy", id="nothing differs"),
        pytest.param(
            (EARLY[:2], LATE[:2]),
            (SLOW[:2], FAST[:2]),
            (TIGHT[:2], LOOSE[:2]),
            UNKNOWN,
            "lazy: epoch 4 against 11",
            id="two seeds",
        ),
    ],
)
def test_evolution(lazy: tuple, late: tuple, gathered: tuple, verdict: str, number: str) -> None:
    given = [dict(zip(("FGSM", "standard"), both, strict=True)) for both in (lazy, late, gathered)]
    judged = judge_evolution("FGSM", *given, 0.1, 15)
    assert judged.verdict == verdict
    assert judged.number == number
    page = read_claim(*given, 0.1)
    assert f"**{verdict}**" in page
    for part in judged.reason.removesuffix(".").split("; "):
        assert part.lower() in page.lower()
