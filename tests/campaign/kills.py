"""Runs killed at random moments: what comes after them is what an undisturbed run gives, bit by bit, without litter."""

import random
import time
from pathlib import Path

from tests.campaign.runs import flaws, results, start, written

LIMIT = 120.0  # seconds a small run may take


def drill(count: int, seed: int, folder: Path) -> list[str]:
    """Kill ``count`` runs of the command line; a killed run is begun again on the same cache until it finishes."""
    draw, failures = random.Random(seed), []
    runs = written(folder / "descriptions")
    undisturbed, seconds = {}, {}
    for command, arguments in runs.items():
        for attempt in ("first", "warm"):  # the first one compiles
            cache = folder / f"undisturbed-{command}-{attempt}"
            seconds[command] = _run(["--cache", str(cache), *arguments], folder / "log", None)[1]
        undisturbed[command] = results(cache)
        failures += flaws(cache)
    killed = begun = 0
    while killed < count or begun:
        if not begun:
            command = draw.choice(list(runs))
            cache = folder / f"killed-{killed}-{command}"
        begun += 1
        moment = draw.uniform(0, seconds[command]) if killed < count else None
        status, _, log = _run(["--cache", str(cache), *runs[command]], folder / "log", moment)
        where = f"{command}, after {killed} kills in all, seed {seed}"
        if "Traceback" in log or status not in (0, -9):
            failures.append(f"{where}: ended with {status}: {log.strip()[-500:]}")
        failures += [f"{where}: {flaw}" for flaw in flaws(cache)]
        if status == -9:
            killed += 1
            continue
        begun = 0
        if results(cache) != undisturbed[command]:
            failures.append(f"{where}: the results are not those of an undisturbed run.")
    return failures


def _run(arguments: list[str], log: Path, moment: float | None) -> tuple[int | None, float, str]:
    """Run a command, killed after ``moment`` seconds; exit status (-9: killed), seconds, what it said."""
    begun = time.monotonic()
    log.write_text("")
    process = start(arguments, log)
    process.join(LIMIT if moment is None else moment)
    if process.exitcode is None:
        process.kill()
    process.join()
    return process.exitcode, time.monotonic() - begun, log.read_text()
