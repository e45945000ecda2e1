"""Closed-form kernels of infinitely wide nets: the NNGP and the NTK of a ``Net``, differentiable in the images.

Covariances start from the pixels, ``K[p, q] = <x_p, x'_q> / C`` (flattened input: ``<x, x'> / d``), and run
through the layers' rules (``ntkcore.nets``, ``ntkcore.covariance``; Jacot et al. 2018, Arora et al. 2019). The
variances at the activations depend on one image alone and are computed once per image (``prepare``)::

    k = kernel_fn(fc(depth=1), kind="ntk")
    k(x)                                # [n, n], tiled and exactly symmetric; computes in x's dtype
    k.kernel.pair_gradients(x[0], x)    # [n, C, H, W]: dK(x, x_j)/dx for every j at once
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from ntkcore import checks
from ntkcore import covariance as cov
from ntkcore.errors import SpecError
from ntkcore.kernels.blocks import PAIRS, Progress, TiledKernel, slices, tile_bytes, tiled
from ntkcore.kernels.infinite.prepared import MANY, Prepared, local_variances
from ntkcore.kernels.inputs import RAW, InputMap
from ntkcore.modes import plain, untransformed
from ntkcore.nets import Activation, Net

KernelKind = Literal["ntk", "nngp"]
Report = Callable[[float, float], None]  # (done, total) in pairs; may raise


@dataclass(frozen=True, eq=False)
class InfiniteKernel:
    """The kernel of one infinitely wide net, untiled: ``(x1, x2=None) -> [n1, n2]``.

    x1, x2: float tensors [n, C, H, W] in pixel units, or what ``prepare`` made of them. Raises SpecError when
    shapes or dtypes do not fit each other or the net.
    """

    net: Net
    kind: KernelKind = "ntk"
    inputs: InputMap = RAW

    @plain
    def __call__(self, x1: Tensor | Prepared, x2: Tensor | Prepared | None = None) -> Tensor:
        one = self._side(x1)
        two = one if x2 is None else self._side(x2)
        _check_pair(one.images, two.images)
        if self._by_loops(one.images, two.images):
            return self._looped(one, None if two is one else two, None)
        k = self._input_covariance(one.images, two.images)
        return self._asked(*self._propagate(k, _along(one.variances, -1), _along(two.variances, -2), pair_dims=2))

    @plain
    def pairs(self, x1: Tensor | Prepared, x2: Tensor | Prepared) -> Tensor:
        """Matched pairs: ``K(x1_i, x2_i)``, shape [n]."""
        one, two = self._side(x1), self._side(x2)
        _check_pair(one.images, two.images)
        if len(one) != len(two):
            raise SpecError(f"Matched pairs need as many images on both sides; got {len(one)} and {len(two)}.")
        if not self.net.flat_input and self._by_loops(one.images, two.images):
            return self._finish(*self._loops(one.images).matched(self.net, one, two))
        k = self._matched_covariance(one.images, two.images)
        return self._asked(*self._propagate(k, one.variances, two.variances, pair_dims=1))

    @plain
    def matrix(self, x1: Tensor | Prepared, x2: Tensor | Prepared | None, progress: Progress | None) -> Tensor | None:
        """The whole matrix, where it needs no tiles; None where it does. progress: as of TiledKernel."""
        sides = (x1,) if x2 is None else (x1, x2)
        if not self._by_loops(*(x.images if isinstance(x, Prepared) else x for x in sides)):
            return None

        def report(done: float, total: float) -> None:
            if progress is not None:
                progress(done, total, PAIRS)

        if progress is not None:
            ready = self._loops(x1.images if isinstance(x1, Prepared) else x1).ready(x1.dtype)
            progress(0, 1, PAIRS if ready else "kernel: compiling its loops, once for this machine")
        one = self._side(x1)
        two = None if x2 is None else self._side(x2)
        _check_pair(one.images, (one if two is None else two).images)
        return self._looped(one, two, report)

    @plain
    def prepare(self, x: Tensor | Prepared) -> Prepared:
        """Map the images and run their own variances through the net, in chunks of bounded memory.

        What comes back is a copy: it stays what it is when x is changed. Raises SpecError for what another kernel made.
        """
        side = self._side(x)
        return replace(side, images=side.images.clone()) if side.images is x else side

    def _side(self, x: Tensor | Prepared) -> Prepared:
        """The same without a copy."""
        if not isinstance(x, Prepared):
            return replace(self._with_variances(x), net=self.net, inputs=self.inputs)
        if x.net is not None and (x.net != self.net or x.inputs is not self.inputs):
            raise SpecError(
                f"These images were prepared for another kernel, that of {x.net} or with another input map. "
                "Prepare them by this one: kernel.prepare(x)."
            )
        return x

    def _with_variances(self, x: Tensor) -> Prepared:
        u = self.inputs(checks.image_form(x, empty=True))
        self.net.check_sides(*u.shape[2:])
        if not self.net.flat_input and self._by_loops(u):
            return self._loops(u).prepare(self.net, u)
        if not self.net.spatial_pairs:
            squares = self._squares(u)
            return Prepared(u, local_variances(self.net, squares), squares if self.net.flat_input else None)
        parts = [self._full_variances(u[s]) for s in slices(len(u), self._at_once(u, u.dtype))]
        return Prepared(u, tuple(torch.cat(layer, -1) for layer in zip(*parts, strict=True)))

    def bytes_per_pair(self, image_shape: Sequence[int], dtype: torch.dtype) -> float:
        """Working memory of one image pair, bytes: about six copies of the largest covariance, k and t."""
        positions = 1 if self.net.flat_input else image_shape[-1] * image_shape[-2]
        numbers = positions**2 if self.net.spatial_pairs else positions
        return 8.0 * numbers * dtype.itemsize

    @plain
    def pair_gradients(self, x: Tensor, x2: Tensor | Prepared) -> Tensor:
        """``dK(x, x2_j)/dx`` for one image x [C, H, W] and all j: [n2, C, H, W], in pixel units.

        Without pooling the kernel sees x only through ``k[p] = <x_p, x'_p>/C`` and ``q[p] = |x_p|^2/C``, so the
        gradient is ``(dK/dk[p] x'_p + 2 dK/dq[p] x_p) / C``: two numbers per position and pair (for FC two
        scalars, A_j x_j + B_j x). With pooling it is taken by autograd over matched pairs.
        """
        two = self._side(x2)
        u = self.inputs(x[None].to(two.images.dtype)).detach()
        _check_pair(u, two.images)
        gradients = []
        per_pair = 4 * self.bytes_per_pair(x.shape, u.dtype) + 8 * x.numel() * u.element_size()
        rows = max(1, int(max(256e6, tile_bytes(u.device)) / per_pair))
        for s in slices(len(two), rows):
            part = two[s]
            if self.net.spatial_pairs:
                gradients.append(self._autograd_pairs(u, part))
            else:
                gradients.append(self._local_gradients(u, part))
        return torch.cat(gradients) / self.inputs.scale

    # -- by compiled loops -----------------------------------------------------------------------------------------

    def _by_loops(self, *images: Tensor) -> bool:
        """Whether compiled loops can take these images: no gradients are to come back, and there are pixels."""
        if not self._plain_functions:
            for u in images:
                untransformed(u)
        if torch.is_grad_enabled() and any(u.requires_grad for u in images):
            return False
        return all(u.numel() > 0 and u.ndim == 4 and self._loops(u).covers(self.net, u) for u in images)

    @property
    def _plain_functions(self) -> bool:
        """Whether all of the recursion are functions of torch, which its transforms can follow."""
        return self.net.flat_input and not any(
            isinstance(layer, Activation) and layer.name == "relu" for layer in self.net.layers
        )

    def _loops(self, images: Tensor):
        """The module whose loops are for such images, and that may cover them."""
        if images.is_cuda:
            return _fused()
        return _dense() if self.net.flat_input else _spatial()

    def _looped(self, one: Prepared, two: Prepared | None, report: Report | None) -> Tensor:
        """The whole matrix; two = None: symmetric."""
        if one.images.is_cuda or not self.net.flat_input:
            finish = self._asked if self.net.flat_input else self._finish
            return self._loops(one.images).matrix(self.net, one, two, finish, report)
        found, i, j = _dense().matrix(self.net, self.kind == "ntk", one, two, report)
        return found if found.dtype == torch.float64 else self._mended(found, i, j, one, two, report)

    def _mended(
        self, found: Tensor, i: np.ndarray, j: np.ndarray, one: Prepared, two: Prepared | None, report: Report | None
    ) -> Tensor:
        """Entries (i, j) that single precision left open, and the diagonal, in double."""
        mapped = InfiniteKernel(self.net, self.kind)
        if two is None:
            found.diagonal().copy_(mapped._with_themselves(one))
        if len(i) > MANY * found.numel():
            one, two = (None if side is None else mapped.prepare(side.images.double()) for side in (one, two))
            return self._looped(one, two, report).float()
        rows, columns = torch.from_numpy(i), torch.from_numpy(j)
        found[rows, columns] = mapped._in_double(one, one if two is None else two, rows, columns)
        if two is None:
            found[columns, rows] = found[rows, columns]
        return found

    def _in_double(self, one: Prepared, two: Prepared, i: Tensor, j: Tensor) -> Tensor:
        """K of listed pairs (i, j), computed in double precision and rounded to single; without an input map."""
        values = [one.images.new_empty(0)]
        for part in slices(len(i), min(4096, self._at_once(one.images, torch.float64))):
            values.append(self.pairs(one.images[i[part]].double(), two.images[j[part]].double()).float())
        return torch.cat(values)

    def _at_once(self, images: Tensor, dtype: torch.dtype) -> int:
        """Matched pairs that are taken together."""
        return max(1, int(4 * tile_bytes(images.device) / self.bytes_per_pair(images.shape[1:], dtype)))

    def _with_themselves(self, one: Prepared) -> Tensor:
        """K(u_i, u_i) of flattened images, [n] in double precision: only their squares matter."""
        q = one.own.double()
        variances = local_variances(self.net, q)
        return self._asked(*self._propagate(q, variances, variances, pair_dims=1))

    def _finish(self, k: Tensor, t: Tensor) -> Tensor:
        """From the flattening on."""
        for layer in _spatial().behind(self.net):
            k, t = layer.covariance(k, t, False)
        return self._asked(k, t)

    def _asked(self, k: Tensor, t: Tensor | None) -> Tensor:
        return k if self.kind == "nngp" else t

    # -- the recursion -------------------------------------------------------------------------------------------

    def _propagate(
        self, k: Tensor, q1: Sequence[Tensor], q2: Sequence[Tensor], pair_dims: int
    ) -> tuple[Tensor, Tensor | None]:
        """NNGP and NTK; t None where only the NNGP is asked for."""
        t, activation = None, 0
        for layer in self.net.covariance_layers():
            spatial_pairs = k.ndim - pair_dims == 4
            if isinstance(layer, Activation):
                sides = cov.outer_positions(q1[activation], q2[activation], spatial_pairs)
                k, t = layer.activate(k, t, *sides)
                activation += 1
            else:
                k, t = layer.covariance(k, t, spatial_pairs)
            if self.kind == "nngp":
                t = None
        return k, t

    def _full_variances(self, u: Tensor) -> tuple[Tensor, ...]:
        """Variances before each activation when every pair of positions is carried, from K(x, x)[p, q]."""
        out = []
        k = self._matched_covariance(u, u)
        for layer in self.net.covariance_layers():
            spatial_pairs = k.ndim == 5
            if isinstance(layer, Activation):
                q = cov.diagonal(k) if spatial_pairs else k
                out.append(q)
                if len(out) == self.net.activations:
                    break
                k, _ = layer.activate(k, None, *cov.outer_positions(q, q, spatial_pairs))
            else:
                k, _ = layer.covariance(k, None, spatial_pairs)
        return tuple(out)

    # -- from pixels to covariances and back ---------------------------------------------------------------------

    def _input_covariance(self, u1: Tensor, u2: Tensor) -> Tensor:
        """All pairs: [n1, n2], [H, W, n1, n2] or [H, W, H, W, n1, n2]."""
        channels = u1.shape[1]
        if self.net.flat_input:
            return (u1.flatten(1) / u1[0].numel()) @ u2.flatten(1).T
        if self.net.spatial_pairs:
            return torch.einsum("ichw,jcuv->hwuvij", u1 / channels, u2)  # sum over c
        return torch.einsum("ichw,jchw->hwij", u1 / channels, u2)

    def _matched_covariance(self, u1: Tensor, u2: Tensor) -> Tensor:
        """Matched pairs: [n], [H, W, n] or [H, W, H, W, n]."""
        channels = u1.shape[1]
        if self.net.flat_input:
            return torch.linalg.vecdot(u1.flatten(1), u2.flatten(1)) / u1[0].numel()
        if self.net.spatial_pairs:
            return torch.einsum("nchw,ncuv->hwuvn", u1 / channels, u2)
        return (u1 * u2).sum(1).permute(1, 2, 0) / channels

    def _squares(self, u: Tensor) -> Tensor:
        """Variance of the input: ``|u|^2/d`` [n], or ``|u_p|^2/C`` [H, W, n]."""
        return self._matched_covariance(u, u)

    @plain
    def slopes(self, k: Tensor, q: Tensor, variances: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """dK/dk[p] and dK/dq[p] of one image with n2 others, [*positions, n2] each; not with pooling.

        k[p] = ``<u_p, u'_p>/C`` [*positions, n2] and q[p] = ``|u_p|^2/C`` [*positions, 1] of the mapped images
        (flattened input: over all pixels); variances: of the others, as ``prepare`` makes them.
        """
        with torch.enable_grad():
            k = k.detach().requires_grad_()
            q = q.detach().expand_as(k).contiguous().requires_grad_()
            values = self._asked(*self._propagate(k, local_variances(self.net, q), variances, pair_dims=1))
            dk, dq = torch.autograd.grad(values.sum(), (k, q), allow_unused=True)
        return dk, torch.zeros_like(dk) if dq is None else dq

    def _local_gradients(self, u: Tensor, two: Prepared) -> Tensor:
        """Gradient by the chain rule through k[p] and q[p]; u [1, C, H, W] -> [n2, C, H, W]."""
        dk, dq = self.slopes(self._matched_covariance(u, two.images), self._squares(u), two.variances)
        if self.net.flat_input:
            dk, dq = dk.view(-1, 1, 1, 1) / u.numel(), dq.view(-1, 1, 1, 1) / u.numel()
        else:
            dk, dq = dk.permute(2, 0, 1)[:, None] / u.shape[1], dq.permute(2, 0, 1)[:, None] / u.shape[1]
        return dk * two.images + 2 * dq * u

    def _autograd_pairs(self, u: Tensor, two: Prepared) -> Tensor:
        """Gradient by autograd over matched pairs, one copy of u for every image of the other side."""
        with torch.enable_grad():
            copies = u.expand(len(two), *u.shape[1:]).contiguous().requires_grad_()
            bare = InfiniteKernel(self.net, self.kind)
            one = bare.prepare(copies)
            return torch.autograd.grad(bare.pairs(one, replace(two, net=None)).sum(), copies)[0]


def kernel_fn(net: Net, kind: KernelKind = "ntk", inputs: InputMap | None = None) -> TiledKernel:
    """The NTK or NNGP kernel of an infinitely wide ``net`` as a function ``(x1, x2=None) -> [n1, n2]``.

    net: from ``fc``, ``conv``, ``myrtle`` or any ``Net``. kind: "ntk" (Jacot et al. 2018) or "nngp" (Lee et al.
    2018). inputs: an affine map of the pixels (``input_map``), none by default.
    Images are float tensors [n, C, H, W]; the kernel computes in their dtype and on their device, by tiles of
    bounded memory, and is differentiable in both arguments. Pixels of any range will do; one that is not a number makes
    its image's row of the kernel none. Raises SpecError for what does not fit.
    """
    checks.instance(net, Net, "net", "fc, conv and myrtle make one; for the kernel of a module: empirical_kernel_fn.")
    checks.choice(kind, "kind", ("ntk", "nngp"))
    if inputs is not None:
        checks.instance(inputs, InputMap, "inputs", "input_map(name, x_train) makes one.")
    return tiled(InfiniteKernel(net, kind, inputs or RAW))


def _dense():
    """Compiled loops for dense nets; numba takes half a second, so it is imported by those who need it."""
    from ntkcore.kernels.infinite.cpu import dense

    return dense


def _spatial():
    """The same for convolutional nets."""
    from ntkcore.kernels.infinite.cpu import spatial

    return spatial


def _fused():
    """Fused passes for GPUs."""
    from ntkcore.kernels.infinite.gpu import fused

    return fused


def _along(variances: Sequence[Tensor], axis: int) -> list[Tensor]:
    return [q.unsqueeze(axis) for q in variances]


def _check_pair(x1: Tensor, x2: Tensor) -> None:
    if x1.shape[1:] != x2.shape[1:]:
        raise SpecError(
            f"Images of both sides must have one shape; got {tuple(x1.shape[1:])} and {tuple(x2.shape[1:])}."
        )
    if x1.dtype != x2.dtype or x1.device != x2.device:
        raise SpecError(
            f"Images of both sides must share dtype and device; got {x1.dtype} on {x1.device} "
            f"and {x2.dtype} on {x2.device}. Convert one with .to()."
        )
    if math.prod(x1.shape[1:]) == 0:
        raise SpecError(f"Images have no pixels: shape {tuple(x1.shape)}.")
