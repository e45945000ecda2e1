"""Figures of consistency across architectures: alignment, shared eigenspaces, matched eigenvectors and gradients.

What is drawn is defined in ``analysis.consistency``: alignment ``<A, B> / (|A| |B|)`` of two kernels, overlap
``|V_A^T V_B|_F^2 / k`` of their leading eigenspaces, ``|<v_i^A, v_j^B>|``, and the cosine of the input gradients of
matched features, with their intervals and what images paired at random would give (``agreement``). A curve a
pair of architectures, each with a colour, dash and symbol::

    fig = alignment_heatmap(["FC(1)", "Conv(2)"], band)                         # of [A, A]
    fig = overlap_along_k(ks, {"FC(1) and Conv(2)": band}, chance)              # of [P] each
    fig = vector_overlap_heatmap(overlaps, "FC(1)", "Conv(2)")                  # [top, top]
    fig = matched_features(match, cosines, n=2000)                              # [F], [F, m]
"""

from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go

from ntkcore.analysis.consistency.agreement import agreeing, leading, mean_cosine
from ntkcore.analysis.consistency.similarity import Match, name_pairs
from ntkcore.analysis.intervals import Band, mean_band
from ntkcore.errors import DataError
from ntkcore.figures.drawing.bands import known_band
from ntkcore.figures.drawing.checks import float32, plural, vector
from ntkcore.figures.drawing.palette import CLASS_SYMBOLS, MAX_CLASSES, MUTED, SEQUENTIAL, TEXT, class_colours
from ntkcore.figures.drawing.template import (
    colorbar_above,
    count_axis,
    describe,
    guide,
    index_axis,
    new_figure,
    plain,
    short,
)
from ntkcore.readings.words import signed, within

# Pairs of architectures mean nothing that has a colour of its own: they take those of the classes of images, which
# these figures do not show.
DASHES = ("solid", "dash", "dot", "dashdot", "longdash")


def alignment_heatmap(
    names: Sequence[str], band: Band, *, quantity: str = "kernel alignment", dark: bool = False
) -> go.Figure:
    """Alignment of every pair of kernels, each number written into its square, its interval told on hover.

    Args:
        names: of the A architectures.
        band: of ``[A, A]``, from ``analysis.consistency.agreement``, drawn from 0 to 1.
        quantity: what the numbers are, in words, for the colour bar and the alt text.
    """
    count = len(names)
    matrix, low, high = (_matrix(side, "band", count) for side in (band.mean, band.low, band.high))
    side = min(560, 220 + 84 * count)
    x = np.arange(count, dtype=np.int32)
    fig = _square(matrix, x, quantity, dark, side)
    shown = [short(name) for name in names]
    interval = [
        [f"{shown[a]} and {shown[b]}<br>{matrix[a, b]:.3f} [{low[a, b]:.3f}, {high[a, b]:.3f}]" for b in x] for a in x
    ]
    hover = f"{plain(quantity)} of %{{text}}<extra></extra>"
    fig.update_traces(text=interval, texttemplate="%{z:.3f}", textfont={"size": 12}, hovertemplate=hover)
    ticks = {"tickvals": x, "ticktext": shown}
    fig.update_xaxes(ticks | {"title_text": "architecture"})
    fig.update_yaxes(ticks | {"title_text": "architecture"})
    alt = f"{quantity[:1].upper()}{quantity[1:]} of {plural(count, 'architecture')}"
    if count == 1:
        return describe(fig, f"{alt}: there is no pair to compare, only {names[0]} with itself at 1.")
    values = {pair: float(matrix[a, b]) for pair, a, b in name_pairs(names)}
    return describe(fig, f"{alt}: {_ends(values, '{:.3f}')}.")


def overlap_along_k(
    ks: np.ndarray, curves: Mapping[str, Band], chance: np.ndarray, *, dashes: bool = True, dark: bool = False
) -> go.Figure:
    """Overlap of the k leading eigenvectors of pairs of architectures, along k on a log axis.

    Args:
        ks: ``[P]`` numbers of eigenvectors, ascending, from 1 on.
        curves: pair of architectures in words -> a band of ``[P]`` overlaps, from ``analysis.consistency.agreement``.
        chance: ``[P]`` overlaps that images paired at random would have at most on average, a dotted guide.
        dashes: whether pairs have dashes of their own, besides colours and symbols.
    """
    ks = vector(ks, "ks")
    if not (ks[0] >= 1 and (np.diff(ks) > 0).all()):
        raise DataError(f"ks must ascend from 1 or more; they go from {ks[0]:g} to {ks[-1]:g}.")
    chance, at = vector(chance, "chance", ks.size), leading(ks)
    fig = new_figure(dark=dark, height=400)
    if not 1 <= len(curves) <= MAX_CLASSES:
        raise DataError(
            f"Got {len(curves)} pairs of architectures; from 1 to {MAX_CLASSES} are told apart. Choose "
            f"{'fewer architectures' if curves else 'at least two architectures'}."
        )
    line = go.Scatter(x=float32(ks), y=float32(chance), mode="lines", name="images paired at random", line=guide(dark))
    fig.add_trace(line.update(hovertemplate="images paired at random, k = %{x:.0f}<br>overlap %{y:.1%}<extra></extra>"))
    for number, (pair, given) in enumerate(curves.items()):
        band = known_band(given, pair, ks.size)
        look = {"color": class_colours(len(curves), dark)[number]}
        ends = [
            f" [{low:.1%}, {high:.1%}]" if high > low else "" for low, high in zip(band.low, band.high, strict=True)
        ]
        bars = {
            "array": float32(band.high - band.mean),
            "arrayminus": float32(band.mean - band.low),
            "symmetric": False,
        }
        trace = go.Scatter(x=float32(ks), y=float32(band.mean), mode="lines+markers", name=plain(pair), text=ends)
        trace.update(line=look | {"dash": DASHES[number % len(DASHES)] if dashes else "solid", "width": 2})
        trace.update(
            marker={"symbol": CLASS_SYMBOLS[number], "size": 5}, error_y=bars | look | {"thickness": 1, "width": 2}
        )
        trace.update(hovertemplate=f"{trace.name}<br>k = %{{x:.0f}}, overlap %{{y:.1%}}%{{text}}<extra></extra>")
        fig.add_trace(trace)
    fig.update_xaxes(title_text="number of leading eigenvectors, k", **count_axis(int(ks[-1])))
    fig.update_yaxes(title_text="overlap of eigenspaces", range=[0, 1.03])
    ends = _ends({pair: float(np.asarray(band.mean)[at]) for pair, band in curves.items()}, "{:.1%}")
    alt = f"Overlap of leading eigenspaces of {plural(len(curves), 'pair')} of architectures along k; "
    return describe(fig, f"{alt}at k = {ks[at]:.0f}: {ends}; images paired at random give {chance[at]:.1%}.")


def vector_overlap_heatmap(matrix: np.ndarray, name_rows: str, name_columns: str, *, dark: bool = False) -> go.Figure:
    """``|<v_i, v_j>|`` of the leading eigenvectors of two architectures: a bright diagonal where they agree.

    Args:
        matrix: ``[top, top]`` from ``vector_overlap``.
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


def matched_features(match: Match, cosines: np.ndarray, *, n: int, dark: bool = False) -> go.Figure:
    """Features of one architecture and their partners of another, along the first's eigenvalue index.

    Args:
        match: of F features, from ``match_features``.
        cosines: ``[F, m]`` of their input gradients at m images, signed; drawn as the mean over images with its
            interval, filled where the eigenvectors agree. nan is a gap.
        n: number of training images, entries of an eigenvector.
    """
    overlap, partner = (vector(part, "match") for part in (match.product.abs(), match.partner))
    cosines = np.asarray(cosines, dtype=float)
    if cosines.ndim != 2 or len(cosines) != overlap.size:
        raise DataError(f"cosines has shape {cosines.shape}; [{overlap.size}, m] is needed, a row for each feature.")
    band, index = mean_band(cosines), np.arange(overlap.size)
    fig = new_figure(dark=dark, height=520)
    names = [f"feature {i}, partner {j:.0f}" for i, j in zip(index, partner, strict=True)]
    grey = go.Scatter(x=float32(index + 1), y=float32(overlap), mode="lines+markers", name="overlap of eigenvectors")
    grey.update(line=guide(dark) | {"dash": "dash"}, marker={"symbol": "diamond", "size": 6}, text=names)
    fig.add_trace(grey.update(hovertemplate="%{text}<br>overlap of eigenvectors %{y:.2f}<extra></extra>"))
    reach = np.where(np.isfinite(band.low), band.high - band.mean, 0)
    ends = [
        f"{n}<br>cosine {within(m, a, b, '+.2f')}"
        for n, m, a, b in zip(names, band.mean, band.low, band.high, strict=True)
    ]
    colour = {"color": TEXT.colour(dark)}
    dots = go.Scatter(
        x=float32(index + 1), y=float32(band.mean), mode="markers", name="cosine of input gradients", text=ends
    )
    close = agreeing(match, n)
    symbols = np.where(close, "circle", "circle-open").tolist()
    dots.update(
        marker=colour | {"size": 7, "symbol": symbols},
        error_y=colour | {"array": float32(reach), "thickness": 1.2, "width": 3},
    )
    fig.add_trace(dots.update(hovertemplate="%{text}<extra></extra>"))
    known = np.isfinite(band.mean)
    low = float((band.mean - reach)[known].min()) if known.any() else 0.0
    fig.update_xaxes(index_axis(overlap.size))
    fig.update_yaxes(title_text="overlap, cosine", range=[min(-0.1, 1.1 * low), 1.05])
    fig.update_yaxes(zeroline=True, zerolinecolor=MUTED.colour(dark))
    alt = f"{plural(overlap.size, 'matched feature')}: overlap of eigenvectors {overlap.mean():.2f} on average"
    if not known.any():
        return describe(fig, f"{alt}; none of them has an input gradient.")
    groups = {"agree": mean_cosine(cosines[close]), "do not": mean_cosine(cosines[~close])}
    means = [
        f"{signed(float(found.mean), '+.2f')} where eigenvectors {which}"
        for which, found in groups.items()
        if found.known
    ]
    return describe(fig, f"{alt}; mean cosine of input gradients {', '.join(means)}.")


def _square(matrix: np.ndarray, at: np.ndarray, quantity: str, dark: bool, side: int) -> go.Figure:
    """A heat map of squares from 0 to 1, its first row at the top."""
    fig = new_figure(dark=dark, height=side, width=side)
    trace = go.Heatmap(z=float32(matrix), x=at, y=at, zmin=0, zmax=1, colorscale=SEQUENTIAL, name=quantity)
    fig.add_trace(trace.update(xgap=1, ygap=1, colorbar=colorbar_above(quantity) | {"len": 220}))
    frame = {"ticks": "", "showgrid": False, "zeroline": False, "constrain": "domain"}
    fig.update_xaxes(frame | {"range": [-0.5, len(at) - 0.5]})
    fig.update_yaxes(frame | {"range": [len(at) - 0.5, -0.5], "constraintoward": "top", "scaleanchor": "x"})
    return fig


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
