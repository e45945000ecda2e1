"""An evolution: nets trained epoch by epoch in several regimes, with all that is looked at on the way.

It is not a stage; it names all that the page shows, in the order in which it is worth having::

    e = Evolution(data=DataSpec(n_train=1000), regimes=("standard", "fgsm"), epochs=15)
    e.wanted()                     # {("standard", 0, 0, "score"): ScoreSpec, ("standard", 0, 0, "moment"): ...}
"""

from pydantic import Field, field_validator, model_validator

from ntkcore.analysis.attacks.attack import Attack, fgsm, pgd
from ntkcore.data import DataSpec
from ntkcore.kernels.inputs import InputMapName
from ntkcore.runs.specs.experiment import Experiment
from ntkcore.runs.stages import (
    EpochSpec,
    FrozenSpec,
    MomentSpec,
    NamedNet,
    Regime,
    RunSpec,
    ScoreSpec,
    StageSpec,
    TangentSpec,
    TwinNet,
)
from ntkcore.training import Schedule
from ntkcore.validation import Spec

REGIMES: tuple[Regime, ...] = ("standard", "fgsm", "pgd")
REGIME_NAMES: dict[Regime, str] = {"standard": "standard", "fgsm": "FGSM", "pgd": "PGD"}  # as sentences have them


def step_share(attack: Attack) -> float:
    """A step of PGD as a share of the radius."""
    return attack.step_size / attack.eps if attack.eps else 0.25


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

    def about(self, e: Experiment) -> "Evolution":
        """The same trainings on the images of another experiment, at its radius; of a twin, that of its net."""
        eps, norm, net = e.attack.eps, e.attack.norm, self.net
        step = round(step_share(self.pgd), 9) * eps
        return self.replace(
            data=e.data,
            inputs=e.inputs,
            net=net.replace(net=e.net) if isinstance(net, TwinNet) else net,
            fgsm=fgsm(eps, norm),
            pgd=pgd(eps, self.pgd.steps, step, norm=norm),
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

    def wanted(self) -> dict[tuple[Regime, int, int, str], StageSpec]:
        """Every result by (regime, seed, epoch, "score" or "moment"): the first seed of all regimes side by side."""
        wanted: dict[tuple[Regime, int, int, str], StageSpec] = {}
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

    def frozen(self) -> dict[tuple[Regime, int, int], ScoreSpec]:
        """The last scores of the linearised runs by (regime, seed, epoch they were frozen after)."""
        return {
            (regime, seed, e): self.score(self.run(regime, seed, e), self.epochs)
            for e in sorted(set(self.freeze))
            for regime in self.regimes
            for seed in range(self.seeds)
        }

    def solved(self) -> dict[tuple[Regime, int, int], FrozenSpec]:
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
