"""Stages of a kernel in motion: a net trained epoch by epoch, and what is looked at on the way.

Begin with ``epoch``, the checkpoints: all others begin with one. ``score`` judges it, ``tangent`` is its kernel,
``moment`` compares that with the kernels before, ``tangent_features`` shows its features, ``frozen`` solves its
linearisation.
"""
