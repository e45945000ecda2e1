"""Which nets the compiled backends know, and where such a net flattens its image.

Dense ReLU nets flatten at once: the covariance of two images is one number. Convolutional ones are pools, convolutions
and ReLU up to a flattening (``Flatten`` or ``GlobalAvgPool``), and dense layers without activations behind it::

    compiled(net)                       # whether a backend for the processor knows it
    before(net), behind(net)            # layers around the flattening
"""

from functools import lru_cache

from torch import Tensor

from ntkcore.kernels.infinite.backend import KernelKind, asked
from ntkcore.nets import Activation, AvgPool, Conv, Dense, Flatten, GlobalAvgPool, Layer, Net


@lru_cache
def is_dense(net: Net) -> bool:
    """Flattened at once, then dense layers and ReLU."""
    return isinstance(net.layers[0], Flatten) and all(
        isinstance(layer, Dense) or (isinstance(layer, Activation) and layer.name == "relu") for layer in net.layers[1:]
    )


@lru_cache
def is_convolutional(net: Net) -> bool:
    """Pools, convolutions and ReLU up to a flattening; behind it no activation, whose variances would be others."""
    if flattening(net) == 0:
        return False
    known = all(
        isinstance(layer, Conv | AvgPool) or (isinstance(layer, Activation) and layer.name == "relu")
        for layer in before(net)
    )
    return known and all(isinstance(layer, Dense) for layer in behind(net))


def compiled(net: Net) -> bool:
    """Whether the processor's compiled loops know such a net."""
    return is_dense(net) or is_convolutional(net)


def flattening(net: Net) -> int:
    """Number of the layer that flattens the image, which each net has."""
    return next(i for i, layer in enumerate(net.layers) if isinstance(layer, Flatten | GlobalAvgPool))


def before(net: Net) -> tuple[Layer, ...]:
    """The layers before the flattening."""
    return net.layers[: flattening(net)]


def behind(net: Net) -> tuple[Layer, ...]:
    """The layers after the flattening."""
    return net.layers[flattening(net) + 1 :]


def from_flattening(net: Net, kind: KernelKind, k: Tensor, t: Tensor | None) -> Tensor:
    """NNGP and NTK at the flattening of a convolutional net -> the kernel that is asked for, number by number."""
    for layer in behind(net):
        assert isinstance(layer, Dense)
        k, t = layer.covariance(k, t, False)
    return asked(kind, k, t)
