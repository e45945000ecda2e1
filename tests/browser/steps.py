"""What a reader does on the pages: arrive by a link, wait for results, press, choose, click into a figure.

Controls are found by their keys, which Streamlit gives the page as classes (``st-key-...``)::

    arrive(page, app, "eigenfeatures", n=60, m=20)
    click_point(page, "scatter", 7)
    assert field(page, "feature").input_value() == "7"
"""

import re
import time
from urllib.parse import parse_qs, urlencode, urlsplit

from playwright.sync_api import Locator, Page, expect

from driver import Server, no_exception, settle
from pages.ui.shell.vocabulary import in_words

SMALL = {"n": "60", "m": "20"}

# The middle of the dot, or picture, that carries this customdata, in the window; null where it is not drawn.
PLACE = """
([key, index]) => {
  const plot = document.querySelector(`.st-key-${key} .js-plotly-plot`);
  const flat = (value) => Array.isArray(value) || ArrayBuffer.isView(value) ? value[0] : value;
  for (const trace of plot._fullData) {
    const at = Array.from(trace.customdata ?? []).findIndex((value) => flat(value) === index);
    if (at < 0 || trace.visible !== true || !trace.x) continue;
    const frame = plot.getBoundingClientRect();
    const axis = (name, ref) => plot._fullLayout[name + 'axis' + ref.slice(1)];
    const x = axis('x', trace.xaxis ?? 'x'), y = axis('y', trace.yaxis ?? 'y');
    return [
      frame.left + x._offset + x.c2p(x.d2c(trace.x[at])),
      frame.top + y._offset + y.c2p(y.d2c(trace.y[at])),
    ];
  }
  return null;
}
"""


def arrive(page: Page, app: Server, name: str = "", **query: str | int | list[str]) -> None:
    """Open a page by a link and wait for all its results."""
    page.goto(f"{app.url}/{name}?{urlencode({**SMALL, **query}, doseq=True)}")
    ready(page)


def ready(page: Page, timeout_s: float = 120.0) -> None:
    """Wait until nothing is computed any more and the page is still; no exception may show."""
    until = time.monotonic() + timeout_s
    while True:
        settle(page, quiet_ms=300, timeout_s=timeout_s) if working(page).count() == 0 else page.wait_for_timeout(100)
        if working(page).count() == 0 and page.get_by_test_id("stHeading").count() > 0:
            break
        assert time.monotonic() < until, f"not ready after {timeout_s:.0f} s: {working(page).all_inner_texts()}"
    no_exception(page)


def run_it(page: Page) -> None:
    """Press Run, and Yes where a slower machine asks again."""
    page.get_by_role("button", name="Run", exact=True).click()
    yes = page.get_by_role("button", name=re.compile("^Yes, run it"))
    expect(working(page).or_(yes).first).to_be_visible(timeout=30_000)
    if yes.count():
        yes.click()


def is_titled(page: Page, title: str) -> None:
    """Wait until the page with this title is shown; by its tag: a role is looked for among all elements."""
    expect(page.locator("[data-testid=stMain] h1", has_text=re.compile(rf"^\s*{title}\s*$"))).to_be_visible()


def working(page: Page) -> Locator:
    """The progress bars of jobs under way."""
    return page.get_by_test_id("stProgress")


def at_key(page: Page, key: str) -> Locator:
    """The element with this key."""
    return page.locator(f".st-key-{key}")


def field(page: Page, key: str) -> Locator:
    """The input of a number or text with this key."""
    return at_key(page, key).locator("input").first


def press(page: Page, key: str) -> None:
    """Press the button with this key."""
    at_key(page, key).locator("button:visible").first.click()


def enter(page: Page, key: str, value: str) -> None:
    """Type into a number or text and leave it with Enter."""
    field(page, key).fill(value)
    field(page, key).press("Enter")


def chosen(page: Page, key: str) -> list[str]:
    """What a multiselect holds."""
    return [tag.get_attribute("aria-label") for tag in tags(page, key).all()]


def tags(page: Page, key: str) -> Locator:
    """What a multiselect holds, as drawn."""
    return at_key(page, key).locator("[data-tag]")


def choose(page: Page, key: str, option: str) -> None:
    """Open a selectbox or multiselect and take one of its options; again where the page was drawn anew meanwhile, at
    which the list of options closes."""
    for _ in range(3):
        at_key(page, key).locator("input").first.click()
        page.get_by_role("option", name=option, exact=True).click()
        page.keyboard.press("Escape")
        for _ in range(20):
            if option in (*chosen(page, key), field(page, key).input_value()):
                return
            page.wait_for_timeout(100)
    raise AssertionError(f"{key} does not take {option!r}")


def caption(page: Page) -> Locator:
    """The line below the question that says the experiment in words."""
    return page.get_by_test_id("stMain").get_by_test_id("stCaptionContainer").first


def query(page: Page) -> dict[str, list[str]]:
    """The parameters of the address."""
    return parse_qs(urlsplit(page.url).query)


def expect_query(page: Page, **wanted: str | list[str]) -> None:
    """Wait until the address has these values, by their short names or in words."""
    values = {name: value if isinstance(value, list) else [in_words(name, value)] for name, value in wanted.items()}
    until = time.monotonic() + 10
    while {name: [in_words(name, one) for one in query(page).get(name, [])] for name in values} != values:
        assert time.monotonic() < until, f"the address is {page.url}; {values} are needed"
        page.wait_for_timeout(50)


def alt(page: Page, key: str) -> str:
    """The alt text of a figure; empty where it has none."""
    chart = at_key(page, key).get_by_test_id("stPlotlyChart")
    labels = chart.evaluate("(e) => [e, ...e.querySelectorAll('[aria-label]')].map((x) => x.ariaLabel ?? '')")
    return max(labels, key=len)


def drawn(page: Page, *keys: str) -> None:
    """Wait until these figures are drawn."""
    for key in keys:
        expect(at_key(page, key).locator(".main-svg").first).to_be_visible()


def click_point(page: Page, key: str, index: int) -> None:
    """Click on the point of a figure that carries ``index``."""
    at_key(page, key).scroll_into_view_if_needed()
    settle(page)
    place = page.evaluate(PLACE, [key, index])
    assert place, f"figure {key} has no point {index}"
    page.mouse.move(place[0], place[1] - 3)
    page.mouse.move(*place, steps=3)
    page.mouse.click(*place)


def expect_words(page: Page, words: str | re.Pattern[str]) -> None:
    """Wait until the page says this."""
    expect(page.get_by_test_id("stMain").get_by_text(words).first).to_be_visible(timeout=30_000)
