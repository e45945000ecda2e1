"""Specs of nets: an architecture of the paper, a net in training, and the checkpoint after one of its epochs.

A checkpoint names a run and an epoch, not how long the run will be: a longer run begins with a shorter one's
checkpoints, and a run that was stopped goes on where it stopped::

    EpochSpec.at(RunSpec(data=DataSpec(n_train=500), net=NamedNet(name="cnn-small"), attack=fgsm()), 10)
"""

from typing import ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from ntkcore import nets
from ntkcore.analysis.attacks import Attack
from ntkcore.architectures import ARCHITECTURES, Init
from ntkcore.data import DataSpec
from ntkcore.kernels.inputs import InputMapName
from ntkcore.nets import Parameterisation
from ntkcore.runs.specs.base import StageSpec
from ntkcore.training import Schedule
from ntkcore.validation import Spec

Family = Literal["fc", "conv", "myrtle"]
Regime = Literal["standard", "fgsm", "pgd"]


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


class NamedNet(Spec):
    """One of ``ntkcore.architectures``."""

    name: str = "cnn-small"
    init: Init = "he"

    @field_validator("name")
    @classmethod
    def _known(cls, name: str) -> str:
        if name not in ARCHITECTURES:
            raise ValueError(f"There is no network {name!r}; choose one of {', '.join(ARCHITECTURES)}.")
        return name


class TwinNet(Spec):
    """The finite twin of an infinite net, of this width."""

    net: NetSpec = NetSpec()
    width: int = Field(512, ge=1, le=65536)
    parameterisation: Parameterisation = "standard"


class RunSpec(Spec):
    """A net in training: on which images, from which weights, how; attack: on which perturbed images (None: clean);
    linear_from: the epoch after which the net is its own linearisation there (None: never)."""

    data: DataSpec = DataSpec()
    inputs: InputMapName = "raw"
    net: NamedNet | TwinNet = NamedNet()
    seed: int = Field(0, ge=0, lt=2**31)
    schedule: Schedule = Schedule()
    attack: Attack | None = None
    linear_from: int | None = Field(None, ge=0)

    @property
    def regime(self) -> Regime:
        """What the images that it is trained on are called; one step of attack counts as FGSM."""
        if self.attack is None:
            return "standard"
        return "fgsm" if self.attack.steps == 1 else "pgd"


class EpochSpec(StageSpec):
    """A checkpoint: weights and momentum after this epoch, and the mean training loss within it."""

    stage: ClassVar[str] = "epoch"
    version: ClassVar[int] = 2  # 2: an image that is left over joins the batch before it
    run: RunSpec = RunSpec()
    epoch: int = Field(0, ge=0, le=100_000)

    @model_validator(mode="after")
    def _one_name(self) -> "EpochSpec":
        if self.run.linear_from is not None and self.epoch <= self.run.linear_from:
            raise ValueError(
                f"Epoch {self.epoch} comes before the net is linearised (after {self.run.linear_from}); it is the "
                "checkpoint of the run without linear_from."
            )
        return self

    @classmethod
    def at(cls, run: RunSpec, epoch: int) -> "EpochSpec":
        """The checkpoint of a run after an epoch, by its one name: up to ``linear_from`` it is that of the run without
        it, and before any epoch nothing has been attacked yet."""
        if run.linear_from is not None and epoch <= run.linear_from:
            run = run.replace(linear_from=None)
        return cls(run=run.replace(attack=None) if epoch == 0 else run, epoch=epoch)

    @property
    def data(self) -> DataSpec:
        return self.run.data
