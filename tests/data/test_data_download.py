"""Fetching a set: from a server on this machine, through the real code; without network; interrupted; damaged.

The server gives a made-up Kuzushiji-MNIST of the right size (image i is grey i % 251, label i % 10), and torchvision's
list of addresses and checksums is pointed at it. No test reaches any other machine.
"""

import gzip
import hashlib
import io
import os
import pickle
import socket
import tarfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from torchvision import datasets

from ntkcore.data import SOURCES, DataSpec, available, data_root, load, task, vision
from ntkcore.data.download import NotFetched, fetch, md5_of
from ntkcore.errors import Cancelled, DataError

KMNIST = DataSpec(name="kmnist", classes=("o", "ki", "wo"), n_train=60, n_test=30)


@pytest.fixture(autouse=True)
def forget():
    """Nothing kept in memory from one test to the next."""
    task._read.cache_clear()


@pytest.fixture
def offline(monkeypatch):
    """A real refusal: every request goes to a port of this machine where nobody listens."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        proxy = f"http://127.0.0.1:{closed.getsockname()[1]}"
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, proxy)
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="module")
def archives() -> dict[str, bytes]:
    """The four packed files of the made-up set, by name."""

    def idx(magic: int, shape: tuple[int, ...], content: np.ndarray) -> bytes:
        return gzip.compress(np.array([magic, *shape], ">i4").tobytes() + content.tobytes(), compresslevel=1, mtime=0)

    made = {}
    for name, n in (("train", 60000), ("t10k", 10000)):
        i = np.arange(n)
        made[f"{name}-images-idx3-ubyte.gz"] = idx(2051, (n, 28, 28), np.repeat((i % 251).astype(np.uint8), 784))
        made[f"{name}-labels-idx1-ubyte.gz"] = idx(2049, (n,), (i % 10).astype(np.uint8))
    return made


class Server:
    """Serves ``files`` by name and notes what was asked for; ``url`` ends with a slash."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.asked: list[str] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                name = self.path.strip("/")
                outer.asked.append(name)
                content = outer.files.get(name)
                self.send_response(404 if content is None else 200)
                self.send_header("Content-Length", str(len(content or b"")))
                self.end_headers()
                self.wfile.write(content or b"")

            def log_message(self, *arguments: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}/"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def server(monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)
    made = Server()
    yield made
    made.close()


@pytest.fixture
def kmnist(server, archives, monkeypatch):
    """The server with the made-up set, and torchvision's list pointed at it."""
    server.files.update(archives)
    resources = [(name, hashlib.md5(archives[name]).hexdigest()) for name, _ in datasets.KMNIST.resources]
    monkeypatch.setattr(datasets.KMNIST, "resources", resources)
    monkeypatch.setattr(datasets.KMNIST, "mirrors", [server.url + "gone/", server.url])
    return server


def left_over(root: Path) -> list[str]:
    """All files below the root but those of the made-up set."""
    known = {path for path, _ in SOURCES["kmnist"].files}
    found = {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}
    return sorted(found - known)


# ------------------------------------------------------------------------------------------ the whole way


def test_fetched_once_with_progress_then_read_from_disk(kmnist, tmp_path):
    seen = []
    first = load(KMNIST, tmp_path, lambda *report: seen.append(report))
    i = np.array([i for i in range(300) if i % 10 in (0, 1, 9)][:60])
    assert np.array_equal(first.x_train[:, 0, 3, 5].numpy(), (i % 251).astype(np.float32) / np.float32(255))
    assert first.labels_train.tolist() == [{0: 0, 1: 1, 9: 2}[k] for k in i % 10]
    assert available("kmnist", tmp_path)
    assert left_over(tmp_path) == []

    done, totals, notes = zip(*seen, strict=True)
    assert notes[0] == "Downloading Kuzushiji-MNIST (21 MB)"
    assert notes[-1] == "Reading Kuzushiji-MNIST"
    fetching = [d for d, note in zip(done, notes, strict=True) if note == notes[0]]
    assert fetching == sorted(fetching)
    assert fetching[-1] > 0
    assert all(0 <= d <= total for d, total in zip(done, totals, strict=True))

    asked = list(kmnist.asked)
    assert asked.count("train-images-idx3-ubyte.gz") == 1
    assert asked.count("gone/train-images-idx3-ubyte.gz") == 1  # the first address had nothing, the second had
    task._read.cache_clear()
    again = load(KMNIST, tmp_path)
    assert kmnist.asked == asked
    assert np.array_equal(again.x_train, first.x_train)


def test_only_what_is_missing_is_fetched(kmnist, tmp_path):
    load(KMNIST, tmp_path)
    kmnist.asked.clear()
    os.truncate(tmp_path / "KMNIST/raw/t10k-labels-idx1-ubyte", 5000)  # an extraction that was cut off
    load(KMNIST, tmp_path)
    assert set(kmnist.asked) == {"gone/t10k-labels-idx1-ubyte.gz", "t10k-labels-idx1-ubyte.gz"}


def test_archives_put_there_by_hand(kmnist, archives, offline, tmp_path):
    """They are used without a network, and stay."""
    for name, content in archives.items():
        place = tmp_path / "KMNIST" / "raw" / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)
    assert load(KMNIST, tmp_path).n == 60
    assert kmnist.asked == []
    assert left_over(tmp_path) == sorted(f"KMNIST/raw/{name}" for name in archives)


@pytest.mark.parametrize("after", [0, 3], ids=["at-once", "later"])
def test_cancelled(kmnist, tmp_path, after):
    reports = []

    def stop(done: float, total: float, note: str) -> None:
        reports.append(done)
        if len(reports) > after:
            raise Cancelled("stopped")

    with pytest.raises(Cancelled):
        load(KMNIST, tmp_path, stop)
    assert not available("kmnist", tmp_path)
    assert not [name for name in left_over(tmp_path) if name.endswith(".part")]
    assert load(KMNIST, tmp_path).n == 60  # as if nothing had happened


def test_what_a_killed_process_left_is_removed_after_a_day(kmnist, tmp_path):
    """Nothing else: what lies there under another name, or behind a link, is somebody's."""
    (tmp_path / "photographs").mkdir()
    (tmp_path / "photographs" / "x.part").touch()
    names = ("ntkcore-old", "ntkcore-new", "mine")
    for name in names:
        (tmp_path / ".incoming" / name).mkdir(parents=True)
        (tmp_path / ".incoming" / name / "x.part").touch()
    (tmp_path / ".incoming" / "ntkcore-link").symlink_to(tmp_path / "photographs")
    for folder in (tmp_path / "photographs", *(tmp_path / ".incoming" / name for name in names if "new" not in name)):
        os.utime(folder, (time.time() - 90000,) * 2)
    load(KMNIST, tmp_path)
    kept = [".incoming/mine/x.part", ".incoming/ntkcore-new/x.part", "photographs/x.part"]
    assert left_over(tmp_path) == kept


def test_an_archive_that_is_another_file_stays(kmnist, tmp_path):
    """Under the name of a published archive: neither written over nor removed."""
    place = tmp_path / "KMNIST" / "raw" / "train-images-idx3-ubyte.gz"
    place.parent.mkdir(parents=True)
    place.write_bytes(b"half of it")
    assert load(KMNIST, tmp_path).n == 60
    assert place.read_bytes() == b"half of it"
    assert left_over(tmp_path) == ["KMNIST/raw/train-images-idx3-ubyte.gz"]


# ------------------------------------------------------------------------------------------ what goes wrong


@pytest.mark.parametrize(
    ("name", "title", "file"),
    [
        ("mnist", "MNIST", "MNIST/raw/train-images-idx3-ubyte.gz"),
        ("fashion-mnist", "Fashion-MNIST", "FashionMNIST/raw/t10k-labels-idx1-ubyte.gz"),
        ("kmnist", "Kuzushiji-MNIST", "KMNIST/raw/train-labels-idx1-ubyte.gz"),
        ("cifar10", "CIFAR-10", "cifar-10-python.tar.gz"),
        ("cifar100", "CIFAR-100", "cifar-100-python.tar.gz"),
        ("svhn", "Street View House Numbers", "train_32x32.mat, test_32x32.mat"),
    ],
)
def test_without_network(offline, tmp_path, name, title, file):
    start = time.perf_counter()
    with pytest.raises(DataError) as caught:
        load(DataSpec(name=name), tmp_path)
    text = str(caught.value)
    assert text.startswith(f"{title} is not in {tmp_path} and could not be downloaded (http")
    assert "refused" in text
    assert f"put these files there by hand: {file}" in text or f", {file}" in text
    assert time.perf_counter() - start < 5
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_what_arrives_is_another_file(kmnist, tmp_path):
    kmnist.files["t10k-labels-idx1-ubyte.gz"] = b"<html>Please log in</html>"
    with pytest.raises(DataError, match="what arrived is incomplete or is another file") as caught:
        load(KMNIST, tmp_path)
    assert str(caught.value).endswith("by hand: KMNIST/raw/t10k-labels-idx1-ubyte.gz.")
    assert left_over(tmp_path) == []


@pytest.mark.parametrize("damage", ["labels", "header"])
def test_damaged_files(kmnist, tmp_path, damage):
    load(KMNIST, tmp_path)
    with open(tmp_path / "KMNIST/raw/train-labels-idx1-ubyte", "r+b") as file:
        file.seek(1000 if damage == "labels" else 0)
        file.write(b"\7\7\7\7")
    with pytest.raises(DataError, match="The files of Kuzushiji-MNIST are damaged") as caught:
        load(KMNIST, tmp_path)
    assert f"Delete {tmp_path / 'KMNIST'} and load again" in str(caught.value)


def test_damaged_cifar_is_not_unpickled(tmp_path):
    """Its files are pickles: one that is not the published file must not be opened."""

    class Trap:
        def __reduce__(self):
            return (os.mkdir, (str(tmp_path / "trapped"),))

    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    for path, _ in SOURCES["cifar10"].files:
        (tmp_path / path).write_bytes(pickle.dumps(Trap()))
    assert available("cifar10", tmp_path)
    with pytest.raises(DataError, match="The files of CIFAR-10 are damaged"):
        load(DataSpec(name="cifar10"), tmp_path)
    assert not (tmp_path / "trapped").exists()


def test_root_that_is_a_file(offline, tmp_path):
    (tmp_path / "root").write_text("")
    with pytest.raises(DataError, match=r"MNIST cannot be stored in .*root: .*NTK_DATA"):
        load(DataSpec(name="mnist"), tmp_path / "root")


# ------------------------------------------------------------------------------------------ one file


def test_fetch_reports_and_checks(server, tmp_path):
    content = os.urandom(700_000)
    server.files["a.bin"] = content
    seen: list[int] = []
    target, md5 = tmp_path / "in" / "a.bin", hashlib.md5(content).hexdigest()
    fetch((server.url + "a.bin",), target, md5, seen.append, tmp_path)
    assert target.read_bytes() == content
    assert md5_of(target) == md5
    assert seen == sorted(seen)
    assert len(seen) >= 3
    assert seen[-1] == len(content)


def test_fetch_leaves_what_was_there(server, tmp_path):
    target = tmp_path / "a.bin"
    target.write_text("before")
    server.files["a.bin"] = b"other"
    with pytest.raises(NotFetched, match=r"b\.bin: HTTP 404; .*a\.bin: what arrived is incomplete"):
        fetch((server.url + "b.bin", server.url + "a.bin"), target, "0" * 32, None, tmp_path)
    assert target.read_text() == "before"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.bin"]


# ------------------------------------------------------------------------------------------ other formats


def packed_cifar(folder: str, members: dict[str, bytes]) -> bytes:
    """A .tar.gz with these files in a folder, and one that nobody asked for."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz", compresslevel=1) as tar:
        for name, content in {**members, "../../outside": b"x", "readme.html": b"x"}.items():
            member = tarfile.TarInfo(f"{folder}/{name}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return out.getvalue()


@pytest.mark.slow
def test_cifar100_layout(server, monkeypatch, tmp_path):
    """A made-up CIFAR-100 of the right size: image i has red i % 256, green 1, blue 2; label i % 100."""
    members = {"meta": pickle.dumps({"fine_label_names": list(SOURCES["cifar100"].classes)})}
    for name, n in (("train", 50000), ("test", 10000)):
        i = np.arange(n)
        data = np.repeat(np.stack([i % 256, np.full(n, 1), np.full(n, 2)], 1).astype(np.uint8), 1024, axis=1)
        members[name] = pickle.dumps({"data": data, "fine_labels": (i % 100).tolist()})
    packed = packed_cifar("cifar-100-python", members)
    server.files["cifar-100-python.tar.gz"] = packed
    md5 = {name: hashlib.md5(content).hexdigest() for name, content in members.items()}
    monkeypatch.setattr(datasets.CIFAR100, "url", server.url + "cifar-100-python.tar.gz")
    monkeypatch.setattr(datasets.CIFAR100, "tgz_md5", hashlib.md5(packed).hexdigest())
    monkeypatch.setattr(datasets.CIFAR100, "train_list", [["train", md5["train"]]])
    monkeypatch.setattr(datasets.CIFAR100, "test_list", [["test", md5["test"]]])
    monkeypatch.setattr(datasets.CIFAR100, "meta", {**datasets.CIFAR100.meta, "md5": md5["meta"]})
    root = tmp_path / "a" / "b"
    got = load(DataSpec(name="cifar100", classes=(7, 3), n_train=4, n_test=2), root)
    i = np.array([3, 7, 103, 107])
    assert np.array_equal(got.x_train[:, 0, 9, 9].numpy() * 255, i % 256)
    assert np.array_equal(got.x_train[0, :, 0, 0].numpy() * 255, [3, 1, 2])
    assert got.y_train[:, 0].tolist() == [1, -1, 1, -1]
    names = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file())
    assert names == [f"a/b/cifar-100-python/{name}" for name in ("meta", "test", "train")]


@pytest.mark.slow
def test_svhn_layout(server, monkeypatch, tmp_path):
    """A made-up SVHN of the right size, labels 1 to 10 (10 is the digit 0); image i has red i % 256."""
    from scipy.io import savemat

    split_list = {}
    source = SOURCES["svhn"]
    for split, counts in (("train", source.train_counts), ("test", source.test_counts)):
        digits = np.repeat(np.arange(10), counts)
        np.random.default_rng(0).shuffle(digits)
        x = np.zeros((32, 32, 3, len(digits)), np.uint8)
        x[:, :, 0] = np.arange(len(digits)) % 256
        file = io.BytesIO()
        savemat(file, {"X": x, "y": np.where(digits == 0, 10, digits)[:, None].astype(np.uint8)}, do_compression=True)
        name = f"{split}_32x32.mat"
        server.files[name] = file.getvalue()
        split_list[split] = [server.url + name, name, hashlib.md5(file.getvalue()).hexdigest()]
        if split == "train":
            expected = np.flatnonzero(np.isin(digits, (0, 5)))[:50]
            labels = (digits[expected] == 5).astype(int)
    monkeypatch.setattr(datasets.SVHN, "split_list", split_list)
    got = load(DataSpec(name="svhn", classes=("0", "5"), n_train=50, order="own"), tmp_path)
    assert np.array_equal(got.x_train[:, 0, 4, 4].numpy() * 255, expected % 256)
    assert got.x_train[:, 1:].max() == 0
    assert got.labels_train.tolist() == labels.tolist()
    assert available("svhn", tmp_path)


@pytest.mark.realdata
def test_cifar10_from_its_archive(server, monkeypatch, tmp_path):
    """The real files, packed and served from here, arrive as they are."""
    folder = data_root() / "cifar-10-batches-py"
    members = {Path(path).name: (folder / Path(path).name).read_bytes() for path, _ in SOURCES["cifar10"].files}
    packed = packed_cifar(folder.name, members)
    server.files["cifar-10-python.tar.gz"] = packed
    monkeypatch.setattr(datasets.CIFAR10, "url", server.url + "cifar-10-python.tar.gz")
    monkeypatch.setattr(datasets.CIFAR10, "tgz_md5", hashlib.md5(packed).hexdigest())
    spec = DataSpec(name="cifar10", n_train=500, n_test=100)
    assert np.array_equal(load(spec, tmp_path).x_test, load(spec).x_test)
    for name, content in members.items():
        assert (tmp_path / folder.name / name).read_bytes() == content
    assert vision.archives("cifar10")[0].unpacked(tmp_path)
