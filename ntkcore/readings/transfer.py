"""Transfer read aloud: how far perturbations from the kernel reach finite nets, in sentences with the run's numbers.

Every number has its 95 % interval in brackets (``read_cover`` says over what), and what is said is what the interval
allows. Where the numbers do not show what the paper claims (Tsilivis & Kempe 2022, section 3), the sentence says so::

    read_recovered(line.recovered_along((32, 4096), at=3), "eps 0.05")   # "At width 4096 FGSM on the kernel takes ..."
    read_cosine(line.cosine_along((32, 4096)))                           # "The loss gradients of kernel and net ..."
    read_noise(line.noise_cost(at=3), "eps 0.05")                        # "Random signs of eps 0.05 cost at most ..."
"""

from collections.abc import Sequence

import numpy as np

from ntkcore.analysis.attacks.transfer_statistics import AlongWidth
from ntkcore.analysis.intervals import Band
from ntkcore.errors import DataError
from ntkcore.readings.words import percent, percent_within, points, points_within, within

NOISE_CHEAP, NOISE_DEAR = 0.02, 0.1  # accuracy: below, noise does next to nothing; above, it does a lot
FEW_SEEDS = 5  # fewer of them, and the bootstrap makes too little of how seeds differ


def read_cover(points: int, seeds: int) -> str:
    """What the intervals in brackets are over: ``points`` test images, and ``seeds`` of every net."""
    images = f"In brackets: 95 % intervals (bootstrap) over the {points} test images"
    if seeds < 2:
        return f"{images}. Of one seed of each net: they say nothing of what other seeds would do."
    few = " With so few seeds they are too narrow: other seeds may well fall outside them." if seeds < FEW_SEEDS else ""
    return f"{images} and the {seeds} seeds of each net.{few}"


def read_recovered(share: AlongWidth, eps_words: str, missing: str = "") -> str:
    """The share of white-box FGSM's drop that FGSM on the kernel recovers, along the width.

    Args:
        share: 1 is the whole drop; nan where white-box FGSM takes nothing, or where nothing is there yet.
        eps_words: the radius in words, e.g. "eps 0.05".
        missing: what is still under way, in words, e.g. "3 of 12 attacks are done"; empty when all is there.
    """
    widths, values = _known(share)
    if not widths.size:
        if missing:
            return f"What the kernel's FGSM takes at {eps_words} is not known yet: {missing}."
        return f"White-box FGSM takes no accuracy at {eps_words}, so there is no share of it to tell."
    last = values.one(-1)
    takes = f"{_share(last)} of the accuracy that white-box FGSM takes at {eps_words}"
    if last.high[0] <= 0:
        takes = f"no accuracy at {eps_words}, white-box FGSM does"
    elif last.low[0] <= 0:
        takes += ", which cannot be told from nothing"
    words = f"{_place(share, widths)} FGSM on the kernel takes {takes}."
    if widths.size == 1:
        return words
    first = f"At width {widths[0]} it is {_share(values.one(0))}"
    return f"{words} {first}: {_trend(share.rise, 'the share', _points(share.rise), widths)}."


def read_drops(widths: Sequence[int], kernel: Sequence[Band], white: Sequence[Band]) -> str:
    """What FGSM on the kernel and white-box FGSM take of the narrowest and of the widest net, Bands of one number: the
    share rises as well when the latter takes less."""
    if len(widths) < 2 or not all(band.known.all() for band in (*kernel, *white)):
        return ""
    words = (
        f"In accuracy, FGSM on the kernel takes {_points(kernel[0])} at width {widths[0]} and {_points(kernel[-1])} at "
        f"width {widths[-1]}, white-box FGSM {_points(white[0])} and {_points(white[-1])}"
    )
    if white[-1].high[0] < white[0].low[0]:
        return f"{words}: the wider net loses less to an attack on itself, which is a part of why the share is larger."
    return f"{words}."


def read_cosine(cosine: AlongWidth, missing: str = "") -> str:
    """The cosine between the loss gradients of kernel and net, along the width; missing: as in ``read_recovered``."""
    widths, values = _known(cosine)
    if not widths.size:
        if missing:
            return f"The cosine between the loss gradients of kernel and net is not known yet: {missing}."
        return "The loss gradient of kernel or net is zero at every test image: there is no cosine between them."
    words = f"The loss gradients of kernel and net have cosine {_cosine(values.one(0))} at width {widths[0]}"
    if widths.size == 1:
        return f"{words}, mean over the test images."
    end = f"{words} and {_cosine(values.one(-1))} at width {widths[-1]}, mean over the test images"
    return f"{end}: {_trend(cosine.rise, 'the cosine', _cosine(cosine.rise), widths)}."


def read_noise(cost: Band, eps_words: str) -> str:
    """What random signs of this radius take of the net that they hit hardest: accuracy, a Band of one number."""
    if not cost.known.all():
        return ""
    words = f"Random signs of {eps_words} cost the net that they hit hardest {_points(cost)} of accuracy"
    if cost.low[0] <= 0:
        words = f"Random signs of {eps_words} cost no net a measurable amount of accuracy"
        words += f" (the hardest hit: {_points(cost)})"
    if cost.high[0] < NOISE_CHEAP:
        return f"{words}: what the attacks take beyond {points(cost.high[0])} is due to their direction."
    if cost.low[0] < NOISE_DEAR:
        return f"{words}: a drop of up to {points(cost.high[0])} could be had without any attack."
    return (
        f"{words}: at this radius any perturbation does much, and the comparison of attacks is weak. Choose a smaller "
        "radius."
    )


def read_beside(other: Band, twin: Band, apart: Band) -> str:
    """Cosines with the kernel's loss gradients at the end of training, of a net that is not trained as the kernel is
    and of the widest twin, and the first minus the second: Bands of one number (``difference_of_means``)."""
    if not all(band.known.all() for band in (other, twin, apart)):
        return ""
    words = (
        f"At the end of training its loss gradients have cosine {_cosine(other)} with the kernel's, those of the "
        f"widest twin {_cosine(twin)}: "
    )
    if apart.high[0] < 0:
        return f"{words}it is further away from the kernel, the difference is {_cosine(apart)}."
    if apart.low[0] > 0:
        return f"{words}here the twin is the one further away, the difference is {_cosine(apart)}."
    return f"{words}which is further away from the kernel cannot be told, the difference is {_cosine(apart)}."


def read_white_box(place: str, fgsm: Band, pgd: Band, more: Band) -> str:
    """What the two white-box attacks leave, and what PGD takes more, as shares, each a Band of one number.

    place: of which nets and at which radius, e.g. "width 512 and eps 0.05".
    """
    if not all(band.known.all() for band in (fgsm, pgd, more)):
        return ""
    words = f"At {place}, white-box FGSM leaves {_share(fgsm)} right, white-box PGD of the same radius {_share(pgd)}"
    if more.low[0] > 0:
        return f"{words}. PGD takes {_points(more)} more: FGSM is not the worst that can happen."
    told = f"PGD takes less here, the difference is {_points(more)}"
    if more.high[0] >= 0:
        told = f"Whether PGD takes more cannot be told, the difference is {_points(more)}"
    return f"{words}. {told}. Neither says what the worst attack would do."


def read_zero(share: float) -> str:
    """The share of test points where the source's gradient is exactly zero; empty when there is none."""
    if not share > 0:
        return ""
    much = percent(share) if share >= 0.0005 else "less than 0.1 %"
    return (
        f"At {much} of the test points the gradient is exactly zero: there the attack has no direction and changes "
        "nothing, which is no sign of robustness."
    )


def _known(along: AlongWidth) -> tuple[np.ndarray, Band]:
    """The widths at which there is a value, and the values there."""
    known, band = along.band.known, along.band
    if known.shape != along.widths.shape:
        raise DataError(f"There are {len(along.widths)} widths and {len(known)} values; one for each width is needed.")
    return along.widths[known], Band(band.mean[known], band.low[known], band.high[known])


def _place(along: AlongWidth, widths: np.ndarray) -> str:
    """Where the last known value is: "At the largest width, 4096,", or "At width 512" where larger ones are missing."""
    if len(along.widths) > 1 and widths[-1] == along.widths[-1]:
        return f"At the largest width, {widths[-1]},"
    return f"At width {widths[-1]}"


def _trend(rise: Band, what: str, much: str, widths: np.ndarray) -> str:
    """``"the cosine rises by 0.38 [0.34, 0.42]"``, or what it does instead."""
    if rise.low[0] > 0:
        return f"{what} rises by {much}"
    if rise.high[0] < 0:
        return f"{what} does not rise but falls, the difference is {much}"
    return f"whether {what} rises from width {widths[0]} to {widths[-1]} cannot be told, the difference is {much}"


def _share(band: Band) -> str:
    return percent_within(band.mean[0], band.low[0], band.high[0])


def _points(band: Band) -> str:
    """A difference of shares in points: "10.1 points [4.2, 16.3]"."""
    return points_within(band.mean[0], band.low[0], band.high[0])


def _cosine(band: Band) -> str:
    return within(band.mean[0], band.low[0], band.high[0], ".2f")
