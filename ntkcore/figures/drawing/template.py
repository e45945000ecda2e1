"""The frame every figure shares: fonts, grid, legend below the plot, index axis, alt text.

Two plotly templates, ``ntk`` and ``ntk_dark``, are registered on import. A figure says what it shows in one
sentence with its own numbers, kept in ``fig.layout.meta["alt"]``. Eigenvalues are counted from 0 (the
largest), as in the rest of the library; so that 0 has a place on a log axis, index ``i`` is drawn at ``i +
1``, labelled ``i``::

    fig = new_figure(dark=False, height=360)
    fig.update_xaxes(index_axis(count=2000))
    describe(fig, "The largest of 2000 eigenvalues is 13.1.")     # alt_text(fig) reads it back
"""

from collections.abc import Iterable, Sequence
from typing import TypedDict, Unpack

import numpy as np
import plotly.graph_objects as go
import plotly.io as pio
from plotly.subplots import make_subplots

from ntkcore.figures.drawing.palette import COLORWAY, FEATURES, GRID, MUTED, PAPER, TEXT, index_scale

TEMPLATE, TEMPLATE_DARK = "ntk", "ntk_dark"
INDEX_TITLE = "eigenvalue index i (0 = largest)"
LONGEST_NAME = 22  # characters of a class name before it is cut; longer ones collide on narrow screens
DECORATION = {"decoration": True}  # trace.meta of rings, guides and legend entries: not part of the data


class Place(TypedDict, total=False):
    """The panel that something is drawn into, counted from 1."""

    row: int
    col: int


def _template(dark: bool) -> go.layout.Template:
    text, muted, grid = TEXT.colour(dark), MUTED.colour(dark), GRID.colour(dark)
    axis = {
        "gridcolor": grid,
        "linecolor": grid,
        "zerolinecolor": grid,
        "tickcolor": grid,
        "ticks": "outside",
        "ticklen": 4,
        "automargin": True,
        "title": {"font": {"size": 13}, "standoff": 8},
        "tickfont": {"size": 12},
    }
    colorbar = {
        "thickness": 10,
        "outlinewidth": 0,
        "ticks": "outside",
        "ticklen": 3,
        "tickfont": {"size": 11},
        "title": {"font": {"size": 12}},
    }
    legend = {
        "orientation": "h",
        "yref": "container",
        "x": 0.0,
        "xanchor": "left",
        "y": 0.0,
        "yanchor": "bottom",
        "font": {"size": 12},
        "bgcolor": "rgba(0,0,0,0)",
        "tracegroupgap": 0,
    }
    font = {"family": '"Source Sans", "Source Sans Pro", "Segoe UI", sans-serif', "size": 13, "color": text}
    hover = {"bgcolor": PAPER.colour(dark), "bordercolor": muted, "align": "left", "font": font}
    return go.layout.Template(
        layout={
            "font": font,
            "paper_bgcolor": PAPER.colour(dark),
            "plot_bgcolor": "rgba(0,0,0,0)",
            "colorway": [meaning.colour(dark) for meaning in COLORWAY],
            "margin": {"l": 8, "r": 12, "t": 28, "b": 8, "pad": 0},
            "xaxis": axis,
            "yaxis": axis,
            "coloraxis": {"colorbar": colorbar},
            "hoverlabel": hover,
            "hovermode": "closest",
            "legend": legend,
            "annotationdefaults": {"font": {"size": 12, "color": muted}, "showarrow": False},
            "modebar": {"bgcolor": "rgba(0,0,0,0)", "color": muted, "activecolor": text},
        },
        data={"heatmap": [go.Heatmap(colorbar=colorbar)]},
    )


pio.templates[TEMPLATE] = _template(dark=False)
pio.templates[TEMPLATE_DARK] = _template(dark=True)


def new_figure(*, dark: bool, height: int, panels: Sequence[float] = (1.0,), width: int | None = None) -> go.Figure:
    """An empty figure in the house template; ``panels`` are stacked shares of its height.

    Sizes are in pixels. Figures with a shape of their own (pictures, matrices) have a natural ``width``,
    which the page may narrow; the others stretch to the page.
    """
    if len(panels) == 1:
        fig = go.Figure()
    else:
        fig = make_subplots(
            rows=len(panels), cols=1, shared_xaxes=True, vertical_spacing=0.05, row_heights=list(panels)
        )
    return dress(fig, dark=dark, height=height, width=width)


def dress(fig: go.Figure, *, dark: bool, height: int, width: int | None) -> go.Figure:
    """Put the house template on a figure and note which background it is for."""
    template = TEMPLATE_DARK if dark else TEMPLATE
    fig.update_layout(template=template, height=height, width=width, meta={"dark": bool(dark)})
    return fig


def describe(fig: go.Figure, alt: str) -> go.Figure:
    """Store the figure's alt text: one plain sentence with its own numbers. Returns the figure."""
    fig.layout.meta = {**(fig.layout.meta or {}), "alt": " ".join(alt.split())}
    return fig


def alt_text(fig: go.Figure) -> str:
    """The sentence stored by ``describe``; empty when there is none."""
    return (fig.layout.meta or {}).get("alt", "")


def index_ticks(count: int) -> tuple[list[int], list[str]]:
    """Ticks of a log axis of ``count`` indices: positions ``i + 1`` and texts ``i``, i = 0 1 2 5 10 20 ..."""
    last = max(count, 2)
    steps = [step * 10**decade for decade in range(len(str(last))) for step in (1, 2, 5)]
    labels = [0, *(step for step in steps if step < last)]
    return [label + 1 for label in labels], [str(label) for label in labels]


def index_axis(count: int, *, title: bool = True) -> dict:
    """Settings of a log axis of eigenvalue indices: index ``i`` goes at ``i + 1`` and reads ``i``."""
    positions, texts = index_ticks(count)
    return {
        "type": "log",
        "tickvals": positions,
        "ticktext": texts,
        "range": [np.log10(0.85), np.log10(max(count, 2) * 1.12)],
        "title": {"text": INDEX_TITLE if title else None},
    }


def index_positions(count: int) -> np.ndarray:
    """Where indices 0 to ``count - 1`` are drawn: ``i + 1``, float32."""
    return np.arange(1, count + 1, dtype=np.float32)


def index_coloraxis(count: int, *, dark: bool, bar: bool = True) -> dict:
    """A colour axis of ``log10(i + 1)`` on viridis; its bar lies above the plot, labelled with indices."""
    positions, texts = index_ticks(count)
    ticks = {"tickvals": [float(np.log10(p)) for p in positions], "ticktext": texts}
    return {
        "colorscale": index_scale(dark),
        "cmin": 0.0,
        "cmax": float(np.log10(max(count, 2))),
        "showscale": bar,
        "colorbar": colorbar_above(INDEX_TITLE) | ticks,
    }


def colorbar_above(title: str) -> dict:
    """A slim horizontal colour bar above the plot: at phone width a vertical one would take a fifth of it."""
    return {
        "orientation": "h",
        "x": 0.5,
        "xanchor": "center",
        "y": 1.02,
        "yanchor": "bottom",
        "lenmode": "pixels",
        "len": 300,
        "thickness": 9,
        "title": {"text": title, "side": "top"},
    }


def legend_entry(
    fig: go.Figure,
    words: str,
    *,
    group: str | None = None,
    marker: dict | None = None,
    line: dict | None = None,
) -> None:
    """Add a legend entry that draws nothing in the plot, for a meaning that symbol, colour or dash carry."""
    mode = "lines+markers" if marker and line else "markers" if marker else "lines"
    trace = go.Scatter(x=[None], y=[None], mode=mode, name=words, marker=marker, line=line, legendgroup=group)
    fig.add_trace(trace.update(hoverinfo="skip", meta=DECORATION))


def feature_legend(fig: go.Figure, present: Iterable[int], *, dark: bool, coloured: bool = True) -> None:
    """Legend entries of the classes of features present; grey where colour means something else."""
    present = set(present)
    for code, meaning in FEATURES.items():
        if code in present:
            colour = meaning.colour(dark) if coloured else MUTED.colour(dark)
            marker = {"symbol": meaning.symbol, "size": 9, "color": colour}
            legend_entry(fig, meaning.words, group=meaning.words, marker=marker)


def add_ring(fig: go.Figure, x: float, y: float, *, dark: bool, size: int = 16, **place: Unpack[Place]) -> None:
    """Ring the selected dot, in the text's colour. ``place`` is ``row`` and ``col`` in a figure of panels."""
    marker = {"symbol": "circle-open", "size": size, "color": TEXT.colour(dark), "line": {"width": 2.5}}
    trace = go.Scatter(x=[x], y=[y], mode="markers", marker=marker, name="selected", showlegend=False)
    fig.add_trace(trace.update(hoverinfo="skip", meta=DECORATION), **place)


def steady(opacity: float) -> dict:
    """Trace settings that keep a click from fading all other dots: the ring alone shows what is selected."""
    same = {"marker": {"opacity": opacity}}
    return {"selected": same, "unselected": same}


def log_axis() -> dict:
    """Settings of a log axis of amounts: a tick each power of ten, in plain numbers."""
    return {"type": "log", "dtick": 1, "tickformat": "~g"}


def count_axis(count: int) -> dict:
    """Settings of a log axis of whole numbers from 1 to ``count``: ticks at 1 2 5 10 20 ..."""
    steps = [step * 10**decade for decade in range(len(str(count))) for step in (1, 2, 5)]
    ticks = [step for step in steps if step <= count]
    return {"type": "log", "tickvals": ticks, "ticktext": [str(step) for step in ticks]}


def guide(dark: bool, dash: str = "dot") -> dict:
    """Line settings of a guide: thin, grey."""
    return {"color": MUTED.colour(dark), "dash": dash, "width": 1.5}


def add_chance(
    fig: go.Figure, chance: float | None, *, dark: bool, side: str = "right", **place: Unpack[Place]
) -> None:
    """A labelled horizontal guide at the accuracy of a blind guess; none without one. ``place`` is ``row``, ``col``."""
    if chance is not None:
        words = {"annotation_text": f"chance {chance:.0%}", "annotation_position": f"bottom {side}"}
        fig.add_hline(y=chance, line=guide(dark), layer="below", **words, **place)


def plain(text: object) -> str:
    """Text from outside made safe for plotly: no markup, no templates, no line breaks."""
    cleaned = " ".join(str(text).split())
    return cleaned.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("%{", "% {")


def short(name: object) -> str:
    """A class name for legends and axes: safe, and cut where it would collide with others on a narrow screen."""
    cleaned = " ".join(str(name).split())
    return plain(cleaned if len(cleaned) <= LONGEST_NAME else cleaned[: LONGEST_NAME - 1].rstrip() + "…")
