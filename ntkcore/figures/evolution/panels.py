"""Panels beside each other and lines by training regime: what the figures along the epochs of a training share.

Panels lie in rows of so many columns, each with its title over its left corner; the last row may be shorter. Regimes
are the keys of ``palette.REGIMES``: a colour and a symbol each::

    fig = panel_grid(["clean accuracy", "PGD accuracy"], columns=2, dark=False)
    add_curve(fig, epochs, band, REGIMES["pgd"], False, hover="epoch %{x}<br>%{y:.1%}", row=1, col=1)
    regime_legend(fig, ["pgd"], dark=False)
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar, Unpack

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from ntkcore.errors import DataError
from ntkcore.figures.drawing.bands import Band, add_band, known_band, marker_sizes
from ntkcore.figures.drawing.checks import float32, positive
from ntkcore.figures.drawing.palette import MUTED, REGIMES, TEXT, Meaning, faint
from ntkcore.figures.drawing.template import Place, colorbar_above, dress, legend_entry, short

Given = TypeVar("Given")

PANEL, GAP = 190, 62  # pixels: height of a panel, room between two rows of panels
SIDE, LONE_SIDE, SPARE = 210, 300, 24  # pixels of a square panel beside others, and alone; the width is to bind it
EDGES, LEGEND = 70, 40  # pixels for title and axis at the edges, and for the legend
BAR = 32  # pixels of a colour bar above the titles
EPOCH_TITLE = "epoch"
RANGE = "lowest to highest seed"  # what bands of training regimes are


def panel_grid(
    titles: Sequence[str],
    *,
    columns: int,
    dark: bool,
    square: bool = False,
    bar: str | None = None,
    legend: bool = True,
) -> go.Figure:
    """A figure of a panel for each title, in rows of ``columns``.

    Args:
        square: whether panels are squares, so that the figure has a natural width.
        bar: what the colours are, for the bar of the figure's colour axis above the titles; no bar without.
        legend: whether there is to be room for a legend.
    """
    if not titles:
        raise DataError("There are no panels; hand in at least one.")
    count, columns = len(titles), max(1, min(columns, len(titles)))
    rows = -(-count // columns)
    side = SIDE if columns > 1 else LONE_SIDE
    inner = rows * (side + SPARE if square else PANEL) + (rows - 1) * GAP
    there: list[list[dict[str, Any] | None]]
    there = [[{} if row * columns + column < count else None for column in range(columns)] for row in range(rows)]
    spacing = {"horizontal_spacing": 0.05, "vertical_spacing": GAP / inner if rows > 1 else 0}
    fig = make_subplots(rows=rows, cols=columns, specs=there, **spacing)
    height = inner + EDGES + (LEGEND if legend else 0) + (BAR if bar else 0)
    dress(fig, dark=dark, height=height, width=60 + columns * (side + 8) if square else None)
    if bar:
        place = {"yref": "container", "y": 1, "yanchor": "top", "ypad": 8, "len": 220}
        words = {"tickprefix": f"{bar} ", "showtickprefix": "first", "title": {"text": None}}
        fig.update_coloraxes(colorbar=colorbar_above(bar) | place | words)
        fig.update_layout(margin_t=28 + BAR)
    for number, title in enumerate(titles, start=1):
        axis = axis_number(number)
        corner = {"x": 0, "y": 1, "xref": f"x{axis} domain", "yref": f"y{axis} domain"}
        corner |= {"xanchor": "left", "yanchor": "bottom", "font": {"color": TEXT.colour(dark), "size": 13}}
        fig.add_annotation(text=short(title), **corner)
    return fig


def panel_places(count: int, columns: int) -> list[tuple[Place, bool, bool]]:
    """Of each panel: its row and column, whether it is the first in its row, and the lowest in its column."""
    columns = max(1, min(columns, count))
    return [
        ({"row": k // columns + 1, "col": k % columns + 1}, k % columns == 0, k + columns >= count)
        for k in range(count)
    ]


def axis_number(panel: int) -> str:
    """What follows ``x`` and ``y`` in the names of the axes of panel 1, 2, ...: nothing, ``"2"``, ..."""
    return "" if panel == 1 else str(panel)


def by_regime(values: Mapping[str, Given] | None, name: str) -> dict[str, Given]:
    """A mapping from regimes, in the order of the palette; DataError for any other key."""
    values = values or {}
    unknown = sorted(set(values) - set(REGIMES))
    if unknown:
        raise DataError(f"{name} is keyed by {unknown}; use some of {', '.join(REGIMES)}.")
    return {regime: values[regime] for regime in REGIMES if regime in values}


def known_log_band(band: Band, name: str, length: int) -> Band:
    """``bands.known_band`` for a log axis: a mean not above zero is not drawn, such a bound gives way to the mean."""
    band = known_band(band, name, length)
    above = (positive(values).astype(np.float64) for values in (band.mean, band.low, band.high))
    return known_band(Band(*above), name, length)


def epoch_axis(last: int, *, title: bool = True) -> dict:
    """Settings of an axis of epochs from 0 to ``last``, with at most six ticks at whole epochs."""
    last = max(last, 1)
    steps = (step * 10**decade for decade in range(len(str(last))) for step in (1, 2, 5))
    step = next(step for step in steps if last <= 5 * step)
    text = EPOCH_TITLE if title else None
    return {"range": [-0.03 * last, 1.03 * last], "tick0": 0, "dtick": step, "zeroline": False, "title_text": text}


def decades(values: Iterable[np.ndarray]) -> dict:
    """Settings of a log axis for ``values``: a tick each power of ten, more if they span less than that."""
    drawn = np.hstack([np.nan, *values])
    drawn = drawn[np.isfinite(drawn)]
    if not drawn.size:
        return {"type": "log", "tickformat": "~g", "dtick": 1, "range": [-3, 0]}
    wide = drawn.max() > 10 * drawn.min()
    return {"type": "log", "tickformat": "~g", "dtick": 1 if wide else None, "nticks": 0 if wide else 4}


def add_curve(
    fig: go.Figure,
    x: np.ndarray,
    band: Band,
    meaning: Meaning,
    dark: bool,
    *,
    hover: str,
    name: str | None = None,
    digits: str = ".1%",
    index: np.ndarray | None = None,
    **place: Unpack[Place],
) -> None:
    """``bands.add_band`` over seeds, with markers on a few of many points; arguments as there."""
    add_band(fig, x, band, meaning, dark, hover=hover, name=name, digits=digits, index=index, of=RANGE, **place)
    sizes = marker_sizes(x[band.known])  # sizes of their own bring a rim and make markers faint
    fig.data[-1].update(marker={"size": sizes, "line": {"width": 0}, "opacity": 1})


def add_side_line(
    fig: go.Figure,
    x: np.ndarray,
    band: Band,
    meaning: Meaning,
    dash: str,
    dark: bool,
    *,
    hover: str,
    name: str,
    **place: Unpack[Place],
) -> None:
    """A thin line without a shade that goes with the main line of its regime, and leaves with it."""
    keep, colour = band.known, meaning.colour(dark)
    reach = [
        f"<br>{RANGE} {a:.1%} to {b:.1%}" if b > a else "" for a, b in zip(band.low[keep], band.high[keep], strict=True)
    ]
    trace = go.Scatter(x=float32(x[keep]), y=float32(band.mean[keep]), mode="lines+markers", name=name, text=reach)
    trace.update(line={"color": colour, "dash": dash, "width": 1.5}, legendgroup=meaning.words, showlegend=False)
    ends = np.zeros(int(keep.sum()), dtype=np.int8)
    ends[:1] = 5  # where it sets in; a single point has no line
    trace.update(marker={"symbol": meaning.symbol, "size": ends, "color": colour, "line": {"width": 0}, "opacity": 1})
    fig.add_trace(trace.update(hovertemplate=f"{hover}%{{text}}<extra></extra>"), **place)


def regime_legend(fig: go.Figure, present: Iterable[str], dark: bool, *, dash: str | None = None) -> None:
    """An entry for each regime that is drawn in any panel, and one that says what bands are.

    A click on a regime hides it in all panels.
    """
    present = set(present)
    for regime, meaning in REGIMES.items():
        if regime in present:
            meaning = replace(meaning, dash=dash or meaning.dash)
            colour = meaning.colour(dark)
            marker = {"symbol": meaning.symbol, "size": 8, "color": colour}
            line = {"color": colour, "dash": meaning.dash, "width": 2}
            legend_entry(fig, meaning.words, group=meaning.words, marker=marker, line=line)
    if _shaded(fig):
        square = {"symbol": "square", "size": 11, "color": faint(MUTED.colour(dark), 0.4)}
        legend_entry(fig, RANGE, marker=square)


def bands_in_words(fig: go.Figure) -> str:
    """For an alt text: `` Bands: lowest to highest seed.`` where there are any."""
    return f" Bands: {RANGE}." if _shaded(fig) else ""


def _shaded(fig: go.Figure) -> bool:
    return any(getattr(trace, "fill", None) == "tonexty" for trace in fig.data)
