"""Two figures of one kind laid over each other: now's as it is, the pinned one's lines dotted and its markers hollow.

A colour keeps its meaning, so that a pair of lines of one colour is one thing in two experiments. The legend names
both, and its entry of the pinned one shows and hides all that is pinned::

    both = overlay(draw(sweep), draw(pinned_sweep), now="FC(5), eps 8/255", pinned="FC(1), eps 8/255")
    if both is None: ...               # bars, maps and pictures have no place for a second one
"""

from collections.abc import Sequence
from itertools import takewhile

import numpy as np
import plotly.graph_objects as go

from ntkcore.figures.drawing.palette import TEXT
from ntkcore.figures.drawing.template import DECORATION, alt_text, describe, legend_entry, plain

DASH, HOLLOW = "dot", "-open"
PINNED = "pinned"  # the group of all that is
BESIDE = 1.09  # where error bars of both would cover each other, the pinned one's stand a step to the right (log axis)


def overlay(figure: go.Figure, other: go.Figure, *, now: str, pinned: str) -> go.Figure | None:
    """``figure`` with the lines and dots of ``other``, which was drawn by the same function from a pinned result.

    None where they cannot be laid over each other: there is something else than lines and dots, or it moves.
    Guides, rings and marks stay those of ``figure``; axes reach as far as both need.

    Args:
        now, pinned: names of the two, for the legend and the alt text.
    """
    if figure.frames or not all(isinstance(trace, go.Scatter | go.Scattergl) for trace in (*figure.data, *other.data)):
        return None
    both, dark = go.Figure(figure), bool((figure.layout.meta or {}).get("dark"))
    known = {trace.name for trace in figure.data if trace.meta == DECORATION}
    shift = BESIDE if any(_has_bars(trace) for trace in other.data) else 1.0
    for trace in other.data:
        if trace.meta != DECORATION or (trace.name not in known and trace.showlegend is not False and trace.name):
            both.add_trace(_restyled(trace, pinned, shift))
    for axis in (*both.select_xaxes(), *both.select_yaxes()):
        _widen(axis, other.layout[axis.plotly_name])
    look = {"color": TEXT.colour(dark)}
    for words, dash, symbol in ((f"now: {now}", "solid", "circle"), (f"pinned: {pinned}", DASH, f"circle{HOLLOW}")):
        marker = look | {"symbol": symbol, "size": 8, "line": {"width": 1.5}}
        group = PINNED if symbol.endswith(HOLLOW) else None
        legend_entry(both, plain(words), group=group, marker=marker, line=look | {"dash": dash, "width": 2})
        both.data[-1].legendrank = 1  # first of all
    return describe(both, f"Now, {now}: {alt_text(figure)} Pinned, {pinned}: {alt_text(other)}")


def _has_bars(trace: go.Scatter) -> bool:
    bars = trace.error_y
    return bars is not None and bars.array is not None and bars.visible is not False


def _restyled(trace: go.Scatter, pinned: str, shift: float) -> go.Scatter:
    """A copy of a trace in the look of what is pinned."""
    copy = type(trace)(trace)
    if copy.meta != DECORATION:
        copy.update(name=f"pinned, {trace.name}", legendgroup=PINNED, showlegend=False)
        if shift != 1.0 and trace.x is not None:
            copy.x = (np.asarray(trace.x) * shift).astype(np.float32)
    if trace.mode and "lines" in trace.mode and (trace.line.width is None or trace.line.width > 0):
        copy.line.dash = DASH
    if trace.mode and "markers" in trace.mode:
        symbol = "circle" if trace.marker.symbol is None else trace.marker.symbol
        copy.marker.symbol = _hollow(symbol) if isinstance(symbol, str) else [_hollow(one) for one in symbol]
        copy.marker.line.width = 1.5
    if trace.hovertemplate:
        copy.hovertemplate = f"<b>pinned: {plain(pinned)}</b><br>{trace.hovertemplate}"
    return copy


def _hollow(symbol: str) -> str:
    return symbol if symbol.endswith(HOLLOW) else symbol + HOLLOW


def _widen(axis: go.layout.XAxis, other: go.layout.XAxis) -> None:
    """Let an axis hold what another one does: its range, its ticks, and what differs in its title."""
    if axis.range is not None and other.range is not None:
        ends = np.array([axis.range, other.range], dtype=float)
        axis.range = [float(ends[:, 0].min()), float(ends[:, 1].max())]
    if axis.tickvals is not None and other.tickvals is not None and len(other.tickvals) > len(axis.tickvals):
        axis.update(tickvals=other.tickvals, ticktext=other.ticktext)
    mine, theirs = axis.title.text, other.title.text
    if mine and theirs and mine != theirs:
        axis.title.text = f"{mine} (pinned: {_differing(mine.split(), theirs.split())})"


def _differing(mine: Sequence[str], theirs: Sequence[str]) -> str:
    """The words of ``theirs`` from the first one on that is another."""
    same = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(mine, theirs, strict=False)))
    return " ".join(theirs[same:])
