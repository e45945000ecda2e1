"""Closed-form kernels by compiled loops on the processor, in single and double precision.

``dense`` is for nets that flatten their image first, ``spatial`` for convolutional ones; both are backends (see
``ntkcore.kernels.infinite.backend``) and divide a matrix over threads. What a thread runs is in ``dense_loops`` and
``spatial_loops``; ``integers`` multiplies images of 256 levels.
"""
