"""Runs from a terminal: a progress bar, and a question before what takes long or much memory.

::

    with admitted(experiment.stages(), store, yes=False), Bar("kernel") as bar:
        stages.result(spec, store, bar)
"""

import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from ntkcore.errors import NTKError, reason
from ntkcore.runs import memory, specs
from ntkcore.runs.consent import Demand
from ntkcore.runs.rates import SLOW, calibrate
from ntkcore.runs.store import Store


@contextmanager
def admitted(wanted: Sequence[specs.StageSpec], store: Store, yes: bool, most: float = 0.0) -> Iterator[None]:
    """Work on ``wanted``, inside the memory that it may have.

    Raises NTKError, before anything begins, for what does not fit, and for what is long or large when nobody says yes:
    neither the option nor whoever sits at the terminal. most: bytes, where the work keeps to a bound of its own.
    """
    allowance = memory.limit(memory.held(), memory.setting())
    rates = SLOW
    demand = Demand.of(wanted, rates, store, allowance, most)
    if demand.heavy and demand.fits:  # on a slow machine; what this one is like decides
        rates = calibrate(store.root)
        demand = Demand.of(wanted, rates, store, allowance, most)
    if not demand.fits:
        raise NTKError(demand.refusal(rates, store))
    if demand.heavy:
        question = demand.question(rates, store)
        if yes:
            print(question, file=sys.stderr)
        elif not (sys.stdin.isatty() and sys.stderr.isatty()):
            raise NTKError(f"{question} It was not started: give --yes to run it.")
        elif not _says_yes(question):
            raise NTKError("It was not started.")

    def over() -> None:
        print(f"{Bar.CLEAR if sys.stderr.isatty() else ''}{memory.lack(most=allowance)}", file=sys.stderr, flush=True)
        os._exit(1)  # whatever it is in the middle of: the store bears that at any moment

    watch = memory.Watch("self", allowance, over)
    try:
        with memory.within(allowance):
            yield
    finally:
        watch.close()


def check_places(cache: str | None, data: str | None) -> None:
    """Refuse folders that cannot be any, before something is computed for them."""
    given = {"--cache": cache, "--data": data}
    given |= {name: os.environ.get(name) or None for name in ("NTK_CACHE", "NTK_DATA")}
    for name, text in given.items():
        if text is None:
            continue
        if not text.strip():
            raise NTKError(f"{name} is empty; give a folder, or leave it out.")
        try:
            os.stat(Path(text).expanduser())
        except FileNotFoundError:
            continue
        except (OSError, ValueError, RuntimeError) as error:  # too long, a NUL in it, no home of such a user
            raise NTKError(f"{name} {text} cannot be used: {reason(error)}. Give another folder.") from None


@contextmanager
def data_folder(folder: str | None) -> Iterator[None]:
    """What asks for data without naming a folder, as the estimate of a cost does, finds them in this one, too."""
    before = os.environ.get("NTK_DATA")
    if folder is not None:
        os.environ["NTK_DATA"] = folder
    try:
        yield
    finally:
        if folder is not None:
            os.environ.pop("NTK_DATA")
            os.environ |= {} if before is None else {"NTK_DATA": before}


def _says_yes(question: str) -> bool:
    print(f"{question}\nRun it? [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")


class Bar:
    """A one-line progress bar on stderr when it is a terminal, silent elsewhere; leaving its block wipes it."""

    CLEAR = "\r\033[K"

    def __init__(self, title: str):
        self.title, self.shown = title, 0.0

    def __enter__(self) -> "Bar":
        return self

    def __exit__(self, *_: object) -> None:
        if sys.stderr.isatty():
            print(self.CLEAR, end="", file=sys.stderr, flush=True)

    def __call__(self, done: float, total: float, note: str) -> None:
        now = time.monotonic()
        if not sys.stderr.isatty() or (now - self.shown < 0.1 and done < total):
            return
        self.shown = now
        share = done / total if total else 1.0
        filled = round(24 * share)
        line = f"\r{self.title:<10} {'█' * filled}{'░' * (24 - filled)} {share:4.0%} {note}\033[K"
        print(line, end="", file=sys.stderr, flush=True)
