"""Sentences on one kernel: numbers counted by other means, and no claim that the interval does not allow."""

import re

import numpy as np
import pytest
import torch
from scipy.stats import binomtest, entropy

from ntkcore.analysis.spectrum import Spectrum
from ntkcore.readings.kernel import read_flip, read_prediction, read_spectrum

INF = float("inf")


def right(share: float, m: int) -> np.ndarray:
    return np.arange(m) < round(share * m)


# -- spectrum --------------------------------------------------------------------------------------------------------


def test_spectrum_is_told_of_the_training_images():
    values = np.array([60.0, 20, 10, 5, *[0.5] * 10])
    energy = np.array([0.2, 0.29, 0.02, 0.49, *[0.0] * 10])
    s = Spectrum(torch.tensor(values), torch.eye(14, dtype=torch.float64))
    assert read_spectrum(s, energy) == (
        "Of the kernel on the 14 training images, the largest eigenvalue is 60 % of the sum of all eigenvalues (the "
        f"trace), the 10 largest together are 98 %; the effective rank is {np.exp(entropy(values)):.1f}. The first 3 "
        "eigenvectors together hold at least half of the energy of the training labels."
    )
    assert "The first eigenvector holds at least half" in read_spectrum(s, energy[::-1] + values)


def test_a_leading_part_of_a_spectrum_is_told_as_such():
    """What is said of all holds of all: sums are shares of the trace, and the rank lies within what is said."""
    values = np.array([60.0, 20, 10, 5, *[0.5] * 10])
    part = Spectrum(torch.tensor(values[:4]), torch.eye(14, dtype=torch.float64)[:, :4], trace=100.0)
    words = read_spectrum(part, [0.1, 0.1, 0.1, 0.1])
    assert (
        "largest eigenvalue is 60 % of the sum of all eigenvalues (the trace), the 4 largest together are 95 %" in words
    )
    assert (
        "Known are the 4 leading of 14 eigenvalues, which hold 95 % of the trace. All of them together hold 40 %"
        in words
    )
    low, high = map(float, re.search(r"lies between (\S+) and (\S+)\. Known", words).groups())
    assert low < np.exp(entropy(values)) == pytest.approx(high, abs=0.05)
    assert low == pytest.approx(np.exp(entropy([60, 20, 10, 5, 5])), abs=0.05)
    assert "The first 3 eigenvectors together hold at least half" in read_spectrum(part, [0.2, 0.2, 0.2, 0.2])


# -- prediction ------------------------------------------------------------------------------------------------------


def test_shares_have_their_wilson_intervals():
    words = read_prediction(right(0.8, 300), right(0.1, 300), right(0, 300), 0.5, "FGSM eps 8/255")
    for share in (0.8, 0.1, 0.0):
        ends = binomtest(round(300 * share), 300).proportion_ci(method="wilson")
        found = re.search(rf" {100 * share:.0f} % \[(\S+), (\S+)\]", words)
        assert [float(end) for end in found.groups()] == pytest.approx([100 * end for end in ends], abs=0.051)
    assert "300 test images right (always guessing the most frequent class: 50 %)" in words
    assert "; no network was trained." in words


@pytest.mark.parametrize(
    ("clean", "attacked", "chance", "m", "expected"),
    [
        pytest.param(0.8, 0.0, 0.5, 300, "more than half of the 30 points that the kernel has over gu", id="works"),
        pytest.param(0.8, 0.72, 0.5, 2000, "less than half of the 30 points", id="does not work"),
        pytest.param(0.8, 0.65, 0.5, 300, "whether that is more than half of the 30 points", id="open"),
        pytest.param(0.8, 0.55, 0.5, 20, "whether that is more than half", id="too few images"),
        pytest.param(0.55, 0.0, 0.5, 100, "These images cannot tell it from guessing", id="clean may be guessing"),
        pytest.param(0.55, 0.0, 0.5, 1000, "more than half of the 5 points", id="clean is more than guessing"),
        pytest.param(0.3, 0.0, 0.5, 100, "That is worse than guessing.", id="worse than guessing"),
        pytest.param(0.3, 0.0, 0.1, 100, "more than half of the 20 points", id="ten classes"),
        pytest.param(0.8, 0.8, 0.5, 300, "takes 0 points [−1.3, 1.3] of accuracy, less than half", id="radius 0"),
    ],
)
def test_an_attack_works_when_the_interval_of_what_it_takes_allows_it(clean, attacked, chance, m, expected):
    words = read_prediction(right(clean, m), right(attacked, m), right(attacked, m), chance, "FGSM eps 8/255")
    assert expected in words


def test_what_the_attack_takes_is_paired_by_the_images():
    """Nearly the same images are right before and after: the interval is narrow where two shares' own would be wide."""
    words = read_prediction(right(0.8, 100), right(0.79, 100), right(0.79, 100), 0.5, "FGSM eps 1/255")
    low, high = map(float, re.search(r"takes 1 point \[(\S+), (\S+)\]", words).groups())
    assert high - low <= 4


def test_the_kernel_of_a_trained_net_is_not_told_as_untrained():
    words = read_prediction(right(0.8, 300), right(0, 300), right(0, 300), 0.5, "FGSM eps 8/255", trained=True)
    assert "no network" not in words
    assert words.endswith("over guessing.")


# -- one image -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (
            (3.2149 / 255, 3.05 / 255, True, 0.2, "linf"),
            "The kernel gets this image right. The smallest radius found that flips it is 3.21/255 with FGSM and "
            "3.05/255 with PGD. Each attack was tried at 25 radii from 0 to 51/255; the step to the first that flips "
            "it was then halved 12 times.",
        ),
        ((INF, 1.25, True, 4.0, "l2"), "flips it is 1.25 with PGD; FGSM flips it at no radius that was tried. Each"),
        ((INF, INF, True, 4.0, "l2"), "Neither FGSM nor PGD flips it at any of 25 radii from 0 to 4."),
        ((1e-6, 1e-6, True, 0.2, "linf"), "it is below 0.01/255 with FGSM and below 0.01/255 with PGD."),
        ((0.0, 0.0, False, 0.2, "linf"), "The kernel gets this image wrong before any attack."),
    ],
    ids=["both", "PGD alone", "neither", "at once", "wrong"],
)
def test_flip_says_how_the_radius_was_found(found, expected):
    assert expected in " ".join(read_flip(*found))


def test_flip_of_a_net_is_read_off_a_line():
    _, words = read_flip(0.01, 0.01, True, 0.2, "linf", "net", radii=14, halved=False)
    assert words == (
        "Each attack was tried at 14 radii from 0 to 51/255; between the last that does not flip it and the first that "
        "does, the radius is read off a straight line."
    )
