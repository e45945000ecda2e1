"""Compiled loops as processors without certain instructions have them."""

import numba

from ntkcore.kernels import bfloat16, winograd


def without_instructions(monkeypatch, *loops):
    """Compile loops (module, name) anew, those that others call first, as if there were no bfloat16 instructions."""
    for module in (bfloat16, winograd):
        monkeypatch.setattr(module, "INSTRUCTIONS", False)
    for module, name in loops:
        function = getattr(module, name).py_func
        anew = numba.njit(nogil=True, error_model="numpy", fastmath={"contract", "nsz"})(function)
        monkeypatch.setattr(module, name, anew)
