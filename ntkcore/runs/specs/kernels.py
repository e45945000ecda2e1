"""Specs of the kernel side: a kernel, its spectrum, its prediction, its eigenfeatures, one image's margin.

::

    KernelSpec(data=DataSpec(n_train=500), net=NetSpec(family="conv", depth=2))
"""

from typing import ClassVar, Literal

from pydantic import Field, model_validator

from ntkcore import nets
from ntkcore.analysis.attacks import Attack, fgsm
from ntkcore.data import DataSpec
from ntkcore.kernels.inputs import InputMapName
from ntkcore.runs.specs.base import StageSpec
from ntkcore.validation import Spec

Family = Literal["fc", "conv", "myrtle"]
Precision = Literal["float64", "float32"]


class NetSpec(Spec):
    """An architecture of the paper: family, depth (hidden layers; 5, 7 or 10 for Myrtle), W_std, b_std, activation."""

    family: Family = "fc"
    depth: int = Field(1, ge=1, le=20)
    W_std: float = Field(2**0.5, gt=0, le=10, allow_inf_nan=False)
    b_std: float = Field(0.1, ge=0, le=10, allow_inf_nan=False)
    activation: nets.ActivationName = "relu"

    @model_validator(mode="after")
    def _buildable(self) -> "NetSpec":
        if self.family == "myrtle" and self.depth not in nets.MYRTLE_BLOCKS:
            raise ValueError(f"Myrtle has depth 5, 7 or 10; got {self.depth}.")
        return self

    def build(self) -> nets.Net:
        make = {"fc": nets.fc, "conv": nets.conv, "myrtle": nets.myrtle}[self.family]
        return make(self.depth, self.W_std, self.b_std, self.activation)


class KernelSpec(StageSpec):
    """The kernel of a net on a data set: K [n, n] and K_test [m, n]."""

    stage: ClassVar[str] = "kernel"
    version: ClassVar[int] = 1
    data: DataSpec = DataSpec()
    net: NetSpec = NetSpec()
    kind: Literal["ntk", "nngp"] = "ntk"
    inputs: InputMapName = "raw"
    precision: Precision = "float64"


class SpectrumSpec(StageSpec):
    """Eigenpairs of a kernel's training matrix, and the labels on them."""

    stage: ClassVar[str] = "spectrum"
    version: ClassVar[int] = 1
    kernel: KernelSpec = KernelSpec()


class PredictSpec(StageSpec):
    """The kernel predictor at ``time`` (None: infinity) with a ridge, clean and under attack, on the test images."""

    stage: ClassVar[str] = "predict"
    version: ClassVar[int] = 1
    kernel: KernelSpec = KernelSpec()
    attack: Attack = fgsm()
    time: float | None = Field(None, ge=0, allow_inf_nan=False)
    ridge: float = Field(0.0, ge=0, allow_inf_nan=False)


class SweepSpec(StageSpec):
    """Usefulness and robustness of every eigenfeature under one attack."""

    stage: ClassVar[str] = "sweep"
    version: ClassVar[int] = 2
    kernel: KernelSpec = KernelSpec()
    attack: Attack = fgsm()


class Rule(Spec):
    """How features are classed: level of the binomial test, and the share of right answers a robust one keeps."""

    level: float = Field(0.01, gt=0, lt=1)
    keep: float = Field(0.5, gt=0, le=1)


class CurvesSpec(StageSpec):
    """Accuracy when only some features are kept, and of f_t along training time, clean and under attack."""

    stage: ClassVar[str] = "curves"
    version: ClassVar[int] = 1
    sweep: SweepSpec = SweepSpec()
    rule: Rule = Rule()


class PicturesSpec(StageSpec):
    """Chosen features at one test image as pictures, and that image's perturbation split over all features."""

    stage: ClassVar[str] = "pictures"
    version: ClassVar[int] = 1
    sweep: SweepSpec = SweepSpec()
    rule: Rule = Rule()
    index: int = Field(0, ge=0)
    features: tuple[int, ...] = Field((0, 1, 2, 3), min_length=1)


class FlipSpec(StageSpec):
    """One test image's margin along eps under FGSM and PGD, and the smallest eps that flips it."""

    stage: ClassVar[str] = "flip"
    version: ClassVar[int] = 1
    kernel: KernelSpec = KernelSpec()
    attack: Attack = fgsm()
    time: float | None = Field(None, ge=0, allow_inf_nan=False)
    ridge: float = Field(0.0, ge=0, allow_inf_nan=False)
    index: int = Field(0, ge=0)
    eps_max: float = Field(0.2, gt=0, le=10)


class UploadSpec(StageSpec):
    """As FlipSpec, of an image of the reader's own: ``image`` names what ``stages.keep_image`` has put in the store."""

    stage: ClassVar[str] = "upload"
    version: ClassVar[int] = 1
    kernel: KernelSpec = KernelSpec()
    attack: Attack = fgsm()
    ridge: float = Field(0.0, ge=0, allow_inf_nan=False)
    image: str = Field("0" * 32, pattern="^[0-9a-f]{32}$")
    label: int = Field(0, ge=0)
    eps_max: float = Field(0.2, gt=0, le=10)
