"""Empirical NTK of any torch module: inner products of parameter gradients.

``Theta[i, a; j, b] = <df_a(x_i)/dw, df_b(x_j)/dw>`` (Jacot et al. 2018). Full form ``[n1, n2, c, c]``, or
class-traced, ``(1/c) sum_a Theta[i, a; j, a]``, ``[n1, n2]``. Computed by per-sample Jacobians (``torch.func``)
in blocks of bounded memory; modules without batch-dependent layers (BatchNorm in eval mode is fine)::

    Theta = empirical_ntk(module, x1, x2)       # [n1, n2, c, c]
    E = empirical_kernel_fn(module)             # a kernel: E(x1, x2) -> [n1, n2]
    s = spectrum(E(x))
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import functional_call, jacrev, vmap

from ntkcore.errors import SpecError
from ntkcore.kernels.blocks import TiledKernel, slices, tiled

_JACOBIAN_BYTES = 256e6


def empirical_ntk(module: nn.Module, x1: Tensor, x2: Tensor | None = None) -> Tensor:
    """Full empirical tangent kernel [n1, n2, c, c] of ``module`` at its present weights.

    x1, x2: [n, C, H, W] in the module's dtype; x2 = None means x1. The module maps a batch to [n, c].
    Raises SpecError for modules whose output for one image depends on the batch.
    """
    _check_module(module)
    rows = _block_rows(module, x1)
    same = x2 is None
    x2 = x1 if x2 is None else x2
    out_rows = []
    for i in slices(len(x1), rows):
        j1 = _jacobian(module, x1[i])
        row = [_contract(j1, j1 if same and i == j else _jacobian(module, x2[j])) for j in slices(len(x2), rows)]
        out_rows.append(torch.cat(row, 1))
    return torch.cat(out_rows)


@dataclass(frozen=True, eq=False)
class EmpiricalKernel:
    """Class-traced empirical NTK as a kernel function, untiled."""

    module: nn.Module

    def __call__(self, x1: Tensor, x2: Tensor | None = None) -> Tensor:
        full = empirical_ntk(self.module, x1, x2)  # [n1, n2, c, c]
        return full.diagonal(dim1=2, dim2=3).mean(-1)

    def bytes_per_pair(self, image_shape: tuple[int, ...], dtype: torch.dtype) -> float:
        return 64.0 * dtype.itemsize


def empirical_kernel_fn(module: nn.Module) -> TiledKernel:
    """The class-traced empirical NTK of ``module``: a kernel ``(x1, x2=None) -> [n1, n2]``."""
    return tiled(EmpiricalKernel(module))


def _jacobian(module: nn.Module, x: Tensor) -> list[Tensor]:
    """Per-sample Jacobians, one [n, c, size] per parameter."""
    parameters = {name: p.detach() for name, p in module.named_parameters()}
    buffers = dict(module.named_buffers())

    def one(weights: dict[str, Tensor], image: Tensor) -> Tensor:
        return functional_call(module, (weights, buffers), (image[None],))[0]

    jacobians = vmap(jacrev(one), (None, 0))(parameters, x.detach())
    return [j.flatten(2) for j in jacobians.values()]


def _contract(j1: list[Tensor], j2: list[Tensor]) -> Tensor:
    return sum(torch.einsum("iap,jbp->ijab", a, b) for a, b in zip(j1, j2, strict=True))  # sum over weights p


def _block_rows(module: nn.Module, x: Tensor) -> int:
    with torch.no_grad():
        outputs = module(x[:1]).shape[-1]
    size = sum(p.numel() * p.element_size() for p in module.parameters())
    return max(1, int(_JACOBIAN_BYTES / max(1, size * outputs)))


def _check_module(module: nn.Module) -> None:
    for name, part in module.named_modules():
        if isinstance(part, nn.modules.batchnorm._BatchNorm) and part.training:
            raise SpecError(
                f"{name or 'The module'} is a BatchNorm layer in training mode, whose output depends on the whole "
                "batch, so there is no kernel of image pairs. Call module.eval() first."
            )
