"""The robustness-accuracy trade-off: keep only some eigenfeatures, or stop training early, and attack again.

Each point of a curve is a predictor of its own, ``sum over i in S of f^(i)`` or ``f_t``, attacked with its own
perturbation (Tsilivis & Kempe 2022, section 4). All points share the kernel's gradient (``bank_attacks``).
The verdicts of every image are kept, so that what was picked on some images can be reported on others::

    kept = kept_features(kernel, s, x, y, x_test, y_test, attack, classes)
    kept["robust"].curve(~first).attacked            # Band along k, on the second half of the images
    along_time(kernel, s, x, y, x_test, y_test, attack).curve()          # accuracy of f_t
    band_sums(kernel, s, x, y, x_test, y_test, attack).curve()           # of features 0, 1, 2-3, 4-7, ...
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ntkcore import checks
from ntkcore.analysis.attacks.attack import Attack
from ntkcore.analysis.features.bank_attacks import Bank, attack_bank, checked_arguments
from ntkcore.analysis.features.classes import BRITTLE, CLASSES, ROBUST
from ntkcore.analysis.features.eigenfeatures import subset_weights
from ntkcore.analysis.intervals import Band, share_band
from ntkcore.analysis.predict import dual_weights, latest_time
from ntkcore.analysis.spectrum import Spectrum
from ntkcore.kernels.blocks import KernelFunction, Progress
from ntkcore.kernels.executors import Executor
from ntkcore.modes import plain


@dataclass(frozen=True, eq=False)
class Curve:
    """Accuracy along k kept features, time t or bands: k [P], clean and attacked Bands of [P], shares from 0 to 1."""

    k: np.ndarray
    clean: Band
    attacked: Band

    def finite(self) -> "Curve":
        """Without the point at t = infinity, which has no place on an axis."""
        rows = np.isfinite(self.k)
        return Curve(self.k[rows], self.clean.part(rows), self.attacked.part(rows))


@dataclass(frozen=True, eq=False)
class Judged:
    """P predictors on m images: k [P] says which; before and after [m, P] bool, right, and right also under attack."""

    k: np.ndarray
    before: np.ndarray
    after: np.ndarray

    def curve(self, rows: np.ndarray | None = None) -> Curve:
        """Accuracies on the images ``rows`` [m] bool (all by default), with Wilson intervals."""
        before, after = (right if rows is None else right[rows] for right in (self.before, self.after))
        return Curve(self.k, share_band(before), share_band(after))


KEPT = ("top", "bottom", "robust", "brittle", "rest")
CHOSEN = ("robust", "brittle", "rest")  # kinds whose features were chosen by their answers on test images
TIMES = 29  # of f_t
Predictors = tuple[np.ndarray, list[Tensor]]  # k [P], and the dual weights [n, c] of each


def reported(judged: Mapping[str, Judged], first: np.ndarray) -> dict[str, Curve]:
    """Curves on the images that chose nothing, those outside of ``first`` [m] bool (``halves``).

    Where there are none, on all images, without the kinds that were CHOSEN on them.
    """
    rows = None if first.all() else ~first
    return {kind: one.curve(rows) for kind, one in judged.items() if rows is not None or kind not in CHOSEN}


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
) -> dict[str, Judged]:
    """Verdicts when only k features are kept, for each way of choosing them.

    "top": the k largest eigenvalues; "bottom": the k smallest, where s has all; "robust" and "brittle": the k largest
    of that class (classes [F] from ``classify``); "rest": the k largest of all but robust. k runs over round numbers up
    to all features of the kind. Images in [0, 1]; labels [n, 1] of -1 and +1, or one-hot. Raises SpecError for others,
    and for classes that are not such.
    """
    x, y, x_test, y_test = checked_arguments(kernel, x, y, x_test, y_test, attack, s, K_test, progress)
    classes = checks.codes(classes, s.rank, CLASSES, "classes")
    return _judged(kernel, x, _kept(s, y, classes), x_test, y_test, attack, K_test, progress)


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
    points: int = TIMES,
    end: Tensor | None = None,
) -> Judged:
    """Verdicts of f_t; times from a thousandth of the fastest mode's 1/lam to ten times the slowest's; of the leading
    part of a spectrum, to the last that it knows (``latest_time``). end: dual weights [n, c] of the prediction at
    infinity (``fit(residual=)``), which is the last time then.

    At the first of them ``f_t`` is ``t K(x, X) Y`` to within a thousandth: any earlier time gives the same answers.
    Images and labels as in ``kept_features``.
    """
    x, y, x_test, y_test = checked_arguments(kernel, x, y, x_test, y_test, attack, s, K_test, progress)
    ridge, points = checks.number(ridge, "ridge", 0), checks.whole(points, "points", 2, 10_000)
    plan = {"time": _times(s, y, ridge, points, end)}
    return _judged(kernel, x, plan, x_test, y_test, attack, K_test, progress)["time"]


@plain
def band_sums(
    kernel: KernelFunction,
    s: Spectrum,
    x: Tensor,
    y: Tensor,
    x_test: Tensor,
    y_test: Tensor,
    attack: Attack,
    K_test: Tensor | None = None,
    progress: Progress | None = None,
) -> Judged:
    """Verdicts of the sum of the features of each dyadic band of the index, ``bands``; k: its first index.

    Images and labels as in ``kept_features``.
    """
    x, y, x_test, y_test = checked_arguments(kernel, x, y, x_test, y_test, attack, s, K_test, progress)
    return _judged(kernel, x, {"bands": _bands(s, y)}, x_test, y_test, attack, K_test, progress)["bands"]


@plain
def trade_offs(
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
    end: Tensor | None = None,
    executor: Executor | None = None,
    folder: Path | None = None,
) -> dict[str, Judged]:
    """``kept_features``, with ``along_time`` as "time" and ``band_sums`` as "bands": in one pass over the images.

    executor, folder: as in ``eigenfeatures``.
    """
    x, y, x_test, y_test = checked_arguments(kernel, x, y, x_test, y_test, attack, s, K_test, progress)
    classes = checks.codes(classes, s.rank, CLASSES, "classes")
    plan = {**_kept(s, y, classes), "time": _times(s, y, end=end), "bands": _bands(s, y)}
    return _judged(kernel, x, plan, x_test, y_test, attack, K_test, progress, executor, folder)


def bands(features: int) -> list[tuple[int, int]]:
    """Dyadic bands of the index, from start to before stop: 0, 1, 2-3, 4-7, ... and what is left of the last."""
    starts = [0, *(2**i for i in range(features.bit_length()) if 2**i < features)]
    return list(zip(starts, [*starts[1:], features], strict=True))


def counts(available: int) -> list[int]:
    """Numbers of features to keep: 1, 2, 3, 5, 7, 10, 15, 20, 30, ... and all."""
    steps = [int(base * 10**power) for power in range(5) for base in (1, 1.5, 2, 3, 5, 7) if base * 10**power >= 1]
    return sorted({k for k in steps if k < available} | ({available} if available else set()))


def _kept(s: Spectrum, y: Tensor, classes: np.ndarray) -> dict[str, Predictors]:
    order = {
        "top": np.arange(s.rank),
        "bottom": np.arange(s.rank)[::-1],
        "robust": np.flatnonzero(classes == ROBUST),
        "brittle": np.flatnonzero(classes == BRITTLE),
        "rest": np.flatnonzero(classes != ROBUST),
    }
    plan = {}
    for kind in KEPT if s.whole else [kind for kind in KEPT if kind != "bottom"]:
        k = counts(len(order[kind]))
        chosen = [torch.from_numpy(order[kind][:one].copy()) for one in k]
        plan[kind] = np.array(k, dtype=int), subset_weights(s, y, chosen)
    return plan


def _times(s: Spectrum, y: Tensor, ridge: float = 0.0, points: int = TIMES, end: Tensor | None = None) -> Predictors:
    last = 10 / float(s.values[s.rank - 1]) if s.whole else latest_time(s)
    times = np.geomspace(1e-3 / float(s.values[0]), last, points)
    weights = [dual_weights(s, y, float(t), ridge) for t in times]
    return (times, weights) if end is None else (np.append(times, np.inf), [*weights, end.to(weights[0])])


def _bands(s: Spectrum, y: Tensor) -> Predictors:
    spans = bands(s.rank)
    weights = subset_weights(s, y, [torch.arange(start, stop) for start, stop in spans])
    return np.array([start for start, _ in spans]), weights


def _judged(
    kernel: KernelFunction,
    x: Tensor,
    plan: dict[str, Predictors],
    x_test: Tensor,
    y_test: Tensor,
    attack: Attack,
    K_test: Tensor | None,
    progress: Progress | None,
    executor: Executor | None = None,
    folder: Path | None = None,
) -> dict[str, Judged]:
    """The predictors of each kind, attacked at every test image, all together: they share the kernel's gradients."""
    bank = Bank(torch.stack([one for _, weights in plan.values() for one in weights]))
    result = attack_bank(kernel, x, bank, x_test, y_test, attack, progress, K_test, executor, folder)
    before, after = result.right_before.cpu().numpy(), result.right_after.cpu().numpy()
    found, start = {}, 0
    for kind, (k, _) in plan.items():
        own = slice(start, start + len(k))
        found[kind], start = Judged(k, before[:, own], after[:, own]), own.stop
    return found
