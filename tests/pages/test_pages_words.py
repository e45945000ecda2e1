"""Words on the pages: terms are explained on hover where they stand first, and all of them in one list."""

import json
from collections.abc import Callable, Iterator

from google.protobuf.message import Message
from streamlit.testing.v1 import AppTest

from ntkcore.readings.glossary import GLOSSARY
from visits import RESULTS

Open = Callable[..., AppTest]


def helps(at: AppTest) -> Iterator[str]:
    """What is shown on hover, in the sidebar and on the page."""
    for block in (at.sidebar, at.main):
        for element in block:
            if isinstance(element.proto, Message) and hasattr(element.proto, "help") and element.proto.help:
                yield element.proto.help
            elif element.type == "arrow_data_frame":
                yield from (column.get("help") or "" for column in json.loads(element.proto.columns).values())


def test_every_term_is_explained_on_a_page(app_test: Open, opened: Open) -> None:
    """With default settings, whose results are shipped; of those that are not, by small ones."""
    explained: set[str] = set()
    for page in ("story", *RESULTS):
        small = page in ("spectrum", "eigenfeatures")
        at = opened(page) if small else app_test({"claim": "5"}, page=f"pages/{page}.py")
        assert not at.exception
        shown = list(helps(at))
        explained |= {name for name, term in GLOSSARY.items() if any(term.markdown in text for text in shown)}
        (listed,) = (one for one in at.sidebar.expander if one.label == "Words")
        assert all(term.markdown in listed.markdown[0].value for term in GLOSSARY.values())
        for name in ("feature", "NTK", "velocity"):  # on the page itself once at most, beside its controls
            markdowns = [one.proto.help for one in (*at.main.markdown, *at.main.caption)]
            assert sum(GLOSSARY[name].markdown in text for text in markdowns) <= 1, (page, name)
    assert set(GLOSSARY) - explained == set()
