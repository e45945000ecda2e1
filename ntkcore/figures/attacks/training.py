"""Figures of finite nets along training steps: cosine between their gradients and the kernel's, and the loss.

A net that keeps its kernel in training has loss gradients along those of the kernel predictor; one that does not
turns away (cosine ``<g, g'> / (|g| |g'|)``, mean over test images). Step ``s`` is drawn
at ``s + 1`` on a log axis and reads ``s``, so that step 0 has a place::

    fig = cosine_along_training({"width 512": (steps, Band(mean, low, high))})     # arrays [T]
    fig = training_curves({"width 512, seed 0": (steps, loss)})                          # arrays [T]
    step_axis(last=2000)                                                                 # settings of the axis
"""

import re
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import plotly.graph_objects as go

from ntkcore.errors import DataError
from ntkcore.figures.drawing.bands import Band, add_band, few, from_to, known_band, marker_sizes
from ntkcore.figures.drawing.checks import counted, float32, plural, positive, vector
from ntkcore.figures.drawing.palette import CLASS_SYMBOLS, Meaning, amount_colour
from ntkcore.figures.drawing.template import describe, legend_entry, new_figure, plain

STEP_TITLE = "training step"
BY_SGD = "by SGD"  # names that end so are dashed: of nets that are not trained as the kernel is


def cosine_along_training(curves: Mapping[str, tuple[Sequence[int], Band]], *, dark: bool = False) -> go.Figure:
    """Mean cosine between the loss gradients of the net and of the kernel along training, a line a net.

    Args:
        curves: name -> (steps ``[T]`` from 0 on, cosines ``[T]``). A width in the name, as in "width 512, by SGD",
            gives the colour; a name that ends with "by SGD" is dashed; NaN is not computed yet.
    """
    styles = _styles(curves)
    fig = new_figure(dark=dark, height=400)
    present, lowest, last, parts = [], 0.0, 1, []
    for name, (given, given_band) in curves.items():
        steps = counted(given, f"steps of {name}")
        band, style = known_band(given_band, f"cosine of {name}", steps.size), styles[name]
        last = max(last, int(steps[-1]))
        if band.known.any():
            hover = f"{style.words}, step %{{customdata}}<br>cosine %{{y:.3f}}"
            label = plain(name)
            add_band(fig, steps + 1, band, style, dark, hover=hover, name=label, digits=".3f", of="95 %:", index=steps)
            lowest = min(lowest, float(band.low[band.known].min()))
            parts.append(from_to(f"{name}:", steps, band.mean, ".2f", "step"))
            present.append(style)
    _legend(fig, present, dark)
    fig.update_xaxes(step_axis(last))
    fig.update_yaxes(title_text="cosine of loss gradients", range=[1.05 * lowest - 0.03, 1.03], zeroline=False)
    alt = f"Cosine between the loss gradients of net and kernel along training, {plural(len(parts), 'line')}: "
    return describe(fig, f"{alt}{few(parts, 4)}.")


def training_curves(curves: Mapping[str, tuple[Sequence[int], np.ndarray]], *, dark: bool = False) -> go.Figure:
    """Training loss along training steps on log axes, a line a net.

    Args:
        curves: name -> (steps ``[T]`` from 0 on, losses ``[T]``), names as for ``cosine_along_training``. A loss
            that is not above zero or not finite is not drawn.
    """
    styles = _styles(curves)
    fig = new_figure(dark=dark, height=380)
    present, drawn, last, parts = [], [], 1, []
    for name, (given, losses) in curves.items():
        steps = counted(given, f"steps of {name}")
        loss, style = positive(vector(losses, f"loss of {name}", steps.size)), styles[name]
        last = max(last, int(steps[-1]))
        if np.isfinite(loss).any():
            colour = style.colour(dark)
            trace = go.Scatter(x=float32(steps + 1), y=loss, customdata=steps, mode="lines+markers", name=plain(name))
            trace.update(line={"color": colour, "dash": style.dash, "width": 2}, legendgroup=style.words)
            trace.update(
                marker={"symbol": style.symbol, "size": marker_sizes(np.log(steps + 1)), "color": colour},
                showlegend=False,
            )
            trace.update(marker_line_width=0, marker_opacity=1)  # sizes of their own bring a rim and make them faint
            hover = f"{plain(name)}, step %{{customdata}}<br>loss %{{y:.3g}}<extra></extra>"
            fig.add_trace(trace.update(hovertemplate=hover))
            drawn += [np.nanmin(loss), np.nanmax(loss)]
            parts.append(from_to(f"{name}:", steps, loss, ".2g", "step"))
            present.append(style)
    _legend(fig, present, dark)
    fig.update_xaxes(step_axis(last))
    decades = bool(drawn) and max(drawn) > 10 * min(drawn)
    fig.update_yaxes(type="log", tickformat="~g", dtick=1 if decades else None, title_text="training loss")
    alt = f"Training loss along training, {plural(len(parts), 'line')}: {few(parts, 3)}."
    return describe(fig, alt)


def step_axis(last: int) -> dict:
    """Settings of a log axis of training steps up to ``last``: step ``s`` goes at ``s + 1`` and reads ``s``."""
    digits = (1, 2, 5) if last < 500 else (1,)
    labels = [0, *(digit * 10**k for k in range(len(str(last))) for digit in digits if digit * 10**k <= last)]
    return {
        "type": "log",
        "tickvals": [label + 1 for label in labels],
        "ticktext": [str(label) for label in labels],
        "range": [np.log10(0.88), np.log10((last + 1) * 1.14)],
        "title": {"text": STEP_TITLE},
        "zeroline": False,
    }


def _styles(names: Iterable[str]) -> dict[str, Meaning]:
    """How each line looks: colour and symbol by width, dash by the training; seeds of a net look the same."""
    names = list(names)
    if not names:
        raise DataError("There are no curves; hand in at least one, of NaN while nothing is computed.")
    nets = {name: re.sub(r",? *seed \d+", "", name) for name in names}
    widths = {net: re.search(r"width (\d+)", net) for net in nets.values()}
    ranked = sorted({int(found[1]) for found in widths.values() if found})
    others = list(dict.fromkeys(net for net, found in widths.items() if not found))
    count = max(len(ranked) + len(others) - 1, 1)
    styles = {}
    for name, net in nets.items():
        found = widths[net]
        rank = ranked.index(int(found[1])) if found else len(ranked) + others.index(net)
        styles[name] = Meaning(
            words=plain(net),
            light=amount_colour(rank / count),
            dark=amount_colour(rank / count, dark=True),
            symbol=CLASS_SYMBOLS[rank % len(CLASS_SYMBOLS)],
            dash="dash" if net.endswith(BY_SGD) else "solid",
        )
    return styles


def _legend(fig: go.Figure, present: Iterable[Meaning], dark: bool) -> None:
    for meaning in dict.fromkeys(present):
        colour = meaning.colour(dark)
        line = {"color": colour, "dash": meaning.dash, "width": 2}
        marker = {"symbol": meaning.symbol, "size": 8, "color": colour}
        legend_entry(fig, meaning.words, group=meaning.words, marker=marker, line=line)
