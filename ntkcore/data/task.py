"""From a data description to the tensors of a task: choose the images, pool them, make the labels.

Images are float32 [n, C, H, W] in [0, 1]. Two classes: labels y [n, 1], -1 for the first and +1 for the second.
More: one-hot [n, c]. Everything is determined by the description alone::

    task = load(DataSpec(name="cifar10", classes=("airplane", "automobile"), n_train=2000, n_test=2000))
    task.x_train.shape                   # [2000, 3, 32, 32]
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ntkcore import checks
from ntkcore.data import own, vision
from ntkcore.data.arrays import Arrays
from ntkcore.data.sample import sample_arrays
from ntkcore.data.sources import SOURCES, Source, available, data_root
from ntkcore.data.spec import DataSpec, Order, check_enough, check_size
from ntkcore.data.toy import toy_arrays
from ntkcore.data.vision import Progress
from ntkcore.errors import SpecError
from ntkcore.modes import plain

Root = str | os.PathLike[str] | None


@dataclass(frozen=True, eq=False)
class Task:
    """Images and labels of one experiment.

    x_train [n, C, H, W], x_test [m, C, H, W]: float32 in [0, 1]. y_train [n, c], y_test [m, c]: float32, c = 1
    with -1 and +1 for two classes, one-hot otherwise. labels_train [n], labels_test [m]: int64, positions in
    ``classes``, the names in the order of the description.
    """

    x_train: Tensor
    y_train: Tensor
    labels_train: Tensor
    x_test: Tensor
    y_test: Tensor
    labels_test: Tensor
    classes: tuple[str, ...]
    spec: DataSpec

    @property
    def n(self) -> int:
        """Training images."""
        return len(self.x_train)

    @property
    def m(self) -> int:
        """Test images."""
        return len(self.x_test)

    @property
    def n_classes(self) -> int:
        """Classes; y has one column for two of them, else one for each."""
        return len(self.classes)

    @property
    def is_binary(self) -> bool:
        """Whether labels are -1 and +1."""
        return self.n_classes == 2

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(C, H, W), after pooling."""
        channels, height, width = self.x_train.shape[1:]
        return channels, height, width


@dataclass(frozen=True)
class Info(Source):
    """A data set and whether it is there. present: loading it fetches nothing. folder: the data root looked in."""

    present: bool = True
    folder: Path = field(default_factory=data_root)


@plain
def load(spec: DataSpec, root: Root = None, progress: Progress | None = None) -> Task:
    """The task of a description: always the same images in the same order.

    root: data root; None: ``NTK_DATA``, else a folder in the user's cache. A set that is not there is fetched
    into it, with ``progress(done, total, note)`` in bytes. Raises SpecError when the description asks for what
    the set does not have, DataError when the set cannot be had or read.
    """
    checks.instance(spec, DataSpec, "spec", "DataSpec(name=..., classes=...) makes one.")
    arrays = _whole(spec, data_root(root), progress)
    title = SOURCES[spec.name].title if spec.name in SOURCES else "this data set"
    classes = _chosen_classes(spec, arrays, title)
    try:
        size = check_size(spec.size, arrays.image_shape, title)
        for wanted, counts, is_test in (
            (spec.n_train, arrays.train_counts, False),
            (spec.n_test, arrays.test_counts, True),
        ):
            there = sum(counts[arrays.classes.index(name)] for name in classes)
            check_enough(wanted, there, is_test, title, classes)
    except ValueError as error:
        raise SpecError(str(error)) from None
    x_train, labels_train = _choose(arrays.x_train, arrays.labels_train, arrays, classes, spec, is_test=False)
    x_test, labels_test = _choose(arrays.x_test, arrays.labels_test, arrays, classes, spec, is_test=True)
    _check_every_class(labels_train, classes, spec)
    return Task(
        x_train=images(x_train, size),
        y_train=targets(labels_train, len(classes)),
        labels_train=labels_train,
        x_test=images(x_test, size),
        y_test=targets(labels_test, len(classes)),
        labels_test=labels_test,
        classes=classes,
        spec=spec,
    )


def info(which: str | DataSpec, root: Root = None) -> Info:
    """What is known of a set without loading it; own data need the whole description, for its digest.

    Raises SpecError for an unknown name, DataError when own data are not there.
    """
    name, folder = which if isinstance(which, str) else which.name, data_root(root)
    if name in SOURCES:
        return Info(**vars(SOURCES[name]), present=available(name, folder), folder=folder)
    if isinstance(which, str):
        raise SpecError(f"There is no data set {which!r} to look up by name; choose one of {', '.join(SOURCES)}.")
    found = own.own_info(which.digest or "", folder)
    return Info(
        name="own",
        title=f"Own images ({found.digest[:8]})",
        classes=found.classes,
        image_shape=found.image_shape,
        train_counts=found.train_counts,
        test_counts=found.test_counts,
        default_classes=found.classes,
        credit="From your own file.",
        folder=folder,
    )


def image_shape(spec: DataSpec, root: Root = None) -> tuple[int, int, int]:
    """(C, H, W) of the images of a description, after pooling, without loading them."""
    channels, height, width = info(spec, root).image_shape
    return (channels, spec.size, spec.size) if spec.size else (channels, height, width)


def count_test_images(spec: DataSpec, root: Root = None) -> dict[str, int]:
    """How many test images of each class a description takes; only of one in the set's own order is the set read."""
    folder = data_root(root)
    known = info(spec, folder)
    classes = _chosen_classes(spec, known, known.title)
    chosen = [known.classes.index(name) for name in classes]
    if spec.order == "own":
        labels = _whole(spec, folder, None).labels_test
    else:
        labels = np.repeat(np.arange(len(known.classes)), known.test_counts)  # their sequence makes no difference
    drawn = labels[positions(labels, chosen, spec.n_test, spec.order, spec.seed, is_test=True)]
    return {name: int((drawn == label).sum()) for name, label in zip(classes, chosen, strict=True)}


def images(x: np.ndarray, size: int | None = None) -> Tensor:
    """float32 [n, C, H, W] in [0, 1] from uint8 (over 255) or float images, averaged over squares to side ``size``."""
    tensor = torch.from_numpy(np.ascontiguousarray(x))
    tensor = tensor.float() / 255 if tensor.dtype == torch.uint8 else tensor.float()
    if size is None:
        return tensor
    n, channels, side, _ = tensor.shape
    return tensor.reshape(n, channels, size, side // size, size, side // size).mean((3, 5))


def targets(labels: Tensor, n_classes: int) -> Tensor:
    """y float32 from labels [n] int64: [n, 1] with -1 and +1 for two classes, one-hot [n, n_classes] otherwise."""
    if n_classes == 2:
        return (2.0 * labels - 1)[:, None].float()
    return torch.nn.functional.one_hot(labels, n_classes).float()


def positions(
    labels: np.ndarray, chosen: Sequence[int], n: int, order: Order, seed: int | None, is_test: bool
) -> np.ndarray:
    """[n] positions in ``labels`` [N] of images of the chosen classes, as ``DataSpec`` describes them.

    A draw of fewer images is the beginning of one of more, of the same order and seed.
    """
    there = np.flatnonzero(np.isin(labels, chosen))
    if seed is not None:
        there = np.random.default_rng([seed, int(is_test)]).permutation(there)
    return (there if order == "own" else there[_in_turn(labels[there])])[:n]


def _in_turn(labels: np.ndarray) -> np.ndarray:
    """[N] positions in ``labels`` [N]: the first of each class, in ascending order, then the second of each, ..."""
    by_class = np.argsort(labels, kind="stable")
    _, first, of = np.unique(labels[by_class], return_index=True, return_inverse=True)
    turn = np.empty(len(labels), dtype=np.int64)
    turn[by_class] = np.arange(len(labels)) - first[of]
    return np.lexsort((labels, turn))


def _whole(spec: DataSpec, root: Path, progress: Progress | None) -> Arrays:
    """The whole set; the latest one from the data root is kept in memory until its files change."""
    if spec.name == "toy":
        return toy_arrays()
    if spec.name == "fashion-mnist-sample":
        return sample_arrays()
    note = f"Reading {SOURCES[spec.name].title if spec.name in SOURCES else 'own images'}"
    if spec.digest is not None:  # of own data, and of no other
        files = [own.own_path(spec.digest, root)]
    else:
        vision.ensure(spec.name, root, progress)
        files = [root / path for path, _ in SOURCES[spec.name].files]
    if progress:
        progress(0, 1, note)
    arrays = _read(spec.name, spec.digest, root, tuple(map(_stamp, files)))
    if progress:
        progress(1, 1, note)
    return arrays


@lru_cache(maxsize=1)
def _read(name: str, digest: str | None, root: Path, stamps: tuple[tuple[int, int], ...]) -> Arrays:
    return vision.read(name, root) if digest is None else own.read_own(digest, root)


def _stamp(path: Path) -> tuple[int, int]:
    """Differs when a file has been written to; (0, 0) when there is none."""
    try:
        found = path.stat()
    except OSError:
        return 0, 0
    return found.st_mtime_ns, found.st_size


def _chosen_classes(spec: DataSpec, arrays: Arrays | Source, title: str) -> tuple[str, ...]:
    unknown = [name for name in spec.classes if name not in arrays.classes]
    if unknown:
        listed = ", ".join(arrays.classes[:20]) + (", ..." if len(arrays.classes) > 20 else "")
        raise SpecError(f"There is no class {unknown[0]!r} in {title}. Its classes are {listed}.")
    return spec.classes or arrays.classes


def _choose(
    x: np.ndarray, labels: np.ndarray, arrays: Arrays, classes: tuple[str, ...], spec: DataSpec, is_test: bool
) -> tuple[np.ndarray, Tensor]:
    """Images [n, C, H, W] as stored, and labels [n] int64 as positions in ``classes``."""
    chosen = [arrays.classes.index(name) for name in classes]
    n = spec.n_test if is_test else spec.n_train
    where = positions(labels, chosen, n, spec.order, spec.seed, is_test)
    place = np.zeros(len(arrays.classes), dtype=np.int64)
    place[chosen] = np.arange(len(chosen))
    return x[where], torch.from_numpy(place[labels[where]])


def _check_every_class(labels: Tensor, classes: tuple[str, ...], spec: DataSpec) -> None:
    counts = torch.bincount(labels, minlength=len(classes))
    empty = [name for name, count in zip(classes, counts.tolist(), strict=True) if count == 0]
    if empty:
        which = f"the first {spec.n_train}" if spec.seed is None else f"the {spec.n_train} drawn with seed {spec.seed}"
        raise SpecError(
            f"Of {which} training images of these classes, none is of class {empty[0]!r}. "
            "Choose more training images or a balanced order, or leave that class out."
        )
