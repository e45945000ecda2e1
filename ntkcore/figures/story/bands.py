"""Bands of eigenfeatures as paired bars: what each is worth clean, and what the attack leaves of it.

::

    fig = paired_bands(judged["bands"].curve(), count=1000, chance=0.5, attack="FGSM, eps 8/255")
"""

import numpy as np
import plotly.graph_objects as go

from ntkcore.analysis.features.tradeoff import Curve
from ntkcore.checks import whole
from ntkcore.figures.drawing.bands import known_band
from ntkcore.figures.drawing.checks import float32, vector
from ntkcore.figures.drawing.template import describe, guide, legend_entry, new_figure
from ntkcore.figures.features.along_index import bin_names
from ntkcore.figures.features.tradeoff import CLEAN, attacked_as


def paired_bands(
    curve: Curve, *, count: int, chance: float | None = None, attack: str = "attack", dark: bool = False
) -> go.Figure:
    """Two bars a band of the index, of what it is right on alone, with 95 % intervals.

    Args:
        curve: over the first index of each band, ascending from 0.
        count: number of features; the last band ends before it.
        chance: accuracy of a blind guess, a horizontal guide.
        attack: the attack and its radius in words.
    """
    first, count = vector(curve.k, "first indices"), whole(count, "count", 1)
    names = bin_names(np.append(first, count).astype(int))
    clean = known_band(curve.clean, "clean accuracy", first.size)
    attacked = known_band(curve.attacked, "accuracy under attack", first.size)
    fig = new_figure(dark=dark, height=520)
    for band, meaning in ((clean, CLEAN), (attacked, attacked_as(attack))):
        reach = {"array": float32(band.high - band.mean), "arrayminus": float32(band.mean - band.low)}
        fig.add_bar(
            x=names,
            y=float32(band.mean),
            name=meaning.words,
            marker={"color": meaning.colour(dark), "line": {"width": 0}},
            error_y=reach | {"symmetric": False, "thickness": 2, "width": 4, "color": "#8C8C8C"},
            text=[f"{low:.0%} to {high:.0%}" for low, high in zip(band.low, band.high, strict=True)],
            textposition="none",
            hovertemplate=f"features %{{x}}<br>%{{y:.1%}} right, {meaning.words}<br>%{{text}}<extra></extra>",
        )
    if chance is not None:  # in the legend: the bars of late bands end around the line
        fig.add_hline(y=chance, line=guide(dark) | {"width": 2.5})
        legend_entry(fig, f"chance {chance:.0%}", line=guide(dark) | {"width": 2.5})
    fig.update_layout(barmode="group", bargap=0.25, bargroupgap=0.0, legend={"font": {"size": 18}})
    large = {"title_font_size": 18, "tickfont_size": 15}
    title = "bands of features<br>(0 = largest eigenvalue)"
    ticks = {"tickvals": names, "ticktext": [f"{start:.0f}" for start in first], "autotickangles": [0, 90]}
    fig.update_xaxes(type="category", showgrid=False, title_text=title, **ticks, **large)
    fig.update_yaxes(title_text="right, each band alone", tickformat=".0%", range=[0, 1], **large)
    kept = np.flatnonzero(attacked.low > (chance or 0))
    best = int(attacked.mean.argmax())
    alt = f"{first.size} bands of features, each alone: {len(kept)} of them above guessing under {attack}. The band "
    alt += f"{names[best]} is right on {clean.mean[best]:.0%} clean and {attacked.mean[best]:.0%} attacked, the last, "
    return describe(fig, f"{alt}{names[-1]}, on {clean.mean[-1]:.0%} and {attacked.mean[-1]:.0%}.")
