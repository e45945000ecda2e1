"""One image under a growing attack, and the accuracy over all test images beside it: a slider moves both at once.

Every radius is a frame: the perturbation and the perturbed image as pictures, what the kernel says of it, and a dot on
the curve. All are sent together (17 frames of a 28x28 image: about 60 KB)::

    fig = attack_along_eps(image, images, eps, says, accuracy, at=7, chance=0.5, attack="FGSM")
"""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from ntkcore.analysis.attacks.balls import BALLS, Norm, in_pixels
from ntkcore.analysis.intervals import Band
from ntkcore.figures.drawing.bands import add_band, known_band
from ntkcore.figures.drawing.checks import float32
from ntkcore.figures.drawing.images import data_uri, signed_rgb, symmetric_scale, to_rgb
from ntkcore.figures.drawing.palette import KERNEL_FGSM, TEXT, Meaning
from ntkcore.figures.drawing.template import add_chance, describe, dress, plain
from ntkcore.figures.story.player import add_player

PANELS = ("image", "+ noise", "= their sum")


def attack_along_eps(
    image: np.ndarray,
    images: np.ndarray,
    eps: np.ndarray,
    says: Sequence[str],
    accuracy: Band,
    *,
    at: int,
    chance: float | None = None,
    norm: Norm = "linf",
    meaning: Meaning = KERNEL_FGSM,
    dark: bool = False,
) -> go.Figure:
    """Pictures above, the curve below, a slider with a play button under them.

    Args:
        image: ``[C, H, W]`` in [0, 1].
        images: ``[E, C, H, W]``, the perturbed image at each radius.
        eps: ``[E]`` radii, ascending.
        says: ``E + 1`` words: what is predicted at radius 0 and at each of ``eps``.
        accuracy: over all test images at radius 0 and at each of ``eps``, a Band of ``E + 1``.
        at: the number of the radius, 0 for none, at which it begins.
    """
    radii = np.concatenate([[0.0], np.asarray(eps, dtype=float)])
    band = known_band(accuracy, "accuracy", len(radii))
    seen = np.concatenate([image[None], images])
    scale = symmetric_scale(list(images - image))
    specs = [[{"type": "image"}] * 3, [{"type": "xy", "colspan": 3}, None, None]]
    fig = make_subplots(
        rows=2, cols=3, specs=specs, row_heights=[0.74, 0.26], vertical_spacing=0.1, horizontal_spacing=0.015
    )
    dress(fig, dark=dark, height=560, width=None)

    def parts(i: int) -> list[go.Image | go.Scatter]:
        noise = signed_rgb(seen[i] - image, scale)
        dot = go.Scatter(
            x=float32(BALLS[norm].unit * radii[[i]]),
            y=float32(band.mean[[i]]),
            mode="markers",
            marker={"size": 18, "color": meaning.colour(dark), "line": {"width": 3, "color": TEXT.colour(dark)}},
            showlegend=False,
            hoverinfo="skip",
        )
        return [
            go.Image(source=data_uri(noise, 1), hoverinfo="skip"),
            go.Image(source=data_uri(to_rgb(np.clip(seen[i], 0, 1)), 1), hoverinfo="skip"),
            dot,
        ]

    middles = [sum(fig.layout[f"xaxis{number}"].domain) / 2 for number in ("", "2", "3")]

    def titles(i: int) -> list[dict]:
        words = (
            f"{PANELS[0]}<br><b>{plain(says[0])}</b>",
            f"{PANELS[1]}<br>{BALLS[norm].sign} ≤ {in_pixels(radii[i], norm)}",
            f"{PANELS[2]}<br><b>{plain(says[i])}</b>",
        )
        return [
            {
                "text": text,
                "x": x,
                "y": 1.0,
                "xref": "paper",
                "yref": "paper",
                "xanchor": "center",
                "yanchor": "bottom",
                "showarrow": False,
                "font": {"size": 18},
            }
            for text, x in zip(words, middles, strict=True)
        ]

    fig.add_trace(go.Image(source=data_uri(to_rgb(image), 1), hoverinfo="skip"), row=1, col=1)
    for trace, (row, col) in zip(parts(at), ((1, 2), (1, 3), (2, 1)), strict=True):
        fig.add_trace(trace, row=row, col=col)
    hover = f"radius %{{x:.3g}} {BALLS[norm].unit_in_words}<br>%{{y:.1%}} right"
    add_band(fig, BALLS[norm].unit * radii, band, meaning, dark, hover=hover, row=2, col=1)
    add_chance(fig, chance, dark=dark, row=2, col=1)
    fig.frames = [
        go.Frame(name=str(i), data=parts(i), traces=[1, 2, 3], layout={"annotations": titles(i)})
        for i in range(len(radii))
    ]
    fig.layout.annotations = [*titles(at), *fig.layout.annotations]
    fig.update_xaxes(visible=False, row=1)
    fig.update_yaxes(visible=False, row=1)
    fig.update_xaxes(title_text=f"radius of the attack ({BALLS[norm].unit_in_words})", row=2, col=1)
    fig.update_yaxes(title_text="right", range=[-0.02, 1.03], tickformat=".0%", row=2, col=1)
    add_player(fig, [in_pixels(float(one), norm) for one in radii], at, "radius ")
    fig.update_layout(margin={"t": 64})
    before, after = f"{band.mean[0]:.0%}", f"{band.mean[at]:.0%}"
    words = f"The image is {says[0]} for the kernel, and {says[at]} with noise of {in_pixels(radii[at], norm)}; of all "
    return describe(fig, f"{words}test images {before} are right before and {after} at that radius.")
