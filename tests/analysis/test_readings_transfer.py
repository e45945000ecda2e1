"""Sentences on transfer: the run's own numbers, and no claim that they do not bear out."""

import numpy as np
import pytest

from ntkcore.analysis.readings_transfer import (
    read_cosine,
    read_lazy,
    read_noise,
    read_recovered,
    read_white_box,
    read_zero,
)
from ntkcore.errors import DataError

NAN = float("nan")


def test_recovered_names_the_ends_whatever_the_order_of_widths():
    words = read_recovered([4096, 32, 512], [0.95, 0.83, 0.9], "eps 0.05")
    assert words == (
        "At the largest width, 4096, FGSM on the kernel takes 95 % of the accuracy that white-box FGSM takes at "
        "eps 0.05; at width 32 the share is 83 %. It rises from each width to the next (3 widths)."
    )


@pytest.mark.parametrize(
    ("shares", "trend"),
    [
        pytest.param([0.1, 0.2, 0.3, 0.4], "rises from each width to the next (4 widths)", id="rises"),
        pytest.param([0.1, 0.3, 0.2, 0.4], "rises along the width, but not from each to the next (4", id="mostly"),
        pytest.param([0.2, 0.4, 0.1, 0.2], "does not rise along the width (4 widths, Spearman -0.32)", id="wavers"),
        pytest.param([0.4, 0.3, 0.2, 0.1], "does not rise along the width, it falls from each to the next", id="falls"),
        pytest.param([0.5, 0.5, 0.5, 0.5], "is the same at all 4 widths", id="constant"),
        pytest.param([NAN, 0.3, NAN, 0.4], "rises from each width to the next (2 widths)", id="partly-missing"),
    ],
)
@pytest.mark.parametrize("read", [lambda w, s: read_recovered(w, s, "eps 0.05"), read_cosine], ids=["share", "cosine"])
def test_trend_is_what_the_numbers_do(read, shares, trend):
    assert trend in read([32, 128, 512, 2048], shares)


def test_recovered_of_one_width_claims_no_trend():
    words = read_recovered([512, 1024], [0.9, NAN], "ε = 8/255")
    assert words.startswith("At width 512 FGSM on the kernel takes 90 %")
    assert "rise" not in words
    assert "largest" not in words


def test_recovered_says_when_there_is_nothing_to_recover_or_nothing_recovered():
    assert "no share to tell at eps 0: white-box FGSM takes no accuracy" in read_recovered(
        [32, 64], [NAN, NAN], "eps 0"
    )
    words = read_recovered([32, 64], [0.1, -0.02], "eps 0.05")
    assert "64, FGSM on the kernel takes no accuracy at eps 0.05" in words
    assert "does not rise" in words


def test_cosine_names_both_ends():
    words = read_cosine([32, 4096], [0.611, 0.968])
    assert "cosine 0.61 at width 32 and 0.97 at width 4096" in words
    assert read_cosine([32], [0.5]) == (
        "The loss gradients of kernel and net have cosine 0.50 at width 32, mean over the test images."
    )
    assert "No cosine" in read_cosine([32], [NAN])


def test_one_value_for_each_width_is_needed():
    with pytest.raises(DataError, match="one value for each width"):
        read_cosine([32, 64], [0.5])


@pytest.mark.parametrize(
    ("points", "expected"),
    [
        (-0.3, "cost no accuracy"),
        (0.0, "cost no accuracy"),
        (1.0, "at most 1 point of accuracy"),
        (1.26, "at most 1.3 points of accuracy"),
        (5.0, "up to 5 points of accuracy: that much of a drop"),
        (30.0, "the comparison of attacks is weak"),
    ],
)
def test_noise_says_how_much_it_costs_and_what_follows(points, expected):
    words = read_noise(points)
    assert expected in words
    assert ("direction" in words) is (points < 2)


@pytest.mark.parametrize(
    ("lazy", "other", "expected"),
    [
        (0.95, 0.6, "learns features is further away"),
        (0.6, 0.95, "against what the theory"),
        (0.80, 0.81, "no difference to speak of"),
    ],
)
def test_lazy_and_other_nets_are_compared_as_they_are(lazy, other, expected):
    words = read_lazy(lazy, other)
    assert expected in words
    assert f"{lazy:.2f}" in words
    assert f"{other:.2f}" in words


@pytest.mark.parametrize(
    ("fgsm", "pgd", "expected"),
    [
        (0.12, 0.03, "White-box FGSM leaves 12 % right, white-box PGD of the same radius 3 %: FGSM is no upper bound"),
        (0.12, 0.12, "as much: here PGD does not do more damage"),
        (0.12, 0.155, "15.5 %: here PGD does not do more damage"),
    ],
)
def test_white_box_fgsm_is_never_called_a_bound(fgsm, pgd, expected):
    words = read_white_box(fgsm, pgd)
    assert expected in words
    assert "no upper bound" in words


def test_zero_gradients_are_told_and_silent_without_any():
    assert read_zero(0.0) == ""
    assert read_zero(np.nan) == ""
    assert read_zero(0.035).startswith("At 3.5 % of the test points the gradient is exactly zero")
    assert "less than 0.1 %" in read_zero(1e-4)


@pytest.mark.parametrize("words", [read_noise(NAN), read_lazy(NAN, 0.5), read_lazy(0.5, NAN), read_white_box(NAN, 0.1)])
def test_nothing_is_said_of_what_is_not_known(words):
    assert words == ""
