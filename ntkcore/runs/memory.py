"""How much memory a run may take, and what happens at that limit.

A run that asks for more than it may have must not take the machine down. Two lines hold it: the kernel refuses
allocations above the limit (``within``: RLIMIT_DATA, so that numpy, torch and numba raise what ``is_lack`` knows), and
someone looks at what a process holds and ends it (``Watch``), where the first line is not to be had: on other systems
than Linux, and beside a GPU, whose driver reserves far more addresses than memory::

    most = memory.limit(memory.held())        # bytes: NTK_MEMORY_GB, or four fifths of what is free and already held
    with memory.within(most): ...             # this process meanwhile
    memory.lack()                             # "There is not enough memory for this run: it may take 12.0 GB ..."

Memory is counted without pages of files, which the system takes back when it needs them.
"""

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path

from ntkcore.errors import SpecError

SETTING = "NTK_MEMORY_GB"
SHARE = 0.8  # of what is free, when nothing is set
LEAST_GB = 0.5  # the libraries alone take 0.3
SLACK = 1.05  # above the limit a process is ended: the kernel's refusal, where there is one, comes first
STACKS = 10e6  # bytes of addresses for each core: stacks and pools of threads, reserved and hardly used
PERIOD = 0.1 if sys.platform == "linux" else 1.0  # seconds between two looks at a process
ADVICE = "Choose fewer images, smaller images or a smaller architecture and run it again."
DEVICES = Path("/dev")
DRIVERS = ("nvidia*", "kfd", "dxg")  # there: of NVIDIA, AMD, and of either under Windows
GPUS = ("cuda", "cublas", "cudnn", "cusolver", "hip out of memory")  # whose memory is not limited here
_most: float | None = None  # that this process may hold at present


def setting() -> float | None:
    """NTK_MEMORY_GB in bytes; None when it is not set. Raises SpecError in words for what is no amount of memory."""
    text = os.environ.get(SETTING, "").strip()
    if not text:
        return None
    try:
        size = float(text)
    except ValueError:
        size = float("nan")
    most = total() / 1e9
    if not LEAST_GB <= size <= most:  # also what is not a number
        here = "" if most == float("inf") else f" and at most the {most:.1f} that there are here"
        raise SpecError(
            f"{SETTING} is {text[:40]!r}; a number of gigabytes is needed, at least {LEAST_GB}{here}. "
            "Leave it out for most of what is free."
        )
    return 1e9 * size


def limit(held: float, chosen: float | None = None) -> float:
    """Bytes that a process may hold in its next run, when it holds ``held`` now; chosen: what was set, if anything."""
    return SHARE * (available() + held) if chosen is None else chosen


def total() -> float:
    """Bytes of this machine, or of the control group that this process is in; infinite where unknown."""
    return min(_meminfo("MemTotal") or _pages("SC_PHYS_PAGES"), *(most for most, _ in _groups()), float("inf"))


def available() -> float:
    """Bytes that can be taken now without anything being swapped out; infinite where unknown."""
    free = _meminfo("MemAvailable") or min(_pages("SC_AVPHYS_PAGES"), total() / 2)
    return max(0.0, min(free, *(most - used for most, used in _groups()), float("inf")))


def held(pid: int | str = "self") -> float:
    """Bytes that a process holds; 0 where it is gone or cannot be seen."""
    if sys.platform == "linux":
        return sum(_status(pid, "RssAnon", "RssShmem"))
    with suppress(OSError, ValueError, subprocess.SubprocessError):
        number = str(os.getpid() if pid == "self" else pid)
        return 1024.0 * int(subprocess.run(["ps", "-o", "rss=", "-p", number], capture_output=True, timeout=5).stdout)
    return 0.0


@contextmanager
def within(most: float) -> Iterator[None]:
    """Have this process refused what it asks for beyond ``most`` bytes, where the system can do that."""
    global _most
    before, _most = _most, most
    with _refused(most) if _can_refuse() and most < float("inf") else nullcontext():
        try:
            yield
        finally:
            _most = before


def _can_refuse() -> bool:
    return sys.platform == "linux" and not any(any(DEVICES.glob(name)) for name in DRIVERS)


@contextmanager
def _refused(most: float) -> Iterator[None]:
    import resource

    data, resident = _status("self", "VmData", "RssAnon")
    reserved = max(0.0, data - resident) + STACKS * (os.cpu_count() or 1)
    before, hard = resource.getrlimit(resource.RLIMIT_DATA)
    soft = int(most + reserved)
    resource.setrlimit(resource.RLIMIT_DATA, (soft if hard == resource.RLIM_INFINITY else min(soft, hard), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (before, hard))


class Watch:
    """Looks at a process until it is closed; calls ``over`` once, in a thread, when it holds too much."""

    def __init__(self, pid: int | str, most: float, over: Callable[[], None]):
        self.most = most
        self._pid, self._over = pid, over
        self._closed = threading.Event()
        threading.Thread(target=self._look, name="ntk-memory", daemon=True).start()

    def close(self) -> None:
        self._closed.set()

    def _look(self) -> None:
        while not self._closed.wait(PERIOD):
            if held(self._pid) > SLACK * self.most:
                self._over()
                return


def is_lack(error: BaseException | str) -> bool:
    """Whether this error, of numpy, numba, torch or the system, or a dying process's last output, says that memory is
    lacking."""
    text = str(error).lower()
    signs = ("out of memory", "not enough memory", "allocate memory", "bad_alloc", "alloc_failed")
    return isinstance(error, MemoryError) or any(sign in text for sign in signs)


def lack(what: str = "this run", most: float | None = None, error: BaseException | None = None) -> str:
    """A sentence for whoever asked for too much.

    most: the limit in bytes, by default this process's; error: what was raised, if anything.
    """
    if any(sign in str(error).lower() for sign in GPUS):
        return f"The GPU has not enough memory for {what}. {ADVICE} Or choose cpu as the device."
    most = _most if most is None else most
    limit = "" if most is None or most == float("inf") else f": {may_take(most)}"
    return f"There is not enough memory for {what}{limit}. {ADVICE}"


def may_take(most: float) -> str:
    """The limit in words."""
    chosen = os.environ.get(SETTING, "").strip()
    why = f"as {SETTING} says" if chosen else f"most of what is free here; {SETTING} sets another limit"
    return f"it may take {most / 1e9:.1f} GB ({why})"


# -- what the system says ------------------------------------------------------------------------------------------


def _status(pid: int | str, *fields: str) -> list[float]:
    """Lines of /proc/PID/status in bytes, 0 for those that are not there."""
    found = dict.fromkeys(fields, 0.0)
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            name, _, value = line.partition(":")
            if name in found:
                found[name] = 1024.0 * int(value.split()[0])
    return list(found.values())


def _meminfo(field: str) -> float | None:
    with suppress(OSError):
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith(f"{field}:"):
                return 1024.0 * int(line.split()[1])
    return None


def _pages(name: str) -> float:
    try:
        return float(os.sysconf(name)) * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # not on this system
        return float("inf")


def _groups(
    root: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")
) -> Iterator[tuple[float, float]]:
    """(limit, use) in bytes of the control groups that this process is in, of both versions."""
    with suppress(OSError):
        for line in own.read_text().splitlines():
            _, controllers, place = line.split(":", 2)
            if controllers == "":
                top, files, cache = root, ("memory.max", "memory.current"), "inactive_file"
            elif "memory" in controllers.split(","):
                top, files, cache = (
                    root / "memory",
                    ("memory.limit_in_bytes", "memory.usage_in_bytes"),
                    "total_inactive_file",
                )
            else:
                continue
            group = top / place.strip("/")
            for folder in (group, *group.parents):  # the tightest of them counts
                if folder == top.parent:
                    break
                with suppress(OSError, ValueError):
                    most, used = (float((folder / name).read_text()) for name in files)
                    lines = (folder / "memory.stat").read_text().splitlines()
                    reclaimable = sum(float(line.split()[1]) for line in lines if line.startswith(f"{cache} "))
                    yield most, used - reclaimable
