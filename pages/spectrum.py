"""The kernel's spectrum: eigenvalues, label energy, learning times, the kernel itself, two eigenvectors."""

from functools import partial

import streamlit as st

from ntkcore.analysis.spectrum import effective_rank
from ntkcore.figures.drawing.strip import Picture
from ntkcore.figures.spectrum import (
    MOST_DOTS,
    cumulative,
    eigenvalues,
    eigenvectors,
    modes_along_time,
    times_of_learning,
)
from ntkcore.readings.kernel import read_spectrum
from ntkcore.runs import stages
from ntkcore.runs.specs import Experiment
from pages.ui.code import spectrum_lines
from pages.ui.sections.beside import beside, need_both, table
from pages.ui.sections.run_figures import kernel_picture, picture_spec
from pages.ui.sections.samples import task_of
from pages.ui.shell.page import page
from pages.ui.shell.results import latest
from pages.ui.shell.show import Figures, dark, downloads, explain, pictures
from pages.ui.shell.terms import answer, heading, note

RANK = {"Effective rank": lambda a: effective_rank(a["values"])}
MEASURES = {  # of the training images: no interval over test images
    "Share of the eigenvalues' sum in the 10 largest": lambda a: float(a["values"][:10].sum() / _sum(a)),
    "Share of the label energy on the 10 largest": lambda a: float(a["label_energy"][:10].sum()),
}


def _sum(arrays) -> float:
    """Of all eigenvalues."""
    return float(arrays["trace"] if "trace" in arrays else arrays["values"].clamp(min=0).sum())


experiment = page(
    "Spectrum",
    "Which directions does the kernel learn first, and where do the labels lie?",
    words=lambda e: e.spectrum().in_words(),
)
task_of(experiment)
what = "kernel, eigenvalues and eigenvectors"
experiment = latest("spectrum", experiment, lambda e: {"spectrum": e.spectrum()}, what, Experiment.in_words)
task = task_of(experiment)
experiments = beside(experiment, Experiment.spectrum)
found = need_both(experiments, Experiment.spectrum, what)
if found is None:
    st.stop()
both = found.map(lambda artifact: artifact.arrays)
values, energy, vectors = (both.now[name].numpy() for name in ("values", "label_energy", "vectors"))
night = dark()
figures = Figures()

with st.container(key="answer-below"):
    left, right = st.columns(2, gap="large")
    below = st.container()
with left:
    heading("Eigenvalues and the labels' energy on each")
    both.show(
        figures, "Eigenvalues", lambda a: eigenvalues(a["values"], a["label_energy"], dark=night), key="eigenvalues"
    )
with right:
    heading("How fast both add up")
    both.show(
        figures,
        "Cumulative mass",
        lambda a: cumulative(
            a["values"],
            a["label_energy"],
            effective_rank=None if "trace" in a else effective_rank(a["values"]),
            trace=_sum(a),
            dark=night,
        ),
        key="cumulative",
    )
with below:
    answer(read_spectrum(stages.read_spectrum(found.now), energy))
table(experiments, both, MEASURES | ({} if any("trace" in a for a in both.both) else RANK))

heading("What has been learned by time t")
both.show(figures, "Learned modes", lambda a: modes_along_time(a["values"], dark=night), key="learned")
note("Below the dashed line are the modes of which more than 63 % is learned at that training time.")

left, right = st.columns(2, gap="large")
with left:
    heading("The kernel between training images")
    kernels = need_both(experiments, picture_spec, "the kernel")
    if kernels is not None:
        kernels.joined(experiments.map(task_of)).show(
            figures, "Kernel", lambda k: kernel_picture(*k, dark=night), key="heatmap"
        )
with right:
    heading("Two eigenvectors against each other")
    one, two = st.columns(2)
    last = len(values) - 1
    i = one.number_input("Eigenvector across", 0, last, min(1, last), key="vi", bind="query-params")
    j = two.number_input("Eigenvector up", 0, last, min(2, last), key="vj", bind="query-params")

    picked = st.session_state.get("eigenvector_image")
    picked = picked if picked is not None and picked < task.n else None
    both.joined(experiments.map(task_of)).show(
        figures,
        "Eigenvectors",
        lambda a: eigenvectors(
            a[0]["vectors"][:, min(i, a[1].n - 1)],
            a[0]["vectors"][:, min(j, a[1].n - 1)],
            a[1].labels_train,
            a[1].classes,
            i=i,
            j=j,
            selected=None if picked is None or picked >= a[1].n else picked,
            dark=night,
        ),
        key="eigenvectors",
        of=f"{i} {j} {picked}",
        on_click=partial(setattr, st.session_state, "eigenvector_image"),
        apart=True,
    )
    if picked is None:
        few = f" Of {task.n:,} images, one in {-(-task.n // MOST_DOTS)} is drawn." if task.n > MOST_DOTS else ""
        note(f"Click a dot to see its image.{few}")
    else:
        title = f"training image {picked}: {task.classes[int(task.labels_train[picked])]}"
        pictures([Picture(task.x_train[picked].numpy(), title)])

times, at = times_of_learning(values)
explain(
    "spectrum",
    r"K=\sum_i\lambda_i v_iv_i^\top,\qquad \text{energy}_i=\frac{|v_i^\top Y|^2}{|Y|^2},"
    r"\qquad f_t=\sum_i(1-e^{-t\lambda_i})\,f^{(i)}",
    experiment.spectrum(),
    lambda: spectrum_lines(experiment, float(times[at]), (i, j)),
)
downloads("spectrum", figures, {"values": values, "label_energy": energy, "vectors": vectors})
