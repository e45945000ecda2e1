"""The tangent kernel of a finite net, and what is computed with it in a few passes through the net, without the kernel.

``K(x, x') = (1/c) sum_a <grad_w f_a(x), grad_w f_a(x')>`` (class-traced, Jacot et al. 2018), a kernel as any other.
With ``J [nc, p]`` the Jacobian of the outputs in the weights, a vector ``alpha [n, c]`` over the images is one
direction of the weights, ``J^T alpha`` (one backward pass), and the kernel predictor with these coefficients is the
directional derivative along it: ``sum_jb alpha_jb Theta(x, x_j)_ab = <grad_w f_a(x), J^T alpha>``. So predictions and
eigenfeatures, and their gradients in the images, cost a few passes, however many training images there are::

    k = tangent_kernel(net)                       # net: FiniteNet; k(x1, x2) -> [n1, n2]
    f = TangentKernel(net).combine(x, weights)    # weights [n, r] -> predictor x -> [m, r], differentiable
    fit_tangent(net, x, y, ridge=1e-3)            # (K + rho I)^-1 Y (Loo et al. 2022, eq. 4): x -> [m, c]
    tangent_predictor(net, x, vectors[:, 0])      # eigenfeature 0 times its eigenvalue: x -> [m, c], differentiable
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ntkcore import checks
from ntkcore.errors import NTKError
from ntkcore.kernels.blocks import Progress, TiledKernel, tiled
from ntkcore.kernels.empirical import EmpiricalKernel, empirical_ntk
from ntkcore.looking import copy_of
from ntkcore.modes import plain
from ntkcore.training import FiniteNet, Linearised

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
        z1, z2 = self.net.inputs(x1), None if x2 is None else self.net.inputs(x2)
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
            parts.append([tangent_predictor(self.net, x, alpha) for alpha in alphas])

        def combined(z: Tensor) -> Tensor:
            nothing = z.new_zeros(())
            columns = [sum((part(z)[:, a] for a, part in enumerate(group)), nothing) for group in parts]
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


@plain
def fit_tangent(net: FiniteNet, x: Tensor, y: Tensor, ridge: float = 0.0) -> FiniteNet:
    """Kernel regression with the tangent kernel of ``net`` as it is: x [n, C, H, W], y [n, c] -> predictor.

    The centred form, without the net's own output. ridge: in units of the kernel's mean diagonal. Solved in float64.
    Raises NTKError when the kernel is singular.
    """
    checks.instance(net, FiniteNet, "net", "finite_net(module) makes one.")
    x = checks.images(x)
    n, c = checks.targets(y, len(x)).shape
    ridge = checks.number(ridge, "ridge", 0)
    net = replace(net, module=copy_of(net.module).eval(), base=None)
    theta = empirical_ntk(net.module, net.inputs(x.float())).double()
    kernel = theta.permute(0, 2, 1, 3).reshape(n * c, n * c)  # [i, a] by [j, b]
    rho = ridge * float(kernel.diagonal().mean())
    kernel.diagonal().add_(rho)
    factor, info = torch.linalg.cholesky_ex(kernel)
    if int(info):
        raise NTKError("The tangent kernel is singular to working precision. Choose a ridge above zero.")
    alpha = torch.cholesky_solve(y.double().reshape(-1, 1), factor).reshape(n, c)
    return tangent_predictor(net, x, alpha)


@plain
def tangent_predictor(net: FiniteNet, x: Tensor, alpha: Tensor) -> FiniteNet:
    """``sum_jb alpha_jb Theta(., x_j)_ab`` for alpha [n, c] over images x [n, C, H, W]: x -> [m, c], float32,
    differentiable in its images. All weights count, frozen ones too."""
    module = copy_of(net.module).eval().requires_grad_(True)
    linear = Linearised(module, centred=True)
    parameters = dict(module.named_parameters())
    with torch.enable_grad():
        outputs = replace(net, module=module, base=None)(x)
        target = (outputs * alpha.to(outputs)).sum()
        gradients = torch.autograd.grad(target, list(parameters.values()), allow_unused=True)
    direction = {
        name: torch.zeros_like(p) if g is None else g
        for (name, p), g in zip(parameters.items(), gradients, strict=True)
    }
    linear.move({name: p.detach() + direction[name] for name, p in parameters.items()})
    return replace(net, module=linear.requires_grad_(False), base=None)
