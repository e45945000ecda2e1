"""The kernel's spectrum: eigenvalues, label energy, learning times, the kernel itself, two eigenvectors."""

from functools import partial

import streamlit as st

from ntkcore.analysis.spectrum import effective_rank
from ntkcore.figures.drawing.strip import Picture
from ntkcore.figures.kernel import kernel_heatmap
from ntkcore.figures.spectrum import cumulative, eigenvalues, eigenvectors, learned_modes
from ntkcore.readings.kernel import read_spectrum
from ntkcore.runs.specs import Experiment
from pages.ui.code import spectrum_lines
from pages.ui.sections.samples import task_of
from pages.ui.shell.page import page
from pages.ui.shell.results import latest, need
from pages.ui.shell.show import Figures, dark, downloads, explain, pictures
from pages.ui.shell.terms import explained, heading, note, say

experiment = page(
    "Spectrum",
    "Which directions does the kernel learn first, and where do the labels lie?",
    words=lambda e: e.kernel().in_words(),
)
task_of(experiment)
what = "kernel, eigenvalues and eigenvectors"
experiment = latest("spectrum", experiment, lambda e: {"spectrum": e.spectrum()}, what, Experiment.in_words)
task = task_of(experiment)
result = need(experiment.spectrum(), what)
if result is None:
    st.stop()
values, energy = result.arrays["values"].numpy(), result.arrays["label_energy"].numpy()
vectors = result.arrays["vectors"].numpy()
night = dark()
figures = Figures()

left, right = st.columns(2, gap="large")
with left:
    heading("Eigenvalues and the labels' energy on each")
    figures.show("Eigenvalues", eigenvalues(values, energy, dark=night), key="eigenvalues")
with right:
    heading("How fast both add up")
    rank = effective_rank(result.arrays["values"])
    figures.show("Cumulative mass", cumulative(values, energy, effective_rank=rank, dark=night), key="cumulative")
say(read_spectrum(result.arrays["values"], energy))

heading("What has been learned by time t")
power = st.slider(
    "Training time t, as a power of ten",
    -5.0,
    5.0,
    0.0,
    0.1,
    key="t",
    bind="query-params",
    help=explained("training time", first=False),
)
figures.show("Learned modes", learned_modes(values, 10**power, dark=night), key="learned")

left, right = st.columns(2, gap="large")
with left:
    heading("The kernel between training images")
    kernel = need(experiment.kernel(), "the kernel")
    if kernel is not None:
        K, labels = kernel.arrays["K"].numpy(), task.labels_train.numpy()
        figures.show("Kernel", kernel_heatmap(K, labels, task.classes, dark=night), key="heatmap")
with right:
    heading("Two eigenvectors against each other")
    one, two = st.columns(2)
    last = len(values) - 1
    i = one.number_input("Eigenvector across", 0, last, min(1, last), key="vi", bind="query-params")
    j = two.number_input("Eigenvector up", 0, last, min(2, last), key="vj", bind="query-params")

    picked = st.session_state.get("eigenvector_image")
    picked = picked if picked is not None and picked < task.n else None
    figure = eigenvectors(
        vectors[:, i], vectors[:, j], task.labels_train.numpy(), task.classes, i=i, j=j, selected=picked, dark=night
    )
    picks = partial(setattr, st.session_state, "eigenvector_image")
    figures.show("Eigenvectors", figure, key="eigenvectors", on_click=picks)
    if picked is None:
        note("Click a dot to see its image.")
    else:
        title = f"training image {picked}: {task.classes[int(task.labels_train[picked])]}"
        pictures([Picture(task.x_train[picked].numpy(), title)])

explain(
    r"K=\sum_i\lambda_i v_iv_i^\top,\qquad \text{energy}_i=\frac{|v_i^\top Y|^2}{|Y|^2},"
    r"\qquad f_t=\sum_i(1-e^{-t\lambda_i})\,f^{(i)}",
    experiment.kernel(),
    spectrum_lines(experiment, 10**power, (i, j)),
)
downloads("spectrum", figures, {"values": values, "label_energy": energy, "vectors": vectors})
