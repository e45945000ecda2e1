"""How fast this machine is: seconds per unit of work, measured once (a second or two) and kept beside the artifacts.

::

    rates = calibrate(store.root)
    rates.flop32                     # 5e-12: 200 GFLOPS
"""

import json
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import torch

from ntkcore import covariance as cov
from ntkcore.runs.store import cachedir, folders

FORMAT = 2
ROUNDS, SECONDS = 3, 0.07  # of looks at every rate, and for each look


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


def calibrate(root: Path, force: bool = False) -> Rates:
    """This machine's rates: read from ``root/calibration.json``, measured and written there the first time."""
    file = root / cachedir.CALIBRATION
    signature = {
        "format": FORMAT,
        "threads": os.environ.get("NTK_THREADS") or str(os.cpu_count()),
        "torch": torch.__version__,
    }
    if not force:
        try:
            kept = json.loads(file.read_text())
            if {name: kept[name] for name in signature} == signature:
                return Rates(**{name: _rate(value) for name, value in kept["rates"].items()})
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            pass  # there is none, or it is damaged
    rates = _measure()
    try:
        with folders.scratch(root / cachedir.SCRATCH) as scratch:
            part = scratch / file.name
            part.write_text(json.dumps(signature | {"rates": asdict(rates)}, indent=1))
            part.replace(file)
    except OSError:
        pass  # a cache that cannot be written is measured again next time
    return rates


def _rate(value: float) -> float:
    if not 0 < value < 1:
        raise ValueError(f"{value} is no time for a unit of work")
    return float(value)


def _measure() -> Rates:
    """The best of some rounds, so that a busy moment does not meet all looks at one rate; single precision is never
    slower than double."""
    rounds = [_round() for _ in range(ROUNDS)]
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
    rates["eigh"] = _time(partial(torch.linalg.eigh, gram)) / 400**3
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
