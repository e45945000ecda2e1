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

from ntkcore.analysis.attacks import Attack, fgsm
from ntkcore.analysis.banks import Bank, attack_bank
from ntkcore.analysis.predict import KernelPredictor
from ntkcore.analysis.spectrum import Spectrum, projections, train_spectrum
from ntkcore.errors import SpecError
from ntkcore.kernels.blocks import KernelFunction, Progress, frozen
from ntkcore.modes import plain

USELESS, NON_ROBUST, ROBUST = 0, 1, 2


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


def feature_bank(s: Spectrum, y: Tensor, features: Sequence[int] | Tensor | None = None) -> Bank:
    """Eigenfeatures as a bank: weights v_i [n, 1], readout ``v_i^T Y / lam_i`` [1, c]; all non-zero ones by default.

    Raises SpecError for an index at or beyond the numerical rank.
    """
    index = (
        torch.arange(s.rank, device="cpu")
        if features is None
        else torch.as_tensor(features, dtype=torch.long, device="cpu")
    )
    if len(index) and not (int(index.min()) >= 0 and int(index.max()) < s.rank):
        raise SpecError(
            f"Feature {int(index.max())} does not exist: {s.rank} of {len(s.values)} eigenvalues are above rounding "
            f"noise. Choose indices from 0 to {s.rank - 1}."
        )
    readout = projections(s, y)[index] / s.values[index, None]
    return Bank(s.vectors[:, index].T[:, :, None].contiguous(), readout[:, None])


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
    """
    attack, kernel = fgsm() if attack is None else attack, frozen(kernel)
    s = train_spectrum(kernel, x.double(), spectrum_of_train)
    result = attack_bank(kernel, x, feature_bank(s, y), x_test, y_test, attack, progress, K_test)
    return Sweep(s, attack, result.right_before, result.right_after, result.zero_gradient, majority_share(y_test))


def majority_share(y: Tensor) -> float:
    """Accuracy of always guessing the most frequent label: y [m, c]."""
    if y.shape[1] == 1:
        positive = float((y > 0).double().mean())
        return max(positive, 1 - positive)
    return float(y.double().mean(0).max())


def subset_predictor(
    kernel: KernelFunction, s: Spectrum, x: Tensor, y: Tensor, features: Sequence[int] | Tensor
) -> KernelPredictor:
    """``sum over i in S of f^(i)``: a predictor x -> [m, c] from the features S alone, differentiable."""
    return KernelPredictor(kernel, x.double(), subset_weights(s, y, features))


def subset_weights(s: Spectrum, y: Tensor, features: Sequence[int] | Tensor) -> Tensor:
    """Dual weights [n, c] of the sum over the features S."""
    bank = feature_bank(s, y, features)
    if len(bank) == 0:
        return s.vectors.new_zeros(s.n, y.shape[1])
    return bank.weights[:, :, 0].T @ bank.readout[:, 0]


# -- classes of features -----------------------------------------------------------------------------------------


def classify(sweep: Sweep, level: float = 0.01, keep: float = 0.5) -> np.ndarray:
    """Each feature's class, [F] int: ROBUST (useful and robust), NON_ROBUST (useful, not robust) or USELESS.

    Useful: better than always guessing the most frequent test label, by a one-sided exact binomial test at
    ``level``. Robust: keeps at least the share ``keep`` of its right answers under the attack, ``gamma >= keep rho``.
    Raises SpecError for a level or share outside (0, 1).
    """
    if not 0 < level < 1 or not 0 < keep <= 1:
        raise SpecError(f"level is {level} and keep is {keep}; both are shares between 0 and 1.")
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
