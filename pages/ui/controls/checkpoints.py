"""The net in training whose own tangent kernel all pages look at: chosen on the Evolution page, carried by the link.

::

    use_checkpoint(EpochSpec.at(run, 10))       # in a button's callback
    checkpoint_control(kind == "empirical")      # in the sidebar: an EpochSpec, or the NTKError that says what is wrong
    way_back(checkpoint, idle)                   # there too: whose kernel it is, and back to the infinite net's
"""

import re
from contextlib import suppress

import streamlit as st

from ntkcore.errors import NTKError
from ntkcore.runs.specs import REGIME_NAMES, EpochSpec, key
from pages.ui.shell.navigation import set_controls
from pages.ui.shell.services import services

NAME = re.compile("[0-9a-f]{32}")


def use_checkpoint(checkpoint: EpochSpec) -> None:
    """The kernel of this net is what all pages look at."""
    set_controls({"kind": "empirical", "checkpoint": key(checkpoint)})


def checkpoint_control(wanted: bool) -> EpochSpec | NTKError | None:
    """The control; its value, the checkpoint's name in the cache, is what the link carries. None unless ``wanted``.

    It is always drawn: a control that appears only now would not write into the address what a callback gave it.
    """
    name = st.text_input(
        "Checkpoint of the empirical kernel",
        key="checkpoint",
        bind="query-params",
        placeholder="chosen on Evolution",
        disabled=not wanted,
    )
    if not wanted:
        return None
    if not name:
        return NTKError(
            "An empirical kernel is that of a net in training: choose one on the Evolution page (“Use this kernel”), "
            "or another kind of kernel in the sidebar."
        )
    found = services().store.get(EpochSpec.stage, name) if NAME.fullmatch(name) else None
    if found is None:
        return NTKError("This checkpoint is not in the cache. Train the net on the Evolution page and choose it there.")
    with suppress(NTKError):
        spec = EpochSpec.model_validate(found.meta.get("spec"))
        if key(spec) == name:
            return spec
    return NTKError("Another version of this app has written this checkpoint. Train the net again.")


def way_back(checkpoint: EpochSpec | NTKError | None, idle: bool) -> None:
    """Say whose kernel is looked at instead of the infinite net's, with a button that ends it.

    idle: the page shows no infinite net.
    """
    if checkpoint is None or isinstance(checkpoint, NTKError):
        whose = "**A trained net's own kernel** is wanted, and no net is chosen yet."
    else:
        run = checkpoint.run
        whose = f"**The kernel is a trained net's own**: {run.net.in_words()}, {REGIME_NAMES[run.regime]} training, "
        whose += f"seed {run.seed}, epoch {checkpoint.epoch}."
    effect = "have no effect on this page" if idle else "are those of the infinite net that this page also shows"
    st.info(f"{whose} Architecture, weights and inputs below {effect}.")
    st.button(
        "Back to the infinite net's kernel",
        key="infinite",
        icon=":material/arrow_back:",
        on_click=set_controls,
        args=({"kind": "ntk", "checkpoint": ""},),
        width="stretch",
    )
