"""The app's end of the worker process: its pipes, the tail of what it prints, its end and the reason for it.

The process leads a session and a process group of its own: Ctrl-C in the terminal does not reach it, and
ending the group ends whatever it has started as well::

    process = WorkerProcess(settings, worker_environment())
    code = process.attend(receive)          # receive(process, message) for each message, until it ends
    death(code)                             # "The worker process crashed (SIGSEGV) ..."
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from ntkcore.errors import WorkerError

_OUTPUT = 16_384  # bytes of its stderr kept for a crash report


class WorkerProcess:
    """The running process: its pipes, the tail of what it printed, its end.

    The pipes are without buffers: what is written to one may be taken in parts.
    """

    def __init__(self, settings: Mapping[str, Any], environment: Mapping[str, str]):
        self.ready = False
        self.complaint = ""  # why it cannot work, in its own words
        self.born = time.monotonic()
        self._tail = b""
        self._guard = threading.Lock()
        self._dead = threading.Event()
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "ntkcore.runs.worker.child", json.dumps(settings)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            env=environment,
            start_new_session=True,  # Ctrl-C in the terminal is for the app, which then closes the worker
        )
        pipes = [pipe for pipe in (self.process.stdin, self.process.stdout, self.process.stderr) if pipe is not None]
        self._stdin, self._stdout, self._stderr = pipes

    def attend(self, receive: Callable[[WorkerProcess, dict[str, Any]], None]) -> int:
        """Pass on its messages until it has ended; its return code (minus the signal that killed it)."""
        readers = [
            threading.Thread(target=self._read_messages, args=(receive,), daemon=True),
            threading.Thread(target=self._read_output, daemon=True),
        ]
        for reader in readers:
            reader.start()
        if hasattr(os, "waitid"):  # the group is ended before its leader is reaped: its number is still ours
            with suppress(ChildProcessError):
                os.waitid(os.P_PID, self.process.pid, os.WEXITED | os.WNOWAIT)
            self.kill()
        else:
            self.process.wait()
        with self._guard:
            code = self.process.wait()
            self._dead.set()
        for reader in readers:
            reader.join(2)
        with self._guard:
            self._stdin.close()
        return code

    def send(self, message: Mapping[str, Any]) -> None:
        """Send one message; if the process is dead or dying its end will be noticed elsewhere."""
        data = memoryview(json.dumps(message).encode() + b"\n")
        try:
            while data:
                data = data[self._stdin.write(data) :]
        except (OSError, ValueError):
            return

    def kill(self) -> None:
        """End it and what it has started, at once."""
        with self._guard:
            if self._dead.is_set():
                return
            try:
                if os.name == "posix":
                    os.killpg(self.process.pid, signal.SIGKILL)
                else:
                    self.process.kill()
            except (ProcessLookupError, PermissionError):
                return

    def stop(self) -> None:
        """End it: the end of its input first, the signal if that is not enough."""
        with self._guard:
            self._stdin.close()
        if not self._dead.wait(0.5):
            self.kill()

    def output(self) -> str:
        """The last of what it printed since :meth:`forget_output`."""
        return self._tail.decode(errors="replace").strip()

    def last_words(self) -> str:
        """Why it ended before it was ready: its complaint, else the last line of its output."""
        return self.complaint or self.output().rpartition("\n")[2].strip() or "It left no message."

    def forget_output(self) -> None:
        self._tail = b""

    def _read_messages(self, receive: Callable[[WorkerProcess, dict[str, Any]], None]) -> None:
        with open(self._stdout.fileno(), "rb", closefd=False) as messages, self._stdout:
            for line in messages:
                if line.endswith(b"\n"):  # else it died in the middle of it
                    receive(self, json.loads(line))

    def _read_output(self) -> None:
        with self._stderr as output:
            while chunk := output.read(65536):
                self._tail = (self._tail + chunk)[-_OUTPUT:]


def death(code: int) -> str:
    """How a process with this return code ended, in a sentence."""
    if code >= 0:
        return f"The worker process ended by itself (exit code {code}) before the run was finished."
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    if name == "SIGKILL":
        return "The worker process was killed (SIGKILL), most probably because the machine ran out of memory."
    return f"The worker process crashed ({name}) before the run was finished."


def worker_environment() -> dict[str, str]:
    """The process's environment: this one's, with this copy of the library first on its path."""
    environment = dict(os.environ)
    library = str(Path(__file__).resolve().parents[3])
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, [library, environment.get("PYTHONPATH")]))
    if threads := environment.get("NTK_THREADS"):
        if not threads.isdigit() or int(threads) < 1:
            raise WorkerError(f"NTK_THREADS is {threads!r}; a whole number above 0 is needed, such as 4.")
        environment |= dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), threads)
    return environment
