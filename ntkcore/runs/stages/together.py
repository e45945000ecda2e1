"""Several stages in one job: one after the other, or those of nets at once by the workers of a scheduler.

::

    execute_all(parts, weights, store, progress)       # what the worker process does with a batch
    at_once(specs, store, executor, data_root)         # what it does first where NTK_SCHEDULER names a scheduler

A worker computes a whole stage, from inputs that it reads in the store; this process alone writes results there. What
is not of nets (kernels, spectra) it computes itself on the way. So nets of several seeds are trained at once.
"""

import json
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch

from ntkcore import data
from ntkcore.errors import Cancelled, NTKError, SpecError
from ntkcore.kernels.executors import Arrays, Executor, Piece, part, spread
from ntkcore.kernels.protocols import Progress
from ntkcore.modes import ALONE
from ntkcore.runs import scheduler
from ntkcore.runs.device import choose_device
from ntkcore.runs.rates import calibrate
from ntkcore.runs.stages import stage
from ntkcore.runs.stages.stage import STAGES, StageSpec, context_of, forward_only, keep, key, portion, result
from ntkcore.runs.store import SHIPPED, Store
from ntkcore.writing import user_data

AT_ONCE = 64  # stages that workers are asked for, at most


def parse(name: str, fields: Mapping[str, Any]) -> StageSpec:
    """A stage's spec from its JSON fields. Raises SpecError in words for anything that does not fit."""
    if name not in STAGES:
        raise SpecError(f"There is no stage {name!r}; choose one of {', '.join(sorted(STAGES))}.")
    return STAGES[name].model_validate(fields)


def execute(request: Mapping[str, Any], store: Store, progress: Progress | None) -> None:
    """What the worker runs: ``{"stage": ..., "spec": {...}, "device": ..., "data_root": ...}``; or ``{"batch": [...],
    "weights": [...]}``, several of those one after the other; or ``{"download": {...}}`` with the fields of a
    DataSpec, which only fetches its images."""
    if "download" in request:
        data.load(data.DataSpec.model_validate(request["download"]), progress=progress)
    elif "batch" in request:
        execute_all(request["batch"], request["weights"], store, progress)
    else:
        spec = parse(request["stage"], request["spec"])
        result(spec, store, progress, request.get("data_root"), request.get("device", "auto"))


def execute_all(
    parts: Sequence[Mapping[str, Any]], weights: Sequence[float], store: Store, progress: Progress | None
) -> None:
    """Every part in turn; weights: how long each takes, in any unit, for the progress of the whole.

    A part that cannot be done does not keep the others from being done; what was wrong with the first is raised at
    the end.
    """
    progress = forward_only(progress)
    wanted: list[StageSpec] = []
    for one in parts if scheduler.setting() else ():
        with suppress(NTKError):  # said when it is its turn
            wanted += [parse(one["stage"], one["spec"])] if "stage" in one else []
    if wanted:
        beforehand(wanted, store, progress, parts[0].get("data_root"), parts[0].get("device", "auto"))
    total, done = sum(weights) or 1.0, 0.0
    problems: list[NTKError] = []
    for one, weight in zip(parts, weights, strict=True):
        try:
            execute(one, store, portion(progress, done / total, min(1.0, (done + weight) / total)))
        except Cancelled:
            raise
        except NTKError as error:
            problems.append(error)
        done += weight
    if problems:
        raise NTKError(f"{len(problems)} of {len(parts)} parts failed. The first: {problems[0]}") from problems[0]


def beforehand(
    wanted: Sequence[StageSpec],
    store: Store,
    progress: Progress | None = None,
    data_root: str | None = None,
    device: str = "auto",
) -> None:
    """What the workers of NTK_SCHEDULER can do of several stages at once, where that is worth it; nothing else."""
    if scheduler.setting() is None or choose_device(device).type != "cpu":
        return
    theirs = [spec for spec in missing(wanted, store).values() if spec.of_nets]
    if len(theirs) < 2 or sum(spec.cost(calibrate(store.root)).seconds for spec in theirs) < stage.WORTHWHILE:
        return
    with scheduler.at_hand() as executor:
        if executor is not None:
            with scheduler.told_when_gone():
                at_once(wanted, store, executor, data_root, progress)


def at_once(
    wanted: Sequence[StageSpec],
    store: Store,
    executor: Executor,
    data_root: str | None = None,
    progress: Progress | None = None,
    tell: Callable[[str], object] = warnings.warn,
) -> None:
    """Have what is missing of ``wanted`` computed: stages of nets by workers, which see the store and the data.

    What cannot be computed is left out, and all that reads it: who asks for it is told why.
    """
    rates, ready = calibrate(store.root), _Ready(missing(wanted, store), store, data_root, progress)
    cost = [spec.cost(rates).seconds for spec in ready.specs]
    total, done = sum(cost) or 1.0, 0.0

    def report() -> None:
        if progress is not None:
            progress(done, total, f"{len(ready.specs) - len(ready.waiting)} of {len(ready.specs)} parts begun")

    work = WholeStage(str(store.root), str(data_root or user_data()))
    arrays = {"specs": torch.frombuffer(bytearray(b"".join(ready.texts)), dtype=torch.uint8)}
    with (
        store.scratch() as folder,
        closing(spread(work, arrays, ready, executor, report, tell, folder, AT_ONCE)) as found,
    ):
        for piece, made in found:
            at = piece.tile[0]
            done += cost[at]
            if isinstance(made, Made):
                keep(ready.specs[at], store, made.arrays, made.seconds)
            report()


def missing(wanted: Sequence[StageSpec], store: Store) -> dict[str, StageSpec]:
    """What the store lacks of some specs and their inputs, by key, inputs first."""
    found: dict[str, StageSpec] = {}

    def look(spec: StageSpec) -> None:
        name = key(spec)
        if name not in found and not store.has(spec.stage, name):
            for before in spec.reads():
                look(before)
            found[name] = spec

    for spec in wanted:
        look(spec)
    return found


class Made(NamedTuple):
    """What a worker has made of a stage."""

    arrays: dict[str, np.ndarray]
    seconds: float


@dataclass(frozen=True)
class WholeStage:
    """Work: the result of a stage, or why there is none; root: of the store, which has its inputs."""

    root: str
    data_root: str

    def fits(self, found: object, piece: Piece) -> bool:
        return isinstance(found, Made | str)

    def __call__(self, arrays: Arrays, piece: Piece, progress: Progress | None) -> Made | str:
        """arrays: "specs", bytes, of which the piece's rows are one."""
        name, fields = json.loads(part(arrays["specs"], piece.rows).numpy().tobytes())
        start = time.perf_counter()
        try:
            spec, store = parse(name, fields), Store(self.root, shipped=SHIPPED)
            with ALONE:
                found = spec.compute(context_of(spec, store, progress, self.data_root, "cpu"))
        except Cancelled:
            raise
        except Exception as error:  # of whatever kind: other stages can be computed, and this one perhaps elsewhere
            return f"{type(error).__name__}: {error}"
        numbers = {name: np.asarray(value) for name, value in found.items()}
        return Made(numbers, time.perf_counter() - start)


class _Ready(Iterator[Piece]):
    """Stages whose inputs are there, those of nets, as pieces; the others are computed here, when it is their turn.

    It ends for now where nothing is ready, and goes on when more has come in.
    """

    def __init__(self, todo: Mapping[str, StageSpec], store: Store, data_root: str | None, progress: Progress | None):
        self.specs, self.store, self.data_root, self.progress = list(todo.values()), store, data_root, progress
        self.texts = [json.dumps([spec.stage, spec.model_dump(mode="json")]).encode() for spec in self.specs]
        self.ends = np.cumsum([len(text) for text in self.texts]).tolist()
        self.waiting = list(range(len(self.specs)))

    def __next__(self) -> Piece:
        for at in list(self.waiting):
            spec = self.specs[at]
            if not all(self.store.has(before.stage, key(before)) for before in spec.reads()):
                continue
            self.waiting.remove(at)
            if spec.of_nets:
                return Piece((at, 0), slice(self.ends[at] - len(self.texts[at]), self.ends[at]), slice(0, 1))
            try:
                result(spec, self.store, portion(self.progress, 0.0, 0.0), self.data_root, "cpu")
            except Cancelled:
                raise
            except NTKError:
                continue  # said again to who asks for it
        raise StopIteration
