"""The verdicts on features: a few are robust and many brittle, and the robust ones come first.

::

    judge_robust_and_brittle(codes, by_chance, smallest=0.56, guesses=2, m=2000, attack="FGSM", keep=0.5)
    judge_robust_is_early(spearman, useful=24, time=judged["time"], first=halves(labels), chance=0.5, attack="FGSM")
"""

import numpy as np

from ntkcore.analysis.features.classes import BRITTLE, BRITTLE_KEEPS, FEWEST, ROBUST
from ntkcore.analysis.features.label_test import MODEST
from ntkcore.analysis.features.tradeoff import Judged
from ntkcore.analysis.intervals import LEVEL, Band, Resampling
from ntkcore.readings.verdicts.judgement import HOLDS, IN_PART, NOT_HERE, UNKNOWN, Judgement, by_bound
from ntkcore.readings.words import percent, percent_within, points_lost, within


def judge_robust_and_brittle(
    codes: np.ndarray,
    by_chance: np.ndarray,
    smallest: float,
    guesses: int,
    m: int,
    attack: str,
    keep: float,
    of: str = "features",
) -> Judgement:
    """Classes of features [F], and how many are useful in each of P permutations of the test labels, [P].

    Holds when there are more robust and more brittle features than 95 % of the permutations give useful ones of any
    kind, and more brittle than robust ones. smallest: the share of m images on which a feature has to be right to be
    called useful; a feature MODEST times as often right as guessing between ``guesses`` classes has to pass, or there
    is nothing to be seen. keep: the share of its right answers that a robust feature keeps. of: what they
    are, where that is not all features.
    """
    robust, brittle = int((codes == ROBUST).sum()), int((codes == BRITTLE).sum())
    high = int(np.quantile(by_chance, LEVEL, method="inverted_cdf"))
    number = f"{robust} robust, {brittle} brittle"
    chance = f"at most {high} {'is' if high == 1 else 'are'}" if high else "none is"
    least, most = percent(keep), percent(BRITTLE_KEEPS)
    kinds = f"A robust one keeps at least {least} of its right answers, a brittle one at most {most}."
    of_what = f"of {len(codes)} {of}, under {attack}. {kinds} In 95 % of shuffles of the test labels {chance} useful."
    if robust > high and brittle > high:
        among = "" if of == "features" else "among these "
        few = "" if brittle > robust else f", but {among}the robust ones are not the few"
        return Judgement(
            IN_PART if few else HOLDS, number, of_what, f"Of both kinds there are more than chance gives{few}."
        )
    if robust > high or brittle > high:
        words = ("robust", "brittle") if robust > high else ("brittle", "robust")
        reason = f"There are more {words[0]} features than chance gives, but not more {words[1]} ones."
        return Judgement(IN_PART, number, of_what, reason)
    if smallest > MODEST / guesses:
        reason = f"{m} test images are too few to show that any feature is useful."
        return Judgement(UNKNOWN, number, of_what, reason)
    return Judgement(NOT_HERE, number, of_what, "Of neither kind there are more than chance gives.")


def judge_robust_is_early(
    spearman: Band, useful: int, time: Judged, first: np.ndarray, chance: float, attack: str
) -> Judgement:
    """Whether the share that a feature keeps falls along the index, and whether stopping early keeps more.

    spearman: of index and share kept among ``useful`` features, a Band of one number. time: the prediction along
    training time; its best time under attack is chosen on the images ``first`` [m], bool, and told on the others. It
    has to be right more often than ``chance``, or it would be the best by answering the same to all.
    """
    falls = by_bound(Band(-spearman.mean, -spearman.high, -spearman.low))
    order = {
        HOLDS: "The larger the eigenvalue, the more survives",
        NOT_HERE: "The larger the eigenvalue, the less survives",
        UNKNOWN: _no_order(useful),
    }[falls]
    if np.isfinite(spearman.mean[0]):
        value, low, high = (float(one[0]) for one in (spearman.mean, spearman.low, spearman.high))
        order += f" (rank correlation of index and share kept {within(value, low, high, '+.2f')})"
    if first.all():
        return Judgement(UNKNOWN, "no number", f"of {len(first)} test images, too few to choose on", f"{order}.")
    best, after = int(time.after[first].mean(0).argmax()), time.after[~first].astype(float)
    draw = Resampling(len(after), 1)
    at_best, at_end = draw.mean(after[None, :, best]), draw.mean(after[None, :, -1])
    gain = draw.band_of_shares((at_best - at_end)[:, None], ends=(-1.0, 1.0))
    attacked = draw.band_of_shares(at_best[:, None])
    early = _early(best == len(time.k) - 1, gain, attacked, chance)
    stop = {
        HOLDS: "training shorter keeps more",
        NOT_HERE: "no shorter training keeps more",
        UNKNOWN: "whether shorter training keeps more cannot be told",
    }[early]
    if early == UNKNOWN and attacked.low[0] <= chance:
        stop = "at its best time the prediction is not shown to be better than guessing"
    number = f"{percent(round(at_best[0], 2))} → {percent(round(at_end[0], 2))}"
    of_what = (
        f"of {len(after)} test images right under {attack}: at the best time, "
        f"{percent_within(attacked.mean[0], attacked.low[0], attacked.high[0])}, chosen on {first.sum()} others; at "
        f"the end of training: {points_lost(gain.mean[0], gain.low[0], gain.high[0])}"
    )
    held = [falls, early].count(HOLDS)
    rest = NOT_HERE if falls == early == NOT_HERE else UNKNOWN
    return Judgement((rest, IN_PART, HOLDS)[held], number, of_what, f"{order}; {stop}.")


def _no_order(useful: int) -> str:
    """Why so many useful features do not tell in which order they survive."""
    if useful >= FEWEST:
        return f"{useful} useful features do not tell in which order they survive"
    if useful < 2:
        return f"{'One feature is' if useful else 'No feature is'} useful, so there is no order to tell"
    return f"{useful} useful features are too few to tell an order"


def _early(last: bool, gain: Band, attacked: Band, chance: float) -> str:
    """Whether a time before the last is better under attack, by the gain's interval and that of what is right there."""
    if last:
        return NOT_HERE
    return UNKNOWN if attacked.low[0] <= chance else by_bound(gain)
