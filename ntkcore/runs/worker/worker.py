"""One worker process: long computations run beside the app, one at a time, watched and stoppable.

The process is a fresh interpreter (child.py), started when the first job comes or may come soon (``warm``), and stays
warm for the next. It is fed over pipes, not by multiprocessing, which would import the app's main script again. A
supervisor thread starts it, waits for its death and starts the next one; whatever happens to it, a job ends
in a state with a reason::

    submit -> queued -> running -> done | failed | cancelled

    worker = Worker("cache")
    job = worker.submit(key, request)           # the same key while queued or running: the same job
    job.wait(60), job.state, job.error          # results are in the store at "cache"

The target is a function ``execute(request: dict, store: Store, progress) -> None``; it writes its results
into the store, and raises NTKError for what the user can mend.
"""

from __future__ import annotations

import atexit
import json
import os
import threading
import time
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ntkcore.errors import WorkerError
from ntkcore.runs import memory
from ntkcore.runs.store import default_root
from ntkcore.runs.worker.jobs import Job, State
from ntkcore.runs.worker.process import WorkerProcess, death, worker_environment

_PATIENCE = 0.6  # seconds a job has to notice that it was cancelled, before its process is killed
_SHORT_LIFE = 5.0  # seconds: a process that dies idle sooner is not replaced before it is needed
_HISTORY = 200  # finished jobs remembered
_STARTS = 2  # attempts to start the process before the queue is given up
_ADVICE = "Run it again; if that does not help, choose fewer or smaller images or a smaller architecture."


class Worker:
    """Runs requests in one process of its own; any thread may call any method.

    ``root`` and ``max_bytes`` are those of the store the process opens. ``target`` is "module:function". The
    environment variable NTK_THREADS sets the number of compute threads (default: torch's own, all cores).
    ``memory_bytes`` is what the process may hold (default: NTK_MEMORY_GB, else most of what is free when a job starts);
    a job that goes over it fails in words.
    The process starts when it is needed and ends with :meth:`close`, with this process's exit, or with its death.
    """

    def __init__(
        self,
        root: str | os.PathLike[str] | None = None,
        target: str = "ntkcore.runs.stages:execute",
        max_bytes: int | None = None,
        memory_bytes: float | None = None,
    ):
        folder = Path(os.path.expanduser(root) if root is not None else default_root()).absolute()
        self._settings = {
            "root": str(folder),
            "target": target,
            "max_bytes": max_bytes,
            "parent": os.getpid(),
        }
        self._environment = worker_environment()
        self._memory = memory.setting() if memory_bytes is None else memory_bytes
        self._watch: memory.Watch | None = None  # of the process, while a job runs
        self._over: str | None = None  # why that job had to be ended
        self._changed = threading.Condition(threading.RLock())
        self._jobs: dict[str, Job] = {}
        self._queue: deque[Job] = deque()
        self._running: Job | None = None
        self._child: WorkerProcess | None = None
        self._wanted = False
        self._failed_starts = 0
        self._submitted = 0
        self._closed = False
        # Linux ends the child with the thread that started it: this one lives as long as the worker.
        self._supervisor = threading.Thread(target=self._supervise, name="ntk-worker", daemon=True)
        self._supervisor.start()
        atexit.register(self.close)

    @property
    def pid(self) -> int | None:
        """Process id of the worker process; None while there is none."""
        child = self._child
        return child.process.pid if child else None

    @property
    def allowance(self) -> float:
        """Bytes that a job submitted now may hold."""
        child = self._child
        return memory.limit(memory.held(child.process.pid) if child else 0.0, self._memory)

    @property
    def ready(self) -> bool:
        """Whether the process is warm: a job submitted now to an idle worker starts at once."""
        child = self._child
        return child is not None and child.ready

    def warm(self) -> None:
        """Start the process, unless there is one: a job may come."""
        with self._changed:
            self._wanted = True
            self._changed.notify_all()

    def submit(self, key: str, request: Mapping[str, Any]) -> Job:
        """Queue ``request`` (JSON), or give back the job of the same ``key`` that is queued or running.

        Submitting the key of a finished job is the way to run it again. Raises WorkerError when closed.
        """
        try:
            request = json.loads(json.dumps(dict(request)))
        except (TypeError, ValueError) as error:
            raise WorkerError(
                f"The request of {key!r} is not JSON: {error}. Use text, numbers, lists, dicts."
            ) from error
        with self._changed:
            if self._closed:
                raise WorkerError("The worker is closed and takes no more runs. Restart the app.")
            known = self._jobs.pop(key, None)
            if known is not None and not known.finished and not known.cancelling:
                self._jobs[key] = known
                return known
            self._submitted += 1
            job = self._jobs[key] = Job(self, key, request, self._submitted)
            self._queue.append(job)
            self._forget()
            self._wanted = True
            self._failed_starts = 0
            self._dispatch()
            self._changed.notify_all()
            return job

    def job(self, key: str) -> Job | None:
        """The latest job of ``key``, whatever its state; None when there is none (or long finished)."""
        with self._changed:
            return self._jobs.get(key)

    def jobs(self) -> list[Job]:
        """The jobs that are queued or running and the last finished ones, in the order of submission."""
        with self._changed:
            return sorted(self._jobs.values(), key=lambda job: job.number)

    def cancel(self, job: Job) -> None:
        """Stop ``job``, for all its viewers; nothing happens when it is finished."""
        with self._changed:
            if job in self._queue:
                self._queue.remove(job)
                self._finish(job, "cancelled")
            elif job is self._running and not job.cancelling:
                job.cancelling = True
                child = self._child
                if child is not None:
                    child.send({"op": "cancel", "job": job.number})
                    timer = threading.Timer(_PATIENCE, self._enforce, (job, child))
                    timer.daemon = True
                    timer.start()

    def ahead(self, job: Job) -> list[Job]:
        """The jobs that come before ``job``, the running one first; none when it is running or finished itself."""
        with self._changed:
            if job not in self._queue:
                return []
            running = [] if self._running is None else [self._running]
            return [*running, *list(self._queue)[: self._queue.index(job)]]

    def wait(self, job: Job, timeout: float | None = None) -> bool:
        """Wait until ``job`` is finished, at most ``timeout`` seconds; whether it is."""
        with self._changed:
            return self._changed.wait_for(lambda: job.finished, timeout)

    def close(self) -> None:
        """Cancel everything and end the process; no process is left when this returns."""
        with self._changed:
            if not self._closed:
                self._closed = True
                for job in [*self._queue, *([self._running] if self._running else [])]:
                    self._finish(job, "cancelled")
                self._queue.clear()
                self._running = None
            child = self._child
            self._changed.notify_all()
        atexit.unregister(self.close)
        if child is not None:
            child.stop()
        self._supervisor.join(10)

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _supervise(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._closed or self._wanted)
                if self._closed:
                    return
                try:
                    child = WorkerProcess(self._settings, self._environment)
                except OSError as error:
                    self._give_up(f"The worker process could not be started: {error}.", None)
                    continue
                self._child = child
            code = child.attend(self._receive)
            with self._changed:
                self._child = None
                if self._watch is not None:
                    self._watch.close()
                if not self._closed:
                    self._bury(child, code)
                self._changed.notify_all()

    def _receive(self, child: WorkerProcess, message: dict[str, Any]) -> None:
        """One message of the process; called in the thread that reads them."""
        with self._changed:
            if child is not self._child:
                return
            job = self._running
            if message["op"] == "ready":
                child.ready = True
                self._failed_starts = 0
                self._dispatch()
            elif message["op"] == "unfit":
                child.complaint = message["error"]
            elif job is None or message["job"] != job.number:
                return  # of a job that close() has ended
            elif message["op"] == "started":
                job.accepted = True
            elif message["op"] == "progress":
                job.report(message["done"], message["total"], message["note"], message.get("team"))
            else:
                self._running = None
                self._watched().close()
                self._finish(job, message["op"], message.get("error"), message.get("details"))
                self._dispatch()
            self._changed.notify_all()

    def _dispatch(self) -> None:
        """Hand the next queued job to the process if that is free."""
        child = self._child
        if child is None or not child.ready or self._running is not None or not self._queue:
            return
        job = self._running = self._queue.popleft()
        job.state, job.started, job.attempts = "running", time.time(), job.attempts + 1
        child.forget_output()
        most = self.allowance
        self._over = None
        self._watch = memory.Watch(child.process.pid, most, lambda: self._too_much(job, child, most))
        child.send({"op": "run", "job": job.number, "memory": most, "request": job.request})

    def _watched(self) -> memory.Watch:
        assert self._watch is not None  # it is set before a job is sent
        return self._watch

    def _too_much(self, job: Job, child: WorkerProcess, most: float) -> None:
        """End the process of a job that holds more than it may."""
        with self._changed:
            if self._running is job and self._child is child:
                self._over = memory.lack(most=most)
                child.kill()

    def _bury(self, child: WorkerProcess, code: int) -> None:
        """Settle the affairs of a dead process and decide whether a new one is started now."""
        job, self._running = self._running, None
        if job is not None:
            if job.cancelling:
                self._finish(job, "cancelled")
            elif not job.accepted and job.attempts == 1:  # it died idle, before it saw the job
                job.state, job.started = "queued", None
                self._queue.appendleft(job)
            else:
                last = child.output()
                lacking = self._over or (memory.lack(most=self._watched().most) if memory.is_lack(last) else None)
                self._finish(job, "failed", lacking or f"{death(code)} {_ADVICE}", last)
        elif not child.ready:
            self._failed_starts += 1
            if self._failed_starts >= _STARTS:
                self._give_up(f"The worker process could not be started. {child.last_words()}", child.output())
            return
        self._wanted = bool(self._queue) or job is not None or time.monotonic() - child.born > _SHORT_LIFE

    def _give_up(self, error: str, details: str | None) -> None:
        """No process can be had: fail what is queued and wait for the next submit."""
        self._wanted = False
        while self._queue:
            self._finish(self._queue.popleft(), "failed", error, details)

    def _enforce(self, job: Job, child: WorkerProcess) -> None:
        """End the process of a cancelled job that has not answered."""
        with self._changed:
            if self._running is job and self._child is child:
                child.kill()

    def _finish(self, job: Job, state: State, error: str | None = None, details: str | None = None) -> None:
        job.error, job.details, job.ended = error, details, time.time()
        if state == "done":
            job.done = job.total
        job.state = state
        self._changed.notify_all()

    def _forget(self) -> None:
        finished = [key for key, job in self._jobs.items() if job.finished]
        for key in finished[: max(0, len(finished) - _HISTORY)]:
            del self._jobs[key]
