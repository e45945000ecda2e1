"""Kernels of several architectures on the same images: do they have the same eigenfeatures?

Begin with ``similarity``: alignment of kernels (CKA), overlap of eigenspaces, features matched one to one, and what
matched features look at. ``agreement`` is the first two for every pair, with intervals and what chance would give.
"""
