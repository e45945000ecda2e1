"""Nets as a run describes them: an architecture of the paper, a named net, a finite twin, a net in training.

::

    RunSpec(data=DataSpec(n_train=500), net=NamedNet(name="cnn-small"), attack=fgsm()).how_trained()
"""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from ntkcore import nets
from ntkcore.analysis.attacks.attack import Attack
from ntkcore.architectures import ARCHITECTURES, Init
from ntkcore.data import DataSpec
from ntkcore.kernels.inputs import InputMapName
from ntkcore.nets import Parameterisation
from ntkcore.runs.stages.phrases import attack_in_words, unusual
from ntkcore.training import Schedule
from ntkcore.validation import Spec

Regime = Literal["standard", "fgsm", "pgd"]


class NetSpec(Spec):
    """An architecture of the paper: family, depth (hidden layers; 5, 7 or 10 for Myrtle), W_std, b_std, activation."""

    family: nets.FamilyName = "fc"
    depth: int = Field(1, ge=1, le=20)
    W_std: float = Field(2**0.5, gt=0, le=10, allow_inf_nan=False)
    b_std: float = Field(0.1, ge=0, le=10, allow_inf_nan=False)
    activation: nets.ActivationName = "relu"

    @model_validator(mode="after")
    def _buildable(self) -> "NetSpec":
        family = nets.FAMILIES[self.family]
        if self.depth not in family.depths:
            *most, last = map(str, family.depths)
            raise ValueError(f"{family.title} has depth {', '.join(most)} or {last}; got {self.depth}.")
        return self

    def build(self) -> nets.Net:
        return nets.FAMILIES[self.family].make(self.depth, self.W_std, self.b_std, self.activation)

    def in_words(self) -> list[str]:
        """Its name, and what is unusual about it: ["FC(1)", "W_std 2"]."""
        return [str(self.build()), *unusual(self, "activation", "W_std", "b_std")]


def _known(name: str) -> str:
    if name not in ARCHITECTURES:
        raise ValueError(f"There is no network {name!r}; choose one of {', '.join(ARCHITECTURES)}.")
    return name


ArchitectureName = Annotated[str, AfterValidator(_known)]


class NamedNet(Spec):
    """One of ``ntkcore.architectures``."""

    name: ArchitectureName = "cnn-small"
    init: Init = "he"

    def in_words(self) -> str:
        return f"{ARCHITECTURES[self.name]}, {self.init} initialisation"


class TwinNet(Spec):
    """The finite twin of an infinite net, of this width."""

    net: NetSpec = NetSpec()
    width: int = Field(512, ge=1, le=65536)
    parameterisation: Parameterisation = "standard"

    def in_words(self) -> str:
        return ", ".join([*self.net.in_words(), f"width {self.width}", f"{self.parameterisation} parameterisation"])


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

    def how_trained(self) -> str:
        """Schedule, seed and attack in words."""
        words = [str(self.schedule)]
        words += unusual(self.schedule, "seed") if self.schedule.seed != self.seed else []
        words += [
            f"seed {self.seed}",
            "standard training" if self.attack is None else f"trained on {attack_in_words(self.attack)}",
        ]
        words += [] if self.linear_from is None else [f"linearised after epoch {self.linear_from}"]
        return ", ".join(words)

    def experiment_fields(self) -> dict[str, object]:
        """What it says of an experiment, as fields of ``specs.Experiment``."""
        net = {"net": self.net.net} if isinstance(self.net, TwinNet) else {}
        return {"data": self.data, "inputs": self.inputs, "attack": self.attack or Attack(), **net}
