"""The stage of the claims on features: how many are robust and brittle, and whether the robust ones come first.

Read from the sweep and the curves of the Eigenfeatures page, and small enough to be shipped::

    found = read_robust_features(result(RobustFeaturesSpec(curves=e.curves()), store))
    found.codes, found.falling, found.judged["time"]             # [F], Falling, Judged
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ntkcore.analysis.features.classes import Falling, classify, falling
from ntkcore.analysis.features.halves import halves
from ntkcore.analysis.features.label_test import cutoff, smallest_passing
from ntkcore.analysis.features.tradeoff import Judged
from ntkcore.analysis.intervals import Band
from ntkcore.runs.rates import Rates
from ntkcore.runs.stages.kernel_side.curves import CurvesSpec, read_curves
from ntkcore.runs.stages.kernel_side.sweep import read_null, read_sweep
from ntkcore.runs.stages.sizes import Estimate
from ntkcore.runs.stages.stage import Arrays, Context, StageSpec
from ntkcore.runs.store import Artifact

KINDS = ("bands", "time")  # of the curves, those that the claims show


@dataclass(frozen=True, eq=False)
class RobustFeatures:
    """What the claims on features are judged by, and every feature as a dot.

    usefulness, robustness: shares of the test images that each feature gets right, clean and under attack [F]. codes:
    its class [F]. by_chance: how many are useful in each of P permutations of the test labels [P]. labels: of the test
    images [m], numbered from 0. smallest: the usefulness that it takes to be called useful, above 1 where none does.
    guesses: classes that there are to guess from. values: eigenvalues [U] of the features of ``falling``. judged:
    "bands" and "time".
    """

    usefulness: np.ndarray
    robustness: np.ndarray
    codes: np.ndarray
    by_chance: np.ndarray
    labels: np.ndarray
    smallest: float
    guesses: int
    falling: Falling
    values: np.ndarray
    judged: dict[str, Judged]

    @property
    def first(self) -> np.ndarray:
        """The test images on which things are chosen, [m] bool."""
        return halves(self.labels)

    @property
    def chance(self) -> float:
        """Share of the most frequent test label."""
        return float(np.bincount(self.labels).max()) / len(self.labels)


class RobustFeaturesSpec(StageSpec):
    """Robust and brittle features, their counts and order along the index, accuracies of bands and along time."""

    stage: ClassVar[str] = "robust_features"
    version: ClassVar[int] = 2
    curves: CurvesSpec = CurvesSpec()

    def reads(self) -> tuple[StageSpec, ...]:
        return (self.curves, self.curves.sweep, self.curves.sweep.eigenpairs)

    def compute(self, context: Context) -> Arrays:
        rule, spec = self.curves.rule, self.curves.sweep
        swept = context.get(spec, (0.0, 0.7))
        sweep = read_sweep(swept, context.get(spec.eigenpairs), spec)
        judged = read_curves(context.get(self.curves, (0.7, 0.95)))
        labels, order = sweep.labels.cpu().numpy(), falling(sweep, rule.fdr)
        arrays: Arrays = {
            "usefulness": sweep.usefulness.cpu(),
            "robustness": sweep.robustness.cpu(),
            "codes": classify(sweep, rule.fdr, rule.keep).astype(np.int8),
            "by_chance": read_null(swept).useful(rule.fdr),
            "labels": labels.astype(np.int16),
            "smallest": np.array(smallest_passing(labels, cutoff(sweep.p_values, rule.fdr))),
            "guesses": np.array(1 + max(int(labels.max()), int(sweep.answers.max()))),
            "index": order.index,
            "kept": order.kept,
            "spearman": np.stack([order.spearman.mean, order.spearman.low, order.spearman.high]),
            "values": sweep.spectrum.values.cpu().numpy()[order.index],
        }
        for kind in KINDS:
            one = judged[kind]
            arrays |= {f"{kind}_k": one.k, f"{kind}_before": one.before, f"{kind}_after": one.after}
        return arrays

    def cost(self, rates: Rates) -> Estimate:
        sweep = self.curves.sweep
        n, m, features = sweep.kernel.data.n_train, sweep.kernel.data.n_test, sweep.features
        return Estimate(1.0 + 1e-7 * features * m, 8.0 * n * features + 16.0 * features * m)

    def in_words(self) -> str:
        return f"{self.curves.in_words()}, what is robust and when it is learned"

    def experiment_fields(self) -> dict[str, Any]:
        return self.curves.experiment_fields()


def read_robust_features(artifact: Artifact) -> RobustFeatures:
    a = {name: value.numpy() for name, value in artifact.arrays.items()}
    judged = {kind: Judged(*(a[f"{kind}_{part}"] for part in ("k", "before", "after"))) for kind in KINDS}
    order = Falling(a["index"], a["kept"], Band(*a["spearman"]))
    labels, guesses = a["labels"].astype(int), int(a["guesses"])
    shares, found = (a["usefulness"], a["robustness"]), (a["codes"].astype(int), a["by_chance"], labels)
    return RobustFeatures(*shares, *found, float(a["smallest"]), guesses, order, a["values"], judged)
