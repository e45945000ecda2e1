"""What is read off a kernel and a net: spectra, predictions, eigenfeatures, attacks, and how sure all that is.

Begin with ``spectrum`` and ``predict``, which all others build on; ``tangent`` is the kernel of a finite net,
``intervals`` has the confidence intervals. Then the rooms, named as the dashboard's pages::

    attacks       FGSM and PGD on any predictor, AutoAttack, the margin along the radius, transfer between models
    features      eigenfeatures one by one: usefulness, robustness, classes, pictures, sums of some of them
    consistency   kernels of several architectures compared: alignment, eigenspaces, matched features
    evolution     one kernel during training: motion, concentration, alignment with the labels, tests over seeds
"""
