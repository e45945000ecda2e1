"""Consistency across architectures read aloud: sentences with the run's own numbers, as in ``readings``.

Where the architectures do not agree, the sentence says so::

    read_alignment(["FC(1)", "Conv(2)"], matrix, centred=True)  # "The centred alignment of FC(1) and Conv(2) is ..."
    read_overlap(ks, {"FC(1) and Conv(2)": overlaps}, n=2000)
    read_matched("FC(1)", "Conv(2)", partner, overlap, cosines)
"""

from collections.abc import Mapping, Sequence

import numpy as np

from ntkcore.analysis.consistency import FeatureCount, chance_overlap, name_pairs
from ntkcore.analysis.words import percent

CLOSE, HALF = 0.9, 0.5  # an agreement of 1 means the same: from CLOSE on "nearly the same", below HALF "not"
BEYOND_CHANCE = 3  # standard deviations
NOTHING = "There is nothing to compare with: choose a second architecture."


def read_alignment(names: Sequence[str], matrix: np.ndarray, centred: bool) -> str:
    """Which kernels are most and least alike: matrix [A, A] from ``alignment_matrix``."""
    matrix = np.asarray(matrix)
    pairs = [(float(matrix[a, b]), name) for name, a, b in name_pairs(names)]
    if not pairs:
        return NOTHING
    (low, least), (high, most) = min(pairs), max(pairs)
    digits = 2 if low < 0.99 else 3
    kind = "centred alignment" if centred else "alignment, not centred,"
    if len(pairs) == 1:
        words = f"The {kind} of {most} is {high:.{digits}f}. "
    else:
        words = f"The {kind} of {len(pairs)} pairs goes from {low:.{digits}f} ({least}) to {high:.{digits}f} ({most}). "
    if not centred:
        return words + "It counts what all image pairs have in common as agreement: a number near 1 says little."
    if low >= CLOSE:
        return words + "The architectures see nearly the same likeness between images."
    if low >= HALF:
        return words + "The architectures agree in part on which images are alike."
    which = "The architectures do not agree" if high < HALF else "Not all architectures agree"
    return words + f"{which} on which images are alike."


def read_overlap(ks: Sequence[int], curves: Mapping[str, np.ndarray], n: int, k: int = 20) -> str:
    """How much of their leading eigenspaces pairs of architectures share, beside chance.

    ks [P] ascending; curves: pair ("FC(1) and Conv(2)") -> overlaps [P] from ``subspace_overlap``; n training images.
    Read at the largest of ks up to ``k``.
    """
    if not curves:
        return NOTHING
    at = max(int(np.searchsorted(np.asarray(ks), k, side="right")) - 1, 0)
    k = int(ks[at])
    if k == n:
        return f"All {n} eigenvectors span the same space for every architecture: choose a smaller k to compare."
    shared = sorted((float(np.asarray(curve)[at]), pair) for pair, curve in curves.items())
    (low, least), (high, most) = shared[0], shared[-1]
    mean, deviation = chance_overlap(k, n)
    leading = f"{k} leading eigenvectors" if k > 1 else "leading eigenvector"
    words = f"{most} share {percent(high)} of the space of their {leading}"
    if len(shared) > 1:
        words += f", {least} {percent(low)}"
    words += f"; random directions among {n} images would share {percent(mean)}. "
    strangers = sum(share <= mean + BEYOND_CHANCE * deviation for share, _ in shared)
    if strangers:
        which = "That is" if len(shared) == 1 else f"For {strangers} of {len(shared)} pairs it is"
        return words + f"{which} no more than chance allows: they do not share these features."
    if low >= CLOSE:
        return words + "These features are nearly the same for all of them."
    if low >= HALF:
        return words + "They share most of these features, but not all."
    fewer = sum(share < HALF for share, _ in shared)
    which = "That is" if len(shared) == 1 else f"For {fewer} of {len(shared)} pairs it is"
    return words + f"{which} more than chance and yet less than half: the features agree only in part."


def read_matched(
    name: str, other: str, partner: np.ndarray, overlap: np.ndarray, cosines: np.ndarray, first: int = 5
) -> str:
    """Whether matched features sit at the same index, have the same eigenvector and look at the same pixels.

    partner [F] from ``match_features``, overlap [F] ``|<v_i, v_partner(i)>|``, cosines [F] from
    ``matched_gradient_cosine`` (nan where it has none).
    """
    partner, overlap, cosines = np.asarray(partner), np.asarray(overlap), np.asarray(cosines, dtype=float)
    count, known = len(partner), cosines[np.isfinite(cosines)]
    same = int((partner == np.arange(count)).sum())
    strong = int((overlap >= CLOSE).sum())
    words = (
        f"Of the {count} largest features of {name}, {same} have their partner at the same index of {other}; "
        f"{strong} pairs of eigenvectors are nearly the same (overlap {CLOSE} or more), on average the overlap is "
        f"{overlap.mean():.2f}. "
    )
    if not len(known):
        return words + "No feature has an input gradient to compare."
    head, tail = cosines[:first], cosines[first:]
    words += f"The cosine of their input gradients is {known.mean():+.2f} on average"
    if np.isfinite(head).any() and np.isfinite(tail).any():
        words += f", {np.nanmean(head):+.2f} over the first {len(head)} and {np.nanmean(tail):+.2f} over the others"
    opposite = int((known < 0).sum())
    if opposite:
        words += f"; for {opposite} of {count} it is negative, a push the other way"
    if known.mean() >= HALF:
        return words + f". Matched features look {'' if known.mean() >= CLOSE else 'largely '}at the same pixels."
    if overlap.mean() >= HALF:
        return words + ". Features that agree on the training images do not look at the same pixels."
    return words + ". The architectures do not have these features in common."


def read_tallies(counts: Mapping[str, FeatureCount]) -> str:
    """Whether the robust features sit among the largest eigenvalues for every architecture."""
    parts = [f"{name} {c.top_robust} of {c.top} ({c.robust} of all {c.features})" for name, c in counts.items()]
    known = [c.spearman for c in counts.values() if c.spearman.known[0]]
    falls = [band for band in known if band.high[0] < 0]
    words = f"Robust features among the largest eigenvalues: {', '.join(parts)}. "
    if not known:
        return words + "Too few features are useful to say how robustness goes along the index."
    means = [band.mean[0] for band in known]
    spread = f"Spearman {min(means):+.2f}" + (f" to {max(means):+.2f}" if len(known) > 1 else "")
    what = "The share of right answers that useful features keep falls along the index"
    if len(falls) < len(counts):
        return words + f"{what} for {len(falls)} of {len(counts)}: {spread}."
    return words + f"{what}{' for all of them' * (len(counts) > 1)}: {spread}."
