"""The dashboard: page settings, the pages, and the experiment in the sidebar that all pages look at.

Run with ``make run``, or ``streamlit run app.py``.
"""

import streamlit as st
from streamlit.runtime.scriptrunner import StopException

from ntkcore.errors import NTKError
from ntkcore.runs import demo
from pages.ui.controls import pinned, sidebar
from pages.ui.shell import keyboard, present, share
from pages.ui.shell.links import draw_receipt, follow_callback, judge_link, keep_controls, read_address
from pages.ui.shell.navigation import ABOUT, ICON, keep_history, menu
from pages.ui.shell.plain import complaint
from pages.ui.shell.services import get_ready
from pages.ui.shell.terms import word_list

st.set_page_config(
    page_title="NTK and adversarial robustness",
    page_icon=ICON,
    layout="wide",
    initial_sidebar_state="collapsed" if st.context.is_embedded else "auto",
    menu_items={"About": ABOUT},
)
page = menu()
read_address(page.url_path)
keep_controls()
follow_callback()
with st.sidebar:
    top = st.container()
    sidebar.draw(page.url_path)
    with top:
        pinned.draw(page.url_path)
    present.switch()
    word_list()
    keep_history()
    keyboard.draw()
present.draw()
share.draw()
usable = False
try:
    if words := demo.notice():
        st.sidebar.caption(words)
    page.run()
    usable = True
except NTKError as error:  # a setting cannot be read, the cache cannot be used or holds something odd
    st.error(complaint(error), icon=":material/error:")
except StopException:  # the page has no more to show
    draw_receipt()
    raise
draw_receipt()
if judge_link(page_drawn=True):
    st.rerun()
if usable:
    get_ready()
