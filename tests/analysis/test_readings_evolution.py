"""Sentences on the kernel's evolution: the run's own numbers, and no claim that they do not bear out."""

import pytest

from ntkcore.analysis.evolution import Concentration
from ntkcore.analysis.readings_evolution import (
    Frozen,
    read_accuracy,
    read_concentration,
    read_frozen,
    read_late_velocity,
    read_lazy,
)

NAN = float("nan")
EARLIER = "The kernel becomes lazy earlier under"


# -- lazy --------------------------------------------------------------------------------------------------------


def test_lazy_names_every_regime_and_seed():
    words = read_lazy({"FGSM": [4, 5, 4], "standard": [11]}, 0.1, 20)
    assert words == (
        "Velocity stays below 10 % of its first value from epoch 4 on under FGSM training (4, 5, 4 over seeds), from "
        "epoch 11 on under standard training. "
        "The kernel becomes lazy earlier under adversarial training than under standard training."
    )


@pytest.mark.parametrize(
    ("fgsm", "standard", "claimed", "expected"),
    [
        pytest.param([4], [11], True, "adversarial training than under standard training.", id="earlier"),
        pytest.param([4], [None], True, "adversarial training than under standard training.", id="other-never"),
        pytest.param([4, 4, 12], [11, 13, 12], True, "training, though not for all seeds.", id="seeds-overlap"),
        pytest.param([4, None, 4], [11, 11, 11], True, "training, though not for all seeds.", id="one-never"),
        pytest.param([7], [7], False, "not become lazy earlier under adversarial training, but at the same", id="same"),
        pytest.param([9], [7], False, "not become lazy earlier under adversarial training, but later", id="later"),
        pytest.param([None], [7], False, "not become lazy earlier under adversarial training, but later", id="never"),
        pytest.param([None], [None], False, "under adversarial training cannot be told", id="neither"),
    ],
)
def test_lazy_says_what_the_numbers_do(fgsm, standard, claimed, expected):
    words = read_lazy({"standard": standard, "FGSM": fgsm}, 0.1, 20)
    assert expected in words
    if "seeds" not in expected:
        assert "not for all seeds" not in words
    assert (EARLIER in words) is claimed


def test_lazy_within_the_run_only():
    words = read_lazy({"standard": [None, None], "FGSM": [5, None, 6]}, 0.05, 12)
    assert "below 5 % of its first value at no point of 12 epochs under standard training (all 2 seeds)" in words
    assert "from epoch 6 on under FGSM training (5, never, 6 over seeds)" in words


def test_adversarial_regimes_are_told_apart_where_they_differ():
    words = read_lazy({"standard": [10], "FGSM": [4], "PGD": [12]}, 0.1, 20)
    assert f"{EARLIER} FGSM training than" in words
    assert "not become lazy earlier under PGD training, but later" in words
    assert f"{EARLIER} adversarial training than" in read_lazy({"standard": [10], "FGSM": [4], "PGD": [5]}, 0.1, 20)
    assert f"{EARLIER} FGSM and linearised training than" in read_lazy(
        {"standard": [10], "FGSM": [4], "linearised": [5]}, 0.1, 20
    )


@pytest.mark.parametrize("regimes", [{"standard": [7]}, {"FGSM": [4], "PGD": [5]}, {"FGSM": [3], "standard": []}])
def test_without_a_partner_nothing_is_compared(regimes):
    words = read_lazy(regimes, 0.1, 20)
    assert words.count(".") == 1
    assert "earlier" not in words


def test_nothing_is_lazy_before_there_is_a_velocity():
    assert "No velocity is known yet" in read_lazy({"standard": [], "FGSM": []}, 0.1, 20)


# -- late velocity -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fgsm", "expected"),
    [
        (
            0.000123,
            "moves by 0.00012 under FGSM training and 0.003 under standard training per epoch (1 - similarity). "
            "It is slower under adversarial training than under standard training.",
        ),
        (0.00301, "It is as fast under adversarial training as under standard training."),
        (0.02, "It is not slower under adversarial training, but faster than under standard training."),
    ],
    ids=["slower", "same", "faster"],
)
def test_late_velocity(fgsm, expected):
    assert expected in read_late_velocity({"FGSM": fgsm, "standard": 0.003})


def test_late_velocity_that_is_not_known():
    assert "known yet" in read_late_velocity({"FGSM": NAN})
    words = read_late_velocity({"FGSM": NAN, "standard": 0.5})
    assert "moves by 0.5 under standard training per epoch" in words
    assert "FGSM" not in words


# -- concentration -----------------------------------------------------------------------------------------------

STANDARD = Concentration(mass=0.9954, share=0.72, rank=34.2)


def test_concentration_in_full():
    words = read_concentration({"FGSM": Concentration(0.9988, 0.9, 9.04), "standard": STANDARD}, 20)
    assert words == (
        "After 20 epochs the 20 largest eigenvalues hold 0.90 of the trace under FGSM training and 0.72 under standard "
        "training (effective rank 9.0 against 34; of the sum of squared eigenvalues they leave 0.0012 against 0.0046). "
        "The kernel is more concentrated under adversarial training than under standard training."
    )


@pytest.mark.parametrize(
    ("fgsm", "expected"),
    [
        pytest.param(Concentration(0.98, 0.6, 50.0), "is not more concentrated under adversarial training", id="less"),
        pytest.param(Concentration(0.99541, 0.7201, 34.0), "is as concentrated under adversarial", id="as-shown-same"),
        pytest.param(
            Concentration(0.99, 0.8, 30.0),
            "whether adversarial training concentrates the kernel more than standard training: by share and effective "
            "rank it does, by mass of squares it does the opposite.",
            id="disagree",
        ),
        pytest.param(Concentration(0.9954, 0.72, 20.0), "is more concentrated under adversarial", id="rank-alone"),
    ],
)
def test_concentration_says_what_the_numbers_do(fgsm, expected):
    assert expected in read_concentration({"standard": STANDARD, "FGSM": fgsm}, 20)


def test_concentration_of_three_regimes():
    pgd, fgsm = Concentration(0.98, 0.6, 50.0), Concentration(0.999, 0.9, 5.0)
    words = read_concentration({"standard": STANDARD, "FGSM": fgsm, "PGD": pgd}, 1, top=10)
    assert (
        "After 1 epoch the 10 largest eigenvalues hold 0.72 of the trace under standard training, 0.90 under" in words
    )
    assert "effective rank 34, 5.0 and 50;" in words
    assert "is more concentrated under FGSM training than under standard training" in words
    assert "is not more concentrated under PGD training, but less than under standard training" in words


def test_concentration_that_is_not_known():
    unknown = Concentration(NAN, NAN, NAN)
    assert "known yet" in read_concentration({"standard": unknown}, 3)
    words = read_concentration({"standard": STANDARD, "FGSM": unknown}, 3)
    assert "FGSM" not in words
    assert "more" not in words


# -- accuracy ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fgsm", "expected"),
    [
        ((0.55, 0.31), "FGSM training gains 28 points under attack over standard training and costs 7 points clean."),
        ((0.63, 0.04), "FGSM training gains 1 point under attack over standard training and costs nothing clean."),
        ((0.60, 0.03), "FGSM training does not make the net more robust: under attack the numbers are the same."),
        ((0.60, 0.005), "FGSM training does not make the net more robust: under attack it loses 2.5 points."),
    ],
    ids=["trade", "free", "no-gain", "loss"],
)
def test_accuracy(fgsm, expected):
    words = read_accuracy({"standard": (0.62, 0.03), "FGSM": fgsm})
    assert words.startswith("Accuracy at the last epoch, clean and under attack: 62 % and 3 % after standard training,")
    assert words.endswith(expected)


def test_accuracy_of_one_regime_and_of_none():
    assert read_accuracy({"PGD": (0.5, 0.255), "standard": (0.6, NAN)}, attack="PGD of 8/255") == (
        "Accuracy at the last epoch, clean and under PGD of 8/255: 50 % and 25.5 % after PGD training."
    )
    assert "known yet" in read_accuracy({})


# -- frozen nets -------------------------------------------------------------------------------------------------

WHOLE = Frozen(20, 0.62, 0.31, 0.97)


def test_frozen_in_full():
    words = read_frozen([(10, 0.61, 0.3, 0.96), (0, 0.45, 0.05, 0.95), (5, 0.6, 0.305, 0.97)], WHOLE)
    assert words == (
        "Frozen, the net gets right under attack: 5 % at epoch 0 (45 % clean, 95 % of the training images), 30.5 % at "
        "epoch 5 (60 % clean, 97 % of the training images) and 30 % at epoch 10 (61 % clean, 96 % of the training "
        "images). The whole run of 20 epochs gets 31 % (62 % clean, 97 % of the training images). "
        "From epoch 5 on the frozen net is as robust as the whole run to 1 point."
    )


@pytest.mark.parametrize(
    ("rows", "expected", "never"),
    [
        pytest.param(
            [(0, 0.5, 0.1, 0.97), (5, 0.6, 0.2, 0.97)],
            "No frozen net is as robust as the whole run; the best lacks 11 points.",
            "underfit",
            id="none",
        ),
        pytest.param(
            [(0, 0.5, 0.1, 0.97), (5, 0.6, 0.36, 0.97)],
            "From epoch 5 on the frozen net is as robust as the whole run to 1 point; the best is more robust by 5 poi",
            "underfit",
            id="more",
        ),
        pytest.param(
            [(0, 0.5, 0.31, 0.97), (5, 0.6, 0.2, 0.97)],
            "Frozen at epoch 0 it is as robust as the whole run, frozen at epoch 5 it is not.",
            "From epoch",
            id="early-only",
        ),
        pytest.param(
            [(0, 0.5, 0.4, 0.6), (5, 0.6, 0.2, 0.97)],
            "the best lacks 11 points. Frozen at epoch 0 the net is underfit: it does not count.",
            "From epoch",
            id="underfit-is-not-robust",
        ),
        pytest.param(
            [(0, 0.5, 0.4, 0.6), (5, 0.6, 0.4, 0.7)],
            "training images). Frozen at epochs 0 and 5 the net is underfit: it does not count.",
            "as robust",
            id="all-underfit",
        ),
        pytest.param(
            [(5, 0.6, 0.31, 0.97), (9, 0.6, 0.1, 0.5)],
            "From epoch 5 on the frozen net is as robust as the whole run to 1 point. Frozen at epoch 9",
            "lacks",
            id="underfit-later",
        ),
    ],
)
def test_frozen_says_what_the_numbers_do(rows, expected, never):
    words = read_frozen(rows, WHOLE)
    assert expected in words
    assert never not in words


@pytest.mark.parametrize(
    ("rows", "whole"),
    [([], WHOLE), ([(0, 0.5, NAN, 0.9)], WHOLE), ([WHOLE], Frozen(20, 0.5, NAN, 0.9))],
    ids=["no-rows", "no-numbers", "no-whole"],
)
def test_frozen_with_nothing_to_compare(rows, whole):
    assert read_frozen(rows, whole) == "No frozen net can be compared with the whole run yet."
