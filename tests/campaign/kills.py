"""Killed at random moments: commands, the worker and a busy writer. What comes after a kill is what an undisturbed run
gives, bit by bit, and nothing is left behind."""

import os
import random
import signal
import time
from pathlib import Path

import numpy as np

from ntkcore.runs import specs, stages
from ntkcore.runs.store import Store
from ntkcore.runs.worker import Worker
from tests.campaign.runs import DESCRIPTIONS, LIMIT, command_line, flaws, results, start, undisturbed, written
from tests.runs.worker_targets import save_many

FEW = 10  # kills: they meet one command alone, to be soon done
OF_A_WORKER = 10  # every so many kills meet the worker, whose next process takes seconds to start
A_WRITER = 0.08  # seconds that a writer lives at most, after its start


def drill(count: int, seed: int, folder: Path) -> list[str]:
    """Kill ``count`` times: commands and writers in turn, now and then the worker."""
    draw = random.Random(seed)
    workers = count // OF_A_WORKER
    writers = (count - workers) // 2
    return [
        *_commands(count - workers - writers, draw, folder),
        *_writers(writers, draw, folder),
        *(_workers(workers, draw, folder) if workers else []),
    ]


def _commands(count: int, draw: random.Random, folder: Path) -> list[str]:
    """A command is begun again on the same cache after each kill, until one finishes before its moment comes."""
    runs, expected, seconds = written(folder / "descriptions"), {}, {}
    failures, killed, command = [], 0, ""
    while killed < count or command:
        if not command:
            command = draw.choice(list(runs) if count > FEW else ["run"])
            cache = folder / f"{command}-{killed}"
            if command not in expected:
                whole = folder / f"undisturbed-{command}"
                seconds[command] = undisturbed(runs[command], whole, folder / "log")
                expected[command] = results(whole)
        begun = time.monotonic()
        process = start(command_line, ["--cache", str(cache), *runs[command]], folder / "log")
        process.join(draw.uniform(0, seconds[command]) if killed < count else LIMIT)
        process.kill()
        process.join()
        said, where = (folder / "log").read_text(), f"{command}, kill {killed}"
        if "Traceback" in said or process.exitcode not in (0, -signal.SIGKILL):
            failures.append(f"{where}: ended with {process.exitcode}: {said.strip()[-500:]}")
        failures += [f"{where}: {flaw}" for flaw in flaws(cache)]
        if process.exitcode == -signal.SIGKILL:
            killed += 1
            continue
        seconds[command] = min(seconds[command], time.monotonic() - begun)  # the first one has compiled
        if results(cache) != expected[command]:
            failures.append(f"{where}: the results are not those of an undisturbed run.")
        command = ""
    return failures


def _write(root: str, word: str) -> None:
    save_many({"key": word}, Store(root), lambda *report: print("writing", flush=True))


def _writers(count: int, draw: random.Random, folder: Path) -> list[str]:
    """A process that does nothing but write and delete: most kills meet it in the middle of that."""
    failures, root = [], folder / "written"
    for i in range(count):
        process = start(_write, [str(root), f"round-{i}"], folder / "log")
        until = time.monotonic() + LIMIT
        while not (folder / "log").stat().st_size and time.monotonic() < until:
            time.sleep(0.002)
        time.sleep(draw.uniform(0, A_WRITER))
        process.kill()
        process.join()
        said = (folder / "log").read_text()
        if "Traceback" in said or "writing" not in said:
            failures.append(f"writer {i}: {said.strip()[-500:]}")
        failures += [f"writer {i}: {flaw}" for flaw in flaws(root)]
    for entry in Store(root).entries():
        if not np.array_equal(entry.arrays["values"].numpy(), np.full((200, 200), float(entry.meta["i"]))):
            failures.append(f"{entry.path} has not the content that its meta promises.")
    return failures


def _workers(count: int, draw: random.Random, folder: Path) -> list[str]:
    """The app's worker: a job whose process is killed says so, and the next process finishes the work."""
    requests = [stages.request(spec) for spec in specs.Experiment(**DESCRIPTIONS["run"]).stages()]
    request, root, failures = stages.batch(requests, [1.0] * len(requests)), folder / "by-worker", []
    with Worker(root) as worker:
        for _ in range(2):  # the first one compiles
            Store(root).clear()
            job = worker.submit("whole", request)
            job.wait(LIMIT)
        expected, seconds = results(root), job.seconds
        for i in range(count):
            if results(root) == expected:
                Store(root).clear()
            job = worker.submit("killed", request)
            while not (job.accepted or job.finished):
                time.sleep(0.002)
            time.sleep(draw.uniform(0, seconds))
            os.kill(worker.pid, signal.SIGKILL)
            job.wait(LIMIT)
            if job.state != "done" and not (job.state == "failed" and "SIGKILL" in job.error):
                failures.append(f"worker, kill {i}: the job is {job.state}: {job.error}")
            failures += [f"worker, kill {i}: {flaw}" for flaw in flaws(root)]
        worker.submit("rest", request).wait(LIMIT)
        if results(root) != expected:
            failures.append("worker: the results are not those of an undisturbed job.")
    return failures
