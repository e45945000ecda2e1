"""The sentences on consistency: each verdict for the numbers that deserve it, and these numbers in the sentence."""

import numpy as np
import pytest
import torch

from ntkcore.analysis.consistency.agreement import Agreement
from ntkcore.analysis.consistency.similarity import FeatureCount, Match
from ntkcore.analysis.intervals import Band
from ntkcore.readings.consistency import (
    read_alignment,
    read_answer,
    read_matched,
    read_overlap,
    read_tallies,
)

NAMES = ["FC(1)", "Conv(2)", "Myrtle-5"]
PAIRS = [(0, 1), (0, 2), (1, 2)]


def agreed(*shares, p=0.001, reach=0.04, n=500):
    """Of one pair or three: overlaps of 20 leading eigenvectors, and alignments of the same size."""
    share = np.array(shares)
    count = 2 if len(share) == 1 else 3
    matrix = np.eye(count)
    for (a, b), value in zip(PAIRS, share, strict=False):
        matrix[a, b] = matrix[b, a] = value
    along = np.stack([np.full_like(share, 0.99), share, np.ones_like(share)], 1)
    return Agreement(
        Band(matrix, matrix - reach, np.minimum(1, matrix + reach)),
        Band(matrix, matrix - reach, np.minimum(1, matrix + reach)),
        np.full((count, count), 0.031),
        np.full((count, count), 0.93),
        np.array([1, 20, n]),
        Band(along, along - reach, np.minimum(1, along + reach)),
        np.tile([0.97, 0.087, 1.0], (len(share), 1)),
        np.broadcast_to(p, len(share)).astype(float),
        n,
    )


ANSWERS = {
    "all": (
        agreed(0.61, 0.92, 0.7),
        "Yes, for the most part: all 3 pairs share more than half",
        "the least is 61 % [57, 65], by chance it would be at most 8.7 %.",
    ),
    "one pair": (
        agreed(0.61),
        "Yes, for the most part: they share more than half",
        "it is 61 % [57, 65], by chance it would be 8.7 %.",
    ),
    "part": (
        agreed(0.41, 0.92, 0.7),
        "In part: all 3 pairs share more",
        "but 1 of them less than half; the least is 41 %",
    ),
    "less": (agreed(0.41, 0.3, 0.2), "In part", "than chance, but less than half; the least is 20 % [16, 24]"),
    "cannot tell": (agreed(0.52, 0.92, 0.7), "More than chance", "cannot be told from 500 images; the least is 52 %"),
    "chance": (
        agreed(0.08, 0.92, 0.7, p=(0.2, 0.001, 0.001)),
        "Not here",
        "cannot be told from chance for 1 of 3 pairs",
    ),
    "many tests": (agreed(0.3, 0.92, 0.7, p=(0.02, 0.001, 0.001)), "Not here", "for 1 of 3 pairs"),
}


@pytest.mark.parametrize("case", ANSWERS)
def test_the_answer_goes_no_further_than_its_interval(case):
    numbers, beginning, words = ANSWERS[case]
    text = read_answer(NAMES[: len(numbers.alignment.mean)], numbers)
    assert text.startswith(beginning)
    assert words in text


def test_rounding_decides_nothing():
    """50.04 % is drawn as 50 %, and more than half all the same."""
    assert "more than half" in read_answer(NAMES[:2], agreed(0.5404, reach=0.04))
    assert "cannot be told" in read_answer(NAMES[:2], agreed(0.5396, reach=0.04))


@pytest.mark.parametrize(
    ("numbers", "words"),
    [
        (
            agreed(0.41),
            "FC(1) and Conv(2) share 41 % [37, 45] of the space of their 20 leading eigenvectors; with",
        ),
        (agreed(0.41), "That is more than chance (permutation test: p = 0.001), and less than half."),
        (agreed(0.52), "and about half, and the interval does not tell."),
        (
            agreed(0.41, 0.92, 0.52),
            "3 pairs share from 41 % [37, 45] (FC(1) and Conv(2)) to 92 % [88, 96] (FC(1) and Myrtle-5); with",
        ),
        (agreed(0.41, 0.92, 0.52), "it would be at most 8.7 % on average"),
        (
            agreed(0.41, 0.92, 0.52),
            "For all 3 pairs it is more than chance (permutation test, corrected for 3 pairs: p at most 0.003)",
        ),
        (agreed(0.41, 0.92, 0.52), "; for 1 more than half, for 1 less than half, for 1 near half"),
        (agreed(0.61, 0.92, 0.7), "p at most 0.003), and more than half."),
        (agreed(0.41, 0.92, 0.7, p=(0.2, 0.001, 0.001)), "For 2 of 3 pairs it is more than chance"),
        (agreed(0.08, p=0.3), "That cannot be told from chance (permutation test: p = 0.3)."),
    ],
    ids=["one", "less", "half", "ends", "random", "all", "counts", "all-half", "some", "none"],
)
def test_overlap_is_read_beside_chance(numbers, words):
    text = read_overlap(NAMES[: len(numbers.alignment.mean)], numbers)
    assert "20 leading eigenvectors" in text
    assert words in text


def test_alignment_is_read_beside_chance():
    text = read_alignment(NAMES, agreed(0.61, 0.92, 0.7), centred=True)
    assert (
        "of 3 pairs goes from 0.610 [0.570, 0.650] (FC(1) and Conv(2)) to 0.920 [0.880, 0.960] (FC(1) and Myrtle-5)"
        in text
    )
    assert text.endswith("with the images of one in random order it would be at most 0.031 on average.")
    text = read_alignment(NAMES[:2], agreed(0.998, reach=0.0006), centred=False)
    assert "not centred, of FC(1) and Conv(2) is 0.998 [0.997, 0.999]" in text
    assert "would be 0.930 on average" in text
    assert "says little" in text


def test_one_architecture_is_not_compared():
    alone = Agreement(
        *[Band(*[np.ones((1, 1))] * 3)] * 2, *[np.ones((1, 1))] * 2, np.ones(1), None, None, np.ones(0), 9
    )
    for text in (read_answer(NAMES[:1], alone), read_overlap(NAMES[:1], alone), read_alignment(NAMES[:1], alone, True)):
        assert "second architecture" in text


def matched(*product):
    return Match(torch.tensor([0, 2, 1, 3]), torch.tensor(product, dtype=torch.float64))


def test_matched_features_are_read_in_two_groups():
    cosines = np.array([[0.8, 0.9], [0.6, 0.7], [0.1, -0.1], [-0.2, 0.2]])
    text = read_matched("FC(1)", "Conv(2)", matched(0.95, -0.7, 0.3, 0.2), cosines, 500)
    assert "Of the 4 largest features of FC(1), 2 have their partner at the same index of Conv(2)." in text
    assert "For 2 of them the eigenvectors overlap by 0.50 or more; on average it is 0.54." in text
    assert "gradients goes from +0.00 (feature 2) to +0.85 (feature 0); its mean" in text
    # Student's t of 1 degree of freedom: 0.7 and 0.8, -0.05 and 0.05
    assert "its mean over 2 test images is +0.75 [+0.11, +1.39] there and +0.00 [−0.64, +0.64] for the others" in text
    assert "which cannot be told from 0 for the others: 1 would be the same picture" in text


@pytest.mark.parametrize(
    ("product", "cosine", "words", "absent"),
    [
        (0.9, 0.8, "is +0.80 [+0.80, +0.80] there: 1 would", "others"),
        (0.2, 0.1, "is +0.10 [+0.10, +0.10] for the others: 1 would", "there"),
        (0.9, np.nan, "No feature has an input gradient", "cosine"),
    ],
    ids=["all", "none", "no-gradient"],
)
def test_matched_features_of_one_group(product, cosine, words, absent):
    text = read_matched("a", "b", matched(*[product] * 4), np.full((4, 3), cosine), 500)
    assert words in text
    assert absent not in text


def test_overlaps_that_few_images_have_by_chance_do_not_count():
    text = read_matched("a", "b", matched(0.6, 0.6, 0.6, 0.6), np.full((4, 3), 0.5), 12)
    assert "For 0 of them the eigenvectors overlap by 0.7" in text


def counted(robust, top_robust, *spearman):
    band = Band(*(np.array([value]) for value in spearman or (np.nan,) * 3))
    return FeatureCount(robust, 5, 20, 100 - robust - 25, 20, top_robust, 3, 2, 15 - top_robust, band)


FALLS, FLAT, FEW = counted(4, 3, -0.9, -0.95, -0.8), counted(1, 1, -0.2, -0.6, 0.3), counted(0, 0)


@pytest.mark.parametrize(
    ("counts", "words"),
    [
        ({"a": FALLS, "b": FLAT}, "Robust features among the 20 largest eigenvalues: a 3 of 4, b 1 of 1."),
        ({"a": FALLS, "b": FEW}, "a 3 of 4. No feature of b is found to be robust."),
        ({"a": FALLS}, "keep falls along the index (Spearman a −0.90 [−0.95, −0.80])."),
        ({"a": FALLS, "b": FALLS}, "keep falls along the index for all of them (Spearman a −0.90"),
        ({"a": FALLS, "b": FLAT}, "keep is seen to fall along the index for 1 of 2 (Spearman"),
        ({"a": FLAT}, "keep is seen to fall along the index for 0 of 1 (Spearman a −0.20 [−0.60, +0.30])."),
        ({"a": FALLS, "b": FALLS, "c": FEW}, "falls along the index for 2 of 3 (Spearman"),
        ({"a": FALLS, "c": FEW}, "; for 1 too few features are useful to say."),
        ({"a": FEW, "c": FEW}, "No feature of a, c is found to be robust. Too few features are useful to say how"),
    ],
    ids=["robust", "none", "one", "all", "some", "flat", "of-those-known", "few", "nothing"],
)
def test_tallies_say_where_robustness_is_seen_to_fall(counts, words):
    assert words in read_tallies(counts)
