"""Reading an .npz that anybody may have made: no pickle, nothing larger than announced, every refusal in words.

An .npz is a zip of .npy files (https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html). The zip's
directory and the .npy headers are looked at before any array is read, so a small file cannot unfold into a large
one: the sizes they announce are the sizes that are read at most::

    archive = NpzFile(open(path, "rb"))
    archive.header("x_train")               # Header(shape=(1000, 28, 28), dtype=uint8)
    archive.array("x_train")                # [1000, 28, 28]
"""

import io
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from typing import IO

import numpy as np
from numpy.lib import format as npy

from ntkcore.errors import DataError

MAX_FILE = 512 << 20
"""Bytes of an .npz file."""
MAX_ARRAYS = 1 << 30
"""Bytes of all its arrays together, unpacked."""

_HEADERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}


@dataclass(frozen=True)
class Header:
    """Shape and type of an array, known before it is read."""

    shape: tuple[int, ...]
    dtype: np.dtype

    @property
    def nbytes(self) -> int:
        """Bytes of the array."""
        return prod(self.shape) * self.dtype.itemsize


class NpzFile:
    """The arrays of an .npz in an open file. Raises DataError in sentences; ``names`` are its arrays."""

    def __init__(self, file: IO[bytes]):
        size = file.seek(0, io.SEEK_END)
        file.seek(0)
        start = file.read(6)
        if size > MAX_FILE:
            raise DataError(
                f"The file has {_mb(size)}; at most {_mb(MAX_FILE)} are read. Save fewer or smaller images, as uint8, "
                "with numpy.savez_compressed."
            )
        if start == b"\x93NUMPY":
            raise DataError(
                "The file is a single .npy array; an .npz with x_train, y_train, x_test and y_test is needed. "
                "Save all four with numpy.savez_compressed."
            )
        try:
            self._zip = zipfile.ZipFile(file)
        except Exception as error:  # whatever zipfile makes of bytes that are no zip
            raise DataError(
                f"The file is not an .npz archive, or is incomplete ({error}). Save the arrays with "
                "numpy.savez_compressed and try again."
            ) from None
        self._members = {
            info.filename.removesuffix(".npy"): info for info in self._zip.infolist() if info.filename.endswith(".npy")
        }
        self.names = tuple(self._members)

    def header(self, name: str) -> Header:
        """Of the array ``name``; checked against the size the archive announces for it."""
        with self._reading(name) as file:
            header = _read_header(file)
            announced = self._members[name].file_size - file.tell()
        _refuse_objects(name, header)
        if any(side < 0 for side in header.shape) or header.nbytes != announced:
            raise DataError(
                f"{name} is damaged: its header announces {header.nbytes} bytes, the archive {announced}. "
                "Save the file again."
            )
        return header

    def check_size(self, names: tuple[str, ...]) -> None:
        """Refuse arrays that together are larger than MAX_ARRAYS."""
        total = sum(self.header(name).nbytes for name in names)
        if total > MAX_ARRAYS:
            raise DataError(
                f"The arrays unpack to {_mb(total)}; at most {_mb(MAX_ARRAYS)} are read. Save fewer or smaller "
                "images, as uint8."
            )

    def array(self, name: str) -> np.ndarray:
        """The array ``name``; no more bytes are unpacked than its header announces."""
        header = self.header(name)
        self.check_size((name,))
        with self._reading(name) as file:
            array = npy.read_array(file, allow_pickle=False)
            file.read(1)  # reaches the end, where the archive's own checksum is compared
        assert array.shape == header.shape
        return array

    @contextmanager
    def _reading(self, name: str) -> Iterator[IO[bytes]]:
        """The open member ``name``; what goes wrong inside becomes a DataError."""
        try:
            with warnings.catch_warnings(), self._zip.open(self._members[name]) as file:
                warnings.simplefilter("ignore")  # headers written by Python 2
                yield file
        except (DataError, MemoryError):
            raise
        except Exception as error:  # zipfile, its decompressors and numpy's header parser each have their own kinds
            raise DataError(
                f"{name} cannot be read ({str(error).splitlines()[0] if str(error) else type(error).__name__}). "
                "Save the file again with numpy.savez_compressed, without a password."
            ) from None


def _read_header(file: IO[bytes]) -> Header:
    version = npy.read_magic(file)
    if version not in _HEADERS:
        raise ValueError(f"it has .npy version {version[0]}.{version[1]}, which plain arrays do not need")
    shape, _, dtype = _HEADERS[version](file)
    return Header(shape, dtype)


def _refuse_objects(name: str, header: Header) -> None:
    if header.dtype.hasobject:
        raise DataError(
            f"{name} holds Python objects, which are not read because they can run code. Save it as an array of "
            "numbers (class names as text: numpy.array(names, dtype=str))."
        )


def _mb(count: int) -> str:
    return f"{count / (1 << 20):.0f} MiB"
