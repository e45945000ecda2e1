"""Figures of accuracy, clean and under attack: when only some features are kept, and along training time.

Each curve has its 95 % interval as a shaded band. Kept subsets are ``sum over i in S of f_i``: the ``k`` largest or
smallest eigenvalues, the first ``k`` robust or brittle features, or the first ``k`` of all that are not robust
(Tsilivis & Kempe 2022, section 4)::

    curve = judged["top"].curve(reported)                   # Curve(k, clean, attacked): two bands over k
    fig = kept_subsets({"top": curve, "robust": other}, attack="FGSM, eps 8/255")
    fig = along_time(flow, t=10.0)                          # the same, over times
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Unpack

import numpy as np
import plotly.graph_objects as go

from ntkcore.analysis.features.tradeoff import Curve
from ntkcore.errors import DataError
from ntkcore.figures.drawing.bands import add_band, known_band
from ntkcore.figures.drawing.checks import vector
from ntkcore.figures.drawing.palette import BRITTLE, KERNEL_FGSM, ROBUST, TEXT, Meaning, index_colour
from ntkcore.figures.drawing.template import (
    Place,
    add_chance,
    count_axis,
    describe,
    guide,
    legend_entry,
    log_axis,
    new_figure,
)

# The classes of features keep their colours; largest and smallest are the two ends of the index scale.
SUBSETS = {
    "top": Meaning("largest k", index_colour(0.0), index_colour(0.0, True), symbol="circle"),
    "bottom": Meaning("smallest k", index_colour(1.0), index_colour(1.0, True), symbol="square"),
    "robust": replace(ROBUST, words="first k robust", symbol="triangle-up"),
    "brittle": replace(BRITTLE, words="first k brittle"),
    "rest": replace(TEXT, words="first k that are not robust", symbol="x"),
}
CLEAN = replace(TEXT, words="clean")
SHARES = [-0.02, 1.03]  # the range of an axis of accuracies


def attacked_as(attack: str) -> Meaning:
    """The meaning of a line of accuracies under ``attack``, named in words."""
    return replace(KERNEL_FGSM, words=f"under {attack}", symbol="diamond", dash="dash")


def kept_subsets(
    curves: Mapping[str, Curve],
    *,
    k: int | None = None,
    chance: float | None = None,
    attack: str = "attack",
    dark: bool = False,
) -> go.Figure:
    """Accuracy when only a subset of features is kept: clean in the upper panel, attacked in the lower.

    Args:
        curves: keyed by ``top``, ``bottom``, ``robust``, ``brittle``, ``rest``; any of them may be absent.
        k: the number of features chosen by the reader, marked by a vertical line.
        chance: accuracy of a blind guess, a horizontal guide.
        attack: the attack and its radius in words.
    """
    unknown = set(curves) - set(SUBSETS)
    if unknown or not curves:
        raise DataError(f"curves are keyed by {sorted(curves)}; use one or more of {', '.join(SUBSETS)}.")
    fig = new_figure(dark=dark, height=520, panels=[0.5, 0.5])
    sentences, most = [], 1
    for key, meaning in SUBSETS.items():
        if key not in curves:
            continue
        ks = vector(curves[key].k, f"k of {key}")
        most, best = max(most, int(ks.max())), []
        for row, words in ((1, "clean"), (2, f"under {attack}")):
            band = known_band(curves[key].clean if row == 1 else curves[key].attacked, f"{key}, {words}", ks.size)
            hover = f"{meaning.words}, k = %{{x:.0f}}<br>%{{y:.1%}} right, {words}"
            add_band(fig, ks, band, meaning, dark, hover=hover, name=f"{meaning.words}, {words}", row=row, col=1)
            best.append(f"{band.mean.max():.2f} {words}")
        marker = {"symbol": meaning.symbol, "size": 8, "color": meaning.colour(dark)}
        legend_entry(fig, meaning.words, group=meaning.words, marker=marker, line={"color": meaning.colour(dark)})
        sentences.append(f"{meaning.words} {', '.join(best)}")
    if k is not None and k >= 1:
        _mark(fig, k, f"k = {k}", dark, row=1, col=1)
        fig.add_vline(x=k, line=guide(dark, "dash"), row=2, col=1)
    _finish(fig, chance, dark, {1: "clean accuracy", 2: "accuracy under attack"})
    fig.update_xaxes(count_axis(most))
    fig.update_xaxes(title_text="number of features kept, k", row=2, col=1)
    return describe(fig, f"Best accuracy with only some features kept: {'; '.join(sentences)}.")


def along_time(
    curve: Curve, *, t: float | None = None, chance: float | None = None, attack: str = "attack", dark: bool = False
) -> go.Figure:
    """Clean and attacked accuracy of ``f_t`` along training time ``t`` on a log axis.

    Args:
        curve: over times above zero, ascending; the last may be infinite, which is told but not drawn.
        t: a time to mark by a vertical line.
        chance: accuracy of a blind guess, a horizontal guide.
        attack: the attack and its radius in words.
    """
    last, curve = curve, curve.finite()
    times = vector(curve.k, "times")
    if not ((times > 0).all() and np.isfinite(last.k[:-1]).all()):
        raise DataError("times must be finite and above zero to have a place on a log axis.")
    clean = known_band(curve.clean, "clean accuracy", times.size)
    attacked = known_band(curve.attacked, "accuracy under attack", times.size)
    fig = new_figure(dark=dark, height=520)
    for band, meaning in ((clean, CLEAN), (attacked, attacked_as(attack))):
        add_band(fig, times, band, meaning, dark, hover=f"t = %{{x:.3g}}<br>%{{y:.1%}} right, {meaning.words}")
        line = {"color": meaning.colour(dark), "dash": meaning.dash}
        legend_entry(fig, meaning.words, group=meaning.words, line=line)
    if t is not None and np.isfinite(t):
        _mark(fig, t, f"t = {t:.3g}", dark)
    _finish(fig, chance, dark, {None: "test accuracy"})
    decades = np.log10(times[-1] / times[0])
    fig.update_xaxes(log_axis() | {"title_text": "training time t", "dtick": 1 if decades < 6 else 2})
    best = int(attacked.mean.argmax())
    alt = f"Accuracy along training time: clean up to {clean.mean.max():.2f}; under {attack} "
    alt += f"at most {attacked.mean[best]:.2f}, at t = {times[best]:.3g}; "
    alt += f"at the end {last.clean.mean[-1]:.2f} and {last.attacked.mean[-1]:.2f}."
    return describe(fig, alt)


def _mark(fig: go.Figure, x: float, text: str, dark: bool, **place: Unpack[Place]) -> None:
    """A vertical line on a log axis: lines are placed by their value, annotations by its logarithm."""
    fig.add_vline(x=x, line=guide(dark, "dash"), **place)
    at = {"x": np.log10(x), "xanchor": "left", "xshift": 4, "y": 1, "yref": "paper", "yanchor": "top"}
    fig.add_annotation(text=text, **at)


def _finish(fig: go.Figure, chance: float | None, dark: bool, titles: Mapping[int | None, str]) -> None:
    """Axes of shares, titled by row (None: the only panel), and the line of a blind guess in each."""
    for row, title in titles.items():
        place: Place = {} if row is None else {"row": row, "col": 1}
        fig.update_yaxes(title_text=title, tickformat=".0%", range=SHARES, **place)
        add_chance(fig, chance, dark=dark, **place)
