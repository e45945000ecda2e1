"""Settings shared by every test: own cache, own data folder, fixed seeds, few threads.

A test never reads or fills the user's cache. Its data folder is empty, so that nothing depends on what
happens to be downloaded; a test marked ``realdata`` keeps the user's ``NTK_DATA``. Tests that would compute
the same experiment over and over (the pages) share one cache for the session by asking for ``shared_cache``:

    pytestmark = pytest.mark.usefixtures("shared_cache")
"""

import gc
import os
import random
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

os.environ.setdefault("OMP_NUM_THREADS", "2")  # before torch starts its thread pool
os.environ.setdefault("GOMP_SPINCOUNT", "1000")  # as ntkcore does
os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", "4")
os.environ["NTK_WARM_UP"] = "0"  # tests compile what they need

import pytest
import torch

from tests.apptest import as_later, visit

if TYPE_CHECKING:
    from streamlit.testing.v1 import AppTest

ROOT = Path(__file__).resolve().parent.parent


LONGEST = ("browser", "campaign", "pages", "runs", "test_cli.py")  # the files, or their folders, that take longest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes longest, so that processes side by side end at the same time."""
    items.sort(key=lambda item: min(map(LONGEST.index, set(LONGEST) & set(item.path.parts)), default=len(LONGEST)))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> object:
    """Processes take tests by the file, and all of the browser's at once: one server and one Chromium are enough."""
    from xdist.scheduler import LoadFileScheduling

    class ByFile(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return "browser" if nodeid.startswith("tests/browser/") else super()._split_scope(nodeid)

    return ByFile(config, log)


def pytest_collection_finish() -> None:
    """What is imported stays; no look for garbage need go through it."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository's top folder."""
    return ROOT


@pytest.fixture(scope="session")
def session_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One cache folder for the whole session; empty at its start."""
    return tmp_path_factory.mktemp("shared-cache")


@pytest.fixture(scope="session")
def numbered(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """New empty folders, one after another; mktemp would look through those of all tests before for each."""
    top = tmp_path_factory.mktemp("isolation")
    return (made for made in (top / str(i) for i in count()) if made.mkdir() is None)


@pytest.fixture(autouse=True)
def isolation(request: pytest.FixtureRequest, numbered: Iterator[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Point NTK_CACHE and NTK_DATA at empty folders and fix the seeds."""
    monkeypatch.setenv("NTK_CACHE", str(next(numbered)))
    if request.node.get_closest_marker("realdata") is None:
        monkeypatch.setenv("NTK_DATA", str(next(numbered)))
    random.seed(0)
    torch.manual_seed(0)


@pytest.fixture
def shared_cache(isolation: None, session_cache: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Use the session's cache in this test instead of an empty one."""
    monkeypatch.setenv("NTK_CACHE", str(session_cache))
    return session_cache


@pytest.fixture
def app_test(isolation: None) -> "Iterator[Callable[..., AppTest]]":
    """Run the app in this process, as if opened by a link: ``app_test({"data": "toy"}, page="pages/attack.py")``."""
    with as_later():
        yield visit
