"""The sentences on consistency: each verdict for the numbers that deserve it, and these numbers in the sentence."""

import numpy as np
import pytest

from ntkcore.analysis.consistency import FeatureCount, name_pairs
from ntkcore.analysis.readings_consistency import read_alignment, read_matched, read_overlap, read_tallies

NAMES = ["FC(1)", "Conv(2)", "Myrtle(5)"]


def three(a, b, c):
    return np.array([[1, a, b], [a, 1, c], [b, c, 1]])


@pytest.mark.parametrize(
    ("matrix", "words"),
    [
        (three(0.95, 0.92, 0.99), "nearly the same"),
        (three(0.95, 0.6, 0.99), "agree in part"),
        (three(0.95, 0.2, 0.99), "Not all architectures agree"),
        (three(0.3, 0.2, 0.1), "The architectures do not agree"),
    ],
    ids=["same", "part", "some", "none"],
)
def test_alignment_is_read_as_it_is(matrix, words):
    text = read_alignment(NAMES, matrix, centred=True)
    assert words in text
    assert f"{matrix[np.triu_indices(3, 1)].min():.2f}" in text
    assert f"{matrix[np.triu_indices(3, 1)].max():.2f}" in text


def test_alignment_without_centring_is_no_verdict():
    text = read_alignment(NAMES[:2], np.array([[1, 0.99], [0.99, 1]]), centred=False)
    assert "0.99" in text
    assert "says little" in text
    assert "nearly the same" not in text
    assert "0.998" in read_alignment(NAMES, three(0.998, 0.999, 0.9991), centred=False)
    assert "second architecture" in read_alignment(NAMES[:1], np.ones((1, 1)), centred=True)


@pytest.mark.parametrize(
    ("shares", "words"),
    [
        ((0.95, 0.97), "nearly the same"),
        ((0.6, 0.97), "not all"),
        ((0.2, 0.97), "For 1 of 2 pairs it is more than chance and yet less than half"),
        ((0.011, 0.97), "For 1 of 2 pairs it is no more than chance"),
        ((0.011,), "That is no more than chance"),
    ],
    ids=["same", "most", "part", "chance", "one-pair"],
)
def test_overlap_is_read_beside_chance(shares, words):
    curves = {name: np.array([0.5, share, 0.5]) for (name, _, _), share in zip(name_pairs(NAMES), shares, strict=False)}
    text = read_overlap([1, 20, 500], curves, n=2000)
    assert words in text
    assert "20 leading" in text
    assert "share 1 %" in text


def test_overlap_of_whole_spaces_says_nothing():
    assert "smaller k" in read_overlap([10], {"a and b": np.ones(1)}, n=10)
    assert "second architecture" in read_overlap([10], {}, n=20)


@pytest.mark.parametrize(
    ("overlap", "cosine", "words"),
    [
        (0.95, 0.8, "largely at the same pixels"),
        (0.95, 0.1, "do not look at the same"),
        (0.2, 0.1, "not have these features"),
    ],
    ids=["same", "same-vectors", "different"],
)
def test_matched_features_are_read_as_they_are(overlap, cosine, words):
    partner, cosines = np.array([0, 2, 1, 3, 4, 5, 6]), np.full(7, cosine)
    cosines[6] = -0.01
    text = read_matched("FC(1)", "Conv(2)", partner, np.full(7, overlap), cosines)
    assert words in text
    assert "Of the 7 largest features of FC(1), 5 have their partner at the same index of Conv(2)" in text
    assert "for 1 of 7 it is negative" in text
    assert f"{cosine:+.2f} over the first 5" in text


def test_matched_features_without_gradients_say_so():
    text = read_matched("a", "b", np.arange(2), np.ones(2), np.full(2, np.nan))
    assert "No feature has an input gradient" in text
    one_gap = read_matched("a", "b", np.arange(2), np.ones(2), np.array([np.nan, 0.75]))
    assert "+0.75 on average" in one_gap


def test_tallies_say_where_robustness_does_not_fall():
    falls, rises = FeatureCount(30, 20, 50, 20, 15, 3, 2, -0.6), FeatureCount(3, 20, 77, 20, 1, 3, 16, 0.2)
    flat = FeatureCount(0, 0, 5, 5, 0, 0, 5, float("nan"))
    text = read_tallies({"FC(1)": falls, "Conv(2)": rises})
    assert "FC(1) 15 of 20 (30 of all 100)" in text
    assert "for 1 of 2 only: Spearman -0.60 to +0.20" in text
    assert "for all of them: Spearman -0.60 to -0.60" in read_tallies({"a": falls, "b": falls})
    assert read_tallies({"a": falls}).endswith("Robustness falls along the index: Spearman -0.60.")
    assert "no order" in read_tallies({"a": flat})
