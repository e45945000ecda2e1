"""Text of others on every page: names of classes that are Markdown, HTML, formulas or addresses show as they are."""

import json
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from google.protobuf.message import Message
from streamlit.testing.v1 import AppTest

from ntkcore import data
from ntkcore.data import DataSpec
from ntkcore.errors import LONGEST, NTKError, SpecError, brief
from ntkcore.readings.glossary import GLOSSARY
from ntkcore.runs.specs import Evolution, Experiment, NamedNet, NetSpec, Rule, Story, TwinNet
from ntkcore.training import Schedule, Training
from ntkcore.validation import Spec
from pages.ui.shell.plain import FIELDS, complaint, plain
from test_pages_own import labels, link, noise, npz
from visits import RESULTS, complaints, text

Open = Callable[..., AppTest]

IMAGE, FORMULA, MARKUP = "![x](http://127.0.0.1:9/a.png)", "$x^2$ :red[a] :smile:", "<b>**c**</b> www.example.org"
# Fields of Streamlit's messages that are shown as they are, or not at all.
AS_THEY_ARE = {"options", "default", "raw_values", "id", "key", "query_param_key", "alt", "spec", "config", "body_code"}


def texts(message: Message, where: str = "") -> Iterator[tuple[str, str]]:
    """(field, text) of every text below a message of Streamlit's, but for those that it shows as they are."""
    for field, value in message.ListFields():
        values = value if isinstance(value, list) or hasattr(value, "append") else [value]
        for one in values:
            if isinstance(one, Message):
                yield from texts(one, f"{where}.{field.name}")
            elif isinstance(one, str) and field.name not in AS_THEY_ARE:
                yield f"{where}.{field.name}", one


def test_names_of_classes_show_as_they_are(opened: Open) -> None:
    """On no page does a name reach a place that is read as Markdown, or a figure that reads tags, unescaped."""
    names = (IMAGE, FORMULA, MARKUP)
    pictures = [noise(count, seed=count) for count in (30, 9)]
    arrays = {f"{kind}_{part}": made for part, x in zip(("train", "test"), pictures, strict=True)
              for kind, made in (("x", x), ("y", labels(len(x), 3)))}  # fmt: skip
    own = data.import_npz(npz(**arrays, classes=np.array(names)))
    seen = ""
    for page in RESULTS:
        at = opened(page, link(own) | {"classes": list(names)}, wait=page not in ("transfer", "evolution"))
        assert not at.exception
        assert complaints(at) == []
        for block in (at.main, at.sidebar):
            for element in block:
                kind = element.type
                if element.proto is None or kind in ("code", "json", "arrow_data_frame"):
                    continue
                if kind == "plotly_chart":
                    assert "<b>**c**" not in element.proto.spec.split('"meta"')[0], page
                    continue
                for where, words in texts(element.proto):
                    for name in names:
                        assert name not in words, f"{page}: {kind}{where} has a name as Markdown: {words}"
        seen += text(at)
    assert all(plain(name) in seen for name in names)


@pytest.mark.parametrize(
    "query",
    [{"data": "own", "digest": IMAGE}, {"classes": [IMAGE, FORMULA]}, {"classes": ["Shirt", MARKUP]}],
    ids=["digest", "classes", "class"],
)
def test_links_that_are_markdown(query: dict, opened: Open) -> None:
    at = opened("spectrum", query, wait=False)
    said = "".join(complaints(at))
    assert said
    assert not any(name in said for name in (IMAGE, FORMULA, MARKUP))


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("T-shirt/top", "T-shirt/top"),
        ("maple_tree", "maple_tree"),
        ("4 - four", "4 - four"),
        ("1. one", r"1\. one"),
        ("- one", r"\- one"),
        ("# one", r"\# one"),
        ("_a_ *b*", r"\_a\_ \*b\*"),
        ("a\n\n# b", "a # b"),
        ("a\x1b[31mb", r"a\\x1b\[31mb"),
        ("&lt;b&gt;", r"\&lt;b\&gt;"),
        ("a & b", "a & b"),
        (":smile:", "\\:\u2060smile:"),
        ("a:red[b]", "a:\u2060red\\[b\\]"),
        ("http://a.b", "http:\u2060//a.b"),
        ("5$ and 6$", r"5\$ and 6\$"),
        ("\u202eevil", r"\\u202eevil"),
    ],
)
def test_plain(given: str, shown: str) -> None:
    """Compared, sign by sign, with what a browser shows: see Streamlit's own list of Markdown it reads."""
    assert plain(given) == shown
    assert len(plain(given * 10_000)) < 10_000


# -- the words of the controls ------------------------------------------------------------------------------------


@pytest.mark.parametrize("spec", [Experiment, DataSpec, NetSpec, type(Experiment().attack), Rule, Story, Training,
                                  Evolution, Schedule, NamedNet, TwinNet], ids=lambda spec: spec.__name__)  # fmt: skip
def test_every_field_has_words(spec: type[Spec]) -> None:
    """Of what pages make; fields that hold another description are never named by themselves."""
    for name, field in spec.model_fields.items():
        holds = isinstance(field.default, Spec) or name in ("data", "net", "kernel", "attack", "checkpoint", "schedule",
                                                            "fgsm", "pgd", "training", "rule", "lr_unit")  # fmt: skip
        assert holds or name in FIELDS, name


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: DataSpec(n_train=5000), "The number of training images is 5000, but"),
        (lambda: DataSpec(n_train=0, n_test=0), "at least 2. The number of test images is 0;"),
        (lambda: Experiment(data={"n_train": 1}), "The number of training images is 1; it must be at least 2."),
        (lambda: DataSpec(size=5), "The image side is 5, which does not divide 28"),
        (lambda: NetSpec(W_std=-1), "The weight scale W"),
        (lambda: NetSpec(depth=0), "The depth is 0;"),
        (lambda: Story(eps=(2.0,)), "The radius is 2.0; pixels lie in"),
        (lambda: Story(seeds=0), "The number of seeds is 0;"),
        (lambda: Evolution(probe=0), "The number of probe images is 0;"),
        (lambda: Rule(fdr=2), "The false discovery rate is 2;"),
    ],
)
def test_a_sentence_in_the_words_of_the_page(make: Callable[[], Spec], words: str) -> None:
    with pytest.raises(SpecError) as caught:
        make()
    assert complaint(caught.value).replace("\\", "").find(words) >= 0, complaint(caught.value)


def test_messages_are_short_and_on_one_line() -> None:
    error = NTKError(f"Cannot read {'x' * 5000}\n\x1b[2J: no such file.")
    assert len(str(error)) <= LONGEST
    assert str(error).startswith("Cannot read xxx")
    assert str(error).endswith(r"xxx \x1b[2J: no such file.")
    assert brief("\udcff") == r"\udcff"


# -- terms ---------------------------------------------------------------------------------------------------------


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
