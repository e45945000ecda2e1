"""The stage of the curves: what is right when only some features are kept, and along training time.

::

    judged = read_curves(result(spec, store))     # {"top": Judged, "robust": Judged, ..., "time": ..., "bands": ...}
"""

from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from ntkcore.analysis.features.classes import classify
from ntkcore.analysis.features.halves import halves
from ntkcore.analysis.features.tradeoff import Judged, trade_offs
from ntkcore.runs.rates import Rates
from ntkcore.runs.stages.kernel_side.parts import parts_of, predictor, read_by_predictor, room
from ntkcore.runs.stages.kernel_side.sweep import SweepSpec, swept
from ntkcore.runs.stages.phrases import unusual
from ntkcore.runs.stages.sizes import OVERHEAD, Estimate, KernelSize, outputs_of
from ntkcore.runs.stages.stage import Arrays, Context, StageSpec
from ntkcore.runs.store import Artifact
from ntkcore.validation import Spec

PREDICTORS = 105  # kept features, training time and bands


class Rule(Spec):
    """How features are classed: the false discovery rate of usefulness, and the share of right answers that a robust
    feature keeps."""

    fdr: float = Field(0.05, gt=0, lt=1)
    keep: float = Field(0.5, gt=0.05, le=1)


class CurvesSpec(StageSpec):
    """Verdicts when only some features are kept, band by band, and of f_t along training time, clean and under attack.

    Which features are robust or brittle is picked on the first half of the test images."""

    stage: ClassVar[str] = "curves"
    version: ClassVar[int] = 3
    sweep: SweepSpec = SweepSpec()
    rule: Rule = Rule()

    def reads(self) -> tuple[StageSpec, ...]:
        return (self.sweep, *read_by_predictor(self.sweep.eigenpairs, None, 0.0))

    def compute(self, context: Context) -> Arrays:
        sweep = swept(self.sweep, context, (0.0, 0.6))
        classes = classify(sweep.part(halves(np.asarray(sweep.labels))), self.rule.fdr, self.rule.keep)
        p = parts_of(self.sweep.eigenpairs, context, (0.6, 0.6))
        y, y_test = context.put(p.task.y_train), context.put(p.task.y_test)
        images, attack = (p.x, y, p.x_test, y_test), self.sweep.attack
        end = None if p.s.whole else predictor(p, None, 0.0, context).alpha
        arguments = (p.kernel, p.s, *images, attack, classes, p.K_test, context.report((0.6, 1.0)), end)
        judged = context.divided(lambda executor, folder: trade_offs(*arguments, executor, folder))
        arrays: Arrays = {"classes": classes.astype(np.int64)}
        for name, one in judged.items():
            arrays |= {f"{name}_k": one.k, f"{name}_before": one.before, f"{name}_after": one.after}
        return arrays

    def cost(self, rates: Rates) -> Estimate:
        kernel, attack, c = self.sweep.kernel, self.sweep.attack, outputs_of(self.sweep.kernel.data)
        if kernel.checkpoint is not None:
            return kernel.attack_cost(rates, 85 * c, kernel.data.n_test / 2, attack.steps)
        size = KernelSize.of(kernel.data, kernel.net)
        each = size.attack(PREDICTORS, attack, rates, c)
        each += 0 if size.by_signs(attack, c) else OVERHEAD
        held = room(self.sweep.eigenpairs, size) + PREDICTORS * 12.0 * size.n * c + size.gradient_bytes()
        return Estimate(size.m * each, held)

    def in_words(self) -> str:
        return ", ".join([self.sweep.in_words(), *unusual(self.rule)])

    def experiment_fields(self) -> dict[str, Any]:
        return self.sweep.experiment_fields() | {"rule": self.rule}


def read_curves(artifact: Artifact) -> dict[str, Judged]:
    """The verdicts of the curves stage: of KEPT's kinds, "time" and "bands"."""
    found = {name: value.numpy() for name, value in artifact.arrays.items()}
    names = [name.removesuffix("_before") for name in found if name.endswith("_before")]
    return {name: Judged(*(found[f"{name}_{part}"] for part in ("k", "before", "after"))) for name in names}
