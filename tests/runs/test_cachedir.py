"""The cache folder: what may be one, what in it is the cache's own; nothing else is ever moved, counted or deleted."""

import json
import os
import shutil
import stat
import time
from pathlib import Path

import numpy as np
import pytest

from ntkcore.errors import StoreError
from ntkcore.runs import rates
from ntkcore.runs.rates import calibrate
from ntkcore.runs.store import Store, declare
from ntkcore.runs.store.artifact import ARRAYS, META, _seal
from ntkcore.runs.store.cachedir import TAG
from ntkcore.writing import user_cache
from tests.campaign.listing import listing

declare("kernel", "spectrum")
KEY, OTHER = "ab" * 16, "cd" * 16


def fill(root: Path, key: str = KEY, stage: str = "kernel", **limits: int):
    return Store(root, **limits).put(stage, key, {"k": np.eye(3)}, {"words": "three", "seconds": 1.5})


def everything(root: Path, **limits: int) -> None:
    """All that a store can do on its own account, once each."""
    store = Store(root, **limits)
    store.entries()
    store.size()
    store.verify()
    store.put("spectrum", OTHER, {"k": np.eye(3)}, {})
    store.delete("spectrum", OTHER)
    store.incidents()
    store.clear_incidents()
    store.clear()


# -- which folder may be a cache -----------------------------------------------------------------------------------


def documents(root: Path) -> None:
    (root / "Documents" / "2024").mkdir(parents=True)
    (root / "Documents" / "2024" / "letter.txt").write_text("Dear")


def looks_like_artifacts(root: Path) -> None:
    (root / "kernel" / KEY).mkdir(parents=True)
    (root / "kernel" / KEY / META).write_text("{}")
    (root / "kernel" / KEY / ARRAYS).write_bytes(b"photographs")


def tag_of_another_program(root: Path) -> None:
    (root / TAG).write_text("Signature: 8a477f597d28d172789f06886806bc55\n# This file is created by another.\n")
    (root / "object.o").touch()


def artifact_among_documents(root: Path) -> None:
    fill(root)
    (root / TAG).unlink()
    documents(root)


def own_names_full_of_other_things(root: Path) -> None:
    for name in (".tmp", ".broken", "kernel"):
        (root / name / "holiday").mkdir(parents=True)
        (root / name / "holiday" / "beach.jpg").write_bytes(b"sand")
        os.utime(root / name / "holiday", (1e9, 1e9))


def calibration_of_another(root: Path) -> None:
    (root / "calibration.json").write_text('{"scale": 3}')


def a_link_to_documents(root: Path) -> None:
    documents(root.parent)
    (root / "kernel").symlink_to(root.parent / "Documents")


FOREIGN = [
    documents,
    looks_like_artifacts,
    tag_of_another_program,
    artifact_among_documents,
    own_names_full_of_other_things,
    calibration_of_another,
    a_link_to_documents,
]


@pytest.mark.parametrize("make", FOREIGN, ids=lambda make: make.__name__)
def test_a_folder_of_somebody_else_is_refused_and_left_as_it_is(make, tmp_path):
    root = tmp_path / "root"
    root.mkdir()
    make(root)
    before = listing(tmp_path)
    with pytest.raises(StoreError, match=r"is not a cache: .* It is left as it is. Choose a new or an empty folder"):
        Store(root)
    assert listing(tmp_path) == before


@pytest.mark.parametrize("place", ["home", "a link to it", "the top"])
def test_home_and_the_top_are_refused_even_when_empty(place, tmp_path, monkeypatch):
    home = tmp_path / "home"
    home.mkdir()
    (tmp_path / "link").symlink_to(home)
    monkeypatch.setenv("HOME", str(home))
    with pytest.raises(StoreError, match="cannot be the cache: it is where other things lie"):
        Store({"home": "~", "a link to it": tmp_path / "link", "the top": "/"}[place])
    assert list(home.iterdir()) == []


@pytest.mark.parametrize("inside", [[], [".gitkeep"], [".gitignore", ".DS_Store"]], ids=str)
def test_an_empty_folder_is_marked_when_first_written_to(inside, tmp_path):
    for name in inside:
        (tmp_path / name).touch()
    assert Store(tmp_path).entries() == []
    assert sorted(os.listdir(tmp_path)) == sorted(inside)  # looking writes nothing
    fill(tmp_path)
    assert (tmp_path / TAG).read_bytes().startswith(b"Signature: 8a477f597d28d172789f06886806bc55\n")
    documents(tmp_path)  # marked: what comes later is left alone
    before = listing(tmp_path / "Documents")
    everything(tmp_path, max_bytes=1)
    assert listing(tmp_path / "Documents") == before
    assert "Documents" in Store(tmp_path).left_alone()


def test_a_new_folder_and_a_link_to_a_folder_will_do(tmp_path):
    fill(tmp_path / "new" / "below")
    (tmp_path / "link").symlink_to(tmp_path / "new" / "below")
    assert [entry.key for entry in Store(tmp_path / "link").entries()] == [KEY]
    fill(tmp_path / "link", OTHER)
    assert Store(tmp_path / "new" / "below").clear() == 2


def no_more_than_rates(root: Path) -> None:
    calibrate(root)


def one_artifact(root: Path) -> None:
    fill(root)


def damage_of_every_kind(root: Path) -> None:
    fill(root)
    for key, harm in ((OTHER, os.unlink), ("ef" * 16, lambda file: os.truncate(file, 5))):
        harm(fill(root, key).path / META)
    Store(root).entries()
    os.truncate(fill(root, OTHER).path / ARRAYS, 3)


def stage_that_is_no_more(root: Path) -> None:
    fill(root)
    Store(root, stages=["older"]).put("older", KEY, {"k": np.eye(2)}, {})


def cleared(root: Path) -> None:
    fill(root)
    Store(root).clear()


def killed_while_it_measured(root: Path) -> None:
    fill(root)
    (root / "calibration.part").write_text('{"format"')


EARLIER = [
    killed_while_it_measured,
    no_more_than_rates,
    one_artifact,
    damage_of_every_kind,
    stage_that_is_no_more,
    cleared,
]


@pytest.mark.parametrize("make", EARLIER, ids=lambda make: make.__name__)
def test_a_cache_of_an_earlier_version_is_known_by_its_content_then_marked(make, tmp_path):
    make(tmp_path)
    (tmp_path / TAG).unlink(missing_ok=True)
    fill(tmp_path, "12" * 16)
    assert (tmp_path / TAG).is_file()
    assert "12" * 16 in {entry.key for entry in Store(tmp_path).entries()}


@pytest.mark.parametrize("data", ["data", "data/sets"])
def test_data_sets_may_lie_beside_the_results(data, tmp_path, monkeypatch):
    monkeypatch.setenv("NTK_DATA", str(tmp_path / data))
    (tmp_path / data / "MNIST").mkdir(parents=True)
    (tmp_path / data / "MNIST" / "images").write_bytes(b"digits")
    before = listing(tmp_path / data)
    fill(tmp_path)
    (tmp_path / TAG).unlink()
    fill(tmp_path, OTHER)
    assert Store(tmp_path).left_alone() == ""
    everything(tmp_path, max_bytes=1)
    assert listing(tmp_path / data) == before


def test_the_users_cache_folder_also_holds_data_and_compiled_loops(tmp_path, monkeypatch):
    monkeypatch.delenv("NTK_DATA")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / ".cache"))
    root = user_cache()
    for name in ("data", "loops"):
        (root / name).mkdir(parents=True)
        (root / name / "something").write_bytes(b"large")
    assert fill(root).path.is_relative_to(root)
    assert Store(root).clear() == 1
    assert {"data", "loops"} <= set(os.listdir(root))
    (root / "letters").mkdir()
    assert Store(root).left_alone() == "Left alone, not the cache's: letters."


def test_a_folder_that_has_taken_the_caches_place_meanwhile(tmp_path):
    """A store that was opened long ago looks again before it writes."""
    store = Store(tmp_path / "cache")
    documents(tmp_path / "cache")
    before = listing(tmp_path)
    with pytest.raises(StoreError, match="is not a cache: it holds Documents"):
        store.put("kernel", KEY, {"k": np.eye(3)}, {})
    assert listing(tmp_path) == before


def test_a_tag_that_the_user_put_into_a_cache_stays_as_it_is(tmp_path):
    fill(tmp_path)
    (tmp_path / TAG).write_text("Signature: 8a477f597d28d172789f06886806bc55\n# mine\n")
    fill(tmp_path, OTHER)
    assert (tmp_path / TAG).read_text().endswith("# mine\n")


def test_stages_that_nobody_declared(tmp_path):
    store = Store(tmp_path, stages=["kernel"])
    with pytest.raises(StoreError, match="'spectrum' cannot be a stage; one of kernel is needed"):
        store.get("spectrum", KEY)
    with pytest.raises(StoreError, match="No stage is declared"):
        Store(tmp_path, stages=[])


# -- what in a cache is not its own --------------------------------------------------------------------------------


def notes_beside_an_artifact(root: Path) -> None:
    (root / "kernel" / KEY / "notes.txt").write_text("a good run")


def notes_beside_a_damaged_artifact(root: Path) -> None:
    notes_beside_an_artifact(root)
    os.truncate(root / "kernel" / KEY / ARRAYS, 7)


def folder_with_things_named_like_arrays(root: Path) -> None:
    (root / "kernel" / KEY / ARRAYS).unlink()
    (root / "kernel" / KEY / ARRAYS).mkdir()
    (root / "kernel" / KEY / ARRAYS / "letter.txt").write_text("Dear")


def arrays_moved_elsewhere_and_linked(root: Path) -> None:
    shutil.move(root / "kernel" / KEY / ARRAYS, root.parent / "elsewhere")
    (root / "kernel" / KEY / ARRAYS).symlink_to(root.parent / "elsewhere")


def artifact_moved_elsewhere_and_linked(root: Path) -> None:
    shutil.move(root / "kernel" / KEY, root.parent / "elsewhere")
    (root / "kernel" / KEY).symlink_to(root.parent / "elsewhere")


def stage_moved_elsewhere_and_linked(root: Path) -> None:
    shutil.move(root / "kernel", root.parent / "elsewhere")
    (root / "kernel").symlink_to(root.parent / "elsewhere")


def file_in_place_of_an_artifact(root: Path) -> None:
    shutil.rmtree(root / "kernel" / KEY)
    (root / "kernel" / KEY).write_text("a file")


def folder_of_photographs_named_like_a_key(root: Path) -> None:
    shutil.rmtree(root / "kernel" / KEY)
    (root / "kernel" / KEY).mkdir()
    (root / "kernel" / KEY / "beach.jpg").write_bytes(b"sand")


IN_THE_WAY = [
    notes_beside_a_damaged_artifact,
    folder_with_things_named_like_arrays,
    arrays_moved_elsewhere_and_linked,
    artifact_moved_elsewhere_and_linked,
    stage_moved_elsewhere_and_linked,
    file_in_place_of_an_artifact,
    folder_of_photographs_named_like_a_key,
]


@pytest.mark.parametrize("make", [notes_beside_an_artifact, *IN_THE_WAY], ids=lambda make: make.__name__)
def test_what_is_not_ours_in_an_artifacts_place_stays(make, tmp_path):
    root = tmp_path / "cache"
    os.utime(fill(root).path, (1e9, 1e9))
    make(root)
    before = listing(tmp_path)
    everything(root, max_bytes=1)
    assert {name: what for name, what in listing(tmp_path).items() if name in before} == before
    assert "kernel" in Store(root).left_alone()


@pytest.mark.parametrize("make", IN_THE_WAY, ids=lambda make: make.__name__)
def test_what_is_in_the_way_is_said_before_anything_is_computed(make, tmp_path):
    root = tmp_path / "cache"
    fill(root)
    make(root)
    with pytest.raises(StoreError, match=r"(not the cache's|links are not followed)\. ?.*Move (it|that) elsewhere"):
        Store(root).get("kernel", KEY)
    assert not Store(root).has("kernel", KEY) or make not in (stage_moved_elsewhere_and_linked,)


def test_notes_beside_a_sound_artifact_cost_nothing(tmp_path):
    fill(tmp_path)
    notes_beside_an_artifact(tmp_path)
    store = Store(tmp_path)
    assert store.get("kernel", KEY).arrays["k"].sum() == 3
    assert [entry.key for entry in store.entries()] == [KEY]
    with pytest.raises(StoreError, match=r"is not deleted: its folder .* holds notes\.txt, not the cache's"):
        store.delete("kernel", KEY)
    assert store.clear() == 0
    assert store.left_alone() == f"Left alone, not the cache's: kernel/{KEY}/notes.txt."


def test_damage_beside_notes_is_reported_and_stays(tmp_path):
    fill(tmp_path)
    notes_beside_a_damaged_artifact(tmp_path)
    (incident,) = Store(tmp_path).verify().broken
    assert "has 7 bytes instead of" in str(incident)
    assert "cannot be moved and stays there" in str(incident)


def close(monkeypatch: pytest.MonkeyPatch, owner: object, name: str, closed: Path) -> None:
    """A function of the system refuses one path, as it does what another user of the machine has made."""
    allowed = getattr(owner, name)

    def refuse(path: Path) -> object:
        if path == closed:
            raise PermissionError(13, "Permission denied", str(path))
        return allowed(path)

    monkeypatch.setattr(owner, name, refuse)


def test_a_folder_that_may_not_be_looked_into_hides_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(tmp_path)
    close(monkeypatch, os, "scandir", fill(tmp_path, OTHER).path)
    store = Store(tmp_path)
    assert [entry.key for entry in store.entries()] == [KEY]
    assert store.left_alone() == f"Left alone, not the cache's: kernel/{OTHER}."
    assert store.verify().checked == 1
    assert store.clear() == 1
    monkeypatch.undo()
    assert Store(tmp_path).get("kernel", OTHER) is not None


def test_a_file_that_may_not_be_read_hides_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is told of until it may be read."""
    fill(tmp_path)
    close(monkeypatch, Path, "read_bytes", fill(tmp_path, OTHER).path / META)
    store = Store(tmp_path)
    assert [entry.key for entry in store.entries()] == [KEY]
    told = f"kernel/{OTHER} cannot be used: it cannot be read (Permission denied). It cannot be moved and stays there."
    assert [str(incident) for incident in store.incidents()] == [told]
    for _ in range(2):
        report = store.verify()
        assert (report.checked, [str(incident) for incident in report.broken]) == (2, [told])
    with pytest.raises(StoreError, match="no permission"):
        store.get("kernel", OTHER)
    monkeypatch.undo()
    assert store.verify().ok
    assert store.incidents() == ()


@pytest.mark.parametrize("name", [".tmp", ".broken"])
def test_a_link_in_place_of_the_caches_own_folders(name, tmp_path):
    """A writer says so; nothing behind the link is swept, set aside or removed."""
    root, elsewhere = tmp_path / "cache", tmp_path / "elsewhere"
    os.truncate(fill(root).path / ARRAYS, 3)
    (elsewhere / f"host-1-{'0' * 8}").mkdir(parents=True)
    (elsewhere / f"{'0' * 20}-kernel-{KEY}" / "artifact").mkdir(parents=True)
    for folder in elsewhere.iterdir():
        os.utime(folder, (1e9, 1e9))
    if (root / name).exists():
        (root / name).rmdir()
    (root / name).symlink_to(elsewhere)
    before = listing(elsewhere)
    store = Store(root)
    assert store.get("kernel", KEY) is None
    assert "has 3 bytes" in store.incidents()[0].reason
    if name == ".tmp":
        with pytest.raises(StoreError, match=r"\.tmp is a link or a file, and a folder is needed"):
            fill(root, OTHER)
    store.clear_incidents()
    assert listing(elsewhere) == before
    assert (root / name).is_symlink()


def test_only_what_writers_name_so_is_swept_or_taken_for_set_aside(tmp_path):
    os.truncate(fill(tmp_path).path / ARRAYS, 3)
    assert Store(tmp_path).entries() == []
    for folder in (
        ".tmp/thesis",
        ".tmp/my-2024-notes",
        ".broken/photographs",
        f".broken/{'1' * 20}-holiday-{KEY}/artifact",
        f".broken/{'1' * 20}-kernel-{KEY}/artifact/holiday",
    ):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "beach.jpg").write_bytes(b"sand")
        os.utime(tmp_path / folder, (1e9, 1e9))
    (tmp_path / ".tmp" / f"host-1-{'0' * 8}").write_text("a file")
    (tmp_path / ".broken" / "list.txt").write_text("a file")
    before = listing(tmp_path)
    store = Store(tmp_path, max_bytes=1)
    assert len(store.incidents()) == 1
    assert store.clear() == 0
    fill(tmp_path, OTHER, max_bytes=1)
    after = listing(tmp_path)
    gone = {name for name in before if name not in after}
    assert all("beach" not in name and "list" not in name and "host" not in name for name in gone)
    assert gone  # what had been set aside
    assert {name: after[name] for name in before if name in after} == {n: w for n, w in before.items() if n not in gone}


# -- the cache's own -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ahead", [120, 1e6, 1e9], ids=["minutes", "days", "decades"])
def test_times_in_the_future_spare_nothing(ahead, tmp_path):
    then = time.time() + ahead
    os.utime(fill(tmp_path).path, (then, then))
    fill(tmp_path, OTHER, max_bytes=1)
    assert [entry.key for entry in Store(tmp_path).entries()] == [OTHER]


@pytest.mark.skipif(os.name != "posix", reason="needs a umask")
@pytest.mark.parametrize("umask", [0o022, 0o002, 0o077], ids=oct)
def test_both_files_have_the_permissions_of_the_umask(umask, tmp_path):
    before = os.umask(umask)
    try:
        folder = fill(tmp_path).path
    finally:
        os.umask(before)
    assert {stat.S_IMODE((folder / name).stat().st_mode) for name in (ARRAYS, META)} == {0o666 & ~umask}


ODD = [
    ("created", "yesterday"),
    ("created", float("nan")),
    ("created", float("inf")),
    ("created", -1.0),
    ("created", 1e300),
    ("created", 10**400),
    ("created", True),
    ("created", None),
    ("arrays", []),
    ("arrays", {"k": None}),
    ("arrays", {"k": {"dtype": "float64", "shape": 3}}),
    ("arrays", {"k": {"dtype": "float64", "shape": [3, -3]}}),
    ("arrays", {"k": {"dtype": "float64", "shape": [3, 3.0]}}),
    ("arrays", {"k": {"dtype": 8, "shape": [3, 3]}}),
    ("arrays", {"k": {"dtype": "float64", "shape": [10**400]}}),
    ("arrays", {"k": {"dtype": "float64", "shape": [9]}}),
    ("arrays", {"other": {"dtype": "float64", "shape": [3, 3]}}),
    ("arrays", {}),
    ("arrays_bytes", -144),
    ("arrays_bytes", "many"),
    ("arrays_sha256", 5),
    ("meta", ["a", "list"]),
    ("meta", "text"),
    ("meta", None),
    ("stage", 3),
    ("stage", ["kernel"]),
    ("key", {}),
    ("format", 2),
    ("format", None),
    ("format", [[]]),
    ("format", "one"),
]


def seal_anew(folder: Path, **fields: object) -> None:
    """Write other fields into an artifact's envelope and seal it again, as another version might have."""
    body = json.loads((folder / META).read_bytes())
    body.pop("sha256")
    (folder / META).write_bytes(_seal({**body, **fields}))


@pytest.mark.parametrize(("field", "value"), ODD, ids=lambda value: str(value)[:30])
def test_odd_envelopes_are_damage_in_words(field, value, tmp_path):
    seal_anew(fill(tmp_path).path, **{field: value})
    store = Store(tmp_path)
    listed = store.entries()
    if listed and value:  # what only the arrays file can contradict
        with pytest.raises(StoreError, match="tells of other arrays"):
            list(listed[0].arrays.values())
    assert store.get("kernel", KEY) is None
    (incident,) = store.incidents()
    assert len(str(incident)) < 400
    assert fill(tmp_path).arrays["k"].sum() == 3


@pytest.mark.parametrize("field", sorted({field for field, _ in ODD}))
def test_an_envelope_without_a_field_is_damage_in_words(field, tmp_path):
    folder = fill(tmp_path).path
    body = json.loads((folder / META).read_bytes())
    del body["sha256"], body[field]
    (folder / META).write_bytes(_seal(body))
    assert Store(tmp_path).get("kernel", KEY) is None
    assert len(Store(tmp_path).incidents()) == 1


@pytest.mark.parametrize(
    "raw", [b"", b"[]", b"3", b"null", b"[" * 100_000, b'{"a":' * 50_000, b"9" * 10_000, b"\xff\xfe", b'{"sha256": {}}']
)
def test_envelopes_that_are_none(raw, tmp_path):
    (fill(tmp_path).path / META).write_bytes(raw)
    assert Store(tmp_path).entries() == []
    assert len(Store(tmp_path).incidents()) == 1


@pytest.mark.parametrize(
    ("meta", "words", "seconds"),
    [
        ({"words": "a kernel", "seconds": 2}, "a kernel", 2.0),
        ({"words": ["a", "list"], "seconds": "long"}, "", float("nan")),
        ({"words": None, "seconds": None}, "", float("nan")),
        ({"words": "two\nlines\x1b[31m" + "x" * 1000, "seconds": float("inf")}, None, float("nan")),
        ({"words": 3, "seconds": -1.0}, "", float("nan")),
        ({"seconds": 10**4000}, "", float("nan")),
        ({"seconds": True}, "", float("nan")),
        ({}, "", float("nan")),
    ],
    ids=lambda value: str(value)[:30],
)
def test_odd_meta_are_read_as_words_and_seconds(meta, words, seconds, tmp_path):
    seal_anew(fill(tmp_path).path, meta=meta)
    (entry,) = Store(tmp_path).entries()
    np.testing.assert_equal(entry.seconds, seconds)
    assert len(entry.words) <= 300
    assert entry.words.isprintable()
    assert words is None or entry.words == words


@pytest.mark.parametrize(
    "record",
    [b"", b"[1]", b'{"reason": 5}', b'{"when": "then"}', b"[" * 100_000, b'{"reason": "' + b"x" * 10_000 + b'"}'],
    ids=lambda record: str(record)[:20],
)
def test_a_damaged_record_of_an_incident(record, tmp_path):
    os.truncate(fill(tmp_path).path / ARRAYS, 3)
    assert Store(tmp_path).entries() == []
    (incident,) = Store(tmp_path).incidents()
    (Path(incident.path) / "incident.json").write_bytes(record)
    (again,) = Store(tmp_path).incidents()
    assert (again.stage, again.key, again.when) == (incident.stage, incident.key, incident.when)
    assert len(str(again)) < 500
    Store(tmp_path).clear_incidents()
    assert Store(tmp_path).incidents() == ()


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b'{"rates": 3}', "rate as text", "negative rate", "no number"], ids=str
)
def test_damaged_rates_are_measured_again(content, tmp_path, monkeypatch):
    monkeypatch.setattr(rates, "ROUNDS", 1)
    monkeypatch.setattr(rates, "SECONDS", 0.001)
    file = tmp_path / "calibration.json"
    kept = json.loads(json.dumps(vars(calibrate(tmp_path))))
    whole = json.loads(file.read_text())
    change = {"rate as text": "fast", "negative rate": -1.0, "no number": float("nan")}
    if isinstance(content, str):
        content = json.dumps(whole | {"rates": kept | {"eigh": change[content]}}).encode()
    file.write_bytes(content)
    assert all(0 < rate < 1 for rate in vars(calibrate(tmp_path)).values())
    assert json.loads(file.read_text())["rates"].keys() == kept.keys()
    assert sorted(os.listdir(tmp_path)) == [".tmp", "calibration.json"]


@pytest.mark.parametrize("step", ["evicted", "set aside"])
def test_what_is_put_there_while_it_is_moved_is_kept_though_its_place_is_taken(tmp_path, monkeypatch, step):
    """Somebody's notes, and another process that stores the result anew, both in the very moment of the move."""
    store, rename = Store(tmp_path), os.rename
    folder = fill(tmp_path).path
    if step == "set aside":
        (folder / ARRAYS).write_bytes(b"damaged")

    def meanwhile(old: Path, new: Path) -> None:
        rename(old, new)
        if Path(old) == folder:
            monkeypatch.setattr(os, "rename", rename)
            (Path(new) / "notes.txt").write_text("Dear")
            fill(tmp_path)

    monkeypatch.setattr(os, "rename", meanwhile)
    if step == "evicted":
        assert store.clear() == 0
    else:
        assert store.get("kernel", KEY) is None
    assert Store(tmp_path).get("kernel", KEY).arrays["k"].trace() == 3
    (notes,) = tmp_path.rglob("notes.txt")
    assert notes.relative_to(tmp_path).parts[0] == ".broken"
    Store(tmp_path).clear()
    assert notes.read_text() == "Dear"
    assert notes.parent.name in Store(tmp_path).left_alone()
