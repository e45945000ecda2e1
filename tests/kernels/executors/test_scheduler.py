"""The workers of a Dask scheduler, through command line and stages, and what is said where there are none."""

import json
import socket
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext

import pytest

from ntkcore import cli
from ntkcore.runs import scheduler, stages
from ntkcore.runs.specs import Experiment, Story, TwinSpec, key
from ntkcore.runs.stages.together import at_once
from ntkcore.runs.store import Store
from ntkcore.runs.worker import team
from ntkcore.training import LAZY, PLAIN

TINY = {"data": {"n_train": 150, "n_test": 10, "size": 7}, "net": {"family": "conv", "depth": 1}}

SHORT, SHORT_PLAIN = LAZY.replace(steps=10), PLAIN.replace(steps=10)


@pytest.fixture
def kernel(tmp_path, capsys):
    """``ntkcore kernel`` of a tiny experiment: (exit status, stderr)."""
    (tmp_path / "spec.json").write_text(json.dumps(TINY))

    def run(*options: str) -> tuple[int, str]:
        status = cli.main(["kernel", str(tmp_path / "spec.json"), *options])
        return status, capsys.readouterr().err

    return run


@pytest.fixture
def address(monkeypatch):
    """A scheduler without workers."""
    distributed = pytest.importorskip("distributed")
    monkeypatch.setattr(scheduler, "PATIENCE", 0.5)
    with distributed.LocalCluster(n_workers=0, processes=False, protocol="tcp://", dashboard_address=":0") as cluster:
        yield cluster


def test_workers_of_a_scheduler_write_the_same_file(kernel, address, tmp_path):
    status, err = kernel("--out", str(tmp_path / "k.npy"), "--scheduler", address.scheduler_address)
    assert (status, "has no workers. Start some: `dask worker tcp://" in err) == (1, True)
    address.scale(1)
    for name, options in {"k": ["--scheduler", address.scheduler_address], "alone": []}.items():
        assert kernel("--out", str(tmp_path / f"{name}.npy"), *options)[0] == 0
    assert (tmp_path / "k.npy").read_bytes() == (tmp_path / "alone.npy").read_bytes()


def test_nobody_answers(kernel, address, tmp_path):
    status, err = kernel("--out", str(tmp_path / "k.npy"), "--scheduler", "tcp://127.0.0.1:9")
    assert status == 1
    assert err.startswith("No scheduler answers at tcp://127.0.0.1:9: ")
    assert not (tmp_path / "k.npy").exists()


def test_somebody_answers_who_is_no_scheduler(kernel, monkeypatch, tmp_path):
    monkeypatch.setattr(scheduler, "PATIENCE", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"tcp://127.0.0.1:{silent.getsockname()[1]}"
        for there in (address, address.replace("tcp", "tls")):
            status, err = kernel("--out", str(tmp_path / "k.npy"), "--scheduler", there)
            assert (status, err.startswith(f"No scheduler answers at {there}: ")) == (1, True), err


def test_without_the_package_or_with_an_npz(kernel, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "distributed", None)
    for file, words in {"k.npy": "A scheduler needs distributed, which is not", "k.npz": "Name an .npy"}.items():
        status, err = kernel("--out", str(tmp_path / file), "--scheduler", "tcp://127.0.0.1:9")
        assert (status, words in err) == (1, True)


@pytest.fixture
def swept(tmp_path, monkeypatch):
    """The arrays of a kernel, its sweep and curves, computed anew: by the workers of an address, or by this process."""
    monkeypatch.setattr(stages.stage, "WORTHWHILE", 0.0)

    def run(name: str, address: str = "") -> list[dict[str, list]]:
        monkeypatch.setenv("NTK_SCHEDULER", address)
        e, store = Experiment.model_validate(TINY), Store(tmp_path / name)
        found = [stages.result(spec, store).arrays for spec in (e.kernel(), e.sweep(), e.curves())]
        assert list((store.root / ".tmp").iterdir()) == []
        return [{key: value.tolist() for key, value in arrays.items()} for arrays in found]

    return run


def test_stages_by_the_workers_of_a_scheduler(address, swept):
    address.scale(2)
    there = swept("there", address.scheduler_address)
    assert team.present.address == address.scheduler_address
    assert team.present.asked == team.present.ended == team.present.done.total() > 1
    assert there == swept("here")


def test_a_run_goes_on_alone_where_no_scheduler_answers(address, swept, capsys):
    alone = swept("alone", "tcp://127.0.0.1:9")
    assert "No scheduler answers at tcp://127.0.0.1:9: " in (said := capsys.readouterr().err)
    assert said.count("This machine computes alone.") == 3  # kernel, sweep, curves
    assert "This machine computes alone." in team.present.in_words()
    assert alone == swept("here")


def test_a_run_goes_on_alone_when_its_workers_are_gone(swept, capsys, monkeypatch):
    with ThreadPoolExecutor(1) as closed:
        pass
    monkeypatch.setattr(scheduler, "workers", lambda address: nullcontext(closed))
    alone = swept("alone", "tcp://127.0.0.1:9")
    assert "tcp://127.0.0.1:9 were given up: the executor takes no tiles: RuntimeError: cannot" in (
        said := capsys.readouterr().err
    )
    assert said.count("This machine computes alone.") == 3  # kernel, sweep, curves
    assert alone == swept("here")


def test_a_stage_that_no_worker_can_compute_keeps_no_other_from_being_done(tmp_path, monkeypatch):
    def compute(spec, context):
        if spec.seed == 0:
            raise MemoryError
        return plainly(spec, context)

    kernel, store, plainly = Experiment.model_validate(TINY).kernel(), Store(tmp_path), TwinSpec.compute
    monkeypatch.setattr(TwinSpec, "compute", compute)
    nets = [TwinSpec(kernel=kernel, width=4, seed=seed, training=SHORT) for seed in (0, 1)]
    with ThreadPoolExecutor(1) as executor:
        at_once(nets, store, executor)
    assert [store.has(net.stage, key(net)) for net in nets] == [False, True]


def test_nets_of_several_seeds_by_the_workers_of_a_scheduler(address, tmp_path, monkeypatch):
    monkeypatch.setattr(stages.stage, "WORTHWHILE", 0.0)
    kernel = Experiment.model_validate(TINY).kernel()
    story = Story(kernel=kernel, widths=(4,), outside=("cnn-small",), seeds=2, training=SHORT, plain=SHORT_PLAIN)
    wanted = [spec for name, spec in story.transfers().items() if name[2] in ("kernel_fgsm", "other_seed")]
    batch = stages.batch([stages.request(spec, "cpu") for spec in wanted], [1.0] * len(wanted))
    address.scale(2)
    found = []
    for name, where in {"there": address.scheduler_address, "here": ""}.items():
        monkeypatch.setenv("NTK_SCHEDULER", where)
        team.present, store, shares = None, Store(tmp_path / name), []
        stages.execute(batch, store, lambda done, total, _, to=shares: to.append(done / total))
        found.append({entry.key: {a: v.tolist() for a, v in entry.arrays.items()} for entry in store.entries()})
        assert shares == sorted(shares)
        if where:
            nets = [spec for spec in stages.missing(wanted, Store(tmp_path / "empty")).values() if spec.of_nets]
            assert team.present.done.total() > len(nets) > len(wanted)  # beside them tiles of the kernel
    assert found[0] == found[1]
