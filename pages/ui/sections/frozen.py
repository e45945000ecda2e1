"""The section of the Evolution page about nets whose kernel is frozen: linearised at an epoch, trained on or solved.

::

    frozen_section(figures, moving, dark=False)          # of the current evolution and of the pinned one
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from ntkcore.analysis.evolution.histories import seed_band
from ntkcore.analysis.intervals import Band
from ntkcore.figures.evolution.accuracy import frozen_accuracy
from ntkcore.readings.evolution import Frozen, read_frozen
from ntkcore.runs.specs import REGIME_NAMES
from ntkcore.runs.store import Artifact
from pages.ui.sections.beside import Pair, need_all_of_both
from pages.ui.sections.motion import InMotion
from pages.ui.shell.results import need_all
from pages.ui.shell.show import Figures
from pages.ui.shell.terms import heading, note, say

KINDS = {"clean": "test_clean", "attacked": "test_pgd", "train": "train_clean"}  # as sentences and scores have them
COLUMNS = {"Clean": "test_clean", "FGSM": "test_fgsm", "PGD": "test_pgd", "Training images, clean": "train_clean"}


def frozen_section(figures: Figures, moving: Pair[InMotion], dark: bool) -> None:
    """Draw it; the figure is of both."""
    e, history = moving.now.e, moving.now.history
    heading("Freeze the kernel and train on")
    if not e.freeze:
        note(
            "Choose epochs above: from there on the net is replaced by its linearisation, whose kernel stays as it is. "
            "If it keeps its robustness, what came later was done by a fixed kernel."
        )
        return
    both = need_all_of_both(moving.map(lambda one: one.e.frozen()), "linearised nets in training")
    solved, trained = need_all(e.solved(), "linearised nets in closed form"), both.now
    of = f"{moving.stamps} {e}"
    both.joined(moving).show(
        figures, "Frozen at an epoch", lambda one: _drawn(*one, dark), key="frozen", of=of, apart=True
    )
    right = {r: [_right(trained, r, t) for t in sorted(set(e.freeze))] for r in e.regimes}
    if len(trained) == len(e.frozen()):
        for regime in e.regimes:
            never = Frozen(e.epochs, *(history.right(regime, *name.split("_")) for name in KINDS.values()))
            say(f"**{REGIME_NAMES[regime]} training.** {read_frozen(right[regime], never)}")
    table = [
        {"Training": REGIME_NAMES[r], "Seed": seed, "Frozen after epoch": t, "By": how} | _shares(artifact)
        for how, group in (("training on", trained), ("closed form", solved))
        for (r, seed, t), artifact in group.items()
    ]
    if table:
        config = dict.fromkeys(COLUMNS, st.column_config.NumberColumn(format="percent"))
        st.dataframe(pd.DataFrame(table), hide_index=True, width="stretch", column_config=config)
    bands = f"Bands: lowest to highest of {e.seeds} seeds. " if e.seeds > 1 else ""
    note(
        f"{bands}Closed form: kernel regression with the frozen kernel on the first training images. A net that does "
        "not fit its training images looks robust for the wrong reason: look at the last column first."
    )


def _drawn(found: Mapping[tuple[str, int, int], Artifact], one: InMotion, dark: bool) -> go.Figure:
    """Accuracies of the nets that are there, beside those of the nets that were never frozen."""
    e, test, freeze = one.e, one.accuracy("test"), sorted(set(one.e.freeze))
    curves = {r: _curves([_right(found, r, t) for t in freeze], e.seeds) for r in e.regimes}
    whole = {r: float(test[r]["pgd"].mean[-1]) for r in e.regimes}
    return frozen_accuracy(freeze, curves, whole, chance=one.chance, dark=dark)


def _right(found: Mapping[tuple[str, int, int], Artifact], regime: str, epoch: int) -> Frozen:
    """Which images the nets frozen at an epoch get right, of the seeds that are there."""
    nets = [artifact.arrays for (r, _, t), artifact in sorted(found.items()) if (r, t) == (regime, epoch)]
    return Frozen(epoch, *(np.array([arrays[name].numpy() for arrays in nets]) for name in KINDS.values()))


def _curves(rows: list[Frozen], seeds: int) -> dict[str, Band]:
    """Shares right along the epochs of freezing, over the seeds that are there."""
    curves = {}
    for kind in KINDS:
        values = np.full((seeds, len(rows)), np.nan)
        for i, row in enumerate(rows):
            right = getattr(row, kind)
            if right.size:
                values[: len(right), i] = right.mean(1)
        curves[kind] = seed_band(values)
    return curves


def _shares(artifact: Artifact) -> dict[str, float]:
    return {label: float(artifact.arrays[name].double().mean()) for label, name in COLUMNS.items()}
