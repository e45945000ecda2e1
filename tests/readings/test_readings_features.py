"""Sentences on eigenfeatures: the run's own numbers with their intervals, and nothing that these do not bear out."""

import re

import numpy as np
import pytest
import torch

from ntkcore.analysis.features.classes import BETWEEN, BRITTLE, ROBUST, WEAK, Falling
from ntkcore.analysis.features.halves import halves
from ntkcore.analysis.features.label_test import Null, images_needed
from ntkcore.analysis.features.tradeoff import Curve, Judged
from ntkcore.analysis.intervals import Band, share_band
from ntkcore.readings import features as readings
from ntkcore.readings.words import signed
from tests.made_up import made_up

ATTACK = "FGSM"
WORSE, GUESS, BETTER = 0.3, 0.5, 0.7  # shares of right answers, told from 0.5 by intervals of 0.1 to both sides


def curve(clean: list[float], attacked: list[float], reach: float = 0.1) -> Curve:
    """Over bands, every share with the same interval."""
    first = np.array([0, *2 ** np.arange(len(clean) - 1)])
    return Curve(first, *(Band(np.array(s), np.array(s) - reach, np.array(s) + reach) for s in (clean, attacked)))


def told(clean: list[float], attacked: list[float], reach: float = 0.1) -> str:
    return readings.read_bands(curve(clean, attacked, reach), 2 ** (len(clean) - 1), 0.5, ATTACK, 100)


def test_bands_are_told_one_by_one_with_their_intervals():
    words = told([GUESS, BETTER, BETTER, BETTER, BETTER], [0.1, BETTER, GUESS, WORSE, 0.1])
    assert "Each band alone, on 100 test images, where guessing gives 50 %: the band 1 is right more often" in words
    assert "than guessing, also under attack (1: 70 % [60, 80] clean, 70 % [60, 80] attacked)" in words
    assert "the 2 bands 4–15 are right more often than guessing, but under attack less often (8–15" in words
    assert "the band 2–3 is right more often than guessing, but under attack not to be told from it" in words
    assert "the band 0 is not to be told from guessing (0: 50 % [40, 60] clean, 10 % [0, 20] attacked)" in words


@pytest.mark.parametrize(
    ("clean", "attacked", "message"),
    [
        (
            [BETTER] * 3,
            [BETTER, BETTER, WORSE],
            "Useful bands of features up to 1 survive FGSM, those from 2–3 on do not.",
        ),
        ([BETTER] * 3, [WORSE, BETTER, WORSE], "Some useful bands of features survive FGSM, others do not."),
        ([BETTER] * 3, [BETTER, GUESS, GUESS], "No useful band of features is seen to fall to FGSM."),
        ([BETTER] * 3, [GUESS, WORSE, WORSE], "No useful band of features is seen to survive FGSM."),
        ([BETTER] * 3, [GUESS] * 3, "these test images cannot tell."),
        ([GUESS] * 3, [WORSE] * 3, "no band of features can be told from guessing."),
        ([WORSE] * 3, [WORSE] * 3, "no band of features can be told from guessing."),
    ],
    ids=["front", "mixed", "none-falls", "none-survives", "cannot-tell", "guessing", "worse"],
)
def test_the_message_is_what_all_bands_show(clean, attacked, message):
    bold = re.match(r"\*\*(.*?)\*\*", told(clean, attacked))[1]
    assert bold.endswith(message)


def test_wide_intervals_take_every_verdict_back():
    words = told([BETTER] * 3, [BETTER, WORSE, WORSE], reach=0.25)
    assert "no band of features can be told from guessing" in words
    assert "the 3 bands 0–3 are not to be told from guessing" in words


# -- one by one ------------------------------------------------------------------------------------------------------


def null(*counts: int, features: int = 6) -> Null:
    """Permutations in which so many features have a p-value of 0."""
    p = np.ones((len(counts), features))
    for row, count in zip(p, counts, strict=True):
        row[:count] = 0
    return Null(p, np.full(p.shape, 0.5))


SWEEP = made_up([0.9, 0.9, 0.9, 0.9, 0.5, 0.5], [0.9, 0.9, 0.3, 0.0, 0.5, 0.5])
CODES = np.array([ROBUST, ROBUST, BETWEEN, BRITTLE, WEAK, WEAK])


def test_classes_are_counted_and_placed_beside_what_chance_gives():
    words = readings.read_sweep(SWEEP, CODES, null(*[0] * 97, 1, 1, 1), 0.05)
    assert words == (
        "Of 6 features 4 are useful at a false discovery rate of 5 %: 2 robust (index 0–1), 1 in between (index 2) and "
        "1 brittle (index 3). With permuted test labels the same test finds fewer, 0.03 on average (0 to 1 in 95 % of "
        "100 permutations)."
    )


def test_no_more_than_chance_gives_is_said_to_be_no_more():
    assert "so that the useful ones may all be chance" in readings.read_sweep(
        SWEEP, CODES, null(*range(5), *range(5)), 0.05
    )
    none = readings.read_sweep(SWEEP, np.full(6, WEAK), null(0, 0), 0.05)
    assert none.startswith("Of 6 features none are useful at a false discovery rate of 5 %. With permuted")
    assert none.endswith("(0 to 0 in 95 % of 2 permutations).")


def test_too_few_test_images_are_told_with_how_many_would_do():
    few = made_up([0.5] * 100, [0.5] * 100, m=20)
    words = readings.read_sweep(few, np.full(100, WEAK), null(0, features=100), 0.05)
    assert "20 test images are too few to tell: a feature right on 60 % of them, 1.2 times as often as chance" in words
    needed = images_needed(2, 100, 0.05)
    assert f"{needed} balanced ones would do." in words
    enough = made_up([0.5] * 100, [0.5] * 100, m=needed)
    assert "too few" not in readings.read_sweep(enough, np.full(100, WEAK), null(0, features=100), 0.05)


def test_features_beyond_all_permutations_are_counted_to_both_sides():
    shares = np.tile(np.linspace(0.45, 0.55, 6), (40, 1))
    words = readings.read_null(made_up([0.9, 0.9, 0.5, 0.5, 0.5, 0.1], [1.0] * 6), Null(np.ones((40, 6)), shares))
    assert "In 95 % of 40 permutations of the test labels all features are right on 45 % to 55 % of the" in words
    assert "With the true labels 2 are right more often and 1 less often: it knows the labels too" in words
    none = readings.read_null(made_up([0.5] * 6, [1.0] * 6), Null(np.ones((40, 6)), shares))
    assert none.endswith("With the true labels none are right more often and none less often.")


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [(-0.9, -0.2, "falls along"), (0.2, 0.9, "rises along"), (-0.6, 0.1, "cannot be told to fall or to rise along")],
)
def test_falling_needs_an_interval_without_zero(low, high, verdict):
    band = Band(*(np.array([value]) for value in ((low + high) / 2, low, high)))
    words = readings.read_falling(Falling(np.arange(7), np.ones(7), band))
    assert verdict in words
    assert f"[{signed(low, '+.2f')}, {signed(high, '+.2f')}], over 7 features" in words


def test_of_few_useful_features_no_order_is_told():
    nothing = Band(*(np.full(1, np.nan),) * 3)
    assert readings.read_falling(Falling(np.arange(1), np.ones(1), nothing)).startswith("1 feature is useful on one")
    assert "too few" in readings.read_falling(Falling(np.arange(4), np.ones(4), nothing))
    assert "no order" in readings.read_falling(Falling(np.arange(6), np.ones(6), nothing))


@pytest.mark.parametrize(
    ("share", "verdict"), [(0.75, "more than chance"), (0.5, "not to be told from chance"), (0.25, "less than chance")]
)
def test_the_tail_is_compared_with_permuted_labels_not_with_the_majority(share, verdict):
    sweep = made_up([0.9, *[share] * 5], [1.0, *[0.1] * 5])
    spread = Null(np.ones((200, 6)), np.linspace(0.47, 0.53, 200)[:, None].repeat(6, 1))
    words = readings.read_tail(sweep, spread, start=1)
    assert f"The 5 features from index 1 on are right on {100 * share:.2f} % [" in words
    assert f"{verdict}, which gives 50.00 % [47.15, 52.85] with permuted labels" in words
    band = share_band(sweep.right_before[:, 1:2].numpy())
    found = [float(x) / 100 for x in re.search(r"\[(.*?), (.*?)\] of the test images on average", words).groups()]
    np.testing.assert_allclose(
        found, [band.low[0], band.high[0]], atol=0.02
    )  # one feature's bootstrap and Wilson intervals agree


def test_a_split_adds_up():
    parts = np.array([-0.1, -0.2, -0.3, -1.0])
    words = readings.read_split(parts, np.array([ROBUST, BETWEEN, BRITTLE, WEAK]), 0.5, -1.1, "Coat", top=2)
    assert words.startswith("The attack on the whole kernel moves the margin of this Coat from +0.50 to −1.10: the sum")
    assert "The first 2 features sum to −0.30, the 2 behind them to −1.30." in words
    assert "robust −0.10, in between −0.20, brittle −0.30; those weak alone" in words
    assert words.endswith("together −1.00, the larger part.")


def test_a_split_against_another_rival_says_so():
    words = readings.read_split(np.array([-0.5, -0.5]), np.array([ROBUST, WEAK]), 0.5, -0.2, "Coat")
    assert "to −0.20 (against the class that competes with it after the attack, by −1.00): the sum" in words
    assert words.endswith("together −0.50.")


# -- chosen on one half, told on the other ----------------------------------------------------------------------------

LABELS = np.arange(400) % 2
FIRST = halves(LABELS)


def right(on_first: float, on_other: float) -> np.ndarray:
    """[400] bool: right on such shares of the two halves."""
    out = np.zeros(400, dtype=bool)
    for half, share in ((FIRST, on_first), (~FIRST, on_other)):
        rows = np.flatnonzero(half)
        out[rows[: round(share * len(rows))]] = True
    return out


def judged(k, before, after) -> Judged:
    """Each share a pair: on the half that chooses and on the other."""
    return Judged(np.array(k), *(np.stack([right(*pair) for pair in shares], 1) for shares in (before, after)))


NONE = Judged(np.zeros(0), np.zeros((400, 0), bool), np.zeros((400, 0), bool))
TOP = judged([1, 5, 9], [(0.9, 0.9)] * 3, [(0.5, 0.3), (0.4, 0.6), (0.1, 0.1)])


def test_what_is_kept_is_told_of_the_half_that_did_not_choose_it():
    brittle = judged([1, 3], [(0.7, 0.6), (0.99, 0.65)], [(0.2, 0.1), (0.3, 0.02)])
    words = readings.read_kept({"top": TOP, "robust": NONE, "brittle": brittle, "rest": TOP}, FIRST, 0.5)
    assert words.startswith("Classes and k were chosen on 200 of the 400 test images")
    assert "told of the other 200. No feature was robust there." in words
    assert "The 3 brittle features together are right on 65 % [58.2, 71.3] (more often than guessing), on 2 %" in words
    assert "99" not in words
    assert "All but" not in words
    assert "k = 1 did best under attack; it keeps 30 % [24.1, 36.7], more than what all features keep (+20" in words


def test_kept_features_near_chance_are_not_called_useful():
    weak = judged([1], [(0.9, 0.53)], [(0.8, 0.5)])
    words = readings.read_kept({"top": TOP, "robust": weak, "brittle": NONE, "rest": TOP}, FIRST, 0.5)
    assert "The only robust feature is right on 53 % [46.1, 59.8] (not to be told from guessing)" in words
    assert "All but the robust ones are right on 90 %" in words


@pytest.mark.parametrize(
    ("after", "words"),
    [
        ([(0.3, 0.4), (0.6, 0.5), (0.1, 0.1)], "more than what is left at the end (+40"),
        (
            [(0.3, 0.4), (0.6, 0.1), (0.1, 0.1)],
            "not to be told from what is left at the end (+0.0 points [+0.0, +0.0])",
        ),
        ([(0.3, 0.4), (0.6, 0.1), (0.1, 0.5)], "less than what is left at the end (−40"),
    ],
    ids=["more", "same", "less"],
)
def test_the_best_time_is_compared_with_the_end_image_by_image(after, words):
    text = readings.read_time(judged([1.0, 20.0, 300.0], [(0.9, 0.8)] * 3, after), FIRST)
    assert "On 200 of the 400 test images (every other one of each class) the prediction was best" in text
    assert "under attack at t = 20. On the other 200 it is right on 80 % [73.9, 85] there" in text
    assert words in text


def test_the_earliest_time_is_said_to_be_the_edge_of_the_grid_and_the_last_needs_no_comparison():
    edge = readings.read_time(judged([1.0, 20.0], [(0.9, 0.8)] * 2, [(0.6, 0.6), (0.1, 0.1)]), FIRST)
    assert "at t = 1, the earliest of all that were tried (any earlier time gives the same answers). On" in edge
    last = readings.read_time(judged([1.0, 20.0], [(0.9, 0.8)] * 2, [(0.1, 0.1), (0.6, 0.6)]), FIRST)
    assert "points" not in last


def test_one_image_has_no_other_half():
    one = Judged(np.ones(1), np.ones((1, 1), bool), np.ones((1, 1), bool))
    words = "1 test image cannot be split in two"
    assert readings.read_time(one, np.ones(1, bool)).startswith(words)
    assert readings.read_kept({"top": one}, np.ones(1, bool), 0.5).startswith(words)


def test_nothing_is_said_of_a_tail_on_one_image_or_without_features():
    one = made_up([1.0] * 30, [1.0] * 30, m=2).part(torch.tensor([0]))
    assert readings.read_tail(one, Null(np.ones((1, 30)), np.ones((1, 30)))) == ""
    assert readings.read_tail(SWEEP, null(0)) == ""
