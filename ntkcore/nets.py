"""Network descriptions with two faces: an infinitely wide net (kernel rules) and its finite torch twin.

A layer is a frozen dataclass with two methods side by side: ``covariance`` pushes the covariances of
``ntkcore.covariance`` through the layer as its width goes to infinity, ``module`` makes the finite layer in NTK
parameterisation (weights and biases drawn N(0, 1); the forward pass scales weights by ``W_std / sqrt(fan_in)``
and biases by ``b_std``; Jacot et al. 2018). Families as in Tsilivis & Kempe 2022 and Shankar et al. 2020.

A ``Net`` is a tuple of layers: printable, comparable, hashable. Width, seed and parameterisation belong to the
finite twin::

    net = fc(depth=1, W_std=2**0.5, b_std=0.1)
    net.module(in_shape=(3, 32, 32), width=512, outputs=1, seed=0)(x)      # x [n, 3, 32, 32] -> [n, 1]
    ntkcore.kernel_fn(net)(x)                                              # -> [n, n]
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from ntkcore import checks
from ntkcore import covariance as cov
from ntkcore.affine import NTKConv, NTKDense, standard
from ntkcore.errors import SpecError
from ntkcore.modes import plain
from ntkcore.validation import shown

Shape = tuple[int, ...]  # of one image or activation: (C, H, W) or (features,)
ActivationName = Literal["relu", "erf"]
Parameterisation = Literal["ntk", "standard"]
DEEPEST = 10_000  # hidden layers of a family
LARGEST = 2**31 - 1  # of a side or a layer


@dataclass(frozen=True)
class Dense:
    """Affine layer. Kernel: ``k <- W^2 k + b^2``, then ``t <- k + W^2 t`` (the new k)."""

    W_std: float
    b_std: float

    def __post_init__(self) -> None:
        _check_scales(self)

    def covariance(self, k: Tensor, t: Tensor | None, spatial_pairs: bool) -> tuple[Tensor, Tensor]:
        k = self.W_std**2 * k + self.b_std**2
        return k, (k if t is None else k + self.W_std**2 * t)

    def variance(self, q: Tensor) -> Tensor:
        return self.W_std**2 * q + self.b_std**2

    def module(self, shape: Shape, width: int, generator: torch.Generator) -> tuple[nn.Module, Shape]:
        return NTKDense(shape[0], width, self.W_std, self.b_std, generator), (width,)


@dataclass(frozen=True)
class Conv:
    """3x3 SAME convolution with zero padding. Kernel: as Dense with ``(W^2 / 9) sum_delta k[p+delta, q+delta]``."""

    W_std: float
    b_std: float

    def __post_init__(self) -> None:
        _check_scales(self)

    def covariance(self, k: Tensor, t: Tensor | None, spatial_pairs: bool) -> tuple[Tensor, Tensor]:
        weight = self.W_std**2 / 9
        k = weight * cov.box_sum(k, spatial_pairs) + self.b_std**2
        return k, (k if t is None else k + weight * cov.box_sum(t, spatial_pairs))

    def variance(self, q: Tensor) -> Tensor:
        return self.W_std**2 / 9 * cov.box_sum(q, False) + self.b_std**2

    def module(self, shape: Shape, width: int, generator: torch.Generator) -> tuple[nn.Module, Shape]:
        return NTKConv(shape[0], width, self.W_std, self.b_std, generator), (width, *shape[1:])


@dataclass(frozen=True)
class Activation:
    """Pointwise nonlinearity, one of ``ACTIVATIONS``; the only layer that needs the variances."""

    name: ActivationName = "relu"

    def __post_init__(self) -> None:
        checks.choice(self.name, "activation", tuple(ACTIVATIONS))

    def activate(self, k: Tensor, t: Tensor | None, q1: Tensor, q2: Tensor) -> tuple[Tensor, Tensor | None]:
        return ACTIVATIONS[self.name].covariance(k, t, q1, q2)

    def variance(self, q: Tensor) -> Tensor:
        return ACTIVATIONS[self.name].variance(q)

    def module(self, shape: Shape, width: int, generator: torch.Generator) -> tuple[nn.Module, Shape]:
        return ACTIVATIONS[self.name].module(), shape


@dataclass(frozen=True)
class AvgPool:
    """2x2 mean with stride 2. Kernel: mean over the window of p and, independently, of q."""

    def covariance(self, k: Tensor, t: Tensor | None, spatial_pairs: bool) -> tuple[Tensor, Tensor | None]:
        return cov.pool_pairs(k), (None if t is None else cov.pool_pairs(t))

    def module(self, shape: Shape, width: int, generator: torch.Generator) -> tuple[nn.Module, Shape]:
        return nn.AvgPool2d(2), (shape[0], shape[1] // 2, shape[2] // 2)


@dataclass(frozen=True)
class GlobalAvgPool:
    """Mean over all positions. Kernel: mean over all p and q."""

    def covariance(self, k: Tensor, t: Tensor | None, spatial_pairs: bool) -> tuple[Tensor, Tensor | None]:
        return k.mean((0, 1, 2, 3)), (None if t is None else t.mean((0, 1, 2, 3)))

    def module(self, shape: Shape, width: int, generator: torch.Generator) -> tuple[nn.Module, Shape]:
        return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()), (shape[0],)


@dataclass(frozen=True)
class Flatten:
    """All positions into one vector. Kernel: mean over p = q."""

    def covariance(self, k: Tensor, t: Tensor | None, spatial_pairs: bool) -> tuple[Tensor, Tensor | None]:
        return cov.diagonal_mean(k, spatial_pairs), (None if t is None else cov.diagonal_mean(t, spatial_pairs))

    def variance(self, q: Tensor) -> Tensor:
        return q.mean((0, 1))

    def module(self, shape: Shape, width: int, generator: torch.Generator) -> tuple[nn.Module, Shape]:
        size = 1
        for side in shape:
            size *= side
        return nn.Flatten(), (size,)


Pool = AvgPool | GlobalAvgPool  # means over positions, which make every pair of them necessary, not only p = q
Layer = Dense | Conv | Activation | Pool | Flatten


@dataclass(frozen=True)
class Net:
    """A tuple of layers, from the image to one output; ``name`` says it in words and is not part of equality.

    Raises SpecError for layers that make no net, or one whose kernel rules do not hold.
    """

    layers: tuple[Layer, ...]
    name: str = "net"

    def __post_init__(self) -> None:
        object.__setattr__(self, "layers", _in_order(self.layers))
        checks.instance(self.name, str, "name", "It says in words which net this is.")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Net) and self.layers == other.layers

    def __hash__(self) -> int:
        return hash(self.layers)

    def __str__(self) -> str:
        return self.name

    @property
    def flat_input(self) -> bool:
        """True when the image is flattened before anything else: only the inner product of two images matters."""
        return isinstance(self.layers[0], Flatten)

    @property
    def spatial_pairs(self) -> bool:
        """True when pooling makes every pair of positions necessary, not only p = q."""
        return any(isinstance(layer, Pool) for layer in self.layers)

    @property
    def activations(self) -> int:
        return sum(isinstance(layer, Activation) for layer in self.layers)

    def check_sides(self, height: int, width: int) -> None:
        """Raises SpecError for images that its pools leave nothing of."""
        smallest = 2 ** sum(isinstance(layer, AvgPool) for layer in self.layers)
        if min(height, width) < smallest:
            raise SpecError(
                f"Images of {height}x{width} are too small for {self}, which needs at least {smallest}x{smallest} for "
                "its 2x2 pools. Use larger images or fewer pools."
            )

    def covariance_layers(self) -> Iterator[Layer]:
        """The layers a covariance passes through: without the leading Flatten, which the inner product does."""
        return iter(self.layers[1:] if self.flat_input else self.layers)

    @plain
    def module(
        self,
        in_shape: Shape,
        width: int,
        outputs: int = 1,
        seed: int = 0,
        parameterisation: Parameterisation = "ntk",
    ) -> nn.Sequential:
        """The finite twin, float32.

        in_shape: (C, H, W). width: hidden units or channels of every hidden layer. outputs: size of the last
        layer. seed: of the initialisation; the same seed gives the same weights on every machine.
        In NTK parameterisation its expected tangent kernel tends to ``kernel_fn(net)`` as width grows, with an
        error ~ 1/sqrt(width).

        parameterisation: "standard" is the same function at initialisation, built of nn.Linear and nn.Conv2d with
        the scales inside their weights: ``w_standard = s w_ntk``, s = W_std / sqrt(fan_in), or b_std for a bias.
        What changes is what gradient descent does: ``df/dw_standard = (df/dw_ntk) / s``, so a step of the same
        rate moves the function 1/s^2 times as far along w, for a weight fan_in / W_std^2. The layers learn at
        other speeds, the rate must shrink like 1/width, and the tangent kernel is another one.
        Raises SpecError for a shape, width or number of outputs that makes no net.
        """
        shape: Shape = image_shape(in_shape)
        self.check_sides(*shape[1:])
        width, outputs = checks.whole(width, "width", 1, LARGEST), checks.whole(outputs, "outputs", 1, LARGEST)
        checks.choice(parameterisation, "parameterisation", ("ntk", "standard"))
        generator = torch.Generator().manual_seed(checks.seed(seed))
        last = max((i for i, layer in enumerate(self.layers) if isinstance(layer, Dense | Conv)), default=-1)
        modules = []
        for i, layer in enumerate(self.layers):
            module, shape = layer.module(shape, outputs if i == last else width, generator)
            if parameterisation == "standard" and isinstance(module, NTKDense | NTKConv):
                module = standard(module)
            modules.append(module)
        return nn.Sequential(*modules)


def image_shape(in_shape: Shape) -> tuple[int, int, int]:
    """(C, H, W) as whole numbers. Raises SpecError for what is no shape of an image."""
    if not isinstance(in_shape, list | tuple) or len(in_shape) != 3:
        raise SpecError(f"in_shape is {shown(in_shape)}; give (channels, height, width), each at least 1.")
    channels, height, width = in_shape
    sides = (("channels", channels), ("height", height), ("width", width))
    channels, height, width = (checks.whole(side, name, 1, LARGEST) for name, side in sides)
    return channels, height, width


def _check_scales(layer: Dense | Conv) -> None:
    """Plain floats, from any numbers that there may be."""
    object.__setattr__(layer, "W_std", checks.number(layer.W_std, "W_std", above=0))
    object.__setattr__(layer, "b_std", checks.number(layer.b_std, "b_std", 0))


def _in_order(layers: Sequence[Layer]) -> tuple[Layer, ...]:
    """Layers that make a net: positions until it is flattened, once, a Dense after that; and what an activation sees is
    Gaussian, as its kernel rule has it: a Dense or Conv lies between it and the pixels, or the activation before it."""
    if not isinstance(layers, list | tuple):
        raise SpecError(f"layers is {shown(layers)}; give a tuple of layers, such as fc(1).layers.")
    flat = dense = gaussian = False
    for i, layer in enumerate(layers):
        checks.instance(layer, get_args(Layer), f"Layer {i} of the net", "They are in ntkcore.nets.")
        where = f"Layer {i} of the net, {layer},"
        if isinstance(layer, Conv | Pool | Flatten) and flat:
            raise SpecError(f"{where} needs an image, which was flattened before it. Put it earlier, or leave it out.")
        if isinstance(layer, Dense) and not flat:
            raise SpecError(f"{where} comes before the image is flattened. Put Flatten or GlobalAvgPool before it.")
        if isinstance(layer, Activation) and not gaussian:
            raise SpecError(
                f"{where} sees what is not Gaussian, as its kernel rule needs it. Put a Dense or Conv between it and "
                "the pixels or the activation before it."
            )
        flat |= isinstance(layer, Flatten | GlobalAvgPool)
        dense |= isinstance(layer, Dense)
        gaussian = isinstance(layer, Dense | Conv) or (gaussian and not isinstance(layer, Activation))
    if not dense:
        raise SpecError(
            f"These {len(layers)} layers have no output: end them with Flatten or GlobalAvgPool, then Dense."
        )
    return tuple(layers)


# -- the families of the paper -----------------------------------------------------------------------------------


def fc(depth: int = 1, W_std: float = 2**0.5, b_std: float = 0.1, activation: ActivationName = "relu") -> Net:
    """Fully connected: Flatten, depth x (Dense, activation), Dense. depth counts hidden layers."""
    depth = checks.whole(depth, "depth", 1, DEEPEST)
    dense = Dense(W_std, b_std)
    return Net((Flatten(), *(dense, Activation(activation)) * depth, dense), f"FC({depth})")


def conv(depth: int = 2, W_std: float = 2**0.5, b_std: float = 0.1, activation: ActivationName = "relu") -> Net:
    """Convolutional: depth x (Conv 3x3, activation), Flatten, Dense."""
    depth = checks.whole(depth, "depth", 1, DEEPEST)
    layers = (Conv(W_std, b_std), Activation(activation)) * depth
    return Net((*layers, Flatten(), Dense(W_std, b_std)), f"Conv({depth})")


MYRTLE_BLOCKS = {5: (1, 1, 1), 7: (1, 2, 2), 10: (2, 3, 3)}


def myrtle(depth: int = 5, W_std: float = 2**0.5, b_std: float = 0.1, activation: ActivationName = "relu") -> Net:
    """Myrtle-5, -7, -10 (Shankar et al. 2020): Conv, then three blocks of convolutions with 2x2 pools between."""
    depth = checks.whole(depth, "depth")
    if depth not in MYRTLE_BLOCKS:
        raise SpecError(f"Myrtle has depth 5, 7 or 10; got {shown(depth)}.")
    one = (Conv(W_std, b_std), Activation(activation))
    first, second, third = MYRTLE_BLOCKS[depth]
    layers = (*one, *one * first, AvgPool(), *one * second, AvgPool(), *one * third, GlobalAvgPool())
    return Net((*layers, Dense(W_std, b_std)), f"Myrtle-{depth}")


@dataclass(frozen=True)
class Family:
    """Nets that differ in their depth. make: ``(depth, W_std, b_std, activation) -> Net``; depths: all there are;
    usual: the one to begin with."""

    title: str
    make: Callable[..., Net]
    depths: Sequence[int]
    usual: int


FamilyName = Literal["fc", "conv", "myrtle"]
FAMILIES: Mapping[FamilyName, Family] = {  # by what their kernels cost
    "fc": Family("FC", fc, range(1, 21), 1),
    "conv": Family("Conv", conv, range(1, 21), 2),
    "myrtle": Family("Myrtle", myrtle, tuple(MYRTLE_BLOCKS), 5),
}


# -- activations -------------------------------------------------------------------------------------------------


class Erf(nn.Module):
    """erf as a module."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.erf(x)


@dataclass(frozen=True)
class Nonlinearity:
    """One activation's two faces: covariance (k, t, q1, q2) -> (k, t) and variance q -> q; and its finite module."""

    covariance: Callable[[Tensor, Tensor | None, Tensor, Tensor], tuple[Tensor, Tensor | None]]
    variance: Callable[[Tensor], Tensor]
    module: Callable[[], nn.Module]


ACTIVATIONS: dict[ActivationName, Nonlinearity] = {
    "relu": Nonlinearity(cov.relu, cov.relu_variance, nn.ReLU),
    "erf": Nonlinearity(cov.erf, cov.erf_variance, Erf),
}
