"""Kernel prediction: gradient flow on squared loss from zero output, at any time, with or without a ridge.

``f_t(x) = K(x, X) K^-1 (I - exp(-t K)) Y`` (Tsilivis & Kempe 2022, eq. 3; Jacot et al. 2018), evaluated in the
eigenbasis: ``alpha = sum_i g_i v_i (v_i^T Y)``, ``g_i = (1 - exp(-t lam_i)) / (lam_i + ridge)``::

    f = fit(k, x, y, time=float("inf"), ridge=0.0)     # x [n, C, H, W], y [n, c]
    f(x_test)                                          # [m, c], differentiable in x_test
    f.left_out                                         # numerically zero eigenvalues that were not inverted
    fit(k, x, y, residual=1e-3)                        # by conjugate gradients, for kernels larger than memory
    fit_steps(k, x, y, lr=1.0, momentum=0.9, steps=100)  # the same after so many steps of gradient descent
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from ntkcore import checks
from ntkcore.analysis.solve import solve
from ntkcore.analysis.spectrum import Spectrum, alike, learned_fraction, projections, spectrum, train_spectrum
from ntkcore.errors import SpecError
from ntkcore.kernels.blocks import frozen, of_prepared, prepared, untiled
from ntkcore.kernels.products import KernelMatrix, SquareKernel, square
from ntkcore.kernels.protocols import CombiningKernel, Images, KernelFunction, Progress
from ntkcore.modes import plain
from ntkcore.training import Descent

EARLY = 0.05  # of the largest mode that was left out, is learned by then; that share is known to a fortieth of itself


@dataclass(frozen=True, eq=False)
class KernelPredictor:
    """``f(x) = K(x, X) alpha``: x [m, C, H, W] -> [m, c]. Computes in alpha's dtype, float64 from ``fit``.

    x_train [n, C, H, W], alpha [n, c]. left_out counts eigenvalues that are numerically zero and were left out;
    residual is what conjugate gradients have left of the labels, ``|Y - K alpha| / |Y|`` of the worst column. The
    kernel of a net is kept as it is now (``kernels.blocks.frozen``): training the net does not change the predictor.
    """

    kernel: KernelFunction
    x_train: Tensor
    alpha: Tensor
    left_out: int = 0
    residual: float = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "kernel", frozen(self.kernel))

    @plain
    def __call__(self, x: Tensor) -> Tensor:
        x = checks.image_form(x, shape=self.x_train.shape[1:]).to(self.alpha)
        combined = self._combined
        return of_prepared(self.kernel, x, self._train) @ self.alpha if combined is None else combined(x)

    @cached_property
    def _train(self) -> Images:
        """The training images, with what the kernel computes of each one alone: at each step of an attack on one image
        that would be most of the work."""
        return self.x_train if self.x_train.requires_grad else prepared(self.kernel, self.x_train)

    @cached_property
    def _combined(self) -> Callable[[Tensor], Tensor] | None:
        """Kernels of finite nets know how to sum over the training images without the kernel itself."""
        inside = untiled(self.kernel)
        return inside.combine(self.x_train, self.alpha) if isinstance(inside, CombiningKernel) else None


def inverse_weights(s: Spectrum, time: float = float("inf"), ridge: float = 0.0) -> Tensor:
    """``g_i = (1 - exp(-t lam_i)) / (lam_i + ridge)`` for every mode, [r].

    Where lam_i is numerically zero: its limit t for finite t without ridge, else 0 (minimum-norm solution).
    """
    values = s.values.clamp(min=0)
    null = s.values <= s.floor
    g = learned_fraction(values, time) / torch.where(null, 1.0, values + ridge)
    limit = time if ridge == 0 and time < float("inf") else 0.0
    return torch.where(null, limit, g)


@plain
def fit(
    kernel: KernelFunction,
    x: Tensor,
    y: Tensor,
    time: float = float("inf"),
    ridge: float = 0.0,
    spectrum_of_train: Spectrum | None = None,
    residual: float | None = None,
    K: Tensor | np.memmap | None = None,
    progress: Progress | None = None,
) -> KernelPredictor:
    """The kernel predictor after training time ``time`` (in units of 1/eigenvalue), exact.

    x [n, C, H, W]; y [n, c], labels (binary -1/+1 or one-hot) or any other finite numbers to be fitted. time = inf is
    the ridgeless interpolant, ridge rho replaces K by K + rho I in the inverse. spectrum_of_train: the spectrum of
    ``kernel(x)``, if at hand. The predictor keeps the images and, of a net's tangent kernel, the weights of now.

    residual: instead by conjugate gradients (``solve``), at time = inf, until ``|Y - (K + ridge I) alpha|`` is at most
    this share of |Y|: for kernels larger than memory. K: ``kernel(x)`` if at hand, also in a file (``kernel_to_file``);
    without it the kernel is computed anew for each of tens or hundreds of products. A spectrum, or its leading part,
    makes them fewer. Of the leading part alone, only early times are known.
    Raises SpecError for images, targets or numbers that are not such, NTKError where the residual is not reached.
    """
    time, ridge = checks.number(time, "time", 0, inf=True), checks.number(ridge, "ridge", 0)
    kernel, x, y = _fitted(kernel, x, y)
    if residual is not None:
        residual = checks.number(residual, "residual", above=0, below=1)
        if time < float("inf"):
            raise SpecError("Conjugate gradients solve for time = inf alone; leave out time or residual.")
        of = square(KernelMatrix(kernel, x)) if K is None else _at_hand(K, kernel, x)
        s = None if spectrum_of_train is None else train_spectrum(kernel, x, spectrum_of_train)
        found = solve(of, y.double(), ridge, residual, s, checks.progress(progress))
        return KernelPredictor(kernel, x, found.alpha, residual=found.residual)
    if spectrum_of_train is None and K is not None:
        spectrum_of_train = spectrum(K, progress=progress)
    s = train_spectrum(kernel, x, spectrum_of_train)
    dropped = 0 if time < float("inf") and ridge == 0 else len(s.values) - s.rank
    return KernelPredictor(kernel, x, dual_weights(s, y, time, ridge), dropped)


def _at_hand(K: Tensor | np.memmap, kernel: KernelFunction, x: Tensor) -> SquareKernel:
    """K, where it is ``kernel(x)`` by the rows of two images."""
    of = square(K)
    if len(of) != len(x):
        raise SpecError(f"K is of {len(of)} images; there are {len(x)} in x.")
    if not alike(of.rows(slice(0, 2)).cpu(), KernelMatrix(kernel, x).rows(slice(0, 2)).cpu()):
        raise SpecError("K is not this kernel on these images. Compute it anew: kernel(x), or kernel_to_file.")
    return of


def dual_weights(s: Spectrum, y: Tensor, time: float, ridge: float = 0.0) -> Tensor:
    """``alpha`` [n, c] at a time: y [n, c]. Of modes that a leading part of a spectrum has left out, g is its limit t
    for small t lam; raises SpecError at times that are too late for that."""
    g, rest = inverse_weights(s, time, ridge), 0.0
    if not s.whole:
        latest = latest_time(s)
        if ridge > 0 or time > latest:
            raise SpecError(
                f"With the {len(s.values)} leading of {s.n} eigenpairs, only times up to {latest:.3g} without a ridge "
                "are known. Choose an earlier time; all eigenpairs; or, for time = inf, residual=1e-3."
            )
        rest = time
    found = s.vectors @ ((g - rest)[:, None] * projections(s, y))
    return found + rest * y.to(found) if rest else found


def latest_time(s: Spectrum) -> float:
    """Up to which a predictor is known from a leading part of a spectrum: what was left out has learned EARLY then."""
    return EARLY / float(s.values[-1].clamp(min=1e-300))


def descent_weights(s: Spectrum, lr: float, momentum: float, steps: int) -> Tensor:
    """``g_i`` after ``steps`` of heavy-ball gradient descent on ``1/(2n) |f - Y|^2`` from zero output, [r].

    In the eigenbasis each direction follows its own recursion, ``v <- mu v + (lam g - 1)``,
    ``g <- g - (lr / n) v``: the one that ``torch.optim.SGD`` performs on the weights of a net whose tangent kernel
    does not move. lr: in units of ``n / lam_max``, so that the first direction moves by ``lr`` of its error. Raises
    SpecError when the recursion diverges (``lr >= 2 (1 + momentum)``) or a number is out of its range.
    """
    lr, momentum, steps = _descent(lr, momentum, steps)
    rate = lr / s.values[0]
    g, velocity = torch.zeros_like(s.values), torch.zeros_like(s.values)
    for _ in range(steps):
        velocity = momentum * velocity + (s.values * g - 1)
        g = g - rate * velocity
    return g


def descended(
    K: SquareKernel, y: Tensor, largest: float, lr: float, momentum: float, steps: Sequence[int]
) -> list[Tensor]:
    """Dual weights [n, c] after each of some numbers of steps, from the smallest on, by products with K: what
    ``descent_weights`` gives from all eigenpairs. largest: the largest eigenvalue; y [n, c] float64."""
    lr, momentum, last = _descent(lr, momentum, max(steps))
    alpha, velocity, found = torch.zeros_like(y), torch.zeros_like(y), []
    for step in range(last + 1):
        if step in steps:
            found.append(alpha)
        if step < last:
            velocity = momentum * velocity + (K.times(alpha) - y)
            alpha = alpha - lr / largest * velocity
    return found


def _descent(lr: float, momentum: float, steps: int) -> tuple[float, float, int]:
    d = Descent(lr=lr, momentum=momentum, steps=steps)
    if d.lr >= 2 * (1 + d.momentum):
        raise SpecError(
            f"With momentum {d.momentum:g} a learning rate of {d.lr:g} n/lam_max diverges; choose one below "
            f"{2 * (1 + d.momentum):g}."
        )
    return d.lr, d.momentum, d.steps


def _fitted(kernel: KernelFunction, x: Tensor, y: Tensor) -> tuple[KernelFunction, Tensor, Tensor]:
    """The kernel of now, a copy of the images in float64, the targets."""
    checks.function(kernel, "kernel", "It maps images to [n1, n2]; kernel_fn makes one.")
    x = checks.images(x)
    y = checks.targets(y, len(x)).to(x.device)
    return frozen(kernel), x.detach().to(torch.float64, copy=True), y


@plain
def fit_steps(
    kernel: KernelFunction,
    x: Tensor,
    y: Tensor,
    lr: float = 1.0,
    momentum: float = 0.9,
    steps: int = 100,
    spectrum_of_train: Spectrum | None = None,
    K: Tensor | np.memmap | None = None,
) -> KernelPredictor:
    """The kernel predictor pushed through ``steps`` of gradient descent with momentum; see ``descent_weights``.

    K: ``kernel(x)`` if at hand, also in a file; with it, of the spectrum the largest eigenvalue is enough.

    This is what a wide net in NTK parameterisation, centred and trained by the same recursion, tends to. Raises
    SpecError when the recursion diverges, and for images, targets or numbers that are not such.
    """
    _descent(lr, momentum, steps)
    kernel, x, y = _fitted(kernel, x, y)
    if spectrum_of_train is None and K is not None:
        spectrum_of_train = spectrum(K, 1)
    s = train_spectrum(kernel, x, spectrum_of_train)
    if not s.whole:
        if K is None:
            raise SpecError(
                f"{len(s.values)} of {s.n} eigenpairs are at hand; steps of gradient descent need all of them, or K."
            )
        (alpha,) = descended(_at_hand(K, kernel, x), y.double(), float(s.values[0]), lr, momentum, [steps])
        return KernelPredictor(kernel, x, alpha)
    g = descent_weights(s, lr, momentum, steps)
    return KernelPredictor(kernel, x, s.vectors @ (g[:, None] * projections(s, y)))


def correct(outputs: Tensor, y: Tensor) -> Tensor:
    """Which predictions are right: [m] bool. Binary: the sign agrees; multi-class: the largest output is the class.

    outputs, y: [m, c], checked before. An output of exactly 0 or a tie for the largest counts as wrong.
    """
    return margins(outputs, y) > 0


def margins(outputs: Tensor, y: Tensor) -> Tensor:
    """``margin`` of what has been checked before."""
    if y.shape[-1] == 1:
        return (outputs * y).squeeze(-1)
    own = (outputs * y).sum(-1)
    other = torch.where(y > 0, -torch.inf, outputs).amax(-1)
    return own - other


def class_numbers(y: Tensor) -> Tensor:
    """The class of each label or prediction, [m] int64 from 0: y [m, 1], by its sign, or [m, c], the largest."""
    return (y[:, 0] > 0).long() if y.shape[1] == 1 else y.argmax(1)


def margin(outputs: Tensor, y: Tensor) -> Tensor:
    """How far a prediction is on the right side: binary ``y f``; multi-class own output minus the best other. [m]

    outputs [m, c]; y [m, 1] of -1 and +1, or one-hot [m, c]. Raises SpecError for other labels, and for outputs that do
    not fit them or are not finite.
    """
    return margins(*checks.judged(outputs, y))


def accuracy(outputs: Tensor, y: Tensor) -> float:
    """Share of right predictions, 0 to 1: the sign agrees, or the largest output is the class.

    outputs [m, c]; y [m, 1] of -1 and +1, or one-hot [m, c]. An output of exactly 0 and a tie for the largest count as
    wrong. Raises SpecError for other labels, and for outputs that do not fit them or are not finite.
    """
    return float(correct(*checks.judged(outputs, y)).double().mean())
