"""A demo that others use on a shared server: whether a run, a file, a download, a change or a stop is refused.

It is decided here alone; pages and the worker ask. One environment variable switches it on and says what is allowed::

    NTK_DEMO=1                                # runs up to 30 s, no uploads, no downloads
    NTK_DEMO="seconds=60 uploads downloads"   # runs up to 60 s, with both

    demo.against_run(seconds=45.0)            # the sentence that refuses it; None where it may be
    demo.execute(request, store, progress)    # what the app's worker runs: stages.execute, once nothing is against it

Nothing is refused where the variable is not set. Results that are there, shipped or computed before, always show.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ntkcore import data
from ntkcore.errors import NTKError, SpecError
from ntkcore.kernels.blocks import Progress
from ntkcore.runs import costs, specs, stages
from ntkcore.runs.consent import duration
from ntkcore.runs.rates import calibrate
from ntkcore.runs.store import Store

SETTING = "NTK_DEMO"
SECONDS = 30.0  # a run may take by its estimate, unless told otherwise
OWN = "On your own machine: make run."


@dataclass(frozen=True)
class Demo:
    """What is allowed: seconds that a run may take by its estimate; files of visitors; data sets from the network."""

    seconds: float = SECONDS
    uploads: bool = False
    downloads: bool = False


def setting() -> Demo | None:
    """The demo that NTK_DEMO describes; None when it is not set, empty or 0. Raises SpecError for what it cannot be, so
    that a misspelt demo is not an open door."""
    words = os.environ.get(SETTING, "").replace(",", " ").split()
    if words in ([], ["0"]):
        return None
    seconds, told = SECONDS, set(words) - {"1"}
    for word in words:
        name, sign, number = word.partition("=")
        if name == "seconds" and sign:
            told.discard(word)
            seconds = _seconds(number)
    if told - {"uploads", "downloads"}:
        raise SpecError(f"{SETTING} is {os.environ[SETTING]!r}; 1 is needed, or some of: seconds=60 uploads downloads.")
    return Demo(seconds, "uploads" in told, "downloads" in told)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < float("inf"):
        raise SpecError(f"{SETTING} has seconds={text}; a number from 0 is needed, such as seconds=60.")
    return seconds


def notice() -> str | None:
    """What visitors are told beforehand."""
    demo = setting()
    if demo is None:
        return None
    runs = f"runs up to {duration(demo.seconds)}" if demo.seconds else "nothing is computed"
    return f"A shared demo: {runs}, {'own files are' if demo.uploads else 'no own files are'} taken. {OWN}"


def against_run(seconds: float) -> str | None:
    """Why a run of so many seconds, by its estimate, is refused."""
    demo = setting()
    if demo is None or seconds <= demo.seconds:
        return None
    off = f"runs above {duration(demo.seconds)} are switched off" if demo.seconds else "runs are switched off"
    return f"This is a shared demo: {off}. {OWN}"


def against_upload() -> str | None:
    """Why a file of a visitor is refused."""
    demo = setting()
    return None if demo is None or demo.uploads else f"This is a shared demo: it takes no files. {OWN}"


def against_download() -> str | None:
    """Why fetching a data set from the network is refused."""
    demo = setting()
    if demo is None or demo.downloads:
        return None
    return f"This is a shared demo: it fetches no data sets. Choose another one in the sidebar. {OWN}"


def against_change() -> str | None:
    """Why what is stored may be neither deleted nor changed."""
    return None if setting() is None else f"This is a shared demo: results can be read, not changed or deleted. {OWN}"


def against_stop(own: bool) -> str | None:
    """Why a job may not be cancelled; own: whether this visitor has started it."""
    return None if own or setting() is None else "Another visitor has started this run, and alone can cancel it."


def execute(request: Mapping[str, Any], store: Store, progress: Progress | None) -> None:
    """``stages.execute``; raises NTKError, before anything is begun, for what the demo refuses."""
    refused = _against(request, store)
    if refused is not None:
        raise NTKError(refused)
    stages.execute(request, store, progress)


def _against(request: Mapping[str, Any], store: Store) -> str | None:
    if setting() is None:
        return None
    if "download" in request:
        return against_download()
    wanted = [stages.parse(part["stage"], part["spec"]) for part in request.get("batch", [request])]
    estimates = costs.estimate_all(wanted, calibrate(store.root), store)
    present = all(data.info(specs.experiment_of(spec).data).present for spec in wanted)
    return against_run(sum(one.seconds for one in estimates)) or (None if present else against_download())
