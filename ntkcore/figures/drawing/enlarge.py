"""A figure for the back row: its text, dots and lines larger, its height that of one screen.

Sizes are those that the figure and its template name; each is multiplied, and no text is smaller than ``SMALLEST``::

    enlarge(fig)                        # a new figure; fig stays as it is
"""

from typing import Any

import plotly.graph_objects as go

TIMES = 1.6
SMALLEST = 18.0  # pixels of the smallest text
SHIFTED = 0.7  # what plotly makes of the size of a sub- or superscript
LARGEST = 24.0  # text that is large already grows to here
WIDER = 1.3  # times that a figure with a width of its own grows: two of them stand side by side
TALLEST = 670  # pixels of a figure that fits a screen of 900 below a page's head
_WORDS = ("font", "tickfont", "textfont", "insidetextfont", "outsidetextfont")
_DRAWN = {"marker": "size", "line": "width"}


def enlarge(fig: go.Figure, times: float = TIMES) -> go.Figure:
    """A copy of ``fig`` whose fonts, markers and lines are ``times`` as large."""
    large = go.Figure(fig)
    template = large.layout.template
    font = float(template.layout.font.size or 12)
    layout = large.layout.to_plotly_json()
    layout.pop("template", None)
    large.layout.update(_larger(layout, times), overwrite=True)
    large.layout.template = go.layout.Template(_larger(template.to_plotly_json(), times))
    large.update_layout(font={"size": max(SMALLEST, times * font)})
    for trace in large.data:
        _enlarge_trace(trace, times)
    for frame in large.frames:
        if frame.layout is not None:
            frame.layout = _larger(frame.layout.to_plotly_json(), times)
        for trace in frame.data or ():
            _enlarge_trace(trace, times)
    margin = large.layout.margin.to_plotly_json()
    large.update_layout(margin={side: times * margin[side] for side in ("t", "b") if margin.get(side) is not None})
    if large.layout.sliders:
        large.update_layout(margin={"r": 32})  # for the half of the last step's label
    if large.layout.height is not None:
        natural = large.layout.width is not None
        grows = min(WIDER if natural else times, TALLEST / large.layout.height)
        large.layout.height *= grows
        if natural:
            large.layout.width *= grows
    return large


def _larger(part: Any, times: float, of: str = "") -> Any:
    """A part of a figure's description with its sizes multiplied."""
    if isinstance(part, dict):
        larger = {name: _size(name, times, of, value) for name, value in part.items()}
        if "<su" in str(part.get("text", "")):
            larger["font"] = {**larger.get("font", {}), "size": SMALLEST / SHIFTED + 0.1}
        return larger
    if isinstance(part, list | tuple):
        return [_larger(one, times, of) for one in part]
    return part


def _size(name: str, times: float, of: str, value: Any) -> Any:
    single = isinstance(value, int | float) and not isinstance(value, bool)
    if single and of in _WORDS and name == "size":
        return max(SMALLEST, value, min(LARGEST, times * value))
    if single and (name in ("xshift", "yshift") or (of == "pad" and name == "l")):  # beside a slider: its buttons
        return times * value
    if single and _DRAWN.get(of) == name:
        return times * value
    return _larger(value, times, name)


def _enlarge_trace(trace: Any, times: float) -> None:
    """Markers, lines and texts of one trace; sizes given as one number."""
    for name in ("marker", "line", "textfont", "colorbar", "selected", "unselected"):
        if name in trace and trace[name] is not None:
            trace[name].update(_larger(trace[name].to_plotly_json(), times, name))
