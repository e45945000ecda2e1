"""Damaged files in a cache: whatever was done to them, the next run gives the same arrays, bit by bit, or says in a
sentence what lies in its way; what was put there by somebody else stays.

Every tenth time pages of the app read the damaged cache as well.
"""

import json
import logging
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from unittest.mock import patch

from ntkcore.runs.store import Store
from ntkcore.runs.store.artifact import ARRAYS, META, _seal
from tests.apptest import opened
from tests.campaign.listing import listing
from tests.campaign.runs import DATA, call, flaws, results, undisturbed, written

PAGES = ("runs", "spectrum", "eigenfeatures")
LINK = {"n": str(DATA["n_train"]), "m": str(DATA["n_test"]), "size": str(DATA["size"]), "depth": "2"}
ODD = (None, True, -1, 10**30, float("nan"), float("inf"), "text", [], {}, [[3]], {"k": {"shape": -3, "dtype": []}})
FEW = 10  # damaged caches: all of one command, to be soon done
Names = set[tuple[str, str]]  # stages and keys
Damage = Callable[[random.Random, Path, Path], Path | None]


def drill(count: int, seed: int, folder: Path) -> list[str]:
    """Damage ``count`` copies of small caches."""
    draw, runs, failures, whole, expected = random.Random(seed), written(folder / "descriptions"), [], {}, {}
    for i in range(count):
        pages = i % 10 == 9
        command = "run" if pages or count <= FEW else draw.choice(list(runs))
        if command not in expected:
            whole[command] = folder / f"whole-{command}"
            undisturbed(runs[command], whole[command], folder / "log")
            expected[command] = results(whole[command])
        root = folder / "page" if pages else folder / f"damaged-{i}"
        shutil.rmtree(root, ignore_errors=True)
        shutil.copytree(whole[command], root)
        harm, theirs, harmed = DAMAGES[i % len(DAMAGES)], [], set()
        for _ in range(draw.randint(1, 2)):
            victim, other = draw.sample(sorted(expected[command].keys() - harmed), 2)
            theirs += filter(None, [harm(draw, root.joinpath(*victim), root.joinpath(*other))])
            harmed |= {victim, other}
        where = f"copy {i} of {command}, {harm.__name__}"
        after = _gone_on(root, runs[command], harmed, theirs, expected[command], pages)
        failures += [f"{where}: {flaw}" for flaw in after]
        if not pages:
            shutil.rmtree(root)
    if (folder / "page").exists():
        _close(folder / "page")
    return failures


def _gone_on(
    root: Path, run: list[str], harmed: Names, theirs: list[Path], expected: dict[tuple[str, str], str], pages: bool
) -> list[str]:
    """What is wrong with all that comes after the damage; ``theirs``: what somebody else put there.

    Something harmed that the run has no need of is not computed again.
    """
    failures, before = [], [_look(path) for path in theirs]
    if pages:
        failures += _pages(root)
    status, said = 1, ""
    for command in (["cache", "ls"], ["cache", "verify"], run):
        status, said = call("--cache", root, *command)
        if status == -1 or len(said) > 20_000:
            failures.append(f"{command}: {said.strip()[-600:]}")
    if status == 1 and not theirs:
        failures.append(f"the run ended with: {said.strip()[-300:]}")
    if [_look(path) for path in theirs] != before:
        failures.append("what somebody else put there has changed.")
    for path in theirs:
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    if status == 1:
        status, said = call("--cache", root, *run)
    if status != 0:
        failures.append(f"the run ended with: {said.strip()[-300:]}")
    found = results(root)
    if any(found.get(name, digest) != digest for name, digest in expected.items()):
        failures.append("the results are not those of an undisturbed run.")
    if not expected.keys() - harmed <= found.keys():
        failures.append("results are gone that nothing was done to.")
    store = Store(root)
    store.verify()  # finds what stayed damaged beside somebody's notes, and no run had need of
    store.clear_incidents()
    return failures + flaws(root)


def _pages(root: Path) -> list[str]:
    """What the app's pages make of the cache; an exception on one of them is a failure."""
    failures = []
    logging.getLogger("streamlit.runtime.scriptrunner_utils.script_run_context").setLevel("ERROR")  # there is no server
    for page in PAGES:
        at = opened(page, LINK, root)
        failures += [f"page {page}: {error.message}" for error in at.exception]
    return failures


def _close(root: Path) -> None:
    """End the worker that the pages have started."""
    from pages.ui.shell import services

    with patch.dict(os.environ, NTK_CACHE=str(root)):
        services.services().worker.close()
    services._services.clear()


def _look(path: Path) -> object:
    return os.readlink(path) if path.is_symlink() else listing(path) if path.is_dir() else path.read_bytes()


# -- damages: of an artifact's folder, with another one at hand; what is somebody else's afterwards -----------------


def _file(draw: random.Random, folder: Path) -> Path:
    return folder / draw.choice((ARRAYS, META))


def flipped_bits(draw: random.Random, folder: Path, other: Path) -> None:
    file = _file(draw, folder)
    content = bytearray(file.read_bytes())
    for _ in range(draw.randint(1, 5)):
        content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
    file.write_bytes(content)


def truncated(draw: random.Random, folder: Path, other: Path) -> None:
    file = _file(draw, folder)
    os.truncate(file, draw.randrange(file.stat().st_size))


def without_content(draw: random.Random, folder: Path, other: Path) -> None:
    os.truncate(_file(draw, folder), 0)


def longer(draw: random.Random, folder: Path, other: Path) -> None:
    with open(_file(draw, folder), "ab") as file:
        file.write(draw.randbytes(draw.randint(1, 100)))


def overwritten(draw: random.Random, folder: Path, other: Path) -> None:
    file = _file(draw, folder)
    file.write_bytes(draw.randbytes(file.stat().st_size))


def removed(draw: random.Random, folder: Path, other: Path) -> None:
    _file(draw, folder).unlink()


def folder_removed(draw: random.Random, folder: Path, other: Path) -> None:
    shutil.rmtree(folder)


def emptied(draw: random.Random, folder: Path, other: Path) -> None:
    shutil.rmtree(folder)
    folder.mkdir()


def empty_folder_for_file(draw: random.Random, folder: Path, other: Path) -> None:
    file = _file(draw, folder)
    file.unlink()
    file.mkdir()


def full_folder_for_file(draw: random.Random, folder: Path, other: Path) -> Path:
    file = _file(draw, folder)
    file.unlink()
    file.mkdir()
    (file / "letter.txt").write_text("Dear")
    return file


def link_for_file(draw: random.Random, folder: Path, other: Path) -> Path:
    file = _file(draw, folder)
    file.unlink()
    file.symlink_to(draw.choice((other / file.name, folder / "nothing", folder)))
    return file


def link_for_folder(draw: random.Random, folder: Path, other: Path) -> Path:
    shutil.rmtree(folder)
    folder.symlink_to(other)
    return folder


def notes_beside(draw: random.Random, folder: Path, other: Path) -> Path:
    note = folder / "notes.txt"
    flipped_bits(draw, folder, other)
    note.write_text("a good run")
    return note


def files_of_another(draw: random.Random, folder: Path, other: Path) -> None:
    for name in draw.choice(((ARRAYS,), (META,), (ARRAYS, META))):
        shutil.copyfile(other / name, folder / name)


def changed_places(draw: random.Random, folder: Path, other: Path) -> None:
    folder.rename(folder.with_name("0" * 32))
    other.rename(folder)
    folder.with_name("0" * 32).rename(other)


def sealed_anew(draw: random.Random, folder: Path, other: Path) -> None:
    body = json.loads((folder / META).read_bytes())
    body.pop("sha256")
    fields = ("format", "created", "arrays", "arrays_bytes", "arrays_sha256", "stage", "key")
    (folder / META).write_bytes(_seal({**body, draw.choice(fields): draw.choice(ODD)}))


def odd_meta(draw: random.Random, folder: Path, other: Path) -> None:
    body = json.loads((folder / META).read_bytes())
    body.pop("sha256")
    body["meta"][draw.choice(("words", "seconds", "spec", "version"))] = draw.choice(ODD)
    (folder / META).write_bytes(_seal(body))


DAMAGES: tuple[Damage, ...] = (
    flipped_bits,
    truncated,
    without_content,
    longer,
    overwritten,
    removed,
    folder_removed,
    emptied,
    empty_folder_for_file,
    full_folder_for_file,
    link_for_file,
    link_for_folder,
    notes_beside,
    files_of_another,
    changed_places,
    sealed_anew,
    odd_meta,
)
