"""The matrix of the Transfer page: kernels of several architectures as sources, nets of several as targets.

::

    crossed, width = matrix(figures, experiment, story, at, "eps 8/255", dark=False)
"""

import numpy as np
import streamlit as st

from ntkcore.figures.attacks.transfer import transfer_matrix
from ntkcore.figures.drawing.bands import MISSING
from ntkcore.runs.comparison import ARCHITECTURES, with_net
from ntkcore.runs.specs import Experiment, NetSpec, PerturbSpec, Story, TransferSpec
from pages.ui.sections.transfers import statistics_of
from pages.ui.shell.results import need_all
from pages.ui.shell.show import Figures
from pages.ui.shell.terms import heading, note


def matrix(
    figures: Figures, experiment: Experiment, story: Story, at: int, words: str, dark: bool
) -> tuple[dict[str, NetSpec], int]:
    """Draw the section; the architectures and the nets' width."""
    heading("Across architectures")
    left, right = st.columns([3, 1])
    names = left.multiselect(
        "Architectures, as kernels and as nets",
        list(ARCHITECTURES),
        key="architectures",
        bind="query-params",
        placeholder="choose two or more",
        max_selections=6,
    )
    width = right.number_input("Width of the nets", 8, 4096, 128, key="mwidth", bind="query-params")
    if len(names) < 2:
        note("Choose two or more architectures: each one's kernel attacks each one's nets.")
        return {}, width
    experiments = {name: with_net(experiment, name) for name in names}
    nets = {name: e.twin(width, 0, story.training) for name, e in experiments.items()}
    eps = (story.eps[at],)
    wanted = {}
    for target, net in nets.items():
        white = PerturbSpec(source=net, eps=eps, norm=story.norm)
        wanted[target, 0, "white_fgsm"] = TransferSpec(perturb=white, target=net)
        for name, e in experiments.items():
            source = e.kernel_model(story.training.descent)
            perturb = PerturbSpec(source=source, eps=eps, norm=story.norm)
            wanted[target, 0, name] = TransferSpec(perturb=perturb, target=net)
    found = need_all(wanted, f"kernels and nets of {len(names)} architectures")
    line = statistics_of(found)
    architectures = {name: e.net for name, e in experiments.items()}
    if not found:
        return architectures, width
    bands = [[line.recovered(target, name, 0) for target in names] for name in names]
    values, low, high = (
        np.array([[getattr(band, end)[0] for band in row] for row in bands]) for end in ("mean", "low", "high")
    )
    figure = transfer_matrix(
        [f"{name} kernel" for name in names],
        [f"{name} net" for name in names],
        values,
        value_name="share of white-box FGSM's drop",
        reach=(low, high),
        empty=MISSING if len(found) < len(wanted) else "white-box FGSM takes nothing there",
        dark=dark,
    )
    figures.show("Across architectures", figure, key="across")
    note(
        f"Rows: the kernel whose FGSM perturbs the images, at {words}. Columns: the net, of width {width}, one seed, "
        "that judges them; 100 % is what its own white-box FGSM takes. On hover, in brackets: 95 % over test images."
    )
    return architectures, width
