"""The net in training whose own tangent kernel all pages look at: chosen on the Evolution page, carried by the link.

::

    use_checkpoint(EpochSpec.at(run, 10))       # in a button's callback
    checkpoint = find_checkpoint(name)          # in the sidebar: an EpochSpec, or the NTKError that says what is wrong
    back_to_the_infinite_net(checkpoint, False) # there too: whose kernel it is, with a button that ends it
"""

import re
from contextlib import suppress

import streamlit as st

from ntkcore.errors import NTKError
from ntkcore.runs.specs import REGIME_NAMES, EpochSpec, key
from pages.ui.shell.links import set_controls
from pages.ui.shell.services import services

NAME = re.compile("[0-9a-f]{32}")


def use_checkpoint(checkpoint: EpochSpec) -> None:
    """The kernel of this net is what all pages look at."""
    set_controls({"kind": "empirical", "checkpoint": key(checkpoint)})


def find_checkpoint(name: str) -> EpochSpec | NTKError:
    """The net that the control names as the cache does, which is what the link carries; or what is wrong with it."""
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


def back_to_the_infinite_net(checkpoint: EpochSpec | NTKError, no_effect: bool) -> None:
    """Say whose kernel is looked at instead of the infinite net's, with a button that ends it.

    no_effect: the page shows no infinite net.
    """
    if isinstance(checkpoint, NTKError):
        whose = "**A trained net's own kernel** is wanted, and no net is chosen yet."
    else:
        run = checkpoint.run
        whose = f"**The kernel is a trained net's own**: {run.net.in_words()}, {REGIME_NAMES[run.regime]} training, "
        whose += f"seed {run.seed}, epoch {checkpoint.epoch}."
    effect = "have no effect on this page" if no_effect else "are those of the infinite net that this page also shows"
    st.info(f"{whose} Architecture, weights and inputs below {effect}.")
    st.button(
        "Back to the infinite net's kernel",
        key="infinite",
        icon=":material/arrow_back:",
        on_click=set_controls,
        args=({"kind": "ntk", "checkpoint": ""},),
        width="stretch",
    )
