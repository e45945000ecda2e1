"""Kernels and sweeps by the workers of an executor: the same bytes and verdicts, whoever computes them."""

import multiprocessing
import os
import signal
import sys
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

import ntkcore as ntk
from ntkcore.analysis.features import bank_fgsm
from ntkcore.analysis.tangent import tangent_kernel
from ntkcore.errors import Cancelled, NTKError, SpecError
from ntkcore.kernels.executors import TRIES
from ntkcore.kernels.streamed import COPIES, kernel_to_file
from ntkcore.training import finite_net
from tests.fake_gpu import fake_gpu

SMALL = COPIES * 8 * 7**2  # bytes: tiles of 7 images in double precision
SERVER = multiprocessing.get_context("forkserver")  # which imports the library once for all
SERVER.set_forkserver_preload(["ntkcore.kernels.streamed", "ntkcore.kernels.infinite.kernel"])


@pytest.fixture(autouse=True)
def main(monkeypatch):
    """Processes that are started import the main module's file again; a page that was tested may have left its own."""
    monkeypatch.setitem(sys.modules, "__main__", ModuleType("__main__"))


def images() -> torch.Tensor:
    return torch.rand(23, 1, 8, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@dataclass(frozen=True)
class Linear:
    """A kernel that, in another process than this one, first does something to whoever computes it."""

    folder: Path
    does: str = ""
    home: int = os.getpid()

    def __call__(self, x1, x2=None):
        if os.getpid() != self.home and self.does == "dies once":
            with suppress(FileExistsError):
                (self.folder / "died").touch(exist_ok=False)
                os._exit(1)
        if len(x1) > 4 and self.does == "raises":
            raise ZeroDivisionError("a kernel of one's own")
        return x1.flatten(1) @ (x1 if x2 is None else x2).flatten(1).T


class Watched(ThreadPoolExecutor):
    """What it was sent, and how many calls it had at most."""

    def __init__(self):
        super().__init__(2)
        self.calls, self.most, self.open = [], 0, []

    def submit(self, fn, /, *args):
        self.calls.append(args)
        self.open = [future for future in self.open if not future.done()] + [super().submit(fn, *args)]
        self.most = max(self.most, len(self.open))
        return self.open[-1]


class Unreachable(Executor):
    """Takes every call and loses it."""

    asked = 0

    def submit(self, fn, /, *args):
        self.asked += 1
        lost = Future()
        lost.set_exception(ConnectionResetError("the machine is gone"))
        return lost


class Closing(Executor):
    """Drops every call."""

    def submit(self, fn, /, *args):
        dropped = Future()
        dropped.cancel()
        dropped.set_running_or_notify_cancel()
        return dropped


def pool():
    return ProcessPoolExecutor(2, mp_context=SERVER)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """The bytes of a file of conv(1) that this process wrote alone."""
    path = tmp_path_factory.mktemp("undisturbed") / "k.npy"
    kernel_to_file(ntk.kernel_fn(ntk.conv(1)), images(), path, SMALL)
    return path.read_bytes()


def stop(done, total, note):
    if done >= total / 3:
        raise Cancelled("enough")


@pytest.mark.parametrize("workers", [pool, Watched], ids=["processes", "threads"])
def test_the_file_is_the_same_and_what_was_stopped_goes_on(tmp_path, undisturbed, workers):
    kernel, x, path, told = ntk.kernel_fn(ntk.conv(1)), images(), tmp_path / "k.npy", []
    with workers() as executor:
        with pytest.raises(Cancelled):
            kernel_to_file(kernel, x, path, SMALL, stop, executor=executor)
        assert {file.name for file in tmp_path.iterdir()} == {"k.npy.begun", "k.npy.begun.json"}
        kernel_to_file(kernel, x, path, SMALL, lambda *all: told.append(all[:2]), pytest.fail, executor)
    assert path.read_bytes() == undisturbed
    assert [file.name for file in tmp_path.iterdir()] == ["k.npy"]
    assert told == sorted(told)
    assert told[0][0] > 0
    assert told[-1] == (23 * 23, 23 * 23)


def test_workers_get_slices_and_a_path_and_few_at_once(tmp_path):
    with Watched() as executor:
        kernel_to_file(ntk.kernel_fn(ntk.fc(1)), images(), tmp_path / "k.npy", SMALL, executor=executor)
    assert len(executor.calls) == 10
    assert 2 <= executor.most <= COPIES  # what came back has room in the same memory
    with Watched() as one_by_one:
        kernel_to_file(ntk.kernel_fn(ntk.fc(1)), images(), tmp_path / "k.npy", SMALL, executor=one_by_one, at_once=1)
    assert one_by_one.most == 1
    work, _, files, *_ = executor.calls[0]
    assert len(work) < images().numpy().nbytes / 4
    assert files == {"images": str(tmp_path / "k.npy.begun.images")}


def test_a_worker_that_dies_costs_its_tiles(tmp_path):
    """Python breaks the whole pool, and another one is made."""
    kernel, told = ntk.tiled(Linear(tmp_path, "dies once")), []
    with pool() as executor:
        kernel_to_file(kernel, images(), tmp_path / "k.npy", SMALL, tell=told.append, executor=executor)
    assert (tmp_path / "died").exists()
    assert [sentence.partition(":")[0] for sentence in told] == ["Lost with a worker, and asked for again"]
    kernel_to_file(kernel, images(), tmp_path / "alone.npy", SMALL)
    assert (tmp_path / "k.npy").read_bytes() == (tmp_path / "alone.npy").read_bytes()


@pytest.mark.parametrize(("threads", "left"), [(0, ("", ".json")), (2, ("", ".json", ".images"))])
def test_killed_and_gone_on(tmp_path, undisturbed, threads, left):
    """SIGKILL in the middle of the work; the rest is done by another process, alone."""
    path = tmp_path / "k.npy"
    killed = SERVER.Process(target=killed_half_way, args=(path, threads))
    killed.start()
    killed.join(60)
    assert killed.exitcode == -signal.SIGKILL
    assert {file.name for file in tmp_path.iterdir()} == {f"k.npy.begun{end}" for end in left}
    told = []
    kernel_to_file(ntk.kernel_fn(ntk.conv(1)), images(), path, SMALL, lambda *all: told.append(all[0]))
    assert told[0] > 0
    assert path.read_bytes() == undisturbed
    assert [file.name for file in tmp_path.iterdir()] == ["k.npy"]


def killed_half_way(path, threads):
    def die(done, total, note):
        if done >= total / 2:
            os.kill(os.getpid(), signal.SIGKILL)

    with ThreadPoolExecutor(threads) if threads else nullcontext() as executor:
        kernel_to_file(ntk.kernel_fn(ntk.conv(1)), images(), path, SMALL, die, executor=executor)


def test_workers_that_are_always_lost(tmp_path, undisturbed):
    """A few tries, a sentence, and what was finished is kept."""
    kernel, x, path, executor, told = ntk.kernel_fn(ntk.conv(1)), images(), tmp_path / "k.npy", Unreachable(), []
    with pytest.raises(Cancelled):
        kernel_to_file(kernel, x, path, SMALL, stop)
    with pytest.raises(NTKError, match=rf"lost {TRIES} times .*the machine is gone.* kept") as error:
        kernel_to_file(kernel, x, path, SMALL, tell=told.append, executor=executor)
    assert len(str(error.value)) <= 500
    assert len(told) == TRIES - 1
    assert executor.asked <= TRIES * COPIES
    kernel_to_file(kernel, x, path, SMALL, lambda done, total, note: told.append(done), pytest.fail)
    assert told[TRIES - 1] > 0
    assert path.read_bytes() == undisturbed


def test_an_error_of_the_kernel_is_not_tried_again(tmp_path):
    with Watched() as executor, pytest.raises(NTKError, match="ZeroDivisionError: a kernel of one's own"):
        kernel_to_file(ntk.tiled(Linear(tmp_path, "raises")), images(), tmp_path / "k.npy", SMALL, executor=executor)
    assert len(executor.calls) <= COPIES
    assert list(tmp_path.iterdir()) == []


def test_an_executor_that_is_closed(tmp_path):
    """Before the call, or on the way, as Dask's client is by a scheduler that is gone."""
    with ThreadPoolExecutor(1) as closed:
        pass
    for executor, words in ((closed, "takes no tiles: RuntimeError: cannot schedule"), (Closing(), "cancelled a tile")):
        with pytest.raises(NTKError, match=f"The executor {words}.*; call again with another one"):
            kernel_to_file(ntk.kernel_fn(ntk.fc(1)), images(), tmp_path / "k.npy", SMALL, executor=executor)
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_sent_is_refused_before_anything_starts(tmp_path):
    def inner(x1, x2=None):
        return Linear(tmp_path)(x1, x2)

    path, executor = tmp_path / "k.npy", Unreachable()
    for kernel in (lambda x1, x2=None: inner(x1, x2), inner):
        with pytest.raises(SpecError, match=r"This kernel cannot be sent to workers: .*no lambda"):
            kernel_to_file(ntk.tiled(kernel), images(), path, executor=executor)
    with fake_gpu(), pytest.raises(SpecError, match=r"images are on cuda:0; .* Give x\.cpu\(\)"):
        kernel_to_file(ntk.kernel_fn(ntk.fc(1)), images().to("cuda"), path, executor=executor)
    with pytest.raises(SpecError, match="executor must be Executor; got str"):
        kernel_to_file(ntk.kernel_fn(ntk.fc(1)), images(), path, executor="tcp://10.0.0.1:8786")
    assert executor.asked == 0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", ["text", "array"])
def test_somebody_elses_file_is_left_alone(tmp_path, kind):
    mine, path, kernel = tmp_path / "k.npy.begun.images", tmp_path / "k.npy", ntk.kernel_fn(ntk.fc(1))
    with mine.open("wb") as file:
        np.save(file, np.arange(7.0)) if kind == "array" else file.write(b"my own")
    before = mine.read_bytes()
    with ThreadPoolExecutor(1) as executor, pytest.raises(NTKError, match="in the way"):
        kernel_to_file(kernel, images(), path, SMALL, executor=executor)
    assert list(tmp_path.iterdir()) == [mine]
    kernel_to_file(kernel, images(), path, SMALL)
    assert mine.read_bytes() == before


class Untrue(Executor):
    """Has each tile computed, and gives back something made of it."""

    def __init__(self, made):
        self.made = made

    def submit(self, fn, /, *args):
        answer = fn(*args)
        return self.made(ended(answer.found))


def ended(found) -> Future:
    future: Future = Future()
    future.set_result(found)
    return future


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (lambda job: ended(job.result()[:, :2]), r"gave back float64 \(7, 2\) for a tile"),
        (lambda job: ended(None), "gave back NoneType"),
        (lambda job: ended(job.result().astype(str)), "gave back <U"),
        (lambda job: job.result(), "gives ndarray for a tile; a future of its own"),
        (lambda job, first=[]: (first.append(job), first[0])[1], "gives Future for a tile; a future of its own"),
    ],
)
def test_an_executor_whose_answers_are_no_tiles(tmp_path, undisturbed, made, said):
    path, kernel = tmp_path / "k.npy", ntk.kernel_fn(ntk.conv(1))
    with pytest.raises(NTKError, match=said):
        kernel_to_file(kernel, images(), path, SMALL, executor=Untrue(made))
    assert not path.exists()
    kernel_to_file(kernel, images(), path, SMALL)
    assert path.read_bytes() == undisturbed


SWEEPS = {
    "steps of signs": (ntk.kernel_fn(ntk.fc(1)), ntk.fgsm(8 / 255)),
    "many steps": (ntk.kernel_fn(ntk.fc(1)), ntk.pgd(8 / 255, steps=2, random_start=True)),
    "a finite net": (tangent_kernel(finite_net(ntk.fc(1).module((1, 28, 28), width=16))), ntk.fgsm(8 / 255)),
}


@pytest.mark.parametrize(("kernel", "attack"), SWEEPS.values(), ids=list(SWEEPS))
def test_a_sweep_is_the_same(kernel, attack, tmp_path, monkeypatch):
    monkeypatch.setattr(bank_fgsm, "IMAGES", 20)
    monkeypatch.setattr(bank_fgsm, "PREDICTORS", 16)
    arguments, shares = (kernel, *sweep_data(), attack), []
    here = ntk.eigenfeatures(*arguments)
    with Watched() as executor:
        told = {"progress": lambda done, total, _: shares.append(done / total)}
        there = ntk.eigenfeatures(*arguments, **told, executor=executor, folder=tmp_path)
    assert verdicts(here) == verdicts(there)
    assert len(executor.calls) >= 2
    assert shares == sorted(shares)
    assert shares[-1] == 1
    work, _, files, *_ = executor.calls[0]
    assert {Path(file).parent.parent for file in files.values()} == {tmp_path}
    assert len(work) < 150_000
    assert list(tmp_path.iterdir()) == []


def test_a_worker_that_dies_costs_its_piece_of_a_sweep(tmp_path):
    kernel = ntk.tiled(Linear(tmp_path, "dies once"))
    with pool() as executor, pytest.warns(UserWarning, match="Lost with a worker, and asked for again"):
        there = ntk.eigenfeatures(kernel, *sweep_data(), executor=executor, folder=tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["died"]
    assert verdicts(there) == verdicts(ntk.eigenfeatures(kernel, *sweep_data()))


def test_workers_that_do_not_see_the_folder(tmp_path):
    lost = pytest.warns(UserWarning, match="the machine is gone")
    with lost, pytest.raises(NTKError, match=r"lost 3 times .*Call again, with another one or"):
        ntk.eigenfeatures(SWEEPS["many steps"][0], *sweep_data(), executor=Unreachable(), folder=tmp_path)
    with pytest.raises(NTKError, match=r"Cannot write .*no such folder.* choose another folder"):
        ntk.eigenfeatures(SWEEPS["many steps"][0], *sweep_data(), executor=Unreachable(), folder=tmp_path / "none")


def sweep_data():
    task = ntk.load(ntk.DataSpec(n_train=40, n_test=30))
    return task.x_train, task.y_train, task.x_test, task.y_test


def verdicts(sweep):
    return [getattr(sweep, name).tolist() for name in ("right_before", "right_after", "zero_gradient")]


def test_memory_for_less_than_an_entry_still_computes_one_tile_after_another(tmp_path):
    k, x = ntk.kernel_fn(ntk.fc(1)), images()[:3]
    with ThreadPoolExecutor(1) as executor:
        found = kernel_to_file(k, x, tmp_path / "k.npy", memory=1, executor=executor)
    torch.testing.assert_close(torch.from_numpy(np.array(found)).double(), k(x).double(), rtol=1e-6, atol=0)
