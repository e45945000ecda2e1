"""Figures of an attack: the margin of one image along the radius, and all test images as thumbnails to click.

The margin is positive where the prediction is right: ``y f(x)`` for labels -1 and +1, the right output minus
the best other one for several classes. An image flips at the smallest radius at which its margin is not
positive::

    fig = margin_along_eps(eps, {"fgsm": margins, "pgd": others}, eps_mark=8 / 255)     # arrays [E]
    fig = contact_sheet(images, status, captions)                # images [m, C, H, W], status [m] words
    first_flip(eps, margins)                                     # a radius, or None
"""

from collections.abc import Mapping, Sequence
from typing import Unpack

import numpy as np
import plotly.graph_objects as go

from ntkcore.analysis.attacks.balls import BALLS, Norm
from ntkcore.errors import DataError
from ntkcore.figures.drawing.checks import float32, plural, vector, words
from ntkcore.figures.drawing.images import data_uri, image_stack, montage
from ntkcore.figures.drawing.palette import ATTACKS, MUTED, PAPER, SOURCES, STATUS, TEXT, Meaning
from ntkcore.figures.drawing.template import (
    DECORATION,
    Place,
    describe,
    guide,
    legend_entry,
    new_figure,
    plain,
    steady,
)
from ntkcore.readings.words import radius, radius_found, signed

MEANINGS = {**ATTACKS, **SOURCES}


def first_flip(eps: np.ndarray, margin: np.ndarray) -> float | None:
    """Smallest radius at which ``margin`` reaches 0, linear between the radii; None if it never does."""
    wrong = np.flatnonzero(np.asarray(margin) <= 0)
    if wrong.size == 0:
        return None
    k = int(wrong[0])
    if k == 0:
        return float(eps[0])
    above, below = float(margin[k - 1]), float(margin[k])
    return float(eps[k - 1] + (eps[k] - eps[k - 1]) * above / (above - below))


def margin_along_eps(
    eps: np.ndarray,
    margins: Mapping[str, np.ndarray],
    flips: Mapping[str, float] | None = None,
    *,
    norm: Norm = "linf",
    eps_mark: float | None = None,
    dark: bool = False,
) -> go.Figure:
    """The margin of one image along the attack radius, one line an attack, with the radius that flips it.

    Args:
        eps: ``[E]`` radii in pixel units, ascending. For ``linf`` the axis counts in 1/255.
        margins: keyed by ``fgsm``, ``pgd`` or what else ``palette`` has in ATTACKS and SOURCES; ``[E]`` each.
        flips: the smallest radius found that flips the image, keyed as ``margins``, inf for none; by default where a
            straight line between the margins reaches 0.
        norm: of the ball.
        eps_mark: the experiment's radius, marked by a vertical line.
    """
    fig = new_figure(dark=dark, height=380)
    return describe(fig, add_margins(fig, eps, margins, flips, norm=norm, eps_mark=eps_mark, dark=dark))


def add_margins(
    fig: go.Figure,
    eps: np.ndarray,
    margins: Mapping[str, np.ndarray],
    flips: Mapping[str, float] | None = None,
    *,
    norm: Norm,
    eps_mark: float | None,
    dark: bool,
    **place: Unpack[Place],
) -> str:
    """``margin_along_eps`` in one panel of a figure; what an alt text says of it."""
    eps = vector(eps, "eps")
    unknown = set(margins) - set(MEANINGS)
    if unknown or not margins:
        raise DataError(f"margins are keyed by {sorted(margins)}; use one or more of {', '.join(MEANINGS)}.")
    lines = {key: vector(margins[key], f"margins of {key}", eps.size) for key in MEANINGS if key in margins}
    unit, here = BALLS[norm].unit, "ε = " + BALLS[norm].in_units("%{x:.4g}")
    lowest, highest = min(0.0, *map(np.min, lines.values())), max(0.0, *map(np.max, lines.values()))
    pad = 0.08 * float(highest - lowest or 1.0)
    bounds = [float(lowest) - pad, float(highest) + pad]

    below = {"fillcolor": MUTED.colour(dark), "opacity": 0.12, "line_width": 0, "layer": "below"}
    empty = {"exclude_empty_subplots": False, **place}
    fig.add_hrect(y0=bounds[0], y1=0, **below, **empty)
    fig.add_hline(y=0, line=guide(dark, "solid"), **empty)
    corner = {"x": 1, "xref": "x domain", "xanchor": "right", "xshift": -4, "y": 0, "yanchor": "top"}
    fig.add_annotation(text="below: wrong", **corner, **place)
    found = {key: first_flip(eps, margin) for key, margin in lines.items()} if flips is None else flips
    flips = {key: at if (at := found[key]) is not None and np.isfinite(at) else None for key in lines}
    for key, margin in lines.items():
        meaning = MEANINGS[key]
        trace = go.Scatter(x=float32(eps * unit), y=float32(margin), mode="lines+markers", name=meaning.words)
        trace.update(line={"color": meaning.colour(dark), "dash": meaning.dash, "width": 2.5}, legendgroup=key)
        trace.update(marker={"symbol": meaning.symbol, "size": 6, "color": meaning.colour(dark)})
        hover = f"{meaning.words}<br>{here}<br>margin %{{y:+.3g}}<extra></extra>"
        fig.add_trace(trace.update(hovertemplate=hover), **place)
    for key, flip in flips.items():
        if flip is not None:
            height = min(0.0, float(lines[key][0]))  # an image that is wrong from the start has no crossing
            _add_flip(fig, MEANINGS[key], key, flip * unit, height, f"ε = {radius_found(flip, norm)}", dark, **place)
    if any(flip is not None for flip in flips.values()):
        open_circle = {"symbol": "circle-open", "size": 11, "color": TEXT.colour(dark), "line": {"width": 2}}
        legend_entry(fig, "on the zero line: smallest ε that flips it", marker=open_circle)
    if eps_mark is not None:
        fig.add_vline(x=eps_mark * unit, line=guide(dark, "dash"), **place)
        top = {"y": 1, "yref": "y domain", "yanchor": "top"}
        fig.add_annotation(text="chosen ε", x=eps_mark * unit, xanchor="left", xshift=4, **top, **place)
    across = f"attack radius ε, {BALLS[norm].unit_in_words}"
    last = float(eps[-1] * unit)
    fig.update_xaxes(title_text=across, range=[-0.02 * last, 1.02 * last], zeroline=False, **place)
    fig.update_yaxes(title_text="margin (positive = right)", range=bounds, zeroline=False, **place)
    verdicts = [
        f"{MEANINGS[key].words} does not flip it up to ε = {radius(eps[-1], norm)}"
        if flip is None
        else f"{MEANINGS[key].words} flips it at ε = {radius_found(flip, norm)}"
        for key, flip in flips.items()
    ]
    start = next(iter(lines.values()))[0]
    return f"Margin of one image along the attack radius, {signed(start, '+.3g')} at the start: {'; '.join(verdicts)}."


def contact_sheet(
    images: np.ndarray,
    status: Sequence[str],
    captions: Sequence[str] | None = None,
    *,
    columns: int = 8,
    numbers: Sequence[int] | None = None,
    selected: int | None = None,
    dark: bool = False,
) -> go.Figure:
    """Test images in one picture to pick from, each framed by what became of it under the attack.

    A click on a thumbnail selects the point at its centre, whose ``customdata`` is the image's index.

    Args:
        images: ``[m, C, H, W]`` in [0, 1].
        status: ``[m]`` words out of ``palette.STATUS``: ``right``, ``flipped`` or ``wrong``.
        captions: ``[m]`` further words for the hover text, e.g. class and margin.
        columns: images in a row; rows are as many as needed.
        numbers: ``[m]`` index of each image in the test set, when only some are shown; 0, 1, ... by default.
        selected: number of the image to frame in the text's colour; none is framed when it is not shown.
    """
    images = image_stack(images)
    count, _, height, width = images.shape
    columns = max(1, min(columns, count))
    gap = max(3, height // 5)
    sheet = montage(images, columns, gap)
    status = words(status, "status", count, allowed=tuple(STATUS))
    captions = words([""] * count if captions is None else captions, "captions", count)
    numbers = np.arange(count) if numbers is None else np.asarray(numbers)
    k = np.arange(count)
    left = gap + k % columns * (width + gap) - 0.5  # pixel j of a picture covers [j - 1/2, j + 1/2]
    top = gap + k // columns * (height + gap) - 0.5

    cell = min(60, 1000 // columns)
    across, down = columns * cell, round(-(-count // columns) * cell * height / width)
    fig = new_figure(dark=dark, height=down + 60, width=across + 8)
    fig.add_trace(go.Image(source=data_uri(sheet), hoverinfo="skip", meta=DECORATION))
    for key, meaning in STATUS.items():
        members = np.flatnonzero(status == key)
        if not members.size:
            continue
        colour = meaning.colour(dark)
        x, y = _frames(left[members], top[members], width, height, outset=gap / 6)
        _decorate(fig, x, y, "lines", key, line={"color": colour, "width": 2.5})
        centre_x, centre_y = left[members] + width / 2, top[members] + height / 2
        trace = go.Scatter(x=float32(centre_x), y=float32(centre_y), mode="markers", name=meaning.words)
        trace.update(marker={"size": 12, "color": "rgba(0,0,0,0)"}, legendgroup=key, showlegend=False)
        trace.update(customdata=numbers[members].astype(np.int32), text=[plain(captions[i]) for i in members])
        lines = [f"<b>test image %{{customdata}}</b>, {meaning.words}", "%{text}"]
        fig.add_trace(trace.update(hovertemplate="<br>".join(lines) + "<extra></extra>", **steady(1.0)))
        solid = not meaning.symbol.endswith("open")
        if solid:  # a mark in the corner, so that the frame's colour is not the only carrier
            edge = {"color": PAPER.colour(dark), "width": 1}
            marker = {"symbol": meaning.symbol, "size": 9, "color": colour, "line": edge}
            corner_x, corner_y = left[members] + 0.88 * width, top[members] + 0.12 * height
            _decorate(fig, corner_x, corner_y, "markers", key, marker=marker)
        marker = {"symbol": meaning.symbol, "size": 10, "color": colour, "line": {"width": 0 if solid else 2}}
        legend_entry(fig, f"{meaning.words}: {members.size}", group=key, marker=marker)
    chosen = np.flatnonzero(numbers == selected) if selected is not None else np.array([], int)
    if len(chosen):
        x, y = _frames(left[chosen], top[chosen], width, height, outset=gap / 2)
        _decorate(fig, x, y, "lines", None, line={"color": PAPER.colour(dark), "width": 9})
        _decorate(fig, x, y, "lines", None, line={"color": TEXT.colour(dark), "width": 4})
    hidden = {"visible": False, "constrain": "domain"}
    fig.update_xaxes(hidden | {"range": [-0.5, sheet.shape[1] - 0.5]})
    fig.update_yaxes(hidden | {"range": [sheet.shape[0] - 0.5, -0.5], "scaleanchor": "x"}, constraintoward="top")
    # Without a limit on the distance a click picks the nearest centre: whole thumbnails are targets. The legend is
    # above, because on a narrow page the sheet shrinks upwards.
    fig.update_layout(hoverdistance=-1, margin={"t": 4, "b": 4, "l": 4, "r": 4}, legend={"y": 1.0, "yanchor": "top"})
    tally = ", ".join(f"{np.count_nonzero(status == key)} {meaning.words}" for key, meaning in STATUS.items())
    return describe(fig, f"{plural(count, 'test image')} as thumbnails: {tally}.")


def _add_flip(
    fig: go.Figure, meaning: Meaning, key: str, x: float, y: float, radius: str, dark: bool, **place: Unpack[Place]
) -> None:
    edge = {"color": TEXT.colour(dark), "width": 2}
    marker = {"symbol": meaning.symbol, "size": 13, "color": meaning.colour(dark), "line": edge}
    trace = go.Scatter(x=[x], y=[y], mode="markers", marker=marker, legendgroup=key, showlegend=False)
    hover = f"{meaning.words} flips this image<br>from {radius} on<extra></extra>"
    fig.add_trace(trace.update(name=f"flip by {meaning.words}", hovertemplate=hover), **place)


def _decorate(
    fig: go.Figure,
    x: np.ndarray,
    y: np.ndarray,
    mode: str,
    group: str | None,
    *,
    line: dict | None = None,
    marker: dict | None = None,
) -> None:
    trace = go.Scatter(x=float32(x), y=float32(y), mode=mode, line=line, marker=marker, legendgroup=group)
    fig.add_trace(trace.update(hoverinfo="skip", showlegend=False, meta=DECORATION))


def _frames(left: np.ndarray, top: np.ndarray, width: int, height: int, outset: float) -> tuple[np.ndarray, np.ndarray]:
    """Closed rectangles around images as one line, broken by NaN: x and y, ``[6 * count]`` each."""
    a, b, c, d = left - outset, left + width + outset, top - outset, top + height + outset
    gap = np.full_like(a, np.nan)
    x = np.stack([a, b, b, a, a, gap], axis=1).ravel()
    y = np.stack([c, c, d, d, c, gap], axis=1).ravel()
    return x, y
