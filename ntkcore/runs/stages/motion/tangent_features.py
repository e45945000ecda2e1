"""Leading eigenfeatures of a checkpoint's kernel, as gradients at one test image."""

from typing import Any, ClassVar

import torch
from pydantic import Field

from ntkcore.analysis.evolution.motion import decomposed
from ntkcore.analysis.tangent import tangent_predictor
from ntkcore.runs.rates import Rates
from ntkcore.runs.stages.motion.epoch import EpochSpec, anchor_of, load_checkpoint
from ntkcore.runs.stages.motion.tangent import TangentSpec
from ntkcore.runs.stages.phrases import unusual
from ntkcore.runs.stages.sizes import LINEAR, Estimate, NetSize, outputs_of, passes
from ntkcore.runs.stages.stage import Arrays, Context, StageSpec


class TangentFeaturesSpec(StageSpec):
    """The leading eigenfeatures of a checkpoint's kernel on the probe set, as gradients at one test image."""

    stage: ClassVar[str] = "glimpse"  # results on disk have this name
    version: ClassVar[int] = 2
    tangent: TangentSpec = TangentSpec()
    index: int = Field(0, ge=0)
    features: int = Field(4, ge=1, le=50)

    @property
    def checkpoint(self) -> EpochSpec:
        return self.tangent.checkpoint

    def reads(self) -> tuple[StageSpec, ...]:
        return (self.checkpoint, self.tangent, *anchor_of(self.checkpoint))

    def compute(self, context: Context) -> Arrays:
        """gradients [F, C, H, W] of the leading eigenfeatures for the image's own class; outputs [F, c]."""
        net = load_checkpoint(self.tangent.checkpoint, context, (0.0, 0.4))
        kernel = context.get(self.tangent, (0.4, 0.8)).arrays["kernel"]
        task = context.task(self.tangent.checkpoint.data)
        n = min(self.tangent.n, task.n)
        features = min(self.features, len(kernel))
        s = decomposed(kernel, features)
        x, image = context.put(task.x_train[:n]), context.put(task.x_test[self.index : self.index + 1]).float()
        own = int(task.labels_test[self.index]) if task.y_train.shape[1] > 1 else 0
        gradients, outputs = [], []
        for i in range(features):
            feature = tangent_predictor(net, x, context.put(s.vectors[:, i].reshape(n, -1) / s.values[i]))
            z = image.clone().requires_grad_()
            with torch.enable_grad():
                out = feature(z)
                gradients.append(torch.autograd.grad(out[0, own], z)[0][0].cpu())
            outputs.append(out.detach()[0].cpu())
        return {"gradients": torch.stack(gradients), "outputs": torch.stack(outputs), "values": s.values[:features]}

    def cost(self, rates: Rates) -> Estimate:
        net, probe = NetSize.of_run(self.checkpoint.run), self.tangent.n
        size = float(outputs_of(self.checkpoint.data) * probe)
        flops = self.features * 4 * LINEAR * probe * net.flops
        return passes(net, rates, flops, cubed=size**3, more=40.0 * size**2)

    def in_words(self) -> str:
        words = [self.tangent.in_words(), *unusual(self, "features"), f"test image {self.index}"]
        return ", ".join(words)

    def experiment_fields(self) -> dict[str, Any]:
        return self.checkpoint.experiment_fields()
