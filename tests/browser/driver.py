"""Driving the dashboard in headless Chromium: find the browser, serve the app, wait until a page is still.

The waiting knows three facts of Streamlit's page (checked with 1.67): ``stApp`` carries the state of the
connection and of the script run as attributes; elements left over from the run before are marked
``data-stale``; what is still being loaded shows as a skeleton or a spinner.

    with serve(app, cache=folder, log=folder / "app.log") as server:
        with chromium() as browser:
            page = browser.new_page()
            page.goto(server.url)
            settle(page)
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--renderer-process-limit=1",  # tabs share what is compiled
)
UNCAUGHT = "Uncaught app execution"  # what Streamlit logs when a page raised

# Milliseconds for which the page has been still; -1 where it never was.
QUIET = """
() => {
  const all = (css) => [...document.querySelectorAll(css)].filter((e) => e.checkVisibility());
  const app = document.querySelector('[data-testid="stApp"]');
  const still = app
    && app.dataset.testConnectionState === 'CONNECTED'
    && app.dataset.testScriptState === 'notRunning'
    && all('[data-testid="stMain"] [data-testid="stElementContainer"]').length > 0
    && all('[data-testid="stAppSkeleton"], [data-testid="stSkeleton"], [data-testid="stSkeletonElement"], '
      + '[data-testid="stSpinner"], [data-stale="true"]').length === 0;
  if (!still) { window.ntkStillSince = undefined; return -1; }
  window.ntkStillSince ??= performance.now();
  return performance.now() - window.ntkStillSince;
}
"""

# Every figure has its drawing, every image its pixels, every font its glyphs.
DRAWN = """
() => {
  const all = (css) => [...document.querySelectorAll(css)].filter((e) => e.checkVisibility());
  const drawn = (chart) => {
    const plot = chart.querySelector('.js-plotly-plot');
    return plot && plot._fullLayout && !plot._transitioning && plot.querySelector('.main-svg');
  };
  return document.fonts.status === 'loaded'
    && all('[data-testid="stPlotlyChart"]').every(drawn)
    && all('[data-testid="stMain"] img').every((e) => e.complete && e.naturalWidth > 0);
}
"""


@dataclass(frozen=True)
class Server:
    """The running app: its address, its process and the file its output goes to."""

    url: str
    process: subprocess.Popen[bytes]
    log: Path

    def output(self) -> str:
        """All it has printed so far."""
        return self.log.read_text(encoding="utf-8", errors="replace")

    def end_jobs(self) -> None:
        """Kill the app's worker process, and with it what it is doing; the app starts another."""
        asked = ["pgrep", "-P", str(self.process.pid), "-f", "runs.worker.child"]
        workers = subprocess.run(asked, capture_output=True, text=True, check=False)
        for pid in workers.stdout.split():
            os.kill(int(pid), signal.SIGKILL)

    def check_alive(self) -> None:
        """Raise RuntimeError, with the end of the log, when the app is no longer running."""
        code = self.process.poll()
        if code is not None:
            raise RuntimeError(f"the app ended with exit status {code}; its last lines:\n{self.output()[-4000:]}")


def find_chromium() -> str | None:
    """Path of a Chromium: $CHROMIUM, else the first known name on PATH; None where there is none."""
    named = os.environ.get("CHROMIUM")
    if named:
        return shutil.which(named)
    return next((path for path in map(shutil.which, NAMES) if path), None)


@contextmanager
def chromium() -> Iterator[Browser]:
    """A headless Chromium that talks to nobody but the page. RuntimeError where none is installed."""
    path = find_chromium()
    if path is None:
        raise RuntimeError("no Chromium found: install chromium, or set CHROMIUM to the path of one")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(FLAGS))
        try:
            yield browser
        finally:
            browser.close()


def free_port() -> int:
    """A TCP port that was free on the loopback address a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def serve(
    app: Path,
    *,
    cache: Path,
    log: Path,
    data: Path | None = None,
    port: int | None = None,
    start_s: float = 60.0,
) -> Iterator[Server]:
    """Run ``streamlit run app`` with its own cache until the block ends; then stop its whole process group.

    ``data`` becomes NTK_DATA; None leaves the user's. The output goes to the file ``log``. RuntimeError with
    the log when the app ends early or is not healthy within ``start_s`` seconds.
    """
    port = port or free_port()
    environment = dict(os.environ, NTK_CACHE=str(cache), PYTHONUNBUFFERED="1")
    if data is not None:
        environment["NTK_DATA"] = str(data)
    command = [sys.executable, "-m", "streamlit", "run", str(app), "--server.port", str(port)]
    command += ["--server.headless", "true"]
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=app.parent,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        server = Server(f"http://127.0.0.1:{port}", process, log)
        try:
            wait_healthy(server, start_s)
            yield server
        finally:
            stop(process)


def wait_healthy(server: Server, limit_s: float) -> None:
    """Return once the app answers its health address. RuntimeError when it ends or takes too long."""
    until = time.monotonic() + limit_s
    while time.monotonic() < until:
        server.check_alive()
        try:
            with urllib.request.urlopen(f"{server.url}/_stcore/health", timeout=2) as answer:
                if answer.status == 200:
                    return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    raise RuntimeError(f"the app was not healthy after {limit_s:.0f} s; its last lines:\n{server.output()[-4000:]}")


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a process started as its own session together with its children: SIGTERM, after 10 s SIGKILL."""
    for sign, patience in ((signal.SIGTERM, 10.0), (signal.SIGKILL, 10.0)):
        try:
            os.killpg(process.pid, sign)
        except ProcessLookupError:
            break
        try:
            process.wait(patience)
        except subprocess.TimeoutExpired:
            continue
        if not group_alive(process.pid, 2.0):
            return
    process.wait(10.0)


def group_alive(group: int, patience: float) -> bool:
    """Whether the process group still has a member after at most ``patience`` seconds."""
    until = time.monotonic() + patience
    while True:
        try:
            os.killpg(group, 0)
        except (ProcessLookupError, PermissionError):
            return False
        if time.monotonic() > until:
            return True
        time.sleep(0.05)


def wait_idle(page: Page, *, quiet_ms: int = 300, timeout_s: float = 30.0) -> None:
    """Wait until the script has run and nothing has changed for ``quiet_ms`` from now on.

    Right after a click the run has not begun yet; the quiet leaves it the time. To be sure of an effect, wait
    for the effect itself (``playwright.sync_api.expect``) and settle then. On a page that polls (a job is
    running) every poll interrupts the quiet; ask for less than its interval.
    """
    page.evaluate("window.ntkStillSince = undefined")
    page.wait_for_function(f"({QUIET})() >= {quiet_ms}", timeout=timeout_s * 1000, polling=50)


def settle(page: Page, *, quiet_ms: int = 300, timeout_s: float = 30.0) -> None:
    """``wait_idle``, then wait until all figures, images and fonts are drawn, then once more: a page that has just been
    opened may be still for a moment before its script runs again."""
    wait_idle(page, quiet_ms=quiet_ms, timeout_s=timeout_s)
    page.wait_for_function(f"({DRAWN})()", timeout=timeout_s * 1000, polling=50)
    wait_idle(page, quiet_ms=quiet_ms, timeout_s=timeout_s)


def exceptions(page: Page) -> list[str]:
    """The texts of the exception boxes on the page."""
    return page.get_by_test_id("stException").all_inner_texts()


def no_exception(page: Page) -> None:
    """Fail when the page shows an exception box or Streamlit's connection error."""
    found = exceptions(page) + page.get_by_test_id("stConnectionStatus").all_inner_texts()
    assert not found, f"{page.url} shows an exception: {found}"


def show_all(page: Page, *, most: int = 20_000) -> int:
    """Make the viewport as high as the page's content, so that a picture shows all of it; returns the height.

    Streamlit scrolls inside a container, where a full-page picture would end at the fold. Taller figures may
    change the height once more, hence the second look.
    """
    assert page.viewport_size is not None
    width, height = page.viewport_size["width"], page.viewport_size["height"]
    for _ in range(3):
        content = page.evaluate(
            """() => Math.max(0, ...[...document.querySelectorAll(
                 '[data-testid="stMain"], [data-testid="stSidebarContent"]')]
                 .filter((e) => e.checkVisibility() && e.getBoundingClientRect().right > 0)
                 .map((e) => Math.ceil(e.getBoundingClientRect().top + e.scrollHeight)))"""
        )
        if content <= height:
            break
        height = min(content, most)
        page.set_viewport_size({"width": width, "height": height})
        settle(page)
    return height
