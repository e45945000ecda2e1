"""How fast this machine is: seconds per unit of work, measured once (a second or two) and kept beside the artifacts.

In the same file stands how finished runs compare with what was estimated by these rates (``experience``).

::

    rates = calibrate(store.root)
    rates.flop32                     # 5e-12: 200 GFLOPS
"""

import json
import os
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import torch

from ntkcore import covariance as cov
from ntkcore.analysis.eigenpairs import eigenpairs
from ntkcore.runs.store import cachedir, folders

FORMAT = 3
ROUNDS, SECONDS = 3, 0.07  # of looks at every rate, and for each look
MOST_OFF = 5.0  # seconds taken over seconds estimated, or the other way round: what is further off counts as this


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


# Of a machine slower than any that this is likely to run on: what is short there need not be measured here.
SLOW = Rates(flop32=1e-10, flop64=2e-10, relu32=3e-8, relu64=6e-8, box32=1e-8, box64=2e-8, eigh=2e-9)


@dataclass(frozen=True)
class Kept:
    """What is kept: rates, and by kind of work the last runs' seconds taken over seconds estimated by these rates."""

    rates: Rates
    ratios: Mapping[str, tuple[float, ...]] = field(default_factory=dict)


def calibrate(root: Path, force: bool = False) -> Rates:
    """This machine's rates: read from ``root/calibration.json``, measured and written there the first time."""
    kept = None if force else read(root)
    if kept is None:
        kept = Kept(_measure())
        with suppress(OSError):  # a cache that cannot be written is measured again next time
            write(root, kept)
    return kept.rates


def read(root: Path) -> Kept | None:
    """What is kept below ``root``; None where there is nothing, or it is damaged or of other circumstances."""
    try:
        raw, signature = json.loads((root / cachedir.CALIBRATION).read_bytes()), _signature()
        if {name: raw[name] for name in signature} != signature:
            return None
        rates = Rates(**{name: _between(1e-18, value, 1) for name, value in raw["rates"].items()})
        ratios = raw.get("taken", {}).items()
        return Kept(rates, {name: tuple(_between(1 / MOST_OFF, r, MOST_OFF) for r in last) for name, last in ratios})
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def write(root: Path, kept: Kept) -> None:
    """Keep it below ``root``: written aside and renamed. OSError where that cannot be."""
    with folders.scratch(root / cachedir.SCRATCH) as scratch:
        part = scratch / cachedir.CALIBRATION
        taken = {"taken": kept.ratios} if kept.ratios else {}
        part.write_text(json.dumps(_signature() | {"rates": asdict(kept.rates)} | taken, indent=1))
        part.replace(root / cachedir.CALIBRATION)


def _signature() -> dict[str, object]:
    """What rates belong to."""
    threads = os.environ.get("NTK_THREADS") or str(os.cpu_count())
    return {"format": FORMAT, "threads": threads, "torch": torch.__version__, "numpy": np.__version__}


def _between(low: float, value: float, high: float) -> float:
    if not low <= value <= high:
        raise ValueError(f"{value} does not lie between {low} and {high}")
    return float(value)


def _measure() -> Rates:
    """The best of some rounds, so that a busy moment does not meet all looks at one rate; single precision is never
    slower than double."""
    threads = torch.get_num_threads()
    try:
        if (wanted := os.environ.get("NTK_THREADS", "")).isdigit():
            torch.set_num_threads(max(1, int(wanted)))
        rounds = [_round() for _ in range(ROUNDS)]
    finally:
        torch.set_num_threads(threads)
    best = {name: min(rates[name] for rates in rounds) for name in rounds[0]}
    for name in ("flop", "relu", "box"):
        best[f"{name}32"] = min(best[f"{name}32"], best[f"{name}64"])
    return Rates(**best)


def _round() -> dict[str, float]:
    generator = torch.Generator().manual_seed(0)
    rates: dict[str, float] = {}
    for dtype, bits in ((torch.float32, 32), (torch.float64, 64)):
        a = torch.rand(700, 700, generator=generator, dtype=dtype)
        rates[f"flop{bits}"] = _time(partial(torch.matmul, a, a)) / (2 * 700**3)
        k = torch.rand(16, 16, 16, 16, generator=generator, dtype=dtype)
        one = torch.ones((), dtype=dtype)
        rates[f"relu{bits}"] = _time(partial(cov.relu, k, k, one, one)) / k.numel()
        rates[f"box{bits}"] = _time(partial(cov.box_sum, k, False)) / k.numel()
    points = torch.rand(400, 50, generator=generator, dtype=torch.float64)
    gram = points @ points.T + torch.eye(400, dtype=torch.float64)
    rates["eigh"] = _time(partial(eigenpairs, gram)) / 400**3
    return rates


def _time(work: Callable[[], object]) -> float:
    """Seconds of one call: the best of those within SECONDS, after a first one."""
    work()
    best, until = float("inf"), time.perf_counter() + SECONDS
    while True:
        start = time.perf_counter()
        work()
        now = time.perf_counter()
        best = min(best, now - start)
        if now > until:
            return best
