"""Makes the results that are shipped, so that nobody waits for them: the story of the first experiment, and what the
Overview shows of it and of the presets in front.

They are computed anew, in a cache of their own, and replace what was shipped before::

    python -m ntkcore.runs.make_shipped            # some minutes, some megabytes
"""

import argparse
import shutil
import sys
import tempfile
from itertools import chain
from pathlib import Path

from ntkcore.runs.presets import FRONT, PRESETS
from ntkcore.runs.specs import Experiment, StageSpec, key
from ntkcore.runs.stages import result
from ntkcore.runs.store import SHIPPED, Store
from ntkcore.runs.store.folders import size_of
from ntkcore.runs.talk import overview_specs, story_specs


def shipped_specs() -> dict[str, StageSpec]:
    """What is shipped, by key."""
    overviews = (overview_specs(e) for e in (Experiment(), *(PRESETS[name].experiment for name in FRONT)))
    return {key(spec): spec for spec in chain(story_specs(Experiment()), *overviews)}


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
