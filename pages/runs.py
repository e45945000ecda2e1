"""What is in the cache: open, export, verify and delete results."""

import datetime
import math
from textwrap import shorten

import pandas as pd
import streamlit as st

from ntkcore.errors import NTKError
from ntkcore.runs import demo
from ntkcore.runs.consent import amount, duration
from ntkcore.runs.specs import MOTION
from ntkcore.runs.stages import IMAGE
from ntkcore.runs.store import Artifact
from pages.ui.code import runs_lines
from pages.ui.sections.exports import net_in_words, open_run, pin_run, run_zip, spec_of
from pages.ui.sections.notes import edit, named_columns, orphans
from pages.ui.shell.computing import who_computes
from pages.ui.shell.page import page
from pages.ui.shell.plain import plain
from pages.ui.shell.services import services
from pages.ui.shell.show import python_lines

IN_A_ROW = 165  # letters of what a run is of: three lines; a selected row's stand whole below the table
OF_EPOCHS = {spec.stage for spec in MOTION}  # one or more for every epoch of a run


def delete(entry: Artifact) -> None:
    """Delete a run; what stands against it is said in the next look at the page."""
    try:
        if refused := demo.against_change():
            raise NTKError(refused)
        store.delete(entry.stage, entry.key)
    except NTKError as error:
        st.session_state.not_deleted = str(error)


page(
    "Runs",
    "What has been computed, and what does it take up?",
    any_kernel=True,
    needed=False,
    words=lambda e: e.in_words(kernel=False),
)
who_computes()
store = services().store
if "not_deleted" in st.session_state:
    st.error(plain(st.session_state.pop("not_deleted")))
if others := store.left_alone():
    st.caption(plain(others))
everything = sorted(store.entries(), key=lambda entry: -entry.created)
if not everything:
    orphans(everything)
    st.info("Nothing has been computed yet. Open the Overview and start with a preset.")
    st.stop()
entries = [entry for entry in everything if entry.stage not in OF_EPOCHS]
st.markdown(f"{len(everything)} results, {amount(sum(entry.bytes for entry in everything))} in {plain(store.root)}.")
if len(entries) < len(everything):
    label = f"Also list the {len(everything) - len(entries)} results of single epochs of training"
    if st.toggle(label, key="every-epoch", bind="query-params"):
        entries = everything
table = pd.DataFrame(
    named_columns(entries)
    | {
        "Stage": [entry.stage for entry in entries],
        "Net": [net_in_words(entry) for entry in entries],
        "What": [shorten(entry.words, IN_A_ROW, placeholder=" ...") for entry in entries],
        "When": [datetime.datetime.fromtimestamp(entry.created) for entry in entries],
        "Size (MB)": [entry.bytes / 1e6 for entry in entries],
        "Time (s)": [entry.seconds for entry in entries],
    }
)
names = [(entry.stage, entry.key) for entry in entries]
chosen = st.session_state.get("chosen_run")  # kept while other pages are looked at
state = st.dataframe(
    table,
    hide_index=True,
    height=560,
    row_height=62,  # three lines
    on_select="rerun",
    selection_mode="single-row",
    selection_default={"selection": {"rows": [names.index(chosen)] if chosen in names else []}},
    key="runs",
    column_config={
        "Name": st.column_config.TextColumn(width=150),
        "Note": st.column_config.TextColumn(width=150),
        "Stage": st.column_config.TextColumn(width=90),
        "Net": st.column_config.TextColumn(width=160),
        "What": st.column_config.TextColumn(width=410),
        "When": st.column_config.DatetimeColumn(width=130, format="YYYY-MM-DD HH:mm"),
        "Size (MB)": st.column_config.NumberColumn(width=80, format="%.2f"),
        "Time (s)": st.column_config.NumberColumn(width=75, format="%.1f"),
    },
)
rows = [row for row in state.selection.rows if row < len(entries)]
st.session_state.chosen_run = names[rows[0]] if rows else None
refused = demo.against_change()
if refused:
    st.caption(refused)
else:
    verify, clear = st.columns([1, 1])
    if verify.button("Verify all", icon=":material/fact_check:", width="stretch"):
        report = store.verify()
        if report.ok:
            st.success(f"{report.checked} results read, {amount(report.bytes)}: all whole.")
        else:
            st.error(
                f"{len(report.broken)} of {report.checked} results cannot be used. "
                "Those that could be moved were set aside and are computed again when they are needed."
            )
    with clear.popover("Delete all", icon=":material/delete:", width="stretch"):
        st.markdown("Everything is computed again when it is needed.")
        if st.button("Yes, delete all", type="primary"):
            store.clear()
            st.rerun()
orphans(everything)
if not rows:
    st.caption(
        "Select a row to open or export it." if refused else "Select a row to open, pin, name, export or delete it."
    )
    python_lines("runs", "The Python lines that list them", lambda: runs_lines(store.root, None))
    st.stop()
entry = entries[rows[0]]
st.subheader(plain(entry.words or entry.stage), anchor=False)
took = f", took {duration(entry.seconds)}" if math.isfinite(entry.seconds) else ""
st.caption(
    f"{entry.stage} {entry.key}{took}; arrays: "
    + ", ".join(f"{plain(name)} {tuple(shape)}" for name, shape in entry.shapes.items())
)
first, pin, second, third = st.columns(4)
foreign = spec_of(entry) is None
if entry.stage == IMAGE:
    st.info("An uploaded image. The attacks on it stand in rows of their own.")
elif foreign:
    st.info("Another version of this app has written this run. It can be deleted, but not opened or exported here.")
first.button(
    "Open",
    icon=":material/open_in_new:",
    on_click=open_run,
    args=(entry,),
    disabled=foreign,
    width="stretch",
    type="primary",
)
pin.button(
    "Pin",
    key="pin-run",
    icon=":material/keep:",
    on_click=pin_run,
    args=(entry,),
    disabled=foreign,
    width="stretch",
    help="Every other page then shows its experiment beside the current one.",
)
second.download_button(
    "Export as zip",
    lambda: run_zip(entry),
    f"{entry.stage}-{entry.key[:8]}.zip",
    on_click="ignore",
    disabled=foreign,
    width="stretch",
    icon=":material/folder_zip:",
)
if not refused:
    third.button(
        "Delete",
        icon=":material/delete:",
        on_click=delete,  # of the run that was drawn: by the next look the table may have other rows
        args=(entry,),
        width="stretch",
    )
if not refused:
    edit(entry)
python_lines("runs", "The Python lines that read it", lambda: runs_lines(store.root, entry))
