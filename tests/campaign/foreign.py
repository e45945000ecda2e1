"""Folders of somebody else in place of the cache, and somebody else's things within one: byte for byte as they were,
whatever command is run."""

import os
import random
import shutil
import time
from pathlib import Path
from unittest.mock import patch

from ntkcore.runs.specs import STAGES
from tests.campaign.listing import listing
from tests.campaign.runs import call, written

NAMES = ("Documents", "2024", "notes.txt", "beach.jpg", "thesis.tex", ".config")
OURS = (".tmp", ".broken", "meta.json", "arrays.safetensors", "calibration.json", "CACHEDIR.TAG", "artifact")
FEW = 10  # folders: with less in the caches, and fewer commands, to be soon done
TIMES = (1.0, 1e9, 4e9)  # seconds since the epoch: old, and in the future


def drill(count: int, seed: int, folder: Path) -> list[str]:
    """``count`` folders, refused ones and caches with things in them in turn; each meets every command."""
    draw, runs, failures = random.Random(seed), written(folder / "descriptions"), []
    whole, filled = folder / "whole", ("run", "evolve") if count > FEW else ("run",)
    for command in filled:
        call("--cache", whole, *runs[command])
    for i in range(count):
        root, elsewhere = folder / f"{i}" / "root", folder / f"{i}" / "elsewhere"
        _tree(draw, elsewhere, 3)
        refused = i % 2 == 0
        if refused:
            _tree(draw, root, 4, elsewhere)
            (root / "letter.txt").write_text("Dear")
            theirs = {folder / f"{i}"}
        else:
            shutil.copytree(whole, root)
            theirs = {elsewhere, *_sprinkled(draw, root, elsewhere)}
        before = {place: _listed(place) for place in theirs}
        for named in (True, False) if refused else (draw.random() < 0.5,):  # by --cache, by NTK_CACHE
            ran = runs if refused else {command: runs[command] for command in ("transfer", *filled)}
            failures += [f"folder {i}: {flaw}" for flaw in _commands(ran, root, named, refused)]
            for place in theirs:
                if _listed(place) != before[place]:
                    failures.append(f"folder {i}: {place} is not what it was.")
    return failures


def _commands(runs: dict[str, list[str]], root: Path, named: bool, refused: bool) -> list[str]:
    """Every command once, with a cache that may hold next to nothing; what they should not have said."""
    failures, there = [], {"NTK_CACHE": "/nowhere" if named else str(root), "NTK_CACHE_MAX_GB": "0.000000001"}
    commands = [["cache", what] for what in ("ls", "verify", "clear")] + list(runs.values())
    commands += [["kernel", runs["run"][1], "--out", str(root.parent.parent / name)] for name in ("K.npz", "K.npy")]
    for command in [*commands, ["presets"]]:
        with patch.dict(os.environ, there):
            status, said = call(*(["--cache", root] if named else []), *command)
        if status not in (0, 1):
            failures.append(f"{command}: {said.strip()[-600:]}")
        elif command[0] == "presets" or command[-1].endswith(".npy"):  # these look at no cache
            failures += [f"{command}: {said.strip()[-300:]}"] if status else []
        elif refused and not (status == 1 and f"{root} is not a cache: " in said):
            failures.append(f"{command} is not refused: {status}, {said.strip()[-300:]}")
    return failures


def _tree(draw: random.Random, folder: Path, most: int, elsewhere: Path | None = None) -> None:
    """A folder with files, folders and links; some are named as the cache names its own."""
    folder.mkdir(parents=True, exist_ok=True)
    for _ in range(draw.randint(1, most)):
        path = folder / _name(draw)
        if os.path.lexists(path):
            continue
        kind = draw.random()
        if kind < 0.4:
            path.write_bytes(draw.randbytes(draw.choice((0, 3, 5000))))
        elif kind < 0.55 and elsewhere is not None:
            path.symlink_to(draw.choice((elsewhere, elsewhere / "not there", folder)))
        elif most > 1:
            _tree(draw, path, most - 1, elsewhere)
        if draw.random() < 0.5 and path.exists() and not path.is_symlink():
            when = draw.choice(TIMES)
            os.utime(path, (when, when))


def _name(draw: random.Random) -> str:
    digits = f"{draw.getrandbits(128):032x}"
    aside = f"{time.time_ns():020d}-{draw.choice(list(STAGES))}-{digits}"
    return draw.choice((*NAMES, *OURS, "artifact", *STAGES, digits, aside, f"host-12-{digits[:6]}"))


def _sprinkled(draw: random.Random, root: Path, elsewhere: Path) -> list[Path]:
    """Put things into a cache, at every depth; their places."""
    places = [root, root / ".tmp", root / ".broken", *(folder for folder in root.rglob("*") if folder.is_dir())]
    found = []
    for folder in draw.sample(places, min(len(places), 8)):
        folder.mkdir(exist_ok=True)
        path = folder / draw.choice(("notes.txt", "Photos", "2024", ".hidden"))
        kind = draw.random()
        if os.path.lexists(path):
            continue
        if kind < 0.4:
            path.write_text("mine")
        elif kind < 0.6:
            path.symlink_to(elsewhere)
        else:
            _tree(draw, path, 3)
        os.utime(folder, (1e9, 1e9))
        found.append(path)
    return found


def _listed(place: Path) -> object:
    """What a place is, byte for byte."""
    if place.is_symlink():
        return os.readlink(place)
    return listing(place) if place.is_dir() else place.read_bytes() if place.exists() else None
