"""Tangent kernel of a module that consists of known leaves, a layer at a time, within a fixed amount of memory.

``Theta = sum over layers of J J^T``, J the gradients of one layer's weights, one row an image and output. Autograd
computes no weight gradient: one forward pass over a block of images and one backward pass an output, down to the
layers' outputs only, leave the records of ``products``, and those are multiplied::

    found = dissect(module, x)
    theta = layer_kernel(found, x)                       # [c n, c n]
    layer_kernel(found, x1, x2, traced=True)             # [n1, n2], (1/c) sum over outputs
    plan(found, KernelShape(64, 64, True, 10), torch.float32)   # what is taken together, and how

Memory beside the images and the result is at most WORKING_BYTES, on a GPU MORE_ON_A_GPU times as much, however many
images there are. Layers, and output channels of a layer, are taken in groups whose records fit in RECORD_BYTES, at the
price of one more pass for each group; images of which a few channels are too much already are taken in tiles. (What a
pass over one image leaves, for the largest layer at least, must fit.)
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ntkcore.kernels.empirical.layers import Affine, Dissection, Layer, calls
from ntkcore.kernels.empirical.records import (
    CHUNK_BYTES,
    PATCH_BYTES,
    FactoredJacobian,
    GradientRecord,
    Gram,
    NormGradients,
    PositionPairs,
    StoredJacobian,
    even_slices,
    there,
)
from ntkcore.kernels.empirical.sequential import GRADIENTS_AT_ONCE, Chain, chain_of

RECORD_BYTES = 320e6  # what passes leave for the products, of all images of a tile
PASS_BYTES = 128e6  # what a forward pass over a block of images leaves for its backward passes, and those for J
WORKING_BYTES = RECORD_BYTES + max(PASS_BYTES, CHUNK_BYTES) + 3 * PATCH_BYTES
CPU = torch.device("cpu")
FEWEST_CHANNELS = 2  # of a layer at a time, before images are taken in tiles instead

Report = Callable[[float, float], None]  # (done, total) in flops; may raise


@dataclass(frozen=True, eq=False)
class KernelShape:
    """Images of the rows and of the columns, whether they are the same ones, outputs of the net, traced or not."""

    rows: int
    columns: int
    same: bool
    outputs: int
    traced: bool = False

    @property
    def images(self) -> int:
        return self.rows if self.same else self.rows + self.columns

    @property
    def pairs(self) -> float:
        """Pairs of images; of the same ones only half, and the corners of the strips along the diagonal."""
        return self.rows * self.columns * (0.6 if self.same else 1.0)

    @property
    def entries(self) -> float:
        return self.pairs * (1 if self.traced else self.outputs**2)

    @property
    def products(self) -> float:
        """Of a row of J and another one; a traced entry is a sum of one for each output."""
        return self.entries * (self.outputs if self.traced else 1)

    def part(self, rows: slice, columns: slice) -> "KernelShape":
        same = self.same and rows == columns
        return KernelShape(rows.stop - rows.start, columns.stop - columns.start, same, self.outputs, self.traced)


@dataclass(frozen=True, eq=False)
class LayerPart:
    """Some output channels of a layer and the kind of record they leave."""

    layer: Layer
    kind: type[GradientRecord]
    channels: slice

    def flops(self, shape: KernelShape) -> float:
        share = (self.channels.stop - self.channels.start) / self.layer.outputs
        return share * (_flops_of_pairs if self.kind is PositionPairs else _flops_of_gradients)(self.layer, shape)


@dataclass(frozen=True, eq=False)
class Plan:
    """Groups of units that one pass serves; most images on a side of a tile; images that a pass takes at a time; the
    module as a chain, where it is one."""

    groups: list[list[LayerPart]]
    tile: int
    block: int
    chain: Chain | None


def layer_kernel(
    found: Dissection,
    x1: Tensor,
    x2: Tensor | None = None,
    traced: bool = False,
    report: Report | None = None,
) -> Tensor:
    """[n1 c, n2 c], or [n1, n2] traced; x2 = None means x1. Call it with gradients enabled; the result has none."""
    columns = x1 if x2 is None else x2
    whole = KernelShape(len(x1), len(columns), x2 is None, found.outputs, traced)
    made = plan(found, whole, x1.dtype, chain_of(found, x1), x1.device)
    k = 1 if traced else found.outputs
    theta = x1.new_zeros(len(x1) * k, len(columns) * k)
    tiles = [(i, j) for i in even_slices(len(x1), made.tile) for j in even_slices(len(columns), made.tile)]
    if x2 is None:
        tiles = [(i, j) for i, j in tiles if j.start <= i.start]
    shapes = [whole.part(i, j) for i, j in tiles]
    meter = _Meter(report, sum(_flops(found, group, shape) for shape in shapes for group in made.groups))
    for (i, j), shape in zip(tiles, shapes, strict=True):
        part = theta[i.start * k : i.stop * k, j.start * k : j.stop * k]
        gram = Gram(part, k, shape.same, 1 / found.outputs if traced else 1.0)
        for group in made.groups:
            _add(found, group, x1[i], None if shape.same else columns[j], shape, made, gram, meter)
        gram.finish()
        if x2 is None and not shape.same:
            theta[j.start * k : j.stop * k, i.start * k : i.stop * k] = part.T
    meter.did(meter.total)
    return theta


def plan(
    found: Dissection,
    shape: KernelShape,
    dtype: torch.dtype,
    chain: Chain | None = None,
    device: torch.device = CPU,
) -> Plan:
    """How to take the layers: kinds by flops, then by size, and groups, tiles and blocks that fit in memory."""
    c, size = found.outputs, dtype.itemsize
    records, passes, chunk = (there(most, device) for most in (RECORD_BYTES, PASS_BYTES, CHUNK_BYTES))
    kinds = {layer: _kind(layer, shape) for layer in found.layers}
    tile = max(shape.rows, shape.columns)
    for layer, kind in kinds.items():
        fixed, each = kind.sizes(layer, c)
        least = size * (fixed + each * min(FEWEST_CHANNELS, layer.outputs))
        tile = min(tile, max(1, int(records / (2 * least))))
    whole = tile >= max(shape.rows, shape.columns)
    images = shape.images if whole else min(tile, shape.rows) + min(tile, shape.columns)
    groups: list[list[LayerPart]] = [[]]
    filled = 0.0
    for layer, kind in reversed(kinds.items()):
        fixed, each = kind.sizes(layer, c)
        room = (records / (size * images) - fixed) / each
        if kind is FactoredJacobian:  # J for one channel of the input must fit as well
            room = min(room, chunk * layer.inputs / (size * images * c * layer.window))
        for channels in even_slices(layer.outputs, room):
            needed = size * images * (fixed + each * (channels.stop - channels.start))
            if groups[-1] and filled + needed > records:
                groups.append([])
                filled = 0.0
            groups[-1].append(LayerPart(layer, kind, channels))
            filled += needed
    stored = sum(layer.outputs * layer.positions for layer, kind in kinds.items() if kind is StoredJacobian)
    saved = sum(layer.input_size + layer.outputs * layer.positions for layer in found.layers)
    passing = max(layer.outputs * layer.positions for layer in found.layers)
    if chain and size * c * GRADIENTS_AT_ONCE * passing > passes:
        chain = None  # all outputs of an image at once are too much
    if chain:
        image = size * (saved + c * (stored + GRADIENTS_AT_ONCE * passing))
    else:  # of one output at a time: copies and gradients on their way
        image = size * (saved + c * stored + 3 * passing)
    return Plan(groups, tile, max(1, int(passes / image)), chain)


def _add(
    found: Dissection,
    group: list[LayerPart],
    x1: Tensor,
    x2: Tensor | None,
    shape: KernelShape,
    made: Plan,
    gram: Gram,
    meter: "_Meter",
) -> None:
    """A group's part of a tile: passes over the images of both sides, then the products of what they left."""
    one = _records(found, group, x1, shape, made, meter)
    two: Sequence[GradientRecord | None] = (
        [None] * len(one) if x2 is None else _records(found, group, x2, shape, made, meter)
    )
    with torch.no_grad():
        for unit, first, second in zip(group, one, two, strict=True):
            first.add(gram, second, meter.of(unit.flops(shape)))


def _records(
    found: Dissection, group: list[LayerPart], x: Tensor, shape: KernelShape, made: Plan, meter: "_Meter"
) -> list[GradientRecord]:
    """One pass over all images of ``x``: forward, then backward for each output, down to the group's layers."""
    records = [unit.kind(unit.layer, unit.channels, len(x), shape.outputs, shape.images, x) for unit in group]
    flops = _flops_of_pass(found, group, shape.outputs)
    for images in even_slices(len(x), made.block):
        if made.chain:
            _by_chain(made.chain, records, images, x[images], shape.outputs)
            meter.did(flops * (images.stop - images.start))
        else:
            _by_autograd(found, records, images, x[images], meter.of(flops))
    return records


def _by_chain(chain: Chain, records: list[GradientRecord], images: slice, x: Tensor, outputs: int) -> None:
    """Records of the block ``images``."""
    of: dict[nn.Module, list[GradientRecord]] = defaultdict(list)
    for record in records:
        of[record.layer.part].append(record)
    with torch.no_grad():
        for part, inputs, gradients in chain.back(x, set(of), outputs):
            for record in of[part]:
                record.begin(images, inputs)
                record.take(slice(0, outputs), gradients)
                record.end()


def _by_autograd(found: Dissection, records: list[GradientRecord], images: slice, x: Tensor, did: Callable) -> None:
    """The same of any module: a backward pass for each output. did: told how many images are done, and parts of one."""
    parts = list({record.layer.part: None for record in records})
    leaf = x.detach().requires_grad_()
    with calls(parts) as seen:
        out = found.module(leaf.clone())  # a clone, because a leaf may not be written to in place
    edges = [edge for part in parts if (edge := seen[part][0].edge) is not None]
    for record in records:
        record.begin(images, seen[record.layer.part][0].input.detach())
    del seen
    for a in range(found.outputs):
        again = a + 1 < found.outputs
        gradients = torch.autograd.grad(out[:, a].sum(), edges, retain_graph=again, allow_unused=True)
        of = dict(zip(parts, gradients, strict=True))
        for record in records:
            record.take(slice(a, a + 1), of[record.layer.part][:, None])
        did(len(x) / found.outputs)
    for record in records:
        record.end()


class _Meter:
    """Tells how much of the work is done."""

    def __init__(self, report: Report | None, total: float):
        self.report, self.done, self.total = report, 0.0, total

    def did(self, flops: float) -> None:
        self.done = min(self.done + flops, self.total)
        if self.report is not None:
            self.report(self.done, self.total)

    def of(self, flops: float) -> Callable[[float], None]:
        """What is told the shares of a piece of work of so many flops."""
        return lambda share: self.did(share * flops)


# -- what it costs, in flops ------------------------------------------------------------------------------------------


def _kind(layer: Layer, shape: KernelShape) -> type[GradientRecord]:
    """The kind of record with the fewest flops; of both Jacobians, whose products are the same, the smaller."""
    if not isinstance(layer.rule, Affine):
        return NormGradients
    if _flops_of_pairs(layer, shape) < _flops_of_gradients(layer, shape):
        return PositionPairs
    numbers = {}
    for kind in (StoredJacobian, FactoredJacobian):  # of two that are as large the first
        fixed, each = kind.sizes(layer, shape.outputs)
        numbers[kind] = fixed + each * layer.outputs
    return min(numbers, key=lambda kind: numbers[kind])


def _flops(found: Dissection, group: list[LayerPart], shape: KernelShape) -> float:
    return shape.images * _flops_of_pass(found, group, shape.outputs) + sum(unit.flops(shape) for unit in group)


def _flops_of_pass(found: Dissection, group: list[LayerPart], c: int) -> float:
    """Backward passes of one image, down to the group's first layer."""
    first = min(found.layers.index(unit.layer) for unit in group)
    return 2.0 * c * sum(layer.weights * layer.positions for layer in found.layers[first:])


def _flops_of_gradients(layer: Layer, shape: KernelShape) -> float:
    """J of all images, and J J^T."""
    return 2.0 * layer.weights * (shape.images * shape.outputs * layer.positions + shape.products)


def _flops_of_pairs(layer: Layer, shape: KernelShape) -> float:
    """G G^T and U U^T for all pairs of positions; 50 and 2e6 for what passing over them and each call cost beside."""
    one = 2.0 * shape.products * layer.outputs + 2.0 * shape.pairs * layer.window + 50 * shape.entries + 2e6
    return layer.positions**2 * one
