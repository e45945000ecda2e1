"""Sections of the Eigenfeatures page: bands, one feature, the null, pictures, what is kept, training time.

::

    view = features_of(experiments, "every feature under attack")     # FeatureSections of a pair of Features, or None
    view.bands()                                    # drawn where it is called, both in one figure
    downloads("eigenfeatures", view.figures, view.now.columns())
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial

import numpy as np
import plotly.graph_objects as go
import streamlit as st

from ntkcore.analysis.features.classes import ROBUST, WEAK, WORDS, classify, falling
from ntkcore.analysis.features.eigenfeatures import Sweep
from ntkcore.analysis.features.halves import halves
from ntkcore.analysis.features.label_test import cutoff, smallest_passing
from ntkcore.analysis.features.tradeoff import KEPT, Judged, reported
from ntkcore.figures.drawing.strip import strip
from ntkcore.figures.features.along_index import class_shares, perturbation_split, shares_along_index
from ntkcore.figures.features.band_sums import feature_bands
from ntkcore.figures.features.eigenfeatures import usefulness_robustness
from ntkcore.figures.features.null import usefulness_over_null
from ntkcore.figures.features.tradeoff import along_time, kept_subsets
from ntkcore.figures.story.learning import features_along_time
from ntkcore.readings import features as readings
from ntkcore.readings.words import percent
from ntkcore.runs.specs import Experiment
from ntkcore.runs.stages import read_curves, read_null, read_sweep
from ntkcore.runs.store import Artifact
from pages.ui.sections.beside import Pair, need_both, table
from pages.ui.sections.samples import examples, feature_rows, perturbation_row
from pages.ui.shell.links import set_controls
from pages.ui.shell.plain import plain
from pages.ui.shell.results import need
from pages.ui.shell.services import load_task, stored
from pages.ui.shell.show import Figures, OnClick, cached_text, dark, pictures
from pages.ui.shell.terms import answer, note, say

TOGETHER = {
    "All features together, right": lambda v: v.judged["top"].before[:, -1],
    "All features together, right under attack": lambda v: v.judged["top"].after[:, -1],
    "The first feature alone, right": lambda v: v.judged["bands"].before[:, 0],
    "The first feature alone, right under attack": lambda v: v.judged["bands"].after[:, 0],
}
FEATURE_BY_FEATURE = {
    "The first 10 features, each alone, on average right": lambda v: v.sweep.right_before[:, :10].double().mean(1),
    "The same, right under attack": lambda v: v.sweep.right_after[:, :10].double().mean(1),
    "Useful features": lambda v: int((v.classes != WEAK).sum()),
    "Robust features": lambda v: int((v.classes == ROBUST).sum()),
}


@dataclass(frozen=True)
class Features:
    """Every feature of one experiment's kernel under its attack, as the store has them."""

    experiment: Experiment
    swept: Artifact
    sweep: Sweep

    @cached_property
    def judged(self) -> dict[str, Judged]:
        """Bands, kept features and training time; empty while they are not there."""
        curves = stored(self.experiment.curves())
        return {} if curves is None else read_curves(curves)

    @property
    def kept(self) -> dict[str, Judged]:
        """The curves of features that are kept, by what is kept."""
        return {kind: one for kind, one in self.judged.items() if kind in KEPT}

    @cached_property
    def null(self):
        return read_null(self.swept)

    @cached_property
    def classes(self) -> np.ndarray:
        return classify(self.sweep, self.rule.fdr, self.rule.keep)

    @cached_property
    def first(self) -> np.ndarray:
        """The half of the test images on which things are chosen."""
        return halves(self.sweep.labels.numpy())

    @property
    def rule(self):
        return self.experiment.rule

    @property
    def count(self) -> int:
        return len(self.sweep.p_values)

    @property
    def whole(self) -> bool:
        """Whether these are all features that there are."""
        return self.sweep.spectrum.whole

    @property
    def figure_words(self) -> dict:
        """What every figure of accuracies says of chance, the attack and the theme."""
        return {"chance": self.sweep.majority, "attack": str(self.experiment.attack), "dark": dark()}

    @property
    def useful_from(self) -> float | None:
        """The usefulness from which on a feature passes the test; None where none can."""
        smallest = smallest_passing(self.sweep.labels.numpy(), cutoff(self.sweep.p_values, self.rule.fdr))
        return smallest if smallest <= 1 else None

    def columns(self) -> Mapping[str, np.ndarray]:
        """Every feature as a row of a table, [F] each."""
        return {
            "eigenvalue": self.sweep.spectrum.values[: self.count].numpy(),
            "usefulness": self.sweep.usefulness.numpy(),
            "robustness": self.sweep.robustness.numpy(),
            "p_value": self.sweep.p_values,
            "class": np.array(WORDS)[self.classes],
        }


@dataclass(frozen=True)
class FeatureSections:
    """The sections of the page: figures show both, sentences are about the current experiment's features alone."""

    both: Pair[Features]
    figures: Figures

    @property
    def now(self) -> Features:
        return self.both.now

    def _choose(self, index: int) -> None:
        """The feature of a dot that was clicked; the pinned experiment may have more of them."""
        if index < self.now.count:
            set_controls({"feature": index})

    def _show(
        self,
        title: str,
        draw: Callable[[Features], go.Figure],
        key: str,
        of: str = "",
        on_click: OnClick = None,
        judged: bool = False,
    ) -> None:
        """Show a figure of both; of: what it depends on besides the sweep, the rule and the theme.

        judged: it shows bands, kept features or training time, which the pinned experiment may not have yet.
        """
        pinned = self.both.pinned
        shown = replace(self.both, pinned=None) if judged and pinned is not None and not pinned.judged else self.both
        shown.show(self.figures, title, draw, key, of, on_click)

    def _write(self, name: str, tell: Callable[[], str]) -> None:
        say(cached_text(f"{name} {self.now.swept.key} {self.now.rule}", tell))

    # -- the answer ------------------------------------------------------------------------------------------------

    def bands(self) -> None:
        def draw(v: Features) -> go.Figure:
            return feature_bands(v.judged["bands"].curve(), count=v.count, **v.figure_words)

        self._show("Bands of features", draw, key="bands", judged=True)
        note("Sums of the features of one band each. Intervals are at 95 %, each by itself.")

    def verdict(self) -> None:
        """The verdict, and the counts."""
        if self.now.judged:
            curve, attack = self.now.judged["bands"].curve(), str(self.now.experiment.attack)
            answer(readings.read_bands(curve, self.now.count, self.now.sweep.majority, attack, self.now.sweep.m))
        self._write(
            "sweep", lambda: readings.read_sweep(self.now.sweep, self.now.classes, self.now.null, self.now.rule.fdr)
        )

    def compare(self, experiments: Pair[Experiment]) -> None:
        """What differs from the pinned experiment, in settings and numbers."""
        judged = all(one.judged for one in self.both.both)
        table(experiments, self.both, (TOGETHER if judged else {}) | FEATURE_BY_FEATURE)

    # -- one by one ------------------------------------------------------------------------------------------------

    def one_feature(self, feature: int) -> None:
        """What there is to say of one feature, and where none could be attacked."""
        say(readings.read_feature(self.now.sweep, self.now.classes, feature))
        if zero_gradients := cached_text(f"zero_gradients {self.now.swept.key}", self._zero_gradients):
            note(zero_gradients)

    def _zero_gradients(self) -> str:
        share = float(self.now.sweep.zero_gradient.sum() / self.now.sweep.right_before.sum().clamp(min=1))
        where = f"For {percent(share)} of the right answers the gradient is exactly zero"
        return f"{where}: no attack was possible there." if share > 0 else ""

    def scatter(self, feature: int, colour: str) -> None:
        self._show(
            "Usefulness and robustness",
            lambda v: usefulness_robustness(
                v.sweep.usefulness.numpy(),
                v.sweep.robustness.numpy(),
                classes=v.classes,
                p_values=v.sweep.p_values,
                colour=colour,
                selected=min(feature, v.count - 1),
                m=v.sweep.m,
                useful_from=v.useful_from,
                keep=v.rule.keep,
                **v.figure_words,
            ),
            key="scatter",
            of=f"{feature} {colour}",
            on_click=self._choose,
        )

    def over_null(self) -> None:
        self._show(
            "Usefulness over the null",
            lambda v: usefulness_over_null(
                v.sweep.usefulness.numpy(),
                v.null.usefulness,
                m=v.sweep.m,
                classes=v.classes,
                chance=v.sweep.majority,
                useful_from=v.useful_from,
                dark=dark(),
            ),
            key="over-null",
        )
        self._write("null", lambda: readings.read_null(self.now.sweep, self.now.null))

    def along_index_in_words(self) -> None:
        """What there is to say along the index."""
        self._write("falling", lambda: readings.read_falling(falling(self.now.sweep, self.now.rule.fdr)))
        self._write("tail", lambda: readings.read_tail(self.now.sweep, self.now.null))

    def along_index(self, feature: int) -> None:
        def draw(v: Features) -> go.Figure:
            shares = v.sweep.usefulness.numpy(), v.sweep.robustness.numpy()
            look = {"m": v.sweep.m, "chance": v.sweep.majority, "selected": min(feature, v.count - 1), "dark": dark()}
            return shares_along_index(*shares, **look)

        self._show("Along the index", draw, key="along-index", of=f"{feature}")

    def class_shares(self) -> None:
        self._show("Classes along the index", lambda v: class_shares(v.classes, dark=dark()), key="class-shares")

    # -- pictures --------------------------------------------------------------------------------------------------

    def pictures_at(self, nth: int, shown: Sequence[str], chosen: Sequence[int]) -> Pair[dict[str, Artifact]]:
        """The chosen features at the nth test image of each class shown, of both, those that are there, by class."""

        def found(v: Features) -> dict[str, Artifact]:
            at, own = examples(load_task(v.experiment.data), nth), tuple(i for i in chosen if i < v.count)
            wanted = {label: v.experiment.pictures(index, own) for label, index in at.items() if label in shown}
            whose = f" (pinned: {self.both.names[1]})" if v is self.both.pinned else ""
            parts = {
                label: need(spec, f"pictures of the features at a {label}{whose}") for label, spec in wanted.items()
            }
            return {label: artifact for label, artifact in parts.items() if artifact is not None}

        return self.both.map(found)

    def feature_pictures(self, ready: Pair[dict[str, Artifact]], chosen: Sequence[int]) -> None:
        """Pictures of the chosen features at a test image of each class."""
        for name, one in ready.named():
            if name:
                st.caption(name)
            own = [i for i in chosen if all(i < len(artifact.arrays["contributions"]) for artifact in one.values())]
            rows, width = feature_rows({label: artifact.arrays for label, artifact in one.items()}, own), len(own) + 1
            for start in range(0, len(rows), width):
                pictures(rows[start : start + width], width=120)
            if rows:
                title = f"Feature pictures {name}".strip()
                self.figures[title] = partial(strip, rows, columns=width, dark=dark())
        note(
            "The gradient of each feature for the true class: red pixels, made brighter, help it; blue ones hurt. "
            "Each picture has its own scale."
        )

    def perturbation(self, ready: Pair[dict[str, Artifact]]) -> None:
        """One image's perturbation, split over the features."""
        label = next(iter(ready.now))
        both = replace(ready, now=ready.now[label], pinned=(ready.pinned or {}).get(label))
        for name, one in both.named():
            if name:
                st.caption(name)
            row = perturbation_row(one.arrays, label)
            pictures(row, width=120)
            self.figures[f"Perturbation {name}".strip()] = partial(strip, row, dark=dark())
        both = both.stamped(lambda artifact: artifact.key)
        both.show(self.figures, "Perturbation over features", _split, key="split")
        a = both.now.arrays
        parts, of_class = a["contributions"].numpy(), a["classes"].numpy()
        say(readings.read_split(parts, of_class, *a["margins"].tolist(), plain(label), whole=self.now.whole))

    # -- chosen on one half, judged on the other -----------------------------------------------------------------------

    def kept_features(self, k: int) -> None:
        def draw(v: Features) -> go.Figure:
            drawn = {kind: curve for kind, curve in reported(v.kept, v.first).items() if len(curve.k)}
            return kept_subsets(drawn, k=k, **v.figure_words)

        self._show("Kept features", draw, key="kept", of=f"{k}", judged=True)
        v = self.now
        self._write("kept", lambda: readings.read_kept(v.kept, v.first, v.sweep.majority, v.whole))

    def training_time(self) -> None:
        def draw(v: Features) -> go.Figure:
            judged = v.judged["time"]
            best = int(judged.after[v.first].mean(0).argmax())
            curve = reported({"time": judged}, v.first)["time"]
            if self.both.pinned is not None:  # two of what moves cannot be laid over each other
                return along_time(curve, t=judged.k[best], **v.figure_words)
            order = falling(v.sweep, v.rule.fdr)
            values = v.sweep.spectrum.values[order.index].numpy()
            return features_along_time(curve, values, order.index, order.kept, at=best, **v.figure_words)

        beside = "" if self.both.pinned is None else "beside"
        self._show("Along training time", draw, key="time", of=beside, judged=True)
        self._write("time", lambda: readings.read_time(self.now.judged["time"], self.now.first))


def _split(artifact: Artifact) -> go.Figure:
    """One perturbation over the features."""
    parts, of_class = artifact.arrays["contributions"].numpy(), artifact.arrays["classes"].numpy()
    return perturbation_split(parts, classes=of_class, quantity="change of the margin", dark=dark())


def features_of(experiments: Pair[Experiment], what: str) -> FeatureSections | None:
    """The features of both; None while the current ones are not there."""
    swept = need_both(experiments, Experiment.sweep, what)
    spectra = None if swept is None else need_both(experiments, Experiment.spectrum, "the spectrum")
    if swept is None or spectra is None:
        return None

    def features(parts: tuple[tuple[Artifact, Artifact], Experiment]) -> Features:
        (artifact, spectrum), e = parts
        return Features(e, artifact, read_sweep(artifact, spectrum, e.sweep()))

    both = swept.joined(spectra).joined(experiments).map(features)
    return FeatureSections(both.stamped(lambda one: f"{one.swept.key} {one.rule}"), Figures())
