"""The stages of one image along the radius of an attack: of a test image, and of an image of the reader's own.

::

    name = keep_image(image, store)                     # [C, H, W] in [0, 1]
    result(UploadSpec(kernel=kernel, image=name, label=1), store)
"""

import hashlib
import math
from typing import Any, ClassVar

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from ntkcore.analysis.attacks.attack import Attack, fgsm, pgd
from ntkcore.analysis.attacks.balls import radii_up_to
from ntkcore.analysis.attacks.margin_path import MarginPath, margin_along_eps
from ntkcore.analysis.predict import KernelPredictor
from ntkcore.data.task import targets
from ntkcore.errors import SpecError
from ntkcore.runs.rates import Rates
from ntkcore.runs.stages.kernel_side.parts import (
    check_index,
    cost_of_passes,
    parts_of,
    predictor,
    read_by_predictor,
    strong,
)
from ntkcore.runs.stages.kernel_side.spectrum import EigenpairsSpec
from ntkcore.runs.stages.phrases import unusual
from ntkcore.runs.stages.sizes import Estimate, outputs_of
from ntkcore.runs.stages.stage import Arrays, Context, StageSpec
from ntkcore.runs.store import Store, declare

IMAGE = "image"  # where uploaded images are kept in the store
declare(IMAGE)


class MarginSpec(EigenpairsSpec):
    """What both have: a kernel's prediction of one image, attacked at radii up to eps_max.

    Margins under FGSM and PGD, and the images and outputs of the spec's own attack, at the same radii, of which number
    ``at`` is its own.
    """

    attack: Attack = fgsm()
    ridge: float = Field(0.0, ge=0, allow_inf_nan=False)
    eps_max: float = Field(0.2, gt=0, le=1e6, allow_inf_nan=False)

    @property
    def moment(self) -> float | None:
        """The training time of the prediction; None: infinity."""
        return None

    def reads(self) -> tuple[StageSpec, ...]:
        return read_by_predictor(self.eigenpairs, self.moment, self.ridge)

    def cost(self, rates: Rates) -> Estimate:
        steps = sum(attack.steps for attack in _attacks_along(self.attack)[0].values())
        if self.kernel.checkpoint is not None:
            return self.kernel.attack_cost(rates, outputs_of(self.kernel.data), 40, steps)
        return cost_of_passes(self.eigenpairs, rates, 40 * steps)

    def experiment_fields(self) -> dict[str, Any]:
        return super().experiment_fields() | {"attack": self.attack, "ridge": self.ridge}


class FlipSpec(MarginSpec):
    """One test image's margin along eps under FGSM and PGD, and the smallest eps that flips it."""

    stage: ClassVar[str] = "flip"
    version: ClassVar[int] = 2
    time: float | None = Field(None, ge=0, allow_inf_nan=False)
    index: int = Field(0, ge=0)

    @property
    def moment(self) -> float | None:
        return self.time

    def compute(self, context: Context) -> Arrays:
        p = parts_of(self.eigenpairs, context, (0.0, 0.6))
        check_index(self.index, p.task)
        f = predictor(p, self.moment, self.ridge, context)
        return _margins(f, p.task.x_test[self.index], p.task.y_test[self.index], self, context)

    def in_words(self) -> str:
        words = [super().in_words(), str(self.attack), *unusual(self, "time", "ridge", "eps_max")]
        return ", ".join([*words, f"test image {self.index}"])


class UploadSpec(MarginSpec):
    """As FlipSpec, of an image of the reader's own: ``image`` names what ``keep_image`` has put in the store."""

    stage: ClassVar[str] = "upload"
    version: ClassVar[int] = 2
    image: str = Field("0" * 32, pattern="^[0-9a-f]{32}$")
    label: int = Field(0, ge=0)

    def compute(self, context: Context) -> Arrays:
        p = parts_of(self.eigenpairs, context, (0.0, 0.6))
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
        f = predictor(p, self.moment, self.ridge, context)
        return _margins(f, image, targets(torch.tensor([self.label]), classes)[0], self, context)

    def in_words(self) -> str:
        words = [super().in_words(), str(self.attack), *unusual(self, "ridge", "eps_max")]
        return ", ".join([*words, f"own image {self.image[:8]} as class {self.label}"])


def _margins(f: KernelPredictor, image: Tensor, label: Tensor, spec: MarginSpec, context: Context) -> Arrays:
    """One image along the radius: its margins under FGSM and PGD, and what the spec's own attack makes of it."""
    x, y, own = context.put(image).double(), context.put(label).double(), spec.attack.eps
    radii = torch.tensor(radii_up_to(spec.eps_max, spec.attack.norm, own), dtype=torch.float64, device=x.device)
    arrays: Arrays = {"eps": radii, "image": image, "at": (radii - own).abs().argmin()}
    attacks, own_name = _attacks_along(spec.attack)
    paths: dict[str, MarginPath] = {}
    for i, (name, attack) in enumerate(attacks.items()):
        if context.progress is not None:
            context.progress(0.6 + 0.4 * i / len(attacks), 1.0, f"margin along eps, {name}")
        paths[name] = margin_along_eps(f, x, y, attack, radii)
    for name, path in ((name, paths[name]) for name in ("fgsm", "pgd")):
        arrays[f"{name}_margin"] = path.margins
        arrays[f"{name}_flip"] = np.array(path.flip_eps)
        arrays[f"{name}_zero_gradient"] = np.array(path.zero_gradient)
    shown = paths[own_name]
    arrays |= {"x_adv": shown.x_adv.float(), "attacked": shown.outputs, "margin": shown.margins}
    return {name: value.cpu() if isinstance(value, Tensor) else value for name, value in arrays.items()}


def _attacks_along(own: Attack) -> tuple[dict[str, Attack], str]:
    """The attacks that are made along the radius, by name: FGSM, PGD, and the spec's ``own``, whose name comes beside.

    The radius is set later: of an attack only the norm, the steps and a step's share of the radius count. By these
    ``own`` may be FGSM or PGD; then there are two.
    """
    one_step = fgsm(1.0, own.norm)
    both = {"fgsm": one_step, "pgd": strong(one_step.model_copy(update={"steps": own.steps}))}
    if own.eps == 0:
        own = _with_usual_step(own)
    name = next((name for name, other in both.items() if _differ_in_radius_alone(own, other)), "the attack itself")
    return {name: own} | both, name


def _with_usual_step(attack: Attack) -> Attack:
    """The attack with a radius of 1, and the step that is usual for it: at a radius of 0 its own has no share."""
    if attack.one_step:
        return fgsm(1.0, attack.norm)
    return pgd(1.0, attack.steps, norm=attack.norm, random_start=attack.random_start, seed=attack.seed)


def _differ_in_radius_alone(one: Attack, other: Attack) -> bool:
    """Of attacks of one norm, at radii above 0."""
    shares = (attack.step_size / attack.eps for attack in (one, other))
    return one.steps == other.steps and one.random_start == other.random_start and math.isclose(*shares)


def image_name(image: Tensor) -> str:
    """The name under which an image is kept, made of its content."""
    return hashlib.sha256(f"{tuple(image.shape)}".encode() + image.float().cpu().numpy().tobytes()).hexdigest()[:32]


def keep_image(image: Tensor, store: Store) -> str:
    """Put an image [C, H, W] in [0, 1] into the store; its name there."""
    name = image_name(image)
    store.put(IMAGE, name, {"image": image.float()}, {"words": "an uploaded image", "seconds": 0.0})
    return name
