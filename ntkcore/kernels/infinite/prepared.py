"""Images of one side of a kernel, with what depends on one image alone and is computed once for it.

::

    one = kernel.prepare(x)                 # a Prepared; accepted wherever images are
    kernel(one, x2), kernel(one[:10], x2)   # sliced like the images
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ntkcore.kernels.inputs import InputMap
from ntkcore.nets import Activation, Net, Pool

CLOSE = 1e-4  # 1 - cosine of two images, below which single precision says little of their angle
MANY = 0.1  # share of such pairs from which on a whole matrix is computed in double


@dataclass(frozen=True, eq=False)
class Prepared:
    """Images [n, C, H, W] after the input map, and their variances: one tensor [*positions, n] per activation.

    own [n]: NNGP of each image with itself at the flattening, where a way of computing needs it; of flattened images
    ``|u|^2/d``. net, inputs: of the kernel that they are for, None inside of one. Sliced like images.
    """

    images: Tensor
    variances: tuple[Tensor, ...]
    own: Tensor | None = None
    net: Net | None = None
    inputs: InputMap | None = None

    def __len__(self) -> int:
        return len(self.images)

    @property
    def shape(self) -> torch.Size:
        return self.images.shape

    @property
    def dtype(self) -> torch.dtype:
        return self.images.dtype

    @property
    def requires_grad(self) -> bool:
        return self.images.requires_grad

    def __getitem__(self, rows: slice) -> "Prepared":
        own = None if self.own is None else self.own[rows]
        return replace(self, images=self.images[rows], variances=tuple(q[..., rows] for q in self.variances), own=own)


def local_variances(net: Net, q: Tensor) -> tuple[Tensor, ...]:
    """Variances before each activation when only p = q is carried: q [*positions, n]."""
    found = []
    for layer in net.covariance_layers():
        assert not isinstance(layer, Pool)  # with a pool every p and q are carried
        if isinstance(layer, Activation):
            found.append(q)
        q = layer.variance(q)
    return tuple(found)


def roots(variances: Tensor) -> Tensor:
    """Square roots of variances, as ``covariance.scale`` keeps them above zero, and their inverses: [2, *shape]."""
    root = variances.detach().clamp(min=4 * torch.finfo(variances.dtype).tiny).sqrt()
    return torch.stack([root, 1 / root])
