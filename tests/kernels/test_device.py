"""What runs where: a GPU takes the plain way in torch, and its results are those of the processor's compiled loops."""

import pytest
import torch

import ntkcore as ntk
from ntkcore.architectures import build
from ntkcore.kernels.infinite.cpu import dense, spatial

NETS = {"fc": (ntk.fc(2), None), "conv": (ntk.conv(2), 7), "myrtle": (ntk.myrtle(5), 7)}


def task_of(size: int | None) -> ntk.Task:
    return ntk.load(ntk.DataSpec(n_train=40, n_test=12, size=size))


@pytest.mark.parametrize(("net", "size"), NETS.values(), ids=list(NETS))
def test_the_way_that_a_gpu_takes_gives_the_same(net, size, monkeypatch):
    """On the processor, with the loops switched off."""
    task, kernel = task_of(size), ntk.kernel_fn(net)
    arguments = (kernel, task.x_train, task.y_train, task.x_test, task.y_test)
    matrix, sweep = kernel(task.x_train.double()), ntk.eigenfeatures(*arguments)
    for loops in (dense, spatial):
        monkeypatch.setattr(loops, "covers", lambda net, images: False)
    torch.testing.assert_close(kernel(task.x_train.double()), matrix, rtol=1e-10, atol=0)
    plain = ntk.eigenfeatures(*arguments, spectrum_of_train=sweep.spectrum)
    assert torch.equal(plain.right_before, sweep.right_before)
    assert torch.equal(plain.right_after, sweep.right_after)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
@pytest.mark.parametrize(("net", "size"), NETS.values(), ids=list(NETS))
def test_a_gpu_computes_what_the_processor_computes(net, size):
    task, kernel = task_of(size), ntk.kernel_fn(net)
    x, y, x_test, y_test = (a.cuda() for a in (task.x_train, task.y_train, task.x_test, task.y_test))
    exact = kernel(task.x_train.double())
    torch.testing.assert_close(kernel(x.double()).cpu(), exact, rtol=1e-10, atol=0)
    torch.testing.assert_close(kernel(x).cpu().double(), exact, rtol=2e-6, atol=0)
    torch.testing.assert_close(kernel(x, x_test).cpu(), kernel(task.x_train, task.x_test), rtol=2e-6, atol=0)
    here = ntk.eigenfeatures(kernel, task.x_train, task.y_train, task.x_test, task.y_test)
    there = ntk.eigenfeatures(kernel, x, y, x_test, y_test)
    assert torch.equal(there.right_before.cpu(), here.right_before)
    assert (there.right_after.cpu() != here.right_after).double().mean() < 0.01


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
def test_an_empirical_kernel_on_a_gpu():
    module, x = build("cnn-small", (3, 16, 16), 3).eval().double(), torch.rand(6, 3, 16, 16, dtype=torch.float64)
    here = ntk.empirical_ntk(module, x)
    torch.testing.assert_close(ntk.empirical_ntk(module.cuda(), x.cuda()).cpu(), here, rtol=1e-9, atol=1e-9)
