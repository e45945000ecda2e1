"""Stages: from a spec to arrays. The only composer of data, kernels, spectra, features and attacks.

Each stage is a function ``(spec, context) -> arrays`` registered by the spec's stage name. It reaches its inputs
through ``context.get(other_spec)``, that is by key: what is in the store is not computed again, so an attack reuses
its kernel. What a stage returns is written with the spec, its words and the seconds it took::

    store = Store("cache")
    artifact = result(experiment.sweep(), store)         # computes what is missing, then reads it
    artifact.arrays["right_after"]                       # [m, F]

Long work is told to ``progress(done, total, note)``, as a share of the whole job; it may raise ``Cancelled``.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ntkcore import data
from ntkcore.analysis.eigenfeatures import Sweep, classify, eigenfeatures, majority_share
from ntkcore.analysis.flips import margin_along_eps
from ntkcore.analysis.pictures import feature_pictures
from ntkcore.analysis.predict import KernelPredictor, correct, fit, margin
from ntkcore.analysis.spectrum import Spectrum, label_energy, projections, spectrum
from ntkcore.analysis.tradeoff import along_time, kept_features
from ntkcore.errors import NTKError, SpecError
from ntkcore.kernels import TiledKernel, input_map, kernel_fn
from ntkcore.kernels.blocks import Progress
from ntkcore.runs import costs, specs
from ntkcore.runs.device import choose_device
from ntkcore.runs.store import Artifact, Store

Arrays = dict[str, Tensor | np.ndarray]
PGD_STEPS = 10


@dataclass(frozen=True)
class Context:
    """What a stage works with: the store of earlier results, a progress callback, the data root and the device."""

    store: Store
    progress: Progress | None = None
    data_root: str | None = None
    device: str = "auto"

    def get(self, spec: specs.StageSpec, share: tuple[float, float] = (0.0, 1.0)) -> Artifact:
        """The artifact of another stage, computed now if it is missing; share: its part of this job's progress."""
        return result(spec, self.store, portion(self.progress, *share), self.data_root, self.device)

    def report(self, share: tuple[float, float] = (0.0, 1.0)) -> Progress | None:
        return portion(self.progress, *share)

    def task(self, spec: data.DataSpec) -> data.Task:
        return data.load(spec, root=self.data_root, progress=portion(self.progress, 0.0, 0.0))

    def put(self, x: Tensor) -> Tensor:
        """x on the device of this run."""
        return x.to(choose_device(self.device))


def result(
    spec: specs.StageSpec,
    store: Store,
    progress: Progress | None = None,
    data_root: str | None = None,
    device: str = "auto",
) -> Artifact:
    """The artifact of ``spec``, from the store or computed now. Raises NTKError in words, Cancelled from progress."""
    name = specs.key(spec)
    found = store.get(spec.stage, name)
    if found is not None:
        return found
    context = Context(store, forward_only(progress), data_root, device)
    start = time.perf_counter()
    try:
        arrays = STAGES[spec.stage](spec, context)
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, NTKError) or not _is_out_of_memory(error):
            raise
        raise NTKError(
            f"Out of memory in stage {spec.stage} ({specs.describe(spec)}). Choose fewer or smaller images, or a "
            "smaller net. Nothing that was computed before is lost."
        ) from error
    meta = {
        "spec": spec.model_dump(mode="json"),
        "version": spec.version,
        "words": specs.describe(spec),
        "seconds": time.perf_counter() - start,
    }
    artifact = store.put(spec.stage, name, arrays, meta)
    if context.progress is not None:
        context.progress(1.0, 1.0, f"{spec.stage} done")
    return artifact


def execute(request: Mapping[str, Any], store: Store, progress: Progress | None) -> None:
    """What the worker runs: ``{"stage": ..., "spec": {...}, "device": ..., "data_root": ...}``, or
    ``{"download": {...}}`` with the fields of a DataSpec, which only fetches its images, or ``{"calibrate": true}``,
    which measures this machine's rates (``ntkcore.runs.costs``)."""
    if "calibrate" in request:
        costs.calibrate(store.root)
        return
    if "download" in request:
        data.load(data.DataSpec.model_validate(request["download"]), progress=progress)
        return
    spec = specs.parse(request["stage"], request["spec"])
    result(spec, store, progress, request.get("data_root"), request.get("device", "auto"))


def request(spec: specs.StageSpec, device: str = "auto", data_root: str | None = None) -> dict[str, Any]:
    """The worker's request for a spec, as plain JSON."""
    return {
        "stage": spec.stage,
        "spec": spec.model_dump(mode="json"),
        "device": device,
        "data_root": data_root,
    }


def portion(progress: Progress | None, low: float, high: float) -> Progress | None:
    """A callback that reports its own 0..1 as ``low``..``high`` of the whole."""
    if progress is None:
        return None

    def part(done: float, total: float, note: str) -> None:
        share = done / total if total else 1.0
        progress(low + (high - low) * share, 1.0, note)

    return part


def forward_only(progress: Progress | None) -> Progress | None:
    """A callback that reports shares of 1 and never goes back: an input that turns out to be missing is new work."""
    if progress is None:
        return None
    reached = 0.0

    def part(done: float, total: float, note: str) -> None:
        nonlocal reached
        reached = max(reached, done / total if total else 1.0)
        progress(reached, 1.0, note)

    return part


# -- reading results back ----------------------------------------------------------------------------------------


def read_spectrum(artifact: Artifact) -> Spectrum:
    return Spectrum(artifact.arrays["values"], artifact.arrays["vectors"])


def read_sweep(artifact: Artifact, spectrum_artifact: Artifact, spec: specs.SweepSpec) -> Sweep:
    arrays = artifact.arrays
    return Sweep(
        read_spectrum(spectrum_artifact),
        spec.attack,
        arrays["right_before"],
        arrays["right_after"],
        arrays["zero_gradient"],
        float(arrays["majority"]),
    )


def kernel_of(spec: specs.KernelSpec, task: data.Task) -> TiledKernel:
    """The kernel function of a spec, with its input map fitted to the training images."""
    return kernel_fn(spec.net.build(), spec.kind, input_map(spec.inputs, task.x_train))


# -- the stages --------------------------------------------------------------------------------------------------


def _kernel(spec: specs.KernelSpec, context: Context) -> Arrays:
    task = context.task(spec.data)
    dtype = getattr(torch, spec.precision)
    x, x_test = context.put(task.x_train.to(dtype)), context.put(task.x_test.to(dtype))
    kernel = kernel_of(spec, task)
    spec.net.build().module(task.image_shape, width=1)  # refuses images that are too small to be pooled
    n, m = task.n, task.m
    square = n * (n + 1) / 2
    split = square / (square + n * m)
    K = kernel.with_progress(context.report((0.0, split)))(x)
    K_test = kernel.with_progress(context.report((split, 1.0)))(x_test, x)
    if not (torch.isfinite(K).all() and torch.isfinite(K_test).all()):
        raise SpecError("The kernel overflows with these settings. Choose a smaller W_std, b_std or depth.")
    return {"K": K.double().cpu(), "K_test": K_test.double().cpu()}


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
class _Parts:
    """What the stages after the spectrum share."""

    task: data.Task
    kernel: TiledKernel
    s: Spectrum
    K_test: Tensor
    x: Tensor
    x_test: Tensor


def _parts(spec: specs.KernelSpec, context: Context, share: tuple[float, float]) -> _Parts:
    task = context.task(spec.data)
    s = read_spectrum(context.get(specs.SpectrumSpec(kernel=spec), share))
    K_test = context.get(spec, share).arrays["K_test"]
    s = Spectrum(context.put(s.values), context.put(s.vectors))
    return _Parts(
        task,
        kernel_of(spec, task),
        s,
        context.put(K_test),
        context.put(task.x_train),
        context.put(task.x_test),
    )


def _predict(spec: specs.PredictSpec, context: Context) -> Arrays:
    """Clean outputs, the spec's attack, and PGD of the same radius beside it."""
    p = _parts(spec.kernel, context, (0.0, 0.5))
    f = _predictor(p, spec.time, spec.ridge, context)
    y, report = context.put(p.task.y_test), context.report((0.5, 1.0))
    strong = _strong(spec.attack)
    arrays: Arrays = {}
    attacks = {"attack": spec.attack, "pgd": strong}
    rows = max(1, min(100, len(p.x_test)))
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
        arrays[f"{short}margin"] = margin(arrays[name], p.task.y_test.double())
        arrays[f"{short}right"] = correct(arrays[name], p.task.y_test.double())
    return arrays


def _sweep(spec: specs.SweepSpec, context: Context) -> Arrays:
    p = _parts(spec.kernel, context, (0.0, 0.2))
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
    return {
        "right_before": sweep.right_before.cpu(),
        "right_after": sweep.right_after.cpu(),
        "zero_gradient": sweep.zero_gradient.cpu(),
        "usefulness": sweep.usefulness.cpu(),
        "robustness": sweep.robustness.cpu(),
        "majority": np.array(sweep.majority),
    }


def _classes(spec: specs.SweepSpec, rule: specs.Rule, context: Context, share: tuple[float, float]) -> np.ndarray:
    sweep = context.get(spec, share)
    spectral = context.get(specs.SpectrumSpec(kernel=spec.kernel))
    return classify(read_sweep(sweep, spectral, spec), rule.level, rule.keep)


def _curves(spec: specs.CurvesSpec, context: Context) -> Arrays:
    classes = _classes(spec.sweep, spec.rule, context, (0.0, 0.6))
    p = _parts(spec.sweep.kernel, context, (0.6, 0.6))
    y, y_test = context.put(p.task.y_train), context.put(p.task.y_test)
    attack = spec.sweep.attack
    kept = kept_features(
        p.kernel, p.s, p.x, y, p.x_test, y_test, attack, classes, p.K_test, context.report((0.6, 0.85))
    )
    flow = along_time(p.kernel, p.s, p.x, y, p.x_test, y_test, attack, 0.0, p.K_test, context.report((0.85, 1.0)))
    arrays: Arrays = {"classes": classes.astype(np.int64)}
    for name, curve in (*kept.items(), ("time", flow)):
        arrays |= {f"{name}_k": curve.k, f"{name}_clean": curve.clean, f"{name}_attacked": curve.attacked}
    return {name: np.asarray(value) for name, value in arrays.items()}


def _pictures(spec: specs.PicturesSpec, context: Context) -> Arrays:
    classes = _classes(spec.sweep, spec.rule, context, (0.0, 0.9))
    p = _parts(spec.sweep.kernel, context, (0.9, 0.95))
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


def _flip(spec: specs.FlipSpec, context: Context) -> Arrays:
    p = _parts(spec.kernel, context, (0.0, 0.6))
    _check_index(spec.index, p.task)
    f = _predictor(p, spec.time, spec.ridge, context)
    image, label = p.x_test[spec.index].double(), context.put(p.task.y_test[spec.index]).double()
    radii = torch.linspace(0, spec.eps_max, 25, dtype=torch.float64, device=image.device)
    arrays: Arrays = {"eps": radii, "image": p.task.x_test[spec.index]}
    base = spec.attack.model_copy(update={"eps": spec.eps_max, "steps": 1, "step_size": spec.eps_max})
    single = base.model_copy(update={"random_start": False})
    for i, (name, attack) in enumerate((("fgsm", single), ("pgd", _strong(base)))):
        if context.progress is not None:
            context.progress(0.6 + 0.2 * i, 1.0, f"margin along eps, {name.upper()}")
        path = margin_along_eps(f, image, label, attack, radii)
        arrays[f"{name}_margin"] = path.margins
        arrays[f"{name}_flip"] = np.array(path.flip_eps)
        arrays[f"{name}_zero_gradient"] = np.array(path.zero_gradient)
    r = spec.attack(f, image[None], label[None])
    arrays |= {"x_adv": r.x_adv[0].float(), "outputs": r.clean[0], "attacked": r.attacked[0]}
    return {name: value.cpu() if isinstance(value, Tensor) else value for name, value in arrays.items()}


STAGES: dict[str, Callable[[Any, Context], Arrays]] = {
    "kernel": _kernel,
    "spectrum": _spectrum,
    "predict": _predict,
    "sweep": _sweep,
    "curves": _curves,
    "pictures": _pictures,
    "flip": _flip,
}


def _predictor(p: _Parts, time: float | None, ridge: float, context: Context) -> KernelPredictor:
    moment = float("inf") if time is None else time
    return fit(p.kernel, p.x, context.put(p.task.y_train), moment, ridge, p.s)


def _strong(attack):
    """PGD of the same radius and norm, no random start: what FGSM is compared with."""
    steps = max(attack.steps, PGD_STEPS)
    return attack.model_copy(update={"steps": steps, "step_size": 2.5 * attack.eps / steps, "random_start": False})


def _check_index(index: int, task: data.Task) -> None:
    if index >= task.m:
        raise SpecError(f"Test image {index} does not exist: there are {task.m}. Choose 0 to {task.m - 1}.")


def _is_out_of_memory(error: Exception) -> bool:
    text = str(error).lower()
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or "not enough memory" in text or "alloc" in text
