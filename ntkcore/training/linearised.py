"""A network replaced by its first-order expansion around the weights it has: the linear model of its tangent kernel.

``f_lin(x; w) = f(x; w_e) + <grad_w f(x; w_e), w - w_e>``: linear in w, not in x, so it is attacked like any net. The
centred form leaves the first term out (Loo et al. 2022, arXiv 2210.12030, section 3)::

    linear = Linearised(module)          # its parameters are the module's: w, at w_e now
    linear(z)                            # [n, c], differentiable in z and in w; equal to module(z) while w = w_e
"""

import functools
import warnings
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.func import functional_call, jvp
from torch.nn.attention import SDPBackend, sdpa_kernel

from ntkcore.errors import NTKError
from ntkcore.looking import copy_of, inner
from ntkcore.modes import plain

Weights = dict[str, Tensor]


class Linearised(nn.Module):
    """``f_lin`` of a module around its present weights: x [n, ...] -> [n, c].

    The weights w that training moves are those of ``self.net``, which is the module handed in; w_e is a copy made now.
    BatchNorm and dropout are those of evaluation, with the running statistics of now: a first-order expansion is taken
    of one fixed function. centred: without the term f(x; w_e).
    """

    @plain
    def __init__(self, module: nn.Module, centred: bool = False):
        super().__init__()
        _forward_rules()
        self.net = module = inner(module)
        self.centred = centred
        fixed = copy_of(module).eval().requires_grad_(False)
        self._fixed = [fixed]  # in a list, so that it is no part of the parameters
        self._anchor = {name: p.detach().clone() for name, p in module.named_parameters()}
        self._forward_mode = True  # until a layer says that it has no such derivative

    @plain
    def forward(self, z: Tensor) -> Tensor:
        fixed = self._fixed[0]
        moved = {name: p - self._anchor[name] for name, p in self.net.named_parameters()}
        buffers = {name: buffer.clone() for name, buffer in fixed.named_buffers()}

        def function(weights: Weights) -> Tensor:
            return functional_call(fixed, (weights, buffers), (z,))

        if self._forward_mode:
            try:
                value, change = jvp(function, (self._anchor,), (moved,))[:2]
            except torch.OutOfMemoryError:
                raise
            except RuntimeError:  # of a layer without a forward-mode derivative, such as attention or weight_norm
                self._forward_mode = False
        if not self._forward_mode:
            value, change = _twice_backward(function, self._anchor, moved)
        return change if self.centred else value + change

    def _apply(self, fn: Callable, recurse: bool = True) -> "Linearised":
        """``to(device)`` and its like: also of what the expansion is taken around."""
        self._fixed[0]._apply(fn, recurse)
        self._anchor = {name: fn(p) for name, p in self._anchor.items()}
        return super()._apply(fn, recurse)

    def move(self, weights: Weights) -> None:
        """Set w; names as the module's own parameters have them."""
        with torch.no_grad():
            for name, p in self.net.named_parameters():
                p.copy_(weights[name])


def _twice_backward(function: Callable[[Weights], Tensor], at: Weights, along: Weights) -> tuple[Tensor, Tensor]:
    """Value and directional derivative by two passes back: ``u -> J^T u`` is linear, and its own pass back is J."""
    wanted = torch.is_grad_enabled()
    with torch.enable_grad(), sdpa_kernel(SDPBackend.MATH):  # other kernels of attention have one derivative only
        leaves = {name: p.detach().requires_grad_() for name, p in at.items()}
        value = function(leaves)
        u = torch.zeros_like(value).requires_grad_()
        try:
            back = torch.autograd.grad(
                value, list(leaves.values()), u, create_graph=True, allow_unused=True, materialize_grads=True
            )
            if _ends(back):
                raise RuntimeError("it is marked as once_differentiable")
            (change,) = torch.autograd.grad(back, u, [along[name] for name in leaves], create_graph=True)
        except RuntimeError as error:
            raise NTKError(
                "This net cannot be linearised: one of its layers can be differentiated neither forward nor twice "
                f"({str(error).splitlines()[0]})."
            ) from error
    return (value, change) if wanted else (value.detach(), change.detach())


def _ends(values: tuple[Tensor, ...]) -> bool:
    """Whether a function in the graph of these cannot be differentiated again: autograd would go past it in silence."""
    seen, ahead = set(), [value.grad_fn for value in values]
    while ahead:
        node = ahead.pop()
        if node is not None and node not in seen:
            seen.add(node)
            ahead += [other for other, _ in node.next_functions]
    return any(node.name() == "torch::autograd::Error" for node in seen)


@functools.cache
def _forward_rules() -> None:
    """Load torch's rules for ``jvp``, which it does at the first use with a warning about its own future."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        import torch._decomp.decompositions_for_jvp  # noqa: F401
