"""Pieces of a kernel computed by the workers of an executor: threads, processes, other machines.

::

    with ProcessPoolExecutor(4) as pool:
        kernel_to_file(k, x, "kernel.npy", executor=pool)      # or Dask's client.get_executor(), or submitit's

A worker gets the kernel, the name of a file with all images, and which of them; it maps that file, so that it reads
only those, and gives back the numbers of one piece. An error of the kernel itself is such an answer, too: whatever a
future raises was therefore met on the way, and the piece is asked for again. When nobody waits for its numbers any
more the file of the images is gone, and a worker stops at the next thing that it would report.
"""

import copyreg
import io
import os
import time
from collections import Counter
from collections.abc import Callable, Generator, Hashable, Iterator
from concurrent.futures import FIRST_COMPLETED, CancelledError, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, suppress
from functools import lru_cache
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable
from uuid import uuid4

import numpy as np
import torch
from torch import Tensor

from ntkcore import checks
from ntkcore.errors import Cancelled, NTKError, SpecError, brief, reason
from ntkcore.kernels.blocks import TiledKernel

TRIES = 3  # times that a piece is asked for while none comes back
WAKE = 0.2  # seconds after which a caller who may want to stop is heard


class Piece(NamedTuple):
    """Part of a tile: which images stand on both sides."""

    tile: tuple[int, int]
    rows: slice
    columns: slice

    @property
    def pairs(self) -> int:
        """Entries of the kernel that it gives: off the diagonal in both its places."""
        size = (self.rows.stop - self.rows.start) * (self.columns.stop - self.columns.start)
        return size if self.rows == self.columns else 2 * size


@runtime_checkable
class Job(Protocol):
    """A piece that was asked for: a future, or what submitit has in its place."""

    def done(self) -> bool: ...

    def result(self) -> Any: ...

    def cancel(self) -> Any: ...


@runtime_checkable
class Executor(Protocol):
    """Whatever runs functions somewhere, as ``concurrent.futures.Executor`` does."""

    def submit(self, fn: Callable[..., Any], /, *args: Any) -> Any: ...


def numbers(kernel: TiledKernel, x: Tensor | np.ndarray, piece: Piece) -> np.ndarray:
    """The kernel of a piece, [h, w]; of x [n, C, H, W] only its images are looked at."""
    sides = [torch.as_tensor(x[s] if isinstance(x, Tensor) else np.array(x[s])) for s in (piece.rows, piece.columns)]
    with torch.no_grad():
        found = kernel(sides[0]) if piece.rows == piece.columns else kernel(*sides)
    return found.numpy(force=True)


class Workers:
    """An executor that computes pieces of a kernel on images x.

    tell: told of workers that were lost. Raises SpecError for what cannot be sent to them.
    """

    def __init__(self, kernel: TiledKernel, x: Tensor, executor: Executor, tell: Callable[[str], object]):
        how = "Those of concurrent.futures are such, and client.get_executor() of Dask."
        checks.instance(executor, Executor, "executor", how)
        if x.device.type != "cpu":
            raise SpecError(f"The images are on {x.device}; workers have processors alone. Give x.cpu().")
        self.kernel, self.executor, self.tell = _message(kernel), executor, tell
        self._own = ExitStack()

    def computed(
        self, images: Path, most: int, wake: Callable[[], None], pieces: Iterator[Piece]
    ) -> Generator[tuple[Piece, np.ndarray]]:
        """Pieces with their numbers [h, w] as they come; at most so many are asked for at once.

        images: the file of x. wake: called now and then; it may raise. Raises what the kernel said, NTKError where a
        piece was lost TRIES times while none came back.
        """
        asked: dict[Job, Piece] = {}
        again: list[Piece] = []
        lost: Counter[tuple[int, int]] = Counter()  # by the first images of pieces
        with self._own:
            try:
                while True:
                    while len(asked) < most and (piece := next(pieces, None) or (again.pop(0) if again else None)):
                        job = self._submit(compute, self.kernel, str(images), piece, uuid4().hex)
                        if not isinstance(job, Job) or not isinstance(job, Hashable) or job in asked:
                            raise SpecError(
                                f"The executor gives {type(job).__name__} for a tile; a future of its own is needed "
                                "for each, with done, result and cancel. Those of concurrent.futures give such."
                            )
                        asked[job] = piece
                    if not asked:
                        return
                    why = ""
                    for job in _done(list(asked)):
                        piece = asked.pop(job)
                        try:
                            found = _answer(job, piece)
                        except _LostError as error:
                            why = str(error)
                            lost[piece.rows.start, piece.columns.start] += 1
                            again.append(piece)
                            continue
                        lost.clear()
                        yield piece, found
                    if max(lost.values(), default=0) >= TRIES:
                        raise NTKError(
                            f"Workers were lost {TRIES} times with a tile, at last by {why}. Each needs this library, "
                            f"memory for a tile, and the folder {images.parent}. What was finished is kept."
                        )
                    if why:
                        self.tell(f"Lost with a worker, and asked for again: {len(again)} tiles on their way ({why}).")
                    wake()
            finally:
                for job in asked:
                    with suppress(Exception):
                        job.cancel()

    def _submit(self, *call: Any) -> Job:
        """Ask the executor, or another of its kind where it broke: Python's pool of processes outlives none of them."""
        try:
            with suppress(BrokenProcessPool):
                return self.executor.submit(*call)
            broken = checks.instance(self.executor, ProcessPoolExecutor, "executor", "")
            pool = ProcessPoolExecutor(broken._max_workers, broken._mp_context, broken._initializer, broken._initargs)
            self._own.callback(pool.shutdown, wait=False, cancel_futures=True)
            self.executor = pool
            return pool.submit(*call)
        except Exception as error:  # closed, or out of reach
            raise NTKError(
                f"The executor takes no tiles: {type(error).__name__}: {reason(error)}. What was finished is kept; "
                "call again with another one."
            ) from error


def _message(kernel: TiledKernel) -> bytes:
    """The kernel, weights and all; raises SpecError for one that cannot be sent."""
    message = io.BytesIO()
    pickler = ForkingPickler(message)
    pickler.dispatch_table = copyreg.dispatch_table  # by value: torch's own hands over open files
    try:
        pickler.dump(kernel.with_progress(None))
    except Exception as error:  # whatever objects of others say to it
        raise SpecError(
            f"This kernel cannot be sent to workers: {brief(reason(error), 200)}. Give one of kernel_fn or "
            "empirical_kernel_fn, or a function that a module defines (no lambda); without an executor any will do."
        ) from None
    return message.getvalue()


def compute(kernel: bytes, images: str, piece: Piece, ticket: str) -> np.ndarray | NTKError:
    """What a worker does. ticket: another one for each call, so that no scheduler takes two of them for the same."""
    x = np.load(images, mmap_mode="r")

    def wanted(done: float, total: float, note: str) -> None:
        if not os.path.exists(images):
            raise Cancelled("Nobody waits for this tile any more.")

    try:
        return numbers(_loaded(kernel).with_progress(wanted), x, piece)
    except Cancelled:
        raise
    except NTKError as error:
        return error
    except (Exception, SystemExit) as error:
        return NTKError(f"A worker cannot compute this kernel: {type(error).__name__}: {error}")


@lru_cache(maxsize=1)
def _loaded(kernel: bytes) -> TiledKernel:
    return ForkingPickler.loads(kernel)


class _LostError(Exception):
    """Something happened to a worker, or on the way to it."""


def _answer(job: Job, piece: Piece) -> np.ndarray:
    """What a worker found; raises NTKError for what its kernel said, for an executor that has given up, and for one
    that gives back something else than the tile."""
    try:
        found = job.result()
    except CancelledError as error:  # not by us: what it is asked for from now on it may keep for ever
        raise NTKError(
            "The executor cancelled a tile: it was closed, or lost its scheduler. What was finished is kept; call "
            "again with another one."
        ) from error
    except Exception as error:
        raise _LostError(brief(f"{type(error).__name__}: {reason(error)}", 200)) from error
    if isinstance(found, NTKError):
        raise found
    shape = piece.rows.stop - piece.rows.start, piece.columns.stop - piece.columns.start
    if not isinstance(found, np.ndarray) or found.shape != shape or found.dtype.kind not in "fiu":
        got = f"{found.dtype} {found.shape}" if isinstance(found, np.ndarray) else type(found).__name__
        raise NTKError(f"The executor gave back {brief(got, 100)} for a tile, where its numbers {shape} are needed.")
    return found


def _done(jobs: list[Job]) -> list[Job]:
    """Those that are done, once some are, or none after a while."""
    futures = [job for job in jobs if isinstance(job, Future)]
    if len(futures) == len(jobs):
        wait(futures, WAKE, FIRST_COMPLETED)
    elif not any(map(_ended, jobs)):
        time.sleep(WAKE)
    return [job for job in jobs if _ended(job)]


def _ended(job: Job) -> bool:
    """Also where it cannot say so: its result will not come either, and raises why."""
    try:
        return bool(job.done())
    except Exception:
        return True
