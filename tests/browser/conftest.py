"""Fixtures of the browser tests: the real app on a free port, one tab of Chromium, as if new for each test.

Everything here is marked ``browser`` and runs with ``pytest -m browser``. Without a Chromium the tests are
skipped; with NTK_REQUIRE_BROWSER=1 they fail instead, so that a green run means they ran.

    def test_overview(page, app):
        page.goto(app.url)
        settle(page)
        no_exception(page)
"""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Error, Page, Request, expect

from driver import UNCAUGHT, Server, chromium, find_chromium, serve

HERE = Path(__file__).resolve().parent
WINDOW = {"width": 1440, "height": 900}
expect.set_options(timeout=30_000)  # patience for a busy machine; what is there is seen at once

# Arriving by a link to a page, Streamlit asks below that page first and then at the root: two harmless 404s.
LOOKED_FOR_TWICE = ("/_stcore/host-config", "/_stcore/health")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test below this folder as a browser test."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.browser)


@pytest.fixture(scope="session")
def app_path(root: Path) -> Path:
    """The script to serve."""
    return root / "app.py"


@pytest.fixture(scope="session")
def app(app_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The app, running for the whole session with an empty cache and an empty data folder."""
    folder = tmp_path_factory.mktemp("app")
    with serve(app_path, cache=folder / "cache", data=folder / "data", log=folder / "app.log") as server:
        yield server


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """One Chromium for the session."""
    if find_chromium() is None:
        message = "no Chromium found: install chromium, or set CHROMIUM to the path of one"
        if os.environ.get("NTK_REQUIRE_BROWSER") == "1":
            pytest.fail(message)
        pytest.skip(message)
    with chromium() as running:
        yield running


@pytest.fixture(scope="session")
def context(browser: Browser) -> Iterator[BrowserContext]:
    """One profile; downloads allowed; no animations, whose every frame a processor has to draw here."""
    profile = browser.new_context(viewport=WINDOW, color_scheme="light", accept_downloads=True, reduced_motion="reduce")
    profile.set_default_timeout(20_000)
    yield profile
    profile.close()


@pytest.fixture(scope="session")
def tab(context: BrowserContext) -> Page:
    """One tab, opened again and again: what Chromium has compiled once is compiled no more."""
    return context.new_page()


@pytest.fixture
def ended(app: Server) -> Iterator[None]:
    """Whatever a test has started and not waited for ends with it: those that follow need the worker."""
    yield
    app.end_jobs()


@pytest.fixture
def complaints() -> list[str]:
    """What the browser's console and the page's scripts complained of; a test that provokes it clears it."""
    return []


@pytest.fixture
def page(tab: Page, app: Server, complaints: list[str]) -> Iterator[Page]:
    """The tab as if new: light, 1440 x 900, nothing remembered. Afterwards: the app lives, no page raised, the
    browser's console has no errors, and nothing was asked of any other address than the app's."""

    def console(message: ConsoleMessage) -> None:
        if message.type == "error" and not message.location["url"].endswith(LOOKED_FOR_TWICE):
            complaints.append(f"console: {message.text} ({message.location['url']})")

    def request(sent: Request) -> None:
        if not sent.url.startswith((app.url, app.url.replace("http", "ws", 1), "data:", "blob:")):
            complaints.append(f"request to elsewhere: {sent.url}")

    def script(error: Error) -> None:
        complaints.append(f"script: {error}")

    app.check_alive()
    before = app.output().count(UNCAUGHT)
    tab.set_viewport_size(WINDOW)
    tab.emulate_media(color_scheme="light")
    listeners = [(tab.context, "request", request), (tab, "console", console), (tab, "pageerror", script)]
    for one, event, listener in listeners:
        one.on(event, listener)
    yield tab
    if not tab.is_closed():
        tab.evaluate("localStorage.clear(); sessionStorage.clear()")
        tab.goto("about:blank")
    for one, event, listener in listeners:
        one.remove_listener(event, listener)
    app.check_alive()
    output = app.output()
    assert output.count(UNCAUGHT) == before, f"a page raised; the app's last lines:\n{output[-4000:]}"
    assert not complaints, f"the browser complained: {complaints}"
