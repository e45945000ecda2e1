"""The section of the Consistency page about two architectures: their eigenvectors, features matched one to one, and one
image through them.

::

    cosine = one_pair(figures, experiments, found, pair="FC(1) and Conv(2)")        # both pairs; [k, images], or None
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property, partial

import numpy as np
import plotly.graph_objects as go
import streamlit as st

from ntkcore.analysis.consistency.similarity import Match, matched_gradient_cosine, name_pairs
from ntkcore.figures.consistency import matched_features, vector_overlap_heatmap
from ntkcore.figures.drawing.strip import Picture, strip
from ntkcore.readings.consistency import read_matched
from ntkcore.runs.comparison import few
from ntkcore.runs.specs import Experiment, GradientsSpec
from ntkcore.runs.store import Artifact
from pages.ui.sections.beside import Pair, need_all_of_both
from pages.ui.shell.plain import plain
from pages.ui.shell.services import load_task
from pages.ui.shell.show import Figures, dark, pictures
from pages.ui.shell.terms import heading, note, say

SHOWN = 6  # leading features whose pictures stand side by side


@dataclass(frozen=True, eq=False)
class Two:
    """Two architectures on the images of one experiment: the comparison that they are in, and their number in it."""

    experiments: Mapping[str, Experiment]
    comparison: Artifact
    pair: str

    @cached_property
    def place(self) -> tuple[int, str, str]:
        """The number of the pair, and both names."""
        names = list(self.experiments)
        return next((k, names[i], names[j]) for k, (pair, i, j) in enumerate(name_pairs(names)) if pair == self.pair)

    @property
    def names(self) -> tuple[str, str]:
        return self.place[1:]

    @property
    def images(self) -> int:
        """How many training images the kernels are of."""
        return self.experiments[self.names[0]].data.n_train

    @property
    def match(self) -> Match:
        return Match(*(self.comparison.arrays[name][self.place[0]] for name in ("partner", "product")))

    @property
    def wanted(self) -> dict[str, GradientsSpec]:
        return {name: few(self.experiments[name]).gradients() for name in self.names}

    def eigenvectors(self) -> go.Figure:
        vectors = self.comparison.arrays["vectors"][self.place[0]].numpy()
        return vector_overlap_heatmap(vectors, *self.names, dark=dark())


@dataclass(frozen=True, eq=False)
class Matched:
    """Two of them with the gradients of their features."""

    gradients: Mapping[str, Artifact]
    of: Two

    @cached_property
    def cosine(self) -> np.ndarray | None:
        """Of the gradients of features and their partners, [k, images]; None while they are not there."""
        both = [artifact.arrays["gradients"] for artifact in self.gradients.values()]
        return matched_gradient_cosine(*both, self.of.match).numpy() if len(both) == 2 else None

    def features(self) -> go.Figure:
        return matched_features(self.of.match, self.cosine, n=self.of.images, dark=dark())


def one_pair(
    figures: Figures, experiments: Pair[Mapping[str, Experiment]], found: Pair[Artifact], pair: str
) -> np.ndarray | None:
    """Draw it, of both; the cosines of the current one's matched features."""
    two = found.joined(experiments).map(lambda one: Two(one[1], one[0], pair))
    wanted = two.map(lambda one: one.wanted)
    gradients = need_all_of_both(wanted, f"gradients of features of {pair}")
    matched = gradients.joined(two).map(lambda one: Matched(*one))
    if matched.pinned is not None and matched.pinned.cosine is None:
        matched = replace(matched, pinned=None)
    left, right = st.columns(2, gap="large")
    with left:
        two.show(figures, "Eigenvectors of a pair", Two.eigenvectors, "pair-vectors", of=pair, apart=True)
    if matched.now.cosine is None:
        return None
    now, names = matched.now, two.now.names
    with right:
        matched.show(figures, "Matched features", Matched.features, "matched", of=pair, apart=True)
        say(read_matched(*names, two.now.match, now.cosine, two.now.images))
    heading("The same image through matched features")
    _through(figures, now)
    return now.cosine


def _through(figures: Figures, matched: Matched) -> None:
    """One test image through the largest features of one, and through their partners."""
    (one, two), match = matched.of.names, matched.of.match
    task = load_task(matched.of.experiments[one].data)
    gradients = [artifact.arrays["gradients"] for artifact in matched.gradients.values()]
    index = st.number_input("Test image", 0, gradients[0].shape[1] - 1, 0, key="of-image", bind="query-params")
    rows, leading = [], range(min(SHOWN, len(match.partner)))
    of_two = [(int(match.partner[i]), 1 if match.product[i] >= 0 else -1) for i in leading]
    for name, g, shown in zip((one, two), gradients, ([(i, 1) for i in leading], of_two), strict=True):
        row = [Picture(sign * g[i, index].numpy(), f"feature {i}", signed=True) for i, sign in shown]
        rows += [Picture(task.x_test[index].numpy(), name), *row]
        pictures(rows[-len(row) - 1 :], width=120)
    figures["Matched features as pictures"] = partial(strip, rows, columns=len(leading) + 1, dark=dark())
    label = plain(task.classes[int(task.labels_test[index])])
    note(
        f"Test image {index}, a {label}: gradients of the largest features of {one}, below each its partner's, "
        "turned the way in which both agree on the training images: an eigenvector's sign is free. Each on its own "
        "scale. Red pixels, made brighter, raise the feature; blue ones lower it."
    )
