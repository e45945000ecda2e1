"""Specs of the kernel side: a kernel, its spectrum, its prediction, its eigenfeatures, one image's margin.

::

    KernelSpec(data=DataSpec(n_train=500), net=NetSpec(family="conv", depth=2))
"""

from typing import ClassVar, Literal

from pydantic import Field, model_validator

from ntkcore.analysis.attacks import Attack, fgsm
from ntkcore.data import DataSpec
from ntkcore.kernels.inputs import InputMapName
from ntkcore.runs.specs.base import StageSpec
from ntkcore.runs.specs.checkpoints import EpochSpec, NetSpec
from ntkcore.validation import Spec

Precision = Literal["float64", "float32"]
Kind = Literal["ntk", "nngp", "empirical"]


class KernelSpec(StageSpec):
    """The kernel of a net on a data set: K [n, n] and K_test [m, n].

    checkpoint: of kind "empirical", the finite net whose class-traced tangent kernel this is, with its own input map;
    net is left at its default then.
    """

    stage: ClassVar[str] = "kernel"
    version: ClassVar[int] = 1
    data: DataSpec = DataSpec()
    net: NetSpec = NetSpec()
    kind: Kind = "ntk"
    inputs: InputMapName = "raw"
    precision: Precision = "float64"
    checkpoint: EpochSpec | None = None

    @model_validator(mode="after")
    def _whose(self) -> "KernelSpec":
        if (self.kind == "empirical") != (self.checkpoint is not None):
            raise ValueError(
                "An empirical kernel is that of a checkpoint, and only it has one: choose kind 'empirical' "
                "together with a checkpoint of the Evolution page."
            )
        if self.checkpoint is not None:
            other = self.checkpoint.data
            if (other.name, other.classes, other.size, other.digest) != (
                self.data.name,
                self.data.classes,
                self.data.size,
                self.data.digest,
            ):
                raise ValueError(
                    "The checkpoint's net was trained on other images or classes; choose the same data set, "
                    "classes and image size as in its training."
                )
            if self.net != NetSpec() or self.inputs != self.checkpoint.run.inputs:
                raise ValueError("An empirical kernel has the net and the inputs of its checkpoint; leave net alone.")
        return self


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
    version: ClassVar[int] = 3
    kernel: KernelSpec = KernelSpec()
    attack: Attack = fgsm()


class Rule(Spec):
    """How features are classed: the false discovery rate of usefulness, and the share of right answers that a robust
    feature keeps."""

    fdr: float = Field(0.05, gt=0, lt=1)
    keep: float = Field(0.5, gt=0.05, le=1)


class CurvesSpec(StageSpec):
    """Verdicts when only some features are kept, band by band, and of f_t along training time, clean and under attack.

    Which features are robust or brittle is picked on the first half of the test images."""

    stage: ClassVar[str] = "curves"
    version: ClassVar[int] = 3
    sweep: SweepSpec = SweepSpec()
    rule: Rule = Rule()


class PicturesSpec(StageSpec):
    """Chosen features at one test image as pictures, and that image's perturbation split over all features."""

    stage: ClassVar[str] = "pictures"
    version: ClassVar[int] = 2
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
    eps_max: float = Field(0.2, gt=0, le=1e6, allow_inf_nan=False)


class UploadSpec(StageSpec):
    """As FlipSpec, of an image of the reader's own: ``image`` names what ``stages.keep_image`` has put in the store."""

    stage: ClassVar[str] = "upload"
    version: ClassVar[int] = 1
    kernel: KernelSpec = KernelSpec()
    attack: Attack = fgsm()
    ridge: float = Field(0.0, ge=0, allow_inf_nan=False)
    image: str = Field("0" * 32, pattern="^[0-9a-f]{32}$")
    label: int = Field(0, ge=0)
    eps_max: float = Field(0.2, gt=0, le=1e6, allow_inf_nan=False)
