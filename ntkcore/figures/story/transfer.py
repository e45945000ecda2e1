"""How much of a network's own damage the kernel's perturbation does, along the width; below, images that it flipped.

::

    fig = transfer_along_width((32, 512), share, noise, x_adv, ["Shirt, now Coat", ...])    # Bands of [W], [k, C, H, W]
"""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from ntkcore.analysis.intervals import Band
from ntkcore.figures.drawing.bands import add_band, from_to, known_band
from ntkcore.figures.drawing.checks import counted
from ntkcore.figures.drawing.images import data_uri, to_rgb
from ntkcore.figures.drawing.lettering import LARGE, SMALLEST, legible
from ntkcore.figures.drawing.palette import KERNEL_FGSM, NOISE, TEXT
from ntkcore.figures.drawing.template import Place, describe, dress, guide, plain, short
from ntkcore.readings.words import percent


def transfer_along_width(
    widths: Sequence[int],
    share: Band,
    noise: Band | None,
    images: np.ndarray,
    says: Sequence[tuple[str, str]],
    *,
    dark: bool = False,
) -> go.Figure:
    """The shares above, a row of pictures below.

    Args:
        widths: ``[W]`` whole numbers, ascending.
        share: of white-box FGSM's drop that the kernel's perturbation recovers, ``[W]``; nan where it takes nothing.
        noise: the same of random signs; None without them.
        images: ``[k, C, H, W]`` in [0, 1], perturbed by the kernel and flipped in the widest net; k may be 0.
        says: of each image its class, and the class that the net says.
    """
    widths = counted(widths, "widths")
    lines = {KERNEL_FGSM: share} | ({} if noise is None else {NOISE: noise})
    bands = {meaning: known_band(band, meaning.words, len(widths)) for meaning, band in lines.items()}
    k = len(images)
    rows = [[{"colspan": max(k, 1)}, *[None] * (k - 1)], *([[{"type": "image"}] * k] if k else [])]
    heights = {"row_heights": [0.7, 0.3], "vertical_spacing": 0.27} if k else {}
    fig = make_subplots(rows=len(rows), cols=max(k, 1), specs=rows, horizontal_spacing=0.03, **heights)
    dress(fig, dark=dark, height=540 if k else 400, width=None)
    top: Place = {"row": 1, "col": 1}
    fig.add_hline(
        y=1,
        line=guide(dark, "dash"),
        annotation={"text": "an attack that sees the network", "font": {"size": SMALLEST}},
        annotation_position="top left",
        exclude_empty_subplots=False,
        **top,
    )
    for meaning, band in bands.items():
        hover = f"{meaning.words}, width %{{x:.0f}}<br>%{{y:.0%}} of the damage"
        add_band(fig, widths, band, meaning, dark, hover=hover, digits=".0%", of="95 %:", bars=True, **top)
        fig.data[-1].update(line_width=4, marker_size=13, error_y={"thickness": 2.5, "width": 7})
        last = np.flatnonzero(band.known)[-1:]
        words = {KERNEL_FGSM: "noise made from the kernel", NOISE: "random noise of the same size"}[meaning]
        for at in last:
            place = {
                "x": np.log10(widths[at]),
                "y": band.high[at],
                "xanchor": "right",
                "yanchor": "bottom",
                "yshift": 4,
            }
            fig.add_annotation(text=words, font={"size": LARGE, "color": meaning.colour(dark)}, **place, **top)
    ends = [np.log10(widths.min() / 1.25), np.log10(widths.max() * 1.25)]
    ticks = {"tickvals": widths.tolist(), "ticktext": [str(width) for width in widths]}
    fig.update_xaxes(type="log", range=ends, zeroline=False, title_text="width of the network", **ticks, **top)
    edges = np.hstack([0.0, 1.0, *(end[band.known] for band in bands.values() for end in (band.low, band.high))])
    low, high = float(edges.min()), float(edges.max())
    axis = {"tickformat": ".0%", "range": [low - 0.08, high + 0.12], "tickvals": [0, 0.5, 1], "zeroline": False}
    fig.update_yaxes(title_text="share of the damage", **axis, **top)
    for col, (image, (label, said)) in enumerate(zip(images, says, strict=True), start=1):
        picture = go.Image(source=data_uri(to_rgb(np.clip(image, 0, 1)), 1))
        fig.add_trace(picture.update(hoverinfo="skip"), row=2, col=col)
        fig.update_xaxes(visible=False, row=2, col=col)
        fig.update_yaxes(visible=False, row=2, col=col)
        middle = sum(fig.layout[f"xaxis{col + 1}"].domain) / 2
        at = {"x": middle, "y": fig.layout[f"yaxis{col + 1}"].domain[1], "xref": "paper", "yref": "paper"}
        words = f"{short(label)}:<br><b>{short(said)}?</b>"
        fig.add_annotation(
            text=words, xanchor="center", yanchor="bottom", font={"size": SMALLEST, "color": TEXT.colour(dark)}, **at
        )
    if k:
        at = {"x": 0, "y": fig.layout.yaxis2.domain[1], "xref": "paper", "yref": "paper", "yshift": 44}
        words = f"Flipped in a network of width {widths[-1]}"
        fig.add_annotation(text=words, xanchor="left", yanchor="bottom", font_size=LARGE, **at)
    legible(fig)
    parts = [from_to(m.words, widths, band.mean, percent, "width") for m, band in bands.items() if band.known.any()]
    alt = f"Share of the damage of an attack that sees the network: {'; '.join(parts) or 'there is none'}."
    flips = [f"{plain(label)} is taken for {plain(said)}" for label, said in says]
    return describe(fig, f"{alt} Images that the kernel's perturbation flips: {', '.join(flips) or 'none'}.")
