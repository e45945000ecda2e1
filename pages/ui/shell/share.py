"""Sharing: a button that copies the link to this view, and the looks of a page inside another page's frame.

The address holds every choice, so the browser's own address is the link; the server is not asked. Where the browser
refuses the clipboard (plain http, a frame without the permission) the link stands there selected, to be copied by hand.
``?embed=true`` is Streamlit's; the sidebar begins folded there (app.py)::

    share.draw()                        # in app.py, above the page
    share.copy_link()                   # in the head of a page
"""

import streamlit as st

from pages.ui.shell.present import presenting

_BUTTON = """<style>
/* The header lies, transparent, above the page's first line. */
[data-testid="stHeader"], [data-testid="stHeader"] * { pointer-events: none; }
[data-testid="stHeader"] :is(button, a), [data-testid="stHeader"] :is(button, a) * { pointer-events: auto; }
.copy-link { display: flex; align-items: center; gap: 0.5rem; justify-content: flex-end; flex-wrap: wrap; }
.copy-link :is(button, input) {
  font: inherit; font-size: 0.9rem; color: inherit; background: transparent; padding: 0.25rem 0.75rem;
  border: 1px solid color-mix(in srgb, currentColor 30%, transparent); border-radius: 0.5rem;
}
.copy-link button { cursor: pointer; white-space: nowrap; }
.copy-link button:hover { border-color: currentColor; }
.copy-link :focus-visible { outline: 2px solid #1A7DBD; outline-offset: 2px; }
.copy-link input { width: 14rem; max-width: 60vw; }
</style>
<div class="copy-link">
  <span role="status"></span><input readonly hidden aria-label="Link to this view">
  <button type="button" title="All but files of your own is in the address">Copy link to this view</button>
</div>
<script>
if (!window.copiesLinks) {
  window.copiesLinks = true;
  addEventListener("click", async (event) => {
    const button = event.target.closest?.(".copy-link button");
    if (!button) return;
    const [said, field] = ["span", "input"].map((css) => button.parentElement.querySelector(css));
    const link = new URL(location.href);
    for (const name of ["embed", "embed_options"]) link.searchParams.delete(name);
    try {
      await navigator.clipboard.writeText(link.href);
      field.hidden = true;
      said.textContent = "Copied";
      setTimeout(() => { said.textContent = ""; }, 3000);
    } catch {
      field.hidden = false;
      field.value = link.href;
      field.focus();
      field.select();
      said.textContent = "Copy it with Ctrl+C:";
    }
  });
}
</script>"""

_IN_A_FRAME = """<style>
[data-testid="stMainBlockContainer"] { padding: 0.5rem 1rem 1rem !important; }
[data-testid="stHeader"] { height: 2.75rem !important; min-height: 0 !important; background: transparent !important; }
[data-testid="stMain"] [data-testid="stHeading"] h1 { font-size: 1.4rem; padding: 0.25rem 0 0 2.75rem; }
[data-testid="stMain"] h4 { font-size: 1rem; padding: 0; }
</style>"""


def draw() -> None:
    """The looks inside a frame: no room is lost above the page; nothing elsewhere."""
    if st.context.is_embedded and not presenting():
        st.html(_IN_A_FRAME)


def copy_link() -> None:
    """The button; beside it, after a click, whether it worked, or the link to be copied by hand."""
    st.html(_BUTTON, width="content", unsafe_allow_javascript=True)
