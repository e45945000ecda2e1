"""Kernels as functions ``(x1, x2=None) -> [n1, n2]``: closed forms of infinite nets, tangent kernels of finite ones.

Every kernel, closed-form or empirical, tiled or not, has the same shape and is interchangeable downstream::

    k = kernel_fn(fc(1))                   # infinite width, NTK
    E = empirical_kernel_fn(module)        # any torch module, class-traced
    K = k(x)                               # [n, n]; k(x1, x2) -> [n1, n2]
    kernel_to_file(k, x, "kernel.npy")     # the same by tiles, for kernels larger than memory

Begin with ``infinite`` (closed forms) or ``empirical`` (finite nets), each a folder; ``loops`` is what compiled loops
are written with. Here, for kernels of every kind: ``protocols`` (what a kernel is, and what it may know beside),
``blocks`` (tiles), ``inputs`` (maps of the pixels), ``streamed`` and ``unfinished`` (files), ``products`` (kernels that
are multiplied with and never held).
"""

from ntkcore.kernels.blocks import TiledKernel, tiled
from ntkcore.kernels.empirical import EmpiricalKernel, empirical_kernel_fn, empirical_ntk
from ntkcore.kernels.infinite import InfiniteKernel, kernel_fn
from ntkcore.kernels.inputs import InputMap, input_map
from ntkcore.kernels.products import KernelMatrix
from ntkcore.kernels.streamed import kernel_to_file

__all__ = [
    "EmpiricalKernel",
    "InfiniteKernel",
    "InputMap",
    "KernelMatrix",
    "TiledKernel",
    "empirical_kernel_fn",
    "empirical_ntk",
    "input_map",
    "kernel_fn",
    "kernel_to_file",
    "tiled",
]
