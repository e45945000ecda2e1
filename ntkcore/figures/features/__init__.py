"""Figures of eigenfeatures.

Begin with ``eigenfeatures``, every feature as a dot of usefulness and robustness. ``along_index`` has the same along
the eigenvalue index, classes of features, and a perturbation split over them; ``null`` shows what permuted labels would
give; ``tradeoff`` has accuracies with some features only and along training time, ``band_sums`` those of dyadic bands.
"""
