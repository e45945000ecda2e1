"""Small real runs for the drills: the command line in a process of its own that is soon there, and what came of it.

A process is forked from a server that has imported the library once, so a drill does not wait for torch every time::

    runs = written(folder)                                  # arguments for each command, its description in the folder
    process = start(command_line, ["--cache", cache, *runs["run"]], log)
    status, said = call("--cache", cache, "cache", "ls")    # in this process
    results(cache)                                          # SHA-256 of the arrays of every artifact
"""

import contextlib
import io
import json
import multiprocessing
import os
import sys
import time
import traceback
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import ModuleType

from ntkcore import cli
from ntkcore.runs.store import Store

_SERVER = multiprocessing.get_context("forkserver")
_SERVER.set_forkserver_preload(["ntkcore.cli", "tests.campaign.runs"])

LIMIT = 120.0  # seconds a small run may take
DATA = {"n_train": 24, "n_test": 10, "size": 4}
DESCRIPTIONS = {
    "run": {"data": DATA, "net": {"depth": 2}},
    "transfer": {"kernel": {"data": DATA}, "widths": [8], "seeds": 1, "eps": [4 / 255, 8 / 255]},
    "evolve": {
        "data": DATA,
        "net": {"net": {}, "width": 8},
        "regimes": ["fgsm"],
        "epochs": 2,
        "seeds": 1,
        "probe": 12,
        "freeze": [1],
    },
}


def written(folder: Path) -> dict[str, list[str]]:
    """The small runs by command, as arguments of the command line; their descriptions are written to ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    runs = {}
    for command, description in DESCRIPTIONS.items():
        file = folder / f"{command}.json"
        file.write_text(json.dumps(description))
        runs[command] = [command, str(file)]
    return runs


def start(target: Callable[..., None], arguments: list[str], log: Path) -> BaseProcess:
    """``target(*arguments)`` in a new process; what it says goes to ``log``."""
    log.write_text("")
    process = _SERVER.Process(target=_begin, args=(target, arguments, str(log)), daemon=True)
    ours = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")  # else it would run our main script, which may be the app, again
    try:
        process.start()
    finally:
        sys.modules["__main__"] = ours
    return process


def command_line(*arguments: str) -> None:
    """``python -m ntkcore ARGUMENTS``, as the target of a process."""
    sys.exit(cli.main(arguments))


def _begin(target: Callable[..., None], arguments: list[str], log: str) -> None:
    handle = os.open(log, os.O_WRONLY)
    os.dup2(handle, 1)
    os.dup2(handle, 2)
    target(*arguments)


def undisturbed(arguments: list[str], cache: Path, log: Path) -> float:
    """Run a command to its end in a process of its own; the seconds it took. RuntimeError when it fails."""
    begun = time.monotonic()
    process = start(command_line, ["--cache", str(cache), *arguments], log)
    process.join(LIMIT)
    if process.exitcode != 0:
        process.kill()
        raise RuntimeError(f"{arguments} ended with {process.exitcode}: {log.read_text()}")
    return time.monotonic() - begun


def call(*arguments: object) -> tuple[int, str]:
    """A command in this process: its exit status (-1 with a traceback) and all that it said."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        try:
            status = cli.main([str(argument) for argument in arguments])
        except BaseException:
            status = -1
            traceback.print_exc()
    return status, said.getvalue()


def results(root: Path) -> dict[tuple[str, str], str]:
    """SHA-256 of the arrays of every artifact in a cache, by stage and key."""
    return {(entry.stage, entry.key): entry.arrays.sha256 for entry in Store(root).entries()}


def flaws(root: Path) -> list[str]:
    """What is not as it should be in a cache that nobody works in: damage and litter, a sentence each."""
    store = Store(root)
    found = [str(incident) for incident in store.verify().broken]
    found += [f"An incident stayed: {incident}" for incident in store.incidents()]
    expected = {path for entry in store.entries() for path in (entry.path.parent, entry.path, *entry.path.iterdir())}
    expected |= {root / name for name in (".tmp", ".broken", "CACHEDIR.TAG", "calibration.json", *store.stages)}
    return found + [f"{path} is litter." for path in sorted(root.rglob("*")) if path not in expected]
