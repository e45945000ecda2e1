"""Terms of the field, explained on hover where they stand first on a page, and all together in a folded list.

What is said of them is the glossary's (``ntkcore.readings.glossary``); a page writes headings and readings by these::

    heading("The kernel's effective rank")              # a subheader
    say(read_spectrum(values, energy))                  # a paragraph
    explained("Spearman of index and share kept")       # help for anything else; None where there is nothing new
    word_list()                                         # every term, in the sidebar
"""

import streamlit as st

from ntkcore.readings.glossary import GLOSSARY, terms_in
from pages.ui.shell.present import headline, presenting


def begin() -> None:
    """A page begins: nothing is explained yet."""
    st.session_state.explained = set()


def explained(*texts: str, first: bool = True) -> str | None:
    """What the terms in these texts mean, as Markdown for a ``help``: of those that stand here first on the page, or
    of all. Nothing in a talk, where nobody hovers."""
    before = st.session_state.setdefault("explained", set())
    names = [name for name in terms_in(" ".join(texts)) if not (first and name in before)]
    before.update(names)
    return None if presenting() else "\n\n".join(GLOSSARY[name].markdown for name in names) or None


def with_terms(help_: str | None, *texts: str) -> str | None:
    """A help, and below it what the terms in it and in these texts mean, whether or not for the first time."""
    return "\n\n".join(filter(None, (help_, explained(*texts, help_ or "", first=False)))) or None


def heading(title: str) -> None:
    """A subheader."""
    st.subheader(title, anchor=False, help=explained(title))


def say(text: str) -> None:
    """A paragraph."""
    st.markdown(text, help=explained(text))


def answer(text: str) -> None:
    """The sentence that answers the page's question; in a talk it, or its bold beginning, stands under the title."""
    if not presenting():
        say(text)
        return
    bold, end, rest = text.removeprefix("**").partition("**") if text.startswith("**") else (text, "", "")
    with headline():
        st.markdown(f"**{bold}**" if end else bold)
    if rest.strip():
        say(rest)


def note(text: str) -> None:
    """A paragraph in small print."""
    st.caption(text, help=explained(text))


def small_print(text: str) -> None:
    """A note in the head of a page, which a talk does without: the figure has its place."""
    if not presenting():
        note(text)


def word_list() -> None:
    """Every term, folded."""
    with st.expander("Words", icon=":material/dictionary:"):
        st.markdown(
            "\n\n".join(term.markdown for term in sorted(GLOSSARY.values(), key=lambda term: term.title.lower()))
        )
