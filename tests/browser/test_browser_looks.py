"""Every page in Chromium: drawn without complaint, wide and narrow, light and dark."""

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from driver import Server, settle
from ntkcore.figures.drawing.palette import TEXT
from steps import arrive, at_key, ready

CHARTS = {
    "": [],
    "spectrum": ["eigenvalues", "cumulative", "learned", "heatmap", "eigenvectors"],
    "eigenfeatures": ["bands", "scatter", "along-index", "over-null", "class-shares", "split", "kept", "time"],
    "attack": ["margins", "sheet"],
    "evolution": ["accuracies", "velocity", "thresholds", "distances", "paths", "concentration", "aligned", "spectra"],
    "runs": [],
}
OF_PAGE = {"evolution": {"epochs": "2", "eseeds": "1"}}

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
FONT = "(key) => document.querySelector(`.st-key-${key} .js-plotly-plot`)._fullLayout.font.color.toLowerCase()"


@pytest.mark.parametrize("name", CHARTS, ids=lambda name: name or "overview")
def test_page(name: str, page: Page, app: Server) -> None:
    """Wide, then at 400 pixels: the figures are drawn and nothing sticks out."""
    arrive(page, app, name, **OF_PAGE.get(name, {}))
    for key in CHARTS[name]:
        expect(at_key(page, key).locator(".main-svg").first).to_be_visible()
    assert page.evaluate(OVERFLOW) == []
    page.set_viewport_size({"width": 400, "height": 800})
    page.reload()
    ready(page)
    assert page.evaluate(OVERFLOW) == []
    for key in CHARTS[name]:
        expect(at_key(page, key).locator(".main-svg").first).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_theme(scheme: str, page: Page, app: Server) -> None:
    """Page and figures follow the reader's theme, also when it changes under way."""
    other = {"light": "dark", "dark": "light"}[scheme]
    for theme in (scheme, other):
        page.emulate_media(color_scheme=theme)
        if theme == scheme:
            arrive(page, app, "spectrum")
        wanted = TEXT.colour(theme == "dark").lower()
        page.wait_for_function(f"(key) => ({FONT})(key) === '{wanted}'", arg="eigenvalues", timeout=15_000)
        settle(page)
        background = page.evaluate("getComputedStyle(document.querySelector('[data-testid=stApp]')).backgroundColor")
        shades = [int(part) for part in background[4:-1].split(",")]
        assert (max(shades) < 60) == (theme == "dark"), background


def test_figures_have_words(page: Page, app: Server) -> None:
    """Alt text for figures and pictures, for readers who do not see them."""
    arrive(page, app, "attack")
    pictures = page.get_by_test_id("stMain").locator("img")
    expect(pictures).to_have_count(3)
    assert all(picture.get_attribute("alt") for picture in pictures.all())
    charts = page.get_by_test_id("stPlotlyChart")
    assert charts.count() == 2
    for chart in charts.all():
        labels = chart.evaluate("(e) => [e, ...e.querySelectorAll('[aria-label]')].map((x) => x.ariaLabel)")
        assert any(label and len(label) > 40 for label in labels), labels


def test_icon_of_the_tab_comes_from_here(page: Page, app: Server, context: BrowserContext) -> None:
    arrive(page, app)
    address = page.evaluate("document.querySelector('link[rel*=icon]').href")
    assert address.startswith((app.url, "data:"))
