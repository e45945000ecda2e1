"""Costs said before a run: positive for what has to be computed, nothing for what is stored, more for more work.

No seconds are compared with a clock here; the rates are made up, so that the arithmetic is what is tested.
"""

import json

import numpy as np
import pytest

from ntkcore.analysis.attacks.attack import fgsm, pgd
from ntkcore.data import DataSpec, import_npz
from ntkcore.runs import rates, specs
from ntkcore.runs.costs import NOTHING, Estimate, estimate, estimate_all
from ntkcore.runs.presets import PRESETS
from ntkcore.runs.rates import Rates, calibrate
from ntkcore.runs.specs import Experiment, NetSpec, StageSpec
from ntkcore.runs.stages import result
from ntkcore.runs.store import Store

RATES = Rates(flop32=1e-11, flop64=2e-11, relu32=4e-9, relu64=8e-9, box32=1e-9, box64=2e-9, eigh=5e-10)
BASE = Experiment(data=DataSpec(n_train=400, n_test=60, size=14))


def every_stage(e: Experiment) -> dict[str, StageSpec]:
    return {spec.stage: spec for spec in (*e.stages(), e.pictures(0, (0, 1)), e.flip(0))}


@pytest.fixture
def store(tmp_path) -> Store:
    return Store(tmp_path)


@pytest.mark.parametrize("name", [name for name in PRESETS if name != "cifar" and not PRESETS[name].evolution])
@pytest.mark.parametrize("stage", every_stage(BASE))
def test_what_is_not_stored_costs_time_and_memory(name, stage, store):
    cost = estimate(every_stage(PRESETS[name].experiment)[stage], RATES, store)
    assert 0 < cost.seconds < 1e5
    assert 1e5 < cost.bytes < 1e11


def test_what_is_stored_costs_nothing_and_its_users_cost_less(store):
    tiny = Experiment(data=DataSpec(n_train=20, n_test=5, size=4))
    before = {stage: estimate(spec, RATES, store) for stage, spec in every_stage(tiny).items()}
    result(tiny.spectrum(), store)
    after = {stage: estimate(spec, RATES, store) for stage, spec in every_stage(tiny).items()}
    assert after["kernel"] == after["spectrum"] == NOTHING
    saved = {stage: before[stage].seconds - after[stage].seconds for stage in before if stage != "kernel"}
    assert all(seconds == pytest.approx(before["spectrum"].seconds) for seconds in saved.values())
    for stage in ("predict", "sweep", "curves", "pictures", "flip"):
        assert after[stage].seconds > 0


def test_a_cost_is_the_sum_of_what_is_missing_and_the_memory_of_the_largest(store):
    total = estimate(BASE.spectrum(), RATES, store)
    kernel = estimate(BASE.kernel(), RATES, store)
    own = Estimate(RATES.eigh * 400**3, 5 * 8 * 400**2)
    assert total.seconds == pytest.approx(kernel.seconds + own.seconds)
    assert total.bytes == max(kernel.bytes, own.bytes)


MORE = {
    "training images": (BASE.replace(data=BASE.data.replace(n_train=800)), set(every_stage(BASE))),
    "test images": (BASE.replace(data=BASE.data.replace(n_test=240)), {"kernel", "predict", "sweep", "curves"}),
    "pixels": (BASE.replace(data=BASE.data.replace(size=None)), set(every_stage(BASE))),
    "depth": (BASE.replace(net=NetSpec(depth=5)), set(every_stage(BASE))),
    "convolutions": (BASE.replace(net=NetSpec(family="conv", depth=1)), set(every_stage(BASE))),
    "steps": (BASE.replace(attack=pgd(steps=20)), {"sweep", "curves"}),
    "precision": (BASE.replace(precision="float64"), {"kernel"}),
}


@pytest.mark.parametrize("what", MORE)
def test_more_work_costs_more(what, store):
    less = BASE.replace(precision="float32") if what == "precision" else BASE
    more, where = MORE[what]
    for stage in where:
        little, much = (estimate(every_stage(e)[stage], RATES, store) for e in (less, more))
        assert much.seconds > little.seconds, stage
        assert much.bytes >= little.bytes, stage


@pytest.mark.parametrize("factor", [2, 4])
def test_the_sweep_grows_with_test_images_and_faster_than_training_images(factor, store):
    """A pair of a feature and a test image takes passes over n training images; products of all come once."""

    def own(n: int, m: int) -> float:
        e = Experiment(data=DataSpec(n_train=n, n_test=m), attack=fgsm())
        whole, before = (estimate(spec, RATES, store).seconds for spec in (e.sweep(), e.spectrum()))
        return whole - before

    assert 0.8 * factor < own(200, 50 * factor) / own(200, 50) < factor
    assert factor < own(200 * factor, 50) / own(200, 50) < factor**2


@pytest.mark.parametrize(("depth", "low", "high"), [(1, 1.9, 2.1), (3, 3.0, 4.0)])
def test_a_net_twice_as_wide_costs_twice_with_one_hidden_layer_and_nearly_four_times_with_more(depth, low, high, store):
    e = BASE.replace(net=NetSpec(depth=depth))

    def own(width: int) -> float:
        wanted = [*e.twin(width).reads(), e.twin(width)]
        return estimate_all(wanted, RATES, store)[-1].seconds  # what it stands on has been counted

    assert low < own(8192) / own(4096) < high


def test_parts_of_a_story_count_what_they_share_once(store):
    story = specs.Story(kernel=BASE.ntk(), widths=(8, 16), seeds=2)
    wanted = list(story.transfers().values())
    together = sum(cost.seconds for cost in estimate_all(wanted, RATES, store))
    alone = sum(estimate(spec, RATES, store).seconds for spec in wanted)
    assert max(estimate(spec, RATES, store).seconds for spec in wanted) < together < alone / 2
    assert all(cost == NOTHING for cost in estimate_all(wanted * 2, RATES, store)[len(wanted) :])


def test_a_myrtle_kernel_is_far_dearer_than_a_dense_one_and_cheaper_on_small_images(store):
    def seconds(family: str, depth: int, size: int | None) -> float:
        e = Experiment(data=DataSpec(n_train=100, n_test=10, size=size), net=NetSpec(family=family, depth=depth))
        return estimate(e.kernel(), RATES, store).seconds

    assert seconds("myrtle", 5, 14) > 100 * seconds("conv", 2, 14) > 100 * seconds("fc", 1, 14)
    assert seconds("myrtle", 5, 7) < seconds("myrtle", 5, 14) / 10
    assert seconds("myrtle", 5, 14) < seconds("myrtle", 7, 14) < seconds("myrtle", 10, 14)


@pytest.mark.parametrize("classes", [2, 3])
def test_own_data_that_leave_their_classes_open_are_counted(classes, store, tmp_path, monkeypatch):
    monkeypatch.setenv("NTK_DATA", str(tmp_path / "data"))
    x, y = np.zeros((30, 6, 6), dtype=np.uint8), np.arange(30) % classes
    np.savez(tmp_path / "own.npz", x_train=x, y_train=y, x_test=x, y_test=y)
    own = import_npz(tmp_path / "own.npz")
    open_, named = (
        Experiment(data=DataSpec(name="own", digest=own.digest, n_train=30, n_test=30, classes=names))
        for names in ((), own.classes)
    )
    for stage, spec in every_stage(open_).items():
        assert estimate(spec, RATES, store) == estimate(every_stage(named)[stage], RATES, store)


# -- this machine's rates ------------------------------------------------------------------------------------------


def test_rates_are_measured_once_and_kept_beside_the_artifacts(tmp_path):
    root = tmp_path / "not there yet"
    first = calibrate(root)
    assert all(rate > 0 for rate in vars(first).values())
    kept = (root / "calibration.json").read_text()
    assert calibrate(root) == first
    assert (root / "calibration.json").read_text() == kept
    assert Store(root).entries() == []


def test_a_busy_moment_does_not_spoil_a_rate(monkeypatch):
    slow = vars(RATES) | {"flop32": 1.0, "relu32": 1.0}
    other = vars(RATES) | {"relu32": 1.0, "eigh": 1.0}
    rounds = iter([slow, other, other])
    monkeypatch.setattr(rates, "_round", lambda: next(rounds))
    assert rates._measure() == Rates(**vars(RATES) | {"relu32": RATES.relu64})  # never slower than double


@pytest.mark.parametrize(
    "content",
    [
        pytest.param("", id="empty"),
        pytest.param("{", id="cut off"),
        pytest.param("[]", id="list"),
        pytest.param("other", id="another format"),
        pytest.param("lacking", id="a rate lacks"),
    ],
)
def test_rates_that_cannot_be_read_are_measured_again(content, tmp_path, monkeypatch):
    measured = []

    def measure() -> Rates:
        measured.append(RATES)
        return RATES

    monkeypatch.setattr(rates, "_measure", measure)
    calibrate(tmp_path)
    file = tmp_path / "calibration.json"
    good = json.loads(file.read_text())
    if content == "other":
        content = json.dumps(good | {"format": -1})
    elif content == "lacking":
        content = json.dumps(good | {"rates": {"eigh": 1.0}})
    file.write_text(content)
    assert calibrate(tmp_path) == RATES
    assert len(measured) == 2
    assert json.loads(file.read_text()) == good
    calibrate(tmp_path, force=True)
    assert len(measured) == 3
