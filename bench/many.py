"""A kernel by many processes: Dask on this machine beside threads, and what it costs when a worker or we are killed.

::

    python -m bench many          # needs the package distributed

First how long a large kernel takes on more cores, from the rate here. Then every way computes one kernel, Myrtle-5 of N
images of noise, into a file, with as many threads in all. CPU seconds are those of all processes together; wall times
say little on a machine that does something else, too.
"""

import argparse
import hashlib
import json
import math
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median

import torch

import ntkcore as ntk
from bench.measure import timed
from ntkcore.kernels.blocks import PAIRS
from ntkcore.runs.consent import duration

N, SHAPE = 512, (3, 16, 16)
ALONE = "one thread"  # as a worker has it: two threads use more, as they wait for each other
SWITCH, NET = "ntkbench", "10.213.77"
H200 = 19e-6  # seconds per entry, docs/performance.md
IDLE = 15  # seconds
QUIET = {  # of Dask, as docs/many-machines.md sets it: how often its processes look at themselves
    "DASK_DISTRIBUTED__WORKER__PROFILE__ENABLED": "False",
    "DASK_DISTRIBUTED__WORKER__MEMORY__MONITOR_INTERVAL": "1s",
    "DASK_DISTRIBUTED__ADMIN__TICK__INTERVAL": "1s",
    "DASK_DISTRIBUTED__ADMIN__SYSTEM_MONITOR__INTERVAL": "10s",
}
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Cluster:
    """A scheduler and workers, each a process."""

    scheduler: subprocess.Popen
    workers: list[subprocess.Popen]
    address: str

    def seconds(self) -> float:
        """Of the processor, so far."""
        return sum(cpu(process.pid) for process in (self.scheduler, *self.workers))


def cpu(pid: int) -> float:
    """Seconds of the processor that a process has had."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


@contextmanager
def cluster(
    workers: int,
    threads: int,
    host: str = "127.0.0.1",
    machines: Sequence[str] = (),
    settings: Mapping[str, str] = QUIET,
) -> Iterator[Cluster]:
    """A scheduler of its own on this machine, with so many workers of so many threads each; machines: namespaces of the
    network that they live in; settings: environment variables."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        file = Path(folder) / "scheduler.json"
        environment = os.environ | {"OMP_NUM_THREADS": str(threads)} | dict(settings)

        def started(command: str, *options: str, machine: str = "") -> subprocess.Popen:
            where = ["ip", "netns", "exec", machine] if machine else []
            call = [sys.executable, "-m", f"distributed.cli.dask_{command}", "--scheduler-file", str(file), *options]
            process = subprocess.Popen([*where, *call], env=environment, stderr=subprocess.DEVNULL)
            stack.callback(process.wait)
            stack.callback(process.kill)
            return process

        scheduler = started("scheduler", "--host", host, "--port", "0", "--no-dashboard")
        while not file.exists() or not file.read_text().endswith("}"):
            time.sleep(0.1)
        options = ("--nthreads", "1", "--no-nanny", "--no-dashboard", "--local-directory", folder)
        found = [started("worker", *options, machine=name) for name in machines or [""] * workers]
        yield Cluster(scheduler, found, json.loads(file.read_text())["address"])


@contextmanager
def machines(count: int) -> Iterator[tuple[str, list[str]]]:
    """Namespaces of the network as if they were machines on one switch: the switch's address, and their names."""

    def ip(command: str) -> None:
        subprocess.run(["ip", *command.split()], check=True, capture_output=True)

    with ExitStack() as stack:
        ip(f"link add {SWITCH} type bridge")
        stack.callback(ip, f"link del {SWITCH}")
        ip(f"addr add {NET}.254/24 dev {SWITCH}")
        ip(f"link set {SWITCH} up")
        names = [f"{SWITCH}{i}" for i in range(count)]
        for i, name in enumerate(names):
            ip(f"netns add {name}")
            stack.callback(ip, f"netns del {name}")  # its end of the cable goes with it, and so does ours
            ip(f"link add {name}v type veth peer name eth0 netns {name}")
            ip(f"link set {name}v master {SWITCH} up")
            ip(f"-n {name} addr add {NET}.{i + 1}/24 dev eth0")
            ip(f"-n {name} link set eth0 up")
            ip(f"-n {name} link set lo up")
        yield f"{NET}.254", names


def kernel(
    path: Path, n: int, address: str | None, progress: Callable[[float, float, str], None] | None = None
) -> None:
    """The kernel of n images into a file, by the workers of a scheduler or by this process."""
    x = torch.rand(n, *SHAPE, generator=torch.Generator().manual_seed(0))
    with ExitStack() as stack:
        executor = None
        if address is not None:
            from ntkcore.runs.scheduler import workers

            executor = stack.enter_context(workers(address))
        ntk.kernel_to_file(ntk.kernel_fn(ntk.myrtle(5)), x, path, progress=progress, tell=print, executor=executor)


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


def reach(rounds: int) -> None:
    """Myrtle-5 at 32x32 of 10,000 and 50,000 images on some machines, from seconds per entry of a small kernel."""
    x = torch.rand(20, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    k, cores = ntk.kernel_fn(ntk.myrtle(5)), torch.get_num_threads()
    k(x[:4])
    here = median(timed(lambda: k(x))[0] for _ in range(rounds)) / len(x) ** 2
    machines = {
        f"{cores} cores, measured: {1e6 * here:.0f} us per entry": here,
        f"16 cores, {16 / cores:g} times as fast": here * cores / 16,
        "ten machines of 16 cores": here * cores / 160,
        f"an H200, measured once: {1e6 * H200:.0f} us per entry": H200,
    }
    print("  | Myrtle-5, 32x32 | 10,000 images | 50,000 images |\n  |---|---|---|")
    for name, rate in machines.items():
        print(f"  | {name} | {duration(1e8 * rate)} | {duration(25e8 * rate)} |")


def main(options: argparse.Namespace) -> None:
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    reach(options.rounds)
    try:
        import distributed
    except ModuleNotFoundError:
        print("  distributed is not installed: pip install distributed")
        return
    cores = torch.get_num_threads()
    print(
        f"  Myrtle-5, {N} images of {'x'.join(map(str, SHAPE))}; {cores} threads; distributed {distributed.__version__}"
    )
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        one, several = (stack.enter_context(cluster(*shape)) for shape in ((1, cores), (cores, 1)))
        ways = {
            "threads": None,
            ALONE: None,
            f"Dask, 1 worker of {cores} threads": one,
            f"Dask, {cores} workers of 1 thread": several,
            "the same, as Dask comes": stack.enter_context(cluster(cores, 1, settings={})),
        }
        wall: dict[str, list[float]] = {name: [] for name in ways}
        used: dict[str, list[float]] = {name: [] for name in ways}
        idle = dict.fromkeys(ways, 0.0)  # seconds of the processor a second, when there is nothing to do
        files = set()
        for turn in range(options.rounds + 1):
            for name, where in ways.items():
                path, n = Path(folder) / f"{turn}.npy", N if turn else 64 * cores + 64  # at first loops are compiled
                torch.set_num_threads(1 if name == ALONE else cores)
                before = time.process_time() + (where.seconds() if where else 0)
                took, _ = timed(partial(kernel, path, n, where.address if where else None))
                if turn:
                    wall[name].append(took)
                    used[name].append(time.process_time() + (where.seconds() if where else 0) - before)
                    files.add(digest(path))
                path.unlink()
                if where and not turn:
                    before = where.seconds()
                    time.sleep(IDLE)
                    idle[name] = (where.seconds() - before) / IDLE
        print(
            f"\n  | {'':<28} | CPU seconds | wall seconds | more CPU than {ALONE} | without idling |\n  |{'---|' * 5}"
        )
        for name in ways:
            more = [median(u / t for u, t in zip(used[name], used[ALONE], strict=True)) - 1]
            busy = [u - idle[name] * w for u, w in zip(used[name], wall[name], strict=True)]
            more.append(median(u / t for u, t in zip(busy, used[ALONE], strict=True)) - 1)
            numbers = f"{median(used[name]):.1f} | {median(wall[name]):.1f} | {more[0]:+.1%} | {more[1]:+.1%}"
            print(f"  | {name:<28} | {numbers} |")
        print("\n  idle: " + ", ".join(f"{name} {rate:.1%} of a core" for name, rate in idle.items() if rate))
        print(f"\n  one file: {len(files) == 1}, sha256 {' '.join(files)}...", flush=True)
        path = Path(folder) / "k.npy"
        print(f"  {worker_killed(several, path)}; the same file: {digest(path) in files}", flush=True)
        path.unlink()
    with tempfile.TemporaryDirectory() as folder, cluster(cores, 1) as several:
        path = Path(folder) / "k.npy"
        print(f"  {coordinator_killed(several, path)}; the same file: {digest(path) in files}", flush=True)
    try:
        with tempfile.TemporaryDirectory() as folder, machines(4) as (host, names), cluster(4, 1, host, names) as four:
            path = Path(folder) / "k.npy"
            took, _ = timed(partial(kernel, path, N, four.address))
            print(f"  4 workers in namespaces of the network: {took:.0f} s; the same file: {digest(path) in files}")
    except (OSError, subprocess.CalledProcessError) as error:
        print(f"  no namespaces of the network here: {error}")


def worker_killed(where: Cluster, path: Path) -> str:
    """One of the workers is killed half-way."""

    def kill(done: float, total: float, note: str) -> None:
        if done >= total / 2 and where.workers[0].poll() is None:
            where.workers[0].send_signal(signal.SIGKILL)
            where.workers[0].wait()

    took, _ = timed(lambda: kernel(path, N, where.address, kill))
    return f"a worker of {len(where.workers)} killed half-way: complete after {took:.0f} s"


def coordinator_killed(where: Cluster, path: Path) -> str:
    """Who writes is killed half-way, and another goes on."""
    command = [sys.executable, "-m", "bench.many", str(path), where.address]
    killed = subprocess.run([*command, "0.5"], check=False)
    if killed.returncode != -signal.SIGKILL:
        raise RuntimeError(f"the first process was to be killed, and ended with {killed.returncode}")
    took, rest = timed(lambda: subprocess.run(command, check=True, capture_output=True, text=True))
    return (
        f"the coordinator killed half-way: gone on with from {float(rest.stdout):.0%}, complete after {took:.0f} s more"
    )


def part(path: str, address: str, kill_at: float) -> None:
    """What a coordinator of its own does: print the share that was there already."""
    shares = []

    def report(done: float, total: float, note: str) -> None:
        if note == PAIRS:
            shares.append(done / total)
        if done >= kill_at * total:
            os.kill(os.getpid(), signal.SIGKILL)

    kernel(Path(path), N, address, report)
    print(shares[0])


if __name__ == "__main__":
    part(sys.argv[1], sys.argv[2], float(sys.argv[3]) if len(sys.argv) > 3 else math.inf)
