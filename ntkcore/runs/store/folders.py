"""Folders as the store needs them: temporary ones that go with their process, sizes, refusals in words.

No link is followed: what a link leads to is not the store's. A temporary folder is named ``<host>-<pid>-<random>``, so
that whoever comes later can tell whether the process that made it still lives::

    with scratch(root / ".tmp") as folder:      # on the file system of the root: a rename out of it is atomic
        (folder / "new").mkdir()
        os.rename(folder / "new", root / "final")
"""

from __future__ import annotations

import errno
import os
import re
import secrets
import shutil
import socket
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ntkcore.errors import StoreError

_SCRATCH = re.compile(r"(?P<host>.+)-(?P<pid>[0-9]+)-[0-9a-f]{8}")
_STALE = 3600.0  # seconds: a temporary folder this old has no living owner, whatever its name says


@contextmanager
def scratch(parent: Path) -> Iterator[Path]:
    """A new empty folder in ``parent`` (made when missing), gone afterwards."""
    make(parent)
    path = parent / f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
    path.mkdir()
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def sweep(parent: Path) -> None:
    """Remove the scratch folders in ``parent`` whose process is no more, or that are older than an hour."""
    for path in subfolders(parent):
        if (name := _SCRATCH.fullmatch(path.name)) is None:
            continue
        local = os.name == "posix" and name["host"] == socket.gethostname()
        with suppress(OSError):  # removed by another process meanwhile
            if (local and not _alive(int(name["pid"]))) or time.time() - path.stat().st_mtime > _STALE:
                shutil.rmtree(path, ignore_errors=True)


def is_scratch(path: Path) -> bool:
    """Whether ``path`` is a folder that :func:`scratch` has made."""
    return _SCRATCH.fullmatch(path.name) is not None and is_real(path)


def is_real(folder: Path) -> bool:
    """Whether there is such a folder, itself and not through a link."""
    try:
        return stat.S_ISDIR(os.lstat(folder).st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False


def make(folder: Path) -> None:
    """Make ``folder`` where it is missing, parents too; raises OSError where a link or a file has its name."""
    try:
        folder.mkdir(parents=True)
    except FileExistsError:
        if not is_real(folder):
            raise OSError(errno.ENOTDIR, f"{folder.name} is a link or a file, and a folder is needed") from None


def give_back(taken: Path, place: Path, aside: Path) -> None:
    """Rename a folder back to its place; where somebody has taken that meanwhile, to ``aside``."""
    try:
        os.rename(taken, place)
    except OSError:
        make(aside.parent)
        os.rename(taken, aside)


def content(folder: Path) -> list[os.DirEntry[str]]:
    """What lies in a real folder, by name; nothing when there is none. Raises StoreError when it cannot be read."""
    if not is_real(folder):
        return []
    try:
        with os.scandir(folder) as found:
            return sorted(found, key=lambda entry: entry.name)
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise StoreError(refusal(f"{folder} cannot be read", error)) from error


def is_empty(folder: Path) -> bool:
    """Whether this is a real folder with nothing in it."""
    return is_real(folder) and not content(folder)


def subfolders(folder: Path) -> list[Path]:
    """The real folders (no links) in ``folder``, by name; none when it does not exist."""
    return [folder / entry.name for entry in content(folder) if entry.is_dir(follow_symlinks=False)]


def size_of(folder: Path) -> int:
    """Bytes of all files in and below ``folder``, links not followed; what is removed meanwhile counts nothing."""
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):
                total += os.lstat(os.path.join(parent, name)).st_size
    return total


def refusal(what: str, error: Exception) -> str:
    """A sentence for an operation that the file system refused; ``error`` from Python or from safetensors."""
    code = getattr(error, "errno", None)
    if code is None and (found := re.search(r"os error (\d+)", str(error))):
        code = int(found[1])
    if code in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return f"{what}: the disk is full. Free some space, clear the cache, or set NTK_CACHE to another folder."
    if code in (errno.EROFS, errno.EACCES, errno.EPERM):
        return f"{what}: no permission. Make it writable, or set NTK_CACHE to a folder that is."
    reason = getattr(error, "strerror", None) or (os.strerror(code) if code is not None else str(error))
    return f"{what}: {reason}. Check the folder, or set NTK_CACHE to another one."


def _alive(pid: int) -> bool:
    """Whether the process runs (POSIX); a zombie, ended but not collected by its parent, does not."""
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (OSError, IndexError):  # no /proc here
        return True
    return state not in "ZX"
