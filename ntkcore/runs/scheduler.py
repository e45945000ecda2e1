"""The workers of a Dask scheduler, on this machine or on others, as an executor.

::

    with workers("tcp://10.0.0.1:8786") as executor:
        kernel_to_file(k, x, "kernel.npy", executor=executor)

    with at_hand() as executor:          # those of NTK_SCHEDULER; None where there are none, which is then said
        eigenfeatures(k, x, y, x_test, y_test, executor=executor)

Needs ``distributed`` here and there (docs/many-machines.md).
"""

import os
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager, suppress
from contextvars import ContextVar
from dataclasses import replace
from typing import Any

from ntkcore.errors import NTKError, brief, optional, reason
from ntkcore.kernels.executors import Answer, Executor, GivenUp
from ntkcore.runs.worker import team
from ntkcore.runs.worker.team import Team

SETTING = "NTK_SCHEDULER"
PATIENCE = 5  # seconds that a scheduler has to answer, and to have a worker
COUNTED = 2.0  # seconds between two looks at how many workers there are
_held: ContextVar[Executor | None] = ContextVar("held", default=None)


@contextmanager
def workers(address: str) -> Iterator[Executor]:
    """Raises NTKError where nobody answers at the address within a few seconds, or no worker is there."""
    with optional("distributed", "A scheduler"):
        from distributed import Client
    try:
        client = _in_time(lambda: Client(address, timeout=PATIENCE))
    except Exception as error:  # out of reach, no address, another protocol, or what else answers there is no scheduler
        raise NTKError(
            f"No scheduler answers at {brief(address, 100)}: {brief(reason(error), 200)}. Start one: "
            "`dask scheduler` prints its address."
        ) from None
    with client:
        try:
            client.wait_for_workers(1, timeout=PATIENCE)
        except TimeoutError:
            raise NTKError(
                f"The scheduler at {address} has no workers. Start some: `dask worker {address} --nthreads 1`."
            ) from None
        team.present = Team(address)
        over = threading.Event()
        threading.Thread(target=_count, args=(client, team.present, over), daemon=True).start()
        try:
            yield _Counted(client.get_executor(pure=False), team.present)
        finally:
            over.set()


def _in_time(make: Callable[[], Any]) -> Any:
    """What is made, in twice PATIENCE at most: whoever answers a call and then says nothing is waited for no longer."""
    made: Future[Any] = Future()

    def run() -> None:
        try:
            made.set_result(make())
        except BaseException as error:
            made.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    try:
        return made.result(2 * PATIENCE)
    except TimeoutError:
        if made.done():
            raise
        raise TimeoutError("what answers there says nothing") from None


def setting() -> str | None:
    """The address that NTK_SCHEDULER names; None where it names none."""
    return os.environ.get(SETTING, "").strip() or None


@contextmanager
def at_hand() -> Iterator[Executor | None]:
    """The workers of NTK_SCHEDULER; None where it names none, or where they cannot be reached: then it is said, and
    whoever asks computes alone. Inside such a block they are those of the block."""
    with ExitStack() as stack:
        executor, address = _held.get(), setting()
        if executor is None and address is not None:
            try:
                executor = stack.enter_context(workers(address))
            except NTKError as error:
                _say(Team(address, str(error)))
            stack.callback(_held.reset, _held.set(executor))
        yield executor


@contextmanager
def told_when_gone() -> Iterator[None]:
    """What workers do; where they are given up, that is said, and who asked goes on behind this block."""
    try:
        yield
    except GivenUp as error:
        known = team.present or Team(setting() or "")
        why = f"The workers of {known.address} were given up: {error.why[0].lower()}{error.why[1:]}"
        _say(replace(known, problem=why))


def _say(problem: Team) -> None:
    team.present = problem
    print(problem.in_words(), file=sys.stderr, flush=True)


class _Counted:
    """An executor that counts what it is asked for, and who answers."""

    def __init__(self, executor: Executor, its_team: Team):
        self._executor, self._team = executor, its_team

    def submit(self, fn: Callable[..., Any], /, *args: Any) -> Any:
        future = self._executor.submit(fn, *args)
        self._team.asked += 1
        future.add_done_callback(self._count)
        return future

    def _count(self, future: Any) -> None:
        self._team.ended += 1
        if not future.cancelled() and future.exception() is None and isinstance(future.result(), Answer):
            self._team.done[future.result().worker] += 1


def _count(client: Any, its_team: Team, over: threading.Event) -> None:
    """How many workers there are, as long as they are asked."""
    while True:
        with suppress(Exception):  # a scheduler that is gone is met elsewhere
            its_team.workers = len(client.nthreads())
        if over.wait(COUNTED):
            return
