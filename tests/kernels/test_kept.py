"""Compiled loops kept on disk: taken up when they are what was written, made again when not, never in the way; and
compiled in the background: what that covers, when it has nothing to do, and that it ends with the app."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numba
import numpy as np
import pytest

import ntkcore
from ntkcore.kernels.loops import disk_cache, vectors
from ntkcore.runs.warm_up import PACKAGE, kept
from ntkcore.writing import held

RESULT = np.arange(5.0) * 3


def thrice(x, out):
    for i in range(len(x)):
        out[i] = 3 * x[i]


def taken_up() -> bool:
    """Compile the loop, or take it up from the disk, and run it: which of the two it was."""
    loop, out = vectors.compiled(thrice), np.empty(5)
    loop(np.arange(5.0), out)
    assert np.array_equal(out, RESULT)
    return sum(loop.stats.cache_hits.values()) == 1


def from_a_file(folder: Path, monkeypatch) -> Path:
    """Have the loop come from a file of its own."""
    source, scope = folder / "package" / "loop.py", {}
    source.parent.mkdir()
    source.write_text("def thrice(x, out):\n    for i in range(len(x)):\n        out[i] = 3 * x[i]\n")
    exec(compile(source.read_text(), source, "exec"), scope)
    monkeypatch.setitem(globals(), "thrice", scope["thrice"])
    return source


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """A folder of kept loops that holds this one."""
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path))
    assert not taken_up()
    assert taken_up()
    (file,) = tmp_path.rglob("*.*")
    assert file.name.startswith("test_kept.thrice-")
    return file.parent


def the_file(folder: Path) -> Path:
    (file,) = folder.iterdir()
    return file


def rewritten(change):
    """A damage: what is kept is written over with what ``change`` makes of it."""

    def damage(file: Path) -> None:
        file.write_bytes(change(file.read_bytes()))

    return damage


DAMAGE = {
    "removed": Path.unlink,
    "no length": rewritten(lambda kept: b""),
    "cut short in the mark": rewritten(lambda kept: kept[:5]),
    "cut short in the seal": rewritten(lambda kept: kept[:20]),
    "cut short": rewritten(lambda kept: kept[: len(kept) // 2]),
    "its last byte": rewritten(lambda kept: kept[:-1]),
    "more at its end": rewritten(lambda kept: kept + b"\0"),
    "zeros": rewritten(lambda kept: bytes(len(kept))),
    "a bit of the mark": rewritten(lambda kept: b"N" + kept[1:]),
    "a bit of the code": rewritten(lambda kept: kept[:9000] + bytes([kept[9000] ^ 1]) + kept[9001:]),
    "twice": rewritten(lambda kept: kept * 2),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_is_made_again(folder, damage):
    DAMAGE[damage](the_file(folder))
    assert not taken_up()
    assert taken_up()  # healed
    assert len(list(folder.iterdir())) == 1


def test_every_bit_counts(folder):
    """Whichever bit of the file is turned, it is not taken up."""
    file, whole = the_file(folder), the_file(folder).read_bytes()
    loop = vectors.compiled(thrice)
    loop(np.arange(5.0), np.empty(5))
    (types,), target = loop.signatures, loop.targetctx
    draw = np.random.default_rng(0)
    for bit in [*range(8 * 60), *draw.integers(0, 8 * len(whole), 300)]:
        file.write_bytes(whole[: bit // 8] + bytes([whole[bit // 8] ^ 1 << bit % 8]) + whole[bit // 8 + 1 :])
        assert loop._cache.load_overload(types, target) is None, bit
    file.write_bytes(whole)
    assert loop._cache.load_overload(types, target) is not None


def test_a_pickle_that_is_damaged_is_never_read(folder, monkeypatch):
    read = []
    monkeypatch.setattr(disk_cache, "loads", lambda content: read.append(content))
    DAMAGE["a bit of the code"](the_file(folder))
    assert not taken_up()
    assert read == []


def test_another_loops_file_is_not_taken_up(folder):
    """One that is whole, under a name that is not its own."""
    file, loop = the_file(folder), vectors.compiled(thrice)
    loop(np.arange(5.0, dtype=np.float32), np.empty(5))
    (other,) = (path for path in folder.iterdir() if path != file)
    other.replace(file)
    assert not taken_up()


@pytest.mark.parametrize("what", ["sources", "versions"])
def test_what_was_compiled_from_something_else_is_not_taken_up(folder, monkeypatch, what):
    monkeypatch.setattr(*{"sources": (vectors, "SOURCES"), "versions": (disk_cache, "VERSIONS")}[what], "others")
    assert not taken_up()
    assert taken_up()
    monkeypatch.undo()


def test_a_change_of_its_own_file_counts(tmp_path, monkeypatch):
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path / "kept"))
    source = from_a_file(tmp_path, monkeypatch)
    assert [taken_up(), taken_up()] == [False, True]
    source.write_text(source.read_text() + "# changed")
    assert [taken_up(), taken_up()] == [False, True]


def test_other_types_are_another_file(folder):
    loop = vectors.compiled(thrice)
    loop(np.arange(5.0)[::-1], np.empty(5))
    assert not loop.stats.cache_hits
    assert taken_up()
    assert len(list(folder.iterdir())) == 2


def test_another_processor_has_its_own_file(folder, monkeypatch):
    loop = vectors.compiled(thrice)
    here = loop._cache._file((numba.float64,), loop.targetctx.codegen())
    monkeypatch.setattr(type(loop.targetctx.codegen()), "magic_tuple", lambda self: ("another", "processor"))
    assert loop._cache._file((numba.float64,), loop.targetctx.codegen()) != here


@pytest.mark.parametrize("place", ["a file", "below a file", "no folder"])
def test_no_folder_to_keep_it_in_costs_only_time(tmp_path, monkeypatch, place):
    (tmp_path / "file").touch()
    places = {
        "a file": tmp_path / "file",
        "below a file": tmp_path / "file" / "below",
        "no folder": Path("/proc/no"),
    }
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(places[place]))
    assert not taken_up()
    assert not taken_up()
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_kept_in_the_users_cache_where_the_sources_cannot_be_written(tmp_path, monkeypatch):
    """As numba does it: beside the sources first; read from wherever it lies."""
    monkeypatch.setattr(numba.config, "CACHE_DIR", "")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "user"))
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "user"))
    monkeypatch.setenv("HOME", str(tmp_path))
    source = from_a_file(tmp_path, monkeypatch)
    (source.parent / "__pycache__").touch()  # as good as read-only, also for root
    assert [taken_up(), taken_up()] == [False, True]
    assert len(list(tmp_path.glob("**/ntkcore/loops/*/*.loop"))) == 1
    (source.parent / "__pycache__").unlink()
    assert taken_up()
    assert not (source.parent / "__pycache__").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="limits of a process")
def test_no_room_costs_only_time(tmp_path):
    program = (
        "import resource, sys\n"
        "from tests.kernels.test_kept import taken_up\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n"
        "sys.exit(taken_up())"
    )
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path), "PYTHONPATH": str(Path(__file__).parents[2])}
    subprocess.run([sys.executable, "-B", "-c", program], env=environment, check=True)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_what_a_killed_process_left_is_taken_over(folder):
    file = the_file(folder)
    part = file.with_name(f".{file.name}.part")
    part.write_bytes(file.read_bytes()[:1000])
    file.unlink()
    assert not taken_up()
    assert list(folder.iterdir()) == [file]


def test_one_of_two_that_compile_at_once_keeps_it(folder):
    """The other one goes on without."""
    file = the_file(folder)
    file.unlink()
    part = file.with_name(f".{file.name}.part")
    with held(part):
        assert not taken_up()
        assert list(folder.iterdir()) == [part]
    assert not taken_up()
    assert list(folder.iterdir()) == [file]


def test_every_module_whose_loops_others_use_is_among_the_sources():
    """Else a change of one that is inlined elsewhere would leave what was compiled before it."""
    house = Path(ntkcore.__file__).parent
    texts = {path: path.read_text() for path in house.rglob("*.py")}
    loops = {path: text for path, text in texts.items() if "@compiled" in text or "@inlined" in text}
    assert len(loops) > 5
    used = {
        house.parent.joinpath(*name.split(".")).with_suffix(".py")
        for text in loops.values()
        for name in re.findall(r"^from (ntkcore\S+) import", text, re.MULTILINE)
    }
    assert len(used & loops.keys()) > 1
    assert used & loops.keys() <= set(vectors.FILES)


# -- in the background, from the start of the app ------------------------------------------------------------------

LEFT = """
import sys
import tempfile

from ntkcore.runs.warm_up import compile_all

with tempfile.TemporaryDirectory() as folder:
    compile_all(folder)
for name, module in sorted(sys.modules.items()):
    for loop in vars(module).values() if name.startswith("ntkcore.") else ():
        if hasattr(loop, "nopython_signatures") and loop.__module__ == name and name.endswith("_loops"):
            if not (loop.signatures or loop.__name__.startswith("_") or loop.targetoptions.get("inline")):
                print(name, loop.__name__)
"""


def test_every_loop_is_compiled_for_some_numbers() -> None:
    """In a process of its own, in which nothing else has been computed."""
    done = subprocess.run([sys.executable, "-c", LEFT], capture_output=True, text=True, check=True, cwd=PACKAGE.parent)
    assert done.stdout == ""


def test_loops_are_kept_when_each_file_has_one_that_is_younger(tmp_path: Path) -> None:
    sources = [tmp_path / "one_loops.py", tmp_path / "in" / "two_loops.py", tmp_path / "kernels" / "loops" / "all.py"]
    for number, source in enumerate(sources):
        source.parent.mkdir(parents=True, exist_ok=True)
        source.touch()
        os.utime(source, (number, number))
    assert not kept(tmp_path)
    for source in sources[:2]:
        loop = source.parent / "__pycache__" / f"{source.stem}.entries-0.cpython-311.loop"
        loop.parent.mkdir()
        loop.touch()
    assert kept(tmp_path)
    os.utime(loop, (1, 1))
    assert not kept(tmp_path)


def test_where_nothing_can_be_written_none_can_be_kept(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(disk_cache, "_folders", lambda source: [tmp_path / "made"])
    assert disk_cache.can_keep(tmp_path / "one_loops.py")
    (tmp_path / "file").touch()
    monkeypatch.setattr(disk_cache, "_folders", lambda source: [tmp_path / "file" / "below"])
    assert not disk_cache.can_keep(tmp_path / "one_loops.py")


def test_it_ends_with_the_app() -> None:
    """Which holds the other end of its stdin: closed, it ends at once, whatever it is doing."""
    command = [sys.executable, "-m", "ntkcore.runs.warm_up"]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, cwd=PACKAGE.parent, timeout=60)
    assert done.returncode == 1
