"""An unfinished kernel in a file: tiles, each with a checksum, so that another call goes on with what is whole.

::

    kernel.npy.begun           the .npy to be; what is not finished is zeros
    kernel.npy.begun.json      a line of JSON: of what kernel; then one for each finished tile; each before its checksum
    kernel.npy.begun.images    the images as an .npy, while workers compute tiles of them; its head says whose it is

A tile is written to both its places and flushed, and only then listed, with the checksum of its numbers as they lie
there. Lines are only added, so a kill costs at most the last one. Who writes holds the lock on the list.
"""

import hashlib
import io
import json
import os
import shutil
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import numpy as np

from ntkcore.errors import Cancelled, NTKError, SpecError
from ntkcore.writing import Taken, held, in_the_way, is_file, opened, sync_folder

SINGLE, DOUBLE = 1e-4, 1e-8  # relative: two devices' numbers of one kernel differ by less
MARK = b'{"kernel": '  # how a list begins
# And the images: an .npy in whose head a comment comes first, so that nobody else's is taken for one and removed.
HEAD = 246
IMAGES = b"\x93NUMPY\x01\x00" + HEAD.to_bytes(2, "little") + b"# images of an unfinished kernel of ntkcore\n"
ENDINGS = ("", ".json", ".images")
Tile = tuple[int, int]


class UnfinishedKernel:
    """A square kernel [n, n] on its way to ``path``; a block in which no other process writes it.

    tell: called with a sentence where something that was finished is computed again. Raises NTKError in words and
    OSError from the disk. An error before the first tile leaves nothing behind.
    """

    def __init__(self, path: Path, tell: Callable[[str], object]):
        self.path, self.tell = path, tell
        self.data, self.list, self.images = (path.with_name(f"{path.name}.begun{end}") for end in ENDINGS)
        self.done: dict[Tile, str] = {}
        self.complete = False
        self.n = self.side = 0  # side: once it is begun

    def __enter__(self) -> "UnfinishedKernel":
        self._open = ExitStack()
        try:
            self._lines = self._open.enter_context(held(self.list))
        except Taken:
            raise Taken(
                f"{self.path} is being written by another process. Wait for it, or choose another name."
            ) from None
        self._listed = self._lines.read()
        self._ours = [] if self._listed else [self.list]
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if os.name == "nt":  # which removes closed files alone
            self._open.close()
        stopped = kind is not None and issubclass(kind, Cancelled | KeyboardInterrupt)
        kept = self.done or (self.side and stopped)
        for file in [self.list] if self.complete else [] if kept else self._ours:
            with suppress(OSError):
                file.unlink()
        with suppress(OSError, NTKError):  # a killed call's, too
            if _beginning(self.images, len(IMAGES)) == IMAGES:
                self.images.unlink()
        self._open.close()

    def begin(self, n: int, dtype: np.dtype, of: dict[str, Any], probe: list[float], side: int) -> None:
        """Find what is finished: all of it (``complete``), or some tiles (``done``); else begin with tiles of ``side``.

        of: what tells this kernel from others, JSON by name, None where that is not known; probe: some of its numbers.
        Raises SpecError where the file is that of another kernel.
        """
        self.n, self.dtype, self._head = n, dtype, _npy_head(n, dtype)
        kept, tiles, listed = _read(self._listed)
        begins = _beginning(self.data, len(self._head))
        same = kept is not None and _same(kept, of, probe, dtype)
        if kept is None:
            self._is_ours(begins)
        elif not begins:
            if same and begins is None and self._was_renamed(kept["side"], tiles):
                return
            if tiles:
                self.tell(f"{self.data} is gone or empty, and the kernel is begun anew.")
        elif not same:
            raise SpecError(
                f"{self.data} was begun with another kernel or other images. Delete it, or choose another name."
            )
        else:
            side, self.done = kept["side"], tiles
        self._has_room()
        self._file = self._open.enter_context(opened(self.data))
        self.side, self._ours = side, [self.data, self.list]
        self._lines.seek(0)
        if self.done:
            self._lines.write(listed)
            self._lines.truncate()
        else:
            self._lines.truncate()
            self._add({"kernel": of, "probe": probe, "side": side})
            self._file.truncate(0)
        self._file.write(self._head)
        self._file.truncate(self._at(n, 0))

    def lay_out(self, x: np.ndarray) -> Path:
        """Images x in a file of their own, which is there until this block is left. Raises OSError from the disk."""
        if _beginning(self.images, len(IMAGES)) not in (None, IMAGES):
            raise in_the_way(self.images)
        self.images.unlink(missing_ok=True)  # of a killed call: one of its workers may be reading it still
        with opened(self.images) as file:
            fields = {"descr": np.lib.format.dtype_to_descr(x.dtype), "fortran_order": False, "shape": x.shape}
            file.write((IMAGES + repr(fields).encode()).ljust(9 + HEAD) + b"\n")
            file.write(np.ascontiguousarray(x).data)
        return self.images.absolute()

    def check(self, progress: Callable[[Tile], None]) -> None:
        """Compare every finished tile with its checksum, and drop those that are not as they were."""
        self._file.flush()
        count = len(self.done)
        for tile, digest in list(self.done.items()):
            if self._digest(tile) != digest:
                del self.done[tile]
            else:
                progress(tile)
        if len(self.done) < count:
            self.tell(
                f"{count - len(self.done)} of {count} finished tiles in {self.data} are damaged; they are "
                "computed again."
            )

    def write(self, numbers: np.ndarray, top: int, left: int) -> None:
        """Numbers [h, w] into the file, in its own type, the first of them at [top, left]."""
        for row, line in enumerate(np.ascontiguousarray(numbers, self.dtype), top):
            self._file.seek(self._at(row, left))
            self._file.write(line)

    def note(self, tile: Tile) -> None:
        """List a tile, which is whole in the file: on the disk before its line."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self.done[tile] = self._digest(tile)
        self._add([*tile, self.done[tile]])

    def finish(self) -> None:
        """Give the file its name; the list goes with the lock."""
        self._file.close()
        os.replace(self.data, self.path)
        sync_folder(self.path.absolute().parent)
        self.complete = True

    def _add(self, entry: Any) -> None:
        self._lines.write(_sealed(json.dumps(entry).encode()))
        self._lines.flush()  # a line that a power cut takes costs its tile, which is computed again

    def _is_ours(self, begins: bytes | None) -> None:
        """Whether files without a list that can be read may be written over: not those of somebody else."""
        known = begins == self._head
        ours = MARK.startswith(self._listed[: len(MARK)] or b"none")
        if self._listed.strip(b"\0") and not ours and not known:
            raise in_the_way(self.list)
        if begins and begins.strip(b"\0") and not ours and not known:
            raise in_the_way(self.data)
        if self._listed or begins:
            self.tell(f"The list of finished tiles {self.list} is damaged, and the kernel is begun anew.")

    def _was_renamed(self, side: int, tiles: dict[Tile, str]) -> bool:
        """Whether the finished file has its name already, and only its list was still to go."""
        self.side, blocks = side, -(-self.n // side)
        if len(tiles) == blocks * (blocks + 1) // 2:
            with suppress(FileNotFoundError), open(self.path, "rb") as self._file:
                whole = self._file.read(len(self._head)) == self._head
                self.complete = whole and all(self._digest(tile) == digest for tile, digest in tiles.items())
        return self.complete

    def _has_room(self) -> None:
        there = 0
        with suppress(FileNotFoundError):
            found = self.data.stat()
            there = found.st_size if os.name == "nt" else 512 * found.st_blocks
        needed, free = self._at(self.n, 0), shutil.disk_usage(self.path.absolute().parent).free
        if needed - there > free:
            raise NTKError(
                f"{self.path} needs {needed / 1e9:.1f} GB; {free / 1e9:.1f} GB are free there. Choose another place."
            )

    def _at(self, row: int, column: int) -> int:
        return len(self._head) + (row * self.n + column) * self.dtype.itemsize

    def _digest(self, tile: Tile) -> str:
        """The checksum of a tile's numbers as they lie in the file, in both its places."""
        digest = hashlib.sha256()
        for a, b in dict.fromkeys((tile, tile[::-1])):
            for row in range(a * self.side, min((a + 1) * self.side, self.n)):
                left, right = b * self.side, min((b + 1) * self.side, self.n)
                self._file.seek(self._at(row, left))
                digest.update(self._file.read((right - left) * self.dtype.itemsize))
        return digest.hexdigest()


def _beginning(path: Path, size: int) -> bytes | None:
    """A file's first bytes; None without a file."""
    if not is_file(path):
        return None
    with open(path, "rb") as file:
        return file.read(size)


def _npy_head(n: int, dtype: np.dtype) -> bytes:
    """The first bytes of an .npy, from which on the positions of its numbers are known."""
    head = io.BytesIO()
    fields = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": (n, n)}
    np.lib.format.write_array_header_1_0(head, fields)
    return head.getvalue()


def _same(kept: dict[str, Any], of: dict[str, Any], probe: list[float], dtype: np.dtype) -> bool:
    """Whether a list is of this kernel; where one of them has no net to be known by, the numbers decide."""
    known = [name for name in of if None not in (of[name], kept["kernel"][name])]
    close = DOUBLE if dtype.itemsize > 4 else SINGLE
    same = all(of[name] == kept["kernel"][name] for name in known)
    return same and np.allclose(kept["probe"], probe, rtol=close, atol=0, equal_nan=True)


def _read(listed: bytes) -> tuple[dict[str, Any] | None, dict[Tile, str], bytes]:
    """What a list is of (None where that cannot be read), the finished tiles, and its lines that are whole."""
    head, tiles, whole = None, {}, []
    for line in listed.split(b"\n"):
        text = line.rpartition(b" ")[0]
        if _sealed(text) != line + b"\n":
            continue  # damaged, or cut short by a kill: that tile is computed again
        whole.append(line + b"\n")
        entry = json.loads(text)
        if isinstance(entry, dict):
            head = entry
        else:
            tiles[entry[0], entry[1]] = entry[2]
    return head, tiles, b"".join(whole)


def _sealed(text: bytes) -> bytes:
    """A line of the list: JSON, and its checksum."""
    return text + b" " + hashlib.sha256(text).hexdigest()[:16].encode() + b"\n"
