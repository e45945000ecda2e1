"""Tiles: same numbers as untiled, exact symmetry, progress, cancelling, gradients, float32."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from ntkcore import Cancelled, InputMap, SpecError, conv, fc, input_map, kernel_fn, myrtle, tiled
from ntkcore.kernels.blocks import prepared

NETS = {"fc1": fc(1), "fc3-erf": fc(3, activation="erf"), "conv2": conv(2), "myrtle5": myrtle(5)}


def images(n, seed=0, shape=(2, 4, 4), dtype=torch.float64):
    return torch.rand(n, *shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@pytest.mark.parametrize("name", NETS)
def test_tiled_equals_untiled(name):
    k = kernel_fn(NETS[name])
    small = replace(k, tile_bytes=k.kernel.bytes_per_pair((2, 4, 4), torch.float64) * 9.5)  # 3 x 3 images a tile
    assert small.tile_shape(images(7), None) == (3, 3)
    x1, x2 = images(7), images(5, seed=1)
    torch.testing.assert_close(small(x1), k.kernel(x1), rtol=1e-12, atol=0)
    torch.testing.assert_close(small(x1, x2), k.kernel(x1, x2), rtol=1e-12, atol=0)


@pytest.mark.parametrize(("n1", "n2", "shape"), [(7, 5, (3, 3)), (1, 20, (1, 9)), (20, 1, (9, 1)), (2, 20, (2, 4))])
def test_a_short_side_leaves_its_room_in_a_tile_to_the_other(n1, n2, shape):
    k = kernel_fn(fc(1))
    small = replace(k, tile_bytes=k.kernel.bytes_per_pair((2, 4, 4), torch.float64) * 9.5)
    assert small.tile_shape(images(n1), images(n2)) == shape


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
def test_square_kernel_is_exactly_symmetric_and_in_the_dtype_of_its_images(name, dtype):
    K = kernel_fn(NETS[name])(images(20, dtype=dtype))
    assert torch.equal(K, K.T)
    assert K.dtype == dtype


@pytest.mark.parametrize("name", NETS)
def test_gradient_through_tiles_equals_gradient_without(name):
    k = kernel_fn(NETS[name])
    small = replace(k, tile_bytes=k.kernel.bytes_per_pair((2, 4, 4), torch.float64) * 4.5)
    weights = torch.rand(5, 5, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    gradients = []
    for kernel in (k.kernel, small):
        x = images(5).requires_grad_()
        gradients += torch.autograd.grad((kernel(x) * weights).sum(), x)
    torch.testing.assert_close(gradients[1], gradients[0], rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", NETS)
def test_float32_is_close_to_float64_everywhere(name):
    x = torch.cat([images(30), images(30)[:3]])  # with duplicates: angles of exactly zero off the diagonal too
    exact, single = kernel_fn(NETS[name])(x), kernel_fn(NETS[name])(x.float()).double()
    assert ((single - exact) / exact).abs().max().item() < 2e-4


def test_progress_counts_to_its_total_and_can_cancel():
    k, seen = kernel_fn(NETS["fc3-erf"]), []  # ReLU nets need no tiles on the CPU
    k = replace(k, tile_bytes=64e3, progress=lambda done, total, note: seen.append((done, total)))
    k(images(60))
    assert seen[-1][0] == seen[-1][1] > 0
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert len(seen) > 3

    def stop(done, total, note):
        if done > 0:
            raise Cancelled("stop")

    with pytest.raises(Cancelled):
        k.with_progress(stop)(images(60))


@pytest.mark.parametrize("name", NETS)
def test_pair_gradients_equal_autograd(name):
    inputs = input_map("standardise", images(9, seed=5))
    k = kernel_fn(NETS[name], inputs=inputs)
    x, others = images(1)[0], torch.cat([images(3, seed=1), images(1)])  # the image itself among the others
    J = k.kernel.pair_gradients(x, others)
    for j in range(4):
        z = x[None].clone().requires_grad_()
        (expected,) = torch.autograd.grad(k(z, others[j : j + 1]).sum(), z)
        torch.testing.assert_close(J[j], expected[0], rtol=1e-8, atol=1e-10)


def test_an_input_map_of_one_number_a_channel():
    """As images are most often normalised."""
    x = torch.rand(4, 3, 6, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    means = torch.tensor([0.5, 0.4, 0.3], dtype=torch.float64)[:, None, None]
    whole, few = (InputMap(shift, 0.25) for shift in (means.expand(3, 6, 5), means))
    assert torch.equal(few(x), whole(x))
    torch.testing.assert_close(kernel_fn(conv(1), inputs=few)(x), kernel_fn(conv(1), inputs=whole)(x))
    with pytest.raises(SpecError, match=r"\(3, 6, 5\) is needed"):
        few(x[:, :2])


def test_input_maps():
    x = images(50)
    centred = input_map("centre", x)(x)
    assert centred.mean(0).abs().max().item() < 1e-12
    standard = input_map("standardise", x)(x)
    assert standard.square().mean().sqrt().item() == pytest.approx(1)
    assert torch.equal(input_map("raw", x)(x), x)
    torch.testing.assert_close(kernel_fn(fc(1), inputs=input_map("centre", x))(x), kernel_fn(fc(1))(centred))
    with pytest.raises(SpecError, match="cannot be standardised"):
        input_map("standardise", torch.ones(3, 1, 2, 2))


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda k: k(torch.rand(3, 4)), "float tensor"),
        (lambda k: k(torch.ones(3, 1, 4, 4, dtype=torch.uint8)), "float tensor"),
        (lambda k: k(torch.rand(3, 1, 4, 4), torch.rand(3, 1, 5, 5)), "one shape"),
        (lambda k: k(torch.rand(3, 1, 4, 4), torch.rand(3, 1, 4, 4).double()), "share dtype"),
        (lambda k: kernel_fn(fc(1), kind="rbf"), "'ntk' or 'nngp'"),
        (lambda k: tiled(lambda x1, x2=None: 5)(torch.rand(3, 1, 4, 4)), "must be a torch tensor; got int"),
        (lambda k: tiled(lambda x1, x2=None: torch.ones(1, 1))(torch.rand(3, 1, 4, 4)), r"gives shape \(1, 1\) for 3"),
    ],
    ids=["flat images", "integers", "shapes differ", "dtypes differ", "kind", "no matrix", "another matrix"],
)
def test_wrong_input_is_refused_in_words(call, words):
    with pytest.raises(SpecError, match=words):
        call(kernel_fn(fc(1)))


@pytest.mark.parametrize("net", [fc(1), conv(1), myrtle(5)], ids=str)
def test_nothing_no_tensor_and_half_precision_are_refused_in_words(net):
    k, x = kernel_fn(net), torch.rand(3, 1, 4, 4)
    for arguments in ((x[:0],), (x[:0], x), (x, x[:0])):
        with pytest.raises(SpecError, match="no images in x"):
            k(*arguments)
    with pytest.raises(SpecError, match="torch tensor; got ndarray"):
        k(x.numpy())
    for half in (torch.float16, torch.bfloat16):
        with pytest.raises(SpecError, match="float32 or float64"):
            k(x.to(half))


@pytest.mark.parametrize("sides", ["square", "first", "second", "both"])
@pytest.mark.parametrize("name", NETS)
def test_gradients_of_both_sides_through_tiles(name, sides):
    """Against one tile that holds everything."""
    k, (n1, n2) = kernel_fn(NETS[name]), (4, 5)
    small = replace(k, tile_bytes=k.kernel.bytes_per_pair((2, 4, 4), torch.float64) * 4.5)
    weights = torch.rand(n1, n1 if sides == "square" else n2, generator=torch.Generator().manual_seed(3)).double()
    found = []
    for kernel in (k.kernel, small):
        x1, x2 = images(n1).requires_grad_(sides != "second"), images(n2, seed=1)
        x2.requires_grad_(sides in ("second", "both"))
        value = kernel(x1) if sides == "square" else kernel(x1, x2)
        asked = [x for x in (x1, x2) if x.requires_grad][: 1 if sides in ("square", "first") else 2]
        found.append((value, *torch.autograd.grad((value * weights).sum(), asked)))
    torch.testing.assert_close(found[1], found[0], rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("side", [0, 1], ids=["first", "second"])
def test_gradient_where_the_other_side_is_prepared(name, side):
    """Predictors prepare their training images once; images beside them are differentiated, by tiles too."""
    k = kernel_fn(NETS[name])
    small = replace(k, tile_bytes=k.kernel.bytes_per_pair((2, 4, 4), torch.float64) * 4.5)
    moved, still = images(7).requires_grad_(), images(5, seed=1)
    found = []
    for kernel, other in ((k.kernel, still), (small, prepared(small, still))):
        block = kernel(moved, other) if side == 0 else kernel(other, moved)
        found.append(torch.autograd.grad(block.square().sum(), moved)[0])
    torch.testing.assert_close(found[1], found[0], rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("images_too", [False, True], ids=["weights", "weights-and-images"])
def test_weights_of_a_kernel_of_ones_own_get_their_gradient_through_tiles(images_too):
    scale = torch.tensor(1.5, dtype=torch.float64, requires_grad=True)

    def kernel(x1, x2=None):
        return scale * (x1.flatten(1) @ (x1 if x2 is None else x2).flatten(1).T).exp()

    found = []
    for tile_bytes in (1e9, 2e3):
        x = images(6).requires_grad_(images_too)
        asked = [scale, x] if images_too else [scale]
        found.append(torch.autograd.grad(tiled(kernel, tile_bytes)(x).sum(), asked))
    assert tiled(kernel, 2e3).tile_shape(images(6), None)[0] < 6
    torch.testing.assert_close(found[1], found[0], rtol=1e-12, atol=0)


PEAK = """
import torch
from ntkcore import kernel_fn, myrtle
from ntkcore.kernels.blocks import tiled

def peak():
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM"))

k = tiled(kernel_fn(myrtle(5)).kernel, 1.0)  # one pair a tile
x = torch.rand(12, 1, 16, 16, dtype=torch.float64)
for n in (2, 12):
    before, z = peak(), x[:3].clone().requires_grad_()
    torch.autograd.grad(k(z, x[:n]).sum(), z)
print(peak() - before)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")
@pytest.mark.parametrize("net", [fc(2, activation="erf"), conv(1, activation="erf")], ids=["fc", "conv"])
@pytest.mark.parametrize("square", [True, False], ids=["square", "against-others"])
@pytest.mark.parametrize("tiles", [1e9, 2.5], ids=["whole", "by-tiles"])
def test_second_derivatives_are_right(net, square, tiles):
    """Against differences of first ones."""
    k = kernel_fn(net)
    k = replace(k, tile_bytes=k.kernel.bytes_per_pair((1, 2, 2), torch.float64) * tiles)
    x, others = images(3, shape=(1, 2, 2)).requires_grad_(), None if square else images(4, seed=1, shape=(1, 2, 2))
    assert torch.autograd.gradgradcheck(lambda z: k(z, others), x)


@pytest.mark.parametrize("name", ["fc1", "conv2", "myrtle5"])
def test_second_derivatives_of_relu_kernels_are_refused_in_words(name):
    k, x = kernel_fn(NETS[name]), images(2, shape=(1, 4, 4)).requires_grad_()
    with pytest.raises(SpecError, match="Second derivatives"):
        torch.autograd.grad(k(x).sum(), x, create_graph=True)


def test_memory_of_a_gradient_is_that_of_one_tile():
    """Six times as many pairs, whose covariances of 0.5 MB took 0.5 GB together when graphs lay between them."""
    found = subprocess.run([sys.executable, "-c", PEAK], capture_output=True, text=True, check=True)
    assert int(found.stdout) < 50_000  # kB
