"""Specs: one JSON form, one key; every field changes the key and the result; errors in words.

The fields are found by walking the models, so a new one without a line in CHANGES fails here.
"""

import json
import sys
from collections.abc import Iterator

import numpy as np
import pytest
import torch

from ntkcore.analysis.attacks.attack import Attack, fgsm, pgd
from ntkcore.data import DataSpec, import_npz
from ntkcore.errors import SpecError
from ntkcore.runs import specs
from ntkcore.runs.specs import (
    EpochSpec,
    Evolution,
    Experiment,
    NetSpec,
    Rule,
    StageSpec,
    canonical,
    key,
    lengthen,
    shorten,
)
from ntkcore.runs.stages import STAGES, image_name, keep_image, result
from ntkcore.runs.store import Store
from ntkcore.training import PLAIN, Descent, Schedule, Training
from ntkcore.validation import Spec

# A change of these on purpose makes every result that was computed before be computed again.
GOLDEN = {
    "kernel": "e6b16ebb65e28ecc29a3f6f657b982b3",
    "spectrum": "419eaf47568f22d18709d7ed00149778",
    "solution": "e3dded93a7a56f7f67cd533e3221fc71",
    "predict": "1c4e3167e0af76fc757eadf0c910bf28",
    "sweep": "ea21b0eb4e57869c4a217420d0603cd0",
    "curves": "a7b9a759b07c3fdb6f28fabbe1a15f38",
    "pictures": "ad6fe4a8b83be9b05badab9860a231a3",
    "flip": "78e0c5b02a4a42132ef7c7c5a15d6bac",
    "upload": "c04a7e0f63e6c183e5b33bea0fec60c3",
    "twin": "ee4f088186f44b6bcebccdb5513c2c09",
    "network": "d4c68cc88526a77ea313354b8f4bed9f",
    "perturb": "25f23e90237eef8e8897adbec669eced",
    "transfer": "ae506ae371bc1f6d72afca0f817cc598",
    "path": "97bcc746c41b7e5f1de189fc960d8948",
    "consistency": "f60486d0860685e358631e59b93de624",
    "gradients": "c2353f98337c8f6eea788bf9842c5753",
    "epoch": "5473aa5fe2aaf2f1ce062e0a415ade5e",
    "score": "9ca0e6cfd9ca68e8e32204e70b0ceb04",
    "tangent": "31878a58be88aab1f78c5889440d2504",
    "moment": "00b0acf8ad9286c7ee8152f6bb35f683",
    "frozen": "f251c9cab95987c1865488232d0550e4",
    "glimpse": "9165d26e88fe4ea84636b097d49970b3",
    "seen": "2fc49b1aae80c8cf383089a1d14f1107",
    "training_free": "8f8fe2208f0047e370e404feebe795b2",
    "flipped": "9f14d0ee1badd6e5a0fbc082dc751d94",
    "robust_features": "9a70367aeed345201eacb8c6279701a9",
}

# A tiny experiment in which every field matters: a random start, so that the seed does, and a loose test of
# usefulness, so that features of every class are there.
TINY = Experiment(
    data=DataSpec(n_train=24, n_test=24, size=7),
    attack=pgd(0.1, steps=2, step_size=0.06, random_start=True),
    rule=Rule(fdr=0.9),
)
KERNEL_SIDE: dict[str, StageSpec] = {
    spec.stage: spec for spec in (*TINY.stages(), TINY.pictures(1, (0, 1)), TINY.flip(1, time=50.0))
}
IMAGES = tuple(torch.linspace(low, 1, 49).reshape(1, 7, 7) for low in (0.0, 0.5))  # uploaded ones
UPLOADED = tuple(image_name(image) for image in IMAGES)
KERNEL_SIDE["upload"] = TINY.upload(UPLOADED[0], 1)
TWIN = TINY.twin(8, training=Training(steps=3, lr=0.5))
PERTURB = specs.PerturbSpec(source=TINY.kernel_model(Descent(steps=3)), eps=(0.02, 0.1), steps=2)
NET_SIDE: dict[str, StageSpec] = {
    spec.stage: spec
    for spec in (
        TWIN,
        specs.NetworkSpec(kernel=TINY.ntk(), training=PLAIN.replace(steps=2, batch=8)),
        PERTURB,
        specs.TransferSpec(perturb=PERTURB, target=TWIN),
        specs.PathSpec(kernel=TINY.ntk(), steps=(1, 3)),
        specs.ConsistencySpec(kernels=(TINY.kernel(), TINY.replace(net=NetSpec(depth=2)).kernel()), top=3),
        TINY.gradients().replace(top=3, images=2),
        specs.SolutionSpec(kernel=TINY.kernel(), leading=5),
        specs.TrainingFreeSpec(kernel=TINY.kernel(), eps=0.1),
        specs.FlippedSpec(transfer=specs.TransferSpec(perturb=PERTURB.replace(eps=(0.1, 0.5)), target=TWIN), at=1),
        specs.RobustFeaturesSpec(curves=TINY.curves()),
        specs.SeenSpec(sweep=TINY.sweep(), rule=TINY.rule),
    )
}
ONE = pgd(0.1, steps=1, step_size=0.1, random_start=True)
RUN = specs.RunSpec(
    data=TINY.data, schedule=Schedule(batch=8, momentum=0.5), attack=TINY.attack, net=specs.NamedNet(name="cnn-small")
)
EPOCH = specs.EpochSpec(run=RUN, epoch=2)
OF_TWIN = specs.EpochSpec(run=RUN.replace(net=specs.TwinNet(width=8)), epoch=2)
TANGENT = specs.TangentSpec(checkpoint=EPOCH, n=10, attack=TINY.attack)
NET_SIDE |= {
    spec.stage: spec
    for spec in (
        EPOCH,
        specs.ScoreSpec(checkpoint=OF_TWIN, fgsm=ONE, pgd=TINY.attack, n_train=10),
        TANGENT,
        specs.MomentSpec(tangent=TANGENT, every=2, top=3),
        specs.FrozenSpec(checkpoint=OF_TWIN, n=10, fgsm=ONE, pgd=TINY.attack),
        specs.TangentFeaturesSpec(tangent=TANGENT, features=2),
    )
}
CHECKPOINT = specs.EpochSpec(run=specs.RunSpec(data=TINY.data), epoch=1)
BASES = KERNEL_SIDE | NET_SIDE
DIGESTS = ("0" * 63 + "1", "0" * 63 + "2")

ON_EIGENPAIRS = (
    specs.SpectrumSpec,
    specs.SweepSpec,
    specs.PredictSpec,
    specs.UploadSpec,
    specs.TrainingFreeSpec,
)

# Another value for every field, with what has to change along. By the model that owns the field, and its name.
CHANGES: dict[tuple[type[Spec], str], dict[str, object]] = {
    (DataSpec, "name"): {"name": "toy", "classes": ("minus", "plus"), "size": None},
    (DataSpec, "classes"): {"classes": ("Coat", "Shirt")},
    (DataSpec, "n_train"): {"n_train": 25},
    (DataSpec, "n_test"): {"n_test": 13},
    (DataSpec, "order"): {"order": "own"},
    (DataSpec, "seed"): {"seed": 0},
    (DataSpec, "size"): {"size": 4},
    (DataSpec, "digest"): {"name": "own", "classes": (), "digest": DIGESTS[0]},
    (NetSpec, "family"): {"family": "conv"},
    (NetSpec, "depth"): {"depth": 2},
    (NetSpec, "W_std"): {"W_std": 1.5},
    (NetSpec, "b_std"): {"b_std": 0.0},
    (NetSpec, "activation"): {"activation": "erf"},
    (Attack, "norm"): {"norm": "l2"},
    (Attack, "eps"): {"eps": 0.05},
    (Attack, "steps"): {"steps": 5},
    (Attack, "step_size"): {"step_size": 0.02},
    (Attack, "random_start"): {"random_start": False},
    (Attack, "seed"): {"seed": 1},
    (Rule, "fdr"): {"fdr": 0.01},
    (Rule, "keep"): {"keep": 0.9},
    (specs.KernelSpec, "kind"): {"kind": "nngp"},
    (specs.KernelSpec, "inputs"): {"inputs": "centre"},
    (specs.KernelSpec, "precision"): {"precision": "float32"},
    (specs.KernelSpec, "checkpoint"): {"kind": "empirical", "checkpoint": CHECKPOINT},
    **{(stage, "leading"): {"leading": 5} for stage in ON_EIGENPAIRS},
    (specs.FlipSpec, "leading"): {"leading": 5, "time": None},  # late times need all
    (specs.SolutionSpec, "leading"): {"leading": 12},
    (specs.SolutionSpec, "ridge"): {"ridge": 0.5},
    (specs.SolutionSpec, "residual"): {"residual": 0.1},
    (specs.GradientsSpec, "leading"): {"leading": 2},
    (specs.ConsistencySpec, "leading"): {"leading": 5},
    (specs.PredictSpec, "time"): {"time": 30.0},
    (specs.TrainingFreeSpec, "eps"): {"eps": 0.05},
    (specs.TrainingFreeSpec, "norm"): {"norm": "l2"},
    (specs.FlippedSpec, "at"): {"at": 0},
    (specs.FlippedSpec, "count"): {"count": 1},
    (specs.PredictSpec, "ridge"): {"ridge": 0.5},
    (specs.FlipSpec, "time"): {"time": None},
    (specs.FlipSpec, "ridge"): {"ridge": 0.5},
    (specs.FlipSpec, "index"): {"index": 2},
    (specs.FlipSpec, "eps_max"): {"eps_max": 0.1},
    (specs.UploadSpec, "ridge"): {"ridge": 0.5},
    (specs.UploadSpec, "image"): {"image": UPLOADED[1]},
    (specs.UploadSpec, "label"): {"label": 0},
    (specs.UploadSpec, "eps_max"): {"eps_max": 0.1},
    (specs.PicturesSpec, "index"): {"index": 2},
    (specs.PicturesSpec, "features"): {"features": (0, 2)},
    (Training, "loss"): {"loss": "squared"},
    (Training, "lr"): {"lr": 0.03},
    (Training, "lr_unit"): {"lr_unit": "absolute"},
    (Training, "momentum"): {"momentum": 0.5},
    (Training, "steps"): {"steps": 4},
    (Training, "until"): {"until": 1e3},
    (Training, "batch"): {"batch": 5},
    (Training, "centred"): {"centred": False},
    (Training, "parameterisation"): {"parameterisation": "standard", "lr_unit": "absolute", "lr": 0.01},
    (Descent, "lr"): {"lr": 0.5},
    (Descent, "momentum"): {"momentum": 0.5},
    (Descent, "steps"): {"steps": 4},
    (specs.KernelModel, "ridge"): {"ridge": 0.5, "descent": None},
    (specs.TwinSpec, "width"): {"width": 9},
    (specs.TwinSpec, "seed"): {"seed": 1},
    (specs.NetworkSpec, "name"): {"name": "cnn-large"},
    (specs.NetworkSpec, "init"): {"init": "he"},
    (specs.NetworkSpec, "seed"): {"seed": 1},
    (specs.PerturbSpec, "eps"): {"eps": (0.02, 0.2)},
    (specs.PerturbSpec, "steps"): {"steps": 3},
    (specs.PerturbSpec, "norm"): {"norm": "l2"},
    (specs.PerturbSpec, "method"): {"method": "autoattack", "steps": 1},
    (specs.PathSpec, "lr"): {"lr": 0.5},
    (specs.PathSpec, "momentum"): {"momentum": 0.5},
    (specs.PathSpec, "steps"): {"steps": (1, 4)},
    (specs.ConsistencySpec, "kernels"): {"kernels": (TINY.kernel(), TINY.replace(net=NetSpec(depth=3)).kernel())},
    (specs.ConsistencySpec, "top"): {"top": 2},
    (specs.GradientsSpec, "top"): {"top": 2},
    (specs.GradientsSpec, "images"): {"images": 3},
    (specs.NamedNet, "name"): {"name": "cnn-large"},
    (specs.NamedNet, "init"): {"init": "torch"},
    (specs.TwinNet, "width"): {"width": 9},
    (specs.TwinNet, "parameterisation"): {"parameterisation": "ntk"},
    (specs.RunSpec, "inputs"): {"inputs": "centre"},
    (specs.RunSpec, "seed"): {"seed": 1},
    (specs.RunSpec, "linear_from"): {"linear_from": 1},
    (Schedule, "loss"): {"loss": "squared"},
    (Schedule, "lr"): {"lr": 0.03},
    (Schedule, "momentum"): {"momentum": 0.9},
    (Schedule, "batch"): {"batch": 5},
    (Schedule, "seed"): {"seed": 1},
    (specs.EpochSpec, "epoch"): {"epoch": 3},
    (specs.ScoreSpec, "n_train"): {"n_train": 11},
    (specs.ScoreSpec, "n_test"): {"n_test": 11},
    (specs.TangentSpec, "n"): {"n": 11},
    (specs.MomentSpec, "every"): {"every": 1},
    (specs.MomentSpec, "top"): {"top": 2},
    (specs.FrozenSpec, "n"): {"n": 11},
    (specs.FrozenSpec, "n_test"): {"n_test": 11},
    (specs.FrozenSpec, "ridge"): {"ridge": 0.1},
    (specs.TangentFeaturesSpec, "index"): {"index": 2},
    (specs.TangentFeaturesSpec, "features"): {"features": 3},
}
# What cannot be changed alone: a network has one parameterisation, a source sees the target's images, and a kernel
# can follow a net's descent only in NTK parameterisation.
BOUND = {("network", "lr_unit"), ("network", "parameterisation")}


def fields(spec: Spec, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Paths of all fields that are no specs themselves, through all nested ones."""
    for name in type(spec).model_fields:
        value = getattr(spec, name)
        yield from fields(value, (*path, name)) if isinstance(value, Spec) else [(*path, name)]


def changed(spec: Spec, path: tuple[str, ...]) -> Spec:
    """The spec with another value at the path."""
    first, *rest = path
    if rest:
        return spec.replace(**{first: changed(getattr(spec, first), tuple(rest))})
    change = CHANGES[type(spec), first]
    if change == {first: getattr(spec, first)}:  # the other one of two
        change = {first: {"squared": "cross_entropy", False: True}[change[first]]}
    return spec.replace(**change)


def with_images(root) -> Store:
    """A store with the uploaded images."""
    store = Store(root)
    assert tuple(keep_image(image, store) for image in IMAGES) == UPLOADED
    return store


def differ(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    """Whether any array differs in shape or value."""
    return one.keys() != other.keys() or any(not torch.equal(one[name], other[name]) for name in one)


EVERY_FIELD = [
    pytest.param(stage, path, id=f"{stage}-{'.'.join(path)}")
    for stage, spec in BASES.items()
    for path in fields(spec)
    if (stage, path[-1]) not in BOUND and not (stage in ("transfer", "flipped") and "data" in path)
]
# The fields of data and kernel change the kernel, on which everything else stands: some are tried for each stage.
OWN_FIELDS = [
    parameter
    for parameter in EVERY_FIELD
    for stage, path in [parameter.values]
    if stage == "kernel" or not {"kernel", "data"} & set(path) or path[-1] in ("depth", "n_train")
    if path[0] != "transfer"  # which the pictures of flipped images need not show
]


# -- keys ---------------------------------------------------------------------------------------------------------


def test_every_stage_has_a_spec_and_a_function():
    assert STAGES.keys() == GOLDEN.keys() == BASES.keys()


@pytest.mark.parametrize("stage", GOLDEN)
def test_keys_of_the_defaults_are_what_they_always_were(stage):
    assert key(STAGES[stage]()) == GOLDEN[stage]


@pytest.mark.parametrize(("stage", "path"), EVERY_FIELD)
def test_every_field_changes_the_key_and_the_words(stage, path):
    base = BASES[stage]
    other = changed(base, path)
    assert key(other) != key(base)
    if path[-1] != "seed" or "attack" not in path:  # which random start it was is not told
        assert other.in_words() != base.in_words()


def test_no_two_changes_share_a_key():
    names = [key(changed(BASES[stage], path)) for stage, path in (p.values for p in EVERY_FIELD)]
    assert len(set(names)) == len(names) > 100


def test_stage_and_version_are_part_of_the_key(monkeypatch):
    names = [key(specs.KernelSpec())]
    for name, value in (("version", specs.KernelSpec.version + 1), ("stage", "elsewhere")):
        monkeypatch.setattr(specs.KernelSpec, name, value)
        names.append(key(specs.KernelSpec()))
    assert len(set(names)) == 3


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param({"time": 3}, id="whole number for a float"),
        pytest.param({"ridge": 0, "time": 3.0}, id="default given"),
        pytest.param({"time": 3, "kernel": {"data": {"classes": ["t-shirt/TOP", 6]}}}, id="classes in other words"),
        pytest.param({"time": 3, "kernel": {"data": {"size": 28}}}, id="full size"),
        pytest.param({"attack": {"steps": 1}, "time": 3, "kernel": {}}, id="another order"),
    ],
)
def test_the_same_in_other_words_has_the_same_key(fields):
    assert key(specs.parse("predict", fields)) == key(specs.PredictSpec(time=3.0))


@pytest.mark.parametrize("path", [pytest.param(p, id=".".join(p)) for p in fields(TINY)])
def test_every_field_of_the_experiment_reaches_a_stage(path):
    changes = {("ridge",): {"ridge": 0.5}, ("kind",): {"kind": "nngp"}, ("inputs",): {"inputs": "centre"}}
    changes[("precision",)] = {"precision": "float32"}
    changes[("leading",)] = {"leading": 5}
    changes[("checkpoint",)] = {"kind": "empirical", "checkpoint": CHECKPOINT}
    other = TINY.replace(**changes[path]) if path in changes else changed(TINY, path)
    before, after = ({key(stage) for stage in e.stages()} for e in (TINY, other))
    assert before != after


# -- results ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def own_digests(tmp_path_factory) -> tuple[str, str]:
    """Two imported files that differ in one pixel."""
    root = tmp_path_factory.mktemp("own")
    found = []
    for shade in (0, 1):
        x = np.random.default_rng(0).integers(0, 256, (40, 7, 7), dtype=np.uint8)
        x[3, 2, 2] = shade
        file = root / f"{shade}.npz"
        np.savez(file, x_train=x, y_train=np.arange(40) % 2, x_test=x, y_test=np.arange(40) % 2)
        found.append(import_npz(file, root=root).digest)
    return root, found


@pytest.fixture(scope="module")
def compute(tmp_path_factory, own_digests):
    """The arrays of a spec, inputs kept between the tests; of AutoAttack's parts the first is enough here."""
    store, (root, _) = with_images(tmp_path_factory.mktemp("specs")), own_digests
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys.modules["ntkcore.analysis.attacks.autoattack"], "ATTACKS", {"linf": ("apgd-ce",)})
        yield lambda spec: dict(result(spec, store, data_root=str(root), device="cpu").arrays)


@pytest.mark.parametrize(("stage", "path"), OWN_FIELDS)
def test_every_field_changes_the_result(stage, path, compute, own_digests):
    base = BASES[stage]
    if path[-1] == "digest":
        one, other = (base.replace(data=DataSpec(name="own", n_train=24, n_test=12, digest=d)) for d in own_digests[1])
    else:
        one, other = base, changed(base, path)
    if path[-1] == "method":  # AutoAttack takes no steps of ours: beside one step
        one = one.replace(perturb=one.perturb.replace(steps=1)) if len(path) > 1 else one.replace(steps=1)
    assert differ(compute(one), compute(other))


@pytest.mark.parametrize("stage", BASES)
def test_the_same_spec_gives_the_same_result(stage, compute, tmp_path):
    again = dict(result(BASES[stage], with_images(tmp_path), device="cpu").arrays)
    assert not differ(compute(BASES[stage]), again)


# -- JSON ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stage", BASES)
def test_json_and_back(stage):
    for spec in (STAGES[stage](), BASES[stage], BASES[stage].replace()):
        text = canonical(spec)
        assert specs.parse(stage, json.loads(text)) == spec
        assert json.dumps(json.loads(text), sort_keys=True, separators=(",", ":")) == text
        back = STAGES[stage].model_validate_json(spec.model_dump_json())
        assert (back, hash(back), key(back)) == (spec, hash(spec), key(spec))


def test_an_experiment_from_json():
    assert specs.experiment_from_json(canonical(TINY)) == TINY
    assert specs.experiment_from_json("{}") == Experiment()
    some = specs.experiment_from_json(b'{"net": {"depth": 3}, "attack": {"eps": 0.1, "step_size": 0.1}}')
    assert some == Experiment(net=NetSpec(depth=3), attack=Attack(eps=0.1, step_size=0.1))


@pytest.mark.parametrize("stage", KERNEL_SIDE)
def test_the_experiment_of_a_stage_asks_for_that_stage(stage):
    e = specs.experiment_of(BASES[stage])
    asked = (*e.stages(), e.pictures(1, (0, 1)), e.flip(1, time=50.0), e.upload(UPLOADED[0], 1))
    assert key(BASES[stage]) in {key(spec) for spec in asked}


@pytest.mark.parametrize("stage", NET_SIDE)
def test_the_experiment_of_a_net_has_its_kernel(stage):
    assert specs.experiment_of(NET_SIDE[stage]).ntk() == TINY.ntk()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param("", "not valid JSON", id="empty"),
        pytest.param("{", "not valid JSON", id="cut off"),
        pytest.param(b"\xff\xfe\x00", "not valid JSON", id="no text"),
        pytest.param("[" * 100_000, "not valid JSON", id="very deep"),
        pytest.param("[]", "must be a JSON object", id="list"),
        pytest.param("null", "must be a JSON object", id="null"),
        pytest.param('{"dta": {}}', "no field 'dta'. Did you mean data?", id="misspelt"),
        pytest.param('{"net": {"widht": 3}}', "no field 'widht'", id="unknown inside"),
        pytest.param('{"data": 5}', "data is 5; an object with named fields is needed", id="number for an object"),
        pytest.param('{"data": {"n_train": "many"}}', "n_train is 'many'; a whole number", id="text for a number"),
        pytest.param('{"data": {"n_train": 1}}', "n_train is 1; it must be at least 2", id="one image"),
        pytest.param('{"data": {"n_train": 1e9}}', "has 1200 training images", id="too many images"),
        pytest.param('{"data": {"classes": ["Shirt", "Shoe"]}}', "There is no class 'Shoe'", id="class"),
        pytest.param('{"data": {"name": "imagenet"}}', "name is 'imagenet'; choose", id="data set"),
        pytest.param('{"net": {"family": "rnn"}}', "family is 'rnn'; choose 'fc', 'conv' or 'myrtle'", id="family"),
        pytest.param('{"net": {"family": "myrtle"}}', "Myrtle has depth 5, 7 or 10; got 1", id="myrtle"),
        pytest.param('{"net": {"W_std": NaN}}', "W_std is nan", id="nan"),
        pytest.param('{"attack": {"eps": -1}}', "eps is -1; it must be at least 0", id="eps"),
        pytest.param('{"attack": {"eps": 1e999}}', "eps is inf; a finite number", id="infinity"),
        pytest.param('{"rule": {"fdr": 1}}', "fdr is 1; it must be less than 1", id="rate"),
        pytest.param('{"ridge": null}', "ridge is None; a number is needed", id="null inside"),
    ],
)
def test_what_does_not_fit_is_said_in_words(text, words):
    with pytest.raises(SpecError) as caught:
        specs.experiment_from_json(text)
    assert words in str(caught.value)
    assert "pydantic" not in str(caught.value)


@pytest.mark.parametrize(
    ("stage", "given", "words"),
    [
        pytest.param("kernels", {}, "There is no stage 'kernels'; choose one of consistency,", id="stage"),
        pytest.param("sweep", [], "an object with named fields", id="list"),
        pytest.param("predict", {"time": -1}, "time is -1; it must be at least 0", id="time"),
        pytest.param("pictures", {"features": []}, "features has 0 entries; it must have at least 1", id="no feature"),
        pytest.param("flip", {"eps_max": 0}, "eps_max is 0; it must be greater than 0", id="eps_max"),
    ],
)
def test_a_stage_that_does_not_fit_is_refused_in_words(stage, given, words):
    with pytest.raises(SpecError) as caught:
        specs.parse(stage, given)
    assert words in str(caught.value)


def test_a_spec_cannot_be_changed():
    with pytest.raises(Exception, match="frozen"):
        TINY.ridge = 1.0


# -- words --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        pytest.param(
            Experiment(),
            "Fashion-MNIST sample (bundled): T-shirt/top / Shirt, 1000 training and 2000 test images, FC(1) NTK, "
            "FGSM ℓ∞ eps 8/255",
            id="default",
        ),
        pytest.param(
            Experiment(
                data=DataSpec(name="mnist", classes=(), n_train=50, n_test=9, order="own", seed=4, size=14),
                net=NetSpec(family="myrtle", depth=5, W_std=1.0, activation="erf"),
                kind="nngp",
                inputs="standardise",
                precision="float32",
                ridge=0.25,
            ),
            "MNIST: 10 classes, 50 training and 9 test images, 14x14 pixels, draw 4, in the set's own order, "
            "inputs standardised, Myrtle-5 NNGP, activation erf, W_std 1, precision float32, FGSM ℓ∞ eps 8/255, "
            "ridge 0.25",
            id="everything",
        ),
        pytest.param(
            Experiment(data=DataSpec(name="own", digest=DIGESTS[1], n_train=9, n_test=2)).kernel(),
            "own 00000000: all classes, 9 training and 2 test images, FC(1) NTK",
            id="own data",
        ),
        pytest.param(
            Experiment().pictures(7, (0, 5)),
            f"{Experiment().in_words()}, features 0 5, test image 7",
            id="pictures",
        ),
    ],
)
def test_a_spec_in_words(spec, words):
    assert spec.in_words() == words


@pytest.mark.parametrize(
    ("counts", "words"),
    [
        pytest.param({"cat": 5, "dog": 5}, "", id="equal"),
        pytest.param({"cat": 58, "dog": 42}, "Test images: 58 of cat, 42 of dog.", id="two"),
        pytest.param({"0": 0, "1": 5}, "Test images: none of 0, 5 of 1.", id="one without"),
        pytest.param(dict.fromkeys("abcd", 7) | {"c": 6}, "Test images of a class: 6 to 7.", id="many"),
        pytest.param(dict.fromkeys("abcd", 1) | {"c": 0}, "Test images of a class: 1; none of c.", id="one of many"),
        pytest.param(
            dict.fromkeys("abcdef", 0) | {"c": 1, "d": 3},
            "Test images of a class: 1 to 3; none of 4 classes.",
            id="many without",
        ),
    ],
)
def test_the_balance_in_words(counts, words):
    assert specs.balance_in_words(counts) == words


# -- the short form, as links have it ------------------------------------------------------------------------------

OWN = DataSpec(name="own", digest="1" * 64, classes=("5", "true", "x&y=,"))
SHORT_FORMS_OF = {
    "default": Experiment(),
    "depth": Experiment(net=NetSpec(depth=5)),
    "attack-and-classes": Experiment(attack=fgsm(4 / 255), data=DataSpec(classes=("T-shirt/top", "Bag"), seed=3)),
    "l2-random-start": Experiment(attack=pgd(1.0, 3, norm="l2", random_start=True), rule=Rule(keep=0.7)),
    "own-classes-like-numbers-and-signs": Experiment(data=OWN),
    "checkpoint": Experiment(kind="empirical", checkpoint=EpochSpec.at(Evolution(epochs=12).run("fgsm"), 10)),
}
WRONG_SHORT_FORMS = {
    "empty": ("", "is not the short form"),
    "no-fields": ("x" * 40, "is not the short form"),
    "too-long": ("net.depth=1&" * 1000, "is not the short form"),
    "unknown-field": ("net.deep=3", "no field 'deep'"),
    "above-its-bound": ("net.depth=99999999999999999999", "at most 20"),
    "not-a-number": ("net.depth=deep", "a whole number is needed"),
    "infinite": ("attack.eps=1e999", "finite"),
    "twice": ("net.depth=3&net.depth=4", "twice"),
    "inside-a-number": ("net=5&net.depth=3", "a value of its own"),
    "nested-deeply": ("a" + ".a" * 1500 + "=1", "no field 'a'"),
}


@pytest.mark.parametrize("name", SHORT_FORMS_OF)
def test_short_form_comes_back(name: str) -> None:
    assert lengthen(shorten(SHORT_FORMS_OF[name])) == SHORT_FORMS_OF[name]


def test_short_form_says_what_is_not_as_by_default() -> None:
    assert shorten(SHORT_FORMS_OF["default"]) == "default"
    assert shorten(SHORT_FORMS_OF["depth"]) == "net.depth=5"
    assert shorten(Experiment(data=DataSpec(classes=("T-shirt/top", "Shirt"), n_train=500))) == "data.n_train=500"


@pytest.mark.parametrize("case", WRONG_SHORT_FORMS)
def test_wrong_short_form(case: str) -> None:
    text, words = WRONG_SHORT_FORMS[case]
    with pytest.raises(SpecError, match=words):
        lengthen(text)
