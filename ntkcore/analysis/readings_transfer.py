"""Transfer read aloud: how far perturbations from the kernel reach finite nets, in sentences with the run's numbers.

Where the numbers do not show what the paper claims (Tsilivis & Kempe 2022, section 3), the sentence says so::

    read_recovered([32, 4096], [0.83, 0.95], "eps 0.05")   # "At the largest width, 4096, FGSM on the kernel takes ..."
    read_cosine([32, 4096], [0.61, 0.97])                  # "The loss gradients of kernel and net have cosine 0.61 ..."
    read_noise(0.4)                                        # "Random signs of the same radius cost at most 0.4 ..."
"""

from collections.abc import Sequence

import numpy as np
import scipy

from ntkcore.analysis.words import percent
from ntkcore.errors import DataError

NOISE_CHEAP, NOISE_DEAR = 2.0, 10.0  # points of accuracy: below, noise does next to nothing; above, it does a lot
NO_TREND = 0.1  # Spearman's correlation, below which nothing rises or falls
SAME = 0.02  # difference of two cosines, below which they count as the same


def read_recovered(widths: Sequence[int], recovered_means: Sequence[float], eps_words: str) -> str:
    """The share of white-box FGSM's drop that FGSM on the kernel recovers, along the width.

    Args:
        widths: ``[W]``.
        recovered_means: ``[W]`` shares, 1 is the whole drop; NaN where white-box FGSM takes nothing.
        eps_words: the radius in words, e.g. "eps 0.05".
    """
    width, share = _known(widths, recovered_means)
    if not width.size:
        return (
            f"There is no share to tell at {eps_words}: white-box FGSM takes no accuracy there, or nothing is "
            "computed yet."
        )
    place = f"At the largest width, {width[-1]}," if width.size > 1 else f"At width {width[-1]}"
    much = f"{percent(share[-1])} of the accuracy that white-box FGSM takes at {eps_words}"
    if share[-1] <= 0:
        much = f"no accuracy at {eps_words}, white-box FGSM does"
    words = f"{place} FGSM on the kernel takes {much}"
    if width.size == 1:
        return f"{words}."
    return f"{words}; at width {width[0]} the share is {percent(share[0])}. It {_trend(share)}."


def read_cosine(widths: Sequence[int], cosines: Sequence[float]) -> str:
    """Along the width, the cosine between the loss gradients of kernel and net; ``widths``, ``cosines`` ``[W]``."""
    width, cosine = _known(widths, cosines)
    if not width.size:
        return "No cosine between the loss gradients of kernel and net is known: they are zero, or not computed yet."
    words = f"The loss gradients of kernel and net have cosine {cosine[0]:.2f} at width {width[0]}"
    if width.size == 1:
        return f"{words}, mean over the test images."
    return f"{words} and {cosine[-1]:.2f} at width {width[-1]}, mean over the test images; the cosine {_trend(cosine)}."


def read_noise(worst_cost_points: float) -> str:
    """What random signs of the same radius cost at worst, in points of accuracy (1 point is 1 % of the images)."""
    if not np.isfinite(worst_cost_points):
        return ""
    cost = _points(worst_cost_points)
    if worst_cost_points < 0.05:
        return "Random signs of the same radius cost no accuracy: what the attacks take is due to their direction."
    if worst_cost_points < NOISE_CHEAP:
        return (
            f"Random signs of the same radius cost at most {cost}: what the attacks take beyond that is due to "
            "their direction."
        )
    if worst_cost_points < NOISE_DEAR:
        return f"Random signs of the same radius cost up to {cost}: that much of a drop says nothing of an attack."
    return (
        f"Random signs of the same radius cost up to {cost} themselves: at this radius any perturbation "
        "does much, and the comparison of attacks is weak. Choose a smaller radius."
    )


def read_lazy(lazy_cosine: float, other_cosine: float) -> str:
    """The last cosines, of a net that trains lazily and of one that does not, with the kernel's gradients."""
    if not np.isfinite([lazy_cosine, other_cosine]).all():
        return ""
    words = (
        f"At the end of training the loss gradients of the lazy net have cosine {lazy_cosine:.2f} with the kernel's, "
        f"those of the net that is not lazy {other_cosine:.2f}: "
    )
    if lazy_cosine > other_cosine + SAME:
        return words + "the net that learns features is further away from the kernel."
    if lazy_cosine < other_cosine - SAME:
        return words + "here the lazy net is the one further away, against what the theory leads to expect."
    return words + "no difference to speak of."


def read_white_box(fgsm_accuracy: float, pgd_accuracy: float) -> str:
    """What the two white-box attacks leave, as shares: one step is no upper bound on the damage."""
    if not np.isfinite([fgsm_accuracy, pgd_accuracy]).all():
        return ""
    words = f"White-box FGSM leaves {percent(fgsm_accuracy)} right, white-box PGD of the same radius "
    if pgd_accuracy < fgsm_accuracy:
        return words + f"{percent(pgd_accuracy)}: FGSM is no upper bound on the damage."
    same = "as much" if pgd_accuracy == fgsm_accuracy else f"{percent(pgd_accuracy)}"
    return words + f"{same}: here PGD does not do more damage, but FGSM is no upper bound on it."


def read_zero(share: float) -> str:
    """The share of test points where the source's gradient is exactly zero; empty when there is none."""
    if not share > 0:
        return ""
    much = percent(share) if share >= 0.0005 else "less than 0.1 %"
    return (
        f"At {much} of the test points the gradient is exactly zero: there the attack has no direction and changes "
        "nothing, which is no sign of robustness."
    )


def _known(widths: Sequence[int], values: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    """Widths in ascending order and their values, where there is a value."""
    width, value = np.asarray(widths, dtype=int), np.asarray(values, dtype=np.float64)
    if width.ndim != 1 or width.shape != value.shape:
        raise DataError(f"widths have shape {width.shape}, values {value.shape}; one value for each width is needed.")
    order = np.argsort(width, kind="stable")
    order = order[np.isfinite(value[order])]
    return width[order], value[order]


def _trend(values: np.ndarray) -> str:
    """``"rises from each width to the next (4 widths)"``, or what it does instead."""
    steps = np.diff(values)
    count = f"{len(values)} widths"
    if (steps > 0).all():
        return f"rises from each width to the next ({count})"
    if (steps == 0).all():
        return f"is the same at all {count}"
    if (steps < 0).all():
        return f"does not rise along the width, it falls from each to the next ({count})"
    spearman = scipy.stats.spearmanr(np.arange(len(values)), values).statistic
    if spearman > NO_TREND:
        return f"rises along the width, but not from each to the next ({count}, Spearman {spearman:+.2f})"
    return f"does not rise along the width ({count}, Spearman {spearman:+.2f})"


def _points(cost: float) -> str:
    value = round(cost, 1)
    text = f"{value:.0f}" if value == round(value) else f"{value:.1f}"
    return f"{text} point{'' if text == '1' else 's'} of accuracy"
