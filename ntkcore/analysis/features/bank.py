"""Many predictors on one kernel, as two tensors.

B predictors ``f_b(x) = (K(x, X) w_b) R_b`` with weights ``w_b [n, r]`` and a readout ``R_b [r, c]`` (r = 1 for
eigenfeatures)::

    bank = Bank(weights, readout)                        # [B, n, r], [B, r, c] or None
    bank.outputs(k)                                      # k [B, n], a row for each predictor -> [B, c]
"""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Bank:
    """B predictors. weights [B, n, r] float64; readout [B, r, c] float64, None for the identity (r = c)."""

    weights: Tensor
    readout: Tensor | None = None

    def __len__(self) -> int:
        return len(self.weights)

    def to(self, dtype: torch.dtype) -> "Bank":
        return Bank(self.weights.to(dtype), None if self.readout is None else self.readout.to(dtype))

    def __getitem__(self, rows: slice | Tensor) -> "Bank":
        return Bank(self.weights[rows], None if self.readout is None else self.readout[rows])

    def outputs(self, k: Tensor) -> Tensor:
        """One kernel row per predictor, k [B, n] -> outputs [B, c]."""
        return self.read(torch.einsum("bn,bnr->br", k, self.weights))  # sum over training images

    def read(self, g: Tensor) -> Tensor:
        """Inner values g [..., B, r] -> outputs [..., B, c]."""
        return g if self.readout is None else (g.unsqueeze(-2) @ self.readout).squeeze(-2)

    def single_readout(self) -> Tensor:
        """The readout [B, c] of predictors with one inner value, such as eigenfeatures."""
        assert self.readout is not None
        return self.readout[:, 0]

    def inner(self, K: Tensor) -> Tensor:
        """Every predictor at every image, before the readout: K [m, n] -> [m, B, r]."""
        return torch.einsum("mn,bnr->mbr", K, self.weights)

    def size(self) -> Tensor:
        """Norm of each predictor's weights as seen by its outputs, [B]."""
        size = self.weights.flatten(1).norm(dim=1)
        return size if self.readout is None else size * self.readout.flatten(1).norm(dim=1)
