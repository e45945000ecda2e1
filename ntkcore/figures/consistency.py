"""Figures of consistency across architectures: alignment, shared eigenspaces, matched eigenvectors and gradients.

What is drawn is defined in ``analysis.consistency``: alignment ``<A, B> / (|A| |B|)`` of two kernels, overlap
``|V_A^T V_B|_F^2 / k`` of their leading eigenspaces (``k/n`` by chance), ``|<v_i^A, v_j^B>|``, and the cosine of
the input gradients of matched features. A curve a pair of architectures, each with a colour, dash and symbol::

    fig = alignment_heatmap(["FC(1)", "Conv(2)"], matrix)                       # [A, A]
    fig = overlap_along_k(ks, {"FC(1) and Conv(2)": overlap}, n=2000)           # [P] each
    fig = vector_overlap_heatmap(overlaps, "FC(1)", "Conv(2)")                  # [top, top]
"""

from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go

from ntkcore.analysis.consistency import name_pairs
from ntkcore.errors import DataError
from ntkcore.figures.checks import plural, thin, vector
from ntkcore.figures.palette import CLASS_SYMBOLS, MAX_CLASSES, MUTED, SEQUENTIAL, class_colours
from ntkcore.figures.template import (
    colorbar_above,
    count_axis,
    describe,
    guide,
    index_axis,
    new_figure,
    plain,
    short,
)

# Pairs of architectures mean nothing that has a colour of its own: they take those of the classes of images, which
# these figures do not show.
DASHES = ("solid", "dash", "dot", "dashdot", "longdash")


def alignment_heatmap(
    names: Sequence[str], matrix: np.ndarray, *, quantity: str = "kernel alignment", dark: bool = False
) -> go.Figure:
    """Alignment of every pair of kernels, each number written into its square.

    Args:
        names: of the A architectures.
        matrix: ``[A, A]`` from ``analysis.consistency.alignment_matrix``, drawn from 0 to 1.
        quantity: what the numbers are, in words, for the colour bar and the alt text.
    """
    count = len(names)
    matrix = _matrix(matrix, "matrix", count)
    side = min(560, 220 + 84 * count)
    x = np.arange(count, dtype=np.int32)
    fig = _square(matrix, x, quantity, dark, side)
    rows, columns = np.meshgrid([short(name) for name in names], [short(name) for name in names], indexing="ij")
    texts = [[f"{a} and {b}" for a, b in zip(*pair, strict=True)] for pair in zip(rows, columns, strict=True)]
    hover = f"%{{text}}<br>{plain(quantity)} %{{z:.3f}}<extra></extra>"
    digits = 2 if matrix.min() < 0.99 else 3  # not centred, all are close to 1
    fig.update_traces(text=texts, texttemplate=f"%{{z:.{digits}f}}", textfont={"size": 12}, hovertemplate=hover)
    ticks = {"tickvals": x, "ticktext": rows[:, 0].tolist()}
    fig.update_xaxes(ticks | {"title_text": "architecture"})
    fig.update_yaxes(ticks | {"title_text": "architecture"})
    alt = f"{quantity[:1].upper()}{quantity[1:]} of {plural(count, 'architecture')}"
    if count == 1:
        return describe(fig, f"{alt}: there is no pair to compare, only {names[0]} with itself at 1.")
    values = {pair: float(matrix[a, b]) for pair, a, b in name_pairs(names)}
    return describe(fig, f"{alt}: {_ends(values, f'{{:.{digits}f}}')}.")


def overlap_along_k(ks: np.ndarray, curves: Mapping[str, np.ndarray], *, n: int, dark: bool = False) -> go.Figure:
    """Overlap of the k leading eigenvectors of pairs of architectures, along k on a log axis.

    Args:
        ks: ``[P]`` numbers of eigenvectors, ascending, from 1 to ``n``.
        curves: pair of architectures in words -> ``[P]`` overlaps from ``analysis.consistency.subspace_overlap``.
        n: number of training images; ``k/n``, the overlap of random subspaces, is a dotted guide.
    """
    ks = vector(ks, "ks")
    if not (ks[0] >= 1 and ks[-1] <= n and (np.diff(ks) > 0).all()):
        raise DataError(f"ks must ascend from 1 or more to at most n = {n}; they go from {ks[0]:g} to {ks[-1]:g}.")
    fig = new_figure(dark=dark, height=400)
    chance = go.Scatter(x=thin(ks), y=thin(ks / n), mode="lines", name="random subspaces, k/n", line=guide(dark))
    chance.update(hovertemplate="random subspaces, k = %{x:.0f}<br>overlap %{y:.2f}<extra></extra>")
    fig.add_trace(chance)
    drawn = _curves(fig, thin(ks), curves, ks.size, dark)
    for trace in drawn:
        trace.update(hovertemplate=f"{trace.name}<br>k = %{{x:.0f}}, overlap %{{y:.2f}}<extra></extra>")
    fig.update_xaxes(title_text="number of leading eigenvectors, k", **count_axis(int(ks[-1])))
    fig.update_yaxes(title_text="overlap of eigenspaces", range=[0, 1.03])
    at = max(int(np.searchsorted(ks, 20, side="right")) - 1, 0)
    ends = _ends({pair: float(np.asarray(curve)[at]) for pair, curve in curves.items()}, "{:.2f}")
    alt = f"Overlap of leading eigenspaces of {plural(len(drawn), 'pair')} of architectures along k; "
    return describe(fig, f"{alt}at k = {ks[at]:.0f}: {ends}; chance gives {ks[at] / n:.2g}.")


def vector_overlap_heatmap(matrix: np.ndarray, name_rows: str, name_columns: str, *, dark: bool = False) -> go.Figure:
    """``|<v_i, v_j>|`` of the leading eigenvectors of two architectures: a bright diagonal where they agree.

    Args:
        matrix: ``[top, top]`` from ``analysis.consistency.vector_overlap``.
        name_rows, name_columns: the architectures whose index goes down and across.
    """
    matrix = _matrix(matrix, "matrix")
    top, rows, columns = len(matrix), short(name_rows), short(name_columns)
    fig = _square(matrix, np.arange(top, dtype=np.int32), "|⟨v<sub>i</sub>, v<sub>j</sub>⟩|", dark, 520)
    hover = f"eigenvector %{{y}} of {rows}<br>eigenvector %{{x}} of {columns}<br>overlap %{{z:.2f}}<extra></extra>"
    fig.update_traces(hovertemplate=hover)
    step = next(step for step in (1, 2, 5, 10, 20, 50, 100, 200, 500, top) if top <= 12 * step)
    ticks = {"tickvals": np.arange(0, top, step, dtype=np.int32)}
    fig.update_xaxes(ticks | {"title_text": f"eigenvector of {columns}"})
    fig.update_yaxes(ticks | {"title_text": f"eigenvector of {rows}"})
    best = int((matrix.argmax(1) == np.arange(top)).sum())
    alt = f"Overlaps of the {top} leading eigenvectors of {name_rows} (rows) and {name_columns} (columns): mean on "
    return describe(fig, f"{alt}the diagonal {matrix.diagonal().mean():.2f}, largest in its row {best} of {top} times.")


def matched_cosines(index: np.ndarray, curves: Mapping[str, np.ndarray], *, dark: bool = False) -> go.Figure:
    """Mean cosine between the input gradients of matched features, along the eigenvalue index.

    Args:
        index: ``[F]`` ascending indices of the first architecture's features, 0 the largest eigenvalue.
        curves: pair of architectures in words -> ``[F]`` signed cosines; nan is a gap.
    """
    index = np.asarray(index)
    if (
        index.ndim != 1
        or index.size == 0
        or index.dtype.kind not in "iu"
        or index[0] < 0
        or (np.diff(index) <= 0).any()
    ):
        raise DataError(f"index has shape {index.shape}; ascending whole numbers from 0 on are needed.")
    fig = new_figure(dark=dark, height=380)
    drawn = _curves(fig, thin(index + 1), curves, index.size, dark)
    for trace in drawn:
        trace.update(customdata=index.astype(np.int32))
        trace.update(hovertemplate=f"{trace.name}<br>feature %{{customdata}}, cosine %{{y:+.2f}}<extra></extra>")
    heights = np.concatenate([trace.y for trace in drawn])
    known = heights[np.isfinite(heights)]
    low = min(-0.1, 1.1 * float(known.min())) if known.size else -0.1
    fig.update_xaxes(index_axis(int(index[-1]) + 1))
    fig.update_yaxes(title_text="cosine of input gradients", range=[low, 1.05])
    fig.update_yaxes(zeroline=True, zerolinecolor=MUTED.colour(dark))
    means = {pair: np.asarray(curve, dtype=float) for pair, curve in curves.items()}
    means = {pair: float(curve[np.isfinite(curve)].mean()) for pair, curve in means.items() if np.isfinite(curve).any()}
    alt = f"Mean cosine between input gradients of {plural(index.size, 'matched feature')}: "
    return describe(fig, alt + (f"on average {_ends(means, '{:+.2f}')}." if means else "none of them has a gradient."))


def _square(matrix: np.ndarray, at: np.ndarray, quantity: str, dark: bool, side: int) -> go.Figure:
    """A heat map of squares from 0 to 1, its first row at the top."""
    fig = new_figure(dark=dark, height=side, width=side)
    trace = go.Heatmap(z=thin(matrix), x=at, y=at, zmin=0, zmax=1, colorscale=SEQUENTIAL, name=quantity)
    fig.add_trace(trace.update(xgap=1, ygap=1, colorbar=colorbar_above(quantity) | {"len": 220}))
    frame = {"ticks": "", "showgrid": False, "zeroline": False, "constrain": "domain"}
    fig.update_xaxes(frame | {"range": [-0.5, len(at) - 0.5]})
    fig.update_yaxes(frame | {"range": [len(at) - 0.5, -0.5], "constraintoward": "top", "scaleanchor": "x"})
    return fig


def _curves(
    fig: go.Figure, x: np.ndarray, curves: Mapping[str, np.ndarray], length: int, dark: bool
) -> list[go.Scatter]:
    """Add a line for each pair, told apart by colour, dash and symbol; returns the traces."""
    if not 1 <= len(curves) <= MAX_CLASSES:
        raise DataError(
            f"Got {len(curves)} pairs of architectures; from 1 to {MAX_CLASSES} are told apart. Choose "
            f"{'fewer architectures' if curves else 'at least two architectures'}."
        )
    first = len(fig.data)
    for number, (pair, values) in enumerate(curves.items()):
        colour, dash = class_colours(len(curves), dark)[number], DASHES[number % len(DASHES)]
        symbol = CLASS_SYMBOLS[number]
        trace = go.Scatter(x=x, y=thin(vector(values, pair, length)), mode="lines+markers", name=plain(pair))
        trace.update(line={"color": colour, "dash": dash, "width": 2}, marker={"symbol": symbol, "size": 5})
        fig.add_trace(trace)
    return list(fig.data[first:])


def _ends(values: Mapping[str, float], form: str) -> str:
    """The smallest and the largest of some named values, in words."""
    ordered = sorted((value, name) for name, value in values.items())
    words = [f"{form.format(value)} ({name})" for value, name in ordered]
    return words[0] if len(words) == 1 else f"from {words[0]} to {words[-1]}"


def _matrix(values: object, name: str, size: int | None = None) -> np.ndarray:
    array = np.asarray(values, dtype=np.float64)
    size = len(array) if size is None and array.ndim else size
    if not size or array.shape != (size, size):
        raise DataError(f"{name} has shape {array.shape}; a square matrix, a row for each of {size or 1}, is needed.")
    return array
