"""Gradients of the weights of convolutions in bfloat16, formed as ``bfloat16`` multiplies them.

``J[o, k] = sum_p G[o, p] U[k, p]``, U the patches of the input: for plain 3x3 convolutions of enough channels by
Winograd's filtering (``winograd``), for others by these products themselves. Sums are in single precision; J is rounded
when it is stored, two output channels o a word, and panels of it are packed while they are at hand. A row of J has
``words_of_row`` words, those of channels that fill up whole panels of o and whole tiles of k being zeros::

    side = Side(layer, g, x, sums)                  # g in a ``room``; sums over positions, to be written
    for part in parts(...):                         # some of the words of J
        packed = side.panels(part, pool)            # as add_panels takes them
    form_rows(layer, g, x, j, sums, pool)           # all of them as rows, j [n, c, words]
"""

import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ntkcore.kernels import bfloat16, winograd
from ntkcore.kernels.bfloat16 import pack, panels_of, tile
from ntkcore.kernels.blocks import slices
from ntkcore.kernels.leaves import Affine, Layer
from ntkcore.kernels.registers import COLUMNS, ROWS, VECTORS
from ntkcore.kernels.vectors import LANES, compiled, load, shares, spread, store
from ntkcore.kernels.winograd import PLACES, TAPS, paired, starts_of_tiles, store_taps, transform_gradients, widened

PAIRS_OF_PANEL = LANES // 2  # of output channels
SHARES = 4  # of the work for each thread
TRANSFORMED_BYTES = 32e6  # of images that panels are formed of
FEWEST_POSITIONS = 16  # with fewer of them what each number loses counts, and there is little to gain
MOST_ZEROS = 0.5  # with which channels are filled up, as a share of what there is


def serves(layer: Layer, outputs: int) -> bool:
    """Whether gradients of so many output channels are formed here: of convolutions that are not too small."""
    if not isinstance(layer.rule, Affine) or layer.rule.dense or layer.positions < FEWEST_POSITIONS:
        return False
    return _fills(outputs, LANES) and (_minimal(layer) or _fills(layer.window, COLUMNS))


def words_of_row(layer: Layer, outputs: int) -> int:
    """Of J, for so many output channels."""
    return filled(outputs) // 2 * _taps(layer) * filled(layer.window // _taps(layer), COLUMNS)


def filled(number: int, to: int = LANES) -> int:
    """The next multiple."""
    return -(-number // to) * to


def laid_out(layer: Layer, g: Tensor) -> Tensor:
    """[n, c, o, h, w] -> [n, c, h, w, o], or all positions in one row where there are no tiles."""
    g = g.movedim(2, -1)
    return g if _minimal(layer) else g.flatten(2, 3)[:, :, None]


def room(layer: Layer, n: int, g: Tensor) -> Tensor:
    """[n, c, H, W, O] bfloat16 for n images of gradients that are ``laid_out``; zeros where they are filled up."""
    c, height, width, outputs = g.shape[1:]
    shape = (n, c, filled(height, 2) if _minimal(layer) else height, filled(width, 2), filled(outputs))
    found = bfloat16.large(shape, np.int16).view(torch.bfloat16)
    return found if shape[1:] == g.shape[1:] else found.zero_()


@dataclass(frozen=True)
class Part:
    """What is formed together: panels of LANES output channels and of LANES columns, the first and how many; the first
    of the net's outputs, and how many."""

    panels: tuple[int, int]
    columns: tuple[int, int]
    outputs: tuple[int, int]


def parts(layer: Layer, channels: int, rows: int, outputs: int, traced: bool, most: float) -> Iterator[Part]:
    """All of J, of so many output channels, in parts of at most so many bytes where that can be. rows: of all sides."""
    taps = _taps(layer)
    panels, columns = filled(channels) // LANES, filled(layer.window // taps, COLUMNS) // LANES
    fit = int(most / (PAIRS_OF_PANEL * taps * LANES * 4 * rows))
    across = min(columns, max(1, fit // VECTORS) * VECTORS)
    down = min(panels, max(1, fit // across))
    for first in range(outputs if traced else 1):
        for panel in slices(panels, down):
            for column in slices(columns, across):
                of = [(part.start, part.stop - part.start) for part in (panel, column)]
                yield Part(*of, (first, 1) if traced else (0, outputs))


@dataclass(eq=False)
class Side:
    """Gradients of some images in a ``room``, what the layer was given [n, K, H, W], and sums [n, c, O]."""

    layer: Layer
    g: Tensor
    x: Tensor
    sums: Tensor
    _right: tuple[slice, np.ndarray] | None = None
    _packed: np.ndarray | None = None

    def panels(self, part: Part, pool: ThreadPoolExecutor) -> np.ndarray:
        """[panels of rows, words, LANES]; rows: images, and outputs of the net for each. sums are written.

        The next part is written in the same place.
        """
        g, sums, of = self.g.view(torch.int16).numpy(), self.sums.numpy(), part.outputs
        width = part.panels[1] * part.columns[1] * LANES * PAIRS_OF_PANEL * _taps(self.layer)
        packed = self._room((panels_of(len(g) * of[1]), width, LANES))
        whole = LANES // math.gcd(LANES, of[1])  # images that fill whole panels
        fit = int(TRANSFORMED_BYTES / _bytes(self.layer, self.g))
        for block in slices(len(g), max(1, fit // whole) * whole):
            first, last = block.start * of[1] // LANES, -(-block.stop * of[1] // LANES)
            given = (g[block], self._factor(block, pool), part.panels, part.columns, of)
            to = (packed[first : len(packed) if block.stop == len(g) else last], sums[block])
            turns = shares(len(to[0]), SHARES)
            list(pool.map(lambda share, given=given, to=to: _form_panels(*given, share, *to), turns))
        return packed

    def _room(self, shape: tuple[int, int, int]) -> np.ndarray:
        if self._packed is None or self._packed.size < math.prod(shape):
            self._packed = np.empty(math.prod(shape), np.int32)
        return self._packed[: math.prod(shape)].reshape(shape)

    def _factor(self, block: slice, pool: ThreadPoolExecutor) -> np.ndarray:
        if self._right is None or self._right[0] != block:
            self._right = block, right(self.layer, self.x[block], self.g.shape[2:4], pool)
        return self._right[1]


def form_rows(layer: Layer, g: Tensor, x: Tensor, j: Tensor, sums: Tensor, pool: ThreadPoolExecutor) -> None:
    """g in a ``room``; j [n, c, words] int32 and sums [n, c, O] float32 are written."""
    for block in slices(len(g), max(1, int(TRANSFORMED_BYTES / _bytes(layer, g)))):
        of = [t[block].flatten(0, 1).numpy() for t in (g.view(torch.int16), j, sums)]
        factor = right(layer, x[block], g.shape[2:4], pool)
        given = (of[0], factor, g.shape[1])
        list(pool.map(lambda share, given=given, of=of: _form_rows(*given, share, *of[1:]), shares(len(of[0]), SHARES)))


def right(layer: Layer, x: Tensor, size: tuple[int, int], pool: ThreadPoolExecutor) -> np.ndarray:
    """What G is multiplied with, of images [n, K, H, W]: [n, panels of columns, places, words, LANES] int32.

    size: height and width of G's room.
    """
    if _minimal(layer):
        return _transformed(x, size, pool)
    pads = (0, size[1] - layer.positions, 0, filled(layer.window, COLUMNS) - layer.window)
    packed = bfloat16.in_panels(F.pad(layer.rule.patches(x.bfloat16()), pads).flatten(0, 1), pool)
    return packed.reshape(len(x), -1, 1, *packed.shape[1:])


def _transformed(x: Tensor, size: tuple[int, int], pool: ThreadPoolExecutor) -> np.ndarray:
    n, channels, height, width = x.shape
    around = torch.zeros(n, size[0] + 2, size[1] + 2, filled(channels, COLUMNS), dtype=torch.float32, device="cpu")
    around[:, 1 : height + 1, 1 : width + 1, :channels] = x.movedim(1, -1)
    out = np.empty((n, around.shape[-1] // LANES, PLACES, -(-size[0] * size[1] // 8), LANES), np.int32)
    padded = around.numpy()
    list(pool.map(lambda share: winograd.transform_images(padded, share, out), shares(n, SHARES)))
    return out


def _minimal(layer: Layer) -> bool:
    """Whether Winograd's filtering forms the gradients."""
    rule = layer.rule
    plain = rule.window == (3, 3) and rule.padding == (1, 1, 1, 1) and rule.stride == rule.dilation == (1, 1)
    return plain and _fills(layer.inputs, COLUMNS)


def _fills(number: int, to: int) -> bool:
    return filled(number, to) <= (1 + MOST_ZEROS) * number


def _taps(layer: Layer) -> int:
    """Columns of J that each column of the factor becomes."""
    return TAPS if _minimal(layer) else 1


def _bytes(layer: Layer, g: Tensor) -> int:
    """Of the factor, for an image."""
    return (8 * layer.inputs if _minimal(layer) else 2 * layer.window) * g.shape[2] * g.shape[3]


@compiled
def _pairs_of_positions(g, panel, out, sums):
    """g [H, W, O], H W even -> out [words * LANES] of a panel of O; sums [O] over all positions."""
    flat, step, total = g.ravel(), g.shape[2], spread(np.float32(0))
    for word in range(g.shape[0] * g.shape[1] // 2):
        at = 2 * word * step + panel * LANES
        low, high = widened(flat, at), widened(flat, at + step)
        total = total + (low + high)
        store(out, word * LANES, paired(low, high))
    store(sums, panel * LANES, total)


@compiled
def _form_row(g, starts, right, panels, columns, hat, sums, j, totals):
    """One row of J: g [H, W, O], right [panels, places, words, LANES], panels and columns (first, how many); hat, sums:
    room for the words of G, and for sums of products."""
    places, words, size, flat = right.shape[1], right.shape[2], columns[1] * LANES, right.ravel()
    taps = TAPS if places > 1 else 1
    for panel in range(panels[1]):
        if places > 1:
            transform_gradients(g, starts, panels[0] + panel, hat, totals)
        else:
            _pairs_of_positions(g, panels[0] + panel, hat, totals)
        for half in range(0, LANES, ROWS):
            for column in range(0, size, COLUMNS):
                first = (columns[0] + column // LANES) * places
                for place in range(places):
                    at, across = place * words * LANES + half, (first + place) * words * LANES
                    beside, to = places * words * LANES, place * ROWS * COLUMNS
                    tile(hat, at, 1, LANES, flat, across, LANES, beside, words, sums, to, COLUMNS)
                for pair in range(ROWS // 2):
                    to = (panel * PAIRS_OF_PANEL + half // 2 + pair) * taps * size + column
                    for lane in range(0, COLUMNS, LANES):
                        at = 2 * pair * COLUMNS + lane
                        if places > 1:
                            store_taps(sums, at, j, to + lane, size)
                        else:
                            store(j, to + lane, paired(load(sums, at), load(sums, at + COLUMNS)))


@compiled
def _form_rows(g, right, outputs, part, j, totals):
    """Rows part[0] to part[1] of g [n outputs, H, W, O] into j and totals."""
    hat, sums = np.empty(right[0, 0].size, np.int32), np.empty(PLACES * ROWS * COLUMNS, np.float32)
    starts, panels, columns = starts_of_tiles(g[0]), (0, g.shape[3] // LANES), (0, right.shape[1])
    for row in range(part[0], part[1]):
        _form_row(g[row], starts, right[row // outputs], panels, columns, hat, sums, j[row], totals[row])


@compiled
def _form_panels(g, right, panels, columns, outputs, part, packed, totals):
    """Panels part[0] to part[1] of rows."""
    hat, sums = np.empty(right[0, 0].size, np.int32), np.empty(PLACES * ROWS * COLUMNS, np.float32)
    starts, rows = starts_of_tiles(g[0, 0]), np.empty((LANES, packed.shape[1]), np.int32)
    for panel in range(part[0], part[1]):
        for lane in range(LANES):
            image, output = (panel * LANES + lane) // outputs[1], (panel * LANES + lane) % outputs[1] + outputs[0]
            if image < len(g):
                here, there = g[image, output], totals[image, output]
                _form_row(here, starts, right[image], panels, columns, hat, sums, rows[lane], there)
            else:
                rows[lane] = 0
        pack(rows, 0, packed.shape[1], (0, 1), packed[panel : panel + 1])
