"""Architectures to choose from beside the sidebar's own.

::

    experiments = comparison_controls(experiment)         # {"FC(1)": Experiment, "Conv(2)": Experiment, ...}
"""

import streamlit as st

from ntkcore.errors import NTKError
from ntkcore.runs.comparison import ARCHITECTURES, COMPARED, IMAGES, sides, small_side, with_net
from ntkcore.runs.specs import Experiment
from pages.ui.controls.control import Choice, Controls, Number, Several
from pages.ui.shell.plain import complaint

MOST = 5  # architectures: ten pairs can be told apart in a figure

COMPARISON = Controls(
    Experiment(),
    Several(
        "compared",
        "Architectures",
        "",
        list(ARCHITECTURES),
        most=MOST,
        read=lambda kernels: [str(kernel.net.build()) for kernel in kernels],
        start=COMPARED,
    ),
    Number(
        "cn",
        "Training images",
        "data.n_train",
        lambda data: min(10, data.n_train),
        lambda data: data.n_train,
        50,
        start=IMAGES,
    ),
    Number(
        "cm", "Test images", "data.n_test", lambda spec: min(5, spec.n_test), lambda spec: spec.n_test, 10, start=IMAGES
    ),
    Choice("cside", "Image side", "data.size", sides, start=small_side, absent="full"),
)


def comparison_controls(experiment: Experiment) -> dict[str, Experiment]:
    """Two to five architectures on the sidebar's data, by default fewer and smaller images; stops with a sentence."""
    chosen = COMPARISON.row((4, 1, 1, 1), "compared", "cn", "cm", "cside", of=experiment.data)
    if len(chosen["compared"]) < 2:
        st.info("Choose two to five architectures to compare.")
        st.stop()
    try:
        smaller = experiment.data.replace(**COMPARISON.fields(chosen)["data"])
        return {name: with_net(experiment.replace(data=smaller), name) for name in chosen["compared"]}
    except NTKError as error:
        st.error(complaint(error))
        st.stop()
