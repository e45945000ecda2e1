"""The worker process itself: takes one job after another from stdin, says on a pipe how they go.

Started by process.py as ``python -m ntkcore.runs.worker.child SETTINGS``, where SETTINGS is JSON with
``root``, ``max_bytes``, ``target`` ("module:function") and ``parent`` (process id). One JSON object a line::

    in    {"op": "run", "job": 3, "memory": 1.2e10, "request": {...}}       memory: bytes that it may hold
          {"op": "cancel", "job": 3}
    out   {"op": "ready"} or {"op": "unfit", "error": "a sentence"}
          {"op": "started", "job": 3}
          {"op": "progress", "job": 3, "done": 1.0, "total": 9.0, "note": "tile 1 of 9"}     and "team", where one helps
          {"op": "done", "job": 3}, {"op": "cancelled", "job": 3} or
          {"op": "failed", "job": 3, "error": "a sentence", "details": "the traceback"}

What the target prints goes to stderr, so it cannot disturb the protocol. The end of stdin means that the
parent is gone: the process ends at once, in the middle of whatever it is doing; the store bears that at any
moment. Jobs run in the main thread. On Linux the kernel also ends the process with its parent, which covers a
long call that never lets another Python thread run.
"""

from __future__ import annotations

import ctypes
import faulthandler
import gc
import importlib
import json
import os
import queue
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from ntkcore.errors import Cancelled, NTKError, WorkerError
from ntkcore.runs import memory
from ntkcore.runs.worker import team

PERIOD = 0.1  # seconds between two progress messages at least
_PR_SET_PDEATHSIG = 1  # prctl(2)


def main() -> None:
    settings = json.loads(sys.argv[1])
    send = _take_stdout()
    faulthandler.enable()
    _end_with(settings["parent"])
    jobs: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
    reporter = Reporter(send)
    threading.Thread(target=_listen, args=(jobs, reporter), daemon=True).start()

    try:
        from ntkcore.runs.store import SHIPPED, Store

        execute = load_target(settings["target"])
        store = Store(settings["root"], settings["max_bytes"], shipped=SHIPPED)
    except Exception as error:
        send({"op": "unfit", "error": explain(error)})
        raise
    gc.collect()
    gc.freeze()  # what is imported stays; a look for garbage after each job need not go through it (0.2 s)
    send({"op": "ready"})
    while True:
        job = jobs.get()
        number = job["job"]
        send({"op": "started", "job": number})
        reporter.begin(number)
        with memory.within(job["memory"]):
            try:
                execute(job["request"], store, reporter)
            except Cancelled:
                outcome: dict[str, Any] = {"op": "cancelled"}
            except Exception as error:
                outcome = {"op": "failed", "error": explain(error), "details": traceback.format_exc()[-20_000:]}
            else:
                outcome = {"op": "done"}
        gc.collect()  # what a failure's frames held
        reporter.end()
        send({**outcome, "job": number})


class Reporter:
    """The progress function handed to the target: about ten messages a second, and the last always arrives.

    Raises Cancelled in the target when the job has been cancelled.
    """

    def __init__(self, send: Callable[[dict[str, Any]], None]):
        self._send = send
        self._lock = threading.Lock()
        self._unsent = threading.Event()
        self._cancelled: set[int] = set()
        self._job: int | None = None
        self._message: dict[str, Any] | None = None
        self._sent = 0.0
        threading.Thread(target=self._catch_up, daemon=True).start()

    def __call__(self, done: float, total: float, note: str = "") -> None:
        if self._job in self._cancelled:
            raise Cancelled("The run was cancelled.")
        with self._lock:
            self._message = {
                "op": "progress",
                "job": self._job,
                "done": float(done),
                "total": float(total),
                "note": str(note),
            }
            if team.present is not None:
                self._message["team"] = team.present.as_json()
            if time.monotonic() - self._sent >= PERIOD:
                self._flush()
            else:
                self._unsent.set()

    def begin(self, job: int) -> None:
        with self._lock:
            self._job, self._sent = job, 0.0
            team.present = None

    def end(self) -> None:
        """Send what is still unsent; nothing of this job is sent afterwards."""
        with self._lock:
            self._flush()
            self._cancelled.discard(self._job)
            self._job = None

    def cancel(self, job: int) -> None:
        self._cancelled.add(job)

    def _flush(self) -> None:
        if self._message is not None:
            self._send(self._message)
            self._message, self._sent = None, time.monotonic()

    def _catch_up(self) -> None:
        """Send the latest report when none followed it: it stands until the target says more."""
        while True:
            self._unsent.wait()
            time.sleep(PERIOD)
            with self._lock:
                if time.monotonic() - self._sent >= PERIOD:
                    self._unsent.clear()
                    self._flush()


def load_target(target: str) -> Callable[..., None]:
    """The function named "module:function"; raises WorkerError when there is none."""
    module, _, name = target.partition(":")
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise WorkerError(
            f"{target!r} cannot be run: {error}. A name such as package.module:function is needed."
        ) from error


def explain(error: Exception) -> str:
    """A sentence for the user: the message of an NTKError, else the kind of error and its first line."""
    if isinstance(error, NTKError):
        return str(error)
    if memory.is_lack(error):
        return memory.lack(error=error)
    first = (str(error).strip().splitlines() or [""])[0][:300]
    return f"The run stopped on an unexpected {type(error).__name__}{': ' if first else ''}{first.rstrip('.')}."


def _take_stdout() -> Callable[[dict[str, Any]], None]:
    """Keep the pipe at stdout for messages, point stdout at stderr; the function that sends one message."""
    pipe = os.dup(1)
    os.dup2(2, 1)
    lock = threading.Lock()

    def send(message: dict[str, Any]) -> None:
        data = json.dumps(message).encode() + b"\n"
        with lock:
            try:
                while data:
                    data = data[os.write(pipe, data) :]
            except BrokenPipeError:  # the parent is gone
                os._exit(0)

    return send


def _end_with(parent: int) -> None:
    """Have the kernel kill this process when ``parent`` ends, and before all others when the machine runs out of memory
    (Linux; elsewhere the end of stdin must do)."""
    if sys.platform == "linux":
        with suppress(OSError):
            Path("/proc/self/oom_score_adj").write_text("1000")
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.name == "posix" and os.getppid() != parent:  # it ended before we asked
        os._exit(0)


def _listen(jobs: queue.SimpleQueue[dict[str, Any]], reporter: Reporter) -> None:
    for line in _lines():
        message = json.loads(line)
        if message["op"] == "run":
            jobs.put(message)
        else:
            reporter.cancel(message["job"])
    os._exit(0)


def _lines() -> Iterator[bytes]:
    """The lines of stdin until its end; by hand, since a thread inside sys.stdin makes a clean exit abort."""
    rest = b""
    while chunk := os.read(0, 65536):
        *lines, rest = (rest + chunk).split(b"\n")
        yield from lines


if __name__ == "__main__":
    main()
