"""Compiled loops for convolutional nets, against the plain recursion over whole covariances, number by number."""

import numpy as np
import pytest
import torch
from torch import Tensor

import ntkcore as ntk
from ntkcore.errors import Cancelled, SpecError
from ntkcore.kernels.infinite import InfiniteKernel
from ntkcore.kernels.infinite.cpu import spatial
from ntkcore.nets import Activation, AvgPool, Conv, Dense, Flatten, GlobalAvgPool, Net

RELU, DENSE = Activation("relu"), Dense(1.3, 0.2)
ONE, TWO = Conv(1.4, 0.1), Conv(0.9, 0.5)

NETS = {
    "conv": ntk.conv(3),
    "conv, no bias": ntk.conv(2, b_std=0.0),
    "myrtle-5": ntk.myrtle(5),
    "myrtle-7, no bias": ntk.myrtle(7, b_std=0.0),
    "myrtle-10": ntk.myrtle(10, W_std=1.0, b_std=0.7),
    "flattened convolution": Net((TWO, Flatten(), DENSE)),
    "one convolution": Net((ONE, GlobalAvgPool(), DENSE)),
    "pool, then flatten": Net((ONE, RELU, AvgPool(), TWO, RELU, Flatten(), DENSE)),
    "pool at once": Net((AvgPool(), ONE, RELU, GlobalAvgPool(), DENSE)),
    "two pools in a row": Net((ONE, RELU, AvgPool(), GlobalAvgPool(), DENSE)),
    "relu after pool": Net((ONE, AvgPool(), RELU, TWO, GlobalAvgPool(), DENSE)),
    "two in a row": Net((ONE, TWO, RELU, AvgPool(), TWO, TWO, RELU, GlobalAvgPool(), DENSE)),
    "two dense layers": Net((ONE, RELU, AvgPool(), GlobalAvgPool(), DENSE, DENSE)),
    "three pools, then flatten": Net((ONE, RELU, *(AvgPool(), TWO, RELU) * 3, Flatten(), DENSE)),
}
SIZES = [((3, 8, 8), "ntk"), ((1, 9, 11), "nngp"), ((2, 12, 8), "ntk")]


def images(n: int, shape: tuple[int, int, int], seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.rand(n, *shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype) - 0.2


def plain(kernel: InfiniteKernel, x1: Tensor, x2: Tensor | None = None) -> Tensor:
    """The recursion that carries all pairs of positions: images that want gradients take it."""
    return kernel(x1.clone().requires_grad_(), x2).detach()


@pytest.mark.parametrize(("shape", "kind"), SIZES, ids=str)
@pytest.mark.parametrize("net", NETS.values(), ids=list(NETS))
def test_matrices_are_those_of_the_plain_recursion(net, shape, kind):
    """Square, rectangular and matched; more pairs than a whole number of lanes."""
    kernel = InfiniteKernel(net, kind)
    assert spatial.covers(net, images(1, shape))
    x, z = images(7, shape), images(3, shape, 1)
    z[0] = x[2]  # meets itself
    expected = plain(kernel, x)
    square = ntk.kernel_fn(net, kind)(x)
    torch.testing.assert_close(square, expected, rtol=1e-12, atol=1e-14)
    assert torch.equal(square, square.T)
    torch.testing.assert_close(ntk.kernel_fn(net, kind)(z, x), plain(kernel, z, x), rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(kernel.pairs(x[:3], z), plain(kernel, x[:3], z).diagonal(), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("net", NETS.values(), ids=list(NETS))
def test_variances_are_those_of_the_plain_recursion(net):
    x = images(19, (2, 12, 8))
    expected = InfiniteKernel(net).prepare(x.clone().requires_grad_()).variances
    found = InfiniteKernel(net).prepare(x).variances
    assert len(found) == net.activations == len(expected)
    for mine, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(mine, theirs.detach(), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("depth", [5, 7, 10])
@pytest.mark.parametrize("side", [8, 16])
def test_single_precision_is_close_everywhere(depth, side):
    """Each entry relative to itself, the diagonal and near copies too; real pixels, black ones too."""
    pixels = ntk.load(ntk.DataSpec(n_train=12, n_test=1)).x_train
    x = torch.nn.functional.avg_pool2d(pixels, 28 // side)[:, :, :side, :side].contiguous()
    x = torch.cat([x, x[:2] + 1e-3, x[:1] * 0.5, torch.zeros_like(x[:1])])
    kernel = ntk.kernel_fn(ntk.myrtle(depth))
    single, double = kernel(x), kernel(x.double())
    assert single.dtype == torch.float32
    assert ((single - double) / double).abs().max() < 3e-6
    assert ((kernel(x[:3], x) - double[:3]) / double[:3]).abs().max() < 3e-6


@pytest.mark.parametrize("net", [ntk.conv(1), ntk.conv(5), ntk.conv(5, b_std=0.0), ntk.myrtle(5)], ids=repr)
def test_single_precision_where_images_share_a_region(net):
    """The same pixels, nearly the same, or black ones, in half of images that are far from each other elsewhere."""
    x = images(8, (3, 16, 16), dtype=torch.float32)
    x[1:4, :, :, :8] = x[0, :, :, :8]
    x[4:6, :, :, :8] = x[0, :, :, :8] + 1e-3
    x[6:, :, :8] = 0
    single, double = ntk.kernel_fn(net)(x), ntk.kernel_fn(net)(x.double())
    assert ((single - double) / double).abs().max() < 3e-5


def test_many_close_pairs_are_all_computed_in_double_precision():
    """A pale data set: told to the end once more, symmetric, and as exact as the few."""
    x = 0.5 + 0.01 * images(20, (1, 8, 8), dtype=torch.float32)
    kernel, seen = ntk.kernel_fn(ntk.myrtle(5)), []
    single = kernel.with_progress(lambda done, total, note: seen.append(done / total))(x)
    torch.testing.assert_close(single.double(), kernel(x.double()), rtol=2e-7, atol=0)
    assert torch.equal(single, single.T)
    assert single.dtype == torch.float32
    assert seen[-1] == 1
    torch.testing.assert_close(kernel(x[:3], x), single[:3], rtol=1e-6, atol=0)


def test_nothing_on_one_side():
    x = images(3, (1, 8, 8))
    assert ntk.kernel_fn(ntk.conv(2)).kernel(x, x[:0]).shape == (3, 0)
    assert ntk.kernel_fn(ntk.conv(2)).kernel(x[:0], x).shape == (0, 3)


def test_prepared_while_gradients_were_wanted():
    x = images(4, (1, 8, 8), dtype=torch.float32)
    kernel = InfiniteKernel(ntk.myrtle(5))
    prepared = kernel.prepare(x.clone().requires_grad_())
    with torch.no_grad():
        torch.testing.assert_close(kernel(prepared), kernel(x), rtol=1e-4, atol=0)


def test_images_too_small_for_the_pools():
    with pytest.raises(SpecError, match="too small for Myrtle-5"):
        ntk.kernel_fn(ntk.myrtle(5))(images(2, (1, 3, 3)))


def test_arccos_of_every_cosine():
    """The layer's closed form along all cosines, ends included: a net whose k and t are those of one ReLU."""
    angles = np.linspace(0, np.pi, 2001)
    x = torch.tensor(np.stack([np.cos(angles), np.sin(angles)], 1)).reshape(-1, 2, 1, 1)
    net = Net((Conv(3.0, 0.0), RELU, GlobalAvgPool(), Dense(1.0, 0.0)))  # W^2 / 9 = 1, one position: k = <x, x'> / 2
    k = ntk.kernel_fn(net, "nngp")(x[:1], x)[0].numpy()
    t = ntk.kernel_fn(net)(x[:1], x)[0].numpy() - k
    np.testing.assert_allclose(k, (np.sin(angles) + (np.pi - angles) * np.cos(angles)) / (4 * np.pi), atol=1e-15)
    np.testing.assert_allclose(t, np.cos(angles) / 2 * (np.pi - angles) / (2 * np.pi), atol=5e-9)  # sqrt(eps) at pi


def test_black_images():
    """Without bias there is no variance: the kernel is nothing, not nan."""
    x = torch.zeros(3, 1, 8, 8)
    x[2, 0, 3:5, 3:5] = 1
    k = ntk.kernel_fn(ntk.myrtle(5, b_std=0.0))(x)
    assert k.isfinite().all()
    assert k[:2].abs().max() < 1e-18
    assert k[2, 2] > 0


def test_what_the_loops_leave_to_the_plain_way():
    x = images(2, (3, 8, 8))
    assert not spatial.covers(ntk.myrtle(5, activation="erf"), x)
    assert not spatial.covers(ntk.fc(1), x)
    assert not spatial.covers(Net((ONE, RELU, GlobalAvgPool(), DENSE, RELU, DENSE)), x)
    assert not spatial.covers(ntk.myrtle(5), x.half())
    erf = ntk.myrtle(5, activation="erf")
    torch.testing.assert_close(ntk.kernel_fn(erf)(x), plain(InfiniteKernel(erf), x))


def test_gradients_still_flow():
    """Images that want gradients are not taken by the loops, whatever the values have been computed by."""
    x, z = images(2, (1, 8, 8)).requires_grad_(), images(3, (1, 8, 8), 1)
    kernel = ntk.kernel_fn(ntk.myrtle(5))
    kernel(x, z).sum().backward()
    step = 1e-6 * torch.randn(x.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    with torch.no_grad():
        change = (kernel(x + step, z) - kernel(x - step, z)).sum() / 2
    torch.testing.assert_close(change, (x.grad * step).sum(), rtol=1e-6, atol=0)


def test_progress_and_cancel():
    """Told in pairs, from 0 to all; what it raises ends the work, and no thread is left."""
    import threading

    x = images(40, (1, 16, 16))
    seen: list[tuple[float, float]] = []
    kernel = ntk.kernel_fn(ntk.myrtle(5))
    kernel.with_progress(lambda done, total, note: seen.append((done, total)))(x)
    assert seen[-1] == (40 * 41 / 2, 40 * 41 / 2)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert len({done for done, _ in seen}) > 2
    before = threading.active_count()

    def stop(done, total, note):
        if done > 0:
            raise Cancelled("enough")

    with pytest.raises(Cancelled):
        kernel.with_progress(stop)(x)
    assert threading.active_count() == before


def test_the_same_whatever_the_threads():
    x = images(20, (1, 8, 8), dtype=torch.float32)
    kernel, threads = ntk.kernel_fn(ntk.myrtle(5)), torch.get_num_threads()
    many = kernel(x)
    try:
        torch.set_num_threads(1)
        assert torch.equal(kernel(x), many)
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(kernel(x[:1], x), many[:1])


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 2, 2), (3, 1, 5)], ids=str)
def test_tiny_images(shape):
    net = Net((ONE, RELU, ONE, RELU, GlobalAvgPool(), DENSE))
    x = images(4, shape)
    torch.testing.assert_close(ntk.kernel_fn(net)(x), plain(InfiniteKernel(net), x), rtol=1e-12, atol=1e-14)
