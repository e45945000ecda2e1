"""The spectrum of a kernel matrix: eigenpairs, label energy, effective rank, learning times.

``K = sum_i lam_i v_i v_i^T`` with ``lam`` descending. Under gradient flow mode i is learned as
``1 - exp(-t lam_i)`` (Tsilivis & Kempe 2022, section 2; Jacot et al. 2018), so its learning time is ``1/lam_i``.
Everything spectral is float64::

    s = spectrum(K)                         # K [n, n]
    s.values, s.vectors                     # [r] descending, [n, r] columns
    label_energy(s, y)                      # [r], sums to 1 when r = n
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from ntkcore import checks
from ntkcore.analysis.eigenpairs import eigenpairs
from ntkcore.analysis.leading import leading, most_leading, worthwhile
from ntkcore.errors import SpecError
from ntkcore.kernels.blocks import KernelFunction, TiledKernel, of_prepared
from ntkcore.kernels.products import KernelMatrix, SquareKernel, square
from ntkcore.kernels.protocols import Progress
from ntkcore.modes import plain

MIN_RELATIVE = 1e-12
CONSTANT = 1e-12  # a centred kernel this much smaller than the kernel itself is rounding noise
HELD = 2e9  # bytes of a kernel in float64 that is taken into memory without being asked: 15,800 images
COLUMNS = 500  # eigenvectors whose signs are set together
SAME = 2e-3  # relative difference of kernels that may still be the same one, in another precision


@dataclass(frozen=True, eq=False)
class Spectrum:
    """values [r] descending and vectors [n, r] columns, float64, each vector's largest entry positive.

    ``rank`` is the number of eigenvalues above ``n * eps * values[0]`` (at least MIN_RELATIVE of the largest):
    those below are rounding noise of a singular kernel, and nothing is divided by them. trace: the sum of all n
    eigenvalues, where only the r leading ones are here.
    """

    values: Tensor
    vectors: Tensor
    trace: float | None = None

    @property
    def n(self) -> int:
        return len(self.vectors)

    @property
    def floor(self) -> float:
        """Eigenvalues at or below this are numerically zero."""
        eps = torch.finfo(torch.float64).eps
        return max(MIN_RELATIVE, self.n * eps) * float(self.values[0].clamp(min=0))

    @property
    def rank(self) -> int:
        """Eigenvalues that are here and not numerically zero."""
        return int((self.values > self.floor).sum())

    @property
    def whole(self) -> bool:
        """Whether all n eigenpairs are here."""
        return len(self.values) == self.n

    @property
    def left_out(self) -> float:
        """Share of the sum of all eigenvalues that those which are not here have, 0 to 1; NaN where it is not known."""
        if self.whole or self.trace == 0:
            return 0.0
        return float("nan") if self.trace is None else max(0.0, 1 - float(self.values.sum()) / self.trace)

    def to(self, device: torch.device) -> "Spectrum":
        return replace(self, values=self.values.to(device), vectors=self.vectors.to(device))


@plain
def spectrum(K: Tensor | np.memmap | KernelMatrix, k: int | None = None, progress: Progress | None = None) -> Spectrum:
    """Eigenpairs of a symmetric kernel matrix K [n, n], largest first; the k leading ones when k is given.

    K: a tensor; a memory map, such as ``kernel_to_file`` gives; or a KernelMatrix, which is computed anew for each of
    some ten products. Of the latter two, k has to be so small that the matrix is not needed as a whole (``leading``).
    Raises SpecError when K is not square, not symmetric (beyond 1e-5 of its largest entry) or not finite.
    """
    found, held = square(K), isinstance(K, Tensor)
    k = len(found) if k is None else checks.whole(k, "k", 1, len(found))
    trace = float(found.diagonal().sum())
    pairs = leading(found, k, checks.progress(progress)) if worthwhile(len(found), k) else None
    if pairs is None:
        if not held and 8.0 * len(found) ** 2 > HELD:
            raise SpecError(
                f"The {k} leading of {len(found)} eigenpairs would take the whole kernel in memory, "
                f"{8e-9 * len(found) ** 2:.0f} GB. Ask for fewer, k = {most_leading(len(found))} or less."
            )
        values, vectors = eigenpairs(_symmetric(found))
        pairs = values.flip(0)[:k].clone(), vectors.flip(1)[:, :k].contiguous()
    values, vectors = pairs
    for columns in vectors.split(COLUMNS, 1):
        pivot = columns.gather(0, columns.abs().argmax(0, keepdim=True))
        columns *= torch.where(pivot < 0, -1.0, 1.0)
    return Spectrum(values, vectors, None if k == len(found) else trace)


def _symmetric(K: SquareKernel) -> Tensor:
    """As a whole: the mean of K and its transpose."""
    whole = K.whole()
    return (whole + whole.T).div_(2)


def train_spectrum(
    kernel: KernelFunction, x: Tensor, at_hand: Spectrum | None = None, k: int | None = None
) -> Spectrum:
    """The spectrum of ``kernel(x)``, x [n, C, H, W] float64, or its k leading pairs; of ``at_hand`` where it is that.

    A kernel of more than HELD bytes is not held for it, but computed anew for each product. Raises SpecError for one at
    hand that is of other images or of another kernel, such as a net's before training: what it says of the first two
    images is compared with the kernel.
    """
    if at_hand is None:
        return spectrum(
            of_prepared(kernel, x) if k is None or 8.0 * len(x) ** 2 <= HELD else KernelMatrix(kernel, x), k
        )
    if checks.instance(at_hand, Spectrum, "The spectrum at hand", "spectrum(kernel(x)) makes one.").n != len(x):
        raise SpecError(f"The spectrum at hand is of {at_hand.n} training images; there are {len(x)}.")
    inside = kernel.with_progress(None) if isinstance(kernel, TiledKernel) else kernel
    claimed = (at_hand.vectors[:2] * at_hand.values).cpu()
    if at_hand.whole:
        claimed, true = claimed @ at_hand.vectors[:2].T.cpu(), inside(x[:2]).double().cpu()
    else:
        true = (inside(x[:2], x).double() @ at_hand.vectors).cpu()
    if not alike(claimed, true):
        raise SpecError(
            f"The spectrum at hand is not that of this kernel on these images: of the first image it says "
            f"{float(claimed[0, 0]):.4g}, the kernel {float(true[0, 0]):.4g}. Compute it anew, "
            "spectrum(kernel(x.double())); the tangent kernel of a net is another one after training."
        )
    if k is None or checks.whole(k, "k", 1, len(at_hand.values)) == len(at_hand.values):
        return at_hand
    trace = float(at_hand.values.sum()) if at_hand.whole else at_hand.trace
    return Spectrum(at_hand.values[: int(k)], at_hand.vectors[:, : int(k)], trace)


def alike(claimed: Tensor, true: Tensor) -> bool:
    """Whether some entries may be of the same kernel, in another precision."""
    return bool((claimed - true).abs().max() <= SAME * true.abs().max())


def projections(s: Spectrum, y: Tensor) -> Tensor:
    """``v_i^T Y``: [r, c] for labels y [n, c]."""
    return s.vectors.T @ y.to(s.vectors)


def label_energy(s: Spectrum, y: Tensor) -> Tensor:
    """Share of the labels' squared norm on each eigenvector, ``|v_i^T Y|^2 / |Y|^2``: [r]."""
    y = checks.targets(y, s.n).double()
    return projections(s, y).square().sum(1) / y.square().sum()


def effective_rank(values: Tensor) -> float:
    """``exp(-sum p ln p)`` with ``p = lam / sum lam`` (Roy & Vetterli 2007): between 1 and n."""
    p = values.double().clamp(min=0)
    p = p / p.sum()
    return float(torch.exp(-torch.special.xlogy(p, p).sum()))


def effective_rank_within(values: Tensor, trace: float, n: int) -> tuple[float, float]:
    """What ``effective_rank`` of n eigenvalues lies between when only the leading ones, [k], and the sum of all are
    known.

    The rest adds least to the entropy where as many as can be are as large as the smallest that is known, and most
    where all are equal.
    """
    p = values.double().clamp(min=0) / trace
    rest, known = max(0.0, 1 - float(p.sum())), -torch.special.xlogy(p, p).sum()
    whole = int(rest / float(p[-1])) if p[-1] > 0 else 0
    parts = torch.tensor([rest - whole * float(p[-1])], dtype=torch.float64).clamp(min=0)
    least = known - whole * torch.special.xlogy(p[-1], p[-1]) - torch.special.xlogy(parts, parts).sum()
    most = known - (rest * np.log(rest / (n - len(p))) if rest > 0 and n > len(p) else 0.0)
    return float(torch.exp(least)), float(torch.exp(most))


def top_mass(values: Tensor, k: int, power: int = 2) -> float:
    """Share of the k largest eigenvalues in ``sum lam^power``: power 2 as in the paper, 1 for the linear share."""
    weight = values.double().clamp(min=0) ** power
    return float(weight[:k].sum() / weight.sum())


def learned_fraction(values: Tensor, time: float) -> Tensor:
    """``1 - exp(-t lam_i)`` for every mode: [r], 0 at t = 0 and 1 at t = inf (where lam_i > 0)."""
    values = values.double().clamp(min=0)
    if time == float("inf"):
        return (values > 0).double()
    return -torch.expm1(-time * values)


def centred_kernel(K: Tensor) -> Tensor:
    """``H K H`` with ``H = I - 11^T/n``: a kernel [n, n] without what all pairs of images have in common."""
    return K - K.mean(0) - K.mean(1, keepdim=True) + K.mean()
