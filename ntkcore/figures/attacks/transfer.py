"""Figures of transfer: what perturbations from elsewhere, above all from the kernel, do to finite nets.

The share of white-box FGSM's drop that a source recovers is ``(clean - attacked by the source) / (clean - attacked
by white-box FGSM)``; the cosine is ``<g, g'> / (|g| |g'|)`` of the loss gradients of kernel and net, mean over
test images (Tsilivis & Kempe 2022, section 3, compare the same attacks)::

    fig = accuracy_along_eps(eps, {"width 512": {"kernel_fgsm": Band(mean, low, high)}})       # arrays [E]
    fig = strength_along_width(widths, {"kernel_fgsm": recovered}, cosine)                     # Bands of [W]
    fig = transfer_matrix(["fc 1", "conv 3"], ["fc 1, width 512"], rates, value_name="transfer rate")   # [R, C]
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from ntkcore.analysis.attacks.balls import BALLS, Norm
from ntkcore.errors import DataError
from ntkcore.figures.drawing.bands import MISSING, Band, add_band, few, from_to, known_band, known_bands, note_missing
from ntkcore.figures.drawing.checks import float32, plural, vector, words
from ntkcore.figures.drawing.palette import PAPER, SEQUENTIAL, SOURCES, TEXT, Meaning
from ntkcore.figures.drawing.template import (
    Place,
    colorbar_above,
    describe,
    dress,
    guide,
    legend_entry,
    new_figure,
    plain,
    short,
)
from ntkcore.readings.words import percent, percent_within, radius

PANEL, GAP, LEGEND = 190, 52, 110  # pixels: height of a panel, room between two rows of panels, legend and title
SHORT_NAME = 6  # characters that fit under a cell of a matrix on a phone; longer names are written slantwise
SURE = "95 %:"  # what bands and bars are
COSINE = Meaning("cosine of the gradients of kernel and net", TEXT.light, TEXT.dark)


def accuracy_along_eps(
    eps: np.ndarray,
    panels: Mapping[str, Mapping[str, Band]],
    *,
    norm: Norm = "linf",
    eps_mark: float | None = None,
    chance: float | None = None,
    columns: int = 2,
    dark: bool = False,
) -> go.Figure:
    """Accuracy of finite nets along the attack radius: a panel a net, a line a source, bands for intervals.

    Args:
        eps: ``[E]`` radii in pixel units, ascending. For ``linf`` the axis counts in 1/255.
        panels: title -> source of ``palette.SOURCES`` -> accuracies ``[E]``. A panel without sources says that it
            is not computed yet.
        norm: of the ball.
        eps_mark: the experiment's radius, marked by a vertical line.
        chance: accuracy of a blind guess, a horizontal guide.
        columns: panels in a row; up to 2 can be read on a phone.
    """
    eps = vector(eps, "eps")
    if not panels:
        raise DataError("There are no panels; hand in at least one, empty while nothing is computed.")
    lines = {title: known_bands(bands, title, eps.size, tuple(SOURCES)) for title, bands in panels.items()}
    count, columns = len(lines), max(1, min(columns, len(lines)))
    fig = _grid(count, columns, dark)
    unit, across = BALLS[norm].unit, "ε = " + BALLS[norm].in_units("%{x:.4g}")
    last = float(eps[-1] * unit)
    title = f"{'radius ' * (columns < 3)}ε, {BALLS[norm].unit_in_words}"
    for k, (net, bands) in enumerate(lines.items()):
        place: Place = {"row": k // columns + 1, "col": k % columns + 1}
        for key, band in bands.items():
            source = SOURCES[key].words
            hover = f"{source}<br>{across}<br>%{{y:.1%}} right"
            name = f"{source}, {plain(net)}"
            add_band(fig, eps * unit, band, SOURCES[key], dark, hover=hover, name=name, of=SURE, **place)
        axis = "" if k == 0 else k + 1
        corner = {"x": 0, "y": 1, "xref": f"x{axis} domain", "yref": f"y{axis} domain"}
        corner |= {"xanchor": "left", "yanchor": "bottom", "font": {"color": TEXT.colour(dark), "size": 13}}
        fig.add_annotation(text=short(net), **corner)
        if not bands:
            note_missing(fig, k + 1)
        if bands and eps_mark is not None:
            fig.add_vline(x=eps_mark * unit, line=guide(dark, "dash"), layer="below", **place)
        if bands and chance is not None:
            fig.add_hline(y=chance, line=guide(dark), layer="below", **place)
        lowest = k + columns >= count
        fig.update_xaxes(title_text=title if lowest else None, range=[-0.02 * last, 1.02 * last], **place)
        left = {"title_text": "accuracy of the net"} if k % columns == 0 else {"showticklabels": False, "ticks": ""}
        fig.update_yaxes(tickformat=".0%", dtick=0.25, range=[-0.03, 1.03], **left, **place)
    fig.update_xaxes(zeroline=False, matches="x")
    fig.update_yaxes(zeroline=False, matches="y")
    _source_legend(fig, {key for bands in lines.values() for key in bands}, dark)
    if eps_mark is not None:
        legend_entry(fig, "chosen ε", line=guide(dark, "dash"))
    if chance is not None:
        legend_entry(fig, f"chance {chance:.0%}", line=guide(dark))

    present = [(net, bands) for net, bands in lines.items() if bands]
    alt = f"Accuracy of finite nets along the attack radius, {len(present)} of {plural(count, 'panel')} computed"
    if present:
        net, bands = present[-1]
        k = -1 if eps_mark is None else int(np.abs(eps - eps_mark).argmin())
        parts = [f"{SOURCES[key].words} {percent(band.mean[k])}" for key, band in bands.items() if band.known[k]]
        alt += f"; {short(net)} at ε = {radius(eps[k], norm)}: {', '.join(parts) or MISSING}"
    return describe(fig, alt + ".")


def strength_along_width(
    widths: Sequence[int],
    recovered: Mapping[str, Band],
    cosine: Band | None,
    *,
    dark: bool = False,
) -> go.Figure:
    """Along the width: the share of white-box FGSM's drop that each source recovers; below, cosine of gradients.

    Args:
        widths: ``[W]`` widths of the nets, above zero, ascending.
        recovered: source of ``palette.SOURCES`` -> shares ``[W]``: 1 is the whole drop. NaN where nothing is
            computed yet, and where white-box FGSM takes nothing.
        cosine: ``[W]`` mean cosine of the loss gradients of kernel and net; None if not computed yet.
    """
    widths = vector(widths, "widths")
    if not (widths > 0).all():
        raise DataError("widths must be above zero to have a place on a log axis.")
    shares = known_bands(recovered, "recovered", widths.size, tuple(SOURCES))
    cosines = [] if cosine is None else [known_band(cosine, "cosine", widths.size)]
    cosines = [band for band in cosines if band.known.any()]
    fig = new_figure(dark=dark, height=600, panels=[0.6, 0.4])
    fig.add_hline(y=1, line=guide(dark, "dash"), layer="below", row=1, col=1, exclude_empty_subplots=False)
    for key, band in shares.items():
        hover = f"{SOURCES[key].words}, width %{{x:.0f}}<br>%{{y:.1%}} of white-box FGSM's drop"
        add_band(fig, widths, band, SOURCES[key], dark, hover=hover, of=SURE, bars=True, row=1, col=1)
    for band in cosines:
        hover = "width %{x:.0f}<br>cosine of gradients %{y:.3f}"
        add_band(fig, widths, band, COSINE, dark, hover=hover, of=SURE, digits=".3f", bars=True, row=2, col=1)
    for number, drawn in ((1, shares), (2, cosines)):
        if not drawn:
            note_missing(fig, number)
    _source_legend(fig, shares, dark)
    legend_entry(fig, "as much as white-box FGSM", line=guide(dark, "dash"))
    if shares or cosines:
        bar = {"symbol": "line-ns-open", "size": 12, "color": COSINE.colour(dark), "line": {"width": 1.5}}
        legend_entry(fig, "bars: 95 % interval", marker=bar)

    ticks = np.unique(widths).astype(int)
    ticks = ticks[:: -(-ticks.size // 8)].tolist()
    ends = [np.log10(widths.min() / 1.25), np.log10(widths.max() * 1.25)]
    fig.update_xaxes(type="log", range=ends, tickvals=ticks, ticktext=[str(tick) for tick in ticks], zeroline=False)
    fig.update_xaxes(title_text="width of the net", row=2)
    fig.update_yaxes(title_text="share of white-box drop", tickformat=".0%", range=_reach(shares.values()), row=1)
    fig.update_yaxes(title_text="cosine of gradients", range=_reach(cosines), row=2)
    parts = [from_to(SOURCES[key].words, widths, band.mean, percent, "width") for key, band in shares.items()]
    parts += [from_to("cosine of gradients", widths, band.mean, ".2f", "width") for band in cosines]
    return describe(fig, f"Share of white-box FGSM's drop recovered, {plural(widths.size, 'width')}: {few(parts, 5)}.")


def transfer_matrix(
    rows: Sequence[str],
    columns: Sequence[str],
    values: np.ndarray,
    *,
    value_name: str,
    reach: tuple[np.ndarray, np.ndarray] | None = None,
    empty: str = MISSING,
    dark: bool = False,
) -> go.Figure:
    """What each source architecture does to each target net: an annotated heat map of shares, in per cent.

    Args:
        rows: ``[R]`` names of the source architectures.
        columns: ``[C]`` names of the target nets.
        values: ``[R, C]`` shares; colours span 0 to 1. NaN is an empty cell.
        value_name: what the shares are, in words, e.g. "transfer rate".
        reach: lower and upper ends of the shares' intervals, ``[R, C]`` each, told on hover.
        empty: what an empty cell says.
    """
    values = np.asarray(values, dtype=np.float64)
    if values.ndim != 2 or 0 in values.shape:
        raise DataError(f"values have shape {values.shape}; [rows, columns] with at least one cell is needed.")
    sources = [plain(name) for name in words(rows, "rows", values.shape[0])]
    targets = [plain(name) for name in words(columns, "columns", values.shape[1])]
    value_name, known = plain(value_name), np.isfinite(values)
    hovers = np.empty(values.shape, dtype=object)
    for (i, j), share in np.ndenumerate(values):
        if known[i, j]:
            told = percent(share)
            if reach is not None:
                low, high = (float(np.asarray(end)[i, j]) for end in reach)
                told = percent_within(share, low, high)
            share_words = f"{value_name} {told}"
        else:
            share_words = empty
        hovers[i, j] = f"from {sources[i]}<br>to {targets[j]}<br>{share_words}"

    longest = max(len(short(name)) for name in columns)
    slanted = longest > SHORT_NAME
    height = 150 + 46 * len(sources) + (5 * longest if slanted else 0)
    fig = new_figure(dark=dark, height=height, width=220 + 90 * len(targets))
    trace = go.Heatmap(z=float32(values), zmin=0, zmax=1, colorscale=SEQUENTIAL, xgap=2, ygap=2, name=value_name)
    trace.update(customdata=hovers.tolist(), hoverongaps=True)
    trace.update(colorbar=colorbar_above(value_name) | {"tickformat": ".0%", "len": 160})
    fig.add_trace(trace.update(hovertemplate="%{customdata}<extra></extra>"))
    for (i, j), share in np.ndenumerate(values):
        if known[i, j]:
            ink = PAPER.colour(dark=share >= 0.5)  # the scale is light from its middle on, on either background
            fig.add_annotation(text=f"{share:.0%}", x=j, y=i, font={"color": ink, "size": 13})
        else:
            cell = {"x0": j - 0.46, "x1": j + 0.46, "y0": i - 0.44, "y1": i + 0.44}
            fig.add_shape(type="rect", line=guide(dark) | {"width": 1}, **cell)
    for update, names, title in (
        (fig.update_xaxes, columns, "net that is attacked"),
        (fig.update_yaxes, rows, "source of the attack"),
    ):
        ticks = {"tickvals": list(range(len(names))), "ticktext": [short(name) for name in names], "ticks": ""}
        update(ticks, title_text=title, showgrid=False, zeroline=False)
    fig.update_xaxes(range=[-0.5, len(targets) - 0.5], tickangle=-45 if slanted else 0, ticklabeloverflow="allow")
    fig.update_yaxes(range=[len(sources) - 0.5, -0.5])
    alt = f"{value_name[:1].upper()}{value_name[1:]} from {plural(len(sources), 'source')} "
    alt += f"to {plural(len(targets), 'net')}, {np.count_nonzero(known)} of {plural(values.size, 'cell')} filled"
    if known.any():
        for extreme, pick in (("highest", np.nanargmax), ("lowest", np.nanargmin)):
            i, j = map(int, np.unravel_index(pick(values), values.shape))
            alt += f"; {extreme} {percent(values[i, j])}, from {short(rows[i])} to {short(columns[j])}"
    return describe(fig, alt + ".")


def _grid(count: int, columns: int, dark: bool) -> go.Figure:
    """A figure of ``count`` panels in rows of ``columns``; the last row may be shorter."""
    rows = -(-count // columns)
    height = rows * PANEL + (rows - 1) * GAP if rows > 1 else PANEL + GAP
    there: list[list[dict[str, Any] | None]]
    there = [[{} if row * columns + column < count else None for column in range(columns)] for row in range(rows)]
    spacing = {"horizontal_spacing": 0.05, "vertical_spacing": GAP / height}
    return dress(
        make_subplots(rows=rows, cols=columns, specs=there, **spacing), dark=dark, height=height + LEGEND, width=None
    )


def _source_legend(fig: go.Figure, present: Iterable[str], dark: bool) -> None:
    """One entry for each source that is drawn in any panel; a click on it hides the source in all of them."""
    for key, meaning in SOURCES.items():
        if key in present:
            colour = meaning.colour(dark)
            marker = {"symbol": meaning.symbol, "size": 8, "color": colour}
            line = {"color": colour, "dash": meaning.dash, "width": 2}
            legend_entry(fig, meaning.words, group=meaning.words, marker=marker, line=line)


def _reach(bands: Iterable[Band]) -> list[float]:
    """Ends of an axis that shows 0, 1 and all bands."""
    ends = [0.0, 1.0, *(bound[band.known] for band in bands for bound in (band.low, band.high))]
    low, high = float(np.hstack(ends).min()), float(np.hstack(ends).max())
    return [low - 0.05 * (high - low), high + 0.05 * (high - low)]
