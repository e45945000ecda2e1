"""Closed-form kernels on a GPU: ``fused``, a backend (see ``ntkcore.kernels.infinite.backend``), in tiles of images.

``steps`` are what it makes of a net's layers, ``planes`` takes nets without pools through all of them at once.
``passes`` are its programs in Triton, which comes with torch for CUDA on Linux. Where they do not run, the recursion in
torch is left.
"""
