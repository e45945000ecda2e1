"""The stage of a path: loss gradients of a kernel predictor along its descent, which trained nets are compared with."""

from typing import Any, ClassVar

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from ntkcore.analysis.attacks.attack import Attack
from ntkcore.analysis.features.bank_attacks import Bank, bank_gradients
from ntkcore.analysis.predict import descended, descent_weights
from ntkcore.analysis.spectrum import projections
from ntkcore.kernels.products import square
from ntkcore.runs.rates import Rates
from ntkcore.runs.stages.kernel_side.kernel import KernelSpec
from ntkcore.runs.stages.kernel_side.parts import Parts, parts_of, read_by_parts, room
from ntkcore.runs.stages.kernel_side.spectrum import SpectrumSpec, matrix_of, room_of_matrix
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
        return read_by_parts(SpectrumSpec.usual(self.kernel))

    def compute(self, context: Context) -> Arrays:
        """One pass over the test images: the gradients after all steps share the kernel's own gradient."""
        p = parts_of(SpectrumSpec.usual(self.kernel), context, (0.0, 0.2))
        gradients = bank_gradients(
            p.kernel,
            p.x,
            Bank(context.put(torch.stack(self._weights(p, context)))),
            p.x_test,
            context.put(p.task.y_test),
            p.K_test,
            context.report((0.2, 1.0)),
        )
        return {"gradients": gradients.cpu(), "steps": np.array(self.steps)}

    def _weights(self, p: Parts, context: Context) -> list[Tensor]:
        """Dual weights [n, c] after each of the steps."""
        y, s = p.task.y_train.double(), p.s.to(torch.device("cpu"))
        if s.whole:
            own = projections(s, y)
            g = (descent_weights(s, self.lr, self.momentum, step) for step in self.steps)
            return [s.vectors @ (weights[:, None] * own) for weights in g]
        with matrix_of(p.of, context, (0.2, 0.2)) as K:
            found = descended(square(K), y, float(s.values[0]), self.lr, self.momentum, self.steps)
        order = sorted(set(self.steps))
        return [found[order.index(step)] for step in self.steps]

    def cost(self, rates: Rates) -> Estimate:
        size = KernelSize.of(self.kernel.data, self.kernel.net)
        each = size.attack(len(self.steps), ONE_STEP, rates, double=True) + OVERHEAD
        pairs = SpectrumSpec.usual(self.kernel)
        held = 16.0 * size.n**2 if pairs.leading is None else max(room(pairs, size), room_of_matrix(pairs))
        return Estimate(size.m * each, held + size.gradient_bytes())

    def in_words(self) -> str:
        steps = " ".join(map(str, self.steps))
        words = [self.kernel.in_words(), *unusual(self, "lr", "momentum"), f"loss gradients after steps {steps}"]
        return ", ".join(words)

    def experiment_fields(self) -> dict[str, Any]:
        return self.kernel.experiment_fields()
