"""Compiled loops for dense nets, against the plain recursion over whole matrices, number by number."""

import pytest
import torch
from torch import Tensor

import ntkcore as ntk
from ntkcore.errors import Cancelled
from ntkcore.kernels.infinite import InfiniteKernel
from ntkcore.kernels.infinite.cpu import dense
from ntkcore.nets import Activation, Dense, Flatten, Net

RELU, ONE, TWO = Activation("relu"), Dense(1.4, 0.1), Dense(0.9, 0.5)
NETS = {
    "fc": ntk.fc(1),
    "deep, no bias": ntk.fc(5, b_std=0.0),
    "other scales": ntk.fc(3, W_std=1.1, b_std=0.7),
    "linear": Net((Flatten(), TWO)),
    "relu at the end": Net((Flatten(), ONE, RELU)),
    "two in a row": Net((Flatten(), ONE, TWO, RELU, TWO)),
}


def images(
    n: int, shape: tuple[int, int, int] = (3, 5, 7), seed: int = 0, dtype: torch.dtype = torch.float64
) -> Tensor:
    return torch.rand(n, *shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype) - 0.2


def plain(kernel: InfiniteKernel, x1: Tensor, x2: Tensor | None = None) -> Tensor:
    """The recursion layer by layer: images that want gradients take it."""
    return kernel(x1.clone().requires_grad_(), x2).detach()


@pytest.mark.parametrize("kind", ["ntk", "nngp"])
@pytest.mark.parametrize("net", NETS.values(), ids=list(NETS))
def test_matrices_are_those_of_the_plain_recursion(net, kind, monkeypatch):
    """Square and rectangular, in blocks of rows that are no whole number of lanes."""
    monkeypatch.setattr(dense, "ROWS", 32)
    monkeypatch.setattr(dense, "CHUNK", 5)
    kernel = InfiniteKernel(net, kind)
    assert dense.covers(net, images(1))
    x, z = images(71), images(19, seed=1)
    z[0] = x[2]  # meets itself
    square = ntk.kernel_fn(net, kind)(x)
    torch.testing.assert_close(square, plain(kernel, x), rtol=1e-12, atol=1e-14)
    assert torch.equal(square, square.T)
    torch.testing.assert_close(ntk.kernel_fn(net, kind)(z, x), plain(kernel, z, x), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("net", NETS.values(), ids=list(NETS))
def test_single_precision_is_close_everywhere(net):
    """Each entry relative to itself: the diagonal, near copies, a black image, one in other brightness."""
    x = images(40, (3, 16, 16), dtype=torch.float32)
    x = torch.cat([x, x[:3] + 1e-4, x[3:5] * 1.001, torch.zeros_like(x[:1]), x[:1]])
    kernel = ntk.kernel_fn(net)
    for single, exact in ((kernel(x), kernel(x.double())), (kernel(x[:7], x), kernel(x[:7].double(), x.double()))):
        assert single.dtype == torch.float32
        scale = exact.abs().clamp(min=1e-3 * float(exact.abs().max()))  # some are near zero by cancellation
        assert float(((single - exact).abs() / scale).max()) < 1e-4


def test_many_near_copies_are_all_computed_in_double():
    x = images(1, dtype=torch.float32).repeat(30, 1, 1, 1)
    x = x + 1e-5 * images(30, seed=3, dtype=torch.float32)
    kernel = ntk.kernel_fn(ntk.fc(5))
    torch.testing.assert_close(kernel(x).double(), kernel(x.double()), rtol=1e-6, atol=0)
    torch.testing.assert_close(kernel(x[:4], x).double(), kernel(x[:4].double(), x.double()), rtol=1e-6, atol=0)


def test_progress_counts_pairs_and_stops_where_it_raises(monkeypatch):
    monkeypatch.setattr(dense, "ROWS", 16)
    seen: list[tuple[float, float]] = []
    kernel, x = ntk.kernel_fn(ntk.fc(1)), images(50)
    kernel.with_progress(lambda done, total, note: seen.append((done, total)))(x)
    assert [total for _, total in seen[1:]] == [50 * 51 / 2] * 5
    assert [done for done, _ in seen[1:]] == sorted({done for done, _ in seen[1:]})
    assert seen[-1][0] == seen[-1][1]

    def stop(done: float, total: float, note: str) -> None:
        seen.append((done, total))
        raise Cancelled

    seen.clear()
    with pytest.raises(Cancelled):
        kernel.with_progress(stop)(x)
    assert len(seen) == 1


def test_images_that_want_gradients_take_the_plain_way():
    x = images(6).requires_grad_()
    (gradient,) = torch.autograd.grad(ntk.kernel_fn(ntk.fc(2))(x[:2], x[2:]).sum(), x)
    assert float(gradient.abs().min()) > 0


@pytest.mark.parametrize("kind", ["ntk", "nngp"])
def test_images_that_are_nearly_opposite_keep_their_digits(kind):
    x = torch.rand(20, 1, 8, 8, generator=torch.Generator().manual_seed(0)) - 0.5
    opposite = -x * (1 + 0.01 * torch.rand(20, 1, 1, 1, generator=torch.Generator().manual_seed(1)))
    kernel = ntk.kernel_fn(ntk.fc(1, W_std=1.0, b_std=0.0), kind)
    exact = kernel(x.double(), opposite.double())
    torch.testing.assert_close(kernel(x, opposite).double(), exact, rtol=2e-6, atol=1e-8 * float(kernel(x).max()))
