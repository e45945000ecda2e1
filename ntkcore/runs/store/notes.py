"""What people write about results: a name and a note, in the cache beside the results, never taken away.

Every save is a folder of its own, renamed into place, so that none is ever written over: the last one counts, the
earlier ones stay. Nothing that clears, drops or verifies results touches them, and no seal of a result covers them::

    <root>/notes/<stage>-<key>/<number>/note.json

Of two who save at once one is first; the other is told what the first has written, and may save again::

    note = read(root, "sweep", key)                             # the last one; of number 0 where there is none
    write(root, "sweep", key, "thesis, figure 3", "the best so far", after=note.number)
    read_all(root)                                              # {(stage, key): the last one}
"""

import json
import os
import re
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from ntkcore.errors import StoreError
from ntkcore.runs.store import cachedir, folders
from ntkcore.writing import sync_folder

NOTE = "note.json"
LONGEST_NAME, LONGEST_TEXT = 80, 10_000  # letters
_OF = re.compile(r"(?P<stage>[a-z_]+)-(?P<key>[0-9a-f]{32})")
_MOST = 1 << 18  # bytes that are read


@dataclass(frozen=True)
class Note:
    """number: of the save, from 1 on; when: seconds since the epoch."""

    name: str = ""
    text: str = ""
    when: float = 0.0
    number: int = 0


class Overtaken(StoreError):
    """Somebody else has saved a note on the same result meanwhile; ``note`` is theirs, ``number`` that of the last."""

    def __init__(self, note: Note, number: int):
        self.note, self.number = note, number
        words = ": ".join(filter(None, (note.name, note.text)))
        super().__init__(f"Another note on this run was saved meanwhile: {words!r}. Yours is not saved yet.")


def history(root: Path, stage: str, key: str) -> list[Note]:
    """All that was saved about a result, the earliest first; what cannot be read is left out."""
    saved = [_read(folder) for folder in _saves(_place(root, stage, key))]
    return [note for note in saved if note is not None]


def read(root: Path, stage: str, key: str) -> Note:
    """The last note on a result; an empty one of number 0 where there is none."""
    return max(history(root, stage, key), key=lambda note: note.number, default=Note())


def read_all(root: Path) -> dict[tuple[str, str], Note]:
    """The last note on each result that has one that says anything."""
    places = [_OF.fullmatch(folder.name) for folder in folders.subfolders(root / cachedir.NOTES)]
    names = [(place["stage"], place["key"]) for place in places if place is not None]
    found = {name: read(root, *name) for name in names}
    return {name: note for name, note in found.items() if note.name or note.text}


def write(root: Path, stage: str, key: str, name: str, text: str, after: int) -> Note:
    """Save a name and a note on a result. after: number of the note that the writer has seen.

    Raises Overtaken where a later one is there, StoreError in words for what is too long or cannot be written.
    """
    name, text = " ".join(name.split()), text.strip()
    for what, given, most in (("name", name, LONGEST_NAME), ("note", text, LONGEST_TEXT)):
        if len(given) > most:
            raise StoreError(f"The {what} has {len(given)} letters; {most} at most are kept.")
    place = _place(root, stage, key)
    last = max((int(folder.name) for folder in _saves(place)), default=0)
    if last > after:
        raise Overtaken(read(root, stage, key), last)
    note = Note(name, text, time.time(), last + 1)
    try:
        with folders.scratch(root / cachedir.SCRATCH) as scratch:
            cachedir.mark(root, scratch)
            new = scratch / "note"
            new.mkdir()
            with open(new / NOTE, "w", encoding="ascii") as file:
                json.dump(asdict(note), file)
                file.flush()
                os.fsync(file.fileno())
            folders.make(place)
            try:
                os.rename(new, place / str(note.number))
            except OSError:
                if not folders.is_real(place / str(note.number)):
                    raise
                raise Overtaken(read(root, stage, key), note.number) from None
            sync_folder(place)
    except OSError as error:
        raise StoreError(folders.refusal(f"The note on {stage}/{key} cannot be saved in {root}", error)) from error
    return note


def _place(root: Path, stage: str, key: str) -> Path:
    name = f"{stage}-{key}"
    if _OF.fullmatch(name) is None:
        raise StoreError(f"{name!r} cannot have a note: the name of a stage and a key of 32 digits are needed.")
    return root / cachedir.NOTES / name


def _saves(place: Path) -> list[Path]:
    """The folders of the saves, the earliest first."""
    saves = [folder for folder in folders.subfolders(place) if re.fullmatch("[1-9][0-9]{0,8}", folder.name)]
    return sorted(saves, key=lambda folder: int(folder.name))


def _read(folder: Path) -> Note | None:
    """What was saved in a folder; None where that is not a note."""
    try:
        with open(folder / NOTE, "rb") as file:
            fields = json.loads(file.read(_MOST))
        name, text, when = fields["name"], fields["text"], float(fields["when"])
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return None
    if not isinstance(name, str) or not isinstance(text, str):
        return None
    return Note(name[:LONGEST_NAME], text[:LONGEST_TEXT], when, int(folder.name))
