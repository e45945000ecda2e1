"""A net frozen where it is: its tangent-kernel machine in closed form, and the eigenfeatures of its tangent kernel.

With ``J [nc, p]`` the Jacobian of the outputs in the weights, a vector ``alpha [n, c]`` over the images is one
direction of the weights, ``J^T alpha`` (one backward pass), and the kernel predictor with these coefficients is the
directional derivative along it: ``sum_jb alpha_jb Theta(x, x_j)_ab = <grad_w f_a(x), J^T alpha>``. So predictions and
eigenfeatures of an empirical kernel, and their gradients in the images, cost a few passes through the net, not a
kernel::

    g = solve(net, x, y, ridge=1e-3)              # (K + rho I)^-1 Y (Loo et al. 2022, eq. 4): x -> [m, c]
    along(net, x, vectors[:, 0])                  # eigenfeature 0 times its eigenvalue: x -> [m, c], differentiable
"""

from dataclasses import replace

import torch
from torch import Tensor

from ntkcore import checks
from ntkcore.errors import NTKError
from ntkcore.kernels.empirical import empirical_ntk
from ntkcore.looking import copy_of
from ntkcore.modes import plain
from ntkcore.training import FiniteNet, Linearised


@plain
def solve(net: FiniteNet, x: Tensor, y: Tensor, ridge: float = 0.0) -> FiniteNet:
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
    return along(net, x, alpha)


@plain
def along(net: FiniteNet, x: Tensor, alpha: Tensor) -> FiniteNet:
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
