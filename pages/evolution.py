"""The tangent kernel of a net while it trains, on clean and on attacked images: how it moves, where its mass goes."""

from functools import partial

import numpy as np
import streamlit as st

from ntkcore.analysis.readings_evolution import (
    read_accuracy,
    read_concentration,
    read_late_velocity,
    read_lazy,
)
from ntkcore.figures.evolution import accuracy_along_epochs
from ntkcore.figures.kernel_concentration import alignment_along_epochs, concentration, spectra_at_epoch
from ntkcore.figures.kernel_motion import kernel_distances, kernel_velocity, polar_paths
from ntkcore.figures.strip import Picture, strip
from ntkcore.runs.specs import REGIME_NAMES as NAMES
from ntkcore.runs.specs import EpochSpec, GlimpseSpec
from pages.ui.checkpoints import use_checkpoint
from pages.ui.code import evolution_lines
from pages.ui.evolutions import evolution_controls, histories, in_words
from pages.ui.frozen import frozen_section
from pages.ui.navigation import go_to
from pages.ui.page import page
from pages.ui.results import latest, need_all
from pages.ui.samples import task_of
from pages.ui.show import chart, dark, downloads, drawn_once, explain, pictures

question = "How does a net's own tangent kernel move in training, and does attacking it calm it?"
task_of(experiment := page("Evolution", question, True))
e = evolution_controls(experiment)


def _use(checkpoint: EpochSpec) -> None:
    use_checkpoint(checkpoint)
    go_to("pages/spectrum.py")


what = f"nets in training ({e.in_words()})"
both = experiment, e
experiment, e = latest("evolution", both, lambda these: these[1].wanted(), what, in_words, one_by_one=True)
task, night, figures = task_of(experiment), dark(), {}
wanted = e.wanted()
found = need_all(wanted, what)
history, complete = histories(found, e), len(found) == len(wanted)
epochs, looks = np.arange(e.epochs + 1), np.array(e.looks())
chance = max(np.bincount(task.labels_test.numpy())) / task.m
if not found:
    st.caption("No epoch is there yet; curves grow as the nets train.")
    st.stop()
stamp = f"{[artifact.key for artifact in found.values()]} {e} {night}"  # of figures: all that they show
seeds = f"Bands: lowest to highest of {e.seeds} seeds. " if e.seeds > 1 else ""

st.subheader("Accuracy while training", anchor=False)
kinds = ("clean", "fgsm", "pgd")
test = {regime: {kind: history.accuracy(regime, "test", kind) for kind in kinds} for regime in e.regimes}
train = {regime: {kind: history.accuracy(regime, "train", kind) for kind in kinds} for regime in e.regimes}
figures["Accuracy along training"] = drawn_once(
    f"accuracy {stamp}",
    lambda: accuracy_along_epochs(epochs, test, train=train, chance=float(chance), dark=night),
)
chart(figures["Accuracy along training"], "accuracy-along-training", key="accuracies")
last = {r: history.reached(r) for r in e.regimes}
now = {
    NAMES[r]: (float(test[r]["clean"].mean[t]), float(test[r]["pgd"].mean[t])) for r, t in last.items() if t is not None
}
if complete:
    st.markdown(read_accuracy(now, str(e.pgd).split(",")[0]))
else:
    st.caption("Nets are training: sentences that compare them follow when all epochs are there.")
st.caption(f"{seeds}Dotted: on the first {min(e.judged, task.n)} training images. Attacks: {e.fgsm}; {e.pgd}.")

st.subheader("How far the kernel moves", anchor=False)
share = st.slider(
    "A kernel is called lazy once its velocity stays below this share of the first",
    0.01,
    0.5,
    0.1,
    0.01,
    key="share",
    bind="query-params",
)
lazy = {r: history.lazy(r, share) for r in e.regimes}
middle = {
    r: sorted(found_at)[(len(found_at) - 1) // 2] for r, found_at in lazy.items() if found_at and None not in found_at
}
left, right = st.columns(2, gap="large")
with left:
    figures["Distances of the kernels"] = drawn_once(
        f"distances {stamp}",
        lambda: kernel_distances(looks, {r: history.distance(r) for r in e.regimes}, columns=2, dark=night),
    )
    chart(figures["Distances of the kernels"], "kernel-distances", key="distances")
    st.caption("Distance 1 − s of the kernels of any two epochs, s their cosine: 0 is the same up to scale.")
with right:
    speeds = {r: history.velocity(r) for r in e.regimes}
    figures["Velocity of the kernel"] = drawn_once(
        f"velocity {share} {stamp}",
        lambda: kernel_velocity(looks, speeds, lazy=middle, share=share, dark=night),
    )
    chart(figures["Velocity of the kernel"], "kernel-velocity", key="velocity")
    done = {NAMES[r]: steps for r, steps in lazy.items() if steps}
    if done and complete:
        st.markdown(read_lazy(done, share, e.epochs))
        st.markdown(read_late_velocity({NAMES[r]: history.late(r) for r in e.regimes if NAMES[r] in done}))

st.subheader("Where it goes", anchor=False)
parts = {"whole kernel": "whole kernel", f"top {e.top}": "top", "the rest": "bottom"}
paths = {title: {r: history.path(r, part) for r in e.regimes} for title, part in parts.items()}
figures["Path of the kernel"] = drawn_once(f"path {stamp}", lambda: polar_paths(looks, paths, dark=night))
chart(figures["Path of the kernel"], "kernel-path", key="paths")
st.caption(
    "Seed 0. Radius: how far the kernel is from the first one, as a share of the whole way. Angle: how far it has "
    f"turned away from it. The top are each kernel's own {e.top} leading eigenpairs."
)

st.subheader("Where its mass is", anchor=False)
mass = {r: {k: history.mass(r, k) for k in (10, 20)} for r in e.regimes}
shares, ranks = {r: history.share(r, 20) for r in e.regimes}, {r: history.rank(r) for r in e.regimes}
figures["Concentration of the kernel"] = drawn_once(
    f"concentration {stamp}", lambda: concentration(looks, mass, shares, ranks, dark=night)
)
chart(figures["Concentration of the kernel"], "concentration", key="concentration")
settled = {NAMES[r]: c for r in e.regimes if (c := history.concentration(r, 20)) is not None}
if settled and complete:
    st.markdown(read_concentration(settled, max((t for t in last.values() if t is not None), default=0)))

st.subheader("What it is aligned with", anchor=False)
special = {r: band for r in e.regimes if (band := history.specialisation(r)) is not None}
aligned = {r: history.alignment(r) for r in e.regimes}
figures["Alignment with the labels"] = drawn_once(
    f"alignment {stamp}", lambda: alignment_along_epochs(looks, aligned, special or None, dark=night)
)
chart(figures["Alignment with the labels"], "alignment-with-labels", key="aligned")

st.subheader("The kernel at one epoch", anchor=False)
there = [int(t) for t in looks if all(history.values(r, int(t)) is not None for r in e.regimes)]
asked = e.epochs
if there:
    a, b = st.columns([3, 1])
    asked = a.select_slider("Epoch", looks.tolist(), e.epochs, key="look", bind="query-params")
    index = b.number_input("Test image", 0, task.m - 1, 0, key="of", bind="query-params")
    at = max((t for t in there if t <= asked), default=there[0])
    if at != asked:
        st.caption(f"Epoch {asked} is not there yet: this is epoch {at}.")
    figures["Spectra at an epoch"] = drawn_once(
        f"spectra {at} {stamp}",
        lambda: spectra_at_epoch(
            {r: history.values(r, at) for r in e.regimes},
            at,
            first={r: history.values(r, 0) for r in e.regimes},
            dark=night,
        ),
    )
    chart(figures["Spectra at an epoch"], "spectra-at-an-epoch", key="spectra")
    nets = {r: e.tangent(r, 0, at).checkpoint for r in e.regimes}
    there_are = need_all(nets, f"nets of epoch {at}") if complete else nets  # a net may have been deleted since
    with st.container(horizontal=True):
        for regime in there_are:
            st.button(
                f"Use this kernel: {NAMES[regime]} training, epoch {at}",
                key=f"use-{regime}",
                icon=":material/arrow_forward:",
                on_click=_use,
                args=(nets[regime],),
                help="Spectrum, Eigenfeatures, Attack and Overview then look at this net's own tangent kernel.",
            )
    glimpses = {r: GlimpseSpec(tangent=e.tangent(r, 0, at), index=index) for r in e.regimes}
    rows = []
    looked = need_all(glimpses, f"leading eigenfeatures after epoch {at}") if complete else {}
    for regime, artifact in looked.items():
        title = f"{NAMES[regime]} training, epoch {at}"
        row = [Picture(task.x_test[index].numpy(), title)]
        row += [
            Picture(picture.numpy(), f"feature {i}", signed=True)
            for i, picture in enumerate(artifact.arrays["gradients"])
        ]
        pictures(row, width=120)
        rows += row
    if rows:
        figures["Eigenfeatures at an epoch"] = partial(strip, rows, columns=5, dark=night)
        st.caption(
            "Gradients of the kernel's leading eigenfeatures at this image for its true class, each on its own scale."
        )

if complete:
    figures |= frozen_section(e, history, test, float(chance), night)

explain(
    r"\Theta_t(x,x')=\langle\nabla_w f_{w_t}(x),\nabla_w f_{w_t}(x')\rangle,\quad "
    r"s(A,B)=\frac{\langle A,B\rangle_F}{\|A\|\|B\|},\quad v_t=1-s(\Theta_t,\Theta_{t+1})",
    next(reversed(wanted.values())),
    evolution_lines(e, share, asked),
)
downloads(
    "evolution",
    figures,
    {f"{r} velocity": speeds[r].mean for r in e.regimes} | {f"{r} distance": history.distance(r) for r in e.regimes},
)
