"""Eigenfeatures of a kernel one by one: what each is worth, and what an attack leaves of it.

Begin with ``eigenfeatures`` (usefulness, robustness), then ``classes`` (robust, brittle, in between, weak alone) and
``label_test``, which says what is more than chance. ``halves`` parts the test images into those that choose and those
that judge. ``tradeoff`` keeps some features only, ``pictures`` shows them. Below, thousands of predictors on one
kernel, attacked together: ``bank`` holds them, ``bank_attacks`` attacks them, ``bank_fgsm`` does so for one step of
signs, by ``fgsm_expansion`` and its ``fgsm_loops``.
"""
