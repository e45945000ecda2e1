"""The bundled sample is what it should be: contents, size, licence, and equality with the full set."""

import hashlib
import subprocess
import sys

import numpy as np
import pytest
import torch

from ntkcore.data import DataSpec, data_root, load, sample
from ntkcore.data.make_sample import first_of_each_class
from ntkcore.errors import DataError

SHA256 = "db9e8893bd9acabf61d095076816d3f6612734106402041b982880fbb3b733ea"


def test_digest_and_size():
    content = sample.SAMPLE.read_bytes()
    assert hashlib.sha256(content).hexdigest() == SHA256
    assert len(content) < 8_000_000


def test_contents():
    arrays = sample.sample_arrays()
    assert arrays.x_train.shape == (6000, 1, 28, 28)
    assert arrays.x_test.shape == (10000, 1, 28, 28)
    assert arrays.x_train.dtype == np.uint8
    assert arrays.train_counts == (600,) * 10
    assert arrays.test_counts == (1000,) * 10
    for positions, top in zip(sample.sample_positions(), (60000, 10000), strict=True):
        assert (np.diff(positions) > 0).all()
        assert 0 <= positions[0] < positions[-1] < top


def test_what_is_kept_in_memory_cannot_be_changed():
    arrays = sample.sample_arrays()
    with pytest.raises(ValueError, match="read-only"):
        arrays.x_train[0] = 0
    with pytest.raises(ValueError, match="read-only"):
        arrays.labels_test[0] = 0


def test_licence_is_beside_it():
    text = sample.SAMPLE.with_name("FASHION-MNIST-LICENSE").read_text(encoding="utf-8")
    assert "Copyright © 2017 Zalando SE, https://tech.zalando.com" in text
    assert "The above copyright notice and this permission notice shall be included" in text


@pytest.mark.parametrize("damage", ["cut", "flip", "gone"])
def test_damaged_sample(tmp_path, monkeypatch, damage):
    content = bytearray(sample.SAMPLE.read_bytes())
    if damage == "flip":
        content[len(content) // 2] ^= 1
    copy = tmp_path / "sample.npz"
    if damage != "gone":
        copy.write_bytes(content[: len(content) // 2] if damage == "cut" else content)
    monkeypatch.setattr(sample, "SAMPLE", copy)
    with pytest.raises(DataError, match="Restore that file from the repository"):
        sample._stored()


def test_first_of_each_class():
    labels = np.array([2, 0, 0, 2, 0, 2, 2, 0])
    assert first_of_each_class(labels, 2).tolist() == [0, 1, 2, 3]
    assert first_of_each_class(labels, 3).tolist() == [0, 1, 2, 3, 4, 5]


@pytest.mark.realdata
def test_equals_the_full_set():
    from torchvision.datasets import FashionMNIST

    arrays = sample.sample_arrays()
    for train, x, labels, positions, count in (
        (True, arrays.x_train, arrays.labels_train, sample.sample_positions()[0], 600),
        (False, arrays.x_test, arrays.labels_test, sample.sample_positions()[1], 1000),
    ):
        full = FashionMNIST(data_root(), train=train)
        seen, expected = dict.fromkeys(range(10), 0), []
        for i, label in enumerate(full.targets.tolist()):
            if seen[label] < count:
                expected.append(i)
            seen[label] += 1
        assert positions.tolist() == expected
        assert np.array_equal(x[:, 0], full.data[expected].numpy())
        assert np.array_equal(labels, full.targets[expected].numpy())
        assert arrays.classes == tuple(full.classes)


@pytest.mark.realdata
def test_sample_and_full_set_begin_alike():
    """All that the sample has of a pair is how a balanced draw from the full set begins."""
    part = load(DataSpec(n_train=1200, n_test=2000))
    full = load(DataSpec(name="fashion-mnist", n_train=1300, n_test=2000))
    for name in ("x_train", "labels_train", "x_test", "labels_test"):
        got, expected = getattr(part, name), getattr(full, name)
        assert torch.equal(got, expected[: len(got)])


@pytest.mark.realdata
def test_the_script_makes_the_same_file(tmp_path, root):
    out = tmp_path / "made.npz"
    command = [sys.executable, "-m", "ntkcore.data.make_sample", "--root", str(data_root()), "--out", str(out)]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "7.0 MB" in done.stdout
    made, stored = (np.load(path, allow_pickle=False) for path in (out, sample.SAMPLE))
    with made, stored:
        assert made.files == stored.files
        assert all(np.array_equal(made[name], stored[name]) for name in made.files)
