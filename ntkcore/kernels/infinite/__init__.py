"""Closed-form kernels of infinitely wide nets.

Begin with ``kernel``: ``kernel_fn`` and what it gives back. The formulas are in ``recursion``, layer by layer in torch:
differentiable, on every device and in every precision. Where a net and its images allow it, compiled code computes the
same numbers faster. Each such way is a module with the functions that ``backend`` names::

    prepared      images with what depends on one image alone
    cpu/          dense and convolutional ReLU nets on the processor (dense, spatial; their loops; integers: products)
    gpu/          the same on a GPU, in Triton
    relu_nets     which nets these know, and where a net flattens its image
"""

from ntkcore.kernels.infinite.kernel import InfiniteKernel, kernel_fn

__all__ = ["InfiniteKernel", "kernel_fn"]
