"""The verdict on the second claim: what fools the kernel fools networks, and the wider the more.

::

    judge_transfer(TransferStatistics(transfers), (32, 512), at=3, chance=0.5).verdict      # "holds"
"""

from collections.abc import Sequence

from ntkcore.analysis.attacks.transfer_statistics import TransferStatistics
from ntkcore.analysis.evolution.seed_tests import together
from ntkcore.analysis.intervals import Band
from ntkcore.readings.verdicts.judgement import HOLDS, IN_PART, NOT_HERE, UNKNOWN, Judgement, by_bound
from ntkcore.readings.words import percent, percent_within, points_within


def judge_transfer(line: TransferStatistics, widths: Sequence[int], at: int, chance: float) -> Judgement:
    """Transfers of the kernel's FGSM, white-box FGSM and (in the linf ball) random signs to nets of these widths, at
    radius number ``at``; chance: the share of the most frequent class.

    Two parts: the share of the white-box drop that the kernel's perturbation recovers at the widest net is above one
    half, and it is larger than at the narrowest. Random signs that may do half as much take the claim down to a part.
    """
    narrow, wide = min(widths), max(widths)
    group = f"width {wide}"
    along, clean = line.recovered_along(widths, at), line.clean(group)
    share, rise = along.band.one(-1), along.rise
    if not share.known.all():
        of_what = f"white-box FGSM takes no accuracy from nets of width {wide}"
        return Judgement(UNKNOWN, "no share", of_what, "Where nothing is lost, there is no share of it to recover.")
    number = percent(round(share.mean[0], 2))
    of_what = (
        f"of the damage that an attack which sees the network (white-box FGSM) does at width {wide} is done by the "
        f"kernel's perturbation, which has never seen it: {percent_within(share.mean[0], share.low[0], share.high[0])}"
    )
    if clean.low[0] <= chance:
        reason = "The nets themselves are not shown to be better than guessing, so there is nothing to take."
        return Judgement(UNKNOWN, number, of_what, reason)
    much = by_bound(Band(share.mean - 0.5, share.low - 0.5, share.high - 0.5))
    rises = by_bound(rise)
    control = UNKNOWN
    if "noise" in line.sources(group):
        control = by_bound(line.more(group, "kernel_fgsm", "noise", at, share=0.5))
    verdict = together((much, rises))
    if verdict == HOLDS and control != HOLDS:
        verdict = IN_PART
    by = points_within(rise.mean[0], rise.low[0], rise.high[0]) if rise.known.all() else ""
    fall = points_within(-rise.mean[0], -rise.high[0], -rise.low[0]) if rise.known.all() else ""
    reasons = (
        {HOLDS: "More than half", NOT_HERE: "Less than half", UNKNOWN: "Half of it lies within the interval"}[much],
        {
            HOLDS: f"{by} more than at width {narrow}",
            NOT_HERE: f"{fall} less than at width {narrow}",
            UNKNOWN: f"a rise from width {narrow} cannot be told ({by})"
            if by
            else "there is one width only, so no rise",
        }[rises],
        _of_noise(line, group, at, control),
    )
    return Judgement(verdict, number, of_what, f"{'; '.join(reasons)}.")


def _of_noise(line: TransferStatistics, group: str, at: int, control: str) -> str:
    if "noise" not in line.sources(group):
        return "there are no random signs to compare with, as there are in ℓ∞"
    drop = line.drop(group, "noise", at)
    took = points_within(drop.mean[0], drop.low[0], drop.high[0])
    return {
        HOLDS: f"random signs of the same size take less than half as much ({took})",
        NOT_HERE: f"random signs of the same size take more than half as much ({took})",
        UNKNOWN: f"random signs of the same size may take half as much ({took})",
    }[control]
