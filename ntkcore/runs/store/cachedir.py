"""Which folder may be a cache, and what in it is the cache's own; everything else is left as it is.

A folder is taken that is new, empty, marked, or that holds nothing but what an earlier version, which marked nothing,
has written there. The mark is a ``CACHEDIR.TAG`` in the form that backup programs know and skip
(https://bford.info/cachedir/), with a line that tells it from other programs' tags::

    check(root, stages)             # StoreError in words for a folder of somebody else's
    mark(root, scratch)             # before anything else is written
    strangers(root, stages)         # what lies in there and is not the cache's
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Collection, Iterator
from contextlib import suppress
from pathlib import Path

from ntkcore.errors import StoreError
from ntkcore.runs.store import artifact, folders
from ntkcore.writing import user_cache, user_data

TAG, CALIBRATION, SCRATCH, BROKEN, INCIDENT = "CACHEDIR.TAG", "calibration.json", ".tmp", ".broken", "incident.json"
NOTES = "notes"  # what people have written about results (notes.py)
KEY = re.compile(r"[0-9a-f]{32}")
_ASIDE = re.compile(r"[0-9]{20}-(?P<stage>.+)-(?P<key>[0-9a-f]{32})")
_LINES = (
    "Signature: 8a477f597d28d172789f06886806bc55",
    "# This file is a cache directory tag created by ntkcore. What ntkcore computes is kept beside it and can be",
    "# deleted: it is computed again when it is needed. For information see https://bford.info/cachedir/",
)
_NOTHING = (".gitkeep", ".gitignore", ".DS_Store", "lost+found")  # in a folder that counts as empty
_RATES = (CALIBRATION, "calibration.part")  # the second from an earlier version that was killed
_MENDING = "Choose a new or an empty folder, with NTK_CACHE or --cache."


class InTheWay(StoreError):
    """Something that is not the cache's has an artifact's place."""


def check(root: Path, stages: Collection[str]) -> None:
    """Raise StoreError, in words, unless ``root`` may be a cache; nothing is written."""
    if not root.exists():
        return
    if not root.is_dir():
        raise StoreError(f"The cache {root} is a file; a folder is needed. {_MENDING}")
    if _is_home_or_top(root):
        raise StoreError(f"{root} cannot be the cache: it is where other things lie. {_MENDING}")
    if not is_marked(root) and (objection := _objection(root, stages)) and not is_marked(root):  # by another, meanwhile
        raise StoreError(f"{root} is not a cache: {objection}. It is left as it is. {_MENDING}")


def _objection(root: Path, stages: Collection[str]) -> str:
    """Why an unmarked folder cannot be a cache; empty when it can. Others may be writing into it: proof comes last."""
    other = [path for path in strangers(root, stages) if not _of_another_version(path, root)]
    if (not other and _is_bare(root)) or (_has_proof(root) and other in ([], [root / TAG])):  # the user's own tag
        return ""
    return f"it holds {in_words(other, root)}" if other else "nothing in it was written by ntkcore"


def is_marked(root: Path) -> bool:
    """Whether the folder has our mark."""
    try:
        with open(root / TAG, "rb") as file:
            return file.read(200).decode("ascii", "replace").splitlines()[:2] == list(_LINES[:2])
    except OSError:
        return False


def mark(root: Path, scratch: Path) -> None:
    """Mark ``root`` as a cache, by way of the folder ``scratch`` in it, unless it has a tag; OSError from the disk."""
    if not os.path.lexists(root / TAG):
        with open(scratch / TAG, "w", encoding="ascii") as file:
            file.write("\n".join(_LINES) + "\n")
            file.flush()
            os.fsync(file.fileno())
        os.replace(scratch / TAG, root / TAG)


def strangers(root: Path, stages: Collection[str]) -> list[Path]:
    """What lies in a cache and is not its own: never read, counted, moved or deleted.

    Of a folder with nothing of ours in it only the folder is told, not what it holds.
    """
    found: list[Path] = []
    expected = {*_NOTHING, *_neighbours(root)}
    for entry in folders.content(root):
        path, folder = root / entry.name, entry.is_dir(follow_symlinks=False)
        if entry.name in expected or (folder and entry.name == NOTES):
            continue
        if folder and entry.name == SCRATCH:
            found += [path / one.name for one in folders.content(path) if not folders.is_scratch(path / one.name)]
        elif folder and entry.name == BROKEN:
            found += [path / one.name for one in folders.content(path) if not is_aside(path / one.name, stages)]
        elif folder and entry.name in stages:
            found += _beside_artifacts(path)
        elif entry.name == TAG:
            found += [] if is_marked(root) else [path]
        elif not (entry.name in _RATES and entry.is_file(follow_symlinks=False)):
            found.append(path)
    return found


def is_there(folder: Path) -> bool:
    """Whether there is a real folder in an artifact's place.

    Raises InTheWay for a link or a file there or in place of its stage's folder, OSError where one may not look.
    """
    for place in (folder.parent, folder):
        try:
            os.lstat(place)
        except (FileNotFoundError, NotADirectoryError):
            return False
        if not folders.is_real(place):
            raise InTheWay(
                f"{place} is a link or a file, where the cache keeps a folder of its own; links are not followed. "
                "Move it elsewhere and try again."
            )
    return True


def in_the_way(folder: Path) -> str:
    """A sentence for an artifact's folder in which something else lies."""
    others = in_words([folder / name for name in artifact.strangers(folder)], folder)
    return f"its folder {folder} holds {others}, not the cache's. Move that elsewhere and try again."


def artifacts(root: Path, stages: Collection[str]) -> Iterator[tuple[str, str, Path]]:
    """(stage, key, folder) of all artifacts, whole or damaged, that are ours."""
    for stage in sorted(stages):
        for entry in folders.content(root / stage):
            folder = root / stage / entry.name
            if KEY.fullmatch(entry.name) and folders.is_real(folder) and artifact.is_ours(folder, stage, entry.name):
                yield stage, entry.name, folder


def aside(root: Path, stages: Collection[str]) -> list[Path]:
    """The folders of what was set aside."""
    return [path for path in folders.subfolders(root / BROKEN) if is_aside(path, stages)]


def is_aside(path: Path, stages: Collection[str]) -> bool:
    """Whether ``path`` is an artifact that was set aside, with nothing of anybody else's in it."""
    name = _ASIDE.fullmatch(path.name)
    return (
        name is not None and name["stage"] in stages and folders.is_real(path) and not beside_what_was_set_aside(path)
    )


def beside_what_was_set_aside(path: Path) -> list[str]:
    """The names in a folder of ``.broken`` that are neither the record nor the artifact with its two files."""
    return [
        entry.name
        for entry in folders.content(path)
        if not (entry.name == INCIDENT and entry.is_file(follow_symlinks=False))
        and not (
            entry.name == "artifact"
            and entry.is_dir(follow_symlinks=False)
            and not artifact.strangers(path / "artifact")
        )
    ]


def name_of_aside(path: Path) -> tuple[str, str, float]:
    """Stage, key and time (seconds since the epoch) that the name of a folder set aside tells."""
    found = _ASIDE.fullmatch(path.name)
    assert found is not None  # only such folders are set aside
    stage, key = found.groups()
    return stage, key, int(path.name[:20]) / 1e9


def in_words(paths: Collection[Path], root: Path) -> str:
    """The first few of ``paths`` below ``root``, and how many more there are: "notes.txt, Photos and 7 more"."""
    names = [os.fspath(path.relative_to(root)) for path in list(paths)[:3]]
    names = [name if len(name) <= 80 else f"{name[:77]}..." for name in map(_printable, names)]
    more = len(paths) - len(names)
    return ", ".join(names) + (f" and {more} more" if more else "")


def _printable(name: str) -> str:
    return "".join(letter if letter.isprintable() else "?" for letter in name)


def _neighbours(root: Path) -> set[str]:
    """The names in ``root`` that lead to data sets or to compiled loops, where these are kept in the same folder."""
    found: set[str] = set()
    for place in (user_data, lambda: user_cache() / "loops"):
        with suppress(RuntimeError, OSError):  # a user without a home
            path = place().resolve()
            if root.resolve() in path.parents:
                found.add(path.relative_to(root.resolve()).parts[0])
    return found


def _beside_artifacts(folder: Path) -> list[Path]:
    """What is not ours in the folder of a stage."""
    found: list[Path] = []
    for entry in folders.content(folder):
        path = folder / entry.name
        if entry.name in _NOTHING:
            continue
        if not (KEY.fullmatch(entry.name) and entry.is_dir(follow_symlinks=False)):
            found.append(path)
        elif artifact.is_ours(path, folder.name, entry.name):
            found += [path / name for name in artifact.strangers(path)]
        else:
            found.append(path)
    return found


def _is_home_or_top(root: Path) -> bool:
    real = root.resolve()
    with suppress(RuntimeError, OSError):
        if real == Path.home().resolve():
            return True
    return real == real.parent


def _of_another_version(path: Path, root: Path) -> bool:
    """Whether this is a folder of whole artifacts under a stage that this version does not know."""
    if path.parent != root or not folders.is_real(path):
        return False
    held = folders.content(path)
    return bool(held) and all(
        KEY.fullmatch(entry.name)
        and entry.is_dir(follow_symlinks=False)
        and not artifact.strangers(path / entry.name)
        and artifact.is_sealed(path / entry.name, path.name, entry.name)
        for entry in held
    )


def _is_bare(root: Path) -> bool:
    """Whether there is no file in it, but for those that count as nothing and those of killed writers."""
    for parent, inside, names in os.walk(root):
        if Path(parent) == root:
            expected = {SCRATCH, *_NOTHING, *_neighbours(root)}
            names = [name for name in names if name not in expected]
            inside[:] = [name for name in inside if name not in expected]
        if names:
            return False
    return True


def _has_proof(root: Path) -> bool:
    """Whether something in it was certainly written by us: a sealed artifact, or the rates of a machine."""
    with suppress(OSError, ValueError, TypeError):
        if {"format", "threads", "torch", "rates"} <= set(json.loads((root / CALIBRATION).read_bytes())):
            return True
    return any(
        artifact.is_sealed(folder, stage.name, folder.name)
        for stage in folders.subfolders(root)
        for folder in folders.subfolders(stage)
    )
