"""The spectrum of a kernel matrix: eigenpairs, label energy, effective rank, learning times.

``K = sum_i lam_i v_i v_i^T`` with ``lam`` descending. Under gradient flow mode i is learned as
``1 - exp(-t lam_i)`` (Tsilivis & Kempe 2022, section 2; Jacot et al. 2018), so its learning time is ``1/lam_i``.
Everything spectral is float64::

    s = spectrum(K)                         # K [n, n]
    s.values, s.vectors                     # [r] descending, [n, r] columns
    label_energy(s, y)                      # [r], sums to 1 when r = n
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from ntkcore import checks
from ntkcore.errors import SpecError
from ntkcore.kernels.blocks import KernelFunction, TiledKernel
from ntkcore.modes import plain

MIN_RELATIVE = 1e-12
CONSTANT = 1e-12  # a centred kernel this much smaller than the kernel itself is rounding noise
SAME = 2e-3  # relative difference of kernels that may still be the same one, in another precision


@dataclass(frozen=True, eq=False)
class Spectrum:
    """values [r] descending and vectors [n, r] columns, float64, each vector's largest entry positive.

    ``rank`` is the number of eigenvalues above ``n * eps * values[0]`` (at least MIN_RELATIVE of the largest):
    those below are rounding noise of a singular kernel, and nothing is divided by them.
    """

    values: Tensor
    vectors: Tensor

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
        return int((self.values > self.floor).sum())


@plain
def spectrum(K: Tensor, k: int | None = None) -> Spectrum:
    """Eigenpairs of a symmetric kernel matrix K [n, n], largest first; the k leading ones when k is given.

    Raises SpecError when K is not square, not symmetric (beyond 1e-5 of its largest entry) or not finite.
    """
    if checks.tensor(K, "K").ndim != 2 or K.shape[0] != K.shape[1] or len(K) == 0:
        raise SpecError(f"A spectrum needs a square kernel matrix [n, n]; got shape {tuple(K.shape)}.")
    k = None if k is None else checks.whole(k, "k", 1, len(K))
    K = K.detach().double()
    if not torch.isfinite(K).all():
        raise SpecError("The kernel matrix has entries that are not finite. Check W_std, b_std and the images' range.")
    largest = K.abs().max()
    if (K - K.T).abs().max() > 1e-5 * largest:
        raise SpecError("The kernel matrix is not symmetric; compute it with k(x), not with k(x1, x2).")
    values, vectors = torch.linalg.eigh((K + K.T) / 2)
    values, vectors = values.flip(0), vectors.flip(1)
    pivot = vectors.gather(0, vectors.abs().argmax(0, keepdim=True))
    vectors = vectors * torch.where(pivot < 0, -1.0, 1.0)
    return Spectrum(values[:k].clone(), vectors[:, :k].contiguous())


def train_spectrum(kernel: KernelFunction, x: Tensor, at_hand: Spectrum | None = None) -> Spectrum:
    """The spectrum of ``kernel(x)``, x [n, C, H, W] float64; ``at_hand`` where it is that.

    Raises SpecError for one at hand that is of other images or of another kernel, such as a net's before training: what
    it says of the first two images is compared with the kernel.
    """
    if at_hand is None:
        return spectrum(kernel(x))
    if checks.instance(at_hand, Spectrum, "The spectrum at hand", "spectrum(kernel(x)) makes one.").n != len(x):
        raise SpecError(f"The spectrum at hand is of {at_hand.n} training images; there are {len(x)}.")
    if len(at_hand.values) == len(x):
        few = at_hand.vectors[:2]
        claimed = ((few * at_hand.values) @ few.T).cpu()
        true = (kernel.with_progress(None) if isinstance(kernel, TiledKernel) else kernel)(x[:2]).double().cpu()
        if not (claimed - true).abs().max() <= SAME * true.abs().max():
            raise SpecError(
                f"The spectrum at hand is not that of this kernel on these images: of the first image with itself it "
                f"says {float(claimed[0, 0]):.4g}, the kernel {float(true[0, 0]):.4g}. Compute it anew, "
                "spectrum(kernel(x.double())); the tangent kernel of a net is another one after training."
            )
    return at_hand


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
