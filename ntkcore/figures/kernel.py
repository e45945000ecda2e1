"""The kernel matrix as a heat map, ordered by class.

A matrix of thousands of rows is averaged down to at most ``max_pixels`` a side. Blocks never cross the border
of two classes: the pixel edges of a class of ``n_c`` images are ``round(linspace(0, n_c, pixels_c + 1))``::

    fig = kernel_heatmap(K, labels, ["airplane", "automobile"])       # K [n, n], labels [n] in {0, 1}
    edges = class_edges([1000, 1000], max_pixels=300)                 # [0, 7, 13, ..., 2000]
    block_mean(K, edges)                                              # [n, n] -> [300, 300]
"""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import plotly.graph_objects as go

from ntkcore.checks import codes
from ntkcore.errors import DataError
from ntkcore.figures.drawing.checks import float32
from ntkcore.figures.drawing.palette import SEQUENTIAL
from ntkcore.figures.drawing.template import colorbar_above, describe, new_figure, short


def class_edges(counts: Sequence[int], max_pixels: int = 300) -> np.ndarray:
    """Block edges ``[pixels + 1]`` of rows grouped by class: at most ``max_pixels``, but one a class."""
    total = sum(counts)
    edges = [0]
    for count in (int(c) for c in counts if c > 0):
        pixels = max(1, count * max_pixels // total) if total > max_pixels else count
        steps = np.rint(np.linspace(0, count, pixels + 1)[1:]).astype(int)
        edges += (edges[-1] + steps).tolist()
    return np.asarray(edges)


def block_mean(matrix: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Mean of ``matrix`` ``[n, n]`` over each block between ``edges``, both ways; ``[pixels, pixels]``."""
    sums = np.add.reduceat(np.add.reduceat(matrix, edges[:-1], axis=0), edges[:-1], axis=1)
    sizes = np.diff(edges)
    return sums / np.outer(sizes, sizes)


def kernel_heatmap(
    kernel: np.ndarray,
    labels: np.ndarray,
    class_names: Sequence[str],
    *,
    max_pixels: int = 300,
    dark: bool = False,
) -> go.Figure:
    """Heat map of a kernel matrix whose rows are put in the order of their classes.

    Args:
        kernel: ``[n, n]``, rows in any order.
        labels: ``[n]`` class numbers, positions in ``class_names``.
        max_pixels: a larger matrix is averaged over blocks down to this many a side.
    """
    kernel = np.asarray(kernel, dtype=np.float64)
    n = len(kernel)
    if kernel.shape != (n, n):
        raise DataError(f"The kernel has shape {kernel.shape}; a square [n, n] is needed.")
    labels = codes(labels, n, range(len(class_names)), "labels")
    order = np.argsort(labels, kind="stable")
    counts = np.bincount(labels, minlength=len(class_names))
    edges = class_edges(counts.tolist(), max_pixels)
    pixels = block_mean(kernel[np.ix_(order, order)], edges)

    fig = new_figure(dark=dark, height=560, width=560)
    block = "<br>mean over a block of image pairs" if n > len(pixels) else ""
    trace = go.Heatmap(z=float32(pixels), x=float32(edges), y=float32(edges), colorscale=SEQUENTIAL, name="kernel")
    trace.update(colorbar=colorbar_above("kernel value Θ(x, x′)"))
    fig.add_trace(trace.update(hovertemplate=f"kernel value %{{z:.4g}}{block}<extra></extra>"))

    borders = np.concatenate([[0], counts.cumsum()])
    for border in borders[1:-1]:
        line = {"color": "rgba(255,255,255,0.85)", "width": 1}
        fig.add_shape(type="line", x0=0, x1=n, y0=border, y1=border, line=line)
        fig.add_shape(type="line", x0=border, x1=border, y0=0, y1=n, line=line)
    present = np.flatnonzero(counts)
    middles = np.array([(low + high) / 2 for low, high in pairwise(borders)])[present]
    names = [short(class_names[k]) for k in present.tolist()]
    frame = {"tickvals": middles, "ticktext": names, "ticks": "", "showgrid": False, "zeroline": False}
    fig.update_xaxes(frame | {"range": [0, n], "constrain": "domain"}, title_text=f"{n} training images by class")
    fig.update_yaxes(frame | {"range": [n, 0], "constrain": "domain", "constraintoward": "top", "scaleanchor": "x"})
    fig.update_yaxes(tickangle=-90 if len(names) <= 3 else 0)

    same = labels[:, None] == labels[None, :]
    within = same & ~np.eye(n, dtype=bool)
    alt = f"Kernel of {n} training images by class, values from {kernel.min():.3g} to {kernel.max():.3g}"
    if within.any() and not same.all():
        means = f"{kernel[within].mean():.3g} within a class, {kernel[~same].mean():.3g} between classes"
        alt += f"; mean {means}"
    return describe(fig, alt + ".")
