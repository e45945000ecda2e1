"""Architectures to choose from beside the sidebar's own, and the size at which the expensive ones can be compared.

::

    experiments = comparison_controls(experiment)         # {"FC(1)": Experiment, "Conv(2)": Experiment, ...}
"""

import streamlit as st

from ntkcore import data
from ntkcore.errors import NTKError
from ntkcore.runs.specs import Experiment, NetSpec
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
COMPARED = ("FC(1)", "Conv(2)", "FC(3)", "Myrtle-5")
MOST = 5  # architectures: ten pairs can be told apart in a figure
SMALL = 16  # pixels a side at which Myrtle kernels take seconds, not an hour


def with_net(experiment: Experiment, name: str) -> Experiment:
    """The experiment with another architecture; weights and activation stay the sidebar's."""
    own, other = experiment.net, ARCHITECTURES[name]
    net = own.replace(family=other.family, depth=other.depth)
    return experiment.infinite().replace(net=net)


def comparison_controls(experiment: Experiment) -> dict[str, Experiment]:
    """Two to five architectures on the sidebar's data, by default fewer and smaller images; stops with a sentence."""
    a, b, c, d = st.columns([4, 1, 1, 1])
    names = a.multiselect(
        "Architectures",
        list(ARCHITECTURES),
        default=list(COMPARED),
        key="compared",
        bind="query-params",
        max_selections=MOST,
    )
    spec = experiment.data
    n = b.number_input(
        "Training images",
        min(10, spec.n_train),
        spec.n_train,
        min(500, spec.n_train),
        50,
        key="cn",
        bind="query-params",
    )
    m = c.number_input(
        "Test images", min(5, spec.n_test), spec.n_test, min(500, spec.n_test), 10, key="cm", bind="query-params"
    )
    sizes = [side for side in data.info(spec).sizes if side >= 4 and (spec.size is None or side <= spec.size)]
    full = spec.size or "full"
    options = [full, *(side for side in sizes if side != spec.size)]
    small = next((side for side in sorted(sizes, reverse=True) if side <= SMALL), full)
    size = d.selectbox("Image side", options, index=options.index(small), key="cside", bind="query-params")
    if len(names) < 2:
        st.info("Choose two to five architectures to compare.")
        st.stop()
    try:
        smaller = spec.replace(n_train=n, n_test=m, size=None if size == "full" else size)
        return {name: with_net(experiment.replace(data=smaller), name) for name in names}
    except NTKError as error:
        st.error(complaint(error))
        st.stop()
