"""The stage of perturbed images: the test images as an attack through a source leaves them, at every radius.

::

    PerturbSpec(source=KernelModel(kernel=e.kernel(), descent=twin.training.descent), eps=(4 / 255, 8 / 255))
"""

from typing import Any, ClassVar, Literal

import torch
from pydantic import Field, field_validator, model_validator
from torch import Tensor

from ntkcore.analysis.attacks.attack import Attack, Predictor, fgsm, pgd
from ntkcore.analysis.attacks.autoattack import autoattack
from ntkcore.analysis.attacks.balls import Norm, in_pixels
from ntkcore.analysis.attacks.transfer import perturb_along, sign_noise
from ntkcore.data import DataSpec
from ntkcore.runs.rates import Rates
from ntkcore.runs.stages.finite.models import KernelModel, Noise
from ntkcore.runs.stages.finite.training import NetworkSpec, TwinSpec
from ntkcore.runs.stages.phrases import data_in_words
from ntkcore.runs.stages.sizes import LEAST_MEMORY, OVERHEAD, Estimate
from ntkcore.runs.stages.stage import Arrays, Context, StageSpec

AUTO_PASSES = 2000  # forward passes of AutoAttack on an image, on average


class PerturbSpec(StageSpec):
    """The test images perturbed through a source, at every radius: FGSM (one step), PGD (several) or AutoAttack."""

    stage: ClassVar[str] = "perturb"
    version: ClassVar[int] = 1
    of_nets: ClassVar[bool] = True
    source: KernelModel | TwinSpec | NetworkSpec | Noise = KernelModel()
    eps: tuple[float, ...] = Field((8 / 255,), min_length=1, max_length=40)
    method: Literal["gradient", "autoattack"] = "gradient"
    steps: int = Field(1, ge=1, le=200)
    norm: Norm = "linf"

    @field_validator("eps")
    @classmethod
    def _radii(cls, eps: tuple[float, ...]) -> tuple[float, ...]:
        for radius in eps:
            if not 0 <= radius < float("inf"):
                raise ValueError(f"A radius of the attack is {radius}; each must be zero or positive.")
        return eps

    @model_validator(mode="after")
    def _radius_of_the_norm(self) -> "PerturbSpec":
        if self.norm == "linf" and max(self.eps) > 1:
            raise ValueError(f"eps is {max(self.eps)}; pixels lie in [0, 1], so choose at most 1 (255/255).")
        plain = (self.steps, self.norm, self.method) == (1, "linf", "gradient")
        if isinstance(self.source, Noise) and not plain:
            raise ValueError("Random signs have one step and the linf ball; choose steps 1 and norm 'linf'.")
        if self.method == "autoattack" and self.steps != 1:
            raise ValueError("AutoAttack chooses its own steps; set steps to 1.")
        return self

    @property
    def data(self) -> DataSpec:
        return self.source.data

    @property
    def attack(self) -> Attack:
        """The attack at the largest radius; smaller ones scale its step along."""
        largest = max(self.eps)
        return fgsm(largest, self.norm) if self.steps == 1 else pgd(largest, self.steps, norm=self.norm)

    def reads(self) -> tuple[StageSpec, ...]:
        return () if isinstance(self.source, Noise) else self.source.needs()

    def compute(self, context: Context) -> Arrays:
        task = context.task(self.data)
        x, y = context.put(task.x_test), context.put(task.y_test)
        if isinstance(self.source, Noise):
            x_adv = sign_noise(x, self.eps, self.source.seed)
            return {"x_adv": x_adv.cpu(), "zero_gradient": torch.zeros(len(x), dtype=torch.bool)}
        f = self.source.load(context, (0.0, 0.3))
        if self.method == "autoattack":
            return _strongest(f, x, y, self, context)
        p = perturb_along(f, x, y, self.attack, self.eps, context.report((0.3, 1.0)))
        return {"x_adv": p.x_adv.cpu(), "gradient": p.gradient.cpu(), "zero_gradient": p.zero_gradient.cpu()}

    def cost(self, rates: Rates) -> Estimate:
        if isinstance(self.source, Noise):
            return Estimate(OVERHEAD, LEAST_MEMORY)
        passes = 3 * (1 + len(self.eps) * (self.steps - 1))
        passes += AUTO_PASSES * len(self.eps) if self.method == "autoattack" else 0
        return self.source.cost_of_passes(rates, passes)

    def in_words(self) -> str:
        inputs = "raw" if isinstance(self.source, Noise) else self.source.kernel.inputs
        return f"{data_in_words(self.data, inputs)}, {self.attack_in_words()}"

    def attack_in_words(self) -> str:
        """The attack and its source, without the images."""
        largest = in_pixels(max(self.eps), self.norm)
        if isinstance(self.source, Noise):
            return f"{self.source.model_name()}, {len(self.eps)} radii up to {largest}"
        many = f"{len(self.eps)} radii up to " if len(self.eps) > 1 else ""
        kind = "FGSM" if self.steps == 1 else f"PGD of {self.steps} steps"
        kind = "AutoAttack" if self.method == "autoattack" else kind
        ball, inputs = "" if self.norm == "linf" else " in ℓ2", self.source.kernel.inputs
        seen = "" if inputs == "raw" else f", which sees {inputs}d inputs"
        return f"{kind}{ball}, {many}{largest}, through {self.source.model_name()}{seen}"

    def experiment_fields(self) -> dict[str, Any]:
        source = {"data": self.data} if isinstance(self.source, Noise) else self.source.kernel.experiment_fields()
        return source | {"attack": self.attack}


def _strongest(f: Predictor, x: Tensor, y: Tensor, spec: PerturbSpec, context: Context) -> Arrays:
    report, images = context.report((0.3, 1.0)), []
    for i, eps in enumerate(spec.eps):
        if report is not None:
            report(i, len(spec.eps), f"AutoAttack, radius {i + 1} of {len(spec.eps)}")
        images.append(autoattack(f, x, y, eps, spec.norm))
    return {"x_adv": torch.stack(images).cpu(), "zero_gradient": torch.zeros(len(x), dtype=torch.bool)}
