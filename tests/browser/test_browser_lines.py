"""The Python lines as a reader copies them out of the browser: run as a script, they print what the page shows."""

import re
import subprocess
import sys
from pathlib import Path

from playwright.sync_api import Page, expect

from driver import Server
from steps import arrive


def printed(page: Page, root: Path) -> str:
    """Open the expander, copy the lines and run them in a process of their own."""
    page.get_by_text("How this is computed").click()
    code = page.get_by_test_id("stCode").locator("code").inner_text()
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{done.stderr}\n{code}"
    return done.stdout


def test_lines_of_overview(page: Page, app: Server, root: Path) -> None:
    arrive(page, app, attack="PGD", inputs="centre")
    expect(page.get_by_test_id("stMetricValue")).to_have_count(3)
    shown = page.get_by_test_id("stMetricValue").all_inner_texts()
    assert re.findall(r"[\d.]+%", printed(page, root))[:3] == shown


def test_lines_of_attack(page: Page, app: Server, root: Path) -> None:
    """A net through the kernel: the page's sentence, and its tally of all test images."""
    arrive(page, app, "attack", target="width 16", source="kernel", image=3)
    said = printed(page, root).splitlines()
    words = page.get_by_test_id("stMain").inner_text()
    (sentence,) = (line for line in said if line.startswith("The net gets this image"))
    assert sentence in words
    assert said[-1] in words
