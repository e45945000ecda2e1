"""Results read aloud: sentences with the run's own numbers, computed, never written ahead.

Where a data set does not show what the paper claims, the sentence says so::

    read_sweep(sweep, classes, sweep.permuted(), fdr=0.05)      # "Of 1000 features 4 are robust ..."
"""

import numpy as np

from ntkcore.analysis.classes import BETWEEN, BRITTLE, ROBUST, WEAK, falling
from ntkcore.analysis.eigenfeatures import Sweep
from ntkcore.analysis.label_test import Null
from ntkcore.analysis.tradeoff import Curve
from ntkcore.analysis.words import percent


def read_sweep(sweep: Sweep, classes: np.ndarray, null: Null, fdr: float, top: int = 20) -> str:
    """How many features of each class, where they are, and what chance alone would give."""
    features = len(classes)
    top = min(top, features)
    robust, between, brittle = (int((classes == kind).sum()) for kind in (ROBUST, BETWEEN, BRITTLE))
    in_top = int((classes[:top] == ROBUST).sum())
    by_chance = null.useful(fdr)
    low, high = np.percentile(by_chance, [2.5, 97.5])
    words = (
        f"Of {features} features {robust + between + brittle} are useful: {robust} robust ({in_top} of them among the "
        f"{top} largest eigenvalues), {between} in between and {brittle} brittle. With permuted test labels the same "
        f"test finds {by_chance.mean():.2g} on average ({low:.0f} to {high:.0f} in 95 % of {len(by_chance)} "
        "permutations). "
    )
    band = falling(sweep, fdr).spearman
    if not band.known[0]:
        return words + "Too few features are useful to say how robustness goes along the index."
    verdict = "falls" if band.high[0] < 0 else "does not fall" if band.low[0] > 0 else "may or may not fall"
    return words + (
        f"Among useful features the share of right answers kept {verdict} along the index: Spearman "
        f"{band.mean[0]:+.2f} [{band.low[0]:+.2f}, {band.high[0]:+.2f}]."
    )


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
    """Accuracy when only robust, or only brittle, features are kept."""
    words = []
    for kind in ("robust", "brittle"):
        curve = curves[kind]
        if len(curve.k):
            count = int(curve.k[-1])
            which = f"All {count} {kind} features together" if count > 1 else f"The only {kind} feature"
            clean, attacked = curve.clean.mean[-1], curve.attacked.mean[-1]
            words.append(f"{which}: {percent(clean)} clean, {percent(attacked)} under attack")
    top = curves["top"]
    words.append(f"All features: {percent(top.clean.mean[-1])} clean, {percent(top.attacked.mean[-1])} under attack")
    return ". ".join(words) + "."


def read_split(parts: np.ndarray, classes: np.ndarray, before: float, after: float, label: str, top: int = 20) -> str:
    """Which features an attack works through: the change of one image's margin, split in two ways."""
    between = parts[classes == BETWEEN].sum()
    robust, brittle, rest = (parts[classes == kind].sum() for kind in (ROBUST, BRITTLE, WEAK))
    return (
        f"The attack moves the margin of this {label} from {before:+.2f} to {after:+.2f}. The first {top} features "
        f"account for {parts[:top].sum():+.2f} of that, the {len(parts) - top} behind them for "
        f"{parts[top:].sum():+.2f}. By class: robust {robust:+.2f}, in between {between:+.2f}, brittle "
        f"{brittle:+.2f}, and those weak alone, which one by one cannot be told from guessing, {rest:+.2f}."
    )


def read_time(curve: Curve) -> str:
    """The robust moment of training."""
    clean, attacked = curve.clean.mean, curve.attacked.mean
    best = int(np.argmax(attacked))
    return (
        f"Under attack the prediction is best at t = {curve.k[best]:.3g}: {percent(attacked[best])} "
        f"(clean {percent(clean[best])}). At the end {percent(attacked[-1])} are left (clean {percent(clean[-1])})."
    )
