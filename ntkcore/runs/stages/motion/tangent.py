"""The stage of a tangent kernel: the full empirical NTK of a checkpoint on the probe set."""

from typing import Any, ClassVar

import torch
from pydantic import Field

from ntkcore.analysis.attacks.attack import Attack
from ntkcore.kernels.blocks import slices
from ntkcore.kernels.empirical import empirical_ntk
from ntkcore.runs.rates import Rates
from ntkcore.runs.stages.motion.epoch import EpochSpec, anchor_of, load_checkpoint
from ntkcore.runs.stages.motion.score import ROWS
from ntkcore.runs.stages.phrases import attack_in_words
from ntkcore.runs.stages.sizes import Estimate, NetSize, outputs_of, passes
from ntkcore.runs.stages.stage import Arrays, Context, StageSpec


class TangentSpec(StageSpec):
    """The full empirical tangent kernel of a checkpoint on the probe set: the first ``n`` training images.

    attack: every checkpoint sees the probe set as this attack through itself perturbs it; None: clean.
    """

    stage: ClassVar[str] = "tangent"
    version: ClassVar[int] = 2
    of_nets: ClassVar[bool] = True
    checkpoint: EpochSpec = EpochSpec()
    n: int = Field(128, ge=2, le=20_000)
    attack: Attack | None = None

    def reads(self) -> tuple[StageSpec, ...]:
        return (self.checkpoint, *anchor_of(self.checkpoint))

    def compute(self, context: Context) -> Arrays:
        """kernel [N, N], N = n c, rows and columns by image, then output; float32."""
        net = load_checkpoint(self.checkpoint, context, (0.0, 0.5))
        task = context.task(self.checkpoint.data)
        x, y = context.put(task.x_train[: self.n]), context.put(task.y_train[: self.n])
        if self.attack is not None:
            x = torch.cat([self.attack.perturb(net, x[i], y[i], self.attack.eps)[0] for i in slices(len(x), ROWS)])
        theta = empirical_ntk(net.module, net.inputs(x.float()), progress=context.report((0.5, 1.0)))
        size = theta.shape[0] * theta.shape[2]
        return {"kernel": theta.permute(0, 2, 1, 3).reshape(size, size).cpu()}

    def cost(self, rates: Rates) -> Estimate:
        net, c = NetSize.of_run(self.checkpoint.run), outputs_of(self.checkpoint.data)
        size = c * self.n
        return passes(net, rates, net.weights * size**2 + 4 * c * self.n * net.flops, more=8.0 * size**2)

    def in_words(self) -> str:
        return ", ".join([self.checkpoint.in_words(), self.probe_in_words()])

    def probe_in_words(self) -> str:
        return f"probe {self.n}" + (f" under {attack_in_words(self.attack)}" if self.attack else "")

    def experiment_fields(self) -> dict[str, Any]:
        return self.checkpoint.experiment_fields()
