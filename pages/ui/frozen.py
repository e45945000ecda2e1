"""The section of the Evolution page about nets whose kernel is frozen: linearised at an epoch, trained on or solved.

::

    figures |= frozen_section(e, history, test, chance, dark=False)
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from ntkcore.analysis.histories import Histories, seed_band
from ntkcore.analysis.readings_evolution import Frozen, read_frozen
from ntkcore.analysis.resampling import Band
from ntkcore.figures.evolution import frozen_accuracy
from ntkcore.runs.specs import REGIME_NAMES, Evolution
from ntkcore.runs.store import Artifact
from pages.ui.results import need_all
from pages.ui.show import chart


def frozen_section(
    e: Evolution, history: Histories, test: Mapping[str, Mapping[str, Band]], chance: float, dark: bool
) -> dict[str, go.Figure]:
    """Draw it; the figures by title, none while there are none."""
    st.subheader("Freeze the kernel and train on", anchor=False)
    if not e.freeze:
        st.caption(
            "Choose epochs above: from there on the net is replaced by its linearisation, whose kernel stays as it is. "
            "If it keeps its robustness, what came later was done by a fixed kernel."
        )
        return {}
    trained = need_all(e.frozen(), "linearised nets in training")
    solved = need_all(e.solved(), "linearised nets in closed form")
    figures = {}
    whole = {r: float(test[r]["pgd"].mean[-1]) for r in e.regimes}
    freeze = sorted(set(e.freeze))
    curves = {r: _curves(trained, r, freeze, e.seeds) for r in e.regimes}
    figures["Frozen at an epoch"] = frozen_accuracy(freeze, curves, whole, chance=chance, dark=dark)
    chart(figures["Frozen at an epoch"], "frozen-at-an-epoch", key="frozen")
    for regime in e.regimes:
        rows = [
            Frozen(t, *(float(curves[regime][kind].mean[i]) for kind in ("clean", "attacked", "train")))
            for i, t in enumerate(freeze)
            if curves[regime]["clean"].known[i]
        ]
        if rows and np.isfinite(whole[regime]):
            end = history.accuracy(regime, "train", "clean").mean[-1]
            told = read_frozen(rows, Frozen(e.epochs, float(test[regime]["clean"].mean[-1]), whole[regime], float(end)))
            st.markdown(f"**{REGIME_NAMES[regime]} training.** {told}")
    table = [
        {"Training": REGIME_NAMES[r], "Seed": seed, "Frozen after epoch": t, "By": how} | _shares(artifact)
        for how, group in (("training on", trained), ("closed form", solved))
        for (r, seed, t), artifact in group.items()
    ]
    percent = st.column_config.NumberColumn(format="percent")
    if table:
        columns = ("Clean", "FGSM", "PGD", "Training images, clean")
        config = dict.fromkeys(columns, percent)
        st.dataframe(pd.DataFrame(table), hide_index=True, width="stretch", column_config=config)
    st.caption(
        "Closed form: kernel regression with the frozen kernel on the first training images. A net that does not fit "
        "its training images looks robust for the wrong reason: look at the last column first."
    )
    return figures


def _curves(
    found: Mapping[tuple[str, int, int], Artifact], regime: str, freeze: list[int], seeds: int
) -> dict[str, Band]:
    kinds = {"clean": "test_clean", "attacked": "test_pgd", "train": "train_clean"}
    curves = {}
    for kind, array in kinds.items():
        values = np.full((seeds, len(freeze)), np.nan)
        for (r, seed, t), artifact in found.items():
            if r == regime:
                values[seed, freeze.index(t)] = float(artifact.arrays[array].double().mean())
        curves[kind] = seed_band(values)
    return curves


def _shares(artifact: Artifact) -> dict[str, float]:
    a = artifact.arrays
    names = {"Clean": "test_clean", "FGSM": "test_fgsm", "PGD": "test_pgd", "Training images, clean": "train_clean"}
    return {label: float(a[name].double().mean()) for label, name in names.items()}
