"""Architectures to choose from beside the sidebar's own, and the size at which the expensive ones can be compared.

::

    experiments = comparison_controls(experiment)         # {"FC(1)": Experiment, "Conv(2)": Experiment, ...}
"""

import streamlit as st

from ntkcore import data
from ntkcore.errors import NTKError
from ntkcore.runs.specs import Experiment, NetSpec
from pages.ui.controls.control import Choice, Controls, Number, Several
from pages.ui.shell.plain import complaint

ARCHITECTURES = {
    "FC(1)": NetSpec(),
    "FC(3)": NetSpec(depth=3),
    "FC(5)": NetSpec(depth=5),
    "Conv(2)": NetSpec(family="conv", depth=2),
    "Conv(4)": NetSpec(family="conv", depth=4),
    "Myrtle-5": NetSpec(family="myrtle", depth=5),
    "Myrtle-7": NetSpec(family="myrtle", depth=7),
}
COMPARED = ["FC(1)", "Conv(2)", "FC(3)", "Myrtle-5"]
MOST = 5  # architectures: ten pairs can be told apart in a figure
SMALL = 16  # pixels a side at which Myrtle kernels take seconds, not an hour


def _sides(spec: data.DataSpec) -> list[int | str]:
    """The side of the sidebar's images, and smaller ones."""
    smaller = [side for side in data.info(spec).sizes if side >= 4 and (spec.size is None or side < spec.size)]
    return [spec.size or "full", *smaller]


def _small_side(spec: data.DataSpec) -> int | str:
    """The largest side at which all architectures are quick; the sidebar's own where there is none."""
    return max((side for side in _sides(spec) if side != "full" and side <= SMALL), default=spec.size or "full")


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
        start=500,
    ),
    Number(
        "cm", "Test images", "data.n_test", lambda spec: min(5, spec.n_test), lambda spec: spec.n_test, 10, start=500
    ),
    Choice("cside", "Image side", "data.size", _sides, start=_small_side, absent="full"),
)


def with_net(experiment: Experiment, name: str) -> Experiment:
    """The experiment with another architecture; weights and activation stay the sidebar's."""
    own, other = experiment.net, ARCHITECTURES[name]
    net = own.replace(family=other.family, depth=other.depth)
    return experiment.infinite().replace(net=net)


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
