"""Figures of accuracy, clean and under attack: when only some features are kept, and along training time.

Solid lines are clean accuracy, dashed lines accuracy under attack. Kept subsets are ``sum over i in S of
f_i``: the ``k`` largest or smallest eigenvalues, or the first ``k`` of a class (Tsilivis &
Kempe 2022, section 4)::

    fig = kept_subsets({"top": judged.curve(), "robust": other.curve()}, attack="FGSM, eps 8/255")
    fig = along_time(times, clean, attacked, t=10.0)
"""

from collections.abc import Mapping

import numpy as np
import plotly.graph_objects as go

from ntkcore.analysis.tradeoff import Curve
from ntkcore.errors import DataError
from ntkcore.figures.checks import thin, vector
from ntkcore.figures.palette import BRITTLE, KERNEL_FGSM, MUTED, ROBUST, TEXT, WEAK, Meaning, index_colour
from ntkcore.figures.template import count_axis, describe, guide, legend_entry, log_axis, new_figure

# The classes of features keep their colours; largest and smallest are the two ends of the index scale.
SUBSETS = {
    "top": Meaning("largest k", index_colour(0.0), index_colour(0.0, True), symbol="circle"),
    "bottom": Meaning("smallest k", index_colour(1.0), index_colour(1.0, True), symbol="square"),
    "robust": Meaning("first k robust", ROBUST.light, ROBUST.dark, symbol="triangle-up"),
    "brittle": Meaning("first k brittle", BRITTLE.light, BRITTLE.dark, symbol="diamond"),
    "rest": Meaning("first k not robust", WEAK.light, WEAK.dark, symbol="x"),
}


def kept_subsets(
    curves: Mapping[str, Curve],
    *,
    k: int | None = None,
    chance: float | None = None,
    attack: str = "attack",
    dark: bool = False,
) -> go.Figure:
    """Clean (solid) and attacked (dashed) accuracy when only a subset of features is kept.

    Args:
        curves: keyed by ``top``, ``bottom``, ``robust``, ``brittle``, ``rest``; any of them may be absent.
        k: the number of features chosen by the reader, marked by a vertical line.
        chance: accuracy of a blind guess, a horizontal guide.
        attack: the attack and its radius in words.
    """
    unknown = set(curves) - set(SUBSETS)
    if unknown or not curves:
        raise DataError(f"curves are keyed by {sorted(curves)}; use one or more of {', '.join(SUBSETS)}.")
    fig = new_figure(dark=dark, height=430)
    sentences = []
    for key, meaning in SUBSETS.items():
        if key not in curves:
            continue
        curve, colour = curves[key], meaning.colour(dark)
        ks = vector(curve.k, f"k of {key}")
        marker = {"symbol": meaning.symbol, "size": 6, "color": colour}
        best = {}
        for kind, values, dash in (
            ("clean", curve.clean.mean, "solid"),
            (f"under {attack}", curve.attacked.mean, "dash"),
        ):
            share = vector(values, f"accuracy of {key}, {kind}", ks.size)
            best[kind] = share.max()
            trace = go.Scatter(x=thin(ks), y=thin(share), mode="lines+markers", name=f"{meaning.words}, {kind}")
            trace.update(line={"color": colour, "dash": dash, "width": 2}, marker=marker, legendgroup=key)
            hover = f"{meaning.words}, k = %{{x:.0f}}<br>%{{y:.1%}} right, {kind}<extra></extra>"
            fig.add_trace(trace.update(hovertemplate=hover, showlegend=False))
        legend_entry(fig, meaning.words, group=key, marker=marker | {"size": 8}, line={"color": colour})
        sentences.append(f"{meaning.words} " + ", ".join(f"{share:.2f} {kind}" for kind, share in best.items()))
    for words, dash in (("clean", "solid"), (f"under {attack}", "dash")):
        legend_entry(fig, words, line={"color": MUTED.colour(dark), "dash": dash, "width": 2})
    if k is not None and k >= 1:
        _mark(fig, k, f"k = {k}", dark)
    _finish(fig, chance, dark)
    fig.update_xaxes(
        title_text="number of features kept, k",
        **count_axis(max(int(np.max(curve.k)) for curve in curves.values())),
    )
    return describe(fig, f"Best accuracy with only some features kept: {'; '.join(sentences)}.")


def along_time(
    times: np.ndarray,
    clean: np.ndarray,
    attacked: np.ndarray,
    *,
    t: float | None = None,
    chance: float | None = None,
    attack: str = "attack",
    dark: bool = False,
) -> go.Figure:
    """Clean and attacked accuracy of ``f_t`` along training time ``t`` on a log axis.

    Args:
        times: ``[T]`` above zero, ascending; a last one of ``inf`` is drawn as dotted lines across.
        clean, attacked: ``[T]`` accuracies.
        t: the time chosen by the reader, marked by a vertical line.
        chance: accuracy of a blind guess, a horizontal guide.
        attack: the attack and its radius in words.
    """
    times = vector(times, "times")
    if not (times > 0).all() or not np.isfinite(times).any():
        raise DataError("times must be above zero, and one of them finite, to have a place on a log axis.")
    clean = vector(clean, "clean", times.size)
    attacked = vector(attacked, "attacked", times.size)
    finite = np.isfinite(times)
    fig = new_figure(dark=dark, height=380)
    for words, share, colour, dash in (
        ("clean", clean, TEXT.colour(dark), "solid"),
        (f"under {attack}", attacked, KERNEL_FGSM.colour(dark), "dash"),
    ):
        trace = go.Scatter(x=thin(times[finite]), y=thin(share[finite]), mode="lines+markers", name=words)
        trace.update(line={"color": colour, "dash": dash, "width": 2.5}, marker={"size": 5})
        fig.add_trace(trace.update(hovertemplate=f"t = %{{x:.3g}}<br>%{{y:.1%}} right, {words}<extra></extra>"))
        for end in share[~finite][-1:]:
            fig.add_hline(y=end, line={"color": colour, "width": 1, "dash": "dot"})
            place = {"x": 1, "xref": "paper", "xanchor": "right", "y": end, "yanchor": "bottom"}
            fig.add_annotation(text=f"t = ∞: {end:.0%}", **place)
    if t is not None and 0 < t < np.inf:
        _mark(fig, t, f"t = {t:.3g}", dark)
    _finish(fig, chance, dark)
    fig.update_xaxes(title_text="training time t", **log_axis())
    best = int(attacked.argmax())
    alt = f"Accuracy along training time: clean up to {clean.max():.2f}; under {attack} "
    alt += f"at most {attacked[best]:.2f}, at t = {times[best]:.3g}; "
    alt += f"at the end {clean[-1]:.2f} and {attacked[-1]:.2f}."
    return describe(fig, alt)


def _mark(fig: go.Figure, x: float, text: str, dark: bool) -> None:
    """A vertical line on a log axis: lines are placed by their value, annotations by its logarithm."""
    fig.add_vline(x=x, line=guide(dark, "dash"))
    place = {"x": np.log10(x), "xanchor": "left", "xshift": 4, "y": 1, "yref": "paper", "yanchor": "top"}
    fig.add_annotation(text=text, **place)


def _finish(fig: go.Figure, chance: float | None, dark: bool) -> None:
    if chance is not None:
        fig.add_hline(y=chance, line=guide(dark), layer="below")
        place = {"x": 1, "xref": "paper", "xanchor": "right", "xshift": -3, "y": chance, "yanchor": "top"}
        fig.add_annotation(text=f"chance {chance:.0%}", **place)
    fig.update_yaxes(title_text="test accuracy", tickformat=".0%", range=[-0.02, 1.03])
