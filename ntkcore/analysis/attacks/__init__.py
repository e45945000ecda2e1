"""Adversarial attacks on anything that maps images to outputs, and what comes of them on other models.

Begin with ``attack``: ``fgsm``, ``pgd`` and the loop of both. Then::

    balls                 the norms, and how radii are written
    autoattack            AutoAttack, of a package of its own
    margin_path           one image along growing radii, and the smallest that turns the prediction
    transfer              images perturbed through one model and judged by another
    transfer_statistics   many transfers, over widths and seeds, with their intervals
"""
