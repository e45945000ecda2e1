"""Specs in words: one line for people, in which settings that have their default are not mentioned.

::

    describe(KernelSpec())                      # "fashion-mnist-sample: T-shirt/top / Shirt, 1000 training ..."
"""

from collections.abc import Mapping

from ntkcore.analysis.attacks import Attack, in_pixels
from ntkcore.architectures import ARCHITECTURES
from ntkcore.data import DataSpec
from ntkcore.runs.specs.base import StageSpec
from ntkcore.runs.specs.checkpoints import NamedNet, RunSpec
from ntkcore.runs.specs.evolution import (
    MOTION,
    FrozenSpec,
    GlimpseSpec,
    MomentSpec,
    ScoreSpec,
    TangentSpec,
    checkpoint_of,
    run_of,
)
from ntkcore.runs.specs.kernels import CurvesSpec, FlipSpec, KernelSpec, PicturesSpec, UploadSpec
from ntkcore.runs.specs.nets import (
    ConsistencySpec,
    KernelModel,
    NetworkSpec,
    Noise,
    PathSpec,
    PerturbSpec,
    TransferSpec,
    TwinSpec,
)
from ntkcore.validation import Spec


def describe(spec: Spec) -> str:
    """A stage's spec, a model or an experiment in words."""
    if hasattr(spec, "in_words"):
        return spec.in_words()
    if isinstance(spec, KernelSpec):
        return _describe_kernel(spec)
    if isinstance(spec, MOTION):
        return _describe_motion(spec)
    if isinstance(spec, KernelModel | TwinSpec | NetworkSpec | Noise):
        return f"{describe_data(_kernel(spec))}, {model_name(spec)}"
    if isinstance(spec, PerturbSpec):
        return f"{describe_data(_kernel(spec.source))}, {_attack_on(spec)}"
    if isinstance(spec, TransferSpec):
        return f"{describe_data(_kernel(spec.target))}, {_attack_on(spec.perturb)}, judged by {model_name(spec.target)}"
    if isinstance(spec, PathSpec):
        steps = " ".join(map(str, spec.steps))
        return ", ".join(
            [describe(spec.kernel), *_unusual(spec, "lr", "momentum"), f"loss gradients after steps {steps}"]
        )
    if isinstance(spec, ConsistencySpec):
        nets = [str(kernel.net.build()) for kernel in spec.kernels]
        return ", ".join([describe_data(spec.kernels[0]), *nets, *_unusual(spec, "top")])
    if isinstance(spec, CurvesSpec | PicturesSpec):
        words = [describe(spec.sweep), *_unusual(spec.rule)]
    else:
        words = [describe(spec.kernel), *([str(spec.attack)] if hasattr(spec, "attack") else [])]
    words += _unusual(spec, "time", "ridge", "eps_max", "features", "top", "images")
    if isinstance(spec, PicturesSpec | FlipSpec):
        words.append(f"test image {spec.index}")
    if isinstance(spec, UploadSpec):
        words.append(f"own image {spec.image[:8]} as class {spec.label}")
    return ", ".join(words)


def model_name(model: Spec) -> str:
    """A predictor without its data: "FC(1) NTK after 100 steps", "FC(1) of width 512, seed 0, trained with ..."."""
    if isinstance(model, Noise):
        return f"random signs, seed {model.seed}"
    if isinstance(model, NetworkSpec):
        against = f"compared with {model.kernel.net.build()} {model.kernel.kind.upper()}"
        unusual = [*_unusual(model.kernel.net, "activation", "W_std", "b_std"), *_unusual(model.kernel, "precision")]
        words = [ARCHITECTURES[model.name], *_unusual(model, "init"), f"seed {model.seed}", against, *unusual]
        return ", ".join([*words, f"trained: {model.training}"])
    kernel = model.kernel
    net = ", ".join([str(kernel.net.build()), *_unusual(kernel.net, "activation", "W_std", "b_std")])
    if isinstance(model, TwinSpec):
        words = [f"{net} of width {model.width}", *_unusual(kernel, "kind", "precision"), f"seed {model.seed}"]
        return ", ".join([*words, f"trained: {model.training}"])
    unusual = _unusual(model.descent, "lr", "momentum") if model.descent else _unusual(model, "ridge")
    when = f"after {model.descent.steps} steps" if model.descent else "at t = ∞"
    return ", ".join([f"{net} {kernel.kind.upper()} {when}", *unusual, *_unusual(kernel, "precision")])


def _attack_on(spec: PerturbSpec) -> str:
    if isinstance(spec.source, Noise):
        return f"{model_name(spec.source)}, {len(spec.eps)} radii up to {in_pixels(max(spec.eps), spec.norm)}"
    many = f"{len(spec.eps)} radii up to " if len(spec.eps) > 1 else ""
    kind = "FGSM" if spec.steps == 1 else f"PGD of {spec.steps} steps"
    kind = "AutoAttack" if spec.method == "autoattack" else kind
    ball = "" if spec.norm == "linf" else " in ℓ2"
    inputs = spec.source.kernel.inputs
    seen = "" if inputs == "raw" else f", which sees {inputs}d inputs"
    return f"{kind}{ball}, {many}{in_pixels(max(spec.eps), spec.norm)}, through {model_name(spec.source)}{seen}"


def _describe_motion(spec: StageSpec) -> str:
    """A stage of a kernel in motion: data, net, training, epoch, and what is looked at."""
    checkpoint, run = checkpoint_of(spec), run_of(spec)
    words = [describe_data(KernelSpec(data=run.data, inputs=run.inputs)), net_name(run), _how_trained(run)]
    words.append(f"epoch {checkpoint.epoch}")
    if isinstance(spec, ScoreSpec | FrozenSpec):
        words += [attack_in_words(spec.fgsm), attack_in_words(spec.pgd)]
    if isinstance(spec, MomentSpec | GlimpseSpec | TangentSpec):
        tangent = spec if isinstance(spec, TangentSpec) else spec.tangent
        words.append(f"probe {tangent.n}" + (f" under {attack_in_words(tangent.attack)}" if tangent.attack else ""))
    words += _unusual(spec, "n_test", "n_train", "every", "top", "ridge", "features")
    words += [f"solved on {spec.n} images"] if isinstance(spec, FrozenSpec) else []
    words += [f"test image {spec.index}"] if isinstance(spec, GlimpseSpec) else []
    return ", ".join(words)


def _how_trained(run: RunSpec) -> str:
    words = [str(run.schedule)]
    words += _unusual(run.schedule, "seed") if run.schedule.seed != run.seed else []
    words += [
        f"seed {run.seed}",
        "standard training" if run.attack is None else f"trained on {attack_in_words(run.attack)}",
    ]
    words += [] if run.linear_from is None else [f"linearised after epoch {run.linear_from}"]
    return ", ".join(words)


def net_name(run: RunSpec) -> str:
    """The net of a run: "Small CNN (2 convolutions), he initialisation"."""
    if isinstance(run.net, NamedNet):
        return ", ".join([ARCHITECTURES[run.net.name], f"{run.net.init} initialisation"])
    net = run.net
    words = [str(net.net.build()), *_unusual(net.net, "activation", "W_std", "b_std")]
    return ", ".join([*words, f"width {net.width}", f"{net.parameterisation} parameterisation"])


def attack_in_words(attack: Attack) -> str:
    """An attack with all that changes it."""
    return f"{attack}, seed {attack.seed}" if attack.random_start and attack.seed else str(attack)


def _describe_kernel(spec: KernelSpec) -> str:
    if spec.checkpoint is not None:
        run, other = spec.checkpoint.run, spec.checkpoint.data
        images = "" if other == spec.data else " ".join([f" on {other.n_train} images", *_draw(other)])
        net = [f"empirical NTK of {net_name(run)}", _how_trained(run) + images, f"epoch {spec.checkpoint.epoch}"]
        return ", ".join([describe_data(spec), *net, *_unusual(spec, "precision")])
    net = [f"{spec.net.build()} {spec.kind.upper()}", *_unusual(spec.net, "activation", "W_std", "b_std")]
    return ", ".join([describe_data(spec), *net, *_unusual(spec, "precision")])


def describe_data(spec: KernelSpec) -> str:
    data = spec.data
    name = f"own {data.digest[:8]}" if data.digest else data.name
    classes = " / ".join(data.classes) if 0 < len(data.classes) <= 3 else f"{len(data.classes) or 'all'} classes"
    words = [f"{name}: {classes}", f"{data.n_train} training and {data.n_test} test images"]
    words += [f"{data.size}x{data.size} pixels"] if data.size else []
    words += _draw(data)
    words += [] if spec.inputs == "raw" else [f"inputs {spec.inputs}d"]
    return ", ".join(words)


def balance_in_words(counts: Mapping[str, int]) -> str:
    """The test images of each class in words: "Test images: 58 of cat, 42 of dog."; empty where all have as many."""
    if len(set(counts.values())) == 1:
        return ""
    if len(counts) <= 3:
        each = [f"{count or 'none'} of {name}" for name, count in counts.items()]
        return f"Test images: {', '.join(each)}."
    present, lacking = set(filter(None, counts.values())), [name for name, count in counts.items() if not count]
    words = " to ".join(map(str, sorted({min(present), max(present)})))
    if lacking:
        words += f"; none of {' or '.join(lacking) if len(lacking) <= 3 else f'{len(lacking)} classes'}"
    return f"Test images of a class: {words}."


def _draw(data: DataSpec) -> list[str]:
    """How the images were chosen, where that is not the usual way."""
    words = [] if data.seed is None else [f"draw {data.seed}"]
    return words + ([] if data.order == "balanced" else ["in the set's own order"])


def _kernel(model: Spec) -> KernelSpec:
    """The kernel that a model belongs to; random signs have none, only images."""
    return KernelSpec(data=model.data) if isinstance(model, Noise) else model.kernel


def _unusual(spec: Spec, *names: str) -> list[str]:
    """The named fields (all by default) that the spec has and that do not have their default: "ridge 0.5"."""
    fields = type(spec).model_fields
    found = [name for name in names or fields if name in fields and getattr(spec, name) != fields[name].default]
    return [f"{name} {_value(getattr(spec, name))}" for name in found]


def _value(value: object) -> str:
    if isinstance(value, tuple):
        return " ".join(map(str, value))
    return f"{value:.4g}" if isinstance(value, float) else str(value)
