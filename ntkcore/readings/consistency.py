"""Consistency across architectures read aloud: sentences with the run's own numbers, as in ``readings``.

Every number has its 95 % interval, over the training images (alignment, overlap) or over the test images at which
gradients were taken, and stands beside what images paired at random would give. A verdict is drawn from the interval,
before anything is rounded::

    read_answer(names, agreed)                     # "In part: all 6 pairs share more of the space ..."
    read_alignment(names, agreed, centred=True)    # "The centred alignment of FC(1) and Conv(2) is 0.71 [0.66, 0.76]"
    read_overlap(names, agreed)
    read_matched("FC(1)", "Conv(2)", match, cosines, n=500)
"""

from collections.abc import Mapping, Sequence

import numpy as np

from ntkcore.analysis.consistency.agreement import HALF, SURE, Agreement, agreeing, chance_product, mean_cosine
from ntkcore.analysis.consistency.similarity import FeatureCount, Match, name_pairs
from ntkcore.analysis.intervals import Band, mean_band
from ntkcore.readings.words import percent, percent_within, signed, within

NOTHING = "There is nothing to compare with: choose a second architecture."


def read_answer(names: Sequence[str], agreed: Agreement) -> str:
    """Do the leading eigenspaces agree: more than images paired at random, and by more than half?"""
    pairs = name_pairs(names)
    if not pairs:
        return NOTHING
    share, beyond = _leading(agreed), _beyond_chance(agreed)
    space, count = f"the space of their {_vectors(agreed)}", len(pairs)
    if not beyond.all():
        which = "" if count == 1 else f" for {count - int(beyond.sum())} of {count} pairs"
        return f"Not here: what architectures share of {space} cannot be told from chance{which}."
    all_of_them = "They" if count == 1 else f"All {count} pairs"
    by_chance = percent(float(agreed.chance[:, agreed.at].max()))
    least = f"{'it is' if count == 1 else 'the least is'} {_told(share, int(np.argmin(share.mean)))}"
    least += f", by chance it would be {'' if count == 1 else 'at most '}{by_chance}"
    if (share.low > HALF).all():
        return f"Yes, for the most part: {all_of_them.lower()} share more than half of {space}; {least}."
    under = int((share.high < HALF).sum())
    if under:
        less = "but less than half" if under == count else f"but {under} of them less than half"
        return f"In part: {all_of_them.lower()} share more of {space} than chance, {less}; {least}."
    return (
        f"More than chance: {all_of_them.lower()} share some of {space}. Whether it is more than half cannot be told "
        f"from {agreed.n} images; {least}."
    )


def read_alignment(names: Sequence[str], agreed: Agreement, centred: bool) -> str:
    """Which kernels are most and least alike, beside the same kernels with images paired at random."""
    band, chance = (
        (agreed.alignment, agreed.chance_alignment) if centred else (agreed.uncentred, agreed.chance_uncentred)
    )
    pairs = name_pairs(names)
    if not pairs:
        return NOTHING
    flat = Band(*(np.array([side[a, b] for _, a, b in pairs]) for side in (band.mean, band.low, band.high)))
    at_random = max(chance[a, b] for _, a, b in pairs)
    kind = "centred alignment" if centred else "alignment, not centred,"
    ends, beside = (
        _ends(flat, pairs, ".3f", "is" if len(pairs) == 1 else "goes from"),
        _random(len(pairs), f"{at_random:.3f}"),
    )
    words = f"The {kind} of {ends}; {beside}."
    return words if centred else f"{words} What all images have in common counts as agreement here: it says little."


def read_overlap(names: Sequence[str], agreed: Agreement) -> str:
    """How much of their leading eigenspaces pairs of architectures share, beside images paired at random."""
    pairs = name_pairs(names)
    if not pairs:
        return NOTHING
    count, share, beyond = len(pairs), _leading(agreed), _beyond_chance(agreed)
    at_random = _random(count, percent(float(agreed.chance[:, agreed.at].max())))
    space = f"of the space of their {_vectors(agreed)}"
    if count == 1:
        words = f"{_ends(share, pairs, '%', 'share')} {space}; {at_random}. "
    else:
        words = f"{space.capitalize()}, {_ends(share, pairs, '%', 'share from')}; {at_random}. "
    smallest, largest = (min(1.0, count * float(p)) for p in (agreed.p_values.min(), agreed.p_values.max()))
    test = f"permutation test{f', corrected for {count} pairs' if count > 1 else ''}"
    if beyond.all():
        who = "That is" if count == 1 else f"For all {count} pairs it is"
        words += f"{who} more than chance ({test}: p {'=' if count == 1 else 'at most'} {largest:.2g})"
    elif not beyond.any():
        return f"{words}That cannot be told from chance ({test}: p {'=' if count == 1 else 'at least'} {smallest:.2g})."
    else:
        words += (
            f"For {int(beyond.sum())} of {count} pairs it is more than chance ({test}), for others it cannot be told"
        )
    over, under = int((share.low > HALF).sum()), int((share.high < HALF).sum())
    if count == 1:
        verdict = (
            "more than half" if over else "less than half" if under else "about half, and the interval does not tell"
        )
        return f"{words}, and {verdict}."
    parts = [
        (over, "more than half"),
        (under, "less than half"),
        (count - over - under, "near half, as far as that can be told"),
    ]
    if count in (over, under):
        return f"{words}, and {'more' if over else 'less'} than half."
    return f"{words}; {', '.join(f'for {number} {what}' for number, what in parts if number)}."


def read_matched(name: str, other: str, match: Match, cosines: np.ndarray, n: int) -> str:
    """Whether matched features sit at the same index, have the same eigenvector and look at the same pixels.

    match of F features, cosines [F, m] from ``matched_gradient_cosine`` (nan where it has none); n training images.
    """
    partner, overlap = match.partner.numpy(), match.product.abs().numpy()
    count, needed = len(partner), chance_product(n, len(partner) ** 2)
    same, close = int((partner == np.arange(count)).sum()), agreeing(match, n)
    words = (
        f"Of the {count} largest features of {name}, {same} have their partner at the same index of {other}. For "
        f"{int(close.sum())} of them the eigenvectors overlap by {max(HALF, needed):.2f} or more; on average it is "
        f"{overlap.mean():.2f}. "
    )
    means = {which: mean_cosine(cosines[rows]) for which, rows in (("there", close), ("for the others", ~close))}
    known = {which: band for which, band in means.items() if np.isfinite(band.mean)}
    if not known:
        return words + "No feature has an input gradient to compare."
    told = [f"{within(float(b.mean), float(b.low), float(b.high), '+.2f')} {which}" for which, b in known.items()]
    each = mean_band(cosines).mean
    low, high = np.nanargmin(each), np.nanargmax(each)
    ends = f"{signed(each[low], '+.2f')} (feature {low}) to {signed(each[high], '+.2f')} (feature {high})"
    mean = f"its mean over {cosines.shape[1]} test images is {' and '.join(told)}"
    words += f"The cosine of their input gradients goes from {ends}; {mean}"
    unsure = [which for which, band in known.items() if not (band.low > 0 or band.high < 0)]
    rest = f", which cannot be told from 0{'' if len(known) == 1 else f' {unsure[0]}' if len(unsure) == 1 else ''}"
    return f"{words}{rest if unsure else ''}: 1 would be the same picture, 0 unrelated ones."


def _leading(agreed: Agreement) -> Band:
    """Of each pair, the overlap that is read aloud."""
    band, at = agreed.overlap, agreed.at
    return Band(band.mean[:, at], band.low[:, at], band.high[:, at])


def _beyond_chance(agreed: Agreement) -> np.ndarray:
    """Which pairs overlap more than chance: Bonferroni's correction."""
    return len(agreed.p_values) * agreed.p_values < SURE


def _vectors(agreed: Agreement) -> str:
    k = int(agreed.ks[agreed.at])
    return f"{k} leading eigenvectors" if k > 1 else "leading eigenvector"


def _told(band: Band, place: int, number: str = "%") -> str:
    value, low, high = (float(side[place]) for side in (band.mean, band.low, band.high))
    return percent_within(value, low, high) if number == "%" else within(value, low, high, number)


def _ends(band: Band, pairs: Sequence[tuple[str, int, int]], number: str, verb: str) -> str:
    """The one pair's value, or the smallest and the largest with their pairs: "6 pairs share from ... to ..."."""
    if len(pairs) == 1:
        return f"{pairs[0][0]} {verb} {_told(band, 0, number)}"
    ends = (int(band.mean.argmin()), int(band.mean.argmax()))
    low, high = (f"{_told(band, place, number)} ({pairs[place][0]})" for place in ends)
    return f"{len(pairs)} pairs {verb} {low} to {high}"


def _random(count: int, value: str) -> str:
    return f"with the images of one in random order it would be {'' if count == 1 else 'at most '}{value} on average"


def read_tallies(counts: Mapping[str, FeatureCount]) -> str:
    """Whether the robust features sit among the largest eigenvalues, and fewer answers survive along the index, for
    every architecture."""
    top = max(c.top for c in counts.values())
    robust = [f"{name} {c.top_robust} of {c.robust}" for name, c in counts.items() if c.robust]
    none = [name for name, c in counts.items() if not c.robust]
    words = f"Robust features among the {top} largest eigenvalues: {', '.join(robust)}. " if robust else ""
    words += f"No feature of {', '.join(none)} is found to be robust. " if none else ""
    known = {name: c.spearman for name, c in counts.items() if c.spearman.known[0]}
    if not known:
        return words + "Too few features are useful to say how robustness goes along the index."
    falls, rest = sum(band.high[0] < 0 for band in known.values()), len(counts) - len(known)
    bands = [f"{name} {within(b.mean[0], b.low[0], b.high[0], '+.2f')}" for name, b in known.items()]
    verb = "falls" if falls == len(known) else "is seen to fall"
    whom = "all of them" if falls == len(counts) else f"{falls} of {len(counts)}"
    whom = f" for {whom}" if len(counts) > 1 or not falls else ""
    words += f"The share of right answers that useful features keep {verb} along the index{whom}"
    few = f"; for {rest} too few features are useful to say" if rest else ""
    return f"{words} (Spearman {', '.join(bands)}){few}."
