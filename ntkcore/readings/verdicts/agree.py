"""The verdict on the sixth claim: architectures have the same leading eigenfeatures.

::

    judge_agree(["FC(1)", "Conv(2)"], agreed).verdict           # "holds"; agreed from analysis.consistency.agreement
"""

from collections.abc import Sequence

import numpy as np

from ntkcore.analysis.consistency.agreement import HALF, Agreement
from ntkcore.analysis.consistency.similarity import name_pairs
from ntkcore.readings.verdicts.judgement import HOLDS, IN_PART, NOT_HERE, UNKNOWN, Judgement
from ntkcore.readings.words import percent, percent_within


def judge_agree(names: Sequence[str], agreed: Agreement) -> Judgement:
    """Holds where the interval of every pair's overlap lies above what they share with the images of one shuffled; in
    part where that of some does; not here where none does and all share less than half."""
    pairs, at = [pair for pair, _, _ in name_pairs(names)], agreed.at
    share, low, high = (side[:, at] for side in (agreed.overlap.mean, agreed.overlap.low, agreed.overlap.high))
    chance = agreed.chance[:, at]
    above, least = low > chance, int(share.argmin())
    number = f"{percent(round(float(share[least]), 2))}, shuffled {percent(round(float(chance[least]), 2))}"
    told, k = percent_within(share[least], low[least], high[least]), int(agreed.ks[at])
    space = f"the space of {'the' if k == 1 else f'the {k}'} leading eigenvector{'' if k == 1 else 's'}"
    of_what = f"of {space} is shared by {pairs[least]}, the least similar pair: {told}, on {agreed.n} images"
    many = int(above.sum())
    if not np.isfinite(low).all():
        return Judgement(UNKNOWN, number, of_what, "So few images give no interval.")
    if above.all():
        rest = "" if (low <= HALF).any() else ", and more than half of the space"
        who = "The pair shares" if len(pairs) == 1 else f"All {len(pairs)} pairs share"
        return Judgement(HOLDS, number, of_what, f"{who} more than with the images of one shuffled{rest}.")
    if many:
        return Judgement(
            IN_PART, number, of_what, f"{many} of {len(pairs)} pairs share more than with the images of one shuffled."
        )
    verdict = NOT_HERE if (high < HALF).all() else UNKNOWN
    reason = {
        NOT_HERE: "No pair is shown to share more than with the images of one shuffled, and all share less than half.",
        UNKNOWN: "No pair is shown to share more than with the images of one shuffled: the intervals are too wide.",
    }[verdict]
    return Judgement(verdict, number, of_what, reason)
