"""The limit of memory: what is free, what the setting says, and a worker and a command that would go over it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from ntkcore import cli
from ntkcore.data import DataSpec
from ntkcore.errors import SpecError
from ntkcore.runs import memory, stages
from ntkcore.runs.specs import Experiment, key
from ntkcore.runs.store import Store
from ntkcore.runs.worker import Worker
from tests.runs.processes import until
from tests.runs.worker_targets import named

ROOT = Path(__file__).parents[2]
START = 60
LIMIT = 1.0e9
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux refuses memory to a process")


@pytest.fixture(scope="module")
def limited(tmp_path_factory):
    """A worker for the tests' own jobs that may hold 1 GB."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(Path(__file__).parent), prepend=os.pathsep)
        with Worker(tmp_path_factory.mktemp("cache"), "worker_targets:execute", memory_bytes=LIMIT) as worker:
            yield worker


def toy(n: int) -> Experiment:
    return Experiment(data=DataSpec(name="toy", n_train=n, n_test=5))


def test_a_stage_over_the_limit_is_a_sentence_and_what_could_be_done_is_kept(tmp_path):
    """The eigenvectors of 5,000 images take 1.1 GB beside the libraries, their kernel a fifth of that."""
    specs = [toy(20).kernel(), toy(5000).spectrum(), toy(30).kernel()]
    with Worker(tmp_path, memory_bytes=1.1e9) as worker:
        job = worker.submit("batch", stages.batch([stages.request(spec) for spec in specs], [1, 1, 1]))
        assert job.wait(START)
        pid = worker.pid
        assert job.state == "failed"
        assert "1 of 3 parts failed" in job.error
        assert "not enough memory for stage spectrum (Planted features (synthetic): minus / plus, 5000" in job.error
        assert "it may take 1.1 GB" in job.error
        assert "Choose fewer images" in job.error
        again = worker.submit("again", stages.request(toy(40).kernel()))
        assert again.wait(START)
        assert (again.state, worker.pid) == ("done", pid), again.error  # the same process goes on
    store = Store(tmp_path)
    kept = [store.has(spec.stage, key(spec)) for spec in (*specs, toy(5000).kernel(), toy(40).kernel())]
    assert kept == [True, False, True, True, True]


@pytest.mark.parametrize("unrefused", [False, True], ids=["refused", "ended"])
def test_a_job_that_grows_is_stopped_at_the_limit(limited, unrefused):
    """By the system, or, where that refuses nothing, by the one who looks on; what it had stored is there."""
    name = f"grows-{unrefused}"
    job = limited.submit(name, {"do": "grow", "key": name, "n": 3, "unrefused": unrefused})
    until(lambda: job.accepted, START, "the job's process")
    pid = limited.pid
    assert job.wait(START)
    assert job.state == "failed"
    assert job.error.startswith("There is not enough memory for this run: it may take 1.0 GB")
    assert 0.3e9 < 16e6 * job.done < LIMIT * 1.3
    after = limited.submit(f"{name}-after", {"do": "save", "key": f"{name}-after", "n": 2})
    assert after.wait(START)
    assert after.state == "done", after.error
    assert (limited.pid == pid) != unrefused
    store = Store(limited._settings["root"])
    assert np.array_equal(store.get("test", named(name)).arrays["values"].numpy(), np.ones((3, 3)))


def test_an_abort_for_lack_of_memory_is_told_as_that(limited):
    job = limited.submit("abort", {"do": "abort_without_memory"})
    assert job.wait(START)
    assert job.error.startswith("There is not enough memory for this run: it may take 1.0 GB")
    assert "bad_alloc" in job.details


@pytest.mark.parametrize("text", ["many", "0", "-3", "inf", "nan", "0.1", "1e9", "2 GB", "9" * 3000, "0x10"])
def test_an_odd_setting_is_refused_in_words(text, monkeypatch, tmp_path):
    monkeypatch.setenv(memory.SETTING, text)
    with pytest.raises(SpecError, match="a number of gigabytes is needed, at least") as refusal:
        Worker(tmp_path)
    assert len(str(refusal.value)) < 300


@pytest.mark.parametrize(("text", "size"), [("", None), ("  ", None), ("1.5", 1.5e9), (" 2 ", 2e9), ("1e0", 1e9)])
def test_setting(text, size, monkeypatch, tmp_path):
    monkeypatch.setenv(memory.SETTING, text)
    assert memory.setting() == size
    with Worker(tmp_path) as worker:
        assert worker.allowance == pytest.approx(size or memory.SHARE * memory.available(), rel=0.2)


def test_what_is_free_and_what_is_held():
    assert 0 < memory.available() < memory.total()
    block = np.ones(30_000_000)  # 240 MB
    held = memory.held()
    del block
    assert held - memory.held() == pytest.approx(240e6, rel=0.1)
    assert memory.held(2**22 + 1) == 0  # no such process


GROUPS = {
    "version 2": ("0::/box/inner", {"box/inner": ("max", 5e8, 0), "box": (2e9, 1e9, 3e8)}, (2e9, 1.7e9 - 0.4e9)),
    "version 1": ("5:cpu:/\n4:memory:/box\n0::/", {"memory/box": (1e9, 4e8, 1e8)}, (1e9, 7e8)),
    "version 1 seen from inside": ("4:memory:/docker/abc", {"memory": (1e9, 4e8, 0)}, (1e9, 6e8)),
    "none": ("0::/", {}, None),
}


@pytest.mark.parametrize("name", GROUPS)
def test_control_groups(name, tmp_path):
    """Files as the kernel writes them; the limit of an outer group counts as well."""
    own, groups, expected = GROUPS[name]
    (tmp_path / "own").write_text(own)
    for place, (most, used, cache) in groups.items():
        folder = tmp_path / "fs" / place
        folder.mkdir(parents=True, exist_ok=True)
        old = place.startswith("memory")
        (folder / ("memory.limit_in_bytes" if old else "memory.max")).write_text(
            f"{most if most == 'max' else int(most)}\n"
        )
        (folder / ("memory.usage_in_bytes" if old else "memory.current")).write_text(f"{int(used)}\n")
        (folder / "memory.stat").write_text(f"anon 7\n{'total_' * old}inactive_file {int(cache)}\nfile 9\n")
    found = list(memory._groups(tmp_path / "fs", tmp_path / "own"))
    if expected is None:
        assert found == []
    else:
        ((most, used),) = found
        assert (most, most - used) == pytest.approx(expected)


def test_the_limit_holds_inside_and_is_lifted_afterwards():
    held = memory.held()
    with memory.within(held + 1e8), pytest.raises(MemoryError) as refusal:
        np.ones(300_000_000)
    assert memory.is_lack(refusal.value)
    assert np.ones(40_000_000).sum() == 4e7
    assert "may take" not in memory.lack()


@pytest.mark.parametrize(
    ("error", "most", "said"),
    [
        pytest.param(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), 1e9, "The GPU", id="gpu"),
        pytest.param(RuntimeError("CUBLAS_STATUS_ALLOC_FAILED"), 1e9, "The GPU", id="gpu library"),
        pytest.param(RuntimeError("DefaultCPUAllocator: can't allocate memory"), 1e9, "it may take 1.0 GB", id="cpu"),
        pytest.param(MemoryError(), float("inf"), "memory for this run. Choose", id="no limit known"),
    ],
)
def test_whose_memory_is_lacking(error, most, said):
    assert memory.is_lack(error)
    words = memory.lack(most=most, error=error)
    assert said in words
    assert ("may take" in words) == (most == 1e9 and "GPU" not in said)


@pytest.mark.parametrize(("name", "refused"), [("null", True), ("nvidia0", False), ("kfd", False), ("dxg", False)])
def test_beside_a_gpu_nothing_is_refused(name, refused, tmp_path, monkeypatch):
    """Its driver reserves far more addresses than memory."""
    (tmp_path / name).touch()
    monkeypatch.setattr(memory, "DEVICES", tmp_path)
    assert memory._can_refuse() == refused


WRONG_ESTIMATE = """
import sys
from ntkcore import cli
from ntkcore.runs.consent import Demand

Demand.fits, Demand.heavy = True, False
sys.exit(cli.main(sys.argv[1:]))
"""


def command(*arguments: str, code: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-P", "-c", code, *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        timeout=120,
        stdin=subprocess.DEVNULL,
    )


@pytest.mark.parametrize(
    ("gigabytes", "code", "words"),
    [
        pytest.param("0.6", "", "This needs about 1.", id="refused by its estimate"),
        pytest.param("1.1", WRONG_ESTIMATE, "There is not enough memory for stage spectrum", id="stopped"),
        pytest.param("many", "", "NTK_MEMORY_GB is 'many'", id="odd setting"),
    ],
)
def test_the_command_line_has_the_same_limit(gigabytes, code, words, tmp_path, monkeypatch, capsys):
    spec, cache = tmp_path / "large.json", tmp_path / "cache"
    spec.write_text(json.dumps({"data": {"name": "toy", "n_train": 5000, "n_test": 5}}))
    monkeypatch.setenv("NTK_MEMORY_GB", gigabytes)
    arguments = "--cache", str(cache), "run", str(spec), "--yes"
    if code:  # a limit holds for a whole process
        done = command(*arguments, code=code)
        status, err = done.returncode, done.stderr
    else:
        status, err = cli.main(arguments), capsys.readouterr().err
    assert status == 1
    (said,) = err.splitlines()
    assert said.startswith(words)
    assert gigabytes in said
    assert Store(cache).has("kernel", key(toy(5000).kernel())) == bool(code)  # what was finished is kept
