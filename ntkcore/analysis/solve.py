"""Dual weights by conjugate gradients: ``(K + ridge I) alpha = Y`` from products with K alone, to a stated residual.

All columns of Y share each product. Where products in single precision cost less, the recursion takes those, and the
residual is computed anew in double precision each time that it has fallen to REFINED of what it was. Leading eigenpairs
take out the large eigenvalues, which are what makes kernels slow to solve (EigenPro's idea: Ma & Belkin 2017, arXiv
1703.10622; as a preconditioner: Avron et al. 2017)::

    P^-1 = V (1 / (lam + ridge)) V^T + (I - V V^T) / (lam_k + ridge)

    solve(square(K), y, ridge=0.0, residual=1e-3, s=spectrum(K, 200))      # alpha [n, c], the residual that it has
"""

from dataclasses import dataclass
from math import log
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ntkcore.errors import NTKError
from ntkcore.kernels.products import SquareKernel
from ntkcore.kernels.protocols import Progress

if TYPE_CHECKING:
    from ntkcore.analysis.spectrum import Spectrum

STEPS = 2000  # at most
REFINED = 0.1
NOTE = "conjugate gradients"


@dataclass(frozen=True, eq=False)
class Solution:
    """alpha [n, c] float64; residual: largest over the columns of ``|Y - (K + ridge I) alpha| / |Y|``, as it is, not as
    the recursion has it; products: with K that were taken."""

    alpha: Tensor
    residual: float
    products: int


def solve(
    K: SquareKernel, y: Tensor, ridge: float, residual: float, s: "Spectrum | None", progress: Progress | None = None
) -> Solution:
    """y [n, c] float64; s: leading eigenpairs of K. Raises NTKError where STEPS do not lead to the residual."""
    precision = torch.float32 if K.single else torch.float64
    largest = y.abs().amax(0)
    scale = torch.where(largest > 0, largest, 1.0)  # squares of large and of small numbers are no numbers
    y = y / scale
    sizes = y.norm(dim=0).clamp(min=1e-300)
    alpha, rest, products = torch.zeros_like(y), y, 0
    while True:
        begun, before_these = _worst(rest, sizes), products
        z = _preconditioned(rest, ridge, s)
        direction, along = z, (rest * z).sum(0)
        enough = max(0.9 * residual, REFINED * begun if K.single else 0.0)
        while products < STEPS and _worst(rest, sizes) > enough:
            if progress is not None:
                progress(min(1.0, max(0.0, log(_worst(rest, sizes)) / log(residual))), 1.0, NOTE)
            product = K.times(direction.to(precision)).double() + ridge * direction
            curvature = (direction * product).sum(0)
            if not (curvature > 0)[along > 0].all():
                break  # not a positive definite kernel, at least to rounding
            step = along / curvature.clamp(min=1e-300)
            alpha, rest = alpha + step * direction, rest - step * product
            z = _preconditioned(rest, ridge, s)
            before, along = along, (rest * z).sum(0)
            direction = z + along / before.clamp(min=1e-300) * direction
            products += 1
        reached = _worst(rest, sizes)
        rest = y - K.times(alpha) - ridge * alpha
        products += 1
        true = _worst(rest, sizes)
        if true <= residual:
            return Solution(alpha * scale, true, products)
        stuck = products == before_these + 1
        if products >= STEPS or stuck or not true <= max(10 * reached, begun):
            raise NTKError(
                f"Conjugate gradients came to a residual of {true:.1g} in {products} products with the kernel; "
                f"{residual:.1g} was asked for. Give more leading eigenpairs, a ridge, or a larger residual."
            )


def _preconditioned(rest: Tensor, ridge: float, s: "Spectrum | None") -> Tensor:
    if s is None or s.rank == 0:
        return rest
    values = s.values[: s.rank] + ridge
    vectors = s.vectors[:, : s.rank]
    return rest / values[-1] + vectors @ ((1 / values - 1 / values[-1])[:, None] * (vectors.T @ rest))


def _worst(rest: Tensor, sizes: Tensor) -> float:
    return float((rest.norm(dim=0) / sizes).max())
