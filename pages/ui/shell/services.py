"""What all sessions of the app share: one store, one worker, this machine's rates, loaded results.

On a fresh machine the first page is drawn before anything else: then the machine is measured, and loops are compiled,
in the background. What waits for its rates is only what says how long a run takes.

Results are cached by their key and file, never by their arrays::

    services().store, services().worker
    get_ready()                                  # at the end of app.py
    load_task(data_spec)                         # images and labels, the same object for every session
"""

import atexit
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import streamlit as st

from ntkcore import data
from ntkcore.runs import stages  # noqa: F401  they declare what the store keeps
from ntkcore.runs.rates import Rates, calibrate, read
from ntkcore.runs.specs import StageSpec, key
from ntkcore.runs.store import SHIPPED, Artifact, Store, default_root
from ntkcore.runs.warm_up import warm_up
from ntkcore.runs.worker import Worker

MOMENT = 3.0  # seconds


@dataclass(frozen=True)
class Services:
    """One of each for the whole app."""

    store: Store
    worker: Worker

    @property
    def rates(self) -> Rates:
        """This machine's, once they are measured."""
        if (known := self.known_rates) is not None:
            return known
        wanted, measured = _measuring(self.store.root)
        wanted.set()
        with st.spinner("Measuring this machine, once"):
            measured.wait(30)
        return calibrate(self.store.root)

    @property
    def known_rates(self) -> Rates | None:
        """This machine's; None while they are not measured."""
        kept = read(self.store.root)
        return None if kept is None else kept.rates


def services() -> Services:
    """The services of the cache folder in force (NTK_CACHE); raises NTKError, which app.py shows, for odd settings."""
    return _services(str(default_root()))


@st.cache_resource(show_spinner=False)
def _services(root: str) -> Services:
    store = Store(root, shipped=SHIPPED)
    return Services(store, Worker(store.root, target="ntkcore.runs.demo:execute"))


def get_ready() -> None:
    """Measure the machine and compile the loops, beside what visitors do, unless that was done before."""
    _measuring(services().store.root)


@st.cache_resource(show_spinner=False)
def _measuring(root: Path) -> tuple[threading.Event, threading.Event]:
    """Two events: one to be set when its rates are wanted, one that is set once the machine is measured.

    That begins by itself in a moment, in which the browser has the machine for itself.
    """
    wanted, done = threading.Event(), threading.Event()

    def work() -> None:
        wanted.wait(MOMENT)
        try:
            calibrate(root)
        finally:
            done.set()
        warm_up()

    def finish() -> None:  # torch bears no end of the process within its work
        wanted.set()
        done.wait(10)

    atexit.register(finish)
    threading.Thread(target=work, name="ntk-get-ready", daemon=True).start()
    return wanted, done


@st.cache_resource(show_spinner=False, max_entries=8)
def load_task(spec: data.DataSpec) -> data.Task:
    """The task of a data spec; raises NTKError in words. Kept in memory for the last few specs."""
    return data.load(spec)


def stored(spec: StageSpec) -> Artifact | None:
    """The verified artifact of ``spec``, or None; its arrays are kept in memory between reruns."""
    found = services().store.get(spec.stage, key(spec))
    return None if found is None else _kept(found.stage, found.key, found.created, found)


@st.cache_resource(show_spinner=False, max_entries=24)
def _kept(stage: str, name: str, created: float, _artifact: Artifact) -> Artifact:
    return _artifact


class NumpyArrays(Mapping[str, np.ndarray]):
    """The arrays of an artifact as numpy arrays, each read when it is asked for."""

    def __init__(self, artifact: Artifact):
        self.arrays = artifact.arrays

    def __getitem__(self, name: str) -> np.ndarray:
        return self.arrays[name].numpy()

    def __iter__(self) -> Iterator[str]:
        return iter(self.arrays)

    def __len__(self) -> int:
        return len(self.arrays)
