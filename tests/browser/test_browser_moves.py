"""Moving through the app: one entry a move in the browser's history, Back brings the view of before, nothing is lost."""

import time

from playwright.sync_api import Page, expect

from driver import Server, no_exception, wait_idle
from steps import arrive, at_key, caption, click_point, enter, expect_query, field, press, query, ready

TINY = {"n": "20", "m": "10"}
PAGES = ("Overview", "Spectrum", "Eigenfeatures", "Attack", "Transfer", "Evolution", "Consistency", "Runs")
# A control of each page, and what is chosen there.
CHOSEN = {
    "Spectrum": ("vi", "5"),
    "Eigenfeatures": ("feature", "3"),
    "Attack": ("image", "4"),
    "Transfer": ("seeds", "1"),
    "Evolution": ("of", "2"),
    "Consistency": ("of-image", "6"),
}


def entries(page: Page) -> int:
    """How many entries the tab's history has."""
    return page.evaluate("history.length")


def menu(page: Page, title: str) -> None:
    """Choose a page in the menu."""
    page.get_by_test_id("stSidebarNav").get_by_text(title, exact=True).click()


def is_at(page: Page, title: str) -> None:
    """Wait until this page is drawn, with what was chosen there, in the control and in the address."""
    expect(page.get_by_role("heading", name=title, exact=True)).to_be_visible()
    if title in CHOSEN:
        key, value = CHOSEN[title]
        expect(field(page, key)).to_have_value(value)
        expect_query(page, **{key: value})
    if title == "Runs":
        expect(at_key(page, "every-epoch").locator("input")).to_be_checked()
    wait_idle(page, quiet_ms=60)
    no_exception(page)


def test_every_pair_of_pages(page: Page, app: Server) -> None:
    """From every page to every other by the menu, and from every one to every other by Back, selections kept."""
    arrive(page, app, **TINY, data="toy")
    for title in PAGES[1:]:
        begun = time.perf_counter()
        menu(page, title)
        expect(page.get_by_role("heading", name=title, exact=True)).to_be_visible()
        ready(page)
        if title in CHOSEN:
            enter(page, *CHOSEN[title])
        else:
            at_key(page, "every-epoch").locator("label").first.click()
        is_at(page, title)
        ready(page)
        print(title, time.perf_counter() - begun)
    menu(page, "Overview")
    is_at(page, "Overview")
    # 0 1 0 2 0 3 ... 0 7 1 2 1 3 ... 6 7 0: each page follows each other page once.
    numbers = [one for i in range(8) for j in range(i + 1, 8) for one in (i, j)]
    path = [PAGES[number] for number in [*numbers, 0]]
    pairs = set(zip(path, path[1:], strict=False))
    assert len(pairs) == len(path) - 1 == 56
    middle = len(path) // 2  # a browser remembers 50 entries
    for part in (path[: middle + 1], path[middle:]):
        before = entries(page)
        for title in part[1:]:
            menu(page, title)
            is_at(page, title)
        assert entries(page) == min(50, before + len(part) - 1)
        for title in reversed(part[:-1]):
            page.go_back()
            is_at(page, title)
        page.evaluate(f"history.go({len(part) - 1})")
        is_at(page, part[-1])
