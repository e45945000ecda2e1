"""Whether what a run is said to take is what it takes: the app's estimate beside the time, for whole presets.

Each runs into a folder of its own, in this process (the app's worker is another one, whose start comes on top), with
rates measured anew at the beginning as at the app's first use. Every stage is estimated when its inputs are there, as
the pages do it; what matters is the sum, and stages that are off by more than two and take long are named::

    python -m bench estimates
"""

import argparse
import tempfile
from collections.abc import Sequence

import ntkcore as ntk
from bench.measure import timed
from ntkcore.runs.costs import estimate
from ntkcore.runs.presets import PRESETS
from ntkcore.runs.rates import Rates, calibrate
from ntkcore.runs.specs import Experiment, NetSpec, PerturbSpec, StageSpec
from ntkcore.runs.stages import result
from ntkcore.runs.store import Store
from ntkcore.training import LAZY

NAMED = 1.0  # seconds from which on a stage that is off is named
SMALL, MYRTLE = ntk.DataSpec(n_train=200, n_test=30, size=7), NetSpec(family="myrtle", depth=5)
POOLED = Experiment(data=ntk.DataSpec(n_train=40, n_test=10, size=14), net=MYRTLE)
CASES: dict[str, Sequence[StageSpec]] = {
    **{name: PRESETS[name].experiment.stages() for name in ("start", "deep", "conv", "toy", "ten")},
    **{name: PRESETS[name].specs for name in ("story", "evolution")},
    "Myrtle-5, 7x7, n = 200": Experiment(data=SMALL, net=MYRTLE).stages(),
    "Myrtle-5 attacked, 14x14": [
        PerturbSpec(source=POOLED.kernel_model(LAZY.descent), eps=(8 / 255,)),
        POOLED.twin(64, 0),
    ],
}


def main(options: argparse.Namespace) -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as folder:
        took, rates = timed(lambda: calibrate(Store(folder).root, force=True))
    print(f"  rates measured in {took:.1f} s: {rates}")
    ratios = [measure(name, specs, rates) for name, specs in CASES.items()]
    print(f"  from {min(ratios):.2f} to {max(ratios):.2f} of what it took")


def measure(name: str, specs: Sequence[StageSpec], rates: Rates) -> float:
    """One after the other -> said over taken, in all."""
    said_in_all = took_in_all = 0.0
    stages: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        store = Store(folder)
        for spec in specs:
            said = estimate(spec, rates, store).seconds
            took = timed(lambda spec=spec: result(spec, store))[0]
            said_in_all, took_in_all = said_in_all + said, took_in_all + took
            sums = stages.setdefault(spec.stage, [0.0, 0.0])
            sums[0], sums[1] = sums[0] + said, sums[1] + took
    print(f"  {name:<26} said {said_in_all:7.2f} s, took {took_in_all:7.2f} s: {said_in_all / took_in_all:.2f}")
    for stage, (said, took) in stages.items():
        if max(said, took) >= NAMED and not 0.5 <= said / took <= 2:
            print(f"    {stage}: said {said:.2f} s, took {took:.2f} s", flush=True)
    return said_in_all / took_in_all
