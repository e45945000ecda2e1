"""Kernels written to a file by tiles: the same numbers, within bounded memory, whatever happens on the way.

By other processes, and after a kill: ``executors/test_executors.py``.
"""

import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import torch

import ntkcore as ntk
from ntkcore.errors import Cancelled, NTKError, SpecError
from ntkcore.kernels import kernel_to_file
from ntkcore.kernels.streamed import COPIES
from ntkcore.kernels.unfinished import UnfinishedKernel

SMALL = COPIES * 8 * 7**2  # bytes: tiles of 7 images in double precision


def images(n: int = 23, seed: int = 0) -> torch.Tensor:
    return torch.rand(n, 1, 8, 8, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("net", [ntk.fc(1), ntk.conv(2), ntk.myrtle(5)], ids=str)
@pytest.mark.parametrize("memory", [SMALL, 1e9], ids=["tiles", "one tile"])
def test_the_file_is_the_kernel(tmp_path, net, memory):
    x, kernel, seen = images(), ntk.kernel_fn(net), []
    K = kernel_to_file(kernel, x, tmp_path / "k.npy", memory, lambda *told: seen.append(told[:2]))
    np.testing.assert_allclose(K, kernel(x).numpy(), rtol=1e-12)
    assert np.array_equal(K, K.T)
    assert np.array_equal(np.load(tmp_path / "k.npy"), K)
    assert [path.name for path in tmp_path.iterdir()] == ["k.npy"]
    assert seen[0][0] == 0
    assert seen[-1][0] == seen[-1][1]


def test_single_precision_and_an_empirical_kernel(tmp_path):
    x = images(9).float()
    kernel = ntk.empirical_kernel_fn(ntk.fc(1).module((1, 8, 8), 16))
    K = kernel_to_file(kernel, x, tmp_path / "k.npy", COPIES * 4 * 4**2)
    assert K.dtype == np.float32
    np.testing.assert_allclose(K, kernel(x).numpy(), rtol=1e-5)


@pytest.mark.parametrize(
    ("given", "computed"), [(torch.float32, torch.float64), (torch.float64, torch.float32)], ids=["wider", "narrower"]
)
def test_a_kernel_that_computes_in_another_precision_than_its_images_have(tmp_path, given, computed):
    def linear(x1, x2=None):
        return x1.to(computed).flatten(1) @ (x1 if x2 is None else x2).to(computed).flatten(1).T

    x = images().to(given)
    K = kernel_to_file(ntk.kernels.tiled(linear), x, tmp_path / "k.npy", SMALL)
    assert torch.from_numpy(np.array(K)).dtype == given
    np.testing.assert_allclose(K, linear(x).numpy(), rtol=1e-5)


def stop_at(share):
    """Progress that stops a call once so much is done."""

    def stop(done, total, note):
        if done >= share * total:
            raise Cancelled("enough")

    return stop


def stopped(path, share=0.5, memory=SMALL):
    """A kernel of conv(1) that was stopped on the way; the one that it is of and its images."""
    kernel, x = ntk.kernel_fn(ntk.conv(1)), images()
    with pytest.raises(Cancelled):
        kernel_to_file(kernel, x, path, memory, stop_at(share))
    return kernel, x


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """The bytes of a file of conv(1) that was written in one go."""
    path = tmp_path_factory.mktemp("undisturbed") / "k.npy"
    kernel_to_file(ntk.kernel_fn(ntk.conv(1)), images(), path, SMALL)
    return path.read_bytes()


def test_what_was_stopped_goes_on(tmp_path, undisturbed):
    """What was finished is not computed again."""
    path, computed = tmp_path / "k.npy", []
    kernel, x = stopped(path)
    assert not path.exists()

    def counted(x1, x2=None):
        computed.append(len(x1) * len(x1 if x2 is None else x2))
        return kernel(x1, x2)

    kernel_to_file(ntk.kernels.tiled(counted), x, path, SMALL)
    assert sum(computed) < 0.7 * len(x) ** 2
    assert path.read_bytes() == undisturbed
    assert [file.name for file in tmp_path.iterdir()] == ["k.npy"]


def bytes_changed(file, where, *values):
    content = bytearray(file.read_bytes())
    for at, value in enumerate(values, where % len(content)):
        content[at] ^= value
    file.write_bytes(content)


BEGUN, LIST = "k.npy.begun", "k.npy.begun.json"
DAMAGE = {
    "a bit of a number": (lambda folder: bytes_changed(folder / BEGUN, 129, 1), "1 of 5 finished tiles .* damaged"),
    "a number below the diagonal": (
        lambda folder: bytes_changed(folder / BEGUN, 128 + 8 * (23 * 8), 255),
        "1 of 5 finished tiles .* damaged",
    ),
    "the head of the file": (lambda folder: bytes_changed(folder / BEGUN, 3, 255, 255), None),
    "cut short": (lambda folder: os.truncate(folder / BEGUN, 400), "5 of 5 finished tiles .* damaged"),
    "longer": (lambda folder: os.truncate(folder / BEGUN, 10_000), None),
    "empty": (lambda folder: os.truncate(folder / BEGUN, 0), "gone or empty, and the kernel is begun anew"),
    "removed": (lambda folder: (folder / BEGUN).unlink(), "gone or empty, and the kernel is begun anew"),
    "no list": (lambda folder: (folder / LIST).unlink(), "list of finished tiles .* damaged, .* begun anew"),
    "an empty list": (lambda folder: os.truncate(folder / LIST, 0), "list .* damaged, .* begun anew"),
    "the list's first line": (lambda folder: bytes_changed(folder / LIST, 30, 1), "list .* damaged, .* begun anew"),
    "the list's last line": (lambda folder: bytes_changed(folder / LIST, -40, 1), None),
    "a line cut short": (lambda folder: os.truncate(folder / LIST, (folder / LIST).stat().st_size - 9), None),
    "a line's end": (lambda folder: bytes_changed(folder / LIST, -1, 8), None),
    "zeros": (lambda folder: (folder / LIST).write_bytes(bytes(500)), "list .* damaged, .* begun anew"),
    "no text": (lambda folder: (folder / LIST).write_bytes(b"\xff\xfe\n\x80"), "list .* damaged, .* begun anew"),
    "no JSON": (lambda folder: (folder / LIST).write_text('{"done": [[0,'), "list .* damaged, .* begun anew"),
    "JSON of another kind": (lambda folder: (folder / LIST).write_text("[null, 1e999]"), "list .* damaged"),
    "odd types": (
        lambda folder: (folder / LIST).write_text('{"kernel": 5, "probe": null, "side": "x", "done": {"a": []}}'),
        "list .* damaged, .* begun anew",
    ),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_on_the_way(tmp_path, undisturbed, damage):
    """Right numbers whatever happened meanwhile to what a call left; where work is done again, a sentence says so."""
    kernel, x = stopped(tmp_path / "k.npy", 0.7)
    harm, sentence = DAMAGE[damage]
    harm(tmp_path)
    told = []
    kernel_to_file(kernel, x, tmp_path / "k.npy", SMALL, tell=told.append)
    assert (tmp_path / "k.npy").read_bytes() == undisturbed
    assert [file.name for file in tmp_path.iterdir()] == ["k.npy"]
    assert len(told) == (sentence is not None)
    assert sentence is None or re.search(sentence, told[0])


def test_a_sentence_is_a_warning_where_nobody_listens(tmp_path):
    kernel, x = stopped(tmp_path / "k.npy")
    os.truncate(tmp_path / LIST, 0)
    with pytest.warns(UserWarning, match="begun anew"):
        kernel_to_file(kernel, x, tmp_path / "k.npy", SMALL)


def test_killed_between_the_name_and_the_end(tmp_path, monkeypatch, undisturbed):
    """The file has its name already; only the list was still to go."""
    path, finish = tmp_path / "k.npy", UnfinishedKernel.finish

    def killed(self):
        finish(self)
        self.complete = False  # so the list stays
        raise KeyboardInterrupt

    monkeypatch.setattr(UnfinishedKernel, "finish", killed)
    kernel, x = ntk.kernel_fn(ntk.conv(1)), images()
    with pytest.raises(KeyboardInterrupt):
        kernel_to_file(kernel, x, path, SMALL)
    monkeypatch.undo()
    assert {file.name for file in tmp_path.iterdir()} == {"k.npy", LIST}
    kernel_to_file(kernel, x, path, SMALL, tell=pytest.fail)
    assert path.read_bytes() == undisturbed
    assert [file.name for file in tmp_path.iterdir()] == ["k.npy"]


@pytest.mark.parametrize("name", [BEGUN, LIST])
@pytest.mark.parametrize("kind", ["text", "array", "folder", "link"])
def test_what_is_not_ours_is_not_touched(tmp_path, name, kind):
    """Somebody's own file, folder or link where the unfinished ones would be; a list of ours says whose a file is."""
    mine, target = tmp_path / name, tmp_path / "target.npy"
    np.save(target, np.arange(1000.0))
    content = target.read_bytes()
    if kind == "text":
        mine.write_text("a diary\n")
    elif kind == "array":
        mine.write_bytes(content)
    elif kind == "folder":
        mine.mkdir()
    else:
        mine.symlink_to(target)
    before = mine.read_bytes() if mine.is_file() else None
    with pytest.raises(NTKError, match=r"in the way.*Move it away, or choose another name"):
        kernel_to_file(ntk.kernel_fn(ntk.conv(1)), images(), tmp_path / "k.npy", SMALL)
    assert (mine.read_bytes() if mine.is_file() else None) == before
    assert target.read_bytes() == content
    assert {file.name for file in tmp_path.iterdir()} == {name, target.name}


def test_less_memory_on_the_way(tmp_path, undisturbed):
    """Tiles that were begun are gone on with, in pieces where they are too large by now."""
    kernel, x = stopped(tmp_path / "k.npy", 0.5)
    with pytest.raises(Cancelled):
        kernel_to_file(kernel, x, tmp_path / "k.npy", SMALL / 4, stop_at(0.9), tell=pytest.fail)
    K = kernel_to_file(kernel, x, tmp_path / "k.npy", 10 * SMALL, tell=pytest.fail)
    np.testing.assert_allclose(K, kernel(x).numpy(), rtol=1e-12)
    assert np.array_equal(K, K.T)


def test_the_second_of_two_calls_is_refused(tmp_path, undisturbed):
    path, refused = tmp_path / "k.npy", []

    def meanwhile(done: float, total: float, note: str) -> None:
        if done > total / 2 and not refused:
            with pytest.raises(NTKError, match=r"k.npy is being written by another process. Wait for it, or") as error:
                kernel_to_file(kernel, x, path, SMALL / 4)
            refused.append(error)

    kernel, x = ntk.kernel_fn(ntk.conv(1)), images()
    kernel_to_file(kernel, x, path, SMALL, meanwhile)
    assert refused
    assert path.read_bytes() == undisturbed
    assert [file.name for file in tmp_path.iterdir()] == ["k.npy"]


def test_progress_inside_a_tile(tmp_path):
    seen = []
    x = torch.rand(40, 1, 16, 16, dtype=torch.float64)
    kernel_to_file(ntk.kernel_fn(ntk.myrtle(5)), x, tmp_path / "k.npy", 1e9, lambda *told: seen.append(told[0]))
    assert seen == sorted(seen)
    assert seen[-1] == 40 * 40
    assert len(set(seen)) > 2


@pytest.mark.parametrize(("n", "memory"), [(0, 1e6), (5, 0.0), (5, -1.0)])
def test_nothing_to_write_or_to_write_with(tmp_path, n, memory):
    with pytest.raises(SpecError, match="no images in x" if n == 0 else "memory is .* greater than 0"):
        kernel_to_file(ntk.kernel_fn(ntk.fc(1)), images(5)[:n], tmp_path / "k.npy", memory)


@pytest.mark.parametrize("other", ["kernel", "nearly the same kernel", "images", "number of images", "precision"])
def test_another_kernel_under_the_same_name_is_refused(tmp_path, undisturbed, other):
    kernel, x = stopped(tmp_path / "k.npy")
    others = {
        "kernel": (ntk.kernel_fn(ntk.conv(2)), x),
        "nearly the same kernel": (ntk.kernel_fn(ntk.conv(1, W_std=2**0.5 * (1 + 1e-12))), x),
        "images": (kernel, images(seed=1)),
        "number of images": (kernel, x[:-1]),
        "precision": (kernel, x.float()),
    }
    with pytest.raises(SpecError, match="another kernel or other images"):
        kernel_to_file(*others[other], tmp_path / "k.npy", SMALL)
    kernel_to_file(kernel, x, tmp_path / "k.npy", SMALL, tell=pytest.fail)
    assert (tmp_path / "k.npy").read_bytes() == undisturbed


@pytest.mark.parametrize(
    ("place", "sentence"),
    [
        pytest.param("missing/k.npy", "there is no such folder", id="folder missing"),
        pytest.param("file/k.npy", "there is no such folder", id="folder a file"),
        pytest.param("folder", "Is a directory", id="a folder"),
        pytest.param("", "Is a directory", id="no name"),
        pytest.param("k" * 5000, "[Nn]ame.* too long", id="name too long"),
        pytest.param("k" * 250, "name is too long", id="name too long while unfinished"),
    ],
)
def test_a_place_that_cannot_be_written(tmp_path, place, sentence):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    with pytest.raises(NTKError, match=f"Cannot write .*{sentence}") as error:
        kernel_to_file(ntk.kernel_fn(ntk.fc(1)), images(), tmp_path / place if place else "")
    assert len(str(error.value)) <= 500
    assert {path.name for path in tmp_path.iterdir()} == {"folder", "file"}


def test_a_folder_that_cannot_be_written(tmp_path, monkeypatch):
    monkeypatch.setattr("os.access", lambda path, mode: False)  # tests may run as root, who may all
    with pytest.raises(NTKError, match="no permission to write there"):
        kernel_to_file(ntk.kernel_fn(ntk.fc(1)), images(), tmp_path / "k.npy")


def test_too_little_room_is_said_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 100})())
    with pytest.raises(NTKError, match="free there"):
        kernel_to_file(ntk.kernel_fn(ntk.fc(1)), images(), tmp_path / "k.npy")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(sys.platform != "linux", reason="/dev/full")
def test_the_disk_fills_up_on_the_way(tmp_path, monkeypatch, undisturbed):
    """What was finished is kept, and gone on with when there is room again."""
    kernel, x, written = ntk.kernel_fn(ntk.conv(1)), images(), []
    whole = UnfinishedKernel.write

    def write(self, numbers, top, left):
        written.append(top)
        if len(written) == 5:
            Path("/dev/full").write_bytes(bytes(10))
        whole(self, numbers, top, left)

    monkeypatch.setattr(UnfinishedKernel, "write", write)
    with pytest.raises(NTKError, match=r"the disk is full.*what was finished is kept"):
        kernel_to_file(kernel, x, tmp_path / "k.npy", SMALL)
    assert len((tmp_path / LIST).read_bytes().splitlines()) == 3
    kernel_to_file(kernel, x, tmp_path / "k.npy", SMALL, tell=pytest.fail)
    assert (tmp_path / "k.npy").read_bytes() == undisturbed


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_is_bounded(tmp_path):
    """A kernel of 200 MB through tiles of 20 MB: the process never holds the whole."""
    program = textwrap.dedent(
        """
        import sys, torch
        import ntkcore as ntk
        from ntkcore.kernels import kernel_to_file
        def field(name):
            lines = open("/proc/self/status").read().splitlines()
            return next(int(line.split()[1]) for line in lines if line.startswith(name)) / 1e3
        x = torch.rand(7000, 1, 4, 4)
        kernel = ntk.kernel_fn(ntk.fc(1))
        kernel(x[:2000]), kernel(x[:1000], x[:1000])
        open("/proc/self/clear_refs", "w").write("5")
        before = field("VmRSS")
        kernel_to_file(kernel, x, sys.argv[1], 20e6)
        print(field("VmHWM") - before)
        """
    )
    root = Path(__file__).parents[2]
    ran = subprocess.run(
        [sys.executable, "-c", program, tmp_path / "k.npy"], cwd=root, capture_output=True, text=True, check=True
    )
    assert float(ran.stdout) < 100
