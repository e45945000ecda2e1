"""Figures of how an empirical kernel moves while its net is trained: distances, velocity, and its path in the plane.

With ``s(A, B) = <A, B> / (|A| |B|)`` (Frobenius) and kernels ``K_0 ... K_T`` of the same images: distance ``1 - s``;
velocity ``1 - s(K_t, K_{t+1})``; path at radius ``|K_t - K_0| / |K_T - K_0|`` and angle ``arccos s(K_t, K_0)``
(Tsilivis & Kempe 2022). By training regime (``palette.REGIMES``); NaN is not computed yet::

    fig = kernel_distances(epochs, {"pgd": matrix})                                    # epochs [P], matrix [P, P]
    fig = kernel_velocity(epochs, {"pgd": band}, lazy={"pgd": 12}, share=0.1)          # band [P - 1]
    fig = lazy_by_threshold([0.01, ..., 0.5], {"pgd": lazy}, epochs=20, share=0.1)     # [K], lazy [S, K]
    fig = polar_paths(epochs, {"whole kernel": {"pgd": (radius, angle)}})              # [P] each, angle in radians
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np
import plotly.graph_objects as go

from ntkcore.errors import DataError
from ntkcore.figures.drawing.bands import Band, add_band, few, from_to, marker_sizes, note_missing
from ntkcore.figures.drawing.checks import counted, float32, plural, vector
from ntkcore.figures.drawing.palette import MUTED, PAPER, REGIMES, SEQUENTIAL, TEXT, epoch_scale
from ntkcore.figures.drawing.template import DECORATION, Place, describe, guide, legend_entry, new_figure, plain, short
from ntkcore.figures.evolution.panels import (
    EDGES,
    EPOCH_TITLE,
    LEGEND,
    RANGE,
    add_curve,
    axis_number,
    bands_in_words,
    by_regime,
    decades,
    epoch_axis,
    known_log_band,
    panel_grid,
    panel_places,
    regime_legend,
)

ROW = 17  # pixels of a line of words above the velocities
SHORT_WORDS = {regime: meaning.words.removesuffix(" training") for regime, meaning in REGIMES.items()}


def kernel_distances(
    epochs: Sequence[int], matrices: Mapping[str, np.ndarray], *, columns: int = 2, dark: bool = False
) -> go.Figure:
    """Distance of the kernels of any two epochs: a heat map a regime, all on one scale from 0.

    Args:
        epochs: ``[P]`` whole numbers from 0 on, ascending.
        matrices: regime -> ``[P, P]`` distances ``1 - s``; NaN is left blank.
        columns: heat maps in a row; up to 2 can be read on a phone.
    """
    epochs = counted(epochs, "epochs")
    size, given = epochs.size, by_regime(matrices, "matrices")
    if not given:
        raise DataError("There are no matrices; hand in at least one, of NaN while nothing is computed.")
    checked = {regime: np.asarray(matrix, dtype=np.float64) for regime, matrix in given.items()}
    for regime, matrix in checked.items():
        if matrix.shape != (size, size):
            raise DataError(
                f"matrix of {regime} has shape {matrix.shape}; ({size}, {size}), a row an epoch, is needed."
            )
    columns = max(1, min(columns, len(checked)))
    bar, titles = "distance", [REGIMES[regime].words for regime in checked]
    fig = panel_grid(titles, columns=columns, dark=dark, square=True, bar=bar, legend=False)
    largest = max((float(m[np.isfinite(m)].max()) for m in checked.values() if np.isfinite(m).any()), default=1.0)
    half = np.diff(epochs)[[0, -1]] / 2 if size > 1 else np.array([0.5, 0.5])
    ends = [float(epochs[0] - half[0]), float(epochs[-1] + half[1])]
    places = panel_places(len(checked), columns)
    for number, ((regime, matrix), (place, first, lowest)) in enumerate(
        zip(checked.items(), places, strict=True), start=1
    ):
        words = REGIMES[regime].words
        trace = go.Heatmap(z=float32(matrix), x=epochs, y=epochs, coloraxis="coloraxis", name=words, hoverongaps=False)
        hover = f"{words}<br>epochs %{{y}} and %{{x}}<br>distance %{{z:.3g}}<extra></extra>"
        fig.add_trace(trace.update(hovertemplate=hover), **place)
        if not np.isfinite(matrix).any():
            note_missing(fig, number)
        axis = epoch_axis(int(epochs[-1])) | {"showgrid": False, "constrain": "domain"}
        axis |= {"showline": True, "mirror": True}  # a frame, so that what is left blank is seen to be missing
        fig.update_xaxes(axis | {"range": ends, "title_text": EPOCH_TITLE if lowest else None}, **place)
        left = {} if first else {"title_text": None, "showticklabels": False, "ticks": ""}
        square = {"constraintoward": "top", "scaleanchor": f"x{axis_number(number)}", "range": ends[::-1]}
        fig.update_yaxes(axis | square | left, **place)
    largest = largest or 1.0
    ticks = {"tickvals": [0, largest / 2, largest], "ticktext": [f"{bar} 0", f"{largest / 2:.2g}", f"{largest:.2g}"]}
    fig.update_coloraxes(colorscale=SEQUENTIAL, cmin=0, cmax=largest, colorbar=ticks)
    ends = [(REGIMES[regime].words, matrix[0]) for regime, matrix in checked.items() if np.isfinite(matrix[0]).any()]
    parts = [from_to(words, epochs, row, ".2g", "epoch") for words, row in ends]
    alt = f"Distances 1 − s of the kernels of any two of {plural(size, 'epoch')}; from the kernel at epoch {epochs[0]}"
    return describe(fig, f"{alt}: {few(parts, 3)}.")


def kernel_velocity(
    epochs: Sequence[int],
    velocities: Mapping[str, Band],
    *,
    lazy: Mapping[str, int | None] | None = None,
    share: float | None = None,
    seeds: int = 1,
    dark: bool = False,
) -> go.Figure:
    """How fast the kernel turns, along training on a log axis, with the epoch from which on each regime is lazy.

    Args:
        epochs: ``[P]`` whole numbers from 0 on, ascending.
        velocities: regime -> ``[P - 1]``; the step between two epochs is drawn at the earlier one, as v_t is defined.
        lazy: regime -> epoch from which on each of its steps is below ``share`` of its first one
            (``lazy_epoch``), of the median seed; None if none.
        share: what lazy means, for the legend. seeds: how many there are.
    """
    epochs = counted(epochs, "epochs")
    steps = epochs.size - 1
    given = by_regime(velocities, "velocities")
    if steps:
        lines = {regime: known_log_band(band, f"velocity of {regime}", steps) for regime, band in given.items()}
    else:  # one epoch, no step
        lines = {}
        for regime, band in given.items():
            if np.size(band.mean):
                raise DataError(f"velocity of {regime} has {np.size(band.mean)} numbers; one epoch has no step.")
    lines = {regime: band for regime, band in lines.items() if band.known.any()}
    marks = {regime: int(at) for regime, at in by_regime(lazy, "lazy").items() if at is not None}
    of = " (median seed)" if seeds > 1 else ""
    fig = new_figure(dark=dark, height=400 + ROW * len(marks))
    for regime, band in lines.items():
        words = REGIMES[regime].words
        hover = f"{words}, epoch %{{customdata}}<br>velocity %{{y:.3g}}"
        index = np.array([f"{a} to {b}" for a, b in pairwise(epochs.tolist())])
        add_curve(fig, epochs[:-1], band, REGIMES[regime], dark, hover=hover, digits=".3g", index=index)
    if not lines:
        note_missing(fig, 1)
    last = max(int(epochs[-1]), 1)
    plot = fig.layout.height - EDGES - LEGEND - ROW * len(marks)
    for row, (at, regime) in enumerate(sorted(((at, regime) for regime, at in marks.items()), reverse=True)):
        top = 1 + (ROW * row + 10) / plot  # the latest mark has the lowest words, so that its line crosses no others
        line = {"color": REGIMES[regime].colour(dark), "width": 1.5, "dash": "dot"}
        fig.add_shape(type="line", x0=at, x1=at, y0=0, y1=top, yref="paper", line=line)
        side, shift = ("left", 3) if at < 0.4 * last else ("right", -3)
        place = {"x": at, "y": 1, "yref": "paper", "xanchor": side, "xshift": shift, "yshift": ROW * row}
        ink = {"font": {"color": TEXT.colour(dark)}, "bgcolor": PAPER.colour(dark), "borderpad": 0}
        fig.add_annotation(text=f"{SHORT_WORDS[regime]}: lazy from epoch {at}{of}", yanchor="bottom", **place, **ink)
    fig.update_layout(margin_t=28 + ROW * len(marks))
    regime_legend(fig, lines, dark)
    if marks and share is not None:
        legend_entry(fig, f"lazy: below {share:.0%} of its first step", line=guide(dark))
    fig.update_xaxes(epoch_axis(last))
    fig.update_yaxes(decades(band.mean for band in lines.values()), title_text="velocity to the next epoch")
    parts = [from_to(REGIMES[regime].words, epochs[:-1], band.mean, ".2g", "epoch") for regime, band in lines.items()]
    parts += [f"{REGIMES[regime].words} lazy from epoch {at}{of}" for regime, at in marks.items()]
    alt = f"Velocity of the kernel up to epoch {epochs[-1]} on a log axis: {few(parts, 6)}."
    return describe(fig, alt + bands_in_words(fig))


def lazy_by_threshold(
    thresholds: Sequence[float],
    lazy: Mapping[str, np.ndarray],
    epochs: int,
    *,
    share: float | None = None,
    dark: bool = False,
) -> go.Figure:
    """From which epoch on the kernel is lazy, as a function of what is called lazy: the median seed, and all of them.

    Args:
        thresholds: ``[K]`` shares of the first velocity, ascending.
        lazy: regime -> ``[S, K]`` epochs, inf where a seed is not lazy within the run; seeds that are NaN are left out.
        epochs: of the run; "never" is drawn above it.
        share: the threshold that the page is at, a vertical guide.
    """
    x = vector(thresholds, "thresholds")
    never = 1.12 * max(epochs, 1)
    fig, sentences = new_figure(dark=dark, height=400), {}
    for regime, values in by_regime(lazy, "lazy").items():
        values = np.asarray(values, dtype=np.float64)
        if values.ndim != 2 or values.shape[1] != x.size:
            raise DataError(f"lazy of {regime} has shape {values.shape}; (seeds, {x.size}) is needed.")
        values = np.sort(values[~np.isnan(values).any(1)], axis=0)
        if not len(values):
            continue
        sides = values[(len(values) - 1) // 2], values[0], values[-1]
        words = [[_lazy_words(epoch) for epoch in side] for side in sides]
        hover_texts = [
            f"{t:.0%}<br>{middle}" + (f"<br>{RANGE} {low} to {high}" if low != high else "")
            for t, middle, low, high in zip(x, *words, strict=True)
        ]
        band, meaning = Band(*(np.minimum(side, never) for side in sides)), REGIMES[regime]
        hover = f"{meaning.words}, threshold %{{customdata}}"
        add_band(fig, x, band, meaning, dark, hover=hover, index=np.array(hover_texts))
        fig.data[-1].update(mode="lines", text=None, hovertemplate=f"{hover}<extra></extra>")
        sentences[regime] = f"{meaning.words} {words[0][0]} at {x[0]:.0%}, {words[0][-1]} at {x[-1]:.0%}"
    fig.update_traces(line_shape="hv")
    if not sentences:
        note_missing(fig, 1)
    regime_legend(fig, sentences, dark)
    if share is not None and sentences:
        fig.add_vline(x=share, line=guide(dark), layer="below")
        legend_entry(fig, f"threshold {share:.0%}", line=guide(dark))
    step = epoch_axis(epochs)["dtick"]
    ticks = np.arange(0, epochs + 1, step).tolist()
    fig.update_xaxes(title_text="threshold, share of the first velocity", tickformat=".0%", zeroline=False)
    axis = {"tickvals": [*ticks, never], "ticktext": [*map(str, ticks), "never"], "zeroline": False}
    fig.update_yaxes(title_text="lazy from epoch", range=[-0.03 * never, 1.04 * never], **axis)
    alt = f"Epoch from which on the kernel is lazy, by threshold, of the median seed: {few(sentences.values(), 3)}."
    return describe(fig, alt + bands_in_words(fig))


def _lazy_words(epoch: float) -> str:
    return f"epoch {epoch:.0f}" if np.isfinite(epoch) else "never"


def polar_paths(
    epochs: Sequence[int],
    parts: Mapping[str, Mapping[str, tuple[np.ndarray, np.ndarray]]],
    *,
    columns: int = 2,
    dark: bool = False,
) -> go.Figure:
    """The path of the kernel away from where it began: radius and angle of each epoch, a panel a part of the kernel.

    Args:
        epochs: ``[P]`` whole numbers from 0 on, ascending; they colour the dots.
        parts: part of the kernel in words -> regime -> (radius ``[P]``, angle ``[P]`` in radians, at most pi/2 for
            kernels without negative eigenvalues). NaN is not drawn.
        columns: panels in a row; up to 2 can be read on a phone.
    """
    epochs = counted(epochs, "epochs")
    paths = {part: _paths(regimes, part, epochs.size) for part, regimes in parts.items()}
    columns = max(1, min(columns, len(paths)))
    fig = panel_grid(list(paths), columns=columns, dark=dark, square=True, bar=EPOCH_TITLE)
    radii = [radius for regimes in paths.values() for radius, _ in regimes.values()]
    reach = float(np.nanmax(np.hstack([1.0, *radii])))
    rings = _rings(reach)
    across = [r * np.cos(angle) for regimes in paths.values() for r, angle in regimes.values()]
    left_end = float(np.nanmin(np.hstack([-0.05 * reach, *(1.05 * x for x in across)])))
    places = panel_places(len(paths), columns)
    for number, ((part, regimes), (place, first, lowest)) in enumerate(
        zip(paths.items(), places, strict=True), start=1
    ):
        if regimes:
            _polar_guides(fig, rings, reach, place, dark)
        else:
            note_missing(fig, number)
        for regime, (radius, angle) in regimes.items():
            meaning, known = REGIMES[regime], np.isfinite(radius) & np.isfinite(angle)
            x, y = float32((radius * np.cos(angle))[known]), float32((radius * np.sin(angle))[known])
            trace = go.Scatter(x=x, y=y, mode="lines+markers", name=f"{meaning.words}, {plain(part)}")
            trace.update(line={"color": meaning.colour(dark), "width": 2}, legendgroup=meaning.words, showlegend=False)
            way = np.append(0, np.hypot(np.diff(x), np.diff(y)).cumsum())
            sizes = marker_sizes(way, size=8)  # evenly along the path, so that its own colour is seen in between
            marker = {"symbol": meaning.symbol, "size": sizes, "color": epochs[known], "coloraxis": "coloraxis"}
            rim = {"width": np.where(np.asarray(sizes) > 0, 1.2, 0), "color": meaning.colour(dark)}
            trace.update(marker=marker | {"line": rim, "opacity": 1}, customdata=epochs[known])
            pairs = zip(radius[known], np.degrees(angle[known]), strict=True)
            trace.update(text=[f"radius {r:.3g}, angle {degrees:.1f}°" for r, degrees in pairs])
            hover = f"{meaning.words}, {plain(part)}<br>epoch %{{customdata}}<br>%{{text}}<extra></extra>"
            fig.add_trace(trace.update(hovertemplate=hover), **place)
        axis = {"range": [-0.05 * reach, 1.12 * reach], "tickvals": rings, "showgrid": False, "zeroline": False}
        axis |= {"constrain": "domain"}
        ends = [left_end, 1.12 * reach]
        fig.update_xaxes(axis | {"range": ends, "title_text": "radius" if lowest else None}, **place)
        left = {"title_text": "radius"} if first else {"showticklabels": False, "ticks": ""}
        square = {"constraintoward": "top", "scaleanchor": f"x{axis_number(number)}"}
        fig.update_yaxes(axis | square | left, **place)
    last = max(int(epochs[-1]), 1)
    fig.update_coloraxes(colorscale=epoch_scale(dark), cmin=0, cmax=last, colorbar_dtick=epoch_axis(last)["dtick"])
    regime_legend(fig, {regime for regimes in paths.values() for regime in regimes}, dark)
    sentences = [
        f"{short(part)}, {REGIMES[regime].words} "
        + from_to("angle", epochs, np.where(np.isfinite(radius), np.degrees(angle), np.nan), ".0f", "epoch")
        for part, regimes in paths.items()
        for regime, (radius, angle) in regimes.items()
    ]
    alt = f"Path of the kernel by radius and angle (in degrees) from epoch {epochs[0]} to {epochs[-1]}"
    return describe(fig, f"{alt}: {few(sentences, 3)}.")


def _paths(
    regimes: Mapping[str, tuple[np.ndarray, np.ndarray]], part: str, length: int
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Paths with at least one known point, checked."""
    checked = {}
    for regime, (radius, angle) in by_regime(regimes, part).items():
        radius = vector(radius, f"radius of {part}, {regime}", length)
        angle = vector(angle, f"angle of {part}, {regime}", length)
        if (radius < 0).any() or (angle < 0).any() or (angle > np.pi).any():
            raise DataError(f"{part}, {regime} needs radii of at least 0 and angles in radians from 0 to pi.")
        if (np.isfinite(radius) & np.isfinite(angle)).any():
            checked[regime] = radius, angle
    return checked


def _rings(reach: float) -> list[float]:
    """Radii of the guides: at most three, at round numbers."""
    steps = (step * 10.0**decade for decade in range(12) for step in (0.5, 1, 2))
    step = next((step for step in steps if reach < 3.5 * step), reach)
    return [0.0, *(step * k for k in range(1, 4) if step * k <= reach * 1.001)]


def _polar_guides(fig: go.Figure, rings: Sequence[float], reach: float, place: Place, dark: bool) -> None:
    """Faint arcs of equal radius and rays of equal angle, in one line with gaps."""
    quarter = np.linspace(0, np.pi / 2, 46)
    rays = np.radians([0, 30, 60, 90])
    pieces = [(ring * np.cos(quarter), ring * np.sin(quarter)) for ring in rings[1:]]
    pieces += [(np.array([0, reach * np.cos(ray)]), np.array([0, reach * np.sin(ray)])) for ray in rays]
    x, y = (np.hstack([np.append(piece[k], np.nan) for piece in pieces]) for k in (0, 1))
    line = guide(dark) | {"width": 1}
    trace = go.Scatter(
        x=float32(x), y=float32(y), mode="lines", line=line, showlegend=False, name="guides", opacity=0.7
    )
    fig.add_trace(trace.update(hoverinfo="skip", meta=DECORATION), **place)
    for degrees, words in ((30, "30°"), (60, "angle 60°")):
        at = {"x": 1.02 * reach * np.cos(np.radians(degrees)), "y": 1.02 * reach * np.sin(np.radians(degrees))}
        corner = {"xanchor": "left", "yanchor": "bottom", "font": {"size": 11, "color": MUTED.colour(dark)}}
        fig.add_annotation(text=words, showarrow=False, **at, **corner, **place)
