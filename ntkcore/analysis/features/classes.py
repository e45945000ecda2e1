"""Classes of eigenfeatures: which are useful, and how much of that survives an attack.

Useful: the answers know the test labels, by an exact test of each feature and a false discovery rate over all of them
(``label_test``). Of its right answers a useful feature keeps the share gamma / rho under the attack:
*robust* at least ``keep``; *brittle* at most BRITTLE_KEEPS, the useful non-robust features of the paper (gamma about 0;
Tsilivis & Kempe 2022, section 4); *in between* the rest. All others are *weak alone*: one by one they cannot be told
from guessing, together they carry most of an attack::

    codes = classify(sweep, fdr=0.05, keep=0.5)      # [F] of WEAK, BRITTLE, BETWEEN, ROBUST
    falling(sweep)                                   # Spearman of index and share kept, with its interval
"""

from dataclasses import dataclass

import numpy as np
import scipy

from ntkcore import checks
from ntkcore.analysis.features.eigenfeatures import Sweep
from ntkcore.analysis.features.halves import halves
from ntkcore.analysis.features.label_test import useful
from ntkcore.analysis.intervals import UNKNOWN, Band, Resampling

WEAK, BRITTLE, BETWEEN, ROBUST = 0, 1, 2, 3
CLASSES = (WEAK, BRITTLE, BETWEEN, ROBUST)
WORDS = ("weak alone", "brittle", "in between", "robust")  # by their codes
BRITTLE_KEEPS = 0.05
FEWEST = 5  # useful features, below which nothing is said of an order among them


def classify(sweep: Sweep, fdr: float = 0.05, keep: float = 0.5) -> np.ndarray:
    """Each feature's class, [F] int: WEAK, BRITTLE, BETWEEN or ROBUST.

    fdr: false discovery rate at which features are called useful (Benjamini & Hochberg 1995). keep: share of its right
    answers that a robust feature keeps under the attack. Raises SpecError for a rate outside (0, 1) or a share outside
    (BRITTLE_KEEPS, 1].
    """
    checks.instance(sweep, Sweep, "sweep", "eigenfeatures makes one.")
    fdr, keep = checks.number(fdr, "fdr", above=0, below=1), checks.number(keep, "keep", above=BRITTLE_KEEPS, most=1)
    hits, kept = (right.sum(0).cpu().numpy() for right in (sweep.right_before, sweep.right_after))
    kind = np.where(kept >= keep * hits, ROBUST, np.where(kept <= BRITTLE_KEEPS * hits, BRITTLE, BETWEEN))
    return np.where(useful(sweep.p_values, fdr), kind, WEAK)


@dataclass(frozen=True, eq=False)
class Falling:
    """Whether the share kept falls along the index: index [U] of the useful features, kept [U] their gamma / rho, and
    the rank correlation of both, a Band of one number (nan where fewer than FEWEST features are useful)."""

    index: np.ndarray
    kept: np.ndarray
    spearman: Band


def falling(sweep: Sweep, fdr: float = 0.05) -> Falling:
    """Spearman's correlation of index and share kept among useful features; 95 % interval over test images.

    Useful features are picked on the first half of the test images, their shares are those of the second
    (``halves``).
    """
    first = halves(sweep.labels.cpu().numpy())
    index = np.flatnonzero(useful(sweep.part(first).p_values, checks.number(fdr, "fdr", above=0, below=1)))
    if len(index) < FEWEST or first.all():
        return Falling(index, np.full(len(index), np.nan), UNKNOWN)
    second = sweep.part(~first)
    before, after = (right.cpu().numpy()[None, :, index] for right in (second.right_before, second.right_after))
    draw = Resampling(second.m, 1)
    rho, gamma = (draw.mean(right.transpose(0, 2, 1)) for right in (before, after))  # [D, U]
    kept = draw.ratio(gamma, rho)
    ranks = scipy.stats.rankdata(kept, axis=1)  # index is its own rank
    steps = np.arange(len(index)) - (len(index) - 1) / 2
    ranks = ranks - ranks.mean(1, keepdims=True)
    size = np.linalg.norm(ranks, axis=1) * np.linalg.norm(steps)
    spearman = np.divide(ranks @ steps, size, out=np.full(len(size), np.nan), where=size > 0)
    return Falling(index, kept[0], draw.band(spearman[:, None]))
