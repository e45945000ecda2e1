"""Inner products of one layer's weight gradients: what a pass must keep for them, and how they are added up.

``Theta[i, a; j, b] += <J[i, a], J[j, b]>``, J the gradients of the weights of some output channels o of a layer, G and
U as in ``layers``. A record holds what is needed of the images of one side. There are four, and which is cheapest
depends on the layer's sizes (compare Novak et al. 2022, arXiv 2206.08720, section 3)::

    NormGradients     BatchNorm: J [n, c, o], formed at once
    StoredJacobian    J [n, c, o, K], formed while a block of images is at hand: few weights, many positions
    FactoredJacobian  G [n, c, o, P] and the inputs; J formed for some channels at a time, added and forgotten
    PositionPairs     G [P, n, c, o] and patches U [P, n, K], no J: sum_pq (G_p G_q^T) * (s^2 U_p U_q^T + t^2)

    record.begin(block, x); record.take(outputs, g) for some outputs; record.end()     # for each block of images
    gram = Gram(theta, outputs=c, same=True)                                      # theta [n c, n c], zeros
    record.add(gram, None)                                                        # None: with itself
    gram.finish()
"""

import math
from collections.abc import Callable, Iterator
from typing import Self

import numpy as np
import torch
from torch import Tensor

from ntkcore.kernels.blocks import slices
from ntkcore.kernels.empirical.layers import Affine, Layer, Norm

CHUNK_BYTES = 40e6  # J of some channels of all images, or some products of G
PATCH_BYTES = 8e6  # patches of a block of images
MORE_ON_A_GPU = 4  # times as much of all these: it is fed by large pieces, which need not fit in a cache
FEW_COLUMNS = 48  # below this a product is faster transposed
STRIP_ROWS = 160  # of a symmetric result that are multiplied together: what is above the diagonal is left out
SQUARE_ROWS = 1024  # the same where the product of a square takes half of the work

Report = Callable[[float], None]  # share of one addition done since the last report; may raise


def there(most: float, device: torch.device) -> float:
    """Bytes of one of the limits on a device."""
    return most * MORE_ON_A_GPU if device.type == "cuda" else most


def even_slices(n: int, most: float) -> Iterator[slice]:
    """As few slices of range(n) as have at most ``most`` elements (at least one), all of nearly the same size."""
    parts = -(-n // max(1, min(n, int(most))))
    return slices(n, -(-n // parts))


class Gram:
    """Sums of products of rows, in place in ``theta`` [n1 k, n2 k]; k = ``outputs`` rows an image, 1 when traced.

    When both sides are the ``same`` images, only what lies on or below the diagonal is computed, in strips of rows;
    ``finish`` mirrors it.
    """

    def __init__(self, theta: Tensor, outputs: int, same: bool, scale: float = 1.0):
        self.theta, self.k, self.same, self.scale = theta, outputs, same, scale

    def strips(self, rows: int = STRIP_ROWS) -> Iterator[tuple[slice, int]]:
        """Images of a strip of at most so many rows, and how many images of the columns it needs."""
        images, columns = len(self.theta) // self.k, self.theta.shape[1] // self.k
        for strip in even_slices(images, rows / self.k if self.same else images):
            yield strip, strip.stop if self.same else columns

    def add(self, j1: Tensor, j2: Tensor, factor: float) -> None:
        """j [n, c, ...] contiguous: adds factor * sum_w j1[r, w] j2[s, w] for all rows; w goes over c too if traced."""
        alone = self.same and j1 is j2 and j1.device.type == "cpu"
        j1, j2 = (j.view(len(j) * self.k, -1) for j in (j1, j2))
        for strip, columns in self.strips(SQUARE_ROWS if alone else STRIP_ROWS):
            rows = self._rows(strip)  # [strip, w] [w, columns] -> [strip, columns]
            width = rows.start if alone else columns * self.k
            self.theta[rows, :width].addmm_(j1[rows], j2[:width].T, alpha=factor * self.scale)
            if alone:  # numpy knows that a product with itself is symmetric
                j = j1[rows].numpy()
                self.theta[rows, rows].add_(torch.from_numpy(np.matmul(j, j.T)), alpha=factor * self.scale)

    def add_products(self, g1: Tensor, g2: Tensor, u1: Tensor, u2: Tensor, factor: float, constant: float) -> None:
        """g [n, c, o] contiguous, u [n, K]: adds <g1, g2> (factor <u1, u2> + constant) for all rows."""
        k = self.k
        g1, g2 = (g.view(len(g) * k, -1) for g in (g1, g2))
        for strip, columns in self.strips():
            most = there(CHUNK_BYTES, g1.device) / (g1.element_size() * k * k * (strip.stop - strip.start))
            for across in even_slices(columns, most):
                weights = (u1[strip] @ u2[across].T).mul_(factor * self.scale).add_(constant * self.scale)
                product = g1[self._rows(strip)] @ g2[self._rows(across)].T
                target = self.theta[self._rows(strip), self._rows(across)]
                if k > 1:  # [strip, k, across, k] * [strip, 1, across, 1]
                    target, product = (t.unflatten(1, (-1, k)).unflatten(0, (-1, k)) for t in (target, product))
                    weights = weights[:, None, :, None]
                target.addcmul_(product, weights)

    def finish(self) -> None:
        """Mirror what lies below the diagonal: exactly symmetric."""
        for strip, _ in self.strips() if self.same else ():
            rows = self._rows(strip)
            self.theta[: rows.start, rows] = self.theta[rows, : rows.start].T
            corner = self.theta[rows, rows]
            corner.copy_(corner.tril() + corner.tril(-1).T)

    def _rows(self, images: slice) -> slice:
        return slice(images.start * self.k, images.stop * self.k)


class GradientRecord:
    """What passes over the n images of one side leave of some output ``channels`` of a layer with c outputs of the net.

    images: of both sides together. like: a tensor of the dtype and device to use.
    """

    rule: Affine | Norm

    def __init__(self, layer: Layer, channels: slice, n: int, c: int, images: int, like: Tensor):
        self.layer, self.rule, self.channels, self.width = layer, layer.rule, channels, channels.stop - channels.start
        self.n, self.c, self.images, self.like = n, c, images, like
        self.block = slice(0, 0)

    def begin(self, block: slice, x: Tensor) -> None:
        """x: the layer's input for a block of images."""
        raise NotImplementedError

    def take(self, outputs: slice, g: Tensor) -> None:
        """g [block, outputs, ...]: gradients of some outputs of the net at the layer's output."""
        raise NotImplementedError

    def end(self) -> None:
        """All outputs of the block were taken."""

    def add(self, gram: Gram, other: Self | None, report: Report) -> None:
        """Add this layer's part of the kernel; ``other``: the record of the columns' images, None for the same."""
        raise NotImplementedError

    @staticmethod
    def sizes(layer: Layer, c: int) -> tuple[int, int]:
        """Numbers an image that are kept: however many channels are taken, and for each of them."""
        raise NotImplementedError

    def _gradients(self, g: Tensor) -> Tensor:
        found = self.rule.gradients(g.flatten(0, 1)).unflatten(0, g.shape[:2])
        return found[:, :, self.channels]  # [block, outputs, width, P]


class NormGradients(GradientRecord):
    """J of a BatchNorm layer, one number a channel."""

    def __init__(self, layer: Layer, channels: slice, n: int, c: int, images: int, like: Tensor):
        super().__init__(layer, channels, n, c, images, like)
        self.j, self.b = (like.new_empty(n, c, self.width) for _ in range(2))

    def begin(self, block: slice, x: Tensor) -> None:
        self.block, self.z = block, self.rule.inputs(x)[:, self.channels]

    def take(self, outputs: slice, g: Tensor) -> None:
        g = self._gradients(g)
        self.j[self.block, outputs], self.b[self.block, outputs] = (g * self.z[:, None]).sum(-1), g.sum(-1)

    def end(self) -> None:
        del self.z

    def add(self, gram: Gram, other: Self | None, report: Report) -> None:
        add_gradients(gram, self.rule, (self.j, (other or self).j), (self.b, (other or self).b))
        report(1.0)

    @staticmethod
    def sizes(layer: Layer, c: int) -> tuple[int, int]:
        return 0, 2 * c


class StoredJacobian(GradientRecord):
    """J of a layer of few weights, kept whole."""

    rule: Affine

    def __init__(self, layer: Layer, channels: slice, n: int, c: int, images: int, like: Tensor):
        super().__init__(layer, channels, n, c, images, like)
        self.j = like.new_empty(n, c, self.width, layer.window)
        self.b = like.new_empty(n, c, self.width)

    def begin(self, block: slice, x: Tensor) -> None:
        self.block, self.x = block, self.rule.inputs(x)
        self.g: Tensor | None = None

    def take(self, outputs: slice, g: Tensor) -> None:
        g = self._gradients(g)
        self.b[self.block, outputs] = g.sum(-1)
        if g.shape[1] == self.c:
            self.g = g
            return
        if self.g is None:
            self.g = _room_for(g, len(g), self.c)
        self.g[:, outputs] = g

    def end(self) -> None:
        assert self.g is not None  # the outputs were taken
        _form(self.rule, self.g, self.x, self.j[self.block])
        del self.x, self.g

    def add(self, gram: Gram, other: Self | None, report: Report) -> None:
        add_gradients(gram, self.rule, (self.j, (other or self).j), (self.b, (other or self).b))
        report(1.0)

    @staticmethod
    def sizes(layer: Layer, c: int) -> tuple[int, int]:
        return 0, c * (layer.window + 1)


class FactoredJacobian(GradientRecord):
    """What J is a product of, kept in its place."""

    rule: Affine

    def __init__(self, layer: Layer, channels: slice, n: int, c: int, images: int, like: Tensor):
        super().__init__(layer, channels, n, c, images, like)
        self.columns = there(CHUNK_BYTES, like.device) / (like.element_size() * c * images)  # of J, that fit in a chunk
        # J of an image is a product [c o, P] [P, K], fastest when it is square; a little less for K, because patches
        # are made again for each part of the output channels
        window = min(layer.window, 0.75 * (self.columns * c) ** 0.5)
        self.parts = list(even_slices(self.width, self.columns / window))
        self.b = like.new_empty(n, c, self.width)
        self.x: Tensor | None = None
        self.g: Tensor | None = None

    def begin(self, block: slice, x: Tensor) -> None:
        x = self.rule.inputs(x)
        if self.x is None:
            self.x = self.like.new_empty(self.n, *x.shape[1:])
        self.x[block], self.block = x, block

    def take(self, outputs: slice, g: Tensor) -> None:
        g = self._gradients(g)
        self.b[self.block, outputs] = g.sum(-1)
        if self.g is None:
            self.g = _room_for(g, self.n, self.c)
        self.g[self.block, outputs] = g

    def add(self, gram: Gram, other: Self | None, report: Report) -> None:
        sides = [side._kept() for side in ([self] if other is None else [self, other])]
        buffers = [self.like.new_empty(0) for _ in sides]
        taps = self.layer.window // self.layer.inputs
        for part in self.parts:
            gs = [gradients[:, :, part] for _, gradients in sides]  # [n, c, o, P]
            for inputs in even_slices(self.layer.inputs, self.columns / (gs[0].shape[2] * taps)):
                js = []
                for at, ((x, _), g) in enumerate(zip(sides, gs, strict=True)):
                    shape = (*g.shape[:3], taps * (inputs.stop - inputs.start))
                    if buffers[at].numel() < math.prod(shape):
                        buffers[at] = self.like.new_empty(math.prod(shape))
                    js.append(buffers[at][: math.prod(shape)].view(shape))
                    _form(self.rule, g, x[:, inputs], js[at])
                gram.add(js[0], js[-1], self.rule.weight_scale**2)
                report((inputs.stop - inputs.start) / self.layer.inputs * gs[0].shape[2] / self.width)
        add_gradients(gram, self.rule, None, (self.b, (other or self).b))

    def _kept(self) -> tuple[Tensor, Tensor]:
        """Inputs and gradients of all images."""
        assert self.x is not None
        assert self.g is not None
        return self.x, self.g

    @staticmethod
    def sizes(layer: Layer, c: int) -> tuple[int, int]:
        return layer.input_size, c * (layer.positions + 1)


class PositionPairs(GradientRecord):
    """Gradients and patches of a layer of few positions, whose products are taken for each pair of positions."""

    rule: Affine

    def __init__(self, layer: Layer, channels: slice, n: int, c: int, images: int, like: Tensor):
        super().__init__(layer, channels, n, c, images, like)
        self.g = like.new_empty(layer.positions, n, c, self.width)
        self.u = like.new_empty(layer.positions, n, layer.window)

    def begin(self, block: slice, x: Tensor) -> None:
        self.u[:, block], self.block = self.rule.patches(self.rule.inputs(x)).permute(2, 0, 1), block

    def take(self, outputs: slice, g: Tensor) -> None:
        self.g[:, self.block, outputs] = self._gradients(g).permute(3, 0, 1, 2)

    def add(self, gram: Gram, other: Self | None, report: Report) -> None:
        other = other or self
        factor, constant = self.rule.weight_scale**2, (self.rule.bias_scale or 0.0) ** 2
        for g1, u1 in zip(self.g, self.u, strict=True):
            for g2, u2 in zip(other.g, other.u, strict=True):
                gram.add_products(g1, g2, u1, u2, factor, constant)
            report(1 / self.layer.positions)

    @staticmethod
    def sizes(layer: Layer, c: int) -> tuple[int, int]:
        return layer.positions * layer.window, c * layer.positions


def _room_for(g: Tensor, n: int, c: int) -> Tensor:
    """[n, c, o, P] for gradients like g [block, outputs, o, P], channels or positions side by side as there."""
    o, positions = g.shape[2:]
    return g.new_empty(n, c, positions, o).mT if g.stride(2) < g.stride(3) else g.new_empty(n, c, o, positions)


def _form(rule: Affine, g: Tensor, x: Tensor, j: Tensor) -> None:
    """J for some channels of the input, into j: [n, c, o, P] [n, P, K] -> [n, c, o, K], a block of images at a time."""
    patch = j.shape[-1] * g.shape[-1] * g.element_size()
    for block in even_slices(len(g), there(PATCH_BYTES, g.device) / patch):
        patches, rows, out = rule.patches(x[block]), g[block], j[block]
        if rows.stride(2) < rows.stride(3):  # channels side by side
            for image, of_image, of_out in zip(rows, patches, out, strict=True):  # [c, o, P] [P, K]
                torch.bmm(image, of_image.mT.expand(len(image), -1, -1), out=of_out)
        elif j.shape[-1] < FEW_COLUMNS:
            out.flatten(1, 2).copy_(torch.bmm(patches, rows.flatten(1, 2).mT).mT)
        else:
            torch.bmm(rows.flatten(1, 2), patches.mT, out=out.flatten(1, 2))


def add_gradients(
    gram: Gram, rule: Affine | Norm, weights: tuple[Tensor, Tensor] | None, biases: tuple[Tensor, Tensor]
) -> None:
    """Of a layer, J and the gradients of the biases of both sides."""
    if weights is not None:
        gram.add(*weights, rule.weight_scale**2)
    if rule.bias_scale is not None:
        gram.add(*biases, rule.bias_scale**2)
