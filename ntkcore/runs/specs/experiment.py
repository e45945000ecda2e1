"""Everything the sidebar says, as one value: what all pages look at.

::

    e = Experiment(data=DataSpec(n_train=500), net=NetSpec(family="conv", depth=2))
    e.sweep()                                   # the spec of its sweep
    experiment_from_json(text)                  # SpecError in words
"""

from typing import Any, Literal

from pydantic import Field, model_validator

from ntkcore.analysis.attacks.attack import Attack, fgsm
from ntkcore.data import DataSpec
from ntkcore.errors import SpecError
from ntkcore.kernels.inputs import InputMapName
from ntkcore.runs.stages import (
    CurvesSpec,
    EpochSpec,
    FlipSpec,
    GradientsSpec,
    KernelModel,
    KernelSpec,
    Kind,
    NetSpec,
    PicturesSpec,
    Precision,
    PredictSpec,
    Rule,
    SpectrumSpec,
    StageSpec,
    SweepSpec,
    TwinSpec,
    UploadSpec,
    usual_leading,
)
from ntkcore.runs.stages.phrases import attack_in_words, data_in_words
from ntkcore.training import LAZY, Descent, Training
from ntkcore.validation import Spec, fields_of_json


class Experiment(Spec):
    """Everything the sidebar says: what all pages look at. Each page's result is one of the stages below.

    checkpoint: of kind "empirical", the net in training whose tangent kernel is looked at instead of ``net``'s.
    leading: of how many eigenpairs of the kernel, those of the largest eigenvalues, everything is made; "all"; left
    out, all of them up to ALL_UP_TO training images, then LEADING.
    """

    data: DataSpec = DataSpec()
    net: NetSpec = NetSpec()
    kind: Kind = "ntk"
    inputs: InputMapName = "raw"
    precision: Precision = "float64"
    attack: Attack = fgsm()
    ridge: float = Field(0.0, ge=0, allow_inf_nan=False)
    rule: Rule = Rule()
    checkpoint: EpochSpec | None = None
    leading: int | Literal["all"] | None = None

    @model_validator(mode="after")
    def _kernel_fits(self) -> "Experiment":
        self.kernel()  # says what does not fit
        if isinstance(self.leading, int) and self.leading < 1:
            raise ValueError(f"leading is {self.leading}; at least 1 is needed, or all.")
        return self

    @property
    def eigenpairs(self) -> int | None:
        """How many eigenpairs everything is made of; None: of all."""
        n = self.data.n_train
        k = usual_leading(n) if self.leading is None else self.leading
        return None if k is None or k == "all" or k >= n else k

    def kernel(self) -> KernelSpec:
        if self.kind != "empirical":
            rest = {} if self.checkpoint is None else {"checkpoint": self.checkpoint}  # refused there
            common = {"data": self.data, "net": self.net, "kind": self.kind}
            return KernelSpec(**common, inputs=self.inputs, precision=self.precision, **rest)
        inputs = self.inputs if self.checkpoint is None else self.checkpoint.run.inputs
        return KernelSpec(
            data=self.data, kind=self.kind, inputs=inputs, precision=self.precision, checkpoint=self.checkpoint
        )

    def _on_eigenpairs(self) -> dict[str, Any]:
        return {"kernel": self.kernel(), "leading": self.eigenpairs}

    def spectrum(self) -> SpectrumSpec:
        return SpectrumSpec(**self._on_eigenpairs())

    def predict(self) -> PredictSpec:
        return PredictSpec(**self._on_eigenpairs(), attack=self.attack, ridge=self.ridge)

    def sweep(self) -> SweepSpec:
        return SweepSpec(**self._on_eigenpairs(), attack=self.attack)

    def curves(self) -> CurvesSpec:
        return CurvesSpec(sweep=self.sweep(), rule=self.rule)

    def pictures(self, index: int, features: tuple[int, ...]) -> PicturesSpec:
        return PicturesSpec(sweep=self.sweep(), rule=self.rule, index=index, features=features)

    def gradients(self) -> GradientsSpec:
        return GradientsSpec(**self._on_eigenpairs())

    def flip(self, index: int, time: float | None = None, eps_max: float = 0.2) -> FlipSpec:
        return FlipSpec(
            **self._on_eigenpairs(),
            attack=self.attack,
            ridge=self.ridge,
            time=time,
            index=index,
            eps_max=eps_max,
        )

    def upload(self, image: str, label: int, eps_max: float = 0.2) -> UploadSpec:
        """An image of the reader's own, by its name in the store, with its class number."""
        return UploadSpec(
            **self._on_eigenpairs(),
            attack=self.attack,
            ridge=self.ridge,
            image=image,
            label=label,
            eps_max=eps_max,
        )

    def ntk(self) -> KernelSpec:
        """The tangent kernel of the experiment's net, which its finite twins are compared with."""
        return self.infinite().kernel().replace(kind="ntk")

    def infinite(self) -> "Experiment":
        """The experiment with the kernel of its infinite net, when it looks at a checkpoint's."""
        return self.replace(kind="ntk", checkpoint=None) if self.kind == "empirical" else self

    def twin(self, width: int, seed: int = 0, training: Training = LAZY) -> TwinSpec:
        return TwinSpec(kernel=self.ntk(), width=width, seed=seed, training=training)

    def kernel_model(self, descent: Descent | None = None) -> KernelModel:
        """The prediction of the tangent kernel after the steps of ``descent`` (None: at t = infinity)."""
        return KernelModel(kernel=self.ntk(), descent=descent, ridge=0.0 if descent else self.ridge)

    def stages(self) -> tuple[StageSpec, ...]:
        """What a full run of the experiment computes, in order of need."""
        kernel = (self.kernel(),) if self.spectrum().held else ()
        return (*kernel, self.spectrum(), self.predict(), self.sweep(), self.curves())

    def in_words(self, kernel: bool = True) -> str:
        """One line for people: "Fashion-MNIST: Pullover / Coat, n = 1000, FC(1) NTK, FGSM eps 8/255".

        kernel: without it, the data, the inputs and the attack alone.
        """
        if kernel:
            return self.predict().in_words()
        return f"{data_in_words(self.data, self.ntk().inputs)}, {attack_in_words(self.attack)}"


def experiment_of(spec: StageSpec) -> Experiment:
    """The experiment that a stage belongs to; what the stage does not say takes its default."""
    return Experiment(**spec.experiment_fields())


def experiment_from_json(text: str | bytes) -> Experiment:
    """An Experiment from JSON text. Raises SpecError in words for malformed JSON, unknown or unfit fields."""
    fields = fields_of_json(text, "experiment")
    if not isinstance(fields, dict):
        raise SpecError("The experiment must be a JSON object with fields such as data, net and attack.")
    return Experiment.model_validate(fields)
