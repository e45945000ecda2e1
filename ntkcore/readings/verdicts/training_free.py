"""The verdict on the first claim: the kernel makes adversarial examples without any training.

::

    judge_training_free(right_before, right_after, chance=0.5, attack="FGSM of 8/255").verdict      # "holds"
"""

import numpy as np

from ntkcore.analysis.intervals import Resampling
from ntkcore.readings.verdicts.judgement import HOLDS, NOT_HERE, UNKNOWN, Judgement, by_bound
from ntkcore.readings.words import percent, percent_within, points_lost


def judge_training_free(before: np.ndarray, after: np.ndarray, chance: float, attack: str) -> Judgement:
    """Which test images the kernel gets right before and under its own FGSM, bool [m] each; chance: the share of the
    most frequent class. Holds when the attack takes more than half of what the kernel has beyond chance."""
    draw = Resampling(points=len(before), seeds=1)
    clean, attacked = draw.mean(before[None].astype(float)), draw.mean(after[None].astype(float))
    drop = draw.band_of_shares((clean - attacked)[:, None], ends=(-1.0, 1.0))
    beyond = draw.band_of_shares((clean - chance)[:, None], ends=(-1.0, 1.0))
    half = draw.band_of_shares((clean - attacked - (clean - chance) / 2)[:, None], ends=(-1.0, 1.0))
    of_what = (
        f"of {len(before)} test images right, before and under {attack} on the kernel: "
        f"{points_lost(drop.mean[0], drop.low[0], drop.high[0])}"
    )
    number = f"{percent(round(clean[0], 2))} → {percent(round(attacked[0], 2))}"
    if beyond.low[0] <= 0:
        reason = "The kernel itself is not shown to be better than guessing, so there is nothing to take."
        return Judgement(UNKNOWN, number, of_what, reason)
    verdict = by_bound(half)
    taken = draw.band(draw.ratio(clean - attacked, clean - chance)[:, None]).one(0)
    if taken.low[0] > 1:
        reason = "The attack takes all that the kernel has beyond guessing: what is left is worse than a guess."
        return Judgement(verdict, number, of_what, reason)
    share = percent_within(taken.mean[0], taken.low[0], taken.high[0])
    reason = {
        HOLDS: f"The attack takes {share} of what the kernel has beyond guessing: more than half of it.",
        NOT_HERE: f"The attack takes {share} of what the kernel has beyond guessing: less than half of it.",
        UNKNOWN: f"The attack takes {share} of what the kernel has beyond guessing; half lies within the interval.",
    }[verdict]
    return Judgement(verdict, number, of_what, reason)
