"""What compiled loops are written with: those of closed-form and of empirical kernels, and of sweeps in analysis.

Begin with ``vectors``: numbers side by side, as processors add and multiply them, and ``compiled``, which keeps what it
compiles on disk (``disk_cache``)::

    arccosine     the angle of a ReLU layer
    registers     tiles of matrix products whose sums stay in registers, for factors that are made on the way
"""
