"""Readings: results read aloud, as sentences with their intervals and verdicts by a stated rule.

A page says what its reading says, and its figures' alt texts share the words. One module a subject (``features``,
``kernel``, ``transfer``, ``evolution``, ``consistency``); ``words`` has shares, points, radii and p-values as they are
written everywhere, ``glossary`` what the terms mean. Nothing is rounded before it is compared, and a sentence says no
more than its interval allows::

    read_sweep(sweep, classes, null, fdr=0.05)     # "Of 1000 features 75 are useful: 4 robust ..."
"""
