"""What a keyboard alone needs beside what Streamlit gives: a ring around the link that has the focus, and the slider
and the buttons inside a figure, which plotly draws for the mouse alone.

Tab reaches them; Enter or the space bar presses a button, the arrow keys move the slider (and turn no screen then)::

    with st.sidebar:
        keyboard.draw()                 # in app.py; takes no room
"""

import streamlit as st

_PLAYERS = """<style>
a:focus-visible, .js-plotly-plot [tabindex="0"]:focus-visible {
  outline: 2px solid #1A7DBD !important; outline-offset: 2px; border-radius: 2px;
}
</style>
<script>
if (!window.playersByKeyboard) {
  window.playersByKeyboard = true;
  const SLIDER = ".slider-container .slider-group", BUTTON = ".updatemenu-button";
  const reach = () => {
    for (const part of document.querySelectorAll(`${SLIDER}:not([tabindex]), ${BUTTON}:not([tabindex])`)) {
      const slider = part.matches(SLIDER), words = part.textContent;
      part.setAttribute("tabindex", "0");
      part.setAttribute("role", slider ? "slider" : "button");
      part.setAttribute("aria-label", slider ? "Moves the figure" : words.includes("▶") ? "Play" : "Stop");
    }
  };
  let soon = 0;
  const watch = new MutationObserver(() => { cancelAnimationFrame(soon); soon = requestAnimationFrame(reach); });
  watch.observe(document.body, {childList: true, subtree: true});
  const move = (group, by) => {
    const slider = group.closest(".js-plotly-plot")._fullLayout.sliders[0], last = slider.steps.length - 1;
    const rail = group.querySelector(".slider-rail-touch-rect"), box = rail.getBoundingClientRect();
    const to = Math.min(Math.max(slider.active + by, 0), last) / last;
    const where = {bubbles: true, clientX: box.left + 1 + to * (box.width - 2), clientY: box.top + box.height / 2};
    rail.dispatchEvent(new MouseEvent("mousedown", where));
    group.closest(".js-plotly-plot").dispatchEvent(new MouseEvent("mouseup", where));
  };
  addEventListener("keydown", (event) => {
    const part = event.target.closest?.(`${SLIDER}, ${BUTTON}`);
    if (!part) return;
    const by = {ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1}[event.key];
    if (part.matches(SLIDER) && by) move(part, by);
    else if (part.matches(BUTTON) && ["Enter", " "].includes(event.key)) {
      part.dispatchEvent(new MouseEvent("click", {bubbles: true}));
    } else return;
    event.preventDefault();
    event.stopImmediatePropagation();
  }, true);
}
</script>"""


def draw() -> None:
    """The ring, and the script, which the browser keeps from page to page."""
    st.html(_PLAYERS, unsafe_allow_javascript=True)
