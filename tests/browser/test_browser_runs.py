"""Long runs and kept results: cancelling, a second tab, opening, exporting, verifying, downloading, uploading."""

import io
import json
import time
import zipfile

import numpy as np
import pytest
from playwright.sync_api import BrowserContext, Page, expect
from safetensors.torch import load

from driver import Server
from ntkcore.analysis.features.classes import WORDS
from ntkcore.runs import specs
from steps import arrive, at_key, caption, expect_query, expect_words, field, is_titled, query, ready, run_it, working


def select_row(page: Page, row: int) -> None:
    """Select a row of the table of runs, by the box at its left."""
    table = at_key(page, "runs").locator(".dvn-scroller")
    table.click(position={"x": 12, "y": 35 + 35 * row + 17})


def test_cancel_a_long_run(page: Page, app: Server, context: BrowserContext, record_property) -> None:
    """Started by a click after its cost was said; a second tab and a reload find it; it stops soon after Cancel."""
    try:
        cancel_in_two_tabs(page, app, context, record_property)
    finally:
        app.end_jobs()  # whatever went wrong: the tests that follow need the worker
    arrive(page, app, "spectrum", draw=31)  # the worker is fit for the next run


def cancel_in_two_tabs(page: Page, app: Server, context: BrowserContext, record_property) -> None:
    """The steps of the test above."""
    address = f"{app.url}/spectrum?n=400&m=50&net=Myrtle&depth=10"
    page.goto(address)
    expect_words(page, "of memory.")
    run_it(page)
    expect(working(page)).to_have_count(1)
    other = context.new_page()
    other.goto(address)
    expect(working(other)).to_have_count(1)
    page.reload()
    expect(working(page)).to_have_count(1)
    expect(working(page)).to_contain_text("kernel", timeout=20_000)
    page.bring_to_front()  # a tab in the background draws late
    begun = time.monotonic()
    page.get_by_role("button", name="Cancel").click()
    expect_words(page, "Cancelled")
    seconds = time.monotonic() - begun
    expect_words(other, "Cancelled")
    record_property("seconds from Cancel to Cancelled", round(seconds, 2))
    print(f"cancelled after {seconds:.2f} s")
    assert seconds < 5
    expect(other.get_by_role("button", name="Run again")).to_be_visible()
    other.close()


def test_runs(page: Page, app: Server) -> None:
    """One run of the list: exported as a zip, opened in its page with its experiment; all verified."""
    arrive(page, app, "attack", classes=["Dress", "Coat"], image=6)
    arrive(page, app, "runs")
    select_row(page, 0)
    expect(page.get_by_role("button", name="Export as zip")).to_be_visible()
    with page.expect_download() as download:
        page.get_by_role("button", name="Export as zip").click()
    assert download.value.suggested_filename.startswith("flip-")
    with zipfile.ZipFile(download.value.path()) as archive:
        assert archive.testzip() is None
        experiment = specs.experiment_from_json(archive.read("experiment.json"))
        arrays = load(archive.read("arrays.safetensors"))
        meta = json.loads(archive.read("meta.json"))["meta"]
        assert "figures/index.html" in archive.namelist()
    assert experiment.data.classes == ("Dress", "Coat")
    assert meta["spec"]["index"] == 6
    assert arrays["image"].shape == (1, 28, 28)
    page.get_by_role("button", name="Verify all").click()
    expect_words(page, "all whole")
    page.get_by_role("button", name="Open", exact=True).last.click()
    is_titled(page, "Attack")
    ready(page)
    expect(caption(page)).to_contain_text("Dress / Coat, 60 training")
    expect(field(page, "image")).to_have_value("6")
    expect_query(page, classes=["Dress", "Coat"], image="6")


@pytest.mark.parametrize(
    ("name", "buttons"),
    [
        ("spectrum", {"npz-spectrum": b"pk"}),
        (
            "eigenfeatures",
            {"csv-eigenfeatures-perturbation": b"", "table-eigenfeatures": b"index,eigenvalue,usefulness,"},
        ),
        ("attack", {"html-attack-images": b"<!doctype html>"}),
    ],
)
def test_download(name: str, buttons: dict[str, bytes], page: Page, app: Server) -> None:
    """Arrays, the table of a figure, that of all features, a figure."""
    arrive(page, app, name)
    for button, beginning in buttons.items():
        page.get_by_role("button", name="Download", exact=False).last.click()
        with page.expect_download() as download:
            at_key(page, button).locator("button:visible").first.click()
        content = download.value.path().read_bytes()
        assert content.lower().startswith(beginning)
        if button.startswith("npz"):
            assert np.load(io.BytesIO(content))["values"].shape == (60,)
        if button.startswith("csv"):
            assert len(content.splitlines()) > 100
        if button.startswith("table"):
            head, *rows = content.decode().splitlines()
            assert head.endswith(",robustness,p_value,class")
            assert {row.rsplit(",", 1)[1] for row in rows} <= set(WORDS)
        page.keyboard.press("Escape")


def test_upload(page: Page, app: Server) -> None:
    """A broken file: a sentence, and what was there stays. A good one: its classes, its images, its link."""
    rng, buffer = np.random.default_rng(0), io.BytesIO()
    np.savez_compressed(
        buffer,
        x_train=rng.integers(0, 256, (40, 8, 8), dtype=np.uint8),
        y_train=np.arange(40) % 2,
        x_test=rng.integers(0, 256, (10, 8, 8), dtype=np.uint8),
        y_test=np.arange(10) % 2,
        classes=np.array(["left", "right"]),
    )
    page.goto(f"{app.url}/?data=own")
    expect_words(page, "Upload an .npz with your own images")
    sidebar = page.get_by_test_id("stSidebar")

    def upload(content: bytes) -> None:
        file = {"name": "mine.npz", "mimeType": "application/octet-stream", "buffer": content}
        at_key(page, "upload").locator("input[type=file]").set_input_files(file)

    upload(buffer.getvalue()[:-100])
    expect(sidebar.get_by_test_id("stAlert")).to_contain_text(".")
    upload(buffer.getvalue())
    expect(caption(page)).to_contain_text("left / right, 40 training and 10 test images")
    expect(sidebar.get_by_test_id("stAlert")).to_have_count(0)
    ready(page)
    digest = query(page)["digest"]
    assert len(digest[0]) == 64
    page.reload()
    ready(page)
    expect(caption(page)).to_contain_text("left / right, 40 training and 10 test images")
