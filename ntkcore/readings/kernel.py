"""One kernel read aloud: its spectrum, its prediction before and under attack, what it takes to flip one image.

Shares of test images have their 95 % interval in brackets, and what is said is what the interval allows::

    read_spectrum(s, energy)                    # "Of the kernel on the 1000 training images the largest eigenvalue ..."
    read_prediction(right, attacked, pgd, chance=0.5, attack="FGSM eps 8/255")
"""

import numpy as np
from numpy.typing import ArrayLike

from ntkcore.analysis.attacks.balls import Norm
from ntkcore.analysis.attacks.margin_path import BISECTIONS
from ntkcore.analysis.intervals import Resampling, share_band
from ntkcore.analysis.spectrum import Spectrum, effective_rank, effective_rank_within
from ntkcore.readings.words import percent, percent_within, points, points_within, radius, radius_found

HALF = 0.5  # of the label energy
MOST = 0.5  # an attack works that takes more than this share of what a prediction has over guessing


def read_spectrum(s: Spectrum, energy: ArrayLike) -> str:
    """Concentration of the spectrum and of the training labels; energy [r] of its eigenvectors."""
    k, total = min(10, len(s.values)), np.cumsum(np.asarray(energy))
    largest = s.values.double().clamp(min=0)
    trace = float(largest.sum()) if s.whole or s.trace is None else s.trace
    first, several = float(largest[0]) / trace, float(largest[:k].sum()) / trace
    half = int(np.argmax(total >= HALF * (total[-1] if s.whole else 1.0))) + 1
    holds = "first eigenvector holds" if half == 1 else f"first {half} eigenvectors together hold"
    told = f"The {holds} at least half of the energy of the training labels."
    rank, known = f"is {effective_rank(s.values):.1f}", ""
    if not s.whole:
        low, high = effective_rank_within(s.values, trace, s.n)
        rank = f"lies between {low:.1f} and {high:.1f}"
        known = f" Known are the {known_part(s)}."
        if total[-1] < HALF:
            told = f"All of them together hold {percent(float(total[-1]))} of the energy of the training labels."
    return (
        f"Of the kernel on the {s.n} training images, the largest eigenvalue is {percent(first)} of the sum of all "
        f"eigenvalues (the trace), the {k} largest together are {percent(several)}; the effective rank {rank}.{known} "
        f"{told}"
    )


def known_part(s: Spectrum, what: str = "eigenvalues") -> str:
    """Of a leading part of a spectrum: "500 leading of 10,000 eigenvalues, which hold 97.3 % of the trace"."""
    return f"{s.rank:,} leading of {s.n:,} {what}, which hold {percent(1 - s.left_out)} of the trace"


def read_prediction(
    right: ArrayLike, attacked: ArrayLike, pgd: ArrayLike, chance: float, attack: str, trained: bool = False
) -> str:
    """The kernel's accuracy before and under attack, and what became of what it has over guessing.

    The attack works where the interval of what it takes, less MOST of what the kernel has over guessing, is above 0
    (bootstrap over the test images, all three accuracies on the same ones); it does not where it is below.

    Args:
        right, attacked, pgd: ``[m]`` bool, images right clean, under the attack, and under PGD of the same radius.
        chance: accuracy of always guessing the most frequent class.
        trained: it is the tangent kernel of a net in training.
    """
    before, after, strong = (np.asarray(one, dtype=float) for one in (right, attacked, pgd))
    m, sure = len(before), share_band(before[:, None])
    untrained = "" if trained else "; no network was trained"
    words = (
        f"The kernel gets {_share(before)} of {m} test images right (always guessing the most frequent class: "
        f"{percent(chance)}). Under {attack}, {_share(after)} are left, under PGD of the same radius "
        f"{_share(strong)}{untrained}."
    )
    if sure.high[0] < chance:
        return f"{words} That is worse than guessing."
    if sure.low[0] <= chance:
        return f"{words} These images cannot tell it from guessing, so there is little that an attack could take."
    draw = Resampling(m, 1)
    clean, left = (draw.mean(one[None])[:, None] for one in (before, after))
    taken = draw.band_of_shares(clean - left, ends=(-1, 1))
    beyond = draw.band_of_shares(clean - left - MOST * (clean - chance), ends=(-1, 1))
    takes = f"The attack takes {points_within(taken.mean[0], taken.low[0], taken.high[0])} of accuracy"
    half = f"half of the {points(before.mean() - chance)} that the kernel has over guessing"
    if beyond.low[0] > 0:
        claim = "" if trained else ": made without any training, it works here"
        return f"{words} {takes}, more than {half}{claim}."
    if beyond.high[0] < 0:
        return f"{words} {takes}, less than {half}: at this radius it does not work here."
    return f"{words} {takes}; whether that is more than {half} cannot be told."


def read_flip(
    fgsm: float,
    pgd: float,
    right: bool,
    largest: float,
    norm: Norm,
    who: str = "kernel",
    radii: int = 25,
    halved: bool = True,
) -> tuple[str, ...]:
    """The smallest radius found, for each of two attacks, that flips one image; and how it was found, if it was.

    Args:
        fgsm, pgd: radii in pixel units; inf where nothing up to ``largest`` flips it.
        right: whether the image is right before any attack.
        who: whose prediction it is.
        radii: how many there are from 0 to the largest.
        halved: whether the cell below the first radius that flips it was halved (``flips``), or the radius was read
            off a straight line between its two ends.
    """
    if not right:
        return (f"The {who} gets this image wrong before any attack.",)
    words, tried = f"The {who} gets this image right.", f"{radii} radii from 0 to {radius(largest, norm)}"
    attacks = {"FGSM": fgsm, "PGD": pgd}
    found = [f"{radius_found(eps, norm)} with {name}" for name, eps in attacks.items() if np.isfinite(eps)]
    if not found:
        return (f"{words} Neither FGSM nor PGD flips it at any of {tried}.",)
    words += f" The smallest radius found that flips it is {' and '.join(found)}"
    words += "".join(
        f"; {name} flips it at no radius that was tried" for name, eps in attacks.items() if not np.isfinite(eps)
    )
    how = f"the step to the first that flips it was then halved {BISECTIONS} times"
    if not halved:
        how = "between the last that does not flip it and the first that does, the radius is read off a straight line"
    return f"{words}.", f"Each attack was tried at {tried}; {how}."


def _share(right: np.ndarray) -> str:
    band = share_band(right[:, None])
    return percent_within(band.mean[0], band.low[0], band.high[0])
