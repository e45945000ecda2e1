"""The stages of the kernel side: kernel, spectrum, prediction, sweep over the features, curves, pictures, margins.

::

    artifact = result(experiment.sweep(), store)         # computes what is missing, then reads it
    artifact.arrays["right_after"]                       # [m, F]
"""

import hashlib
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ntkcore import data
from ntkcore.analysis.classes import classify
from ntkcore.analysis.eigenfeatures import Sweep, eigenfeatures, majority_share
from ntkcore.analysis.flips import margin_along_eps
from ntkcore.analysis.halves import halves
from ntkcore.analysis.label_test import Null
from ntkcore.analysis.pictures import feature_pictures
from ntkcore.analysis.predict import KernelPredictor, correct, fit, margins
from ntkcore.analysis.spectrum import Spectrum, label_energy, projections, spectrum
from ntkcore.analysis.tangent import tangent_kernel
from ntkcore.analysis.tradeoff import Judged, trade_offs
from ntkcore.data.task import targets
from ntkcore.errors import SpecError
from ntkcore.kernels import TiledKernel, input_map, kernel_fn
from ntkcore.runs import specs
from ntkcore.runs.stages.checkpoints import load_checkpoint
from ntkcore.runs.stages.context import Arrays, Context, stage
from ntkcore.runs.store import Artifact, Store, declare

PGD_STEPS = 10  # at least, of the attack that stands beside every other
ROWS = 100  # test images attacked together: bounds the memory of a gradient
IMAGE = "image"  # where uploaded images are kept in the store
declare(IMAGE)
SWEPT = ("answers", "labels", "right_before", "right_after", "zero_gradient")  # what a sweep's artifact keeps of it


# -- reading results back ----------------------------------------------------------------------------------------


def read_spectrum(artifact: Artifact) -> Spectrum:
    return Spectrum(artifact.arrays["values"], artifact.arrays["vectors"])


def read_sweep(artifact: Artifact, spectrum_artifact: Artifact, spec: specs.SweepSpec) -> Sweep:
    arrays = artifact.arrays
    sweep = Sweep(read_spectrum(spectrum_artifact), spec.attack, *(arrays[name] for name in SWEPT))
    vars(sweep)["p_values"] = arrays["p_values"].numpy()  # what its cached property would compute again
    return sweep


def read_null(artifact: Artifact) -> Null:
    """Of a sweep's artifact: its features under permuted test labels."""
    return Null(artifact.arrays["null_p_values"].numpy(), artifact.arrays["null_usefulness"].numpy())


def kernel_of(spec: specs.KernelSpec, task: data.Task, context: Context | None = None) -> TiledKernel:
    """The kernel function of a spec, with its input map fitted to the training images; of a checkpoint, which is found
    through the context, with the map it was trained with."""
    if spec.checkpoint is not None:
        if context is None:
            raise SpecError("The kernel of a checkpoint needs the store that has its weights: hand in a context.")
        return tangent_kernel(load_checkpoint(spec.checkpoint, context, (0.0, 0.0)))
    return kernel_fn(spec.net.build(), spec.kind, input_map(spec.inputs, task.x_train))


# -- the stages --------------------------------------------------------------------------------------------------


@stage("kernel")
def _kernel(spec: specs.KernelSpec, context: Context) -> Arrays:
    task = context.task(spec.data)
    dtype = getattr(torch, spec.precision)
    x, x_test = context.put(task.x_train.to(dtype)), context.put(task.x_test.to(dtype))
    kernel = kernel_of(spec, task, context)
    if spec.checkpoint is None:
        spec.net.build().module(task.image_shape, width=1)  # refuses images that are too small to be pooled
    n, m = task.n, task.m
    square = n * (n + 1) / 2
    split = square / (square + n * m)
    K = kernel.with_progress(context.report((0.0, split)))(x)
    K_test = kernel.with_progress(context.report((split, 1.0)))(x_test, x)
    if not (torch.isfinite(K).all() and torch.isfinite(K_test).all()):
        raise SpecError("The kernel overflows with these settings. Choose a smaller W_std, b_std or depth.")
    return {"K": K.double().cpu(), "K_test": K_test.double().cpu()}


@stage("spectrum")
def _spectrum(spec: specs.SpectrumSpec, context: Context) -> Arrays:
    task = context.task(spec.kernel.data)
    K = context.get(spec.kernel, (0.0, 0.8)).arrays["K"]
    if context.progress is not None:
        context.progress(0.8, 1.0, "eigenvalues and eigenvectors")
    s = spectrum(K)
    return {
        "values": s.values,
        "vectors": s.vectors,
        "projections": projections(s, task.y_train),
        "label_energy": label_energy(s, task.y_train),
    }


@dataclass(frozen=True, eq=False)
class Parts:
    """What the stages after the spectrum share."""

    task: data.Task
    kernel: TiledKernel
    s: Spectrum
    K_test: Tensor
    x: Tensor
    x_test: Tensor


def parts_of(spec: specs.KernelSpec, context: Context, share: tuple[float, float]) -> Parts:
    task = context.task(spec.data)
    s = read_spectrum(context.get(specs.SpectrumSpec(kernel=spec), share))
    K_test = context.get(spec, share).arrays["K_test"]
    s = Spectrum(context.put(s.values), context.put(s.vectors))
    return Parts(
        task,
        kernel_of(spec, task, context),
        s,
        context.put(K_test),
        context.put(task.x_train),
        context.put(task.x_test),
    )


@stage("predict")
def _predict(spec: specs.PredictSpec, context: Context) -> Arrays:
    """Clean outputs, the spec's attack, and PGD of the same radius beside it."""
    p = parts_of(spec.kernel, context, (0.0, 0.5))
    f = predictor(p, spec.time, spec.ridge, context)
    y, report = context.put(p.task.y_test), context.report((0.5, 1.0))
    strong = _strong(spec.attack)
    arrays: Arrays = {}
    attacks = {"attack": spec.attack, "pgd": strong}
    rows = max(1, min(ROWS, len(p.x_test)))
    parts: dict[str, list[Tensor]] = {name: [] for name in ("outputs", "zero_gradient")}
    for name in attacks:
        parts[f"{name}_outputs"], parts[f"{name}_images"] = [], []
    for start in range(0, len(p.x_test), rows):
        if report is not None:
            report(start, len(p.x_test), "attacking the prediction")
        x, labels = p.x_test[start : start + rows], y[start : start + rows]
        for name, attack in attacks.items():
            r = attack(f, x, labels)
            parts[f"{name}_outputs"].append(r.attacked)
            parts[f"{name}_images"].append(r.x_adv)
            if name == "attack":
                parts["outputs"].append(r.clean)
                parts["zero_gradient"].append(r.zero_gradient)
    for name, pieces in parts.items():
        arrays[name] = torch.cat(pieces).cpu()
    arrays["left_out"] = np.array(f.left_out)
    arrays["majority"] = np.array(majority_share(p.task.y_test))
    for name in ("outputs", "attack_outputs", "pgd_outputs"):
        short = name.removesuffix("outputs")
        arrays[f"{short}margin"] = margins(arrays[name], p.task.y_test.double())
        arrays[f"{short}right"] = correct(arrays[name], p.task.y_test.double())
    return arrays


@stage("sweep")
def _sweep(spec: specs.SweepSpec, context: Context) -> Arrays:
    p = parts_of(spec.kernel, context, (0.0, 0.2))
    sweep = eigenfeatures(
        p.kernel,
        p.x,
        context.put(p.task.y_train),
        p.x_test,
        context.put(p.task.y_test),
        spec.attack,
        p.s,
        p.K_test,
        context.report((0.2, 1.0)),
    )
    null = sweep.permuted()
    return {
        **{name: getattr(sweep, name).cpu() for name in SWEPT},
        "usefulness": sweep.usefulness.cpu(),
        "robustness": sweep.robustness.cpu(),
        "p_values": sweep.p_values,
        "null_p_values": null.p_values,
        "null_usefulness": null.usefulness,
    }


def _swept(spec: specs.SweepSpec, context: Context, share: tuple[float, float]) -> Sweep:
    return read_sweep(context.get(spec, share), context.get(specs.SpectrumSpec(kernel=spec.kernel)), spec)


@stage("curves")
def _curves(spec: specs.CurvesSpec, context: Context) -> Arrays:
    sweep = _swept(spec.sweep, context, (0.0, 0.6))
    classes = classify(sweep.part(halves(sweep.labels)), spec.rule.fdr, spec.rule.keep)
    p = parts_of(spec.sweep.kernel, context, (0.6, 0.6))
    y, y_test = context.put(p.task.y_train), context.put(p.task.y_test)
    images, attack = (p.x, y, p.x_test, y_test), spec.sweep.attack
    judged = trade_offs(p.kernel, p.s, *images, attack, classes, p.K_test, context.report((0.6, 1.0)))
    arrays: Arrays = {"classes": classes.astype(np.int64)}
    for name, one in judged.items():
        arrays |= {f"{name}_k": one.k, f"{name}_before": one.before, f"{name}_after": one.after}
    return arrays


def read_curves(artifact: Artifact) -> dict[str, Judged]:
    """The verdicts of the curves stage: of KEPT's kinds, "time" and "bands"."""
    found = {name: value.numpy() for name, value in artifact.arrays.items()}
    names = [name.removesuffix("_before") for name in found if name.endswith("_before")]
    return {name: Judged(*(found[f"{name}_{part}"] for part in ("k", "before", "after"))) for name in names}


@stage("pictures")
def _pictures(spec: specs.PicturesSpec, context: Context) -> Arrays:
    classes = classify(_swept(spec.sweep, context, (0.0, 0.9)), spec.rule.fdr, spec.rule.keep)
    p = parts_of(spec.sweep.kernel, context, (0.9, 0.95))
    _check_index(spec.index, p.task)
    r = feature_pictures(
        p.kernel,
        p.s,
        p.x,
        context.put(p.task.y_train),
        p.x_test[spec.index],
        context.put(p.task.y_test[spec.index]),
        spec.sweep.attack,
        spec.features,
        classes,
    )
    return {
        "features": r.features,
        "outputs": r.outputs,
        "pictures": r.pictures.float(),
        "image": p.task.x_test[spec.index],
        "x_adv": r.x_adv.float(),
        "group_gradients": r.group_gradients.float(),
        "contributions": r.contributions,
        "classes": classes.astype(np.int64),
        "margins": np.array([r.margin_before, r.margin_after]),
    }


@stage("flip")
def _flip(spec: specs.FlipSpec, context: Context) -> Arrays:
    p = parts_of(spec.kernel, context, (0.0, 0.6))
    _check_index(spec.index, p.task)
    f = predictor(p, spec.time, spec.ridge, context)
    return _margins(f, p.task.x_test[spec.index], p.task.y_test[spec.index], spec, context)


@stage("upload")
def _upload(spec: specs.UploadSpec, context: Context) -> Arrays:
    p = parts_of(spec.kernel, context, (0.0, 0.6))
    kept = context.store.get(IMAGE, spec.image)
    if kept is None:
        raise SpecError("The image that was uploaded is no longer in the cache. Upload it again.")
    image, classes = kept.arrays["image"], len(p.task.classes)
    if tuple(image.shape) != p.task.image_shape:
        raise SpecError(
            f"The image has shape {tuple(image.shape)}, the data set {p.task.image_shape}. Upload it again."
        )
    if spec.label >= classes:
        raise SpecError(f"Class {spec.label} does not exist: there are {classes}. Choose 0 to {classes - 1}.")
    f = predictor(p, None, spec.ridge, context)
    return _margins(f, image, targets(torch.tensor([spec.label]), classes)[0], spec, context)


def image_name(image: Tensor) -> str:
    """The name under which an image is kept, made of its content."""
    return hashlib.sha256(f"{tuple(image.shape)}".encode() + image.float().cpu().numpy().tobytes()).hexdigest()[:32]


def keep_image(image: Tensor, store: Store) -> str:
    """Put an image [C, H, W] in [0, 1] into the store; its name there."""
    name = image_name(image)
    store.put(IMAGE, name, {"image": image.float()}, {"words": "an uploaded image", "seconds": 0.0})
    return name


def _margins(
    f: KernelPredictor, image: Tensor, label: Tensor, spec: specs.FlipSpec | specs.UploadSpec, context: Context
) -> Arrays:
    """One image's margin along the radius under FGSM and PGD, and under the spec's own attack."""
    x, y = context.put(image).double(), context.put(label).double()
    radii = torch.linspace(0, spec.eps_max, 25, dtype=torch.float64, device=x.device)
    arrays: Arrays = {"eps": radii, "image": image}
    base = spec.attack.model_copy(update={"eps": spec.eps_max, "steps": 1, "step_size": spec.eps_max})
    single = base.model_copy(update={"random_start": False})
    for i, (name, attack) in enumerate((("fgsm", single), ("pgd", _strong(base)))):
        if context.progress is not None:
            context.progress(0.6 + 0.2 * i, 1.0, f"margin along eps, {name.upper()}")
        path = margin_along_eps(f, x, y, attack, radii)
        arrays[f"{name}_margin"] = path.margins
        arrays[f"{name}_flip"] = np.array(path.flip_eps)
        arrays[f"{name}_zero_gradient"] = np.array(path.zero_gradient)
    r = spec.attack(f, x[None], y[None])
    arrays |= {"x_adv": r.x_adv[0].float(), "outputs": r.clean[0], "attacked": r.attacked[0]}
    return {name: value.cpu() if isinstance(value, Tensor) else value for name, value in arrays.items()}


def predictor(p: Parts, time: float | None, ridge: float, context: Context) -> KernelPredictor:
    moment = float("inf") if time is None else time
    return fit(p.kernel, p.x, context.put(p.task.y_train), moment, ridge, p.s)


def _strong(attack):
    """PGD of the same radius and norm, no random start: what FGSM is compared with."""
    steps = max(attack.steps, PGD_STEPS)
    return attack.model_copy(update={"steps": steps, "step_size": 2.5 * attack.eps / steps, "random_start": False})


def _check_index(index: int, task: data.Task) -> None:
    if index >= task.m:
        raise SpecError(f"Test image {index} does not exist: there are {task.m}. Choose 0 to {task.m - 1}.")
