"""The demo mode by itself: what its one variable says, and that the worker's door refuses what pages would not send."""

from collections.abc import Callable

import pytest

from ntkcore.data import DataSpec
from ntkcore.errors import NTKError, SpecError
from ntkcore.runs import demo, stages
from ntkcore.runs.demo import Demo
from ntkcore.runs.specs import Experiment
from ntkcore.runs.store import Store

TOY = Experiment(data=DataSpec(name="toy", classes=(), n_train=20, n_test=6))


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        ("", None),
        ("0", None),
        ("1", Demo(30.0, uploads=False, downloads=False)),
        ("seconds=60", Demo(60.0, uploads=False, downloads=False)),
        ("1, seconds=0, uploads", Demo(0.0, uploads=True, downloads=False)),
        ("downloads uploads", Demo(30.0, uploads=True, downloads=True)),
    ],
)
def test_the_variable(words: str, meant: Demo | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NTK_DEMO", words)
    assert demo.setting() == meant


@pytest.mark.parametrize("words", ["yes", "seconds=long", "seconds=-1", "seconds", "seconds=inf", "2"])
def test_a_misspelt_variable_is_no_open_door(words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NTK_DEMO", words)
    with pytest.raises(SpecError, match=r"NTK_DEMO .* needed"):
        demo.against_run(0.0)


REFUSED: dict[str, tuple[dict, str]] = {
    "run": (stages.request(TOY.kernel()), "runs are switched off"),
    "batch": (stages.batch([stages.request(TOY.kernel())], [1.0]), "runs are switched off"),
    "download": ({"download": DataSpec(name="cifar10").model_dump(mode="json")}, "it fetches no data sets"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_the_worker_asks_too(name: str, tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    request, words = REFUSED[name]
    monkeypatch.setenv("NTK_DEMO", "seconds=0")
    store = Store(tmp_path / "cache")
    with pytest.raises(NTKError, match=words):
        demo.execute(request, store, None)
    assert not list(store.entries())


def test_what_is_allowed_is_computed(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NTK_DEMO", "1")
    store = Store(tmp_path / "cache")
    demo.execute(stages.request(TOY.kernel()), store, None)
    assert [entry.stage for entry in store.entries()] == ["kernel"]


@pytest.mark.parametrize(
    ("against", "allowed"),
    [
        (demo.against_upload, "uploads"),
        (demo.against_download, "downloads"),
        (lambda: demo.against_run(45.0), "seconds=60"),
        (lambda: demo.against_stop(own=True), "1"),
        (demo.notice, "0"),
        (demo.against_change, "0"),
        (lambda: demo.against_stop(own=False), "0"),
    ],
    ids=["upload", "download", "run", "own stop", "notice", "change", "another's stop"],
)
def test_allowed_when_told(against: Callable[[], str | None], allowed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NTK_DEMO", allowed)
    assert against() is None
