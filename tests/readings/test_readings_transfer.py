"""Sentences on transfer: the run's own numbers, and no claim that their intervals do not bear out."""

import numpy as np
import pytest

from ntkcore.analysis.attacks.transfer_statistics import AlongWidth
from ntkcore.analysis.intervals import Band
from ntkcore.errors import DataError
from ntkcore.readings.transfer import (
    read_beside,
    read_cosine,
    read_cover,
    read_drops,
    read_noise,
    read_recovered,
    read_white_box,
    read_zero,
)

NAN = float("nan")
UNKNOWN = (NAN, NAN, NAN)


def band(*values):
    """One number with its interval, or several: (mean, low, high) each."""
    return Band(*np.array([values] if np.ndim(values[0]) == 0 else values, dtype=float).T)


def along(widths, values, rise=UNKNOWN):
    return AlongWidth(np.array(widths), band(*values), band(*rise))


SHARES = [(0.83, 0.77, 0.89), (0.9, 0.85, 0.94), (0.95, 0.91, 0.9849)]


def test_recovered_names_both_ends_with_their_intervals():
    words = read_recovered(along([32, 512, 4096], SHARES, (0.12, 0.05, 0.19)), "eps 0.05")
    assert words == (
        "At the largest width, 4096, FGSM on the kernel takes 95 % [91, 98.5] of the accuracy that white-box FGSM "
        "takes at eps 0.05. At width 32 it is 83 % [77, 89]: the share rises by 12 points [5, 19]."
    )


@pytest.mark.parametrize(
    ("rise", "share", "cosine"),
    [
        pytest.param((0.1, 0.0004, 0.2), "the share rises by 10 points", "the cosine rises by 0.10 [0.00", id="up"),
        pytest.param((-0.1, -0.2, -1e-6), "does not rise but falls, the difference is −10 p", "falls", id="down"),
        pytest.param((0.1, -1e-6, 0.2), "the share rises from width 32 to 64 cannot be told", "told", id="open"),
        pytest.param((0.0, 0.0, 0.0), "cannot be told, the difference is 0 points [0, 0]", "told", id="constant"),
    ],
)  # fmt: skip
def test_trend_is_what_the_interval_of_the_difference_allows(rise, share, cosine):
    values = along([32, 64], [(0.5, 0.4, 0.6), (0.6, 0.5, 0.7)], rise)
    assert share in read_recovered(values, "eps 0.05")
    assert cosine in read_cosine(values)


def test_one_known_width_claims_no_trend():
    words = read_recovered(along([512, 1024], [SHARES[1], UNKNOWN]), "ε = 8/255")
    assert words.startswith("At width 512 FGSM on the kernel takes 90 % [85, 94] of")
    assert "rise" not in words
    assert "largest" not in words
    assert read_cosine(along([32], [(0.5, 0.4, 0.6)])) == (
        "The loss gradients of kernel and net have cosine 0.50 [0.40, 0.60] at width 32, mean over the test images."
    )


def test_what_is_under_way_is_told_apart_from_what_is_not_there():
    nothing = along([32, 64], [UNKNOWN, UNKNOWN])
    for read in (lambda *rest: read_recovered(nothing, "eps 0", *rest), lambda *rest: read_cosine(nothing, *rest)):
        assert read("3 of 12 attacks are done").endswith("is not known yet: 3 of 12 attacks are done.")
        assert "yet" not in read()
    assert read_recovered(nothing, "eps 0").startswith("White-box FGSM takes no accuracy at eps 0, so")
    assert "no cosine" in read_cosine(nothing)


@pytest.mark.parametrize(
    ("share", "expected"),
    [
        ((-0.02, -0.05, 0.0), "FGSM on the kernel takes no accuracy at eps 0.05, white-box FGSM does."),
        ((0.02, -0.001, 0.05), "takes at eps 0.05, which cannot be told from nothing."),
        ((0.02, 0.001, 0.05), "takes at eps 0.05."),
    ],
    ids=["none", "open", "some"],
)
def test_a_share_that_may_be_none_is_not_told_as_one(share, expected):
    assert read_recovered(along([64], [share]), "eps 0.05").endswith(expected)


def test_one_value_for_each_width_is_needed():
    with pytest.raises(DataError, match="one for each width"):
        read_cosine(along([32, 64], [(0.5, 0.4, 0.6)]))


@pytest.mark.parametrize(
    ("cost", "expected"),
    [
        (
            (-0.003, -0.01, 0.004),
            "no net a measurable amount of accuracy (the hardest hit: −0.3 points [−1, 0.4]): what",
        ),
        ((0.01, 0.002, 0.0199), "1 point [0.2, 2] of accuracy: what the attacks take beyond 2 points is due to their"),
        ((0.01, 0.002, 0.0201), "could be had without any attack"),
        ((0.13, 0.0999, 0.16), "could be had without any attack"),
        ((0.3, 0.25, 0.35), "the comparison of attacks is weak"),
    ],
    ids=["none", "cheap", "barely not cheap", "barely not dear", "dear"],
)
def test_noise_says_how_much_it_costs_at_this_radius_and_what_follows(cost, expected):
    words = read_noise(band(*cost), "eps 4/255")
    assert words.startswith("Random signs of eps 4/255 cost ")
    assert expected in words


@pytest.mark.parametrize(
    ("apart", "expected"),
    [
        ((-0.35, -0.4, -0.3), "it is further away from the kernel, the difference is −0.35 [−0.40, −0.30]."),
        ((0.35, 0.3, 0.4), "here the twin is the one further away"),
        ((0.002, -0.001, 0.005), "cannot be told, the difference is 0.00 [0.00, 0.01]."),
        ((-0.002, -0.005, -0.001), "it is further away"),
    ],
    ids=["further", "nearer", "open", "little but sure"],
)
def test_nets_are_compared_by_their_difference(apart, expected):
    words = read_beside(band(0.6, 0.57, 0.63), band(0.95, 0.94, 0.96), band(*apart))
    assert "cosine 0.60 [0.57, 0.63] with the kernel's, those of the widest twin 0.95 [0.94, 0.96]: " in words
    assert expected in words


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ((0.09, 0.05, 0.13), "same radius 3 % [1, 5]. PGD takes 9 points [5, 13] more: FGSM is not the worst"),
        ((0.01, -0.01, 0.03), "Whether PGD takes more cannot be told, the difference is 1 point [−1, 3]. Neither"),
        ((-0.02, -0.04, -0.01), "PGD takes less here, the difference is −2 points [−4, −1]. Neither says what the wor"),
    ],
    ids=["more", "open", "less"],
)
def test_white_box_fgsm_is_never_called_a_bound(more, expected):
    words = read_white_box("width 64 and eps 0.05", band(0.12, 0.08, 0.16), band(0.03, 0.01, 0.05), band(*more))
    assert words.startswith("At width 64 and eps 0.05, white-box FGSM leaves 12 % [8, 16] right, white-box PGD of the ")
    assert expected in words
    assert "worst" in words


@pytest.mark.parametrize(
    ("seeds", "expected"),
    [
        (1, "one seed of each net: they say nothing"),
        (2, "2 seeds of each net. With so few"),
        (5, "5 seeds of each net."),
    ],
)
def test_what_the_intervals_are_over(seeds, expected):
    words = read_cover(300, seeds)
    assert "over the 300 test images" in words
    assert expected in words


def test_zero_gradients_are_told_and_silent_without_any():
    assert read_zero(0.0) == ""
    assert read_zero(np.nan) == ""
    assert read_zero(0.035).startswith("At 3.5 % of the test points the gradient is exactly zero")
    assert "less than 0.1 %" in read_zero(1e-4)


KNOWN = band(0.5, 0.4, 0.6)


@pytest.mark.parametrize(
    "words",
    [
        read_noise(band(*UNKNOWN), "eps 1"),
        read_beside(band(*UNKNOWN), KNOWN, KNOWN),
        read_beside(KNOWN, KNOWN, band(*UNKNOWN)),
        read_white_box("width 64", KNOWN, band(*UNKNOWN), KNOWN),
    ],
)
def test_nothing_is_said_of_what_is_not_known(words):
    assert words == ""


@pytest.mark.parametrize(
    ("white", "expected"),
    [
        (
            [(0.68, 0.6, 0.7), (0.35, 0.3, 0.4)],
            "white-box FGSM 68 points [60, 70] and 35 points [30, 40]: the wider",
        ),
        ([(0.68, 0.6, 0.7), (0.65, 0.6, 0.7)], "white-box FGSM 68 points [60, 70] and 65 points [60, 70]."),
    ],
    ids=["falls", "stays"],
)
def test_a_share_is_told_beside_what_both_attacks_take(white, expected):
    kernel = [band(0.25, 0.2, 0.3), band(0.24, 0.2, 0.3)]
    words = read_drops((32, 2048), kernel, [band(*one) for one in white])
    assert "takes 25 points [20, 30] at width 32 and 24 points [20, 30] at width 2048" in words
    assert expected in words
    assert read_drops((32,), kernel[:1], kernel[:1]) == ""
