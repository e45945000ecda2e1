"""The claims on features, computed: on the toy set, whose features are planted, and on its images with other labels."""

from pathlib import Path

import numpy as np
import pytest

from ntkcore.analysis.features.classes import BRITTLE, ROBUST, classify
from ntkcore.data import DataSpec, import_npz, load
from ntkcore.readings.verdicts import HOLDS, IN_PART, NOT_HERE, UNKNOWN
from ntkcore.runs.claims import CLAIMS
from ntkcore.runs.specs import Experiment
from ntkcore.runs.stages import read_robust_features, read_sweep, result
from ntkcore.runs.store import Store

PLANTED = DataSpec(name="toy", n_train=300, n_test=1000)
COUNTS, ORDER = (next(one for one in CLAIMS if one.name == name) for name in ("robust_and_brittle", "robust_is_early"))


def permuted(root: Path) -> DataSpec:
    """The same images with labels that know nothing of them."""
    task, generator = load(PLANTED), np.random.default_rng(0)
    labels = {name: generator.permutation(getattr(task, f"labels_{name}")) for name in ("train", "test")}
    file = root / "permuted.npz"
    images = {f"x_{name}": getattr(task, f"x_{name}").numpy() for name in labels}
    np.savez(file, **images, **{f"y_{name}": found for name, found in labels.items()})
    return DataSpec(name="own", digest=import_npz(file, root).digest, n_train=300, n_test=1000)


@pytest.fixture(scope="module", params=["planted", "permuted"])
def computed(request, tmp_path_factory):
    """The experiment, a store with its results, and those of the claims (both read the same)."""
    root = tmp_path_factory.mktemp("claims")
    e = Experiment(data=PLANTED if request.param == "planted" else permuted(root))
    store = Store(root / "cache")
    found = {name: result(spec, store, data_root=str(root)) for name, spec in COUNTS.specs(e).items()}
    return request.param, e, store, found


def test_features_are_robust_and_brittle_where_they_are_planted(computed):
    which, e, _, found = computed
    assert COUNTS.judge(e, found).verdict in {"planted": (HOLDS,), "permuted": (NOT_HERE, UNKNOWN)}[which]


def test_robust_is_early_where_there_is_something_robust(computed):
    which, e, _, found = computed
    judged = ORDER.judge(e, found)
    assert judged.verdict in {"planted": (HOLDS, IN_PART), "permuted": (NOT_HERE, UNKNOWN)}[which]
    assert ("training shorter keeps more" in judged.reason) == (which == "planted")


def test_what_is_kept_is_what_the_eigenfeatures_page_shows(computed):
    _, e, store, found = computed
    kept = read_robust_features(found["features"])
    sweep = read_sweep(result(e.sweep(), store), result(e.spectrum(), store), e.sweep())
    assert (kept.codes == classify(sweep)).all()
    assert (kept.chance, len(kept.labels)) == (sweep.majority, sweep.m)
    number = COUNTS.judge(e, found).number
    assert number == f"{(kept.codes == ROBUST).sum()} robust, {(kept.codes == BRITTLE).sum()} brittle"


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_bars_are_as_full_as_features_are_learned(computed, dark):
    which, e, _, found = computed
    fig, kept = ORDER.figure(e, found, dark), read_robust_features(found["features"])
    assert len(fig.to_json()) < 200_000
    assert "useful features" in fig.layout.meta["alt"]
    if which == "planted":
        assert 2 < len(fig.frames) == len(fig.layout.sliders[0].steps) < len(kept.judged["time"].k)
        learned = np.array([frame.data[0].y for frame in fig.frames])
        assert (np.diff(learned, axis=0) >= 0).all()
        assert (np.diff(learned, axis=1) <= 0).all()
        assert learned[0].max() < 0.01
        assert learned[-1].min() > 0.99
        halfway = np.abs(learned[:, 0] - 0.5).argmin()
        times = np.array([frame.data[1].x[0] for frame in fig.frames])
        assert learned[halfway, 0] == pytest.approx(1 - np.exp(-kept.values[0] * times[halfway]), rel=1e-4)


def test_bands_are_pairs_of_bars(computed):
    _, e, _, found = computed
    fig = COUNTS.figure(e, found, False)
    clean, attacked = (trace for trace in fig.data if trace.type == "bar")
    bands = read_robust_features(found["features"]).judged["bands"]
    assert np.asarray(clean.y) == pytest.approx(bands.before.mean(0), abs=1e-6)
    assert np.asarray(attacked.y) == pytest.approx(bands.after.mean(0), abs=1e-6)
