"""The tangent kernel of a finite net as the kernel of an experiment: spectrum, features, predictions and attacks.

``K(x, x') = (1/c) sum_a <grad_w f_a(x), grad_w f_a(x')>`` (class-traced, Jacot et al. 2018). A predictor with weights w
over training images X is a directional derivative of the net, ``K(x, X) w = (1/c) sum_a <grad_w f_a(x), J_a^T w>``: its
values and its gradients in the image are a few passes through the net, however many images are in X::

    k = TangentKernel(net)                       # net: FiniteNet; k(x1, x2) -> [n1, n2], as any other kernel
    f = k.combine(x_train, weights)              # weights [n, r] -> predictor x -> [m, r], differentiable
    k.pair_gradients(image, x_train)             # [n, C, H, W]
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ntkcore import checks
from ntkcore.analysis.frozen import along
from ntkcore.kernels.blocks import Progress, TiledKernel, tiled
from ntkcore.kernels.empirical import EmpiricalKernel
from ntkcore.looking import copy_of
from ntkcore.modes import plain
from ntkcore.training import FiniteNet

Combined = Callable[[Tensor], Tensor]


@dataclass(frozen=True, eq=False)
class TangentKernel:
    """The class-traced tangent kernel of a net at its present weights, in pixel units: ``(x1, x2=None) -> [n1, n2]``.

    It follows the net; ``frozen()`` gives the kernel of now, and a predictor that is made of it keeps that one. All
    parameters count, frozen ones too; the net is in evaluation mode. Values are computed in the images' dtype and
    constant to autograd; gradients in the images are those of ``combine`` and ``pair_gradients``, in float32.
    """

    net: FiniteNet
    still: bool = False  # the net is a copy of our own

    def __call__(self, x1: Tensor, x2: Tensor | None = None) -> Tensor:
        return self.matrix(x1, x2, None)

    def matrix(self, x1: Tensor, x2: Tensor | None, progress: Progress | None) -> Tensor:
        """Divides its work and bounds its memory itself."""
        z1, z2 = (None if x is None else self.net.inputs(x) for x in (x1, x2))
        module = copy_of(self.net.module).double() if x1.dtype == torch.float64 else self.net.module
        return EmpiricalKernel(module, evaluation=True).matrix(z1, z2, progress)

    def frozen(self) -> "TangentKernel":
        """The kernel with the weights of now."""
        if self.still:
            return self
        return TangentKernel(replace(self.net, module=copy_of(self.net.module), base=None), still=True)

    @plain
    def combine(self, x: Tensor, weights: Tensor) -> Combined:
        """``K(., x) w`` for weights [n, r] over images x [n, C, H, W]: z [m, C, H, W] -> [m, r] in z's dtype.

        With the net's weights of now, which what is given back keeps.
        """
        with torch.no_grad():
            outputs = self.net(x[:1]).shape[1]
        parts: list[list[FiniteNet]] = []
        for column in weights.T:  # of r predictors, one direction an output
            alphas = torch.zeros(outputs, len(x), outputs, dtype=torch.float64, device=x.device)
            for a in range(outputs):
                alphas[a, :, a] = column / outputs
            parts.append([along(self.net, x, alpha) for alpha in alphas])

        def combined(z: Tensor) -> Tensor:
            columns = [sum(part(z)[:, a] for a, part in enumerate(group)) for group in parts]
            return torch.stack(columns, 1).to(z.dtype)

        return combined

    @plain
    def pair_gradients(self, image: Tensor, x: Tensor) -> Tensor:
        """``dK(image, x_j) / d image`` for every j: image [C, H, W], x [n, C, H, W] -> [n, C, H, W]."""
        gradients, one = [], torch.ones(1, 1, dtype=torch.float64, device=x.device)
        for j in range(len(x)):
            z = image[None].detach().clone().requires_grad_()
            with torch.enable_grad():
                (gradient,) = torch.autograd.grad(self.combine(x[j : j + 1], one)(z).sum(), z)
            gradients.append(gradient[0])
        return torch.stack(gradients)


def tangent_kernel(net: FiniteNet) -> TiledKernel:
    """The tangent kernel of a net, dividing its own work."""
    checks.instance(net, FiniteNet, "net", "finite_net(module) makes one.")
    return tiled(TangentKernel(net))
