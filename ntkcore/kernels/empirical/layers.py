"""Leaf layers whose weight gradients are known in closed form, and the proof that a module consists of them.

With ``G[i, a, o, p] = d f_a(x_i) / d y[i, o, p]``, the gradient at a layer's output y (o a channel, p a position), the
gradients of its own parameters are, per image (Goodfellow 2015, arXiv 1510.01799; Rochette et al. 2019)::

    dense, conv   y = s W U + t b      dW[i, a, o, k] = s sum_p G[i, a, o, p] U[i, k, p],   db = t sum_p G
    BatchNorm     y = w z + b          dw[i, a, o] = sum_p G[i, a, o, p] z[i, o, p],        db = sum_p G

U are the patches of the input that the weights see (a dense layer sees one patch, k = inputs), z the normalised
input, s and t the scales of the NTK parameterisation or 1::

    found = dissect(module, x)            # None: something here is not a leaf of the above, called exactly once
    found.outputs, found.layers[0].part, found.layers[0].positions
"""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge, get_gradient_edge
from torch.func import functional_call

from ntkcore.affine import NTKConv, NTKDense
from ntkcore.errors import SpecError


@dataclass(frozen=True, eq=False)
class Affine:
    """A dense layer, or a convolution without groups: a matrix [outputs, K] times patches [K, positions].

    A dense layer is a 1x1 convolution of an image with one position (or as many as there are vectors an image).
    """

    weight_scale: float = 1.0
    bias_scale: float | None = None  # None: no bias
    dense: bool = False
    window: tuple[int, int] = (1, 1)
    stride: tuple[int, int] = (1, 1)
    dilation: tuple[int, int] = (1, 1)
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)  # left, right, top, bottom

    def inputs(self, x: Tensor) -> Tensor:
        """What the layer was called with -> [n, C, H, W]."""
        return x.reshape(len(x), -1, x.shape[-1]).mT[..., None] if self.dense else x

    def gradients(self, g: Tensor) -> Tensor:
        """Gradient at what the layer returned -> [n, outputs, positions]."""
        return g.reshape(len(g), -1, g.shape[-1]).mT if self.dense else g.flatten(2)

    def patches(self, x: Tensor) -> Tensor:
        """[n, C, H, W], any channels of the input -> [n, C * window, positions]; a copy only where it must be."""
        if any(self.padding):
            x = F.pad(x, self.padding)
        if self.window == self.stride == (1, 1):
            return x.flatten(2)
        (kh, kw), (sh, sw), (dh, dw) = self.window, self.stride, self.dilation
        n, channels, height, width = x.shape
        rows, columns = (height - dh * (kh - 1) - 1) // sh + 1, (width - dw * (kw - 1) - 1) // sw + 1
        a, b, c, d = x.stride()
        seen = x.as_strided((n, channels, kh, kw, rows, columns), (a, b, c * dh, d * dw, c * sh, d * sw))
        return seen.reshape(n, channels * kh * kw, rows * columns)


@dataclass(frozen=True, eq=False)
class Norm:
    """BatchNorm in eval mode: channels scaled and shifted, after a normalisation that is a constant map."""

    part: nn.modules.batchnorm._BatchNorm
    weight_scale: float = 1.0
    bias_scale: float | None = 1.0

    def inputs(self, x: Tensor) -> Tensor:
        """What the layer was called with -> normalised, [n, C, positions]."""
        mean, variance = self.part.running_mean, self.part.running_var
        assert mean is not None  # else there is no such rule
        assert variance is not None
        return (x.reshape(*x.shape[:2], -1) - mean[:, None]) * (variance[:, None] + self.part.eps).rsqrt()

    def gradients(self, g: Tensor) -> Tensor:
        """Gradient at what the layer returned -> [n, C, positions]."""
        return g.reshape(*g.shape[:2], -1)


@dataclass(frozen=True, eq=False)
class Layer:
    """A leaf with the sizes that one forward pass showed."""

    part: nn.Module
    rule: Affine | Norm
    outputs: int
    inputs: int  # channels
    positions: int  # of the output
    input_size: int  # numbers an image
    weights: int  # numbers, without the bias

    @property
    def window(self) -> int:
        """Weights of one output channel: K."""
        return self.weights // self.outputs


@dataclass(frozen=True, eq=False)
class Dissection:
    """A module, its layers in the order of their calls, the number of its outputs."""

    module: nn.Module
    layers: list[Layer]
    outputs: int


def dissect(module: nn.Module, x: Tensor) -> Dissection | None:
    """What ``module`` consists of, or None when the kernels of its layers may not be simply added.

    They may when each parameter belongs to exactly one known leaf, is used nowhere else (read from the graph that
    autograd records) and the leaf is called exactly once, with images along the first axis of its input and output.
    x: [n, ...], one image or more. Raises SpecError when the output for one image depends on another one.
    """
    rules = _rules(module)
    parameters = {p: p.detach().requires_grad_() for p in module.parameters()}
    pair = x[[0, min(1, len(x) - 1)]].detach()
    if not pair.is_floating_point():
        return None
    with calls(list(rules or ())) as seen:
        out = call_with(module, parameters, pair.requires_grad_().clone())
    if not isinstance(out, Tensor) or out.ndim != 2 or len(out) != 2:
        shape = tuple(out.shape) if isinstance(out, Tensor) else type(out).__name__
        raise SpecError(f"For two images the module returns {shape}; a kernel needs one vector an image, (2, c).")
    if not out.requires_grad:
        return None
    edges = [call.edge for part_calls in seen.values() for call in part_calls if call.edge is not None]
    weights = torch.linspace(1, 2, out.shape[1], dtype=out.dtype, device=out.device)  # a plain sum may be constant
    ends: Any = [pair, *edges]  # torch's hints leave out that tensors and edges may be mixed
    crossed = torch.autograd.grad(out[0] @ weights, ends, retain_graph=True, allow_unused=True)
    leaks = [g is not None and len(g) > 1 and bool((g[1].isfinite() & (g[1] != 0)).any()) for g in crossed]
    if leaks[0]:
        raise SpecError(
            "The module's output for one image depends on the other images of the batch, so there is no kernel of "
            "image pairs. Call module.eval() first, or take the layer that mixes images out."
        )
    if rules is None or any(leaks) or out.dtype != x.dtype or not _each_used_once(out, list(parameters.values())):
        return None
    if seen.keys() != rules.keys() or any(len(part_calls) != 1 for part_calls in seen.values()):
        return None
    sized = [_sized(part, rules[part], part_calls[0], x.dtype) for part, part_calls in seen.items()]
    layers = [layer for layer in sized if layer is not None]
    return Dissection(module, layers, out.shape[1]) if len(layers) == len(sized) else None


@dataclass(frozen=True, eq=False)
class Call:
    """One call of a part: its input, and of its output what does not keep it in memory: the graph's edge, its shape."""

    input: Tensor
    edge: GradientEdge | None  # None: does not depend on anything that requires gradients
    shape: torch.Size
    dtype: torch.dtype


@contextmanager
def calls(parts: list[nn.Module]) -> Iterator[dict[nn.Module, list[Call]]]:
    """Inside, calls of ``parts`` are noted, in order. What follows sees a copy of each output, so that an operation in
    place (``relu_``, ``out += identity``) spoils neither an input that was noted nor the graph's edge."""
    seen: dict[nn.Module, list[Call]] = {}

    def note(part: nn.Module, arguments: tuple, output: Tensor) -> Tensor:
        given = arguments[0] if arguments else output.new_empty(0)  # called by keyword: dissect will see no images
        edge = get_gradient_edge(output) if output.requires_grad else None
        seen.setdefault(part, []).append(Call(given, edge, output.shape, output.dtype))
        return output.clone()

    handles = [part.register_forward_hook(note) for part in parts]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def _rules(module: nn.Module) -> dict[nn.Module, Affine | Norm] | None:
    """A rule for each part that has parameters of its own; None if there is none for one, or a tensor is shared."""
    rules: dict[nn.Module, Affine | Norm] = {}
    taken: set[int] = set()
    for part in module.modules():
        own = {name: p for name, p in part._parameters.items() if p is not None}
        if not own:
            continue
        rule = _RULES.get(type(part), lambda part: None)(part)
        if rule is None or not own.keys() <= {"weight", "bias"} or "weight" not in own or overridden(part):
            return None
        if taken & {id(p) for p in own.values()}:
            return None
        taken |= {id(p) for p in own.values()}
        rules[part] = rule
    return rules or None


def overridden(part: nn.Module) -> bool:
    """Whether the class alone does not say what a call computes."""
    hooks = (part._forward_hooks, part._forward_pre_hooks, part._backward_hooks, part._backward_pre_hooks)
    return any(hooks) or "forward" in part.__dict__


def globally_hooked() -> bool:
    """Whether hooks on all modules of the process may change what a call computes."""
    return bool(torch.nn.modules.module._global_forward_hooks or torch.nn.modules.module._global_forward_pre_hooks)


def call_with(module: nn.Module, weights: dict[nn.Parameter, Tensor], x: Tensor) -> Tensor:
    """What the module returns with other tensors in place of its parameters, wherever they stand.

    Each part is visited once: ``functional_call`` by itself leaves a part that stands at two places with the other
    tensors in it.
    """
    own = {
        f"{prefix}.{name}" if prefix else name: weights[p]
        for prefix, part in module.named_modules()
        for name, p in part._parameters.items()
        if p is not None
    }
    return functional_call(module, own, (x,), tie_weights=False)


def _each_used_once(out: Tensor, parameters: list[Tensor]) -> bool:
    """Whether each parameter enters the graph of ``out`` by exactly one edge."""
    if out.grad_fn is None:  # it is a parameter itself
        return False
    entries: Counter[int] = Counter()
    nodes, ahead = {out.grad_fn}, [out.grad_fn]
    while ahead:
        for node, _ in ahead.pop().next_functions:
            if node is None:
                continue
            leaf = getattr(node, "variable", None)
            if leaf is not None:
                entries[id(leaf)] += 1
            elif node not in nodes:
                nodes.add(node)
                ahead.append(node)
    return all(entries[id(p)] == 1 for p in parameters)


def _sized(part: nn.Module, rule: Affine | Norm, call: Call, dtype: torch.dtype) -> Layer | None:
    x, shape = call.input, call.shape
    dense = isinstance(rule, Affine) and rule.dense
    if x.ndim < (4 if isinstance(rule, Affine) and not dense else 2) or len(x) != 2 or shape[0] != 2:
        return None
    weight = weight_of(part)
    if call.edge is None or not x.dtype == call.dtype == weight.dtype == dtype:
        return None
    axis = -1 if dense else 1
    outputs = shape[axis]
    return Layer(part, rule, outputs, x.shape[axis], shape[1:].numel() // outputs, x[0].numel(), weight.numel())


def weight_of(part: nn.Module) -> Tensor:
    """Of a part that has a rule."""
    assert isinstance(part.weight, Tensor)
    return part.weight


# -- the rules by type; None where a layer's settings are not covered --------------------------------------------------


def _linear(part: nn.Linear) -> Affine:
    return Affine(bias_scale=None if part.bias is None else 1.0, dense=True)


def _conv2d(part: nn.Conv2d) -> Affine | None:
    if part.groups != 1 or part.padding_mode != "zeros":
        return None
    if isinstance(part.padding, str):
        spans = [d * (k - 1) * (part.padding == "same") for d, k in zip(part.dilation, part.kernel_size, strict=True)]
        before = [span // 2 for span in spans]  # as torch: an odd one has its extra zero behind
        after = [span - first for span, first in zip(spans, before, strict=True)]
    else:
        before = after = list(part.padding)
    padding = (before[1], after[1], before[0], after[0])
    bias = None if part.bias is None else 1.0
    (kh, kw), (sh, sw), (dh, dw) = part.kernel_size, part.stride, part.dilation
    return Affine(1.0, bias, False, (kh, kw), (sh, sw), (dh, dw), padding)


def _ntk_dense(part: NTKDense) -> Affine:
    return Affine(part.weight_scale, None if part.bias is None else part.bias_scale, dense=True)


def _ntk_conv(part: NTKConv) -> Affine:
    bias = None if part.bias is None else part.bias_scale
    return Affine(part.weight_scale, bias, window=(3, 3), padding=(1, 1, 1, 1))


def _norm(part: nn.modules.batchnorm._BatchNorm) -> Norm | None:
    return None if part.training or part.running_mean is None else Norm(part, 1.0, None if part.bias is None else 1.0)


_RULES: dict[type[nn.Module], Callable[[Any], Affine | Norm | None]] = {
    nn.Linear: _linear,
    nn.Conv2d: _conv2d,
    nn.BatchNorm1d: _norm,
    nn.BatchNorm2d: _norm,
    NTKDense: _ntk_dense,
    NTKConv: _ntk_conv,
}
