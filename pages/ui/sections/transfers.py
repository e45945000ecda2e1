"""The Transfer page's results together: what they are compared with, its figures, the table of every net's accuracies.

::

    told = found.joined(stories).map(lambda one: Transfers(*one, at=3, alone=True, night=False))
    told.show(figures, "Along the width", Transfers.along_width, key="along-width")
    rows, reach = accuracies(told.now.line, at=3)
    st.dataframe(rows, column_config=percent_columns(told.now.line))
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import plotly.graph_objects as go
import streamlit as st

from ntkcore.analysis.attacks.transfer_statistics import TransferStatistics, mean_cosines
from ntkcore.analysis.features.eigenfeatures import majority_share
from ntkcore.analysis.intervals import Band
from ntkcore.figures.attacks.attack import contact_sheet
from ntkcore.figures.attacks.training import BY_SGD, cosine_along_training, training_curves
from ntkcore.figures.attacks.transfer import accuracy_along_eps, strength_along_width
from ntkcore.figures.drawing.palette import SOURCES
from ntkcore.readings.differences import Estimate, Measured
from ntkcore.runs.specs import Story
from ntkcore.runs.store import Artifact
from pages.ui.sections.beside import Pair
from pages.ui.shell.services import NumpyArrays, load_task, stored
from pages.ui.shell.show import Figures, OnClick
from pages.ui.shell.terms import note

SHOWN = 48  # images of the gallery
WORST = "worst of all"
WHITE = ("white_fgsm", "white_pgd")
BESIDE = ("white_fgsm", "kernel_fgsm", "other_seed")  # sources whose lines need no dash of their own


@dataclass(frozen=True, eq=False)
class Transfers:
    """A story and those of its transfers that are there, at radius number ``at``.

    alone: nothing is pinned, so that dashes are free to tell sources of one colour apart.
    """

    found: Mapping[tuple[str, int, str], Artifact]
    story: Story
    at: int
    alone: bool = True
    night: bool = False

    @cached_property
    def line(self) -> TransferStatistics:
        return statistics_of(self.found)

    @property
    def points(self) -> int:
        """How many test images the nets are judged on."""
        return self.line.points

    def along_eps(self) -> go.Figure:
        """Accuracy of every net along the radius."""
        panels: dict[str, dict[str, Band]] = {}
        for group in self.story.targets():
            sources = [source for source in self.line.sources(group) if self.alone or source in BESIDE]
            bands = {source: self.line.accuracy(group, source) for source in sources}
            panels[group] = {source: band for source, band in bands.items() if band is not None}
        chance = majority_share(load_task(self.story.kernel.data).y_test)
        look = {"norm": self.story.norm, "eps_mark": self.story.eps[self.at], "chance": chance, "dark": self.night}
        return accuracy_along_eps(np.array(self.story.eps), panels, **look)

    def along_width(self) -> go.Figure:
        """What the sources take of what white-box FGSM does."""
        widths = self.story.widths
        sources = [one for one in self.story.sources() if one not in WHITE and (self.alone or one in BESIDE)]
        bands = {source: self.line.recovered_along(widths, self.at, source).band for source in sources}
        return strength_along_width(widths, bands, self.line.cosine_along(widths).band, dark=self.night)

    @cached_property
    def trained(self) -> dict[str, dict[int, Artifact]]:
        """The nets that are there, by group and seed."""
        targets = self.story.targets().items()
        nets = {group: {net.seed: made for net in nets if (made := stored(net))} for group, nets in targets}
        return {group: seeds for group, seeds in nets.items() if seeds}

    @cached_property
    def cosines(self) -> dict[str, tuple[np.ndarray, list[np.ndarray]]]:
        """Of every group along training: steps [P], and the cosines of each seed [P, m]."""
        found = {}
        for group, seeds in self.trained.items():
            arrays = [net.arrays for net in seeds.values()]
            steps = min((a["cosine_steps"].numpy() for a in arrays), key=len)
            found[group] = steps, [a["cosine"].numpy()[: len(steps)] for a in arrays]
        return found

    def last_cosines(self, group: str) -> np.ndarray:
        """At the end of training, [S, m]."""
        return np.stack([cosine[-1] for cosine in self.cosines[group][1]])

    def along_training(self) -> go.Figure:
        """How far the gradients of kernel and nets point the same way."""
        curves = {self._label(group): mean_cosines(*curve) for group, curve in self.cosines.items()}
        return cosine_along_training(curves, dark=self.night)

    def losses(self) -> go.Figure:
        """Of one seed of every net."""
        curves = {}
        for group, seeds in self.trained.items():
            loss = seeds[min(seeds)].arrays["loss"].numpy()
            curves[f"{self._label(group)}, seed {min(seeds)}"] = np.arange(len(loss)), loss
        return training_curves(curves, dark=self.night)

    def status(self, group: str) -> np.ndarray | None:
        """What FGSM on the kernel makes of every test image, for one net of a group; None while it is not known."""
        verdict = self.found.get((group, 0, "kernel_fgsm"))
        if verdict is None:
            return None
        before, after = (verdict.arrays[name].numpy() for name in ("right_before", "right_after"))
        return np.where(before, np.where(after[self.at], "right", "flipped"), "wrong")

    def gallery(self, group: str) -> go.Figure:
        """Test images, flipped ones first."""
        task, status = load_task(self.story.kernel.data), self.status(group)
        order = np.argsort([("flipped", "right", "wrong").index(one) for one in status], kind="stable")[:SHOWN]
        classes = [task.classes[int(label)] for label in task.labels_test[order]]
        look = {"columns": 8, "numbers": order, "dark": self.night}
        return contact_sheet(task.x_test[order].numpy(), status[order].tolist(), classes, **look)

    def _label(self, group: str) -> str:
        return group if group not in self.story.outside or group.endswith(BY_SGD) else f"{group}, {BY_SGD}"


def gallery(figures: Figures, told: Pair[Transfers], group: str, words: str, on_click: OnClick) -> None:
    """The images of a group's first net that the kernel's perturbation flips, of both; words: the radius."""
    if told.now.status(group) is None:
        return
    if told.pinned is not None and told.pinned.status(group) is None:
        note(f"The pinned experiment has no net of {group}.")
        told = replace(told, pinned=None)
    of = f"{group} {words} {told.now.night}"
    told.show(figures, "Flipped images", lambda one: one.gallery(group), "gallery", of, on_click, apart=True)
    for name, one in told.named():
        status = one.status(group)
        note(
            f"{name}{': ' if name else ''}{group}, seed 0, FGSM on the kernel at {words}: "
            f"{int((status == 'flipped').sum())} of {status.size} test images flip. Shown: {min(SHOWN, status.size)} "
            f"of the {status.size}, flipped ones first."
        )


def measures(group: str, at: int, words: str) -> dict[str, Callable[[Transfers], Measured]]:
    """What of two stories is compared: of the nets of a group at radius number ``at``, in words."""
    return {
        f"{group}: right": lambda one: one.line.right(group, "kernel_fgsm"),
        f"{group}: right under FGSM on the kernel, {words}": lambda one: one.line.right(group, "kernel_fgsm", at),
        f"{group}: right under white-box FGSM, {words}": lambda one: one.line.right(group, "white_fgsm", at),
        f"{group}: share of white-box FGSM's drop that the kernel's takes": lambda one: Estimate(
            one.line.recovered(group, "kernel_fgsm", at)
        ),
        f"{group}: cosine of the gradients of kernel and net": lambda one: Estimate(one.line.cosine(group), ".2f"),
    }


def compared(story: Story, m: int) -> str:
    """Which kernel the nets are compared with, and on which of the sidebar's m test images."""
    tested = story.kernel.data.n_test
    steps = f"{story.training.steps} step{'s' * (story.training.steps > 1)}"
    return (
        f"The kernel is the infinite net's tangent kernel, without ridge; its prediction is the one after {steps} of "
        f"training, as many as the nets of each width take. Attacks are made on "
        f"{f'the first {tested} of these {m}' if tested < m else f'all {m}'} test images."
    )


def statistics_of(found: Mapping[tuple[str, int, str], Artifact]) -> TransferStatistics:
    """The transfers that are there, and what was asked of them before."""
    return _statistics(tuple((name, artifact.key, artifact.created) for name, artifact in found.items()), found)


@st.cache_resource(show_spinner=False, max_entries=8)
def _statistics(stamp: tuple, _found: Mapping[tuple[str, int, str], Artifact]) -> TransferStatistics:
    return TransferStatistics({name: NumpyArrays(artifact) for name, artifact in _found.items()})


def accuracies(line: TransferStatistics, at: int) -> tuple[list[dict[str, float | str]], str]:
    """One row a net: accuracy clean, under every source at radius number ``at``, and under the worst of them.

    And how many points the ends of their intervals are off at most.
    """
    rows, reach = [], 0.0
    for group in line.groups:
        bands = {"clean": line.clean(group)}
        bands |= {SOURCES[source].words: line.accuracy(group, source).one(at) for source in line.sources(group)}
        bands[WORST] = line.worst(group, at)
        rows.append({"Net": group, **{name: float(band.mean[0]) for name, band in bands.items()}})
        reach = max(reach, *(max(band.high[0] - band.mean[0], band.mean[0] - band.low[0]) for band in bands.values()))
    return rows, f"{100 * reach:.1f}"


def percent_columns(line: TransferStatistics) -> dict:
    """How the columns of ``accuracies`` are written."""
    names = {SOURCES[source].words for group in line.groups for source in line.sources(group)}
    return {name: st.column_config.NumberColumn(format="percent") for name in ("clean", *names, WORST)}
