"""What a stage is, and how one is run: a frozen description that says what it reads, what it does and what it costs.

A stage is one class: its fields are all that changes its result, ``reads`` names the results of other stages that it
reads, ``compute`` does the work, ``cost`` says beforehand how much that is, ``in_words`` what it is. From these come
its key, its order in a run, its estimate and its progress::

    class SpectrumSpec(StageSpec):
        stage: ClassVar[str] = "spectrum"
        version: ClassVar[int] = 1
        kernel: KernelSpec = KernelSpec()

        def reads(self): return (self.kernel,)
        def compute(self, context): K = context.get(self.kernel).arrays["K"] ...

    result(SpectrumSpec(), Store("cache"))       # computes what is missing, the kernel too, then reads it

A key covers all fields, defaults too, and the stage's name and integer version.
"""

import hashlib
import json
import math
import shutil
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import numpy as np
from torch import Tensor

from ntkcore import data
from ntkcore.errors import NTKError
from ntkcore.kernels.blocks import Progress
from ntkcore.kernels.executors import Executor
from ntkcore.runs import experience, memory, scheduler
from ntkcore.runs.device import choose_device
from ntkcore.runs.rates import Rates, calibrate
from ntkcore.runs.stages.sizes import Estimate
from ntkcore.runs.store import Artifact, Store, declare
from ntkcore.validation import Spec

Arrays = dict[str, Tensor | np.ndarray]
T = TypeVar("T")
WORTHWHILE = 10.0  # seconds of this machine, from which on the workers of a scheduler are asked
STAGES: dict[str, type["StageSpec"]] = {}  # every stage by its name


class StageSpec(Spec):
    """The description of one stage's result. ``stage`` and ``version`` are part of its key."""

    stage: ClassVar[str]
    version: ClassVar[int]
    of_nets: ClassVar[bool] = False  # the workers of a scheduler may compute it as a whole, beside others

    @classmethod
    def __pydantic_init_subclass__(cls, **_: Any) -> None:
        if "stage" in vars(cls):
            STAGES[cls.stage] = cls
            declare(cls.stage)

    def reads(self) -> "Sequence[StageSpec]":
        """The results that ``compute`` reads; what these read in turn it may ask for, too."""
        return ()

    def compute(self, context: "Context") -> Arrays:
        """The arrays of the result, by name."""
        raise NotImplementedError

    def cost(self, rates: Rates) -> Estimate:
        """Time and memory of ``compute`` on a machine of these rates, without its inputs."""
        raise NotImplementedError

    def in_words(self) -> str:
        """One line for people, in which settings that have their default are not mentioned."""
        raise NotImplementedError

    def experiment_fields(self) -> dict[str, Any]:
        """What it says of the experiment that it belongs to, as fields of ``specs.Experiment``."""
        raise NotImplementedError


def canonical(spec: Spec) -> str:
    """The one JSON text of a spec: all fields, sorted, no white space."""
    return json.dumps(spec.model_dump(mode="json"), sort_keys=True, separators=(",", ":"), allow_nan=False)


def key(spec: StageSpec) -> str:
    """Name of the artifact: the first 32 hex digits of the SHA-256 of stage, version and canonical JSON."""
    text = f"{spec.stage}\n{spec.version}\n{canonical(spec)}"
    return hashlib.sha256(text.encode()).hexdigest()[:32]


@dataclass(frozen=True)
class Context:
    """What a stage works with: the store of earlier results, a progress callback, the data root and the device.

    reader: the stage that works; None: whatever is asked for is given.
    """

    store: Store
    progress: Progress | None = None
    data_root: str | None = None
    device: str = "auto"
    reader: StageSpec | None = None
    declared: "_Declared" = field(default_factory=lambda: _Declared(()), repr=False)
    waits: list[float] = field(default_factory=list, repr=False)  # seconds that went into inputs and images

    def get(self, spec: StageSpec, share: tuple[float, float] = (0.0, 1.0)) -> Artifact:
        """The artifact of another stage, computed now if it is missing; share: its part of this job's progress.

        RuntimeError where the stage that works has not said that it reads it: then its cost would be wrong.
        """
        if self.reader is not None and spec not in self.declared:
            raise RuntimeError(f"Stage {self.reader.stage} asks for {spec!r}, which it does not say that it reads.")
        with self._waiting():
            return result(spec, self.store, portion(self.progress, *share), self.data_root, self.device)

    def report(self, share: tuple[float, float] = (0.0, 1.0)) -> Progress | None:
        return portion(self.progress, *share)

    def task(self, spec: data.DataSpec) -> data.Task:
        with self._waiting():
            return data.load(spec, root=self.data_root, progress=portion(self.progress, 0.0, 0.0))

    @contextmanager
    def scratch(self, size: float) -> Iterator[Path]:
        """A folder for files of so many bytes beside the results, gone afterwards. NTKError where the disk is full."""
        with self.store.scratch() as folder:
            free, root = shutil.disk_usage(folder).free, self.store.root
            if size > free:
                raise NTKError(
                    f"This takes a file of {size / 1e9:.1f} GB in {root}, where {free / 1e9:.1f} GB are free. "
                    "Free some space, choose fewer images or single precision, or set NTK_CACHE to another folder."
                )
            yield folder

    def put(self, x: Tensor) -> Tensor:
        """x on the device of this run."""
        return x.to(choose_device(self.device))

    def divided(self, compute: Callable[[Executor | None, Path | None], T], divisible: bool = True) -> T:
        """``compute`` with an executor and a folder that its workers see; with (None, None) where this process does it
        all: without NTK_SCHEDULER, for what is short or not divisible, on a GPU, and when the workers are gone."""
        if divisible and self._worthwhile():
            with scheduler.at_hand() as executor:
                if executor is not None:
                    self.waits.append(math.inf)  # how long others take says nothing of this machine
                    with scheduler.told_when_gone(), self.store.scratch() as folder:
                        return compute(executor, folder)
        return compute(None, None)

    def _worthwhile(self) -> bool:
        if scheduler.setting() is None or self.reader is None or choose_device(self.device).type != "cpu":
            return False
        return self.reader.cost(calibrate(self.store.root)).seconds >= WORTHWHILE

    @contextmanager
    def _waiting(self) -> Iterator[None]:
        start = experience.clock()
        yield
        self.waits.append(experience.clock() - start)


class _Declared:
    """The inputs of a stage, theirs, and so on: looked through as far as is asked for."""

    def __init__(self, inputs: Sequence[StageSpec]):
        self.known, self.ahead = set(inputs), deque(inputs)

    def __contains__(self, spec: StageSpec) -> bool:
        while spec not in self.known and self.ahead:
            more = [one for one in self.ahead.popleft().reads() if one not in self.known]
            self.known.update(more)
            self.ahead.extend(more)
        return spec in self.known


def result(
    spec: StageSpec,
    store: Store,
    progress: Progress | None = None,
    data_root: str | None = None,
    device: str = "auto",
) -> Artifact:
    """The artifact of ``spec``, from the store or computed now. Raises NTKError in words, Cancelled from progress."""
    name = key(spec)
    found = store.get(spec.stage, name)
    if found is not None:
        return found
    context = context_of(spec, store, progress, data_root, device)
    start, begun = time.perf_counter(), experience.clock()
    try:
        arrays = spec.compute(context)
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, NTKError) or not memory.is_lack(error):
            raise
        words = memory.lack(f"stage {spec.stage} ({spec.in_words()})", error=error)
        raise NTKError(f"{words} Nothing that was computed before is lost.") from error
    seconds = time.perf_counter() - start
    experience.learn(store.root, spec, experience.clock() - begun - sum(context.waits))
    artifact = keep(spec, store, arrays, seconds)
    if context.progress is not None:
        context.progress(1.0, 1.0, f"{spec.stage} done")
    return artifact


def context_of(
    spec: StageSpec, store: Store, progress: Progress | None = None, data_root: str | None = None, device: str = "auto"
) -> Context:
    """What ``spec.compute`` works with."""
    return Context(store, forward_only(progress), data_root, device, spec, _Declared(spec.reads()))


def keep(spec: StageSpec, store: Store, arrays: Mapping[str, Tensor | np.ndarray], seconds: float) -> Artifact:
    """Store what was computed of a spec, in so many seconds."""
    meta = {
        "spec": spec.model_dump(mode="json"),
        "version": spec.version,
        "words": spec.in_words(),
        "seconds": seconds,
    }
    return store.put(spec.stage, key(spec), arrays, meta)


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
