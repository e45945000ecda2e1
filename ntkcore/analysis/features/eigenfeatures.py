"""Eigenfeatures of a kernel: what each eigenvector contributes to the prediction, and how robust it is.

``f^(i)(x) = lam_i^-1 K(x, X) v_i v_i^T Y`` (Tsilivis & Kempe 2022, section 4), so that ``sum_i f^(i) = f_inf``.
Usefulness is the share of test points it gets right, robustness the share it still gets right under an attack on
itself (an upper bound of the worst case: always say which attack and eps)::

    sweep = eigenfeatures(k, x, y, x_test, y_test, attack=fgsm(8 / 255))
    sweep.usefulness, sweep.robustness           # [F] each, every index, largest eigenvalue first
    sweep.p_values                               # [F]: could a feature that knows nothing be right as often?
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ntkcore import checks
from ntkcore.analysis.attacks.attack import Attack, fgsm
from ntkcore.analysis.features.bank_attacks import Bank, attack_bank, checked_arguments
from ntkcore.analysis.features.label_test import PERMUTATIONS, Null, null_of, p_values
from ntkcore.analysis.predict import KernelPredictor, class_numbers
from ntkcore.analysis.spectrum import Spectrum, projections, train_spectrum
from ntkcore.kernels.blocks import CONVERTED, KernelFunction, Progress, frozen, in_double
from ntkcore.kernels.executors import Executor
from ntkcore.modes import plain
from ntkcore.writing import path_of

Selection = Sequence[int] | Sequence[bool] | np.ndarray | Tensor  # indices, or a mask


@dataclass(frozen=True, eq=False)
class Sweep:
    """Every eigenfeature's verdicts on m test images under one attack.

    spectrum: of the training kernel; where that is the k leading eigenpairs, so are the features, and what it has left
    out stands there. answers [m, F]: the class that a feature gives an image, labels [m]: its own, both numbered from
    0. right_before, right_after, zero_gradient: [m, F] bool, F = numerical rank (features of numerically zero
    eigenvalues have no value). right_after: right before and after the attack; an image that a feature gets wrong is
    not attacked.
    """

    spectrum: Spectrum
    attack: Attack
    answers: Tensor
    labels: Tensor
    right_before: Tensor
    right_after: Tensor
    zero_gradient: Tensor

    @property
    def m(self) -> int:
        return len(self.right_before)

    @property
    def majority(self) -> float:
        """Share of the most frequent test label: 1/c on balanced images."""
        return float(self.labels.bincount().max()) / self.m

    def part(self, rows: np.ndarray | Tensor) -> "Sweep":
        """The same features on some of the test images: rows [m] bool or indices."""
        rows = torch.as_tensor(rows, device=self.right_before.device)
        names = ("answers", "labels", "right_before", "right_after", "zero_gradient")
        return replace(self, **{name: getattr(self, name)[rows] for name in names})

    @cached_property
    def p_values(self) -> np.ndarray:
        """[F]: the chance to be right as often if the labels were permuted, exact (``label_test``)."""
        return p_values(self.answers.cpu().numpy(), self.labels.cpu().numpy(), self.right_before.sum(0).cpu().numpy())

    def permuted(self, permutations: int = PERMUTATIONS, seed: int = 0) -> Null:
        """The same features under permuted test labels: what chance alone would give."""
        return null_of(self.answers.cpu().numpy(), self.labels.cpu().numpy(), permutations, seed)

    @cached_property
    def usefulness(self) -> Tensor:
        """rho [F]: share of test points with the right sign (or argmax)."""
        return self.right_before.double().mean(0)

    @cached_property
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
    k: int | None = None,
    executor: Executor | None = None,
    folder: str | Path | None = None,
) -> Sweep:
    """Usefulness and robustness of every eigenfeature of ``kernel`` on the training set x [n, C, H, W], y [n, c].

    k: only those of the k largest eigenvalues, for which the kernel needs not be in memory.

    attack: on each feature separately, true labels (default FGSM, eps 8/255). spectrum_of_train and K_test (the
    kernel between test and training images, [m, n]) are computed unless handed in. progress counts pairs of a feature
    and an image that it gets right. Images in [0, 1]; labels [n, 1] of -1 and +1, or one-hot. Raises SpecError for
    others.

    executor: who computes the attacks, as in ``kernel_to_file``; by default this process. Its workers find the arrays
    in ``folder``, which all of them see; by default that of this machine's temporary files. The result is the same.
    """
    attack = fgsm() if attack is None else attack
    x, y, x_test, y_test = checked_arguments(kernel, x, y, x_test, y_test, attack, None, K_test, progress)
    place = None if folder is None else path_of(folder, "folder")
    kernel = frozen(kernel)
    as_given = spectrum_of_train is not None and len(x) > CONVERTED  # one at hand is compared in any precision
    s = train_spectrum(kernel, x if as_given else x.double(), spectrum_of_train, k)
    K_test = in_double(kernel, x_test, x) if K_test is None else K_test
    result = attack_bank(kernel, x, feature_bank(s, y), x_test, y_test, attack, progress, K_test, executor, place)
    labels = class_numbers(y_test)
    answers = feature_answers(s, y, K_test)
    return Sweep(s, attack, answers, labels, result.right_before, result.right_after, result.zero_gradient)


def feature_answers(s: Spectrum, y: Tensor, K_test: Tensor) -> Tensor:
    """The class that each feature gives each image, [m, F]: y [n, c], K_test [m, n]. The sign of K(x, X) v_i tells."""
    bank = feature_bank(s, y)
    positive = bank.inner(K_test)[:, :, 0] > 0  # [m, F]
    readout = bank.single_readout()  # [F, c]
    readout = torch.cat([-readout, readout], 1) if readout.shape[1] == 1 else readout
    kind = torch.uint8 if readout.shape[1] <= 256 else torch.int16
    return torch.where(positive, readout.argmax(1), readout.argmin(1)).to(kind)


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
    (weights,) = subset_weights(s, checks.targets(y, len(x)).to(x.device), [chosen_features(s, features)])
    return KernelPredictor(kernel, x.double(), weights)


def subset_weights(s: Spectrum, y: Tensor, subsets: Sequence[Tensor]) -> list[Tensor]:
    """Dual weights [n, c] of the sum of the features of each subset: indices [k] as ``chosen_features`` gives them."""
    each = projections(s, y) / s.values[:, None]  # any number where an eigenvalue is zero up to rounding: never chosen
    chosen = each.new_zeros(len(subsets), *each.shape)
    for one, index in zip(chosen, subsets, strict=True):
        one[index] = each[index]
    return list(torch.einsum("ni,sic->snc", s.vectors, chosen))  # sum over features
