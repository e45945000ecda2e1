"""Costs said before a run: positive for what has to be computed, nothing for what is stored, more for more work.

No seconds are compared with a clock here; the rates are made up, so that the arithmetic is what is tested.
"""

import json
import time

import numpy as np
import pytest

from ntkcore.analysis.attacks.attack import fgsm, pgd
from ntkcore.data import DataSpec, import_npz
from ntkcore.runs import experience, rates, specs
from ntkcore.runs.consent import Demand
from ntkcore.runs.costs import NOTHING, Estimate, estimate, estimate_all
from ntkcore.runs.presets import PRESETS
from ntkcore.runs.rates import MOST_OFF, Rates, calibrate
from ntkcore.runs.specs import Experiment, KernelSpec, NetSpec, SpectrumSpec, StageSpec
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


def test_leading_features_of_many_images_cost_far_less_than_all(store):
    """10,000 images fit where all of their eigenpairs do not, and 50,000 take no more than a part of their kernel."""
    pair = BASE.replace(data=DataSpec(name="cifar10", classes=("cat", "dog"), n_train=10_000, n_test=1000))
    leading, whole = (sum(estimate_all(e.stages(), RATES, store), NOTHING) for e in (pair, pair.replace(leading="all")))
    assert leading.seconds < whole.seconds / 5
    assert leading.bytes < 0.6 * whole.bytes
    every = DataSpec(name="cifar10", classes=(), n_train=50_000, n_test=1000)
    assert sum(estimate_all(pair.replace(data=every).stages(), RATES, store), NOTHING).bytes < 8 * 50_000**2 / 2
    most = Experiment(data=every.replace(n_train=16_000), net=NetSpec(family="myrtle", depth=5), leading=2000)
    of_file, kernel = most.spectrum().cost(RATES), most.kernel().cost(RATES)
    assert of_file.seconds > kernel.seconds  # in a file that it makes itself, and all eigenpairs


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
        pytest.param({"taken": []}, id="runs in a list"),
        pytest.param({"taken": {"kernel fc relu64": 2.0}}, id="a ratio without a list"),
        pytest.param({"taken": {"kernel fc relu64": [1.0, 1e9]}}, id="a ratio that cannot be"),
        pytest.param({"taken": {"kernel fc relu64": [float("nan")]}}, id="a ratio that is no number"),
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
    elif isinstance(content, dict):
        content = json.dumps(good | content)
    file.write_text(content)
    assert calibrate(tmp_path) == RATES
    assert len(measured) == 2
    assert json.loads(file.read_text()) == good
    calibrate(tmp_path, force=True)
    assert len(measured) == 3


# -- what runs teach -----------------------------------------------------------------------------------------------

LARGE = Experiment(data=DataSpec(name="cifar10", n_train=10_000, n_test=1000))
KERNEL = LARGE.kernel()


@pytest.fixture
def known(store, monkeypatch) -> Store:
    """A store beside which RATES were measured."""
    monkeypatch.setattr(rates, "_measure", lambda: RATES)
    calibrate(store.root)
    return store


def runs(store: Store, *ratios: float, spec: StageSpec = KERNEL) -> float:
    """Runs of ``spec`` that took so many times their estimate -> by what a later one's is multiplied."""
    for ratio in ratios:
        experience.learn(store.root, spec, ratio * spec.cost(RATES).seconds)
    return experience.factors(store.root, RATES).get(experience.kind(spec, RATES), 1.0)


@pytest.mark.parametrize(
    ("ratios", "factor"),
    [
        pytest.param([], 1, id="none"),
        pytest.param([4], 2, id="one moves it half of the way"),
        pytest.param([4, 3], 3, id="two: the nearer one"),
        pytest.param([2.2, 1.8, 2, 2], 2, id="agreeing"),
        pytest.param([1 / 3] * 9, 1 / 3, id="faster"),
        pytest.param([100] * 9, MOST_OFF, id="bounded above"),
        pytest.param([1e-4] * 9, 1 / MOST_OFF, id="bounded below"),
        pytest.param([1] * 6 + [5] * 3, 1, id="a busy machine is outvoted"),
        pytest.param([5] * 9 + [1] * 5, 1, id="a busy day is forgotten"),
        pytest.param([2, 0, -1], 2**0.5, id="no time"),
    ],
)
def test_later_estimates_follow_the_median_of_the_last_runs(ratios, factor, known):
    assert runs(known, *ratios) == pytest.approx(factor)


def test_what_is_said_of_costs_follows_and_other_kinds_of_work_do_not(known):
    other = LARGE.replace(net=NetSpec(family="conv"))
    assert len({experience.kind(spec, RATES) for spec in (KERNEL, other.kernel(), LARGE.spectrum())}) == 3

    def said(*wanted: StageSpec) -> Estimate:
        return Demand.of(wanted, RATES, known, allowance=1e12).cost

    fewer = LARGE.replace(data=LARGE.data.replace(n_train=8000))
    before, both, conv = said(fewer.kernel()), said(fewer.spectrum()), said(other.kernel())
    runs(known, 2.0, 2.0)
    assert said(fewer.kernel()) == Estimate(pytest.approx(2 * before.seconds), before.bytes)
    assert said(fewer.spectrum()).seconds == pytest.approx(both.seconds + before.seconds)
    assert said(other.kernel()) == conv
    faster = Rates(**vars(RATES) | {"eigh": RATES.eigh / 2})
    assert experience.factors(known.root, faster) == {}


def test_short_runs_teach_nothing_nor_do_those_of_unknown_machines(known, tmp_path):
    tiny = Experiment(data=DataSpec(n_train=20, n_test=5, size=4)).kernel()
    kept = (known.root / "calibration.json").read_text()
    assert runs(known, 1e4, 1e4, spec=tiny) == 1
    assert (known.root / "calibration.json").read_text() == kept
    assert runs(Store(tmp_path / "new"), 4.0, 4.0) == 1
    assert not (tmp_path / "new").exists()


def test_what_was_learnt_is_kept_and_goes_when_rates_are_measured_anew(known, monkeypatch):
    assert runs(known, *[3.0] * 12) == pytest.approx(3)
    kept = json.loads((known.root / "calibration.json").read_text())
    assert kept["taken"] == {experience.kind(KERNEL, RATES): [pytest.approx(3)] * experience.LAST}
    assert calibrate(known.root) == RATES
    monkeypatch.setattr(rates, "write", _refuse)
    assert runs(known, 1.0) == pytest.approx(3)
    monkeypatch.undo()
    monkeypatch.setattr(rates, "_measure", lambda: RATES)
    calibrate(known.root, force=True)
    assert experience.factors(known.root, RATES) == {}


def _refuse(*_: object) -> None:
    raise OSError("No space left on device")


@pytest.mark.parametrize(
    ("told", "waited"),
    [("5000000000 2000000000 3", 2.0), ("", 0.0), ("x y z", 0.0), (None, 0.0)],
    ids=["two seconds", "empty", "odd", "not told"],
)
def test_waiting_for_a_processor_does_not_count(told, waited, tmp_path, monkeypatch):
    if told is not None:
        (tmp_path / "schedstat").write_text(told)
    monkeypatch.setattr(experience, "Path", lambda _: tmp_path / "schedstat")
    start, now, end = time.perf_counter(), experience.clock(), time.perf_counter()
    assert start <= now + waited <= end + 1e-9


def test_the_clock_of_runs_is_no_faster_than_others():
    start, first, now, end = time.perf_counter(), experience.clock(), experience.clock(), time.perf_counter()
    assert now - first <= end - start


def test_a_run_is_compared_by_its_own_work_without_its_inputs(known, monkeypatch):
    now, taken = [0.0], {}

    def lasts(stage: type[StageSpec], seconds: float) -> None:
        compute = stage.compute

        def longer(spec, context):
            arrays = compute(spec, context)
            now[0] += seconds
            return arrays

        monkeypatch.setattr(stage, "compute", longer)

    lasts(KernelSpec, 100.0)
    lasts(SpectrumSpec, 7.0)
    monkeypatch.setattr(experience, "clock", lambda: now[0])
    monkeypatch.setattr(experience, "learn", lambda root, spec, seconds: taken.update({spec.stage: seconds}))
    result(Experiment(data=DataSpec(n_train=20, n_test=5, size=4)).spectrum(), known)
    assert taken == {"kernel": 100.0, "spectrum": 7.0}
