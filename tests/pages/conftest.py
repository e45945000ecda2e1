"""Fixtures of the page tests: one cache, one data folder and so one worker for all of them; opening a page.

def test_attack(opened):
    at = opened("attack", {"image": "3"})
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest
from visits import SMALL, run_until_ready

from pages.ui.services import services

Query = Mapping[str, str | Sequence[str]]


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that holds the cache and the data of all page tests; the worker looks nowhere else."""
    return tmp_path_factory.mktemp("pages")


@pytest.fixture(autouse=True)
def at_home(isolation: None, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Use the shared folders instead of this test's own."""
    monkeypatch.setenv("NTK_CACHE", str(home / "cache"))
    monkeypatch.setenv("NTK_DATA", str(home / "data"))


@pytest.fixture
def opened(at_home: None, app_test: Callable[..., AppTest]) -> Iterator[Callable[..., AppTest]]:
    """Open a page by a link, of a small experiment unless the link says otherwise, and wait for its results.

    What a test has started and not waited for is cancelled at its end.
    """

    def visit(page: str = "overview", query: Query | None = None, *, wait: bool = True) -> AppTest:
        at = app_test({**SMALL, **(query or {})}, page=f"pages/{page}.py")
        return run_until_ready(at) if wait else at

    yield visit
    for job in services().worker.jobs():
        job.cancel()
