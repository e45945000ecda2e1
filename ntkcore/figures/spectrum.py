"""Figures of a kernel's spectrum: eigenvalues, label energy, cumulative shares, learned modes, eigenvectors.

With eigenvalues ``lam_i`` (descending) and eigenvectors ``v_i`` of the ``[n, n]`` kernel and labels ``y``:
label energy ``(v_i . y)^2 / |y|^2``; gradient flow has learned the share ``1 - exp(-t lam_i)`` of mode ``i``
at time ``t``, so ``1 / lam_i`` is its learning time (Jacot et al. 2018, section 5)::

    fig = eigenvalues(values, energy)                      # numpy arrays in, plotly Figure out
    fig = learned_modes(values, t=10.0)
    fig = modes_along_time(values)                         # with a slider over t
    fig = eigenvectors(v[:, 0], v[:, 1], labels, ["airplane", "automobile"], i=0, j=1)
"""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go
import torch

from ntkcore.analysis.spectrum import learned_fraction
from ntkcore.checks import codes, whole
from ntkcore.errors import DataError
from ntkcore.figures.drawing.checks import feature_groups, float32, positive, vector
from ntkcore.figures.drawing.lettering import legible
from ntkcore.figures.drawing.palette import CLASS_SYMBOLS, FEATURES, ROBUST, TEXT, class_colours
from ntkcore.figures.drawing.player import add_player, fitting, in_figures
from ntkcore.figures.drawing.template import (
    DECORATION,
    add_ring,
    count_axis,
    describe,
    feature_legend,
    guide,
    index_axis,
    index_coloraxis,
    index_positions,
    log_axis,
    new_figure,
    short,
    steady,
)
from ntkcore.readings.words import percent

MOST_DOTS = 5000  # that a browser draws at once


def eigenvalues(
    values: np.ndarray,
    label_energy: np.ndarray,
    *,
    classes: np.ndarray | None = None,
    selected: int | None = None,
    dark: bool = False,
) -> go.Figure:
    """Eigenvalues on log-log axes and, in a panel below, the label energy of each.

    Args:
        values: ``[r]`` eigenvalues, descending. Those not above zero are not drawn; the alt text counts them.
        label_energy: ``[r]`` shares ``(v_i . y)^2 / |y|^2``.
        classes: ``[r]`` codes of ``analysis.features.classes.classify``; they colour the dots instead of the
            index.
        selected: index to ring in both panels.
    """
    values = vector(values, "values")
    energy = vector(label_energy, "label_energy", values.size)
    panels = {
        "eigenvalue λ<sub>i</sub>": (positive(values), "eigenvalue %{y:.3g}"),
        "label energy": (positive(energy), "label energy %{y:.3g} of the whole"),
    }
    fig = _index_panels(panels, classes, selected, dark)
    fig.update_yaxes(log_axis())
    above = values[values > 0]
    alt = f"{values.size} eigenvalues on log axes"
    if above.size:
        alt += f", from {above[0]:.3g} down to {above.min():.3g}"
    if above.size < values.size:
        alt += f"; {values.size - above.size} are not above zero and not drawn"
    k = min(10, values.size)
    return describe(fig, f"{alt}; the {k} largest carry {percent(energy[:k].sum())} of the label energy.")


def learned_modes(values: np.ndarray, t: float, *, classes: np.ndarray | None = None, dark: bool = False) -> go.Figure:
    """What gradient flow has learned of each mode at time ``t``, above each learning time ``1 / lam_i``.

    Args:
        values: ``[r]`` eigenvalues, descending.
        t: training time, at least 0; ``inf`` is allowed.
        classes: ``[r]`` codes of ``analysis.features.classes.classify`` to colour the dots; by index without.
    """
    values = vector(values, "values")
    if not t >= 0:
        raise DataError(f"t is {t}; a training time of at least 0 is needed.")
    learned = _learned(values, t)
    times = np.divide(1.0, values, out=np.full(values.size, np.nan), where=values > 0)
    panels = {
        "learned share": (learned, "learned by now: %{y:.1%}"),
        "learning time 1/λ<sub>i</sub>": (positive(times), "learning time %{y:.3g}"),
    }
    fig = _index_panels(panels, classes, None, dark)
    fig.update_yaxes(tickformat=".0%", range=[-0.04, 1.06], row=1, col=1)
    fig.update_yaxes(log_axis(), row=2, col=1)
    if 0 < t < np.inf:
        fig.add_hline(y=t, row=2, col=1, line=guide(dark, "dash"))
        place = {"x": 0.01, "xref": "x2 domain", "xanchor": "left", "y": np.log10(t), "yref": "y2"}
        fig.add_annotation(text=f"t = {t:.3g}: 63 % learned", yanchor="bottom", **place)
    alt = f"At t = {t:.3g}, {np.count_nonzero(learned > 0.5)} of {values.size} modes are more than half learned"
    if np.isfinite(times).any():
        alt += f"; learning times run from {np.nanmin(times):.3g} to {np.nanmax(times):.3g}"
    return describe(fig, alt + ".")


def times_of_learning(values: np.ndarray) -> tuple[np.ndarray, int]:
    """Training times ``[T]`` from where nothing of the modes is learned to where all is, even in their logarithm, at
    most 50; and the number of the one at which half of the modes are learned."""
    rates = values[values > 0]
    if not rates.size:
        return np.ones(1), 0
    first, last = np.log10([0.01 / rates.max(), 5 / max(rates.min(), 1e-9 * rates.max())])
    step = max(0.1, np.ceil((last - first) / 4.8) / 10)
    powers = step * np.arange(np.floor(first / step), np.ceil(last / step) + 1)
    return 10.0**powers, int(np.abs(powers + np.log10(np.median(rates))).argmin())


def modes_along_time(values: np.ndarray, *, dark: bool = False) -> go.Figure:
    """``learned_modes`` with a slider and a play button over the ``times_of_learning``."""
    values = vector(values, "values")
    times, at = times_of_learning(values)
    fig = learned_modes(values, times[at], dark=dark)
    share = next(i for i, trace in enumerate(fig.data) if trace.meta != DECORATION)
    fig.layout.shapes, fig.layout.annotations = (), ()
    fig.add_trace(_now(values, times[at], dark), row=2, col=1)
    shown = fitting([7 * values.size] * len(times), at)
    fig.frames = [
        go.Frame(
            name=str(k),
            data=[go.Scatter(y=_learned(values, times[i])), _now(values, times[i], dark)],
            traces=[share, len(fig.data) - 1],
        )
        for k, i in enumerate(shown)
    ]
    add_player(fig, [in_figures(times[i]) for i in shown], shown.index(at), "training time ")
    return legible(fig.update_layout(height=600))


def _learned(values: np.ndarray, t: float) -> np.ndarray:
    """The share of each mode that is learned at time t: ``[r]`` float32."""
    return float32(learned_fraction(torch.from_numpy(values), float(t)).numpy())


def _now(values: np.ndarray, t: float, dark: bool) -> go.Scatter:
    """A line at time t across the learning times."""
    x, y = np.array([1, max(values.size, 2)]), np.array([t, t])
    line = go.Scatter(x=float32(x), y=float32(y), mode="lines", line=guide(dark, "dash"), showlegend=False)
    return line.update(hoverinfo="skip", meta=DECORATION)


def cumulative(
    values: np.ndarray,
    label_energy: np.ndarray,
    *,
    effective_rank: float | None = None,
    trace: float | None = None,
    dark: bool = False,
) -> go.Figure:
    """Share of the sum of eigenvalues ``sum_{j<k} lam_j / sum lam`` and of the label energy in the k largest, along k.

    Args:
        values: ``[r]`` eigenvalues, descending, with a positive sum.
        label_energy: ``[r]`` shares ``(v_i . y)^2 / |y|^2``.
        effective_rank: ``exp(entropy of lam / sum lam)``, a number of eigenvalues too, marked by a vertical line.
        trace: the sum of all eigenvalues, where those in ``values`` are not all.
    """
    values = vector(values, "values")
    count = values.size
    mass = values.cumsum() / (values.sum() if trace is None else trace)
    energy = vector(label_energy, "label_energy", count).cumsum()
    fig = new_figure(dark=dark, height=340)
    for words, share, colour, dash in (
        ("sum of eigenvalues", mass, TEXT.colour(dark), "solid"),
        ("label energy", energy, ROBUST.colour(dark), "dash"),
    ):
        trace = go.Scatter(x=index_positions(count), y=float32(share), mode="lines", name=words)
        trace.update(line={"color": colour, "dash": dash, "width": 2.5})
        hover = f"the %{{x:.0f}} largest hold<br>%{{y:.1%}} of the {words}<extra></extra>"
        fig.add_trace(trace.update(hovertemplate=hover))
    k = min(10, count)
    alt = f"The {k} largest of {count} eigenvalues hold {percent(mass[k - 1])} of their sum"
    alt += f" and {percent(energy[k - 1])} of the label energy"
    if effective_rank is not None:
        fig.add_vline(x=float(effective_rank), line=guide(dark))
        # on a log axis a line is placed by its value, an annotation by its logarithm
        place = {"x": np.log10(effective_rank), "xanchor": "left", "xshift": 4, "yanchor": "middle"}
        beside = min(round(2 * effective_rank), count) - 1  # where the words end
        ends = np.sort([0.0, mass[beside], energy[beside], 1.0])
        free = int(np.diff(ends).argmax())  # between the curves, above or below both
        fig.add_annotation(text=f"effective rank {effective_rank:.1f}", y=ends[free : free + 2].mean(), **place)
        alt += f"; the effective rank is {effective_rank:.1f}"
    fig.update_xaxes(count_axis(count) | {"range": [np.log10(0.9), np.log10(max(count, 2) * 1.12)]})
    fig.update_xaxes(title_text="number of largest eigenvalues")
    fig.update_yaxes(title_text="share that they hold", tickformat=".0%", range=[0, 1.03])
    return describe(fig, alt + ".")


def eigenvectors(
    v_i: np.ndarray,
    v_j: np.ndarray,
    labels: np.ndarray,
    class_names: Sequence[str],
    *,
    i: int,
    j: int,
    selected: int | None = None,
    dark: bool = False,
) -> go.Figure:
    """Each training image as a dot at its entries in two eigenvectors, coloured by its class; of more than MOST_DOTS
    some of each class.

    A dot's ``customdata`` is the index of its training image, so that a click can be read.

    Args:
        v_i, v_j: ``[n]`` eigenvectors of the indices ``i`` (across) and ``j`` (up).
        labels: ``[n]`` class numbers, positions in ``class_names``.
        selected: training image to ring.
    """
    v_i = vector(v_i, "v_i")
    v_j = vector(v_j, "v_j", v_i.size)
    labels = codes(labels, v_i.size, range(len(class_names)), "labels")
    fig = new_figure(dark=dark, height=430)
    counts = []
    each = -(-v_i.size // MOST_DOTS)
    for number, (name, colour) in enumerate(zip(class_names, class_colours(len(class_names), dark), strict=True)):
        members = np.flatnonzero(labels == number).astype(np.int32)
        counts.append(f"{members.size} {name}")
        members = members[::each]
        trace = go.Scatter(x=float32(v_i[members]), y=float32(v_j[members]), mode="markers", name=short(name))
        marker = {"color": colour, "symbol": CLASS_SYMBOLS[number], "size": 7, "opacity": 0.75}
        entries = f"v<sub>{i}</sub> %{{x:.3f}}, v<sub>{j}</sub> %{{y:.3f}}"
        hover = f"%{{fullData.name}}, training image %{{customdata}}<br>{entries}<extra></extra>"
        fig.add_trace(trace.update(customdata=members, marker=marker, hovertemplate=hover, **steady(0.75)))
    if selected is not None:
        selected = whole(selected, "selected", 0, v_i.size - 1)
        add_ring(fig, v_i[selected], v_j[selected], dark=dark)
    fig.update_xaxes(title_text=f"entry in eigenvector {i}", zeroline=True)
    fig.update_yaxes(title_text=f"entry in eigenvector {j}", zeroline=True)
    alt = f"{v_i.size} training images ({', '.join(counts)}) at their entries in eigenvectors {i} and {j}"
    return describe(fig, f"{alt}; of each class, one in {each} is drawn." if each > 1 else f"{alt}.")


def _index_panels(
    panels: dict[str, tuple[np.ndarray, str]], classes: np.ndarray | None, selected: int | None, dark: bool
) -> go.Figure:
    """Panels of dots over the index: title -> (heights ``[r]``, hover line); ``customdata`` is the index."""
    count = len(next(iter(panels.values()))[0])
    x, groups = index_positions(count), feature_groups(classes, count)
    fig = new_figure(dark=dark, height=500, panels=[0.55, 0.45])
    for row, (title, (heights, line)) in enumerate(panels.items(), start=1):
        for code, members in groups:
            words = "all features" if code is None else FEATURES[code].words
            marker = {"size": 5, "color": np.log10(x[members]), "coloraxis": "coloraxis"}
            if code is not None:
                marker = {"size": 6, "color": FEATURES[code].colour(dark), "symbol": FEATURES[code].symbol}
            trace = go.Scatter(x=x[members], y=heights[members], mode="markers", marker=marker, name=words)
            hover = f"index %{{customdata}}<br>{line}" + (f"<br>{words}" if code is not None else "")
            trace.update(customdata=members.astype(np.int32), hovertemplate=hover + "<extra></extra>")
            trace.update(legendgroup=words, showlegend=False, **steady(1.0))
            fig.add_trace(trace, row=row, col=1)
        if selected is not None:
            selected = whole(selected, "selected", 0, count - 1)
            add_ring(fig, selected + 1, heights[selected], dark=dark, size=14, row=row, col=1)
        fig.update_xaxes(index_axis(count, title=row == len(panels)), row=row, col=1)
        fig.update_yaxes(title_text=title, row=row, col=1)
    if classes is None:
        fig.update_layout(coloraxis=index_coloraxis(count, dark=dark, bar=False))
    else:
        feature_legend(fig, [code for code, _ in groups if code is not None], dark=dark)
    return fig
