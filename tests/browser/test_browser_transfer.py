"""Transfer and Consistency in use: links, a story that comes in piece by piece, clicks, wrong input, small screens."""

import re
import time
from collections.abc import Iterator

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from driver import Server, no_exception
from steps import (
    arrive,
    at_key,
    caption,
    choose,
    chosen,
    click_point,
    enter,
    expect_query,
    expect_words,
    field,
    press,
    query,
    ready,
    working,
)

STORY = {"widths": ["16", "64"], "seeds": "2"}
COMPARED = {"compared": ["FC(1)", "Conv(2)"], "cn": "40", "cm": "10"}
FIGURES = {
    "transfer": ["along-eps", "along-width", "along-training", "training-loss", "gallery"],
    "consistency": ["alignment", "overlap", "pair-vectors", "matched"],
}
OF_PAGE = {"transfer": STORY, "consistency": COMPARED}

# Nets of which the first is there in a moment and the last takes minutes.
LONG = {"n": "400", "m": "100", "widths": ["16", "8192"], "seeds": "1", "descent": "2000"}


def words(page: Page) -> list[str]:
    """All sentences of the page's main part, notices too."""
    return page.get_by_test_id("stMain").get_by_test_id("stMarkdownContainer").all_inner_texts()


def alt(page: Page, key: str) -> str:
    """The alt text of a figure; empty where it has none."""
    chart = at_key(page, key).get_by_test_id("stPlotlyChart")
    labels = chart.evaluate("(e) => [e, ...e.querySelectorAll('[aria-label]')].map((x) => x.ariaLabel ?? '')")
    return max(labels, key=len)


def drawn(page: Page, *keys: str) -> None:
    """Wait until these figures are drawn."""
    for key in keys:
        expect(at_key(page, key).locator(".main-svg").first).to_be_visible()


@pytest.fixture
def ended(app: Server) -> Iterator[None]:
    """Whatever a test has started and not waited for ends with it: those that follow need the worker."""
    yield
    app.end_jobs()


# -- Transfer --------------------------------------------------------------------------------------------------------


def test_story_by_a_link(page: Page, app: Server) -> None:
    """A panel for each width, each figure with its words, and sentences with numbers."""
    arrive(page, app, "transfer", **STORY)
    drawn(page, *FIGURES["transfer"])
    titles = at_key(page, "along-eps").locator(".annotation-text").all_inner_texts()
    assert {"width 16", "width 64"} <= set(titles)
    assert "2 of 2 panels computed" in alt(page, "along-eps")
    for key in FIGURES["transfer"]:
        assert len(alt(page, key)) > 40, key
    expect_words(page, re.compile(r"At width 64 and eps 8/255: White-box FGSM leaves \d+(\.\d)? % right"))
    expect_words(page, re.compile(r"At the largest width, 64, FGSM on the kernel takes \d+(\.\d)? %"))
    expect_words(page, re.compile(r"have cosine \d\.\d\d at width 16 and \d\.\d\d at width 64"))
    expect_words(page, re.compile(r"Random signs of the same radius cost"))
    expect_words(page, re.compile(r"width 64, seed 0, FGSM on the kernel at eps 8/255: \d+ of 20 test images flip"))


def test_the_controls_live_in_the_address(page: Page, app: Server, context: BrowserContext) -> None:
    """Reloaded, or opened in another tab, the address after some choices gives the same view."""
    arrive(page, app, "transfer", **STORY)
    enter(page, "seeds", "1")
    expect_words(page, re.compile("seed 0, FGSM on the kernel"))
    enter(page, "radius", "8")
    expect_words(page, "At width 64 and eps 4/255")
    ready(page)
    expect_query(page, widths=["16", "64"], seeds="1", radius="8", n="60", m="20")
    before = words(page)
    other = context.new_page()
    other.goto(page.url)
    page.reload()
    for tab in (page, other):
        ready(tab)
        assert words(tab) == before
        assert chosen(tab, "widths") == ["16", "64"]
        assert float(field(tab, "radius").input_value()) == 8
        assert query(tab) == query(page)
    other.close()


def test_the_radius_of_the_numbers_is_in_the_address(page: Page, app: Server) -> None:
    """A link to a radius is as good as the slider: same sentences, no notice."""
    arrive(page, app, "transfer", **STORY)
    at_key(page, "at").get_by_role("slider").press("ArrowLeft")
    expect_words(page, "At width 64 and eps 4/255")
    ready(page)
    assert "at" in query(page)
    before = words(page)
    page.reload()
    ready(page)
    assert words(page) == before


@pytest.mark.usefixtures("ended")
def test_a_story_comes_in_piece_by_piece(page: Page, app: Server, record_property) -> None:
    """The first net's panel is there while the others are trained; Cancel stops soon and leaves what was finished."""
    page.goto(f"{app.url}/transfer?" + "&".join(link(LONG)))
    expect_words(page, "of memory.")
    page.get_by_role("button", name="Run", exact=True).click()
    expect(working(page)).to_have_count(1)
    drawn(page, "along-eps", "along-width", "along-training")
    expect(page.get_by_role("button", name="Cancel")).to_be_visible()
    assert "1 of 2 panels computed" in alt(page, "along-eps")
    expect_words(page, re.compile(r"At width 16 FGSM on the kernel takes"))
    expect(working(page)).to_contain_text("step", timeout=20_000)
    begun = time.monotonic()
    page.get_by_role("button", name="Cancel").click()
    expect_words(page, "Cancelled")
    seconds = time.monotonic() - begun
    record_property("seconds from Cancel to Cancelled", round(seconds, 2))
    print(f"cancelled after {seconds:.2f} s")
    assert seconds < 2
    ready(page)
    drawn(page, *FIGURES["transfer"])
    assert "1 of 2 panels computed" in alt(page, "along-eps")
    expect(page.get_by_role("button", name="Run again")).to_be_visible()
    expect(working(page)).to_have_count(0)


def link(parameters: dict[str, str | list[str]]) -> list[str]:
    """The parts of an address with these parameters."""
    lists = {name: value if isinstance(value, list) else [value] for name, value in parameters.items()}
    return [f"{name}={one}" for name, values in lists.items() for one in values]


@pytest.mark.usefixtures("ended")
def test_the_preset_opens_its_page(page: Page, app: Server) -> None:
    """From the Overview to Transfer, with the preset's widths and radius, on centred pixels."""
    arrive(page, app)
    press(page, "preset-story")
    expect(page.get_by_role("heading", name="Transfer", exact=True)).to_be_visible()
    expect(caption(page)).to_contain_text("500 training and 300 test images, inputs centred, FC(1) NTK")
    expect_query(page, inputs="centre", n="500", radius="12.75")
    assert chosen(page, "widths") == ["32", "128", "512", "2048"]
    expect(page.get_by_role("button", name=re.compile("^(Run|Cancel)$"))).to_be_visible()
    no_exception(page)


def test_click_on_a_thumbnail_opens_the_attack_page(page: Page, app: Server) -> None:
    arrive(page, app, "transfer", **STORY)
    click_point(page, "gallery", 13)
    expect(page.get_by_role("heading", name="Attack", exact=True)).to_be_visible()
    ready(page)
    expect(field(page, "image")).to_have_value("13")
    expect_query(page, image="13", n="60", m="20")
    expect(caption(page)).to_contain_text("60 training and 20 test images")
    page.go_back()
    expect(page.get_by_role("heading", name="Transfer", exact=True)).to_be_visible()
    ready(page)


def test_across_architectures(page: Page, app: Server) -> None:
    """Nothing with one of them; the matrix with two, kept in the address."""
    arrive(page, app, "transfer", **STORY)
    expect_words(page, "Choose two or more architectures")
    choose(page, "architectures", "FC(1)")
    choose(page, "architectures", "FC(3)")
    drawn(page, "across")
    ready(page)
    assert "4 of 4 cells computed" in alt(page, "across")
    cells = at_key(page, "across").locator(".annotation-text").all_inner_texts()
    assert len([cell for cell in cells if re.fullmatch(r"-?\d+%", cell)]) == 4
    expect_query(page, architectures=["FC(1)", "FC(3)"])
    expect_words(page, re.compile("Columns: the net, of width 128"))


def test_no_width(page: Page, app: Server) -> None:
    """A sentence in place of the figures, and all is well again with one of them chosen."""
    arrive(page, app, "transfer", **STORY)
    for width in ("16", "64"):
        at_key(page, "widths").get_by_role("button", name=f"Remove {width}").click()
    expect_words(page, "Choose at least one width, or a net to stand beside.")
    no_exception(page)
    choose(page, "widths", "64")
    drawn(page, "along-eps")
    ready(page)
    expect_query(page, widths=["64"])


def test_a_learning_rate_that_diverges(page: Page, app: Server) -> None:
    """A sentence that says so and how to mend it; the other pages go on, and a smaller one is taken."""
    arrive(page, app, "transfer", **STORY)
    page.get_by_text("Training of the twins").click()
    enter(page, "lr", "100")
    expect_words(page, re.compile("learning rate of 100 n/lam_max diverges; choose one below"))
    ready(page)
    assert "Traceback" not in "\n".join(words(page))
    page.get_by_test_id("stSidebarNav").get_by_text("Attack", exact=True).click()
    expect(page.get_by_role("heading", name="Attack", exact=True)).to_be_visible()
    ready(page)
    drawn(page, "margins", "sheet")
    arrive(page, app, "transfer", **STORY, lr=1)
    drawn(page, *FIGURES["transfer"])


def test_no_radius(page: Page, app: Server) -> None:
    """Attacks of radius 0 take nothing, and the page says that there is no share to tell."""
    arrive(page, app, "transfer", **STORY)
    enter(page, "radius", "0")
    expect_words(page, re.compile("There is no share to tell at eps 0/255"))
    ready(page)
    drawn(page, *FIGURES["transfer"])
    expect_words(page, re.compile(": 0 of 20 test images flip"))


def test_a_radius_beyond_the_pixels(page: Page, app: Server) -> None:
    arrive(page, app, "transfer", **STORY)
    enter(page, "radius", "300")
    expect_words(page, re.compile(r"at most 1 \(255/255\)"))
    no_exception(page)
    enter(page, "radius", "16")
    drawn(page, "along-eps")
    ready(page)


# -- Consistency -----------------------------------------------------------------------------------------------------


def test_consistency_by_a_link(page: Page, app: Server) -> None:
    """Alignment, shared eigenspaces, classes in a table, matched features of the one pair, pictures of each."""
    arrive(page, app, "consistency", **COMPARED)
    drawn(page, *FIGURES["consistency"])
    for key in FIGURES["consistency"]:
        assert len(alt(page, key)) > 40, key
    expect_words(page, "Compared on 40 training and 10 test images of 7x7 pixels.")
    expect_words(page, re.compile(r"The centred alignment of FC\(1\) and Conv\(2\) is [01]\.\d+\."))
    expect_words(page, re.compile(r"share \d+(\.\d)? % of the space of their 20 leading eigenvectors"))
    expect_words(page, re.compile(r"Robust useful features among the largest eigenvalues: FC\(1\) \d+ of 20"))
    expect_words(page, re.compile(r"input gradients is [+-]\d\.\d\d on average"))
    expect(page.get_by_test_id("stDataFrame")).to_be_visible()
    pictures = page.get_by_test_id("stMain").get_by_test_id("stImageCaption").all_inner_texts()
    assert pictures == [
        name for net in ("FC(1)", "Conv(2)") for name in (net, *(f"feature {index}" for index in range(6)))
    ]
    before = words(page)
    page.reload()
    ready(page)
    assert words(page) == before
    assert chosen(page, "compared") == ["FC(1)", "Conv(2)"]


def test_too_few_architectures(page: Page, app: Server) -> None:
    arrive(page, app, "consistency", **COMPARED)
    at_key(page, "compared").get_by_role("button", name="Remove Conv(2)").click()
    expect_words(page, "Choose two to six architectures to compare.")
    no_exception(page)
    choose(page, "compared", "FC(3)")
    drawn(page, "alignment")
    ready(page)
    expect_words(page, re.compile(r"The centred alignment of FC\(1\) and FC\(3\) is"))
    expect_query(page, compared=["FC(1)", "FC(3)"])


# -- looks -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", OF_PAGE)
def test_on_a_phone(name: str, scheme: str, page: Page, app: Server) -> None:
    """At 400 pixels: the figures are drawn in the reader's colours and nothing is wider than the window."""
    page.set_viewport_size({"width": 400, "height": 800})
    page.emulate_media(color_scheme=scheme)
    arrive(page, app, name, **OF_PAGE[name])
    drawn(page, *FIGURES[name])
    sizes = page.evaluate(
        """() => {
          const main = document.querySelector('[data-testid="stMain"]');
          return [document.documentElement.scrollWidth - window.innerWidth, main.scrollWidth - main.clientWidth];
        }"""
    )
    assert max(sizes) <= 0, f"wider than the window by {sizes} pixels"
    inks = page.evaluate(
        """() => [...document.querySelectorAll('.js-plotly-plot')].map((plot) => plot._fullLayout.font.color)"""
    )
    assert len({ink.lower() for ink in inks}) == 1
    light = sum(int(inks[0].lstrip("#")[k : k + 2], 16) for k in (0, 2, 4)) > 384
    assert light == (scheme == "dark")
    no_exception(page)
