"""Do the eigenfeatures agree across architectures? Kernels, eigenspaces, matched features, classes of features."""

from collections.abc import Callable
from functools import partial

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from ntkcore.analysis.consistency.agreement import Agreement
from ntkcore.analysis.consistency.similarity import name_pairs, tally
from ntkcore.figures.consistency import alignment_heatmap, overlap_along_k
from ntkcore.readings.consistency import (
    read_alignment,
    read_answer,
    read_overlap,
    read_tallies,
)
from ntkcore.readings.differences import Estimate, Measured
from ntkcore.readings.words import signed
from ntkcore.runs.comparison import agreement_of, same_comparison
from ntkcore.runs.specs import Experiment
from ntkcore.runs.stages import read_agreement, read_sweep
from pages.ui.code import consistency_lines
from pages.ui.controls.consistency import comparison_controls
from pages.ui.sections.beside import beside, need_both, table
from pages.ui.sections.one_pair import one_pair
from pages.ui.sections.samples import task_of
from pages.ui.shell.page import page
from pages.ui.shell.present import folded
from pages.ui.shell.results import cost_in_words, heavy, latest, need
from pages.ui.shell.show import Figures, dark, downloads, explain
from pages.ui.shell.terms import answer, explained, heading, note, say, small_print

FALLING = "Spearman of index and share kept"

chosen = page("Consistency", "Do different architectures have the same eigenfeatures?")
with folded():
    experiments = comparison_controls(chosen.infinite())
task_of(next(iter(experiments.values())))


def _in_words(both: tuple[Experiment, dict[str, Experiment]]) -> str:
    experiments = both[1]
    return f"{', '.join(experiments)}; {next(iter(experiments.values())).in_words(kernel=False)}"


def _measures(names: list[str]) -> dict[str, Callable[[Agreement], Measured]]:
    """Of every pair of architectures: how alike their kernels are, and what their leading eigenspaces share."""

    def alike(i: int, j: int) -> Callable[[Agreement], Measured]:
        return lambda a: Estimate(a.alignment.one((i, j)), ".3f")

    def shared(row: int) -> Callable[[Agreement], Measured]:
        return lambda a: Estimate(a.overlap.one((row, a.at)))

    pairs = name_pairs(names)
    found = {f"Centred alignment of {pair}": alike(i, j) for pair, i, j in pairs}
    return found | {f"Overlap of leading eigenspaces of {pair}": shared(row) for row, (pair, _, _) in enumerate(pairs)}


what = f"kernels of {', '.join(experiments)}"
chosen, experiments = latest(
    "consistency", (chosen, experiments), lambda both: {"all": agreement_of(both[1])}, what, _in_words
)
first = next(iter(experiments.values()))
task, night, figures = task_of(first), dark(), Figures()
side = "x".join(map(str, task.image_shape[1:]))
spec = agreement_of(experiments)
small_print(
    f"Compared on {task.n} training images of {side} pixels; features are judged on {task.m} test images. "
    "In brackets: 95 % intervals."
)
names = list(experiments)
pinned = beside(chosen, lambda e: agreement_of(same_comparison(experiments, e)))
both = need_both(pinned, lambda e: agreement_of(same_comparison(experiments, e)), what)
if both is None:
    st.stop()
result, agreements = both.now, both.map(lambda artifact: read_agreement(artifact.arrays))
a, agreed = {name: value.numpy() for name, value in result.arrays.items()}, agreements.now
pairs = name_pairs(names)
answer(f"**{read_answer(names, agreed)}**")


def _overlap(agreed: Agreement) -> go.Figure:
    return overlap_along_k(*agreed.curves(names), dashes=both.pinned is None, dark=night)


def _alignment(agreed: Agreement) -> go.Figure:
    return alignment_heatmap(names, agreed.alignment, quantity="centred alignment", dark=night)


left, right = st.columns(2, gap="large")
with left:
    heading("Leading eigenspaces")
    agreements.show(figures, "Overlap of eigenspaces", _overlap, key="overlap", of=f"{names} {both.pinned is None}")
    say(read_overlap(names, agreed))
with right:
    heading("Whole kernels: centred alignment (CKA)")
    agreements.show(figures, "Alignment", _alignment, key="alignment", of=f"{names}")
    say(read_alignment(names, agreed, centred=True))
    with st.expander("Not centred"):
        figures.show("Alignment, not centred", alignment_heatmap(names, agreed.uncentred, dark=night), key="uncentred")
        say(read_alignment(names, agreed, centred=False))
over = "The intervals leave out a tenth of the training images at a time; those of differences are not paired."
table(pinned, agreements, _measures(names), page="consistency", about=over)

heading("Classes of features")
counts, long = {}, [name for name, e in experiments.items() if heavy(e.sweep())]
for name, e in experiments.items():
    if name in long:
        continue
    attacked, spectrum = need(e.sweep(), f"features of {name} under attack"), need(e.spectrum(), f"spectrum of {name}")
    if attacked is not None and spectrum is not None:
        sweep = read_sweep(attacked, spectrum, e.sweep())
        counts[name] = tally(sweep, e.rule.fdr, e.rule.keep)
table = pd.DataFrame(
    {
        "Architecture": list(counts),
        "Robust": [c.robust for c in counts.values()],
        "In between": [c.between for c in counts.values()],
        "Brittle": [c.brittle for c in counts.values()],
        "Weak alone": [c.weak for c in counts.values()],
        "Robust among the top 20": [c.top_robust for c in counts.values()],
        FALLING: [
            signed(c.spearman.mean[0], "+.2f") if c.spearman.known else "too few useful ones" for c in counts.values()
        ],
    }
)
st.dataframe(
    table,
    hide_index=True,
    width="stretch",
    column_config={
        FALLING: st.column_config.TextColumn(help=explained(FALLING)),
        "Weak alone": st.column_config.NumberColumn(help=explained("weak alone")),
    },
)
if counts:
    say(read_tallies(counts))
if long:
    costs = "; ".join(f"{name}: {cost_in_words(experiments[name].sweep())}" for name in long)
    note(f"Not attacked, since it would take long or much memory. {costs}. Choose fewer or smaller images for it.")

heading("One pair, feature by feature")
pair = st.selectbox("Pair", [name for name, _, _ in pairs], key="pair", bind="query-params")
cosine = one_pair(figures, pinned.map(partial(same_comparison, experiments)), both, pair)
if cosine is not None:
    a["cosine"] = cosine

explain(
    "consistency",
    r"\mathrm{CKA}=\frac{\langle HAH,HBH\rangle}{\|HAH\|\,\|HBH\|},\qquad "
    r"\text{overlap}_k=\tfrac1k\,\|V_{A,k}^\top V_{B,k}\|_F^2",
    spec,
    lambda: consistency_lines(experiments, *pair.split(" and ")),
)
downloads("consistency", figures, a)
