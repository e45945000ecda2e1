"""The frame of every page: its question in one line, notices, and what to do when something goes wrong.

::

    from pages.ui.shell.page import page
    experiment = page("Spectrum", "Which directions does the kernel learn first?")
"""

from collections.abc import Callable
from contextlib import nullcontext, suppress

import streamlit as st

from ntkcore import data
from ntkcore.errors import NTKError
from ntkcore.runs import demo
from ntkcore.runs.specs import Experiment, balance_in_words, key
from pages.ui.controls import pinned, sidebar
from pages.ui.shell import results, terms
from pages.ui.shell.links import draw_anew, refusal
from pages.ui.shell.navigation import enter
from pages.ui.shell.plain import complaint, plain
from pages.ui.shell.present import begin_headline, presenting
from pages.ui.shell.services import services
from pages.ui.shell.share import copy_link

# What Streamlit says of a number outside its control's range, for screen readers and on hover alone, stands below it.
# The scroll bar's place is kept, so that nothing moves when a page, or a claim of the story, is longer than the last.
# The longest name of a data set fits its field. The chosen one of several segments is filled: Streamlit's tint of it
# cannot be read on dark. Buttons of a figure stand above it, so that they hide no title while the pointer moves its
# slider. On a narrow screen four pictures stand side by side, and what answers the question comes before its figure.
CONTROLS = """<style>
[data-testid="stMain"] { scrollbar-gutter: stable; }
.st-key-data input { font-size: 0.8rem; }
button[data-variant="segmented_control"][data-selected="true"],
button[data-variant="segmented_control"][data-selected="true"] * {
  background: #0072B2 !important; color: #FFFFFF !important;
}
@media (min-width: 641px) {
  [data-testid="stElementContainer"]:has(.js-plotly-plot), .js-plotly-plot { overflow: visible !important; }
  .modebar-container { top: -1.25rem !important; }
}
@media (max-width: 640px) {
  :is(.st-key-screen, .st-key-answer) [data-testid="stHorizontalBlock"], .st-key-answer-below {
    flex-direction: column-reverse;
  }
  [data-testid="stHorizontalBlock"]:not([class*="st-key-the-sum"])
    > [data-testid="stElementContainer"]:has([data-testid="stImage"]) { flex: 0 0 calc(25% - 0.75rem) !important; }
  [data-testid="stHorizontalBlock"]:not([class*="st-key-the-sum"]) > [data-testid="stElementContainer"]
    :is(:has(> img), :has(> [data-testid="stImageContainer"]), :has(> [data-testid="stImage"]), img) {
    width: 100% !important;
  }
}
[data-testid="stNumberInputContainer"]:has([role="alert"]) {
  position: relative !important; overflow: visible !important; margin-bottom: 4.8rem !important;
}
[data-testid="stNumberInputContainer"] [role="alert"] {
  position: absolute !important; top: 100% !important; left: 0; right: 0; width: auto !important;
  height: auto !important; margin: 0.25rem 0 0 !important; overflow: visible !important; clip: auto !important;
  white-space: normal !important; font-size: 0.75rem; line-height: 1.2;
}
</style>"""


def page(
    title: str,
    question: str,
    any_kernel: bool = False,
    needed: bool = True,
    words: Callable[[Experiment], str] = Experiment.in_words,
) -> Experiment | None:
    """Draw the head of a page and return the experiment; stops with a sentence when there is none.

    any_kernel: the page is not about the experiment's kernel. needed: without an experiment there is nothing to show;
    otherwise the sentence is said and None returned. words: what of the experiment the page is about.
    """
    enter()
    st.html(CONTROLS)
    results.begin()
    terms.begin()
    with st.container(horizontal=True, vertical_alignment="center"):
        st.title(title, anchor=False, width="content" if presenting() else "stretch")
        of_what = st.container(key="of-what") if presenting() else None
        if not presenting():
            copy_link()
    st.markdown(f"#### {question}", help=terms.explained(title, question))
    begin_headline()
    notice = refusal()
    if notice and st.session_state.setdefault("arrived_at", title) == title:
        st.warning(plain(notice), icon=":material/link_off:")
    if isinstance(problem := pinned.found(), NTKError):
        st.warning(complaint(problem), icon=":material/link_off:")
    _follow_theme(st.context.theme.type)
    experiment = sidebar.experiment(any_kernel)
    if isinstance(experiment, Experiment):
        with of_what or nullcontext():
            terms.note(plain(words(experiment) + _balance(experiment.data)))
    else:
        st.error(complaint(experiment))
        sidebar.offer_example()
        if needed:
            st.stop()
        experiment = None
    _damage(experiment, everywhere=title == "Runs")
    return experiment


def _balance(spec: data.DataSpec) -> str:
    """How many test images each class has, where that differs; nothing about images that are not there."""
    with suppress(NTKError):  # whoever needs the images says what is wrong with them
        if data.info(spec).present and (words := balance_in_words(data.count_test_images(spec))):
            return f". {words}"
    return ""


def _damage(experiment: Experiment | None, everywhere: bool) -> None:
    """Say which results were found damaged: those of this experiment, or all of them."""
    own = set() if experiment is None else {key(spec) for spec in experiment.stages()}
    by_image = ("pictures", "flip")  # their keys hold an image's number, which the page's head does not know
    incidents = services().store.incidents()
    shown = [one for one in incidents if everywhere or one.key in own or one.stage in by_image]
    for incident in shown:
        st.warning(plain(incident), icon=":material/healing:")
    if shown and demo.against_change() is None:
        st.button("Dismiss", on_click=services().store.clear_incidents)


@st.fragment(run_every=2.0)
def _follow_theme(drawn: str | None) -> None:
    """Draw the page anew when the reader has changed the theme: figures carry their colours themselves."""
    if st.context.theme.type != drawn:
        draw_anew()
