"""Fixtures of the page tests: one cache, one data folder and so one worker for all of them; opening a page.

def test_attack(opened):
    at = opened("attack", {"image": "3"})
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import pytest
from streamlit.components.v2 import manifest_scanner
from streamlit.testing.v1 import AppTest

from ntkcore.runs import consent
from pages.ui.shell.services import services
from visits import SMALL, run_until_ready

# What keeps a page's own work small.
OF_PAGE = {
    "transfer": {"widths": ["8", "16"], "seeds": "1", "lr": "0.05"},
    "evolution": {"epochs": "2", "eseeds": "1"},
    "consistency": {"compared": ["FC(1)", "Conv(2)"]},
    "story": {"size": "7"},
}
Query = Mapping[str, str | Sequence[str]]


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that holds the cache and the data of all page tests; the worker looks nowhere else."""
    return tmp_path_factory.mktemp("pages")


@pytest.fixture(autouse=True)
def at_home(isolation: None, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Use the shared folders instead of this test's own.

    Each AppTest would also look through all installed packages for Streamlit components (0.1 s); there are none.
    """
    monkeypatch.setattr(manifest_scanner, "scan_component_manifests", list)
    monkeypatch.setenv("NTK_CACHE", str(home / "cache"))
    monkeypatch.setenv("NTK_DATA", str(home / "data"))


@pytest.fixture
def opened(
    at_home: None, app_test: Callable[..., AppTest], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., AppTest]]:
    """Open a page by a link, of a small experiment unless the link says otherwise, and wait for its results.

    Without waiting, nothing is started either: even short work is only offered. What a test has started and not
    waited for is cancelled at its end.
    """
    automatic = consent.AUTOMATIC

    def visit(page: str = "overview", query: Query | None = None, *, wait: bool = True) -> AppTest:
        monkeypatch.setattr(consent, "AUTOMATIC", automatic if wait else -1.0)
        at = app_test({**SMALL, **OF_PAGE.get(page, {}), **(query or {})}, page=f"pages/{page}.py")
        return run_until_ready(at) if wait else at

    yield visit
    for job in services().worker.jobs():
        job.cancel()
