"""Nets in training as stages: resumed, damaged, stopped; their kernels and scores against the library by hand."""

import copy
import json
import os
import signal
import time

import numpy as np
import pytest
import torch

from ntkcore.analysis.attacks.attack import fgsm, pgd
from ntkcore.analysis.evolution.histories import Histories
from ntkcore.analysis.evolution.motion import Motion, decomposed, inner_products
from ntkcore.analysis.predict import correct
from ntkcore.analysis.tangent import fit_tangent, tangent_predictor
from ntkcore.architectures import build
from ntkcore.data import DataSpec, load
from ntkcore.errors import Cancelled, NTKError, SpecError
from ntkcore.kernels.empirical import empirical_ntk
from ntkcore.runs import specs, stages
from ntkcore.runs.costs import estimate_all
from ntkcore.runs.rates import Rates
from ntkcore.runs.specs import EpochSpec, Evolution, FrozenSpec, NamedNet, TangentFeaturesSpec, TwinNet
from ntkcore.runs.stages import Context, result
from ntkcore.runs.stages.motion.epoch import load_checkpoint
from ntkcore.runs.store import Store
from ntkcore.runs.worker import Worker
from ntkcore.training import Schedule, finite_net, train_epochs

DATA = DataSpec(n_train=30, n_test=12, size=7)
SMALL = Evolution(
    data=DATA,
    regimes=("standard", "fgsm"),
    seeds=1,
    epochs=3,
    schedule=Schedule(lr=0.05, momentum=0.5, batch=8),
    fgsm=fgsm(0.1),
    pgd=pgd(0.1, 3),
    judged=10,
    probe=16,
    freeze=(1,),
    top=4,
)
RATES = Rates(1e-10, 1e-10, 1e-8, 1e-8, 1e-8, 1e-8, 1e-9)


@pytest.fixture
def store(tmp_path) -> Store:
    return Store(tmp_path / "cache")


@pytest.fixture(scope="module")
def full(tmp_path_factory) -> tuple[Store, dict]:
    """All of SMALL, computed in the order in which a page asks for it."""
    store = Store(tmp_path_factory.mktemp("motion"))
    return store, {name: result(spec, store).arrays for name, spec in SMALL.wanted().items()}


def epoch(store: Store, run: specs.RunSpec, number: int) -> dict[str, torch.Tensor]:
    return dict(result(EpochSpec.at(run, number), store, device="cpu").arrays)


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


# -- checkpoints --------------------------------------------------------------------------------------------------


def test_a_checkpoint_is_the_training(store: Store) -> None:
    """Three epochs by the library, on attacked images."""
    run, task = SMALL.run("fgsm", seed=1), load(DATA)
    module = build("cnn-small", task.image_shape, 1, seed=1, init="he")
    net = finite_net(module.to(memory_format=torch.channels_last))
    attack = SMALL.fgsm
    checkpoints = train_epochs(
        net,
        task.x_train,
        task.y_train,
        run.schedule,
        3,
        lambda net, x, y, draw: attack.perturb(net, x, y, attack.eps)[0],
    )
    losses = [checkpoint.loss for checkpoint in checkpoints]
    kept = epoch(store, run, 3)
    assert float(kept["loss"]) == losses[-1]
    for name, value in net.module.state_dict().items():
        assert torch.equal(kept[f"weight.{name}"], value), name


def test_in_one_go_or_epoch_by_epoch(store: Store, tmp_path) -> None:
    run = SMALL.run("standard")
    at_once = epoch(store, run, 3)
    other = Store(tmp_path / "other")
    for number in range(4):
        one_by_one = epoch(other, run, number)
    assert same(at_once, one_by_one)
    assert all(store.has("epoch", specs.key(EpochSpec.at(run, number))) for number in range(4))


@pytest.mark.parametrize("linear_from", [None, 1])
def test_a_missing_or_damaged_checkpoint_is_made_again(store: Store, linear_from: int | None) -> None:
    """The same as before, from the last whole one; nothing before it is computed again."""
    run = SMALL.run("fgsm", linear_from=linear_from)
    before = epoch(store, run, 3)
    names = [specs.key(EpochSpec.at(run, number)) for number in range(4)]
    created = {name: store.get("epoch", name).created for name in names}
    store.delete("epoch", names[3])
    file = store.get("epoch", names[2]).path / "arrays.safetensors"
    content = bytearray(file.read_bytes())
    content[-9] ^= 1
    file.write_bytes(content)
    assert same(epoch(Store(store.root), run, 3), before)
    again = {name: store.get("epoch", name).created for name in names}
    assert [again[name] == created[name] for name in names] == [True, True, False, False]


def test_stopped_in_mid_epoch(store: Store) -> None:
    """What was finished is kept, and going on gives the run that was never stopped."""
    run = SMALL.run("standard")

    def stop(done: float, total: float, note: str) -> None:
        if "epoch 3, step 2" in note:
            raise Cancelled

    with pytest.raises(Cancelled):
        result(EpochSpec.at(run, 3), store, stop)
    assert [store.has("epoch", specs.key(EpochSpec.at(run, number))) for number in range(4)] == [
        True,
        True,
        True,
        False,
    ]
    whole = epoch(Store(store.root / "elsewhere"), run, 3)
    assert same(epoch(store, run, 3), whole)


def test_a_diverging_run_says_so(store: Store) -> None:
    run = SMALL.replace(schedule=Schedule(lr=1e6, loss="squared")).run("standard")
    with pytest.raises(NTKError, match="Choose a smaller learning rate"):
        result(EpochSpec.at(run, 2), store)
    assert store.has("epoch", specs.key(EpochSpec.at(run, 0)))


def test_one_checkpoint_has_one_name() -> None:
    """Regimes share the net before training; a linearised run shares what comes before."""
    standard, attacked = SMALL.run("standard"), SMALL.run("fgsm")
    assert EpochSpec.at(standard, 0) == EpochSpec.at(attacked, 0)
    assert EpochSpec.at(standard, 1) != EpochSpec.at(attacked, 1)
    frozen = SMALL.run("fgsm", linear_from=2)
    assert [EpochSpec.at(frozen, t) == EpochSpec.at(attacked, t) for t in range(4)] == [True, True, True, False]
    with pytest.raises(SpecError, match="it is the checkpoint of the run without linear_from"):
        EpochSpec(run=frozen, epoch=2)


def test_more_epochs_begin_with_the_same() -> None:
    longer = SMALL.replace(epochs=5).wanted()
    assert set(SMALL.wanted().values()) <= set(longer.values())


# -- linearised ---------------------------------------------------------------------------------------------------


def test_a_linearised_run_begins_at_the_net(store: Store) -> None:
    """At the freeze point f_lin is f; later it is no longer, and the frozen net's own weights are where it began."""
    run, context, x = SMALL.run("fgsm", linear_from=1), Context(store, device="cpu"), load(DATA).x_test
    anchor, linear = (load_checkpoint(EpochSpec.at(run, t), context) for t in (1, 2))
    weights = epoch(store, run, 1)
    named = {name.removeprefix("weight."): value for name, value in weights.items() if name.startswith("weight.")}
    with torch.no_grad():
        moved = linear(x)
        linear.module.move(named)
        torch.testing.assert_close(linear(x), anchor(x), rtol=1e-5, atol=1e-5)
        assert float((moved - anchor(x)).abs().max()) > 1e-3


def test_closed_form_is_kernel_regression(store: Store) -> None:
    """K_test (K + rho I)^-1 Y with the whole kernels, on three classes."""
    data = DataSpec(classes=("Coat", "Bag", "Shirt"), n_train=24, n_test=6, size=7)
    task = load(data)
    net = finite_net(build("cnn-small", task.image_shape, 3, seed=0, init="he").eval())
    solved = fit_tangent(net, task.x_train, task.y_train, ridge=1e-2)
    theta = empirical_ntk(net.module, task.x_train).double().permute(0, 2, 1, 3).reshape(72, 72)
    cross = empirical_ntk(net.module, task.x_test, task.x_train).double().permute(0, 2, 1, 3).reshape(18, 72)
    ridge = 1e-2 * theta.diagonal().mean() * torch.eye(72, dtype=torch.float64)
    expected = cross @ torch.linalg.solve(theta + ridge, task.y_train.double().reshape(-1))
    with torch.no_grad():
        torch.testing.assert_close(solved(task.x_test).double().reshape(-1), expected, rtol=1e-2, atol=1e-3)


def test_an_eigenfeature_along_its_direction() -> None:
    task = load(DATA)
    net = finite_net(build("cnn-small", task.image_shape, 1, seed=0, init="he").eval())
    kernel = empirical_ntk(net.module, task.x_train)[:, :, 0, 0]
    s = decomposed(kernel, 2)
    cross = empirical_ntk(net.module, task.x_test, task.x_train)[:, :, 0, 0]
    feature = tangent_predictor(net, task.x_train, s.vectors[:, 1:2] / s.values[1])
    with torch.no_grad():
        expected = cross.double() @ s.vectors[:, 1:2] / s.values[1]
        torch.testing.assert_close(feature(task.x_test).double(), expected, rtol=1e-3, atol=1e-4)


def test_frozen_stage(store: Store) -> None:
    spec = FrozenSpec(checkpoint=EpochSpec.at(SMALL.run("fgsm"), 2), n=20, fgsm=SMALL.fgsm, pgd=SMALL.pgd)
    arrays, task = result(spec, store).arrays, load(DATA)
    net = load_checkpoint(spec.checkpoint, Context(store, device="cpu"))
    solved = fit_tangent(net, task.x_train[:20], task.y_train[:20], spec.ridge)
    assert torch.equal(arrays["test_clean"], correct(solved(task.x_test).detach(), task.y_test))
    assert torch.equal(arrays["test_pgd"], SMALL.pgd(solved, task.x_test, task.y_test).right_after)


# -- scores and kernels -------------------------------------------------------------------------------------------


def test_scores(full) -> None:
    store, found = full
    task, context = load(DATA), Context(store, device="cpu")
    net = load_checkpoint(EpochSpec.at(SMALL.run("fgsm"), 3), context)
    arrays = found["fgsm", 0, 3, "score"]
    for images, x, y in (("test", task.x_test, task.y_test), ("train", task.x_train[:10], task.y_train[:10])):
        assert torch.equal(arrays[f"{images}_clean"], correct(net(x).detach(), y))
        for kind, attack in (("fgsm", SMALL.fgsm), ("pgd", SMALL.pgd)):
            assert torch.equal(arrays[f"{images}_{kind}"], attack(net, x, y).right_after)


@pytest.mark.parametrize("attacked", [False, True])
def test_moments_are_of_one_probe_set(store: Store, attacked: bool) -> None:
    """Kernels of all epochs on the same images, the first ones; under attack each through its own net."""
    e = SMALL.replace(attacked=attacked, regimes=("fgsm",))
    found = {name: result(spec, store).arrays for name, spec in e.wanted().items() if name[3] == "moment"}
    context, task, looks = Context(store, device="cpu"), load(DATA), []
    x, y = task.x_train[:16], task.y_train[:16]
    for t in e.looks():
        net = load_checkpoint(EpochSpec.at(e.run("fgsm"), t), context)
        images = e.fgsm.perturb(net, x, y, e.fgsm.eps)[0] if attacked else x
        looks.append(decomposed(empirical_ntk(net.module, images)[:, :, 0, 0], 4))
    for t, one in enumerate(looks):
        expected = torch.stack([inner_products(other, one) for other in looks[: t + 1]])
        torch.testing.assert_close(found["fgsm", 0, t, "moment"]["inner"], expected, rtol=1e-4, atol=1e-3)
    history = Histories({n: {k: v.numpy() for k, v in a.items()} for n, a in found.items()}, 3, e.looks(), ("fgsm",), 1)
    gram = torch.stack([torch.stack([(a.kernel.double() * b.kernel).sum() for b in looks]) for a in looks])
    torch.testing.assert_close(history.motion("fgsm", 0).distance, Motion(gram).distance, rtol=1e-3, atol=1e-6)


def test_histories_of_a_run_under_way(full) -> None:
    """What is not there yet is nan, and does not stop what is."""
    _, found = full
    arrays = {n: {k: v.numpy() for k, v in a.items()} for n, a in found.items()}
    partial = {name: a for name, a in arrays.items() if name[2] < 2 or name[0] == "standard"}
    whole, part = (Histories(some, 3, SMALL.looks(), SMALL.regimes, 1) for some in (arrays, partial))
    assert (whole.reached("fgsm"), part.reached("fgsm"), part.reached("standard")) == (3, 1, 3)
    for history, known in ((whole, 4), (part, 2)):
        assert history.accuracy("fgsm", "test", "pgd").known.sum() == known
        assert history.velocity("fgsm").known.sum() == known - 1
        assert history.rank("fgsm").known.sum() == known
    assert np.isnan(part.lazy("fgsm", 0.5)).all()
    assert whole.lazy("fgsm", 0.0).tolist() == [np.inf]
    assert whole.lazy("fgsm", 1.1).tolist() == [0]
    assert np.isnan(part.late("fgsm")).all()
    assert whole.late("standard") == part.late("standard") > 0
    assert part.right("fgsm", "test", "pgd").shape == (0, 0)
    assert (whole.right("fgsm", "test", "pgd")[0] == arrays["fgsm", 0, 3, "score"]["test_pgd"]).all()
    assert part.values("fgsm", 3) is None
    assert whole.specialisation("fgsm") is None
    assert part.concentration("fgsm", 4) == [None]
    assert whole.concentration("fgsm", 4)[0].rank == pytest.approx(float(whole.rank("fgsm").mean[-1]))
    radius, angle = whole.path("fgsm", "top")
    assert (radius[0], angle[0], radius[-1]) == (0, 0, 1)


def test_bands_over_seeds(store: Store) -> None:
    e = SMALL.replace(seeds=2, regimes=("standard",), epochs=2)
    found = {n: {k: v.numpy() for k, v in result(s, store).arrays.items()} for n, s in e.wanted().items()}
    history = Histories(found, 2, e.looks(), e.regimes, 2)
    both = [[found["standard", seed, t, "score"]["test_clean"].mean() for t in range(3)] for seed in (0, 1)]
    band = history.accuracy("standard", "test", "clean")
    assert band.mean == pytest.approx([(a + b) / 2 for a, b in zip(*both, strict=True)])
    assert band.low == pytest.approx([min(pair) for pair in zip(*both, strict=True)])
    one, other = (found["standard", seed, 2, "score"]["test_clean_outputs"] for seed in (0, 1))
    assert (one != other).all()


def test_classes_have_kernels_of_their_own(store: Store) -> None:
    data = DataSpec(classes=("Coat", "Bag", "Shirt"), n_train=24, n_test=9, size=7)
    e = SMALL.replace(data=data, regimes=("standard",), epochs=1, freeze=())
    found = {n: result(s, store).arrays for n, s in e.wanted().items()}
    moment = found["standard", 0, 1, "moment"]
    assert moment["specialisation"].shape == (3,)
    assert len(moment["values"]) == 3 * e.probe
    history = Histories({n: {k: v.numpy() for k, v in a.items()} for n, a in found.items()}, 1, (0, 1), e.regimes, 1)
    expected = [float(found["standard", 0, t, "moment"]["specialisation"].mean()) for t in (0, 1)]
    assert history.specialisation("standard").mean == pytest.approx(expected)


def test_tangent_features(store: Store) -> None:
    """The gradient of an eigenfeature in the image, against the whole cross kernel."""
    spec = TangentFeaturesSpec(tangent=SMALL.tangent("fgsm", 0, 2), index=3, features=2)
    arrays, task = result(spec, store).arrays, load(DATA)
    net = load_checkpoint(spec.tangent.checkpoint, Context(store, device="cpu"))
    s = decomposed(result(spec.tangent, store).arrays["kernel"], 2)
    x, image = task.x_train[:16], task.x_test[3:4]

    module = copy.deepcopy(net.module).double()

    def feature(z: torch.Tensor) -> torch.Tensor:
        return empirical_ntk(module, z.double(), x.double())[0, :, 0, 0] @ s.vectors[:, 1] / s.values[1]

    assert float(arrays["outputs"][1, 0]) == pytest.approx(float(feature(image)), rel=1e-3, abs=1e-4)
    gradient = arrays["gradients"][1]
    at = tuple(int(i) for i in torch.unravel_index(gradient.abs().argmax(), gradient.shape))
    step = torch.zeros_like(image).double()
    step[(0, *at)] = 1e-6  # the kernel of a ReLU net jumps; between two jumps it has a slope
    rise = (feature(image + step) - feature(image - step)) / 2e-6
    assert float(gradient[at]) == pytest.approx(float(rise), rel=1e-2)


# -- specs --------------------------------------------------------------------------------------------------------


def test_looks_and_order() -> None:
    e = SMALL.replace(epochs=7, every=3, seeds=2, freeze=())
    assert e.looks() == (0, 3, 6, 7)
    names = list(e.wanted())
    assert names[:4] == [
        ("standard", 0, 0, "score"),
        ("standard", 0, 0, "moment"),
        ("fgsm", 0, 0, "score"),
        ("fgsm", 0, 0, "moment"),
    ]
    assert [seed for _, seed, _, _ in names] == sorted(seed for _, seed, _, _ in names)
    moment = e.wanted()["fgsm", 1, 7, "moment"]
    assert [one.checkpoint.epoch for one in moment.earlier] == [0, 3, 6]
    assert set(moment.earlier) <= set(e.wanted().values()) | {e.wanted()["fgsm", 1, 0, "moment"]}


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        pytest.param({"freeze": (3,)}, "cannot be linearised after epoch 3 of 3", id="freeze"),
        pytest.param({"probe": 31}, "probe set of 31 images is larger than the 30", id="probe"),
        pytest.param({"net": {"name": "vgg"}}, "There is no network 'vgg'", id="net"),
        pytest.param({"epochs": 0}, "epochs is 0; it must be at least 1", id="epochs"),
        pytest.param({"regimes": ("free",)}, "choose 'standard', 'fgsm' or 'pgd'", id="regime"),
    ],
)
def test_what_does_not_fit_is_refused_in_words(fields: dict, words: str) -> None:
    with pytest.raises(SpecError) as caught:
        Evolution.model_validate(SMALL.model_dump() | fields)
    assert words in str(caught.value)


def test_json_and_back() -> None:
    for e in (SMALL, SMALL.replace(net=TwinNet(width=32)), SMALL.replace(net=NamedNet(name="resnet18"))):
        assert Evolution.model_validate_json(e.model_dump_json()) == e
        assert Evolution.model_validate(json.loads(e.model_dump_json())) == e


@pytest.mark.parametrize("net", [NamedNet(), NamedNet(name="cnn-large"), TwinNet(width=64)], ids=str)
def test_costs(store: Store, net: NamedNet | TwinNet) -> None:
    """Twice the epochs cost about twice as much; what is there costs nothing; attacks cost more than none."""
    e = SMALL.replace(net=net, data=DATA.replace(n_train=1000), schedule=Schedule(batch=50))
    short, long = (
        sum(x.seconds for x in estimate_all(list(one.wanted().values()), RATES, store))
        for one in (e, e.replace(epochs=6))
    )
    assert 1.5 < long / short < 2.5
    plain, attacked = (
        estimate_all([EpochSpec.at(e.run(regime), 1)], RATES, store)[0].seconds for regime in ("standard", "pgd")
    )
    assert attacked > 1.5 * plain
    result(EpochSpec.at(e.run("standard"), 1), store)
    assert estimate_all([EpochSpec.at(e.run("standard"), 1)], RATES, store)[0].seconds == 0


def test_resnet_trains_and_is_looked_at(store: Store) -> None:
    e = SMALL.replace(net=NamedNet(name="resnet18"), regimes=("fgsm",), epochs=1, freeze=(0,), probe=2, judged=2)
    e = e.replace(data=DataSpec(n_train=4, n_test=4, size=7), pgd=pgd(0.1, 1))
    found = {name: result(spec, store).arrays for name, spec in e.wanted().items()}
    assert torch.isfinite(found["fgsm", 0, 1, "moment"]["inner"]).all()
    frozen = {name: result(spec, store).arrays for name, spec in e.frozen().items()}
    assert len(frozen["fgsm", 0, 0]["test_pgd"]) == 4


def test_every_stage_is_asked_by_the_worker(store: Store) -> None:
    """As the app hands them in, as JSON, one batch."""
    wanted = list(SMALL.replace(epochs=1, freeze=()).wanted().values())
    stages.execute(stages.batch([stages.request(spec) for spec in wanted], [1.0] * len(wanted)), store, None)
    assert all(store.has(spec.stage, specs.key(spec)) for spec in wanted)


def test_killed_in_mid_epoch_nothing_before_it_is_lost(tmp_path) -> None:
    """The worker is killed while it trains; gone on, the run ends as the one that was never touched."""
    e = SMALL.replace(regimes=("fgsm",), epochs=6, freeze=(), probe=4, judged=4)
    wanted = list(e.wanted().values())
    request = stages.batch([stages.request(spec) for spec in wanted], [1.0] * len(wanted))
    store = Store(tmp_path / "cache")
    epochs = [spec.checkpoint for spec in wanted if isinstance(spec, specs.ScoreSpec)]
    worker = Worker(store.root)
    try:
        job = worker.submit("until the third epoch", request)
        end = time.monotonic() + 60
        while sum(store.has(one.stage, specs.key(one)) for one in epochs) < 3 and time.monotonic() < end:
            time.sleep(0.005)
        os.kill(worker.pid, signal.SIGKILL)
        assert job.wait(20)
        assert job.state == "failed"
        assert "killed" in job.error
        kept = {one.key: one.created for one in store.entries()}
        assert len(kept) >= 3
        job = worker.submit("to the end", request)
        assert job.wait(60)
        assert job.state == "done"
    finally:
        worker.close()
    assert {one.key: one.created for one in store.entries()}.items() >= kept.items()
    last = dict(result(epochs[-1], store).arrays)
    assert same(last, dict(result(epochs[-1], Store(tmp_path / "other"), device="cpu").arrays))
