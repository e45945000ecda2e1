"""One's own images: what is taken, how it is kept, and a sentence for each thing that can be wrong with a file."""

import hashlib
import io
import os
import random
import struct
import zipfile

import numpy as np
import pytest
import torch

from ntkcore.data import (
    EXAMPLE,
    DataSpec,
    OwnData,
    count_test_images,
    example_npz,
    image_shape,
    import_npz,
    info,
    load,
    npz,
    own_sets,
)
from ntkcore.data.own import own_path
from ntkcore.errors import DataError, SpecError


def arrays(n: int = 6, m: int = 4, shape: tuple[int, ...] = (5, 5), **changes: object) -> dict[str, object]:
    """A right set of arrays with labels 0, 1, 2 in turn, some of them replaced (None: left out)."""
    rng = np.random.default_rng(0)
    made = {
        "x_train": rng.integers(0, 256, (n, *shape), dtype=np.uint8),
        "y_train": np.arange(n) % 3,
        "x_test": rng.integers(0, 256, (m, *shape), dtype=np.uint8),
        "y_test": np.arange(m) % 3,
    }
    return {name: value for name, value in {**made, **changes}.items() if value is not None}


def packed(content: dict[str, object]) -> bytes:
    """The bytes of an .npz."""
    file = io.BytesIO()
    np.savez_compressed(file, **content)
    return file.getvalue()


def spec(own: OwnData, **changes: object) -> DataSpec:
    """All of the file's images in its own order, unless told otherwise."""
    fields = {"n_train": own.n_train, "n_test": own.n_test, "order": "own", **changes}
    return DataSpec(name="own", digest=own.digest, **fields)


# ------------------------------------------------------------------------------------------- what is taken


@pytest.mark.parametrize(
    ("shape", "to_nchw"),
    [
        pytest.param((5, 7), lambda x: x[:, None], id="NHW"),
        pytest.param((5, 7, 3), lambda x: x.transpose(0, 3, 1, 2), id="NHWC-colour"),
        pytest.param((5, 7, 1), lambda x: x.transpose(0, 3, 1, 2), id="NHWC-grey"),
        pytest.param((3, 5, 7), lambda x: x, id="NCHW-colour"),
        pytest.param((1, 5, 7), lambda x: x, id="NCHW-grey"),
        pytest.param((3, 8), lambda x: x[:, None], id="NHW-of-3-rows"),
    ],
)
@pytest.mark.parametrize("dtype", ["uint8", "float16", "float32", ">f8"])
def test_layouts_and_types(tmp_path, shape, to_nchw, dtype):
    content = arrays(shape=shape)
    if dtype != "uint8":
        for name in ("x_train", "x_test"):
            content[name] = (content[name] / 255).astype(dtype)
    own = import_npz(packed(content), tmp_path)
    task = load(spec(own), tmp_path)
    expected = to_nchw(content["x_train"]).astype(np.float64) / (255 if dtype == "uint8" else 1)
    assert task.image_shape == own.image_shape == expected.shape[1:]
    np.testing.assert_allclose(task.x_train, expected, atol=1e-7)
    assert task.x_train.dtype == torch.float32
    assert task.labels_train.tolist() == [0, 1, 2, 0, 1, 2]


@pytest.mark.parametrize(
    ("labels", "names", "classes"),
    [
        pytest.param([5, 9, 5, 9], None, ("5", "9"), id="numbers"),
        pytest.param([-1, 1, 1, -1], None, ("-1", "1"), id="signs"),
        pytest.param([0.0, 2.0, 0.0, 2.0], None, ("0", "2"), id="whole-floats"),
        pytest.param([True, False, True, False], None, ("0", "1"), id="bools"),
        pytest.param([[1], [0], [1], [0]], None, ("0", "1"), id="column"),
        pytest.param([2, 0, 2, 0], ["cat", "unused", "dog"], ("cat", "dog"), id="names"),
        pytest.param([1, 0, 1, 0], [b"cat", b"dog"], ("cat", "dog"), id="bytes-names"),
        pytest.param([1, 0, 1, 0], ["Gänse", "鳥"], ("Gänse", "鳥"), id="any-script"),
    ],
)
def test_labels_and_names(tmp_path, labels, names, classes):
    labels = np.array(labels)
    content = arrays(4, 4, y_train=labels, y_test=labels, classes=None if names is None else np.array(names))
    own = import_npz(packed(content), tmp_path)
    assert own.classes == classes
    assert own.train_counts == own.test_counts == (2, 2)
    task = load(spec(own), tmp_path)
    assert task.classes == classes
    assert task.is_binary
    assert torch.equal(task.y_train[:, 0] > 0, torch.from_numpy(labels.reshape(-1) == labels.max()))


def test_unsigned_labels_and_file_written_column_by_column(tmp_path):
    content = arrays(y_train=np.arange(6, dtype=np.uint64) % 3)
    content["x_train"] = np.asfortranarray(content["x_train"])
    task = load(spec(import_npz(packed(content), tmp_path)), tmp_path)
    np.testing.assert_array_equal(task.x_train[:, 0].numpy() * 255, content["x_train"])


def test_choosing_classes_and_size(tmp_path):
    own = import_npz(packed(arrays(shape=(6, 6), classes=np.array(["cat", "dog", "eel"]))), tmp_path)
    chosen = spec(own, classes=("eel", "cat"), n_train=4, n_test=3, size=2)
    task = load(chosen, tmp_path)
    assert task.classes == ("eel", "cat")
    assert task.y_train[:, 0].tolist() == [1, -1, 1, -1]
    assert task.x_train.shape == (4, 1, 2, 2)
    assert image_shape(chosen, tmp_path) == (1, 2, 2)
    assert load(spec(own, size=6), tmp_path).image_shape == (1, 6, 6)


def test_draws_are_as_balanced_as_the_file(tmp_path):
    labels = np.array([0, 0, 0, 0, 2, 2, 1, 0])
    content = arrays(8, 8, y_train=labels, y_test=np.where(labels == 1, 0, labels))
    own = import_npz(packed(content), tmp_path)
    for m, counts in ((2, (1, 0, 1)), (4, (2, 0, 2)), (6, (4, 0, 2)), (8, (6, 0, 2))):
        balanced = spec(own, n_train=5, n_test=m, order="balanced")
        task = load(balanced, tmp_path)
        assert torch.bincount(task.labels_train).tolist() == [2, 1, 2]
        assert torch.bincount(task.labels_test, minlength=3).tolist() == list(counts)
        assert count_test_images(balanced, tmp_path) == dict(zip(own.classes, counts, strict=True))
    with pytest.raises(SpecError, match=r"n_test is 3, but this data set has 2 test images of 1 and 2"):
        load(spec(own, classes=("1", "2"), n_train=3, n_test=3), tmp_path)
    untested = import_npz(packed(arrays(y_test=np.zeros(4, int))), tmp_path)
    with pytest.raises(SpecError, match=r"this data set has no test images of 1 and 2\. Choose other classes\.$"):
        load(spec(untested, classes=("1", "2"), n_train=3, n_test=1), tmp_path)


# ------------------------------------------------------------------------------------------- how it is kept


def test_content_addressed_copy(tmp_path):
    content = packed(arrays())
    file = tmp_path / "birds.npz"
    file.write_bytes(content)
    root = tmp_path / "root"
    own = import_npz(file, root)
    assert own == import_npz(str(file), root) == import_npz(content, root)
    assert own.digest == hashlib.sha256(content).hexdigest()
    assert [path.name for path in (root / "own").iterdir()] == [f"{own.digest}.npz"]
    assert own_path(own.digest, root).read_bytes() == content
    assert str(own) == "6 training and 4 test images of 5x5 pixels and 1 channel, 3 classes: 0, 1, 2"
    assert info(spec(own), root).classes == own.classes
    assert info(spec(own), root).train_counts == (2, 2, 2)


def test_listing(tmp_path):
    assert own_sets(tmp_path) == ()
    first, second = (import_npz(packed(arrays(n)), tmp_path) for n in (6, 9))
    os.utime(own_path(first.digest, tmp_path), (1, 1))
    own_path("0" * 64, tmp_path).write_bytes(b"nonsense")
    (tmp_path / "own" / "notes.npz").write_bytes(b"nonsense")
    assert own_sets(tmp_path) == (second, first)


def test_not_there(tmp_path):
    missing = DataSpec(name="own", digest="a" * 64)
    for look in (load, info, image_shape):
        with pytest.raises(DataError, match=r"There are no own data with the digest a{64} in .*own. Import"):
            look(missing, tmp_path)


def test_a_changed_copy_is_noticed_and_mended(tmp_path):
    content = packed(arrays())
    own = import_npz(content, tmp_path)
    before = load(spec(own), tmp_path)
    place = own_path(own.digest, tmp_path)
    place.write_bytes(packed(arrays(x_test=np.zeros((4, 5, 5), np.uint8))))
    with pytest.raises(DataError, match=r"has changed since it was imported\. Delete it and import the \.npz again"):
        load(spec(own), tmp_path)
    assert import_npz(content, tmp_path) == own
    assert torch.equal(load(spec(own), tmp_path).x_test, before.x_test)


def test_nothing_is_kept_of_a_refused_file(tmp_path):
    with pytest.raises(DataError):
        import_npz(packed(arrays(y_test=None)), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_root_that_cannot_be_written(tmp_path):
    (tmp_path / "own").write_text("a file where the folder should be")
    with pytest.raises(DataError, match=r"cannot be kept in .*own: .*NTK_DATA"):
        import_npz(packed(arrays()), tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        pytest.param({"n_train": 7}, "n_train is 7, but this data set has 6 training images of the 3", id="train"),
        pytest.param({"n_train": 2}, "n_train is 2, but each of the 3 classes needs a training image", id="too-few"),
        pytest.param({"n_test": 5}, "n_test is 5, but this data set has 4 test images of the 3", id="test"),
        pytest.param(
            {"classes": ("0", "x")}, "There is no class 'x' in this data set. Its classes are 0, 1, 2.", id="class"
        ),
        pytest.param({"size": 2}, "size is 2, which does not divide 5, the side of this data set. Leave it", id="size"),
    ],
)
def test_descriptions_the_file_cannot_serve(tmp_path, changes, message):
    own = import_npz(packed(arrays()), tmp_path)
    with pytest.raises(SpecError) as caught:
        load(spec(own, **changes), tmp_path)
    assert message in str(caught.value)


def test_oblong_images_are_not_pooled(tmp_path):
    own = import_npz(packed(arrays(shape=(4, 8))), tmp_path)
    with pytest.raises(SpecError, match="4x8, not square"):
        load(spec(own, size=2), tmp_path)


# ------------------------------------------------------------------------------------------ what is refused

X, Y = np.zeros((6, 5, 5), np.uint8), np.arange(6) % 3
NAN = np.where(np.arange(150).reshape(6, 5, 5) == 7, np.nan, 0.5)
LONG = np.array(["a" * 101, "b", "c"])
NO_TEXT = np.full(3, 0x7FFFFFFF, np.uint32).view("<U1")

WRONG = [
    pytest.param(
        {"y_test": None}, "y_test is missing from the file, which holds x_train, y_train, x_test.", id="missing"
    ),
    pytest.param({"x_test": None, "y_test": None}, "x_test and y_test are missing from the file", id="two-missing"),
    pytest.param({"x_train": X.reshape(6, 25)}, "x_train has the shape (6, 25); [n, H, W], [n, H, W, C]", id="flat"),
    pytest.param({"x_train": X[0, 0, 0]}, "x_train has the shape ()", id="scalar"),
    pytest.param({"x_train": X[..., None, None]}, "x_train has the shape (6, 5, 5, 1, 1)", id="five-axes"),
    pytest.param({"x_train": X.astype(int)}, "x_train has the type int64; uint8 (0 to 255) or float", id="int-images"),
    pytest.param({"x_train": X.astype(bool)}, "x_train has the type bool", id="bool-images"),
    pytest.param({"x_train": X.astype(complex)}, "x_train has the type complex128", id="complex-images"),
    pytest.param({"x_train": X.astype(str)}, "x_train has the type <U", id="text-images"),
    pytest.param({"x_train": X.astype(object)}, "x_train holds Python objects, which are not read", id="object-images"),
    pytest.param({"x_train": X[:0], "y_train": Y[:0]}, "x_train is empty: its shape is (0, 5, 5).", id="no-images"),
    pytest.param({"x_test": X[:, :0]}, "x_test is empty", id="no-pixels"),
    pytest.param({"x_train": X[:1], "y_train": Y[:1]}, "x_train has 1 image; at least 2 are needed", id="one-image"),
    pytest.param(
        {"x_test": np.zeros((4, 6, 5), np.uint8)}, "have the shape (5, 5), the test images (6, 5)", id="shapes"
    ),
    pytest.param({"x_test": np.zeros((4, 5, 5, 1), np.uint8)}, "(5, 5), the test images (5, 5, 1)", id="layouts"),
    pytest.param(
        {"shape": (5, 5, 4)}, "The images have the shape (5, 5, 4); 1 or 3 channels are needed", id="channels"
    ),
    pytest.param({"shape": (3, 5, 3)}, "(3, 5, 3) can be read as [C, H, W] and as [H, W, C].", id="ambiguous"),
    pytest.param({"shape": (2, 1025)}, "The images are 2x1025 pixels; at most 1024 a side are read.", id="huge-side"),
    pytest.param(
        {"x_train": X + 2.0}, "x_train ranges from 2 to 2; float images must lie in 0 to 1. Divide", id="range"
    ),
    pytest.param(
        {"x_test": X[:4] - 0.5}, "x_test ranges from -0.5 to -0.5; float images must lie in 0 to", id="negative"
    ),
    pytest.param({"x_train": X + 1e300}, "x_train ranges from 1e+300 to 1e+300", id="enormous"),
    pytest.param({"x_train": NAN}, "x_train is not finite in 1 places. Replace NaN and infinity", id="nan"),
    pytest.param({"x_train": X - np.inf}, "x_train is not finite in 150 places", id="infinite"),
    pytest.param({"y_train": Y[:5]}, "There are 6 images in x_train but 5 labels in y_train", id="counts"),
    pytest.param({"y_test": np.eye(4)}, "y_test has the shape (4, 4); one whole number per image", id="one-hot"),
    pytest.param(
        {"y_test": np.int64(1)}, "y_test has the shape (); one whole number per image is needed", id="one-label"
    ),
    pytest.param(
        {"y_train": Y + 0.5}, "y_train has values that are not whole numbers. Number the classes", id="fractions"
    ),
    pytest.param({"y_train": Y * np.nan}, "y_train has values that are not whole numbers", id="nan-labels"),
    pytest.param(
        {"y_train": Y.astype(str)}, "y_train has the type <U21; whole numbers are needed. Number", id="text-labels"
    ),
    pytest.param({"y_train": Y.astype(object)}, "y_train holds Python objects", id="object-labels"),
    pytest.param({"y_train": Y + 2**40}, "y_train has labels beyond 2**31", id="huge-labels"),
    pytest.param({"y_train": Y.astype(np.uint64) + 2**63}, "y_train has labels beyond 2**31", id="unsigned-labels"),
    pytest.param(
        {"y_train": Y * 0, "y_test": Y[:4] * 0}, "y_train holds one label only, 0; at least 2", id="one-class"
    ),
    pytest.param(
        {"y_test": Y[:4] + 1}, "y_test holds labels without a training image: 3. Remove those", id="new-labels"
    ),
    pytest.param({"n": 1001, "y_train": np.arange(1001)}, "y_train holds 1001 different labels; at most", id="values"),
    pytest.param(
        {"classes": np.array(["a", "b"])}, "classes has 2 names, so labels must be 0 to 1, but", id="few-names"
    ),
    pytest.param(
        {"y_train": Y - 1, "y_test": Y[:4] - 1, "classes": np.array(list("abc"))}, "but they are -1", id="sign"
    ),
    pytest.param(
        {"classes": np.arange(3)}, "classes has the type int64 and the shape (3,); a list of texts", id="numbers"
    ),
    pytest.param({"classes": np.array([list("abc")])}, "classes has the type <U1 and the shape (1, 3)", id="2d-names"),
    pytest.param({"classes": np.array(["a", "b", None])}, "classes holds Python objects", id="object-names"),
    pytest.param({"classes": np.array(["a", "a", "b"])}, "classes holds the name 'a' more than once.", id="twice"),
    pytest.param({"classes": np.array(["a", " ", "b"])}, "classes holds the name ' '; names are 1 to 100", id="blank"),
    pytest.param({"classes": np.array(["a", "b\nc", "d"])}, "classes holds the name 'b\\nc'", id="line-break"),
    pytest.param({"classes": np.array([b"a", b"\xff", b"c"])}, "classes holds bytes that are no text.", id="no-text"),
    pytest.param({"classes": NO_TEXT}, "classes holds bytes that are no text.", id="no-code-points"),
    pytest.param({"classes": LONG}, "names are 1 to 100 printable characters", id="long-name"),
]


def refused(content: bytes, root) -> str:
    """The sentence a file is refused with."""
    with pytest.raises(DataError) as caught:
        import_npz(content, root)
    text = str(caught.value)
    assert text.rstrip().endswith((".", "..."))
    assert "Traceback" not in text
    return text


@pytest.mark.parametrize(("changes", "message"), WRONG)
def test_wrong_contents(tmp_path, changes, message):
    assert message in refused(packed(arrays(**changes)), tmp_path)


def tampered(member: bytes) -> bytes:
    """A right file whose x_train.npy has these bytes."""
    file = io.BytesIO(packed(arrays()))
    out = io.BytesIO()
    with zipfile.ZipFile(file) as old, zipfile.ZipFile(out, "w") as new:
        for name in old.namelist():
            new.writestr(name, member if name == "x_train.npy" else old.read(name))
    return out.getvalue()


def npy(shape: str, descr: str = "'|u1'", body: bytes = b"\0" * 150, version: bytes = b"\1\0") -> bytes:
    """A .npy with any header."""
    header = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY" + version + struct.pack("<H", len(header)) + header + body


RIGHT = packed(arrays())
SINGLE = io.BytesIO()
np.save(SINGLE, X)
NOT_NPZ = [
    pytest.param(b"", "The file is not an .npz archive, or is incomplete", id="empty"),
    pytest.param(b"\x80\x04\x95\x10\x00\x00\x00\x00\x00\x00\x00\x8c", "The file is not an .npz archive", id="pickle"),
    pytest.param(b"PK\x03\x04 and no more", "The file is not an .npz archive", id="start-of-zip"),
    pytest.param(RIGHT[:-30], "The file is not an .npz archive, or is incomplete", id="cut-off"),
    pytest.param(SINGLE.getvalue(), "The file is a single .npy array; an .npz with x_train", id="npy"),
    pytest.param(packed({}), "missing from the file, which holds nothing", id="empty-zip"),
    pytest.param(tampered(b""), "x_train cannot be read", id="empty-member"),
    pytest.param(tampered(b"not an array at all"), "x_train cannot be read", id="text-member"),
    pytest.param(tampered(npy("(6, 5, 5)", body=b"")), "its header announces 150 bytes, the archive 0.", id="no-body"),
    pytest.param(
        tampered(npy("(1000000000, 1000000, 1000)")),
        "x_train is damaged: its header announces 1000000000000000000 bytes, the archive 150.",
        id="header-announces-an-exabyte",
    ),
    pytest.param(tampered(npy("(-6, -5, 5)")), "x_train is damaged", id="negative-sides"),
    pytest.param(tampered(npy("(6.0, 5, 5)")), "x_train cannot be read", id="fractional-shape"),
    pytest.param(tampered(npy("__import__('os')")), "x_train cannot be read", id="code-for-shape"),
    pytest.param(tampered(npy("(6, 5, 5)", "'?!'")), "x_train cannot be read", id="no-such-type"),
    pytest.param(tampered(npy("(6, 5, 5)", "'|O'")), "x_train holds Python objects", id="objects"),
    pytest.param(tampered(npy("(6, 5, 5)", "[('a', '|u1')]")), "x_train has the type [('a', 'u1')]", id="records"),
    pytest.param(tampered(npy("(6, 5, 5)", version=b"\7\0")), "x_train cannot be read", id="version"),
    pytest.param(tampered(npy("(" * 3000 + "6" + ")" * 3000)), "x_train cannot be read", id="deep-header"),
]


@pytest.mark.parametrize(("content", "message"), NOT_NPZ)
def test_files_that_are_no_npz(tmp_path, content, message):
    assert message in refused(content, tmp_path)


def test_limits_on_size(tmp_path, monkeypatch):
    """A file that unfolds to more than is allowed is refused by its headers; so is a large file by its size."""
    content = packed(arrays(100, 4, (64, 64), x_train=np.zeros((100, 64, 64), np.uint8)))
    monkeypatch.setattr(npz, "MAX_ARRAYS", 1 << 18)
    with monkeypatch.context() as patch:
        patch.setattr(npz.npy, "read_array", lambda *a, **k: pytest.fail("an array was read"))
        assert "The arrays unpack to 0 MiB; at most 0 MiB are read." in refused(content, tmp_path)
    monkeypatch.setattr(npz, "MAX_FILE", 1000)
    assert "at most 0 MiB are read" in refused(content, tmp_path)


def test_a_size_the_archive_lies_about(tmp_path):
    """The zip's directory announces 10 GB: nothing of the kind is unpacked."""
    content = bytearray(RIGHT)
    at = content.index(b"PK\x01\x02")
    assert content[at + 46 : at + 57] == b"x_train.npy"
    content[at + 24 : at + 28] = struct.pack("<I", 0xFFFFFFF0)
    assert "x_train" in refused(bytes(content), tmp_path)


def test_encrypted_member(tmp_path):
    content = bytearray(RIGHT)
    for start, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(start) + offset] |= 1
    assert "without a password" in refused(bytes(content), tmp_path)


def test_any_flipped_byte_is_refused_or_harmless(tmp_path):
    """Whatever byte is changed: the images as they were, or a DataError; never another error, never other images."""
    content = packed(arrays(classes=np.array(["cat", "dog", "eel"])))
    expected = load(spec(import_npz(content, tmp_path)), tmp_path)
    accepted = 0
    for at in range(0, len(content), 3):
        flipped = bytearray(content)
        flipped[at] ^= 0x15
        try:
            own = import_npz(bytes(flipped), tmp_path)
        except DataError:
            continue
        accepted += 1
        task = load(spec(own), tmp_path)
        assert torch.equal(task.x_train, expected.x_train)
        assert torch.equal(task.labels_test, expected.labels_test)
    assert accepted < len(content) / 6


def test_any_changed_header_is_refused_in_words_or_harmless(tmp_path):
    """The archive's checksums are made after the change, so that the parser of the headers gets to see it."""
    rng = random.Random(0)
    members = {}
    for name, array in arrays(classes=np.array(["cat", "dog", "eel"])).items():
        file = io.BytesIO()
        np.save(file, array)
        members[name] = file.getvalue()
    refusals = 0
    for _ in range(400):
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w") as archive:
            chosen = rng.choice(list(members))
            for name, content in members.items():
                changed = bytearray(content)
                if name == chosen:
                    for _ in range(rng.randint(1, 3)):
                        changed[rng.randrange(min(140, len(changed)))] = rng.choice([*b"9(-O'L,|)", rng.randrange(256)])
                archive.writestr(f"{name}.npy", bytes(changed))
        try:
            import_npz(out.getvalue(), tmp_path)
        except DataError:
            refusals += 1
    assert refusals > 200


@pytest.mark.parametrize("path", ["no/such/file.npz", "."], ids=["missing", "folder"])
def test_paths_that_cannot_be_read(tmp_path, path):
    with pytest.raises(DataError, match=r"cannot be read: .*\. Give the path of an .npz file\."):
        import_npz(tmp_path / path, tmp_path)


def test_the_example_makes_a_file_that_is_taken(tmp_path, monkeypatch):
    """The six lines as they stand, and the file that is offered beside them."""
    monkeypatch.chdir(tmp_path)
    assert len(EXAMPLE.splitlines()) == 6
    exec(EXAMPLE, {})
    for file in ("images.npz", example_npz()):
        own = import_npz(file)
        assert (own.classes, own.image_shape) == (("dark", "bright"), (1, 8, 8))
        assert (own.train_counts, own.test_counts) == ((100, 100), (50, 50))
        task = load(spec(own))
        above = task.x_train[:, :, :4].mean((1, 2, 3))
        assert above[task.labels_train == 1].mean() > 1.3 * above[task.labels_train == 0].mean()
