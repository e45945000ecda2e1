"""Eigenfeatures of a kernel: what each eigenvector contributes to the prediction, and how robust it is.

``f^(i)(x) = lam_i^-1 K(x, X) v_i v_i^T Y`` (Tsilivis & Kempe 2022, section 4), so that ``sum_i f^(i) = f_inf``.
Usefulness is the share of test points it gets right, robustness the share it still gets right under an attack on
itself (an upper bound of the worst case: always say which attack and eps)::

    sweep = eigenfeatures(k, x, y, x_test, y_test, attack=fgsm(8 / 255))
    sweep.usefulness, sweep.robustness           # [F] each, every index, largest eigenvalue first
    classify(sweep, level=0.01, keep=0.5)        # [F] of USELESS, NON_ROBUST, ROBUST
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy import stats
from torch import Tensor

from ntkcore import checks
from ntkcore.analysis.attacks import Attack, fgsm
from ntkcore.analysis.banks import Bank, attack_bank, swept
from ntkcore.analysis.predict import KernelPredictor
from ntkcore.analysis.spectrum import Spectrum, projections, train_spectrum
from ntkcore.kernels.blocks import KernelFunction, Progress, frozen
from ntkcore.modes import plain

USELESS, NON_ROBUST, ROBUST = 0, 1, 2
Selection = Sequence[int] | Sequence[bool] | np.ndarray | Tensor  # indices, or a mask


@dataclass(frozen=True, eq=False)
class Sweep:
    """Every eigenfeature's verdicts on m test images under one attack.

    spectrum: of the training kernel. right_before, right_after, zero_gradient: [m, F] bool, F = numerical rank
    (features of numerically zero eigenvalues have no value). right_after: right before and after the attack; an
    image that a feature gets wrong is not attacked. majority: share of the most frequent test label.
    """

    spectrum: Spectrum
    attack: Attack
    right_before: Tensor
    right_after: Tensor
    zero_gradient: Tensor
    majority: float

    @property
    def m(self) -> int:
        return len(self.right_before)

    @property
    def usefulness(self) -> Tensor:
        """rho [F]: share of test points with the right sign (or argmax)."""
        return self.right_before.double().mean(0)

    @property
    def robustness(self) -> Tensor:
        """gamma [F]: share of test points right before and after the attack."""
        return self.right_after.double().mean(0)

    @property
    def zero_gradient_share(self) -> Tensor:
        """[F]: share of test points that are right and give the attack nothing to follow."""
        return self.zero_gradient.double().mean(0)


def feature_bank(s: Spectrum, y: Tensor, index: Tensor | None = None) -> Bank:
    """Eigenfeatures as a bank: weights v_i [n, 1], readout ``v_i^T Y / lam_i`` [1, c]; all non-zero ones by default.

    index [k] int64, as ``chosen_features`` gives it.
    """
    index = torch.arange(s.rank, device="cpu") if index is None else index
    readout = projections(s, y)[index] / s.values[index, None]
    return Bank(s.vectors[:, index].T[:, :, None].contiguous(), readout[:, None])


def chosen_features(s: Spectrum, features: Selection) -> Tensor:
    """Indices [k] of features, from indices or a mask of all that exist: those below the numerical rank.

    Raises SpecError for one that does not exist or is given twice.
    """
    why = "" if s.rank == len(s.values) else f" ({s.rank} of {len(s.values)} eigenvalues are above rounding noise)"
    return checks.selection(features, s.rank, "feature", why)


@plain
def eigenfeatures(
    kernel: KernelFunction,
    x: Tensor,
    y: Tensor,
    x_test: Tensor,
    y_test: Tensor,
    attack: Attack | None = None,
    spectrum_of_train: Spectrum | None = None,
    K_test: Tensor | None = None,
    progress: Progress | None = None,
) -> Sweep:
    """Usefulness and robustness of every eigenfeature of ``kernel`` on the training set x [n, C, H, W], y [n, c].

    attack: on each feature separately, true labels (default FGSM, eps 8/255). spectrum_of_train and K_test (the
    kernel between test and training images, [m, n]) are computed unless handed in. progress counts test images.
    Images in [0, 1]; labels [n, 1] of -1 and +1, or one-hot. Raises SpecError for others.
    """
    attack = fgsm() if attack is None else attack
    x, y, x_test, y_test = swept(kernel, x, y, x_test, y_test, attack, None, K_test, progress)
    kernel = frozen(kernel)
    s = train_spectrum(kernel, x.double(), spectrum_of_train)
    result = attack_bank(kernel, x, feature_bank(s, y), x_test, y_test, attack, progress, K_test)
    return Sweep(s, attack, result.right_before, result.right_after, result.zero_gradient, majority_share(y_test))


def majority_share(y: Tensor) -> float:
    """Accuracy of always guessing the most frequent label: y [m, c]."""
    if y.shape[1] == 1:
        positive = float((y > 0).double().mean())
        return max(positive, 1 - positive)
    return float(y.double().mean(0).max())


def subset_predictor(kernel: KernelFunction, s: Spectrum, x: Tensor, y: Tensor, features: Selection) -> KernelPredictor:
    """``sum over i in S of f^(i)``: a predictor x -> [m, c] from the features S alone, differentiable.

    s: spectrum of ``kernel`` on x [n, C, H, W]; y [n, c] as in ``fit``. features: indices, each once, or a mask of the
    features that exist (``classify(sweep) == ROBUST``). Raises SpecError for what is not such.
    """
    checks.function(kernel, "kernel", "It maps images to [n1, n2]; kernel_fn makes one.")
    x = checks.images(x)
    train_spectrum(kernel, x, checks.instance(s, Spectrum, "s", "spectrum(kernel(x)) makes one."))
    weights = subset_weights(s, checks.targets(y, len(x)).to(x.device), chosen_features(s, features))
    return KernelPredictor(kernel, x.double(), weights)


def subset_weights(s: Spectrum, y: Tensor, index: Tensor) -> Tensor:
    """Dual weights [n, c] of the sum over the features ``index`` [k], as ``chosen_features`` gives it."""
    bank = feature_bank(s, y, index)
    if len(bank) == 0:
        return s.vectors.new_zeros(s.n, y.shape[1])
    return bank.weights[:, :, 0].T @ bank.readout[:, 0]


# -- classes of features -----------------------------------------------------------------------------------------


def classify(sweep: Sweep, level: float = 0.01, keep: float = 0.5) -> np.ndarray:
    """Each feature's class, [F] int: ROBUST (useful and robust), NON_ROBUST (useful, not robust) or USELESS.

    Useful: better than always guessing the most frequent test label, by a one-sided exact binomial test at
    ``level``. Robust: keeps at least the share ``keep`` of its right answers under the attack, ``gamma >= keep rho``.
    Raises SpecError for a level outside (0, 1) or a share outside (0, 1].
    """
    checks.instance(sweep, Sweep, "sweep", "eigenfeatures makes one.")
    level, keep = checks.number(level, "level", above=0, below=1), checks.number(keep, "keep", above=0, most=1)
    hits = sweep.right_before.sum(0).cpu().numpy()
    kept = sweep.right_after.sum(0).cpu().numpy()
    useful = binomial_p_values(hits, sweep.m, sweep.majority) < level
    return np.where(useful, np.where(kept >= keep * hits, ROBUST, NON_ROBUST), USELESS)


def binomial_p_values(hits: np.ndarray, m: int, chance: float) -> np.ndarray:
    """P(at least ``hits`` of m right) when each is right with probability ``chance``: one-sided exact test."""
    return stats.binom.sf(np.asarray(hits) - 1, m, chance)


def useful_threshold(m: int, chance: float, level: float = 0.01) -> float:
    """The smallest usefulness that passes the test at this m; above 1 when none does."""
    counts = np.arange(m + 1)
    passing = counts[binomial_p_values(counts, m, chance) < level]
    return float(passing[0] / m) if len(passing) else 1 + 1 / m


def wilson(share: np.ndarray, m: int, confidence: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
    """Wilson score interval of a share of m trials: (low, high), each shaped like ``share`` (Wilson 1927)."""
    z = stats.norm.ppf(0.5 + confidence / 2)
    share = np.asarray(share, dtype=float)
    centre = (share + z * z / (2 * m)) / (1 + z * z / m)
    half = z / (1 + z * z / m) * np.sqrt(share * (1 - share) / m + z * z / (4 * m * m))
    return np.clip(centre - half, 0, 1), np.clip(centre + half, 0, 1)
