"""A kernel larger than the memory it is allowed: written to a file by a process that is killed on the way, and another.

::

    stream(20_000)               # says in words how long both took, and the most memory that the second one held
"""

import math
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import torch

import ntkcore as ntk
from bench.measure import forget_peak, memory, timed

MEMORY = 512e6
SHAPE = (3, 32, 32)


def stream(n: int) -> str:
    """FC(1) of n images of noise; the first process is killed half-way."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "kernel.npy"
        command = [sys.executable, "-m", "bench.stream", str(path), str(n)]
        took, killed = timed(lambda: subprocess.run([*command, "0.5"], check=False, capture_output=True, text=True))
        if killed.returncode != -signal.SIGKILL:
            raise RuntimeError(
                f"the first process was to be killed, and ended with {killed.returncode}: {killed.stderr}"
            )
        rest, went_on = timed(lambda: subprocess.run(command, check=True, capture_output=True, text=True))
        begun, peak = map(float, went_on.stdout.split())
        size = path.stat().st_size / 1e9
    return (
        f"FC(1) of {n:,} images of {'x'.join(map(str, SHAPE))} to a file of {size:.1f} GB: killed after {took:.0f} s, "
        f"gone on with from {begun:.0%} and complete after {rest:.0f} s more, starts included; at most {peak:.0f} MB "
        f"beside the images and the libraries ({MEMORY / 1e6:.0f} MB are asked for)"
    )


def part(path: str, n: int, kill_at: float) -> None:
    """What the processes do: print the share that was there already, and the peak of memory in MB."""
    x = torch.rand(n, *SHAPE, generator=torch.Generator().manual_seed(0))
    kernel, shares = ntk.kernel_fn(ntk.fc(1)), []
    kernel(x[:64])
    forget_peak()
    before = memory()

    def report(done: float, total: float, note: str) -> None:
        shares.append(done / total)
        if done >= kill_at * total:
            os.kill(os.getpid(), signal.SIGKILL)

    ntk.kernel_to_file(kernel, x, path, memory=MEMORY, progress=report)
    print(shares[0], memory("VmHWM") - before)


if __name__ == "__main__":
    part(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]) if len(sys.argv) > 3 else math.inf)
