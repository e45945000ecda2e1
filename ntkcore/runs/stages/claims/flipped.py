"""The stage of the second claim's pictures: test images that a perturbation made elsewhere flips in one finite net.

::

    a = result(FlippedSpec(transfer=story.transfers()["width 2048", 0, "kernel_fgsm"], at=3), store).arrays
    a["images"], a["x_adv"], a["labels"], a["says"]      # [k, C, H, W] twice, [k] class numbers twice
"""

from typing import Any, ClassVar

import numpy as np
from pydantic import Field, model_validator

from ntkcore.analysis.features.eigenfeatures import majority_share
from ntkcore.analysis.predict import class_numbers, margins
from ntkcore.runs.rates import Rates
from ntkcore.runs.stages.finite.transfer import TransferSpec
from ntkcore.runs.stages.phrases import unusual
from ntkcore.runs.stages.sizes import LEAST_MEMORY, OVERHEAD, Estimate
from ntkcore.runs.stages.stage import Arrays, Context, StageSpec


class FlippedSpec(StageSpec):
    """Images that the net gets right before and wrong after, at radius number ``at`` of the transfer: up to ``count``
    of them, of each class in turn those that the net is most sure of before."""

    stage: ClassVar[str] = "flipped"
    version: ClassVar[int] = 1
    transfer: TransferSpec = TransferSpec()
    at: int = Field(0, ge=0)
    count: int = Field(4, ge=1, le=100)

    @model_validator(mode="after")
    def _a_radius(self) -> "FlippedSpec":
        radii = len(self.transfer.perturb.eps)
        if self.at >= radii:
            raise ValueError(f"There is no radius number {self.at}; the transfer has {radii}, counted from 0.")
        return self

    def reads(self) -> tuple[StageSpec, ...]:
        return (self.transfer.perturb, self.transfer)

    def compute(self, context: Context) -> Arrays:
        task = context.task(self.transfer.target.data)
        made = context.get(self.transfer.perturb, (0.0, 0.5)).arrays["x_adv"][self.at]
        judged = context.get(self.transfer, (0.5, 1.0)).arrays
        flipped = (judged["right_before"] & ~judged["right_after"][self.at]).nonzero()[:, 0]
        sure = margins(judged["outputs"], task.y_test.double())[flipped]
        index = flipped[sure.argsort(descending=True, stable=True)]
        labels = task.labels_test[index]
        place = (labels[:, None] == labels).tril().sum(1)  # which of its class it is
        index = index[place.argsort(stable=True)][: self.count]
        outputs = judged["attacked"][self.at, index]
        return {
            "index": index,
            "labels": task.labels_test[index],
            "says": class_numbers(outputs),
            "images": task.x_test[index].float(),
            "x_adv": made[index].float(),
            "majority": np.array(majority_share(task.y_test)),
        }

    def cost(self, rates: Rates) -> Estimate:
        return Estimate(OVERHEAD, LEAST_MEMORY)

    def in_words(self) -> str:
        which = f"images that flip at radius {self.at + 1} of {len(self.transfer.perturb.eps)}"
        return ", ".join([self.transfer.in_words(), which, *unusual(self, "count")])

    def experiment_fields(self) -> dict[str, Any]:
        return self.transfer.experiment_fields()
