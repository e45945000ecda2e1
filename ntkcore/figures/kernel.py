"""The kernel matrix as a heat map, ordered by class.

A matrix of thousands of rows is averaged down to at most ``max_pixels`` a side (``analysis.block_means``)::

    fig = kernel_heatmap(K, labels, ["airplane", "automobile"])       # K [n, n], labels [n] in {0, 1}
    fig = block_heatmap(means, ["airplane", "automobile"])            # the same from means at hand
"""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import plotly.graph_objects as go
import torch

from ntkcore.analysis.block_means import PIXELS, BlockMeans, block_means
from ntkcore.checks import codes
from ntkcore.errors import DataError
from ntkcore.figures.drawing.checks import float32
from ntkcore.figures.drawing.palette import SEQUENTIAL
from ntkcore.figures.drawing.template import colorbar_above, describe, new_figure, short
from ntkcore.kernels.products import StoredMatrix


def kernel_heatmap(
    kernel: np.ndarray,
    labels: np.ndarray,
    class_names: Sequence[str],
    *,
    max_pixels: int = PIXELS,
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
    found = block_means(StoredMatrix(torch.from_numpy(kernel)), labels, len(class_names), max_pixels)
    return block_heatmap(found, class_names, dark=dark)


def block_heatmap(means: BlockMeans, class_names: Sequence[str], *, dark: bool = False) -> go.Figure:
    """The same of a kernel that is known by its means over blocks."""
    n, counts = means.n, means.counts
    fig = new_figure(dark=dark, height=560, width=560)
    block = "<br>mean over a block of image pairs" if n > len(means.pixels) else ""
    trace = go.Heatmap(z=float32(means.pixels), x=float32(means.edges), y=float32(means.edges), colorscale=SEQUENTIAL)
    trace.update(colorbar=colorbar_above("kernel value Θ(x, x′)"), name="kernel")
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

    alt = f"Kernel of {n} training images by class, values from {means.low:.3g} to {means.high:.3g}"
    if np.isfinite(means.within) and np.isfinite(means.between):
        alt += f"; mean {means.within:.3g} within a class, {means.between:.3g} between classes"
    return describe(fig, alt + ".")
