"""What is said of a claim, and how an interval becomes a verdict.

::

    by_bound(band)                                       # "holds" where the whole interval of a Band of one is above 0
    Judgement("holds", "86.9 % → 3.4 %", "of 2000 test images ...", "The attack takes all that ...")
"""

from dataclasses import dataclass

import numpy as np

from ntkcore.analysis.evolution.seed_tests import HOLDS, IN_PART, NOT_HERE, UNKNOWN
from ntkcore.analysis.intervals import Band

VERDICTS = (HOLDS, IN_PART, NOT_HERE, UNKNOWN)


@dataclass(frozen=True)
class Judgement:
    """What is said of a claim: the verdict, the one number that is shown large, what it is of (with its interval), and
    the verdict's reason in one line."""

    verdict: str
    number: str
    of_what: str
    reason: str


def by_bound(band: Band) -> str:
    """A statistic that has to be above 0, a Band of one number: by where its interval lies."""
    if not np.isfinite(band.low[0]) or not np.isfinite(band.high[0]):
        return UNKNOWN
    return HOLDS if band.low[0] > 0 else NOT_HERE if band.high[0] < 0 else UNKNOWN
