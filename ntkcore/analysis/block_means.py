"""A kernel [n, n] in small: means over blocks of image pairs, the images in the order of their classes.

Blocks never cross the border of two classes: the edges of a class of ``n_c`` images are
``round(linspace(0, n_c, pixels_c + 1))``. The kernel is read once, by rows, and may lie in a file::

    found = block_means(square(K), labels, classes=2)       # BlockMeans: pixels [300, 300], edges [301]
    class_edges([1000, 1000], most=300)                     # [0, 7, 13, ..., 2000]
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np

from ntkcore.kernels.blocks import slices
from ntkcore.kernels.products import BLOCK, SquareKernel

PIXELS = 300  # a side, at most, but one a class


@dataclass(frozen=True, eq=False)
class BlockMeans:
    """pixels [p, p] between edges [p + 1] of images in the order of their classes; counts [c] of images in each. Of all
    pairs: the smallest and the largest value, the means of pairs within a class (without an image and itself) and
    between classes, nan where there are none."""

    pixels: np.ndarray
    edges: np.ndarray
    counts: np.ndarray
    low: float
    high: float
    within: float
    between: float

    @property
    def n(self) -> int:
        return int(self.counts.sum())

    def arrays(self) -> dict[str, np.ndarray]:
        """By their names, as ``BlockMeans(**arrays)`` takes them."""
        return {name: np.asarray(value) for name, value in asdict(self).items()}


def block_means(K: SquareKernel, labels: np.ndarray, classes: int, most: int = PIXELS) -> BlockMeans:
    """Of a kernel whose rows are in any order; labels [n] from 0 to below ``classes``. most: pixels a side."""
    labels = np.asarray(labels)
    order = np.argsort(labels, kind="stable")
    counts = np.bincount(labels, minlength=classes)
    edges = class_edges(counts.tolist(), most)
    place = np.empty(len(order), int)  # the block of each image
    place[order] = np.repeat(np.arange(len(edges) - 1), np.diff(edges))
    sums, by_class = np.zeros((len(edges) - 1,) * 2), np.zeros((classes, classes))
    low, high, own = np.inf, -np.inf, 0.0
    for part in slices(len(K), max(1, int(BLOCK / (8 * len(K))))):
        rows = K.rows(part).numpy(force=True)
        low, high = min(low, float(rows.min())), max(high, float(rows.max()))
        own += float(rows[np.arange(len(rows)), np.arange(len(K))[part]].sum())
        np.add.at(sums, place[part], np.add.reduceat(rows[:, order], edges[:-1], axis=1))  # [rows, p]
    of_block = labels[order][edges[:-1]]
    for block, kind in enumerate(of_block):
        by_class[kind] += np.bincount(of_block, weights=sums[block], minlength=classes)
    pairs = np.outer(counts, counts)
    alike, others = int((counts * (counts - 1)).sum()), int(pairs.sum() - np.trace(pairs))
    sizes = np.diff(edges)
    return BlockMeans(
        pixels=sums / np.outer(sizes, sizes),
        edges=edges,
        counts=counts,
        low=low,
        high=high,
        within=(np.trace(by_class) - own) / alike if alike else float("nan"),
        between=(by_class.sum() - np.trace(by_class)) / others if others else float("nan"),
    )


def read_block_means(arrays: Mapping[str, np.ndarray]) -> BlockMeans:
    """What ``arrays`` has given."""
    pixels, edges, counts = (np.asarray(arrays[name]) for name in ("pixels", "edges", "counts"))
    return BlockMeans(pixels, edges, counts, *(float(arrays[name]) for name in ("low", "high", "within", "between")))


def class_edges(counts: Sequence[int], most: int = PIXELS) -> np.ndarray:
    """Block edges ``[pixels + 1]`` of rows grouped by class: at most so many pixels, but one a class."""
    total = sum(counts)
    edges = [0]
    for count in (int(c) for c in counts if c > 0):
        pixels = max(1, count * most // total) if total > most else count
        steps = np.rint(np.linspace(0, count, pixels + 1)[1:]).astype(int)
        edges += (edges[-1] + steps).tolist()
    return np.asarray(edges)
