"""Closed-form kernels of infinitely wide nets: the NNGP and the NTK of a ``Net``, differentiable in the images.

Covariances of the pixels run through the layers' rules (``recursion``; Jacot et al. 2018, Arora et al. 2019), by the
fastest backend that covers the net and the images. The variances at the activations depend on one image alone and are
computed once per image (``prepare``)::

    k = kernel_fn(fc(depth=1), kind="ntk")
    k(x)                                # [n, n], tiled and exactly symmetric; computes in x's dtype
    k.kernel.pair_gradients(x[0], x)    # [n, C, H, W]: dK(x, x_j)/dx for every j at once
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ntkcore import checks
from ntkcore.errors import SpecError
from ntkcore.kernels.blocks import PAIRS, Progress, TiledKernel, slices, tile_bytes, tiled
from ntkcore.kernels.infinite import recursion
from ntkcore.kernels.infinite.backend import Backend, KernelKind
from ntkcore.kernels.infinite.cpu import dense, spatial
from ntkcore.kernels.infinite.gpu import fused
from ntkcore.kernels.infinite.prepared import Prepared
from ntkcore.kernels.inputs import RAW, InputMap
from ntkcore.modes import plain, untransformed
from ntkcore.nets import Activation, Net

BACKENDS: tuple[Backend, ...] = (fused, dense, spatial)  # the first that covers; else the recursion


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
        backend = self._backend(one.images, two.images)
        return backend.matrix(self.net, self.kind, one, None if two is one else two)

    @plain
    def pairs(self, x1: Tensor | Prepared, x2: Tensor | Prepared) -> Tensor:
        """Matched pairs: ``K(x1_i, x2_i)``, shape [n]."""
        one, two = self._side(x1), self._side(x2)
        _check_pair(one.images, two.images)
        if len(one) != len(two):
            raise SpecError(f"Matched pairs need as many images on both sides; got {len(one)} and {len(two)}.")
        return self._backend_of_each(one.images, two.images).matched(self.net, self.kind, one, two)

    @plain
    def matrix(self, x1: Tensor | Prepared, x2: Tensor | Prepared | None, progress: Progress | None) -> Tensor | None:
        """The whole matrix, where it needs no tiles; None where it does. progress: as of TiledKernel."""
        given = [x.images if isinstance(x, Prepared) else x for x in (x1, x2) if x is not None]
        backend = self._backend(*given)
        if backend is recursion:
            return None

        def report(done: float, total: float) -> None:
            if progress is not None:
                progress(done, total, PAIRS)

        if progress is not None:
            ready = backend.ready(given[0].dtype)
            progress(0, 1, PAIRS if ready else "kernel: compiling its loops, once for this machine")
        one = self._side(x1)
        two = None if x2 is None else self._side(x2)
        _check_pair(one.images, (one if two is None else two).images)
        return backend.matrix(self.net, self.kind, one, two, report)

    @plain
    def prepare(self, x: Tensor | Prepared) -> Prepared:
        """Map the images and run their own variances through the net, in chunks of bounded memory.

        What comes back is a copy: it stays what it is when x is changed. Raises SpecError for what another kernel made.
        """
        side = self._side(x)
        return replace(side, images=side.images.clone()) if side.images is x else side

    def bytes_per_pair(self, image_shape: Sequence[int], dtype: torch.dtype) -> float:
        """Working memory of one image pair, bytes."""
        return recursion.bytes_per_pair(self.net, image_shape, dtype)

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

    @plain
    def slopes(self, k: Tensor, q: Tensor, variances: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """dK/dk[p] and dK/dq[p] of one image with n2 others, mapped: see ``recursion.slopes``; not with pooling."""
        return recursion.slopes(self.net, self.kind, k, q, variances)

    # -- images and the backend for them ---------------------------------------------------------------------------

    def _side(self, x: Tensor | Prepared) -> Prepared:
        """What ``prepare`` gives, without a copy."""
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
        return self._backend_of_each(u).prepare(self.net, u)

    def _backend(self, *images: Tensor) -> Backend:
        """Compiled code can take images from which no gradients are to come back, and that have pixels."""
        if not self._plain_functions:
            for u in images:
                untransformed(u)
        if torch.is_grad_enabled() and any(u.requires_grad for u in images):
            return recursion
        for backend in BACKENDS:
            if all(u.numel() > 0 and u.ndim == 4 and backend.covers(self.net, u) for u in images):
                return backend
        return recursion

    def _backend_of_each(self, *images: Tensor) -> Backend:
        """The same for what is computed image by image: of flattened ones that is little, and torch's transforms can
        follow it in the recursion."""
        return recursion if self.net.flat_input else self._backend(*images)

    @property
    def _plain_functions(self) -> bool:
        """Whether all of the recursion are functions of torch, which its transforms can follow."""
        return self.net.flat_input and not any(
            isinstance(layer, Activation) and layer.name == "relu" for layer in self.net.layers
        )

    # -- gradients in one image --------------------------------------------------------------------------------------

    def _local_gradients(self, u: Tensor, two: Prepared) -> Tensor:
        """Gradient by the chain rule through k[p] and q[p]; u [1, C, H, W] -> [n2, C, H, W]."""
        k = recursion.matched_covariances(self.net, u, two.images)
        dk, dq = self.slopes(k, recursion.squares(self.net, u), two.variances)
        if self.net.flat_input:
            dk, dq = dk.view(-1, 1, 1, 1) / u.numel(), dq.view(-1, 1, 1, 1) / u.numel()
        else:
            dk, dq = dk.permute(2, 0, 1)[:, None] / u.shape[1], dq.permute(2, 0, 1)[:, None] / u.shape[1]
        return dk * two.images + 2 * dq * u

    def _autograd_pairs(self, u: Tensor, two: Prepared) -> Tensor:
        """Gradient by autograd over matched pairs, one copy of u for every image of the other side."""
        with torch.enable_grad():
            copies = u.expand(len(two), *u.shape[1:]).contiguous().requires_grad_()
            one = recursion.prepare(self.net, copies)
            values = recursion.matched(self.net, self.kind, one, two)
            return torch.autograd.grad(values.sum(), copies)[0]


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
