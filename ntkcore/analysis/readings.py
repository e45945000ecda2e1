"""Results read aloud: sentences with the run's own numbers, computed, never written ahead.

Where a data set does not show what the paper claims, the sentence says so::

    read_sweep(sweep, classes, level=0.01)      # "4 of the 20 largest eigenvalues carry robust useful features; ..."
"""

import numpy as np
from scipy import stats

from ntkcore.analysis.eigenfeatures import NON_ROBUST, ROBUST, USELESS, Sweep
from ntkcore.analysis.tradeoff import Curve
from ntkcore.analysis.words import percent


def read_sweep(sweep: Sweep, classes: np.ndarray, level: float, top: int = 20) -> str:
    """How many features of each class, where they are, and what chance alone would give."""
    features = len(classes)
    top = min(top, features)
    robust, brittle = int((classes == ROBUST).sum()), int((classes == NON_ROBUST).sum())
    in_top = int((classes[:top] == ROBUST).sum())
    by_chance = level * features
    robustness = sweep.robustness.cpu().numpy()
    spearman = stats.spearmanr(np.arange(features), robustness).statistic if np.ptp(robustness) else np.nan
    be = {robust: "are", brittle: "are"} | dict.fromkeys({robust, brittle} & {1}, "is")
    words = (
        f"{robust} of {features} features {be[robust]} robust and useful, {in_top} of them among the {top} largest "
        f"eigenvalues; {brittle} {be[brittle]} useful but not robust. "
        f"At this level chance alone would make about {by_chance:.0f} of {features} look useful. "
    )
    if np.isfinite(spearman):
        words += (
            f"Robustness falls along the index: Spearman {spearman:+.2f}."
            if spearman < -0.1
            else (f"Robustness does not fall along the index here: Spearman {spearman:+.2f}.")
        )
    return words


def read_tail(sweep: Sweep, start: int = 20) -> str:
    """The features beyond ``start`` taken together: are they useful on average, and does anything survive?"""
    features = len(sweep.usefulness)
    if features <= start + 1:
        return ""
    rho, gamma = (share[start:].cpu().numpy() for share in (sweep.usefulness, sweep.robustness))
    # features share the test images: the error of the mean is that of per-image means
    per_image = sweep.right_before[:, start:].double().mean(1).cpu().numpy()
    error = per_image.std(ddof=1) / np.sqrt(len(per_image)) if len(per_image) > 1 else 0.0
    lift = rho.mean() - sweep.majority
    verdict = "more than guessing" if lift > 2 * error else "no more than guessing, within the error"
    return (
        f"The {features - start} features beyond index {start - 1} are right on {100 * rho.mean():.2f} % of the images "
        f"on average (± {100 * error:.2f} points; {verdict}, which gives {100 * sweep.majority:.2f} %), and on "
        f"{100 * gamma.mean():.2f} % under attack."
    )


def read_kept(curves: dict[str, Curve]) -> str:
    """Accuracy when only robust, or only non-robust, features are kept."""
    words = []
    for kind, name in (("robust", "robust"), ("non_robust", "useful non-robust")):
        curve = curves[kind]
        if len(curve.k):
            count = int(curve.k[-1])
            which = f"All {count} {name} features together" if count > 1 else f"The only {name} feature"
            words.append(f"{which}: {percent(curve.clean[-1])} clean, {percent(curve.attacked[-1])} under attack")
    top = curves["top"]
    best = int(np.argmax(top.attacked)) if len(top.k) else 0
    words.append(
        f"The {int(top.k[best])} largest do best under attack: {percent(top.attacked[best])} "
        f"({percent(top.clean[best])} clean); all features: {percent(top.attacked[-1])} "
        f"({percent(top.clean[-1])} clean)"
    )
    return ". ".join(words) + "."


def read_split(parts: np.ndarray, classes: np.ndarray, before: float, after: float, label: str, top: int = 20) -> str:
    """Which features an attack works through: the change of one image's margin, split in two ways."""
    robust, brittle, rest = (parts[classes == kind].sum() for kind in (ROBUST, NON_ROBUST, USELESS))
    return (
        f"The attack moves the margin of this {label} from {before:+.2f} to {after:+.2f}. The first {top} features "
        f"account for {parts[:top].sum():+.2f} of that, the {len(parts) - top} behind them for "
        f"{parts[top:].sum():+.2f}. By class: robust {robust:+.2f}, useful non-robust {brittle:+.2f}, and the "
        f"useless ones, which one by one cannot be told from guessing, {rest:+.2f}."
    )


def read_time(curve: Curve) -> str:
    """The robust moment of training."""
    best = int(np.argmax(curve.attacked))
    return (
        f"Under attack the prediction is best at t = {curve.k[best]:.3g}: {percent(curve.attacked[best])} "
        f"(clean {percent(curve.clean[best])}). At the end {percent(curve.attacked[-1])} are left "
        f"(clean {percent(curve.clean[-1])})."
    )
