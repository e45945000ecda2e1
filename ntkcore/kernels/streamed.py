"""Kernels larger than memory: written to an .npy file by tiles, gone on with after a kill.

::

    K = kernel_to_file(kernel_fn(myrtle(5)), x, "kernel.npy", memory=512e6)      # numpy memory map [n, n], read only
    s = spectrum(torch.from_numpy(K[:5000, :5000]))

Only tiles on and above the diagonal are computed; each is written to both its places, flushed and then noted in
``kernel.npy.begun.json``, so that what a killed process had noted is whole. The next call with the same images and
kernel computes the rest; the file has its own name only when it is complete.
"""

import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from torch import Tensor

from ntkcore.errors import NTKError, SpecError
from ntkcore.kernels.blocks import PAIRS, Progress, TiledKernel, slices
from ntkcore.modes import plain

COPIES = 6  # of a tile that are in memory at once: NNGP and NTK, scaled and not, and the transpose
PARTS, LEAST_SIDE = 16, 64  # of a side: tiles at least, images of a tile at least
PROBES = 4  # images whose kernel tells one kernel from another


@plain
def kernel_to_file(
    kernel: TiledKernel, x: Tensor, path: str | Path, memory: float = 512e6, progress: Progress | None = None
) -> np.memmap:
    """The square kernel ``k(x)``, [n, n] in x's dtype, in an .npy file; x [n, C, H, W].

    memory: bytes for tiles, beside the images and what the kernel itself works in (tens of megabytes); a side is cut
    into PARTS at least, so that a kill costs little. progress: told (pairs done, pairs in all, note); it may raise
    Cancelled, and the next call goes on after the last whole tile. Raises SpecError for images or memory that make no
    kernel and where another kernel or other images were begun under this name, NTKError where the disk is full or
    cannot be written.
    """
    path = Path(path)
    if len(x) == 0 or not memory > 0:
        raise SpecError(f"There are {len(x)} images and {memory:g} bytes for tiles; both must be above zero.")
    n, itemsize = len(x), x.element_size()
    side = max(1, min(int((memory / (COPIES * itemsize)) ** 0.5), max(LEAST_SIDE, -(-n // PARTS))))
    blocks = list(slices(n, side))
    work = [(a, b) for a in range(len(blocks)) for b in range(a, len(blocks))]
    sizes = {(a, b): _length(blocks[a]) * _length(blocks[b]) for a, b in work}
    total, ready = sum(sizes.values()), 0
    with torch.no_grad():
        journal = _Journal(path, x, kernel(x[:PROBES]), side)
        try:
            with open(journal.data, journal.mode()) as file:
                journal.begin(file)
                ready = sum(sizes[tile] for tile in journal.done)
                for a, b in work:
                    if (a, b) in journal.done:
                        continue
                    inside = kernel.with_progress(_within(progress, ready, sizes[a, b], total))
                    tile = inside(x[blocks[a]]) if a == b else inside(x[blocks[a]], x[blocks[b]])
                    journal.write(file, tile.numpy(force=True), blocks[a].start, blocks[b].start)
                    if a != b:
                        journal.write(file, tile.numpy(force=True).T, blocks[b].start, blocks[a].start)
                    journal.note(file, (a, b))
                    ready += sizes[a, b]
            journal.finish()
        except OSError as error:
            raise NTKError(
                f"Cannot write {path}: {error.strerror}. What was written is kept for another try."
            ) from None
    if progress is not None:
        progress(total, total, PAIRS)
    return np.load(path, mmap_mode="r")


def _within(progress: Progress | None, ready: float, size: float, total: float) -> Progress | None:
    """A tile's own progress, as part of the whole."""
    if progress is None:
        return None
    return lambda done, of, note: progress(ready + size * done / max(of, 1), total, note)


class _Journal:
    """The unfinished file beside its list of finished tiles."""

    def __init__(self, path: Path, x: Tensor, probe: Tensor, side: int):
        self.path, self.dtype = path, x.new_empty(0).numpy(force=True).dtype
        self.data = path.with_name(f"{path.name}.begun")
        self.list = path.with_name(f"{path.name}.begun.json")
        images = hashlib.sha256(np.ascontiguousarray(x.numpy(force=True))).hexdigest()
        self.head = {"images": images, "shape": list(x.shape), "dtype": str(self.dtype), "side": side}
        self.probe = probe.double().flatten().tolist()
        self.done: set[tuple[int, int]] = set()
        self.offset = self.n = 0

    def mode(self) -> str:
        """How to open the file: begun anew, or gone on with, where its list says the same of it."""
        if self.list.exists() and self.data.exists():
            kept = json.loads(self.list.read_text())
            same = {name: kept[name] for name in ("images", "shape", "dtype")} == {
                name: self.head[name] for name in ("images", "shape", "dtype")
            }
            if not same or not np.allclose(kept["probe"], self.probe, rtol=1e-4, atol=0, equal_nan=True):
                raise SpecError(
                    f"{self.data} was begun with another kernel or other images. Delete it, or choose another name."
                )
            if kept["side"] == self.head["side"]:  # other tiles: begin anew
                self.done = {tuple(tile) for tile in kept["done"]}
        n = self.head["shape"][0]
        free = shutil.disk_usage(self.path.absolute().parent).free
        needed = n * n * self.dtype.itemsize - (self.data.stat().st_size if self.done else 0)
        if needed > free:
            raise NTKError(
                f"{self.path} needs {needed / 1e9:.1f} GB; {free / 1e9:.1f} GB are free there. Choose another place."
            )
        self._list()  # before the file is begun anew, what the list says of the old one must be gone
        return "r+b" if self.done else "w+b"

    def begin(self, file: BinaryIO) -> None:
        """The head of an .npy, from which on the positions of its numbers are known."""
        n = self.head["shape"][0]
        header = {"descr": np.lib.format.dtype_to_descr(self.dtype), "fortran_order": False, "shape": (n, n)}
        np.lib.format.write_array_header_1_0(file, header)
        file.flush()
        self.offset, self.n = file.tell(), n

    def write(self, file: BinaryIO, tile: np.ndarray, top: int, left: int) -> None:
        tile = np.ascontiguousarray(tile)
        for row, numbers in enumerate(tile, top):
            file.seek(self.offset + (row * self.n + left) * self.dtype.itemsize)
            file.write(numbers.tobytes())

    def note(self, file: BinaryIO, tile: tuple[int, int]) -> None:
        """The tile is whole on the disk, and only then in the list."""
        file.flush()
        os.fsync(file.fileno())
        self.done.add(tile)
        self._list()

    def _list(self) -> None:
        part = self.list.with_suffix(".part")
        part.write_text(json.dumps(self.head | {"probe": self.probe, "done": sorted(self.done)}))
        part.replace(self.list)

    def finish(self) -> None:
        try:
            self.list.unlink()  # first: without it the next call begins anew, else it would trust a file that is gone
            self.data.replace(self.path)
        except FileNotFoundError:
            if not self.path.exists():  # else another call, which wrote the same tiles, was here before
                raise


def _length(block: slice) -> int:
    return block.stop - block.start
