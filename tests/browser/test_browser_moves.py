"""Moving through the app: a move is one entry of the browser's history, Back brings the view of before, all of it."""

from collections.abc import Callable, Iterator
from itertools import pairwise

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from driver import Server, no_exception, wait_idle
from pages.ui.shell.vocabulary import in_words
from steps import arrive, at_key, caption, click_point, enter, expect_query, field, is_titled, press, query, ready

TINY = {"n": "20", "m": "10"}
TOY = in_words("data", "toy")
OFFERED = {"trained": "Large CNN (6 convolutions)", "epochs": "30", "psteps": "200"}  # too long to begin by itself
PAGES = ("Overview", "Spectrum", "Eigenfeatures", "Attack", "Transfer", "Evolution", "Consistency", "Runs")
# A control of each page, and what is chosen there.
CHOSEN = {
    "Spectrum": ("vi", "5"),
    "Eigenfeatures": ("feature", "3"),
    "Attack": ("image", "4"),
    "Transfer": ("seeds", "1"),
    "Evolution": ("eseeds", "2"),
    "Consistency": ("of-image", "6"),
}


@pytest.fixture
def tab(context: BrowserContext) -> Iterator[Page]:
    """A tab of its own for each test: with a history of its own, of which the browser remembers 50 entries."""
    fresh = context.new_page()
    yield fresh
    fresh.close()


def entries(page: Page) -> int:
    """How many entries the tab's history has."""
    return page.evaluate("history.length")


def menu(page: Page, title: str) -> None:
    """Choose a page in the menu."""
    page.get_by_test_id("stSidebarNav").get_by_text(title, exact=True).click()


def is_at(page: Page, title: str) -> None:
    """Wait until this page is drawn, of the same experiment, with what was chosen there, in the control and in the
    address."""
    is_titled(page, title)
    expect_query(page, data="toy", **TINY)
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
    arrive(page, app, "evolution", **TINY, data=TOY, epochs="1", eseeds="1", regimes="standard")  # listed on Runs
    arrive(page, app, "evolution", **TINY, data=TOY, **OFFERED)
    for title in ("Evolution", *(title for title in PAGES[1:] if title != "Evolution")):
        menu(page, title)
        is_titled(page, title)
        ready(page)
        if title in CHOSEN:
            enter(page, *CHOSEN[title])
        else:
            at_key(page, "every-epoch").locator("label").first.click()
        is_at(page, title)
    menu(page, "Overview")
    is_at(page, "Overview")
    # 0 1 0 2 0 3 ... 0 7 1 2 1 3 ... 6 7 0: each page follows each other page once.
    numbers = [one for i in range(8) for j in range(i + 1, 8) for one in (i, j)]
    path = [PAGES[number] for number in [*numbers, 0]]
    pairs = set(pairwise(path))
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


def test_a_move_is_one_entry(page: Page, app: Server) -> None:
    """By a link in the page, a preset, a click on a picture, a button: one entry, and Back shows what was there."""

    def after(move: Callable[[], object], title: str, more: int = 1) -> dict[str, list[str]]:
        """The parameters that a move leads to, which makes so many entries."""
        before = entries(page)
        move()
        is_titled(page, title)
        ready(page)
        assert entries(page) == before + more
        return query(page)

    def back_and_forward(left: dict, title: str, there: dict, title_there: str) -> None:
        """Both views are as they were, and no entry is added."""
        for move, address, heading in ((page.go_back, left, title), (page.go_forward, there, title_there)):
            assert after(move, heading, 0) == address

    arrive(page, app, "eigenfeatures", **TINY, data="toy", k="5")
    features = after(lambda: click_point(page, "scatter", 3), "Eigenfeatures", 0)
    expect_query(page, feature="3", k="5")
    features = query(page)
    image = after(page.get_by_text("Attack this image").last.click, "Attack")
    assert "image" in image
    back_and_forward(features, "Eigenfeatures", image, "Attack")

    overview = after(lambda: menu(page, "Overview"), "Overview")
    preset = after(lambda: press(page, "preset-shoes"), "Overview")
    assert preset["classes"] == ["Sneaker", "Ankle boot"]
    back_and_forward(overview, "Overview", preset, "Overview")
    expect(caption(page)).to_contain_text("Sneaker / Ankle boot, 1000 training")
    page.go_back()  # a control that a preset has set follows at once
    expect(caption(page)).to_contain_text("20 training and 10 test images")
    # Its entry takes the place of the one that Back has left; a double click is one.
    story = after(at_key(page, "preset-story").get_by_role("button").dblclick, "Transfer", 0)
    back_and_forward(overview, "Overview", story, "Transfer")


def test_pictures_and_kernels_are_one_entry(page: Page, app: Server) -> None:
    """From Transfer's pictures to Attack, and from a net in training to the kernels' pages and back again."""
    arrive(page, app, "transfer", **TINY, widths="8", seeds="1", descent="5", radius="12")
    before, left = entries(page), query(page)
    click_point(page, "gallery", 3)
    is_titled(page, "Attack")
    ready(page)
    expect_query(page, image="3", n="20")
    page.go_back()
    is_titled(page, "Transfer")
    ready(page)
    assert query(page) == left
    assert entries(page) == before + 1

    arrive(page, app, "evolution", **TINY, epochs="1", eseeds="1", regimes="standard")
    before, left = entries(page), query(page)
    press(page, "use-standard")
    is_titled(page, "Spectrum")
    ready(page)
    kernel = query(page)
    expect(page.get_by_test_id("stSidebar").get_by_text("have no effect on this page")).to_be_visible()
    press(page, "infinite")
    expect(caption(page)).to_contain_text("FC(1) NTK")
    ready(page)
    assert entries(page) == before + 2
    page.go_back()
    expect(caption(page)).to_contain_text("empirical NTK of Small CNN")
    ready(page)
    assert query(page) == kernel
    page.go_back()
    is_titled(page, "Evolution")
    ready(page)
    assert query(page) == left


def test_back_to_a_link_that_no_control_can_take(page: Page, app: Server) -> None:
    page.goto(f"{app.url}/spectrum?n=inf&m=10&keep=1e999")
    ready(page)
    page.go_back()
    ready(page)
    expect(caption(page)).to_contain_text("1000 training and 10 test images")
    assert set(query(page)) == {"m"}
