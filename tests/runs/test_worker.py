"""The worker: real processes that compute, refuse, crash and are killed."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import pytest
import torch

from ntkcore.errors import Cancelled, SpecError, WorkerError
from ntkcore.runs.store import Store
from ntkcore.runs.worker import Worker
from ntkcore.runs.worker.child import Reporter, explain, load_target
from ntkcore.runs.worker.process import death
from ntkcore.runs.worker.team import Team
from tests.runs.processes import alive, until
from tests.runs.worker_targets import named

HERE = Path(__file__).parent
TARGET = "worker_targets:execute"
START = 60  # seconds allowed for a process to start: a bound, not an expectation
SOON = 3  # seconds allowed for what should take effect within one


@pytest.fixture(scope="module")
def path():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(HERE), prepend=os.pathsep)
        yield


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def worker(path, root):
    """One worker for all tests that leave it (or its successor) working."""
    with Worker(root, TARGET) as worker:
        yield worker


@pytest.fixture
def own_worker(path, tmp_path):
    with Worker(tmp_path / "cache", TARGET) as worker:
        yield worker


def running(worker, key, **request):
    """Submit and wait until it is at work."""
    job = worker.submit(key, request)
    until(lambda: job.total or job.finished, START, f"{key} at work")
    assert job.state == "running", (job.error, job.details)
    return job


def works(worker, key="afterwards"):
    """The worker does its job, also after what has just happened to it."""
    job = worker.submit(key, {"do": "save", "key": key, "n": 2})
    assert job.wait(START)
    assert job.state == "done", (job.error, job.details)
    return True


def test_the_worker_and_the_store_are_there_before_torch():
    """Loading it takes seconds, which nobody waits for who has no use for it."""
    code = "import sys, ntkcore.runs.store, ntkcore.runs.worker.child; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=HERE.parents[1], check=False).returncode == 0


def test_result_is_in_the_store(worker, root):
    job = worker.submit("save", {"do": "save", "key": "ones", "n": 40})
    assert job.wait(START)
    assert (job.state, job.error, job.details, job.note) == ("done", None, None, "storing")
    assert job.done == job.total == 2
    assert 0 < job.seconds < START
    assert job.submitted <= job.started <= job.ended
    assert worker.job("save") is job
    assert job in worker.jobs()
    artifact = Store(root).get("test", named("ones"))
    assert artifact.meta == {"n": 40}
    assert torch.equal(artifact.arrays["values"], torch.ones(40, 40, dtype=torch.float64))


def test_warm_worker_begins_at_once(worker):
    worker.warm()
    until(lambda: worker.ready, START, "ready")
    job = worker.submit("warm", {"do": "save", "key": "warm", "n": 1})
    assert job.wait(1)


def test_progress_arrives(worker):
    job = running(worker, "steps", do="steps", n=30, seconds=0.05)
    assert job.total == 30
    seen = []
    while not job.finished:
        seen.append((job.done, job.eta, job.note))
        time.sleep(0.02)
    assert job.state == "done"
    assert (job.done, job.note, job.eta) == (30, "last step", None)
    done = [value for value, _, _ in seen]
    assert done == sorted(done)
    assert len(set(done)) >= 8
    known = [(value, eta) for value, eta, _ in seen if eta is not None and 15 <= value < 30]
    assert known
    for value, eta in known:
        assert abs(eta - (30 - value) * 0.05) < 1.0


def test_last_report_before_a_silence_is_seen(worker):
    job = worker.submit("quiet", {"do": "quiet_after_two", "seconds": 1.0})
    until(lambda: job.note == "second" or job.finished, START, "second report seen")
    assert job.state == "running"
    assert job.wait(START)


def test_reports_are_throttled_and_the_last_one_arrives():
    sent = []
    reporter = Reporter(sent.append)
    reporter.begin(7)
    begun = time.monotonic()
    while time.monotonic() - begun < 0.5:
        reporter(len(sent), 10, "step")
    reporter(9, 10, "last")
    reporter.end()
    assert 4 <= len(sent) <= 8
    assert sent[-1] == {"op": "progress", "job": 7, "done": 9.0, "total": 10.0, "note": "last"}
    reporter.begin(8)
    reporter.cancel(8)
    with pytest.raises(Cancelled):
        reporter(1, 2, "no more")


def test_who_computes_beside_the_process_is_told_and_forgotten_by_the_next_job(worker):
    job = worker.submit("helped", {"do": "helped"})
    assert job.wait(START)
    assert job.team == Team("tcp://10.0.0.1:8786", workers=2, asked=5, ended=2, done=Counter({"one, process 1": 2}))
    assert job.team.in_words() == "Computed by 2 workers of tcp://10.0.0.1:8786: 2 tiles done, 3 on the way."
    alone = worker.submit("alone", {"do": "steps", "n": 1, "seconds": 0.0})
    assert alone.wait(START)
    assert (alone.note, alone.team) == ("last step", None)


def test_same_key_from_many_threads_runs_once(worker, tmp_path):
    barrier, jobs = threading.Barrier(8), []
    request = {"do": "count", "file": str(tmp_path / "runs"), "mark": "x", "seconds": 0.5}

    def submit():
        barrier.wait()
        jobs.append(worker.submit("shared", request))

    threads = [threading.Thread(target=submit) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({id(job) for job in jobs}) == 1
    until(lambda: jobs[0].state == "running", START, "running")
    assert worker.submit("shared", request) is jobs[0]
    assert jobs[0].wait(START)
    assert (tmp_path / "runs").read_text() == "x\n"

    again = worker.submit("shared", request)
    assert again is not jobs[0]
    assert again.wait(START)
    assert (tmp_path / "runs").read_text() == "x\nx\n"


def test_queue_keeps_its_order_and_loses_what_is_cancelled(worker, tmp_path):
    blocker = running(worker, "blocker", do="steps", n=100, seconds=0.05)
    file = tmp_path / "order"
    queued = [worker.submit(name, {"do": "count", "file": str(file), "mark": name, "seconds": 0}) for name in "abc"]
    assert [job.ahead for job in (blocker, *queued)] == [[], [blocker], [blocker, queued[0]], [blocker, *queued[:2]]]
    assert {job.state for job in queued} == {"queued"}
    assert queued[0].seconds == 0
    queued[1].cancel()
    assert queued[1].state == "cancelled"
    assert len(queued[2].ahead) == 2
    blocker.cancel()
    assert queued[0].wait(START)
    assert queued[2].wait(START)
    assert file.read_text() == "a\nc\n"


@pytest.mark.parametrize("what", ["steps", "deaf", "hog", "stubborn"])
def test_cancel_takes_effect_soon_whatever_it_does(worker, what, record_property):
    job = running(worker, what, do=what, n=10**6, seconds=0.01)
    time.sleep(0.3)
    pid = worker.pid
    begun = time.monotonic()
    job.cancel()
    job.cancel()
    assert job.wait(SOON)
    record_property("seconds", time.monotonic() - begun)
    assert (job.state, job.error) == ("cancelled", None)
    if what == "steps":
        assert worker.pid == pid  # it stopped by itself: the process stays
    else:
        until(lambda: not alive(pid), SOON, "process ended")
    job.cancel()
    assert works(worker)
    assert job.state == "cancelled"


def test_cancelled_key_can_be_submitted_at_once(worker):
    first = running(worker, "twice", do="deaf")
    first.cancel()
    second = worker.submit("twice", {"do": "save", "key": "twice", "n": 1})
    assert second is not first
    assert worker.job("twice") is second
    assert second.wait(START)
    assert (first.state, second.state) == ("cancelled", "done")


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("SIGKILL", "was killed (SIGKILL), most probably because the machine ran out of memory"),
        ("segfault", "crashed (SIGSEGV)"),
        ("SIGABRT", "crashed (SIGABRT)"),
        ("sys.exit", "ended by itself (exit code 3)"),
    ],
)
def test_crash_is_told_and_survived(worker, how, words):
    pid = worker.pid
    job = worker.submit(f"die-{how}", {"do": "die", "how": how})
    waiting = worker.submit(f"after-{how}", {"do": "save", "key": "after", "n": 1})
    assert job.wait(START)
    assert job.state == "failed"
    assert words in job.error
    assert "Run it again" in job.error
    assert "about to end" in job.details
    if how in ("segfault", "SIGABRT"):
        assert "worker_targets.py" in job.details  # the Python stack at the crash
    assert waiting.wait(START)
    assert waiting.state == "done", (waiting.error, waiting.details)
    assert worker.pid != pid


def test_retry_after_a_crash_is_a_new_job(worker):
    first = worker.submit("retry", {"do": "die", "how": "SIGKILL"})
    assert first.wait(START)
    second = worker.submit("retry", {"do": "save", "key": "retry", "n": 1})
    assert second is not first
    assert second.wait(START)
    assert (first.state, second.state, second.error) == ("failed", "done", None)


def test_killed_while_idle_the_next_job_does_not_notice(own_worker):
    for i in range(3):
        if i == 0:
            assert own_worker.pid is None  # nothing is started before it is needed
            own_worker.warm()
            until(lambda: own_worker.ready, START, "ready")
        os.kill(own_worker.pid, signal.SIGKILL)
        assert works(own_worker, f"job-{i}")


def test_killed_from_outside_while_running(own_worker):
    job = running(own_worker, "victim", do="deaf")
    os.kill(own_worker.pid, signal.SIGKILL)
    assert job.wait(SOON)
    assert "SIGKILL" in job.error
    assert works(own_worker)


def test_user_error_is_shown_as_it_is(worker):
    job = worker.submit("user", {"do": "fail", "how": "user"})
    assert job.wait(START)
    assert job.state == "failed"
    assert job.error == "n_train is 0; at least 2 images are needed. Choose a larger n_train."
    assert "SpecError" in job.details
    assert "worker_targets.py" in job.details


def test_unexpected_error_is_a_sentence_with_the_traceback_aside(worker):
    job = worker.submit("bug", {"do": "fail", "how": "bug"})
    assert job.wait(START)
    assert job.error.startswith("The run stopped on an unexpected ValueError: invalid literal for int()")
    assert "Traceback" not in job.error
    assert "Traceback" in job.details


def test_lack_of_memory_is_told(worker):
    job = worker.submit("memory", {"do": "fail", "how": "memory"})
    assert job.wait(START)
    assert "not enough memory" in job.error
    assert "Choose fewer images" in job.error


def test_printing_does_not_disturb(worker):
    job = worker.submit("chatter", {"do": "chatter"})
    assert job.wait(START)
    assert (job.state, "after much talk" in job.error) == ("failed", True)
    assert works(worker)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (SpecError("As written."), "As written."),
        (KeyError("k"), "The run stopped on an unexpected KeyError: 'k'."),
        (RuntimeError(), "The run stopped on an unexpected RuntimeError."),
        (RuntimeError("first\nsecond"), "The run stopped on an unexpected RuntimeError: first."),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), "There is not enough memory"),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate"), "The GPU has not enough memory"),
    ],
)
def test_errors_in_words(error, words):
    assert explain(error).startswith(words)


@pytest.mark.parametrize(
    ("code", "words"),
    [(0, "exit code 0"), (1, "exit code 1"), (-9, "SIGKILL"), (-11, "SIGSEGV"), (-63, "signal 63")],
)
def test_deaths_in_words(code, words):
    assert words in death(code)


@pytest.mark.parametrize("target", ["no_such_module:execute", "worker_targets:no_such"])
def test_worker_without_its_target(path, tmp_path, target):
    with Worker(tmp_path, target) as worker:
        job = worker.submit("any", {})
        assert job.wait(START)
        assert job.state == "failed"
        assert job.error.startswith(f"The worker process could not be started. {target!r} cannot be run")
        assert "Traceback" in job.details


@pytest.mark.parametrize("target", ["ntkcore.errors:no_such", "ntkcore.errors", "", ":", "no_such_module:execute"])
def test_name_that_is_no_target(target):
    with pytest.raises(WorkerError, match="cannot be run"):
        load_target(target)


def test_request_must_be_json(worker):
    with pytest.raises(WorkerError, match="is not JSON"):
        worker.submit("bad", {"tensor": torch.ones(1)})
    assert worker.job("bad") is None


def test_close_leaves_no_process_and_no_waiter(path, tmp_path):
    worker = Worker(tmp_path / "cache", TARGET)
    file = tmp_path / "pid"
    job = running(worker, "parent", do="with_child", file=str(file))
    queued = worker.submit("queued", {"do": "deaf"})
    pids = [worker.pid, int(file.read_text())]
    assert all(alive(pid) for pid in pids)
    waiter = threading.Thread(target=job.wait)
    waiter.start()
    begun = time.monotonic()
    worker.close()
    assert time.monotonic() - begun < SOON
    until(lambda: not any(alive(pid) for pid in pids), SOON, "processes ended")
    waiter.join(SOON)
    assert not waiter.is_alive()
    assert (job.state, queued.state, worker.pid) == ("cancelled", "cancelled", None)
    worker.close()
    with pytest.raises(WorkerError, match="closed"):
        worker.submit("more", {})


def test_close_during_the_start(path, tmp_path):
    before = threading.active_count()
    for _ in range(3):
        worker = Worker(tmp_path, TARGET)
        worker.warm()
        worker.close()
        assert worker.pid is None
    assert threading.active_count() <= before


def test_thread_count_reaches_the_process(path, tmp_path, monkeypatch):
    monkeypatch.setenv("NTK_THREADS", "3")
    with Worker(tmp_path, TARGET) as worker:
        assert worker.submit("env", {"do": "environment", "key": "env"}).wait(START)
    assert Store(tmp_path).get("test", named("env")).meta == {"OMP_NUM_THREADS": "3"}


def test_thread_count_must_be_a_number(monkeypatch, tmp_path):
    monkeypatch.setenv("NTK_THREADS", "many")
    with pytest.raises(WorkerError, match="NTK_THREADS is 'many'"):
        Worker(tmp_path, TARGET)
