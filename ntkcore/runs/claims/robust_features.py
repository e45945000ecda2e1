"""The claims on features: a few are robust and many brittle; the robust ones come first."""

import numpy as np
import plotly.graph_objects as go

from ntkcore.figures.story.bands import paired_bands
from ntkcore.figures.story.learning import features_along_time
from ntkcore.readings.verdicts import Judgement, judge_robust_and_brittle, judge_robust_is_early
from ntkcore.runs.claims.claim import Claim, Found, every_feature
from ntkcore.runs.specs import Experiment, RobustFeatures, RobustFeaturesSpec, StageSpec, read_robust_features


def _specs(e: Experiment) -> dict[str, StageSpec]:
    return {"features": RobustFeaturesSpec(curves=e.curves())}


def _read(found: Found) -> RobustFeatures:
    return read_robust_features(found["features"])


def _judge_counts(e: Experiment, found: Found) -> Judgement:
    a = _read(found)
    of = "features" if e.eigenpairs is None else "leading features"
    return judge_robust_and_brittle(
        a.codes, a.by_chance, a.smallest, a.guesses, len(a.labels), str(e.attack), e.rule.keep, of
    )


def _draw_bands(e: Experiment, found: Found, dark: bool) -> go.Figure:
    a = _read(found)
    curve = a.judged["bands"].curve()
    return paired_bands(curve, count=len(a.codes), chance=a.chance, attack=str(e.attack), dark=dark)


def _judge_order(e: Experiment, found: Found) -> Judgement:
    a = _read(found)
    spearman, useful = a.falling.spearman, len(a.falling.index)
    return judge_robust_is_early(spearman, useful, a.judged["time"], a.first, a.chance, str(e.attack))


def _draw_learning(e: Experiment, found: Found, dark: bool) -> go.Figure:
    a = _read(found)
    curve = a.judged["time"].curve(None if a.first.all() else ~a.first)
    good = curve.attacked.high >= curve.attacked.low[curve.attacked.mean.argmax()]
    at = int(np.flatnonzero(good)[-1])  # the last whose interval overlaps that of the best
    order, words = (a.values, a.falling.index, a.falling.kept), str(e.attack)
    return features_along_time(curve, *order, at=at, chance=a.chance, attack=words, dark=dark)


ROBUST_AND_BRITTLE = Claim(
    "robust_and_brittle",
    "A few features are robust. Many are useful, and break under attack.",
    "A feature is what one eigenvector of the kernel says of an image. Each pair of bars is a band of them: what they "
    "get right together, and what is left of that under attack.",
    "A feature is called useful when its answers know the test labels: an exact test of each, with a false discovery "
    "rate over all of them. Robust ones keep at least half of their right answers when they are attacked (or the share "
    "set in the sidebar), brittle ones at most 5 %. The claim holds when there are more robust and more brittle ones "
    "than the same test finds useful ones of any kind in 95 % of 200 shuffles of the test labels, and more brittle "
    "than robust ones; in part when there are not, or when only one kind is more than chance gives. "
    "It cannot be told with so few test images that a feature 1.2 times as often right as a guess would not be found.",
    ("pages/eigenfeatures.py", "Eigenfeatures"),
    _specs,
    _judge_counts,
    _draw_bands,
    every_feature,
)

ROBUST_IS_EARLY = Claim(
    "robust_is_early",
    "Robust features have the largest eigenvalues, and training learns them first.",
    "Press play: bars are useful features, and they fill as they are learned. The larger its eigenvalue, the sooner. "
    "Watch the accuracy under attack as the later ones arrive.",
    "Two things are judged. Of the features that are useful on one half of the test images, the share of right answers "
    "that each keeps under attack, on the other half, falls along the index: Spearman's rank correlation with its 95 % "
    "interval (bootstrap) below 0. And the time at which most is right under attack, chosen on one half, is before the "
    "end of training and better than it on the other half, with the interval of the gain above 0; there the prediction "
    "has to be right more often than guessing. Both: the claim holds; one: in part.",
    ("pages/eigenfeatures.py", "Eigenfeatures"),
    _specs,
    _judge_order,
    _draw_learning,
    every_feature,
)
