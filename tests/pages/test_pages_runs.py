"""Runs: what the cache holds, opening, exporting, verifying and deleting; and faults: damage, cancelling, failing."""

import io
import json
import os
import shutil
import time
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load
from streamlit.testing.v1 import AppTest

from ntkcore.runs import consent, specs
from ntkcore.runs.store import Artifact, Store
from ntkcore.runs.worker.team import Team
from pages.ui.sections import exports
from pages.ui.sections.exports import run_zip
from pages.ui.shell.services import services
from tests.campaign.listing import listing
from visits import (
    CHARTS,
    PAGES,
    charts,
    complaints,
    least,
    press,
    progress,
    run_until_ready,
    select,
    stored,
    text,
    working,
)

Open = Callable[..., AppTest]
LONG = {"n": "1000", "m": "300", "net": "Myrtle", "depth": "10"}  # an hour on two cores


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache of these tests' own: the page lists all that there is at every look."""
    return tmp_path_factory.mktemp("runs")


WITHOUT_FIGURES = (
    "predict",
    "path",
    "perturb",
    "epoch",
    "score",
    "tangent",
    "frozen",
    "training_free",
    "flipped",
    "robust_features",
    "seen",
)
KERNEL_SIDE = ("kernel", "spectrum", "predict", "sweep", "curves", "pictures", "flip")


def rows(at: AppTest) -> list[Artifact]:
    """The runs in the order of the table, which does not list single epochs unless asked."""
    along = {spec.stage for spec in specs.MOTION}
    listed = [entry for entry in Store().entries() if entry.stage not in along]
    return sorted(listed, key=lambda entry: -entry.created)


def chosen(opened: Open, spec: specs.StageSpec) -> AppTest:
    """The Runs page with the row of ``spec`` selected."""
    at = opened("runs")
    position = [entry.key for entry in rows(at)].index(specs.key(spec))
    return select(at, "runs", rows=[position])


def ask_twice(at: AppTest, label: str = "Run") -> None:
    """Start a long run: the first button only asks again."""
    press(at, label)
    assert not working(at)
    (answer,) = (button.label for button in at.main.button if button.label.startswith("Yes, run it"))
    press(at, answer)


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
    assert len(table) == len(rows(at))
    assert {"kernel", "spectrum", "predict"} <= set(table["Stage"])
    assert table["Size (MB)"].min() > 0
    assert f"{len(Store().entries())} results" in text(at)
    assert "Select a row" in text(at)


def test_export(opened: Open) -> None:
    """The zip holds an experiment the command line takes, readable arrays and figures that need no network."""
    names = ("eigenfeatures", "attack", "overview", "transfer", "consistency", "evolution", "story")
    link = {"draw": "26", "size": "7", "widths": "16", "beside": "cnn-small", "epochs": "2", "freeze": "1"}
    pages = [opened(page, least(page) | link) for page in names]
    experiment = pages[0].session_state.experiment
    entries = {entry.stage: entry for entry in Store().entries() if "draw 26" in entry.meta["words"]}
    assert set(entries) == set(specs.STAGES) - {"upload", "solution"}  # the second is of many images
    for entry in entries.values():
        with zipfile.ZipFile(io.BytesIO(run_zip(entry))) as archive:
            assert archive.testzip() is None
            files = {name: archive.read(name) for name in archive.namelist()}
        spec = specs.experiment_from_json(files["experiment.json"])
        if entry.stage in KERNEL_SIDE and spec.data == experiment.data:
            assert spec == experiment, entry.stage
        shapes = {name: tuple(value.shape) for name, value in load(files["arrays.safetensors"]).items()}
        assert shapes == {name: tuple(shape) for name, shape in entry.shapes.items()}
        assert json.loads(files["meta.json"])["meta"] == entry.meta
        figures = [name for name in files if name.endswith(".html") and name != "figures/index.html"]
        assert bool(figures) == (entry.stage not in WITHOUT_FIGURES)
        for name in figures:
            assert f'href="{name.removeprefix("figures/")}"' in files["figures/index.html"].decode()
            assert b'src="http' not in files[name]


def test_open_sets_the_controls_of_the_run(opened: Open) -> None:
    """The page that shows the run opens with its choices, not with those of a first visit."""
    link = {"draw": "29", "widths": "16", "lr": "0.25", "descent": "40", "radius": "4"}
    opened("transfer", link)
    opened("consistency", {"draw": "29", "compared": ["FC(1)", "FC(3)"], "cn": "40", "cm": "15", "cside": "7"})
    mine = {entry.stage: entry for entry in Store().entries() if "draw 29" in entry.meta["words"]}
    for stage, page, wanted in (
        ("twin", "Transfer", {"widths": [16], "lr": 0.25, "descent": 40}),
        ("perturb", "Transfer", {"radius": 4.0}),
        ("consistency", "Consistency", {"compared": ["FC(1)", "FC(3)"], "cn": 40, "cside": 7}),
    ):
        at = chosen(opened, exports.spec_of(mine[stage]))
        next(button for button in at.main.button if button.label == "Open").click().run()
        assert not at.exception
        assert at.main.title[0].value == page
        assert at.session_state.experiment.data.seed == 29
        assert {name: at.session_state[name] for name in wanted} == wanted
        run_until_ready(at)  # what it computes adds rows to the table


def test_delete(opened: Open) -> None:
    experiment = opened("spectrum", {"draw": "21"}).session_state.experiment
    at = chosen(opened, experiment.spectrum())
    (button,) = (button for button in at.main.button if button.label == "Delete")
    button.click().run()
    assert not at.exception
    assert Store().get("spectrum", specs.key(experiment.spectrum())) is None
    stored(experiment.kernel())


def test_delete_the_last_row(opened: Open) -> None:
    """The selection then points below the table."""
    opened("overview")
    oldest = rows(opened("runs"))[-1]
    at = select(opened("runs"), "runs", rows=[len(rows(opened("runs"))) - 1])
    next(button for button in at.main.button if button.label == "Delete").click().run()
    assert not at.exception
    assert Store().get(oldest.stage, oldest.key) is None
    at.run()
    assert not at.exception


def test_delete_means_the_run_that_was_shown(opened: Open) -> None:
    """A run that another tab finishes meanwhile takes the selected row; it must not be deleted in its stead."""
    spec = opened("spectrum", {"draw": "27"}).session_state.experiment.spectrum()
    at = chosen(opened, spec)
    later = opened("spectrum", {"draw": "28"}).session_state.experiment
    next(button for button in at.main.button if button.label == "Delete").click().run()
    assert Store().get("spectrum", specs.key(spec)) is None
    stored(later.kernel())
    stored(later.spectrum())


def test_the_chosen_run_is_kept_while_other_pages_are_looked_at(opened: Open) -> None:
    """Also when the table has other rows by then; not chosen any more, it stays so."""
    spec = opened("spectrum", {"draw": "29"}).session_state.experiment.spectrum()
    at = chosen(opened, spec)
    words = at.main.subheader[0].value
    opened("spectrum", {"draw": "30"})
    at.switch_page("pages/overview.py").run()
    at.switch_page("pages/runs.py").run()
    assert at.main.subheader[0].value == words
    assert specs.key(spec) in at.main.caption[-1].value
    select(at, "runs", rows=[])
    at.switch_page("pages/overview.py").run()
    at.switch_page("pages/runs.py").run()
    assert len(at.main.subheader) == 0


@pytest.mark.parametrize(
    ("stage", "meta"),
    [
        pytest.param("sweep", {"spec": {"order": 3}}, id="unknown-field"),
        pytest.param("kernel", {}, id="no-spec"),
        pytest.param("kernel", {"spec": {}}, id="other-defaults"),
        pytest.param("kernel", {"spec": "a text", "words": ["a", "list"], "seconds": "long"}, id="odd"),
        pytest.param("epoch", {"spec": [], "words": 3, "seconds": float("nan")}, id="odder"),
        pytest.param("image", {"words": {"a": 1}, "seconds": float("inf")}, id="odd-image"),
    ],
)
def test_run_of_another_version(stage: str, meta: dict, opened: Open) -> None:
    """Listed, not opened, deleted on request."""
    store, key = Store(), "0" * 32
    store.put(stage, key, {"a": np.ones(3)}, meta)
    at = opened("runs")
    if stage == "epoch":
        at.toggle[0].set_value(True).run()
    at = select(at, "runs", rows=[0])
    assert not at.exception
    assert ("Another version" if stage != "image" else "An uploaded image") in at.info[0].value
    assert next(button for button in at.main.button if button.label == "Open").disabled
    next(button for button in at.main.button if button.label == "Delete").click().run()
    assert not at.exception
    assert store.get(stage, key) is None


def test_what_is_not_the_caches_is_named_and_left_alone(opened: Open) -> None:
    """A stage that this version does not know, a user's folder, and notes in an artifact's folder."""
    store, key = Store(), "0" * 32
    Store(stages=["surrogate"]).put("surrogate", key, {"a": np.ones(3)}, {"words": "of the future"})
    folder = store.put("kernel", key, {"a": np.ones(3)}, {}).path
    (folder / "notes.txt").write_text("a good run")
    (store.root / "Documents").mkdir()
    (store.root / "Documents" / "letter.txt").write_text("Dear")
    theirs = [store.root / name for name in ("surrogate", "Documents", f"kernel/{key}")]
    before = [listing(place) for place in theirs]
    at = opened("runs")
    assert "surrogate" not in set(at.dataframe[0].value["Stage"])
    assert all(name in text(at) for name in ("Documents", f"kernel/{key}/notes.txt", "surrogate"))
    at = select(at, "runs", rows=[0])
    for label in ("Delete", "Verify all", "Yes, delete all"):
        next(button for button in at.main.button if button.label == label).click().run()
        assert not at.exception
        if label == "Delete":
            assert "is not deleted: its folder" in at.error[0].value
        assert [listing(place) for place in theirs] == before
    for place in theirs:
        shutil.rmtree(place)


@pytest.mark.parametrize("page", PAGES)
def test_a_folder_of_somebody_else_is_refused_on_every_page(page: str, opened, tmp_path, monkeypatch) -> None:
    """One sentence, nothing written; and with a folder that will do the same session goes on."""
    (tmp_path / "theirs" / "2024").mkdir(parents=True)
    (tmp_path / "theirs" / "2024" / "letter.txt").write_text("Dear")
    before, good = listing(tmp_path), os.environ["NTK_CACHE"]
    monkeypatch.setenv("NTK_CACHE", str(tmp_path / "theirs"))
    at = opened(page, wait=False)
    assert not at.exception
    (sentence,) = (error.value for error in at.error)
    assert "is not a cache: it holds 2024. It is left as it is. Choose a new or an empty folder" in sentence
    assert listing(tmp_path) == before
    monkeypatch.setenv("NTK_CACHE", good)
    at.run()
    assert not at.exception
    assert not at.error


def test_a_result_whose_place_is_taken_is_a_sentence(opened: Open) -> None:
    experiment = opened("spectrum", {"draw": "31"}).session_state.experiment
    folder = stored(experiment.spectrum()).path
    (folder / "meta.json").unlink()
    (folder / "notes.txt").write_text("a good run")
    at = opened("spectrum", {"draw": "31"})
    assert not at.exception
    assert "holds notes.txt, not the cache's. Move that elsewhere and try again." in at.error[0].value
    assert (folder / "notes.txt").read_text() == "a good run"
    (folder / "notes.txt").unlink()
    assert charts(opened("spectrum", {"draw": "31"})) == CHARTS["spectrum"]
    dismiss(opened("runs"))


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
    [
        ("overview", "predict"),
        ("spectrum", "spectrum"),
        ("eigenfeatures", "sweep"),
        ("eigenfeatures", "spectrum"),
        ("attack", "flip"),
    ],
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


@pytest.fixture
def asks_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a minute is asked for twice, so that a fast machine asks as well."""
    monkeypatch.setattr(consent, "LONG", 30.0)


@pytest.mark.usefixtures("asks_soon")
def test_long_run_is_offered_started_watched_and_cancelled(opened: Open) -> None:
    at = opened("spectrum", LONG, wait=False)
    assert "about" in at.info[0].value
    assert not working(at)
    ask_twice(at)
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
        assert tab.info[0].value.startswith("Cancelled: kernel, eigenvalues and eigenvectors. About ")
        assert [button.label for button in tab.main.button if button.label.startswith("Run")] == ["Run again"]
    assert Store().get("kernel", specs.key(at.session_state.experiment.kernel())) is None


@pytest.mark.usefixtures("asks_soon")
def test_worker_killed_in_the_middle(opened: Open) -> None:
    """The reason is shown, with a Retry that starts a new process."""
    at = opened("spectrum", LONG | {"n": "999"}, wait=False)
    ask_twice(at)
    worker = services().worker
    (job,) = (job for job in worker.jobs() if not job.finished)
    wait_for(lambda: job.accepted)
    worker._child.process.kill()
    assert job.wait(10)
    at.run()
    assert not at.exception
    assert "did not finish" in complaints(at)[0]
    ask_twice(at, "Retry")
    assert working(at)
    opened("overview", {"draw": "24"}, wait=False)  # waits in the queue behind it
    for job in worker.jobs():
        job.cancel()
    at = opened("overview", {"draw": "25"})
    assert len(at.metric) == 3


def wait_for(condition: Callable[[], bool], limit_s: float = 20.0) -> None:
    """Return when the condition holds; fail after ``limit_s`` seconds."""
    until = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.02)


def seen(at: AppTest) -> str:
    """Its text without the signs that keep an address from being a link."""
    return text(at).replace("\u2060", "")


def test_who_computes(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "Workers:" not in seen(opened("runs"))
    monkeypatch.setenv("NTK_SCHEDULER", "tcp://10.0.0.1:8786")
    assert "Workers: tcp://10.0.0.1:8786 computes long kernels, sweeps and nets." in seen(opened("runs"))
    worker, team = services().worker, Team("tcp://10.0.0.1:8786", "", 2, 9, 7, Counter({"a, process 1": 4, "b": 3}))
    job = worker.submit("of workers", {"download": {"name": "toy"}, "what": "the kernel"})
    assert job.wait(60)
    job.report(7, 9, "tiles", team.as_json())  # as the worker's process does
    at = opened("runs")
    assert "the kernel. Computed by 2 workers of tcp://10.0.0.1:8786: 7 tiles done, 2 on the way." in seen(at)
    assert at.dataframe[0].value["Tiles done"].tolist() == [4, 3]
    job.report(7, 9, "tiles", Team("tcp://10.0.0.1:8786", "No scheduler answers.").as_json())
    assert "the kernel. No scheduler answers. This machine computes alone." in complaints(opened("runs"))[0]


def test_delete_all(opened: Open) -> None:
    opened("overview")
    at = opened("runs")
    (button,) = (button for button in at.main.button if button.label == "Yes, delete all")
    button.click().run()
    assert not at.exception
    assert "Nothing has been computed yet" in at.info[0].value
    assert Store().entries() == []
    assert len(opened("overview").metric) == 3
