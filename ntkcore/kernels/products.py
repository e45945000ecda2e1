"""A square kernel [n, n] known by its products with a few vectors: in memory, in a file, or computed anew by tiles.

What needs no more than ``K v`` (leading eigenpairs, conjugate gradients) never holds K: blocks of rows are read, or
tiles are computed, a bounded number at a time, and each is forgotten when it has been multiplied::

    K = square(kernel_to_file(k, x, "kernel.npy"))    # or a tensor, or KernelMatrix(k, x)
    K.times(v)                                        # v [n, p] -> [n, p] in v's precision
    K.diagonal()                                      # [n] float64: its sum is that of all eigenvalues
"""

import mmap
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from ntkcore import checks
from ntkcore.errors import DataError, SpecError
from ntkcore.kernels.blocks import TiledKernel, of_prepared, slices
from ntkcore.kernels.protocols import KernelFunction, Progress
from ntkcore.modes import plain

BLOCK = 1.28e8  # bytes in float64 of the rows, or of the tile, that are in memory at a time
SIDE = 64  # images of a tile of which the diagonal alone is wanted; rows of a file that are looked at
SYMMETRIC = 1e-5  # of the largest entry: by so much a kernel and its transpose may differ
READ = "products with the kernel"


class SquareKernel(Protocol):
    """What there is of a symmetric kernel [n, n]."""

    def __len__(self) -> int: ...

    @property
    def device(self) -> torch.device: ...

    def diagonal(self) -> Tensor: ...

    @property
    def single(self) -> bool:
        """Whether products in single precision cost much less."""
        ...

    def whole(self) -> Tensor: ...

    def rows(self, part: slice) -> Tensor: ...

    def times(self, v: Tensor, progress: Progress | None = None) -> Tensor: ...


def square(K: "Tensor | np.memmap | KernelMatrix") -> SquareKernel:
    """A tensor [n, n], a memory map of one (``kernel_to_file``, ``np.load(path, mmap_mode="r")``) or a KernelMatrix.

    Raises SpecError for what is not square, not symmetric or not finite; of a file some rows are looked at, of a
    KernelMatrix the first ones. The rest is looked at as it is used.
    """
    if isinstance(K, KernelMatrix):
        first = K._tile(*[slice(0, SIDE)] * 2).double()
        _check(first, first.T)
        return K
    if not isinstance(K, np.memmap):
        checks.tensor(K, "K")
    elif K.dtype.kind not in "fiub":
        raise SpecError(f"K must be a file of real numbers; got {K.dtype}.")
    if K.ndim != 2 or K.shape[0] != K.shape[1] or len(K) == 0:
        raise SpecError(f"A spectrum needs a square kernel matrix [n, n]; got shape {tuple(K.shape)}.")
    _still_there(K)
    found = StoredMatrix(K)
    found.check()
    return found


@dataclass(frozen=True, eq=False)
class StoredMatrix:
    """K [n, n] in memory, or in a memory map that is read by blocks of rows at every product."""

    K: Tensor | np.memmap

    def __len__(self) -> int:
        return len(self.K)

    @property
    def device(self) -> torch.device:
        return self.K.device if isinstance(self.K, Tensor) else torch.device("cpu")

    def check(self) -> None:
        """Of a file, only what some images have with each other."""
        if isinstance(self.K, Tensor):
            pairs = [(self.rows(part), self.K[:, part].T.detach().double()) for part in self._parts()]
        else:
            some = np.unique(np.linspace(0, len(self) - 1, SIDE).round().astype(int))
            corner = torch.from_numpy(np.stack([np.array(self.K[i], np.float64)[some] for i in some]))
            pairs = [(corner, corner.T)]
        for rows, columns in pairs:
            _check(rows, columns)

    @property
    def single(self) -> bool:
        return isinstance(self.K, np.memmap) and self.K.dtype == np.float32

    def whole(self) -> Tensor:
        found = self.rows(slice(None))
        if not isinstance(self.K, Tensor):
            StoredMatrix(found).check()
        return found

    def rows(self, part: slice) -> Tensor:
        """[*, n] float64."""
        _still_there(self.K)
        block = self.K[part]
        return block.detach().double() if isinstance(block, Tensor) else torch.from_numpy(np.array(block, np.float64))

    def diagonal(self) -> Tensor:
        found = self.K.diagonal()
        return found.detach().double() if isinstance(found, Tensor) else torch.from_numpy(np.array(found, np.float64))

    def times(self, v: Tensor, progress: Progress | None = None) -> Tensor:
        out = torch.empty_like(v)
        for part in self._parts():
            if progress is not None:
                progress(part.start, len(self), READ)
            _still_there(self.K)
            if v.dtype == torch.float32 and self.single:
                np.matmul(self.K[part], v.numpy(), out=out[part].numpy())  # as it lies in the file
            else:
                out[part] = (self.rows(part) @ v.double()).to(v)
        return _finite(out)

    def _parts(self) -> list[slice]:
        return list(slices(len(self), max(1, int(BLOCK / (8 * len(self))))))


@dataclass(frozen=True, eq=False)
class KernelMatrix:
    """``kernel(x)``, computed anew whenever it is multiplied, by tiles on and above the diagonal; x [n, C, H, W].

    Entries are in x's dtype. Each product costs a kernel: what takes more than a few is better off with a file
    (``kernel_to_file``). Raises SpecError for what are no images.
    """

    kernel: KernelFunction
    x: Tensor

    def __post_init__(self) -> None:
        checks.function(self.kernel, "kernel", "It maps images to [n1, n2]; kernel_fn makes one.")
        checks.images(self.x)

    def __len__(self) -> int:
        return len(self.x)

    @property
    def device(self) -> torch.device:
        return self.x.device

    @plain
    def diagonal(self) -> Tensor:
        with torch.no_grad():
            return torch.cat([self._tile(part, part).diagonal() for part in slices(len(self), SIDE)]).double()

    @property
    def single(self) -> bool:
        return self.x.dtype == torch.float32

    @plain
    def whole(self) -> Tensor:
        found = of_prepared(self.kernel, self.x).detach().double()
        StoredMatrix(found).check()
        return found

    @plain
    def rows(self, part: slice) -> Tensor:
        """[*, n] float64."""
        with torch.no_grad():
            return self._tile(part, slice(0, len(self))).double()

    @plain
    def times(self, v: Tensor, progress: Progress | None = None) -> Tensor:
        out, done = torch.zeros_like(v), 0
        parts = list(slices(len(self), max(1, int((BLOCK / 8) ** 0.5))))
        with torch.no_grad():
            for a, rows in enumerate(parts):
                for columns in parts[a:]:
                    if progress is not None:
                        progress(done, len(self) ** 2, READ)
                    tile = self._tile(rows, columns).to(v.dtype)
                    out[rows] += tile @ v[columns]
                    if rows != columns:
                        out[columns] += tile.T @ v[rows]
                    done += tile.numel() * (1 if rows == columns else 2)
        return _finite(out)

    def _tile(self, rows: slice, columns: slice) -> Tensor:
        quiet = self.kernel.with_progress(None) if isinstance(self.kernel, TiledKernel) else self.kernel
        return of_prepared(quiet, self.x[rows], None if rows == columns else self.x[columns])


def _check(rows: Tensor, columns: Tensor) -> None:
    """Raise SpecError where some of K and the same of its transpose are not finite, or not alike."""
    largest = _finite(rows).abs().max()
    if (rows - columns).abs().max() > SYMMETRIC * largest:
        raise SpecError("The kernel matrix is not symmetric; compute it with k(x), not with k(x1, x2).")


def _finite(found: Tensor) -> Tensor:
    """Part of K, or a product with it, which is finite where K is."""
    if not torch.isfinite(found).all():
        raise SpecError("The kernel matrix has entries that are not finite. Check W_std, b_std and the images' range.")
    return found


def _still_there(K: "Tensor | np.memmap") -> None:
    """Raises DataError for a map whose file has become shorter: to read beyond its end would end the process."""
    below: Any = K
    while isinstance(below, np.ndarray):
        below = below.base
    if isinstance(below, mmap.mmap) and below.size() < len(below):
        raise DataError("The file of the kernel matrix has become shorter since it was opened. Compute it again.")
