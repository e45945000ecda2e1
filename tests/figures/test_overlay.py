"""Two figures laid over each other: all that both show is there, told apart by dash or marker, and named."""

import json

import numpy as np
import plotly.graph_objects as go
import pytest
from reading import legend, lines

from ntkcore import figures
from ntkcore.figures.drawing.overlay import overlay
from ntkcore.figures.drawing.template import DECORATION, describe


def heights(fig: go.Figure) -> dict[str, list]:
    return {name: json.loads(trace.to_json()).get("y") for name, trace in lines(fig).items()}


def test_every_figure_of_lines_and_dots_holds_both(figure_function, results):
    """And figures that cannot are told, and left as they were."""
    fig = figure_function[1](results, False)
    before = json.loads(fig.to_json())
    both = overlay(fig, fig, now="FC(5)", pinned="FC(1)")
    assert json.loads(fig.to_json()) == before
    kinds = {trace.type for trace in fig.data}
    assert (both is None) == (not kinds <= {"scatter", "scattergl"} or bool(fig.frames))
    if both is None:
        return
    shown = heights(both)
    assert {name: shown[name] for name in heights(fig)} == heights(fig)
    assert {name: shown[f"pinned, {name}"] for name in heights(fig)} == heights(fig)
    assert {"now: FC(5)", "pinned: FC(1)"} <= set(legend(both))
    assert figures.alt_text(fig) in figures.alt_text(both)
    for trace in both.data:
        if (trace.name or "").startswith("pinned, ") and trace.hoverinfo != "skip" and trace.meta != DECORATION:
            assert "lines" not in trace.mode or trace.line.dash == "dot" or trace.line.width == 0
            assert "markers" not in trace.mode or "-open" in np.atleast_1d(trace.marker.symbol)[0]


def test_axes_reach_as_far_as_both_need_and_say_what_differs():
    def made(eps: int, high: float) -> go.Figure:
        fig = go.Figure(go.Scatter(x=[0, 1], y=[0, high], mode="lines", name="a"))
        fig.update_yaxes(title_text=f"right under FGSM eps {eps}/255", range=[0, high])
        return describe(fig, f"It rises to {high}.")

    both = overlay(made(8, 1.0), made(4, 3.0), now="eps 8/255", pinned="eps 4/255")
    assert both.layout.yaxis.range == (0, 3.0)
    assert both.layout.yaxis.title.text == "right under FGSM eps 8/255 (pinned: 4/255)"
    assert both.data[1].y == pytest.approx((0, 3.0))
