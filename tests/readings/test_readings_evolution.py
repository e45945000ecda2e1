"""Sentences on the kernel's evolution: the run's own numbers, and no claim that their intervals do not bear out."""

from math import inf, nan

import numpy as np
import pytest

from ntkcore.analysis.evolution.motion import THRESHOLDS, Concentration
from ntkcore.analysis.evolution.seed_tests import HOLDS, IN_PART, NOT_HERE, UNKNOWN
from ntkcore.readings.evolution import (
    Frozen,
    median_seed,
    read_accuracy,
    read_claim,
    read_concentration,
    read_frozen,
    read_late_velocity,
    read_lazy,
    read_thresholds,
)

VERDICTS = (HOLDS, IN_PART, NOT_HERE, UNKNOWN)


def verdict(words: str, claim: str, name: str = "FGSM") -> str:
    """What a sentence says of a claim; the longest of the verdicts that begin there."""
    _, _, rest = words.partition(f"{claim} under {name} training: ")
    return max((v for v in VERDICTS if rest.startswith(v)), key=len)


# -- lazy ----------------------------------------------------------------------------------------------------------


def test_lazy_in_full() -> None:
    assert read_lazy({"FGSM": [4, 5, 4], "standard": [11, inf, 12]}, 0.1, 20) == (
        "Velocity stays below 10 % of its first value from epoch 4 on under FGSM training (median of 4, 5, 4), from "
        "epoch 12 on under standard training (median of 11, never, 12). "
        "The kernel becomes lazy earlier under FGSM training: holds, earlier for 3 of 3 seeds, by an exact rank "
        "test at 5 %."
    )


@pytest.mark.parametrize(
    ("fgsm", "standard", "expected", "why"),
    [
        pytest.param([4, 2, 1], [inf, 12, inf], HOLDS, "earlier for 3 of 3 seeds, by", id="earlier"),
        pytest.param([4, 4, 12], [11, 13, 14], UNKNOWN, "earlier for 3 of 3 seeds, not enough for", id="overlap"),
        pytest.param([4, inf, 4], [11, 11, 11], UNKNOWN, "earlier for 2 of 3 seeds and later for 1", id="one-never"),
        pytest.param([inf, 13, inf], [11, 7, 8], NOT_HERE, "later for 3 of 3 seeds, by", id="later"),
        pytest.param([7, 7, 7], [7, 7, 7], UNKNOWN, "at the same epoch for 3 of 3 seeds", id="same"),
        pytest.param([inf] * 3, [inf] * 3, UNKNOWN, "at no point of either run for 3 of 3", id="neither"),
        pytest.param([4, 2], [inf, 12], UNKNOWN, "earlier for 2 of 2 seeds, which are too few", id="two"),
        pytest.param([4], [11], UNKNOWN, "one seed gives one epoch a training (here earlier)", id="one"),
    ],
)
def test_lazy_says_what_the_seeds_do(fgsm, standard, expected, why) -> None:
    words = read_lazy({"standard": standard, "FGSM": fgsm}, 0.1, 20)
    assert verdict(words, "The kernel becomes lazy earlier") == expected
    assert why in words


def test_lazy_within_the_run_only() -> None:
    words = read_lazy({"standard": [inf, inf], "FGSM": [5, inf]}, 0.05, 12)
    assert "below 5 % of its first value at no point of 12 epochs under standard training (all 2 seeds)" in words
    assert "from epoch 5 on under FGSM training (median of 5, never)" in words


def test_trainings_are_told_one_by_one() -> None:
    words = read_lazy({"standard": [10, 11, 12], "FGSM": [4, 4, 5], "PGD": [12, 13, 14]}, 0.1, 20)
    assert verdict(words, "lazy earlier", "FGSM") == HOLDS
    assert verdict(words, "lazy earlier", "PGD") == UNKNOWN


@pytest.mark.parametrize("regimes", [{"standard": [7]}, {"FGSM": [4], "PGD": [5]}, {"FGSM": [3], "standard": [nan]}])
def test_without_a_partner_nothing_is_compared(regimes) -> None:
    words = read_lazy(regimes, 0.1, 20)
    assert words.count(".") == 1
    assert "earlier" not in words


def test_nothing_is_lazy_before_there_is_a_velocity() -> None:
    assert "No velocity is known yet" in read_lazy({"standard": [nan, nan], "FGSM": [nan, nan]}, 0.1, 20)


@pytest.mark.parametrize(
    ("seeds", "middle"), [([4, 2, 1], 2), ([inf, 3], 3), ([inf, 3, inf], inf), ([nan, 5], 5), ([nan], inf)], ids=str
)
def test_median_seed(seeds, middle) -> None:
    assert median_seed(seeds) == middle


# -- thresholds ----------------------------------------------------------------------------------------------------

AT = np.array(THRESHOLDS)


def by_threshold(*seeds: dict[float, float]) -> np.ndarray:
    """[S, K]: never lazy, but from each threshold on from an epoch on."""
    rows = np.full((len(seeds), len(AT)), inf)
    for row, steps in zip(rows, seeds, strict=True):
        for threshold, epoch in steps.items():
            row[np.searchsorted(AT, threshold) :] = epoch
    return rows


@pytest.mark.parametrize(
    ("fgsm", "standard", "parts"),
    [
        pytest.param(
            by_threshold(*[{0.03: 5}] * 3),
            by_threshold(*[{0.1: 9}] * 3),
            [
                "earlier for all 3 seeds at 3 to 50 %",
                "never in either at 1 to 2 %.",
                "All seeds agree at 48 of 50 thresholds, on one order.",
            ],
            id="one-order",
        ),
        pytest.param(
            by_threshold(*[{0.01: 5}] * 3),
            by_threshold(*[{0.2: 9}] * 3),
            ["at 1 to 50 %.", "The order of the two does not depend on the threshold."],
            id="everywhere",
        ),
        pytest.param(
            by_threshold(*[{0.01: 5}] * 3),
            by_threshold(*[{0.01: 9, 0.21: 3}] * 3),
            [
                "for all 3 seeds at 1 to 20 %",
                "later for all 3 seeds at 21 to 50 %",
                "depends on the threshold.",
            ],
            id="turns-round",
        ),
        pytest.param(
            by_threshold({0.01: 5}, {0.01: 9}),
            by_threshold({0.01: 6}, {0.01: 8}),
            ["depends on the seed at 1 to 50 %", "At no threshold is there an order that all seeds agree on."],
            id="seeds-disagree",
        ),
        pytest.param(
            by_threshold({0.01: 5, 0.3: 2}),
            by_threshold({0.01: 6, 0.3: 2}),
            [
                "one seed: earlier at 1 to 29 %",
                "at the same epoch at 30 to 50 %",
                "There is an order at 29 of 50",
            ],
            id="one-seed",
        ),
    ],
)
def test_thresholds(fgsm, standard, parts) -> None:
    words = read_thresholds({"standard": standard, "FGSM": fgsm}, THRESHOLDS)
    assert [part for part in parts if part not in words] == [], words


def test_many_pieces_of_the_range_are_counted() -> None:
    fgsm, standard = np.full((1, len(AT)), 5.0), np.where(np.arange(len(AT)) % 5 == 0, 9.0, 5.0)[None]
    words = read_thresholds({"standard": standard, "FGSM": fgsm}, THRESHOLDS)
    assert "one seed: earlier at 10 of 50 thresholds between 1 % and 46 %" in words


# -- late velocity -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fgsm", "expected"),
    [
        ([0.00012, 0.0001, 0.00014], HOLDS),
        ([0.0029, 0.0032, 0.0028], UNKNOWN),
        ([0.02, 0.03, 0.02], NOT_HERE),
        ([0.00012, 0.0001], UNKNOWN),
        ([0.00012], UNKNOWN),
    ],
    ids=["slower", "as-fast", "faster", "two", "one"],
)
def test_late_velocity(fgsm, expected) -> None:
    standard = [0.003, 0.0031, 0.0027][: len(fgsm)]
    assert verdict(read_late_velocity({"FGSM": fgsm, "standard": standard}), "It is slower") == expected


def test_late_velocity_in_full() -> None:
    standard, fgsm = [0.0009, 0.0012, 0.0012], [0.0005, 0.0009, 0.0008]
    assert read_late_velocity({"standard": standard, "FGSM": fgsm}) == (
        "Over the second half of training the kernel moves by 0.0011 under standard training and 0.00073 under FGSM "
        "training per epoch (1 − similarity; means of 3 seeds). It is slower under FGSM training: holds, "
        "0.65 [0.45, 0.95] times as fast (95 % intervals over 3 seeds)."
    )


def test_nothing_is_rounded_before_it_is_compared() -> None:
    """Numbers that look the same with two digits, but are the smaller ones for every seed by a steady factor."""
    standard = np.array([0.003001, 0.003002, 0.003003])
    words = read_late_velocity({"standard": standard, "FGSM": 0.999 * standard + [1e-9, 0, 2e-9]})
    assert verdict(words, "It is slower") == HOLDS
    assert words.count("0.003 under") == 2


def test_late_velocity_that_is_not_known() -> None:
    assert "known yet" in read_late_velocity({"FGSM": [nan]})
    words = read_late_velocity({"FGSM": [nan], "standard": [0.5]})
    assert "moves by 0.5 under standard training per epoch" in words
    assert "FGSM" not in words


# -- concentration -------------------------------------------------------------------------------------------------

STANDARD = [Concentration(0.9954, 0.72, 34.2), Concentration(0.9952, 0.71, 35.3), Concentration(0.9957, 0.73, 33.0)]


def of(mass: float, share: float, rank: float) -> list[Concentration]:
    return [Concentration(mass + k * 1e-5, share + k * 1e-3, rank + 0.1 * k) for k in range(3)]


def test_concentration_in_full() -> None:
    words = read_concentration({"standard": STANDARD, "FGSM": of(0.9988, 0.9, 9)}, 20)
    assert words == (
        "After 20 epochs the 20 largest eigenvalues hold 72 % of the trace under standard training and 90.1 % under "
        "FGSM training (effective rank 34.2 against 9.1; of the sum of squared eigenvalues they leave 0.0046 against "
        "0.0012; means of 3 seeds). The kernel is more concentrated under FGSM training: holds, "
        "18.1 [15.7, 20.5] points of the trace more, 0.27 [0.24, 0.29] times the effective rank and 0.26 [0.23, 0.30] "
        "times what is left of the squares (95 % intervals over 3 seeds)."
    )


@pytest.mark.parametrize(
    ("fgsm", "expected"),
    [
        pytest.param(of(0.98, 0.6, 50.0), NOT_HERE, id="less"),
        pytest.param(of(0.9954, 0.72, 34.0), UNKNOWN, id="as-much"),
        pytest.param(of(0.99, 0.8, 30.0), IN_PART, id="measures-disagree"),
        pytest.param(of(0.9954, 0.72, 20.0), IN_PART, id="rank-alone"),
        pytest.param(of(0.9954, 0.72, 50.0), UNKNOWN, id="rank-alone-says-the-opposite"),
        pytest.param(of(0.9999, 0.99, 5.0)[:2], UNKNOWN, id="two-seeds"),
    ],
)
def test_concentration_says_what_the_numbers_do(fgsm, expected) -> None:
    words = read_concentration({"standard": STANDARD[: len(fgsm)], "FGSM": fgsm}, 20)
    assert verdict(words, "The kernel is more concentrated") == expected


def test_a_small_probe_leaves_nothing_outside_the_top() -> None:
    """As many eigenvalues as the top has: the ranks alone are compared."""
    standard, fgsm = of(1, 1, 8.0), of(1, 1, 4.0)
    for k in range(3):
        standard[k], fgsm[k] = (Concentration(1.0, 1.0, one[k].rank) for one in (standard, fgsm))
    words = read_concentration({"standard": standard, "FGSM": fgsm}, 20)
    assert "left of the squares (" not in words
    assert verdict(words, "The kernel is more concentrated") == IN_PART


def test_concentration_of_three_regimes() -> None:
    words = read_concentration({"standard": STANDARD, "FGSM": of(0.999, 0.9, 5), "PGD": of(0.98, 0.6, 50)}, 1, top=10)
    assert "After 1 epoch the 10 largest eigenvalues hold 72 % of the trace under standard training, 90.1 % un" in words
    assert "effective rank 34.2, 5.1 and 50.1;" in words
    claims = [verdict(words, "The kernel is more concentrated", name) for name in ("FGSM", "PGD")]
    assert claims == [HOLDS, NOT_HERE]


def test_concentration_that_is_not_known() -> None:
    assert "known yet" in read_concentration({"standard": [None]}, 3)
    words = read_concentration({"standard": STANDARD, "FGSM": [None] * 3}, 3)
    assert "FGSM" not in words
    assert "more" not in words


# -- the claim -----------------------------------------------------------------------------------------------------

LAZY = {"standard": [inf, 12, inf], "FGSM": [4, 2, 1]}
LATE = {"standard": [0.0009, 0.0012, 0.0012], "FGSM": [0.0005, 0.0009, 0.0008]}
GATHERED = {"standard": STANDARD, "FGSM": of(0.9988, 0.9, 9)}
SLOW = {"standard": LATE["standard"], "FGSM": [0.01, 0.011, 0.012]}
LESS = {"standard": STANDARD, "FGSM": of(0.98, 0.6, 50.0)}
LATER = {"standard": LAZY["FGSM"], "FGSM": LAZY["standard"]}
NEVER = {name: [inf] * 3 for name in LAZY}


@pytest.mark.parametrize(
    ("lazy", "late", "gathered", "expected"),
    [
        pytest.param(LAZY, LATE, GATHERED, HOLDS, id="all"),
        pytest.param(NEVER, LATE, GATHERED, IN_PART, id="lazy-not-told"),
        pytest.param(LAZY, SLOW, LESS, IN_PART, id="lazy-alone"),
        pytest.param(LATER, SLOW, LESS, NOT_HERE, id="nothing"),
        pytest.param(NEVER, SLOW, LESS, NOT_HERE, id="refuted-as-far-as-told"),
        pytest.param(*({n: v[:2] for n, v in one.items()} for one in (LAZY, LATE, GATHERED)), UNKNOWN, id="two-seeds"),
    ],
)
def test_the_claim_holds_where_all_its_parts_do(lazy, late, gathered, expected) -> None:
    words = read_claim(lazy, late, gathered, 0.1)
    assert f"**{expected}**" in words
    assert ("cannot tell, 3 may" in words) == (len(lazy["FGSM"]) < 3)
    parts = {"lazy earlier": read_lazy(lazy, 0.1, 20), "slower": read_late_velocity(late)}
    for part, sentence in parts.items():
        assert verdict(sentence, part) in words


def test_no_claim_without_a_partner() -> None:
    assert read_claim({"FGSM": [4]}, {"FGSM": [0.1]}, {"FGSM": STANDARD[:1]}, 0.1) == ""


# -- accuracy ------------------------------------------------------------------------------------------------------


def right(share: float, seeds: int = 3, images: int = 200) -> np.ndarray:
    """[S, m]: so many of the first images, a seed one image more than the one before."""
    return np.arange(images) < (share * images + np.arange(seeds))[:, None]


@pytest.mark.parametrize(
    ("clean", "hit", "expected", "price"),
    [
        (0.55, 0.31, HOLDS, "+28.0 ["),
        (0.62, 0.04, UNKNOWN, "points clean, which cannot be told from none"),
        (0.60, 0.02, UNKNOWN, "−1.0 ["),
        (0.60, 0.03, UNKNOWN, "+0.0 ["),
    ],
    ids=["trade", "free", "loss", "no-gain"],
)
def test_accuracy(clean, hit, expected, price) -> None:
    words = read_accuracy({"standard": (right(0.62), right(0.03)), "FGSM": (right(clean), right(hit))}, "PGD")
    assert words.startswith(
        "Accuracy at the last epoch, clean and under PGD: 62.5 % and 3.5 % after standard training,"
    )
    assert f"FGSM training makes the net more robust: {expected}, " in words
    assert price in words
    assert words.endswith("(95 % intervals over 200 images and 3 seeds).")


def test_accuracy_of_a_training_that_makes_it_worse() -> None:
    words = read_accuracy({"standard": (right(0.6), right(0.5)), "FGSM": (right(0.6), right(0.1))})
    assert f"more robust: {NOT_HERE}, −40.0 [" in words


def test_accuracy_of_one_seed_is_of_its_nets() -> None:
    words = read_accuracy({"standard": (right(0.6, 1), right(0.1, 1)), "FGSM": (right(0.5, 1), right(0.4, 1))})
    assert f"more robust: {UNKNOWN}, +30.0 [" in words
    assert words.endswith("(95 % intervals over 200 images, one seed).")


def test_accuracy_of_one_regime_and_of_none() -> None:
    nothing = np.zeros((0, 0), bool)
    known = {"PGD": (right(0.5, 1), right(0.255, 1)), "standard": (right(0.6, 1), nothing)}
    assert read_accuracy(known, attack="PGD of 8/255") == (
        "Accuracy at the last epoch, clean and under PGD of 8/255: 50 % and 25.5 % after PGD training."
    )
    assert "known yet" in read_accuracy({})


# -- frozen nets ---------------------------------------------------------------------------------------------------


def frozen(epoch: int, clean: float, attacked: float, train: float, seeds: int = 3) -> Frozen:
    return Frozen(epoch, right(clean, seeds), right(attacked, seeds), right(train, seeds, 50))


WHOLE = frozen(20, 0.62, 0.31, 0.96)


def test_frozen_in_full() -> None:
    rows = [frozen(10, 0.61, 0.3, 0.96), frozen(0, 0.45, 0.05, 0.94), frozen(5, 0.6, 0.1, 0.5)]
    words = read_frozen(rows, WHOLE)
    assert words.startswith(
        "Frozen, the net gets right under attack: 5.5 % at epoch 0 (45.5 % clean, 96 % of the training images), 10.5 % "
        "at epoch 5 (60.5 % clean, 52 % of the training images) and 30.5 % at epoch 10 (61.5 % clean, 98 % of the "
        "training images). The whole run of 20 epochs gets 31.5 % (62.5 % clean, 98 % of the training images). "
        "Beside the whole run that is −26.0 ["
    )
    assert words.endswith(
        "(95 % intervals over 200 images and 3 seeds). Frozen at epoch 0 it is less robust. Frozen at epoch 10 a "
        "difference cannot be told. Frozen at epoch 5 the net is underfit: it does not count."
    )


@pytest.mark.parametrize(
    ("rows", "expected", "never"),
    [
        pytest.param(
            [frozen(0, 0.5, 0.05, 0.96), frozen(5, 0.6, 0.1, 0.96)],
            "Frozen at epochs 0 and 5 it is less robust.",
            "underfit",
            id="none",
        ),
        pytest.param([frozen(5, 0.6, 0.6, 0.96)], "Frozen at epoch 5 it is more robust.", "less", id="more"),
        pytest.param(
            [frozen(0, 0.5, 0.4, 0.6), frozen(5, 0.6, 0.4, 0.7)],
            "training images). Frozen at epochs 0 and 5 the net is underfit: it does not count.",
            "Beside",
            id="all-underfit",
        ),
        pytest.param(
            [frozen(5, 0.6, 0.31, 0.92)], "a difference cannot be told.", "underfit", id="fits-nearly-as-well"
        ),
    ],
)
def test_frozen_says_what_the_numbers_do(rows, expected, never) -> None:
    words = read_frozen(rows, WHOLE)
    assert expected in words
    assert never not in words


def test_frozen_nets_of_one_seed_tell_nothing_of_the_training() -> None:
    words = read_frozen([frozen(0, 0.5, 0.01, 0.96, seeds=1)], frozen(20, 0.62, 0.31, 0.96, seeds=1))
    assert "a difference cannot be told" in words
    assert "(95 % intervals over 200 images, one seed)" in words


@pytest.mark.parametrize(
    ("rows", "whole"),
    [([], WHOLE), ([Frozen(0, *[np.zeros((0, 0), bool)] * 3)], WHOLE), ([WHOLE], Frozen(20, *[np.zeros((0, 0))] * 3))],
    ids=["no-rows", "no-numbers", "no-whole"],
)
def test_frozen_with_nothing_to_compare(rows, whole) -> None:
    assert read_frozen(rows, whole) == "No frozen net can be compared with the whole run yet."
