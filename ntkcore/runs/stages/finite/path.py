"""The stage of a path: loss gradients of a kernel predictor along its descent, which trained nets are compared with."""

from typing import Any, ClassVar

import numpy as np
import torch
from pydantic import Field

from ntkcore.analysis.attacks.attack import Attack
from ntkcore.analysis.features.bank_attacks import Bank, bank_gradients
from ntkcore.analysis.predict import descent_weights
from ntkcore.analysis.spectrum import projections
from ntkcore.runs.rates import Rates
from ntkcore.runs.stages.kernel_side.kernel import KernelSpec, kernel_of
from ntkcore.runs.stages.kernel_side.parts import read_by_parts
from ntkcore.runs.stages.kernel_side.spectrum import SpectrumSpec, read_spectrum
from ntkcore.runs.stages.phrases import unusual
from ntkcore.runs.stages.sizes import OVERHEAD, Estimate, KernelSize
from ntkcore.runs.stages.stage import Arrays, Context, StageSpec
from ntkcore.training import Descent

ONE_STEP = Attack()


class PathSpec(StageSpec):
    """Loss gradients of a kernel predictor at the test images, after each of some steps of its descent."""

    stage: ClassVar[str] = "path"
    version: ClassVar[int] = 1
    kernel: KernelSpec = KernelSpec()
    lr: float = Field(1.0, gt=0, le=1e6, allow_inf_nan=False)
    momentum: float = Field(0.9, ge=0, lt=1)
    steps: tuple[int, ...] = Field((100,), min_length=1)

    @classmethod
    def along(cls, kernel: KernelSpec, descent: Descent, steps: tuple[int, ...]) -> "PathSpec":
        """The path of a kernel's predictor along a descent, looked at after ``steps``."""
        return cls(kernel=kernel, lr=descent.lr, momentum=descent.momentum, steps=steps)

    def reads(self) -> tuple[StageSpec, ...]:
        return read_by_parts(SpectrumSpec(kernel=self.kernel))

    def compute(self, context: Context) -> Arrays:
        """One pass over the test images: the gradients after all steps share the kernel's own gradient."""
        task = context.task(self.kernel.data)
        s = read_spectrum(context.get(SpectrumSpec(kernel=self.kernel), (0.0, 0.2)))
        K_test = context.get(self.kernel, (0.2, 0.2)).arrays["K_test"]
        p = projections(s, task.y_train)
        g = (descent_weights(s, self.lr, self.momentum, step) for step in self.steps)
        bank = Bank(context.put(torch.stack([s.vectors @ (weights[:, None] * p) for weights in g])))
        gradients = bank_gradients(
            kernel_of(self.kernel, task, context),
            context.put(task.x_train),
            bank,
            context.put(task.x_test),
            context.put(task.y_test),
            context.put(K_test),
            context.report((0.2, 1.0)),
        )
        return {"gradients": gradients.cpu(), "steps": np.array(self.steps)}

    def cost(self, rates: Rates) -> Estimate:
        size = KernelSize.of(self.kernel.data, self.kernel.net)
        each = size.attack(len(self.steps), ONE_STEP, rates, double=True) + OVERHEAD
        return Estimate(size.m * each, 16.0 * size.n**2 + size.gradient_bytes())

    def in_words(self) -> str:
        steps = " ".join(map(str, self.steps))
        words = [self.kernel.in_words(), *unusual(self, "lr", "momentum"), f"loss gradients after steps {steps}"]
        return ", ".join(words)

    def experiment_fields(self) -> dict[str, Any]:
        return self.kernel.experiment_fields()
