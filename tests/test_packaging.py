"""The library as it is installed: what it declares, what its wheel holds, and that the wheel works where it is put.

Nothing here needs a network: the wheel is built with the setuptools of this environment, and the environment it is
installed into borrows this one's packages through a ``.pth`` file. The checkout is not among them: it is on the path of
the tests alone (``pythonpath`` in pyproject.toml).
"""

import email
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import ntkcore as ntk
from ntkcore.runs.store import default_root, places
from tests.test_house import DISTRIBUTIONS, ROOT, WITH_TORCH, imported_roots

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
OPTIONAL = ("torchvision", "plotly", "pandas", "streamlit", "pyautoattack", "foolbox", "distributed")
SOURCES = ("pyproject.toml", "README.md", "LICENSE", "ntkcore")
SETTINGS = ("NTK_", "PYTHON", "XDG_")


def declared(*extras: str) -> dict[str, Requirement]:
    """The requirements of the library and of some extras, by the name of the distribution."""
    lines = [*PROJECT["dependencies"], *(line for name in extras for line in PROJECT["optional-dependencies"][name])]
    found = [Requirement(line) for line in lines]
    return {one.name: one for one in found if one.name != PROJECT["name"]}


# -- what it declares ----------------------------------------------------------------------------------------------


def test_every_import_is_declared():
    roots = {name for path in (ROOT / "ntkcore").rglob("*.py") for name in imported_roots(path.read_text("utf-8"))}
    needed = roots - {"ntkcore"} - WITH_TORCH - sys.stdlib_module_names
    assert {DISTRIBUTIONS.get(name, name) for name in needed} <= set(declared("data", "figures", "attacks", "many"))


def test_the_pins_are_what_the_bounds_allow():
    pins = [Requirement(line.partition("#")[0]) for name in ("requirements.txt", "requirements-dev.txt")
            for line in (ROOT / name).read_text("utf-8").splitlines() if "==" in line]  # fmt: skip
    pinned = {pin.name.lower(): str(pin.specifier).removeprefix("==") for pin in pins}
    for name, requirement in declared(*PROJECT["optional-dependencies"]).items():
        assert requirement.specifier.contains(pinned[name]), name


def test_the_core_needs_no_extra():
    """Each public name and the command line, where none of the extras can be imported; what needs one says so."""
    code = f"""
import sys
sys.modules |= dict.fromkeys({OPTIONAL})
import ntkcore as ntk
for name in ntk.__all__:
    getattr(ntk, name)
import ntkcore.cli
from ntkcore.architectures import build
from ntkcore.data import vision
for asked in (lambda: build("resnet18", (3, 8, 8)), lambda: vision.archives("svhn")):
    try:
        asked()
    except ntk.NTKError as error:
        print(error)
"""
    made = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    missing = "needs torchvision, which is not installed: pip install torchvision."
    assert made.stdout.splitlines() == [f"ResNet-18 {missing}", f"Street View House Numbers {missing}"]


def test_results_of_an_installed_library_go_to_the_users_cache(monkeypatch, tmp_path):
    monkeypatch.delenv("NTK_CACHE")
    assert default_root() == ROOT / "cache"
    packages = tmp_path / "site-packages"
    monkeypatch.setattr(places, "__file__", str(packages / "ntkcore" / "runs" / "store" / "store.py"))
    monkeypatch.setattr(places, "user_cache", lambda: tmp_path / "of-the-user")
    packages.mkdir()
    (packages / "app.py").touch()  # somebody else's
    assert default_root() == tmp_path / "of-the-user" / "results"


# -- the wheel -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """The wheel of this checkout, built from a copy of the sources."""
    top = tmp_path_factory.mktemp("wheel")
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, top / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, top)
    code = "from setuptools import build_meta; print(build_meta.build_wheel('.'))"
    subprocess.run([sys.executable, "-c", code], cwd=top, capture_output=True, text=True, check=True)
    (made,) = top.glob("*.whl")
    return made


def test_the_wheel_holds_the_library_and_nothing_else(wheel):
    ours = {path.relative_to(ROOT).as_posix() for path in (ROOT / "ntkcore").rglob("*") if path.is_file()}
    ours = {name for name in ours if "__pycache__" not in name}
    with zipfile.ZipFile(wheel) as archive:
        info = f"{PROJECT['name']}-{ntk.__version__}.dist-info"
        names = [name for name in archive.namelist() if not name.endswith("/")]
        metadata = email.message_from_bytes(archive.read(f"{info}/METADATA"))
        scripts = archive.read(f"{info}/entry_points.txt").decode()
    assert ours == {name for name in names if not name.startswith(info)}
    assert {"ntkcore/py.typed", "ntkcore/data/fashion_mnist_sample.npz", "ntkcore/data/FASHION-MNIST-LICENSE"} <= ours
    licences = {"LICENSE", "ntkcore/data/FASHION-MNIST-LICENSE"}
    assert {f"{info}/licenses/{name}" for name in licences} <= set(names)
    assert metadata["License-Expression"] == "MIT"
    assert set(metadata.get_all("Provides-Extra")) == {"data", "figures", "app", "attacks", "many", "dev"}
    assert "ntkcore = ntkcore.__main__:run" in scripts


PROGRAM = """
import json
import ntkcore as ntk
task = ntk.load(ntk.DataSpec(n_train=30, n_test=10, size=7))
kernel = ntk.kernel_fn(ntk.fc(1))(task.x_train)
print(json.dumps({"file": ntk.__file__, "x": task.x_test.tolist(), "kernel": kernel.tolist()}))
"""


@pytest.mark.slow
def test_the_wheel_works_from_another_folder(wheel, tmp_path):
    """Installed without its dependencies, which are borrowed, into a new environment: as a library and as a command."""
    home, elsewhere, place = tmp_path / "home", tmp_path / "elsewhere", tmp_path / "env"
    home.mkdir()
    elsewhere.mkdir()
    venv.create(place, symlinks=os.name != "nt")
    scheme = {"base": str(place), "platbase": str(place)}
    packages, scripts = (Path(sysconfig.get_path(name, "venv", scheme)) for name in ("purelib", "scripts"))
    borrowed = dict.fromkeys(sysconfig.get_path(name) for name in ("purelib", "platlib"))
    (packages / "borrowed.pth").write_text("\n".join(borrowed))
    python = scripts / Path(sys.executable).name

    def run(*command: object) -> str:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(SETTINGS)}
        homes = {"HOME": str(home), "USERPROFILE": str(home), "LOCALAPPDATA": str(home)}
        made = subprocess.run(
            list(map(str, command)), cwd=elsewhere, env=kept | homes, capture_output=True, text=True, check=False
        )
        assert (made.returncode, made.stderr) == (0, "")
        return made.stdout

    install = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-deps", "--no-index", wheel]
    subprocess.run([*map(str, install), "--disable-pip-version-check"], check=True)
    installed = {path for path in (packages / "ntkcore").rglob("*") if "__pycache__" not in path.parts}

    found = json.loads(run(python, "-c", PROGRAM))
    task = ntk.load(ntk.DataSpec(n_train=30, n_test=10, size=7))
    assert Path(found["file"]).parent == packages / "ntkcore"
    assert found["x"] == task.x_test.tolist()
    assert found["kernel"] == ntk.kernel_fn(ntk.fc(1))(task.x_train).tolist()

    command = scripts / "ntkcore"
    assert run(command, "--help").startswith("usage: ntkcore ")
    *_, last = run(command, "run", "--preset", "toy").splitlines()
    assert last.startswith("clean accuracy ")
    listed = run(command, "cache", "ls").splitlines()
    assert {line.split()[0] for line in listed[:-1]} == {"kernel", "spectrum", "predict", "sweep", "curves"}
    assert Path(listed[-1].partition(" MB in ")[2]).is_relative_to(home)
    assert list(elsewhere.iterdir()) == []
    assert {path for path in (packages / "ntkcore").rglob("*") if "__pycache__" not in path.parts} == installed
