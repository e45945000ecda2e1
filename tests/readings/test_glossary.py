"""The glossary: found in sentences where they use a term, in short entries, and repeated by no help text."""

import ast
import re
from pathlib import Path

import pytest

from ntkcore.readings.glossary import GLOSSARY, terms_in

PAGES = Path(__file__).parents[2] / "pages"
RUN = 5  # words in a row that a text may share with a definition


def words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())


def runs(text: str) -> set[tuple[str, ...]]:
    """All stretches of RUN + 1 words."""
    every = words(text)
    return {tuple(every[i : i + RUN + 1]) for i in range(len(every) - RUN)}


def help_texts() -> dict[str, str]:
    """Every text that the sources of the pages have after help=, by its place."""
    found = {}
    for path in PAGES.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.keyword) and node.arg == "help":
                parts = [part.value for part in ast.walk(node.value) if isinstance(part, ast.Constant)]
                found[f"{path.name}:{node.value.lineno}"] = " ".join(map(str, parts))
    return found


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        (
            "49 features are useful at a false discovery rate of 5 %",
            ["feature", "useful", "false discovery rate"],
        ),
        ("FGSM ℓ∞ eps 8/255", ["FGSM", "linf", "eps"]),
        ("The kernel becomes lazy, white-box PGD, no ridge", ["lazy", "white box", "PGD", "ridge"]),
        ("adversarial robustness of neural networks", []),
    ],
)
def test_terms_in_a_sentence(text: str, terms: list[str]) -> None:
    assert list(terms_in(text)) == terms


@pytest.mark.parametrize("name", GLOSSARY)
def test_entry(name: str) -> None:
    term = GLOSSARY[name]
    assert name in terms_in(term.title)
    assert 12 < len(words(term.says)) < 60
    assert term.says.endswith(".")


def test_no_help_text_repeats_a_definition() -> None:
    helps = help_texts()
    assert len(helps) > 20
    for name, term in GLOSSARY.items():
        said = runs(term.says)
        assert {place: text for place, text in helps.items() if said & runs(text)} == {}, name
        assert [other for other in GLOSSARY if other != name and said & runs(GLOSSARY[other].says)] == [], name
