"""Transfer and Consistency in use: links, a story that comes in piece by piece, clicks, wrong input."""

import re
import time
from urllib.parse import urlencode

import pytest
from playwright.sync_api import Page, expect

from driver import Server, no_exception, settle
from steps import (
    alt,
    arrive,
    at_key,
    caption,
    choose,
    chosen,
    click_point,
    drawn,
    enter,
    expect_query,
    expect_words,
    field,
    is_titled,
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

# Nets of which the first is there in a moment and the second takes minutes.
LONG = {"n": "200", "m": "20", "widths": ["16", "8192"], "seeds": "1", "descent": "2000"}


def words(page: Page) -> list[str]:
    """All sentences of the page's main part, notices too."""
    return page.get_by_test_id("stMain").get_by_test_id("stMarkdownContainer").all_inner_texts()


# -- Transfer --------------------------------------------------------------------------------------------------------


def test_story_by_a_link(page: Page, app: Server) -> None:
    """A panel for each width, sentences with numbers, a matrix of architectures; a thumbnail opens its image."""
    arrive(page, app, "transfer", **STORY)
    drawn(page, *FIGURES["transfer"])
    titles = at_key(page, "along-eps").locator(".annotation-text").all_text_contents()
    assert {"width 16", "width 64"} <= set(titles)
    assert "2 of 2 panels computed" in alt(page, "along-eps")
    for sentence in (
        r"At width 64 and eps 8/255, white-box FGSM leaves \d+(\.\d)? % \[\S+, \S+\] right",
        r"At the largest width, 64, FGSM on the kernel takes \d+(\.\d)? % \[",
        r"have cosine \d\.\d\d \[\S+, \S+\] at width 16 and \d\.\d\d \[\S+, \S+\] at width 64",
        r"Random signs of eps 8/255 cost",
        r"width 64, seed 0, FGSM on the kernel at eps 8/255: \d+ of 20 test images flip",
    ):
        expect_words(page, re.compile(sentence))
    for name in ("FC(1)", "FC(3)"):  # the matrix of architectures: nothing with one of them
        expect_words(page, "Choose two or more architectures")
        at_key(page, "architectures").scroll_into_view_if_needed()
        settle(page)  # a list of options closes when the page scrolls
        choose(page, "architectures", name)
    drawn(page, "across")
    ready(page)
    assert "4 of 4 cells filled" in alt(page, "across")
    cells = at_key(page, "across").locator(".annotation-text").all_text_contents()
    assert len([cell for cell in cells if re.fullmatch(r"-?\d+%", cell)]) == 4
    expect_query(page, architectures=["FC(1)", "FC(3)"])
    expect_words(page, re.compile("Columns: the net, of width 128"))
    click_point(page, "gallery", 13)
    is_titled(page, "Attack")
    expect(field(page, "image")).to_have_value("13")
    expect_query(page, image="13", target="width 64", n="60", m="20")
    ready(page)
    drawn(page, "margins", "sheet")
    expect(caption(page)).to_contain_text("60 training and 20 test images")


def test_the_controls_live_in_the_address(page: Page, app: Server) -> None:
    """Reloaded after some choices, the address gives the same view, without a notice."""
    arrive(page, app, "transfer", **STORY | {"widths": ["16"]})
    enter(page, "seeds", "1")
    enter(page, "radius", "8")
    expect_words(page, "At width 16 and eps 4/255")
    ready(page)
    at_key(page, "at").get_by_role("slider").press("ArrowLeft")
    expect_words(page, "At width 16 and eps 2/255")
    ready(page)
    expect_query(page, widths=["16"], seeds="1", radius="8", at="eps 2/255", n="60", m="20")
    before = words(page)
    address = query(page)
    page.reload()
    ready(page)
    assert words(page) == before
    assert chosen(page, "widths") == ["16"]
    assert float(field(page, "radius").input_value()) == 8
    assert query(page) == address


@pytest.mark.usefixtures("ended")
def test_a_story_comes_in_piece_by_piece(page: Page, app: Server, record_property) -> None:
    """The first net's panel is there while the second is trained; Cancel stops soon and leaves what was finished."""
    page.goto(f"{app.url}/transfer?{urlencode(LONG, doseq=True)}")
    expect_words(page, "of memory.")
    page.get_by_role("button", name="Run", exact=True).click()
    drawn(page, "along-eps", "along-width", "along-training")
    expect(page.get_by_role("button", name="Cancel")).to_be_visible()
    assert "1 of 2 panels computed" in alt(page, "along-eps")
    expect_words(page, re.compile(r"At width 16 FGSM on the kernel takes"))
    expect(working(page)).to_contain_text(re.compile(r"training, step \d+ of 2000"), timeout=20_000)
    begun = time.monotonic()
    page.get_by_role("button", name="Cancel").click()
    expect_words(page, "Cancelled")
    seconds = time.monotonic() - begun
    record_property("seconds from Cancel to Cancelled", round(seconds, 2))
    print(f"cancelled after {seconds:.2f} s")
    assert seconds < 6  # also on a busy machine
    ready(page)
    drawn(page, *FIGURES["transfer"])
    assert "1 of 2 panels computed" in alt(page, "along-eps")
    expect(page.get_by_role("button", name=re.compile("Run again|Go on"))).to_be_visible()


def test_wrong_input(page: Page, app: Server) -> None:
    """A sentence in place of the figures, never a traceback; with the next choice all is well again."""
    arrive(page, app, "transfer", widths=["16"], seeds="1")
    enter(page, "radius", "0")
    expect_words(page, re.compile("takes no accuracy at eps 0/255, so there is no share"))
    expect_words(page, re.compile(": 0 of 20 test images flip"))
    drawn(page, *FIGURES["transfer"])
    enter(page, "radius", "300")
    expect(page.get_by_role("alert").get_by_text("Please enter a value between 0.00 and 255.00.")).to_be_visible()
    no_exception(page)
    enter(page, "radius", "16")
    drawn(page, "along-eps")
    at_key(page, "widths").get_by_role("button", name="Remove 16").click()
    expect_words(page, "Choose at least one width, or a net to stand beside.")
    no_exception(page)
    choose(page, "widths", "16")
    drawn(page, "along-eps")
    expect_query(page, widths=["16"])
    page.get_by_text("How the nets are trained").click()
    enter(page, "lr", "100")
    expect_words(page, re.compile("learning rate of 100 n/λmax diverges; choose one below"))
    ready(page)
    assert "Traceback" not in "\n".join(words(page))
    page.get_by_test_id("stSidebarNav").get_by_text("Spectrum", exact=True).click()
    is_titled(page, "Spectrum")
    ready(page)
    drawn(page, "eigenvalues")


# -- Consistency -----------------------------------------------------------------------------------------------------


def test_consistency_by_a_link(page: Page, app: Server) -> None:
    """Alignment, shared eigenspaces, a table, matched features, pictures of each; a sentence when only one is left."""
    arrive(page, app, "consistency", **COMPARED)
    drawn(page, *FIGURES["consistency"])
    expect_words(
        page, re.compile("Compared on 40 training images of 14x14 pixels; features are judged on 10 test images")
    )
    expect_words(page, re.compile(r"The centred alignment of FC\(1\) and Conv\(2\) is [01]\.\d+ \["))
    expect_words(page, re.compile(r"FC\(1\) and Conv\(2\) share \d+(\.\d)? % \[.*\] of the space of their 15 leading"))
    expect_words(page, re.compile(r"features (of FC\(1\)|among the 20 largest)|No feature of FC\(1\)"))
    expect_words(page, re.compile(r"its mean over 10 test images is [+-]\d\.\d\d \["))
    expect(page.get_by_test_id("stDataFrame")).to_be_visible()
    pictures = page.get_by_test_id("stMain").get_by_test_id("stImageCaption").all_inner_texts()
    assert pictures[:7] == ["FC(1)", *(f"feature {index}" for index in range(6))]
    assert pictures[7] == "Conv(2)"
    assert all(re.fullmatch(r"feature \d+", caption) for caption in pictures[8:])
    assert len(set(pictures[8:])) == 6
    before = words(page)
    page.reload()
    ready(page)
    assert words(page) == before
    assert chosen(page, "compared") == ["FC(1)", "Conv(2)"]
    at_key(page, "compared").get_by_role("button", name="Remove Conv(2)").click()
    expect_words(page, "Choose two to five architectures to compare.")
    no_exception(page)
    choose(page, "compared", "FC(3)")
    expect_words(page, re.compile(r"The centred alignment of FC\(1\) and FC\(3\) is"))
    ready(page)
    expect_query(page, compared=["FC(1)", "FC(3)"])
