"""Empirical tangent kernels of finite nets: inner products of the gradients of any torch module's weights.

Begin with ``kernel``: ``empirical_ntk`` and ``empirical_kernel_fn``, and the slower way for modules that are not known.
Modules of dense layers, convolutions and BatchNorm are taken a layer at a time::

    layers        which layers a module consists of, and the form of their gradients
    layerwise     how the layers are grouped so that memory is bounded; the passes, and the sum over layers
    sequential    backward passes for all outputs at once, where the module is an nn.Sequential of known parts
    records       what a pass leaves of one layer, and the products of it
    relu_loops    compiled loops back through ReLU and pools
"""

from ntkcore.kernels.empirical.kernel import EmpiricalKernel, empirical_kernel_fn, empirical_ntk

__all__ = ["EmpiricalKernel", "empirical_kernel_fn", "empirical_ntk"]
