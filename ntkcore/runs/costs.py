"""What a run will cost, said before it starts: seconds and memory, from counted work and measured rates.

Work is counted per stage (matrix products, activations and convolutions per image pair, eigenvectors) and divided
by this machine's rates, which are measured once (about a second) and kept beside the artifacts. Stages that are
already in the store cost nothing::

    rates = calibrate(store.root)
    estimate(experiment.sweep(), rates, store)       # Estimate(seconds=5.2, bytes=3.1e8)
"""

import json
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from ntkcore import covariance as cov
from ntkcore import data, nets
from ntkcore.runs import specs
from ntkcore.runs.store import Store

FORMAT = 1


@dataclass(frozen=True)
class Rates:
    """Seconds per unit of work: a floating point operation of a matrix product, one covariance through a ReLU or a
    3x3 box, one n^3 of an eigendecomposition; single and double precision."""

    flop32: float
    flop64: float
    relu32: float
    relu64: float
    box32: float
    box64: float
    eigh: float


@dataclass(frozen=True)
class Estimate:
    """seconds of work on this machine; bytes of memory at the peak."""

    seconds: float
    bytes: float

    def __add__(self, other: "Estimate") -> "Estimate":
        return Estimate(self.seconds + other.seconds, max(self.bytes, other.bytes))


NOTHING = Estimate(0.0, 0.0)
LEAST_MEMORY = 2e8  # bytes of working space, whatever the size
OVERHEAD = 5e-3  # seconds of small operations for one image's attack, whatever its size


def calibrate(root: Path, force: bool = False) -> Rates:
    """This machine's rates: read from ``root/calibration.json``, measured and written there the first time."""
    file = root / "calibration.json"
    signature = {
        "format": FORMAT,
        "threads": os.environ.get("NTK_THREADS") or str(os.cpu_count()),
        "torch": torch.__version__,
    }
    if not force:
        try:
            kept = json.loads(file.read_text())
            if {name: kept[name] for name in signature} == signature:
                return Rates(**kept["rates"])
        except (OSError, ValueError, KeyError, TypeError):
            pass
    rates = _measure()
    try:
        root.mkdir(parents=True, exist_ok=True)
        part = file.with_suffix(".part")
        part.write_text(json.dumps(signature | {"rates": asdict(rates)}, indent=1))
        part.replace(file)
    except OSError:
        pass  # a cache that cannot be written is measured again next time
    return rates


def estimate(spec: specs.StageSpec, rates: Rates, store: Store) -> Estimate:
    """Cost of ``spec`` and of every input that is not in the store yet."""
    if store.get(spec.stage, specs.key(spec)) is not None:
        return NOTHING
    inputs = [estimate(other, rates, store) for other in _inputs(spec)]
    return sum(inputs, _own(spec, rates) + Estimate(0.0, LEAST_MEMORY))


def _inputs(spec: specs.StageSpec) -> list[specs.StageSpec]:
    if isinstance(spec, specs.KernelSpec):
        return []
    if isinstance(spec, specs.SpectrumSpec):
        return [spec.kernel]
    if isinstance(spec, specs.CurvesSpec | specs.PicturesSpec):
        return [spec.sweep]
    return [specs.SpectrumSpec(kernel=spec.kernel)]


def _own(spec: specs.StageSpec, rates: Rates) -> Estimate:
    kernel = spec if isinstance(spec, specs.KernelSpec) else getattr(spec, "kernel", None) or spec.sweep.kernel
    size = _Size.of(kernel)
    n, m, c = size.n, size.m, size.outputs
    double = kernel.precision == "float64"
    matrix = 8.0 * n * n
    if isinstance(spec, specs.KernelSpec):
        pairs = n * (n + 1) / 2 + n * m
        return Estimate(pairs * size.pair(rates, double), matrix + 8.0 * n * m + LEAST_MEMORY)
    if isinstance(spec, specs.SpectrumSpec):
        return Estimate(rates.eigh * n**3, 5 * matrix)
    if isinstance(spec, specs.SweepSpec):
        return Estimate(m * size.attack(n, spec.attack.steps, rates), 4 * matrix + 12.0 * n * size.pixels)
    if isinstance(spec, specs.CurvesSpec):
        predictors = 85 * c
        seconds = size.attack(predictors, spec.sweep.attack.steps, rates)
        return Estimate(m * (seconds + 2 * OVERHEAD), 4 * matrix)  # two banks: kept features, training time
    attack = getattr(spec, "attack", None) or spec.sweep.attack
    most = max(attack.steps, 10)  # PGD stands beside every attack
    steps = {specs.PredictSpec: m * (attack.steps + most + 1), specs.FlipSpec: 40 * (most + 1)}.get(type(spec), 4)
    return Estimate(steps * 15 * n * size.pair(rates, True) + 20 * OVERHEAD, 4 * matrix)


@dataclass(frozen=True)
class _Size:
    """The numbers that the cost of a kernel depends on."""

    n: int
    m: int
    pixels: int
    outputs: int
    activations: float
    convolutions: float

    @classmethod
    def of(cls, spec: specs.KernelSpec) -> "_Size":
        channels, height, width = data.image_shape(spec.data)
        net = spec.net.build()
        activations, convolutions = _covariances(net, height, width)
        classes = len(spec.data.classes or data.info(spec.data).classes)  # own data may leave them open
        outputs = 1 if classes == 2 else classes
        return cls(spec.data.n_train, spec.data.n_test, channels * height * width, outputs, activations, convolutions)

    def pair(self, rates: Rates, double: bool) -> float:
        """Seconds per image pair of a kernel block."""
        flop, relu, box = (
            (rates.flop64, rates.relu64, rates.box64) if double else (rates.flop32, rates.relu32, rates.box32)
        )
        return 2 * self.pixels * flop + self.activations * relu + self.convolutions * box

    def attack(self, predictors: int, steps: int, rates: Rates) -> float:
        """Seconds per test image to attack ``predictors`` columns: shared gradient, then one block a step."""
        pairs = predictors * self.n
        images = 30 * predictors * self.pixels * rates.box32  # steps and projections: passes over the images
        shared = 3 * self.n * self.pair(rates, False) + 2 * pairs * self.pixels * rates.flop32 + steps * images
        later = (steps - 1) * 3 * pairs * self.pair(rates, False)
        return shared + later + pairs * self.pair(rates, False)


def _covariances(net: nets.Net, height: int, width: int) -> tuple[float, float]:
    """Covariance entries per image pair that pass an activation, and that pass a 3x3 box (k and t both)."""
    power = 2 if net.spatial_pairs else 1
    positions = 1 if net.flat_input else height * width
    activations = convolutions = 0.0
    for layer in net.covariance_layers():
        if isinstance(layer, nets.Activation):
            activations += positions**power
        elif isinstance(layer, nets.Conv):
            convolutions += 2 * positions**power
        elif isinstance(layer, nets.AvgPool):
            height, width = height // 2, width // 2
            positions = height * width
        elif isinstance(layer, nets.Flatten | nets.GlobalAvgPool):
            positions = 1
    return activations, convolutions


def _measure() -> Rates:
    generator = torch.Generator().manual_seed(0)
    rates: dict[str, float] = {}
    for dtype, bits in ((torch.float32, 32), (torch.float64, 64)):
        a = torch.rand(700, 700, generator=generator, dtype=dtype)
        rates[f"flop{bits}"] = _time(lambda a=a: a @ a) / (2 * 700**3)
        k = torch.rand(16, 16, 16, 16, generator=generator, dtype=dtype)
        one = torch.ones((), dtype=dtype)
        rates[f"relu{bits}"] = _time(lambda k=k, one=one: cov.relu(k, k, one, one)) / k.numel()
        rates[f"box{bits}"] = _time(lambda k=k: cov.box_sum(k, False)) / k.numel()
    points = torch.rand(400, 50, generator=generator, dtype=torch.float64)
    gram = points @ points.T + torch.eye(400, dtype=torch.float64)
    rates["eigh"] = _time(lambda: torch.linalg.eigh(gram)) / 400**3
    return Rates(**rates)


def _time(work: Callable[[], object]) -> float:
    """Seconds of one call: the best of those within a fifth of a second, after a first one."""
    work()
    best, until = float("inf"), time.perf_counter() + 0.2
    while True:
        start = time.perf_counter()
        work()
        now = time.perf_counter()
        best = min(best, now - start)
        if now > until:
            return best
