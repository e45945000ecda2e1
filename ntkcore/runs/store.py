"""Content-addressed artifacts below one folder: what was computed once is found again, whole or not at all.

An artifact is the result of one stage for one key (the digest of everything that went into it)::

    <root>/<stage>/<key>/arrays.safetensors + meta.json     an artifact (see artifact.py)
    <root>/.tmp/<host>-<pid>-<random>/                      a writer at work, or one that was killed: swept
    <root>/.broken/<time>-<stage>-<key>/                    set aside: the artifact and why (incident.json)

An artifact is written in ``.tmp``, flushed to the disk and renamed into place, and leaves by a rename too: at
no moment is there half of one, whoever is killed. Several processes may share a root; of two that write the
same key the later one keeps what the earlier one wrote. Every read verifies both files; an arrays file that
this process has verified and that has not changed since is not read again for it. A folder's own modification
time is the time of its last use.

Tensors come back on the CPU in the shape and type they were stored with::

    store = Store("cache")
    store.put("kernel", key, {"k": k}, {"seconds": 2.5})    # k: [n, n]
    store.get("kernel", key).arrays["k"]                    # get() is None when it has to be computed
"""

from __future__ import annotations

import errno
import io
import json
import os
import re
import threading
import time
import zipfile
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError

from ntkcore.errors import StoreError
from ntkcore.runs import artifact as files
from ntkcore.runs import folders
from ntkcore.runs.artifact import Artifact, Broken

if TYPE_CHECKING:
    import numpy as np
    import torch

Progress = Callable[[float, float, str], None]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,127}")
_DEFAULT_GB = 5.0
_GRACE = 60.0  # seconds: an artifact used this recently is part of somebody's work and is not dropped
_DAMAGE = (errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.EIO)  # no such or no readable file
_MOMENT = 0.1  # seconds: a file younger than this may change again without its time changing
_README = """A run of ntkcore: arrays.safetensors holds the arrays, meta.json how they came about.

    from safetensors.numpy import load_file      # or safetensors.torch
    arrays = load_file("arrays.safetensors")     # a dict of arrays by name
"""


def default_root() -> Path:
    """``NTK_CACHE``, else ``cache/`` beside app.py, else (installed as a package) the user's cache folder."""
    if chosen := os.environ.get("NTK_CACHE"):
        return Path(chosen).expanduser()
    repository = Path(__file__).resolve().parents[2]
    return repository / "cache" if (repository / "app.py").exists() else Path.home() / ".cache" / "ntkcore"


def default_max_bytes() -> int:
    """``NTK_CACHE_MAX_GB`` (a number > 0), else 5 GB, in bytes."""
    text = os.environ.get("NTK_CACHE_MAX_GB", str(_DEFAULT_GB))
    try:
        gigabytes = float(text)
        if not 0 < gigabytes < float("inf"):
            raise ValueError
    except ValueError:
        raise StoreError(f"NTK_CACHE_MAX_GB is {text!r}; a number above 0 is needed, such as 5.") from None
    return int(gigabytes * 1e9)


@dataclass(frozen=True)
class Incident:
    """An artifact that was found broken: what was wrong, when (seconds since the epoch), where it is now."""

    stage: str
    key: str
    reason: str
    when: float
    path: str

    def __str__(self) -> str:
        return (
            f"{self.stage}/{self.key} is damaged: {self.reason}. "
            "It was set aside and is computed again when it is needed."
        )


@dataclass(frozen=True)
class Report:
    """Outcome of :meth:`Store.verify`: artifacts read, their bytes, and those that were found broken."""

    checked: int
    bytes: int
    broken: tuple[Incident, ...]

    @property
    def ok(self) -> bool:
        return not self.broken


class Store:
    """The artifacts below ``root``; safe to share between threads and, by the root, between processes.

    ``root`` defaults to :func:`default_root`, ``max_bytes`` to :func:`default_max_bytes`. Opening sweeps what
    killed writers left. Raises :class:`StoreError`, always with a sentence for the user.
    """

    def __init__(self, root: str | os.PathLike[str] | None = None, max_bytes: int | None = None):
        self.root = Path(root).expanduser().absolute() if root is not None else default_root().absolute()
        self.max_bytes = default_max_bytes() if max_bytes is None else int(max_bytes)
        if self.root.exists() and not self.root.is_dir():
            raise StoreError(f"The cache {self.root} is a file; a folder is needed. Set NTK_CACHE to a folder.")
        self._scratch = self.root / ".tmp"
        self._known: dict[Path, tuple[files.Signature, str]] = {}
        self._unmoved: dict[Path, Incident] = {}  # broken, on a disk that refuses to move them
        self._lock = threading.Lock()
        folders.sweep(self._scratch)

    def get(self, stage: str, key: str) -> Artifact | None:
        """The verified artifact, or None when there is none or it was broken (then it has been set aside)."""
        found = self._read(stage, key)
        if found is not None:
            with suppress(OSError):  # a read-only cache can be read, only not marked as used
                os.utime(found.path)
        return found

    def has(self, stage: str, key: str) -> bool:
        """Whether there is such an artifact, unverified: as cheap as a look at the folder."""
        return (self._folder(stage, key) / files.META).is_file()

    def put(
        self,
        stage: str,
        key: str,
        arrays: Mapping[str, torch.Tensor | np.ndarray],
        meta: Mapping[str, Any],
        pinned: Collection[tuple[str, str]] = (),
    ) -> Artifact:
        """Store ``arrays`` (any shape, any type of safetensors) and ``meta`` (JSON) as ``stage/key``.

        A sound artifact that is already there stays as it is. Afterwards the least recently used artifacts
        are dropped until ``max_bytes`` is kept; this one, those used within the last minute and ``pinned``
        ones (pairs of stage and key) are spared. Raises :class:`StoreError` if the disk is full or read-only.
        """
        if (present := self.get(stage, key)) is not None:
            return present
        try:
            with folders.scratch(self._scratch) as scratch:
                new = scratch / "artifact"
                new.mkdir()
                files.write(new, stage, key, arrays, meta)
                done = self._install(new, stage, key)
        except (OSError, SafetensorError) as error:
            what = f"{stage}/{key} cannot be stored in {self.root}"
            raise StoreError(folders.refusal(what, error)) from error
        self._evict({(stage, key), *pinned})
        return done

    def entries(self) -> list[Artifact]:
        """All artifacts, most recently used first; cheap: the arrays are verified only when they are read."""
        found = [self._read(stage, key, verify=False) for stage, key, _ in self._walk()]
        return sorted((artifact for artifact in found if artifact is not None), key=lambda a: -a.used)

    def size(self) -> int:
        """Bytes below the root: artifacts and what was set aside."""
        everything = [folder for _, _, folder in self._walk()] + self._aside()
        return sum(folders.size_of(folder) for folder in everything)

    def delete(self, stage: str, key: str) -> bool:
        """Remove one artifact; False when there was none."""
        return self._remove(self._folder(stage, key))

    def clear(self) -> int:
        """Remove all artifacts and all that was set aside; the number of artifacts removed."""
        self.clear_incidents()
        return sum(self._remove(folder) for _, _, folder in self._walk())

    def verify(self, progress: Progress | None = None) -> Report:
        """Read every byte of every artifact again and set the damaged ones aside.

        ``progress(done, total, note)`` counts bytes and may raise Cancelled.
        """
        todo = [(stage, key, folders.size_of(folder)) for stage, key, folder in self._walk()]
        total, done, checked = sum(size for _, _, size in todo), 0, 0
        before = set(self.incidents())
        with self._lock:
            self._known.clear()
        for stage, key, size in todo:
            if progress:
                progress(done, total, f"{stage}/{key}")
            checked += self._read(stage, key) is not None
            done += size
        broken = tuple(incident for incident in self.incidents() if incident not in before)
        if progress:
            progress(total, total, "verified")
        return Report(checked=checked + len(broken), bytes=done, broken=broken)

    def incidents(self) -> tuple[Incident, ...]:
        """What was found damaged, by any process, since :meth:`clear_incidents`; oldest first."""
        found = []
        for aside in self._aside():
            with suppress(OSError, ValueError, TypeError):  # being removed, or not ours
                found.append(Incident(**json.loads((aside / "incident.json").read_bytes())))
        with self._lock:
            found += self._unmoved.values()
        return tuple(sorted(found, key=lambda incident: incident.when))

    def clear_incidents(self) -> None:
        """Forget the incidents and remove what was set aside."""
        with self._lock:
            self._unmoved.clear()
        for aside in self._aside():
            self._remove(aside)

    def export_zip(self, stage: str, key: str, extra_files: Mapping[str, bytes] | None = None) -> bytes:
        """One artifact as a zip: its two files, a README that says how to read them, and ``extra_files``."""
        found = self.get(stage, key)
        if found is None:
            raise StoreError(f"{stage}/{key} is not in the cache. Run it again, then export it.")
        try:
            content = {name: (found.path / name).read_bytes() for name in (files.ARRAYS, files.META)}
        except OSError as error:
            raise StoreError(folders.refusal(f"{stage}/{key} cannot be read", error)) from error
        content["README.txt"] = _README.encode()
        for name, data in (extra_files or {}).items():
            path = PurePosixPath(name)
            if path.is_absolute() or ".." in path.parts or "\\" in name or name in content or not path.parts:
                raise StoreError(f"{name!r} cannot be a file of the zip; a new relative name is needed.")
            content[name] = bytes(data)
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            for name, data in content.items():
                info = zipfile.ZipInfo(name, date_time=time.localtime(max(found.created, 315619200.0))[:6])
                info.external_attr = 0o644 << 16
                method = zipfile.ZIP_STORED if name == files.ARRAYS else zipfile.ZIP_DEFLATED
                archive.writestr(info, data, compress_type=method)
        return buffer.getvalue()

    def _folder(self, stage: str, key: str) -> Path:
        for what, name in (("stage", stage), ("key", key)):
            if not isinstance(name, str) or not _NAME.fullmatch(name):
                raise StoreError(f"{name!r} cannot be a {what}; 1 to 128 letters, digits, - and _ are needed.")
        return self.root / stage / key

    def _read(self, stage: str, key: str, verify: bool = True) -> Artifact | None:
        """The artifact, its arrays verified unless told not to; None when absent, or broken and set aside."""
        folder = self._folder(stage, key)
        try:
            found = files.read(folder, stage, key)
            if verify:
                self._verify(found.arrays)
        except (Broken, OSError) as error:
            if isinstance(error, OSError) and error.errno not in _DAMAGE:
                raise StoreError(folders.refusal(f"{folder} cannot be read", error)) from error
            self._set_aside(folder, stage, key)
            return None
        return found

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
        it is in a folder of our own; what turns out sound goes back.
        """
        if not folder.exists():
            return
        now = time.time_ns()
        aside = self.root / ".broken" / f"{now:020d}-{stage}-{key}"
        incident = Incident(stage, key, "", when=now / 1e9, path=str(aside))
        try:
            with folders.scratch(self._scratch) as scratch:
                mine = scratch / "aside" / "artifact"
                mine.parent.mkdir()
                os.rename(folder, mine)
                incident = replace(incident, reason=_judge(mine, stage, key))
                if not incident.reason:
                    with suppress(OSError):  # a third process has stored it anew
                        os.rename(mine, folder)
                    return
                (mine.parent / "incident.json").write_text(json.dumps(asdict(incident)))
                aside.parent.mkdir(exist_ok=True)
                os.rename(mine.parent, aside)
        except FileNotFoundError:
            return
        except OSError:
            reason = incident.reason or _judge(folder, stage, key)
            with self._lock:
                self._unmoved.setdefault(folder, replace(incident, reason=reason, path=str(folder)))

    def _install(self, new: Path, stage: str, key: str) -> Artifact:
        """Rename ``new`` into place; if another writer was first, keep that one's artifact."""
        folder = self._folder(stage, key)
        for _ in range(3):
            folder.parent.mkdir(exist_ok=True)
            try:
                os.rename(new, folder)
                files.sync_folder(folder.parent)
            except OSError as error:
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                    raise
            if (found := self._read(stage, key)) is not None:
                return found
            if not new.exists():
                break
        raise StoreError(f"{stage}/{key} was removed or damaged while it was stored. Run it again.")

    def _remove(self, folder: Path) -> bool:
        """Take a folder out of sight by a rename, then remove it; False when there is none."""
        if not folder.exists():
            return False
        try:
            with folders.scratch(self._scratch) as scratch:
                os.rename(folder, scratch / "removed")
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError as error:
            raise StoreError(folders.refusal(f"{folder} cannot be removed", error)) from error
        return True

    def _evict(self, spared: set[tuple[str, str]]) -> None:
        """Drop what was set aside (not its record), then the least recently used, down to ``max_bytes``."""
        candidates = [(0.0, folder / "artifact", folders.size_of(folder)) for folder in self._aside()]
        total = sum(size for *_, size in candidates)
        for stage, key, folder in self._walk():
            total += (size := folders.size_of(folder))
            with suppress(OSError):
                used = folder.stat().st_mtime
                if (stage, key) not in spared and time.time() - used > _GRACE:
                    candidates.append((used, folder, size))
        for _, folder, size in sorted(candidates):
            if total <= self.max_bytes:
                return
            with suppress(StoreError):  # another process is at it, or may not: what was just stored is stored
                self._remove(folder)
                total -= size

    def _walk(self) -> list[tuple[str, str, Path]]:
        """(stage, key, folder) of everything that is named like an artifact."""
        return [
            (stage.name, folder.name, folder)
            for stage in folders.subfolders(self.root)
            if _NAME.fullmatch(stage.name)
            for folder in folders.subfolders(stage)
            if _NAME.fullmatch(folder.name)
        ]

    def _aside(self) -> list[Path]:
        return folders.subfolders(self.root / ".broken")


def _judge(folder: Path, stage: str, key: str) -> str:
    """What is wrong with the artifact in ``folder``; empty when nothing is."""
    try:
        files.read(folder, stage, key).arrays.verify()
    except FileNotFoundError as error:
        return f"{Path(error.filename).name} is missing"
    except OSError as error:
        return f"it cannot be read ({error.strerror})"
    except Broken as error:
        return str(error)
    return ""
