"""Useful features fill as they are learned, in the colour of their robustness, and accuracy runs beside them.

Feature i has been learned to the share ``1 - exp(-lambda_i t)`` at training time t (Tsilivis & Kempe 2022, section 4).
Every time is a frame, all sent together::

    fig = features_along_time(curve, values, index, kept, at=0, chance=0.5, attack="FGSM, eps 8/255")
"""

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from ntkcore.analysis.features.tradeoff import Curve
from ntkcore.figures.drawing.bands import add_band, known_band
from ntkcore.figures.drawing.checks import float32, vector
from ntkcore.figures.drawing.palette import BETWEEN, BRITTLE, GRID, ROBUST, TEXT, WEAK
from ntkcore.figures.drawing.player import add_player, in_figures
from ntkcore.figures.drawing.template import (
    DECORATION,
    add_chance,
    colorbar_above,
    describe,
    dress,
    legend_entry,
    log_axis,
)
from ntkcore.figures.features.tradeoff import CLEAN, SHARES, attacked_as


def features_along_time(
    curve: Curve,
    values: np.ndarray,
    index: np.ndarray,
    kept: np.ndarray,
    *,
    at: int,
    chance: float | None = None,
    attack: str = "attack",
    dark: bool = False,
) -> go.Figure:
    """Bars of features above, accuracies below, a slider with a play button under them.

    Args:
        curve: clean and attacked accuracy over ``T`` training times, ascending above zero.
        values: ``[U]`` eigenvalues of the useful features, in the order of ``index``.
        index: ``[U]`` their indices, ascending.
        kept: ``[U]`` the share of right answers that each keeps under the attack, nan where it is not known.
        at: the number of the time at which it begins.

    Times are left out before the first and after the last at which something is being learned, or accuracy changes.
    """
    last, curve = curve, curve.finite()
    times = vector(curve.k, "times")
    clean = known_band(curve.clean, "clean accuracy", times.size)
    attacked = known_band(curve.attacked, "accuracy under attack", times.size)
    values = vector(values, "eigenvalues", len(index)) if len(index) else np.zeros(0)
    shown = _range(values, times, at, np.stack([clean.mean, attacked.mean]))
    times, clean, attacked = times[shown], clean.part(shown), attacked.part(shown)
    at = min(at, len(curve.k) - 1) - shown.start
    fig = make_subplots(rows=2, cols=1, row_heights=[0.5, 0.5], vertical_spacing=0.28)
    dress(fig, dark=dark, height=560, width=None)
    place = np.arange(len(index))
    frame = {"color": GRID.colour(dark), "line": {"width": 0}}
    fig.add_bar(x=place, y=np.ones(len(index)), marker=frame, hoverinfo="skip", meta=DECORATION, showlegend=False)
    fig.add_trace(_learned(values, index, kept, times[at], dark))
    fig.add_trace(_dots(times[at], clean.mean[at], attacked.mean[at], attack, dark), row=2, col=1)
    for band, meaning in ((clean, CLEAN), (attacked, attacked_as(attack))):
        hover = f"t = %{{x:.3g}}<br>%{{y:.1%}} right, {meaning.words}"
        add_band(fig, times, band, meaning, dark, hover=hover, row=2, col=1)
        fig.data[-1].update(mode="lines", line={"width": 4})
        legend_entry(fig, meaning.words, group=meaning.words, line={"color": meaning.colour(dark), "width": 4})
    add_chance(fig, chance, dark=dark, side="left", row=2, col=1)
    if not len(index):
        middle = {"x": 0.5, "y": 0.5, "xref": "x domain", "yref": "y domain"}
        fig.add_annotation(text="no feature is seen to be useful", **middle)
    fig.frames = [
        go.Frame(
            name=str(i),
            data=[
                go.Bar(y=float32(-np.expm1(-values * time))),
                _dots(time, clean.mean[i], attacked.mean[i], attack, dark),
            ],
            traces=[1, 2],
        )
        for i, time in enumerate(times)
    ]
    add_player(fig, [in_figures(time) for time in times], at, "training time ", titled=True)
    large = {"title_font_size": 18, "tickfont_size": 15}
    ticks = np.unique(np.linspace(0, max(0, len(index) - 1), min(8, len(index))).round().astype(int))
    fig.update_xaxes(tickvals=ticks, ticktext=[str(index[i]) for i in ticks], showgrid=False, row=1, col=1, **large)
    fig.update_xaxes(title_text="useful features, by index", row=1, col=1)
    fig.update_yaxes(title_text="learned", tickformat=".0%", range=[0, 1.03], row=1, col=1, **large)
    decades = np.log10(times[-1] / times[0])
    axis = log_axis() | {"title_text": None, "dtick": 1 if decades < 6 else 2}
    fig.update_xaxes(axis | large, row=2, col=1)
    fig.update_yaxes(title_text="right", tickformat=".0%", range=SHARES, row=2, col=1, **large)
    fig.update_layout(barmode="overlay", bargap=0.15, legend={"font": {"size": 14}}, margin={"t": 50})
    fig.update_annotations(font_size=15)
    # The title of the lower axis: its own would lie on its ticks here.
    title = {"text": "training time", "font": {"size": 18, "color": TEXT.colour(dark)}}
    below = {"x": 0.5, "y": 0, "xref": "x2 domain", "yref": "y2 domain", "yanchor": "top", "yshift": -24}
    fig.add_annotation(title | below)
    best = int(attacked.mean.argmax())
    words = f"{len(index)} useful features fill as they are learned, those of large eigenvalues first. Under {attack} "
    words += f"{attacked.mean[best]:.0%} are right at best, at training time {times[best]:.2g}, and "
    left, right = last.attacked.mean[-1], last.clean.mean[-1]
    return describe(fig, f"{words}{left:.0%} at the end, where {right:.0%} are right clean.")


def robustness_scale(dark: bool) -> list[list]:
    """From brittle to robust, in plotly's form: 0 keeps nothing under the attack, 1 keeps all."""
    return [[0.0, BRITTLE.colour(dark)], [0.5, BETWEEN.colour(dark)], [1.0, ROBUST.colour(dark)]]


def _range(values: np.ndarray, times: np.ndarray, at: int, accuracies: np.ndarray) -> slice:
    """From the last time at which nothing is learned to the first at which all is and the accuracies [A, T] have come
    to their ends, and ``at`` with them."""
    if len(values) == 0:
        return slice(0, len(times))
    learned = -np.expm1(-values * times[:, None])  # [T, U]
    begun, open_ = (learned > 0.005).any(1), (learned < 0.995).any(1)
    far = np.flatnonzero((np.abs(accuracies - accuracies[:, -1:]) > 0.005).any(0))
    end = max(int(open_.sum()), int(far[-1]) + 1 if len(far) else 0)
    return slice(max(0, min(at, int((~begun).sum()) - 1)), max(at, min(len(times) - 1, end)) + 1)


def _learned(values: np.ndarray, index: np.ndarray, kept: np.ndarray, time: float, dark: bool) -> go.Bar:
    known = bool(np.isfinite(kept).all()) and len(kept) > 0
    ends = {"tickvals": [0.08, 0.5, 0.92], "ticktext": ["falls", "under attack", "stands"], "tickfont": {"size": 16}}
    bar = colorbar_above("") | ends | {"title": None, "thickness": 12}
    scale = {"color": float32(kept), "colorscale": robustness_scale(dark), "cmin": 0, "cmax": 1, "colorbar": bar}
    colour = scale | {"showscale": True} if known else {"color": WEAK.colour(dark)}
    return go.Bar(
        x=np.arange(len(index)),
        y=float32(-np.expm1(-values * time)),
        marker=colour | {"line": {"width": 0}},
        customdata=np.stack([index, 100 * np.nan_to_num(kept)], 1),
        name="learned",
        hovertemplate="feature %{customdata[0]}<br>%{y:.0%} learned"
        + ("<br>keeps %{customdata[1]:.0f} %" if known else "")
        + "<extra></extra>",
        showlegend=False,
    )


def _dots(time: float, clean: float, attacked: float, attack: str, dark: bool) -> go.Scatter:
    """Where the two curves are at this time."""
    colours = [CLEAN.colour(dark), attacked_as(attack).colour(dark)]
    return go.Scatter(
        x=float32(np.array([time, time])),
        y=float32(np.array([clean, attacked])),
        mode="markers",
        marker={"size": 18, "color": colours, "line": {"width": 3, "color": TEXT.colour(dark)}},
        cliponaxis=False,
        showlegend=False,
        hoverinfo="skip",
        meta=DECORATION,
    )
