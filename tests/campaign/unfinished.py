"""Kernels in files: writers killed at random moments, what they left damaged, and two writers at once.

What comes of it is an undisturbed file, bit by bit, with nothing beside it.
"""

import random
import sys
import time
from pathlib import Path

import torch

import ntkcore as ntk
from ntkcore.errors import NTKError
from ntkcore.kernels.streamed import COPIES
from tests.campaign.harm import HARM
from tests.campaign.runs import LIMIT, start

IMAGES = 200
MEMORY = [COPIES * 4 * side**2 for side in (20, 33)]  # bytes for tiles of so many images
TAKEN = "is being written by another process"
LEFT = {"k.npy.begun", "k.npy.begun.json"}


def kernels(count: int, seed: int, folder: Path) -> list[str]:
    """Kill writers and damage what they left, ``count`` times; each file is gone on with until it is finished."""
    draw, failures, log = random.Random(seed), [], folder / "log"
    right, seconds = _undisturbed(folder, log)[0]
    damaged = begun = 0
    while damaged < count:
        begun += 1
        place, said = folder / f"killed-{begun}", []
        place.mkdir()
        for _ in range(draw.randint(1, 3)):
            process = start(write, [str(place / "k.npy"), MEMORY[0]], log)
            time.sleep(draw.uniform(0, seconds))
            process.kill()
            process.join()
            left = {path.name for path in place.iterdir()}
            said.append(f"killed, {len(left)} files left")
            if process.exitcode not in (0, -9) or not left <= LEFT | {"k.npy"}:
                failures.append(f"{place.name}, seed {seed}: {process.exitcode}, {left}: {log.read_text()[-500:]}")
            if harmed := sorted(left & LEFT):
                harm, name = draw.choice(list(HARM)), draw.choice(harmed)
                HARM[harm](place / name, draw)
                said.append(f"{harm} of {name}")
                damaged += 1
        process = start(write, [str(place / "k.npy"), MEMORY[0]], log)
        process.join(LIMIT)
        where = f"{place.name}, seed {seed} ({'; '.join(said)})"
        failures += _flaws(where, place, [process.exitcode], log, [right])
    return failures


def writers(count: int, seed: int, folder: Path) -> list[str]:
    """Two writers of one file at once, with other tiles, ``count`` times: one is refused, or both are right."""
    draw, failures, logs = random.Random(seed), [], [folder / "log-0", folder / "log-1"]
    rights = _undisturbed(folder, logs[0])
    for i in range(count):
        place = folder / f"both-{i}"
        place.mkdir()
        pair = []
        for memory, log in zip(draw.sample(MEMORY, 2), logs, strict=True):
            pair.append(start(write, [str(place / "k.npy"), memory], log))
            time.sleep(draw.choice([0, 0, draw.uniform(0, rights[0][1])]))
        for process in pair:
            process.join(LIMIT)
        where = f"{place.name}, seed {seed}"
        for process, log in zip(pair, logs, strict=True):
            if process.exitcode == 1 and TAKEN not in log.read_text():
                failures.append(f"{where}: refused in other words: {log.read_text()[-500:]}")
        ended = [process.exitcode for process in pair]
        done = [code for code in ended if code != 1] or ended  # 1: refused, which not both may be
        failures += _flaws(where, place, done, logs[0], [right for right, _ in rights])
    return failures


def _undisturbed(folder: Path, log: Path) -> list[tuple[bytes, float]]:
    """A file's bytes, and the seconds that it took, with each memory."""
    found = []
    for i, memory in enumerate((MEMORY[0], *MEMORY)):  # the first one may have to compile
        path = folder / f"undisturbed-{i}.npy"
        begun = time.monotonic()
        process = start(write, [str(path), memory], log)
        process.join(LIMIT)
        found.append((path.read_bytes(), time.monotonic() - begun))
    return found[1:]


def _flaws(where: str, place: Path, ended: list[int | None], log: Path, rights: list[bytes]) -> list[str]:
    if any(ended):
        return [f"{where}: ended with {ended}: {log.read_text()[-500:]}"]
    found = [f"{where}: {path.name} is litter." for path in place.iterdir() if path.name != "k.npy"]
    if (place / "k.npy").read_bytes() not in rights:
        found.append(f"{where}: another kernel.")
    return found


def write(path: str, memory: float) -> None:
    """A kernel of a dense net to a file, by tiles."""
    x = torch.rand(IMAGES, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    try:
        ntk.kernel_to_file(ntk.kernel_fn(ntk.fc(1)), x, path, memory, tell=print)
    except NTKError as error:
        print(error)
        sys.exit(1)
