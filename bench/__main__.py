"""``python -m bench [NAME ...]``: run the named benchmarks, all of them by default.

::

    python -m bench                             # all of them, one after the other
    python -m bench sweep --n 400 --m 100       # a smaller experiment
    python -m bench kernels --rounds 7
"""

import argparse
from importlib import import_module

from bench.measure import machine
from ntkcore.runs.device import devices

PEERS, COSTS = ("sweep", "features", "kernels", "empirical"), ("costs", "large", "estimates")
BENCHMARKS = (*PEERS, *COSTS, "story", "claims", "pages", "many")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description="How long the main steps take.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(BENCHMARKS)}; all by default")
    parser.add_argument("--n", type=int, default=1000, help="training images of the sweep (1000)")
    parser.add_argument("--m", type=int, default=300, help="test images of the sweep (300)")
    parser.add_argument("--features", type=int, default=10, help="features attacked one by one (10)")
    parser.add_argument("--rounds", type=int, default=5, help="repetitions, of which the median counts (5)")
    parser.add_argument("--device", default="cpu", choices=devices()[1:], help="of kernels and empirical (cpu)")
    parser.add_argument("--docs", help="a folder into which costs and large write costs.md and its picture")
    options = parser.parse_args()
    unknown = [name for name in options.names if name not in BENCHMARKS]
    if unknown:
        parser.error(f"there is no benchmark {unknown[0]!r}; choose of {', '.join(BENCHMARKS)}")
    if min(options.n, options.m, options.features, options.rounds) < 1 or options.n < 2:
        parser.error("n must be at least 2, the other numbers at least 1")
    return options


options = parse()
print(machine(options.device), flush=True)
for name in options.names or BENCHMARKS:
    print(f"\n== {name}", flush=True)
    import_module(f"bench.{name}").main(options)
