"""Records of convolutions whose gradients are formed in bfloat16 (``filters``): in place of Kept and Factors.

Gradients at the layer's output lie in a ``filters.room``, their channels side by side::

    FilteredKept        J [n, c, words], formed while a block of images is at hand
    FilteredFactors     G and the inputs; J formed in panels for some channels at a time
"""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor

from ntkcore.kernels import bfloat16, filters
from ntkcore.kernels.leaves import Layer
from ntkcore.kernels.products import CHUNK_BYTES, Factors, Gram, Kept, Record, Report, add_gradients
from ntkcore.kernels.vectors import threads


class _Filtered(Record):
    def __init__(self, layer: Layer, channels: slice, n: int, c: int, images: int, like: Tensor):
        super().__init__(layer, channels, n, c, images, like)
        self.b = torch.zeros(
            n, c, filters.filled(self.width), dtype=torch.float32, device="cpu"
        )  # sums of g over positions
        self.g: Tensor | None = None

    def _put(self, g: Tensor, n: int, block: slice, outputs: slice) -> None:
        """g [block, outputs, o, h, w] into room for n images and all outputs."""
        g = filters.laid_out(self.layer, g[:, :, self.channels])
        if self.g is None:
            self.g = filters.room(self.layer, n, g[:, :1].expand(-1, self.c, -1, -1, -1))
        if g.dtype != torch.bfloat16:
            g = bfloat16.rounded(g.flatten(2, 3).flatten(0, 1)).view(g.shape)
        self.g[block, outputs, : g.shape[2], : g.shape[3], : self.width] = g


class FilteredKept(_Filtered):
    def __init__(self, layer: Layer, channels: slice, n: int, c: int, images: int, like: Tensor):
        super().__init__(layer, channels, n, c, images, like)
        self.words = bfloat16.large((n, c, filters.words_of_row(layer, self.width)), np.int32)

    def begin(self, block: slice, x: Tensor) -> None:
        self.block, self.x, self.g = block, x, None

    def take(self, outputs: slice, g: Tensor) -> None:
        self._put(g, len(self.x), slice(None), outputs)

    def end(self) -> None:
        with ThreadPoolExecutor(threads()) as pool:
            filters.form_rows(self.layer, self.g, self.x, self.words[self.block], self.b[self.block], pool)
        del self.x, self.g

    def add(self, gram: Gram, other: "FilteredKept | None", report: Report) -> None:
        j, b = self.words.view(torch.bfloat16), self.b
        two = (j, b) if other is None else (other.words.view(torch.bfloat16), other.b)
        add_gradients(gram, self.rule, (j, two[0]), (b, two[1]))
        report(1.0)

    sizes = staticmethod(Kept.sizes)


class FilteredFactors(_Filtered):
    def __init__(self, layer: Layer, channels: slice, n: int, c: int, images: int, like: Tensor):
        super().__init__(layer, channels, n, c, images, like)
        self.x: Tensor | None = None

    def begin(self, block: slice, x: Tensor) -> None:
        if self.x is None:
            self.x = x.new_empty(self.n, *x.shape[1:])
        self.x[block], self.block = x, block

    def take(self, outputs: slice, g: Tensor) -> None:
        self._put(g, self.n, self.block, outputs)

    def add(self, gram: Gram, other: "FilteredFactors | None", report: Report) -> None:
        records = [self] if other is None else [self, other]
        sides = [filters.Side(self.layer, record.g, record.x, record.b) for record in records]
        rows, traced = sum(len(record.x) for record in records) * gram.k, gram.k < self.c
        parts = list(filters.parts(self.layer, self.width, rows, self.c, traced, CHUNK_BYTES))
        alone, factor = gram.same and other is None, self.rule.weight_scale**2 * gram.scale
        with ThreadPoolExecutor(threads()) as pool:
            for part in parts:
                packed = [side.panels(part, pool) for side in sides]
                bfloat16.add_panels(gram.theta, packed[0], packed[-1], factor, alone, pool)
                report(1 / len(parts))
        add_gradients(gram, self.rule, None, (sides[0].sums, sides[-1].sums))

    sizes = staticmethod(Factors.sizes)


INSTEAD: dict[type[Record], type[Record]] = {Kept: FilteredKept, Factors: FilteredFactors}
