"""The Transfer page's story and the Consistency page's comparison, cold: what a click there computes.

The default story of the bundled data: four widths, two seeds, six sources at five radii. Each width's line is the time
since the start at which its last transfer is in the store, which is when its panel is complete; the last one's is the
whole. Warm: all of it read by another store on the same folder, checksums verified. The comparison: kernels of FC(1),
FC(3), Conv(2) and Myrtle-5 on images of 14x14 pixels. Both take a minute or more, so there are at most three rounds.
"""

import argparse
import tempfile
import time
from collections import defaultdict

import ntkcore as ntk
from bench.measure import Seconds, timed
from ntkcore.runs.specs import ConsistencySpec, Experiment, NetSpec, Story
from ntkcore.runs.stages import result
from ntkcore.runs.store import Store

MOST_ROUNDS = 3
COMPARED = (NetSpec(), NetSpec(depth=3), NetSpec(family="conv", depth=2), NetSpec(family="myrtle", depth=5))


def main(options: argparse.Namespace) -> None:
    """Measure and print; options: n, m, rounds."""
    experiment = Experiment(data=ntk.DataSpec(n_train=options.n, n_test=options.m))
    story = Story(kernel=experiment.ntk())
    small = ntk.DataSpec(n_train=min(500, options.n), n_test=min(10, options.m), size=14)
    kernels = tuple(experiment.replace(data=small, net=net).kernel() for net in COMPARED)
    rounds = min(options.rounds, MOST_ROUNDS)
    _warm_up()
    seconds: dict[str, list[float]] = defaultdict(list)
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as folder:
            for name, taken in told(story, Store(folder)).items():
                seconds[name].append(taken)
            seconds["all of it, cold"].append(taken)
            seconds["all of it, warm"].append(max(told(story, Store(folder)).values()))
            seconds["consistency"].append(timed(lambda f=folder: result(ConsistencySpec(kernels=kernels), Store(f)))[0])
    capped = f", at most {MOST_ROUNDS} because each is long" if options.rounds > rounds else ""
    print(f"{experiment.in_words()}: {story.in_words()}; medians of {rounds} rounds{capped}")
    for name, taken in seconds.items():
        print(f"  {name:<28} {Seconds(taken)}")


def _warm_up() -> None:
    """Touch every library and start the threads, as in a worker that waits for its first job."""
    experiment = Experiment(data=ntk.DataSpec(n_train=20, n_test=4, size=7))
    small = Story(kernel=experiment.ntk(), widths=(8,), seeds=1)
    kernels = tuple(experiment.replace(net=net).kernel() for net in COMPARED)
    with tempfile.TemporaryDirectory() as folder:
        told(small, Store(folder))
        result(ConsistencySpec(kernels=kernels), Store(folder))


def told(story: Story, store: Store) -> dict[str, float]:
    """Seconds from the start until each group of nets has all its transfers."""
    start, done = time.perf_counter(), {}
    for (group, _, _), spec in story.transfers().items():
        dict(result(spec, store).arrays)
        done[group] = time.perf_counter() - start
    return done
