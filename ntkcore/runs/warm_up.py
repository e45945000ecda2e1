"""Compiles the loops that are kept on disk before anybody waits for them: on a fresh machine, beside the app.

A process of its own, which gives way to all others, computes on a few small images what needs them, a minute of a
processor at most. It ends with the app, and nothing depends on it. Where the loops lie beside their sources already it
is not started, nor where NTK_WARM_UP is 0; where they cannot be kept it ends at once::

    warm_up()                                # in a thread of the app: python -m ntkcore.runs.warm_up, and wait for it
"""

import os
import shutil
import subprocess
import sys
import tempfile
import threading
from contextlib import suppress
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1]


def kept(package: Path) -> bool:
    """Whether each file of loops has a compiled one beside it that is younger than all sources of loops."""
    files = sorted(package.rglob("*_loops.py"))
    sources = [*files, *(package / "kernels" / "loops").glob("*.py")]
    newest = max(source.stat().st_mtime for source in sources)
    with suppress(OSError):  # one may be replaced this moment
        return all(
            any(loop.stat().st_mtime >= newest for loop in (file.parent / "__pycache__").glob(f"{file.stem}.*.loop"))
            for file in files
        )
    return False


def warm_up() -> None:
    """Start the process and wait for its end, unless it has nothing to do."""
    if os.environ.get("NTK_WARM_UP") == "0" or kept(PACKAGE):
        return
    from ntkcore.runs.worker.process import worker_environment

    one_thread = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    with suppress(OSError):
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "ntkcore.runs.warm_up"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=worker_environment() | one_thread,
            start_new_session=True,  # Ctrl-C in the terminal is for the app
        )
        process.wait()


def main() -> None:
    """What the process does: give way, end when the app does, compile."""
    if hasattr(os, "nice"):
        os.nice(19)
    with tempfile.TemporaryDirectory() as folder:
        threading.Thread(target=_end_with_the_app, args=(folder,), daemon=True).start()
        from ntkcore.kernels.loops import disk_cache

        if disk_cache.can_keep(next(PACKAGE.rglob("*_loops.py"))):
            compile_all(folder)


def _end_with_the_app(folder: str) -> None:
    """The end of stdin means that it is gone."""
    with suppress(OSError):
        while os.read(0, 4096):
            pass
    shutil.rmtree(folder, ignore_errors=True)
    os._exit(1)


def compile_all(folder: str) -> None:
    """Compute small ones of what the pages show: kernels of each kind of net, every feature attacked, a net's own.

    folder: an empty one, where their results go.
    """
    from ntkcore.data import DataSpec
    from ntkcore.runs.specs import Evolution, Experiment, NetSpec
    from ntkcore.runs.stages import result
    from ntkcore.runs.store import Store

    some, few = DataSpec(n_train=300, n_test=20), DataSpec(n_train=4, n_test=2, size=14)
    e = Experiment(data=some)
    conv, myrtle = (Experiment(data=few, net=NetSpec(family=name, depth=d)) for name, d in (("conv", 2), ("myrtle", 5)))
    trained = Evolution(data=some, epochs=1, seeds=1, probe=8, judged=8).tangent("standard", 0, 0)
    for spec in (*e.stages(), conv.sweep(), conv.gradients(), myrtle.kernel(), trained):
        result(spec, Store(folder), device="cpu")


if __name__ == "__main__":
    main()
