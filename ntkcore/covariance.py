"""Covariances of pixel pairs: the quantities that an infinitely wide network carries from layer to layer.

For two images x, x' a layer of infinite width is described by the covariance ``k`` of its pre-activations (the
NNGP kernel), the tangent kernel ``t``, and the variances ``q1 = k(x, x)``, ``q2 = k(x', x')``. The closed forms
are those of Cho & Saul 2009 (arc-cosine kernels), Williams 1997 (erf), Jacot et al. 2018 and Arora et al. 2019
(tangent kernels of dense and convolutional nets).

Layout. Space comes first, image pairs last: ``k[*space, *pairs]`` where ``pairs`` is ``(n1, n2)`` for all pairs
or ``(n,)`` for matched ones, and ``space`` is

* ``()`` once the image is flattened,
* ``(H, W)`` when only equal positions p = q are ever needed (no pooling before Flatten),
* ``(H, W, H, W)`` when every pair of positions p, q is (pooling): (HW)^2 numbers per image pair.

Variances are ``q1[*positions, n1, 1]`` and ``q2[*positions, 1, n2]`` (or ``[*positions, n]`` twice)::

    k, t = relu(k, t, *outer_positions(q1, q2, spatial_pairs=True))     # one ReLU layer
    k = box_sum(k, spatial_pairs=True)                                  # one 3x3 convolution, up to its scale
"""

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import Function

from ntkcore.errors import SpecError

TWO_PI = 2 * math.pi


def outer_positions(q1: Tensor, q2: Tensor, spatial_pairs: bool) -> tuple[Tensor, Tensor]:
    """Variances shaped to broadcast against ``k``: ``q1`` along p, ``q2`` along q when both are carried."""
    if not spatial_pairs:
        return q1, q2
    h, w = q1.shape[:2]
    return q1.reshape(h, w, 1, 1, *q1.shape[2:]), q2.reshape(1, 1, h, w, *q2.shape[2:])


class _ArcCosine(Function):
    """ReLU layer: (k, t, s) -> (k', t') with its exact derivative, finite where an image meets itself.

    With ``cos(theta) = k / s``::

        k' = s (sin(theta) + (pi - theta) cos(theta)) / 2 pi          t' = t (pi - theta) / 2 pi

    theta has a cusp at 0: where the two arguments coincide its symmetric derivative is 0, so the terms in
    1/sin(theta) are dropped there. Coincidence is judged up to a few rounding errors (``1 - cos(theta) < tol``),
    which also keeps the diagonal of a float32 kernel exact (theta = sqrt(2 tol) would be 5e-4 otherwise).

    Written in few passes over memory and without masks, which cost more than the arccos.
    """

    @staticmethod
    def forward(ctx: Any, k: Tensor, t: Tensor | None, s: Tensor) -> tuple[Tensor, Tensor | None]:
        tol = 16 * torch.finfo(k.dtype).eps
        gap = F.threshold((k / s).clamp_(-1, 1).neg_().add_(1), tol, 0.0, inplace=True)  # 1 - cos(theta)
        sin = (2 - gap).mul_(gap).sqrt_()
        cos = gap.neg_().add_(1)
        turn = torch.arccos(cos).neg_().add_(math.pi).div_(TWO_PI)  # (pi - theta) / 2 pi, in [0, 1/2]
        k_out = (sin / TWO_PI).addcmul_(turn, cos).mul_(s)
        t_out = None if t is None else t * turn
        ctx.save_for_backward(t, s, cos, sin, turn)
        return k_out, t_out

    @staticmethod
    def backward(ctx: Any, gk: Tensor | None, gt: Tensor | None) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled():  # the numbers kept here have no graph: their derivative would be wrong
            raise SpecError(
                "Second derivatives (create_graph=True) of ReLU kernels are not computed. Take first ones, or a net "
                'with activation="erf".'
            )
        t, s, cos, sin, turn = ctx.saved_tensors
        dk: Any = 0  # a sum, which autograd takes as it is
        ds: Any = 0
        dt = None
        if gk is not None:
            dk = gk * turn
            ds = gk * sin / TWO_PI
        if gt is not None and t is not None:
            dt = gt * turn
            per_sin = sin / (sin * sin).add_(torch.finfo(sin.dtype).tiny)  # 1 / sin(theta), 0 at theta = 0
            slope = (gt * t).mul_(per_sin).div_(s * TWO_PI)
            dk = slope.add(dk)
            ds = (slope * cos).neg_().add_(ds)
        return dk, dt, ds


def scale(q1: Tensor, q2: Tensor) -> Tensor:
    """``sqrt(q1 q2)``, kept above zero where a variance is zero, with a derivative of zero there."""
    least = 4 * torch.finfo(q1.dtype).tiny
    return q1.clamp(min=least).sqrt() * q2.clamp(min=least).sqrt()


def relu(k: Tensor, t: Tensor | None, q1: Tensor, q2: Tensor) -> tuple[Tensor, Tensor | None]:
    """One ReLU layer on covariances; ``q1``, ``q2`` broadcast against ``k``. Cho & Saul 2009, eq. 6 (n = 0, 1)."""
    return _ArcCosine.apply(k, t, scale(q1, q2))


def erf(k: Tensor, t: Tensor | None, q1: Tensor, q2: Tensor) -> tuple[Tensor, Tensor | None]:
    """One erf layer: ``k' = (2/pi) arcsin(2k / r)``, ``t' = t (4/pi) / sqrt(r^2 - 4k^2)``, ``r^2 = (1+2q1)(1+2q2)``.

    Williams 1997 for the covariance; its derivative in k gives the tangent factor.
    """
    r2 = (1 + 2 * q1) * (1 + 2 * q2)
    k_out = (2 / math.pi) * torch.arcsin((2 * k / r2.sqrt()).clamp(-1, 1))
    t_out = None if t is None else t * (4 / math.pi) / (r2 - 4 * k * k).sqrt()
    return k_out, t_out


def relu_variance(q: Tensor) -> Tensor:
    """Variance after a ReLU: ``q / 2``, the closed form of :func:`relu` at theta = 0."""
    return q / 2


def erf_variance(q: Tensor) -> Tensor:
    """Variance after an erf: ``(2/pi) arcsin(2q / (1 + 2q))``."""
    return (2 / math.pi) * torch.arcsin(2 * q / (1 + 2 * q))


class _BoxSum(Function):
    """Sum over the nine 3x3 displacements with zero padding. Linear and symmetric: its own adjoint."""

    @staticmethod
    def forward(ctx: Any, k: Tensor, spatial_pairs: bool) -> Tensor:
        ctx.spatial_pairs = spatial_pairs
        axes = ((0, 2), (1, 3)) if spatial_pairs else ((0,), (1,))
        for along in axes:
            out = k.clone()
            size = k.shape[along[0]]
            if size > 1:
                up, down = out, k
                ahead, behind = k, out
                for axis in along:
                    up, down = up.narrow(axis, 1, size - 1), down.narrow(axis, 0, size - 1)
                    ahead, behind = ahead.narrow(axis, 1, size - 1), behind.narrow(axis, 0, size - 1)
                up += down
                behind += ahead
            k = out
        return k

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return _BoxSum.apply(grad.contiguous(), ctx.spatial_pairs), None  # it is its own transpose


def box_sum(k: Tensor, spatial_pairs: bool) -> Tensor:
    """``sum over delta of k[p + delta, q + delta]``, terms outside the image are 0 (3x3 SAME convolution)."""
    return _BoxSum.apply(k, spatial_pairs)


def pool_pairs(k: Tensor) -> Tensor:
    """2x2 mean over p and, independently, over q: ``[H, W, H, W, ...] -> [H/2, W/2, H/2, W/2, ...]``.

    An odd last row or column is dropped, as ``torch.nn.AvgPool2d(2)`` does.
    """
    for axis in range(4):
        half = k.shape[axis] // 2
        even = k.narrow(axis, 0, 2 * half).unflatten(axis, (half, 2))
        k = (even.select(axis + 1, 0) + even.select(axis + 1, 1)) / 2
    return k


def diagonal_mean(k: Tensor, spatial_pairs: bool) -> Tensor:
    """Flatten: mean over p = q."""
    if not spatial_pairs:
        return k.mean((0, 1))
    return diagonal(k).mean((0, 1))


def diagonal(k: Tensor) -> Tensor:
    """The entries p = q of ``k[H, W, H, W, ...]`` as ``[H, W, ...]``."""
    h, w = k.shape[:2]
    flat = k.reshape(h * w, h * w, *k.shape[4:])
    index = torch.arange(h * w, device=k.device)
    return flat[index, index].reshape(h, w, *k.shape[4:])
