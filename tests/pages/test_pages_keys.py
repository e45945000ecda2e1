"""Keys of widgets belong to one page: no two pages share one, and none of a page is one of the sidebar's."""

import ast
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from visits import PAGES, complaints, least, run_until_ready

Open = Callable[..., AppTest]
CONTROLS = {"Number", "Choice", "Several", "Toggle", "Text"}  # whose first argument is the key
# What shows more controls than a page has at first.
MORE = {
    "transfer": {"size": "7", "architectures": ["FC(1)", "FC(3)"], "mwidth": "8"},
    "evolution": {"size": "7", "trained": "twin of the sidebar's net", "ewidth": "16", "freeze": ["0"]},
}


def written_keys(root: Path) -> dict[str, list[str]]:
    """Every key that app.py and pages/ give to a widget as a constant, or begin one with, and where."""
    found = defaultdict(list)
    for path in [root / "app.py", *sorted((root / "pages").rglob("*.py"))]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            given = [one.value for one in node.keywords if one.arg == "key"] if isinstance(node, ast.Call) else []
            if isinstance(node, ast.Call) and ast.unparse(node.func) in CONTROLS:
                given.append(node.args[0])
            for value in given:
                if isinstance(value, ast.JoinedStr):
                    value = value.values[0]
                if isinstance(value, ast.Constant):
                    found[value.value].append(f"{path.relative_to(root)}:{value.lineno}")
    return dict(found)


def test_every_key_is_written_once(root: Path) -> None:
    keys = written_keys(root)
    assert {"feature", "image", "widths", "epochs", "compared", "n", "cancel-", "preset-"} <= set(keys)
    assert {key: places for key, places in keys.items() if len(places) > 1} == {}


def drawn(block) -> set[str]:
    """The keys of all that is drawn in a part of the page: Streamlit ends an element's id with its key."""
    keys = set()
    for node in block:
        identity = getattr(getattr(node, "proto", None), "id", "")
        key = identity.removeprefix("$$ID-").partition("-")[2] if identity.startswith("$$ID-") else "None"
        keys |= {key} - {"None"}
    return keys


@pytest.fixture
def keys_of(opened: Open) -> Callable[[str], tuple[set[str], set[str]]]:
    """The keys of the sidebar and those of a page, opened by a link that shows as much of it as it can."""

    def look(page: str) -> tuple[set[str], set[str]]:
        at = opened(page, least(page) | MORE.get(page, {}))
        assert complaints(at) == []
        return drawn(at.sidebar), drawn(at.main)

    return look


def test_no_two_pages_share_a_key(keys_of: Callable[[str], tuple[set[str], set[str]]]) -> None:
    owner: dict[str, str] = {}
    for page in PAGES:
        sidebar, own = keys_of(page)
        assert {"data", "classes", "n", "eps", "checkpoint"} <= sidebar
        for key in own - {"camera"}:  # one choice for the figures of all pages
            assert owner.setdefault(key, page) == page, f"{owner[key]} and {page} share the key {key!r}"
        assert not own & sidebar, page
    pages = {name: {key for key, page in owner.items() if page == name} for name in PAGES}
    assert {"vi", "vj"} <= pages["spectrum"]
    assert {"feature", "shown", "k"} <= pages["eigenfeatures"]
    assert {"flipped", "at", "widths", "mwidth"} <= pages["transfer"]
    assert {"look", "freeze", "ewidth"} <= pages["evolution"]


def test_an_old_name_in_a_link(opened: Open) -> None:
    """The net of Transfer's pictures was called ``shown``, as the classes of Eigenfeatures' pictures are."""
    at = opened("transfer", {"shown": "width 8"})
    assert at.session_state.flipped == "width 8"
    assert complaints(at) == []
    assert "shown" not in at.query_params
    at = opened("transfer", {"shown": "width 8", "flipped": "width 16"})
    assert at.session_state.flipped == "width 16"
    at = opened("transfer", {"shown": "width 7"})
    assert "The link's flipped could not be used" in complaints(at)[0]
    at = opened("eigenfeatures", {"shown": ["Shirt"]})
    assert at.session_state.shown == ["Shirt"]
    assert complaints(at) == []


def test_pictures_of_two_pages(opened: Open) -> None:
    """From Eigenfeatures to Transfer and back: each keeps what it shows."""
    at = opened("eigenfeatures", {"shown": ["Shirt"], "widths": ["8"], "seeds": "1", "lr": "0.05"})
    for page in ("transfer", "eigenfeatures", "transfer", "eigenfeatures"):
        at = run_until_ready(at.switch_page(f"pages/{page}.py").run())
        assert not at.exception, at.exception[0].message
        if page == "transfer":
            assert at.selectbox(key="flipped").value == "width 8"
        else:
            assert at.multiselect(key="shown").value == ["Shirt"]
