"""What compiled loops are written with, for closed-form and for empirical kernels.

Begin with ``vectors``: numbers side by side, as processors add and multiply them, and ``compiled``, which keeps what it
compiles on disk (``disk_cache``)::

    arccosine     the angle of a ReLU layer
    registers     tiles of matrix products whose sums stay in registers
"""
