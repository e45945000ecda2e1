"""The pages in use: presets, classes, clicks into figures, links that are kept and links that are wrong."""

import re

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
    is_titled,
    press,
    query,
    ready,
    tags,
)


def words(page: Page) -> list[str]:
    """All sentences of the page's main part."""
    return page.get_by_test_id("stMain").get_by_test_id("stMarkdownContainer").all_inner_texts()


def pictures(page: Page) -> list[str]:
    """The captions of the page's pictures."""
    return page.get_by_test_id("stMain").get_by_test_id("stImageCaption").all_inner_texts()


def controls(page: Page) -> list[str]:
    """The values of the sidebar's inputs, and its chosen tags and buttons."""
    return page.get_by_test_id("stSidebar").evaluate(
        """(bar) => [...bar.querySelectorAll('input, [data-tag], [data-selected]')]
          .filter((e) => e.checkVisibility()).map((e) => e.value ?? e.innerText)"""
    )


def test_preset_and_classes(page: Page, app: Server) -> None:
    """A preset changes the classes; the sidebar changes them again; page and address follow."""
    arrive(page, app)
    assert chosen(page, "classes") == ["T-shirt/top", "Shirt"]
    press(page, "preset-toy")
    expect(caption(page)).to_contain_text("minus / plus")
    expect_query(page, data="toy")
    press(page, "preset-shoes")
    expect(caption(page)).to_contain_text("Sneaker / Ankle boot, 1000 training")
    expect_query(page, classes=["Sneaker", "Ankle boot"])
    assert chosen(page, "classes") == ["Sneaker", "Ankle boot"]
    assert "data" not in query(page)
    enter(page, "n", "60")
    enter(page, "m", "20")
    expect(caption(page)).to_contain_text("60 training and 20 test images")
    ready(page)
    at_key(page, "classes").get_by_role("button", name="Remove Sneaker").click()
    expect_words(page, "Choose at least two classes in the sidebar.")
    ready(page)  # a list of options closes when the page is drawn anew
    choose(page, "classes", "Bag")
    expect(caption(page)).to_contain_text("Ankle boot / Bag, 60 training and 20 test images")
    expect_query(page, classes=["Ankle boot", "Bag"], n="60", m="20")
    ready(page)
    expect(page.get_by_test_id("stMetric")).to_have_count(3)
    assert set(pictures(page)[3:]) == {"Ankle boot", "Bag"}


def test_click_on_a_thumbnail(page: Page, app: Server) -> None:
    arrive(page, app, "attack")
    for index in (13, 4):
        click_point(page, "sheet", index)
        expect(field(page, "image")).to_have_value(str(index))
        expect_query(page, image=str(index))
        ready(page)
    expect(page.get_by_test_id("stMain").get_by_text("True class: ")).to_be_visible()


def test_click_on_an_eigenvector(page: Page, app: Server) -> None:
    arrive(page, app, "spectrum")
    click_point(page, "eigenvectors", 9)
    expect_words(page, re.compile("training image 9: "))


def test_permalink(page: Page, app: Server, context: BrowserContext) -> None:
    """A dot's feature opens. The address after some choices, opened elsewhere and reloaded, gives the same view."""
    arrive(page, app, "eigenfeatures", classes=["Coat", "Bag"], eps="4", features=["0"])
    for index in (17, 3):
        click_point(page, "scatter", index)
        expect_words(page, f"Feature {index}")
        expect(field(page, "feature")).to_have_value(str(index))
        expect_query(page, feature=str(index))
        expect(page.get_by_text(f"feature {index}", exact=True).first).to_be_visible()
        ready(page)
        assert f"feature {index}" in pictures(page)
    enter(page, "feature", "23")
    expect_words(page, "Feature 23")
    ready(page)
    enter(page, "k", "7")
    expect_query(page, k="7")
    at_key(page, "colour").get_by_text("index", exact=True).click()
    ready(page)
    expect_query(page, feature="23", k="7", colour="index", eps="4", classes=["Coat", "Bag"])
    before, settings = words(page), controls(page)
    other = context.new_page()
    other.goto(page.url)
    page.reload()
    for tab in (page, other):
        ready(tab)
        assert words(tab) == before
        assert controls(tab) == settings
        assert field(tab, "feature").input_value() == "23"
        assert query(tab) == query(page)
    other.close()


@pytest.mark.usefixtures("ended")
def test_presets_open_their_pages(page: Page, app: Server) -> None:
    """From the Overview to Transfer and to Evolution, with the preset's settings; what takes long may be offered."""
    begins = page.get_by_role("button", name=re.compile("^(Run|Cancel)$"))
    arrive(page, app)
    press(page, "preset-story")
    is_titled(page, "Transfer")
    expect(caption(page)).to_contain_text("500 training and 300 test images, inputs centred, FC(1) NTK")
    expect_query(page, inputs="centre", n="500", radius="12.75")
    expect(tags(page, "widths")).to_have_count(4)
    assert chosen(page, "widths") == ["64", "128", "512", "2048"]
    expect(begins).to_be_visible()
    page.go_back()
    is_titled(page, "Overview")
    press(page, "preset-evolution")
    is_titled(page, "Evolution")
    expect(caption(page)).to_contain_text("1000 training and 200 test images, inputs centred")
    expect_query(page, inputs="centre", eps="16.0")
    expect(tags(page, "regimes")).to_have_count(2)
    assert chosen(page, "regimes") == ["standard", "FGSM"]
    expect(begins).to_be_visible()
    no_exception(page)


def test_broken_permalink(page: Page, app: Server) -> None:
    """It opens with a notice that names what could not be used; the rest is as the link says."""
    arrive(page, app, "eigenfeatures", classes=["Coat", "Bag"], n="inf", eps="nan", feature="10000", k="5", size="7")
    expect_words(page, "The link's n, eps and feature could not be used")
    expect(caption(page)).to_contain_text("Coat / Bag, 1000 training and 20 test images")
    expect(field(page, "k")).to_have_value("5")
    assert not {"n", "eps", "feature"} & set(query(page))
