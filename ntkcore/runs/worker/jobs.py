"""A job as its viewers see it, and how long it will still take.

The remaining time is estimated from the recent speed: with the share done ``f`` reported at times ``t``, the
speed is ``sum(w df) / sum(w dt)`` over the steps between reports, with weights ``w = exp(-age / 15 s)``::

    job = worker.submit(key, request)
    job.state, job.done, job.total, job.note, job.eta      # "running", 12, 40, "kernel tile 12 of 40", 7.3
    job.cancel()
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from typing import Any, Literal, Protocol

from ntkcore.runs.worker.team import Team

State = Literal["queued", "running", "done", "failed", "cancelled"]

_MEMORY = 15.0  # seconds over which the speed is averaged
_KNOWN_AFTER = 0.5  # seconds of reports needed before an estimate is given


class Eta:
    """Estimate of the remaining seconds from reports of ``done`` out of ``total``, in any unit."""

    def __init__(self, clock: Callable[[], float] = time.monotonic):
        self._clock = clock
        self._share: float | None = None
        self._time = self._gained = self._spent = self._seen = 0.0

    def update(self, done: float, total: float) -> None:
        """Take one report; the estimate starts afresh when the share done goes back (a new phase)."""
        share, now = (done / total if total > 0 else 0.0), self._clock()
        if self._share is None or share < self._share:
            self._share, self._time, self._gained, self._spent, self._seen = share, now, 0.0, 0.0, 0.0
        elif share > self._share:
            step = now - self._time
            fade = math.exp(-step / _MEMORY)
            self._gained = self._gained * fade + (share - self._share)
            self._spent = self._spent * fade + step
            self._seen += step
            self._share, self._time = share, now

    @property
    def seconds(self) -> float | None:
        """Seconds left; None while unknown, also when the next step is overdue."""
        share, gained = self._share, self._gained  # another thread may be in update()
        if share is None or self._seen < _KNOWN_AFTER or gained <= 0:
            return None
        left = (1 - share) * self._spent / gained - (self._clock() - self._time)
        return left if left >= 0 else (0.0 if share >= 1 else None)


class Owner(Protocol):
    """What a job needs of the worker that runs it."""

    def cancel(self, job: Job) -> None: ...
    def ahead(self, job: Job) -> list[Job]: ...
    def wait(self, job: Job, timeout: float | None) -> bool: ...


class Job:
    """One request on its way through the worker; read its attributes at any time, from any thread.

    ``state`` is queued, running, done, failed or cancelled; ``cancelling`` says that the last is on its way.
    ``done`` of ``total`` and ``note`` are the latest progress. ``submitted``, ``started`` and ``ended`` are
    seconds since the epoch (None until then). A failed job has ``error``, a sentence for the user, and
    ``details``, the traceback or the last output of the process. ``team`` is who computes beside the process.
    """

    def __init__(self, owner: Owner, key: str, request: Mapping[str, Any], number: int):
        self.key = key
        self.request = request
        self.number = number
        self.state: State = "queued"
        self.done = 0.0
        self.total = 0.0
        self.note = ""
        self.team: Team | None = None
        self.submitted = time.time()
        self.started: float | None = None
        self.ended: float | None = None
        self.error: str | None = None
        self.details: str | None = None
        self.cancelling = False
        self.accepted = False  # the process has said that it began
        self.attempts = 0
        self._owner = owner
        self._eta = Eta()

    @property
    def finished(self) -> bool:
        return self.state in ("done", "failed", "cancelled")

    @property
    def seconds(self) -> float:
        """Seconds it has been running, or ran; 0 while queued."""
        if self.started is None:
            return 0.0
        return (self.ended if self.ended is not None else time.time()) - self.started

    @property
    def eta(self) -> float | None:
        """Seconds left, estimated; None unless it is running and the speed is known."""
        return self._eta.seconds if self.state == "running" else None

    @property
    def ahead(self) -> list[Job]:
        """The jobs that come before this one, the running one first; none when it is running or finished itself."""
        return self._owner.ahead(self)

    def cancel(self) -> None:
        """Stop it, for all its viewers; takes effect within about a second whatever it is doing."""
        self._owner.cancel(self)

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it is finished, at most ``timeout`` seconds; whether it is."""
        return self._owner.wait(self, timeout)

    def report(self, done: float, total: float, note: str, team: Mapping[str, Any] | None = None) -> None:
        """Take one progress report (called by the worker)."""
        self.done, self.total, self.note = done, total, note
        self.team = None if team is None else Team.from_json(team)
        self._eta.update(done, total)

    def __repr__(self) -> str:
        return f"Job({self.key!r}, {self.state}, {self.done:g} of {self.total:g})"
