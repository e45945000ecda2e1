"""Pictures in rows inside a figure of the story, some with a frame in the colour of what they are.

::

    add_picture(fig, pixels(image), 1, 1, title="image")
    add_picture(fig, pixels(gradient, signed=True), 1, 2, title="feature 3", frame="#0072B2")
"""

import numpy as np
import plotly.graph_objects as go

from ntkcore.figures.drawing.images import data_uri, signed_rgb, to_rgb

TITLE, BIG = 14, 18  # sizes of text in pixels


def pixels(image: np.ndarray, signed: bool = False) -> np.ndarray:
    """``[C, H, W]`` as ``uint8 [H, W, 3]``; a signed one on its own scale."""
    return signed_rgb(image) if signed else to_rgb(np.clip(image, 0, 1))


def add_picture(
    fig: go.Figure, picture: np.ndarray, row: int, col: int, *, title: str = "", below: str = "", frame: str = ""
) -> None:
    """A picture ``uint8 [H, W, 3]`` with words above and below it, safe for plotly, and a frame of a colour."""
    fig.add_trace(go.Image(source=data_uri(picture, 1), hoverinfo="skip"), row=row, col=col)
    axis = fig.data[-1].xaxis.removeprefix("x")
    height, width = picture.shape[:2]
    bare = {"visible": False, "constrain": "domain"}  # words beside it would stretch a range that is not said
    fig.update_xaxes(bare, range=[-0.5, width - 0.5], row=row, col=col)
    fig.update_yaxes(bare, range=[height - 0.5, -0.5], scaleanchor=f"x{axis}", row=row, col=col)
    if frame:
        corners = {"x0": -0.5, "x1": width - 0.5, "y0": -0.5, "y1": height - 0.5}
        fig.add_shape(type="rect", xref=f"x{axis}", yref=f"y{axis}", line={"color": frame, "width": 8}, **corners)
    place = {"xref": f"x{axis}", "yref": f"y{axis}", "x": (width - 1) / 2, "showarrow": False}
    for words, y, side, shift, size in (
        (title, -0.5, "bottom", 2, TITLE),
        (below, height - 0.5, "top", -2, BIG),
    ):
        if words:
            fig.add_annotation(text=words, y=y, yanchor=side, yshift=shift, font={"size": size}, **place)
