"""A view as a link: copied, or shown to be copied by hand; inside another page's frame, and as a presentation."""

from functools import partial

from playwright.sync_api import Page, expect

from driver import Server, settle
from ntkcore.runs.claims import CLAIMS
from steps import at_key, expect_query, press, ready

NO_CLIPBOARD = "() => { navigator.clipboard.writeText = () => Promise.reject(new Error()); }"


def test_a_view_is_copied_as_a_link(page: Page, app: Server) -> None:
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.goto(f"{app.url}/story?claim=3&embed=true")
    ready(page)
    wanted = f"{app.url}/story?claim=3"
    button, field = page.get_by_role("button", name="Copy link to this view"), page.get_by_label("Link to this view")
    button.click()
    expect(page.get_by_text("Copied", exact=True)).to_be_visible()
    assert page.evaluate("navigator.clipboard.readText()") == wanted
    expect(field).to_be_hidden()
    page.evaluate(NO_CLIPBOARD)
    button.click()
    expect(field).to_have_value(wanted)
    assert page.evaluate("document.getSelection().toString() || document.activeElement.value") == wanted
    expect(page.get_by_text("Copy it with Ctrl+C:")).to_be_visible()


def test_a_frame_stays_a_frame_and_a_talk_a_talk(page: Page, app: Server) -> None:
    """From page to page, by a button, by Back and by the menu; no second scroll bar inside the frame.

    Back steps through the story, and a talk stays one where the entry of the history lacks it.
    """
    page.set_viewport_size({"width": 800, "height": 600})
    page.goto(f"{app.url}/?embed=true&present=1")
    ready(page)
    press(page, "front-story")
    expect(at_key(page, "story-next")).to_be_visible()
    expect_query(page, embed="true", present="true")
    ready(page)
    page.evaluate("history.replaceState(history.state, '', '?embed=true')")
    for number, turn in ((2, partial(page.keyboard.press, "ArrowRight")), (1, page.go_back)):
        turn()
        expect(page.get_by_role("heading", name=f"{number}. {CLAIMS[number - 1].title}")).to_be_visible()
        expect(at_key(page, "leave-presenting")).to_be_visible()
        expect_query(page, embed="true", present="true")
        ready(page)
    page.keyboard.press("Escape")
    expect(page.get_by_test_id("stExpandSidebarButton")).to_be_visible()
    settle(page)
    expect_query(page, embed="true")
    page.get_by_test_id("stExpandSidebarButton").click()
    page.get_by_test_id("stSidebarNav").get_by_role("link", name="Runs").click()
    expect(page.get_by_role("heading", name="Runs")).to_be_visible()
    expect_query(page, embed="true")
    assert page.evaluate("document.documentElement.scrollHeight <= innerHeight")
