"""Figures for the back row: every text is large, nothing else is said, and the figure given is as it was."""

import json
import re
from collections.abc import Iterator

import pytest

from ntkcore.figures.drawing.enlarge import SHIFTED, SMALLEST, TALLEST, TIMES, WIDER, enlarge

FONTS = ("font", "tickfont", "textfont")


def sizes(part: object, of: str = "") -> Iterator[tuple[str, float]]:
    """(text beside it, pixels) of every font in a figure's description; a sub- or superscript's own pixels."""
    if isinstance(part, dict):
        for name, value in part.items():
            if name in FONTS and isinstance(value, dict) and "size" in value:
                text = str(part.get("text", ""))
                yield text, value["size"] * (SHIFTED if re.search("<su[bp]>", text) else 1)
            yield from sizes(value, name)
    elif isinstance(part, list):
        for one in part:
            yield from sizes(one, of)


def test_every_text_is_read_from_the_back_row(figure_function, results):
    fig = figure_function[1](results, False)
    before = json.loads(fig.to_json())
    large = json.loads(enlarge(fig).to_json())
    found = list(sizes(large))
    assert len(found) > 5
    assert [one for one in found if one[1] < SMALLEST] == []
    assert large["layout"]["font"]["size"] >= SMALLEST
    assert json.loads(fig.to_json()) == before


def test_a_figure_fits_the_screen_and_says_the_same(figure_function, results):
    fig = figure_function[1](results, False)
    large = enlarge(fig)
    natural = fig.layout.width is not None
    assert large.layout.height == pytest.approx(min((WIDER if natural else TIMES) * fig.layout.height, TALLEST))
    if natural:  # a square stays one
        assert large.layout.width / fig.layout.width == pytest.approx(large.layout.height / fig.layout.height)
    assert large.layout.meta == fig.layout.meta
    for one, other in zip(fig.data, large.data, strict=True):
        assert json.dumps(json.loads(one.to_json()).get("y")) == json.dumps(json.loads(other.to_json()).get("y"))
        size = getattr(getattr(one, "marker", None), "size", None)
        if isinstance(size, int | float):
            assert other.marker.size == pytest.approx(TIMES * size)
