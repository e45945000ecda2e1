"""The store: what is put is what is got, or nothing; damage is noticed, the rest stays."""

import errno
import hashlib
import io
import json
import os
import threading
import time
import zipfile

import numpy as np
import pytest
import safetensors.numpy
import torch

from ntkcore.errors import Cancelled, StoreError
from ntkcore.runs.store import Store, declare, default_max_bytes, default_root, notes
from ntkcore.runs.store.artifact import ARRAYS, META
from ntkcore.runs.store.room import Room

KEY = "3f9a0c" + 26 * "0"
WORDS = {KEY: "key"}
declare("kernel", "spectrum")


def named(word):
    """A key made of a word; WORDS leads back."""
    key = hashlib.md5(word.encode(), usedforsecurity=False).hexdigest()
    WORDS[key] = word
    return key


def words(things):
    """The words that the keys of artifacts or incidents were made of."""
    return [WORDS[thing.key] for thing in things]


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "cache")


def fill(store, key=KEY, n=6, stage="kernel"):
    return store.put(stage, key, {"k": torch.arange(float(n * n)).reshape(n, n)}, {"n": n})


def flip(path, position):
    data = bytearray(path.read_bytes())
    data[position] ^= 1
    path.write_bytes(data)


def age(artifact, seconds):
    then = time.time() - seconds
    os.utime(artifact.path, (then, then))


def leftovers(store):
    return list((store.root / ".tmp").glob("*"))


BASE = torch.arange(12.0)
TENSORS = {
    "float64": torch.arange(6, dtype=torch.float64).reshape(2, 3) / 7,
    "float32": BASE,
    "float16": torch.tensor([1.5, -2.0]).half(),
    "bfloat16": torch.tensor([1.5, -2.0]).bfloat16(),
    "int64": torch.tensor([-(2**62), 3]),
    "uint8": torch.arange(256).to(torch.uint8),
    "bool": torch.tensor([[True], [False]]),
    "complex64": torch.tensor([1 + 2j, 3 - 1j]),
    "conjugate view": torch.tensor([1 + 2j, 3 - 1j]).conj(),
    "scalar": torch.tensor(3.25),
    "empty": torch.zeros(0, 4),
    "transposed": BASE.reshape(3, 4).T,
    "strided": BASE[1::3],
    "same memory": BASE[:5],
    "requires grad": torch.ones(2, requires_grad=True),
}


def test_tensors_come_back_as_they_were(store):
    store.put("kernel", KEY, TENSORS, {})
    arrays = Store(store.root).get("kernel", KEY).arrays
    assert sorted(arrays) == sorted(TENSORS)
    for name, expected in TENSORS.items():
        assert arrays[name].dtype == expected.dtype, name
        assert torch.equal(arrays[name], expected), name


@pytest.mark.parametrize(
    "array",
    [
        pytest.param(np.arange(6.0).reshape(2, 3), id="C order"),
        pytest.param(np.arange(6.0).reshape(2, 3).T, id="Fortran order"),
        pytest.param(np.arange(10.0)[::-2], id="negative stride"),
        pytest.param(np.arange(5, dtype=">i4"), id="big endian"),
        pytest.param(np.array([True, False]), id="bool"),
        pytest.param(np.array(2.5), id="scalar"),
        pytest.param(np.zeros((3, 0), np.float32), id="empty"),
    ],
)
def test_numpy_arrays_come_back_as_they_were(store, array):
    got = store.put("kernel", KEY, {"a": array, "t": torch.ones(1)}, {}).arrays["a"].numpy()
    assert got.dtype.name == array.dtype.name
    np.testing.assert_array_equal(got, array)


def test_arrays_file_is_plain_safetensors(store):
    artifact = fill(store)
    np.testing.assert_array_equal(
        safetensors.numpy.load_file(artifact.path / ARRAYS)["k"], np.arange(36.0).reshape(6, 6)
    )
    assert json.loads((artifact.path / META).read_text())["meta"] == {"n": 6}


def test_meta_comes_back_as_json_has_it(store):
    meta = {"t": float("inf"), "é": [1, 2.5, None, True], "nested": {"b": 1, "a": (1, 2)}, 3: "three"}
    store.put("kernel", KEY, {}, meta)
    got = Store(store.root).get("kernel", KEY)
    assert got.meta == {
        "t": float("inf"),
        "é": [1, 2.5, None, True],
        "nested": {"b": 1, "a": [1, 2]},
        "3": "three",
    }
    assert store.incidents() == ()


def test_artifact_describes_itself(store):
    before = time.time()
    artifact = fill(store)
    assert (artifact.stage, artifact.key) == ("kernel", KEY)
    assert before <= artifact.created <= time.time()
    assert artifact.bytes == sum(file.stat().st_size for file in artifact.path.iterdir())
    assert dict(artifact.shapes) == {"k": (6, 6)}
    assert artifact.path == store.root / "kernel" / KEY


def test_absent_is_none(store):
    assert store.get("kernel", KEY) is None
    assert store.entries() == []
    assert store.size() == 0
    assert not store.delete("kernel", KEY)


def test_a_key_that_is_there_stays(store):
    fill(store)
    store.put("kernel", KEY, {"k": torch.zeros(1)}, {"n": "other"})
    assert store.get("kernel", KEY).meta == {"n": 6}


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../x", "a/b", "/etc", ".tmp", "a.b", "a\\b", "a\0", "é", "x" * 129, 3, "F" * 32, "a" * 33]
)
@pytest.mark.parametrize("what", ["stage", "key"])
def test_no_name_leaves_the_root(store, name, what):
    stage, key = (name, KEY) if what == "stage" else ("kernel", name)
    for call in (
        lambda: store.get(stage, key),
        lambda: store.put(stage, key, {}, {}),
        lambda: store.delete(stage, key),
    ):
        with pytest.raises(StoreError, match=f"cannot be a {what}"):
            call()


@pytest.mark.parametrize(
    ("arrays", "meta", "message"),
    [
        pytest.param({"a": [1, 2]}, {}, "'a' of kernel/3f9a0c0* is a list; a dense tensor", id="list"),
        pytest.param({"a": torch.eye(2).to_sparse()}, {}, "a dense tensor or NumPy array", id="sparse"),
        pytest.param({"a": np.array(["x"])}, {}, "cannot be stored", id="text"),
        pytest.param({"a": np.array([{}], dtype=object)}, {}, "cannot be stored", id="objects"),
        pytest.param({"a": torch.zeros(1, dtype=torch.complex128)}, {}, "cannot be stored", id="complex128"),
        pytest.param({"": torch.zeros(1)}, {}, "a non-empty text is needed", id="no name"),
        pytest.param({}, {"a": torch.zeros(1)}, "meta of kernel/3f9a0c0* is not JSON", id="tensor in meta"),
    ],
)
def test_what_cannot_be_stored_is_said(store, arrays, meta, message):
    with pytest.raises(StoreError, match=message):
        store.put("kernel", KEY, arrays, meta)
    assert store.get("kernel", KEY) is None
    assert leftovers(store) == []


def damage_arrays(folder):
    flip(folder / ARRAYS, -1)


def damage_header(folder):
    flip(folder / ARRAYS, 12)


def damage_meta_value(folder):
    text = (folder / META).read_bytes()
    (folder / META).write_bytes(text.replace(b'"n": 6', b'"n": 7'))


def damage_meta_space(folder):
    text = (folder / META).read_bytes()
    (folder / META).write_bytes(text.replace(b'"n": 6', b'"n":\t6'))


def truncate_arrays(folder):
    os.truncate(folder / ARRAYS, 100)


def truncate_meta(folder):
    os.truncate(folder / META, 100)


def empty_meta(folder):
    os.truncate(folder / META, 0)


def remove_arrays(folder):
    (folder / ARRAYS).unlink()


def remove_meta(folder):
    (folder / META).unlink()


def arrays_folder(folder):
    (folder / ARRAYS).unlink()
    (folder / ARRAYS).mkdir()


def swap_for_another(folder):
    for name in (META, ARRAYS):
        (folder / name).write_bytes((folder.parent / named("other") / name).read_bytes())


DAMAGES = [
    (damage_arrays, "arrays.safetensors does not match its checksum"),
    (damage_header, "arrays.safetensors does not match its checksum"),
    (truncate_arrays, "arrays.safetensors has 100 bytes instead of"),
    (remove_arrays, "arrays.safetensors is missing"),
    (arrays_folder, "arrays.safetensors"),
    (damage_meta_value, "meta.json does not match its checksum"),
    (damage_meta_space, "meta.json does not match its checksum"),
    (truncate_meta, "meta.json is not JSON"),
    (empty_meta, "meta.json is not JSON"),
    (remove_meta, "meta.json is missing"),
    (swap_for_another, f"meta.json belongs to kernel/{named('other')}"),
]


@pytest.mark.parametrize("read_before", [False, True], ids=["unread", "read before"])
@pytest.mark.parametrize(("damage", "reason"), DAMAGES, ids=[damage.__name__ for damage, _ in DAMAGES])
def test_damage_is_noticed_reported_and_mended(store, damage, reason, read_before):
    fill(store, named("other"))
    artifact = fill(store)
    if read_before:
        assert store.get("kernel", KEY) is not None
    damage(artifact.path)

    assert store.get("kernel", KEY) is None
    (incident,) = Store(store.root).incidents()  # another process reports it too
    assert (incident.stage, incident.key) == ("kernel", KEY)
    assert reason in incident.reason
    assert f"kernel/{KEY} is damaged" in str(incident)
    assert os.path.isdir(incident.path)

    assert torch.equal(fill(store).arrays["k"], torch.arange(36.0).reshape(6, 6))
    assert store.get("kernel", KEY) is not None
    assert store.get("kernel", named("other")) is not None
    assert len(store.incidents()) == 1
    store.clear_incidents()
    assert store.incidents() == ()
    assert not os.path.exists(incident.path)


def test_every_byte_counts(store):
    """One flipped bit at any place of either file is noticed."""
    for i, position in enumerate(range(0, fill(store).bytes, 37)):
        artifact = fill(store)
        size = (artifact.path / ARRAYS).stat().st_size
        name, place = (ARRAYS, position) if position < size else (META, position - size)
        place = min(place, (artifact.path / name).stat().st_size - 1)  # times are written with more or fewer digits
        flip(artifact.path / name, place)
        assert store.get("kernel", KEY) is None, (name, place)
        assert len(store.incidents()) == i + 1


def test_put_mends_a_broken_one(store):
    damage_arrays(fill(store).path)
    assert torch.equal(fill(store).arrays["k"], torch.arange(36.0).reshape(6, 6))
    assert len(store.incidents()) == 1


def test_listing_notices_what_it_can_see(store):
    remove_meta(fill(store, named("a")).path)
    truncate_arrays(fill(store, named("b")).path)
    fill(store, named("c"))
    assert words(store.entries()) == ["c"]
    assert words(store.incidents()) == ["a", "b"]


def test_listed_arrays_are_verified_when_read(store):
    damage_arrays(fill(store).path)
    (entry,) = store.entries()
    with pytest.raises(StoreError, match="does not match its checksum"):
        entry.arrays["k"]


@pytest.mark.parametrize("change", [damage_arrays, truncate_arrays, remove_arrays])
def test_a_change_after_get_is_not_read(store, change):
    then = time.time() - 10
    os.utime(fill(store).path / ARRAYS, (then, then))
    artifact = store.get("kernel", KEY)
    change(artifact.path)
    with pytest.raises(StoreError, match="can no longer be read"):
        artifact.arrays["k"]


def test_arrays_that_were_read_outlive_their_file(store):
    artifact = fill(store)
    values = artifact.arrays["k"]
    store.clear()
    assert torch.equal(values, torch.arange(36.0).reshape(6, 6))
    assert artifact.arrays["k"] is values
    with pytest.raises(KeyError):
        artifact.arrays["no such"]


def test_second_read_does_not_read_the_file_again(store, monkeypatch):
    artifact = fill(store)
    then = time.time() - 10
    os.utime(artifact.path / ARRAYS, (then, then))
    assert store.get("kernel", KEY) is not None
    monkeypatch.setattr("ntkcore.runs.store.artifact.digest", lambda path: pytest.fail(f"{path} was read again"))
    assert store.get("kernel", KEY) is not None


def test_verify_reports_and_counts(store):
    fill(store, named("good"))
    damage_arrays(fill(store, named("bad")).path)
    remove_meta(fill(store, named("worse")).path)
    seen = []
    report = store.verify(lambda done, total, note: seen.append((done, total, note)))
    assert not report.ok
    assert report.checked == 3
    assert set(words(report.broken)) == {"bad", "worse"}
    assert seen[-1][0] == seen[-1][1] == report.bytes
    assert {note for *_, note in seen} >= {f"kernel/{named(word)}" for word in ("good", "bad")}
    again = store.verify()
    assert again.ok
    assert again.checked == 1


def test_verify_reads_what_was_known_to_be_good(store):
    """Decay of the medium changes neither size nor time; only a full reading can see it."""
    path = fill(store).path / ARRAYS
    then = time.time_ns() - 10**10
    os.utime(path, ns=(then, then))
    assert store.get("kernel", KEY) is not None
    flip(path, -1)
    os.utime(path, ns=(then, then))
    assert words(store.verify().broken) == ["key"]


def test_verify_can_be_cancelled(store):
    fill(store)

    def stop(done, total, note):
        raise Cancelled("enough")

    with pytest.raises(Cancelled):
        store.verify(stop)
    assert store.verify().ok


def test_entries_size_delete_clear(store):
    first, second = fill(store, named("a")), fill(store, named("b"), stage="spectrum")
    age(first, 100)
    assert words(store.entries()) == ["b", "a"]
    assert store.size() == first.bytes + second.bytes
    assert store.delete("kernel", named("a"))
    assert words(store.entries()) == ["b"]
    damage_arrays(second.path)
    assert store.get("spectrum", named("b")) is None
    assert store.size() > 0  # what was set aside takes room
    fill(store)
    assert store.clear() == 1
    assert (store.size(), store.incidents(), leftovers(store)) == (0, (), [])


def test_foreign_files_are_left_alone(store):
    store.root.mkdir()
    (store.root / ".gitkeep").touch()
    fill(store)
    (store.root / "notes.txt").write_text("mine")
    assert store.verify().ok
    store.clear()
    assert (store.root / "notes.txt").read_text() == "mine"
    assert (store.root / ".gitkeep").exists()


def test_least_recently_used_is_dropped(tmp_path):
    size = fill(Store(tmp_path / "sizing")).bytes
    store = Store(tmp_path / "cache", max_bytes=3 * size + size // 2)
    for i, word in enumerate("abc"):
        age(fill(store, named(word)), 1000 - 100 * i)
    store.get("kernel", named("a"))  # used now: "b" is the oldest
    age(store.get("kernel", named("a")), 500)
    fill(store, named("d"))
    assert set(words(store.entries())) == {"a", "c", "d"}
    fill(store, named("e"))
    assert set(words(store.entries())) == {"a", "d", "e"}


def test_a_cache_is_measured_again_when_half_of_its_room_is_used_up_or_after_half_a_minute():
    now = [0.0]
    room = Room(clock=lambda: now[0])
    assert room.used_up(1)  # nothing is known yet
    room.left(1000)
    assert [room.used_up(200), room.used_up(300), room.used_up(1)] == [False, False, True]
    room.left(1000)
    now[0] = 30.5
    assert room.used_up(1)
    room.left(-5)
    assert room.used_up(0)


def test_what_others_put_there_is_seen_when_half_of_the_room_is_used_up(tmp_path):
    size = fill(Store(tmp_path / "sizing")).bytes
    store, other = (Store(tmp_path / "cache", max_bytes=7 * size) for _ in range(2))
    age(fill(store, named("a")), 1000)  # it has room for six, so the next two are put there without a look
    other.max_bytes = 100 * size
    for word in "bcdefgh":
        fill(other, named(word))
    for word in "ij":
        fill(store, named(word))
    assert "a" in words(store.entries())
    for word in "kl":
        fill(store, named(word))
    assert "a" not in words(store.entries())


def test_pinned_recent_and_just_written_are_spared(tmp_path):
    store = Store(tmp_path / "cache", max_bytes=1)
    pinned = fill(store, named("pinned"))
    fill(store, named("recent"))
    age(pinned, 1000)
    store.put("kernel", named("new"), {"k": torch.ones(3)}, {}, pinned=[("kernel", named("pinned"))])
    assert set(words(store.entries())) == {"pinned", "recent", "new"}
    fill(store, named("newer"))
    assert set(words(store.entries())) == {"recent", "new", "newer"}


def test_broken_data_go_first_and_their_record_stays(tmp_path):
    size = fill(Store(tmp_path / "sizing")).bytes
    store = Store(tmp_path / "cache", max_bytes=3 * size)
    damage_arrays(fill(store, named("broken")).path)
    age(fill(store, named("old")), 1000)
    assert store.get("kernel", named("broken")) is None
    fill(store, named("b"))
    assert store.size() <= 3 * size
    assert set(words(store.entries())) == {"old", "b"}
    assert words(store.incidents()) == ["broken"]


def test_export_zip(store):
    artifact = fill(store)
    data = store.export_zip("kernel", KEY, {"spec.json": b"{}", "figures/scatter.html": b"<p>"})
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.testzip() is None
        assert sorted(archive.namelist()) == sorted([ARRAYS, META, "README.txt", "spec.json", "figures/scatter.html"])
        assert archive.read(ARRAYS) == (artifact.path / ARRAYS).read_bytes()
        assert json.loads(archive.read(META))["meta"] == {"n": 6}
        np.testing.assert_array_equal(safetensors.numpy.load(archive.read(ARRAYS))["k"], np.arange(36.0).reshape(6, 6))


@pytest.mark.parametrize("name", ["../x", "/x", "a/../../x", "a\\b", META, ""])
def test_export_zip_takes_no_name_that_leads_out(store, name):
    fill(store)
    with pytest.raises(StoreError, match="cannot be a file of the zip"):
        store.export_zip("kernel", KEY, {name: b""})


def test_export_of_what_is_absent_or_broken(store):
    with pytest.raises(StoreError, match="is not in the cache"):
        store.export_zip("kernel", KEY)
    damage_arrays(fill(store).path)
    with pytest.raises(StoreError, match="is not in the cache"):
        store.export_zip("kernel", KEY)


def test_threads_that_put_the_same_key_agree(store):
    barrier = threading.Barrier(8)
    got, errors = [], []

    def put(i):
        try:
            barrier.wait()
            got.append(store.put("kernel", KEY, {"k": torch.full((50, 50), float(i))}, {"i": i}))
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=put, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    (winner,) = {artifact.meta["i"] for artifact in got}
    assert all(torch.equal(artifact.arrays["k"], torch.full((50, 50), float(winner))) for artifact in got)
    assert (store.verify().checked, store.incidents(), leftovers(store)) == (1, (), [])


def test_root_that_is_a_file(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="is a file; a folder is needed"):
        Store(tmp_path / "file")
    store = Store(tmp_path / "file" / "below")
    assert store.get("kernel", KEY) is None
    with pytest.raises(StoreError, match=r"cannot be stored in .*Not a directory"):
        fill(store)


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="permissions do not bind this user")
def test_read_only_root_can_be_read(store):
    fill(store)
    folders = [store.root, store.root / "kernel", store.root / "kernel" / KEY, store.root / ".tmp"]
    for folder in folders:
        folder.chmod(0o555)
    try:
        reader = Store(store.root)
        assert torch.equal(reader.get("kernel", KEY).arrays["k"], torch.arange(36.0).reshape(6, 6))
        with pytest.raises(StoreError, match="no permission"):
            fill(reader, named("new"))
    finally:
        for folder in folders:
            folder.chmod(0o755)


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (errno.ENOSPC, "the disk is full"),
        (errno.EROFS, "no permission"),
        (errno.ENOTDIR, "Not a directory"),
    ],
)
def test_refusals_of_python_and_of_safetensors_read_alike(code, words):
    from ntkcore.runs.store.folders import refusal

    assert words in refusal("x", OSError(code, os.strerror(code)))
    assert words in refusal("x", safetensors.SafetensorError(f"I/O error: something (os error {code})"))


def test_defaults_come_from_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("NTK_CACHE", str(tmp_path / "elsewhere"))
    assert default_root() == tmp_path / "elsewhere"
    assert Store().root == tmp_path / "elsewhere"
    monkeypatch.setenv("NTK_CACHE_MAX_GB", "0.5")
    assert default_max_bytes() == 500_000_000
    for wrong in ("much", "-1", "0", "inf", "nan"):
        monkeypatch.setenv("NTK_CACHE_MAX_GB", wrong)
        with pytest.raises(StoreError, match="a number above 0 is needed"):
            default_max_bytes()


# -- names and notes -----------------------------------------------------------------------------------------------


def test_of_many_who_save_a_note_at_once_one_is_first_and_no_text_is_lost(store):
    fill(store)
    start, overtaken = threading.Barrier(6), []

    def save(who):
        seen = 0
        start.wait()
        while True:
            try:
                return notes.write(store.root, "kernel", KEY, f"by {who}", f"text of {who}", after=seen)
            except notes.Overtaken as error:
                overtaken.append((seen, error))
                seen = error.number

    threads = [threading.Thread(target=save, args=(who,)) for who in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    saved = notes.history(store.root, "kernel", KEY)
    assert [note.number for note in saved] == [1, 2, 3, 4, 5, 6]
    assert {note.text for note in saved} == {f"text of {who}" for who in range(6)}
    assert len(overtaken) >= 5
    assert all(error.number > seen and error.note.name in str(error) for seen, error in overtaken)
    assert leftovers(store) == []


def test_notes_outlive_their_results_and_leave_them_whole(store):
    fill(store)
    note = notes.write(store.root, "kernel", KEY, "  the\nbest ", "ünï <b>c</b>ode\n ", after=0)
    assert (note.name, note.text, note.number) == ("the best", "ünï <b>c</b>ode", 1)
    assert store.verify().ok
    assert store.left_alone() == ""
    assert store.clear() == 1
    assert store.entries() == []
    assert notes.read_all(store.root) == {("kernel", KEY): note}
    fill(Store(store.root))
    assert notes.read(store.root, "kernel", KEY) == note


def test_what_is_no_note_is_left_out_and_left_there(store):
    notes.write(store.root, "kernel", KEY, "first", "", after=0)
    place = store.root / "notes" / f"kernel-{KEY}"
    for name, content in {"2": b"{", "3": b'{"name": 5, "text": "", "when": 0}', "x": b"{}"}.items():
        (place / name).mkdir()
        (place / name / "note.json").write_bytes(content)
    assert notes.read(store.root, "kernel", KEY).name == "first"
    with pytest.raises(notes.Overtaken) as refused:
        notes.write(store.root, "kernel", KEY, "second", "", after=1)
    assert refused.value.number == 3
    with pytest.raises(StoreError, match="80 at most"):
        notes.write(store.root, "kernel", KEY, "n" * 81, "", after=3)
    with pytest.raises(StoreError, match="cannot have a note"):
        notes.write(store.root, "..", KEY, "", "", after=0)
    assert len(list(place.iterdir())) == 4
