"""Settings shared by every test: own cache, own data folder, fixed seeds, few threads.

A test never reads or fills the user's cache. Its data folder is empty, so that nothing depends on what
happens to be downloaded; a test marked ``realdata`` keeps the user's ``NTK_DATA``. Tests that would compute
the same experiment over and over (the pages) share one cache for the session by asking for ``shared_cache``:

    pytestmark = pytest.mark.usefixtures("shared_cache")
"""

import os
import random
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

os.environ.setdefault("OMP_NUM_THREADS", "2")  # before torch starts its thread pool
os.environ.setdefault("GOMP_SPINCOUNT", "1000")  # as ntkcore does
os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", "4")

import pytest
import torch

if TYPE_CHECKING:
    from streamlit.testing.v1 import AppTest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository's top folder."""
    return ROOT


@pytest.fixture(scope="session")
def session_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One cache folder for the whole session; empty at its start."""
    return tmp_path_factory.mktemp("shared-cache")


@pytest.fixture(autouse=True)
def isolation(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Point NTK_CACHE and NTK_DATA at empty folders and fix the seeds."""
    monkeypatch.setenv("NTK_CACHE", str(tmp_path_factory.mktemp("cache")))
    if request.node.get_closest_marker("realdata") is None:
        monkeypatch.setenv("NTK_DATA", str(tmp_path_factory.mktemp("data")))
    random.seed(0)
    torch.manual_seed(0)


@pytest.fixture
def shared_cache(isolation: None, session_cache: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Use the session's cache in this test instead of an empty one."""
    monkeypatch.setenv("NTK_CACHE", str(session_cache))
    return session_cache


@pytest.fixture
def app_test(isolation: None, monkeypatch: pytest.MonkeyPatch) -> "Callable[..., AppTest]":
    """Run the app in this process, as if opened by a link: ``app_test({"data": "toy"}, page="pages/attack.py")``.

    AppTest forgets between its runs that ``app.py`` declares the pages itself, takes the folder ``pages/`` for an
    app of the old kind and would run a page without ``app.py`` around it. A server knows after the first visit;
    the patch makes every run such a later one.
    """
    from streamlit.runtime.pages_manager import PagesManager
    from streamlit.testing.v1 import AppTest

    begin = PagesManager.__init__

    def begin_as_later(self: PagesManager, *arguments: object, **options: object) -> None:
        begin(self, *arguments, **options)
        PagesManager.uses_pages_directory = False

    monkeypatch.setattr(PagesManager, "__init__", begin_as_later)

    def start(
        query: Mapping[str, str | Sequence[str]] | None = None,
        page: str | None = None,
        script: Path = ROOT / "app.py",
        timeout: float = 60.0,
    ) -> AppTest:
        test = AppTest.from_file(str(script), default_timeout=timeout)
        for name, value in (query or {}).items():
            test.query_params[name] = value if isinstance(value, str) else list(value)
        if page is not None:
            test.switch_page(page)
        return test.run()

    return start
