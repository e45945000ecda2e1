"""Empirical NTK of any torch module: inner products of parameter gradients.

``Theta[i, a; j, b] = <df_a(x_i)/dw, df_b(x_j)/dw>`` (Jacot et al. 2018). Full form ``[n1, n2, c, c]``, or
class-traced, ``(1/c) sum_a Theta[i, a; j, a]``, ``[n1, n2]``. A module that consists of dense layers, convolutions and
BatchNorm is taken layer by layer (``layerwise``), any other by its per-sample Jacobians (``torch.func``), which is
slower; which one is decided by looking at a forward pass. Both are exact and work in blocks of bounded memory::

    Theta = empirical_ntk(module, x1, x2)       # [n1, n2, c, c]
    E = empirical_kernel_fn(module)             # a kernel: E(x1, x2) -> [n1, n2]
    s = spectrum(E(x))

Images must not see each other: BatchNorm in eval mode is fine. The kernels are constants to autograd: no gradient
flows back to the images or to the weights.
"""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from threading import RLock

import torch
from torch import Tensor, nn
from torch.func import jacrev, vmap

from ntkcore import checks
from ntkcore.errors import SpecError
from ntkcore.kernels.blocks import Progress, TiledKernel, slices, tiled
from ntkcore.kernels.empirical.layers import call_with, dissect
from ntkcore.kernels.empirical.layerwise import Report, layer_kernel
from ntkcore.looking import agree, copy_of, in_words, inner, left_alone, watched
from ntkcore.modes import free_after_fork, plain_modes, usual

JACOBIAN_BYTES = 256e6  # of each side's Jacobian, where a module is not taken layer by layer
COLUMNS = 16384  # of it that are summed at a time: long sums of few entries would be made number by number
NOTE = "empirical kernel"
ONE_AT_A_TIME = free_after_fork(RLock())  # each may fill its working memory, and sets the precision of the process


def empirical_ntk(
    module: nn.Module,
    x1: Tensor,
    x2: Tensor | None = None,
    progress: Progress | None = None,
) -> Tensor:
    """Full empirical tangent kernel [n1, n2, c, c] of ``module`` at its present weights, detached.

    x1, x2: [n, C, H, W] in the module's dtype; x2 = None means x1. The module maps a batch to [n, c]. All parameters
    count, frozen ones (that do not require gradients) too. The result is a view of an [n1 c, n2 c] matrix:
    ``Theta.transpose(1, 2).reshape(n1 * c, n2 * c)`` copies nothing. progress: told (done, total, note) as it goes;
    it may raise Cancelled. The module is left as it was.
    Raises SpecError for modules whose output for one image depends on the batch, or on chance.
    """
    checks.progress(progress)
    return _kernel(module, x1, x2, False, progress)


@dataclass(frozen=True, eq=False)
class EmpiricalKernel:
    """Class-traced empirical NTK as a kernel function ``(x1, x2=None) -> [n1, n2]``, constant to autograd."""

    module: nn.Module
    evaluation: bool = False  # taken in evaluation mode, whatever mode the module is in
    own_copy: bool = False  # nobody else changes the module

    def __call__(self, x1: Tensor, x2: Tensor | None = None) -> Tensor:
        return self.matrix(x1, x2, None)

    def matrix(self, x1: Tensor, x2: Tensor | None, progress: Progress | None) -> Tensor:
        """Divides its work and bounds its memory itself."""
        return _kernel(self.module, x1, x2, True, progress, self.evaluation)

    def frozen(self) -> "EmpiricalKernel":
        """The kernel with the weights of now."""
        return self if self.own_copy else replace(self, module=copy_of(self.module), own_copy=True)


def empirical_kernel_fn(module: nn.Module) -> TiledKernel:
    """The class-traced empirical NTK of ``module``: a kernel ``(x1, x2=None) -> [n1, n2]``; see ``empirical_ntk``."""
    return tiled(EmpiricalKernel(checks.module(module)))


def _kernel(
    module: nn.Module,
    x1: Tensor,
    x2: Tensor | None,
    traced: bool,
    progress: Progress | None,
    evaluation: bool = False,
) -> Tensor:
    """[n1, n2, c, c], or [n1, n2] traced."""
    module = inner(module)
    _check(module, x1, x2, evaluation)

    def report(done: float, total: float) -> None:
        if progress is not None:
            progress(done, total, NOTE)

    with (
        plain_modes(),
        torch.enable_grad(),
        ONE_AT_A_TIME,
        left_alone(module, evaluation),
        _whole_single_precision(),
    ):
        x1, x2 = usual(x1), usual(x2)
        _check_chance(module, x1[:2])
        report(0, 1)
        dissection = dissect(module, x1)
        if dissection is None:
            return _by_jacobians(module, x1, x2, traced, report)
        theta = layer_kernel(dissection, x1, x2, traced, report)
    c = dissection.outputs
    return theta if traced else theta.unflatten(1, (-1, c)).unflatten(0, (-1, c)).transpose(1, 2)


@contextmanager
def _whole_single_precision() -> Iterator[None]:
    """A GPU's convolutions with all their bits, not with the ten (TF32) that are torch's choice for them."""
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = before


def _check(module: nn.Module, x1: Tensor, x2: Tensor | None, evaluation: bool) -> None:
    checks.module(module)
    if isinstance(module, torch.jit.ScriptModule):
        raise SpecError("A TorchScript module cannot be looked into. Give the torch module it was made from.")
    for x, name in ((x1, "x1"), (x2, "x2")) if x2 is not None else ((x1, "x1"),):
        checks.image_form(x, name, axes=None)
    if x2 is not None and (x1.shape[1:] != x2.shape[1:] or x1.dtype != x2.dtype):
        raise SpecError(
            "Images of both sides must have one shape and dtype; got "
            f"{tuple(x1.shape[1:])} {x1.dtype} and {tuple(x2.shape[1:])} {x2.dtype}."
        )
    if next(module.parameters(), None) is None:
        raise SpecError("The module has no parameters, so there is no tangent kernel. Give a network with weights.")
    checks.weights(module, x1)
    for name, part in module.named_modules():
        training = part.training and not evaluation
        if isinstance(part, nn.modules.batchnorm._BatchNorm) and (training or part.running_mean is None):
            mode = "in training mode" if training else "without running statistics"
            raise SpecError(
                f"{name or 'The module'} is a BatchNorm layer {mode}, whose output depends on the whole "
                "batch, so there is no kernel of image pairs. Call module.eval() first"
                + (", and keep track_running_stats." if part.running_mean is None else ".")
            )
        if isinstance(part, nn.modules.dropout._DropoutNd) and training and part.p > 0:
            raise SpecError(
                f"{name or 'The module'} is a Dropout layer in training mode, whose output is drawn anew at each call, "
                "so there is no one kernel. Call module.eval() first."
            )


def _check_chance(module: nn.Module, x: Tensor) -> None:
    """F.dropout, RReLU or noise in a forward are no layers that could be looked for: a pass must draw no random
    numbers, and two passes must agree."""

    def twice() -> tuple[Tensor, Tensor]:
        with torch.no_grad(), in_words(x):
            return module(x.clone()), module(x.clone())  # clones: some modules write into their input

    (one, two), chance = watched(twice, x.device)
    if chance or not agree(one, two):
        raise SpecError(
            "The module's output is drawn anew at each call (dropout, noise, or statistics that each call moves), so "
            "there is no one kernel. Call module.eval() first, or take that part out."
        )


# -- any module: per-sample Jacobians ----------------------------------------------------------------------------


def _by_jacobians(module: nn.Module, x1: Tensor, x2: Tensor | None, traced: bool, report: Report) -> Tensor:
    """The same by Jacobians of all weights; with x2 = None only blocks on and above the diagonal, then mirrored."""
    same, x2 = x2 is None, x1 if x2 is None else x2
    rows = _block_rows(module, x1)
    work = [(i, j) for i in slices(len(x1), rows) for j in slices(len(x2), rows) if not same or i.start <= j.start]
    theta: Tensor | None = None
    for done, (i, j) in enumerate(work):
        report(done, len(work))
        if done == 0 or i != work[done - 1][0]:
            j1 = _jacobian(module, x1[i])
        block = _contract(j1, j1 if same and i == j else _jacobian(module, x2[j]), traced)
        if theta is None:
            theta = block.new_empty(len(x1), len(x2), *block.shape[2:])
        mirrored = block.transpose(0, 1) if traced else block.permute(1, 0, 3, 2)
        theta[i, j] = (block + mirrored) / 2 if same and i == j else block
        if same and i != j:
            theta[j, i] = mirrored
    report(len(work), len(work))
    assert theta is not None  # there are images
    return theta


def _jacobian(module: nn.Module, x: Tensor) -> list[Tensor]:
    """Per-sample Jacobians, one [n, c, size] per parameter."""
    own = list(module.parameters())
    parameters = [p.detach() for p in own]

    def one(weights: list[Tensor], image: Tensor) -> Tensor:
        return call_with(module, dict(zip(own, weights, strict=True)), image[None])[0]

    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "There is a performance drop", UserWarning)  # of layers without a rule
            jacobians = vmap(jacrev(one), (None, 0))(parameters, x.detach())
    except torch.OutOfMemoryError:
        raise
    except (RuntimeError, ValueError, IndexError):  # some layers (PReLU, GRU) do not work under vmap: one by one
        try:
            each = [jacrev(one)(parameters, image) for image in x.detach()]
        except RuntimeError:  # nor under any transform, as functions of the old kind and sparse gradients
            each = [_rows(one, parameters, image) for image in x.detach()]
        jacobians = [torch.stack(js) for js in zip(*each, strict=True)]
    return [j.detach().reshape(*j.shape[:2], -1) for j in jacobians]


def _rows(function: Callable, parameters: list[Tensor], image: Tensor) -> list[Tensor]:
    """The Jacobian at one image by a pass back for each output, [c, ...] per parameter."""
    leaves = [p.detach().requires_grad_() for p in parameters]
    rows = [
        torch.autograd.grad(out, leaves, retain_graph=True, allow_unused=True, materialize_grads=True)
        for out in function(leaves, image)
    ]
    return [torch.stack([g.to_dense() for g in gradients]) for gradients in zip(*rows, strict=True)]


def _contract(j1: list[Tensor], j2: list[Tensor], traced: bool) -> Tensor:
    """Sum over weights p, and over outputs a when traced."""
    most = COLUMNS // j1[0].shape[1] if traced else COLUMNS
    parts = [(a[..., s], b[..., s]) for a, b in zip(j1, j2, strict=True) for s in slices(a.shape[-1], max(1, most))]
    nothing = j1[0].new_zeros(())
    if traced:
        return sum((torch.einsum("iap,jap->ij", a, b) for a, b in parts), nothing) / j1[0].shape[1]
    return sum((torch.einsum("iap,jbp->ijab", a, b) for a, b in parts), nothing)


def _block_rows(module: nn.Module, x: Tensor) -> int:
    with torch.no_grad():
        outputs = module(x[:1]).shape[-1]
    size = sum(p.numel() * p.element_size() for p in module.parameters())
    return max(1, int(JACOBIAN_BYTES / max(1, size * outputs)))
