"""Which of the sidebar's controls a page looks at. The others are not shown there; they keep their values, and links
carry them all the same.

::

    unused("spectrum")                      # {"attack", "eps", ..., "ridge", "fdr", "keep"}
    hide(unused("spectrum"))                # in the sidebar
"""

import streamlit as st

from pages.ui.controls.evolution import TWIN

# The sidebar's containers, by their keys, and what each holds.
GROUPS = {
    "settings-attack": {"attack", "eps", "steps", "start"},
    "settings-images": {"data", "digest", "upload", "classes", "n", "m"},
    "settings-net": {"net", "depth"},
    "settings-more-attack": {"norm"},
    "settings-more-images": {"size", "order", "draw"},
    "settings-more-network": {"w", "b", "act"},
    "settings-more-kernel": {"kind", "checkpoint", "inputs", "ridge", "precision", "leading", "device"},
    "settings-more-features": {"fdr", "keep"},
}
ALL = frozenset[str]().union(*GROUPS.values())
_KIND_OF_ATTACK, _RULE = GROUPS["settings-attack"] - {"eps"}, GROUPS["settings-more-features"]
_NET = GROUPS["settings-net"] | GROUPS["settings-more-network"]
# By a page's address; a page that is not named looks at everything.
UNUSED = {
    "story": {"ridge"},
    "spectrum": {*GROUPS["settings-attack"], "norm", "ridge", *_RULE},
    "eigenfeatures": {"ridge"},
    "attack": _RULE,
    "transfer": {*GROUPS["settings-attack"], "kind", "checkpoint", "ridge", "leading", *_RULE},
    "evolution": {*_KIND_OF_ATTACK, "kind", "checkpoint", "ridge", "precision", "leading", *_RULE},
    "consistency": {"net", "depth", "checkpoint", "ridge"},
    "runs": ALL,
}


def unused(page: str) -> frozenset[str]:
    """The keys of the controls that a page, by its address, does not look at now."""
    keys = frozenset(UNUSED.get(page, ()))
    if page == "evolution" and st.session_state.get("trained", st.query_params.get("trained")) != TWIN:
        return keys | _NET
    return keys


def hide(keys: frozenset[str]) -> None:
    """Do not show these controls, nor what holds no others."""
    held = [f".st-key-{name}" for name, those in GROUPS.items() if those <= keys]
    held += [".st-key-settings-more", ".st-key-settings-above"] if keys >= ALL else []
    gone = [f".st-key-{key}" for key in sorted(keys)] + held
    gone += [f'[data-testid="stLayoutWrapper"]:has(> {one})' for one in held]
    st.html(f"<style>{', '.join(gone) or '_'} {{ display: none !important; }}</style>")
    if keys >= ALL:
        st.caption("This page lists what has been computed; no setting changes it.")
