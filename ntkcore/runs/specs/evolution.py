"""Specs of the kernel in motion: a net trained epoch by epoch, its scores and its tangent kernel on the way.

``Evolution`` is not a stage; it names all that the
page shows, in the order in which it is worth having::

    e = Evolution(data=DataSpec(n_train=1000), regimes=("standard", "fgsm"), epochs=15)
    e.wanted()                     # {("standard", 0, 0, "score"): ScoreSpec, ("standard", 0, 0, "moment"): ...}
"""

from typing import ClassVar

from pydantic import Field, field_validator, model_validator

from ntkcore.analysis.attacks import Attack, fgsm, pgd
from ntkcore.data import DataSpec
from ntkcore.kernels.inputs import InputMapName
from ntkcore.runs.specs.base import StageSpec
from ntkcore.runs.specs.checkpoints import EpochSpec, NamedNet, Regime, RunSpec, TwinNet
from ntkcore.training import Schedule
from ntkcore.validation import Spec

REGIMES: tuple[Regime, ...] = ("standard", "fgsm", "pgd")
REGIME_NAMES: dict[Regime, str] = {"standard": "standard", "fgsm": "FGSM", "pgd": "PGD"}  # as sentences have them


class ScoreSpec(StageSpec):
    """Accuracy of a checkpoint, clean and under both attacks, on the first test and the first training images."""

    stage: ClassVar[str] = "score"
    version: ClassVar[int] = 3  # 3: on the first test images
    checkpoint: EpochSpec = EpochSpec()
    fgsm: Attack = fgsm()
    pgd: Attack = pgd()
    n_test: int = Field(200, ge=1)
    n_train: int = Field(200, ge=1)


class TangentSpec(StageSpec):
    """The full empirical tangent kernel of a checkpoint on the probe set: the first ``n`` training images.

    attack: every checkpoint sees the probe set as this attack through itself perturbs it; None: clean.
    """

    stage: ClassVar[str] = "tangent"
    version: ClassVar[int] = 2
    checkpoint: EpochSpec = EpochSpec()
    n: int = Field(128, ge=2, le=20_000)
    attack: Attack | None = None


class MomentSpec(StageSpec):
    """What one kernel of a run says of itself and against those before it, of every so many epochs from 0 on."""

    stage: ClassVar[str] = "moment"
    version: ClassVar[int] = 2
    tangent: TangentSpec = TangentSpec()
    every: int = Field(1, ge=1)
    top: int = Field(20, ge=1, le=1000)

    @property
    def earlier(self) -> tuple["MomentSpec", ...]:
        """The same of the kernels before it, on the same probe set."""
        checkpoint = self.tangent.checkpoint
        return tuple(
            self.replace(tangent=self.tangent.replace(checkpoint=EpochSpec.at(checkpoint.run, epoch)))
            for epoch in range(0, checkpoint.epoch, self.every)
        )


class FrozenSpec(StageSpec):
    """A checkpoint's linearisation solved in closed form on the first ``n`` training images, and its accuracy."""

    stage: ClassVar[str] = "frozen"
    version: ClassVar[int] = 3  # 3: on the first test images
    checkpoint: EpochSpec = EpochSpec()
    n: int = Field(500, ge=2, le=20_000)
    n_test: int = Field(200, ge=1)
    ridge: float = Field(1e-3, ge=0, allow_inf_nan=False)  # in units of the kernel's mean diagonal
    fgsm: Attack = fgsm()
    pgd: Attack = pgd()


class GlimpseSpec(StageSpec):
    """The leading eigenfeatures of a checkpoint's kernel on the probe set, as gradients at one test image."""

    stage: ClassVar[str] = "glimpse"
    version: ClassVar[int] = 2
    tangent: TangentSpec = TangentSpec()
    index: int = Field(0, ge=0)
    features: int = Field(4, ge=1, le=50)


def checkpoint_of(spec: StageSpec) -> EpochSpec:
    """The checkpoint that a stage of this module belongs to."""
    if isinstance(spec, EpochSpec):
        return spec
    return spec.tangent.checkpoint if isinstance(spec, MomentSpec | GlimpseSpec) else spec.checkpoint


def run_of(spec: StageSpec) -> RunSpec:
    """The run that a stage of this module belongs to."""
    return checkpoint_of(spec).run


MOTION = (EpochSpec, ScoreSpec, TangentSpec, MomentSpec, FrozenSpec, GlimpseSpec)


class Evolution(Spec):
    """Runs of several regimes and seeds, looked at epoch by epoch.

    fgsm and pgd: the attacks of the two adversarial regimes, and those that every net is judged by, on the first
    ``tested`` test images and the first ``judged`` training images (or as many as there are). every: of how many
    epochs one kernel is taken (the first and the last always). probe: images of the probe set; attacked: it is
    perturbed by FGSM. freeze: epochs after which linearised copies of every run go on; their closed form is solved on
    the first ``solved_on`` training images with this ridge (in units of the kernel's mean diagonal). top: how many
    eigenpairs are the top of a kernel.
    """

    data: DataSpec = DataSpec()
    inputs: InputMapName = "raw"
    net: NamedNet | TwinNet = NamedNet()
    regimes: tuple[Regime, ...] = ("standard", "fgsm")
    seeds: int = Field(3, ge=1, le=10)
    epochs: int = Field(15, ge=1, le=10_000)
    schedule: Schedule = Schedule()
    fgsm: Attack = fgsm()
    pgd: Attack = pgd(8 / 255, 7, 2 / 255)
    every: int = Field(1, ge=1)
    tested: int = Field(200, ge=1)
    judged: int = Field(50, ge=1)
    probe: int = Field(128, ge=2, le=20_000)
    attacked: bool = False
    freeze: tuple[int, ...] = ()
    solved_on: int = Field(500, ge=2, le=20_000)
    ridge: float = Field(1e-2, ge=0, allow_inf_nan=False)
    top: int = Field(20, ge=1, le=1000)

    @field_validator("regimes")
    @classmethod
    def _in_order(cls, regimes: tuple[Regime, ...]) -> tuple[Regime, ...]:
        return tuple(regime for regime in REGIMES if regime in regimes)

    @model_validator(mode="after")
    def _within(self) -> "Evolution":
        late = [epoch for epoch in self.freeze if not 0 <= epoch < self.epochs]
        if late:
            raise ValueError(f"Nets cannot be linearised after epoch {late[0]} of {self.epochs}; choose earlier ones.")
        if self.probe > self.data.n_train:
            raise ValueError(
                f"The probe set of {self.probe} images is larger than the {self.data.n_train} training images."
            )
        return self

    def run(self, regime: Regime, seed: int = 0, linear_from: int | None = None) -> RunSpec:
        attack = {"standard": None, "fgsm": self.fgsm, "pgd": self.pgd}[regime]
        return RunSpec(
            data=self.data,
            inputs=self.inputs,
            net=self.net,
            seed=seed,
            schedule=self.schedule.replace(seed=seed),
            attack=attack,
            linear_from=linear_from,
        )

    @property
    def judging(self) -> int:
        """How many test images nets are judged on."""
        return min(self.tested, self.data.n_test)

    def looks(self) -> tuple[int, ...]:
        """Epochs at which the kernel is taken."""
        return tuple(sorted({*range(0, self.epochs + 1, self.every), self.epochs}))

    def score(self, run: RunSpec, epoch: int) -> ScoreSpec:
        checkpoint = EpochSpec.at(run, epoch)
        return ScoreSpec(checkpoint=checkpoint, fgsm=self.fgsm, pgd=self.pgd, n_test=self.judging, n_train=self.judged)

    def tangent(self, regime: Regime, seed: int, epoch: int) -> TangentSpec:
        checkpoint = EpochSpec.at(self.run(regime, seed), epoch)
        return TangentSpec(checkpoint=checkpoint, n=self.probe, attack=self.fgsm if self.attacked else None)

    def wanted(self) -> dict[tuple[str, int, int, str], StageSpec]:
        """Every result by (regime, seed, epoch, "score" or "moment"): the first seed of all regimes side by side."""
        wanted: dict[tuple[str, int, int, str], StageSpec] = {}
        looks = self.looks()
        for seed in range(self.seeds):
            for epoch in range(self.epochs + 1):
                for regime in self.regimes:
                    wanted[regime, seed, epoch, "score"] = self.score(self.run(regime, seed), epoch)
                    if epoch in looks:
                        tangent = self.tangent(regime, seed, epoch)
                        moment = MomentSpec(tangent=tangent, every=self.every, top=self.top)
                        wanted[regime, seed, epoch, "moment"] = moment
        return wanted

    def frozen(self) -> dict[tuple[str, int, int], ScoreSpec]:
        """The last scores of the linearised runs by (regime, seed, epoch they were frozen after)."""
        return {
            (regime, seed, e): self.score(self.run(regime, seed, e), self.epochs)
            for e in sorted(set(self.freeze))
            for regime in self.regimes
            for seed in range(self.seeds)
        }

    def solved(self) -> dict[tuple[str, int, int], FrozenSpec]:
        """The closed forms of the same snapshots."""
        return {
            (regime, seed, e): FrozenSpec(
                checkpoint=EpochSpec.at(self.run(regime, seed), e),
                n=min(self.data.n_train, self.solved_on),
                n_test=self.judging,
                ridge=self.ridge,
                fgsm=self.fgsm,
                pgd=self.pgd,
            )
            for (regime, seed, e) in self.frozen()
        }

    def in_words(self) -> str:
        epochs, seeds = (f"{n} {word}{'s' * (n > 1)}" for n, word in ((self.epochs, "epoch"), (self.seeds, "seed")))
        return f"{', '.join(REGIME_NAMES[regime] for regime in self.regimes)}; {epochs}, {seeds}"
