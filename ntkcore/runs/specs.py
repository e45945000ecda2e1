"""What an experiment is: frozen, validated descriptions with a canonical JSON form and a key.

A spec holds every field that changes a result and nothing that does not (device, tile size and workers stay out).
The same description is the sidebar, the URL, the command line and the cache key. A key covers all fields, defaults
too, and the stage's name and integer version::

    e = Experiment(data=DataSpec(n_train=500), net=NetSpec(family="conv", depth=2))
    key(e.sweep())                              # 32 hex digits: names the artifact of this sweep
    parse("sweep", {...})                       # JSON back to a spec, SpecError in words
"""

import hashlib
import json
from typing import ClassVar, Literal

from pydantic import Field, model_validator

from ntkcore import nets
from ntkcore.analysis.attacks import Attack, fgsm
from ntkcore.data import DataSpec
from ntkcore.errors import SpecError
from ntkcore.kernels.inputs import InputMapName
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


class StageSpec(Spec):
    """A description of one stage's result. ``stage`` and ``version`` are part of its key."""

    stage: ClassVar[str]
    version: ClassVar[int]


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


STAGE_SPECS: dict[str, type[StageSpec]] = {
    c.stage: c for c in (KernelSpec, SpectrumSpec, PredictSpec, SweepSpec, CurvesSpec, PicturesSpec, FlipSpec)
}


class Experiment(Spec):
    """Everything the sidebar says: what all pages look at. Each page's result is one of the stages below."""

    data: DataSpec = DataSpec()
    net: NetSpec = NetSpec()
    kind: Literal["ntk", "nngp"] = "ntk"
    inputs: InputMapName = "raw"
    precision: Precision = "float64"
    attack: Attack = fgsm()
    ridge: float = Field(0.0, ge=0, allow_inf_nan=False)
    rule: Rule = Rule()

    def kernel(self) -> KernelSpec:
        return KernelSpec(data=self.data, net=self.net, kind=self.kind, inputs=self.inputs, precision=self.precision)

    def spectrum(self) -> SpectrumSpec:
        return SpectrumSpec(kernel=self.kernel())

    def predict(self) -> PredictSpec:
        return PredictSpec(kernel=self.kernel(), attack=self.attack, ridge=self.ridge)

    def sweep(self) -> SweepSpec:
        return SweepSpec(kernel=self.kernel(), attack=self.attack)

    def curves(self) -> CurvesSpec:
        return CurvesSpec(sweep=self.sweep(), rule=self.rule)

    def pictures(self, index: int, features: tuple[int, ...]) -> PicturesSpec:
        return PicturesSpec(sweep=self.sweep(), rule=self.rule, index=index, features=features)

    def flip(self, index: int, time: float | None = None, eps_max: float = 0.2) -> FlipSpec:
        return FlipSpec(
            kernel=self.kernel(),
            attack=self.attack,
            ridge=self.ridge,
            time=time,
            index=index,
            eps_max=eps_max,
        )

    def stages(self) -> tuple[StageSpec, ...]:
        """What a full run of the experiment computes, in order of need."""
        return (self.kernel(), self.spectrum(), self.predict(), self.sweep(), self.curves())

    def in_words(self) -> str:
        """One line for people: "fashion-mnist-sample: Pullover / Coat, n = 1000, FC(1) NTK, FGSM eps 8/255"."""
        return describe(self.predict())


def experiment_of(spec: StageSpec) -> Experiment:
    """The experiment that a stage belongs to; what the stage does not say takes its default."""
    sweep = getattr(spec, "sweep", spec)
    kernel = spec if isinstance(spec, KernelSpec) else sweep.kernel
    said = {"attack": getattr(sweep, "attack", None), "rule": getattr(spec, "rule", None)}
    return Experiment(
        data=kernel.data,
        net=kernel.net,
        kind=kernel.kind,
        inputs=kernel.inputs,
        precision=kernel.precision,
        ridge=getattr(spec, "ridge", 0.0),
        **{name: value for name, value in said.items() if value is not None},
    )


def canonical(spec: Spec) -> str:
    """The one JSON text of a spec: all fields, sorted, no white space."""
    return json.dumps(spec.model_dump(mode="json"), sort_keys=True, separators=(",", ":"), allow_nan=False)


def key(spec: StageSpec) -> str:
    """Name of the artifact: the first 32 hex digits of the SHA-256 of stage, version and canonical JSON."""
    text = f"{spec.stage}\n{spec.version}\n{canonical(spec)}"
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def parse(stage: str, fields: dict) -> StageSpec:
    """A stage's spec from its JSON fields. Raises SpecError in words for anything that does not fit."""
    if stage not in STAGE_SPECS:
        raise SpecError(f"There is no stage {stage!r}; choose one of {', '.join(STAGE_SPECS)}.")
    return STAGE_SPECS[stage].model_validate(fields)


def experiment_from_json(text: str | bytes) -> Experiment:
    """An Experiment from JSON text. Raises SpecError in words for malformed JSON, unknown or unfit fields."""
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise SpecError(
            f"The experiment is not valid JSON: {error}. Export one from the Runs page to see the form."
        ) from None
    if not isinstance(fields, dict):
        raise SpecError("The experiment must be a JSON object with fields such as data, net and attack.")
    return Experiment.model_validate(fields)


def describe(spec: StageSpec | Experiment) -> str:
    """A spec in words, one line; settings that have their default are not mentioned."""
    if isinstance(spec, Experiment):
        return spec.in_words()
    if isinstance(spec, KernelSpec):
        return _describe_kernel(spec)
    if isinstance(spec, CurvesSpec | PicturesSpec):
        words = [describe(spec.sweep), *_unusual(spec.rule)]
    else:
        words = [describe(spec.kernel), *([str(spec.attack)] if hasattr(spec, "attack") else [])]
    words += _unusual(spec, "time", "ridge", "eps_max", "features")
    if isinstance(spec, PicturesSpec | FlipSpec):
        words.append(f"test image {spec.index}")
    return ", ".join(words)


def _describe_kernel(spec: KernelSpec) -> str:
    data = spec.data
    name = f"own {data.digest[:8]}" if data.digest else data.name
    classes = " / ".join(data.classes) if 0 < len(data.classes) <= 3 else f"{len(data.classes) or 'all'} classes"
    words = [f"{name}: {classes}", f"{data.n_train} training and {data.n_test} test images"]
    words += [f"{data.size}x{data.size} pixels"] if data.size else []
    words += [f"draw {data.seed}"] if data.seed is not None else []
    words += [] if spec.inputs == "raw" else [f"inputs {spec.inputs}d"]
    words += [f"{spec.net.build()} {spec.kind.upper()}", *_unusual(spec.net, "activation", "W_std", "b_std")]
    return ", ".join([*words, *_unusual(spec, "precision")])


def _unusual(spec: Spec, *names: str) -> list[str]:
    """The named fields (all by default) that the spec has and that do not have their default: "ridge 0.5"."""
    fields = type(spec).model_fields
    found = [name for name in names or fields if name in fields and getattr(spec, name) != fields[name].default]
    return [f"{name} {_value(getattr(spec, name))}" for name in found]


def _value(value: object) -> str:
    if isinstance(value, tuple):
        return " ".join(map(str, value))
    return f"{value:.4g}" if isinstance(value, float) else str(value)
