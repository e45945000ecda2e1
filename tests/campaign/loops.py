"""Kept compiled loops damaged at random: the right kernel each time, and kept whole again afterwards."""

import random
import sys
from pathlib import Path

import numba
import numpy as np
import torch

import ntkcore as ntk
from ntkcore.kernels.infinite.cpu import dense_loops, integers
from tests.campaign.harm import HARM
from tests.campaign.listing import listing
from tests.campaign.runs import LIMIT, start

LOOPS = [loop for module in (dense_loops, integers) for loop in vars(module).values() if hasattr(loop, "stats")]
KEPT = "all were taken up"


def drill(count: int, seed: int, folder: Path) -> list[str]:
    """Damage some kept loops, or the place to keep them, ``count`` times; then compute kernels with them, twice."""
    draw, failures, cache, log = random.Random(seed), [], folder / "loops", folder / "log"
    _run(cache, folder / "right.npy", log)
    right = (folder / "right.npy").read_bytes()
    for i in range(count):
        harms = []
        files = sorted(path for path in cache.rglob("*") if path.is_file())
        for file in draw.sample(files, draw.randint(1, len(files))):
            harms.append(draw.choice(list(HARM)))
            HARM[harms[-1]](file, draw)
        place = draw.choice(["writable", "writable", "no room", "a file"])
        where = f"damage {i}, seed {seed}: {', '.join(harms)}; the place is {place}"
        limit = 4096 if place == "no room" else 0
        there = cache.rename(folder / "aside") if place == "a file" else cache
        if place == "a file":
            cache.touch()
        failures += [f"{where}: {flaw}" for flaw in _flaws(cache, folder, log, right, limit)]
        if place == "a file":
            cache.unlink()
            there.rename(cache)
        failures += [f"{where}, after it: {flaw}" for flaw in _flaws(cache, folder, log, right, 0)]
        before = listing(cache)
        failures += [f"{where}, healed: {flaw}" for flaw in _flaws(cache, folder, log, right, 0)]
        if KEPT not in log.read_text() or listing(cache) != before:
            failures.append(f"{where}: not all loops were kept again: {log.read_text()}")
        failures += [f"{where}: {path} is litter." for path in cache.rglob(".*")]
    return failures


def _flaws(cache: Path, folder: Path, log: Path, right: bytes, limit: int) -> list[str]:
    got = folder / "got.npy"
    got.unlink(missing_ok=True)
    status = _run(cache, got, log, limit)
    if status != 0:
        return [f"ended with {status}: {log.read_text()[-500:]}"]
    return [] if got.read_bytes() == right else ["another kernel."]


def _run(cache: Path, out: Path, log: Path, limit: int = 0) -> int | None:
    process = start(compute, [str(cache), str(out), limit], log)
    process.join(LIMIT)
    process.kill()
    process.join()
    return process.exitcode


def compute(cache: str, out: str, limit: int) -> None:
    """Kernels of a dense net in both precisions, in a process that may write files of ``limit`` bytes (0: any)."""
    numba.config.CACHE_DIR = cache
    if limit:
        import resource

        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    x = torch.rand(6, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    kernel = ntk.kernel_fn(ntk.fc(2))
    np.save(out, torch.stack([kernel(x).double(), kernel(x.double())]).numpy())
    if not any(sum(loop.stats.cache_misses.values()) for loop in LOOPS):
        print(KEPT)
    sys.exit(0)
