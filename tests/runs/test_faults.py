"""Killing workers and the app at any moment: the cache stays whole and no process stays behind. More of it in
tests/campaign."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import ntkcore
from ntkcore.errors import StoreError
from ntkcore.runs.store import Store
from ntkcore.runs.worker import Worker
from tests.runs.processes import alive, until
from tests.runs.worker_targets import named

HERE = Path(__file__).parent
LIBRARY = Path(ntkcore.__file__).parents[1]
TARGET = "worker_targets:execute"
START = 60


@pytest.fixture(autouse=True)
def path(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(HERE), str(LIBRARY)]))


def python(code, *arguments):
    """A Python process running ``code``; it says "ready" when it begins. What it says at once after that may be in its
    stdout's buffer, which communicate() does not look into: read() does."""
    process = subprocess.Popen(
        [sys.executable, "-P", "-c", code, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    line = process.stdout.readline()
    assert line.startswith("ready"), process.communicate()
    return process, line.split()[1:]


def finish(process):
    process.kill()
    process.communicate()


def is_whole(root):
    """No damage, no leftovers, every artifact has the content that its meta promises."""
    store = Store(root)
    assert list((store.root / ".tmp").glob("*")) == []
    report = store.verify()
    assert report.ok, report.broken
    assert store.incidents() == ()
    for artifact in store.entries():
        values = artifact.arrays["values"].numpy()
        assert np.array_equal(values, np.full((200, 200), float(artifact.meta["i"])))
    return report.checked


def test_worker_killed_at_random_moments_goes_on(tmp_path):
    random_source = random.Random(1)
    with Worker(tmp_path, TARGET) as worker:
        for i in range(5):
            job = worker.submit("same", {"do": "save_many", "key": f"round-{i}"})
            until(lambda job=job: job.total or job.finished, START, "at work")
            time.sleep(random_source.uniform(0, 0.08))
            os.kill(worker.pid, signal.SIGKILL)
            assert job.wait(START)
            assert job.state == "failed"
            assert "SIGKILL" in job.error
    assert is_whole(tmp_path) > 0


RACER = """
import sys, numpy as np
from ntkcore.runs.store import Store
from worker_targets import named
store = Store(sys.argv[1])
print("ready", flush=True)
for i in range(40):
    got = store.put("test", named(f"key-{i}"), {"values": np.full((200, 200), float(i))}, {"i": i, "n": sys.argv[2]})
    assert got.meta["i"] == i
    assert store.get("test", named(f"key-{i}")).meta == got.meta
"""


def test_two_processes_put_the_same_keys(tmp_path):
    racers = [python(RACER, tmp_path, name)[0] for name in ("one", "two")]
    for racer in racers:
        _, errors = racer.communicate(timeout=START)
        assert racer.returncode == 0, errors
    assert is_whole(tmp_path) == 40


DROPPER = """
import os, sys, numpy as np
import ntkcore.runs.store.store as module
from worker_targets import named
module._GRACE = 0.0
store = module.Store(sys.argv[1], max_bytes=1_000_000)
print("ready", flush=True)
for i in range(60):
    key = named(f"key-{i % 12}")
    found = store.get("test", key)
    if found is None:
        store.put("test", key, {"values": np.full((200, 200), float(i % 12))}, {"i": i % 12})
"""


def test_two_processes_drop_and_put_in_one_another(tmp_path):
    """A cap far too small for both: what one drops under the other's hands is a miss, never damage."""
    droppers = [python(DROPPER, tmp_path)[0] for _ in range(2)]
    outcomes = [(dropper.communicate(timeout=START)[1], dropper.returncode) for dropper in droppers]
    for errors, code in outcomes:
        assert code == 0 or "was removed or damaged while it was stored" in errors, errors
    is_whole(tmp_path)


LIMITED = """
import resource, sys, numpy as np
from ntkcore.errors import StoreError
from ntkcore.runs.store import Store
from worker_targets import named
store = Store(sys.argv[1])
store.put("test", named("small"), {"values": np.full((200, 200), 1.0)}, {"i": 1})
resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, 500_000))
print("ready", flush=True)
try:
    store.put("test", named("large"), {"values": np.zeros((1000, 1000))}, {"i": 0})
except StoreError as error:
    print(error)
"""


@pytest.mark.skipif(os.name != "posix", reason="needs a limit on the size of files")
def test_disk_that_takes_no_more(tmp_path):
    process, _ = python(LIMITED, tmp_path)
    output = process.stdout.read()
    _, errors = process.communicate(timeout=START)
    assert process.returncode == 0, errors
    assert f"test/{named('large')} cannot be stored" in output
    assert "the disk is full" in output
    assert is_whole(tmp_path) == 1


def test_temporary_folders_of_the_living_are_kept(tmp_path):
    Store(tmp_path).put("test", named("ones"), {"values": np.ones(3)}, {"i": 1})
    host = os.uname().nodename
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    folders = {
        "mine": tmp_path / ".tmp" / f"{host}-{os.getpid()}-aaaa0000",
        "dead": tmp_path / ".tmp" / f"{host}-{dead.pid}-bbbb0000",
        "elsewhere": tmp_path / ".tmp" / "other-host-1-cccc0000",
        "elsewhere, old": tmp_path / ".tmp" / "other-host-1-dddd0000",
        "strange, old": tmp_path / ".tmp" / "strange",
        "nearly ours, old": tmp_path / ".tmp" / f"{host}-{dead.pid}-letters",
    }
    for folder in folders.values():
        folder.mkdir(parents=True)
    for name in ("elsewhere, old", "strange, old", "nearly ours, old"):
        os.utime(folders[name], (1e9, 1e9))
    Store(tmp_path)
    assert {name for name, folder in folders.items() if folder.exists()} == folders.keys() - {"dead", "elsewhere, old"}


APP = """
import sys, threading, time
from ntkcore.runs.worker import Worker
worker = Worker(sys.argv[1], "worker_targets:execute")
def session():
    global job
    job = worker.submit("job", {"do": sys.argv[2], "key": "job", "n": 10**6, "seconds": 0.01})
if sys.argv[2] != "idle":
    thread = threading.Thread(target=session)    # as a session of the app does; its end must not matter
    thread.start(); thread.join()
    while not job.total: time.sleep(0.01)
else:
    worker.warm()
    while not worker.ready: time.sleep(0.01)
time.sleep(0.3)
assert worker.job("job") is None or worker.job("job").state == "running"
print("ready", worker.pid, flush=True)
if len(sys.argv) > 3: sys.exit(0)
time.sleep(600)
"""


@pytest.mark.parametrize("busy", ["idle", "steps", "deaf", "hog", "save_many"])
def test_app_killed_worker_gone(tmp_path, busy):
    process, (pid,) = python(APP, tmp_path, busy)
    assert alive(int(pid))
    finish(process)
    until(lambda: not alive(int(pid)), 3, "worker gone")
    is_whole(tmp_path)


def test_app_ends_in_order_worker_gone(tmp_path):
    process, (pid,) = python(APP, tmp_path, "deaf", "exit")
    _, errors = process.communicate(timeout=START)
    assert (process.returncode, errors) == (0, "")
    assert not alive(int(pid))


def test_damage_seen_by_the_worker_is_reported_to_the_app(tmp_path):
    store = Store(tmp_path)
    with Worker(tmp_path, TARGET) as worker:
        assert worker.submit("a", {"do": "save", "key": "ones", "n": 30}).wait(START)
        file = store.get("test", named("ones")).path / "arrays.safetensors"
        data = bytearray(file.read_bytes())
        data[-3] ^= 4
        file.write_bytes(data)
        again = worker.submit("a", {"do": "save", "key": "ones", "n": 30})
        assert again.wait(START)
        assert again.state == "done"
    assert [incident.key for incident in store.incidents()] == [named("ones")]
    assert store.get("test", named("ones")).arrays["values"].sum() == 900


def test_store_without_a_place(tmp_path):
    (tmp_path / "file").touch()
    with Worker(tmp_path / "file", TARGET) as worker:
        job = worker.submit("a", {"do": "save", "key": "a", "n": 1})
        assert job.wait(START)
        assert "is a file; a folder is needed" in job.error
    with pytest.raises(StoreError):
        Store(tmp_path / "file")
