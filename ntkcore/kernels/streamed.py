"""Kernels larger than memory: written to an .npy file by tiles, gone on with after a kill.

::

    K = kernel_to_file(kernel_fn(myrtle(5)), x, "kernel.npy", memory=512e6)      # numpy memory map [n, n], read only
    s = spectrum(torch.from_numpy(K[:5000, :5000]))

Only tiles on and above the diagonal are computed, by this process or by the workers of an executor (``executors``),
with the same file in the end. What a killed process had finished is kept beside the file (see ``unfinished``): the next
call with the same images and kernel computes the rest, and the file has its own name only when it is complete.
"""

import hashlib
import warnings
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from itertools import combinations_with_replacement
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ntkcore import checks
from ntkcore.errors import SpecError
from ntkcore.kernels.blocks import PAIRS, Progress, TiledKernel, slices, untiled
from ntkcore.kernels.executors import Arrays, Executor, Piece, Workers, is_block, part, spread
from ntkcore.kernels.infinite import InfiniteKernel
from ntkcore.kernels.protocols import SizedKernel
from ntkcore.kernels.unfinished import UnfinishedKernel
from ntkcore.modes import plain
from ntkcore.writing import check_place, path_of, refused_in_words

COPIES = 6  # of a tile that are in memory at once: NNGP and NTK, scaled and not, and the transpose
PARTS, LEAST_SIDE = 16, 64  # of a side: tiles at least, images of a tile at least
WORK = 1e12  # bytes that the pairs of a tile go through at most: about a minute of two cores
PROBES = 4  # images whose kernel tells one kernel from another
CHECKED = "kernel: image pairs found"
Found = Generator[tuple[Piece, np.ndarray]]  # pieces with their numbers, [h, w]


@plain
def kernel_to_file(
    kernel: TiledKernel,
    x: Tensor,
    path: str | Path,
    memory: float = 512e6,
    progress: Progress | None = None,
    tell: Callable[[str], object] = warnings.warn,
    executor: Executor | None = None,
    at_once: int = 256,
) -> np.memmap:
    """The square kernel ``k(x)``, [n, n] in x's dtype, in an .npy file; x [n, C, H, W].

    memory: bytes for tiles, beside the images and what the kernel itself works in (tens of megabytes); a side is cut
    into PARTS at least, and a tile is about a minute's work at most, so that a kill costs little. progress: told (pairs
    done, pairs in all, note); it may raise Cancelled, and the next call goes on after the last whole tile. tell: called
    with a sentence where something that was finished or on its way is computed again.

    executor: who computes the tiles, one of ``concurrent.futures`` or its like (Dask's ``client.get_executor()``,
    submitit's, mpi4py's); by default this process. Its workers read their images from a file beside the unfinished
    kernel, in a folder that all of them see; only this process writes. Each worker takes ``memory``, and what came back
    and waits to be written takes as much here. A worker that is lost costs the tiles it had: they are asked for again.
    at_once: tiles that are asked for at once, at most; as many as there are workers, or a few more, keep them busy.

    Raises SpecError for images or memory that make no kernel, for what cannot be sent to an executor's workers, and
    where another kernel or other images were begun under this name; NTKError where another process is writing it, where
    the disk is full or cannot be written, and where workers are lost again and again.
    """
    checks.instance(kernel, TiledKernel, "kernel", "kernel_fn and tiled make one.")
    checks.progress(progress)
    path, n = path_of(path, "path"), len(checks.images(x))
    memory, at_once = checks.number(memory, "memory", above=0, inf=True), checks.whole(at_once, "at_once", 1)
    if executor is not None and x.device.type != "cpu":
        raise SpecError(f"The images are on {x.device}; workers have processors alone. Give x.cpu().")
    work = Tiles(kernel)
    workers = None if executor is None else Workers(work, executor, tell)
    most = max(1, int(min(memory / (COPIES * x.element_size()), n * n) ** 0.5))  # images of a tile that memory allows
    mend = "Mend that or choose another name; what was finished is kept."
    with refused_in_words(path, mend), torch.no_grad():
        check_place(path)
        with UnfinishedKernel(path, tell) as file:
            probe = kernel(x[:PROBES]).double().flatten().tolist()
            dtype = x.new_empty(0).numpy(force=True).dtype
            file.begin(n, dtype, _description(kernel, x), probe, min(most, _side(kernel, x)))
            if not file.complete:
                report = _Report(progress, n * n)
                if workers is None:
                    source = partial(_here, work, x, report)
                else:
                    ahead = max(1, int(min(at_once, memory / (min(most, file.side) ** 2 * x.element_size()))))
                    images = {"images": file.lay_out(x.numpy(force=True))}
                    source = partial(workers.computed, images, ahead, report)
                _fill(file, n, most, report, source)
                file.finish()
    if progress is not None:
        progress(n * n, n * n, PAIRS)
    return np.load(path, mmap_mode="r")


def kernel_among(
    kernel: TiledKernel,
    x: Tensor,
    x_test: Tensor,
    executor: Executor,
    folder: Path | None = None,
    progress: Progress | None = None,
    tell: Callable[[str], object] = warnings.warn,
) -> tuple[Tensor, Tensor]:
    """``k(x)`` [n, n] and ``k(x_test, x)`` [m, n] in memory, by the workers of an executor alone.

    They read the images from a file in ``folder``, which all of them see (None: of this machine's temporary files).
    Raises as ``kernel_to_file`` does; nothing is kept of a call that is stopped.
    """
    n, images, side = len(x), torch.cat([x, x_test]), _side(kernel, x)
    columns = list(slices(n, side))
    rows = columns + [_shifted(part, n) for part in slices(len(x_test), side)]
    places = ((i, j) for i in range(len(rows)) for j in range(len(columns)) if j >= i or i >= len(columns))
    pieces = (Piece((i, j), rows[i], columns[j]) for i, j in places)
    K = images.new_empty(len(images), n)
    report = _Report(progress, K.numel())
    with closing(spread(Tiles(kernel), {"images": images}, pieces, executor, report, tell, folder)) as found:
        for piece, values in found:
            K[piece.rows, piece.columns] = torch.from_numpy(values)
            mirrored = piece.rows.start < n and piece.rows != piece.columns
            if mirrored:
                K[piece.columns, piece.rows] = K[piece.rows, piece.columns].T
            report.add((1 + mirrored) * values.size)
    return K[:n], K[n:]


@dataclass(frozen=True, eq=False)
class Tiles:
    """Work: the kernel of a piece's images with each other."""

    kernel: TiledKernel

    def __post_init__(self) -> None:
        object.__setattr__(self, "kernel", self.kernel.with_progress(None))

    def __call__(self, arrays: Arrays, piece: Piece, progress: Progress | None) -> np.ndarray:
        """[h, w] of "images" [n, C, H, W]."""
        rows, columns = (part(arrays["images"], side) for side in (piece.rows, piece.columns))
        kernel = self.kernel.with_progress(progress)
        with torch.no_grad():
            found = kernel(rows) if piece.rows == piece.columns else kernel(rows, columns)
        return found.numpy(force=True)

    def fits(self, found: object, piece: Piece) -> bool:
        return is_block(found, piece)


class _Report:
    """How many entries of all are ready, told to who listens."""

    def __init__(self, progress: Progress | None, total: float):
        self.progress, self.total, self.ready = progress, total, 0.0

    def __call__(self, note: str = PAIRS) -> None:
        if self.progress is not None:
            self.progress(self.ready, self.total, note)

    def add(self, pairs: float, note: str = PAIRS) -> None:
        self.ready += pairs
        self(note)

    def within(self, pairs: float) -> Progress | None:
        """A piece's own progress, as part of the whole."""
        progress, ready, total = self.progress, self.ready, self.total
        if progress is None:
            return None
        return lambda done, of, note: progress(ready + pairs * done / max(of, 1), total, note)


def _fill(
    file: UnfinishedKernel, n: int, most: int, report: _Report, compute: Callable[[Iterator[Piece]], Found]
) -> None:
    """Have the tiles computed that are not finished, each in pieces that memory allows, and write them."""
    blocks, left = list(slices(n, file.side)), Counter[tuple[int, int]]()

    def pieces() -> Iterator[Piece]:
        for tile in combinations_with_replacement(range(len(blocks)), 2):
            if tile not in file.done:
                rows, columns = (blocks[i] for i in tile)
                parts = list(_pieces(tile, rows, columns, most))
                left[tile] = len(parts)
                yield from parts

    file.check(lambda tile: report.add(Piece(tile, *(blocks[i] for i in tile)).pairs, CHECKED))
    with closing(compute(pieces())) as found:
        for piece, values in found:
            file.write(values, piece.rows.start, piece.columns.start)
            if piece.rows != piece.columns:
                file.write(values.T, piece.columns.start, piece.rows.start)
            left[piece.tile] -= 1
            if not left[piece.tile]:
                file.note(piece.tile)
            report.add(piece.pairs)


def _here(work: Tiles, x: Tensor, report: _Report, pieces: Iterator[Piece]) -> Found:
    """Pieces computed by this process."""
    for piece in pieces:
        yield piece, work({"images": x}, piece, report.within(piece.pairs))


def _side(kernel: TiledKernel, x: Tensor) -> int:
    """Images of a tile's side, where memory allows them."""
    inside, side = untiled(kernel), max(LEAST_SIDE, -(-len(x) // PARTS))
    if isinstance(inside, SizedKernel):
        side = min(side, max(LEAST_SIDE, int((WORK / inside.bytes_per_pair(x.shape[1:], x.dtype)) ** 0.5)))
    return side


def _description(kernel: TiledKernel, x: Tensor) -> dict[str, object]:
    """What a file is of, beside its numbers: the images, and the net where the kernel is that of one."""
    inside = untiled(kernel)
    return {
        "images": hashlib.sha256(np.ascontiguousarray(x.numpy(force=True)).data).hexdigest(),
        "shape": list(x.shape),
        "dtype": str(x.dtype),
        "net": f"{inside.kind} of {inside.net!r}" if isinstance(inside, InfiniteKernel) else None,
    }


def _pieces(tile: tuple[int, int], rows: slice, columns: slice, most: int) -> Iterator[Piece]:
    """A tile of the upper triangle in pieces of at most so many images a side."""
    for some in slices(rows.stop - rows.start, most):
        for others in slices(columns.stop - columns.start, most):
            if rows != columns or some.start <= others.start:
                yield Piece(tile, _shifted(some, rows.start), _shifted(others, columns.start))


def _shifted(part: slice, start: int) -> slice:
    return slice(part.start + start, part.stop + start)
