"""Labelled pictures side by side as one figure: what pixels a feature or an attack looks at.

Images keep their pixels sharp at any size; signed ones are drawn on the diverging scale, symmetric about 0.
Values show on hover and are in the downloaded table::

    fig = strip([Picture(x, "image"), Picture(delta, "perturbation", signed=True)])
    fig = strip([Picture(g, f"feature {i}", signed=True) for i, g in enumerate(gradients)], columns=4)
    scale = symmetric_scale(gradients)      # one scale for all: Picture(..., scale=scale), colorbar=True
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from ntkcore.errors import DataError
from ntkcore.figures.drawing.checks import float32
from ntkcore.figures.drawing.images import signed_plane, symmetric_scale, to_rgb
from ntkcore.figures.drawing.palette import diverging_scale
from ntkcore.figures.drawing.template import describe, dress, plain
from ntkcore.readings.words import signed


@dataclass(frozen=True, eq=False)
class Picture:
    """One picture of a strip.

    Attributes:
        image: ``[C, H, W]``; in [0, 1] unless ``signed``.
        title: a few words above it; ``<br>`` breaks the line.
        signed: draw on the diverging scale.
        scale: value at the ends of that scale; the picture's own largest absolute value when None.
    """

    image: np.ndarray
    title: str
    signed: bool = False
    scale: float | None = None


def strip(
    pictures: Sequence[Picture],
    *,
    columns: int | None = None,
    row_height: int = 180,
    colorbar: bool = False,
    dark: bool = False,
) -> go.Figure:
    """Labelled pictures side by side, at most ``columns`` in a row of ``row_height`` pixels.

    ``colorbar`` adds one signed scale below; it is meant for signed pictures that share one ``scale``.
    """
    if not pictures:
        raise DataError("No pictures were given; a strip needs at least one.")
    columns = min(columns or len(pictures), len(pictures))
    rows = -(-len(pictures) // columns)
    title_height = 12 + 16 * (1 + max(picture.title.count("<br>") for picture in pictures))
    inner = rows * row_height + (rows - 1) * title_height
    fig = make_subplots(
        rows=rows,
        cols=columns,
        horizontal_spacing=0.02,
        vertical_spacing=title_height / inner if rows > 1 else 0.0,
    )
    bottom = 62 if colorbar else 6
    widest = max(picture.image.shape[-1] / picture.image.shape[-2] for picture in pictures)
    width = int(columns * (row_height * widest + 24))
    dress(fig, dark=dark, height=inner + title_height + bottom, width=max(width, 340 if colorbar else 0))
    fig.update_layout(margin={"t": title_height, "b": bottom, "l": 6, "r": 6})
    scales = []
    for k, picture in enumerate(pictures):
        place = {"row": k // columns + 1, "col": k % columns + 1}
        if picture.signed:
            scales.append(picture.scale or symmetric_scale([picture.image]))
            trace = _signed_trace(picture, scales[-1], bar=colorbar and len(scales) == 1)
        else:
            trace = _image_trace(picture)
        fig.add_trace(trace, **place)
        height, width = picture.image.shape[1:]
        bare = {"showgrid": False, "zeroline": False, "showline": False, "showticklabels": False, "ticks": ""}
        title = {"text": "<br>".join(map(plain, picture.title.split("<br>"))), "standoff": 4}
        fig.update_xaxes(bare | {"side": "top", "range": [-0.5, width - 0.5], "title": title}, **place)
        fig.update_yaxes(bare | {"range": [height - 0.5, -0.5], "scaleanchor": f"x{k + 1}" if k else "x"}, **place)
        fig.update_xaxes(constrain="domain", automargin=False, **place)
        fig.update_yaxes(constrain="domain", constraintoward="top", automargin=False, **place)
    alt = "Pictures side by side: " + "; ".join(picture.title.replace("<br>", " ") for picture in pictures)
    if scales:
        alt += f"; signed ones run from {signed(-max(scales), '.3g')} (blue) to +{max(scales):.3g} (red)"
    return describe(fig, alt + ".")


def _signed_trace(picture: Picture, scale: float, bar: bool) -> go.Heatmap:
    name = plain(picture.title.replace("<br>", " "))
    trace = go.Heatmap(z=float32(signed_plane(picture.image)), zmin=-scale, zmax=scale, name=name, showscale=bar)
    trace.update(colorscale=diverging_scale())
    title = {"text": "pixel value: blue negative, red positive", "side": "top"}
    below = {"orientation": "h", "x": 0.5, "y": 0.0, "yanchor": "top", "ypad": 8, "thickness": 9}
    below |= {"lenmode": "pixels", "len": 300}
    trace.update(colorbar=below | {"title": title})
    return trace.update(hovertemplate=f"{name}<br>row %{{y}}, column %{{x}}: %{{z:+.3g}}<extra></extra>")


def _image_trace(picture: Picture) -> go.Image:
    name = plain(picture.title.replace("<br>", " "))
    grey = len(picture.image) == 1
    colour = "%{z[0]} of 255" if grey else "red %{z[0]}, green %{z[1]}, blue %{z[2]} of 255"
    hover = f"{name}<br>row %{{y}}, column %{{x}}: {colour}<extra></extra>"
    return go.Image(z=to_rgb(picture.image), name=name, hovertemplate=hover)
