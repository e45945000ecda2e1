"""Running a stage: from a spec to its artifact, with what it needs of other stages found or computed by key.

A stage is a function ``(spec, context) -> arrays``, registered under its spec's stage name by ``@stage``. It reaches
its inputs through ``context.get(other_spec)``: what is in the store is not computed again. What it returns is written
with the spec, its words and the seconds it took. Long work is told to ``progress(done, total, note)``, as a share of
the whole job; it may raise ``Cancelled``::

    @stage("kernel")
    def kernel(spec: KernelSpec, context: Context) -> Arrays: ...

    artifact = result(experiment.kernel(), Store("cache"))
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from ntkcore import data
from ntkcore.errors import NTKError
from ntkcore.kernels.blocks import Progress
from ntkcore.runs import memory, specs
from ntkcore.runs.device import choose_device
from ntkcore.runs.store import Artifact, Store, declare

Arrays = dict[str, Tensor | np.ndarray]
Stage = Callable[[Any, "Context"], Arrays]
STAGES: dict[str, Stage] = {}


def stage(name: str) -> Callable[[Stage], Stage]:
    """Register the function of a stage."""

    def register(function: Stage) -> Stage:
        STAGES[name] = function
        declare(name)
        return function

    return register


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
        if isinstance(error, NTKError) or not memory.is_lack(error):
            raise
        words = memory.lack(f"stage {spec.stage} ({specs.describe(spec)})", error=error)
        raise NTKError(f"{words} Nothing that was computed before is lost.") from error
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
