"""Files written by one process at a time, and whole or not at all.

::

    with replacing(Path("k.npz"), begins=b"PK") as file:    # writes .k.npz.part, which is k.npz once it is whole
        np.savez(file, K=K)

The lock is the operating system's and lies on the file that is being written: it ends with its process, however that
ends, and the next writer takes over what a killed one left. So a kill leaves one unfinished file at most, and no lock.
"""

import errno
import os
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from ntkcore.errors import NTKError, SpecError, reason

if sys.platform == "win32":
    import msvcrt

    def _lock(file: int) -> None:
        os.lseek(file, 1 << 62, os.SEEK_SET)  # Windows keeps others from what is locked: a byte that nobody needs
        try:
            msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
        finally:
            os.lseek(file, 0, os.SEEK_SET)
else:
    import fcntl

    def _lock(file: int) -> None:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


_TAKEN = (errno.EACCES, errno.EAGAIN, errno.EWOULDBLOCK, errno.EDEADLK)
_FLAGS = os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0) | getattr(os, "O_NOFOLLOW", 0)
_REASONS = {
    (errno.ENOSPC, errno.EDQUOT): "the disk is full",
    (errno.EFBIG,): "files of that size are not allowed there",
    (errno.EACCES, errno.EPERM, errno.EROFS): "no permission to write there",
    (errno.ENOENT, errno.ENOTDIR): "there is no such folder",
    (errno.ENAMETOOLONG,): "the name is too long",
    (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP): "the file system there has no locks, and two writers could meet",
}


class Taken(NTKError):
    """Another process, or another call in this one, is writing the same file."""


@contextmanager
def refused_in_words(path: Path, mend: str) -> Iterator[None]:
    """What the disk says to writing a file, as a sentence; mend: what to do then."""
    try:
        yield
    except OSError as error:
        known = (words for codes, words in _REASONS.items() if error.errno in codes)
        raise NTKError(f"Cannot write {path}: {next(known, reason(error))}. {mend}") from None


def path_of(value: Any, name: str) -> Path:
    """The path of a file or a folder that somebody has given."""
    if not isinstance(value, str | os.PathLike):
        raise SpecError(f"{name} must be the path of a place on this machine, as text; got {type(value).__name__}.")
    return Path(value)


def check_place(path: Path) -> None:
    """Raise the OSError that writing a file would end with, where that can be known before it is computed."""
    if "\0" in str(path):
        raise OSError(errno.EINVAL, "a name cannot hold a NUL")
    if not path.name or path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if path.exists() and not path.is_file():
        raise OSError(errno.EINVAL, "a device, a pipe or a socket is there")
    with suppress(FileNotFoundError, NotADirectoryError):
        path.with_name(f"{path.name}.begun.images").lstat()  # the longest name that is written: too long or not
    if not path.parent.is_dir():
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
    if not os.access(path.parent, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


def in_the_way(path: Path) -> NTKError:
    """What to say of a file that stands where an unfinished one would, and is not ours."""
    return NTKError(
        f"{path} is in the way: it is not an unfinished file of ntkcore's. Move it away, or choose another name."
    )


def is_file(path: Path) -> bool:
    """Whether a file is there. Raises NTKError where something else is."""
    try:
        kind = path.lstat().st_mode
    except FileNotFoundError:
        return False
    if not stat.S_ISREG(kind):
        raise in_the_way(path)
    return True


def opened(path: Path) -> BinaryIO:
    """The file, made when there is none, open to be read and written. Raises NTKError where no file can be."""
    is_file(path)
    return os.fdopen(os.open(path, _FLAGS, 0o666), "r+b")


@contextmanager
def held(path: Path) -> Iterator[BinaryIO]:
    """``opened``, and locked until the block is left, in which it may be renamed or removed.

    Raises Taken at once where another has it, OSError from the disk.
    """
    while True:
        file = opened(path)
        try:
            _lock(file.fileno())
            with suppress(FileNotFoundError):  # else renamed or removed by the one who had it before: another file now
                if os.path.samestat(os.fstat(file.fileno()), path.lstat()):
                    break
        except OSError as error:
            file.close()
            if error.errno in _TAKEN:
                raise Taken(f"{path} is being written by another process.") from None
            raise
        file.close()
    with file:
        yield file


@contextmanager
def replacing(path: Path, begins: bytes) -> Iterator[BinaryIO]:
    """A new file for ``path``, open to be written; it is gone after an error.

    begins: how every such file begins; a file of the same name as the unfinished one that begins in another way is not
    touched. Raises as ``held`` does.
    """
    part = path.with_name(f".{path.name}.part")
    with held(part) as file:
        found = file.read(len(begins))
        if not begins.startswith(found):
            raise in_the_way(part)
        try:
            file.seek(0)
            file.truncate()
            yield file
            file.flush()
            os.fsync(file.fileno())
            if os.name == "nt":  # which renames closed files alone
                file.close()
            os.replace(part, path)
        except BaseException:
            if os.name == "nt":
                with suppress(OSError):
                    file.close()
            with suppress(OSError):
                part.unlink()
            raise


def user_cache() -> Path:
    """The folder of ntkcore in the user's cache. Raises RuntimeError where the user has no home."""
    home = Path.home()
    if sys.platform == "win32":
        cache = Path(os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local")
    elif sys.platform == "darwin":
        cache = home / "Library" / "Caches"
    else:
        cache = Path(os.environ.get("XDG_CACHE_HOME") or home / ".cache")
    return cache / "ntkcore"


def user_data() -> Path:
    """The folder of the data sets: ``NTK_DATA``, else ``data`` in the user's cache. Raises as ``user_cache`` does."""
    if chosen := os.environ.get("NTK_DATA"):
        return Path(chosen).expanduser()
    return user_cache() / "data"


def sync_folder(folder: Path) -> None:
    """Have a rename in the folder on the disk, where the system can."""
    if os.name == "nt":
        return
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
