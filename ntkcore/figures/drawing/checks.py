"""Arguments that only figure functions take, checked at the door (others: ``ntkcore.checks``); each failure names it.

A figure function gets plain arrays from many places; a wrong shape would otherwise be drawn, wrongly::

    rho = vector(usefulness, "usefulness")                   # [F] float64
    gamma = vector(robustness, "robustness", rho.size)       # the same length, or DataError
    members = feature_groups(classes, rho.size)              # [(code, indices), ...]
"""

from collections.abc import Sequence

import numpy as np

from ntkcore.checks import codes
from ntkcore.errors import DataError
from ntkcore.figures.drawing.palette import FEATURES


def vector(values: object, name: str, length: int | None = None) -> np.ndarray:
    """``values`` as a float64 vector of at least one number, of ``length`` where given."""
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or array.size == 0:
        raise DataError(f"{name} has shape {array.shape}; a vector with at least one number is needed.")
    if length is not None and array.size != length:
        raise DataError(f"{name} has {array.size} numbers; {length} are needed, one for each point.")
    return array


def counted(values: object, name: str) -> np.ndarray:
    """``values``, epochs or steps, as int32: whole numbers from 0 on, ascending."""
    given = vector(values, name)
    if (given < 0).any() or (given != np.rint(given)).any() or (np.diff(given) <= 0).any():
        raise DataError(f"{name} must be whole numbers from 0 on, each larger than the one before.")
    return given.astype(np.int32)


def words(values: object, name: str, length: int, allowed: Sequence[str] | None = None) -> np.ndarray:
    """``values`` as ``length`` strings, each out of ``allowed`` where given."""
    array = np.asarray(values, dtype=str)
    if array.shape != (length,):
        raise DataError(f"{name} has shape {array.shape}; ({length},) is needed, one word for each point.")
    if allowed is not None and (unknown := sorted(set(array.tolist()) - set(allowed))):
        raise DataError(f"{name} contains {unknown[0]!r}; use {', '.join(map(repr, allowed))}.")
    return array


def feature_groups(classes: object | None, count: int) -> list[tuple[int | None, np.ndarray]]:
    """``(code, ascending indices)`` of each class of features present; ``(None, all)`` without classes.

    Those weak alone come first, so that they are drawn beneath the others.
    """
    if classes is None:
        return [(None, np.arange(count))]
    array = codes(classes, count, tuple(FEATURES), "classes")
    groups = [(code, np.flatnonzero(array == code)) for code in reversed(FEATURES)]
    return [(code, members) for code, members in groups if members.size]


def positive(values: np.ndarray) -> np.ndarray:
    """float32 copy for a log axis: what is not above zero (rounding in the tail) or beyond becomes NaN, not drawn."""
    values, limits = np.asarray(values, dtype=np.float64), np.finfo(np.float32)
    return np.where((values > limits.tiny) & (values < limits.max), values, np.nan).astype(np.float32)


def float32(values: np.ndarray) -> np.ndarray:
    """float32 copy: what a screen can show, at half the size."""
    return np.asarray(values, dtype=np.float32)


def plural(count: int, noun: str) -> str:
    """``"1 feature"``, ``"2 features"``."""
    return f"{count} {noun}" + ("" if count == 1 else "s")
