"""The public data sets, read by torchvision: fetched on first use, never again, and never half there.

A missing set is fetched archive by archive (``ntkcore.data.download``, for progress and cancelling) from the
addresses and with the checksums that torchvision lists, unpacked aside and moved into torchvision's own layout.
Archives that are already in the data root are used, so the files can also be put there by hand. CIFAR's files are
pickles by their authors' choice; torchvision opens them only when their checksums are the published ones::

    ensure("cifar10", root, progress=print)
    read("cifar10", root)                      # Arrays; x_train [50000, 3, 32, 32] uint8
"""

import gzip
import os
import shutil
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from inspect import signature
from pathlib import Path
from types import ModuleType
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from ntkcore.data.arrays import Arrays
from ntkcore.data.download import NotFetched, fetch, md5_of
from ntkcore.data.sources import SOURCES, Source, available, is_there
from ntkcore.errors import DataError, NTKError, optional

if TYPE_CHECKING:
    from torchvision.datasets import VisionDataset

Progress = Callable[[float, float, str], None]

_CLASSES = {
    "mnist": "MNIST",
    "fashion-mnist": "FashionMNIST",
    "kmnist": "KMNIST",
    "cifar10": "CIFAR10",
    "cifar100": "CIFAR100",
    "svhn": "SVHN",
}
_PREFIX = "ntkcore-"  # of the names of unfinished downloads
_STALE = 86400.0  # seconds after which an unfinished download has no living owner


@dataclass(frozen=True)
class Archive:
    """One file to fetch: its place below the data root, addresses, MD5, and the files that come out of it."""

    path: str
    urls: tuple[str, ...]
    md5: str
    gives: tuple[tuple[str, int | None], ...]

    @property
    def packed(self) -> bool:
        """Whether it has to be unpacked; SVHN's files are read as they are."""
        return all(name != self.path for name, _ in self.gives)

    def unpacked(self, root: Path) -> bool:
        """Whether all that comes out of it is in the data root."""
        return all(is_there(root / name, size) for name, size in self.gives)


def ensure(name: str, root: Path, progress: Progress | None = None) -> None:
    """Fetch what is missing of a set from the data root; nothing when all is there.

    Raises DataError naming the folder and the files when the set can neither be found nor fetched; what
    ``progress`` (called with bytes) raises passes through.
    """
    if not available(name, root):
        _obtain(SOURCES[name], root, progress)


def read(name: str, root: Path) -> Arrays:
    """A whole set as arrays, from files that are there. Raises DataError when they cannot be read."""
    source = SOURCES[name]
    try:
        arrays = _arrays(source, root)
        if (arrays.train_counts, arrays.test_counts) != (source.train_counts, source.test_counts):
            raise ValueError("the numbers of images per class are not the published ones")
    except (MemoryError, NTKError):
        raise
    except Exception as error:  # torchvision, pickle and scipy each have their own kinds
        places = sorted({str(root / Path(path).parts[0]) for path, _ in source.files})
        raise DataError(
            f"The files of {source.title} are damaged ({error}). "
            f"Delete {' and '.join(places)} and load again to fetch them anew."
        ) from error
    return arrays.frozen()


def _obtain(source: Source, root: Path, progress: Progress | None) -> None:
    """Put the missing files of a set into the data root: from archives that lie there, else from the network."""
    missing = [archive for archive in archives(source.name) if not archive.unpacked(root)]
    note = f"Downloading {source.title} ({source.download_mb} MB)"
    received, total = 0, source.download_mb * 1e6
    try:
        with _scratch(root) as scratch:
            for archive in missing:
                place = root / archive.path
                fetched = not (place.is_file() and md5_of(place) == archive.md5)
                if fetched:

                    def report(count: int, before: int = received) -> None:
                        if progress:
                            progress(min(before + count, total), total, note)

                    report(0)
                    if archive.packed:  # what lies under its name, another file than the published one, is not ours
                        place = scratch / place.name
                    fetch(archive.urls, place, archive.md5, report, scratch)
                    received += place.stat().st_size
                if archive.packed:
                    _unpack(archive, place, root, scratch)
                    if fetched:
                        place.unlink()
    except NotFetched as error:
        wanted = ", ".join(archive.path for archive in missing if not archive.unpacked(root))
        raise DataError(
            f"{source.title} is not in {root} and could not be downloaded ({error}). Connect to the network and try "
            f"again, or put these files there by hand: {wanted}."
        ) from error
    except (OSError, EOFError) as error:
        raise DataError(
            f"{source.title} cannot be stored in {root}: {getattr(error, 'strerror', None) or error}. Free some "
            "space, or choose another folder with the environment variable NTK_DATA."
        ) from error


def archives(name: str) -> tuple[Archive, ...]:
    """What has to be fetched for a set, from torchvision's own lists: which of their three forms a set has."""
    dataset: Any = getattr(_datasets(name), _CLASSES[name])
    files = SOURCES[name].files
    if hasattr(dataset, "resources"):
        return tuple(
            Archive(
                f"{dataset.__name__}/raw/{packed}",
                tuple(mirror + packed for mirror in dataset.mirrors),
                md5,
                tuple(file for file in files if file[0].endswith("/" + packed.removesuffix(".gz"))),
            )
            for packed, md5 in dataset.resources
        )
    if hasattr(dataset, "tgz_md5"):
        return (Archive(dataset.filename, (dataset.url,), dataset.tgz_md5, files),)
    splits = (dataset.split_list[split] for split in ("train", "test"))
    return tuple(Archive(path, (url,), md5, ((path, None),)) for url, path, md5 in splits)


def _datasets(name: str) -> ModuleType:
    """torchvision's data sets. Raises NTKError when it is not installed."""
    with optional("torchvision", SOURCES[name].title):
        from torchvision import datasets  # here, because it takes a second
    return datasets


def _unpack(archive: Archive, file: Path, root: Path, scratch: Path) -> None:
    """Take the wanted files, and nothing else, out of a .tar.gz or .gz; each gets its place when it is whole."""
    wanted = [name for name, _ in archive.gives]
    out = scratch / "unpacked"
    if archive.path.endswith(".tar.gz"):
        with tarfile.open(file, "r:gz") as tar:
            for member in tar:
                if member.name in wanted and (content := tar.extractfile(member)):
                    _move_in(content, out, root / member.name)
    else:
        with gzip.open(file) as unpacked:
            _move_in(unpacked, out, root / wanted[0])


def _move_in(file: IO[bytes] | gzip.GzipFile, out: Path, place: Path) -> None:
    with open(out, "wb") as copy:
        shutil.copyfileobj(file, copy, 1 << 20)
    place.parent.mkdir(parents=True, exist_ok=True)
    os.replace(out, place)


@contextmanager
def _scratch(root: Path) -> Iterator[Path]:
    """An empty folder below the data root, gone afterwards; what a killed process left goes after a day.

    Only folders of the name that is given here are removed.
    """
    parent = root / ".incoming"
    parent.mkdir(parents=True, exist_ok=True)
    for old in parent.glob(f"{_PREFIX}*"):
        if not old.is_symlink() and time.time() - old.lstat().st_mtime > _STALE:
            shutil.rmtree(old, ignore_errors=True)
    with tempfile.TemporaryDirectory(dir=parent, prefix=_PREFIX, ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def _arrays(source: Source, root: Path) -> Arrays:
    make: Any = getattr(_datasets(source.name), _CLASSES[source.name])
    if "split" in signature(make).parameters:
        splits = (make(root, split="train"), make(root, split="test"))
    else:
        splits = (make(root, train=True), make(root, train=False))
    (x_train, labels_train), (x_test, labels_test) = map(_images_and_labels, splits)
    return Arrays(x_train, labels_train, x_test, labels_test, source.classes)


def _images_and_labels(dataset: "VisionDataset") -> tuple[np.ndarray, np.ndarray]:
    """[N, C, H, W] uint8 and [N] int64 of a torchvision set, which keeps [N, H, W], NHWC or NCHW."""
    x = dataset.data if isinstance(dataset.data, np.ndarray) else dataset.data.numpy()
    labels = dataset.targets if hasattr(dataset, "targets") else dataset.labels
    if x.ndim == 3:
        x = x[:, None]
    elif x.shape[-1] == 3:
        x = x.transpose(0, 3, 1, 2)
    return x, np.array(labels.tolist() if hasattr(labels, "tolist") else labels, dtype=np.int64)
