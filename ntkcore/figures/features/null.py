"""Usefulness against its null: how many features are how useful, and how many would be if labels meant nothing.

The null is every feature's usefulness after the test labels are permuted, the same way for all features, so that what
features have in common stays (``Sweep.permuted``)::

    fig = usefulness_over_null(usefulness, null.usefulness, classes=codes, m=2000, chance=0.5, useful_from=0.54)
"""

import numpy as np
import plotly.graph_objects as go

from ntkcore.checks import whole
from ntkcore.errors import DataError
from ntkcore.figures.drawing.checks import feature_groups, float32, plural, vector
from ntkcore.figures.drawing.palette import FEATURES, MUTED, WEAK, faint
from ntkcore.figures.drawing.template import DECORATION, describe, guide, legend_entry, new_figure

BINS = 48  # at most
LOWEST = 0.5  # the lower end of the axis of counts, which is logarithmic: one feature has a height


def usefulness_over_null(
    usefulness: np.ndarray,
    null: np.ndarray,
    *,
    m: int,
    classes: np.ndarray | None = None,
    chance: float | None = None,
    useful_from: float | None = None,
    dark: bool = False,
) -> go.Figure:
    """Histogram of usefulness, stacked by class of feature, over the mean histogram of the null and its 95 % band.

    Bars that stand above the band are more features than chance gives. Each bin holds the same number of the
    possible shares ``k / m``.

    Args:
        usefulness: ``[F]`` shares in [0, 1].
        null: ``[P, F]`` the same under P permutations of the test labels.
        m: number of test images.
        classes: ``[F]`` codes of ``analysis.features.classes.classify``.
        chance: usefulness of a blind guess, a vertical guide.
        useful_from: the smallest usefulness that passes the test, a vertical guide.
    """
    rho, m = vector(usefulness, "usefulness"), whole(m, "m", 1)
    null = np.asarray(null, dtype=np.float64)
    if null.ndim != 2 or null.shape[1] != rho.size or not len(null):
        raise DataError(f"null has shape {null.shape}; [P, {rho.size}] is needed, a row for each permutation.")
    edges = share_bins(min(rho.min(), null.min()), max(rho.max(), null.max()), m)
    centres, width = (edges[:-1] + edges[1:]) / 2, edges[1] - edges[0]
    drawn = np.stack([np.histogram(row, edges)[0] for row in null])
    mean, (low, high) = drawn.mean(0), np.quantile(drawn, [0.025, 0.975], axis=0)
    fig = new_figure(dark=dark, height=400)
    for code, members in feature_groups(classes, rho.size):
        meaning = WEAK if code is None else FEATURES[code]
        words = "features" if code is None else meaning.words
        counts = np.histogram(rho[members], edges)[0]
        bar = go.Bar(x=float32(centres), y=float32(counts), width=width, name=words, showlegend=code is not None)
        bar.update(marker={"color": meaning.colour(dark), "line": {"width": 0}})
        hover = f"right on about %{{x:.1%}}<br>%{{y:.0f}} {words}<extra></extra>"
        fig.add_trace(bar.update(hovertemplate=hover))
    colour = MUTED.colour(dark)
    for name, heights in (("mean", mean), ("2.5 % quantile", low), ("97.5 % quantile", high)):
        line = {"color": colour, "width": 2.5 if name == "mean" else 0, "shape": "hvh"}
        trace = go.Scatter(x=float32(centres), y=float32(heights), mode="lines", line=line, showlegend=False)
        trace.update(name=f"permuted labels, {name}", hoverinfo="skip")
        fig.add_trace(trace)
    _add_band(fig, edges, low, high, colour)
    legend_entry(fig, "permuted labels, mean and 95 % band", line={"color": colour, "width": 2.5})
    for x, words, side in ((chance, "chance", "right"), (useful_from, "useful from about", "left")):
        if x is not None:
            fig.add_vline(x=x, line=guide(dark), layer="below")
            place = {"x": x, "xanchor": side, "xshift": 3 if side == "left" else -3, "y": 1, "yref": "paper"}
            fig.add_annotation(text=f"{words} {x:.1%}".replace(".0%", "%"), yanchor="top", **place)
    fig.update_layout(barmode="stack", bargap=0, legend_traceorder="normal")
    top = np.log10(2 * max(drawn.max(), np.histogram(rho, edges)[0].max()))
    fig.update_xaxes(title_text="usefulness: right on test images", tickformat=".0%", zeroline=False)
    fig.update_yaxes(title_text="number of features", type="log", range=[np.log10(LOWEST), top], dtick=1)
    most = np.quantile(null.max(1), 0.975)
    alt = f"{plural(rho.size, 'feature')}, {np.count_nonzero(rho > most)} of them more useful than {most:.3f}, "
    alt += f"which the most useful one reaches in 2.5 % of {plural(len(null), 'permutation')} of the test labels; "
    return describe(fig, f"{alt}the most useful is right on {rho.max():.3f}.")


def share_bins(low: float, high: float, m: int) -> np.ndarray:
    """Edges of bins over the shares k / m from ``low`` to ``high``, each with as many of them, and halfway between."""
    first, last = round(low * m), round(high * m)
    step = -(-(last - first + 1) // BINS)
    return (np.arange(first, last + step + 1, step) - 0.5) / m


def _add_band(fig: go.Figure, edges: np.ndarray, low: np.ndarray, high: np.ndarray, colour: str) -> None:
    """The null's band as steps; what lies below the axis is cut at its end, where a logarithm has no place for 0."""
    x = np.concatenate([np.repeat(edges, 2)[1:-1], np.repeat(edges[::-1], 2)[1:-1]])
    y = np.maximum(np.concatenate([np.repeat(high, 2), np.repeat(low[::-1], 2)]), LOWEST / 2)
    band = go.Scatter(
        x=float32(x), y=float32(y), mode="lines", fill="toself", fillcolor=faint(colour, 0.35), line={"width": 0}
    )
    fig.add_trace(band.update(name="permuted labels, band", hoverinfo="skip", showlegend=False, meta=DECORATION))
