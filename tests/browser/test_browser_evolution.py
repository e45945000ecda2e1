"""Evolution in use: curves that grow, stop and go on, two tabs, the epoch slider."""

import re

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from driver import Server, no_exception
from steps import (
    alt,
    arrive,
    at_key,
    drawn,
    expect_query,
    expect_words,
    query,
    ready,
    run_it,
    working,
)

MOTION = {"size": "7", "epochs": "3", "eseeds": "1", "inputs": "centre", "eps": "16", "freeze": "1"}
FIGURES = (
    "accuracies",
    "velocity",
    "thresholds",
    "distances",
    "paths",
    "concentration",
    "aligned",
    "spectra",
    "frozen",
)
LONG = {"n": "300", "m": "20", "epochs": "150", "eseeds": "1", "draw": "3"}


def test_by_a_link(page: Page, app: Server) -> None:
    """Every figure, sentences with numbers, pictures of features, and the slider for the epoch."""
    arrive(page, app, "evolution", **MOTION)
    drawn(page, *FIGURES)
    assert len(alt(page, "frozen")) > 40
    for sentence in (
        r"Accuracy at the last epoch, clean and under PGD ℓ∞ eps 16/255: \d+(\.\d)? % and \d+(\.\d)? %",
        r"Velocity stays below 10 % of its first value",
        r"Over the second half of training",
        r"After 3 epochs the 20 largest eigenvalues hold \d\d(\.\d)? % of the trace",
        r"Frozen, the net gets right under attack",
    ):
        expect_words(page, re.compile(sentence))
    assert page.get_by_alt_text("feature 3").count() == 2
    handle = at_key(page, "look").get_by_role("slider")  # one step back: the spectrum and pictures of the epoch before
    for _ in range(3):  # a page drawn anew in this very moment forgets the key
        ready(page)
        if handle.get_attribute("aria-valuetext") == "3":
            handle.press("ArrowLeft")
        page.wait_for_timeout(500)
        ready(page)
        if query(page).get("look") == ["2"]:
            break
    expect_query(page, look="2")
    ready(page)
    expect(page.get_by_text("FGSM training, epoch 2").first).to_be_visible()


@pytest.mark.usefixtures("ended")
def test_grows_stops_and_goes_on(page: Page, app: Server, context: BrowserContext) -> None:
    """Curves while it trains; a second tab watches the same job; stopped, reloaded, gone on: nothing begins anew."""
    page.goto(f"{app.url}/evolution?" + "&".join(f"{name}={value}" for name, value in LONG.items()))
    run_it(page)
    drawn(page, "accuracies", "velocity")
    expect(working(page)).to_contain_text(re.compile(r"epoch \d+, step|attacking|about"), timeout=30_000)
    other = context.new_page()
    other.goto(page.url)
    expect(other.get_by_role("button", name="Cancel")).to_be_visible(timeout=30_000)
    other.close()
    page.get_by_role("button", name="Cancel").click()
    expect_words(page, "Cancelled")
    page.reload()
    ready(page)
    drawn(page, "accuracies")
    go_on = page.get_by_role("button", name=re.compile("^(Go on|Run)$"))
    expect(go_on).to_be_visible()
    go_on.click()
    expect(working(page)).not_to_contain_text("starting", timeout=30_000)  # the worker has it, and ends with it
    expect(working(page)).to_contain_text(re.compile(r"epoch [1-9]\d*, step|attacking|about"))
    no_exception(page)
