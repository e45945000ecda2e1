"""Stages of one kernel: the kernel itself, its spectrum, prediction and features, and kernels compared.

Begin with ``kernel`` and ``spectrum``, which all others read; ``parts`` holds what they share after that. ``sweep``
attacks every feature, ``curves`` and ``pictures`` look at what it found; ``flip`` follows one image along the radius;
``consistency`` and ``gradients`` compare architectures.
"""
