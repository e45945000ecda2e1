"""The paper's CNNs and the small-image ResNet: their layers as published, seeds, initialisations, tangent kernels."""

import subprocess
import sys

import pytest
import torch
from torch import nn

from ntkcore import SpecError, empirical_ntk
from ntkcore.architectures import ARCHITECTURES, build

SHAPES = [(1, 28, 28), (3, 32, 32), (1, 14, 14), (1, 4, 4), (3, 5, 9)]


def words(module):
    """A sequential net in the paper's words: conv32 relu maxpool ... dense10."""
    names = {nn.ReLU: "relu", nn.MaxPool2d: "maxpool", nn.AvgPool2d: "avgpool", nn.Flatten: "flatten"}
    for part in module:
        if isinstance(part, nn.Conv2d):
            assert (part.kernel_size, part.stride, part.padding) == ((3, 3), (1, 1), (1, 1))
            yield f"conv{part.out_channels}"
        elif isinstance(part, nn.Linear):
            yield f"dense{part.out_features}"
        else:
            yield names[type(part)]
            if "pool" in names[type(part)]:
                assert (part.kernel_size, part.stride) == (2, 2)


def weights(module):
    return torch.cat([p.detach().flatten() for p in module.parameters()])


@pytest.mark.parametrize("name", ARCHITECTURES)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_an_image_of_any_side_from_4_gives_the_asked_outputs(name, shape):
    assert build(name, shape, outputs=3)(torch.rand(2, *shape)).shape == (2, 3)


@pytest.mark.parametrize(
    ("name", "layers"),
    [
        (
            "cnn-large",
            "conv32 relu conv32 relu maxpool conv64 relu conv64 relu conv128 relu conv128 relu avgpool flatten dense10",
        ),
        ("cnn-small", "conv32 relu avgpool conv64 relu avgpool flatten dense256 relu dense10"),
    ],
)
def test_cnns_have_the_layers_of_the_paper(name, layers):
    assert " ".join(words(build(name, (3, 32, 32), outputs=10))) == layers


@pytest.mark.parametrize(
    ("name", "shape", "inputs", "parameters"),
    [
        # of every convolution in * out * 9 + out, of every dense layer in * out + out
        ("cnn-large", (3, 32, 32), 128 * 8 * 8, 896 + 9248 + 18496 + 36928 + 73856 + 147584 + 81930),
        ("cnn-large", (1, 28, 28), 128 * 7 * 7, 320 + 9248 + 18496 + 36928 + 73856 + 147584 + 62730),
        ("cnn-small", (3, 32, 32), 64 * 8 * 8, 896 + 18496 + 1048832 + 2570),
        ("cnn-small", (1, 28, 28), 64 * 7 * 7, 320 + 18496 + 803072 + 2570),
    ],
    ids=str,
)
def test_the_dense_layer_sees_all_that_two_pools_leave(name, shape, inputs, parameters):
    module = build(name, shape, outputs=10)
    assert next(part for part in module if isinstance(part, nn.Linear)).in_features == inputs
    assert weights(module).numel() == parameters


def test_resnet18_keeps_the_size_of_small_images_in_its_stem():
    """17 convolutions, the 3 of the shortcuts and a dense layer; 11 173 962 weights, the usual number for CIFAR-10."""
    module = build("resnet18", (3, 32, 32), outputs=10)
    convolutions = [part for part in module.modules() if isinstance(part, nn.Conv2d)]
    assert len(convolutions) == 17 + 3
    assert (convolutions[0].kernel_size, convolutions[0].stride) == ((3, 3), (1, 1))
    assert not any(isinstance(part, nn.MaxPool2d) for part in module.modules())
    assert weights(module).numel() == 11_173_962


def test_in_eval_resnet18_takes_each_image_on_its_own():
    module = build("resnet18", (1, 8, 8), outputs=2).eval()
    x = torch.rand(4, 1, 8, 8)
    alone = torch.cat([module(image[None]) for image in x])
    torch.testing.assert_close(module(x), alone, rtol=1e-4, atol=1e-4)
    module.train()
    with torch.no_grad():
        assert not torch.allclose(module(x)[:2], module(x[:2]), rtol=1e-2)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_each_has_a_tangent_kernel(name):
    module = build(name, (1, 8, 8), outputs=2).eval()
    x = torch.rand(3, 1, 8, 8)
    theta = empirical_ntk(module, x)
    for a in range(2):
        gradient = torch.autograd.grad(module(x[:1])[0, a], module.parameters(), allow_unused=True)
        length = sum(float((g.double() ** 2).sum()) for g in gradient)
        assert theta[0, 0, a, a].item() == pytest.approx(length, rel=1e-3)


def test_a_kernel_of_a_net_in_training_is_refused():
    with pytest.raises(SpecError, match=r"module\.eval\(\)"):
        empirical_ntk(build("resnet18", (1, 16, 16)), torch.rand(2, 1, 16, 16))


@pytest.mark.parametrize("init", ["torch", "he"])
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_seed_is_a_set_of_weights_whatever_was_drawn_before(name, init):
    first = weights(build(name, (1, 8, 8), seed=3, init=init))
    torch.rand(7)
    assert torch.equal(weights(build(name, (1, 8, 8), seed=3, init=init)), first)
    assert not torch.equal(weights(build(name, (1, 8, 8), seed=4, init=init)), first)


@pytest.mark.parametrize("init", ["torch", "he"])
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_the_global_random_state_is_left_alone(name, init):
    before = torch.get_rng_state()
    build(name, (1, 8, 8), seed=3, init=init)
    assert torch.equal(torch.get_rng_state(), before)


def test_init_torch_is_what_torch_draws_after_the_same_seed():
    torch.manual_seed(5)
    plain = nn.Conv2d(3, 32, 3, padding=1)
    assert torch.equal(build("cnn-small", (3, 8, 8), seed=5)[0].weight, plain.weight)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_init_he_draws_variance_2_over_fan_in_and_zero_biases(name):
    module = build(name, (3, 16, 16), outputs=40, init="he")
    affine = [part for part in module.modules() if isinstance(part, nn.Conv2d | nn.Linear)]
    for part in affine:
        w = part.weight.detach().flatten(1)
        error = 5 * (2 / w.numel()) ** 0.5  # five standard errors of a variance
        assert w.var().item() * w.shape[1] == pytest.approx(2, rel=error)
        assert part.bias is None or not part.bias.any()
    assert sum(part.bias is not None for part in affine) == {"cnn-large": 7, "cnn-small": 4, "resnet18": 1}[name]


IMPORTED = """
import sys
import torch
from ntkcore.architectures import build
from ntkcore.training.steps import descend

net = build("cnn-large", (1, 8, 8))
descend(net, net(torch.rand(2, 1, 8, 8)).sum(), {}, 0.1, 0.9)
print("torch._dynamo" in sys.modules, "torchvision" in sys.modules)
build("resnet18", (1, 8, 8))
print("torchvision" in sys.modules)
"""


def test_torchvision_is_imported_for_resnet18_alone_and_torchs_compiler_by_no_training():
    run = subprocess.run([sys.executable, "-c", IMPORTED], capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["False", "False", "True"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        pytest.param({"name": "vgg"}, "name is 'vgg'; choose 'cnn-large', 'cnn-small' or 'resnet18'", id="name"),
        pytest.param({"init": "xavier"}, "'xavier'; choose 'torch' or 'he'", id="init"),
        pytest.param({"in_shape": (8, 8)}, "channels, height, width", id="flat shape"),
        pytest.param({"in_shape": (0, 8, 8)}, "channels is 0; it must be at least 1", id="no channel"),
        pytest.param({"outputs": 0}, "outputs is 0", id="no output"),
        *(
            pytest.param(
                {"name": name, "in_shape": (1, 8, 3)}, f"8x3 pixels .* {name}.* at least 4x4", id=f"small {name}"
            )
            for name in ARCHITECTURES
        ),
    ],
)
def test_wrong_descriptions_are_refused_in_words(arguments, says):
    with pytest.raises(SpecError, match=says):
        build(**{"name": "cnn-small", "in_shape": (1, 8, 8)} | arguments)
