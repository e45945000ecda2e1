"""Every eigenfeature as a dot: usefulness against robustness.

Usefulness ``rho_i`` is the share of ``m`` test images that feature ``i`` alone gets right, robustness
``gamma_i`` the share still right under the attack (Tsilivis & Kempe 2022, section 4)::

    fig = usefulness_robustness(usefulness, robustness, m=200, chance=0.5)           # arrays [F]
    fig = usefulness_robustness(usefulness, robustness, classes=codes, colour="class", selected=3)
    fig.data[0].customdata                                                           # indices, for clicks
"""

from typing import Literal

import numpy as np
import plotly.graph_objects as go

from ntkcore.analysis.intervals import wilson
from ntkcore.checks import whole
from ntkcore.errors import DataError
from ntkcore.figures.drawing.checks import feature_groups, float32, plural, vector
from ntkcore.figures.drawing.palette import FEATURES, TEXT
from ntkcore.figures.drawing.template import (
    DECORATION,
    add_ring,
    describe,
    feature_legend,
    guide,
    index_coloraxis,
    new_figure,
    steady,
)
from ntkcore.readings.words import p_words

WEBGL_FROM = 3000  # dots; below, SVG is as quick, sharper when saved, and spares the browser's few WebGL contexts
_OPACITY = 0.85


def usefulness_robustness(
    usefulness: np.ndarray,
    robustness: np.ndarray,
    *,
    classes: np.ndarray | None = None,
    colour: Literal["index", "class"] = "index",
    p_values: np.ndarray | None = None,
    selected: int | None = None,
    m: int | None = None,
    chance: float | None = None,
    useful_from: float | None = None,
    keep: float | None = None,
    attack: str = "attack",
    dark: bool = False,
) -> go.Figure:
    """Every feature as a dot: the share of test images right, across, and right under attack, up.

    A dot's ``customdata`` is the feature's index, so that a click can be read. Larger eigenvalues are drawn
    on top; the hover text tells of other features at the same spot (shares are multiples of 1/m, so spots
    repeat).

    Args:
        usefulness, robustness: ``[F]`` shares in [0, 1], from the largest eigenvalue on.
        classes: ``[F]`` codes of ``analysis.features.classes.classify``; they set the marker's symbol.
        p_values: ``[F]`` of the test of usefulness, told in the hover text.
        colour: ``index`` (viridis) or ``class`` (needs ``classes``).
        selected: feature to ring; with ``m`` test images also its 95 % Wilson intervals.
        chance: usefulness of a blind guess, a vertical guide.
        useful_from: usefulness that the statistical test asks for, a vertical guide.
        keep: share of its right answers that a robust feature keeps under attack, a slanted guide
            ``robustness = keep * usefulness``.
        attack: the attack and its radius in words, for the axis.
    """
    rho = vector(usefulness, "usefulness")
    gamma = vector(robustness, "robustness", rho.size)
    groups = feature_groups(classes, rho.size)
    if colour == "class" and classes is None:
        raise DataError("colour is 'class' but there are no classes; hand in classes or choose colour='index'.")
    fig = new_figure(dark=dark, height=520)
    _add_guides(fig, _range(rho), _range(gamma), chance, useful_from, keep, dark)
    hover_texts = _same_spot(rho, gamma)
    if p_values is not None:
        p = vector(p_values, "p_values", rho.size)
        hover_texts = np.array(
            [f"<br>{p_words(value)}{words}" for value, words in zip(p, hover_texts, strict=True)], dtype=object
        )
    scatter = go.Scattergl if rho.size >= WEBGL_FROM else go.Scatter
    for code, members in groups:
        members = members[::-1]  # the largest eigenvalues are drawn last, on top
        words = "" if code is None else FEATURES[code].words
        marker = {"size": 8, "opacity": _OPACITY, "line": {"width": 0}}
        if code is not None:
            marker["symbol"] = FEATURES[code].symbol
        if code is not None and colour == "class":
            marker["color"] = FEATURES[code].colour(dark)
        else:
            marker |= {"color": float32(np.log10(members + 1)), "coloraxis": "coloraxis"}
        trace = scatter(x=float32(rho[members]), y=float32(gamma[members]), mode="markers", marker=marker)
        trace.update(customdata=members.astype(np.int32), text=hover_texts[members].tolist(), **steady(_OPACITY))
        shares = "right on %{x:.1%} of test images<br>under attack on %{y:.1%}%{text}<extra></extra>"
        trace.update(hovertemplate=f"<b>feature %{{customdata}}</b>{', ' * bool(words)}{words}<br>{shares}")
        fig.add_trace(trace.update(name=words or "all features", legendgroup=words or None, showlegend=False))
    if classes is not None:
        feature_legend(fig, [code for code, _ in groups if code is not None], dark=dark, coloured=colour == "class")
    if colour == "index":
        fig.update_layout(coloraxis=index_coloraxis(rho.size, dark=dark))
    if selected is not None:
        _add_selected(fig, rho, gamma, whole(selected, "selected", 0, rho.size - 1), m, dark)
    fig.update_xaxes(title_text="usefulness: right on test images", range=_range(rho))
    fig.update_yaxes(title_text=f"robustness: right under {attack}", range=_range(gamma))
    fig.update_xaxes(tickformat=".0%", zeroline=False)
    fig.update_yaxes(tickformat=".0%", zeroline=False)
    alt = f"{plural(rho.size, 'feature')}: usefulness from {rho.min():.2f} to {rho.max():.2f}, robustness from "
    alt += f"{gamma.min():.2f} to {gamma.max():.2f} (feature {gamma.argmax()})"
    if classes is not None:
        alt += "; " + ", ".join(f"{members.size} {FEATURES[code].words}" for code, members in reversed(groups))
    return describe(fig, alt + ".")


def _same_spot(rho: np.ndarray, gamma: np.ndarray) -> np.ndarray:
    """Hover text of each dot about the features that share its place; ``[F]``, empty for a dot alone."""
    _, spot, counts = np.unique(
        np.stack([rho, gamma], axis=1), axis=0, return_inverse=True, return_counts=True
    )  # fmt: skip
    texts = np.full(rho.size, "", dtype=object)
    order = np.argsort(spot.ravel(), kind="stable")
    for members in np.split(order, np.cumsum(counts)[:-1]):
        if members.size == 1:
            continue
        for i in members:
            others = [str(j) for j in members[:5] if j != i][:4]
            more = members.size - 1 - len(others)
            texts[i] = f"<br>same spot: {', '.join(others)}" + (f" and {more} more" if more else "")
    return texts


def _add_guides(
    fig: go.Figure,
    across: list[float],
    up: list[float],
    chance: float | None,
    useful_from: float | None,
    keep: float | None,
    dark: bool,
) -> None:
    for slope, words in ((1.0, "keeps all"), (keep, f"keeps {keep or 0:.0%}")):
        if not slope:
            continue
        end = min(across[1], up[1] / slope)  # the line leaves the plot on the right or at the top
        fig.add_shape(type="line", x0=0, y0=0, x1=end, y1=slope * end, line=guide(dark), layer="below")
        if up[0] < slope * across[0] < up[1]:
            place = {"x": across[0], "xanchor": "left", "xshift": 3, "y": slope * across[0], "yanchor": "top"}
            fig.add_annotation(text=words, **place)
    for x, height, words, turn in ((chance, 1.0, "chance", 0.12), (useful_from, 0.93, "useful from about", 0.6)):
        if x is not None:
            fig.add_vline(x=x, line=guide(dark), layer="below")
            side = "right" if x > across[0] + turn * (across[1] - across[0]) else "left"
            place = {"xanchor": side, "xshift": -3 if side == "right" else 3, "y": height, "yref": "paper"}
            fig.add_annotation(x=x, yanchor="top", text=f"{words} {x:.1%}".replace(".0%", "%"), **place)


def _add_selected(fig: go.Figure, rho: np.ndarray, gamma: np.ndarray, i: int, m: int | None, dark: bool) -> None:
    if m is not None:
        bars = {}
        for axis, share in (("error_x", rho[i]), ("error_y", gamma[i])):
            low, high = wilson(share, m)
            bars[axis] = {
                "array": [float(high - share)],
                "arrayminus": [float(share - low)],
                "symmetric": False,
            }
            bars[axis] |= {"color": TEXT.colour(dark), "thickness": 1.5, "width": 4}
        trace = go.Scatter(x=[rho[i]], y=[gamma[i]], mode="markers", marker={"color": "rgba(0,0,0,0)"}, **bars)
        trace.update(name="95 % interval", showlegend=False, hoverinfo="skip", meta=DECORATION)
        fig.add_trace(trace)
    add_ring(fig, rho[i], gamma[i], dark=dark)


def _range(shares: np.ndarray) -> list[float]:
    low, high = float(shares.min()), float(shares.max())
    pad = max(0.09 * (high - low), 0.03)
    return [low - pad, high + pad]
