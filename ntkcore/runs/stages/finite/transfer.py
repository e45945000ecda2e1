"""The stage of a transfer: what images perturbed through one model do to another.

::

    result(TransferSpec(perturb=perturb, target=twin), store).arrays["right_after"]     # [radii, m]
"""

from typing import Any, ClassVar

from pydantic import model_validator

from ntkcore.analysis.attacks.attack import loss_gradient
from ntkcore.analysis.attacks.transfer import gradient_cosine, judge
from ntkcore.runs.rates import Rates
from ntkcore.runs.stages.finite.models import KernelModel
from ntkcore.runs.stages.finite.perturb import PerturbSpec
from ntkcore.runs.stages.finite.training import NetworkSpec, TwinSpec
from ntkcore.runs.stages.phrases import data_in_words
from ntkcore.runs.stages.sizes import Estimate
from ntkcore.runs.stages.stage import Arrays, Context, StageSpec


class TransferSpec(StageSpec):
    """What a perturbation made through one model does to another: the target's verdicts at every radius."""

    stage: ClassVar[str] = "transfer"
    version: ClassVar[int] = 1
    of_nets: ClassVar[bool] = True
    perturb: PerturbSpec = PerturbSpec()
    target: KernelModel | TwinSpec | NetworkSpec = TwinSpec()

    @model_validator(mode="after")
    def _same_images(self) -> "TransferSpec":
        if self.perturb.data != self.target.data:
            raise ValueError("Source and target see different images; choose the same data and classes for both.")
        return self

    def reads(self) -> tuple[StageSpec, ...]:
        return (*self.target.needs(), self.perturb)

    def compute(self, context: Context) -> Arrays:
        task = context.task(self.target.data)
        f = self.target.load(context, (0.0, 0.6))
        made = context.get(self.perturb, (0.6, 0.9)).arrays
        x, y = context.put(task.x_test), context.put(task.y_test)
        v = judge(f, x, context.put(made["x_adv"]), y)
        assert v.clean is not None  # judge keeps both
        assert v.attacked is not None
        arrays: Arrays = {"right_before": v.right_before.cpu(), "right_after": v.right_after.cpu()}
        arrays |= {"outputs": v.clean.double().cpu(), "attacked": v.attacked.double().cpu()}
        arrays["zero_gradient"] = made["zero_gradient"]
        if "gradient" in made:
            arrays["cosine"] = gradient_cosine(made["gradient"], loss_gradient(f, x, y).cpu())
        return arrays

    def cost(self, rates: Rates) -> Estimate:
        return self.target.cost_of_passes(rates, (1 + len(self.perturb.eps)) + 3)

    def in_words(self) -> str:
        images = data_in_words(self.target.data, self.target.kernel.inputs)
        return f"{images}, {self.perturb.attack_in_words()}, judged by {self.target.model_name()}"

    def experiment_fields(self) -> dict[str, Any]:
        return self.target.kernel.experiment_fields() | {"attack": self.perturb.attack}
