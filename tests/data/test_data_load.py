"""From description to tensors: order, draws, labels, pooling; and the sources against torchvision itself."""

import dataclasses
import os
import time
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import get_args

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from ntkcore.data import SOURCES, DataSpec, available, count_test_images, data_root, image_shape, info, load
from ntkcore.data.sample import sample_arrays
from ntkcore.data.sources import SetName
from ntkcore.data.task import images, positions, targets
from ntkcore.errors import SpecError

ORDERS = ("balanced", "own")
FASHION = SOURCES["fashion-mnist-sample"].classes


def taken(labels: Iterable[int], chosen: Sequence[int], n: int, order: str) -> list[int]:
    """Positions of the first n images of the chosen classes, by plain loops over queues."""
    queues = {label: [] for label in sorted(chosen)}
    for i, label in enumerate(labels):
        if label in queues:
            queues[label].append(i)
    if order == "own":
        return sorted(chain.from_iterable(queues.values()))[:n]
    found = []
    while len(found) < n:
        found += [queue.pop(0) for queue in queues.values() if queue]
    return found[:n]


def test_task_of_the_default():
    task = load(DataSpec())
    assert (task.n, task.m, task.n_classes, task.is_binary) == (1000, 2000, 2, True)
    assert task.image_shape == (1, 28, 28)
    assert task.x_train.shape == (1000, 1, 28, 28)
    assert task.x_train.dtype == task.y_train.dtype == torch.float32
    assert task.labels_train.dtype == task.labels_test.dtype == torch.int64
    assert task.x_train.min() == 0
    assert task.x_train.max() == 1
    assert task.classes == ("T-shirt/top", "Shirt")
    assert task.spec == DataSpec()


def test_first_class_is_minus_one():
    task = load(DataSpec(classes=("Shirt", "Coat"), n_train=200, n_test=50))
    for y, labels in ((task.y_train, task.labels_train), (task.y_test, task.labels_test)):
        assert torch.equal(y[:, 0], torch.where(labels == 0, -1.0, 1.0))
    swapped = load(DataSpec(classes=("Coat", "Shirt"), n_train=200, n_test=50))
    assert torch.equal(swapped.x_train, task.x_train)
    assert torch.equal(swapped.y_train, -task.y_train)


@pytest.mark.parametrize("classes", [("Bag", "Dress", "Coat"), FASHION], ids=["three", "all"])
def test_many_classes_are_one_hot(classes):
    task = load(DataSpec(classes=classes, n_train=300, n_test=100))
    assert not task.is_binary
    assert task.y_train.shape == (300, len(classes))
    assert torch.equal(task.y_train.argmax(1), task.labels_train)
    assert torch.equal(task.y_train.sum(1), torch.ones(300))
    counts = torch.bincount(task.labels_train)
    assert counts.max() - counts.min() <= 300 % len(classes)


@pytest.mark.parametrize("order", ORDERS)
def test_first_images(order):
    """Against plain loops over the stored set."""
    stored, task = sample_arrays(), load(DataSpec(classes=("Sandal", "Bag"), n_train=70, n_test=31, order=order))
    sandal, bag = FASHION.index("Sandal"), FASHION.index("Bag")
    for x, y, got_x, got_y in (
        (stored.x_train, stored.labels_train, task.x_train, task.y_train),
        (stored.x_test, stored.labels_test, task.x_test, task.y_test),
    ):
        chosen = taken(y, (sandal, bag), len(got_x), order)
        assert np.array_equal(got_x.numpy(), x[chosen].astype(np.float32) / np.float32(255))
        assert got_y[:, 0].tolist() == np.where(y[chosen] == sandal, -1.0, 1.0).tolist()


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("seed", [None, 0, 5])
def test_loading_again_gives_the_same(seed, order):
    spec = DataSpec(n_train=50, n_test=20, seed=seed, order=order)
    a, b = load(spec), load(spec)
    for field in ("x_train", "y_train", "labels_train", "x_test", "y_test", "labels_test"):
        assert torch.equal(getattr(a, field), getattr(b, field))
    a.x_train.zero_()  # one's own copy: nobody else sees it
    assert not torch.equal(load(spec).x_train, a.x_train)


COUNTS = {0: 40, 1: 23, 2: 31, 3: 9, 4: 60}  # images of each class


@pytest.mark.parametrize("chosen", [(0, 1), (3, 1), (4, 2, 3), (0, 1, 2, 3, 4)], ids=str)
@pytest.mark.parametrize("seed", [None, 0, 7], ids="seed {}".format)
def test_every_beginning_is_balanced(seed, chosen):
    """As far as there are as many: a class that has no more images is passed over."""
    labels = np.random.default_rng(1).permutation(np.repeat(list(COUNTS), list(COUNTS.values())))
    there = sum(COUNTS[label] for label in chosen)
    whole = positions(labels, chosen, there, "balanced", seed, False)
    assert sorted(whole) == np.flatnonzero(np.isin(labels, chosen)).tolist()
    assert np.array_equal(whole, positions(labels, chosen[::-1], there, "balanced", seed, False))
    if seed is None:
        assert whole.tolist() == taken(labels, chosen, there, "balanced")
    for n in range(1, there + 1):
        drawn = positions(labels, chosen, n, "balanced", seed, False)
        assert np.array_equal(drawn, whole[:n])
        got = np.bincount(labels[drawn], minlength=5)
        most = got.max()
        assert all(got[label] in (most, most - 1, COUNTS[label]) for label in chosen)


@pytest.mark.parametrize("order", ORDERS)
def test_seeds_draw_different_subsets_without_replacement(order):
    labels = np.repeat([0, 1, 2, 3], 50)
    draws = {seed: positions(labels, [1, 3], 60, order, seed, False) for seed in (0, 1)}
    first = positions(labels, [1, 3], 60, order, None, False)
    assert first.tolist() == taken(labels, [1, 3], 60, order)
    for drawn in draws.values():
        assert len(set(drawn.tolist())) == 60
        assert set(labels[drawn]) == {1, 3}
        assert set(drawn.tolist()) != set(first.tolist())
    assert set(draws[0].tolist()) != set(draws[1].tolist())
    assert not np.array_equal(draws[0], positions(labels, [1, 3], 60, order, 0, True))  # the test set has its own draw
    assert np.array_equal(draws[0][:20], positions(labels, [1, 3], 20, order, 0, False))  # fewer: the beginning of more
    assert sorted(positions(labels, [1, 3], 100, order, 9, False)) == [*range(50, 100), *range(150, 200)]


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("seed", [None, 5])
def test_test_images_are_counted_as_they_are_drawn(seed, order):
    for classes, m in ((("Coat", "Bag"), 31), (("Bag", "Coat", "Dress"), 100), ((), 3)):
        spec = DataSpec(classes=classes, n_train=500, n_test=m, seed=seed, order=order)
        counted = count_test_images(spec)
        assert tuple(counted) == spec.classes
        drawn = torch.bincount(load(spec).labels_test, minlength=len(spec.classes))
        assert list(counted.values()) == drawn.tolist()


@pytest.mark.parametrize("seed", [None, 4])
def test_a_class_that_got_no_image(seed):
    with pytest.raises(SpecError) as caught:
        load(DataSpec(classes=(), n_train=10, n_test=3, seed=seed, order="own"))
    which = "the first 10" if seed is None else "the 10 drawn with seed 4"
    assert f"Of {which} training images of these classes, none is of class '" in str(caught.value)
    assert "Choose more training images or a balanced order, or leave that class out." in str(caught.value)
    few = load(DataSpec(classes=(), n_train=10, n_test=3, seed=seed))
    assert sorted(few.labels_train.tolist()) == list(range(10))
    assert len(set(few.labels_test.tolist())) == 3


def test_a_single_test_image_is_enough():
    assert load(DataSpec(n_train=10, n_test=1)).y_test.shape == (1, 1)


@pytest.mark.parametrize("size", [2, 4, 7, 14])
@pytest.mark.parametrize("channels", [1, 3])
def test_pooling_is_average_pooling(size, channels):
    x = np.random.default_rng(size).integers(0, 256, (5, channels, 28, 28), dtype=np.uint8)
    expected = F.avg_pool2d(torch.from_numpy(x).double() / 255, 28 // size)
    torch.testing.assert_close(images(x, size).double(), expected, rtol=1e-6, atol=1e-7)


def test_pooled_task():
    task, full = load(DataSpec(size=7, n_train=20, n_test=5)), load(DataSpec(n_train=20, n_test=5))
    assert task.image_shape == image_shape(task.spec) == (1, 7, 7)
    torch.testing.assert_close(task.x_test, F.avg_pool2d(full.x_test, 4))
    assert torch.equal(task.y_train, full.y_train)


def test_pixel_values_are_exact():
    x = np.arange(256, dtype=np.uint8).reshape(1, 1, 16, 16)
    assert torch.equal(images(x), torch.arange(256.0).reshape(1, 1, 16, 16) / 255)


def test_targets():
    labels = torch.tensor([0, 1, 1])
    assert targets(labels, 2).tolist() == [[-1.0], [1.0], [1.0]]
    assert targets(labels, 3).tolist() == [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 1.0, 0.0]]


# ------------------------------------------------------------------------------------------------ sources


def test_every_source_can_be_named():
    assert {*SOURCES, "own"} == set(get_args(SetName))


@pytest.mark.parametrize("name", SOURCES)
def test_sources_are_consistent(name):
    source = SOURCES[name]
    assert source.name == name
    assert len(source.classes) == len(source.train_counts) == len(source.test_counts) == len(set(source.classes))
    assert set(source.default_classes) <= set(source.classes)
    assert source.title
    assert source.credit.endswith(".")
    assert (source.download_mb > 0) == bool(source.files)
    n_train, n_test = source.limits(source.default_classes)
    assert n_train >= 1000
    assert n_test >= 500
    assert all(source.image_shape[1] % side == 0 for side in source.sizes)


@pytest.mark.parametrize(
    ("name", "dataset", "n_train", "n_test"),
    [
        ("mnist", "MNIST", 60000, 10000),
        ("fashion-mnist", "FashionMNIST", 60000, 10000),
        ("kmnist", "KMNIST", 60000, 10000),
        ("cifar10", "CIFAR10", 50000, 10000),
        ("cifar100", "CIFAR100", 50000, 10000),
        ("svhn", "SVHN", 73257, 26032),
    ],
)
def test_names_and_files_are_torchvisions(name, dataset, n_train, n_test):
    from torchvision import datasets

    source, made = SOURCES[name], getattr(datasets, dataset)
    assert (source.n_train, source.n_test) == (n_train, n_test)
    files = {path for path, _ in source.files}
    if hasattr(made, "resources"):
        assert source.classes == tuple(made.classes)
        assert files == {f"{dataset}/raw/{packed.removesuffix('.gz')}" for packed, _ in made.resources}
    elif hasattr(made, "base_folder"):
        entries = [entry for entry, _ in made.train_list + made.test_list] + [made.meta["filename"]]
        assert files == {f"{made.base_folder}/{entry}" for entry in entries}
    else:
        assert files == {made.split_list[split][1] for split in ("train", "test")}


def test_info(tmp_path):
    known = info("cifar10", tmp_path)
    assert not known.present
    assert known.folder == tmp_path
    assert known.classes == SOURCES["cifar10"].classes
    assert known.n_train == 50000
    for name in ("toy", "fashion-mnist-sample"):
        assert info(name, tmp_path).present
    assert info(DataSpec(name="mnist"), tmp_path).title == "MNIST"
    with pytest.raises(SpecError, match="no data set 'imagenet'"):
        info("imagenet")


def test_available_looks_at_sizes(tmp_path):
    for path, size in SOURCES["mnist"].files:
        assert not available("mnist", tmp_path)
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).touch()
        os.truncate(tmp_path / path, size)
    assert available("mnist", tmp_path)
    os.truncate(tmp_path / path, size - 1)
    assert not available("mnist", tmp_path)


def test_data_root(monkeypatch, tmp_path):
    monkeypatch.setenv("NTK_DATA", str(tmp_path / "a"))
    assert data_root() == tmp_path / "a"
    assert data_root(tmp_path / "b") == tmp_path / "b"
    monkeypatch.setenv("NTK_DATA", "")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert data_root() == tmp_path / ".cache" / "ntkcore" / "data"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "c"))
    assert data_root() == tmp_path / "c" / "ntkcore" / "data"
    monkeypatch.setattr("sys.platform", "darwin")
    assert data_root() == tmp_path / "Library" / "Caches" / "ntkcore" / "data"
    monkeypatch.setattr("sys.platform", "win32")
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "d"))
    assert data_root() == tmp_path / "d" / "ntkcore" / "data"


# ------------------------------------------------------------------------------------------ the full sets


@pytest.mark.realdata
@pytest.mark.parametrize(
    ("spec", "dataset"),
    [
        pytest.param(
            DataSpec(name="cifar10", classes=("airplane", "automobile"), n_train=2000, n_test=100, order="own"),
            "CIFAR10",
            id="cifar",
        ),
        pytest.param(
            DataSpec(name="cifar10", classes=("cat", "ship", "dog"), n_train=500, n_test=200),
            "CIFAR10",
            id="cifar-three",
        ),
        pytest.param(DataSpec(name="mnist", classes=(8, 3), n_train=300, n_test=100), "MNIST", id="mnist"),
        pytest.param(
            DataSpec(name="fashion-mnist", classes=(), n_train=400, n_test=200, order="own"),
            "FashionMNIST",
            id="fashion",
        ),
    ],
)
def test_the_first_images_as_torchvision_gives_them(spec, dataset):
    """Item by item through torchvision's own indexing and its ToTensor."""
    from torchvision import datasets
    from torchvision.transforms.functional import to_tensor

    task = load(spec)
    for train, x, labels in ((True, task.x_train, task.labels_train), (False, task.x_test, task.labels_test)):
        full = getattr(datasets, dataset)(data_root(), train=train)
        index = [full.class_to_idx[name] for name in task.classes]
        for at, i in enumerate(taken(map(int, full.targets), index, len(x), spec.order)):
            assert torch.equal(to_tensor(full[i][0]), x[at])
            assert index[labels[at]] == int(full.targets[i])


@pytest.mark.realdata
@pytest.mark.parametrize("name", ["mnist", "fashion-mnist", "cifar10"])
def test_counts_of_the_full_sets(name):
    source = SOURCES[name]
    task = load(DataSpec(name=name, classes=(), n_train=source.n_train, n_test=source.n_test, size=2))
    assert torch.bincount(task.labels_train).tolist() == list(source.train_counts)
    assert torch.bincount(task.labels_test).tolist() == list(source.test_counts)


@pytest.mark.realdata
def test_cifar_is_read_in_seconds():
    import torchvision  # noqa: F401  its import is not what is measured

    from ntkcore.data import task

    task._read.cache_clear()
    seconds = []
    for n in (2000, 1000):
        start = time.perf_counter()
        load(DataSpec(name="cifar10", n_train=n))
        seconds.append(time.perf_counter() - start)
    assert seconds[0] < 6
    assert seconds[1] < 0.5


@pytest.mark.realdata
def test_info_knows_what_is_there():
    assert info("cifar10").present
    assert dataclasses.replace(info("mnist"), folder=None).present
