"""The recursion of closed-form kernels in torch, a layer at a time over whole covariances: a backend for every net.

Covariances start from the pixels, ``K[p, q] = <x_p, x'_q> / C`` (flattened input: ``<x, x'> / d``), and run through
the layers' rules (``ntkcore.nets``, ``ntkcore.covariance``; Jacot et al. 2018, Arora et al. 2019), at equal positions
p = q alone, or, where the net pools, at all pairs of positions. It is differentiable in the images, computes on every
device and in every precision, and is what compiled backends are checked against::

    one = prepare(net, images)
    matrix(net, "ntk", one, None)                   # [n, n]
    matched(net, "nngp", one, one)                  # [n]
    slopes(net, "ntk", k, q, one.variances)         # derivatives in one image's covariances and in its variance
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from ntkcore import covariance as cov
from ntkcore.kernels.blocks import slices, tile_bytes
from ntkcore.kernels.infinite.backend import KernelKind, Report, asked
from ntkcore.kernels.infinite.prepared import Prepared, local_variances
from ntkcore.nets import Activation, Net


def covers(net: Net, images: Tensor) -> bool:
    """All nets and images."""
    return True


def ready(dtype: torch.dtype) -> bool:
    """Nothing is compiled."""
    return True


def prepare(net: Net, images: Tensor) -> Prepared:
    """The variances [*positions, n] before each activation, in chunks of bounded memory; ``own`` of flat ones."""
    if not net.spatial_pairs:
        q = squares(net, images)
        return Prepared(images, local_variances(net, q), q if net.flat_input else None)
    parts = [_full_variances(net, images[s]) for s in slices(len(images), at_once(net, images, images.dtype))]
    return Prepared(images, tuple(torch.cat(layer, -1) for layer in zip(*parts, strict=True)))


def matrix(net: Net, kind: KernelKind, one: Prepared, two: Prepared | None, report: Report | None = None) -> Tensor:
    """[n1, n2] at once, of as many images as memory has room for (``bytes_per_pair``); nothing is reported."""
    two = one if two is None else two
    q1, q2 = [q.unsqueeze(-1) for q in one.variances], [q.unsqueeze(-2) for q in two.variances]
    return propagated(net, kind, _covariances(net, one.images, two.images), q1, q2, pair_dims=2)


def matched(net: Net, kind: KernelKind, one: Prepared, two: Prepared) -> Tensor:
    """[n]."""
    k = matched_covariances(net, one.images, two.images)
    return propagated(net, kind, k, one.variances, two.variances, pair_dims=1)


def slopes(net: Net, kind: KernelKind, k: Tensor, q: Tensor, variances: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """dK/dk[p] and dK/dq[p] of one image with n2 others, [*positions, n2] each; not with pooling.

    k[p] = ``<u_p, u'_p>/C`` [*positions, n2] and q[p] = ``|u_p|^2/C`` [*positions, 1] (flattened input: over all
    pixels); variances: of the others, as ``prepare`` makes them.
    """
    with torch.enable_grad():
        k = k.detach().requires_grad_()
        q = q.detach().expand_as(k).contiguous().requires_grad_()
        values = propagated(net, kind, k, local_variances(net, q), variances, pair_dims=1)
        dk, dq = torch.autograd.grad(values.sum(), (k, q), allow_unused=True)
    return dk, torch.zeros_like(dk) if dq is None else dq


def bytes_per_pair(net: Net, image_shape: Sequence[int], dtype: torch.dtype) -> float:
    """Working memory of one image pair, bytes: about six copies of the largest covariance, k and t."""
    positions = 1 if net.flat_input else image_shape[-1] * image_shape[-2]
    numbers = positions**2 if net.spatial_pairs else positions
    return 8.0 * numbers * dtype.itemsize


def at_once(net: Net, images: Tensor, dtype: torch.dtype) -> int:
    """Matched pairs that are taken together."""
    return max(1, int(4 * tile_bytes(images.device) / bytes_per_pair(net, images.shape[1:], dtype)))


# -- from layer to layer -----------------------------------------------------------------------------------------------


def propagated(
    net: Net, kind: KernelKind, k: Tensor, q1: Sequence[Tensor], q2: Sequence[Tensor], pair_dims: int
) -> Tensor:
    """Covariances at the input, and variances of both sides at the activations -> the kernel that is asked for.

    pair_dims: last axes of k that count images, 1 for matched pairs.
    """
    t, activation = None, 0
    for layer in net.covariance_layers():
        spatial_pairs = k.ndim - pair_dims == 4
        if isinstance(layer, Activation):
            sides = cov.outer_positions(q1[activation], q2[activation], spatial_pairs)
            k, t = layer.activate(k, t, *sides)
            activation += 1
        else:
            k, t = layer.covariance(k, t, spatial_pairs)
        if kind == "nngp":
            t = None
    return asked(kind, k, t)


def _full_variances(net: Net, u: Tensor) -> tuple[Tensor, ...]:
    """Variances before each activation when every pair of positions is carried, from K(x, x)[p, q]."""
    out = []
    k = squares(net, u)
    for layer in net.covariance_layers():
        spatial_pairs = k.ndim == 5
        if isinstance(layer, Activation):
            q = cov.diagonal(k) if spatial_pairs else k
            out.append(q)
            if len(out) == net.activations:
                break
            k, _ = layer.activate(k, None, *cov.outer_positions(q, q, spatial_pairs))
        else:
            k, _ = layer.covariance(k, None, spatial_pairs)
    return tuple(out)


# -- from pixels to covariances ----------------------------------------------------------------------------------------


def _covariances(net: Net, u1: Tensor, u2: Tensor) -> Tensor:
    """All pairs: [n1, n2], [H, W, n1, n2] or [H, W, H, W, n1, n2]."""
    channels = u1.shape[1]
    if net.flat_input:
        return (u1.flatten(1) / u1[0].numel()) @ u2.flatten(1).T
    if net.spatial_pairs:
        return torch.einsum("ichw,jcuv->hwuvij", u1 / channels, u2)  # sum over c
    return torch.einsum("ichw,jchw->hwij", u1 / channels, u2)


def matched_covariances(net: Net, u1: Tensor, u2: Tensor) -> Tensor:
    """Matched pairs: [n], [H, W, n] or [H, W, H, W, n]."""
    channels = u1.shape[1]
    if net.flat_input:
        return torch.linalg.vecdot(u1.flatten(1), u2.flatten(1)) / u1[0].numel()
    if net.spatial_pairs:
        return torch.einsum("nchw,ncuv->hwuvn", u1 / channels, u2)
    return (u1 * u2).sum(1).permute(1, 2, 0) / channels


def squares(net: Net, u: Tensor) -> Tensor:
    """Each image with itself: ``|u|^2/d`` [n], ``|u_p|^2/C`` [H, W, n], or [H, W, H, W, n] of all pairs p, q."""
    return matched_covariances(net, u, u)
