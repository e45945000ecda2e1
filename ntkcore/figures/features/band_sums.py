"""Sums of eigenfeatures over bands of the index that double in width: what each band is worth, clean and attacked.

A band is the predictor ``sum over i in {a, ..., b} of f_i`` for 0, 1, 2-3, 4-7, ...: one test a band, made without a
look at any test label (Tsilivis & Kempe 2022, section 4, takes the features one by one)::

    fig = feature_bands(judged["bands"].curve(), count=1000, chance=0.5, attack="FGSM, eps 8/255")
"""

import numpy as np
import plotly.graph_objects as go

from ntkcore.analysis.features.tradeoff import Curve
from ntkcore.checks import whole
from ntkcore.errors import DataError
from ntkcore.figures.drawing.bands import Band, add_band, known_band
from ntkcore.figures.drawing.checks import vector
from ntkcore.figures.drawing.palette import MUTED
from ntkcore.figures.drawing.template import DECORATION, INDEX_TITLE, describe, guide, legend_entry, new_figure
from ntkcore.figures.features.along_index import bin_names
from ntkcore.figures.features.tradeoff import CLEAN, SHARES, attacked_as


def feature_bands(
    curve: Curve, *, count: int, chance: float | None = None, attack: str = "attack", dark: bool = False
) -> go.Figure:
    """Accuracy of each band of features alone, clean and under attack, with 95 % intervals.

    Args:
        curve: over the first index of each band, ascending from 0.
        count: number of features; the last band ends before it.
        chance: accuracy of a blind guess, a horizontal guide.
        attack: the attack and its radius in words.
    """
    first = vector(curve.k, "first indices")
    count = whole(count, "count", 1)
    if first[0] != 0 or not (np.diff(first) > 0).all() or first[-1] >= count:
        raise DataError(f"The bands begin at {first.tolist()}; they must ascend from 0 to below {count}.")
    names = bin_names(np.append(first, count).astype(int))
    clean = known_band(curve.clean, "clean accuracy", first.size)
    attacked = known_band(curve.attacked, "accuracy under attack", first.size)
    fig = new_figure(dark=dark, height=440)
    x, both = first + 1, ((clean, CLEAN), (attacked, attacked_as(attack)))
    fall = {"x": np.repeat(x, 3), "y": np.stack([clean.mean, attacked.mean, np.full(x.size, np.nan)], 1).ravel()}
    line = {"color": MUTED.colour(dark), "width": 1.5}
    fig.add_scatter(mode="lines", line=line, hoverinfo="skip", meta=DECORATION, showlegend=False, **fall)
    for band, meaning in both:
        hover_texts = [f"features {name}" if "–" in name else f"feature {name}" for name in names]
        hover = f"%{{hovertext}}<br>%{{y:.1%}} right, {meaning.words}"
        add_band(fig, x, band, meaning, dark, hover=hover, bars=True, index=first.astype(np.int32))
        fig.data[-1].update(
            hovertext=hover_texts, marker={"size": 11}, line={"width": 3.5}, error_y={"thickness": 2, "width": 5}
        )
        marker = {"symbol": meaning.symbol, "size": 11, "color": meaning.colour(dark)}
        line = {"color": meaning.colour(dark), "dash": meaning.dash, "width": 3.5}
        legend_entry(fig, meaning.words, group=meaning.words, marker=marker, line=line)
    if chance is not None:  # in the legend: the intervals of late bands lie around the line
        fig.add_hline(y=chance, line=guide(dark), layer="below")
        legend_entry(fig, f"chance {chance:.0%}", line=guide(dark))
    ends = {"range": [np.log10(0.8), np.log10(1.3 * x[-1])], "type": "log", "minor": {"ticks": ""}}
    fig.update_xaxes(title_text=INDEX_TITLE, tickvals=x.tolist(), ticktext=names, **ends)
    fig.update_yaxes(title_text="accuracy of a band alone", tickformat=".0%", range=SHARES)
    large = {"tickfont": {"size": 14}, "title": {"font": {"size": 15}}}  # the page's answer: read from afar
    fig.update_layout(legend={"font": {"size": 15}}, xaxis=large, yaxis=large)
    fig.update_xaxes(tickfont_size=12, autotickangles=[0, 90])  # the last bands' names would touch; slanting, be cut
    best, last = int(attacked.mean.argmax()), first.size - 1
    parts = [f"{_share(clean, k)} clean and {_share(attacked, k)} {both[1][1].words}" for k in (best, last)]
    alt = f"{first.size} bands of features, each alone: the band {names[best]} is right on {parts[0]}, "
    return describe(fig, f"{alt}the highest; the band {names[last]} on {parts[1]}.")


def _share(band: Band, k: int) -> str:
    return f"{band.mean[k]:.0%} ({band.low[k]:.0%} to {band.high[k]:.0%})"
