"""The tangent kernel of a net while it trains, on clean and on attacked images: how it moves, where its mass goes."""

from collections.abc import Callable, Mapping
from typing import Any

import plotly.graph_objects as go
import streamlit as st

from ntkcore.analysis.evolution.motion import THRESHOLDS
from ntkcore.readings.evolution import (
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
from pages.ui.sections.beside import beside, need_all_of_both, table
from pages.ui.sections.frozen import frozen_section
from pages.ui.sections.motion import TOP, InMotion, measures
from pages.ui.sections.samples import task_of
from pages.ui.shell.page import page
from pages.ui.shell.present import folded, headline, presenting
from pages.ui.shell.results import latest
from pages.ui.shell.show import Figures, dark, downloads, explain
from pages.ui.shell.terms import heading, note, say

COMPARE = "Choose standard training and an adversarial one to have them compared."


def _in_words(both: tuple[Experiment, Evolution]) -> str:
    """The images and the nets in training."""
    return f"{both[0].in_words(kernel=False)}; {both[1].in_words()}"


def _named(values: Mapping[str, Any]) -> dict[str, Any]:
    """By the names that sentences have for the trainings."""
    return {NAMES[regime]: value for regime, value in values.items()}


question = "How does a net's own tangent kernel move in training, and does adversarial training slow it?"
task_of(experiment := page("Evolution", question, True, words=lambda e: e.in_words(kernel=False)))
with folded():
    e = evolution_controls(experiment)
what = f"nets in training ({e.in_words()})"
experiment, e = latest("evolution", (experiment, e), lambda these: these[1].wanted(), what, _in_words, one_by_one=True)
task, night, figures = task_of(experiment), dark(), Figures()
experiments = beside(experiment, e.about)
trainings = experiments.map(e.about)
wanted = trainings.now.wanted()
found = need_all_of_both(trainings.map(Evolution.wanted), what)
moving = found.joined(trainings).map(lambda one: InMotion(*one, found.pinned is None, night))
history = moving.now.history
complete = len(found.now) == len(wanted)
if not found.now:
    note("No epoch is there yet; curves grow as the nets train.")
    st.stop()
answer = headline()
bands = f"Lines: mean of {e.seeds} seeds; bands: lowest to highest of them. " if e.seeds > 1 else ""
means = f", mean of {e.seeds} seeds" if e.seeds > 1 else ""


def _show(title: str, draw: Callable[[InMotion], go.Figure], key: str, of: str = "") -> None:
    """A figure of both; of: what it depends on besides the trainings."""
    moving.show(figures, title, draw, key, f"{of} {e} {moving.pinned is None} {presenting()}")


heading("Accuracy while training")
if found.pinned is None and not any(part == "score" for *_, part in history.found):
    note("Not computed yet: the figure comes with the first epoch's accuracy.")
else:
    _show("Accuracy along training", InMotion.accuracies, key="accuracies")
    if complete:
        right = {NAMES[r]: tuple(history.right(r, "test", kind) for kind in ("clean", "pgd")) for r in e.regimes}
        say(read_accuracy(right, str(e.pgd).split(",")[0]))
    behind = f"; dotted: on the first {min(e.judged, task.n)} training images" if moving.pinned is None else ""
    note(f"{bands}On the first {e.judging} of {task.m} test images{behind}. Attacks: {e.fgsm}; {e.pgd}.")

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
lazy = moving.now.each(lambda r: history.lazy(r, share))
late = moving.now.each(history.late)
left, right_side = st.columns(2, gap="large")
with left:
    _show("Velocity of the kernel", lambda one: one.velocity(share), key="velocity", of=f"{share}")
    if complete:
        say(read_lazy(_named(lazy), share, e.epochs))
        say(read_late_velocity(_named(late)))
with right_side:
    _show("Lazy by threshold", lambda one: one.thresholds(share), key="thresholds", of=f"{share}")
    if complete:
        along = moving.now.each(lambda r: history.lazy_along(r, THRESHOLDS))
        say(read_thresholds(_named(along), THRESHOLDS))
note(f"{bands}A seed's lazy epoch is one number, read off one curve.")
if complete and found.pinned is not None and len(found.pinned) == len(wanted):
    one, other = trainings.both
    same = {"same_seeds": (one.net, one.data) == (other.net, other.data), "first": lambda shown: shown.judging}
    table(experiments, moving, measures(e, share), page="evolution", **same)

heading("Where it goes")
left, right_side = st.columns(2, gap="large")
with left:
    _show("Distances of the kernels", InMotion.distances, key="distances")
    note(f"Distance 1 − s of the kernels of any two epochs, s their cosine{means}: 0 is the same up to scale.")
with right_side:
    _show("Path of the kernel", InMotion.paths, key="paths")
    note(
        "Seed 0. Radius: how far the kernel is from the first one, as a share of the whole way. Angle: how far it has "
        f"turned away from it. The top are each kernel's own {e.top} leading eigenpairs."
    )

heading("Where its mass is")
_show("Concentration of the kernel", InMotion.concentration, key="concentration")
gathered = moving.now.each(lambda r: history.concentration(r, TOP))
if complete:
    say(read_concentration(_named(gathered), e.epochs))
    with answer:
        say(read_claim(_named(lazy), _named(late), _named(gathered), share) or COMPARE)
else:
    answer.caption("The answer, and the sentences that compare the trainings, follow with the last epoch.")
note(bands)

heading("What it is aligned with")
_show("Alignment with the labels", InMotion.aligned, key="aligned")
note(bands)

asked = at_one_epoch(figures, moving, task, complete, night)
if complete:
    frozen_section(figures, moving, night)

explain(
    "evolution",
    r"\Theta_t(x,x')=\langle\nabla_w f_{w_t}(x),\nabla_w f_{w_t}(x')\rangle,\quad "
    r"s(A,B)=\frac{\langle A,B\rangle_F}{\|A\|\|B\|},\quad v_t=1-s(\Theta_t,\Theta_{t+1})",
    next(reversed(wanted.values())),
    lambda: evolution_lines(e, share, asked),
)
downloads(
    "evolution",
    figures,
    {f"{r} velocity": history.velocity(r).mean for r in e.regimes}
    | {f"{r} distance": history.distance(r) for r in e.regimes},
)
