"""Figures of what an empirical kernel becomes while its net is trained: concentration, alignment, spectra.

With eigenvalues ``lam``: mass of the top k ``sum_{i<=k} lam_i^2 / sum lam_i^2``, share of the trace
``sum_{i<=k} lam_i / sum lam_i``, effective rank ``exp(-sum p_i ln p_i)``, ``p = lam / sum lam``. By training regime
(``palette.REGIMES``); a band is mean and min..max over seeds, NaN is not computed yet::

    fig = concentration(epochs, {"pgd": {10: band, 20: band}}, {"pgd": share}, {"pgd": rank})    # epochs, bands [P]
    fig = alignment_along_epochs(epochs, {"pgd": band}, {"pgd": band})                           # bands [P]
    fig = spectra_at_epoch({"pgd": values}, 20, first={"pgd": values})                           # [N] each
    fig = spectra_along_epochs([0, 10, 20], {"pgd": [values, values, values]}, at=2)             # with a slider
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import plotly.graph_objects as go

from ntkcore.errors import DataError
from ntkcore.figures.drawing.bands import Band, few, from_to, known_bands, marker_sizes, note_missing
from ntkcore.figures.drawing.checks import counted, positive, vector
from ntkcore.figures.drawing.lettering import legible
from ntkcore.figures.drawing.palette import BEHIND, MUTED, REGIMES, faint
from ntkcore.figures.drawing.player import add_player, fitting
from ntkcore.figures.drawing.template import (
    Place,
    describe,
    guide,
    index_axis,
    index_positions,
    legend_entry,
    log_axis,
    new_figure,
)
from ntkcore.figures.evolution.panels import (
    add_curve,
    bands_in_words,
    by_regime,
    decades,
    epoch_axis,
    known_log_band,
    regime_legend,
)

MASS_DASHES = ("solid", "dashdot", "longdash")


def concentration(
    epochs: Sequence[int],
    mass: Mapping[str, Mapping[int, Band]],
    share: Mapping[str, Band],
    rank: Mapping[str, Band],
    *,
    top: int = 20,
    dark: bool = False,
) -> go.Figure:
    """How far a kernel's spectrum is gathered at its top, along training, in three panels.

    Args:
        epochs: ``[P]`` whole numbers from 0 on, ascending.
        mass: regime -> k -> mass ``[P]`` of the k largest eigenvalues; ``1 - mass`` is drawn, on a log axis. At most
            three k.
        share: regime -> share ``[P]`` of the trace in the ``top`` largest.
        rank: regime -> effective rank ``[P]``.
    """
    epochs = counted(epochs, "epochs")
    sizes = sorted({k for bands in by_regime(mass, "mass").values() for k in bands})
    if len(sizes) > len(MASS_DASHES):
        raise DataError(f"mass has {len(sizes)} different k; at most {len(MASS_DASHES)} are told apart.")
    dashes = dict(zip(sizes, MASS_DASHES[: len(sizes)][::-1], strict=True))  # the largest k is solid
    rest = {
        (regime, k): known_log_band(_complement(bands[k]), f"1 - mass of {regime} by {k}", epochs.size)
        for k in sizes
        for regime, bands in by_regime(mass, "mass").items()
        if k in bands
    }
    rest = {key: band for key, band in rest.items() if band.known.any()}
    shares = known_bands(share, "share", epochs.size, tuple(REGIMES))
    ranks = known_bands(rank, "rank", epochs.size, tuple(REGIMES))
    fig = new_figure(dark=dark, height=640, panels=[0.38, 0.31, 0.31])
    for (regime, k), band in rest.items():
        meaning = replace(REGIMES[regime], dash=dashes[k])
        hover = f"{meaning.words}, epoch %{{x}}<br>%{{y:.3g}} of the mass outside the top {k}"
        name = f"{meaning.words}, 1 − mass of the top {k}"
        add_curve(fig, epochs, band, meaning, dark, hover=hover, digits=".3g", name=name, row=1, col=1)
    for row, bands, what, number in (
        (2, shares, f"share of the trace in the top {top}", ".1%"),
        (3, ranks, "effective rank", ".2f"),
    ):
        for regime, band in bands.items():
            words = REGIMES[regime].words
            hover, name = f"{words}, epoch %{{x}}<br>{what} %{{y:{number}}}", f"{words}, {what}"
            add_curve(fig, epochs, band, REGIMES[regime], dark, hover=hover, name=name, digits=number, row=row, col=1)
    for number, drawn in enumerate((rest, shares, ranks), start=1):
        fig.update_xaxes(epoch_axis(int(epochs[-1]), title=number == 3), row=number, col=1)
        if not drawn:
            note_missing(fig, number)
    fig.update_yaxes(decades(band.mean for band in rest.values()), title_text="1 − mass of top k", row=1)
    ends = np.hstack([band.mean[band.known] for band in shares.values()]) if shares else np.zeros(1)
    only = [0, 1.03] if ends.min() == ends.max() else None  # nothing, or one value, has no extent to show
    fig.update_yaxes(title_text=f"trace in the top {top}", tickformat=".0%", nticks=6, range=only, row=2)
    fig.update_yaxes(title_text="effective rank", rangemode="tozero", nticks=6, row=3)
    fig.update_yaxes(zeroline=False)
    regime_legend(fig, {*(regime for regime, _ in rest), *shares, *ranks}, dark)
    for k, dash in dashes.items():
        legend_entry(fig, f"k = {k}", line={"color": MUTED.colour(dark), "dash": dash, "width": 2})
    parts = [from_to(f"{REGIMES[key].words} rank", epochs, band.mean, ".1f", "epoch") for key, band in ranks.items()]
    parts += [from_to(f"{REGIMES[key].words} share", epochs, band.mean, ".1%", "epoch") for key, band in shares.items()]
    alt = f"Effective rank of the kernel and share of its trace in the top {top} up to epoch {epochs[-1]}"
    return describe(fig, f"{alt}: {few(parts, 4)}.{bands_in_words(fig)}")


def alignment_along_epochs(
    epochs: Sequence[int],
    alignment: Mapping[str, Band],
    specialisation: Mapping[str, Band] | None = None,
    *,
    dark: bool = False,
) -> go.Figure:
    """Centred alignment of the kernel with the labels along training; below, how far classes have kernels of their own.

    Args:
        epochs: ``[P]`` whole numbers from 0 on, ascending.
        alignment: regime -> ``<HKH, YY^T> / (|HKH| |YY^T|)`` ``[P]``.
        specialisation: regime -> alignment of each class's kernel with its own label over the mean with all ``[P]``;
            1 is none, a guide. None for no second panel.
    """
    epochs = counted(epochs, "epochs")
    quantities = [("alignment with the labels", known_bands(alignment, "alignment", epochs.size, tuple(REGIMES)))]
    if specialisation is not None:
        bands = known_bands(specialisation, "specialisation", epochs.size, tuple(REGIMES))
        quantities.append(("class specialisation", bands))
    fig = new_figure(
        dark=dark, height=540 if len(quantities) > 1 else 380, panels=[1 / len(quantities)] * len(quantities)
    )
    parts = []
    for number, (what, bands) in enumerate(quantities, start=1):
        place: Place = {"row": number, "col": 1} if len(quantities) > 1 else {}
        for regime, band in bands.items():
            words = REGIMES[regime].words
            hover, name = f"{words}, epoch %{{x}}<br>{what} %{{y:.3f}}", f"{words}, {what}"
            add_curve(fig, epochs, band, REGIMES[regime], dark, hover=hover, name=name, digits=".3f", **place)
            parts.append(from_to(f"{words} {what}", epochs, band.mean, ".2f", "epoch"))
        if not bands:
            note_missing(fig, number)
        fig.update_xaxes(epoch_axis(int(epochs[-1]), title=number == len(quantities)), **place)
        fig.update_yaxes(title_text=what, rangemode="tozero" if number == 1 else "normal", zeroline=False, **place)
    if len(quantities) > 1 and quantities[1][1]:
        fig.add_hline(y=1, line=guide(dark), layer="below", row=2, col=1)
    regime_legend(fig, {regime for _, bands in quantities for regime in bands}, dark)
    if len(quantities) > 1 and quantities[1][1]:
        legend_entry(fig, "no specialisation", line=guide(dark))
    alt = f"Alignment of the kernel with the labels up to epoch {epochs[-1]}: {few(parts, 4)}."
    return describe(fig, alt + bands_in_words(fig))


def spectra_at_epoch(
    values: Mapping[str, np.ndarray],
    epoch: int,
    *,
    first: Mapping[str, np.ndarray] | None = None,
    dark: bool = False,
) -> go.Figure:
    """Eigenvalues of the kernels at one epoch on log-log axes, a line a regime.

    Args:
        values: regime -> ``[N]`` eigenvalues, descending. Those not above zero, and NaN, are not drawn.
        epoch: where they are from, for words.
        first: the same at epoch 0, faint and dotted behind.
    """
    now = {key: vector(given, f"values of {key}") for key, given in by_regime(values, "values").items()}
    before = {key: vector(given, f"first of {key}") for key, given in by_regime(first, "first").items()}
    now, before = ({key: positive(given) for key, given in group.items()} for group in (now, before))
    count = max((given.size for group in (now, before) for given in group.values()), default=1)
    now, before = ({key: given for key, given in group.items() if np.isfinite(given).any()} for group in (now, before))
    fig = new_figure(dark=dark, height=420)
    for group, at, width, opacity in ((before, 0, 1.5, 0.6), (now, epoch, 2, 1.0)):
        for regime, drawn in group.items():
            meaning = REGIMES[regime]
            x, colour = index_positions(drawn.size), meaning.colour(dark)
            trace = go.Scatter(x=x, y=drawn, mode="lines", name=f"{meaning.words}, epoch {at}")
            trace.update(customdata=np.arange(drawn.size, dtype=np.int32), legendgroup=meaning.words, showlegend=False)
            if group is now:
                sizes = marker_sizes(np.log(x))
                marker = {"symbol": meaning.symbol, "size": sizes, "color": colour, "line": {"width": 0}, "opacity": 1}
                trace.update(mode="lines+markers", marker=marker, line={"color": colour, "width": width})
            else:
                trace.update(line={"color": faint(colour, opacity), "width": width, "dash": BEHIND})
            fig.add_trace(trace.update(hovertemplate=_hover(trace.name)))
    if not now and not before:
        note_missing(fig, 1)
    regime_legend(fig, {*now, *before}, dark)
    if before:
        legend_entry(fig, "epoch 0", line={"color": MUTED.colour(dark), "dash": BEHIND, "width": 1.5})
    fig.update_xaxes(index_axis(count))
    fig.update_yaxes(log_axis(), title_text="eigenvalue λ<sub>i</sub>")
    parts = [
        f"{REGIMES[key].words} from {np.nanmax(drawn):.3g} down to {np.nanmin(drawn):.3g}" for key, drawn in now.items()
    ]
    return describe(fig, f"Eigenvalues of the kernel at epoch {epoch} on log axes: {few(parts, 3)}.")


def spectra_along_epochs(
    epochs: Sequence[int], values: Mapping[str, Sequence[np.ndarray]], *, at: int, dark: bool = False
) -> go.Figure:
    """``spectra_at_epoch`` with a slider and a play button over ``epochs`` [P], those of the first one behind.

    Args:
        values: regime -> P times ``[N]`` eigenvalues, descending.
        at: the number of the epoch at which it begins.
    """
    one, first = ({key: given[i] for key, given in values.items()} for i in (at, 0))
    fig = spectra_at_epoch(one, epochs[at], first=first, dark=dark)
    regimes = by_regime(values, "values")
    places = [i for i, trace in enumerate(fig.data) if trace.mode == "lines+markers" and trace.x[0] is not None]
    drawn = {key: [positive(vector(given, f"values of {key}")) for given in values[key]] for key in regimes}
    heights = np.concatenate([given[np.isfinite(given)] for group in drawn.values() for given in group])
    if len(places) < len(drawn):
        return fig  # some kernel has no eigenvalue to draw
    shown = fitting([7 * sum(group[i].size for group in drawn.values()) for i in range(len(epochs))], at)

    def line(regime: str, i: int) -> go.Scatter:
        name = f"{REGIMES[regime].words}, epoch {epochs[i]}"
        return go.Scatter(y=drawn[regime][i], name=name, hovertemplate=_hover(name))

    fig.frames = [
        go.Frame(name=str(k), data=[line(regime, i) for regime in drawn], traces=places) for k, i in enumerate(shown)
    ]
    add_player(fig, [str(epochs[i]) for i in shown], shown.index(at), "epoch ")
    fig.update_yaxes(range=np.log10([heights.min() / 1.5, heights.max() * 1.5]).tolist())
    return legible(fig.update_layout(height=540, margin_t=72, legend={"y": 1, "yanchor": "top"}))


def _hover(name: str) -> str:
    return f"{name}<br>eigenvalue %{{customdata}} is %{{y:.3g}}<extra></extra>"


def _complement(band: Band) -> Band:
    """``1 - band``, its ends swapped."""
    return Band(*(1 - np.asarray(side, dtype=np.float64) for side in (band.mean, band.high, band.low)))
