"""Files written by one process at a time, and whole or not at all."""

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ntkcore import writing
from ntkcore.errors import NTKError
from ntkcore.writing import Taken, held, refused_in_words, replacing

ROOT = Path(__file__).parents[1]
HOLDER = """
import sys, time
from pathlib import Path
from ntkcore.writing import replacing
with replacing(Path(sys.argv[1]), b"PK") as file:
    file.write(b"PK half")
    file.flush()
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def holder(tmp_path):
    """A process that is writing ``k.npz``."""
    process = subprocess.Popen([sys.executable, "-c", HOLDER, tmp_path / "k.npz"], cwd=ROOT, stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"held\n"
    yield process
    process.kill()
    process.communicate()


def write(path: Path, content: bytes) -> None:
    with replacing(path, b"PK") as file:
        file.write(content)


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_it_appears_when_it_is_whole(tmp_path):
    path = tmp_path / "k.npz"
    for content in (b"PK one", b"PK 2"):
        with replacing(path, b"PK") as file:
            file.write(content)
            assert not path.exists() or path.read_bytes() == b"PK one"
        assert path.read_bytes() == content
    assert names(tmp_path) == {"k.npz"}


def test_an_error_leaves_what_was_there(tmp_path):
    path = tmp_path / "k.npz"
    write(path, b"PK old")
    with pytest.raises(TypeError), replacing(path, b"PK") as file:
        file.writelines([b"PK new", None])
    assert path.read_bytes() == b"PK old"
    assert names(tmp_path) == {"k.npz"}


def test_the_second_writer_is_refused_at_once(tmp_path, holder):
    with pytest.raises(Taken, match="is being written by another process"):
        write(tmp_path / "k.npz", b"PK mine")
    write(tmp_path / "other.npz", b"PK mine")


def test_a_killed_writer_holds_nothing(tmp_path, holder):
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert names(tmp_path) == {".k.npz.part"}
    write(tmp_path / "k.npz", b"PK mine")
    assert names(tmp_path) == {"k.npz"}
    assert (tmp_path / "k.npz").read_bytes() == b"PK mine"


@pytest.mark.parametrize("kind", ["text", "folder", "link"])
def test_what_is_not_ours_stays(tmp_path, kind):
    part, target = tmp_path / ".k.npz.part", tmp_path / "target"
    target.write_bytes(b"mine")
    {"text": lambda: part.write_bytes(b"mine"), "folder": part.mkdir, "link": lambda: part.symlink_to(target)}[kind]()
    with pytest.raises(NTKError, match=r"\.k\.npz\.part is in the way"):
        write(tmp_path / "k.npz", b"PK")
    assert names(tmp_path) == {".k.npz.part", "target"}
    assert target.read_bytes() == b"mine"
    assert kind == "folder" or part.read_bytes() == b"mine"


@pytest.mark.skipif(sys.platform == "win32", reason="open files are not renamed there")
def test_a_lock_on_a_file_that_was_renamed_meanwhile_is_none(tmp_path, monkeypatch):
    """Between opening and locking, the one who had it gave it its name: another file is the unfinished one now."""
    part, lock, opened = tmp_path / "part", writing._lock, []

    def late(file: int) -> None:
        if not opened:
            part.rename(tmp_path / "whole")
        opened.append(file)
        lock(file)

    monkeypatch.setattr(writing, "_lock", late)
    part.write_bytes(b"whole")
    with held(part) as file:
        file.write(b"another")
    assert len(opened) == 2
    assert (tmp_path / "whole").read_bytes() == b"whole"


@pytest.mark.parametrize(
    ("code", "words"),
    [
        pytest.param(errno.ENOSPC, "the disk is full", id="full"),
        pytest.param(errno.EDQUOT, "the disk is full", id="quota"),
        pytest.param(errno.EROFS, "no permission to write there", id="read-only"),
        pytest.param(errno.ENOLCK, "has no locks", id="no locks"),
        pytest.param(errno.EIO, os.strerror(errno.EIO), id="others"),
    ],
)
def test_what_the_disk_says_in_words(code, words):
    refusing = refused_in_words(Path("/x" * 2000 + ".npz"), "Choose another.")
    with pytest.raises(NTKError, match=f"^Cannot write .*x.npz: .*{words}.* Choose another.$") as error, refusing:
        raise OSError(code, os.strerror(code))
    assert len(str(error.value)) <= 500
