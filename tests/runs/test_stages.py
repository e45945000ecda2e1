"""Stages: a chain gives what the library gives; inputs are found by key; nothing is half done when it is stopped."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import ntkcore as ntk
from ntkcore.analysis.attacks.balls import radii_up_to
from ntkcore.analysis.attacks.margin_path import margin_along_eps
from ntkcore.analysis.features.halves import halves
from ntkcore.analysis.features.pictures import feature_pictures
from ntkcore.analysis.features.tradeoff import along_time, band_sums, kept_features
from ntkcore.errors import Cancelled, NTKError, SpecError
from ntkcore.runs import specs, stages
from ntkcore.runs.specs import Experiment, NetSpec, PredictSpec, Rule, StageSpec, key, parse
from ntkcore.runs.store import Store
from ntkcore.training import Descent

ROOT = Path(__file__).resolve().parents[2]
TINY = Experiment(data=ntk.DataSpec(n_train=24, n_test=12, size=7), rule=Rule(fdr=0.3))
EXPERIMENTS = {
    "two classes": TINY,
    "three classes, PGD": Experiment(
        data=ntk.DataSpec(classes=("Bag", "Coat", "Sandal"), n_train=30, n_test=13, size=4),
        net=NetSpec(family="conv", depth=1),
        attack=ntk.pgd(0.5, steps=3, norm="l2"),
        inputs="centre",
        ridge=0.1,
        rule=Rule(fdr=0.2),
    ),
    "float32, NNGP": TINY.replace(precision="float32", kind="nngp", inputs="standardise"),
    "leading features": TINY.replace(leading=6),
}


def every_stage(e: Experiment) -> dict[str, StageSpec]:
    return {spec.stage: spec for spec in (*e.stages(), e.pictures(1, (0, 3)), e.flip(1, time=_moment(e)))}


def _moment(e: Experiment) -> float | None:
    """Of late times leading features know the end alone."""
    return 40.0 if e.eigenpairs is None else None


def run(spec: StageSpec, store: Store, **options) -> dict[str, torch.Tensor]:
    return dict(stages.result(spec, store, device="cpu", **options).arrays)


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def is_whole(store: Store) -> bool:
    return store.verify().ok and not store.incidents() and not list((store.root / ".tmp").glob("*"))


@pytest.fixture
def store(tmp_path) -> Store:
    return Store(tmp_path / "cache")


# -- a chain is what the library gives -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("n", "leading", "k"),
    [(5000, None, None), (5001, None, 500), (10_000, "all", None), (10_000, 200, 200), (60, 50, 50), (60, 60, None)],
)
def test_leading_eigenpairs_are_for_many_images_unless_something_is_said(n, leading, k):
    e = Experiment(data=ntk.DataSpec(name="cifar10", n_train=n, n_test=5), leading=leading)
    assert {spec.leading for spec in (e.spectrum(), e.sweep(), e.predict(), e.flip(0))} == {k}
    assert specs.experiment_of(e.sweep()).eigenpairs == k
    assert ("leading" in e.sweep().model_dump()) == (k is not None)


def test_a_kernel_that_is_not_held_gives_the_same(store, tmp_path, monkeypatch):
    """From a file that is worked with and not kept, in place of one in memory."""
    e, other = TINY.replace(leading=6), Store(tmp_path / "other")
    held = [run(spec, store) for spec in e.stages()[1:]]
    monkeypatch.setattr(sys.modules["ntkcore.runs.stages.kernel_side.spectrum"], "HELD", 0.0)
    of_file = [run(spec, other) for spec in e.stages()]
    for one, two in zip(held, of_file, strict=True):
        assert same(one, {name: value for name, value in two.items() if name != "K_test"})
    assert not other.has("kernel", key(e.kernel()))
    assert is_whole(other)


def test_steps_of_descent_are_the_same_from_products_with_the_kernel(store, tmp_path, monkeypatch):
    descent = specs.KernelModel(kernel=TINY.kernel(), descent=Descent(steps=4))
    wanted = specs.PathSpec(kernel=TINY.kernel(), steps=(5, 2)), specs.PerturbSpec(source=descent, eps=(0.05,))
    of_all = [run(spec, store) for spec in wanted]
    module = sys.modules["ntkcore.runs.stages.kernel_side.spectrum"]
    monkeypatch.setattr(module, "ALL_UP_TO", 20)
    monkeypatch.setattr(module, "LEADING", 3)
    other = Store(tmp_path / "other")
    for before, spec in zip(of_all, wanted, strict=True):
        after = run(spec, other)
        for name, value in before.items():
            torch.testing.assert_close(after[name], value)
    assert not other.has("spectrum", key(TINY.spectrum().replace(leading=None)))


def test_a_file_that_the_disk_has_no_room_for_is_refused_before_it_begins(store, monkeypatch):
    monkeypatch.setattr(sys.modules["ntkcore.runs.stages.kernel_side.spectrum"], "HELD", 0.0)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(100, 100, 0))
    with pytest.raises(NTKError, match=r"takes a file of 0\.0 GB .* single precision"):
        run(TINY.replace(leading=6).spectrum(), store)
    assert is_whole(store)


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_stage_equals_the_library_called_directly(name, store):
    e = EXPERIMENTS[name]
    task = ntk.load(e.data)
    x, y, x_test, y_test = task.x_train, task.y_train, task.x_test, task.y_test
    k = ntk.kernel_fn(e.net.build(), e.kind, ntk.input_map(e.inputs, x))
    dtype = getattr(torch, e.precision)
    K, K_test = k(x.to(dtype)).double(), k(x_test.to(dtype), x.to(dtype)).double()
    s = ntk.spectrum(K, e.eigenpairs)
    by_steps = {} if s.whole else {"residual": 1e-3, "K": K}
    f = ntk.fit(k, x, y, ridge=e.ridge, spectrum_of_train=s, **by_steps)
    attacked = e.attack(f, x_test, y_test)
    sweep = ntk.eigenfeatures(k, x, y, x_test, y_test, e.attack, s, K_test)
    classes = ntk.classify(sweep, e.rule.fdr, e.rule.keep)
    of_first = ntk.classify(sweep.part(halves(sweep.labels)), e.rule.fdr, e.rule.keep)
    judged = kept_features(k, s, x, y, x_test, y_test, e.attack, of_first, K_test)
    end = None if s.whole else f.alpha
    judged["time"] = along_time(k, s, x, y, x_test, y_test, e.attack, K_test=K_test, end=end)
    judged["bands"] = band_sums(k, s, x, y, x_test, y_test, e.attack, K_test)
    pictures = feature_pictures(k, s, x, y, x_test[1], y_test[1], e.attack, (0, 3), classes)
    slow = ntk.fit(k, x, y, time=40.0, ridge=e.ridge, spectrum_of_train=s) if s.whole else f
    radii = torch.tensor(radii_up_to(0.2, e.attack.norm, e.attack.eps), dtype=torch.float64)
    path = margin_along_eps(slow, x_test[1].double(), y_test[1].double(), ntk.fgsm(0.2, norm=e.attack.norm), radii)
    expected = {
        "kernel": {"K": K, "K_test": K_test},
        "spectrum": {"values": s.values, "vectors": s.vectors, "projections": s.vectors.T @ y.double()},
        "predict": {
            "outputs": f(x_test),
            "attack_outputs": attacked.attacked,
            "right": attacked.right_before,
            "attack_right": attacked.right_after,
            "margin": ntk.margin(f(x_test), y_test),
        },
        "sweep": {
            "right_before": sweep.right_before,
            "right_after": sweep.right_after,
            "usefulness": sweep.usefulness,
            "robustness": sweep.robustness,
            "p_values": torch.from_numpy(sweep.p_values),
            "null_p_values": torch.from_numpy(sweep.permuted().p_values),
        },
        "curves": {
            "classes": torch.from_numpy(of_first),
            **{f"{kind}_k": torch.from_numpy(one.k) for kind, one in judged.items()},
            **{f"{kind}_before": torch.from_numpy(one.before) for kind, one in judged.items()},
            **{f"{kind}_after": torch.from_numpy(one.after) for kind, one in judged.items()},
        },
        "pictures": {
            "pictures": pictures.pictures.float(),
            "x_adv": pictures.x_adv.float(),
            "group_gradients": pictures.group_gradients.float(),
            "contributions": pictures.contributions,
        },
        "flip": {"fgsm_margin": path.margins, "fgsm_flip": torch.tensor(path.flip_eps, dtype=torch.float64)},
    }
    for stage, spec in every_stage(e).items():
        arrays = run(spec, store)
        for label, value in expected[stage].items():
            torch.testing.assert_close(arrays[label], value, rtol=1e-9, atol=1e-12, msg=lambda m, s=stage: f"{s}: {m}")


def test_a_sweep_is_read_back_with_its_classes(store):
    e, task = TINY, ntk.load(TINY.data)
    k = ntk.kernel_fn(e.net.build())
    direct = ntk.eigenfeatures(k, task.x_train, task.y_train, task.x_test, task.y_test, e.attack)
    swept, spectral = (stages.result(spec, store) for spec in (e.sweep(), e.spectrum()))
    sweep = stages.read_sweep(swept, spectral, e.sweep())
    assert torch.equal(sweep.robustness, direct.robustness)
    assert (sweep.attack, sweep.majority) == (e.attack, direct.majority)
    assert np.array_equal(ntk.classify(sweep, 0.5), ntk.classify(direct, 0.5))
    null, expected = stages.read_null(swept), direct.permuted()
    assert np.array_equal(null.useful(0.5), expected.useful(0.5))


def test_an_artifact_says_what_it_is_of(store):
    artifact = stages.result(TINY.predict(), store)
    assert parse("predict", artifact.meta["spec"]) == TINY.predict()
    assert artifact.meta["words"] == TINY.predict().in_words()
    assert artifact.meta["seconds"] > 0
    assert artifact.key == key(TINY.predict())


# -- inputs are found by key ---------------------------------------------------------------------------------------


def test_what_is_in_the_store_is_not_computed_again(store):
    kernel = stages.result(TINY.kernel(), store)
    said: list[str] = []
    for spec in every_stage(TINY).values():
        run(spec, store, progress=lambda done, total, note: said.append(note))
    assert said
    assert not [note for note in said if "image pairs" in note]
    found = [artifact for artifact in store.entries() if artifact.stage == "kernel"]
    assert [(a.key, a.created) for a in found] == [(kernel.key, kernel.created)]
    assert len(store.entries()) == 7


def test_an_input_is_taken_from_its_key_as_it_is(store, tmp_path):
    """A kernel twice as large, stored under the key of the kernel: eigenvalues are twice as large."""
    arrays = run(TINY.kernel(), Store(tmp_path / "other"))
    store.put("kernel", key(TINY.kernel()), {name: 2 * value for name, value in arrays.items()}, {})
    values = run(TINY.spectrum(), store)["values"]
    torch.testing.assert_close(values, 2 * ntk.spectrum(arrays["K"]).values)


def test_a_damaged_input_is_noticed_and_computed_again(store, tmp_path):
    expected = run(TINY.predict(), Store(tmp_path / "other"))
    spectrum = stages.result(TINY.spectrum(), store)
    kernel = store.get("kernel", key(TINY.kernel()))
    for artifact in (kernel, spectrum):
        file = artifact.path / "arrays.safetensors"
        content = bytearray(file.read_bytes())
        content[-5] ^= 1
        file.write_bytes(content)
    fresh = Store(store.root)
    assert same(run(TINY.predict(), fresh), expected)
    assert {(i.stage, i.key) for i in fresh.incidents()} == {(a.stage, a.key) for a in (kernel, spectrum)}
    assert fresh.verify().ok


# -- progress and cancelling ---------------------------------------------------------------------------------------


@pytest.fixture
def own_data(tmp_path) -> tuple[ntk.DataSpec, dict[str, str]]:
    """Own data, which report that they are read, and where they are."""
    rng = np.random.default_rng(0)
    arrays = {f"x_{part}": rng.integers(0, 256, (30, 6, 6), dtype=np.uint8) for part in ("train", "test")}
    np.savez(tmp_path / "own.npz", **arrays, y_train=np.arange(30) % 2, y_test=np.arange(30) % 2)
    own = ntk.import_npz(tmp_path / "own.npz", root=tmp_path)
    return ntk.DataSpec(name="own", digest=own.digest, n_train=20, n_test=10), {"data_root": str(tmp_path)}


@pytest.mark.parametrize("data", ["bundled", "own"])
@pytest.mark.parametrize("stage", every_stage(TINY))
def test_progress_runs_from_0_to_1_and_never_back(stage, data, own_data, tmp_path):
    e, options = (TINY, {}) if data == "bundled" else (TINY.replace(data=own_data[0]), own_data[1])
    said: list[tuple[float, float, str]] = []
    run(every_stage(e)[stage], Store(tmp_path / "cache"), progress=lambda *report: said.append(report), **options)
    shares = [done / total for done, total, _ in said]
    assert shares[0] <= 0.05
    assert shares == sorted(shares)
    assert shares[-1] == 1
    assert all(note for *_, note in said)


def test_progress_of_the_rest_when_only_an_input_is_missing(store):
    """A kernel that was dropped while its spectrum was kept."""
    run(TINY.spectrum(), store)
    store.delete("kernel", key(TINY.kernel()))
    shares: list[float] = []
    run(TINY.sweep(), store, progress=lambda done, total, note: shares.append(done / total))
    assert shares == sorted(shares)
    assert sum(share < 1 for share in shares) > 3


@pytest.mark.parametrize("stage", every_stage(TINY))
def test_cancelled_at_any_moment_the_store_is_whole_and_the_rest_goes_on(stage, tmp_path):
    spec, reports = every_stage(TINY)[stage], []
    expected = run(spec, Store(tmp_path / "whole"), progress=lambda *report: reports.append(report))
    for stop in sorted({0, 1, len(reports) // 3, len(reports) // 2, len(reports) - 1}):
        left = stop

        def progress(done: float, total: float, note: str) -> None:
            nonlocal left
            left -= 1
            if left < 0:
                raise Cancelled("Stopped.")

        store = Store(tmp_path / str(stop))
        with pytest.raises(Cancelled):
            run(spec, store, progress=progress)
        assert is_whole(store)
        assert same(run(spec, store), expected)


# -- small, singular and impossible --------------------------------------------------------------------------------


def test_the_smallest_experiment_there_is(store):
    e = Experiment(data=ntk.DataSpec(name="toy", n_train=2, n_test=1))
    arrays = {spec.stage: run(spec, store) for spec in (*e.stages(), e.pictures(0, (0, 1)), e.flip(0))}
    assert arrays["sweep"]["right_before"].shape == (1, 2)
    assert arrays["curves"]["top_k"].tolist() == [1, 2]
    assert arrays["predict"]["outputs"].shape == (1, 1)
    assert all(torch.isfinite(a.double()).all() for a in arrays["pictures"].values())


def test_eps_0_leaves_every_image_and_verdict_as_it_is(store):
    e = TINY.replace(attack=ntk.fgsm(0.0))
    predict, sweep, curves = (run(spec, store) for spec in (e.predict(), e.sweep(), e.curves()))
    assert torch.equal(predict["attack_outputs"], predict["outputs"])
    assert torch.equal(sweep["right_after"], sweep["right_before"])
    assert torch.equal(curves["top_after"], curves["top_before"])
    assert run(e.flip(0), store)["eps"][-1] == 0.2


def test_time_0_predicts_nothing_and_no_attack_is_possible(store):
    arrays = run(PredictSpec(kernel=TINY.kernel(), time=0.0), store)
    assert not arrays["outputs"].any()
    assert not arrays["right"].any()
    assert arrays["zero_gradient"].all()


def test_duplicates_make_a_singular_kernel_and_the_same_prediction(tmp_path):
    """Every training image twice: half of the eigenvalues are numerically 0, the interpolant is the same."""
    rng = np.random.default_rng(1)
    x, y = rng.random((16, 5, 5), dtype=np.float32), np.arange(16) % 2
    outputs = {}
    for copies in (1, 2):
        file = tmp_path / f"{copies}.npz"
        np.savez(file, x_train=np.tile(x, (copies, 1, 1)), y_train=np.tile(y, copies), x_test=x[:6] / 2, y_test=y[:6])
        own = ntk.import_npz(file, root=tmp_path)
        e = Experiment(data=ntk.DataSpec(name="own", digest=own.digest, n_train=own.n_train, n_test=6))
        store = Store(tmp_path / "cache")
        arrays = {stage: run(spec, store, data_root=str(tmp_path)) for stage, spec in every_stage(e).items()}
        assert arrays["predict"]["left_out"] == 16 * (copies - 1)
        assert arrays["sweep"]["right_after"].shape == (6, 16)
        assert arrays["curves"]["top_k"][-1] == 16
        outputs[copies] = arrays["predict"]["outputs"]
        with pytest.raises(SpecError, match="Feature 16 does not exist: there are 16"):
            run(e.pictures(0, (0, 16)), store, data_root=str(tmp_path))
    torch.testing.assert_close(outputs[1], outputs[2], rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        pytest.param(TINY.pictures(12, (0,)), "Test image 12 does not exist: there are 12. Choose 0 to 11", id="image"),
        pytest.param(TINY.flip(99), "Test image 99 does not exist", id="image to flip"),
        pytest.param(TINY.pictures(0, (0, 24)), "Feature 24 does not exist", id="feature"),
        pytest.param(TINY.pictures(0, (-1,)), "does not exist", id="negative feature"),
        pytest.param(
            TINY.replace(net=NetSpec(family="myrtle", depth=5), data=TINY.data.replace(size=2)).kernel(),
            "Images of 2x2 are too small for Myrtle-5",
            id="too small to pool",
        ),
        pytest.param(
            TINY.replace(data=ntk.DataSpec(name="own", digest="0" * 64)).kernel(), "Import the .npz again", id="no data"
        ),
    ],
)
def test_what_cannot_be_done_is_said_in_words(spec, words, store):
    with pytest.raises(NTKError) as caught:
        run(spec, store)
    assert words in str(caught.value)
    assert is_whole(store)


def test_cuda_where_there_is_none_and_unknown_devices(store, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SpecError, match="There is no CUDA device here"):
        stages.result(TINY.kernel(), store, device="cuda")
    with pytest.raises(SpecError, match="device is 'tpu'; choose"):
        stages.result(TINY.kernel(), store, device="tpu")


LIMITED = """
import resource, sys
from ntkcore.data import DataSpec
from ntkcore.errors import NTKError
from ntkcore.runs.specs import Experiment
from ntkcore.runs.stages import result
from ntkcore.runs.store import Store
store = Store(sys.argv[1])
result(Experiment(data=DataSpec(name="toy", n_train=50, n_test=10)).spectrum(), store)
with open("/proc/self/statm") as file:
    used = int(file.read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 100_000_000,) * 2)
try:
    result(Experiment(data=DataSpec(name="toy", n_train=5000, n_test=10)).spectrum(), store)
except NTKError as error:
    print(error)
"""


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs Linux, to see and limit the memory in use")
def test_out_of_memory_is_a_sentence_and_what_was_done_is_kept(tmp_path):
    """The kernel of 5000 images takes 200 MB; 100 are left."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-P", "-c", LIMITED, str(tmp_path)],
        capture_output=True,
        text=True,
        env=environment,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
    words = "There is not enough memory for stage kernel (Planted features (synthetic): minus / plus, 5000 training"
    assert done.stdout.startswith(words)
    assert "Choose fewer images" in done.stdout
    store = Store(tmp_path)
    assert is_whole(store)
    assert {artifact.stage for artifact in store.entries()} == {"kernel", "spectrum"}


# -- what the worker calls -----------------------------------------------------------------------------------------


def test_a_request_is_json_and_fills_the_store(store, own_data):
    spec, (data, options) = TINY.sweep(), own_data
    stages.execute(stages.request(spec, device="cpu"), store, None)
    assert store.get("sweep", key(spec)) is not None
    other = TINY.replace(data=data).kernel()
    stages.execute(stages.request(other, "cpu", options["data_root"]), store, None)
    assert store.get("kernel", key(other)).shapes["K"] == (20, 20)
    stages.execute({"download": {"name": "toy"}}, store, None)
    with pytest.raises(SpecError, match="There is no stage 'dance'"):
        stages.execute({"stage": "dance", "spec": {}}, store, None)


def test_a_stage_reads_only_what_it_says_that_it_reads(tmp_path, monkeypatch):
    """Else its cost would be wrong; what its inputs read it may read, too."""
    store, spec = Store(tmp_path), TINY.predict()
    assert stages.result(spec, store)  # reads the kernel that its spectrum reads
    monkeypatch.setattr(specs.SpectrumSpec, "reads", lambda self: ())
    with pytest.raises(RuntimeError, match=r"Stage spectrum asks for KernelSpec\(.*does not say that it reads"):
        stages.result(TINY.replace(ridge=0.5, data=TINY.data.replace(n_test=3)).spectrum(), store)


@pytest.mark.parametrize("stage", sorted(stages.STAGES))
def test_what_a_stage_reads_is_declared_by_stages_of_the_house(stage):
    spec = stages.STAGES[stage]()
    assert all(type(one) in stages.STAGES.values() for one in spec.reads())
    assert spec not in spec.reads()
    assert spec.in_words()
    assert specs.experiment_of(spec).stages()
