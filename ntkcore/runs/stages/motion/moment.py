"""The stage of a moment: what a kernel of a run says of itself, and how it lies to the kernels before it."""

from typing import Any, ClassVar

import numpy as np
import torch
from pydantic import Field

from ntkcore.analysis.evolution.motion import (
    DecomposedKernel,
    centred_alignment,
    class_specialisation,
    decomposed,
    inner_products,
)
from ntkcore.runs.rates import Rates
from ntkcore.runs.stages.motion.epoch import EpochSpec
from ntkcore.runs.stages.motion.tangent import TangentSpec
from ntkcore.runs.stages.phrases import unusual
from ntkcore.runs.stages.sizes import Estimate, NetSize, outputs_of, passes
from ntkcore.runs.stages.stage import Arrays, Context, StageSpec


class MomentSpec(StageSpec):
    """What one kernel of a run says of itself and against those before it, of every so many epochs from 0 on."""

    stage: ClassVar[str] = "moment"
    version: ClassVar[int] = 2
    of_nets: ClassVar[bool] = True
    tangent: TangentSpec = TangentSpec()
    every: int = Field(1, ge=1)
    top: int = Field(20, ge=1, le=1000)

    @property
    def earlier(self) -> tuple["MomentSpec", ...]:
        """The same of the kernels before it, on the same probe set."""
        return tuple(self._at(epoch) for epoch in self._epochs_before())

    def _epochs_before(self) -> range:
        return range(0, self.checkpoint.epoch, self.every)

    def _at(self, epoch: int) -> "MomentSpec":
        checkpoint = EpochSpec.at(self.checkpoint.run, epoch)
        return self.replace(tangent=self.tangent.replace(checkpoint=checkpoint))

    @property
    def checkpoint(self) -> EpochSpec:
        return self.tangent.checkpoint

    def reads(self) -> tuple[StageSpec, ...]:
        return (*map(self._at, self._epochs_before()[-1:]), self.tangent)  # that one reads those before it

    def compute(self, context: Context) -> Arrays:
        """values [N]; inner [B + 1, 3] with the kernels of the earlier epochs and with itself: of the whole kernels, of
        their top parts, of their bottom parts; alignment; specialisation [c] of several outputs."""
        own = context.get(self.tangent, (0.0, 0.8)).arrays["kernel"]
        task = context.task(self.tangent.checkpoint.data)
        n = min(self.tangent.n, task.n)
        mine = decomposed(own, min(self.top, len(own)))
        earlier = self.earlier
        total = max(1, len(earlier))
        parts = ((0.8 + 0.2 * i / total, 0.8 + 0.2 * (i + 1) / total) for i in range(total))
        inner = [
            inner_products(_decomposed(one, context, part), mine) for one, part in zip(earlier, parts, strict=False)
        ]
        inner.append(inner_products(mine, mine))
        y = task.y_train[:n].double()
        c = y.shape[1]
        theta = own.double().reshape(n, c, n, c).permute(0, 2, 1, 3)
        traced = theta.diagonal(dim1=2, dim2=3).mean(-1)
        arrays: Arrays = {"values": mine.values, "vectors": mine.vectors, "inner": torch.stack(inner)}
        arrays["alignment"] = np.array(centred_alignment(traced, y))
        return arrays | ({"specialisation": class_specialisation(theta, y)} if c > 1 else {})

    def cost(self, rates: Rates) -> Estimate:
        looks = -(-self.checkpoint.epoch // self.every) + 1
        size = float(outputs_of(self.checkpoint.data) * self.tangent.n)
        net = NetSize.of_run(self.checkpoint.run)
        return passes(net, rates, looks * 8.0 * size**2, cubed=size**3, more=40.0 * size**2)

    def in_words(self) -> str:
        return ", ".join([self.tangent.in_words(), *unusual(self, "every", "top")])

    def experiment_fields(self) -> dict[str, Any]:
        return self.checkpoint.experiment_fields()


def _decomposed(spec: MomentSpec, context: Context, share: tuple[float, float]) -> DecomposedKernel:
    """A kernel with the eigenpairs that are kept of it."""
    moment = context.get(spec, share).arrays
    return DecomposedKernel(context.get(spec.tangent, (0.0, 0.0)).arrays["kernel"], moment["values"], moment["vectors"])
