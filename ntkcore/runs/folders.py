"""Folders as the store needs them: temporary ones that go with their process, sizes, refusals in words.

A temporary folder is named ``<host>-<pid>-<random>``, so that whoever comes later can tell whether the
process that made it still lives::

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
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ntkcore.errors import StoreError

_STALE = 3600.0  # seconds: a temporary folder this old has no living owner, whatever its name says


@contextmanager
def scratch(parent: Path) -> Iterator[Path]:
    """A new empty folder in ``parent`` (made when missing), gone afterwards."""
    path = parent / f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
    path.mkdir(parents=True)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def sweep(parent: Path) -> None:
    """Remove the scratch folders in ``parent`` whose process is no more, or that are older than an hour."""
    for path in subfolders(parent):
        host, _, pid = path.name.rpartition("-")[0].rpartition("-")
        local = os.name == "posix" and host == socket.gethostname() and pid.isdigit()
        with suppress(OSError):  # removed by another process meanwhile
            if (local and not _alive(int(pid))) or time.time() - path.stat().st_mtime > _STALE:
                shutil.rmtree(path, ignore_errors=True)


def subfolders(folder: Path) -> list[Path]:
    """The real folders (no links) in ``folder``, by name; none when it does not exist."""
    try:
        with os.scandir(folder) as found:
            return sorted(folder / entry.name for entry in found if entry.is_dir(follow_symlinks=False))
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise StoreError(refusal(f"{folder} cannot be read", error)) from error


def size_of(folder: Path) -> int:
    """Bytes of all files in and below ``folder``; what is being removed meanwhile counts nothing."""
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):
                total += os.stat(os.path.join(parent, name)).st_size
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
    reason = os.strerror(code) if code is not None else str(error)
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
