"""The story as a talk: each claim on the first screen, arrow keys, and sliders that ask nothing of the server."""

import time
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, WebSocket, expect

from driver import Server, no_exception
from ntkcore.figures.drawing.enlarge import SMALLEST
from ntkcore.readings.verdicts import VERDICTS
from ntkcore.runs.claims import CLAIMS
from steps import at_key, drawn, is_titled, ready

# Pixels, as drawn, of the smallest text in a figure.
SMALLEST_TEXT = """
(figure) => Math.min(...[...figure.querySelectorAll("svg text, svg tspan")]
  .filter((text) => [...text.childNodes].some((part) => part.nodeType === 3 && part.data.trim()))
  .map((text) => {
    const to = text.getScreenCTM();
    return parseFloat(getComputedStyle(text).fontSize) * Math.hypot(to.a, to.b);
  }))
"""


@pytest.fixture
def sent(page: Page) -> Iterator[list[object]]:
    """What the page has sent to the server since it was opened."""
    messages: list[object] = []

    def opened(socket: WebSocket) -> None:
        socket.on("framesent", lambda message: messages.append(message))  # playwright marks the function

    page.on("websocket", opened)
    yield messages
    page.remove_listener("websocket", opened)


def test_told_as_a_talk(page: Page, app: Server) -> None:
    """From the first claim to the last by the arrow key: claim, figure, number and verdict without scrolling."""
    page.goto(f"{app.url}/story")
    expect(page.get_by_role("heading", name=f"1. {CLAIMS[0].title}")).to_be_visible()
    page.get_by_test_id("stSidebarNav").get_by_text("Runs", exact=True).click()
    is_titled(page, "Runs")
    page.go_back()  # to an address that names no screen
    for number, claim in enumerate(CLAIMS, 1):
        title = page.get_by_role("heading", name=f"{number}. {claim.title}")
        expect(title).to_be_visible()
        ready(page)
        figure = f"story-{claim.name}"
        drawn(page, figure)
        main = page.get_by_test_id("stMain")
        verdict = (
            main.locator("h3")
            .filter(has_text="|".join(VERDICTS))
            .or_(main.locator("h3").filter(has=page.locator(".stMarkdownBadge")))
        )
        for what, place in {
            "claim": title,
            "figure": at_key(page, figure),
            "number": main.locator("h1").nth(1),
            "verdict": verdict.first,
        }.items():
            box = place.bounding_box()
            assert box is not None, (claim.name, what)
            assert box["y"] >= 0, (claim.name, what)
            assert box["y"] + box["height"] <= 900, (claim.name, what, box)
            assert box["x"] + box["width"] <= 1440, (claim.name, what, box)
        page.keyboard.press("ArrowRight")
    expect(page.get_by_role("heading", name="Which of the paper's claims hold here")).to_be_visible()
    ready(page)
    for claim in CLAIMS:
        expect(page.get_by_test_id("stMain").get_by_text(claim.title)).to_be_visible()
    no_exception(page)
    at_key(page, "present").get_by_text("Presenter mode").click()
    expect(at_key(page, "leave-presenting")).to_be_visible()
    ready(page)
    for claim in reversed(CLAIMS):
        page.keyboard.press("ArrowLeft")
        figure = at_key(page, f"story-{claim.name}")
        drawn(page, f"story-{claim.name}")
        box = figure.bounding_box()
        assert box is not None, claim.name
        assert box["y"] + box["height"] <= 900, (claim.name, box)
        assert figure.evaluate(SMALLEST_TEXT) >= SMALLEST, claim.name


@pytest.mark.parametrize(
    ("address", "key", "end", "quarter"),
    [
        pytest.param("story", "story-training_free", "≤ 16/255", "≤ 4/255", id="story"),
        pytest.param("attack?n=60&m=20&size=7", "margins", "≤ 51/255", "≤ 6/255", id="attack"),
    ],
)
def test_the_radius_moves_at_once(
    address: str, key: str, end: str, quarter: str, page: Page, app: Server, sent: list[object]
) -> None:
    """The slider under the pictures: image, noise and prediction follow, and nothing is sent.

    Every page asks by itself, every two seconds and in the same words, whether the theme has changed.
    """
    page.goto(f"{app.url}/{address}")
    ready(page)
    drawn(page, key)
    figure = at_key(page, key)
    expect(figure.get_by_text("≤ 8/255")).to_be_visible()
    settled, until = len(sent), time.monotonic() + 20
    while len(sent) < settled + 2 and time.monotonic() < until:
        page.wait_for_timeout(100)
    before, picture = len(sent), figure.locator("image").nth(2).get_attribute("href")
    rail = figure.locator(".slider-rail-touch-rect").bounding_box()
    assert rail is not None
    for share, words in ((0.0, "≤ 0"), (1.0, end), (0.25, quarter)):
        page.mouse.click(rail["x"] + max(1, share * rail["width"] - 1), rail["y"] + rail["height"] / 2)
        expect(figure.get_by_text(words, exact=False).first).to_be_visible()
    assert figure.locator("image").nth(2).get_attribute("href") != picture
    step = "(figure) => figure.querySelector('.js-plotly-plot')._fullLayout.sliders[0].active"
    at = figure.evaluate(step)
    figure.locator(".slider-group").focus()
    page.keyboard.press("ArrowRight")  # moves the slider, and turns no screen
    assert figure.evaluate(step) == at + 1
    assert set(sent[before:]) <= set(sent[settled:before])
