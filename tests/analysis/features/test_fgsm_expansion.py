"""What the expansion says of a step of signs, against the kernel itself at the attacked images."""

import numpy as np
import pytest
import torch

import ntkcore as ntk
from ntkcore.analysis.features import fgsm_directions, fgsm_expansion, fgsm_loops
from ntkcore.analysis.features.bank_attacks import DOUBT
from ntkcore.analysis.features.fgsm_expansion import Expansion
from ntkcore.kernels.infinite.cpu import integers
from ntkcore.kernels.loops.registers import COLUMNS
from ntkcore.kernels.loops.vectors import LANES

NETS = {"fc": ntk.fc(1), "deep": ntk.fc(4), "other scales": ntk.fc(2, W_std=1.1, b_std=0.6)}
EPS = 6 / 255


@pytest.fixture(scope="module")
def task():
    """Real images, most of whose borders are black."""
    return ntk.load(ntk.DataSpec(n_train=70, n_test=60))


def by_integers(monkeypatch, wanted):
    """Have mixtures of images of 256 levels taken by integers, wherever this runs and however few they are, or not."""
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX512" if wanted else "AVX2")
    monkeypatch.setattr(integers, "FEWEST", 1)


def setting(task, net, kind, inputs):
    """A kernel, its expansion, and unit weights [7, 70] with some structure."""
    kernel = ntk.kernel_fn(net, kind, ntk.input_map(inputs, task.x_train))
    weights = ntk.spectrum(kernel(task.x_train.double())).vectors[:, [0, 1, 2, 5, 10, 30, 69]].T.contiguous()
    return kernel, Expansion.of(kernel, kernel.kernel.prepare(task.x_train), task.x_test, weights.float()), weights


@pytest.mark.parametrize("all_up_to", [0, 128], ids=["some directions", "all directions"])
@pytest.mark.parametrize("way", ["mixtures", "rounded mixtures", "own gradients"])
@pytest.mark.parametrize(("kind", "inputs"), [("ntk", "raw"), ("ntk", "standardise"), ("nngp", "centre")])
@pytest.mark.parametrize("net", NETS.values(), ids=list(NETS))
def test_changes_are_those_of_the_kernel_up_to_the_bound(task, net, kind, inputs, way, all_up_to, monkeypatch):
    rough = way != "own gradients"
    by_integers(monkeypatch, way == "rounded mixtures")
    monkeypatch.setattr(fgsm_directions, "ALL_UP_TO", all_up_to)
    kernel, around, weights = setting(task, net, kind, inputs)
    assert around.shares.shape[1] <= fgsm_expansion.MOST_MIXED
    assert (around.levels is not None) == (way == "rounded mixtures" and inputs == "raw")
    b, i = np.repeat(np.arange(7), 20), np.tile(np.arange(0, 60, 3), 7)
    signs = np.where((b + i) % 2, 1, -1).astype(np.float32)
    steps = around.sign_steps(b, i, signs, EPS, 32, rough)

    x = task.x_test.double().requires_grad_()
    outputs = kernel(x, task.x_train.double()) @ weights.T  # [m, 7]
    gradients = torch.stack([torch.autograd.grad(outputs[:, k].sum(), x, retain_graph=True)[0] for k in range(7)])
    ways = torch.from_numpy(signs).double()[:, None, None, None]
    z = (x.detach()[i] + EPS * ways * gradients[b, i].sign()).clamp(0, 1)
    with torch.no_grad():
        block = kernel(z, task.x_train.double())
        change = (block * weights[b]).sum(1) - outputs[i, b]
    rounding = DOUBT * float(block.abs().max())  # of single precision, as sweeps reckon with it
    assert bool(((steps.change - change).abs() <= steps.bound + rounding).all())
    assert float((steps.bound / change.abs()).median()) < (0.5 if rough else 0.1)  # it says something
    if rough:
        return
    images = steps.images(torch.arange(len(b)))  # the very ones, but for pixels with gradients as small as rounding
    assert float((images.double() - z).abs().gt(1e-6).double().mean()) < 1e-3
    assert float((images.double() - x.detach()[i]).abs().max()) <= EPS + 1e-6
    assert float(images.min()) >= 0
    assert float(images.max()) <= 1


def test_no_way_to_go_is_stuck(task):
    _, around, _ = setting(task, NETS["fc"], "ntk", "raw")
    b, i = np.array([0, 1, 2]), np.array([3, 4, 5])
    signs = np.array([0, 1, -1], np.float32)
    steps = around.sign_steps(b, i, signs, EPS, 32, False)
    assert steps.stuck.tolist() == [True, False, False]
    assert float(steps.change[0]) == pytest.approx(0, abs=1e-6)
    assert torch.equal(steps.images(torch.tensor([0]))[0], task.x_test[3])


def test_other_kernels_have_none(task):
    for net in (ntk.conv(2), ntk.fc(1, activation="erf")):
        kernel = ntk.kernel_fn(net)
        assert Expansion.of(kernel, kernel.kernel.prepare(task.x_train[:5]), task.x_test[:3], torch.ones(2, 5)) is None
    double = ntk.kernel_fn(ntk.fc(1))
    assert (
        Expansion.of(double, double.kernel.prepare(task.x_train[:5].double()), task.x_test[:3], torch.ones(2, 5))
        is None
    )
    assert Expansion.of(lambda x, z=None: x, task.x_train[:5], task.x_test[:3], torch.ones(2, 5)) is None


@pytest.mark.parametrize("levels", [True, False], ids=["rounded", "whole"])
def test_mixtures_are_sums_but_for_what_rounding_lost(task, levels, monkeypatch):
    by_integers(monkeypatch, levels)
    _, around, weights = setting(task, NETS["fc"], "ntk", "raw")
    mixes, lost = around._mixes(2, 6)
    factors = weights[2:6, None] * torch.from_numpy(around.mixture[:, :70]).double() / 784
    images = task.x_train.flatten(1).double()
    if levels:
        assert 0 < float(np.abs(lost).max()) <= float(factors.abs().max()) / 2**14
        factors = factors - torch.from_numpy(lost[:, :, :70]).double()
    else:
        assert lost.shape[1] == 0
    expected = factors @ images
    torch.testing.assert_close(torch.from_numpy(mixes).double(), expected, rtol=1e-5, atol=1e-6 * float(expected.max()))


@pytest.mark.parametrize("lost", [0, 3])
@pytest.mark.parametrize(("start", "stop"), [(0, 1), (0, 16), (3, 40)])
def test_sums_along_directions(start, stop, lost):
    rng = np.random.default_rng(1)
    n, columns, pairs = 9 * LANES, 2 * COLUMNS, 40
    weights, factors, along, missing = (
        rng.normal(size=shape).astype(np.float32) for shape in ((5, n), (7, n), (n, columns), (4, lost, n))
    )
    shares = rng.normal(size=(pairs, lost)).astype(np.float32)
    b, i, which = rng.integers(0, 5, pairs), rng.integers(0, 7, pairs), rng.integers(0, 4, pairs)
    out = np.full((pairs, columns), np.nan, np.float32)
    fgsm_loops.along_directions(weights, b, factors, i, shares, which, missing, along, (start, stop), out)
    scaled = weights[b] * factors[i] + np.einsum("pr,prj->pj", shares, missing[which])
    np.testing.assert_allclose(out[start:stop], (scaled @ along)[start:stop], rtol=1e-4, atol=1e-3)
    assert np.isnan(out[:start]).all()
    assert np.isnan(out[stop:]).all()
