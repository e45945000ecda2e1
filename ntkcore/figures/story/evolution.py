"""How the kernel calms down, epoch by epoch: its speed under both trainings, and the share of its top eigenvalues.

Every epoch is a frame behind a slider with a play button (16 frames: about 30 KB)::

    fig = calming(range(16), {"fgsm": speed, "standard": other}, shares, {"fgsm": 4}, lazy_below=0.1)
"""

from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from ntkcore.analysis.intervals import Band
from ntkcore.figures.drawing.bands import few, from_to, known_band
from ntkcore.figures.drawing.checks import counted, float32
from ntkcore.figures.drawing.lettering import LARGE, SMALLEST, legible
from ntkcore.figures.drawing.palette import REGIMES, TEXT, faint
from ntkcore.figures.drawing.player import add_player
from ntkcore.figures.drawing.template import describe, dress, guide, legend_entry
from ntkcore.figures.evolution.panels import axis_number, by_regime, epoch_axis, known_log_band
from ntkcore.readings.words import percent


def calming(
    epochs: Sequence[int],
    speeds: Mapping[str, Band],
    shares: Mapping[str, Band],
    lazy: Mapping[str, int],
    *,
    lazy_below: float,
    top: int = 20,
    dark: bool = False,
) -> go.Figure:
    """Speed at the left on a log axis, the top eigenvalues' share at the right; begins at the last epoch.

    Args:
        epochs: ``[P]`` whole numbers from 0 on, ascending, at least two.
        speeds: regime -> ``[P - 1]`` velocity to the next epoch as a share of the first one, mean and range of seeds.
        shares: regime -> ``[P]`` share of the trace in the ``top`` largest eigenvalues, likewise.
        lazy: regime -> epoch from which on the speed stays below ``lazy_below``, where it does.
    """
    epochs, last = counted(epochs, "epochs"), len(epochs) - 1
    panels = (
        {k: known_log_band(band, f"speed of {k}", last) for k, band in by_regime(speeds, "speeds").items()},
        {k: known_band(band, f"share of {k}", last + 1) for k, band in by_regime(shares, "shares").items()},
    )
    fig = make_subplots(rows=1, cols=2, column_widths=[0.56, 0.44], horizontal_spacing=0.13)
    dress(fig, dark=dark, height=530, width=None)
    lines = [(col, regime, band) for col, bands in enumerate(panels, 1) for regime, band in bands.items()]
    for col, regime, band in lines:
        colour, x = REGIMES[regime].colour(dark), epochs[: len(band.mean)][band.known]
        edge = {"x": np.r_[x, x[::-1]], "y": float32(np.r_[band.high[band.known], band.low[band.known][::-1]])}
        seeds = go.Scatter(**edge, mode="lines", line_width=0, fill="toself", fillcolor=faint(colour))
        fig.add_trace(seeds.update(showlegend=False, hoverinfo="skip"), row=1, col=col)

    def parts(at: int) -> list[go.Scatter]:
        """Each line as far as it has come by look number ``at``, its head larger."""
        return [_line(epochs, band, regime, min(at, len(band.mean) - 1), dark) for _, regime, band in lines]

    begins = len(fig.data)
    for (col, _, _), trace in zip(lines, parts(last), strict=True):
        fig.add_trace(trace, row=1, col=col)
    moving = list(range(begins, len(fig.data)))
    fig.frames = [go.Frame(name=str(i), data=parts(i), traces=moving) for i in range(last + 1)]

    fig.add_hline(y=lazy_below, line=guide(dark), layer="below", row=1, col=1)
    at = {"x": epochs[-1], "y": np.log10(lazy_below), "xanchor": "right", "yanchor": "bottom"}
    fig.add_annotation(text=f"lazy: below {percent(lazy_below)}", font_size=SMALLEST, **at)
    for regime, epoch in by_regime(lazy, "lazy").items():
        colour = REGIMES[regime].colour(dark)
        line = {"color": colour, "width": 2.5, "dash": "dot"}
        fig.add_vline(x=epoch, line=line, layer="below", row=1, col=1)
        words = {"text": f"<b>{epoch}</b>", "font": {"size": LARGE, "color": colour}, "yref": "y domain"}
        fig.add_annotation(x=epoch, y=1, yanchor="bottom", showarrow=False, **words)
    for number, words in enumerate(
        ("speed of the kernel,<br>to the next epoch", f"share of its {top}<br>top eigenvalues"), 1
    ):
        axis = axis_number(number)
        corner = {"x": 0, "y": 1, "xref": f"x{axis} domain", "yref": f"y{axis} domain", "yshift": 22}
        font = {"size": LARGE, "color": TEXT.colour(dark)}
        fig.add_annotation(text=words, align="left", xanchor="left", yanchor="bottom", font=font, **corner)
    for regime in panels[0]:
        line = {"color": REGIMES[regime].colour(dark), "width": 4}
        legend_entry(fig, REGIMES[regime].words, line=line)
    fig.update_xaxes(epoch_axis(int(epochs[-1])))
    heights = np.hstack([lazy_below, 1.0, *(end[b.known] for b in panels[0].values() for end in (b.low, b.high))])
    reach = np.log10(heights.min() / 1.3), np.log10(heights.max() * 1.3)
    ticks = {"tickvals": [0.001, 0.01, 0.1, 1], "ticktext": ["0.1%", "1%", "10%", "100%"]}
    fig.update_yaxes(type="log", title_text="as a share of its first step", range=reach, **ticks, row=1, col=1)
    fig.update_yaxes(tickformat=".0%", nticks=5, row=1, col=2)
    add_player(fig, [str(epoch) for epoch in epochs], last, "epoch ", titled=True)
    fig.update_layout(margin_t=112, legend={"y": 1, "yanchor": "top"})
    legible(fig)
    said = [f"{REGIMES[regime].words} lazy from epoch {epoch}" for regime, epoch in lazy.items()]
    said += [
        from_to(f"{REGIMES[k].words}, share of the {top} top eigenvalues", epochs, band.mean, percent, "epoch")
        for k, band in panels[1].items()
        if band.known.any()
    ]
    return describe(fig, f"Speed of the kernel in training, and the share of its top eigenvalues: {few(said, 4)}.")


def _line(epochs: np.ndarray, band: Band, regime: str, at: int, dark: bool) -> go.Scatter:
    meaning = REGIMES[regime]
    colour, there = meaning.colour(dark), np.arange(at + 1)[band.known[: at + 1]]
    sizes = np.where(there == there.max(initial=-1), 14, 0)
    line = go.Scatter(x=epochs[there], y=float32(band.mean[there]), mode="lines+markers", name=meaning.words)
    line.cliponaxis = False  # the head of a line that ends at the edge
    marker = {"size": sizes, "symbol": meaning.symbol, "color": colour, "opacity": 1, "line": {"width": 0}}
    hover = f"{meaning.words}, epoch %{{x}}<br>%{{y:.1%}}<extra></extra>"
    return line.update(line={"color": colour, "width": 4}, marker=marker, showlegend=False, hovertemplate=hover)
