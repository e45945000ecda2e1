"""Makes the results that are shipped: those that the story shows of the bundled data, so that nobody waits for them.

They are computed anew, in a cache of their own, and replace what was shipped before::

    python -m ntkcore.runs.make_shipped            # some minutes, some megabytes
"""

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

from ntkcore.runs.specs import Experiment, StageSpec, key
from ntkcore.runs.stages import result
from ntkcore.runs.store import SHIPPED, Store
from ntkcore.runs.store.folders import size_of
from ntkcore.runs.talk import story_specs

EXPERIMENTS = (Experiment(),)  # whose story is shipped


def shipped_specs() -> dict[str, StageSpec]:
    """What is shipped, by key: all that the story's screens read."""
    return {key(spec): spec for e in EXPERIMENTS for spec in story_specs(e)}


def make(out: Path) -> None:
    """Compute all of it and put it into ``out``, which is emptied before."""
    with tempfile.TemporaryDirectory() as folder:
        store = Store(folder)
        for name, spec in shipped_specs().items():
            result(spec, store, device="cpu")
            print(f"{spec.stage}/{name}: {spec.in_words()}", flush=True)
        shutil.rmtree(out, ignore_errors=True)
        for name, spec in shipped_specs().items():
            shutil.copytree(Path(folder) / spec.stage / name, out / spec.stage / name)


def main() -> int:
    """The command line of this script."""
    parser = argparse.ArgumentParser(description="Compute the results that are shipped.")
    parser.add_argument("--out", type=Path, default=SHIPPED, help=f"folder to write (default: {SHIPPED.name})")
    out = parser.parse_args().out
    make(out)
    print(f"{out}: {size_of(out) / 1e6:.1f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
