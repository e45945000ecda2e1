"""Verdicts on the paper's claims: each by a rule that is stated, on a statistic with its interval.

A verdict is *holds*, *holds in part*, *does not hold here* or *cannot tell*: the interval reaches over the rule's
bound, or there is nothing to judge. Nothing is rounded before it is compared. Rules after Tsilivis & Kempe 2022::

    judge_training_free(right_before, right_after, chance=0.5, attack="FGSM of 8/255").verdict      # "holds"
"""

from ntkcore.readings.verdicts.agree import judge_agree
from ntkcore.readings.verdicts.evolution import judge_evolution
from ntkcore.readings.verdicts.judgement import HOLDS, IN_PART, NOT_HERE, UNKNOWN, VERDICTS, Judgement, by_bound
from ntkcore.readings.verdicts.robust_features import judge_robust_and_brittle, judge_robust_is_early
from ntkcore.readings.verdicts.seen import damage_by_class, judge_seen
from ntkcore.readings.verdicts.training_free import judge_training_free
from ntkcore.readings.verdicts.transfer import judge_transfer

__all__ = [
    "HOLDS",
    "IN_PART",
    "NOT_HERE",
    "UNKNOWN",
    "VERDICTS",
    "Judgement",
    "by_bound",
    "judge_robust_and_brittle",
    "judge_robust_is_early",
    "judge_training_free",
    "judge_transfer",
    "damage_by_class",
    "judge_agree",
    "judge_seen",
    "judge_evolution",
]
