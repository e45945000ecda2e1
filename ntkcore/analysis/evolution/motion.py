"""How an empirical kernel moves during training: distances, velocity, polar coordinates, concentration, alignment.

Kernels ``K_0 ... K_T`` of one fixed probe set, one an epoch, uncentred, with the Frobenius product (Tsilivis & Kempe
2022, section 5; Fort et al. 2020). All motion follows from the Gram matrix ``G_st = <K_s, K_t>``: similarity
``s = G_st / sqrt(G_ss G_tt)``, distance ``1 - s``, velocity ``1 - s(K_t, K_t+1)``, angle ``arccos s(K_t, K_0)``, radius
``|K_t - K_0| / |K_T - K_0|``. The same for the part of each kernel in its own k leading eigenvectors, and for the rest.
K is [N, N]: [n, n], or the full kernel flattened from [n, c] in row-major order, N = n c::

    spectra = [decomposed(K) for K in kernels]
    rows = [torch.stack([inner_products(a, b) for b in spectra[: t + 1]]) for t, a in enumerate(spectra)]  # [t + 1, 3]
    whole, top, bottom = (Motion(gram_of([row[:, part] for row in rows])) for part in range(3))

Accuracy: kernels may be stored in float32, products and sums are float64. A whole-kernel similarity is then exact to
about 1e-15 and a distance is good to that absolutely, 1e-12 with a wide margin; hence an angle to 1e-7 and a radius to
1e-7 of ``|K| / |K_T - K_0|``. For the bottom part the error grows by ``|K| / |K_bottom|``.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ntkcore import checks
from ntkcore.analysis.spectrum import CONSTANT, centred_kernel, effective_rank, spectrum, top_mass
from ntkcore.errors import DataError

TOP = 20
THRESHOLDS = tuple(k / 100 for k in range(1, 51))  # shares of the first velocity that may be called lazy
ROWS = 256  # rows of a kernel that are worked on at once: 5 MB in float64 at N = 2500
STILL = 1e-13  # |K_T - K_0|^2 up to this share of |K_T|^2 + |K_0|^2 is rounding: the kernel did not move


# -- one kernel --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class DecomposedKernel:
    """One kernel with its spectrum.

    kernel [N, N] as stored; values [N] all eigenvalues, descending; vectors [N, k] leading eigenvectors, columns.
    """

    kernel: Tensor
    values: Tensor
    vectors: Tensor

    @property
    def floor(self) -> float:
        """A bottom part of at most this norm is rounding, of the stored kernel or of its eigenvectors."""
        stored = self.kernel.dtype if self.kernel.is_floating_point() else torch.float64
        eps = max(torch.finfo(stored).eps, len(self.values) * torch.finfo(torch.float64).eps)
        return eps * float(self.values.norm())

    @property
    def has_bottom(self) -> bool:
        """Whether anything is left outside the leading eigenvectors."""
        return float(self.values[self.vectors.shape[1] :].norm()) > self.floor


def decomposed(kernel: Tensor, k: int = TOP) -> DecomposedKernel:
    """All eigenvalues and the k leading eigenvectors (all, when there are fewer) of a symmetric kernel [N, N].

    float64; eigenvalues that rounding made negative stay as they are. Raises DataError for a kernel that is not square
    or not finite, SpecError for one that is not symmetric beyond rounding.
    """
    if checks.tensor(kernel, "kernel").ndim != 2 or kernel.shape[0] != kernel.shape[1] or len(kernel) == 0:
        raise DataError(f"A kernel must be a square matrix [N, N] to be decomposed; got shape {tuple(kernel.shape)}.")
    k = checks.whole(k, "k", 1, 2**31 - 1)
    if not torch.isfinite(kernel).all():
        raise DataError(
            "The kernel has entries that are not finite: the training has most likely diverged. "
            "Choose a smaller learning rate."
        )
    s = spectrum(kernel)
    return DecomposedKernel(kernel.detach(), s.values, s.vectors[:, :k].contiguous())


@dataclass(frozen=True)
class Concentration:
    """How much of a kernel is in its k leading eigenvectors: mass of squares, linear share; and the effective rank.

    The mass (the paper's) saturates, 0.99 and above on small probes: draw ``1 - mass``, with the share beside it.
    """

    mass: float
    share: float
    rank: float


def concentration(values: Tensor, k: int = TOP) -> Concentration:
    """All three measures of eigenvalues [N] in descending order; nan for a zero kernel."""
    return Concentration(top_mass(values, k), top_share(values, k), effective_rank(values))


def top_share(values: Tensor, k: int) -> float:
    """Linear share of the trace, ``sum_{i<=k} lam_i / sum lam_i``; negative eigenvalues count as 0."""
    return top_mass(values, k, power=1)


# -- two kernels -------------------------------------------------------------------------------------------------


def inner_products(a: DecomposedKernel, b: DecomposedKernel) -> Tensor:
    """``<A, B>``, ``<A_top, B_top>``, ``<A_bottom, B_bottom>``: [3], float64.

    Each kernel is truncated to its own k leading eigenpairs, ``A_top = U L U^T``, ``A_bottom = A - A_top``. The bottom
    parts are formed ROWS rows at a time and multiplied as such: to subtract large products from each other instead
    costs as much and loses twice the digits. A bottom part that is only rounding counts as exactly zero.
    """
    n = len(a.kernel)
    if len(b.kernel) != n:
        raise DataError(f"Kernels of one probe set are needed; these have {n} and {len(b.kernel)} rows.")
    lam, mu = a.values[: a.vectors.shape[1]], b.values[: b.vectors.shape[1]]
    squares = (a.vectors.T @ b.vectors).square()  # [k, k]: sum over rows of the kernels
    top = lam @ squares @ mu  # sum over eigenpairs
    whole, bottom = torch.zeros_like(top), torch.zeros_like(top)
    both = a.has_bottom and b.has_bottom
    for start in range(0, n, ROWS):
        rows = slice(start, start + ROWS)
        A, B = a.kernel[rows].double(), b.kernel[rows].double()  # [r, N]
        whole += (A * B).sum()
        if both:
            A = A - (a.vectors[rows] * lam) @ a.vectors.T  # sum over eigenpairs
            B = B - (b.vectors[rows] * mu) @ b.vectors.T
            bottom += (A * B).sum()
    return torch.stack([whole, top, bottom])


# -- all epochs --------------------------------------------------------------------------------------------------


def gram_of(rows: Sequence[Tensor | None]) -> Tensor:
    """Symmetric Gram matrix [T + 1, T + 1] from rows: row t [t + 1] holds the inner products with epochs 0 ... t.

    None stands for a row not computed yet and becomes NaN.
    """
    gram = torch.full((len(rows), len(rows)), torch.nan, dtype=torch.float64, device="cpu")
    for t, row in enumerate(rows):
        if row is None:
            continue
        row = torch.as_tensor(row, dtype=torch.float64, device="cpu")
        if row.shape != (t + 1,):
            raise DataError(f"Row {t} of a Gram matrix must have {t + 1} numbers; got shape {tuple(row.shape)}.")
        gram[t, : t + 1] = gram[: t + 1, t] = row
    return gram


@dataclass(frozen=True, eq=False)
class Motion:
    """How a kernel (or its top or bottom part) moves over epochs 0 ... T, from gram [T + 1, T + 1] of inner products.

    Where the Gram matrix is NaN, so is what hangs on it; a zero kernel is similar to nothing (NaN). Radii need the last
    kernel: for a run under way give ``gram[:t, :t]`` of the epochs that are there.
    """

    gram: Tensor

    def __post_init__(self) -> None:
        shape = tuple(self.gram.shape)
        if len(shape) != 2 or shape[0] != shape[1] or shape[0] == 0:
            raise DataError(f"A Gram matrix must be square, one row an epoch; got shape {shape}.")
        object.__setattr__(self, "gram", self.gram.detach().double())

    @property
    def similarity(self) -> Tensor:
        """``s(K_s, K_t)``: [T + 1, T + 1] in [-1, 1], exactly 1 on the diagonal."""
        size = self.gram.diagonal().sqrt()  # |K_t|; 0/0 of a zero kernel is NaN
        s = (self.gram / (size[:, None] * size)).clamp(-1, 1)
        return s.diagonal_scatter(torch.where(size > 0, torch.ones_like(size), torch.nan))

    @property
    def distance(self) -> Tensor:
        """``1 - s(K_s, K_t)``: [T + 1, T + 1], never negative, exactly 0 on the diagonal."""
        return 1 - self.similarity

    @property
    def velocity(self) -> Tensor:
        """``1 - s(K_t, K_t+1)``: [T]; index t is the step from epoch t to t + 1."""
        return self.distance.diagonal(1)

    @property
    def radius(self) -> Tensor:
        """``|K_t - K_0| / |K_T - K_0|``: [T + 1], from 0 to 1 at the end; NaN when the kernel did not move."""
        g = self.gram.diagonal()
        squares = (g + g[0] - 2 * self.gram[0]).clamp(min=0)
        moved = squares[-1] > STILL * (g[0] + g[-1])
        return torch.where(moved, (squares / squares[-1]).sqrt(), torch.nan)

    @property
    def angle(self) -> Tensor:
        """``arccos s(K_t, K_0)`` in radians: [T + 1], 0 first."""
        return self.similarity[0].arccos()


def lazy_epoch(velocity: Tensor | Sequence[float], share: float) -> int | None:
    """First t from which on every velocity (index >= t, the step t -> t + 1) is below ``share`` of the first one.

    None when there is none; so too when the first velocity is zero or not known. A velocity that is not known (NaN)
    counts as not below.
    """
    v = torch.as_tensor(velocity, dtype=torch.float64)
    below = (v < share * v[:1]).tolist()
    t = len(below)
    while t > 0 and below[t - 1]:
        t -= 1
    return t if t < len(below) else None


def late_velocity(velocity: Tensor | Sequence[float]) -> float:
    """Mean velocity over the second half of training, from index T // 2 on; nan when one of those is not known."""
    v = torch.as_tensor(velocity, dtype=torch.float64)
    return float(v[len(v) // 2 :].mean())


# -- labels ------------------------------------------------------------------------------------------------------


def centred_alignment(K: Tensor, y: Tensor) -> float:
    """``<HKH, YY^T> / (|HKH| |YY^T|)``, ``H = I - 11^T/n``: kernel K [n, n] with labels y [n, c].

    nan when K is the same for all pairs of images, when y is zero, and where entries are not finite.
    """
    checks.tensor(K, "K"), checks.tensor(y, "y")
    if K.ndim != 2 or K.shape[0] != K.shape[1] or y.ndim != 2 or len(y) != len(K):
        raise DataError(f"A kernel [n, n] and labels [n, c] are needed; got {tuple(K.shape)} and {tuple(y.shape)}.")
    y = y.double()
    centred, size = _centred(K)
    product = ((centred @ y) * y).sum()  # sum over image pairs and classes
    return float(product / (size * (y.T @ y).norm()))  # |YY^T| = |Y^T Y|


def class_specialisation(theta: Tensor, y: Tensor) -> Tensor:
    """How much more class a's own kernel sees class a than classes in general: [c], 1 where it does not specialise.

    theta [n, n, c, c] full kernel, y [n, c] one-hot: centred alignment of ``theta[:, :, a, a]`` with ``y_a y_a^T`` over
    the mean of its alignments with all ``y_b y_b^T``, at most c. NaN for one output (c = 1), which has no other class
    to compare with, and for a class without images in the probe, which the others' means leave out.
    """
    checks.tensor(theta, "theta")
    n, c = y.shape if checks.tensor(y, "y").ndim == 2 else (0, 0)
    if theta.shape != (n, n, c, c):
        raise DataError(
            f"A full kernel [n, n, c, c] and labels [n, c] are needed; got {tuple(theta.shape)} and {tuple(y.shape)}."
        )
    if c == 1:
        return torch.full((1,), torch.nan, dtype=torch.float64, device=theta.device)
    y, out = y.double(), []
    weight = y.square().sum(0)  # [c] = |y_b y_b^T|
    for a in range(c):
        centred, size = _centred(theta[:, :, a, a])
        alignments = ((centred @ y) * y).sum(0) / (size * weight)  # [c]: sum over image pairs
        out.append(alignments[a] / alignments.nanmean())
    return torch.stack(out)


def _centred(K: Tensor) -> tuple[Tensor, Tensor]:
    """``HKH`` and its norm, NaN when that is rounding."""
    K = K.detach().double()
    centred = centred_kernel(K)
    size = centred.norm()
    return centred, torch.where(size > CONSTANT * K.norm(), size, torch.nan)
