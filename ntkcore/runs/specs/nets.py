"""Specs of finite nets and of attacks that transfer: who is trained, what is perturbed through whom, who is fooled.

A model is a kernel predictor, a finite twin of an infinite net, or a network of its own; all are predictors, so each
can be the source of a perturbation and its target::

    twin = TwinSpec(kernel=e.kernel(), width=512, seed=0)
    perturb = PerturbSpec(source=KernelModel(kernel=e.kernel(), descent=twin.training.descent), eps=(4 / 255, 8 / 255))
    TransferSpec(perturb=perturb, target=twin)
"""

from typing import ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from ntkcore.analysis.attacks import Attack, Norm, fgsm, pgd
from ntkcore.architectures import ARCHITECTURES, Init
from ntkcore.data import DataSpec
from ntkcore.runs.specs.base import StageSpec
from ntkcore.runs.specs.checkpoints import NetSpec
from ntkcore.runs.specs.kernels import KernelSpec
from ntkcore.training import LAZY, PLAIN, Descent, Training
from ntkcore.validation import Spec


class KernelModel(Spec):
    """A kernel's prediction: after the steps of a descent, or (None) at t = infinity with a ridge."""

    kernel: KernelSpec = KernelSpec()
    descent: Descent | None = None
    ridge: float = Field(0.0, ge=0, allow_inf_nan=False)

    @model_validator(mode="after")
    def _one_way(self) -> "KernelModel":
        if self.descent is not None and self.ridge:
            raise ValueError("A prediction after so many steps has no ridge; set ridge to 0, or leave descent empty.")
        return self

    @property
    def data(self) -> DataSpec:
        return self.kernel.data


class TwinSpec(StageSpec):
    """A finite net of the kernel's own architecture, trained: its weights, its loss along the steps, and the cosine
    of its loss gradient with the kernel predictor's on the way."""

    stage: ClassVar[str] = "twin"
    version: ClassVar[int] = 1
    kernel: KernelSpec = KernelSpec()
    width: int = Field(512, ge=1, le=65536)
    seed: int = Field(0, ge=0, lt=2**31)
    training: Training = LAZY

    @property
    def data(self) -> DataSpec:
        return self.kernel.data

    @property
    def comparable(self) -> KernelModel:
        """The kernel predictor that this net is compared with: after the same steps where it can follow them, else
        at the end of a lazy training."""
        return KernelModel(kernel=self.kernel, descent=self.training.descent or LAZY.descent)


class NetworkSpec(StageSpec):
    """A network that has no infinite twin here (one of ``ntkcore.architectures``), trained; compared with a kernel."""

    stage: ClassVar[str] = "network"
    version: ClassVar[int] = 1
    name: str = "cnn-small"
    kernel: KernelSpec = KernelSpec()  # of the images it sees, through which map, and what it is compared with
    init: Init = "torch"
    seed: int = Field(0, ge=0, lt=2**31)
    training: Training = PLAIN

    @field_validator("name")
    @classmethod
    def _known(cls, name: str) -> str:
        if name not in ARCHITECTURES:
            raise ValueError(f"There is no network {name!r}; choose one of {', '.join(ARCHITECTURES)}.")
        return name

    @model_validator(mode="after")
    def _absolute(self) -> "NetworkSpec":
        if self.training.parameterisation != "standard":
            raise ValueError(
                "These networks have no NTK parameterisation; set training.parameterisation to 'standard'."
            )
        return self

    @property
    def data(self) -> DataSpec:
        return self.kernel.data

    @property
    def comparable(self) -> KernelModel:
        """The kernel predictor that this network is compared with: at the end of a lazy training."""
        return KernelModel(kernel=self.kernel, descent=LAZY.descent)


class Noise(Spec):
    """Random signs: what an attack has to beat."""

    data: DataSpec = DataSpec()
    seed: int = Field(0, ge=0, lt=2**31)


Model = KernelModel | TwinSpec | NetworkSpec


class PerturbSpec(StageSpec):
    """The test images perturbed through a source, at every radius: FGSM (one step), PGD (several) or AutoAttack."""

    stage: ClassVar[str] = "perturb"
    version: ClassVar[int] = 1
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


class TransferSpec(StageSpec):
    """What a perturbation made through one model does to another: the target's verdicts at every radius."""

    stage: ClassVar[str] = "transfer"
    version: ClassVar[int] = 1
    perturb: PerturbSpec = PerturbSpec()
    target: KernelModel | TwinSpec | NetworkSpec = TwinSpec()

    @model_validator(mode="after")
    def _same_images(self) -> "TransferSpec":
        if self.perturb.data != self.target.data:
            raise ValueError("Source and target see different images; choose the same data and classes for both.")
        return self


class PathSpec(StageSpec):
    """Loss gradients of a kernel predictor at the test images, after each of some steps of its descent."""

    stage: ClassVar[str] = "path"
    version: ClassVar[int] = 1
    kernel: KernelSpec = KernelSpec()
    lr: float = Field(1.0, gt=0, le=1e6, allow_inf_nan=False)
    momentum: float = Field(0.9, ge=0, lt=1)
    steps: tuple[int, ...] = Field((100,), min_length=1)

    @classmethod
    def along(cls, model: KernelModel, steps: tuple[int, ...]) -> "PathSpec":
        """The path of a model that has a descent, looked at after ``steps``."""
        return cls(kernel=model.kernel, lr=model.descent.lr, momentum=model.descent.momentum, steps=steps)


class GradientsSpec(StageSpec):
    """Input gradients of a kernel's ``top`` leading eigenfeatures at the first ``images`` test images."""

    stage: ClassVar[str] = "gradients"
    version: ClassVar[int] = 1
    kernel: KernelSpec = KernelSpec()
    top: int = Field(20, ge=1, le=100)
    images: int = Field(10, ge=1, le=1000)


_DEEPER = KernelSpec(net=NetSpec(depth=3))


class ConsistencySpec(StageSpec):
    """How far the kernels of several architectures agree on the same images, and their ``top`` leading eigenvectors."""

    stage: ClassVar[str] = "consistency"
    version: ClassVar[int] = 2
    kernels: tuple[KernelSpec, ...] = Field((KernelSpec(), _DEEPER), min_length=2, max_length=5)
    top: int = Field(20, ge=1, le=100)

    @model_validator(mode="after")
    def _same_images(self) -> "ConsistencySpec":
        if len({kernel.data for kernel in self.kernels}) > 1:
            raise ValueError("The architectures see different images; choose the same for all.")
        if len(set(self.kernels)) < len(self.kernels):
            raise ValueError("An architecture is chosen twice; choose different ones.")
        return self
