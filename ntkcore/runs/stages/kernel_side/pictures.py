"""The stage of the pictures: chosen features at one test image, and that image's perturbation split over all."""

from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from ntkcore.analysis.features.classes import classify
from ntkcore.analysis.features.pictures import feature_pictures
from ntkcore.runs.rates import Rates
from ntkcore.runs.stages.kernel_side.curves import Rule
from ntkcore.runs.stages.kernel_side.parts import check_index, cost_of_passes, parts_of, read_by_parts
from ntkcore.runs.stages.kernel_side.sweep import SweepSpec, swept
from ntkcore.runs.stages.phrases import unusual
from ntkcore.runs.stages.sizes import Estimate
from ntkcore.runs.stages.stage import Arrays, Context, StageSpec


class PicturesSpec(StageSpec):
    """Chosen features at one test image as pictures, and that image's perturbation split over all features."""

    stage: ClassVar[str] = "pictures"
    version: ClassVar[int] = 2
    sweep: SweepSpec = SweepSpec()
    rule: Rule = Rule()
    index: int = Field(0, ge=0)
    features: tuple[int, ...] = Field((0, 1, 2, 3), min_length=1)

    def reads(self) -> tuple[StageSpec, ...]:
        return (self.sweep, *read_by_parts(self.sweep.eigenpairs))

    def compute(self, context: Context) -> Arrays:
        classes = classify(swept(self.sweep, context, (0.0, 0.9)), self.rule.fdr, self.rule.keep)
        p = parts_of(self.sweep.eigenpairs, context, (0.9, 0.95))
        check_index(self.index, p.task)
        r = feature_pictures(
            p.kernel,
            p.s,
            p.x,
            context.put(p.task.y_train),
            p.x_test[self.index],
            context.put(p.task.y_test[self.index]),
            self.sweep.attack,
            self.features,
            classes,
        )
        return {
            "features": r.features,
            "outputs": r.outputs,
            "pictures": r.pictures.float(),
            "image": p.task.x_test[self.index],
            "x_adv": r.x_adv.float(),
            "group_gradients": r.group_gradients.float(),
            "contributions": r.contributions,
            "classes": classes.astype(np.int64),
            "margins": np.array([r.margin_before, r.margin_after]),
        }

    def cost(self, rates: Rates) -> Estimate:
        kernel = self.sweep.kernel
        if kernel.checkpoint is not None:
            return kernel.attack_cost(rates, self.sweep.features, 3, 1)
        return cost_of_passes(self.sweep.eigenpairs, rates, 4, copies=5)

    def in_words(self) -> str:
        words = [self.sweep.in_words(), *unusual(self.rule), *unusual(self, "features")]
        return ", ".join([*words, f"test image {self.index}"])

    def experiment_fields(self) -> dict[str, Any]:
        return self.sweep.experiment_fields() | {"rule": self.rule}
