"""One image under a growing attack: pictures over a curve, and a slider with a play button that moves both at once.

Every radius is a frame: the perturbation and the perturbed image as pictures, what is predicted of it, and a dot on the
curve. All are sent together (26 frames of a 28x28 image: about 90 KB)::

    fig = pictures_over_curve(height=560, dark=False)
    add_frames(fig, image, images, titles, dots, steps=["0", "4/255", "8/255"], at=2, noise=0.1)
    fig = attacked_image(image, images, eps, says, margin, {"fgsm": margins}, at=8, factor=10)
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from ntkcore.analysis.attacks.balls import BALLS, Norm, in_pixels
from ntkcore.figures.attacks.attack import MEANINGS, add_margins
from ntkcore.figures.drawing.checks import float32, vector
from ntkcore.figures.drawing.images import data_uri, signed_rgb, to_rgb
from ntkcore.figures.drawing.palette import TEXT, Meaning
from ntkcore.figures.drawing.player import add_player, fitting
from ntkcore.figures.drawing.template import DECORATION, describe, dress, guide, plain
from ntkcore.readings.words import signed

LARGE, SMALL = 18, 16  # pixels of text
Titles = tuple[str, str, str]


def pictures_over_curve(*, height: int, dark: bool, share: float = 0.74) -> go.Figure:
    """Room for three pictures side by side, a ``share`` of the height, and a curve below them (row 2, column 1).

    A share of 1 leaves no room for a curve.
    """
    specs: list[list[dict | None]] = [[{"type": "image"}] * 3]
    heights: dict[str, Any] = {}
    if share < 1:
        specs.append([{"type": "xy", "colspan": 3}, None, None])
        heights = {"row_heights": [share, 1 - share], "vertical_spacing": 0.1}
    fig = make_subplots(rows=len(specs), cols=3, specs=specs, horizontal_spacing=0.015, **heights)
    return dress(fig, dark=dark, height=height, width=None)


def add_frames(
    fig: go.Figure,
    image: np.ndarray,
    images: np.ndarray,
    titles: Sequence[Titles],
    dots: Sequence[go.Scatter],
    steps: Sequence[str],
    *,
    at: int,
    noise: float,
) -> go.Figure:
    """Fill a figure of ``pictures_over_curve``, whose curve is there, with pictures that follow a slider.

    Args:
        image: ``[C, H, W]`` in [0, 1].
        images: ``[E, C, H, W]``, the perturbed image at each step.
        titles: words above the three pictures at each step.
        dots: where the curve is at each step; none where there is no curve.
        steps: their names.
        at: the number of the step at which it begins.
        noise: the value of a perturbed pixel at the ends of the colour scale.
    """
    pixels = [(data_uri(signed_rgb(one - image, noise), 1), data_uri(to_rgb(np.clip(one, 0, 1)), 1)) for one in images]
    shown = fitting([len(one) + len(other) for one, other in pixels], at)

    def parts(i: int) -> list[go.Image | go.Scatter]:
        return [*(go.Image(source=source, hoverinfo="skip") for source in pixels[i]), *dots[i : i + 1]]

    middles = [sum(fig.layout[f"xaxis{number}"].domain) / 2 for number in ("", "2", "3")]
    place = {"y": 1.0, "xref": "paper", "yref": "paper", "xanchor": "center", "yanchor": "bottom"}
    place |= {"showarrow": False, "font": {"size": LARGE}}

    def words(i: int) -> list[dict]:
        return [{"text": text, "x": x, **place} for text, x in zip(titles[i], middles, strict=True)]

    moving = len(fig.data)
    for trace, (row, col) in zip(parts(at), ((1, 2), (1, 3), (2, 1)), strict=False):
        fig.add_trace(trace, row=row, col=col)
    moved = list(range(moving, len(fig.data)))
    fig.add_trace(go.Image(source=data_uri(to_rgb(image), 1), hoverinfo="skip"), row=1, col=1)
    fig.frames = [
        go.Frame(name=str(k), data=parts(i), traces=moved, layout={"annotations": words(i)})
        for k, i in enumerate(shown)
    ]
    fig.layout.annotations = [*words(at), *fig.layout.annotations]
    for update in (fig.update_xaxes, fig.update_yaxes):
        update(visible=False, showticklabels=False, row=1)
    add_player(fig, [steps[i] for i in shown], shown.index(at), "radius ")
    lines = max(title.count("<br>") + 1 for title in titles[at])
    return fig.update_layout(margin={"t": 12 + 26 * lines})


def moving_dot(x: float, y: float, meaning: Meaning, dark: bool) -> go.Scatter:
    """A large dot that says where on a curve the step is."""
    marker = {"size": 18, "color": meaning.colour(dark), "line": {"width": 3, "color": TEXT.colour(dark)}}
    at = {"x": float32(np.array([x])), "y": float32(np.array([y])), "mode": "markers", "marker": marker}
    return go.Scatter(**at, showlegend=False, hoverinfo="skip", meta=DECORATION)


def attacked_image(
    image: np.ndarray,
    images: np.ndarray,
    eps: np.ndarray,
    says: Sequence[str],
    margin: np.ndarray,
    margins: Mapping[str, np.ndarray],
    flips: Mapping[str, float] | None = None,
    *,
    at: int,
    factor: float = 1.0,
    norm: Norm = "linf",
    curve: bool = True,
    dark: bool = False,
) -> go.Figure:
    """An image, what an attack adds and their sum, over the margin along the radius.

    Args:
        image: ``[C, H, W]`` in [0, 1].
        images: ``[E, C, H, W]``, the perturbed image at each radius.
        eps: ``[E]`` radii from 0 on, ascending.
        says: ``E`` words: what is predicted of the perturbed images.
        margin: ``[E]`` with which margin.
        margins: of further attacks, as ``margin_along_eps`` has them, and ``flips`` likewise.
        at: the number of the radius at which it begins.
        factor: how many times stronger than it is the perturbation is drawn.
        curve: whether the margins are drawn; without them there is more room for the pictures.
    """
    eps, margin = vector(eps, "eps"), vector(margin, "margin", len(images))
    fig = pictures_over_curve(height=590 if curve else 430, dark=dark, share=0.66 if curve else 1.0)
    alt = ""
    if curve:
        alt = add_margins(fig, eps, margins, flips, norm=norm, eps_mark=None, dark=dark, row=2, col=1)
        fig.add_vline(x=BALLS[norm].unit * eps[at], line=guide(dark, "dash"), row=2, col=1)
        fig.update_xaxes(tickfont_size=SMALL, title_font_size=SMALL, row=2, col=1)
        fig.update_yaxes(title_text="margin", tickfont_size=SMALL, title_font_size=SMALL, row=2, col=1)
    fig.update_annotations(font_size=SMALL)
    steps = [in_pixels(float(radius), norm) for radius in eps]

    def judged(i: int) -> str:
        return f"<b>{plain(says[i])}</b><br>margin {signed(margin[i], '+.2f')}"

    titles = [
        (
            f"image<br>{judged(0)}",
            f"+ noise<br>{BALLS[norm].sign} ≤ {steps[i]}<br>shown × {factor:g}",
            f"= their sum<br>{judged(i)}",
        )
        for i in range(len(eps))
    ]
    dots = []
    if curve:
        meaning = next((MEANINGS[key] for key, line in margins.items() if np.allclose(line, margin)), TEXT)
        dots = [moving_dot(BALLS[norm].unit * radius, m, meaning, dark) for radius, m in zip(eps, margin, strict=True)]
    add_frames(fig, image, images, titles, dots, steps, at=at, noise=1 / factor)
    fig.update_layout(legend_font_size=SMALL)
    return describe(fig, f"The image is {says[0]}, and {says[at]} with noise of {steps[at]}. {alt}")
