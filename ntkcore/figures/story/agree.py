"""One image through the leading features of several architectures, and how much of their eigenspaces they share.

::

    fig = architectures_agree(image, {"FC(1)": gradients, "Conv(2)": others}, ks, {"FC(1) and Conv(2)": band}, chance)
"""

from collections.abc import Mapping

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from ntkcore.analysis.consistency.agreement import leading
from ntkcore.analysis.intervals import Band
from ntkcore.figures.drawing.bands import add_band, known_band
from ntkcore.figures.drawing.checks import float32
from ntkcore.figures.drawing.palette import MUTED, PAPER, TEXT, Meaning
from ntkcore.figures.drawing.template import Place, count_axis, describe, dress, guide, plain
from ntkcore.figures.story.grid import BIG, TITLE, add_picture, pixels
from ntkcore.readings.words import percent

SHOWN = 5  # leading features of each architecture
PAIR = Meaning("least similar pair", TEXT.light, TEXT.dark)


def architectures_agree(
    image: np.ndarray,
    rows: Mapping[str, np.ndarray],
    ks: np.ndarray,
    curves: Mapping[str, Band],
    chance: np.ndarray,
    *,
    dark: bool = False,
) -> go.Figure:
    """A row of signed pictures for each architecture above, the overlap of eigenspaces along k below.

    Args:
        image: ``[C, H, W]`` in [0, 1].
        rows: architecture -> ``[SHOWN, C, H, W]`` gradients of matched features, turned the same way.
        ks, curves, chance: as of ``Agreement.curves``; of all pairs the one with the least overlap stands out.
    """
    count, wide, at = len(rows), SHOWN + 1, leading(ks)
    specs: list[list[dict | None]] = [[{}] * wide for _ in rows]
    specs.append([{"colspan": wide}, *[None] * SHOWN])
    fig = make_subplots(
        rows=count + 1,
        cols=wide,
        specs=specs,
        row_heights=[0.62 / count] * count + [0.38],
        horizontal_spacing=0.015,
        vertical_spacing=0.06,
    )
    dress(fig, dark=dark, height=560, width=None)
    fig.update_layout(margin={"t": 30, "b": 8, "l": 96, "r": 8})
    for row, (name, gradients) in enumerate(rows.items(), 1):
        add_picture(fig, pixels(image), row, 1, title="image" if row == 1 else "")
        for column, gradient in enumerate(gradients[:SHOWN]):
            title = f"no. {column}" if row == 1 else ""
            add_picture(fig, pixels(gradient, signed=True), row, column + 2, title=title)
        middle = sum(fig.layout[fig.data[-1].yaxis.replace("y", "yaxis")].domain) / 2
        name = {"text": f"<b>{plain(name)}</b>", "x": 0, "xanchor": "right", "xshift": -4, "y": middle}
        fig.add_annotation(xref="paper", yref="paper", yanchor="middle", font={"size": BIG}, showarrow=False, **name)
    fig.update_annotations(font={"color": TEXT.colour(dark)})
    place: Place = {"row": count + 1, "col": 1}
    least = min(curves, key=lambda pair: curves[pair].mean[at])
    for pair, given in curves.items():
        if pair != least:
            look = {"color": MUTED.colour(dark), "width": 1.5}
            line = go.Scatter(x=float32(ks), y=float32(given.mean), mode="lines", line=look, name=plain(pair))
            line.update(showlegend=False, hovertemplate=f"{plain(pair)}<br>k = %{{x:.0f}}: %{{y:.1%}}<extra></extra>")
            fig.add_trace(line, **place)
    band = known_band(curves[least], least, len(ks))
    add_band(fig, ks, band, PAIR, dark, hover=f"{plain(least)}<br>k = %{{x:.0f}}: %{{y:.1%}}", name=least, **place)
    random = go.Scatter(x=float32(ks), y=float32(chance), mode="lines", line=guide(dark) | {"width": 2.5})
    random.update(
        name="images shuffled", showlegend=False, hovertemplate="images shuffled, k = %{x:.0f}: %{y:.1%}<extra></extra>"
    )
    fig.add_trace(random, **place)
    fig.add_vline(x=float(ks[at]), line=guide(dark), layer="below", **place)
    axis = fig.data[-1].xaxis.removeprefix("x")
    label = {"xref": f"x{axis}", "yref": f"y{axis}", "showarrow": False}
    start, size = float(np.log10(ks[at])), {"size": TITLE, "color": TEXT.colour(dark)}
    for words, y, side, shift in (
        (f"least similar: {plain(least)}", float(band.low[at]), "top", -8),
        ("images shuffled", float(chance[at]), "bottom", 8),
    ):
        beside = {"xanchor": "center", "bgcolor": PAPER.colour(dark), "yanchor": side, "yshift": shift}
        fig.add_annotation(text=words, x=start, y=y, font=size, **beside, **label)
    ends = [float(np.log10(0.85)), float(np.log10(1.15 * ks[-1]))]  # words inside would stretch a range not said
    ticks = {"tickfont": {"size": 14}, "title_font": {"size": TITLE}}
    fig.update_xaxes(
        ticks, title_text="leading eigenvectors compared, k", range=ends, **count_axis(int(ks[-1])), **place
    )
    fig.update_yaxes(ticks, title_text="shared", range=[0, 1.03], tickformat=".0%", dtick=0.5, **place)
    names = ", ".join(plain(name) for name in rows)
    shared = f"{plain(least)} share {percent(float(band.mean[at]))} of the space of their {ks[at]:.0f} leading ones"
    by_chance = f"with the images of one shuffled {percent(float(chance[at]))}"
    return describe(
        fig,
        f"One test image through {SHOWN} leading features of {names}, up to sign. Least alike, {shared}, {by_chance}.",
    )
