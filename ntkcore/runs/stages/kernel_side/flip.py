"""The stages of one image's margin along the radius: of a test image, and of an image of the reader's own.

::

    name = keep_image(image, store)                     # [C, H, W] in [0, 1]
    result(UploadSpec(kernel=kernel, image=name, label=1), store)
"""

import hashlib
from typing import Any, ClassVar

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from ntkcore.analysis.attacks.attack import Attack, fgsm
from ntkcore.analysis.attacks.margin_path import margin_along_eps
from ntkcore.analysis.predict import KernelPredictor
from ntkcore.data.task import targets
from ntkcore.errors import SpecError
from ntkcore.runs.rates import Rates
from ntkcore.runs.stages.kernel_side.kernel import KernelSpec
from ntkcore.runs.stages.kernel_side.parts import (
    check_index,
    cost_of_passes,
    parts_of,
    predictor,
    read_by_parts,
    strong,
)
from ntkcore.runs.stages.phrases import unusual
from ntkcore.runs.stages.sizes import Estimate, outputs_of
from ntkcore.runs.stages.stage import Arrays, Context, StageSpec
from ntkcore.runs.store import Store, declare

IMAGE = "image"  # where uploaded images are kept in the store
declare(IMAGE)


class MarginSpec(StageSpec):
    """What both have: a kernel's prediction of one image, attacked at radii up to eps_max."""

    kernel: KernelSpec = KernelSpec()
    attack: Attack = fgsm()
    ridge: float = Field(0.0, ge=0, allow_inf_nan=False)
    eps_max: float = Field(0.2, gt=0, le=1e6, allow_inf_nan=False)

    def reads(self) -> tuple[StageSpec, ...]:
        return read_by_parts(self.kernel)

    def cost(self, rates: Rates) -> Estimate:
        if self.kernel.checkpoint is not None:
            return self.kernel.attack_cost(rates, outputs_of(self.kernel.data), 40, 11)
        return cost_of_passes(self.kernel, rates, 40 * (max(self.attack.steps, 10) + 1))

    def experiment_fields(self) -> dict[str, Any]:
        return self.kernel.experiment_fields() | {"attack": self.attack, "ridge": self.ridge}


class FlipSpec(MarginSpec):
    """One test image's margin along eps under FGSM and PGD, and the smallest eps that flips it."""

    stage: ClassVar[str] = "flip"
    version: ClassVar[int] = 1
    time: float | None = Field(None, ge=0, allow_inf_nan=False)
    index: int = Field(0, ge=0)

    def compute(self, context: Context) -> Arrays:
        p = parts_of(self.kernel, context, (0.0, 0.6))
        check_index(self.index, p.task)
        f = predictor(p, self.time, self.ridge, context)
        return _margins(f, p.task.x_test[self.index], p.task.y_test[self.index], self, context)

    def in_words(self) -> str:
        words = [self.kernel.in_words(), str(self.attack), *unusual(self, "time", "ridge", "eps_max")]
        return ", ".join([*words, f"test image {self.index}"])


class UploadSpec(MarginSpec):
    """As FlipSpec, of an image of the reader's own: ``image`` names what ``keep_image`` has put in the store."""

    stage: ClassVar[str] = "upload"
    version: ClassVar[int] = 1
    image: str = Field("0" * 32, pattern="^[0-9a-f]{32}$")
    label: int = Field(0, ge=0)

    def compute(self, context: Context) -> Arrays:
        p = parts_of(self.kernel, context, (0.0, 0.6))
        kept = context.store.get(IMAGE, self.image)
        if kept is None:
            raise SpecError("The image that was uploaded is no longer in the cache. Upload it again.")
        image, classes = kept.arrays["image"], len(p.task.classes)
        if tuple(image.shape) != p.task.image_shape:
            raise SpecError(
                f"The image has shape {tuple(image.shape)}, the data set {p.task.image_shape}. Upload it again."
            )
        if self.label >= classes:
            raise SpecError(f"Class {self.label} does not exist: there are {classes}. Choose 0 to {classes - 1}.")
        f = predictor(p, None, self.ridge, context)
        return _margins(f, image, targets(torch.tensor([self.label]), classes)[0], self, context)

    def in_words(self) -> str:
        words = [self.kernel.in_words(), str(self.attack), *unusual(self, "ridge", "eps_max")]
        return ", ".join([*words, f"own image {self.image[:8]} as class {self.label}"])


def _margins(f: KernelPredictor, image: Tensor, label: Tensor, spec: MarginSpec, context: Context) -> Arrays:
    """One image's margin along the radius under FGSM and PGD, and under the spec's own attack."""
    x, y = context.put(image).double(), context.put(label).double()
    radii = torch.linspace(0, spec.eps_max, 25, dtype=torch.float64, device=x.device)
    arrays: Arrays = {"eps": radii, "image": image}
    base = spec.attack.model_copy(update={"eps": spec.eps_max, "steps": 1, "step_size": spec.eps_max})
    single = base.model_copy(update={"random_start": False})
    for i, (name, attack) in enumerate((("fgsm", single), ("pgd", strong(base)))):
        if context.progress is not None:
            context.progress(0.6 + 0.2 * i, 1.0, f"margin along eps, {name.upper()}")
        path = margin_along_eps(f, x, y, attack, radii)
        arrays[f"{name}_margin"] = path.margins
        arrays[f"{name}_flip"] = np.array(path.flip_eps)
        arrays[f"{name}_zero_gradient"] = np.array(path.zero_gradient)
    r = spec.attack(f, x[None], y[None])
    arrays |= {"x_adv": r.x_adv[0].float(), "outputs": r.clean[0], "attacked": r.attacked[0]}
    return {name: value.cpu() if isinstance(value, Tensor) else value for name, value in arrays.items()}


def image_name(image: Tensor) -> str:
    """The name under which an image is kept, made of its content."""
    return hashlib.sha256(f"{tuple(image.shape)}".encode() + image.float().cpu().numpy().tobytes()).hexdigest()[:32]


def keep_image(image: Tensor, store: Store) -> str:
    """Put an image [C, H, W] in [0, 1] into the store; its name there."""
    name = image_name(image)
    store.put(IMAGE, name, {"image": image.float()}, {"words": "an uploaded image", "seconds": 0.0})
    return name
