"""Figures along the eigenvalue index: shares with running means, classes of features, a split perturbation.

The running mean at index ``i`` is over ``(i+1)/ratio <= j+1 <= (i+1) ratio``: one width on the log axis. Bins
have one width on the log axis too, but hold at least one index::

    fig = shares_along_index(usefulness, robustness, m=200)           # arrays [F]
    fig = class_shares(codes)                                         # codes of analysis.features.classes
    fig = perturbation_split(contributions, classes=codes)            # signed, [F]
"""

from itertools import pairwise

import numpy as np
import plotly.graph_objects as go

from ntkcore.analysis.intervals import wilson
from ntkcore.checks import whole
from ntkcore.figures.drawing.checks import feature_groups, float32, plural, vector
from ntkcore.figures.drawing.palette import FEATURES, MUTED, ROBUST, TEXT, faint, index_colour
from ntkcore.figures.drawing.template import (
    add_chance,
    add_ring,
    describe,
    index_axis,
    index_positions,
    new_figure,
    steady,
)
from ntkcore.readings.words import signed, span


def running_mean(values: np.ndarray, ratio: float = 1.3) -> np.ndarray:
    """Mean over a window of one width on the log axis, ``[F] -> [F]``; the first indices stand alone."""
    position = np.arange(1, len(values) + 1)
    low = np.ceil(position / ratio).astype(int)
    high = np.minimum(np.floor(position * ratio).astype(int), len(values))
    sums = np.concatenate([[0.0], np.cumsum(values, dtype=np.float64)])
    return (sums[high] - sums[low - 1]) / (high - low + 1)


def index_bins(count: int, per_decade: int) -> np.ndarray:
    """Edges of bins of indices, of one width on the log axis but never empty: ``[0, 1, 2, ..., count]``."""
    steps = int(np.ceil(np.log10(max(count, 2)) * per_decade))
    edges = np.rint(np.logspace(0, np.log10(max(count, 2)), steps + 1)).astype(int)
    return np.unique(np.concatenate([[0], edges[edges < count], [count]]))


def shares_along_index(
    usefulness: np.ndarray,
    robustness: np.ndarray,
    *,
    m: int,
    chance: float | None = None,
    selected: int | None = None,
    ratio: float = 1.3,
    dark: bool = False,
) -> go.Figure:
    """Usefulness and robustness of each feature along the index, with running means and Wilson bands.

    A band is the 95 % Wilson interval around the running mean for one feature judged on ``m`` test images:
    the scatter that chance alone explains.

    Args:
        usefulness, robustness: ``[F]`` shares in [0, 1], from the largest eigenvalue on.
        m: number of test images.
        chance: usefulness of a blind guess, a horizontal guide.
        selected: feature to ring.
        ratio: half-width of the running mean, a factor above 1.
    """
    rho = vector(usefulness, "usefulness")
    gamma = vector(robustness, "robustness", rho.size)
    index = np.arange(rho.size, dtype=np.int32)
    fig = new_figure(dark=dark, height=400)
    for words, shares, colour, symbol in (
        ("usefulness", rho, TEXT.colour(dark), "circle"),
        ("robustness", gamma, ROBUST.colour(dark), "diamond"),
    ):
        mean = running_mean(shares, ratio)
        low, high = wilson(mean, m)
        for bound, edge, fill in ((high, "upper", None), (low, "lower", "tonexty")):
            trace = _line(f"{words}, {edge} 95 % bound", bound, index, words, {"width": 0, "color": colour})
            fig.add_trace(trace.update(fill=fill, fillcolor=faint(colour), hoverinfo="skip", showlegend=False))
        trace = go.Scatter(x=index_positions(rho.size), y=float32(shares), mode="markers", name=words)
        trace.update(marker={"size": 4, "color": colour, "opacity": 0.4, "symbol": symbol}, **steady(0.4))
        trace.update(customdata=index, legendgroup=words, showlegend=False)
        fig.add_trace(trace.update(hovertemplate=f"feature %{{customdata}}<br>{words} %{{y:.1%}}<extra></extra>"))
        trace = _line(f"{words}, running mean", mean, index, words, {"color": colour, "width": 2.5})
        hover = f"around index %{{customdata}}<br>mean {words} %{{y:.1%}}<extra></extra>"
        fig.add_trace(trace.update(hovertemplate=hover))
    add_chance(fig, chance, dark=dark, side="left")
    if selected is not None:
        selected = whole(selected, "selected", 0, rho.size - 1)
        add_ring(fig, selected + 1, rho[selected], dark=dark, size=13)
        add_ring(fig, selected + 1, gamma[selected], dark=dark, size=13)
    fig.update_xaxes(index_axis(rho.size))
    fig.update_yaxes(title_text="share of test images right", tickformat=".0%", rangemode="tozero")
    k = min(10, rho.size)
    alt = f"Along {plural(rho.size, 'feature')}, mean robustness is {gamma[:k].mean():.2f} over "
    alt += f"the first {k} and {gamma.mean():.2f} over all, "
    alt += f"mean usefulness {rho[:k].mean():.2f} and {rho.mean():.2f}."
    return describe(fig, alt)


def class_shares(classes: np.ndarray, *, per_decade: int = 4, dark: bool = False) -> go.Figure:
    """Shares of robust, in-between, brittle and weak features, stacked, in bins along the index.

    Args:
        classes: ``[F]`` codes of ``analysis.features.classes.classify``.
        per_decade: bins for each factor of ten.
    """
    count = np.asarray(classes).size
    members = dict(feature_groups(classes, count))
    edges = index_bins(count, per_decade)
    fig = new_figure(dark=dark, height=340)
    totals = []
    for code, meaning in FEATURES.items():
        own = np.zeros(count)
        own[members.get(code, [])] = 1
        in_bin = np.add.reduceat(own, edges[:-1])
        totals.append(f"{int(own.sum())} {meaning.words}")
        trace = go.Bar(x=bin_names(edges), y=float32(in_bin / np.diff(edges)), name=meaning.words)
        trace.update(marker={"color": meaning.colour(dark), "line": {"width": 0}}, customdata=in_bin.astype(np.int32))
        hover = f"indices %{{x}}<br>%{{customdata}} {meaning.words}, %{{y:.0%}}<extra></extra>"
        fig.add_trace(trace.update(hovertemplate=hover))
    fig.update_layout(barmode="stack", bargap=0.08, legend_traceorder="normal")
    fig.update_xaxes(type="category", title_text="eigenvalue indices (0 = largest)", showgrid=False)
    fig.update_yaxes(title_text="share of features", tickformat=".0%", range=[0, 1])
    return describe(fig, f"Of {plural(count, 'feature')}: {', '.join(totals)}; shares along the index as bars.")


def perturbation_split(
    contributions: np.ndarray,
    *,
    classes: np.ndarray | None = None,
    quantity: str = "change of the prediction",
    per_decade: int = 14,
    dark: bool = False,
) -> go.Figure:
    """One perturbation split over features: signed contributions along the index, and their cumulative sum.

    The first features have a bar each; further on a bar is the sum over indices that fill one step of the log
    axis, stacked by class of feature (up what pushes up, down what pushes down).

    Args:
        contributions: ``[F]`` signed, e.g. ``f_i(x + delta) - f_i(x)``; they add up to the whole.
        classes: ``[F]`` codes of ``analysis.features.classes.classify``.
        quantity: what is split, in words, for axis and alt text.
        per_decade: bars for each factor of ten.
    """
    parts = vector(contributions, "contributions")
    edges = index_bins(parts.size, per_decade)
    fig = new_figure(dark=dark, height=460, panels=[0.58, 0.42])
    for code, members in feature_groups(classes, parts.size)[::-1]:
        own = np.zeros(parts.size)
        own[members] = parts[members]
        words = "" if code is None else FEATURES[code].words
        colour = index_colour(0.4, dark) if code is None else FEATURES[code].colour(dark)
        trace = go.Bar(x=float32(edges[:-1] + 0.5), y=float32(np.add.reduceat(own, edges[:-1])), offset=0)
        trace.update(width=float32(np.diff(edges) * 0.97), marker={"color": colour, "line": {"width": 0}})
        trace.update(name=words or "features", showlegend=bool(words), text=bin_names(edges), textposition="none")
        hover = f"features %{{text}}{', ' * bool(words)}{words}<br>contribute %{{y:+.3g}}<extra></extra>"
        fig.add_trace(trace.update(hovertemplate=hover), row=1, col=1)
    total = parts.cumsum()
    line = {"color": TEXT.colour(dark), "width": 2, "shape": "hv"}
    trace = _line("cumulative sum", total, np.arange(parts.size, dtype=np.int32), None, line)
    trace.update(hovertemplate="features 0 to %{customdata}<br>together %{y:+.3g}<extra></extra>", showlegend=False)
    fig.add_trace(trace, row=2, col=1)
    fig.update_layout(barmode="relative")
    for row, title in ((1, quantity), (2, "cumulative sum")):
        axis = index_axis(parts.size, title=row == 2) | {"range": [np.log10(0.48), np.log10(parts.size + 0.7)]}
        fig.update_xaxes(axis, row=row, col=1)
        fig.update_yaxes(title_text=title, zeroline=True, zerolinecolor=MUTED.colour(dark), row=row, col=1)
    k, largest = min(10, parts.size), int(np.abs(parts).argmax())
    alt = f"The {quantity}, {signed(total[-1], '+.3g')}, split over {plural(parts.size, 'feature')}: "
    alt += f"the first {k} contribute {signed(parts[:k].sum(), '+.3g')}; "
    alt += f"the largest part is {signed(parts[largest], '+.3g')}, from feature {largest}."
    return describe(fig, alt)


def _line(name: str, heights: np.ndarray, index: np.ndarray, group: str | None, line: dict) -> go.Scatter:
    x = index_positions(len(heights))
    return go.Scatter(x=x, y=float32(heights), mode="lines", name=name, customdata=index, legendgroup=group, line=line)


def bin_names(edges: np.ndarray) -> list[str]:
    """Words for bins of indices from one edge to before the next: ``["0", "1", "2–3", ...]``."""
    return [span(start, stop) for start, stop in pairwise(edges.tolist())]
