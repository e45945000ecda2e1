"""Finite networks without an infinite twin here: the paper's CNNs and a ResNet-18 for small images, by name.

The CNNs are those of Tsilivis & Kempe 2022 (appendix and published code): 3x3 convolutions, SAME zero padding, ReLU
after each hidden layer, no BatchNorm. An average pool is 2x2 with stride 2 in both, not a global one, and the dense
layer sees what is left of every channel: 128 x 8 x 8 = 8192 numbers of a 32x32 image in cnn-large, 128 x 7 x 7 of a
28x28 one (an odd side loses its last row and column in a pool)::

    module = build("cnn-large", in_shape=(3, 32, 32), outputs=10, seed=0)
    module(x)                                     # x [n, 3, 32, 32] -> [n, 10]
    ntkcore.empirical_ntk(module.eval(), x)       # [n, n, 10, 10]; eval() for the BatchNorm of resnet18
"""

from collections.abc import Callable
from typing import Literal

import torch
from torch import nn

from ntkcore import checks
from ntkcore.errors import SpecError, optional
from ntkcore.modes import plain, torch_defaults
from ntkcore.nets import LARGEST, Shape, image_shape

Init = Literal["torch", "he"]

ARCHITECTURES: dict[str, str] = {
    "cnn-large": "Large CNN (6 convolutions)",
    "cnn-small": "Small CNN (2 convolutions)",
    "resnet18": "ResNet-18 for small images",
}
LEAST_SIDE = 4  # two halvings leave one position


@plain
def build(name: str, in_shape: Shape, outputs: int = 1, seed: int = 0, init: Init = "torch") -> nn.Module:
    """The network ``name`` at its initialisation: x [n, C, H, W] -> [n, outputs], float32, in training mode.

    name: one of ``ARCHITECTURES``. in_shape: (C, H, W), H and W at least 4. outputs: size of the last layer.
    seed: of the initialisation; the same seed gives the same weights on every machine, and the global random
    state is left as it was. init: "torch" is the default of torch's layers (for resnet18 that of torchvision: He
    normal by fan_out); "he" draws every convolution and dense weight from N(0, 2 / fan_in) with biases at zero.

    It is in training mode, as torch's own nets are when they are made. resnet18 keeps its BatchNorm, so a kernel needs
    ``module.eval()``: there each image is on its own, normalised by the running statistics, which before any training
    do nothing (mean 0, variance 1). ``finite_net`` predicts in evaluation mode and ``train_epochs`` takes its steps in
    training mode, whatever mode the module is in.
    Raises SpecError for an unknown name or init, and for a shape or number of outputs that makes no net.
    """
    checks.choice(name, "name", tuple(_BUILDERS))
    checks.choice(init, "init", ("torch", "he"))
    shape, outputs, seed = image_shape(in_shape), checks.whole(outputs, "outputs", 1, LARGEST), checks.seed(seed)
    if min(shape[1:]) < LEAST_SIDE:
        raise SpecError(
            f"Images of {shape[1]}x{shape[2]} pixels are too small for {name}, which halves them at least twice: "
            f"at least {LEAST_SIDE}x{LEAST_SIDE} are needed. Use larger images."
        )
    with torch.random.fork_rng(devices=[]), torch_defaults():  # the layers draw on the CPU
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would move the state of the devices too
        module = _BUILDERS[name](shape, outputs)
    if init == "he":
        _he(module, torch.Generator().manual_seed(seed))
    return module


def _cnn_large(shape: Shape, outputs: int) -> nn.Module:
    channels, height, width = shape
    return nn.Sequential(
        *_conv(channels, 32),
        *_conv(32, 32),
        nn.MaxPool2d(2),
        *_conv(32, 64),
        *_conv(64, 64),
        *_conv(64, 128),
        *_conv(128, 128),
        nn.AvgPool2d(2),
        nn.Flatten(),
        nn.Linear(128 * (height // 4) * (width // 4), outputs),
    )


def _cnn_small(shape: Shape, outputs: int) -> nn.Module:
    channels, height, width = shape
    return nn.Sequential(
        *_conv(channels, 32),
        nn.AvgPool2d(2),
        *_conv(32, 64),
        nn.AvgPool2d(2),
        nn.Flatten(),
        nn.Linear(64 * (height // 4) * (width // 4), 256),
        nn.ReLU(),
        nn.Linear(256, outputs),
    )


def _conv(inputs: int, outputs: int) -> tuple[nn.Module, nn.Module]:
    return nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU()


def _resnet18(shape: Shape, outputs: int) -> nn.Module:
    """ResNet-18 (He et al. 2016) whose stem keeps the size: 3x3 with stride 1 and no max pool, as usual for CIFAR."""
    with optional("torchvision", "ResNet-18"):
        from torchvision.models import resnet18  # here, because it takes a second

    module = resnet18(num_classes=outputs)
    module.conv1 = nn.Conv2d(shape[0], 64, 3, padding=1, bias=False)
    nn.init.kaiming_normal_(module.conv1.weight, mode="fan_out", nonlinearity="relu")  # as torchvision its own
    module.maxpool = nn.Identity()
    return module


_BUILDERS: dict[str, Callable[[Shape, int], nn.Module]] = {
    "cnn-large": _cnn_large,
    "cnn-small": _cnn_small,
    "resnet18": _resnet18,
}


def _he(module: nn.Module, generator: torch.Generator) -> None:
    """He et al. 2015: weights from N(0, 2 / fan_in), biases zero. BatchNorm already begins as the identity."""
    for part in module.modules():
        if isinstance(part, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(part.weight, nonlinearity="relu", generator=generator)
            if part.bias is not None:
                nn.init.zeros_(part.bias)
