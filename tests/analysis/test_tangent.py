"""The tangent kernel of a finite net as any other kernel: values, predictors, gradients, attacks on its features."""

import pytest
import torch
from torch import Tensor

from ntkcore.analysis.attacks.attack import fgsm, pgd
from ntkcore.analysis.features.eigenfeatures import eigenfeatures, feature_bank
from ntkcore.analysis.features.pictures import feature_pictures
from ntkcore.analysis.predict import KernelPredictor, correct, fit
from ntkcore.analysis.spectrum import spectrum
from ntkcore.analysis.tangent import TangentKernel, tangent_kernel
from ntkcore.architectures import build
from ntkcore.kernels import input_map
from ntkcore.kernels.empirical import empirical_ntk
from ntkcore.training import FiniteNet, finite_net

N, M = 14, 6


@pytest.fixture(params=[1, 3], ids=["binary", "three classes"])
def setting(request: pytest.FixtureRequest) -> tuple[FiniteNet, Tensor, Tensor, Tensor, Tensor]:
    """A net on centred pixels, with training and test images and their labels."""
    c, generator = request.param, torch.Generator().manual_seed(0)
    x, x_test = (torch.rand(count, 1, 8, 8, generator=generator) for count in (N, M))
    if c == 1:
        y, y_test = (torch.tensor([-1.0, 1.0]).repeat(count // 2)[:, None] for count in (N, M))
    else:
        y, y_test = (torch.eye(c)[torch.arange(count) % c] for count in (N, M))
    module = build("cnn-small", (1, 8, 8), c, seed=1, init="he").eval()
    return finite_net(module, input_map("centre", x)), x, y, x_test, y_test


def by_hand(net: FiniteNet, x1: Tensor, x2: Tensor) -> Tensor:
    """(1/c) sum_a of the whole kernel, float64."""
    theta = empirical_ntk(net.module, net.inputs(x1.float()), net.inputs(x2.float())).double()
    return theta.diagonal(dim1=2, dim2=3).mean(-1)


def test_values(setting) -> None:
    net, x, _, x_test, _ = setting
    kernel = tangent_kernel(net)
    expected = by_hand(net, x_test, x)
    scale = float(expected.abs().max())
    for dtype, error in ((torch.float32, 1e-5), (torch.float64, 1e-5)):
        K = kernel(x_test.to(dtype), x.to(dtype))
        assert K.dtype == dtype
        torch.testing.assert_close(K.double(), expected, rtol=0, atol=error * scale)
    assert torch.equal(kernel(x), kernel(x).T)


def test_combined_is_the_kernel_times_the_weights(setting) -> None:
    net, x, _, x_test, _ = setting
    weights = torch.randn(N, 2, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    expected = by_hand(net, x_test, x) @ weights
    found = TangentKernel(net).combine(x, weights)(x_test.double())
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))


def test_gradients_in_the_image(setting) -> None:
    """Of a predictor and of each pair, against central differences of the kernel itself in float64."""
    net, x, _, x_test, _ = setting
    kernel, image = TangentKernel(net), x_test[0]
    weights = torch.randn(N, 1, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    pairs = kernel.pair_gradients(image, x)
    z = image[None].clone().requires_grad_()
    (gradient,) = torch.autograd.grad(kernel.combine(x, weights)(z).sum(), z)
    summed = torch.einsum("j,jchw->chw", weights[:, 0].float(), pairs)
    torch.testing.assert_close(gradient[0], summed, rtol=1e-3, atol=1e-3 * float(gradient.abs().max()))
    at = tuple(int(i) for i in torch.unravel_index(gradient[0].abs().argmax(), image.shape))
    step = torch.zeros(1, *image.shape, dtype=torch.float64)
    step[(0, *at)] = 1e-6
    up, down = (kernel(image[None].double() + sign * step, x.double()) @ weights for sign in (1, -1))
    assert float(gradient[0][at]) == pytest.approx(float(up - down) / 2e-6, rel=1e-2)


def test_prediction_is_attacked_as_any(setting) -> None:
    """fit() on it interpolates its training set, and its attack follows the true gradient."""
    net, x, y, x_test, y_test = setting
    f = fit(tangent_kernel(net), x, y)
    torch.testing.assert_close(f(x.double()), y.double(), rtol=0, atol=2e-2)
    result = pgd(0.2, 3)(f, x_test.double(), y_test.double())
    clean = by_hand(net, x_test, x) @ f.alpha
    assert torch.equal(result.right_before, correct(clean, y_test.double()))
    attacked = by_hand(net, result.x_adv, x) @ f.alpha
    torch.testing.assert_close(result.attacked, attacked, rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize("attack", [fgsm(0.1), pgd(0.1, 3)], ids=["fgsm", "pgd"])
def test_sweep_is_one_feature_after_another(setting, attack) -> None:
    net, x, y, x_test, y_test = setting
    kernel = tangent_kernel(net)
    sweep = eigenfeatures(kernel, x, y, x_test, y_test, attack)
    s = spectrum(kernel(x.double()))
    bank = feature_bank(s, y)
    for i in range(len(bank)):
        f = KernelPredictor(kernel, x.double(), bank.weights[i] @ bank.readout[i])
        result = attack(f, x_test.double(), y_test.double())
        assert torch.equal(sweep.right_before[:, i], result.right_before), i
        assert torch.equal(sweep.right_after[:, i], result.right_before & result.right_after), i


def test_pictures(setting) -> None:
    """The parts of the perturbation still sum to the change of the margin."""
    net, x, y, x_test, y_test = setting
    kernel = tangent_kernel(net)
    s = spectrum(kernel(x.double()))
    classes = torch.zeros(s.rank, dtype=torch.int64).numpy()
    p = feature_pictures(kernel, s, x, y, x_test[0], y_test[0], fgsm(0.05), (0, 1), classes)
    assert p.pictures.shape == (2, 1, 8, 8)
    assert float(p.contributions.sum()) == pytest.approx(p.margin_after - p.margin_before, rel=1e-3, abs=1e-6)
