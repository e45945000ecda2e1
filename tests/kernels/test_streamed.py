"""Kernels written to a file by tiles: the same numbers, within bounded memory, whatever happens on the way."""

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


def test_what_was_stopped_goes_on(tmp_path):
    """Tiles that are noted are not computed again: their numbers are kept even when somebody changed them."""
    x, kernel, path = images(), ntk.kernel_fn(ntk.conv(1)), tmp_path / "k.npy"

    def stop(done, total, note):
        if done >= total / 2:
            raise Cancelled("enough")

    with pytest.raises(Cancelled):
        kernel_to_file(kernel, x, path, SMALL, stop)
    assert not path.exists()
    begun = np.load(tmp_path / "k.npy.begun", mmap_mode="r+", allow_pickle=False)
    begun[0, 0] = 77.0
    begun.flush()
    K = kernel_to_file(kernel, x, path, SMALL)
    assert K[0, 0] == 77.0
    np.testing.assert_allclose(K.ravel()[1:], kernel(x).numpy().ravel()[1:], rtol=1e-12)


def test_killed_and_gone_on(tmp_path):
    """SIGKILL in the middle of the work; the rest is done by another process's call."""
    program = textwrap.dedent(
        """
        import os, signal, sys, torch
        import ntkcore as ntk
        from ntkcore.kernels import kernel_to_file
        x = torch.rand(23, 1, 8, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        def die(done, total, note):
            if done >= total / 2:
                os.kill(os.getpid(), signal.SIGKILL)
        kernel_to_file(ntk.kernel_fn(ntk.conv(1)), x, sys.argv[1], float(sys.argv[2]), die)
        """
    )
    root = Path(__file__).parents[2]
    killed = subprocess.run([sys.executable, "-c", program, tmp_path / "k.npy", str(SMALL)], cwd=root)
    assert killed.returncode == -9
    assert (tmp_path / "k.npy.begun.json").exists()
    told = []
    K = kernel_to_file(ntk.kernel_fn(ntk.conv(1)), images(), tmp_path / "k.npy", SMALL, lambda *t: told.append(t[0]))
    assert told[0] > 0
    np.testing.assert_allclose(K, ntk.kernel_fn(ntk.conv(1))(images()).numpy(), rtol=1e-12)


def test_other_tiles_begin_anew(tmp_path):
    """Stopped, begun with other tiles and stopped before the first is whole, then again with the first ones."""

    def stop_at(share):
        def stop(done, total, note):
            if done >= share * total:
                raise Cancelled("enough")

        return stop

    x, kernel, path = images(), ntk.kernel_fn(ntk.conv(1)), tmp_path / "k.npy"
    for memory, share in ((SMALL, 0.8), (SMALL / 4, 0.0)):
        with pytest.raises(Cancelled):
            kernel_to_file(kernel, x, path, memory, stop_at(share))
    np.testing.assert_allclose(kernel_to_file(kernel, x, path, SMALL), kernel(x).numpy(), rtol=1e-12)


def test_two_calls_at_once_end_with_one_file(tmp_path):
    kernel, x, path, others = ntk.kernel_fn(ntk.fc(1)), images(), tmp_path / "k.npy", []

    def meanwhile(done: float, total: float, note: str) -> None:
        if done > total / 2 and not others:
            others.append(True)
            kernel_to_file(kernel, x, path, SMALL)

    K = kernel_to_file(kernel, x, path, SMALL, meanwhile)
    assert others
    np.testing.assert_allclose(K, kernel(x).numpy(), rtol=1e-12)
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
    with pytest.raises(SpecError, match="must be above zero"):
        kernel_to_file(ntk.kernel_fn(ntk.fc(1)), images(5)[:n], tmp_path / "k.npy", memory)


@pytest.mark.parametrize("other", ["kernel", "images"])
def test_another_kernel_under_the_same_name_is_refused(tmp_path, other):
    def stop(done, total, note):
        if done:
            raise Cancelled("enough")

    with pytest.raises(Cancelled):
        kernel_to_file(ntk.kernel_fn(ntk.fc(1)), images(), tmp_path / "k.npy", SMALL, stop)
    kernel = ntk.kernel_fn(ntk.fc(2 if other == "kernel" else 1))
    with pytest.raises(SpecError, match="another kernel or other images"):
        kernel_to_file(kernel, images(seed=1 if other == "images" else 0), tmp_path / "k.npy", SMALL)


def test_a_place_that_cannot_be_written(tmp_path, monkeypatch):
    with pytest.raises(NTKError, match="Cannot write"):
        kernel_to_file(ntk.kernel_fn(ntk.fc(1)), images(), tmp_path / "missing" / "k.npy")
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 100})())
    with pytest.raises(NTKError, match="free there"):
        kernel_to_file(ntk.kernel_fn(ntk.fc(1)), images(), tmp_path / "k.npy")


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
