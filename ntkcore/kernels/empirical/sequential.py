"""Passes through nets that are a chain of known parts: backward for all outputs of a few images at once.

For ``nn.Sequential`` of dense layers and convolutions, ReLU, 2x2 pools behind a ReLU, flattening and global averages,
on the CPU. Beside autograd, which goes back once for each output, the weights are read once, what a ReLU let pass is
looked at in one go with the pool behind it (``relu_loops``), and little is copied: gradients have their channels
side by side in memory, as convolutions take and return them fastest::

    chain = chain_of(found, x)                                      # None: autograd has to do it
    for part, inputs, g in chain.back(x, {part, ...}, outputs): ... # from the last part to the first that is wanted
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.grad import conv2d_input

from ntkcore.kernels.empirical import relu_loops
from ntkcore.kernels.empirical.layers import Affine, Dissection, Layer, globally_hooked, overridden, weight_of
from ntkcore.kernels.loops.vectors import shares, threads

GRADIENTS_AT_ONCE = 4  # gradients as large as the largest ones, at any time of a pass


@dataclass(frozen=True, eq=False)
class Chain:
    """Parts in the order of their calls, and the layers among them."""

    parts: list[nn.Module]
    layers: dict[nn.Module, Layer]

    def back(self, x: Tensor, wanted: set[nn.Module], outputs: int) -> Iterator[tuple[nn.Module, Tensor, Tensor]]:
        """Of the wanted layers, the last one first: (layer, its input, gradients [n, outputs, ...] at its output).

        The gradients are overwritten when the next layer is asked for; those of images are ``side_by_side``.
        """
        inputs, h = [], x.clone()  # a ReLU in place must not write into the image
        for part in self.parts:
            inputs.append(h)
            h = part(h)
        inputs.append(h)  # what the last part returned
        g = torch.eye(outputs, dtype=x.dtype, device=x.device).expand(len(x), -1, -1)
        first = min(at for at, part in enumerate(self.parts) if part in wanted)
        at = len(self.parts) - 1
        with ThreadPoolExecutor(threads()) as pool:
            while at >= first:
                part, given = self.parts[at], inputs[at]
                if part in wanted:
                    yield part, given, g
                if at == first:
                    return
                if type(part) in (nn.AvgPool2d, nn.MaxPool2d):  # and the ReLU before it
                    g, at = _back_through_pool(part, g, given, pool), at - 1
                elif type(part) is nn.ReLU:
                    g = _back_through_relu(g, inputs[at + 1], pool)
                elif part in self.layers:
                    g = _back_through_layer(self.layers[part], part, g, given)
                else:
                    g = _back_to_shape(part, g, given)
                at -= 1


def chain_of(found: Dissection, x: Tensor) -> Chain | None:
    """The dissected module as a chain, or None; x: an image at least, as the kernel will see them."""
    parts = _flat(found.module)
    layers = {layer.part: layer for layer in found.layers}
    if parts is None or x.device.type != "cpu" or x.dtype not in (torch.float32, torch.float64) or globally_hooked():
        return None
    if x.ndim != 4 and any(type(part) in (nn.AvgPool2d, nn.MaxPool2d, nn.AdaptiveAvgPool2d) for part in parts):
        return None  # they would take an image as channels of one
    after_relu = False
    for part in parts:
        if part in layers:
            known = _covers(layers[part])
        else:
            known = type(part) is nn.ReLU or _reshapes(part) or (after_relu and _halves(part))
        if not known or overridden(part):
            return None
        after_relu = type(part) is nn.ReLU
    return Chain(parts, layers)


def _flat(module: nn.Module) -> list[nn.Module] | None:
    """Parts of nested ``nn.Sequential``, in order; None where one of them does something else when it is called."""
    if type(module) is not nn.Sequential:
        return [module]
    if overridden(module):
        return None
    found: list[nn.Module] = []
    for part in module:
        parts = _flat(part)
        if parts is None:
            return None
        found += parts
    return found


def _covers(layer: Layer) -> bool:
    rule = layer.rule
    if not isinstance(rule, Affine):
        return False
    left, right, top, bottom = rule.padding
    return rule.dense or (left, top) == (right, bottom)


def _halves(part: nn.Module) -> bool:
    """Whether it is a pool that takes 2x2 windows side by side and nothing else."""
    if type(part) is nn.MaxPool2d:
        plain = part.dilation in (1, (1, 1)) and not part.return_indices
    elif type(part) is nn.AvgPool2d:
        plain = part.divisor_override is None
    else:
        return False
    windows = part.kernel_size in (2, (2, 2)) and part.stride in (2, (2, 2)) and part.padding in (0, (0, 0))
    return plain and windows and not part.ceil_mode


def _reshapes(part: nn.Module) -> bool:
    if type(part) is nn.AdaptiveAvgPool2d:
        return part.output_size in (1, (1, 1))
    return type(part) is nn.Identity or (type(part) is nn.Flatten and (part.start_dim, part.end_dim) == (1, -1))


def side_by_side(x: Tensor) -> Tensor:
    """[..., C, H, W] with its channels side by side in memory; a copy only where it must be."""
    return x.movedim(-3, -1).contiguous().movedim(-1, -3)


def _in_memory(x: Tensor) -> np.ndarray:
    """Images that are ``side_by_side`` as an array [n, H, W, C]."""
    return x.movedim(-3, -1).flatten(0, -4).numpy()


def _each_image(loop: Callable, images: int, pool: ThreadPoolExecutor) -> None:
    list(pool.map(loop, shares(images)))


def _back_through_relu(g: Tensor, y: Tensor, pool: ThreadPoolExecutor) -> Tensor:
    """g [n, c, ...], in place where its memory allows; y: what the ReLU returned."""
    shape = g.shape
    if y.ndim != 4:  # an image of one row
        g, y = g.reshape(*g.shape[:2], -1, 1, 1), y.reshape(len(y), -1, 1, 1)
    g, y = side_by_side(g), side_by_side(y)
    given, passed = _in_memory(g), _in_memory(y)
    _each_image(lambda part: relu_loops.back(given, passed, shape[1], part), len(given), pool)
    return g.view(shape)


def _back_through_pool(part: nn.Module, g: Tensor, y: Tensor, pool: ThreadPoolExecutor) -> Tensor:
    """g [n, c, channels, h, w] at what the pool returned -> at what the ReLU before it was given; y: in between."""
    outputs, channels = g.shape[1:3]
    out = g.new_empty(*g.shape[:2], *y.shape[2:], channels).movedim(-1, -3)
    largest = type(part) is nn.MaxPool2d
    g = side_by_side(g if largest else g / 4)
    given, passed, into = _in_memory(g), _in_memory(side_by_side(y)), _in_memory(out)
    back = relu_loops.back_through_pool
    _each_image(lambda images: back(given, passed, outputs, images, largest, into), len(given), pool)
    return out


def _back_through_layer(layer: Layer, part: nn.Module, g: Tensor, given: Tensor) -> Tensor:
    rule, weight = layer.rule, weight_of(part).detach()
    assert isinstance(rule, Affine)  # as _covers has it
    weight = weight * rule.weight_scale if rule.weight_scale != 1 else weight
    if rule.dense:
        return (g.reshape(-1, g.shape[-1]) @ weight).view(*g.shape[:-1], -1)
    images = side_by_side(g).flatten(0, 1)
    pads = (rule.padding[2], rule.padding[0])
    if rule.window == (3, 3) and rule.stride == rule.dilation == pads == (1, 1):
        found = F.conv2d(images, weight.transpose(0, 1).flip(2, 3), padding=1)
    else:
        size = (len(images), *given.shape[1:])
        found = conv2d_input(size, weight, images, rule.stride, pads, rule.dilation)
    return side_by_side(found).unflatten(0, g.shape[:2])


def _back_to_shape(part: nn.Module, g: Tensor, given: Tensor) -> Tensor:
    """Through a part that only takes means of all positions, or changes the shape."""
    if type(part) is nn.AdaptiveAvgPool2d:
        return (g / given[0, 0].numel()).expand(*g.shape[:2], *given.shape[1:])
    return g.reshape(*g.shape[:2], *given.shape[1:])
