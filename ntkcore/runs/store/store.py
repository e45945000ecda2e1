"""Content-addressed artifacts below one folder: what was computed once is found again, whole or not at all.

An artifact is the result of one stage for one key (the digest of everything that went into it)::

    <root>/CACHEDIR.TAG                                     the mark of a cache (see cachedir.py)
    <root>/<stage>/<key>/arrays.safetensors + meta.json     an artifact (see artifact.py)
    <root>/.tmp/<host>-<pid>-<random>/                      a writer at work, or one that was killed: swept
    <root>/notes/                                           what people wrote about results (see notes.py)
    <root>/.broken/<time>-<stage>-<key>/                    set aside: the artifact and why (incident.json)

Nothing else below the root is ever read, counted, moved or deleted, nor is an artifact in whose folder something else
lies; links are not followed. A stage is one that was declared, a key has 32 hexadecimal digits.

An artifact is written in ``.tmp``, flushed to the disk and renamed into place, and leaves by a rename too: at no
moment is there half of one, whoever is killed. Several processes may share a root; of two that write the same key the
later one keeps what the earlier one wrote. Every read verifies both files; an arrays file that this process has
verified and that has not changed since is not read again. A folder's modification time is that of its last use.

Tensors come back on the CPU in the shape and type they were stored with::

    store = Store("cache")
    store.put("kernel", key, {"k": k}, {"seconds": 2.5})    # k: [n, n]
    store.get("kernel", key).arrays["k"]                    # get() is None when it has to be computed
"""

from __future__ import annotations

import errno
import json
import os
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError

from ntkcore.errors import StoreError
from ntkcore.runs.store import artifact as files
from ntkcore.runs.store import cachedir, folders
from ntkcore.runs.store.artifact import Artifact, Broken
from ntkcore.runs.store.cachedir import InTheWay, in_the_way, is_there
from ntkcore.runs.store.incidents import Incident, Report, judge, read_incident
from ntkcore.runs.store.places import default_max_bytes, default_root
from ntkcore.runs.store.room import Room
from ntkcore.runs.store.zips import zip_of
from ntkcore.writing import sync_folder

if TYPE_CHECKING:
    import numpy as np
    import torch

Progress = Callable[[float, float, str], None]

_GRACE = 60.0  # seconds: an artifact used this recently is part of somebody's work and is not dropped
_DAMAGE = (errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.EIO)  # no such or no readable file
_MOMENT = 0.1  # seconds: a file younger than this may change again without its time changing

_declared: set[str] = set()


def declare(*stages: str) -> None:
    """Say under which names results are kept: a store touches no others. Whoever puts into stores says so on import."""
    _declared.update(stages)


class Store:
    """The artifacts below ``root``; safe to share between threads and, by the root, between processes.

    ``root`` defaults to :func:`default_root`, ``max_bytes`` to :func:`default_max_bytes`, ``stages`` to those that
    were declared. ``shipped`` is a folder of artifacts that is only read, where the root has none. Opening sweeps what
    killed writers left. Raises :class:`StoreError`, always with a sentence for the user: also for a folder that is
    neither new, empty nor a cache, in which nothing is then written.
    """

    def __init__(
        self,
        root: str | os.PathLike[str] | None = None,
        max_bytes: int | None = None,
        stages: Collection[str] | None = None,
        shipped: Path | None = None,
    ):
        self.root = Path(os.path.expanduser(root) if root is not None else default_root()).absolute()
        self.max_bytes = default_max_bytes() if max_bytes is None else int(max_bytes)
        self.stages = frozenset(_declared if stages is None else stages)
        if not self.stages:
            raise StoreError("No stage is declared. Import ntkcore.runs.stages first, or name the stages to be kept.")
        self.shipped = shipped
        self._check()
        self._scratch = self.root / cachedir.SCRATCH
        self._known: dict[Path, tuple[files.Signature, str]] = {}
        self._unmoved: dict[Path, Incident] = {}  # what cannot be used and stays where it is
        self._room = Room()
        self._lock = threading.Lock()
        folders.sweep(self._scratch)

    def get(self, stage: str, key: str) -> Artifact | None:
        """The verified artifact, or None when there is none or it was broken (then it has been set aside)."""
        found = self._read(stage, key)
        if found is None:
            return self._from_shipped(stage, key)
        with suppress(OSError):  # a read-only cache can be read, only not marked as used
            os.utime(found.path)
        return found

    def has(self, stage: str, key: str) -> bool:
        """Whether there is such an artifact, unverified: as cheap as a look at the folder."""
        folder = self._folder(stage, key)
        if os.path.isfile(f"{folder}/{files.META}"):  # most often it is not: one look is enough
            with suppress(OSError):  # where one may not look: whoever then asks for it is told why
                if folders.is_real(folder.parent) and folders.is_real(folder):
                    return True
        return self.shipped is not None and os.path.isfile(f"{self.shipped}/{stage}/{key}/{files.META}")

    def put(
        self,
        stage: str,
        key: str,
        arrays: Mapping[str, torch.Tensor | np.ndarray],
        meta: Mapping[str, Any],
        pinned: Collection[tuple[str, str]] = (),
    ) -> Artifact:
        """Store ``arrays`` (any shape, any type of safetensors) and ``meta`` (JSON) as ``stage/key``.

        A sound one that is there stays. Afterwards, unless a look of the last half minute found room, the least
        recently used artifacts are dropped until ``max_bytes`` is kept; this one, those used within the last minute
        and ``pinned`` ones (pairs of stage and key) are spared. StoreError if the disk is full or read-only.
        """
        if (present := self.get(stage, key)) is not None:
            return present
        self._check()
        try:
            with self.scratch() as scratch:
                new = scratch / "artifact"
                new.mkdir()
                files.write(new, stage, key, arrays, meta)
                done = self._install(new, stage, key)
        except (OSError, SafetensorError) as error:
            raise StoreError(folders.refusal(f"{stage}/{key} cannot be stored in {self.root}", error)) from error
        if self._room.used_up(done.bytes):
            self._evict({(stage, key), *pinned})
        return done

    def entries(self) -> list[Artifact]:
        """All artifacts, most recently used first; cheap: the arrays are verified only when they are read."""
        found = [self._look(stage, key, verify=False) for stage, key, _ in self._walk()]
        return sorted((artifact for artifact in found if artifact is not None), key=lambda a: -a.used)

    def size(self) -> int:
        """Bytes below the root that are the cache's: artifacts and what was set aside."""
        return sum(files.size_of(folder) for _, _, folder in self._walk()) + sum(map(folders.size_of, self._aside()))

    def left_alone(self) -> str:
        """What lies below the root and is not the cache's, in a sentence; empty when there is nothing of the kind."""
        found = cachedir.strangers(self.root, self.stages)
        return f"Left alone, not the cache's: {cachedir.in_words(found, self.root)}." if found else ""

    def delete(self, stage: str, key: str) -> bool:
        """Remove one artifact; False when there was none. Raises StoreError where something else lies in its folder."""
        folder = self._folder(stage, key)
        if not is_there(folder):
            return False
        if files.strangers(folder):
            raise StoreError(f"{stage}/{key} is not deleted: {in_the_way(folder)}")
        return self._remove(folder, files.strangers)

    def clear(self) -> int:
        """Remove all artifacts and all that was set aside; the number of artifacts removed."""
        self.clear_incidents()
        return sum(self._remove(folder, files.strangers) for _, _, folder in self._walk())

    def verify(self, progress: Progress | None = None) -> Report:
        """Read every byte of every artifact again and set the damaged ones aside.

        ``progress(done, total, note)`` counts bytes and may raise Cancelled.
        """
        todo = [(stage, key, files.size_of(folder)) for stage, key, folder in self._walk()]
        total, done, checked = sum(size for _, _, size in todo), 0, 0
        before = set(self.incidents())
        with self._lock:
            self._known.clear()
            self._unmoved.clear()  # looked at again like all others
        for stage, key, size in todo:
            if progress:
                progress(done, total, f"{stage}/{key}")
            checked += self._look(stage, key) is not None
            done += size
        broken = tuple(incident for incident in self.incidents() if incident not in before)
        if progress:
            progress(total, total, "verified")
        return Report(checked=checked + len(broken), bytes=done, broken=broken)

    def incidents(self) -> tuple[Incident, ...]:
        """What was found damaged, by any process, since :meth:`clear_incidents`; oldest first."""
        found = [incident for incident in map(read_incident, self._aside()) if incident is not None]
        with self._lock:
            found += self._unmoved.values()
        return tuple(sorted(found, key=lambda incident: incident.when))

    def clear_incidents(self) -> None:
        """Forget the incidents and remove what was set aside."""
        with self._lock:
            self._unmoved.clear()
        for aside in self._aside():
            self._remove(aside, cachedir.beside_what_was_set_aside)

    def export_zip(self, stage: str, key: str, extra_files: Mapping[str, bytes] | None = None) -> bytes:
        """One artifact as a zip: its two files, a README that says how to read them, and ``extra_files``."""
        found = self.get(stage, key)
        if found is None:
            raise StoreError(f"{stage}/{key} is not in the cache. Run it again, then export it.")
        try:
            return zip_of(found, extra_files or {})
        except OSError as error:
            raise StoreError(folders.refusal(f"{stage}/{key} cannot be read", error)) from error

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """A folder below the root for what is gone after this block."""
        with folders.scratch(self._scratch) as scratch:
            cachedir.mark(self.root, scratch)
            yield scratch

    def _check(self) -> None:
        """Raise StoreError unless the root may be a cache: at the start, and before anything new is written."""
        try:
            cachedir.check(self.root, self.stages)
        except OSError as error:
            raise StoreError(folders.refusal(f"The cache {self.root} cannot be read", error)) from error

    def _folder(self, stage: str, key: str) -> Path:
        if stage not in self.stages:
            raise StoreError(f"{stage!r} cannot be a stage; one of {', '.join(sorted(self.stages))} is needed.")
        if not isinstance(key, str) or not cachedir.KEY.fullmatch(key):
            raise StoreError(f"{key!r} cannot be a key; 32 digits of 0 to 9 and a to f are needed.")
        return self.root / stage / key

    def _read(self, stage: str, key: str, verify: bool = True) -> Artifact | None:
        """The artifact, its arrays verified unless told not to; None when absent, or broken and set aside.

        Raises StoreError where something that is not ours has an artifact's place.
        """
        folder = self._folder(stage, key)
        try:
            if not is_there(folder):
                return None
            found = files.read(folder, stage, key)
            if verify:
                self._verify(found.arrays)
            return found
        except (Broken, OSError) as error:
            if isinstance(error, OSError) and error.errno not in _DAMAGE:
                raise StoreError(folders.refusal(f"{folder} cannot be read", error)) from error
        if not files.strangers(folder):
            self._set_aside(folder, stage, key)
            return None
        if files.is_sealed(folder, stage, key):
            self._leave(stage, key)
        raise InTheWay(f"{stage}/{key} cannot be read or stored: {in_the_way(folder)}")

    def _from_shipped(self, stage: str, key: str) -> Artifact | None:
        """The artifact as it is shipped with the project; what is damaged there counts as absent, and stays."""
        if self.shipped is None or not (self.shipped / stage / key / files.META).is_file():
            return None
        with suppress(Broken, OSError):
            found = files.read(self.shipped / stage / key, stage, key)
            self._verify(found.arrays)
            return found
        return None

    def _look(self, stage: str, key: str, verify: bool = True) -> Artifact | None:
        """As ``_read``; None also where something that is not ours lies, or what may not be read, which is told."""
        try:
            return self._read(stage, key, verify)
        except StoreError as error:
            if isinstance(error.__cause__, PermissionError):
                self._leave(stage, key)
            elif not isinstance(error, InTheWay):
                raise
        return None

    def _verify(self, arrays: files.Arrays) -> None:
        """Verify ``arrays``; at once if this very file has been verified before."""
        seen = (arrays.signature, arrays.sha256)
        if self._known.get(arrays.path) == seen:
            arrays.verified = True
            return
        begun = time.time()
        arrays.verify()
        if begun - arrays.signature.mtime_ns / 1e9 > _MOMENT:
            with self._lock:
                self._known[arrays.path] = seen

    def _set_aside(self, folder: Path, stage: str, key: str) -> None:
        """Move a broken artifact out of the way and record it.

        Another process may have dropped or replaced it since it was found broken, so it is judged again once
        it is in a folder of our own; what turns out sound, or to hold more than an artifact, goes back.
        """
        now = time.time_ns()
        aside = self.root / cachedir.BROKEN / f"{now:020d}-{stage}-{key}"
        incident = Incident(stage, key, "", when=now / 1e9, path=str(aside))
        try:
            with folders.scratch(self._scratch) as scratch:
                mine = scratch / "aside" / "artifact"
                mine.parent.mkdir()
                os.rename(folder, mine)
                incident = replace(incident, reason=judge(mine, stage, key))
                if files.strangers(mine):
                    folders.give_back(mine, folder, aside)
                elif not incident.reason:
                    with suppress(OSError):  # a third process has stored it anew
                        os.rename(mine, folder)
                else:
                    (mine.parent / cachedir.INCIDENT).write_text(json.dumps(asdict(incident)))
                    folders.make(aside.parent)
                    os.rename(mine.parent, aside)
        except FileNotFoundError:
            return
        except OSError:
            self._leave(stage, key, incident.reason)

    def _leave(self, stage: str, key: str, reason: str = "") -> None:
        """Remember something that cannot be used and stays where it is."""
        folder = self._folder(stage, key)
        reason = reason or judge(folder, stage, key)
        with self._lock:
            self._unmoved.setdefault(folder, Incident(stage, key, reason, time.time(), str(folder)))

    def _install(self, new: Path, stage: str, key: str) -> Artifact:
        """Rename ``new`` into place; if another writer was first, keep that one's artifact."""
        folder = self._folder(stage, key)
        for _ in range(3):
            folders.make(folder.parent)
            try:
                os.rename(new, folder)
                sync_folder(folder.parent)
            except OSError as error:
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                    raise
            if (found := self._read(stage, key)) is not None:
                return found
            if not new.exists():
                break
        raise StoreError(f"{stage}/{key} was removed or damaged while it was stored. Run it again.")

    def _remove(self, folder: Path, others: Callable[[Path], object]) -> bool:
        """Take a folder out of sight by a rename, then remove it.

        False when there is none, or when there are ``others`` in it, things that are not ours; then it stays.
        """
        try:
            if not folders.is_real(folder) or others(folder):
                return False
            with folders.scratch(self._scratch) as scratch:
                os.rename(folder, gone := scratch / "removed")
                if others(gone):  # put there in this very moment
                    folders.give_back(gone, folder, self.root / cachedir.BROKEN / scratch.name)
                    return False
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError as error:
            raise StoreError(folders.refusal(f"{folder} cannot be removed", error)) from error
        return True

    def _evict(self, spared: set[tuple[str, str]]) -> None:
        """Drop what was set aside (not its record), then the least recently used, down to ``max_bytes``.

        A time in the future tells nothing about the last use: such an artifact goes first.
        """
        now, aside = time.time(), self._aside()
        candidates = [(-1.0, folder / "artifact", files.size_of(folder / "artifact")) for folder in aside]
        total = sum(map(folders.size_of, aside))
        for stage, key, folder in self._walk():
            total += (size := files.size_of(folder))
            with suppress(OSError):
                used = folder.stat().st_mtime
                if (stage, key) not in spared and abs(now - used) > _GRACE:
                    candidates.append((used if used < now else 0.0, folder, size))
        for _, folder, size in sorted(candidates):
            if total <= self.max_bytes:
                break
            with suppress(StoreError):  # another process is at it, or may not: what was just stored is stored
                total -= size * self._remove(folder, files.strangers)
        self._room.left(self.max_bytes - total)

    def _walk(self) -> Iterator[tuple[str, str, Path]]:  # stage, key, folder of every artifact, whole or damaged
        return cachedir.artifacts(self.root, self.stages)

    def _aside(self) -> list[Path]:
        return cachedir.aside(self.root, self.stages)
