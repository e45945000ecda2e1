"""A network replaced by its first-order expansion around the weights it has: the linear model of its tangent kernel.

``f_lin(x; w) = f(x; w_e) + <grad_w f(x; w_e), w - w_e>``: linear in w, not in x, so it is attacked like any net. The
centred form leaves the first term out (Loo et al. 2022, arXiv 2210.12030, section 3)::

    linear = Linearised(module)          # its parameters are the module's: w, at w_e now
    linear(z)                            # [n, c], differentiable in z and in w; equal to module(z) while w = w_e
"""

import copy
import functools
import warnings

import torch
from torch import Tensor, nn
from torch.func import functional_call, jvp


class Linearised(nn.Module):
    """``f_lin`` of a module around its present weights: x [n, ...] -> [n, c].

    The weights w that training moves are those of ``self.net``, which is the module handed in; w_e is a copy made now.
    BatchNorm and dropout are those of evaluation, with the running statistics of now: a first-order expansion is taken
    of one fixed function. centred: without the term f(x; w_e).
    """

    def __init__(self, module: nn.Module, centred: bool = False):
        super().__init__()
        _forward_rules()
        self.net = module
        self.centred = centred
        fixed = copy.deepcopy(module).eval().requires_grad_(False)
        self._fixed = [fixed]  # in a list, so that it is no part of the parameters
        self._anchor = {name: p.detach().clone() for name, p in module.named_parameters()}

    def forward(self, z: Tensor) -> Tensor:
        fixed = self._fixed[0]
        moved = {name: p - self._anchor[name] for name, p in self.net.named_parameters()}
        buffers = dict(fixed.named_buffers())

        def function(weights: dict[str, Tensor]) -> Tensor:
            return functional_call(fixed, (weights, buffers), (z,))

        value, change = jvp(function, (self._anchor,), (moved,))
        return change if self.centred else value + change

    def move(self, weights: dict[str, Tensor]) -> None:
        """Set w; names as the module's own parameters have them."""
        with torch.no_grad():
            for name, p in self.net.named_parameters():
                p.copy_(weights[name])


@functools.cache
def _forward_rules() -> None:
    """Load torch's rules for ``jvp``, which it does at the first use with a warning about its own future."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        import torch._decomp.decompositions_for_jvp  # noqa: F401
