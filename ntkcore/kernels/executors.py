"""Pieces of a matrix computed by the workers of an executor: threads, processes, other machines.

::

    with ProcessPoolExecutor(4) as pool:
        kernel_to_file(k, x, "kernel.npy", executor=pool)      # or Dask's client.get_executor(), or submitit's
        eigenfeatures(k, x, y, x_test, y_test, executor=pool)

A worker gets the work (a kernel, an attack), the names of files with all images, and which of them; it maps those
files, so that it reads only what it needs, and gives back the numbers of one piece. An error of the work itself is such
an answer, too: whatever a future raises was therefore met on the way, and the piece is asked for again. When nobody
waits for its numbers any more the files are gone, and a worker stops at the next thing that it would report.
"""

import copyreg
import io
import os
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Generator, Hashable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, CancelledError, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, suppress
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir
from typing import Any, NamedTuple, Protocol, runtime_checkable
from uuid import uuid4

import numpy as np
import torch
from torch import Tensor

from ntkcore import checks
from ntkcore.errors import Cancelled, NTKError, SpecError, brief, reason
from ntkcore.kernels.protocols import Progress
from ntkcore.writing import refused_in_words

TRIES = 3  # times that a piece is asked for while none comes back
WAKE = 0.2  # seconds after which a caller who may want to stop is heard
IN_USE = 60.0  # seconds after which a folder's time says again that it is in use


Arrays = Mapping[str, Tensor | np.ndarray]


class GivenUp(NTKError):
    """The executor, or all its workers, are gone: another one, or none, may do what is left. after: what to do then."""

    def __init__(self, why: str, after: str):
        super().__init__(f"{why} {after}")
        self.why = why


class Piece(NamedTuple):
    """Part of a tile of a matrix: which images, or predictors, stand on both sides."""

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


class Work(Protocol):
    """What is done with a piece; it is sent to workers, so what is large lies in arrays beside it.

    A worker's thread keeps it from one piece to the next.
    """

    def __call__(self, arrays: Arrays, piece: Piece, progress: Progress | None) -> Any:
        """What is found of a piece; of the arrays only what it needs is looked at."""
        ...

    def fits(self, found: Any, piece: Piece) -> bool:
        """Whether that can be what was found: an executor may be anybody's."""
        ...


class Answer(NamedTuple):
    """What a worker gives back: what it found, or what the work said; and who it is."""

    found: Any
    worker: str


def is_block(found: Any, piece: Piece, *leading: int) -> bool:
    """Whether these are numbers of a piece, [*leading, h, w]."""
    shape = *leading, piece.rows.stop - piece.rows.start, piece.columns.stop - piece.columns.start
    return isinstance(found, np.ndarray) and found.shape == shape and found.dtype.kind in "bfiu"


def part(array: Tensor | np.ndarray, *rows: slice) -> Tensor:
    """Some of an array that may be a memory map, as a tensor."""
    return array[rows] if isinstance(array, Tensor) else torch.from_numpy(np.array(array[rows]))


class Workers:
    """An executor that computes pieces.

    tell: told of workers that were lost. after: what is said of an executor that has given up, or was given up. Raises
    SpecError for what cannot be sent to them.
    """

    def __init__(
        self,
        work: Work,
        executor: Executor,
        tell: Callable[[str], object],
        after: str = "What was finished is kept; call again with another one.",
    ):
        how = "Those of concurrent.futures are such, and client.get_executor() of Dask."
        checks.instance(executor, Executor, "executor", how)
        self.work, self.fits, self.executor, self.tell, self.after = _message(work), work.fits, executor, tell, after
        self._token = uuid4().hex  # by which a worker knows that this is the work of before
        self._own = ExitStack()

    def computed(
        self, files: Mapping[str, Path], most: int, wake: Callable[[], None], pieces: Iterator[Piece]
    ) -> Generator[tuple[Piece, Any]]:
        """Pieces with what was found of them as they come; at most so many are asked for at once.

        files: the arrays, .npy of absolute names. wake: called now and then; it may raise. Raises what the work said,
        GivenUp for an executor that is closed, and where a piece was lost TRIES times while none came back.
        """
        names = {name: str(file) for name, file in files.items()}
        asked: dict[Job, Piece] = {}
        again: list[Piece] = []
        lost: Counter[tuple[int, int]] = Counter()  # by the first images of pieces
        with self._own:
            try:
                while True:
                    while len(asked) < most and (piece := next(pieces, None) or (again.pop(0) if again else None)):
                        job = self._submit(compute, self.work, self._token, names, piece, uuid4().hex)
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
                            found = self._answer(job, piece)
                        except _LostError as error:
                            why = str(error)
                            lost[piece.rows.start, piece.columns.start] += 1
                            again.append(piece)
                            continue
                        lost.clear()
                        yield piece, found
                    if max(lost.values(), default=0) >= TRIES:
                        raise GivenUp(
                            f"Workers were lost {TRIES} times with a tile, at last by {why}. Each needs this library, "
                            f"memory for a tile, and the folder {next(iter(files.values())).parent}.",
                            self.after,
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
            why = f"The executor takes no tiles: {type(error).__name__}: {reason(error)}."
            raise GivenUp(why, self.after) from error

    def _answer(self, job: Job, piece: Piece) -> Any:
        """What a worker found; raises NTKError for what its work said, for an executor that has given up, and for one
        that gives back something else than the tile."""
        try:
            answer = job.result()
        except CancelledError as error:  # not by us: what it is asked for from now on it may keep for ever
            why = "The executor cancelled a tile: it was closed, or lost its scheduler."
            raise GivenUp(why, self.after) from error
        except Exception as error:
            raise _LostError(brief(f"{type(error).__name__}: {reason(error)}", 200)) from error
        found = answer.found if isinstance(answer, Answer) else answer
        if isinstance(found, NTKError):
            raise found
        if not self.fits(found, piece):
            got = f"{found.dtype} {found.shape}" if isinstance(found, np.ndarray) else type(found).__name__
            raise NTKError(f"The executor gave back {brief(got, 100)} for a tile, which is not what that was to give.")
        return found


def spread(
    work: Work,
    arrays: Mapping[str, Tensor],
    pieces: Iterator[Piece],
    executor: Executor,
    wake: Callable[[], None],
    tell: Callable[[str], object],
    folder: Path | None = None,
    at_once: int = 256,
) -> Generator[tuple[Piece, Any]]:
    """Pieces with what workers found of them, where nothing is kept of a call that ends before its time.

    arrays: of which workers read their parts, from files in a folder of their own in ``folder``; None: in this
    machine's folder for temporary files.
    """
    workers = Workers(work, executor, tell, "Call again, with another one or with none.")
    used = time.monotonic()

    def awake() -> None:
        nonlocal used
        if time.monotonic() - used > IN_USE:
            used = time.monotonic()
            with suppress(OSError):  # the folder for temporary files is not ours
                os.utime(own.parent)
        wake()

    with ExitStack() as stack:
        with refused_in_words(folder or Path(gettempdir()), "Make room, or choose another folder."):
            own = Path(stack.enter_context(TemporaryDirectory(dir=folder, prefix="ntk-"))).absolute()
            files = {name: own / f"{name}.npy" for name in arrays}
            for name, file in files.items():
                np.save(file, arrays[name].numpy(force=True))
        yield from workers.computed(files, at_once, awake, pieces)


def _message(work: Work) -> bytes:
    """The work, weights of nets and all; raises SpecError for one that cannot be sent."""
    message = io.BytesIO()
    pickler = ForkingPickler(message)
    pickler.dispatch_table = copyreg.dispatch_table  # by value: torch's own hands over open files
    try:
        pickler.dump(work)
    except Exception as error:  # whatever objects of others say to it
        raise SpecError(
            f"This kernel cannot be sent to workers: {brief(reason(error), 200)}. Give one of kernel_fn or "
            "empirical_kernel_fn, or a function that a module defines (no lambda); without an executor any will do."
        ) from None
    return message.getvalue()


def compute(work: bytes, token: str, files: Mapping[str, str], piece: Piece, ticket: str) -> Answer:
    """What a worker does. token: of the work; ticket: another one for each call, so that no scheduler takes two of
    them for the same."""
    arrays = {name: np.load(file, mmap_mode="r") for name, file in files.items()}
    any_of_them = next(iter(files.values()))

    def wanted(done: float, total: float, note: str) -> None:
        if not os.path.exists(any_of_them):
            raise Cancelled("Nobody waits for this tile any more.")

    try:
        return Answer(_loaded(work, token)(arrays, piece, wanted), _name())
    except Cancelled:
        raise
    except NTKError as error:
        return Answer(error, _name())
    except (Exception, SystemExit) as error:
        return Answer(NTKError(f"A worker cannot compute this kernel: {type(error).__name__}: {error}"), _name())


class _Kept(threading.local):
    """The work that a thread was last asked for: no two of them share what it keeps."""

    token: str = ""
    work: Work


_kept = _Kept()


def _loaded(message: bytes, token: str) -> Work:
    if _kept.token != token:
        _kept.token, _kept.work = token, ForkingPickler.loads(message)
    return _kept.work


def _name() -> str:
    """This process among all."""
    return f"{socket.gethostname()}, process {os.getpid()}"


class _LostError(Exception):
    """Something happened to a worker, or on the way to it."""


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
