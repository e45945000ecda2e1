"""Kernels larger than memory: written to an .npy file by tiles, gone on with after a kill.

::

    K = kernel_to_file(kernel_fn(myrtle(5)), x, "kernel.npy", memory=512e6)      # numpy memory map [n, n], read only
    s = spectrum(torch.from_numpy(K[:5000, :5000]))

Only tiles on and above the diagonal are computed. What a killed process had finished is kept beside the file (see
``unfinished``): the next call with the same images and kernel computes the rest, and the file has its own name only
when it is complete.
"""

import hashlib
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ntkcore import checks
from ntkcore.kernels.blocks import PAIRS, Progress, TiledKernel, slices, untiled
from ntkcore.kernels.infinite import InfiniteKernel
from ntkcore.kernels.unfinished import UnfinishedKernel
from ntkcore.modes import plain
from ntkcore.writing import check_place, refused_in_words

COPIES = 6  # of a tile that are in memory at once: NNGP and NTK, scaled and not, and the transpose
PARTS, LEAST_SIDE = 16, 64  # of a side: tiles at least, images of a tile at least
PROBES = 4  # images whose kernel tells one kernel from another
CHECKED = "kernel: image pairs found"


@plain
def kernel_to_file(
    kernel: TiledKernel,
    x: Tensor,
    path: str | Path,
    memory: float = 512e6,
    progress: Progress | None = None,
    tell: Callable[[str], object] = warnings.warn,
) -> np.memmap:
    """The square kernel ``k(x)``, [n, n] in x's dtype, in an .npy file; x [n, C, H, W].

    memory: bytes for tiles, beside the images and what the kernel itself works in (tens of megabytes); a side is cut
    into PARTS at least, so that a kill costs little. progress: told (pairs done, pairs in all, note); it may raise
    Cancelled, and the next call goes on after the last whole tile. tell: called with a sentence where what an earlier
    call had finished is damaged and is computed again. Raises SpecError for images or memory that make no kernel and
    where another kernel or other images were begun under this name, NTKError where another process is writing it, where
    the disk is full or cannot be written.
    """
    checks.instance(kernel, TiledKernel, "kernel", "kernel_fn and tiled make one.")
    checks.progress(progress)
    path, n = Path(path), len(checks.images(x))
    memory = checks.number(memory, "memory", above=0, inf=True)
    most = max(1, int(min(memory / (COPIES * x.element_size()), n * n) ** 0.5))  # images of a tile that memory allows
    mend = "Mend that or choose another name; what was finished is kept."
    with refused_in_words(path, mend), torch.no_grad():
        check_place(path)
        with UnfinishedKernel(path, tell) as file:
            probe = kernel(x[:PROBES]).double().flatten().tolist()
            dtype = x.new_empty(0).numpy(force=True).dtype
            file.begin(n, dtype, _description(kernel, x), probe, min(most, max(LEAST_SIDE, -(-n // PARTS))))
            if not file.complete:
                _fill(file, kernel, x, most, progress)
                file.finish()
    if progress is not None:
        progress(n * n, n * n, PAIRS)
    return np.load(path, mmap_mode="r")


def _fill(file: UnfinishedKernel, kernel: TiledKernel, x: Tensor, most: int, progress: Progress | None) -> None:
    """Compute the tiles that are not finished, each in pieces that memory allows."""
    ready, blocks = 0, list(slices(len(x), file.side))

    def found(tile: tuple[int, int]) -> None:
        nonlocal ready
        ready += _pairs(*(blocks[i] for i in tile))
        if progress is not None:
            progress(ready, len(x) ** 2, CHECKED)

    file.check(found)
    for a in range(len(blocks)):
        for b in range(a, len(blocks)):
            if (a, b) in file.done:
                continue
            for rows, columns in _pieces(blocks[a], blocks[b], most):
                size = _pairs(rows, columns)
                inside = kernel.with_progress(_within(progress, ready, size, len(x) ** 2))
                numbers = (inside(x[rows]) if rows == columns else inside(x[rows], x[columns])).numpy(force=True)
                file.write(numbers, rows.start, columns.start)
                if rows != columns:
                    file.write(numbers.T, columns.start, rows.start)
                ready += size
            file.note((a, b))


def _description(kernel: TiledKernel, x: Tensor) -> dict[str, object]:
    """What a file is of, beside its numbers: the images, and the net where the kernel is that of one."""
    inside = untiled(kernel)
    return {
        "images": hashlib.sha256(np.ascontiguousarray(x.numpy(force=True)).data).hexdigest(),
        "shape": list(x.shape),
        "dtype": str(x.dtype),
        "net": f"{inside.kind} of {inside.net!r}" if isinstance(inside, InfiniteKernel) else None,
    }


def _pieces(rows: slice, columns: slice, most: int) -> Iterator[tuple[slice, slice]]:
    """A tile of the upper triangle in pieces of at most so many images a side."""
    for some in slices(rows.stop - rows.start, most):
        for others in slices(columns.stop - columns.start, most):
            if rows != columns or some.start <= others.start:
                yield _shifted(some, rows.start), _shifted(others, columns.start)


def _shifted(part: slice, start: int) -> slice:
    return slice(part.start + start, part.stop + start)


def _pairs(rows: slice, columns: slice) -> int:
    """Entries of the kernel that a piece gives: off the diagonal in both its places."""
    return (rows.stop - rows.start) * (columns.stop - columns.start) * (1 if rows == columns else 2)


def _within(progress: Progress | None, ready: float, size: float, total: float) -> Progress | None:
    """A tile's own progress, as part of the whole."""
    if progress is None:
        return None
    return lambda done, of, note: progress(ready + size * done / max(of, 1), total, note)
