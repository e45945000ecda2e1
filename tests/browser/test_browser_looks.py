"""Every page in Chromium: drawn without complaint, narrow and wide, dark and light, with words for all it draws."""

import pytest
from playwright.sync_api import Page

from driver import Server, settle
from ntkcore.figures.drawing.palette import TEXT
from steps import alt, arrive, drawn, ready

CHARTS = {
    "": [],
    "spectrum": ["eigenvalues", "cumulative", "learned", "heatmap", "eigenvectors"],
    "eigenfeatures": ["bands", "scatter", "along-index", "over-null", "class-shares", "split", "kept", "time"],
    "attack": ["margins", "sheet"],
    "transfer": ["along-eps", "along-width", "along-training", "training-loss", "gallery"],
    "evolution": ["accuracies", "velocity", "thresholds", "distances", "paths", "concentration", "aligned", "spectra"],
    "consistency": ["alignment", "overlap", "pair-vectors", "matched"],
    "runs": [],
}
OF_PAGE = {
    "transfer": {"size": "7", "widths": ["16", "64"], "seeds": "2"},
    "evolution": {"size": "7", "epochs": "2", "eseeds": "1"},
    "consistency": {"compared": ["FC(1)", "Conv(2)"], "cn": "40", "cm": "10"},
}

# What is wider than the window and not inside something that scrolls by itself: its tag, class and right edge.
OVERFLOW = """
() => {
  const main = document.querySelector('[data-testid="stMain"]');
  const found = [];
  if (document.documentElement.scrollWidth > window.innerWidth) found.push('the page');
  if (main.scrollWidth > main.clientWidth) {
    found.push(`the main part: ${main.scrollWidth} > ${main.clientWidth}`);
    for (const e of main.querySelectorAll('*')) {
      const right = e.getBoundingClientRect().right;
      if (right > window.innerWidth + 1) found.push(`${e.tagName}.${e.className} to ${Math.round(right)}`);
    }
  }
  return found.slice(0, 8);
}
"""
# Whether every figure writes in this colour.
INKS = """
(ink) => [...document.querySelectorAll('.js-plotly-plot')].every(
  (plot) => plot._fullLayout?.font.color.toLowerCase() === ink)
"""


@pytest.mark.parametrize("name", CHARTS, ids=lambda name: name or "overview")
def test_page(name: str, page: Page, app: Server) -> None:
    """On a phone in the dark, then wide and light: the reader's theme is followed under way, and nothing sticks out."""
    page.set_viewport_size({"width": 400, "height": 800})
    page.emulate_media(color_scheme="dark")
    arrive(page, app, name, **OF_PAGE.get(name, {}))
    looks_right(page, name, dark=True)
    page.set_viewport_size({"width": 1440, "height": 900})
    page.emulate_media(color_scheme="light")
    looks_right(page, name, dark=False)
    icon = page.evaluate("document.querySelector('link[rel*=icon]').href")
    assert icon.startswith((app.url, "data:"))


def looks_right(page: Page, name: str, dark: bool) -> None:
    """The page and its figures are in the theme's colours and none wider than the window; all have words."""
    page.wait_for_function(INKS, arg=TEXT.colour(dark).lower(), timeout=15_000)
    ready(page)
    drawn(page, *CHARTS[name])
    settle(page)
    background = page.evaluate("getComputedStyle(document.querySelector('[data-testid=stApp]')).backgroundColor")
    shades = [int(part) for part in background[4:-1].split(",")]
    assert (max(shades) < 60) == dark, background
    assert page.evaluate(OVERFLOW) == []
    for key in CHARTS[name]:
        assert len(alt(page, key)) > 40, key
    assert all(picture.get_attribute("alt") for picture in page.get_by_test_id("stMain").locator("img").all())
