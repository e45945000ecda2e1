"""Kernels of dense ReLU nets on the CPU: one product of all images, then compiled loops entry by entry.

The recursion in torch takes a dozen passes over the matrix for each layer; here there is one in all. The recursion
remains for gradients, GPUs, erf nets and other precisions, and as the independent check. Products are those of
``integers`` where images are as they come from a file, else numpy's, which knows that ``u u^T`` needs half of them.
A backend (``ntkcore.kernels.infinite.backend``)::

    if covers(net, images):
        K = matrix(net, "ntk", prepare(net, images), None)      # [n, n]
"""

from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from ntkcore.kernels.blocks import slices
from ntkcore.kernels.infinite import recursion
from ntkcore.kernels.infinite.backend import KernelKind, Report
from ntkcore.kernels.infinite.cpu import dense_loops, integers
from ntkcore.kernels.infinite.prepared import CLOSE, MANY, Prepared, local_variances, roots
from ntkcore.kernels.infinite.recursion import matched, prepare
from ntkcore.kernels.infinite.relu_nets import is_dense
from ntkcore.kernels.loops.arccosine import constants
from ntkcore.kernels.loops.vectors import LANES, compiled_for, threads
from ntkcore.nets import Dense, Net

__all__ = ["covers", "matched", "matrix", "prepare", "ready"]  # a backend

ROWS = 1024  # of a product, between two reports
PART = 256  # rows of a product of integers
CHUNK = 64  # rows that a thread takes at a time
NEVER = 2.0


def covers(net: Net, images: Tensor) -> bool:
    """Whether the loops can take these images through this net."""
    return images.device.type == "cpu" and images.dtype in (torch.float32, torch.float64) and is_dense(net)


def ready(dtype: torch.dtype) -> bool:
    """Whether this process has loops for a precision; the first ones ever take some seconds to compile."""
    return compiled_for(dense_loops.entries, dtype)


def matrix(net: Net, kind: KernelKind, one: Prepared, two: Prepared | None, report: Report | None = None) -> Tensor:
    """[n1, n2]; two = None: [n, n], only pairs i <= j computed, exactly symmetric.

    In single precision images that nearly coincide or are nearly opposite are computed in double, and so is the
    diagonal: where angles are as small as the rounding of their cosines float32 is off by up to 1e-3. Where such pairs
    are many, all of it is.
    """
    found, i, j = _entries(net, kind, one, two, report)
    if found.dtype == torch.float64:
        return found
    if two is None:
        found.diagonal().copy_(_with_themselves(net, kind, one))
    if len(i) > MANY * found.numel():
        second = None if two is None else prepare(net, two.images.double())
        return matrix(net, kind, prepare(net, one.images.double()), second, report).float()
    rows, columns = torch.from_numpy(i), torch.from_numpy(j)
    found[rows, columns] = _in_double(net, kind, one, one if two is None else two, rows, columns)
    if two is None:
        found[columns, rows] = found[rows, columns]
    return found


def _in_double(net: Net, kind: KernelKind, one: Prepared, two: Prepared, i: Tensor, j: Tensor) -> Tensor:
    """K of listed pairs (i, j), computed in double precision and rounded to single."""
    values = [one.images.new_empty(0)]
    for part in slices(len(i), min(4096, recursion.at_once(net, one.images, torch.float64))):
        sides = (prepare(net, side.images[index[part]].double()) for side, index in ((one, i), (two, j)))
        values.append(matched(net, kind, *sides).float())
    return torch.cat(values)


def _with_themselves(net: Net, kind: KernelKind, one: Prepared) -> Tensor:
    """K(u_i, u_i), [n] in double precision: only the images' squares matter."""
    assert one.own is not None  # of flattened images
    q = one.own.double()
    variances = local_variances(net, q)
    return recursion.propagated(net, kind, q, variances, variances, pair_dims=1)


def _entries(
    net: Net, kind: KernelKind, one: Prepared, two: Prepared | None, report: Report | None
) -> tuple[Tensor, np.ndarray, np.ndarray]:
    """The matrix, and pairs (i, j), with two = None i < j, that single precision leaves open: not a number there."""
    upper, two = two is None, one if two is None else two
    u1 = vectors(one)
    u2 = u1 if two is one else vectors(two)
    sides = rows_of_roots(one), columns_of_roots(two)
    out = np.empty((len(u1), len(u2)), u1.dtype)
    share, c, steps = u1.dtype.type(1 / u1.shape[1]), constants(u1.dtype.type), steps_of(net, u1.dtype)
    counts, ntk = np.zeros(len(u1), np.int64), kind == "ntk"
    levels = _levels(u1, u2)
    total, done = len(u1) * (len(u1) + 1) / 2 if upper else float(len(u1) * len(u2)), 0.0
    with ThreadPoolExecutor(threads()) as pool:
        for rows in slices(len(u1), ROWS):
            if report is not None:
                report(done, total)
            size = rows.stop - rows.start
            _products(u1, u2, levels, rows, upper, out)
            parts = [(rows.start + part.start, rows.start + part.stop) for part in slices(size, CHUNK)]
            list(
                pool.map(
                    lambda part: dense_loops.entries(steps, out, share, *sides, part, ntk, upper, c, out, counts), parts
                )
            )
            done += size * (len(u2) - rows.start - (size - 1) / 2) if upper else size * len(u2)
        if upper:
            parts = [(part.start, part.stop) for part in slices(len(out), CHUNK)]
            list(pool.map(lambda part: dense_loops.mirror(out, part), reversed(parts)))  # the longest rows first
    if report is not None:
        report(total, total)
    i, j = _open(out, counts, upper)
    return torch.from_numpy(out), i, j


def _levels(u1: np.ndarray, u2: np.ndarray) -> tuple[integers.Integers, integers.Integers] | None:
    """Both sides in integers, where both are made of them."""
    one = integers.integers(torch.from_numpy(u1))
    if one is None:
        return None
    two = one if u2 is u1 else integers.integers(torch.from_numpy(u2))
    return None if two is None else (one, two)


def _products(
    u1: np.ndarray,
    u2: np.ndarray,
    levels: tuple[integers.Integers, integers.Integers] | None,
    rows: slice,
    upper: bool,
    out: np.ndarray,
) -> None:
    """``<u_i, u_j>`` for some rows into out; upper: what lies left of the rows' own square is left out."""
    if levels is not None:
        for part in slices(rows.stop - rows.start, PART):
            i = slice(rows.start + part.start, rows.start + part.stop)
            j = slice(i.start if upper else 0, len(u2))
            integers.products(levels[0][i], levels[1][j], torch.from_numpy(out[i, j]))
    elif upper:  # u u^T, of which half is computed, and the rest
        np.matmul(u1[rows], u1[rows].T, out=out[rows, rows])
        np.matmul(u1[rows], u1[rows.stop :].T, out=out[rows, rows.stop :])
    else:
        np.matmul(u1[rows], u2.T, out=out[rows])


def _open(out: np.ndarray, counts: np.ndarray, upper: bool) -> tuple[np.ndarray, np.ndarray]:
    rows = np.nonzero(counts > (1 if upper else 0))[0]  # upper: every image meets itself
    i, j = np.nonzero(np.isnan(out[rows]))
    i = rows[i]
    return (i[i < j], j[i < j]) if upper else (i, j)


def values_of(net: Net, kind: KernelKind, covariances: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """K from covariances at the input, both [m, n filled up to whole lanes], in their precision throughout.

    rows, columns: roots of variances, of ``rows_of_roots`` or ``roots_of_squares``, and of ``columns_of_roots``.
    """
    number = covariances.dtype.type
    steps = steps_of(net, covariances.dtype)._replace(close=np.array([NEVER, np.nan], number))
    out, counts, every = np.empty_like(covariances), np.zeros(len(covariances), np.int64), (0, len(covariances))
    dense_loops.entries(
        steps, covariances, number(1), rows, columns, every, kind == "ntk", False, constants(number), out, counts
    )
    return out


# -- a net and images as arrays ----------------------------------------------------------------------------------------


@lru_cache(32)
def steps_of(net: Net, dtype: np.dtype) -> dense_loops.Steps:
    weight, bias, first, activations = [], [], [], 0
    for layer in net.covariance_layers():
        if isinstance(layer, Dense):
            weight.append(layer.W_std**2)
            bias.append(layer.b_std**2)
            first.append(-1)
        else:
            if not first or first[-1] >= 0:  # no dense layer before it
                weight.append(0.0)
                bias.append(0.0)
                first.append(-1)
            first[-1] = activations
            activations += 1
    close = (1 - CLOSE if dtype == np.float32 else NEVER, np.nan)
    return dense_loops.Steps(
        np.array(weight, dtype), np.array(bias, dtype), np.array(first, np.int64), np.array(close, dtype)
    )


def vectors(side: Prepared) -> np.ndarray:
    """[n, d]."""
    return np.ascontiguousarray(side.images.detach().flatten(1).numpy())


def rows_of_roots(side: Prepared) -> np.ndarray:
    """[n, activations, 2]: the variances' square roots, kept above zero as ``covariance.scale`` does, and inverses."""
    return np.ascontiguousarray(_roots(side).transpose(2, 0, 1))


def roots_of_squares(net: Net, q: Tensor) -> np.ndarray:
    """The same from the variances of the input, q [n]."""
    return rows_of_roots(Prepared(q.view(-1, 1, 1, 1), local_variances(net, q)))


def columns_of_roots(side: Prepared) -> np.ndarray:
    """[activations, 2, n filled up to whole lanes]."""
    known = _roots(side)
    return np.concatenate([known, np.ones((*known.shape[:2], -len(side) % LANES), known.dtype)], -1)


def _roots(side: Prepared) -> np.ndarray:
    """[activations, 2, n]."""
    if not side.variances:
        return np.empty((0, 2, len(side)), vectors(side).dtype)
    return roots(torch.stack(side.variances)).transpose(0, 1).numpy()
