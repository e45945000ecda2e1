"""State that could go stale: what is made of weights, images or maps keeps those of then, or follows, or says so."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import ntkcore as ntk
from ntkcore.analysis.attacks.attack import fgsm
from ntkcore.analysis.features.eigenfeatures import subset_predictor
from ntkcore.analysis.tangent import fit_tangent, tangent_predictor
from ntkcore.kernels import InfiniteKernel, InputMap
from ntkcore.kernels.blocks import frozen
from ntkcore.training import FiniteNet, Linearised

generator = torch.Generator().manual_seed(0)
X, Z = (torch.rand(n, 1, 4, 4, generator=generator) for n in (8, 5))
Y = torch.tensor([[1.0], [-1.0]]).repeat(4, 1)


@pytest.fixture(params=["twin", "BatchNorm"])
def net(request: pytest.FixtureRequest) -> FiniteNet:
    if request.param == "twin":
        return ntk.finite_net(ntk.fc(1).module((1, 4, 4), 8), ntk.input_map("centre", X))
    torch.manual_seed(3)
    return ntk.finite_net(nn.Sequential(nn.Flatten(), nn.Linear(16, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 1)))


def move(net: FiniteNet) -> None:
    """Training, for long: other weights, other statistics."""
    list(ntk.train_epochs(net, X, Y, ntk.Schedule(lr=0.5, batch=4), 2))
    with torch.no_grad():
        for p in net.module.parameters():
            p.mul_(1.2)


def apart(a: Tensor, b: Tensor) -> float:
    return float((a.double() - b.double()).detach().abs().max() / b.detach().double().abs().max())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_a_tangent_kernel_follows_its_net(net: FiniteNet, dtype: torch.dtype) -> None:
    k = ntk.tangent_kernel(net)
    x, z = X.to(dtype), Z.to(dtype)
    before, still = (k(x), k(z, x), k.kernel.pair_gradients(Z[0], X)), frozen(k)
    move(net)
    fresh = ntk.tangent_kernel(net)
    for now, new, old in zip(
        (k(x), k(z, x), k.kernel.pair_gradients(Z[0], X)),
        (fresh(x), fresh(z, x), fresh.kernel.pair_gradients(Z[0], X)),
        before,
        strict=True,
    ):
        assert torch.equal(now, new)
        assert apart(now, old) > 1e-2
    assert torch.equal(still(x), before[0])
    assert frozen(still).kernel is still.kernel


def test_empirical_kernels_follow_their_module(net: FiniteNet) -> None:
    module = net.module.eval()
    E = ntk.empirical_kernel_fn(module)
    before = E(X)
    move(net)
    assert torch.equal(E(X), ntk.empirical_kernel_fn(module)(X))
    assert apart(E(X), before) > 1e-2


MAKERS: dict[str, Callable[[FiniteNet], Callable[[Tensor], Tensor]]] = {
    "fit": lambda net: ntk.fit(ntk.tangent_kernel(net), X, Y, ridge=1e-3),
    "fit_steps": lambda net: ntk.fit_steps(ntk.tangent_kernel(net), X, Y, steps=10),
    "features": lambda net: subset_predictor(
        ntk.tangent_kernel(net), ntk.spectrum(ntk.tangent_kernel(net)(X.double())), X, Y, [0, 1]
    ),
    "fit_tangent": lambda net: fit_tangent(net, X, Y, ridge=1e-3),
    "tangent_predictor": lambda net: tangent_predictor(net, X, Y),
    "combined": lambda net: ntk.tangent_kernel(net).kernel.combine(X, Y.double()),
}


@pytest.mark.parametrize("name", MAKERS)
def test_a_predictor_keeps_the_weights_it_was_made_with(net: FiniteNet, name: str) -> None:
    """Before it was ever called, and after: what it says is what one that was never moved says."""
    called, uncalled, still = (MAKERS[name](net) for _ in range(3))
    wanted = still(Z).detach()
    called(Z)
    move(net)
    assert torch.equal(called(Z), wanted)
    assert torch.equal(uncalled(Z), wanted)
    assert apart(MAKERS[name](net)(Z), wanted) > 1e-3


def test_a_predictor_of_an_empirical_kernel_keeps_its_weights() -> None:
    module = ntk.fc(1).module((1, 4, 4), 8).double()
    f = ntk.fit(ntk.empirical_kernel_fn(module), X, Y, ridge=1e-3)
    wanted = f(Z)
    with torch.no_grad():
        for p in module.parameters():
            p.mul_(1.5)
    assert torch.equal(f(Z), wanted)
    assert apart(ntk.fit(ntk.empirical_kernel_fn(module), X, Y, ridge=1e-3)(Z), wanted) > 1e-3


def test_a_fitted_predictor_is_its_kernel_times_its_coefficients(net: FiniteNet) -> None:
    f = ntk.fit(ntk.tangent_kernel(net), X, Y, ridge=1e-3)
    move(net)
    torch.testing.assert_close(f(X), f.kernel(X.double()) @ f.alpha, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(f(Z), f.kernel(Z.double(), f.x_train) @ f.alpha, rtol=1e-3, atol=1e-3)
    assert torch.equal(fgsm(0.1)(f, Z, Y[:5]).attacked, f(fgsm(0.1)(f, Z, Y[:5]).x_adv))


def test_a_centred_net_subtracts_what_it_was(net: FiniteNet) -> None:
    centred = ntk.finite_net(net.module, net.inputs, centred=True)
    start = net(Z)
    move(net)
    torch.testing.assert_close(centred(Z), net(Z) - start)
    assert apart(net(Z), start) > 1e-3


def test_a_linearised_net_is_taken_around_the_weights_of_then(net: FiniteNet) -> None:
    module = net.module.eval()
    linear, w0 = Linearised(module), [p.detach().clone() for p in module.parameters()]
    start = module(Z).detach()
    with torch.no_grad():
        for p in module.parameters():
            p.mul_(1.5)
    change = linear(Z) - start
    with torch.no_grad():
        for p, w in zip(module.parameters(), w0, strict=True):
            p.copy_(w + 2 * (p - w))  # twice as far
    torch.testing.assert_close(linear(Z) - start, 2 * change)
    double = linear.double()
    torch.testing.assert_close(double(Z.double()).float(), linear(Z.double()).float())


# -- images and maps that are changed in place -------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_a_predictor_keeps_its_training_images(dtype: torch.dtype) -> None:
    x, k = X.to(dtype, copy=True), ntk.kernel_fn(ntk.conv(1))
    made = ntk.fit(k, x, Y), ntk.fit_steps(k, x, Y, steps=3)
    wanted = [f(Z) for f in made]
    x.zero_()
    assert all(torch.equal(f(Z), before) for f, before in zip(made, wanted, strict=True))


def test_a_map_keeps_its_shift() -> None:
    shift = X.mean(0)
    inputs = InputMap(shift, 2.0)
    before = inputs(Z)
    shift.zero_()
    assert torch.equal(inputs(Z), before)


@pytest.mark.parametrize("of", [ntk.fc(1), ntk.conv(1), ntk.myrtle(5), ntk.fc(1, activation="erf")], ids=str)
def test_prepared_images_stay_what_they_are(of: ntk.Net) -> None:
    x, k = X.clone(), InfiniteKernel(of)
    prepared, wanted = k.prepare(x), k(Z, X)
    x.zero_()
    torch.testing.assert_close(k(Z, prepared), wanted, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(k(Z, prepared[:3]), wanted[:, :3], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "other",
    [
        InfiniteKernel(ntk.fc(2)),
        InfiniteKernel(ntk.fc(1), inputs=ntk.input_map("centre", X)),
        InfiniteKernel(ntk.conv(1)),
    ],
    ids=["depth", "input map", "family"],
)
def test_images_prepared_for_another_kernel_are_refused(other: InfiniteKernel) -> None:
    prepared = InfiniteKernel(ntk.fc(1)).prepare(X)
    assert torch.equal(InfiniteKernel(ntk.fc(1), "nngp")(prepared), InfiniteKernel(ntk.fc(1), "nngp")(X))
    for do in (
        lambda: other(Z, prepared),
        lambda: other.pairs(X, prepared),
        lambda: other.pair_gradients(Z[0], prepared),
        lambda: ntk.tiled(other)(prepared),
    ):
        with pytest.raises(ntk.SpecError, match=r"prepared for another kernel"):
            do()


# -- a spectrum of something else -----------------------------------------------------------------------------------


@pytest.mark.parametrize("do", [ntk.fit, ntk.fit_steps], ids=["fit", "fit_steps"])
def test_a_spectrum_of_another_kernel_is_refused(net: FiniteNet, do: Callable) -> None:
    k, tangent = ntk.kernel_fn(ntk.fc(1)), ntk.tangent_kernel(net)
    own, before = ntk.spectrum(k(X.double())), ntk.spectrum(tangent(X.double()))
    assert torch.equal(do(k, X, Y, spectrum_of_train=own)(Z), do(k, X, Y)(Z))
    single = do(k, X, Y, spectrum_of_train=ntk.spectrum(k(X)))  # of single precision: the same kernel
    torch.testing.assert_close(single(Z), do(k, X, Y)(Z), rtol=1e-2, atol=1e-2)
    move(net)
    for kernel, x, other in (
        (tangent, X, before),
        (tangent, X, own),
        (ntk.kernel_fn(ntk.conv(1)), X, own),
        (ntk.kernel_fn(ntk.fc(1), "nngp"), X, own),
        (k, X.flip(0), own),
    ):
        with pytest.raises(ntk.SpecError, match="not that of this kernel on these images"):
            do(kernel, x, Y, spectrum_of_train=other)
    with pytest.raises(ntk.SpecError, match="of 8 training images; there are 6"):
        do(k, X[:6], Y[:6], spectrum_of_train=own)


def test_features_of_a_kernel_that_has_moved_are_refused(net: FiniteNet) -> None:
    k = ntk.tangent_kernel(net)
    s = ntk.spectrum(k(X.double()))
    sweep = ntk.eigenfeatures(k, X, Y, Z, Y[:5], spectrum_of_train=s)
    assert torch.equal(sweep.right_after, ntk.eigenfeatures(k, X, Y, Z, Y[:5]).right_after)
    move(net)
    with pytest.raises(ntk.SpecError, match="another one after training"):
        ntk.eigenfeatures(k, X, Y, Z, Y[:5], spectrum_of_train=s)
    with pytest.raises(ntk.SpecError, match="another one after training"):
        subset_predictor(k, s, X, Y, [0])
