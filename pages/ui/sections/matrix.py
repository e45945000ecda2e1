"""The matrix of the Transfer page: kernels of several architectures as sources, nets of several as targets.

::

    crossed, width = matrix(figures, experiments, stories, at, "eps 8/255", dark=False)
"""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import plotly.graph_objects as go
import streamlit as st

from ntkcore.figures.attacks.transfer import transfer_matrix
from ntkcore.figures.drawing.bands import MISSING
from ntkcore.runs.comparison import ARCHITECTURES, with_net
from ntkcore.runs.specs import Experiment, NetSpec, PerturbSpec, Story, TransferSpec
from ntkcore.runs.store import Artifact
from pages.ui.sections.beside import Pair, need_all_of_both
from pages.ui.sections.transfers import statistics_of
from pages.ui.shell.show import Figures
from pages.ui.shell.terms import heading, note

Key = tuple[str, int, str]


def matrix(
    figures: Figures, experiments: Pair[Experiment], stories: Pair[Story], at: int, words: str, dark: bool
) -> tuple[dict[str, NetSpec], int]:
    """Draw the section, of both; the architectures and the nets' width."""
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
    wanted = experiments.joined(stories).map(lambda both: _transfers(*both, names, width, at))
    if wanted.pinned == wanted.now:  # it differs in what is chosen here
        wanted = replace(wanted, pinned=None)
    found = need_all_of_both(wanted, f"kernels and nets of {len(names)} architectures")
    architectures = {name: with_net(experiments.now, name).net for name in names}
    if not found.now:
        return architectures, width
    count, of = len(wanted.now), " ".join(names)
    found.show(figures, "Across architectures", lambda one: _drawn(one, names, count, dark), "across", of, apart=True)
    note(
        f"Rows: the kernel whose FGSM perturbs the images, at {words}. Columns: the net, of width {width}, one seed, "
        "that judges them; 100 % is what its own white-box FGSM takes. On hover, in brackets: 95 % over test images."
    )
    return architectures, width


def _transfers(e: Experiment, story: Story, names: list[str], width: int, at: int) -> dict[Key, TransferSpec]:
    """Every kernel's attack on every net, and each net's own; by target, seed and source."""
    experiments = {name: with_net(e.replace(data=story.kernel.data), name) for name in names}
    wanted, ball = {}, {"eps": (story.eps[at],), "norm": story.norm}
    for target, of_target in experiments.items():
        net = of_target.twin(width, 0, story.training)
        wanted[target, 0, "white_fgsm"] = TransferSpec(perturb=PerturbSpec(source=net, **ball), target=net)
        for name, of_source in experiments.items():
            source = of_source.kernel_model(story.training.descent)
            wanted[target, 0, name] = TransferSpec(perturb=PerturbSpec(source=source, **ball), target=net)
    return wanted


def _drawn(found: Mapping[Key, Artifact], names: list[str], wanted: int, dark: bool) -> go.Figure:
    """What each kernel's attack takes of each net's accuracy."""
    line = statistics_of(found)
    bands = [[line.recovered(target, name, 0) for target in names] for name in names]
    values, low, high = (
        np.array([[getattr(band, end)[0] for band in row] for row in bands]) for end in ("mean", "low", "high")
    )
    return transfer_matrix(
        [f"{name} kernel" for name in names],
        [f"{name} net" for name in names],
        values,
        value_name="share of white-box FGSM's drop",
        reach=(low, high),
        empty=MISSING if len(found) < wanted else "white-box FGSM takes nothing there",
        dark=dark,
    )
