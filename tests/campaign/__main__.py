"""The campaign: drills that do to the project what a bad day would do, as often as asked for.

::

    python -m tests.campaign kills --count 200 --seed 1
    python -m tests.campaign all --count 5

A drill is a function ``drill(count, seed, folder) -> list[str]``: it does ``count`` bad things, drawn by ``seed``, in
the empty ``folder``, and returns a sentence for each failure. Each runs once, small, among the normal tests.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.campaign import artifacts, foreign, kills, loops, unfinished

Drill = Callable[[int, int, Path], list[str]]

DRILLS: dict[str, Drill] = {
    "kills": kills.drill,
    "artifacts": artifacts.drill,
    "foreign": foreign.drill,
    "loops": loops.drill,
    "kernels": unfinished.kernels,
    "writers": unfinished.writers,
}
SHOWN = 20  # failures of a drill that are printed


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the drills that are named; 1 when one of them found a failure."""
    parser = argparse.ArgumentParser(prog="python -m tests.campaign", description="Drills of faults, drawn by a seed.")
    parser.add_argument("drill", choices=("all", *DRILLS))
    parser.add_argument("--count", type=int, default=20, help="bad things to do in each drill (20)")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    found = 0
    for name in DRILLS if options.drill == "all" else (options.drill,):
        begun = time.monotonic()
        with tempfile.TemporaryDirectory(prefix=f"campaign-{name}-") as folder:
            failures = DRILLS[name](options.count, options.seed, Path(folder))
        took = time.monotonic() - begun
        print(f"{name}: {options.count} times, seed {options.seed}, {took:.0f} s: {len(failures)} failures", flush=True)
        for failure in failures[:SHOWN]:
            print(f"  {failure}")
        found += len(failures)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
