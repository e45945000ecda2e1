"""What a way to compute closed-form kernels must offer: the protocol of the recursion and of compiled code.

A backend is a module with these functions. The first of ``kernel.BACKENDS`` that covers a net and its images computes
the kernel; the recursion in torch, which covers all, is what remains::

    backend.covers(net, images)
    one = backend.prepare(net, images)                       # what depends on one image alone, once for each
    backend.matrix(net, "ntk", one, None, report)            # [n, n], exactly symmetric
    backend.matched(net, "ntk", one, two)                    # [n]: image i of one side with image i of the other
"""

from collections.abc import Callable
from typing import Literal, Protocol

import torch
from torch import Tensor

from ntkcore.kernels.infinite.prepared import Prepared
from ntkcore.nets import Net

KernelKind = Literal["ntk", "nngp"]
Report = Callable[[float, float], None]  # (done, total) in pairs; may raise


class Backend(Protocol):
    """One way to compute the kernels of some nets."""

    def covers(self, net: Net, images: Tensor) -> bool:
        """Whether it can take these images [n, C, H, W] through this net."""

    def ready(self, dtype: torch.dtype) -> bool:
        """Whether it need not compile anything first that takes seconds."""

    def prepare(self, net: Net, images: Tensor) -> Prepared:
        """Mapped images with their variances before each activation."""

    def matched(self, net: Net, kind: KernelKind, one: Prepared, two: Prepared) -> Tensor:
        """``K(one_i, two_i)``, [n], in the images' precision throughout."""

    def matrix(
        self, net: Net, kind: KernelKind, one: Prepared, two: Prepared | None, report: Report | None = None
    ) -> Tensor:
        """[n1, n2]; two = None: [n, n], exactly symmetric where the backend divides the work itself."""


def asked(kind: KernelKind, k: Tensor, t: Tensor | None) -> Tensor:
    """Of NNGP and NTK the one that is asked for."""
    if kind == "nngp":
        return k
    assert t is not None  # it comes with the first dense layer
    return t
