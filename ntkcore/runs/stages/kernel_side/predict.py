"""The stage of a prediction: the kernel predictor's outputs at the test images, clean and under attack."""

from typing import Any, ClassVar

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from ntkcore.analysis.attacks.attack import Attack, fgsm
from ntkcore.analysis.features.eigenfeatures import majority_share
from ntkcore.analysis.predict import correct, margins
from ntkcore.runs.rates import Rates
from ntkcore.runs.stages.kernel_side.parts import cost_of_passes, parts_of, predictor, read_by_predictor, strong
from ntkcore.runs.stages.kernel_side.spectrum import EigenpairsSpec
from ntkcore.runs.stages.phrases import unusual
from ntkcore.runs.stages.sizes import Estimate, outputs_of
from ntkcore.runs.stages.stage import Arrays, Context, StageSpec

ROWS = 100  # test images attacked together: bounds the memory of a gradient


class PredictSpec(EigenpairsSpec):
    """The kernel predictor at ``time`` (None: infinity) with a ridge, clean and under attack, on the test images.

    Outputs are kept, the attacked images are not: small enough to be shipped.
    """

    stage: ClassVar[str] = "predict"
    version: ClassVar[int] = 2
    attack: Attack = fgsm()
    time: float | None = Field(None, ge=0, allow_inf_nan=False)
    ridge: float = Field(0.0, ge=0, allow_inf_nan=False)

    def reads(self) -> tuple[StageSpec, ...]:
        return read_by_predictor(self.eigenpairs, self.time, self.ridge)

    def compute(self, context: Context) -> Arrays:
        """Clean outputs, the spec's attack, and PGD of the same radius beside it."""
        p = parts_of(self.eigenpairs, context, (0.0, 0.5))
        f = predictor(p, self.time, self.ridge, context)
        y, report = context.put(p.task.y_test), context.report((0.5, 1.0))
        beside = strong(self.attack)
        attacks = {"attack": self.attack, "pgd": beside}
        rows = max(1, min(ROWS, len(p.x_test)))
        parts: dict[str, list[Tensor]] = {name: [] for name in ("outputs", "zero_gradient")}
        for name in attacks:
            parts[f"{name}_outputs"] = []
        for start in range(0, len(p.x_test), rows):
            if report is not None:
                report(start, len(p.x_test), "attacking the prediction")
            x, labels = p.x_test[start : start + rows], y[start : start + rows]
            for name, attack in attacks.items():
                r = attack(f, x, labels)
                parts[f"{name}_outputs"].append(r.attacked)
                if name == "attack":
                    parts["outputs"].append(r.clean)
                    parts["zero_gradient"].append(r.zero_gradient)
        whole = {name: torch.cat(pieces).cpu() for name, pieces in parts.items()}
        arrays: Arrays = {**whole}
        arrays["left_out"] = np.array(f.left_out)
        arrays["majority"] = np.array(majority_share(p.task.y_test))
        for name in ("outputs", "attack_outputs", "pgd_outputs"):
            short = name.removesuffix("outputs")
            arrays[f"{short}margin"] = margins(whole[name], p.task.y_test.double())
            arrays[f"{short}right"] = correct(whole[name], p.task.y_test.double())
        return arrays

    def cost(self, rates: Rates) -> Estimate:
        m, steps = self.kernel.data.n_test, self.attack.steps
        if self.kernel.checkpoint is not None:
            return self.kernel.attack_cost(rates, outputs_of(self.kernel.data), m, steps + 11)
        beside = max(steps, 10)  # PGD, beside every attack
        return cost_of_passes(self.eigenpairs, rates, m * (steps + beside + 1))

    def in_words(self) -> str:
        return ", ".join([super().in_words(), str(self.attack), *unusual(self, "time", "ridge")])

    def experiment_fields(self) -> dict[str, Any]:
        return super().experiment_fields() | {"attack": self.attack, "ridge": self.ridge}
