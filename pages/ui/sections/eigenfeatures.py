"""Sections of the Eigenfeatures page: bands, one feature, the null, pictures, what is kept, training time.

::

    view = Features(experiment, swept, sweep, Figures())
    view.bands(curves)                              # drawn where it is called
    downloads("eigenfeatures", view.figures, view.columns())
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np
import plotly.graph_objects as go
import streamlit as st

from ntkcore.analysis.features.classes import WORDS, classify, falling
from ntkcore.analysis.features.eigenfeatures import Sweep
from ntkcore.analysis.features.halves import halves
from ntkcore.analysis.features.label_test import cutoff, smallest_passing
from ntkcore.analysis.features.tradeoff import KEPT, reported
from ntkcore.figures.drawing.strip import strip
from ntkcore.figures.features.along_index import class_shares, perturbation_split, shares_along_index
from ntkcore.figures.features.band_sums import feature_bands
from ntkcore.figures.features.eigenfeatures import usefulness_robustness
from ntkcore.figures.features.null import usefulness_over_null
from ntkcore.figures.features.tradeoff import along_time, kept_subsets
from ntkcore.readings import features as readings
from ntkcore.readings.words import percent
from ntkcore.runs.specs import Experiment
from ntkcore.runs.stages import read_curves, read_null
from ntkcore.runs.store import Artifact
from pages.ui.sections.pictures import feature_rows, perturbation_row
from pages.ui.shell.plain import plain
from pages.ui.shell.show import Drawn, Figures, OnClick, cached_text, dark, pictures


@dataclass(frozen=True)
class Features:
    """Every feature of an experiment's kernel under its attack, and how they are shown."""

    experiment: Experiment
    swept: Artifact
    sweep: Sweep
    figures: Figures

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

    def _show(self, title: str, draw: Drawn, key: str, of: str = "", on_click: OnClick = None) -> None:
        """Show a figure; of: what it depends on besides the sweep, the rule and the theme."""
        self.figures.show(title, draw, key, f"{of} {self.swept.key} {self.rule} {dark()}", on_click)

    def _write(self, name: str, tell: Callable[[], str]) -> None:
        st.markdown(cached_text(f"{name} {self.swept.key} {self.rule}", tell))

    # -- the answer ------------------------------------------------------------------------------------------------

    def bands(self, curves: Artifact) -> None:
        curve = read_curves(curves)["bands"].curve()
        draw = partial(feature_bands, curve, count=self.count, **self.figure_words)
        self._show("Bands of features", draw, key="bands")
        st.caption("Sums of the features of one band each. Intervals are at 95 %, each by itself.")

    def verdict(self, curves: Artifact | None) -> None:
        """The verdict, and the counts."""
        if curves is not None:
            curve, attack = read_curves(curves)["bands"].curve(), str(self.experiment.attack)
            st.markdown(readings.read_bands(curve, self.count, self.sweep.majority, attack, self.sweep.m))
        self._write("sweep", lambda: readings.read_sweep(self.sweep, self.classes, self.null, self.rule.fdr))

    # -- one by one ------------------------------------------------------------------------------------------------

    def one_feature(self, feature: int) -> None:
        """What there is to say of one feature, and where none could be attacked."""
        st.markdown(readings.read_feature(self.sweep, self.classes, feature))
        if zero_gradients := cached_text(f"zero_gradients {self.swept.key}", self._zero_gradients):
            st.caption(zero_gradients)

    def _zero_gradients(self) -> str:
        share = float(self.sweep.zero_gradient.sum() / self.sweep.right_before.sum().clamp(min=1))
        where = f"For {percent(share)} of the right answers the gradient is exactly zero"
        return f"{where}: no attack was possible there." if share > 0 else ""

    def scatter(self, feature: int, colour: str) -> None:
        self._show(
            "Usefulness and robustness",
            lambda: usefulness_robustness(
                self.sweep.usefulness.numpy(),
                self.sweep.robustness.numpy(),
                classes=self.classes,
                p_values=self.sweep.p_values,
                colour=colour,
                selected=feature,
                m=self.sweep.m,
                useful_from=self.useful_from,
                keep=self.rule.keep,
                **self.figure_words,
            ),
            key="scatter",
            of=f"{feature} {colour}",
            on_click=partial(setattr, st.session_state, "feature"),
        )

    def in_small(self) -> None:
        """The scatter without a page around it: what the colours mean, and no more."""

        def draw() -> go.Figure:
            fig = usefulness_robustness(
                self.sweep.usefulness.numpy(),
                self.sweep.robustness.numpy(),
                classes=self.classes,
                colour="class",
                **self.figure_words,
            )
            fig.update_xaxes(title_text="right")
            fig.update_yaxes(title_text="right under attack")
            return fig.update_layout(height=225)

        self._show("Features in small", draw, key="in-small")

    def over_null(self) -> None:
        self._show(
            "Usefulness over the null",
            lambda: usefulness_over_null(
                self.sweep.usefulness.numpy(),
                self.null.usefulness,
                m=self.sweep.m,
                classes=self.classes,
                chance=self.sweep.majority,
                useful_from=self.useful_from,
                dark=dark(),
            ),
            key="over-null",
        )
        self._write("null", lambda: readings.read_null(self.sweep, self.null))

    def along_index_in_words(self) -> None:
        """What there is to say along the index."""
        self._write("falling", lambda: readings.read_falling(falling(self.sweep, self.rule.fdr)))
        self._write("tail", lambda: readings.read_tail(self.sweep, self.null))

    def along_index(self, feature: int) -> None:
        shares = self.sweep.usefulness.numpy(), self.sweep.robustness.numpy()
        look = {"m": self.sweep.m, "chance": self.sweep.majority, "selected": feature, "dark": dark()}
        self._show("Along the index", lambda: shares_along_index(*shares, **look), key="along-index", of=f"{feature}")

    def class_shares(self) -> None:
        self._show("Classes along the index", lambda: class_shares(self.classes, dark=dark()), key="class-shares")

    # -- pictures --------------------------------------------------------------------------------------------------

    def feature_pictures(self, ready: Mapping[str, Artifact], chosen: Sequence[int]) -> None:
        """Pictures of the chosen features at a test image of each class."""
        rows, width = feature_rows({label: one.arrays for label, one in ready.items()}, chosen), len(chosen) + 1
        for start in range(0, len(rows), width):
            pictures(rows[start : start + width], width=130)
        st.caption(
            "The gradient of each feature for the true class: red pixels, made brighter, help it; blue ones hurt. "
            "Each picture has its own scale."
        )
        self.figures["Feature pictures"] = partial(strip, rows, columns=width, dark=dark())

    def perturbation(self, label: str, artifact: Artifact) -> None:
        """One image's perturbation, split over the features."""
        row = perturbation_row(artifact.arrays, label)
        pictures(row, width=130)
        parts, of_class = (artifact.arrays[name].numpy() for name in ("contributions", "classes"))
        self.figures["Perturbation"] = partial(strip, row, dark=dark())
        draw = partial(perturbation_split, parts, classes=of_class, quantity="change of the margin", dark=dark())
        self.figures.show("Perturbation over features", draw, key="split", stamp=f"{artifact.key} {dark()}")
        st.markdown(readings.read_split(parts, of_class, *artifact.arrays["margins"].tolist(), plain(label)))

    # -- chosen on one half, judged on the other -----------------------------------------------------------------------

    def kept_features(self, curves: Artifact, k: int) -> None:
        judged = {kind: one for kind, one in read_curves(curves).items() if kind in KEPT}
        drawn = {kind: curve for kind, curve in reported(judged, self.first).items() if len(curve.k)}
        self._show("Kept features", lambda: kept_subsets(drawn, k=k, **self.figure_words), key="kept", of=f"{k}")
        self._write("kept", lambda: readings.read_kept(judged, self.first, self.sweep.majority))

    def training_time(self, curves: Artifact) -> None:
        judged = read_curves(curves)["time"]
        curve = reported({"time": judged}, self.first)["time"]
        best = judged.k[judged.after[self.first].mean(0).argmax()]
        self._show("Along training time", lambda: along_time(curve, t=best, **self.figure_words), key="time")
        self._write("time", lambda: readings.read_time(judged, self.first))
