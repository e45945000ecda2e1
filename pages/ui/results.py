"""Run or load: a page asks for a stage's result and gets it, or shows how far it is.

Cheap work (below ``AUTOMATIC`` seconds) starts by itself; above, the page says time and memory and shows a Run
button. Work runs in the worker process; a second tab that asks for the same thing watches the same job::

    artifact = need(experiment.sweep(), "every feature under attack")
    if artifact is None:                      # progress, Cancel, Retry or Run is drawn in its place
        return
"""

import streamlit as st

from ntkcore import data
from ntkcore.runs import costs, specs, stages
from ntkcore.runs.jobs import Job
from ntkcore.runs.specs import StageSpec, key
from ntkcore.runs.store import Artifact
from pages.ui.services import services, stored

AUTOMATIC = 20.0  # seconds; estimates are good to a factor of two, and what takes ten should just run
POLL = 0.4


def need(spec: StageSpec, what: str) -> Artifact | None:
    """The artifact of ``spec``; None while it is not there, with its progress or a button drawn here."""
    artifact = stored(spec)
    if artifact is not None:
        return artifact
    name = key(spec)
    job = services().worker.job(name)
    if job is not None and not job.finished:
        _watch(name, what)
    elif job is not None and job.state == "failed":
        _failed(job, spec, what)
    elif job is not None and job.state == "cancelled":
        st.info(f"Cancelled: {what}. {cost_in_words(spec)}.")
        _run_button(spec, "Run again")
    else:
        _offer(spec, what)
    return None


def need_data(spec: data.DataSpec) -> bool:
    """Whether the images of ``spec`` are there; if not, the download is offered, or watched, in their place."""
    known = data.info(spec)
    if known.present:
        return True
    name, what = f"download-{spec.name}", f"download of {known.title}"
    job = services().worker.job(name)
    request = {"download": spec.model_dump(mode="json")}
    if job is not None and not job.finished:
        _watch(name, what)
        return False
    if job is not None and job.state == "failed":
        st.error(job.error)
    st.info(f"{known.title} is not in {known.folder} yet: {known.download_mb} MB are to be downloaded. {known.credit}")
    st.button("Download", on_click=services().worker.submit, args=(name, request), type="primary")
    return False


def _offer(spec: StageSpec, what: str) -> None:
    cost = costs.estimate(spec, services().rates, services().store)
    if cost.seconds <= AUTOMATIC:
        _submit(spec)
        _watch(key(spec), what)
        return
    st.info(f"{what[0].upper()}{what[1:]}: about {duration(cost.seconds)} and {memory(cost.bytes)} of memory.")
    _run_button(spec, "Run")


def _run_button(spec: StageSpec, label: str) -> None:
    st.button(label, key=f"run-{key(spec)}", on_click=_submit, args=(spec,), type="primary")


def _submit(spec: StageSpec) -> None:
    request = stages.request(spec, st.session_state.get("device", "auto"))
    expected = costs.estimate(spec, services().rates, services().store).seconds
    services().worker.submit(key(spec), {**request, "expected": expected})


def _failed(job: Job, spec: StageSpec, what: str) -> None:
    st.error(f"{what[0].upper()}{what[1:]} did not finish. {job.error}")
    _run_button(spec, "Retry")
    if job.details:
        with st.expander("Details for a bug report"):
            st.code(job.details, language=None)


@st.fragment(run_every=POLL)
def _watch(name: str, what: str) -> None:
    job = services().worker.job(name)
    if job is None or job.finished:
        st.rerun()
    share = min(1.0, job.done / job.total) if job.total else 0.0
    if job.state == "queued":
        text = f"{what} · waiting, {job.position} before it"
    else:
        seconds = _left(job, share)
        left = "" if seconds is None else f" · about {duration(seconds)} left"
        text = f"{what} · {job.note or 'starting'}{left}"
    bar, stop = st.columns([6, 1], vertical_alignment="center")
    bar.progress(share, text=text)
    stop.button("Cancel", key=f"cancel-{name}", on_click=job.cancel, disabled=job.cancelling, width="stretch")


def _left(job: Job, share: float) -> float | None:
    """Seconds left: by the estimate made before the run at first, by the run's own speed in its second half.

    The parts of a job take unequal time, so its first part's speed says little about the whole.
    """
    expected = job.request.get("expected")
    if share < 0.5 and expected is not None:
        return max(expected - job.seconds, job.eta or 0.0)
    return job.eta


def cost_in_words(spec: StageSpec) -> str:
    """What ``spec`` still costs: "already computed", or "about 12 s and 300 MB"."""
    cost = costs.estimate(spec, services().rates, services().store)
    words = (
        "Already computed" if cost.seconds == 0 else f"About {duration(cost.seconds)}, {memory(cost.bytes)} of memory"
    )
    known = data.info(specs.experiment_of(spec).data)
    return words if known.present else f"{words}, after a download of {known.download_mb} MB"


def duration(seconds: float) -> str:
    """Seconds in words: "3 s", "2 min", "1.5 h"."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    if seconds < 5400:
        return f"{round(seconds / 60)} min"
    return f"{seconds / 3600:.1f} h" if seconds < 172800 else f"{seconds / 86400:.0f} days"


def memory(size: float) -> str:
    """Bytes in words."""
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{max(1, round(size / 1e6))} MB"
