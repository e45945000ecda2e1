"""What the worker runs in the tests: real work, real crashes. Results are kept under the stage "test".

``execute(request, store, progress)`` does what ``request["do"]`` names. It imports no torch, to start fast.
"""

import ctypes
import hashlib
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from ntkcore.errors import Cancelled, SpecError
from ntkcore.runs.store import declare
from ntkcore.runs.worker import team

declare("test")


def named(word):
    """A key of the store made of a word."""
    return hashlib.md5(word.encode(), usedforsecurity=False).hexdigest()


def execute(request, store, progress):
    {name: function for name, function in globals().items() if name == request["do"]}[request["do"]](
        request, store, progress
    )


def save(request, store, progress):
    """Store n x n ones under request["key"]."""
    progress(0, 2, "making")
    values = np.ones((request["n"], request["n"]))
    progress(1, 2, "storing")
    store.put("test", named(request["key"]), {"values": values}, {"n": request["n"]})


def save_many(request, store, progress):
    """Store and delete artifacts until stopped."""
    for i in range(10**6):
        key = f"{request['key']}-{i}"
        store.put("test", named(key), {"values": np.full((200, 200), float(i))}, {"i": i})
        if i % 3 == 2:
            store.delete("test", named(f"{request['key']}-{i - 1}"))
        progress(i, 10**6, key)


def count(request, store, progress):
    """Leave one line a run in a file."""
    with open(request["file"], "a") as file:
        file.write(request["mark"] + "\n")
    time.sleep(request.get("seconds", 0.2))


def steps(request, store, progress):
    for i in range(request["n"]):
        progress(i, request["n"], f"step {i}")
        time.sleep(request["seconds"])
    progress(request["n"], request["n"], "last step")


def helped(request, store, progress):
    """Two workers of a scheduler compute, as runs.scheduler tells it."""
    team.present = team.Team("tcp://10.0.0.1:8786", workers=2, asked=5)
    progress(0, 3, "asked")
    team.present.done["one, process 1"] += 2
    team.present.ended += 2
    progress(2, 3, "two tiles")


def quiet_after_two(request, store, progress):
    """Two reports at once, then a long silence: the second must be seen."""
    progress(0, 2, "first")
    progress(1, 2, "second")
    time.sleep(request["seconds"])


def deaf(request, store, progress):
    """One long call that lets other threads run but never looks at progress."""
    progress(0, 1, "sleeping")
    time.sleep(600)


def hog(request, store, progress):
    """One long call in C that lets no other Python thread run."""
    progress(0, 1, "adding")
    time.sleep(0.2)
    sum(range(10**12))


def stubborn(request, store, progress):
    """Refuses to be cancelled."""
    while True:
        try:
            progress(0, 1, "going on")
            time.sleep(0.01)
        except Cancelled:
            continue


def die(request, store, progress):
    print("about to end", file=sys.stderr, flush=True)
    progress(1, 3, "ending")
    if request["how"] == "segfault":
        ctypes.string_at(0)
    elif request["how"] == "sys.exit":
        sys.exit(3)
    os.kill(os.getpid(), getattr(signal, request["how"]))
    time.sleep(600)


def fail(request, store, progress):
    if request["how"] == "user":
        raise SpecError("n_train is 0; at least 2 images are needed. Choose a larger n_train.")
    if request["how"] == "memory":
        np.empty(2**62, dtype=np.uint8)
    int("forty")


def grow(request, store, progress):
    """Keep a file's worth of results, then take more and more memory; unrefused: as beside a GPU, where nothing
    refuses it."""
    save(request, store, progress)
    if request.get("unrefused"):
        resource.setrlimit(resource.RLIMIT_DATA, (resource.RLIM_INFINITY,) * 2)
    held = []
    while True:
        held.append(np.ones(2_000_000))  # 16 MB
        progress(len(held), 1000, "growing")


def abort_without_memory(request, store, progress):
    """What a C++ library does that meets bad_alloc where nothing catches it."""
    progress(1, 2, "ending")
    print("terminate called after throwing an instance of 'std::bad_alloc'", file=sys.stderr, flush=True)
    os.abort()


def chatter(request, store, progress):
    """Print a lot, in the form of the protocol too, on both streams."""
    for i in range(3000):
        print('{"op": "done", "job": 1}')
        print(f"line {i}", file=sys.stderr)
    os.system("echo from a subprocess")
    raise ValueError("after much talk")


def with_child(request, store, progress):
    """Start a process of its own, say its number, and wait."""
    sleeper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    Path(request["file"]).write_text(str(sleeper.pid))
    progress(0, 1, "waiting")
    sleeper.wait()


def environment(request, store, progress):
    store.put("test", named(request["key"]), {}, {"OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS")})
