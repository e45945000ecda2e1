"""Every stage, and the library beside them, with "cuda" as the device: nothing mixes devices, and results are the same.

The GPU is that of ``tests.fake_gpu``, so only devices are tested here, not a GPU's arithmetic.
"""

from pathlib import Path

import pytest
import torch

import ntkcore as ntk
from ntkcore.analysis.attacks.transfer import gradient_cosine, judge, perturb_along, sign_noise
from ntkcore.analysis.consistency import similarity
from ntkcore.analysis.consistency.agreement import agreement as compare
from ntkcore.analysis.evolution.motion import Motion, class_specialisation, decomposed, gram_of, inner_products
from ntkcore.analysis.features.pictures import feature_pictures
from ntkcore.analysis.tangent import fit_tangent
from ntkcore.readings import features
from ntkcore.runs import specs, stages
from ntkcore.runs.specs import EpochSpec, Experiment, NetSpec, Rule, StageSpec, TangentFeaturesSpec, TwinNet
from ntkcore.runs.stages import STAGES
from ntkcore.runs.store import Store
from ntkcore.training import PLAIN, Schedule, Training
from tests.fake_gpu import fake_gpu

DATA = ntk.DataSpec(n_train=24, n_test=12, size=7)
THREE = ntk.DataSpec(classes=("Bag", "Coat", "Sandal"), n_train=12, n_test=6, size=4)
CONV = NetSpec(family="conv", depth=1)
TINY = Experiment(data=DATA, rule=Rule(fdr=0.3))
MOVING = specs.Evolution(
    data=DATA,
    regimes=("standard", "pgd"),
    seeds=1,
    epochs=2,
    schedule=Schedule(lr=0.05, momentum=0.5, batch=8),
    fgsm=ntk.fgsm(0.1),
    pgd=ntk.pgd(0.1, 2, random_start=True),
    judged=10,
    probe=8,
    attacked=True,
    freeze=(1,),
    solved_on=20,
    top=4,
)
TWINS = MOVING.replace(data=THREE, inputs="centre", net=TwinNet(net=CONV, width=6), regimes=("standard",))
LEARNED = TINY.replace(
    data=DATA.replace(n_train=6, n_test=3), kind="empirical", checkpoint=EpochSpec.at(MOVING.run("standard"), 1)
)
L2 = Experiment(data=THREE, net=CONV, attack=ntk.pgd(0.5, steps=3, norm="l2"), inputs="centre", ridge=0.1)
POOLED = TINY.replace(data=DATA.replace(n_train=6, n_test=2, size=4), net=NetSpec(family="myrtle", depth=5))
STORY = specs.Story(
    kernel=TINY.ntk(),
    widths=(8,),
    eps=(0.05, 0.1),
    steps=2,
    training=Training(steps=5),
    outside=("twin trained by SGD", "cnn-small"),
    plain=PLAIN.replace(steps=6, batch=5),
)


def chain(e: Experiment) -> list[StageSpec]:
    return [*e.stages(), e.pictures(1, (0, 3))]


def motion(e: specs.Evolution) -> list[StageSpec]:
    features = TangentFeaturesSpec(tangent=e.tangent("standard", 0, 2), index=1, features=3)
    return [*e.wanted().values(), *e.frozen().values(), *e.solved().values(), features]


def agreement(*experiments: Experiment) -> specs.ConsistencySpec:
    return specs.ConsistencySpec(kernels=tuple(e.kernel() for e in experiments), top=3)


SPECS = {
    "two classes": [*chain(TINY), TINY.flip(1, time=40.0)],
    "leading features": [*chain(TINY.replace(leading=4)), specs.SolutionSpec(kernel=TINY.kernel(), leading=4)],
    "the story": [
        specs.TrainingFreeSpec(kernel=TINY.kernel(), eps=0.1),
        specs.SeenSpec(sweep=TINY.sweep()),
        specs.RobustFeaturesSpec(curves=TINY.curves()),
    ],
    "three classes, PGD": [*chain(L2), L2.flip(1, time=40.0)],
    "float32, NNGP": chain(TINY.replace(precision="float32", kind="nngp", inputs="standardise")),
    "pooled, random start": chain(POOLED.replace(attack=ntk.pgd(0.1, steps=2, random_start=True))),
    "kernel of a net": LEARNED.stages()[:4],  # the others take its sweep as they take any
    "evolution": motion(MOVING),
    "evolution of twins": motion(TWINS),
    "transfer": [
        *STORY.transfers().values(),
        specs.PerturbSpec(source=TINY.kernel_model(), eps=(0.05,)),
        specs.FlippedSpec(transfer=next(iter(STORY.transfers().values())), at=0),
    ],
    "consistency": [
        agreement(TINY, TINY.replace(net=CONV)),
        TINY.replace(net=CONV).gradients(),
        agreement(LEARNED, TINY.replace(data=LEARNED.data)),
    ],
    "upload": [TINY.upload(stages.image_name(torch.full((1, 7, 7), 0.5)), 1)],
}


def computed(wanted: list[StageSpec], folder: Path, device: str) -> list[dict[str, torch.Tensor]]:
    store = Store(folder)
    stages.keep_image(torch.full((1, 7, 7), 0.5), store)
    return [dict(stages.result(spec, store, device=device).arrays) for spec in wanted]


def assert_same(there: dict[str, torch.Tensor], here: dict[str, torch.Tensor], tolerance: float = 1e-4) -> None:
    """Up to rounding, of the largest number; one verdict in twenty may hang on that."""
    assert there.keys() == here.keys()
    for name, value in here.items():
        found = there[name].detach().cpu()
        assert (found.dtype, found.shape) == (value.dtype, value.shape), name
        if value.dtype == torch.bool:
            assert (found != value).sum() <= value.numel() / 20, name
        else:
            largest = float(value.detach().double().nan_to_num(posinf=0).abs().max()) if value.numel() else 0.0
            torch.testing.assert_close(
                found,
                value,
                rtol=tolerance,
                atol=tolerance * largest,
                equal_nan=True,
                msg=lambda m, n=name: f"{n}: {m}",
            )


def test_every_stage_is_here() -> None:
    named = {spec.stage for wanted in SPECS.values() for spec in wanted}
    assert named | {"epoch", "tangent", "twin", "network", "path"} == set(STAGES)  # those by the ones that need them


@pytest.mark.parametrize("name", SPECS)
def test_a_stage_gives_the_same(name: str, tmp_path) -> None:
    here = computed(SPECS[name], tmp_path / "here", "cpu")
    with fake_gpu():
        there = computed(SPECS[name], tmp_path / "there", "cuda")
    for spec, one, other in zip(SPECS[name], there, here, strict=True):
        assert one, spec.stage
        assert_same(one, other)


def by_the_library(e: Experiment, device: str) -> dict[str, torch.Tensor]:
    """What the README calls, and the measures that are taken of it, on images of a device."""
    task = ntk.load(e.data)
    x, y, x_test, y_test = (a.to(device) for a in (task.x_train, task.y_train, task.x_test, task.y_test))
    net = e.net.build()
    k = ntk.kernel_fn(net, inputs=ntk.input_map("standardise", x))
    s = ntk.spectrum(k(x.double()))
    f = ntk.fit(k, x, y, ridge=0.1)
    result = ntk.pgd(0.1, 2, random_start=True)(f, x_test, y_test)
    sweep = ntk.eigenfeatures(k, x, y, x_test, y_test, ntk.fgsm(0.03))
    classes = ntk.classify(sweep, fdr=0.3)
    null = sweep.permuted(20)
    assert features.read_sweep(sweep, classes, null, 0.3)
    assert features.read_tail(sweep, null, 3)
    assert similarity.tally(sweep, 0.3, 0.5).features == len(classes)
    match = similarity.match_features(s.vectors, s.vectors, 4)
    gradients = similarity.feature_gradients(k, s, x, x_test[:2], range(4))
    pictures = feature_pictures(k, s, x, y, x_test[0], y_test[0], e.attack, (0, 2), classes)

    module = net.module(task.image_shape, width=8, outputs=y.shape[1]).to(device)
    empirical = ntk.empirical_kernel_fn(module)
    looks = [decomposed(kernel(x[:8]).double(), 4) for kernel in (empirical, k)]
    twin = ntk.finite_net(module, centred=True)
    *_, _ = ntk.train(twin, x, y, Training(steps=3), unit=task.n / float(s.values[0]))
    finite = ntk.finite_net(net.module(task.image_shape, 8, y.shape[1], parameterisation="standard").to(device))
    *_, _ = ntk.train_epochs(finite, x, y, Schedule(), epochs=1)
    own, theta = ntk.tangent_kernel(finite), ntk.empirical_ntk(finite.module, x[:6])
    made = perturb_along(ntk.fit_steps(k, x, y), x_test.double(), y_test, ntk.fgsm(0.1), (0.05, 0.1))
    judged = judge(finite, x_test, made.x_adv.float(), y_test)
    return {
        "values": s.values,
        "x_adv": result.x_adv,
        "usefulness": sweep.usefulness,
        "subset": ntk.subset_predictor(k, s, x, y, [0, 2])(x_test),
        "nothing": ntk.subset_predictor(k, s, x, y, [])(x_test),
        "agreed": torch.from_numpy(compare([k(x), k(x).square()]).overlap.low),
        "overlap": similarity.subspace_overlap(s.vectors, s.vectors, (1, 3)),
        "cosine": similarity.matched_gradient_cosine(gradients, gradients, match),
        "pictures": pictures.pictures,
        "empirical": empirical(x_test),
        "inner": inner_products(*looks),
        "moved": Motion(gram_of([x.new_ones(1), x.new_ones(2)])).distance,
        "special": class_specialisation(theta, y[:6]),
        "twin": twin(x_test),
        "finite": finite(x_test),
        "own": ntk.fgsm(0.1)(ntk.fit(own, x, y, ridge=1.0), x_test, y_test).attacked,
        "solved": fit_tangent(finite, x, y, ridge=1.0)(x_test),
        "attacked": judged.accuracy,
        "along": gradient_cosine(made.gradient, result.x_adv - x_test),
        "noise": sign_noise(x_test, (0.1,)),
    }


@pytest.mark.parametrize(("data", "net"), [(DATA, NetSpec()), (THREE, CONV)], ids=["two classes", "three classes"])
def test_the_library_on_images_of_a_gpu(data, net) -> None:
    e = Experiment(data=data, net=net)
    here = by_the_library(e, "cpu")
    with fake_gpu():
        assert_same(by_the_library(e, "cuda"), here)
