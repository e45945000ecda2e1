"""Stages: from a spec to arrays. The only composer of data, kernels, spectra, features, nets and attacks.

::

    store = Store("cache")
    artifact = result(experiment.sweep(), store)         # computes what is missing, then reads it
    execute(request(experiment.sweep()), store, None)    # the same, as the worker does it
"""

from collections.abc import Mapping, Sequence
from typing import Any

from ntkcore import data
from ntkcore.errors import Cancelled, NTKError
from ntkcore.kernels.blocks import Progress
from ntkcore.runs import specs
from ntkcore.runs.rates import calibrate
from ntkcore.runs.stages import consistency, evolution, nets  # noqa: F401  they register their stages
from ntkcore.runs.stages.context import STAGES, Context, forward_only, portion, result
from ntkcore.runs.stages.kernels import (
    IMAGE,
    image_name,
    keep_image,
    kernel_of,
    read_curves,
    read_null,
    read_spectrum,
    read_sweep,
)
from ntkcore.runs.store import Store


def execute(request: Mapping[str, Any], store: Store, progress: Progress | None) -> None:
    """What the worker runs: ``{"stage": ..., "spec": {...}, "device": ..., "data_root": ...}``; or ``{"batch": [...],
    "weights": [...]}``, several of those one after the other; or ``{"download": {...}}`` with the fields of a
    DataSpec, which only fetches its images; or ``{"calibrate": true}``, which measures this machine's rates."""
    if "calibrate" in request:
        calibrate(store.root)
    elif "download" in request:
        data.load(data.DataSpec.model_validate(request["download"]), progress=progress)
    elif "batch" in request:
        _execute_all(request["batch"], request["weights"], store, progress)
    else:
        spec = specs.parse(request["stage"], request["spec"])
        result(spec, store, progress, request.get("data_root"), request.get("device", "auto"))


def _execute_all(
    parts: Sequence[Mapping[str, Any]], weights: Sequence[float], store: Store, progress: Progress | None
) -> None:
    """Every part in turn; weights: how long each takes, in any unit, for the progress of the whole.

    A part that cannot be done does not keep the others from being done; what was wrong with the first is raised at
    the end.
    """
    total, done = sum(weights) or 1.0, 0.0
    problems: list[NTKError] = []
    for part, weight in zip(parts, weights, strict=True):
        try:
            execute(part, store, portion(progress, done / total, min(1.0, (done + weight) / total)))
        except Cancelled:
            raise
        except NTKError as error:
            problems.append(error)
        done += weight
    if problems:
        raise NTKError(f"{len(problems)} of {len(parts)} parts failed. The first: {problems[0]}") from problems[0]


def request(spec: specs.StageSpec, device: str = "auto", data_root: str | None = None) -> dict[str, Any]:
    """The worker's request for a spec, as plain JSON."""
    return {"stage": spec.stage, "spec": spec.model_dump(mode="json"), "device": device, "data_root": data_root}


def batch(requests: Sequence[Mapping[str, Any]], weights: Sequence[float]) -> dict[str, Any]:
    """One request for several, done in order; their results appear in the store one by one."""
    return {"batch": [dict(part) for part in requests], "weights": [float(weight) for weight in weights]}


__all__ = [
    "IMAGE",
    "STAGES",
    "Context",
    "batch",
    "execute",
    "forward_only",
    "image_name",
    "keep_image",
    "kernel_of",
    "portion",
    "read_curves",
    "read_null",
    "read_spectrum",
    "read_sweep",
    "request",
    "result",
]
