"""One's own images: an .npz checked in every respect, then kept in the data root under its SHA-256.

The file holds ``x_train, y_train, x_test, y_test`` and, if wanted, ``classes`` (see ``ntkcore.data.own_npz``). Classes
are the labels that have training images, in ascending order::

    own = import_npz("birds.npz")
    load(DataSpec(name="own", digest=own.digest, n_train=own.n_train, n_test=own.n_test))
"""

import hashlib
import io
import os
import re
import secrets
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ntkcore import checks
from ntkcore.data.arrays import Arrays
from ntkcore.data.npz import MAX_FILE, NpzFile
from ntkcore.data.own_npz import read_contents, read_images
from ntkcore.data.sources import data_root
from ntkcore.errors import DataError, reason

Root = str | os.PathLike[str] | None


@dataclass(frozen=True)
class OwnData:
    """What an imported file holds. image_shape: (C, H, W). train_counts, test_counts: images per class."""

    digest: str
    classes: tuple[str, ...]
    image_shape: tuple[int, int, int]
    train_counts: tuple[int, ...]
    test_counts: tuple[int, ...]

    @property
    def n_train(self) -> int:
        """Training images of all classes."""
        return sum(self.train_counts)

    @property
    def n_test(self) -> int:
        """Test images of all classes."""
        return sum(self.test_counts)

    def __str__(self) -> str:
        channels, height, width = self.image_shape
        shown = ", ".join(self.classes[:10]) + (", ..." if len(self.classes) > 10 else "")
        return (
            f"{self.n_train} training and {self.n_test} test images of {height}x{width} pixels and {channels} "
            f"channel{'s' if channels > 1 else ''}, {len(self.classes)} classes: {shown}"
        )


def import_npz(path_or_bytes: str | os.PathLike[str] | bytes, root: Root = None) -> OwnData:
    """Check an .npz (a path or its content) and keep a copy as ``own/<sha256>.npz`` in the data root.

    The copy appears whole or not at all; the same file imported twice is kept once. Raises DataError with a
    sentence that says what is wrong with the file and how to mend it; nothing is kept then.
    """
    checks.instance(path_or_bytes, (str, os.PathLike, bytes), "The .npz", "Give its path or its content.")
    content = path_or_bytes if isinstance(path_or_bytes, bytes) else _content(Path(os.path.expanduser(path_or_bytes)))
    arrays = read_images(NpzFile(io.BytesIO(content)))
    digest = hashlib.sha256(content).hexdigest()
    place = own_path(digest, root)
    part = place.with_name(f".{digest[:16]}-{secrets.token_hex(4)}.part")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        try:
            with open(part, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(part, place)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        raise DataError(
            f"The file cannot be kept in {place.parent}: {error.strerror or error}. Free some space, or choose "
            "another folder with the environment variable NTK_DATA."
        ) from error
    return OwnData(digest, arrays.classes, arrays.image_shape, arrays.train_counts, arrays.test_counts)


def read_own(digest: str, root: Root = None) -> Arrays:
    """The images kept under a digest. Raises DataError when they are not there or are no longer the same."""
    content = _content(_kept(digest, root))
    if hashlib.sha256(content).hexdigest() != digest:
        raise DataError(
            f"{own_path(digest, root)} has changed since it was imported. Delete it and import the .npz again."
        )
    return read_images(NpzFile(io.BytesIO(content))).frozen()


def own_info(digest: str, root: Root = None) -> OwnData:
    """What the file kept under a digest holds, from its headers and labels: quick, and the pixels are not checked."""
    with open(_kept(digest, root), "rb") as file:
        contents = read_contents(NpzFile(file))
    counts = (
        tuple(np.bincount(labels, minlength=len(contents.classes)).tolist())
        for labels in (contents.labels_train, contents.labels_test)
    )
    return OwnData(digest, contents.classes, contents.image_shape, *counts)


def own_sets(root: Root = None) -> tuple[OwnData, ...]:
    """All imported files, the latest first; files that are no longer readable are left out."""
    folder = own_path("", root).parent
    found = []
    for path in folder.glob("*.npz") if folder.is_dir() else ():
        if re.fullmatch("[0-9a-f]{64}", path.stem):
            try:
                found.append((path.stat().st_mtime_ns, own_info(path.stem, root)))
            except (DataError, OSError):
                continue
    return tuple(info for _, info in sorted(found, key=lambda entry: -entry[0]))


def own_path(digest: str, root: Root = None) -> Path:
    """Where the file with this digest is kept."""
    return data_root(root) / "own" / f"{digest}.npz"


def _kept(digest: str, root: Root) -> Path:
    place = own_path(digest, root)
    if not place.is_file():
        raise DataError(f"There are no own data with the digest {digest} in {place.parent}. Import the .npz again.")
    return place


def _content(path: Path) -> bytes:
    try:
        size = path.stat().st_size
        if size > MAX_FILE:
            raise DataError(
                f"{path} has {size >> 20} MiB; at most {MAX_FILE >> 20} MiB are read. Save fewer or smaller images, "
                "as uint8, with numpy.savez_compressed."
            )
        return path.read_bytes()
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read: {reason(error)}. Give the path of an .npz file.") from None
