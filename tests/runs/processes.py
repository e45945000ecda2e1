"""Looking at processes from outside, for the tests of the worker and of faults."""

import os
import time
from pathlib import Path


def alive(pid):
    """Whether the process runs; one that has ended and only waits to be collected does not."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return not Path("/proc/self/stat").exists()


def until(condition, timeout, what):
    """Wait for ``condition()`` to be true; the seconds it took."""
    begun = time.monotonic()
    while not condition():
        assert time.monotonic() - begun < timeout, f"after {timeout} s still not: {what}"
        time.sleep(0.005)
    return time.monotonic() - begun
