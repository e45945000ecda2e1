"""The checks at the doors: what is right comes back, what is wrong is refused in words that say how to mend it."""

import functools
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import ntkcore as ntk
from ntkcore import checks, nets
from ntkcore.analysis.attacks.margin_path import margin_along_eps
from ntkcore.analysis.attacks.transfer import judge, perturb_along, sign_noise
from ntkcore.analysis.consistency.agreement import agreement
from ntkcore.analysis.consistency.similarity import alignment_matrix, feature_gradients, subspace_overlap
from ntkcore.analysis.evolution.motion import decomposed
from ntkcore.analysis.features.pictures import feature_pictures
from ntkcore.analysis.features.tradeoff import along_time, kept_features, trade_offs
from ntkcore.analysis.tangent import fit_tangent
from ntkcore.architectures import build
from ntkcore.errors import SpecError

NAN, INF = float("nan"), float("inf")
ONE_HOT = torch.eye(3)[[0, 2, 0, 1, 1, 2, 0, 1]]
SIGNS = torch.tensor([[1.0], [-1.0]] * 4)
X = torch.rand(8, 1, 3, 3, generator=torch.Generator().manual_seed(0))


def put(x: torch.Tensor, value: float) -> torch.Tensor:
    """A copy of x whose first entry is another one."""
    x = x.clone()
    x.view(-1)[0] = value
    return x


# -- labels --------------------------------------------------------------------------------------------------------

LABELS = [
    pytest.param(SIGNS, id="signs"),
    pytest.param(SIGNS.double(), id="signs-float64"),
    pytest.param(SIGNS.long(), id="signs-int64"),
    pytest.param(ONE_HOT, id="one-hot"),
    pytest.param(ONE_HOT.long(), id="one-hot-int64"),
    pytest.param(ONE_HOT > 0, id="one-hot-bool"),
    pytest.param(torch.eye(2)[[0, 1] * 4], id="one-hot-of-two"),
]
# what a user has instead of labels, and the words that mend it
NO_LABELS = [
    pytest.param(ONE_HOT.argmax(1), r"F\.one_hot\(y\.long\(\), c\)", id="class-indices"),
    pytest.param(ONE_HOT.argmax(1)[:, None], r"F\.one_hot\(y\[:, 0\]\.long\(\), c\)", id="class-indices-column"),
    pytest.param(SIGNS[:, 0], r"y\[:, None\]", id="signs-in-one-axis"),
    pytest.param((SIGNS > 0).float(), r"\(2\.0 \* y\[:, 0\] - 1\)\[:, None\]", id="zero-one"),
    pytest.param((SIGNS[:, 0] > 0).float(), r"\(2\.0 \* y - 1\)\[:, None\]", id="zero-one-in-one-axis"),
    pytest.param(SIGNS > 0, r"\(2\.0 \* y\[:, 0\] - 1\)\[:, None\]", id="bool"),
    pytest.param(SIGNS / 2, "-1 and \\+1", id="halves"),
    pytest.param(ONE_HOT - 1 / 3, r"F\.one_hot\(y\.argmax\(1\), 3\)", id="centred-one-hot"),
    pytest.param(2 * ONE_HOT - 1, r"F\.one_hot\(y\.argmax\(1\), 3\)", id="signed-one-hot"),
    pytest.param(0.9 * ONE_HOT + 0.1 / 3, "one-hot", id="smoothed"),
    pytest.param(torch.ones(8, 3), "one-hot", id="every-class"),
    pytest.param(torch.zeros(8, 3), "one-hot", id="no-class"),
    pytest.param(put(ONE_HOT, NAN), "one-hot", id="nan"),
    pytest.param(put(SIGNS, NAN), "-1 and \\+1", id="nan-sign"),
    pytest.param(ONE_HOT[:3], "n = 8 images", id="too-few"),
    pytest.param(ONE_HOT.T, "n = 8 images", id="transposed"),
    pytest.param(ONE_HOT[None], "n = 8 images", id="three-axes"),
    pytest.param(ONE_HOT[:, :0], "n = 8 images", id="no-columns"),
    pytest.param(ONE_HOT.numpy(), "torch.as_tensor", id="numpy"),
    pytest.param([0, 2, 0, 1, 1, 2, 0, 1], "torch.as_tensor", id="list"),
    pytest.param(None, "torch tensor", id="none"),
    pytest.param(ONE_HOT.to(torch.complex64), "real", id="complex"),
]


@pytest.mark.parametrize("y", LABELS)
def test_labels_come_back(y):
    found = checks.labels(y, 8)
    assert found.is_floating_point()
    assert torch.equal(found, y.to(found.dtype))
    assert found is y or not y.is_floating_point()


@pytest.mark.parametrize(("y", "words"), NO_LABELS)
def test_what_are_no_labels_is_refused(y, words):
    with pytest.raises(SpecError, match=words):
        checks.labels(y, 8)


@pytest.mark.parametrize(
    ("y", "mended"),
    [
        pytest.param(ONE_HOT.argmax(1), lambda y: F.one_hot(y.long(), 3), id="class-indices"),
        pytest.param(ONE_HOT.argmax(1)[:, None], lambda y: F.one_hot(y[:, 0].long(), 3), id="column"),
        pytest.param(SIGNS[:, 0], lambda y: y[:, None], id="signs-in-one-axis"),
        pytest.param(SIGNS > 0, lambda y: (2.0 * y[:, 0] - 1)[:, None], id="bool"),
        pytest.param((SIGNS[:, 0] > 0).float(), lambda y: (2.0 * y - 1)[:, None], id="zero-one"),
        pytest.param(ONE_HOT - 1 / 3, lambda y: F.one_hot(y.argmax(1), 3), id="centred-one-hot"),
    ],
)
def test_the_words_mend_it(y, mended):
    found = checks.labels(mended(y), 8)
    assert torch.equal(found, ONE_HOT if found.shape[1] == 3 else SIGNS)


def test_targets_are_any_finite_numbers_of_the_right_shape():
    for y in (SIGNS, ONE_HOT - 1 / 3, torch.randn(8, 1), ONE_HOT.long()):
        assert checks.targets(y, 8) is y
    for y, words in (
        (SIGNS[:, 0], r"y\[:, None\]"),
        (ONE_HOT[:3], "n = 8"),
        (put(ONE_HOT, INF), "not finite"),
        (SIGNS > 0, "numbers"),
        (ONE_HOT.tolist(), "torch tensor"),
    ):
        with pytest.raises(SpecError, match=words):
            checks.targets(y, 8)


def test_answers_that_are_not_finite_are_neither_right_nor_wrong():
    assert checks.answers(SIGNS, (8, 1)) is SIGNS
    for out, words in (
        (put(SIGNS, NAN), "1 of 8 images"),
        (put(SIGNS, INF), "1 of 8 images"),
        (SIGNS[:, 0], r"f\(x\)\[:, None\]"),
        (ONE_HOT, r"\[8, 1\]"),
        (SIGNS.numpy(), "torch tensor"),
    ):
        with pytest.raises(SpecError, match=words):
            checks.answers(out, (8, 1))


# -- images --------------------------------------------------------------------------------------------------------

NO_IMAGES = [
    pytest.param((X * 255).byte(), r"x\.float\(\) / 255", id="uint8"),
    pytest.param((X * 255).long(), r"x\.float\(\) / 255", id="int64"),
    pytest.param(X > 0.5, "torch.bool", id="bool"),
    pytest.param(X.half(), r"x\.float\(\)", id="float16"),
    pytest.param(X.bfloat16(), r"x\.float\(\)", id="bfloat16"),
    pytest.param(X.to(torch.complex64), "real", id="complex"),
    pytest.param(X.to_sparse(), "plain", id="sparse"),
    pytest.param(X.to("meta"), "plain", id="meta"),
    pytest.param(X.numpy(), "torch.as_tensor", id="numpy"),
    pytest.param(X.tolist(), "torch.as_tensor", id="list"),
    pytest.param(None, "torch tensor", id="none"),
    pytest.param(X[0], r"x\[None\]", id="one-image"),
    pytest.param(X.flatten(1), r"\[n, C, H, W\]", id="flattened"),
    pytest.param(X[None], r"\[n, C, H, W\]", id="five-axes"),
    pytest.param(X[:0], "no images", id="empty"),
    pytest.param(X[:, :0], "no pixels", id="no-channels"),
]
NO_VALUES = [
    pytest.param(put(X, NAN), "1 of 8 images", id="nan"),
    pytest.param(put(X, INF), "1 of 8 images", id="inf"),
    pytest.param(put(X, -INF), "1 of 8 images", id="minus-inf"),
]
NO_PIXELS = [
    pytest.param(X * 255, "x / 255", id="0-to-255"),
    pytest.param((X - 0.5) / 0.25, "input_map", id="standardised"),
    pytest.param(put(X, 1.001), "1.001", id="just-above"),
    pytest.param(put(X, -1e-5), "-1e-05", id="just-below"),
]
GOOD_IMAGES = [
    pytest.param(X, id="float32"),
    pytest.param(X.double(), id="float64"),
    pytest.param(X.transpose(2, 3), id="not-contiguous"),
    pytest.param(X[:1].expand(8, 1, 3, 3), id="expanded"),
    pytest.param(X.clone().requires_grad_(), id="requires-grad"),
    pytest.param(torch.zeros(1, 1, 1, 1), id="black"),
]


@pytest.mark.parametrize("x", GOOD_IMAGES)
def test_images_come_back_as_they_are(x):
    assert checks.images(x, pixels=True) is x
    assert checks.image_form(x) is x


@pytest.mark.parametrize(("x", "words"), [*NO_IMAGES, *NO_VALUES, *NO_PIXELS])
def test_what_are_no_images_is_refused(x, words):
    with pytest.raises(SpecError, match=words):
        checks.images(x, pixels=True)


def test_images_of_any_range_are_images_where_no_attack_asks_for_pixels():
    for x in (X * 255, (X - 0.5) / 0.25):
        assert checks.images(x) is x


def test_rounding_is_set_to_the_border_and_nothing_more():
    x = put(X, 1 + 1e-7)
    found = checks.images(x, pixels=True)
    assert float(found.max()) == 1.0
    assert torch.equal(found.view(-1)[1:], x.view(-1)[1:])
    assert float(x.max()) > 1  # the given images are left alone


def test_images_of_another_shape_are_refused():
    assert checks.images(X, shape=(1, 3, 3)) is X
    with pytest.raises(SpecError, match=r"\(1, 28, 28\) is needed"):
        checks.images(X, shape=(1, 28, 28))


# -- selections ----------------------------------------------------------------------------------------------------

MASK = [False, False, True, False, False, True, False, False]


@pytest.mark.parametrize(
    "which",
    [
        pytest.param([2, 5], id="list"),
        pytest.param((2, 5), id="tuple"),
        pytest.param(range(2, 6, 3), id="range"),
        pytest.param(np.array([2, 5]), id="numpy"),
        pytest.param(np.array([2, 5], dtype=np.uint8), id="numpy-uint8"),
        pytest.param([np.int64(2), torch.tensor(5)], id="scalars"),
        pytest.param(torch.tensor([2, 5]), id="tensor"),
        pytest.param(torch.tensor([2, 5], dtype=torch.int32), id="tensor-int32"),
        pytest.param(MASK, id="mask-list"),
        pytest.param(np.array(MASK), id="mask-numpy"),
        pytest.param(torch.tensor(MASK), id="mask-tensor"),
    ],
)
def test_selections(which):
    found = checks.selection(which, 8)
    assert found.dtype == torch.long
    assert found.tolist() == [2, 5]


def test_a_selection_keeps_its_order_and_may_be_empty():
    assert checks.selection([5, 2], 8).tolist() == [5, 2]
    for nothing in ([], (), range(0), np.zeros(0), torch.zeros(8, dtype=torch.bool)):
        assert checks.selection(nothing, 8).tolist() == []


NO_SELECTION = [
    pytest.param([2, 2], "given 2 times", id="repeated"),
    pytest.param([8], "Feature 8 does not exist", id="beyond"),
    pytest.param([-1], "Feature -1 does not exist", id="negative"),
    pytest.param([2.7], "whole numbers", id="float"),
    pytest.param(torch.tensor([2.0, 5.0]), "whole numbers", id="float-tensor"),
    pytest.param(torch.tensor([2.0], dtype=torch.bfloat16), "whole numbers", id="bfloat16"),
    pytest.param(MASK[:7], "7 long", id="mask-too-short"),
    pytest.param([*MASK, True], "9 long", id="mask-too-long"),
    pytest.param([True, 2], "as a mask", id="bools-and-indices"),
    pytest.param(2, "list of indices", id="one-index"),
    pytest.param(torch.tensor(2), r"\[index\]", id="one-index-tensor"),
    pytest.param([[2, 5]], "one list", id="nested"),
    pytest.param([[2], [2, 5]], "one list", id="ragged"),
    pytest.param("25", "list of indices", id="text"),
    pytest.param(["2"], "whole numbers", id="texts"),
    pytest.param({2, 5}, "list of indices", id="set"),
    pytest.param(slice(2, 6), "list of indices", id="slice"),
    pytest.param(None, "list of indices", id="none"),
    pytest.param([NAN], "whole numbers", id="nan"),
]


@pytest.mark.parametrize(("which", "words"), NO_SELECTION)
def test_what_is_no_selection_is_refused(which, words):
    with pytest.raises(SpecError, match=words):
        checks.selection(which, 8)


def test_codes():
    for values in ([0, 2, 1], np.array([0, 2, 1]), torch.tensor([0, 2, 1])):
        assert checks.codes(values, 3, range(3), "classes").tolist() == [0, 2, 1]
    for values in ([0, 1], [0, 3, 1], [0.0, 1.0, 2.0], [True, False, True], "abc", None, [-1, 0, 1]):
        with pytest.raises(SpecError, match="classes"):
            checks.codes(values, 3, range(3), "classes")


# -- numbers -------------------------------------------------------------------------------------------------------

TWO = [
    pytest.param(2, id="int"),
    pytest.param(2.0, id="float"),
    pytest.param(np.int32(2), id="numpy-int"),
    pytest.param(np.float32(2), id="numpy-float"),
    pytest.param(np.array(2), id="numpy-0d"),
    pytest.param(torch.tensor(2), id="tensor-int"),
    pytest.param(torch.tensor(2.0), id="tensor-float"),
]
NO_NUMBERS = [
    pytest.param(True, id="bool"),
    pytest.param(np.True_, id="numpy-bool"),
    pytest.param(torch.tensor(True), id="tensor-bool"),
    pytest.param("2", id="text"),
    pytest.param(None, id="none"),
    pytest.param(NAN, id="nan"),
    pytest.param(INF, id="inf"),
    pytest.param(-INF, id="minus-inf"),
    pytest.param(torch.tensor(NAN), id="tensor-nan"),
    pytest.param(2j, id="complex"),
    pytest.param([2], id="list"),
    pytest.param(torch.tensor([2]), id="tensor-1d"),
    pytest.param(np.array([2.0]), id="numpy-1d"),
    pytest.param(10**400, id="huge"),
    pytest.param(10**5000, id="too-long-to-write"),
]


@pytest.mark.parametrize("value", TWO)
def test_numbers(value):
    for found, kind in ((checks.number(value, "eps", 0), float), (checks.whole(value, "steps", 1, 10), int)):
        assert type(found) is kind
        assert found == 2


@pytest.mark.parametrize("value", NO_NUMBERS)
def test_what_is_no_number_is_refused(value):
    with pytest.raises(SpecError, match="eps"):
        checks.number(value, "eps")
    with pytest.raises(SpecError, match="steps"):
        checks.whole(value, "steps", 1, 10)


def test_bounds():
    assert checks.number(INF, "time", 0, inf=True) == INF
    assert checks.number(0, "eps", 0) == 0
    for wrong, words in (
        (lambda: checks.number(0, "lr", above=0), "lr is 0.0; it must be greater than 0"),
        (lambda: checks.number(-1e-9, "eps", 0), "at least 0"),
        (lambda: checks.number(1, "level", above=0, below=1), "greater than 0 and less than 1"),
        (lambda: checks.whole(11, "steps", 1, 10), "steps is 11; it must be at least 1 and at most 10"),
        (lambda: checks.whole(2.5, "steps"), "whole number"),
        (lambda: checks.choice("gelu", "activation", ("relu", "erf")), "choose 'relu' or 'erf'"),
        (lambda: checks.choice(["relu"], "activation", ("relu", "erf")), "choose"),
    ):
        with pytest.raises(SpecError, match=words):
            wrong()


# -- every public door ---------------------------------------------------------------------------------------------
#
# What a door takes, by kind of argument, and what is wrong of each kind. A door is called with arguments that are
# right, of which each test replaces one.

NO_TARGETS = [
    pytest.param(SIGNS[:, 0], "", id="one-axis"),
    pytest.param(SIGNS[:3], "", id="too-few"),
    pytest.param(put(SIGNS, NAN), "", id="nan"),
    pytest.param(put(SIGNS, INF), "", id="inf"),
    pytest.param(SIGNS > 0, "", id="bool"),
    pytest.param(SIGNS.numpy(), "", id="numpy"),
    pytest.param(SIGNS.tolist(), "", id="list"),
    pytest.param(None, "", id="none"),
]
NO_OUTPUTS = [
    pytest.param(SIGNS[:, 0], "", id="one-axis"),
    pytest.param(ONE_HOT, "", id="other-classes"),
    pytest.param(SIGNS[:3], "", id="too-few"),
    pytest.param(put(SIGNS, NAN), "", id="nan"),
    pytest.param(put(SIGNS, INF), "", id="inf"),
    pytest.param(SIGNS.numpy(), "", id="numpy"),
    pytest.param(torch.zeros(0, 1), "", id="empty"),
    pytest.param(torch.tensor(1.0), "", id="0d"),
]
NO_PREDICTOR = [
    pytest.param(lambda x: x.mean((1, 2, 3)), "", id="returns-one-axis"),
    pytest.param(lambda x: x.mean((2, 3)).expand(-1, 3), "", id="returns-other-classes"),
    pytest.param(lambda x: x.mean((2, 3)) * NAN, "", id="returns-nan"),
    pytest.param(lambda x: [0.0] * len(x), "", id="returns-a-list"),
    pytest.param(ntk.fc(1), "", id="net-description"),
    pytest.param(None, "", id="none"),
]
NO_THING = [
    pytest.param(None, "", id="none"),
    pytest.param("fc(1)", "", id="text"),
    pytest.param(3, "", id="number"),
]
NOT_ONE_IMAGE = [
    pytest.param(X, "", id="several"),
    pytest.param(X[0, 0], "", id="two-axes"),
    pytest.param(put(X[0], NAN), "", id="nan"),
    pytest.param((X[0] * 255).byte(), "", id="uint8"),
    pytest.param(X[0].numpy(), "", id="numpy"),
]
NOT_ONE_LABEL = [
    pytest.param(SIGNS, "", id="several"),
    pytest.param(torch.tensor(1.0), "", id="0d"),
    pytest.param(torch.tensor([0.0]), "", id="zero"),
    pytest.param(torch.tensor([1]) > 0, "", id="bool"),
    pytest.param(1.0, "", id="number"),
]
NO_MATRIX = [
    pytest.param(X[:, 0, 0], "", id="rectangular"),
    pytest.param(torch.full((4, 4), NAN), "", id="nan"),
    pytest.param(torch.arange(16.0).view(4, 4), "", id="not-symmetric"),
    pytest.param(torch.zeros(0, 0), "", id="empty"),
    pytest.param(np.eye(4), "", id="numpy"),
    pytest.param(None, "", id="none"),
]
NO_LAYERS = [
    pytest.param((), "", id="none"),
    pytest.param("Dense", "", id="text"),
    pytest.param((nets.Flatten(),), "", id="no-dense"),
    pytest.param((nets.Dense(1, 0), nets.Flatten()), "", id="dense-on-an-image"),
    pytest.param((nets.Flatten(), nets.Dense(1, 0), nets.Flatten()), "", id="flattened-twice"),
    pytest.param((nets.Flatten(), nets.Conv(1, 0), nets.Dense(1, 0)), "", id="convolution-of-a-vector"),
    pytest.param((nets.Conv(1, 0), nets.Activation(), nets.Flatten()), "", id="flattened-and-no-dense"),
    pytest.param((nets.Flatten(), nets.Activation(), nets.Dense(1, 0)), "", id="activation-of-pixels"),
    pytest.param(
        (nets.Flatten(), nets.Dense(1, 0), nets.Activation(), nets.Activation(), nets.Dense(1, 0)),
        "",
        id="activation-of-an-activation",
    ),
    pytest.param((nn.Flatten(), nn.Linear(9, 1)), "", id="torch-layers"),
]
WRONG = {
    "form": NO_IMAGES,
    "images": [*NO_IMAGES, *NO_VALUES],
    "pixels": [*NO_IMAGES, *NO_VALUES, *NO_PIXELS],
    "labels": NO_LABELS,
    "targets": NO_TARGETS,
    "outputs": NO_OUTPUTS,
    "predictor": NO_PREDICTOR,
    "selection": NO_SELECTION,
    "number": NO_NUMBERS,
    # of a description, whose numbers may come as text
    "field": [case for case in NO_NUMBERS if case.id not in ("text", "tensor-1d")],
    "time": [case for case in NO_NUMBERS if case.id != "inf"],
    "number-or-none": [case for case in NO_NUMBERS if case.id != "none"],
    "field-or-none": [case for case in NO_NUMBERS if case.id not in ("text", "tensor-1d", "none")],
    "thing": NO_THING,
    "optional": NO_THING[1:],
    "image": NOT_ONE_IMAGE,
    "label": NOT_ONE_LABEL,
    "matrix": NO_MATRIX,
    "layers": NO_LAYERS,
    "text": [pytest.param(wrong, "", id=str(wrong)) for wrong in ("gelu", None, 3, ["relu"])],
    "truth": [pytest.param(wrong, "", id=repr(wrong)) for wrong in (1, "no", 0.0)],
    "codes": [
        pytest.param(np.zeros(7, dtype=int), "", id="too-few"),
        pytest.param(np.full(8, 4), "", id="no-such-class"),
        pytest.param(np.zeros(8), "", id="floats"),
        pytest.param(None, "", id="none"),
    ],
}


@dataclass(frozen=True)
class Door:
    """A public function: how it is called with the arguments of ``RIGHT``, some replaced, and their kinds.

    Kinds that say more: ``number`` takes what stands for a number; beside each argument's kind, values out of range.
    """

    call: Callable[..., object]
    kinds: dict[str, str]
    beyond: dict[str, tuple] = field(default_factory=dict)


@functools.cache
def right() -> dict[str, object]:
    """Arguments that are right; made once."""
    k = ntk.kernel_fn(ntk.fc(1))
    module = ntk.fc(1).module((1, 3, 3), 4)
    sweep = ntk.eigenfeatures(k, X, SIGNS, X, SIGNS)
    return {
        "kernel": k,
        "x": X,
        "y": SIGNS,
        "x_test": X,
        "y_test": SIGNS,
        "answers": SIGNS * 0.3,
        "attack": ntk.fgsm(0.1),
        "s": sweep.spectrum,
        "sweep": sweep,
        "f": ntk.fit(k, X, SIGNS),
        "features": [1, 2],
        "classes": np.zeros(8, dtype=int),
        "K": k(X),
        "net": ntk.finite_net(module),
        "module": module,
        "image": X[0],
        "label": SIGNS[0],
        "radii": torch.linspace(0, 0.1, 3),
        "recipe": ntk.Training(lr_unit="absolute", lr=0.01, centred=False, steps=1),
        "schedule": ntk.Schedule(),
        "inputs": ntk.input_map("centre", X),
    }


def arguments(**changes: object) -> dict[str, object]:
    return {**right(), **changes}


def place(name: str) -> Path:
    """A file that is not there yet."""
    return Path(tempfile.mkdtemp(dir=FOLDER.name)) / name


FOLDER = tempfile.TemporaryDirectory()
SMALL = ntk.DataSpec(n_train=8, n_test=8)
COUNTED = {"number", "field", "number-or-none", "field-or-none", "time"}
BELOW_TWO = {"eps", "fdr", "keep", "momentum", "k"}  # numbers that cannot all be 2


DOORS = {
    "accuracy": Door(lambda a: ntk.accuracy(a["answers"], a["y"]), {"answers": "outputs", "y": "labels"}),
    "margin": Door(lambda a: ntk.margin(a["answers"], a["y"]), {"answers": "outputs", "y": "labels"}),
    "Attack": Door(lambda a: a["attack"](a["f"], a["x"], a["y"]), {"f": "predictor", "x": "pixels", "y": "labels"}),
    "fgsm": Door(
        lambda a: ntk.fgsm(a.get("eps", 0.1), a.get("norm", "l2")),
        {"eps": "field", "norm": "text"},
        {"eps": (-0.1, 1e9)},
    ),
    "pgd": Door(
        lambda a: ntk.pgd(
            a.get("eps", 0.1), a.get("steps", 2), a.get("step_size", 0.1), a.get("norm", "l2"), seed=a.get("seed", 0)
        ),
        {"eps": "number", "steps": "number", "step_size": "field-or-none", "norm": "text", "seed": "field"},
        {"eps": (-0.1, 1e9), "steps": (0, 2.5, 10**6), "seed": (-1, 2**70)},
    ),
    "eigenfeatures": Door(
        lambda a: ntk.eigenfeatures(
            a["kernel"],
            a["x"],
            a["y"],
            a["x_test"],
            a["y_test"],
            a["attack"],
            progress=a.get("progress"),
        ),
        {
            "kernel": "thing",
            "x": "pixels",
            "y": "labels",
            "x_test": "pixels",
            "y_test": "labels",
            "attack": "optional",
            "progress": "optional",
        },
        {"y_test": (ONE_HOT,), "x_test": (torch.rand(8, 1, 4, 4),)},
    ),
    "classify": Door(
        lambda a: ntk.classify(a["sweep"], a.get("fdr", 0.1), a.get("keep", 0.5)),
        {"sweep": "thing", "fdr": "number", "keep": "number"},
        {"fdr": (0, 1), "keep": (0.05, 1.1)},
    ),
    "subset_predictor": Door(
        lambda a: ntk.subset_predictor(a["kernel"], a["s"], a["x"], a["y"], a["features"]),
        {"kernel": "thing", "s": "thing", "x": "images", "y": "targets", "features": "selection"},
    ),
    "fit": Door(
        lambda a: ntk.fit(a["kernel"], a["x"], a["y"], a.get("time", 1.0), a.get("ridge", 0.1)),
        {"kernel": "thing", "x": "images", "y": "targets", "time": "time", "ridge": "number"},
        {"time": (-1,), "ridge": (-1, INF)},
    ),
    "fit_steps": Door(
        lambda a: ntk.fit_steps(
            a["kernel"], a["x"], a["y"], a.get("lr", 0.5), a.get("momentum", 0.5), a.get("steps", 2)
        ),
        {
            "kernel": "thing",
            "x": "images",
            "y": "targets",
            "lr": "field",
            "momentum": "field",
            "steps": "field",
        },
        {"lr": (0, 4.0, INF), "momentum": (-0.1, 1, INF), "steps": (-1, 2.5, 10**9)},
    ),
    "KernelPredictor": Door(lambda a: a["f"](a["x"]), {"x": "form"}, {"x": (torch.rand(2, 1, 4, 4),)}),
    "spectrum": Door(
        lambda a: ntk.spectrum(a["K"], a.get("k", 2)), {"K": "matrix", "k": "number-or-none"}, {"k": (0, 9, 1.5)}
    ),
    "KernelMatrix": Door(
        lambda a: ntk.spectrum(ntk.KernelMatrix(a["kernel"], a["x"]), 2), {"kernel": "thing", "x": "images"}
    ),
    "tangent_kernel": Door(lambda a: ntk.tangent_kernel(a["net"]), {"net": "thing"}, {"net": (nn.Linear(9, 1),)}),
    "DataSpec": Door(
        lambda a: ntk.DataSpec(n_train=a.get("n_train", 8), n_test=a.get("n_test", 8), seed=a.get("seed", 0)),
        {"n_train": "field", "n_test": "field"},
        {"n_train": (1, 2.5), "n_test": (0,), "seed": (-1, True, 2**70)},
    ),
    "load": Door(lambda a: ntk.load(a.get("spec", SMALL), a.get("root")), {"spec": "thing"}, {"root": (3, True)}),
    "import_npz": Door(lambda a: a.get("path") and ntk.import_npz(a["path"]), {}, {"path": (3, 1.0, ["a.npz"])}),
    "InputMap": Door(
        lambda a: ntk.InputMap(a["image"], a.get("scale", 1.0)),
        {"image": "image", "scale": "number"},
        {"scale": (0, -1, INF)},
    ),
    "InputMap on images": Door(lambda a: a["inputs"](a["x"]), {"x": "form"}, {"x": (torch.rand(2, 3, 3, 3),)}),
    "input_map": Door(lambda a: ntk.input_map(a.get("name", "centre"), a["x"]), {"name": "text", "x": "images"}),
    "kernel_fn": Door(
        lambda a: ntk.kernel_fn(a.get("described", ntk.fc(1)), a.get("kind", "ntk"), a["inputs"]),
        {"described": "thing", "kind": "text", "inputs": "optional"},
        {"described": (nn.Linear(9, 1),), "kind": ("NTK",), "inputs": ("centre",)},
    ),
    "kernel": Door(lambda a: a["kernel"](a["x"], a["x_test"]), {"x": "form"}),
    "tiled": Door(
        lambda a: ntk.tiled(a["kernel"].kernel, a.get("tile_bytes", 1e6), a.get("progress")),
        {"tile_bytes": "number-or-none", "progress": "optional"},
        {"tile_bytes": (0, -1, INF)},
    ),
    "TiledKernel": Door(lambda a: ntk.TiledKernel(a["kernel"]), {"kernel": "thing"}),
    "kernel_to_file": Door(
        lambda a: ntk.kernel_to_file(a["kernel"], a["x"], place("k.npy"), a.get("memory", 1e6), a.get("progress")),
        {"kernel": "thing", "x": "images", "memory": "time", "progress": "optional"},
        {"memory": (0, -1), "kernel": (lambda x1, x2=None: x1,)},
    ),
    "empirical_kernel_fn": Door(lambda a: ntk.empirical_kernel_fn(a["module"]), {"module": "thing"}),
    "empirical_ntk": Door(
        lambda a: ntk.empirical_ntk(a["module"], a["x"]),
        {"module": "thing"},
        {"x": (X.numpy(), X.half(), X.double(), X[:0], (X * 255).byte(), None)},
    ),
    "fc": Door(
        lambda a: ntk.fc(a.get("depth", 1), a.get("W_std", 1.0), a.get("b_std", 0.0), a.get("activation", "erf")),
        {"depth": "number", "W_std": "number", "b_std": "number", "activation": "text"},
        {"depth": (0, 1.5, 10**9), "W_std": (0, -1, INF), "b_std": (-1, INF)},
    ),
    "conv": Door(
        lambda a: ntk.conv(a.get("depth", 1), a.get("W_std", 1.0), a.get("b_std", 0.0), a.get("activation", "erf")),
        {"depth": "number", "W_std": "number", "b_std": "number", "activation": "text"},
        {"depth": (0, 1.5, 10**9), "W_std": (0, -1, INF), "b_std": (-1, INF)},
    ),
    "myrtle": Door(
        lambda a: ntk.myrtle(a.get("depth", 5), a.get("W_std", 1.0), a.get("b_std", 0.0), a.get("activation", "erf")),
        {"depth": "number", "W_std": "number", "b_std": "number", "activation": "text"},
        {"depth": (0, 6, 1.5), "W_std": (0, -1, INF), "b_std": (-1, INF)},
    ),
    "Net": Door(lambda a: ntk.Net(a.get("layers", ntk.fc(1).layers)), {"layers": "layers"}),
    "Net.module": Door(
        lambda a: ntk.fc(1).module(
            a.get("in_shape", (1, 3, 3)),
            a.get("width", 2),
            a.get("outputs", 1),
            a.get("seed", 0),
            a.get("parameterisation", "ntk"),
        ),
        {"width": "number", "seed": "number", "parameterisation": "text"},
        {
            "in_shape": ((3, 3), (0, 3, 3), (1, 3, 3.5), "133", None, 3, (1, True, 3)),
            "width": (0, 2.5),
            "outputs": (0, 2.5, True, None),
            "seed": (-1, 2**70),
        },
    ),
    "finite_net": Door(
        lambda a: ntk.finite_net(a["module"], a["inputs"], a.get("centred", True)),
        {"module": "thing", "inputs": "thing", "centred": "truth"},
    ),
    "FiniteNet": Door(lambda a: a["net"](a["x"]), {}, {"x": (X.numpy(), X.half(), X[:0], (X * 255).byte(), None)}),
    "train": Door(
        lambda a: ntk.train(a["net"], a["x"], a["y"], a["recipe"], a.get("unit"), a.get("seed", 0)),
        {"net": "thing", "x": "images", "y": "targets", "recipe": "thing", "seed": "number"},
        {"unit": (0, -1, NAN, INF, True, "1"), "seed": (-1, 2**70)},
    ),
    "train on cross-entropy": Door(
        lambda a: ntk.train(a["net"], a["x"], a["y"], a["recipe"].replace(loss="cross_entropy")), {"y": "labels"}
    ),
    "train_epochs": Door(
        lambda a: ntk.train_epochs(
            a["net"], a["x"], a["y"], a["schedule"], a.get("epochs", 1), a.get("adversary"), progress=a.get("progress")
        ),
        {
            "net": "thing",
            "x": "images",
            "y": "labels",
            "schedule": "thing",
            "epochs": "number",
            "adversary": "optional",
            "progress": "optional",
        },
        {"epochs": (-1, 2.5)},
    ),
    "train_epochs with an adversary": Door(
        lambda a: ntk.train_epochs(
            a["net"], a["x"], a["y"], a["schedule"].replace(loss="squared"), 1, lambda net, x, y, draw: x
        ),
        {"x": "pixels", "y": "labels"},
    ),
    "Training": Door(
        lambda a: ntk.Training(lr=a.get("lr", 1.0), steps=a.get("steps", 1), momentum=a.get("momentum", 0.5)),
        {"lr": "field", "steps": "field", "momentum": "field"},
        {"lr": (0, INF), "steps": (-1, 2.5), "momentum": (1, -0.1)},
    ),
    "Schedule": Door(
        lambda a: ntk.Schedule(lr=a.get("lr", 1.0), batch=a.get("batch", 1), seed=a.get("seed", 0)),
        {"lr": "field", "batch": "field", "seed": "field"},
        {"lr": (0, INF), "batch": (0, 2.5), "seed": (-1, 2**31)},
    ),
    "margin_along_eps": Door(
        lambda a: margin_along_eps(a["f"], a["image"], a["label"], a["attack"], a["radii"]),
        {"f": "predictor", "image": "image", "label": "label", "attack": "thing"},
        {
            "radii": (torch.tensor([0.1, 0.0]), torch.tensor([-0.1]), torch.zeros(0), torch.tensor([NAN]), [0.1], 0.1),
            "attack": (ntk.fgsm(0.0),),
        },
    ),
    "feature_pictures": Door(
        lambda a: feature_pictures(
            a["kernel"],
            a["s"],
            a["x"],
            a["y"],
            a["image"],
            a["label"],
            a["attack"],
            a["features"],
            a["classes"],
        ),
        {
            "x": "pixels",
            "y": "labels",
            "image": "image",
            "label": "label",
            "attack": "thing",
            "features": "selection",
            "classes": "codes",
        },
    ),
    "kept_features": Door(
        lambda a: kept_features(
            a["kernel"], a["s"], a["x"], a["y"], a["x_test"], a["y_test"], a["attack"], a["classes"]
        ),
        {"x": "pixels", "y": "labels", "x_test": "pixels", "y_test": "labels", "classes": "codes"},
    ),
    "trade_offs": Door(
        lambda a: trade_offs(a["kernel"], a["s"], a["x"], a["y"], a["x_test"], a["y_test"], a["attack"], a["classes"]),
        {"x": "pixels", "y": "labels", "x_test": "pixels", "y_test": "labels", "classes": "codes"},
    ),
    "along_time": Door(
        lambda a: along_time(
            a["kernel"], a["s"], a["x"], a["y"], a["x_test"], a["y_test"], a["attack"], a.get("ridge", 0.0), points=2
        ),
        {"x": "pixels", "y": "labels", "x_test": "pixels", "y_test": "labels", "ridge": "number"},
    ),
    "perturb_along": Door(
        lambda a: perturb_along(a["f"], a["x"], a["y"], a["attack"], a.get("eps", (0.1,))),
        {"f": "thing", "x": "pixels", "y": "labels", "attack": "thing"},
        {"eps": ((), 0.1, "0.1", (-0.1,), (NAN,), (True,), None)},
    ),
    "judge": Door(
        lambda a: judge(a["f"], a["x"], a.get("x_adv", X[None]), a["y"]),
        {"f": "predictor", "x": "images", "y": "labels"},
        {"x_adv": (X, X[None, :2], X[None].numpy(), put(X, NAN)[None])},
    ),
    "sign_noise": Door(
        lambda a: sign_noise(a["x"], a.get("eps", (0.1,)), a.get("seed", 0)),
        {"x": "pixels", "seed": "number"},
        {"eps": ((), 0.1, (-0.1,), (NAN,))},
    ),
    "feature_gradients": Door(
        lambda a: feature_gradients(a["kernel"], a["s"], a["x"], a["x_test"], a["features"]),
        {"s": "thing", "x": "images", "x_test": "images", "features": "selection"},
    ),
    "agreement": Door(
        lambda a: agreement(a.get("kernels", [a["K"]] * 2)), {}, {"kernels": ([], None, [np.eye(3)], 3, [torch.eye(2)])}
    ),
    "decomposed": Door(lambda a: decomposed(a["K"], a.get("k", 2)), {"K": "matrix", "k": "number"}, {"k": (0, 1.5)}),
    "alignment_matrix": Door(
        lambda a: alignment_matrix(a.get("kernels", [a["K"]] * 2), True), {}, {"kernels": ([], None, [np.eye(3)], 3)}
    ),
    "subspace_overlap": Door(
        lambda a: subspace_overlap(a["s"].vectors, a["s"].vectors, a.get("ks", [1, 2])),
        {},
        {"ks": ([], [0], [9], [1.5], [True], 3, "12", None)},
    ),
    "fit_tangent": Door(
        lambda a: fit_tangent(a["net"], a["x"], a["y"], a.get("ridge", 0.5)),
        {"net": "thing", "x": "images", "y": "targets", "ridge": "number"},
        {"ridge": (-1,)},
    ),
    "build": Door(
        lambda a: build(a.get("name", "cnn-small"), (1, 8, 8), a.get("outputs", 1), a.get("seed", 0)),
        {"name": "text", "outputs": "number", "seed": "number"},
        {"outputs": (0, 2.5), "seed": (-1, 2**70)},
    ),
}
# what is given back by a door, an error, or a file's reader with tests of its own
NO_DOORS = {
    "AttackResult",
    "Spectrum",
    "Sweep",
    "Task",
    "Cancelled",
    "DataError",
    "NTKError",
    "SpecError",
    "StoreError",
    "WorkerError",
}


def wrong_arguments() -> Iterator[object]:
    for name, door in DOORS.items():
        for argument, kind in door.kinds.items():
            for case in WRONG[kind]:
                yield pytest.param(name, argument, case.values[0], id=f"{name}-{argument}-{case.id}")
        for argument, values in door.beyond.items():
            for number, value in enumerate(values):
                yield pytest.param(name, argument, value, id=f"{name}-{argument}-beyond-{number}")


def test_every_public_name_has_a_door():
    """A new public function has to say here what it takes."""
    assert set(ntk.__all__) - NO_DOORS <= set(DOORS)
    assert set(ntk.__all__) >= NO_DOORS


@pytest.mark.parametrize("name", list(DOORS))
def test_a_door_opens_to_what_is_right(name):
    door = DOORS[name]
    door.call(arguments())
    numbers = {argument for argument, kind in door.kinds.items() if kind in COUNTED}
    for make in (np.float64, np.int64, torch.tensor):
        given = {argument: make(2) for argument in numbers - BELOW_TWO if argument != "depth" or name != "myrtle"}
        if given:
            door.call(arguments(**given))


@pytest.mark.parametrize(("name", "argument", "value"), list(wrong_arguments()))
def test_a_door_is_shut_to_what_is_wrong(name, argument, value):
    before = torch.get_rng_state()
    with pytest.raises(ntk.NTKError) as caught:
        DOORS[name].call(arguments(**{argument: value}))
    words = str(caught.value)
    assert words.endswith(".")
    assert len(words) < 500
    assert torch.equal(torch.get_rng_state(), before)


@functools.cache
def three_classes() -> dict[str, object]:
    k = ntk.kernel_fn(ntk.fc(1))
    return {**right(), "y": ONE_HOT, "y_test": ONE_HOT, "f": ntk.fit(k, X, ONE_HOT), "answers": ONE_HOT * 0.3}


@pytest.mark.parametrize("name", ["accuracy", "margin", "Attack", "eigenfeatures", "kept_features", "judge"])
@pytest.mark.parametrize("y", [pytest.param(case.values[0], id=case.id) for case in NO_LABELS])
def test_labels_of_three_classes(name, y):
    DOORS[name].call(three_classes())
    for argument in {"y", "y_test"} & DOORS[name].kinds.keys():
        for wrong in (y, SIGNS):
            with pytest.raises(ntk.SpecError, match=r"must be|has entries|both need"):
                DOORS[name].call({**three_classes(), argument: wrong})


def test_images_that_want_gradients_are_left_without():
    """Fitting, sweeping and training look at images; they leave none of their own marks on them."""
    a, x = right(), X.clone().requires_grad_()
    assert not ntk.fit(a["kernel"], x, SIGNS)(X).requires_grad
    sweep = ntk.eigenfeatures(a["kernel"], x, SIGNS, x, SIGNS, attack=ntk.fgsm(0.1))
    plain = ntk.eigenfeatures(a["kernel"], X, SIGNS, X, SIGNS, attack=ntk.fgsm(0.1))
    assert torch.equal(sweep.right_after, plain.right_after)
    net = ntk.finite_net(ntk.fc(1).module((1, 3, 3), 4))
    for _ in ntk.train_epochs(net, x, SIGNS, a["schedule"], 1):
        pass
    for _ in ntk.train(net, x, SIGNS, a["recipe"]):
        pass
    assert x.grad is None


@pytest.mark.parametrize("eps", [0.0, 8 / 255])
def test_rounding_changes_no_accuracy(eps):
    """Images that are in [0, 1] but for rounding are attacked and judged as if they were in it, at eps 0 too."""
    x = put(X, 1 + 2e-7)
    sweep = ntk.eigenfeatures(right()["kernel"], x, SIGNS, x, SIGNS, attack=ntk.fgsm(eps))
    exact = x.clamp(0, 1)
    other = ntk.eigenfeatures(right()["kernel"], exact, SIGNS, exact, SIGNS, attack=ntk.fgsm(eps))
    assert torch.equal(sweep.right_after, other.right_after)
    assert eps or torch.equal(sweep.right_after, sweep.right_before)


def test_a_radius_in_grey_levels_is_refused_and_told():
    with pytest.raises(SpecError, match="8 / 255 for grey levels"):
        ntk.fgsm(8)
    assert ntk.fgsm(1).eps == 1
    assert ntk.fgsm(8, norm="l2").eps == 8


def test_labels_of_whole_numbers_give_the_same_verdicts():
    a = right()
    for y in (SIGNS.long(), SIGNS.double(), SIGNS.to(torch.int8)):
        assert a["attack"](a["f"], X, y).accuracy == a["attack"](a["f"], X, SIGNS).accuracy
        assert ntk.accuracy(a["answers"], y) == 1.0


def test_a_mask_of_features_is_the_features_it_marks():
    a = right()
    mask = torch.zeros(8, dtype=torch.bool)
    mask[[2, 5]] = True
    f = ntk.subset_predictor(a["kernel"], a["s"], X, SIGNS, [2, 5])
    for which in (mask, mask.numpy(), mask.tolist(), np.array([2, 5]), (2, 5)):
        assert torch.equal(ntk.subset_predictor(a["kernel"], a["s"], X, SIGNS, which).alpha, f.alpha)
    every = ntk.subset_predictor(a["kernel"], a["s"], X, SIGNS, range(8))
    torch.testing.assert_close(every(X), a["f"](X), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("net", [ntk.fc(1), ntk.conv(1), ntk.fc(1, activation="erf")], ids=["fc", "conv", "erf"])
@pytest.mark.parametrize("value", [NAN, INF], ids=str)
def test_a_kernel_passes_on_that_a_pixel_is_no_number(net, value):
    """A kernel is a function of any pixels: one that is no number makes its image's row none, and no other."""
    K = ntk.kernel_fn(net)(put(X, value))
    assert not torch.isfinite(K[0]).any()
    torch.testing.assert_close(K[1:, 1:], ntk.kernel_fn(net)(X)[1:, 1:], rtol=1e-6, atol=0)
    with pytest.raises(ntk.SpecError, match="not finite"):
        ntk.spectrum(K)


@pytest.mark.parametrize("given", [3, b"k.npy", ["k.npy"]], ids=["number", "bytes", "list"])
def test_a_path_that_is_none(given):
    k = ntk.kernel_fn(ntk.fc(1))
    with pytest.raises(ntk.SpecError, match="path must be the path of a place"):
        ntk.kernel_to_file(k, X, given)
    with pytest.raises(ntk.SpecError, match="folder must be the path of a place"):
        ntk.eigenfeatures(k, X, SIGNS, X, SIGNS, folder=given)
