"""The section of the Evolution page about one epoch: the kernels' spectra, a way to use them, their leading features.

::

    asked = at_one_epoch(figures, moving, task, complete=True, night=False)        # the epoch; moving: a pair
"""

from dataclasses import replace
from functools import partial

import streamlit as st

from ntkcore.data import Task
from ntkcore.figures.drawing.strip import Picture, strip
from ntkcore.runs.specs import REGIME_NAMES, EpochSpec, TangentFeaturesSpec
from pages.ui.controls.checkpoint import use_checkpoint
from pages.ui.sections.beside import Pair
from pages.ui.sections.motion import InMotion
from pages.ui.shell.links import go_to
from pages.ui.shell.results import need_all
from pages.ui.shell.show import Figures, pictures
from pages.ui.shell.terms import heading, note


def at_one_epoch(figures: Figures, moving: Pair[InMotion], task: Task, complete: bool, night: bool) -> int:
    """Draw it; the epoch that is asked for."""
    e = moving.now.e
    heading("The kernel at one epoch, of seed 0")
    if not moving.now.there:
        return e.epochs
    spectra = st.container()
    a, b = st.columns([3, 1])
    words = "Epoch of the net to use, and of its features"
    asked = a.select_slider(words, list(e.looks()), e.epochs, key="look", bind="query-params")
    index = b.number_input("Test image", 0, task.m - 1, 0, key="of", bind="query-params")
    at = moving.now.last_until(asked)
    if at != asked:
        note(f"Epoch {asked} is not there yet: this is epoch {at}.")
    if moving.pinned is not None and not moving.pinned.there:
        moving = replace(moving, pinned=None)
    with spectra:
        moving.show(
            figures, "Spectra at an epoch", lambda one: one.spectra(asked), "spectra", f"{asked} {e}", apart=True
        )
    nets = {r: e.tangent(r, 0, at).checkpoint for r in e.regimes}
    there_are = need_all(nets, f"nets of epoch {at}") if complete else nets  # a net may have been deleted since
    with st.container(horizontal=True):
        for regime in there_are:
            st.button(
                f"Use this kernel: {REGIME_NAMES[regime]} training, epoch {at}",
                key=f"use-{regime}",
                icon=":material/arrow_forward:",
                on_click=_use,
                args=(nets[regime],),
                help="Spectrum, Eigenfeatures, Attack and Overview then look at this net's own tangent kernel.",
            )
    wanted = {r: TangentFeaturesSpec(tangent=e.tangent(r, 0, at), index=index) for r in e.regimes}
    rows = []
    looked = need_all(wanted, f"leading eigenfeatures after epoch {at}") if complete else {}
    for regime, artifact in looked.items():
        title = f"{REGIME_NAMES[regime]} training, epoch {at}"
        gradients = enumerate(artifact.arrays["gradients"])
        row = [Picture(task.x_test[index].numpy(), title)]
        row += [Picture(picture.numpy(), f"feature {i}", signed=True) for i, picture in gradients]
        pictures(row, width=120)
        rows += row
    if rows:
        figures["Eigenfeatures at an epoch"] = partial(strip, rows, columns=5, dark=night)
        note("Gradients of the kernel's leading eigenfeatures at this image for its true class, each on its own scale.")
    return asked


def _use(checkpoint: EpochSpec) -> None:
    use_checkpoint(checkpoint)
    go_to("pages/spectrum.py")
