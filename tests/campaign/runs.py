"""Small real runs for the drills: the command line in a process of its own that is soon there, and what came of it.

A process is forked from a server that has imported the library once, so a drill does not wait for torch every time::

    runs = written(folder)                                  # a small description for each command
    process = start(["--cache", cache, *runs["run"]], log)
    results(cache)                                          # SHA-256 of the arrays of every artifact
"""

import json
import multiprocessing
import os
import sys
from multiprocessing.process import BaseProcess
from pathlib import Path

from ntkcore import cli
from ntkcore.runs.store import Store

_SERVER = multiprocessing.get_context("forkserver")
_SERVER.set_forkserver_preload(["ntkcore.cli"])

DATA = {"n_train": 24, "n_test": 10, "size": 4}
DESCRIPTIONS = {
    "run": {"data": DATA, "net": {"depth": 2}},
    "transfer": {"kernel": {"data": DATA}, "widths": [8, 16], "seeds": 1, "eps": [4 / 255, 8 / 255]},
    "evolve": {"data": DATA, "net": {"net": {}, "width": 8}, "epochs": 2, "seeds": 1, "probe": 12, "freeze": [1]},
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


def start(arguments: list[str], log: Path) -> BaseProcess:
    """``python -m ntkcore ARGUMENTS``, at once; what it says goes to ``log``."""
    process = _SERVER.Process(target=_main, args=(arguments, str(log)), daemon=True)
    process.start()
    return process


def _main(arguments: list[str], log: str) -> None:
    handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(handle, 1)
    os.dup2(handle, 2)
    sys.exit(cli.main(arguments))


def results(root: Path) -> dict[tuple[str, str], str]:
    """SHA-256 of the arrays of every artifact in a cache, by stage and key."""
    return {(entry.stage, entry.key): entry.arrays.sha256 for entry in Store(root).entries()}


def flaws(root: Path) -> list[str]:
    """What is not as it should be in a cache that nobody works in: damage and litter, a sentence each."""
    store = Store(root)
    found = [str(incident) for incident in store.verify().broken]
    found += [f"An incident stayed: {incident}" for incident in store.incidents()]
    expected = {path for entry in store.entries() for path in (entry.path.parent, entry.path, *entry.path.iterdir())}
    expected |= {root / name for name in (".tmp", "CACHEDIR.TAG", "calibration.json")}
    return found + [f"{path} is litter." for path in sorted(root.rglob("*")) if path not in expected]
