"""The robustness-accuracy trade-off: keep only some eigenfeatures, or stop training early, and attack again.

Each point of a curve is a predictor of its own, ``sum over i in S of f^(i)`` or ``f_t``, attacked with its own
perturbation (Tsilivis & Kempe 2022, section 4). All points share the kernel's gradient (``ntkcore.analysis.banks``)::

    curves = kept_features(kernel, s, x, y, x_test, y_test, attack, classes)
    curves["robust"].k, curves["robust"].clean, curves["robust"].attacked
    along_time(kernel, s, x, y, x_test, y_test, attack)          # clean and attacked accuracy of f_t
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ntkcore import checks
from ntkcore.analysis.attacks import Attack
from ntkcore.analysis.banks import Bank, attack_bank, swept
from ntkcore.analysis.eigenfeatures import NON_ROBUST, ROBUST, USELESS, subset_weights
from ntkcore.analysis.predict import inverse_weights
from ntkcore.analysis.spectrum import Spectrum, projections
from ntkcore.kernels.blocks import KernelFunction, Progress
from ntkcore.modes import plain


@dataclass(frozen=True, eq=False)
class Curve:
    """Accuracy along k kept features or time t: k [P], clean [P], attacked [P], shares from 0 to 1."""

    k: np.ndarray
    clean: np.ndarray
    attacked: np.ndarray


KEPT = ("top", "bottom", "robust", "non_robust")


@plain
def kept_features(
    kernel: KernelFunction,
    s: Spectrum,
    x: Tensor,
    y: Tensor,
    x_test: Tensor,
    y_test: Tensor,
    attack: Attack,
    classes: np.ndarray,
    K_test: Tensor | None = None,
    progress: Progress | None = None,
) -> dict[str, Curve]:
    """Clean and attacked accuracy when only k features are kept, for each way of choosing them.

    "top": the k largest eigenvalues; "bottom": the k smallest; "robust" and "non_robust": the k largest of that
    class (classes [F] from ``classify``). k runs over round numbers up to all features of the kind. Images in [0, 1];
    labels [n, 1] of -1 and +1, or one-hot. Raises SpecError for others, and for classes that are not such.
    """
    x, y, x_test, y_test = swept(kernel, x, y, x_test, y_test, attack, s, K_test, progress)
    classes = checks.codes(classes, s.rank, (USELESS, NON_ROBUST, ROBUST), "classes")
    order = {
        "top": np.arange(s.rank),
        "bottom": np.arange(s.rank)[::-1],
        "robust": np.flatnonzero(classes == ROBUST),
        "non_robust": np.flatnonzero(classes == NON_ROBUST),
    }
    plan = [(kind, k) for kind in KEPT for k in counts(len(order[kind]))]
    if not plan:
        return {kind: Curve(*(np.zeros(0),) * 3) for kind in KEPT}
    weights = torch.stack([subset_weights(s, y, torch.from_numpy(order[kind][:k].copy())) for kind, k in plan])
    clean, attacked = _accuracies(kernel, x, weights, x_test, y_test, attack, K_test, progress)
    out = {}
    for kind in KEPT:
        rows = [i for i, (name, _) in enumerate(plan) if name == kind]
        out[kind] = Curve(np.array([plan[i][1] for i in rows]), clean[rows], attacked[rows])
    return out


@plain
def along_time(
    kernel: KernelFunction,
    s: Spectrum,
    x: Tensor,
    y: Tensor,
    x_test: Tensor,
    y_test: Tensor,
    attack: Attack,
    ridge: float = 0.0,
    K_test: Tensor | None = None,
    progress: Progress | None = None,
    points: int = 25,
) -> Curve:
    """Clean and attacked accuracy of f_t; times from a tenth of the fastest mode's 1/lam to ten times the slowest.

    Images and labels as in ``kept_features``.
    """
    x, y, x_test, y_test = swept(kernel, x, y, x_test, y_test, attack, s, K_test, progress)
    ridge, points = checks.number(ridge, "ridge", 0), checks.whole(points, "points", 2, 10_000)
    smallest = float(s.values[s.rank - 1])
    times = np.geomspace(0.1 / float(s.values[0]), 10 / smallest, points)
    p = projections(s, y)
    weights = torch.stack([s.vectors @ (inverse_weights(s, float(t), ridge)[:, None] * p) for t in times])
    return Curve(times, *_accuracies(kernel, x, weights, x_test, y_test, attack, K_test, progress))


def counts(available: int) -> list[int]:
    """Numbers of features to keep: 1, 2, 3, 5, 7, 10, 15, 20, 30, ... and all."""
    steps = [int(base * 10**power) for power in range(5) for base in (1, 1.5, 2, 3, 5, 7) if base * 10**power >= 1]
    return sorted({k for k in steps if k < available} | ({available} if available else set()))


def _accuracies(
    kernel: KernelFunction,
    x: Tensor,
    weights: Tensor,
    x_test: Tensor,
    y_test: Tensor,
    attack: Attack,
    K_test: Tensor | None,
    progress: Progress | None,
) -> tuple[np.ndarray, np.ndarray]:
    result = attack_bank(kernel, x, Bank(weights), x_test, y_test, attack, progress, K_test)
    before, after = (right.double().mean(0).cpu().numpy() for right in (result.right_before, result.right_after))
    return before, after
