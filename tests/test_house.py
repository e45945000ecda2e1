"""The rules of the house, read from the sources: who imports whom, what pages leave to others, what is pinned.

Each rule is a function from a source to the sentences it objects with, so that the rules themselves are tested
on small made-up sources first. Sources are parsed, not imported: an import inside a function counts like any
other.
"""

import ast
import re
import sys
import tomllib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath

import pytest

from ntkcore.runs.stages import STAGES
from pages.ui.views import VIEWS

ROOT = Path(__file__).resolve().parent.parent

# Lowest first. A module may import from its own line and from those above it here, never from below.
LAYERS = (
    "errors",
    "version",
    "validation",
    "checks",
    "modes",
    "looking",
    "writing",
    "data",
    "covariance",
    "affine",
    "nets",
    "architectures",
    "kernels",
    "training",
    "analysis",
    "readings",
    "figures",
    "runs",
    "cli",
    "__main__",
)
FACADE = "ntkcore"  # the package itself: its __init__ gathers the public names, nothing below the cli uses it
UNPICKLERS = {"pickle", "cPickle", "_pickle", "cloudpickle", "dill", "joblib", "shelve", "marshal"}
NOT_FOR_PAGES = {
    "torch",
    "torchvision",
    "scipy",
    "threading",
    "multiprocessing",
    "concurrent",
    "subprocess",
    "asyncio",
}
PIN = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]*==[0-9][A-Za-z0-9.+!]*(\s*;\s*\S.*)?$")
DISTRIBUTIONS = {"PIL": "pillow"}  # where the name to import is not the name to install
WITH_TORCH = {"triton"}  # where there is CUDA; imported where it is there
WHEN_ASKED_FOR = {"distributed"}  # by an option; an extra, and pinned for the tests
CAPABILITIES = {"prepare", "images", "bytes_per_pair", "matrix", "frozen", "pair_gradients", "combine"}  # of kernels
MOST_LINES, MOST_PAGE_LINES, MOST_APP_LINES = 400, 200, 80
MOST_FILES = 16  # of Python in a folder


# ----------------------------------------------------------------------------------------------- the rules


def imports(tree: ast.AST, module: str, package: bool = False) -> Iterator[tuple[int, str]]:
    """(line, dotted name) of every import below ``tree``, relative ones resolved against ``module``.

    ``from a.b import c`` gives ``a.b.c``: c may be a module. ``package`` says that ``module`` is an __init__.
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = module.split(".")
            parts = above[: len(above) - node.level + package] if node.level else []
            base = ".".join(parts + ([node.module] if node.module else []))
            yield from ((node.lineno, f"{base}.{alias.name}") for alias in node.names)


def layer(dotted: str) -> str | None:
    """``ntkcore.runs.store.Store`` -> ``runs``; the facade for the package's own names; None elsewhere."""
    parts = dotted.split(".")
    if parts[0] != FACADE:
        return None
    return parts[1] if len(parts) > 1 and parts[1] in LAYERS else FACADE


def upward_imports(module: str, source: str, package: bool = False) -> list[str]:
    """Imports of ``module`` (dotted) that go up the house, and modules that have no place in it."""
    own = layer(module)
    if module == FACADE:
        return []
    if own == FACADE:
        return [f"{module} has no place in the house: give its name a line in LAYERS"]
    found = []
    for line, name in imports(ast.parse(source), module, package):
        other = layer(name)
        if other == FACADE:
            allowed = own in ("cli", "__main__")
        else:
            allowed = other is None or LAYERS.index(other) <= LAYERS.index(own)
        if not allowed:
            found.append(f"{module}:{line} imports {name}: {own} stands below {other}")
    return found


def imported_roots(source: str, module: str = "page") -> dict[str, int]:
    """Top-level names a source imports absolutely, each with its first line."""
    roots: dict[str, int] = {}
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.level:
            continue
        if isinstance(node, ast.Import | ast.ImportFrom):
            for line, name in imports(ast.Module([node], []), module):
                roots.setdefault(name.split(".")[0], line)
    return roots


def watches(module: str, source: str) -> list[str]:
    """The core never learns who watches: no Streamlit, and nothing of the app."""
    roots = imported_roots(source, module)
    return [
        f"{module}:{roots[name]} imports {name}" for name in ("streamlit", "pages", "app", "tests") if name in roots
    ]


def unpickles(module: str, source: str) -> list[str]:
    """Ways to run code that hides in a file: pickle and its kin, torch.load, allow_pickle."""
    tree = ast.parse(source)
    roots = imported_roots(source, module)
    found = [f"{module}:{roots[name]} imports {name}" for name in sorted(UNPICKLERS & roots.keys())]
    for line, name in imports(tree, module):
        if name in ("torch.load", "torch.save"):
            found.append(f"{module}:{line} imports {name}")
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and ast.unparse(node) in ("torch.load", "torch.save"):
            found.append(f"{module}:{node.lineno} uses {ast.unparse(node)}")
        if isinstance(node, ast.keyword) and node.arg == "allow_pickle" and ast.unparse(node.value) != "False":
            found.append(f"{module}:{node.value.lineno} allows pickle")
    return found


def guesses_capabilities(module: str, source: str) -> list[str]:
    """What a kernel can do beyond a call is a protocol (``ntkcore.kernels.protocols``), not looked for by its name."""
    return [
        f"{module}:{node.lineno} looks for {ast.unparse(node.args[1])} by name"
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Call)
        and ast.unparse(node.func) in ("hasattr", "getattr")
        and len(node.args) > 1
        and isinstance(node.args[1], ast.Constant)
        and node.args[1].value in CAPABILITIES
    ]


def page_does_too_much(page: str, source: str) -> list[str]:
    """Maths, threads or caching in a page: they belong into ntkcore, the worker and pages/ui."""
    tree = ast.parse(source)
    roots = imported_roots(source, page)
    found = [f"{page}:{roots[name]} imports {name}" for name in sorted(NOT_FOR_PAGES & roots.keys())]
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr in ("cache_data", "cache_resource"):
            found.append(f"{page}:{node.lineno} caches; pages/ui does that")
        if isinstance(node, ast.Attribute) and node.attr == "linalg":
            found.append(f"{page}:{node.lineno} does linear algebra")
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.MatMult):
            found.append(f"{page}:{node.lineno} multiplies matrices")
    for line, name in imports(tree, page):
        if name.startswith("streamlit.cache_"):
            found.append(f"{page}:{line} caches; pages/ui does that")
        if name.startswith("numpy.linalg"):
            found.append(f"{page}:{line} does linear algebra")
    return found


def asks_for_a_stage(module: str, source: str, stages: Mapping[str, str]) -> list[str]:
    """``isinstance`` on a stage's class outside the file of that class: what differs by stage belongs to the stage.

    stages: the module of each stage's class by its name.
    """
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("isinstance", "issubclass"):
            named = {name.split(".")[-1] for name in re.findall(r"[\w.]+", ast.unparse(node.args[1]))}
            found += [
                f"{module}:{node.lineno} asks for {name}" for name in named & stages.keys() if stages[name] != module
            ]
    return found


def circles(imported: Mapping[str, set[str]]) -> list[set[str]]:
    """Groups of modules that import one another, at the top of their sources, round in a circle."""
    reached = {module: set(others) for module, others in imported.items()}
    for between in imported:
        for module in imported:
            if between in reached[module]:
                reached[module] |= reached[between]
    groups = [{other for other in reached[m] if m in reached.get(other, ())} | {m} for m in imported if m in reached[m]]
    return [group for i, group in enumerate(groups) if group not in groups[:i]]


def top_imports(tree: ast.Module, module: str, package: bool = False) -> set[str]:
    """What a source imports when it is loaded, but for type checkers."""
    at_top = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    return {name for _, name in imports(ast.Module(at_top, []), module, package)}


def crowded(paths: Iterable[PurePosixPath]) -> list[str]:
    """Folders with so many Python files that they ask for rooms."""
    counts = Counter(path.parent.as_posix() for path in paths if path.suffix == ".py")
    return [f"{folder} has {count} files" for folder, count in counts.items() if count > MOST_FILES]


def has_docstring(source: str) -> bool:
    """Whether a module opens with a docstring that says something."""
    return bool((ast.get_docstring(ast.parse(source)) or "").strip())


def loose_pins(text: str) -> list[str]:
    """Lines of a requirements file that are neither exact pins, comments nor ``-r`` of another file."""
    lines = [line.split(" #")[0].strip() for line in text.splitlines()]
    lines = [line for line in lines if line and not line.startswith("#")]
    return [line for line in lines if not PIN.match(line) and not re.match(r"^-r \S+\.txt$", line)]


def pinned(text: str) -> set[str]:
    """The distributions a requirements file pins, in lower case with dashes."""
    names = (line.split("==")[0].strip() for line in text.splitlines() if "==" in line and line[0] != "#")
    return {name.lower().replace("_", "-") for name in names}


def open_settings(text: str) -> list[str]:
    """What in a Streamlit config.toml talks to the network or shows users a traceback."""
    settings = tomllib.loads(text)
    server, found = settings.get("server", {}), []
    if server.get("address") not in ("127.0.0.1", "::1", "localhost"):
        found.append("server.address is not the loopback address")
    if settings.get("browser", {}).get("gatherUsageStats") is not False:
        found.append("browser.gatherUsageStats is not off")
    if settings.get("client", {}).get("showErrorDetails") != "none":
        found.append("client.showErrorDetails is not none")
    if server.get("enableAgentApi"):
        found.append("server.enableAgentApi is on")
    if server.get("enableXsrfProtection") is False or server.get("enableCORS") is False:
        found.append("a protection of the server is off")
    return found + [f"{line.strip()}: fetched from the network" for line in text.splitlines() if "://" in line]


# ------------------------------------------------------------------------------- the rules, tested themselves


@pytest.mark.parametrize(
    ("module", "source", "objections"),
    [
        pytest.param("ntkcore.runs.stages", "from ntkcore.kernels import tiled", 0, id="down"),
        pytest.param("ntkcore.kernels.blocks", "from ntkcore.runs.store import Store", 1, id="up"),
        pytest.param("ntkcore.nets", "import ntkcore.kernels.infinite as inf", 1, id="up-plain-import"),
        pytest.param(
            "ntkcore.kernels.loops", "from ntkcore.analysis.features import fgsm_expansion", 1, id="up-to-analysis"
        ),
        pytest.param("ntkcore.data", "from ntkcore import runs", 1, id="up-from-package"),
        pytest.param("ntkcore.data.toy", "def f():\n    from ntkcore.figures import strip", 1, id="up-in-function"),
        pytest.param("ntkcore.kernels.blocks", "from ..runs import store", 1, id="up-relative"),
        pytest.param("ntkcore.kernels.blocks", "from .inputs import InputMap", 0, id="same-relative"),
        pytest.param("ntkcore.analysis.predict", "from ntkcore import fit", 1, id="through-the-facade"),
        pytest.param("ntkcore.cli", "import ntkcore as ntk", 0, id="cli-uses-the-facade"),
        pytest.param("ntkcore.data", "if TYPE_CHECKING:\n    from ntkcore.nets import Net", 1, id="up-for-types"),
        pytest.param("ntkcore.utils", "import math", 1, id="no-place"),
        pytest.param("ntkcore.nets", "import torch\nfrom ntkcorelike import runs", 0, id="others"),
    ],
)
def test_rule_imports(module: str, source: str, objections: int) -> None:
    assert len(upward_imports(module, source)) == objections


def test_rule_imports_of_a_package() -> None:
    assert not upward_imports("ntkcore.kernels", "from .blocks import tiled", package=True)
    assert upward_imports("ntkcore.kernels", "from ..runs import store", package=True)


@pytest.mark.parametrize(
    ("rule", "source", "objections"),
    [
        pytest.param(watches, "import streamlit as st", 1, id="streamlit"),
        pytest.param(watches, "def f():\n    from streamlit import cache_data", 1, id="streamlit-in-function"),
        pytest.param(watches, "from pages.ui import forms", 1, id="core-imports-pages"),
        pytest.param(watches, "from . import pages", 0, id="own-pages"),
        pytest.param(unpickles, "import pickle", 1, id="pickle"),
        pytest.param(unpickles, "from joblib import load", 1, id="joblib"),
        pytest.param(unpickles, "import torch\ntorch.load(p)", 1, id="torch-load"),
        pytest.param(unpickles, "from torch import load", 1, id="torch-load-imported"),
        pytest.param(unpickles, "np.load(p, allow_pickle=True)", 1, id="allow-pickle"),
        pytest.param(unpickles, "np.load(p, allow_pickle=flag)", 1, id="allow-pickle-maybe"),
        pytest.param(unpickles, "np.load(p, allow_pickle=False)\ndata.load(p)", 0, id="plain-load"),
        pytest.param(guesses_capabilities, "hasattr(untiled(k), 'combine')", 1, id="capability"),
        pytest.param(guesses_capabilities, "getattr(k, 'prepare', None)", 1, id="capability-or-none"),
        pytest.param(guesses_capabilities, "hasattr(os, 'fork')\ngetattr(r, name)", 0, id="no-capability"),
        pytest.param(page_does_too_much, "import torch", 1, id="page-torch"),
        pytest.param(page_does_too_much, "from threading import Thread", 1, id="page-threads"),
        pytest.param(page_does_too_much, "@st.cache_data\ndef f(): ...", 1, id="page-cache"),
        pytest.param(page_does_too_much, "from streamlit import cache_resource", 1, id="page-cache-imported"),
        pytest.param(page_does_too_much, "np.linalg.eigh(k)", 1, id="page-linalg"),
        pytest.param(page_does_too_much, "from numpy.linalg import norm", 1, id="page-linalg-imported"),
        pytest.param(page_does_too_much, "y = k @ v", 1, id="page-matmul"),
        pytest.param(page_does_too_much, "import numpy as np\nst.write(np.round(x, 2))", 0, id="page-plain"),
    ],
)
def test_rule_sources(rule, source: str, objections: int) -> None:
    assert len(rule("made.up", source)) == objections


@pytest.mark.parametrize(
    ("line", "exact"),
    [
        pytest.param("torch==2.14.1", True, id="exact"),
        pytest.param('watchdog==7.1.0; platform_system != "Darwin"', True, id="marker"),
        pytest.param("-r requirements.txt", True, id="include"),
        pytest.param("# torch>=2", True, id="comment"),
        pytest.param("torch>=2.14", False, id="lower-bound"),
        pytest.param("torch", False, id="no-version"),
        pytest.param("torch==2.*", False, id="wildcard"),
        pytest.param("torch @ https://example.org/torch.whl", False, id="address"),
        pytest.param("--index-url https://example.org", False, id="index"),
    ],
)
def test_rule_pins(line: str, exact: bool) -> None:
    assert (loose_pins(line) == []) is exact


def test_rule_settings() -> None:
    good = '[server]\naddress = "127.0.0.1"\n[browser]\ngatherUsageStats = false\n'
    good += '[client]\nshowErrorDetails = "none"'
    assert open_settings(good) == []
    assert open_settings(good.replace("127.0.0.1", "0.0.0.0"))
    assert open_settings(good.replace("false", "true"))
    assert open_settings(good.replace('"none"', '"full"'))
    assert open_settings(good + '\n[theme]\nfont = "Inter:https://example.org/inter.css"')
    assert open_settings(good.replace("[browser]", "enableAgentApi = true\n[browser]"))
    assert len(open_settings("")) == 3


@pytest.mark.parametrize(
    ("module", "source", "objections"),
    [
        pytest.param("runs.other", "isinstance(x, specs.SweepSpec)", 1, id="of a stage"),
        pytest.param("runs.other", "isinstance(x, (TwinSpec, SweepSpec))", 2, id="of two"),
        pytest.param("runs.other", "isinstance(x, TwinSpec | Noise)", 1, id="of one of two"),
        pytest.param("runs.sweep", "isinstance(x, SweepSpec)", 0, id="in its own file"),
        pytest.param("runs.other", "isinstance(x, StageSpec)", 0, id="of any stage"),
    ],
)
def test_rule_stages(module: str, source: str, objections: int) -> None:
    stages = {"SweepSpec": "runs.sweep", "TwinSpec": "runs.twin"}
    assert len(asks_for_a_stage(module, source, stages)) == objections


def test_rule_circles() -> None:
    assert circles({"a": {"b"}, "b": {"c"}, "c": set()}) == []
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}) == [{"a", "b", "c"}]
    assert circles({"a": {"a"}}) == [{"a"}]
    tree = ast.parse("from x import a\nif TYPE_CHECKING:\n    from x import b\ndef f():\n    from x import c")
    assert top_imports(tree, "m") == {"x.a"}


def test_rule_folders() -> None:
    full = [PurePosixPath(f"a/{name}.py") for name in ("__init__", *range(MOST_FILES - 1))]
    others = [PurePosixPath("a/notes.md"), PurePosixPath("a/b/c.py"), PurePosixPath("top.py")]
    assert crowded(full + others) == []
    assert crowded([*full, *others, PurePosixPath("a/more.py")]) == [f"a has {MOST_FILES + 1} files"]


def test_rule_docstring() -> None:
    assert has_docstring('"""Says something."""\nimport math')
    assert not has_docstring("# only a comment\nimport math")
    assert not has_docstring('"""  """')


# ------------------------------------------------------------------------------------------ the repository


def below(folder: str, pattern: str = "**/*.py") -> list[object]:
    """One parameter a source file, named by its path."""
    paths = sorted(path for path in (ROOT / folder).glob(pattern) if "__pycache__" not in path.parts)
    return [pytest.param(path, id=path.relative_to(ROOT).as_posix()) for path in paths]


def dotted(path: Path) -> str:
    """``ntkcore/runs/store.py`` -> ``ntkcore.runs.store``; a package's __init__ is the package."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def lines(path: Path) -> int:
    """Lines of a file."""
    return len(path.read_text(encoding="utf-8").splitlines())


def test_there_is_a_house() -> None:
    assert len(below("ntkcore")) > 10
    assert len(below("pages", "*.py")) > 3
    assert (ROOT / "app.py").is_file()


@pytest.mark.parametrize("path", below("ntkcore"))
def test_core(path: Path) -> None:
    module, source = dotted(path), path.read_text(encoding="utf-8")
    assert upward_imports(module, source, path.stem == "__init__") == []
    assert watches(module, source) == []
    assert unpickles(module, source) == []
    assert guesses_capabilities(module, source) == []
    assert has_docstring(source), f"{module} does not open with a docstring"
    assert lines(path) <= MOST_LINES


def test_nobody_asks_for_a_stage() -> None:
    """All that differs by stage is said by the stage, or, of the app, by its row in ``pages.ui.views``."""
    stages = {stage.__name__: stage.__module__ for stage in STAGES.values()}
    paths = [parameter.values[0] for folder in ("ntkcore", "pages", "bench") for parameter in below(folder)]
    found = {path: asks_for_a_stage(dotted(path), path.read_text(encoding="utf-8"), stages) for path in paths}
    assert {path: objections for path, objections in found.items() if objections} == {}
    assert VIEWS.keys() == STAGES.keys()


def test_no_circles() -> None:
    sources = {dotted(path): path for path in (parameter.values[0] for parameter in below("ntkcore"))}
    imported = {}
    for module, path in sources.items():
        names = top_imports(ast.parse(path.read_text(encoding="utf-8")), module, path.stem == "__init__")
        found = {name if name in sources else name.rpartition(".")[0] for name in names}
        imported[module] = (found & sources.keys()) - {module}
    assert circles(imported) == []


@pytest.mark.parametrize("folder", ["ntkcore", "pages", "bench", "tests"])
def test_folders(folder: str) -> None:
    assert crowded(parameter.values[0].relative_to(ROOT) for parameter in below(folder)) == []


@pytest.mark.parametrize("path", below("pages", "*.py"))
def test_page(path: Path) -> None:
    source = path.read_text(encoding="utf-8")
    assert page_does_too_much(dotted(path), source) == []
    assert has_docstring(source), f"{path.name} does not say which question it answers"
    assert lines(path) <= MOST_PAGE_LINES


@pytest.mark.parametrize("path", below("pages/ui"))
def test_ui(path: Path) -> None:
    source = path.read_text(encoding="utf-8")
    assert unpickles(dotted(path), source) == []
    assert has_docstring(source)
    assert lines(path) <= MOST_LINES


def test_app() -> None:
    path = ROOT / "app.py"
    assert page_does_too_much("app", path.read_text(encoding="utf-8")) == []
    assert lines(path) <= MOST_APP_LINES


@pytest.mark.parametrize("name", ["requirements.txt", "requirements-dev.txt"])
def test_exact_pins(name: str) -> None:
    assert loose_pins((ROOT / name).read_text(encoding="utf-8")) == []


def test_every_import_is_pinned() -> None:
    """What the app and the library import comes with Python, from this repository or by requirements.txt."""
    own = {"ntkcore", "pages", "app"}
    sources = [*(ROOT / "ntkcore").glob("**/*.py"), *(ROOT / "pages").glob("**/*.py"), ROOT / "app.py"]
    needed = {name for path in sources for name in imported_roots(path.read_text(encoding="utf-8"))}
    needed = needed - own - WITH_TORCH - sys.stdlib_module_names
    needed = {DISTRIBUTIONS.get(name, name).lower() for name in needed}
    assert needed - WHEN_ASKED_FOR <= pinned((ROOT / "requirements.txt").read_text(encoding="utf-8"))
    assert needed & WHEN_ASKED_FOR <= pinned((ROOT / "requirements-dev.txt").read_text(encoding="utf-8"))


def test_settings() -> None:
    assert open_settings((ROOT / ".streamlit" / "config.toml").read_text(encoding="utf-8")) == []


def test_settings_are_known_to_streamlit() -> None:
    """A misspelt option would only be warned of in the log."""
    from streamlit import config

    settings = tomllib.loads((ROOT / ".streamlit" / "config.toml").read_text(encoding="utf-8"))
    known = set(config._config_options_template)

    def names(table: dict[str, object], prefix: str = "") -> Iterator[str]:
        for key, value in table.items():
            yield from names(value, f"{prefix}{key}.") if isinstance(value, dict) else [prefix + key]

    assert {name for name in names(settings) if name not in known} == set()
