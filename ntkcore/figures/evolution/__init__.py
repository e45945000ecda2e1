"""Figures along the epochs of standard and adversarial training.

Begin with ``accuracy``, of nets and of those whose kernel is frozen. ``motion`` shows how the kernel moves,
``concentration`` its spectrum and its alignment with the labels. ``panels`` is what all three are drawn with.
"""
