"""The picture of ``bench.costs``: seconds along what grows, drawn by plotly in a headless Chromium.

::

    save({"kernel FC(1)": ("images", (500, 1000), (0.01, 0.04))}, Path("costs.svg"))
"""

import base64
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import unquote

import plotly.graph_objects as go
from playwright.sync_api import sync_playwright
from plotly.subplots import make_subplots

from ntkcore.figures.drawing.palette import COLORWAY
from ntkcore.figures.drawing.template import TEMPLATE
from ntkcore.figures.export import to_html

Line = tuple[str, Sequence[int], Sequence[float]]  # plot, sizes, seconds
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
TITLES = {"images": "images n", "side": "side of the images, pixels", "depth": "depth of the net"}
WIDTH, HEIGHT = 1100, 520


def figure(lines: Mapping[str, Line]) -> go.Figure:
    """One plot a group, both axes logarithmic; names stand at the ends of the lines' legend."""
    groups = list(dict.fromkeys(group for group, *_ in lines.values()))
    fig = make_subplots(
        cols=len(groups), shared_yaxes=True, column_titles=[f"along the {TITLES[g].split(' of')[0]}" for g in groups]
    )
    for number, (name, (group, sizes, seconds)) in enumerate(lines.items()):
        colour = COLORWAY[number % len(COLORWAY)].colour(False)
        line = go.Scatter(
            x=list(sizes),
            y=list(seconds),
            name=name,
            mode="lines+markers",
            line={"color": colour, "dash": "solid" if number < len(COLORWAY) else "dot"},
        )
        fig.add_trace(line, row=1, col=groups.index(group) + 1)
    for column, group in enumerate(groups, 1):
        ticks = sorted({size for g, sizes, _ in lines.values() if g == group for size in sizes})
        shown = ticks if group != "images" else [10, 100, 1000, 10000]
        fig.update_xaxes(type="log", tickvals=shown, title=TITLES[group], col=column)
        fig.update_yaxes(type="log", dtick=1, title="seconds" if column == 1 else None, col=column)
    fig.update_layout(template=TEMPLATE, width=WIDTH, height=HEIGHT, margin={"b": 190, "t": 50})
    return fig


def save(lines: Mapping[str, Line], path: Path) -> None:
    """As SVG. Raises RuntimeError where there is no Chromium (``CHROMIUM`` names one)."""
    browser = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        raise RuntimeError("The picture needs Chromium; install it, or name one in CHROMIUM.")
    with sync_playwright() as playwright:
        page = playwright.chromium.launch(executable_path=browser, args=["--no-sandbox"]).new_page()
        page.set_content(to_html(figure(lines), "costs"))
        size = f"{{format: 'svg', width: {WIDTH}, height: {HEIGHT}}}"
        url = page.evaluate(f"Plotly.toImage(document.querySelector('.js-plotly-plot'), {size})")
        page.context.browser.close()
    head, _, body = url.partition(",")
    path.write_bytes(base64.b64decode(body) if head.endswith("base64") else unquote(body).encode())
