"""What a kernel is, and what it may know how to do beside being called: each capability is a protocol.

A kernel that has the methods has the capability; nothing is declared. Whoever wants to use one asks for it::

    if isinstance(untiled(kernel), PreparingKernel):
        x = untiled(kernel).prepare(x)
"""

from collections.abc import Callable, Sequence
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

Progress = Callable[[float, float, str], None]  # (done, total, note); may raise


class KernelFunction(Protocol):
    """Anything callable as ``(x1, x2=None) -> [n1, n2]``, images [n, C, H, W]."""

    def __call__(self, x1: Tensor, x2: Tensor | None = None) -> Tensor: ...


@runtime_checkable
class PreparedImages(Protocol):
    """Images with what a kernel has computed of each one alone: sliced like them, and accepted in their place."""

    @property
    def images(self) -> Tensor: ...

    def __len__(self) -> int: ...

    def __getitem__(self, rows: slice) -> "PreparedImages": ...


Images = Tensor | PreparedImages


@runtime_checkable
class PreparingKernel(Protocol):
    """Does the work on single images once for each."""

    def prepare(self, x: Images) -> PreparedImages: ...


@runtime_checkable
class SizedKernel(Protocol):
    """Knows the working memory of one image pair, bytes."""

    def bytes_per_pair(self, image_shape: Sequence[int], dtype: torch.dtype) -> float: ...


@runtime_checkable
class WholeKernel(Protocol):
    """Divides its work itself: the whole matrix within bounded memory, or None where it needs tiles for that."""

    def matrix(self, x1: Tensor, x2: Tensor | None, progress: Progress | None) -> Tensor | None: ...


@runtime_checkable
class FreezableKernel(Protocol):
    """Follows something that may change, such as a net in training, and can give the kernel of now."""

    def frozen(self) -> KernelFunction: ...


@runtime_checkable
class DifferentiatingKernel(Protocol):
    """Knows its gradients in one image [C, H, W] for all x at once: ``dK(image, x_j)/d image``, [n, C, H, W]."""

    def pair_gradients(self, image: Tensor, x: Images) -> Tensor: ...


@runtime_checkable
class CombiningKernel(Protocol):
    """Sums ``K(., x) w`` over images x, weights w [n, r], without the kernel itself: z [m, C, H, W] -> [m, r]."""

    def combine(self, x: Tensor, weights: Tensor) -> Callable[[Tensor], Tensor]: ...
