"""What is long or large is asked for twice, what does not fit is refused: by its honest estimate, with nothing run.

And a shared demo: each door is closed, says why and what to do; what is there already shows."""

import re
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import pytest
from streamlit.testing.v1 import AppTest

from ntkcore.data import DataSpec
from ntkcore.runs import consent, memory
from ntkcore.runs.comparison import ARCHITECTURES
from ntkcore.runs.rates import Rates
from ntkcore.runs.specs import Experiment, NetSpec, key
from pages.ui.shell import results
from pages.ui.shell.services import services
from visits import charts, complaints, number, press, text, working

Open = Callable[..., AppTest]
EVERY = list(ARCHITECTURES)[-6:]  # as many as the page takes, the most expensive ones
OWN = "On your own machine: make run."
REFUSAL = f"This is a shared demo: runs are switched off. {OWN}"
FULL = {"n": "1000", "m": "20"}
# A common machine, so that the words do not depend on this one.
RATES = Rates(flop32=5e-12, flop64=1e-11, relu32=2.6e-9, relu64=5.5e-9, box32=6.5e-10, box64=9.4e-10, eigh=1.2e-10)


@pytest.fixture
def machine(at_home: None, monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Set what is free; the rates are those of a common machine."""
    both = replace(services())
    vars(both)["rates"] = RATES
    monkeypatch.setattr(results, "services", lambda: both)

    def free(gigabytes: float) -> None:
        monkeypatch.setattr(memory, "available", lambda: 1e9 * gigabytes)

    free(64)
    return free


def every_architecture(opened: Open, width: int) -> AppTest:
    """Transfer with its matrix of all architectures that can be chosen, at the full size of images."""
    opened("transfer", FULL)  # the story above it is there
    return opened("transfer", FULL | {"architectures": EVERY, "mwidth": str(width)}, wait=False)


def labels(at: AppTest) -> list[str]:
    return [button.label for button in at.main.button]


def jobs() -> int:
    return len([job for job in services().worker.jobs() if not job.finished])


def test_the_most_expensive_job_is_asked_for_twice(opened: Open, machine: Callable[[float], None]) -> None:
    """Six architectures at 28x28 pixels: hours. The answer stands elsewhere than the first button."""
    at = every_architecture(opened, 128)
    (info,) = (info.value for info in at.main.info)
    assert re.search(r"Kernels and nets of 6 architectures: about \d+\.\d h and \d+\.\d GB of memory", info)
    press(at, "Run")
    assert (jobs(), working(at)) == (0, False)
    (question,) = (warning.value for warning in at.main.warning)
    assert re.match(
        r"This takes about \d+\.\d h and \d+\.\d GB of memory\. The machine is busy all that time\.", question
    )
    assert "Smaller choices: " in question
    assert "training images (about" in question
    assert "Run" not in labels(at)
    press(at, "Do not run it")
    assert jobs() == 0
    press(at, "Run")
    press(at, next(label for label in labels(at) if label.startswith("Yes, run it for about")))
    assert (jobs(), working(at)) == (1, True)


def test_more_than_half_of_the_free_memory_is_asked_for_twice(opened: Open, machine: Callable[[float], None]) -> None:
    need = number(r"and (\d+\.\d) GB of memory", every_architecture(opened, 120).main.info[0].value)
    machine(1.6 * need)
    at = every_architecture(opened, 120)
    press(at, "Run")
    assert f"more than half of the {1.6 * need:.1f} GB that are free" in at.main.warning[0].value


@pytest.mark.parametrize(("width", "gigabytes"), [(4096, 64), (128, 2)], ids=["widest nets", "little memory"])
def test_what_does_not_fit_is_refused_with_what_would(
    width: int, gigabytes: float, opened: Open, machine: Callable[[float], None]
) -> None:
    machine(gigabytes)
    at = every_architecture(opened, width)
    (refusal,) = complaints(at)
    assert re.match(r"This needs about \d+\.\d GB of memory; it may take \d+\.\d GB", refusal)
    assert "It was not started." in refusal
    assert "without " in refusal
    assert "Myrtle-7" in refusal
    assert not {"Run", "Retry"} & set(labels(at))
    assert jobs() == 0


@pytest.mark.parametrize("most", [50, 200])
def test_what_is_proposed_costs_what_is_said(most: int) -> None:
    """Each proposal is a list of specs that the app would accept and estimate by itself."""
    base = Experiment(net=NetSpec(family="myrtle", depth=5))
    (words, smaller), *_ = [step for step in consent._fewer_images([base.sweep()]) if f"{most} training" in step[0]]
    assert words == f"{most} training images"
    assert smaller == [base.replace(data=base.data.replace(n_train=most)).sweep()]
    many = base.replace(data=DataSpec(name="cifar10", n_train=2000))
    rest = [many.twin(64), base.replace(data=DataSpec(n_train=100)).sweep(), many.replace(leading=50).curves()]
    features = dict(consent._fewer_features([many.curves(), *rest]))  # nets are made of all, others of few already
    assert features["the 100 leading features"] == [many.replace(leading=100).curves(), *rest]
    sides = dict(consent._smaller_images([base.sweep()]))
    assert sides["images of 14x14 pixels"] == [base.replace(data=base.data.replace(size=14)).sweep()]
    net = base.twin(64)
    assert dict(consent._narrower_nets([net]))["nets of width 20"] == [base.twin(20)]
    others = [base.replace(net=NetSpec(depth=depth)).kernel() for depth in (1, 3)]
    assert dict(consent._fewer_nets([base.kernel(), *others])) == {"without Myrtle-5": others}


@pytest.fixture
def told(at_home: None, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Make it a demo; the worker's process, which all tests share, was started before and is none."""
    services()
    return partial(monkeypatch.setenv, "NTK_DEMO")


@pytest.fixture
def demo(told: Callable[[str], None]) -> None:
    """Nothing is computed, taken in, fetched or deleted."""
    told("seconds=0")


def infos(at: AppTest) -> str:
    return "\n".join(info.value for info in at.main.info)


@pytest.mark.usefixtures("demo")
def test_a_run_is_refused(opened: Open) -> None:
    """Whatever it costs; the job is not even queued."""
    before = len(services().worker.jobs())
    at = opened("spectrum", {"draw": "61"}, wait=False)
    assert REFUSAL in infos(at)
    assert not {"Run", "Run again", "Retry"} & set(labels(at))
    assert len(services().worker.jobs()) == before
    assert f"A shared demo: nothing is computed, no own files are taken. {OWN}" in at.sidebar.caption[-1].value


def test_what_is_stored_shows(opened: Open, told: Callable[[str], None]) -> None:
    opened("spectrum", {"draw": "62"})
    told("seconds=0")
    at = opened("spectrum", {"draw": "62"}, wait=False)
    assert "eigenvalues" in charts(at)
    assert REFUSAL not in infos(at)


@pytest.mark.usefixtures("demo")
def test_a_download_is_refused(opened: Open) -> None:
    at = opened("spectrum", {"data": "cifar10"}, wait=False)
    assert "is not on this server. This is a shared demo: it fetches no data sets." in infos(at)
    assert "Download" not in labels(at)


@pytest.mark.usefixtures("demo")
def test_files_are_refused(opened: Open) -> None:
    """An .npz in the sidebar, and an image on Attack."""
    own = opened("overview", {"data": "own"}, wait=False)
    assert complaints(own) == [f"This is a shared demo: it takes no files. {OWN}"]
    attack = opened("attack", wait=False)
    assert f"This is a shared demo: it takes no files. {OWN}" in text(attack)
    assert not own.get("file_uploader")
    assert not attack.get("file_uploader")


@pytest.mark.usefixtures("demo")
def test_runs_cannot_be_changed(opened: Open) -> None:
    at = opened("runs", wait=False)
    assert f"This is a shared demo: results can be read, not changed or deleted. {OWN}" in text(at)
    assert not {"Verify all", "Yes, delete all", "Delete"} & set(labels(at))


def test_a_run_of_another_visitor_cannot_be_stopped(opened: Open, told: Callable[[str], None]) -> None:
    """Whoever has started it may cancel it, whoever watches it may not."""
    told("seconds=1e9")
    long = {"n": "200", "m": "20", "net": "Myrtle", "depth": "5", "draw": "63"}
    mine = opened("spectrum", long, wait=False)
    press(mine, "Run")
    other = opened("spectrum", long, wait=False)
    assert ("Cancel" in labels(mine), "Cancel" in labels(other)) == (True, False)
    assert "Another visitor has started this run, and alone can cancel it." in text(other)
    (job,) = (job for job in services().worker.jobs() if not job.finished)
    press(mine, "Cancel")
    assert job.wait(10)
    other.run()
    press(other, "Run again")  # of the same name: now it is the other's
    mine.run()
    assert ("Cancel" in labels(mine), "Cancel" in labels(other)) == (False, True)


def test_what_failed_for_another_visitor_is_not_shown(opened: Open, told: Callable[[str], None]) -> None:
    """One's own failure is, with a way to try again."""
    told("seconds=1e9")
    at = opened("spectrum", {"n": "200", "m": "20", "net": "Myrtle", "depth": "5", "draw": "64"}, wait=False)
    name, nonsense = key(at.session_state.experiment.spectrum()), {"stage": "none", "spec": {}, "what": "nonsense"}
    for by, shown in (({}, "Run"), ({"by": "me"}, "Retry")):
        at.session_state.visitor = "me"
        job = services().worker.submit(name, nonsense | by)
        assert job.wait(60)
        assert job.state == "failed"
        at.run()
        assert {"Run", "Retry"} & set(labels(at)) == {shown}
