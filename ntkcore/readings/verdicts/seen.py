"""The verdict on the fourth claim: the noise works through features that are not robust.

::

    judge_seen(parts, counts, attack="FGSM of 8/255").verdict                   # "holds in part"
    damage_by_class(parts).mean                                                 # [4] shares, robust ones first
"""

import numpy as np

from ntkcore.analysis.features.classes import BRITTLE, ROBUST, WEAK
from ntkcore.analysis.features.pictures import GROUPS
from ntkcore.analysis.intervals import Band, Resampling
from ntkcore.readings.verdicts.judgement import HOLDS, IN_PART, NOT_HERE, UNKNOWN, Judgement, by_bound
from ntkcore.readings.words import percent, percent_within

HALF = 0.5


def damage_by_class(parts: np.ndarray) -> Band:
    """Shares of the fall of the margins, all images together, of the classes in GROUPS: parts [m, 4] -> a Band of 4."""
    draw = Resampling(len(parts), 1)
    each = draw.mean(-parts.T[None])  # [D, 4]
    return draw.band(draw.ratio(each, np.broadcast_to(each.sum(1, keepdims=True), each.shape)))


def judge_seen(parts: np.ndarray, counts: np.ndarray, attack: str, halved: bool = True) -> Judgement:
    """parts [m, 4]: how the margins change, by the classes in GROUPS; counts [4] of features, by their codes. halved:
    features were classed on the other half of the test images.

    Holds where brittle features do more than half of the damage; in part where all that are not robust do it together.
    """
    draw = Resampling(len(parts), 1)
    each = draw.mean(-parts.T[None])
    whole = each.sum(1)
    others = draw.band(draw.ratio(whole - each[:, GROUPS.index(ROBUST)], whole)[:, None])
    shares = damage_by_class(parts)
    brittle = shares.one(GROUPS.index(BRITTLE))
    of_what = f"of the damage that {attack} does to {len(parts)} test images goes through features that are not robust"
    if not np.isfinite(others.mean[0]):
        return Judgement(UNKNOWN, "none", of_what, "The attack does no damage here, so there is nothing to split.")
    number = percent(round(float(others.mean[0]), 2))
    told, told_brittle = (percent_within(one.mean[0], one.low[0], one.high[0]) for one in (others, brittle))
    of_what = f"{of_what}: {told}"
    absent = [word for word, kind in (("robust", ROBUST), ("brittle", BRITTLE)) if not counts[kind]]
    if absent:
        none = "On the half of the test images by which features are classed, none" if halved else "No feature"
        found = f"{none} is found to be {' or '.join(absent)}"
        reason = f"{found}, so robust and brittle ones cannot be set against each other."
        return Judgement(UNKNOWN, number, of_what, reason)
    alone, together = (by_bound(Band(*(side - HALF for side in (b.mean, b.low, b.high)))) for b in (brittle, others))
    if alone == HOLDS:
        return Judgement(HOLDS, number, of_what, f"Brittle features alone do {told_brittle}: more than half of it.")
    if together == HOLDS:
        rest = percent(float(shares.mean[GROUPS.index(WEAK)]))
        reason = f"Brittle features do {told_brittle}; those too weak to be told from guessing one by one do {rest}."
        return Judgement(IN_PART if alone == NOT_HERE else UNKNOWN, number, of_what, reason)
    verdict = together if together == UNKNOWN else NOT_HERE
    reason = {
        NOT_HERE: "Robust features do more than half of the damage.",
        UNKNOWN: "Whether robust features do more than half of the damage cannot be told: half lies in the interval.",
    }[verdict]
    return Judgement(verdict, number, of_what, reason)
