"""Names of runs and notes on them, on the Runs page.

::

    columns = named_columns(entries)            # {"Name": [...], "Note": [...]}, empty where nothing is named
    edit(entry)                                 # the two fields and Save, with what was saved before
    orphans(entries)                            # notes on runs that are no longer there
"""

from collections.abc import Sequence

import streamlit as st

from ntkcore.errors import NTKError
from ntkcore.runs.store import Artifact, notes
from pages.ui.shell.plain import complaint, plain
from pages.ui.shell.services import services


def named_columns(entries: Sequence[Artifact]) -> dict[str, list[str]]:
    """Columns of the table of runs; none where no run has a name or a note."""
    known = notes.read_all(services().store.root)
    own = [known.get((entry.stage, entry.key), notes.Note()) for entry in entries]
    if not any(note.number for note in own):
        return {}
    return {"Name": [note.name for note in own], "Note": [note.text for note in own]}


def edit(entry: Artifact) -> None:
    """The run's name and note to be changed; what was saved before stays, and is listed."""
    saved = notes.history(services().store.root, entry.stage, entry.key)
    last = saved[-1] if saved else notes.Note()
    about = f"{entry.stage}-{entry.key}"
    name, text, seen = f"run-name-{about}", f"run-note-{about}", f"seen-note-{about}"
    if name not in st.session_state:  # drawn anew: what the fields begin with
        st.session_state[seen] = last.number
    with st.form(f"note-{about}", border=True):
        st.text_input("Name", last.name, notes.LONGEST_NAME, key=name, placeholder="thesis, figure 3")
        st.text_area("Note", last.text, max_chars=notes.LONGEST_TEXT, key=text, height=68)
        st.form_submit_button("Save", on_click=_save, args=(entry, name, text, seen), icon=":material/save:")
    problem = st.session_state.pop("note_problem", None)
    if problem is not None:
        mend = (
            " Save again to put yours in its place; both stay listed." if isinstance(problem, notes.Overtaken) else ""
        )
        st.error(f"{complaint(problem)}{mend}")
    earlier = [note for note in saved[:-1] if note.name or note.text]
    if earlier:
        with st.expander(f"Saved before: {len(earlier)}"):
            for note in reversed(earlier):
                st.markdown(f"**{plain(note.name or 'without a name')}** {plain(note.text)}")


def _save(entry: Artifact, name: str, text: str, seen: str) -> None:
    state = st.session_state
    try:
        note = notes.write(services().store.root, entry.stage, entry.key, state[name], state[text], state[seen])
        state[seen] = note.number
    except notes.Overtaken as error:
        state[seen], state.note_problem = error.number, error
    except NTKError as error:
        state.note_problem = error


def orphans(entries: Sequence[Artifact]) -> None:
    """Notes on runs that are not there any more, as after they were deleted: they are kept."""
    there = {(entry.stage, entry.key) for entry in entries}
    lost = {name: note for name, note in notes.read_all(services().store.root).items() if name not in there}
    if lost:
        with st.expander(f"Notes on runs that are no longer here: {len(lost)}"):
            for (stage, key), note in lost.items():
                st.markdown(f"{stage} {key[:8]}: **{plain(note.name or 'without a name')}** {plain(note.text)}")
