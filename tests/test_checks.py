"""The checks at the doors: what is right comes back, what is wrong is refused in words that say how to mend it."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from ntkcore import checks
from ntkcore.errors import SpecError

NAN, INF = float("nan"), float("inf")
ONE_HOT = torch.eye(3)[[0, 2, 0, 1]]
SIGNS = torch.tensor([[1.0], [-1.0], [1.0], [-1.0]])
X = torch.rand(4, 1, 3, 3, generator=torch.Generator().manual_seed(0))


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
    pytest.param(F.one_hot(torch.tensor([0, 2, 0, 1]), 3), id="one-hot-int64"),
    pytest.param(ONE_HOT > 0, id="one-hot-bool"),
    pytest.param(ONE_HOT[:, :2].flip(1)[[0, 1, 0, 1]] * 0 + torch.eye(2)[[0, 1, 0, 1]], id="one-hot-of-two"),
]
# what a user has instead of labels, and the words that mend it
NO_LABELS = [
    pytest.param(torch.tensor([0, 2, 0, 1]), r"F\.one_hot\(y\.long\(\), c\)", id="class-indices"),
    pytest.param(
        torch.tensor([[0], [2], [0], [1]]), r"F\.one_hot\(y\[:, 0\]\.long\(\), c\)", id="class-indices-column"
    ),
    pytest.param(SIGNS[:, 0], r"y\[:, None\]", id="signs-in-one-axis"),
    pytest.param((SIGNS > 0).float(), r"\(2\.0 \* y\[:, 0\] - 1\)\[:, None\]", id="zero-one"),
    pytest.param((SIGNS[:, 0] > 0).float(), r"\(2\.0 \* y - 1\)\[:, None\]", id="zero-one-in-one-axis"),
    pytest.param(SIGNS > 0, r"\(2\.0 \* y\[:, 0\] - 1\)\[:, None\]", id="bool"),
    pytest.param(SIGNS / 2, "-1 and \\+1", id="halves"),
    pytest.param(ONE_HOT - 1 / 3, r"F\.one_hot\(y\.argmax\(1\), 3\)", id="centred-one-hot"),
    pytest.param(2 * ONE_HOT - 1, r"F\.one_hot\(y\.argmax\(1\), 3\)", id="signed-one-hot"),
    pytest.param(0.9 * ONE_HOT + 0.1 / 3, "one-hot", id="smoothed"),
    pytest.param(torch.ones(4, 3), "one-hot", id="every-class"),
    pytest.param(torch.zeros(4, 3), "one-hot", id="no-class"),
    pytest.param(put(ONE_HOT, NAN), "one-hot", id="nan"),
    pytest.param(put(SIGNS, NAN), "-1 and \\+1", id="nan-sign"),
    pytest.param(ONE_HOT[:3], "n = 4 images", id="too-few"),
    pytest.param(ONE_HOT.T, "n = 4 images", id="transposed"),
    pytest.param(ONE_HOT[None], "n = 4 images", id="three-axes"),
    pytest.param(ONE_HOT[:, :0], "n = 4 images", id="no-columns"),
    pytest.param(ONE_HOT.numpy(), "torch.as_tensor", id="numpy"),
    pytest.param([0, 2, 0, 1], "torch.as_tensor", id="list"),
    pytest.param(None, "torch tensor", id="none"),
    pytest.param(ONE_HOT.to(torch.complex64), "real", id="complex"),
]


@pytest.mark.parametrize("y", LABELS)
def test_labels_come_back(y):
    found = checks.labels(y, 4)
    assert found.is_floating_point()
    assert torch.equal(found, y.to(found.dtype))
    assert found is y or not y.is_floating_point()


@pytest.mark.parametrize(("y", "words"), NO_LABELS)
def test_what_are_no_labels_is_refused(y, words):
    with pytest.raises(SpecError, match=words):
        checks.labels(y, 4)


@pytest.mark.parametrize(
    ("y", "mended"),
    [
        pytest.param(torch.tensor([0, 2, 0, 1]), lambda y: F.one_hot(y.long(), 3), id="class-indices"),
        pytest.param(torch.tensor([[0], [2], [0], [1]]), lambda y: F.one_hot(y[:, 0].long(), 3), id="column"),
        pytest.param(SIGNS[:, 0], lambda y: y[:, None], id="signs-in-one-axis"),
        pytest.param(SIGNS > 0, lambda y: (2.0 * y[:, 0] - 1)[:, None], id="bool"),
        pytest.param((SIGNS[:, 0] > 0).float(), lambda y: (2.0 * y - 1)[:, None], id="zero-one"),
        pytest.param(ONE_HOT - 1 / 3, lambda y: F.one_hot(y.argmax(1), 3), id="centred-one-hot"),
    ],
)
def test_the_words_mend_it(y, mended):
    found = checks.labels(mended(y), 4)
    assert torch.equal(found, ONE_HOT if found.shape[1] == 3 else SIGNS)


def test_targets_are_any_finite_numbers_of_the_right_shape():
    for y in (SIGNS, ONE_HOT - 1 / 3, torch.randn(4, 1), ONE_HOT.long()):
        assert checks.targets(y, 4) is y
    for y, words in (
        (SIGNS[:, 0], r"y\[:, None\]"),
        (ONE_HOT[:3], "n = 4"),
        (put(ONE_HOT, INF), "not finite"),
        (SIGNS > 0, "numbers"),
        (ONE_HOT.tolist(), "torch tensor"),
    ):
        with pytest.raises(SpecError, match=words):
            checks.targets(y, 4)


def test_answers_that_are_not_finite_are_neither_right_nor_wrong():
    assert checks.answers(SIGNS, (4, 1)) is SIGNS
    for out, words in (
        (put(SIGNS, NAN), "1 of 4 images"),
        (put(SIGNS, INF), "1 of 4 images"),
        (SIGNS[:, 0], r"f\(x\)\[:, None\]"),
        (ONE_HOT, r"\[4, 1\]"),
        (SIGNS.numpy(), "torch tensor"),
    ):
        with pytest.raises(SpecError, match=words):
            checks.answers(out, (4, 1))


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
    pytest.param(put(X, NAN), "1 of 4 images", id="nan"),
    pytest.param(put(X, INF), "1 of 4 images", id="inf"),
    pytest.param(put(X, -INF), "1 of 4 images", id="minus-inf"),
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
    pytest.param(X[:1].expand(4, 1, 3, 3), id="expanded"),
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
        (lambda: checks.number(0, "lr", 0, open=True), "lr is 0.0; it must be greater than 0"),
        (lambda: checks.number(-1e-9, "eps", 0), "at least 0"),
        (lambda: checks.number(1, "level", 0, 1, open=True), "greater than 0 and less than 1"),
        (lambda: checks.whole(11, "steps", 1, 10), "steps is 11; it must be at least 1 and at most 10"),
        (lambda: checks.whole(2.5, "steps"), "whole number"),
        (lambda: checks.choice("gelu", "activation", ("relu", "erf")), "choose 'relu' or 'erf'"),
        (lambda: checks.choice(["relu"], "activation", ("relu", "erf")), "choose"),
    ):
        with pytest.raises(SpecError, match=words):
            wrong()
