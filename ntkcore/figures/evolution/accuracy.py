"""Figures of accuracy along the epochs of standard and adversarial training, and of nets whose kernel is frozen.

Everything is by training regime (``palette.REGIMES``: standard, fgsm, pgd); a band is mean and min..max over seeds, and
NaN is an epoch that is not computed yet. "Frozen at epoch e" is a net that is linearised around its weights of epoch e
and trained on (Loo et al. 2022)::

    fig = accuracy_along_epochs(epochs, {"pgd": {"clean": band, "pgd": band}}, chance=0.1)      # epochs, bands [P]
    fig = frozen_accuracy([0, 5, 20], {"pgd": {"attacked": band}}, {"pgd": 0.38})               # bands [E]
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
import plotly.graph_objects as go

from ntkcore.errors import DataError
from ntkcore.figures.drawing.bands import Band, few, from_to, known_bands, note_missing
from ntkcore.figures.drawing.checks import counted, float32, plural
from ntkcore.figures.drawing.palette import BEHIND, LINEARISED, MUTED, REGIMES
from ntkcore.figures.drawing.template import Place, describe, guide, legend_entry
from ntkcore.figures.evolution.panels import (
    add_curve,
    add_side_line,
    bands_in_words,
    by_regime,
    epoch_axis,
    panel_grid,
    panel_places,
    regime_legend,
)

Kind = Literal["clean", "fgsm", "pgd"]
KINDS: Mapping[Kind, str] = {"clean": "clean accuracy", "fgsm": "FGSM accuracy", "pgd": "PGD accuracy"}
Judged = Literal["clean", "attacked", "train"]
JUDGED: Mapping[Judged, str] = {"clean": "clean accuracy", "attacked": "under attack", "train": "training accuracy"}
CHANCE = "dashdot"  # dotted are lines of training images
FROZEN = "kernel frozen from there on"


def accuracy_along_epochs(
    epochs: Sequence[int],
    curves: Mapping[str, Mapping[Kind, Band]],
    *,
    train: Mapping[str, Mapping[Kind, Band]] | None = None,
    frozen: Mapping[str, Mapping[int, Mapping[Kind, Band]]] | None = None,
    chance: float | None = None,
    columns: int = 2,
    dark: bool = False,
) -> go.Figure:
    """Accuracy along training: a panel an attack, a line a regime.

    Args:
        epochs: ``[P]`` whole numbers from 0 on, ascending.
        curves: regime -> what the test images are attacked by (``clean``, ``fgsm``, ``pgd``) -> accuracies ``[P]``.
            The panels are the attacks named here or in the other mappings, all three where none is.
        train: the same of the training images, dotted.
        frozen: regime -> epoch e, one of ``epochs`` -> attack -> accuracies at the epochs from e on of the net that is
            linearised there, dashed.
        chance: accuracy of a blind guess, a horizontal guide.
        columns: panels in a row; up to 2 can be read on a phone.
    """
    epochs = counted(epochs, "epochs")
    main = _by_kind(curves, "curves", epochs.size)
    behind = _by_kind(train, "train", epochs.size)
    named = {kind for given in (curves, train or {}) for kinds in given.values() for kind in kinds}
    side: list[tuple[str, Kind, np.ndarray, Band, int | None]]
    side = [(regime, kind, epochs, band, None) for regime, kinds in behind.items() for kind, band in kinds.items()]
    for regime, starts in by_regime(frozen, "frozen").items():
        for start, kinds in sorted(starts.items()):
            if start not in epochs:
                raise DataError(f"frozen of {regime} starts at epoch {start}, which is not one of the epochs.")
            later, name = epochs[epochs >= start], f"frozen of {regime} from epoch {start} on"
            named |= set(kinds)
            checked = known_bands(kinds, name, later.size, tuple(KINDS))
            side += [(regime, kind, later, band, start) for kind, band in checked.items()]

    panels = [kind for kind in KINDS if kind in named] or list(KINDS)
    fig = panel_grid([KINDS[kind] for kind in panels], columns=columns, dark=dark)
    places = panel_places(len(panels), columns)
    for number, (kind, (place, first, lowest)) in enumerate(zip(panels, places, strict=True), start=1):
        right = f"%{{y:.1%}} right, {KINDS[kind]}"
        own = [line for line in side if line[1] == kind]
        for regime, _, x, band, start in own:
            meaning = REGIMES[regime]
            what = "training images" if start is None else f"kernel frozen from epoch {start} on"
            hover = f"{meaning.words}, {what}<br>epoch %{{x}}<br>{right}"
            name = f"{meaning.words}, {what}, {KINDS[kind]}"
            add_side_line(
                fig, x, band, meaning, BEHIND if start is None else LINEARISED, dark, name=name, hover=hover, **place
            )
        present = {regime: kinds[kind] for regime, kinds in main.items() if kind in kinds}
        for regime, band in present.items():
            meaning = REGIMES[regime]
            hover = f"{meaning.words}, epoch %{{x}}<br>{right}"
            add_curve(fig, epochs, band, meaning, dark, hover=hover, name=f"{meaning.words}, {KINDS[kind]}", **place)
        if not own and not present:
            note_missing(fig, number)
        elif chance is not None:
            fig.add_hline(y=chance, line=guide(dark, CHANCE), layer="below", **place)
        fig.update_xaxes(epoch_axis(int(epochs[-1]), title=lowest), **place)
        _share_axis(fig, "test accuracy", first, place)
    fig.update_xaxes(matches="x")
    regime_legend(fig, {*(regime for regime, kinds in main.items() if kinds), *(line[0] for line in side)}, dark)
    if any(line[4] is None for line in side):
        legend_entry(fig, "training images", line={"color": MUTED.colour(dark), "dash": BEHIND, "width": 1.5})
    if any(line[4] is not None for line in side):
        legend_entry(fig, FROZEN, line={"color": MUTED.colour(dark), "dash": LINEARISED, "width": 1.5})
    if chance is not None:
        legend_entry(fig, f"chance {chance:.0%}", line=guide(dark, CHANCE))

    parts = [
        from_to(f"{REGIMES[regime].words} {KINDS[kind]}", epochs, band.mean, ".1%", "epoch")
        for kind in panels
        for regime, kinds in main.items()
        if (band := kinds.get(kind))
    ]
    alt = f"Accuracy along training up to epoch {epochs[-1]}, {plural(len(panels), 'panel')}"
    return describe(fig, f"{alt}: {few(parts, 4)}.{bands_in_words(fig)}")


def frozen_accuracy(
    epochs: Sequence[int],
    curves: Mapping[str, Mapping[Judged, Band]],
    whole: Mapping[str, float] | None = None,
    *,
    chance: float | None = None,
    columns: int = 2,
    dark: bool = False,
) -> go.Figure:
    """Accuracy of nets whose kernel is frozen at epoch e, along e: a panel for each way to judge, a line a regime.

    Args:
        epochs: ``[E]`` epochs e of freezing, whole numbers from 0 on, ascending.
        curves: regime -> ``clean``, ``attacked`` or ``train`` -> accuracies ``[E]``.
        whole: regime -> accuracy under attack of the run that was never frozen, a horizontal line; NaN is not drawn.
        chance: accuracy of a blind guess, a horizontal guide.
        columns: panels in a row; up to 2 can be read on a phone.
    """
    epochs = counted(epochs, "epochs")
    lines = {
        regime: known_bands(bands, f"curves of {regime}", epochs.size, tuple(JUDGED))
        for regime, bands in by_regime(curves, "curves").items()
    }
    marks = {regime: float(share) for regime, share in by_regime(whole, "whole").items() if np.isfinite(share)}
    named = {kind for kinds in curves.values() for kind in kinds} | ({"attacked"} if marks else set())
    panels = [kind for kind in JUDGED if kind in named] or ["attacked"]
    fig = panel_grid([JUDGED[kind] for kind in panels], columns=columns, dark=dark)
    places = panel_places(len(panels), columns)
    axis = _freeze_axis(epochs)
    for number, (kind, (place, first, lowest)) in enumerate(zip(panels, places, strict=True), start=1):
        present = {regime: kinds[kind] for regime, kinds in lines.items() if kind in kinds}
        drawn_marks = marks if kind == "attacked" else {}
        for regime, share in drawn_marks.items():
            meaning, ends = REGIMES[regime], np.array([10**edge for edge in axis["range"]])
            trace = go.Scatter(x=float32(ends), y=[share] * 2, mode="lines", name=f"{meaning.words}, never frozen")
            trace.update(line={"color": meaning.colour(dark), "width": 1.2}, legendgroup=meaning.words)
            trace.update(
                hovertemplate=f"{meaning.words}, never frozen<br>%{{y:.1%}} right, under attack<extra></extra>"
            )
            fig.add_trace(trace.update(showlegend=False), **place)
        for regime, band in present.items():
            meaning = replace(REGIMES[regime], dash=LINEARISED)
            hover = f"{meaning.words}, frozen at epoch %{{customdata}}<br>%{{y:.1%}} right, {JUDGED[kind]}"
            name = f"{meaning.words}, {JUDGED[kind]}"
            add_curve(fig, epochs + 1, band, meaning, dark, hover=hover, name=name, index=epochs, **place)
        if not present and not drawn_marks:
            note_missing(fig, number)
        elif chance is not None:
            fig.add_hline(y=chance, line=guide(dark, CHANCE), layer="below", **place)
        fig.update_xaxes(axis | {"title_text": "epoch of freezing" if lowest else None}, **place)
        _share_axis(fig, "accuracy", first, place)
    fig.update_xaxes(matches="x")
    shown = {regime for regime, kinds in lines.items() if kinds} | set(marks)
    regime_legend(fig, shown, dark, dash=LINEARISED)
    if marks:
        legend_entry(fig, "never frozen", line={"color": MUTED.colour(dark), "width": 1.2})
    if chance is not None:
        legend_entry(fig, f"chance {chance:.0%}", line=guide(dark, CHANCE))
    parts = []
    for regime, kinds in lines.items():
        if "attacked" in kinds:
            parts.append(from_to(REGIMES[regime].words, epochs, kinds["attacked"].mean, ".1%", "epoch"))
            parts[-1] += f", {marks[regime]:.1%} if never frozen" if regime in marks else ""
    alt = f"Accuracy after freezing the kernel at one of {plural(epochs.size, 'epoch')}, under attack: {few(parts, 3)}."
    return describe(fig, alt + bands_in_words(fig))


def _by_kind(curves: Mapping[str, Mapping[Kind, Band]] | None, name: str, length: int) -> dict[str, dict[Kind, Band]]:
    return {
        regime: known_bands(bands, f"{name} of {regime}", length, tuple(KINDS))
        for regime, bands in by_regime(curves, name).items()
    }


def _share_axis(fig: go.Figure, title: str, first: bool, place: Place) -> None:
    """The axis from 0 to 100 % that panels share; only the first of a row is labelled."""
    left = {"title_text": title} if first else {"showticklabels": False, "ticks": ""}
    fig.update_yaxes(tickformat=".0%", dtick=0.25, range=[-0.03, 1.03], zeroline=False, matches="y", **left, **place)


def _freeze_axis(epochs: np.ndarray) -> dict:
    """A log axis with epoch ``e`` at ``e + 1``, labelled at those epochs that leave each other room."""
    span = np.log10(max(int(epochs[-1]) + 1, 2))
    kept: list[int] = []
    for epoch in epochs.tolist():
        if not kept or np.log10((epoch + 1) / (kept[-1] + 1)) > span / 6:
            kept.append(epoch)
    ends = [float(np.log10(epochs[0] + 1)) - 0.04 * span, float(np.log10(epochs[-1] + 1)) + 0.04 * span]
    ticks = {"tickvals": [epoch + 1 for epoch in kept], "ticktext": [str(epoch) for epoch in kept], "tickangle": 0}
    return {"type": "log", "range": ends, "zeroline": False, **ticks}
