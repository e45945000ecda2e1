"""The paper's claims of the Story page, cold: what *Prepare my talk* computes where no results are shipped.

Each claim's line is the wall time that its results add after those of the claims before it, and the processors' time
behind it, user and system; the last line is the whole story. It takes minutes, so there is one round. ``--n`` and
``--m`` are left alone: it is the default experiment's story that is shipped.
"""

import argparse
import os
import tempfile

from bench.measure import timed
from ntkcore.runs.claims import CLAIMS
from ntkcore.runs.specs import Experiment
from ntkcore.runs.stages import result
from ntkcore.runs.store import Store

EXPERIMENT = Experiment()


def main(options: argparse.Namespace) -> None:
    """Measure and print; options: none is looked at."""
    print(f"{EXPERIMENT.in_words()}; one round")
    whole = whole_of_processors = 0.0
    with tempfile.TemporaryDirectory() as folder:
        store = Store(folder)
        for claim in CLAIMS:
            before = _processors()
            wanted = claim.specs(EXPERIMENT).values()
            seconds, _ = timed(lambda wanted=wanted: [result(spec, store) for spec in wanted])
            processors = _processors() - before
            whole, whole_of_processors = whole + seconds, whole_of_processors + processors
            print(_line(claim.name, seconds, processors), flush=True)
    print(_line("all of it, cold", whole, whole_of_processors))


def _processors() -> float:
    """Seconds of processors that this process has taken."""
    return os.times().user + os.times().system


def _line(name: str, seconds: float, processors: float) -> str:
    return f"  {name:<20} {seconds:7.1f} s, {processors:7.1f} s of processors"
