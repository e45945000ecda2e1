"""Runs: what the cache holds, opening, exporting, verifying and deleting; and faults: damage, cancelling, failing."""

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors.torch import load
from streamlit.testing.v1 import AppTest
from visits import CHARTS, charts, complaints, progress, run_until_ready, select, stored, text, working

from ntkcore.runs import specs
from ntkcore.runs.store import Artifact, Store
from pages.ui.exports import run_zip
from pages.ui.services import services

Open = Callable[..., AppTest]
LONG = {"n": "400", "m": "50", "net": "Conv", "depth": "5"}  # minutes: 28x28 pixels


def rows(at: AppTest) -> list[Artifact]:
    """The runs in the order of the table."""
    return sorted(Store().entries(), key=lambda entry: -entry.created)


def chosen(opened: Open, spec: specs.StageSpec) -> AppTest:
    """The Runs page with the row of ``spec`` selected."""
    at = opened("runs")
    position = [entry.key for entry in rows(at)].index(specs.key(spec))
    return select(at, "runs", rows=[position])


def flip_a_byte(artifact: Artifact, offset: int = -20) -> None:
    """Damage the arrays of an artifact as a bad disk would."""
    file: Path = artifact.path / "arrays.safetensors"
    content = bytearray(file.read_bytes())
    content[offset] ^= 1
    file.write_bytes(content)


def test_table(opened: Open) -> None:
    opened("overview")
    at = opened("runs")
    table = at.dataframe[0].value
    assert len(table) == len(Store().entries())
    assert {"kernel", "spectrum", "predict"} <= set(table["Stage"])
    assert table["Size (MB)"].min() > 0
    assert f"{len(table)} results" in text(at)
    assert "Select a row" in text(at)


def test_open(opened: Open) -> None:
    """The sidebar takes the run's experiment, whatever it was before."""
    query = {"classes": ["Coat", "Bag"], "eps": "3", "depth": "2", "norm": "linf", "draw": "4"}
    at = opened("eigenfeatures", query)
    experiment = at.session_state.experiment
    at = chosen(opened, experiment.sweep())
    assert at.session_state.experiment != experiment
    (button,) = (button for button in at.main.button if button.label == "Open")
    run_until_ready(button.click().run())
    assert at.session_state.experiment == experiment
    assert at.main.title[0].value == "Eigenfeatures"
    assert charts(at) == CHARTS["eigenfeatures"]


def test_open_one_image(opened: Open) -> None:
    at = opened("attack", {"image": "6"})
    at = chosen(opened, at.session_state.experiment.flip(6))
    (button,) = (button for button in at.main.button if button.label == "Open")
    run_until_ready(button.click().run())
    assert at.main.title[0].value == "Attack"
    assert at.number_input(key="image").value == 6


@pytest.mark.parametrize("stage", list(specs.STAGE_SPECS))
def test_export(stage: str, opened: Open) -> None:
    """The zip holds an experiment the command line takes, readable arrays and figures that need no network."""
    opened("attack")
    experiment = opened("eigenfeatures").session_state.experiment
    opened("overview")
    entry = next(entry for entry in Store().entries() if entry.stage == stage and "60 training" in entry.meta["words"])
    with zipfile.ZipFile(io.BytesIO(run_zip(entry))) as archive:
        assert archive.testzip() is None
        files = {name: archive.read(name) for name in archive.namelist()}
    assert specs.experiment_from_json(files["experiment.json"]).data.n_train == experiment.data.n_train
    arrays = load(files["arrays.safetensors"])
    assert {name: tuple(value.shape) for name, value in arrays.items()} == {
        name: tuple(shape) for name, shape in entry.shapes.items()
    }
    assert json.loads(files["meta.json"])["spec"] == entry.meta["spec"]
    if stage != "predict":
        index = files["figures/index.html"].decode()
        assert index.count("<a href=") >= 1
        assert "http" not in index.replace("http://www.w3.org", "")


def test_delete(opened: Open) -> None:
    experiment = opened("spectrum", {"draw": "21"}).session_state.experiment
    at = chosen(opened, experiment.spectrum())
    (button,) = (button for button in at.main.button if button.label == "Delete")
    button.click().run()
    assert not at.exception
    assert Store().get("spectrum", specs.key(experiment.spectrum())) is None
    stored(experiment.kernel())


def test_verify(opened: Open) -> None:
    opened("overview")
    at = opened("runs")
    (button,) = (button for button in at.main.button if button.label == "Verify all")
    button.click().run()
    assert "all whole" in at.success[0].value
    assert f"{len(Store().entries())} results read" in at.success[0].value


def test_verify_finds_damage(opened: Open) -> None:
    experiment = opened("spectrum", {"draw": "22"}).session_state.experiment
    at = opened("runs")
    flip_a_byte(stored(experiment.kernel()))
    (button,) = (button for button in at.main.button if button.label == "Verify all")
    button.click().run()
    assert "1 of" in at.error[0].value
    at.run()
    assert specs.key(experiment.kernel()) in complaints(at)[0]
    dismiss(at)


def dismiss(at: AppTest) -> None:
    """Have the reader confirm the notices about damage."""
    (button,) = (button for button in at.main.button if button.label == "Dismiss")
    button.click().run()
    assert complaints(at) == []
    assert Store().incidents() == ()


@pytest.mark.parametrize(
    ("page", "stage"),
    [("overview", "predict"), ("spectrum", "spectrum"), ("eigenfeatures", "sweep"), ("attack", "flip")],
)
def test_damage_is_reported_and_mended(page: str, stage: str, opened: Open) -> None:
    """A flipped byte: the page says so, computes again, and shows the same."""
    query = {"draw": "23"}
    experiment = opened(page, query).session_state.experiment
    spec = experiment.flip(0) if stage == "flip" else getattr(experiment, stage)()
    before = stored(spec)
    arrays = {name: value.clone() for name, value in before.arrays.items()}
    flip_a_byte(before)
    at = opened(page, query)
    assert not at.exception
    assert charts(at) == CHARTS[page]
    assert f"{stage}/{specs.key(spec)} is damaged" in complaints(at)[0]
    again = stored(spec).arrays
    assert all(again[name].equal(value) for name, value in arrays.items() if not value.isnan().any())
    dismiss(at)


def test_long_run_is_offered_started_watched_and_cancelled(opened: Open) -> None:
    at = opened("spectrum", LONG, wait=False)
    assert "about" in at.info[0].value
    assert not working(at)
    (run,) = (button for button in at.main.button if button.label == "Run")
    run.click().run()
    assert working(at)
    assert "kernel, eigenvalues and eigenvectors" in progress(at)[0].proto.text
    other = opened("spectrum", LONG, wait=False)
    assert working(other), "a second tab does not find the job"
    unfinished = [job for job in services().worker.jobs() if not job.finished]
    assert len(unfinished) == 1
    next(button for button in at.main.button if button.label == "Cancel").click().run()
    assert unfinished[0].wait(5)
    for tab in (at, other):
        tab.run()
        assert not working(tab)
        assert tab.info[0].value == "Cancelled: kernel, eigenvalues and eigenvectors."
        assert [button.label for button in tab.main.button if button.label.startswith("Run")] == ["Run again"]
    assert Store().get("kernel", specs.key(at.session_state.experiment.kernel())) is None


def test_worker_killed_in_the_middle(opened: Open) -> None:
    """The reason is shown, with a Retry that starts a new process."""
    at = opened("spectrum", LONG | {"n": "399"}, wait=False)
    next(button for button in at.main.button if button.label == "Run").click().run()
    worker = services().worker
    (job,) = (job for job in worker.jobs() if not job.finished)
    wait_for(lambda: job.accepted)
    worker._child.process.kill()
    assert job.wait(10)
    at.run()
    assert not at.exception
    assert "did not finish" in complaints(at)[0]
    next(button for button in at.main.button if button.label == "Retry").click().run()
    assert working(at)
    opened("overview", {"draw": "24"}, wait=False)  # waits in the queue behind it
    for job in worker.jobs():
        job.cancel()
    at = opened("overview", {"draw": "25"})
    assert len(at.metric) == 3


def wait_for(condition: Callable[[], bool], limit_s: float = 20.0) -> None:
    """Return when the condition holds; fail after ``limit_s`` seconds."""
    import time

    until = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.02)


def test_empty_cache(app_test: Callable[..., AppTest], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NTK_CACHE", str(tmp_path / "cache"))
    at = app_test(page="pages/runs.py")
    try:
        assert not at.exception
        assert "Nothing has been computed yet" in at.info[0].value
    finally:
        services().worker.close()
