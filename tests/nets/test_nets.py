"""Net descriptions and their finite twins: shapes, seeds, and agreement with the closed-form kernel as width grows."""

import pytest
import torch

from ntkcore import SpecError, conv, empirical_ntk, fc, kernel_fn, myrtle
from ntkcore.nets import AvgPool, Conv, Dense, Flatten, Net

NETS = {"fc1": fc(1), "fc3": fc(3), "fc-erf": fc(2, activation="erf"), "conv2": conv(2), "myrtle5": myrtle(5)}


@pytest.mark.parametrize("name", NETS)
def test_twin_maps_a_batch_to_the_asked_outputs(name):
    module = NETS[name].module((3, 8, 8), width=7, outputs=4, seed=1)
    assert module(torch.rand(5, 3, 8, 8)).shape == (5, 4)


def test_same_seed_same_weights_and_another_seed_others():
    a, b, c = (fc(2).module((1, 4, 4), 16, 1, seed) for seed in (3, 3, 4))
    assert all(torch.equal(p, q) for p, q in zip(a.parameters(), b.parameters(), strict=True))
    assert not torch.equal(next(a.parameters()), next(c.parameters()))


def test_twin_draws_standard_normal_weights_and_scales_in_the_forward_pass():
    module = Net((Flatten(), Dense(3.0, 0.5))).module((1, 20, 20), 1, outputs=500, seed=0)
    weight, bias = module[1].weight, module[1].bias
    assert weight.std().item() == pytest.approx(1, abs=0.01)
    x = torch.rand(2, 1, 20, 20)
    torch.testing.assert_close(module(x), x.flatten(1) @ weight.T * 3.0 / 20 + 0.5 * bias)


@pytest.mark.parametrize("name", NETS)
def test_expected_tangent_kernel_tends_to_the_closed_form(name):
    """The mean over nets of width w differs from the closed form by ~ 1/sqrt(w * nets)."""
    net = NETS[name]
    x = torch.rand(4, 2, 8, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    width, nets = (512, 24) if net.flat_input else (160, 60)
    exact = kernel_fn(net)(x)
    mean = sum(empirical_ntk(net.module((2, 8, 8), width, 1, seed).double(), x)[:, :, 0, 0] for seed in range(nets))
    error = ((mean / nets - exact).norm() / exact.norm()).item()
    assert error < 0.06


@pytest.mark.parametrize("b_std", [0.1, 0.0], ids=["biases", "no biases"])
@pytest.mark.parametrize("make", [fc, conv, myrtle], ids=lambda make: make.__name__)
def test_standard_twin_is_the_same_function_of_torchs_own_layers(make, b_std):
    net = make(5, b_std=b_std)
    x = torch.rand(4, 3, 8, 8)
    ntk, standard = (net.module((3, 8, 8), 16, 2, seed=1, parameterisation=p) for p in ("ntk", "standard"))
    torch.testing.assert_close(standard(x), ntk(x))
    affine = [part for part in standard if list(part.parameters())]
    assert {type(part) for part in affine} <= {torch.nn.Linear, torch.nn.Conv2d}
    assert len(affine) == sum(isinstance(layer, Dense | Conv) for layer in net.layers)
    assert all((part.bias is not None) == (b_std > 0) for part in affine)


@pytest.mark.parametrize("make", [fc, conv, myrtle], ids=lambda make: make.__name__)
def test_scales_divide_the_gradients_of_the_standard_twin(make):
    """f is the same and w_standard = s w_ntk, so df/dw_ntk = s df/dw_standard, for each weight and bias."""
    ntk, standard = (make(5).module((3, 8, 8), 16, 1, 1, p).double() for p in ("ntk", "standard"))
    x = torch.rand(4, 3, 8, 8, dtype=torch.float64)
    for module in (ntk, standard):
        module(x).sum().backward()
    for a, b in zip(ntk, standard, strict=True):
        if list(b.parameters()):
            # the scaled weights were rounded to float32
            torch.testing.assert_close(a.weight.grad, b.weight.grad * a.weight_scale, rtol=1e-4, atol=1e-6)
            torch.testing.assert_close(a.bias.grad, b.bias.grad * a.bias_scale, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("parameterisation", ["ntk", "standard"])
def test_twins_leave_the_global_random_state_alone(parameterisation):
    before = torch.get_rng_state()
    conv(2).module((1, 4, 4), 8, parameterisation=parameterisation)
    assert torch.equal(torch.get_rng_state(), before)


def test_output_variance_is_the_nngp_kernel():
    x = torch.rand(3, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        f = torch.stack([fc(1).module((1, 4, 4), 256, 1, seed)(x)[:, 0] for seed in range(3000)])
    empirical = f.T @ f / len(f)
    exact = kernel_fn(fc(1), kind="nngp")(x)
    assert ((empirical - exact).norm() / exact.norm()).item() < 0.08


def test_nets_are_values():
    assert fc(2) == fc(2)
    assert hash(conv(3)) == hash(conv(3))
    assert fc(2) != fc(3)
    assert str(myrtle(7)) == "Myrtle-7"


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: fc(0), "depth is 0"),
        (lambda: myrtle(6), "5, 7 or 10"),
        (lambda: fc(1, W_std=0.0), "W_std is 0.0"),
        (lambda: fc(1, b_std=-1.0), "b_std is -1.0"),
        (lambda: fc(1, activation="tanh"), "'tanh'"),
        (lambda: fc(1).module((8, 8), 4), "channels, height, width"),
        (lambda: fc(1).module((1, 8, 8), 0), "width is 0"),
        (lambda: fc(1).module((1, 8, 8), 4, parameterisation="mup"), "'ntk' or 'standard'"),
        (
            lambda: Net((AvgPool(), Flatten(), Dense(1, 0)), "a pool").module((1, 1, 1), 4),
            "1x1 are too small for a pool",
        ),
    ],
)
def test_wrong_descriptions_are_refused_in_words(make, words):
    with pytest.raises(SpecError, match=words.replace("(", r"\(")):
        make()
