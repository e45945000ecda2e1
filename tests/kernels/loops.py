"""Compiled loops as processors without certain instructions have them."""

from functools import cache

import numba

from ntkcore.kernels.loops import bfloat16


def without_instructions(monkeypatch, *loops):
    """Have loops (module, name), those that others call first, as if there were no bfloat16 instructions."""
    monkeypatch.setattr(bfloat16, "INSTRUCTIONS", False)
    for module, name in loops:
        monkeypatch.setattr(module, name, _anew(module, name))


@cache
def _anew(module, name):
    """Compiled when it is called first, with what it calls as it is then."""
    function = getattr(module, name).py_func
    return numba.njit(nogil=True, error_model="numpy", fastmath={"contract", "nsz"})(function)
