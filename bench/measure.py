"""Measuring: one call's seconds, medians with their range, and the machine they were taken on.

::

    seconds, value = timed(lambda: kernel(x))
    print(Seconds([seconds]))                    # 0.123 s (0.123 to 0.123)
"""

import os
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TypeVar

import torch

Value = TypeVar("Value")


def timed(work: Callable[[], Value]) -> tuple[float, Value]:
    """Seconds of wall time of one call, and what it returned; a GPU's work is waited for."""
    _wait()
    start = time.perf_counter()
    value = work()
    _wait()
    return time.perf_counter() - start, value


def _wait() -> None:
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()


@dataclass(frozen=True)
class Seconds:
    """Several measurements of the same work, in seconds."""

    rounds: Sequence[float]

    @property
    def median(self) -> float:
        return median(self.rounds)

    def __str__(self) -> str:
        return f"{self.median:8.3f} s  ({min(self.rounds):.3f} to {max(self.rounds):.3f})"


def memory(field: str = "VmRSS") -> float:
    """Megabytes that this process holds, or held at most (VmHWM); Linux."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1e3 for line in lines if line.startswith(field + ":"))


def forget_peak() -> None:
    """VmHWM counts from now on. Raises OSError where the system does not let it."""
    Path("/proc/self/clear_refs").write_text("5")


def section(path: Path, title: str) -> list[str]:
    """Of a document in Markdown, the lines from a heading of the second level to the next one, or to the end."""
    lines = path.read_text().splitlines() if path.exists() else []
    if f"## {title}" not in lines:
        return []
    start = lines.index(f"## {title}")
    rest = [i for i, line in enumerate(lines) if i > start and line.startswith("## ")]
    return [*lines[start : rest[0] if rest else len(lines)], *([] if rest else [""])]


def put_section(path: Path, title: str, text: list[str]) -> None:
    """In place of the one that is there, or at the end."""
    old, new = section(path, title), [f"## {title}", "", *text, ""]
    whole = path.read_text() if path.exists() else ""
    whole = whole.replace("\n".join(old), "\n".join(new)) if old else f"{whole.rstrip()}\n\n" + "\n".join(new)
    path.write_text(whole)


def machine(device: str = "cpu") -> str:
    """Processor, cores, threads, load before the start, versions: what the numbers belong to."""
    where = torch.cuda.get_device_name() if device == "cuda" else "the CPU"
    load = f"{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "unknown"
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return (
        f"{_processor()}, {usable} cores, {torch.get_num_threads()} threads, load {load} before the start; "
        f"{platform.system()}, Python {platform.python_version()}, torch {torch.__version__}, on {where}"
    )


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
