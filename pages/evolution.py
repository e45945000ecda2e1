"""The tangent kernel of a net while it trains, on clean and on attacked images: how it moves, where its mass goes."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import streamlit as st

from ntkcore.analysis.evolution.histories import Histories
from ntkcore.analysis.evolution.motion import THRESHOLDS
from ntkcore.figures.evolution.accuracy import accuracy_along_epochs
from ntkcore.figures.evolution.concentration import alignment_along_epochs, concentration
from ntkcore.figures.evolution.motion import kernel_distances, kernel_velocity, lazy_by_threshold, polar_paths
from ntkcore.readings.evolution import (
    median_seed,
    read_accuracy,
    read_claim,
    read_concentration,
    read_late_velocity,
    read_lazy,
    read_thresholds,
)
from ntkcore.runs.specs import REGIME_NAMES as NAMES
from ntkcore.runs.specs import Evolution, Experiment
from pages.ui.code import evolution_lines
from pages.ui.controls.evolution import evolution_controls
from pages.ui.sections.at_epoch import at_one_epoch
from pages.ui.sections.frozen import frozen_section
from pages.ui.sections.samples import task_of
from pages.ui.shell.page import page
from pages.ui.shell.present import folded, headline
from pages.ui.shell.results import latest, need_all
from pages.ui.shell.services import NumpyArrays
from pages.ui.shell.show import Figures, dark, downloads, explain
from pages.ui.shell.terms import heading, note, say

COMPARE = "Choose standard training and an adversarial one to have them compared."


def _in_words(both: tuple[Experiment, Evolution]) -> str:
    """The images and the nets in training."""
    return f"{both[0].in_words(kernel=False)}; {both[1].in_words()}"


def _named(values: Mapping[str, Any]) -> dict[str, Any]:
    """By the names that sentences have for the trainings."""
    return {NAMES[regime]: value for regime, value in values.items()}


question = "How does a net's own tangent kernel move in training, and does attacking it calm it?"
task_of(experiment := page("Evolution", question, True, words=lambda e: e.in_words(kernel=False)))
with folded():
    e = evolution_controls(experiment)
what = f"nets in training ({e.in_words()})"
both = experiment, e
experiment, e = latest("evolution", both, lambda these: these[1].wanted(), what, _in_words, one_by_one=True)
task, night, figures = task_of(experiment), dark(), Figures()
wanted = e.wanted()
found = need_all(wanted, what)
arrays = {name: NumpyArrays(artifact) for name, artifact in found.items()}
history = Histories(arrays, e.epochs, e.looks(), e.regimes, e.seeds)  # of the epochs that are there
complete = len(found) == len(wanted)
epochs, looks = np.arange(e.epochs + 1), np.array(e.looks())
if not found:
    note("No epoch is there yet; curves grow as the nets train.")
    st.stop()
answer = headline()
stamp = f"{[artifact.key for artifact in found.values()]} {e} {night}"  # of figures: all that they show
bands = f"Lines: mean of {e.seeds} seeds; bands: lowest to highest of them. " if e.seeds > 1 else ""
means = f", mean of {e.seeds} seeds" if e.seeds > 1 else ""

heading("Accuracy while training")
kinds = ("clean", "fgsm", "pgd")
test = {regime: {kind: history.accuracy(regime, "test", kind) for kind in kinds} for regime in e.regimes}
train = {regime: {kind: history.accuracy(regime, "train", kind) for kind in kinds} for regime in e.regimes}
labels = task.labels_test[: e.judging]
chance = float(max(np.bincount(labels.numpy())) / len(labels))
draw = partial(accuracy_along_epochs, epochs, test, train=train, chance=chance, dark=night)
figures.show("Accuracy along training", draw, key="accuracies", stamp=stamp)
if complete:
    right = {NAMES[r]: tuple(history.right(r, "test", kind) for kind in ("clean", "pgd")) for r in e.regimes}
    say(read_accuracy(right, str(e.pgd).split(",")[0]))
note(
    f"{bands}On the first {len(labels)} of {task.m} test images; dotted: on the first {min(e.judged, task.n)} training "
    f"images. Attacks: {e.fgsm}; {e.pgd}."
)

heading("How fast the kernel moves, and when it becomes lazy")
share = st.slider(
    "A kernel is called lazy once its velocity stays below this share of the first",
    THRESHOLDS[0],
    THRESHOLDS[-1],
    0.1,
    0.01,
    key="share",
    bind="query-params",
)
speeds = {r: history.velocity(r) for r in e.regimes}
lazy, late = {r: history.lazy(r, share) for r in e.regimes}, {r: history.late(r) for r in e.regimes}
marks = {r: int(at) for r, seeds in lazy.items() if np.isfinite(at := median_seed(seeds))}
along = {r: history.lazy_along(r, THRESHOLDS) for r in e.regimes}  # [S, K]
left, beside = st.columns(2, gap="large")
with left:
    draw = partial(kernel_velocity, looks, speeds, lazy=marks, share=share, seeds=e.seeds, dark=night)
    figures.show("Velocity of the kernel", draw, key="velocity", stamp=f"{share} {stamp}")
    if complete:
        say(read_lazy(_named(lazy), share, e.epochs))
        say(read_late_velocity(_named(late)))
with beside:
    draw = partial(lazy_by_threshold, THRESHOLDS, along, e.epochs, share=share, dark=night)
    figures.show("Lazy by threshold", draw, key="thresholds", stamp=f"{share} {stamp}")
    if complete:
        say(read_thresholds(_named(along), THRESHOLDS))
note(f"{bands}A seed's lazy epoch is one number, read off one curve.")

heading("Where it goes")
parts = {"whole kernel": "whole kernel", f"top {e.top}": "top", "the rest": "bottom"}
distances = {r: history.distance(r) for r in e.regimes}
paths = {title: {r: history.path(r, part) for r in e.regimes} for title, part in parts.items()}
left, beside = st.columns(2, gap="large")
with left:
    draw = partial(kernel_distances, looks, distances, columns=2, dark=night)
    figures.show("Distances of the kernels", draw, key="distances", stamp=stamp)
    note(f"Distance 1 − s of the kernels of any two epochs, s their cosine{means}: 0 is the same up to scale.")
with beside:
    figures.show("Path of the kernel", partial(polar_paths, looks, paths, dark=night), key="paths", stamp=stamp)
    note(
        "Seed 0. Radius: how far the kernel is from the first one, as a share of the whole way. Angle: how far it has "
        f"turned away from it. The top are each kernel's own {e.top} leading eigenpairs."
    )

heading("Where its mass is")
mass = {r: {k: history.mass(r, k) for k in (10, 20)} for r in e.regimes}
shares, ranks = {r: history.share(r, 20) for r in e.regimes}, {r: history.rank(r) for r in e.regimes}
draw = partial(concentration, looks, mass, shares, ranks, dark=night)
figures.show("Concentration of the kernel", draw, key="concentration", stamp=stamp)
gathered = {r: history.concentration(r, 20) for r in e.regimes}
if complete:
    say(read_concentration(_named(gathered), e.epochs))
    with answer:
        say(read_claim(_named(lazy), _named(late), _named(gathered), share) or COMPARE)
else:
    answer.caption("The answer, and the sentences that compare the trainings, follow with the last epoch.")
note(bands)

heading("What it is aligned with")
special = {r: band for r in e.regimes if (band := history.specialisation(r)) is not None}
aligned = {r: history.alignment(r) for r in e.regimes}
draw = partial(alignment_along_epochs, looks, aligned, special or None, dark=night)
figures.show("Alignment with the labels", draw, key="aligned", stamp=stamp)
note(bands)

asked = at_one_epoch(figures, e, history, task, complete, stamp, night)
if complete:
    frozen_section(figures, e, history, test, chance, night)

explain(
    r"\Theta_t(x,x')=\langle\nabla_w f_{w_t}(x),\nabla_w f_{w_t}(x')\rangle,\quad "
    r"s(A,B)=\frac{\langle A,B\rangle_F}{\|A\|\|B\|},\quad v_t=1-s(\Theta_t,\Theta_{t+1})",
    next(reversed(wanted.values())),
    evolution_lines(e, share, asked),
)
downloads(
    "evolution",
    figures,
    {f"{r} velocity": speeds[r].mean for r in e.regimes} | {f"{r} distance": distances[r] for r in e.regimes},
)
