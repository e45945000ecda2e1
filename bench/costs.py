"""What kernels, spectra and sweeps cost as images become more or larger, or nets deeper; with fitted exponents.

Each series changes one thing; the law ``seconds = a size^b`` is fitted to its last three points, where what does not
grow counts least. From the laws follows how many images fit into 10 s, 1 min and 10 min on this machine; what lies
beyond the largest measured size is marked. The last part is a kernel larger than the memory it is
allowed: written to a file by a process that is killed on the way, and another::

    python -m bench costs                 # print
    python -m bench costs --docs docs     # and write docs/costs.md and docs/images/costs.svg, which needs Chromium
"""

import argparse
import math
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np
import torch

import ntkcore as ntk
from bench.large import TITLE as LARGE
from bench.measure import forget_peak, machine, memory, section, timed
from ntkcore.architectures import build

TIMES = {"10 s": 10.0, "1 min": 60.0, "10 min": 600.0}
STREAMED = 20_000
MEMORY = 512e6
SHAPE = (3, 32, 32)


@dataclass(frozen=True)
class Series:
    """Work of growing size: what grows, at which sizes, the work of one size, the plot it is drawn in, and the exponent
    that it must have at last."""

    name: str
    grows: str
    sizes: Sequence[int]
    make: Callable[[int], Callable[[], object]]
    group: str
    at_last: float = 2.0


@dataclass(frozen=True)
class Law:
    """Seconds at sizes, and the exponent of the power of the size that runs through the last three."""

    sizes: Sequence[int]
    seconds: Sequence[float]
    at_last: float

    @property
    def exponent(self) -> float:
        return float(np.polyfit(np.log(self.sizes[-3:]), np.log(self.seconds[-3:]), 1)[0])

    def reached(self, seconds: float) -> int:
        """The size that takes some time; beyond the measured ones by the exponent, but at_last at least."""
        if seconds <= self.seconds[-1]:
            return int(np.exp(np.interp(np.log(seconds), np.log(self.seconds), np.log(self.sizes))))
        return int(self.sizes[-1] * (seconds / self.seconds[-1]) ** (1 / max(self.exponent, self.at_last)))


def noise(n: int, shape: tuple[int, int, int] = (3, 32, 32), dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.rand(n, *shape, generator=torch.Generator().manual_seed(0)).to(dtype)


def kernel(net: ntk.Net, shape: tuple[int, int, int] = (3, 32, 32)) -> Callable[[int], Callable[[], object]]:
    def make(n: int) -> Callable[[], object]:
        x, k = noise(n, shape), ntk.kernel_fn(net)
        return lambda: k(x)

    return make


def spectrum(n: int) -> Callable[[], object]:
    points = torch.randn(n, 100, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    gram = points @ points.T / 100 + torch.eye(n, dtype=torch.float64)
    return lambda: ntk.spectrum(gram)


def sweep(n: int) -> Callable[[], object]:
    x, x_test, k = noise(n), noise(n + 100)[n:], ntk.kernel_fn(ntk.fc(1))
    y, y_test = (torch.where(torch.arange(m)[:, None] % 3 < 1, 1.0, -1.0) for m in (n, 100))
    s = ntk.spectrum(k(x.double()))
    return lambda: ntk.eigenfeatures(k, x, y, x_test, y_test, spectrum_of_train=s)


def empirical(n: int) -> Callable[[], object]:
    module = build("cnn-small", (3, 32, 32), 10).eval()
    return lambda: ntk.empirical_ntk(module, noise(n))


IMAGES = "images n"
SERIES = (
    Series("kernel FC(1), 32x32", IMAGES, (500, 1000, 2000, 4000, 8000), kernel(ntk.fc(1)), "images"),
    Series("kernel Conv(2), 32x32", IMAGES, (100, 200, 400, 800), kernel(ntk.conv(2)), "images"),
    Series("kernel Myrtle-5, 8x8", IMAGES, (100, 200, 400, 800), kernel(ntk.myrtle(5), (3, 8, 8)), "images"),
    Series("kernel Myrtle-5, 32x32", IMAGES, (12, 24, 48), kernel(ntk.myrtle(5)), "images"),
    Series("spectrum, float64", IMAGES, (500, 1000, 2000, 4000), spectrum, "images", 3.0),
    Series("sweep FC(1), 32x32, 100 test images", IMAGES, (500, 1000, 2000, 4000), sweep, "images"),
    Series("empirical kernel, small CNN, ten outputs", IMAGES, (16, 32, 64, 128), empirical, "images"),
    Series(
        "kernel Conv(2), 100 images", "side", (8, 16, 24, 32, 48), lambda s: kernel(ntk.conv(2), (3, s, s))(100), "side"
    ),
    Series(
        "kernel Myrtle-5, 12 images",
        "side",
        (8, 12, 16, 24, 32),
        lambda s: kernel(ntk.myrtle(5), (3, s, s))(12),
        "side",
    ),
    Series("kernel FC, 2000 images", "depth", (1, 2, 4, 8, 16), lambda d: kernel(ntk.fc(d))(2000), "depth"),
    Series("kernel Conv, 32x32, 200 images", "depth", (1, 2, 4, 8, 16), lambda d: kernel(ntk.conv(d))(200), "depth"),
    Series(
        "kernel Myrtle, 16x16, 50 images",
        "depth",
        (5, 7, 10),
        lambda d: kernel(ntk.myrtle(d), (3, 16, 16))(50),
        "depth",
    ),
)


def main(options: argparse.Namespace) -> None:
    """Measure and print; options: rounds, docs."""
    measured: dict[str, tuple[Series, list[float], Law]] = {}
    for series in SERIES:
        seconds = [_seconds(series.make(size), options.rounds) for size in series.sizes]
        law = Law(series.sizes, seconds, series.at_last)
        measured[series.name] = (series, seconds, law)
        points = ", ".join(f"{size}: {took:.3g} s" for size, took in zip(series.sizes, seconds, strict=True))
        print(f"  {series.name:<42} {points}; grows like {series.grows}^{law.exponent:.2f}", flush=True)
    print("\n".join(["", *table(measured)]))
    streamed = stream(STREAMED)
    print(f"\n  {streamed}", flush=True)
    if options.docs:
        _write(Path(options.docs), measured, streamed)


def _seconds(work: Callable[[], object], rounds: int) -> float:
    """Median of some calls, after one that may compile; fewer where they take long."""
    first = timed(work)[0]
    return median(timed(work)[0] for _ in range(rounds if first < 2 else 1))


def table(measured: dict[str, tuple[Series, list[float], Law]]) -> list[str]:
    """In Markdown: images that each kind of work takes in some time."""
    lines = [f"| largest n in | {' | '.join(TIMES)} |", f"|---|{'---|' * len(TIMES)}"]
    for name, (series, _, law) in measured.items():
        if series.grows == IMAGES:
            found = [law.reached(seconds) for seconds in TIMES.values()]
            cells = [f"{float(f'{n:.2g}'):,.0f}{'*' * (n > law.sizes[-1])}" for n in found]
            lines.append(f"| {name} | {' | '.join(cells)} |")
    beyond = "by the fitted exponent or the one it must have at last, whichever is larger; memory is not counted"
    return [*lines, "", f"\\* beyond the largest size measured, {beyond}."]


# -- more images than memory -------------------------------------------------------------------------------------------


def stream(n: int) -> str:
    """FC(1) of n images of noise; the first process is killed half-way."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "kernel.npy"
        command = [sys.executable, "-m", "bench.costs", str(path), str(n)]
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


def streamed_part(path: str, n: int, kill_at: float) -> None:
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


# -- the documents -----------------------------------------------------------------------------------------------------


def _write(folder: Path, measured: dict[str, tuple[Series, list[float], Law]], streamed: str) -> None:
    from bench.costs_figure import save

    (folder / "images").mkdir(parents=True, exist_ok=True)
    lines = {name: (series.group, series.sizes, seconds) for name, (series, seconds, _) in measured.items()}
    save(lines, folder / "images" / "costs.svg")
    laws = ["| | grows like | measured |", "|---|---|---|"]
    for name, (series, seconds, law) in measured.items():
        ends = f"{series.sizes[0]}: {seconds[0]:.2g} s, {series.sizes[-1]}: {seconds[-1]:.2g} s"
        laws.append(f"| {name} | {series.grows.split()[-1]}^{law.exponent:.2f} | {ends} |")
    text = [
        "# What things cost",
        "",
        f"Measured by `python -m bench costs --docs docs` on: {machine()}. Float32 unless said; medians. Exponents are "
        "fitted to the last three sizes of each series; where they lie below what the work must grow like at last (n^2 "
        "for kernels), the small sizes do not fill the machine yet, and the table below reckons with that.",
        "",
        "![Seconds along the number of images, their side and the depth of nets](images/costs.svg)",
        "",
        *laws,
        "",
        "## What this machine does in some time",
        "",
        *table(measured),
        "",
        "## More images than memory",
        "",
        f"`ntk.kernel_to_file`: {streamed}.",
        "",
    ]
    kept = section(folder / "costs.md", LARGE)
    (folder / "costs.md").write_text("\n".join([*text, *kept]))


if __name__ == "__main__":
    streamed_part(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]) if len(sys.argv) > 3 else math.inf)
