"""What finished runs teach about costs: how many times as long as estimated this machine takes for a kind of work.

A kind is a stage, the family of its net, and the rate that most of its time hangs on. Of the last runs of a kind,
r = seconds taken / seconds estimated; all later estimates of that kind are multiplied by::

    factor = exp(median(0, log r_1, ..., log r_k)),     k <= LAST,  1 / MOST_OFF <= r <= MOST_OFF

The 0 stands for the estimate itself: one run moves it half of the way, and a few odd ones are outvoted, then forgotten.
What a busy machine had a run wait for a processor is not counted, where the system tells it (Linux). Runs that are too
short to tell are left out. No key and no result depends on it::

    learn(store.root, spec, seconds=12.0)
    factors(store.root, rates)                      # {"kernel conv relu64": 1.3}
"""

import math
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, replace
from functools import lru_cache
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from ntkcore.runs import rates as measured
from ntkcore.runs.rates import MOST_OFF, Rates

if TYPE_CHECKING:
    from ntkcore.runs.stages.stage import StageSpec

LAST = 9
LONG_ENOUGH = 0.3  # seconds estimated: below, start and noise are most of what a run takes


def clock() -> float:
    """Seconds that pass while this thread does not wait for a processor."""
    delay = 0.0
    with suppress(OSError, ValueError, IndexError):  # nanoseconds on a processor, and waiting for one
        delay = int(Path("/proc/thread-self/schedstat").read_text().split()[1]) / 1e9
    return time.perf_counter() - delay


def learn(root: Path, spec: "StageSpec", seconds: float) -> None:
    """Take account of a run that took ``seconds`` of its own by ``clock``, where this machine's rates are known."""
    kept = measured.read(root)
    if kept is None or seconds <= 0:
        return
    said = spec.cost(kept.rates).seconds
    if said < LONG_ENOUGH:
        return
    name, ratio = kind(spec, kept.rates), min(MOST_OFF, max(1 / MOST_OFF, seconds / said))
    with suppress(OSError):  # a cache that cannot be written learns nothing
        measured.write(root, replace(kept, ratios={**kept.ratios, name: (*kept.ratios.get(name, ()), ratio)[-LAST:]}))


def factors(root: Path, rates: Rates) -> Mapping[str, float]:
    """By kind of work; none where the runs below ``root`` were compared with other rates."""
    kept = measured.read(root)
    if kept is None or kept.rates != rates:
        return {}
    return {name: math.exp(median([0.0, *map(math.log, ratios)])) for name, ratios in kept.ratios.items()}


@lru_cache(16384)
def kind(spec: "StageSpec", rates: Rates) -> str:
    """A stage, the family of its net, and the rate whose change changes its cost most."""
    said = spec.cost(rates).seconds
    more = {name: spec.cost(replace(rates, **{name: 2 * rate})).seconds - said for name, rate in asdict(rates).items()}
    net = spec.experiment_fields().get("net")
    return " ".join([spec.stage, *([net.family] if net is not None else []), max(more, key=lambda name: more[name])])
