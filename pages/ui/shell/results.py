"""Run or load: a page asks for a stage's result and gets it, or shows how far it is.

Cheap work starts by itself; above, the page says time and memory and shows a Run button, what is long or large is asked
for twice, and what does not fit is refused (``ntkcore.runs.consent``). Work runs in the worker process; a second tab
that asks for the same thing watches the same job, as does whoever asks for a part of it::

    artifact = need(experiment.sweep(), "every feature under attack")
    if artifact is None:                      # progress, Cancel, Retry or Run is drawn in its place
        return
    found = need_all({"a": spec, "b": other}, "two things")     # those that are there, while the rest is computed
    prepare([spec, other], "two things")      # the same job, without reading what is there
    at_a_click("mine", [spec], "...", "Go")   # a job of that name that its button starts; True: all is there
    experiment = latest("spectrum", experiment, lambda e: {"spectrum": e.spectrum()}, "...", Experiment.in_words)

While the result of changed controls is computed, asked for or failed, ``latest`` gives back the choices of the last one
that was shown, so that the page goes on showing that, dimmed, in its own words.
"""

import hashlib
import secrets
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

import streamlit as st

from ntkcore import data
from ntkcore.runs import consent, costs, demo, specs, stages
from ntkcore.runs.consent import amount, duration
from ntkcore.runs.specs import StageSpec, key
from ntkcore.runs.store import Artifact
from ntkcore.runs.worker.jobs import Job
from pages.ui.shell.links import draw_anew
from pages.ui.shell.plain import complaint, plain
from pages.ui.shell.services import services, stored

POLL = 0.4
REDRAW = 7.0  # seconds between two drawings of a page whose results come in one by one

# All that follows the line that names the old result in its container, and the Overview's numbers below its presets.
_DIMMED = """<style>
:has(> .st-key-old-result) ~ *, .st-key-old-result ~ *, .st-key-glance { opacity: 0.4; pointer-events: none; }
</style>"""

Name = TypeVar("Name")
Choices = TypeVar("Choices")


def need(spec: StageSpec, what: str) -> Artifact | None:
    """The artifact of ``spec``; None while it is not there, with its progress or a button drawn here."""
    artifact = stored(spec)
    if artifact is None and _computes():
        _Work(key(spec), (spec,), what).draw()
    return artifact


def need_all(wanted: Mapping[Name, StageSpec], what: str) -> dict[Name, Artifact]:
    """The artifacts that are there, in the order of ``wanted``; the missing ones are one job, drawn here.

    The page is drawn anew as they come in.
    """
    found = {name: artifact for name, spec in wanted.items() if (artifact := stored(spec)) is not None}
    if len(found) < len(wanted) and _computes():
        _Work.batch(wanted, what).draw()
    return found


def prepare(wanted: Iterable[StageSpec], what: str) -> None:
    """Draw the one job that computes what is not there of these; nothing where all is. No result is read."""
    specs_ = tuple(wanted)
    if not all(services().store.has(spec.stage, key(spec)) for spec in specs_):
        _Work.batch(dict(enumerate(specs_)), what).draw()


def at_a_click(name: str, wanted: Iterable[StageSpec], what: str, label: str, advice: str = "") -> bool:
    """Whether all of these are there and no job of this name is under way; else that job, or its button, is drawn.

    advice: what is said where it is long.
    """
    work, job = _Work(name, tuple(wanted), what, label, advice, begins=False), services().worker.job(name)
    if not work.missing() and (job is None or job.finished):
        return True
    work.draw()
    return False


def latest(
    place: str,
    choices: Choices,
    wanted: Callable[[Choices], Mapping[Name, StageSpec]],
    what: str,
    words: Callable[[Choices], str],
    one_by_one: bool = False,
) -> Choices:
    """``choices``, when the results that they want are there; else the last ones at this place whose results are.

    Then what the new ones lack is drawn here, what ``words`` says of the old ones below it, and all that follows
    computes nothing, and is dimmed unless the new ones were cancelled. one_by_one: results of a job that are shown as
    they come in; the first one is enough.
    """
    shown, specs_ = st.session_state.setdefault("shown_last", {}), wanted(choices)
    old = shown.get(place)
    missing = next((spec for spec in specs_.values() if stored(spec) is None), None)  # asked once: it may come
    if missing is None or (one_by_one and _there(specs_, one_by_one)):
        shown[place] = choices
        return choices
    if old is None or not _there(wanted(old), one_by_one):
        return choices
    work = _Work.batch(specs_, what) if one_by_one else _Work(key(missing), (missing,), what)
    work.draw()
    with st.container(key="old-result"):
        st.caption(f"Below, the last result, until there is a new one: {plain(words(old))}.")
    if not work.cancelled:
        st.html(_DIMMED)
    st.session_state.computes = False
    return old


def _there(wanted: Mapping[Name, StageSpec], one_by_one: bool) -> bool:
    """Whether all of these are there; one_by_one: whether any is."""
    enough = any if one_by_one else all
    return enough(stored(spec) is not None for spec in wanted.values())


def begin() -> None:
    """A page begins: what it asks for and is not there is computed, until ``latest`` shows an old result instead."""
    st.session_state.computes = True


def _computes() -> bool:
    """Whether what is asked for now and is not there is computed."""
    return st.session_state.get("computes", True)


@dataclass(frozen=True)
class _Work:
    """One job of the worker, for one spec or for several in turn, and what a page shows while it is not done.

    label: of the button that starts it. advice: of what is long, instead of smaller choices. begins: by itself when it
    is cheap.
    """

    name: str
    specs: tuple[StageSpec, ...]
    what: str
    label: str = "Run"
    advice: str = ""
    begins: bool = True

    @classmethod
    def batch(cls, wanted: Mapping[Name, StageSpec], what: str) -> "_Work":
        every = "".join(key(spec) for spec in wanted.values())
        return cls(f"batch-{hashlib.sha256(every.encode()).hexdigest()[:32]}", tuple(wanted.values()), what)

    @property
    def cancelled(self) -> bool:
        """Whether it was cancelled while this session watched it; for others it is as if it had not been begun."""
        job = services().worker.job(self.name)
        return job is not None and job.state == "cancelled" and job.number in st.session_state.get("watched", ())

    @property
    def estimates(self) -> list[costs.Estimate]:
        return costs.estimate_all(self.specs, services().rates, services().store)

    @cached_property
    def demand(self) -> consent.Demand:
        shared = services()
        return consent.Demand.of(self.specs, shared.rates, shared.store, shared.worker.allowance)

    def draw(self) -> None:
        services().worker.warm()
        job, under_way = seen_job(self.name), self._under_way()
        if under_way is not None:
            _watch(under_way, self.name, self.missing())
        elif job is not None and job.state == "failed":
            self._failed(job)
        elif self.cancelled:
            st.info(f"Cancelled: {plain(self.what)}. {_cost_in_words(self.demand.cost, self.specs[0])}.")
            self._run_button("Go on" if self._begun else "Run again")
        elif self.begins and self.demand.light and self.refused is None:
            self.submit()
            _watch(self.name, self.name, self.missing())
        else:
            st.info(f"{self._sentence}: {consent.cost_in_words(self.demand.cost)}.")
            self._run_button(self.label)

    @property
    def refused(self) -> str | None:
        """Why a shared demo does not run this."""
        return demo.against_run(self.demand.cost.seconds)

    def _under_way(self) -> str | None:
        """The name of the job that is to be watched: this one, or another that computes all that is missing here."""
        waits = {name for _, name in self.missing()}
        for job in services().worker.jobs():
            if not job.finished and (job.key == self.name or (waits and waits <= set(job.request.get("parts", ())))):
                return job.key
        return None

    def submit(self) -> None:
        st.session_state.pop("asked", None)
        if self.refused is not None:
            return
        device = st.session_state.get("device", "auto")
        requests = [stages.request(spec, device) for spec in self.specs]
        seconds = [estimate.seconds for estimate in self.estimates]
        request = requests[0] if len(requests) == 1 else stages.batch(requests, seconds)
        told = {"expected": sum(seconds), "what": self.what, "parts": [key(spec) for spec in self.specs]}
        _begin(self.name, {**request, **told})

    @property
    def _sentence(self) -> str:
        """How a sentence on this work begins."""
        return plain(self.what[0].upper() + self.what[1:])

    @property
    def _begun(self) -> bool:
        """Whether some parts of a batch are there."""
        return len(self.missing()) < len(self.specs)

    def missing(self) -> tuple[tuple[str, str], ...]:
        """What is still to come, by stage and key."""
        names = [(spec.stage, key(spec)) for spec in self.specs]
        return tuple(name for name in names if not services().store.has(*name))

    def _run_button(self, label: str) -> None:
        """The button that starts it; of what is long or large a question first, whose Yes stands somewhere else."""
        demand, key, about = self.demand, f"run-{self.name}", (services().rates, services().store)
        if self.refused is not None:
            st.info(self.refused)
        elif not demand.fits:
            st.error(demand.refusal(*about))
        elif not demand.heavy:
            st.button(label, key=key, on_click=self.submit, type="primary")
        elif st.session_state.get("asked") != self.name:
            st.button(label, key=key, on_click=st.session_state.update, args=({"asked": self.name},), type="primary")
        else:
            st.warning(demand.question(*about, self.advice))
            no, _, yes = st.columns([2, 3, 2])
            no.button("Do not run it", key=f"no-{self.name}", on_click=st.session_state.pop, args=("asked", None))
            words = f"Yes, run it for about {duration(demand.cost.seconds)}"
            yes.button(words, key=f"yes-{self.name}", on_click=self.submit, width="stretch")

    def _failed(self, job: Job) -> None:
        kept = " What was finished before is kept: it goes on from there." if self._begun else ""
        st.error(f"{self._sentence} did not finish. {complaint(job.error)}{kept}")
        self._run_button("Retry")
        if job.details:
            with st.expander("Details for a bug report"):
                st.code(job.details, language=None)


def need_data(spec: data.DataSpec) -> bool:
    """Whether the images of ``spec`` are there; if not, the download is offered, or watched, in their place."""
    known = data.info(spec)
    if known.present:
        return True
    name, what = f"download-{spec.name}", f"download of {known.title}"
    job = seen_job(name)
    request = {"download": spec.model_dump(mode="json"), "what": what}
    if job is not None and not job.finished:
        _watch(name, name)
        return False
    if job is not None and job.state == "failed":
        st.error(complaint(job.error))
    if refused := demo.against_download():
        st.info(f"{known.title} is not on this server. {refused}")
        return False
    place = f"{known.title} is not in {plain(known.folder)} yet"
    st.info(f"{place}: {known.download_mb} MB are to be downloaded. {known.credit}")
    st.button("Download", on_click=_begin, args=(name, request), type="primary")
    return False


def _begin(name: str, request: Mapping[str, object]) -> None:
    """Start a job of this visitor; nothing where one of that name is under way, whoever has started it."""
    services().worker.submit(name, {**request, "by": visitor()})


def visitor() -> str:
    """The name of this session among all that share the app."""
    return st.session_state.setdefault("visitor", secrets.token_hex(8))


def _own(job: Job) -> bool:
    """Whether this visitor has started it."""
    return job.request.get("by") == visitor()


def seen_job(name: str) -> Job | None:
    """The latest job of that name; on a shared demo not those of others that failed before this visitor came."""
    job = services().worker.job(name)
    if job is None or job.state != "failed" or demo.setting() is None:
        return job
    return job if _own(job) or job.number in st.session_state.get("watched", ()) else None


@st.fragment(run_every=POLL)
def _watch(name: str, place: str, missing: tuple[tuple[str, str], ...] = ()) -> None:
    """Progress of a job; draws the page anew when it is done, and now and then when parts have come in.

    place: the name of the work that is drawn, since several may wait for one job.
    """
    job = services().worker.job(name)
    if job is not None:
        st.session_state.setdefault("watched", set()).add(job.number)
    if job is None or job.finished:
        draw_anew()
    if any(services().store.has(*part) for part in missing):
        seen = st.session_state.setdefault(f"drawn-{name}", 0.0)
        if time.monotonic() - seen > REDRAW:
            st.session_state[f"drawn-{name}"] = time.monotonic()
            draw_anew()
    share, what = min(1.0, job.done / job.total) if job.total else 0.0, job.request["what"]
    if ahead := job.ahead:
        more = f", and {len(ahead) - 1} more" if len(ahead) > 1 else ""
        text = f"{what} · waiting for: {ahead[0].request['what']}{more}"
    else:
        seconds = _left(job, share)
        left = "" if seconds is None else f" · about {duration(seconds)} left"
        text = f"{what} · {job.note or 'starting'}{left}"
    bar, stop = st.columns([6, 1], vertical_alignment="center")
    bar.progress(share, text=plain(text))
    if job.team is not None:
        st.caption(plain(job.team.in_words()))
    if refused := demo.against_stop(own=_own(job)):
        st.caption(refused)
    else:
        stop.button("Cancel", key=f"cancel-{place}", on_click=job.cancel, disabled=job.cancelling, width="stretch")


def _left(job: Job, share: float) -> float | None:
    """Seconds left: by the estimate made before the run at first, by the run's own speed in its second half.

    The parts of a job take unequal time, so its first part's speed says little about the whole.
    """
    expected = job.request.get("expected")
    if share < 0.5 and expected is not None:
        return max(expected - job.seconds, job.eta or 0.0)
    return job.eta


def heavy(spec: StageSpec) -> bool:
    """Whether ``spec`` would have to be asked for twice."""
    return _Work(key(spec), (spec,), "").demand.heavy


def cost_in_words(*wanted: StageSpec) -> str:
    """What these still cost together: "Already computed", or "About 12 s, 300 MB of memory"; nothing while this machine
    is not measured."""
    cost = _cost(wanted)
    return "" if cost is None else _cost_in_words(cost, wanted[0])


def wait_in_words(*wanted: StageSpec) -> str:
    """About how long they still take, "12 s"; nothing where all is there, or while this machine is not measured."""
    cost = _cost(wanted)
    return "" if cost is None or cost.seconds == 0 else duration(cost.seconds)


def _cost(wanted: tuple[StageSpec, ...]) -> costs.Estimate | None:
    """Of what is not there of these, and of what that reads; None while this machine is not measured."""
    store, rates = services().store, services().known_rates
    if all(store.has(spec.stage, key(spec)) for spec in wanted):
        return costs.NOTHING
    return None if rates is None else sum(costs.estimate_all(wanted, rates, store), costs.NOTHING)


def _cost_in_words(cost: costs.Estimate, spec: StageSpec) -> str:
    words = (
        "Already computed" if cost.seconds == 0 else f"About {duration(cost.seconds)}, {amount(cost.bytes)} of memory"
    )
    known = data.info(specs.experiment_of(spec).data)
    return words if known.present else f"{words}, after a download of {known.download_mb} MB"
