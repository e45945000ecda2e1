"""Data descriptions: canonical when right, refused in a sentence when wrong, before any data are touched."""

import json

import numpy as np
import pytest

from ntkcore.data import SOURCES, DataSpec
from ntkcore.errors import SpecError

DIGEST = "0123456789abcdef" * 4


def test_defaults():
    spec = DataSpec()
    assert spec.name == "fashion-mnist-sample"
    assert spec.classes == ("T-shirt/top", "Shirt")
    assert (spec.n_train, spec.n_test, spec.order) == (1000, 2000, "balanced")
    assert (spec.seed, spec.size, spec.digest) == (None, None, None)


@pytest.mark.parametrize("name", SOURCES)
def test_every_set_has_a_default_description(name):
    spec = DataSpec(name=name)
    assert spec.classes == SOURCES[name].default_classes
    assert DataSpec(name=name, classes=()).classes == SOURCES[name].classes


@pytest.mark.parametrize(
    ("fields", "numbers"),
    [
        pytest.param({"classes": ()}, (1000, 2000), id="ten-garments"),
        pytest.param({"name": "mnist"}, (1000, 982 + 1009), id="mnist-4-and-9"),
        pytest.param({"name": "cifar10"}, (1000, 2000), id="cifar"),
        pytest.param({"name": "cifar100", "classes": ("apple", "pear")}, (1000, 200), id="apples-and-pears"),
        pytest.param({"name": "own", "digest": DIGEST}, (1000, 2000), id="own"),
        pytest.param({"name": "mnist", "n_train": 20}, (20, 1991), id="fewer-for-training"),
    ],
)
def test_as_many_images_as_there_are(fields, numbers):
    spec = DataSpec(**fields)
    assert (spec.n_train, spec.n_test) == numbers


@pytest.mark.parametrize(
    ("given", "same"),
    [
        pytest.param({"classes": [0, 6]}, {}, id="indices"),
        pytest.param({"classes": ["0", "6"]}, {}, id="indices-as-text"),
        pytest.param({"classes": (np.int64(0), np.uint8(6))}, {}, id="numpy-indices"),
        pytest.param({"classes": ["t-SHIRT/top", "shirt"]}, {}, id="any-case"),
        pytest.param({"classes": []}, {"classes": range(10)}, id="empty-is-all"),
        pytest.param({"size": 28}, {}, id="full-size"),
        pytest.param({"name": "mnist", "classes": ["3 - THREE", 8]}, {"name": "mnist", "classes": (3, 8)}, id="mnist"),
        pytest.param({"name": "svhn", "classes": ["7", 1]}, {"name": "svhn", "classes": (7, 1)}, id="digit-names"),
        pytest.param({"name": "own", "digest": DIGEST.upper()}, {"name": "own", "digest": DIGEST}, id="digest-case"),
        pytest.param({"n_train": "500", "n_test": 2000.0}, {"n_train": 500}, id="numbers-as-text"),
    ],
)
def test_equal_descriptions_are_equal(given, same):
    same = {key: tuple(value) if isinstance(value, range) else value for key, value in same.items()}
    a, b = DataSpec(**given), DataSpec(**same)
    assert a == b
    assert hash(a) == hash(b)
    assert a.model_dump_json() == b.model_dump_json()


def test_order_of_classes_matters():
    assert DataSpec(classes=(0, 6)) != DataSpec(classes=(6, 0))
    assert DataSpec(classes=(6, 0)).classes == ("Shirt", "T-shirt/top")


@pytest.mark.parametrize(
    "spec",
    [
        pytest.param(DataSpec(), id="default"),
        pytest.param(DataSpec(name="cifar100", classes=(), n_train=50_000, n_test=10_000, size=8, seed=3), id="all"),
        pytest.param(DataSpec(name="own", digest=DIGEST, classes=("a", "7"), size=5, n_train=10**6), id="own"),
    ],
)
def test_json_round_trip(spec):
    assert DataSpec.model_validate_json(spec.model_dump_json()) == spec
    assert DataSpec(**json.loads(spec.model_dump_json())) == spec


WRONG = [
    pytest.param({"name": "imagenet"}, "name is 'imagenet'; choose 'fashion-mnist-sample', 'mnist',", id="name"),
    pytest.param({"name": None}, "name is None; choose", id="no-name"),
    pytest.param({"name": ["mnist"]}, "name is ['mnist']; choose", id="name-list"),
    pytest.param(
        {"classes": ["Shirt", "Skirt"]},
        "There is no class 'Skirt' in Fashion-MNIST sample (bundled). Did you mean 'Shirt'? Its classes are T-shirt",
        id="unknown-class",
    ),
    pytest.param(
        {"name": "cifar100", "classes": ["cow", "?"]}, "There is no class 'cow' in CIFAR-100.", id="long-list"
    ),
    pytest.param({"classes": ["Shirt"]}, "'Shirt' is the only class; at least 2 are needed.", id="one-class"),
    pytest.param({"classes": ["Shirt", 6]}, "The class 'Shirt' is given twice; name each class once.", id="twice"),
    pytest.param({"classes": [0, 10]}, "There is no class 10 in Fashion-MNIST sample (bundled); its", id="index"),
    pytest.param({"classes": [0, -1]}, "There is no class -1 in", id="negative-index"),
    pytest.param({"classes": ["0", "99999999999"]}, "There is no class '99999999999' in", id="huge-index"),
    pytest.param({"classes": [True, False]}, "True is not a class of Fashion-MNIST sample", id="bools"),
    pytest.param({"classes": [0.0, 1.0]}, "0.0 is not a class of", id="floats"),
    pytest.param({"classes": "Shirt"}, "classes is 'Shirt'; give a list of class names, such as", id="text"),
    pytest.param({"classes": {"Shirt", "Coat"}}, "; give a list of class names, such as", id="set"),
    pytest.param({"classes": None}, "classes is None; give a list of class names, such as", id="none"),
    pytest.param({"n_train": 1}, "n_train is 1; it must be at least 2.", id="n-train-1"),
    pytest.param(
        {"classes": [], "n_train": 9},
        "n_train is 9, but each of the 10 classes needs a training image. Choose at least 10, or fewer classes.",
        id="n-train-too-few",
    ),
    pytest.param({"n_test": 0}, "n_test is 0; it must be at least 1.", id="n-test-0"),
    pytest.param({"n_train": "many"}, "n_train is 'many'; a whole number is needed.", id="n-train-text"),
    pytest.param({"n_train": 2.5}, "n_train is 2.5; a whole number is needed.", id="n-train-fraction"),
    pytest.param(
        {"n_train": 1201},
        "n_train is 1201, but Fashion-MNIST sample (bundled) has 1200 training images of T-shirt/top and Shirt. "
        "Choose at most 1200, or more classes.",
        id="n-train-too-large",
    ),
    pytest.param(
        {"n_test": 2001}, "has 2000 test images of T-shirt/top and Shirt. Choose at most 2000", id="n-test-large"
    ),
    pytest.param(
        {"name": "mnist", "classes": [0, 1, 2], "n_test": 3148},
        "n_test is 3148, but MNIST has 3147 test images of the 3 chosen classes. Choose at most 3147, or more classes.",
        id="uneven-counts",
    ),
    pytest.param({"order": "random"}, "order is 'random'; choose 'balanced' or 'own'.", id="order"),
    pytest.param({"seed": -1}, "seed is -1; it must be at least 0.", id="seed"),
    pytest.param({"seed": 2**32}, "seed is 4294967296; it must be less than 4294967296.", id="huge-seed"),
    pytest.param({"size": 1}, "size is 1; it must be at least 2.", id="size-1"),
    pytest.param(
        {"size": 10},
        "size is 10, which does not divide 28, the side of Fashion-MNIST sample (bundled). "
        "Choose one of 14, 7, 4, 2, or leave it out.",
        id="size",
    ),
    pytest.param({"size": 56}, "size is 56, which does not divide 28", id="size-larger"),
    pytest.param({"name": "cifar10", "size": 28}, "does not divide 32, the side of CIFAR-10.", id="size-cifar"),
    pytest.param({"digest": DIGEST}, "A digest goes with own data only, not with fashion-mnist-sample.", id="digest"),
    pytest.param({"name": "own"}, "64 hexadecimal digits; there is none. Import the .npz file first", id="own-none"),
    pytest.param({"name": "own", "digest": "../../etc"}, "64 hexadecimal digits; got '../../etc'.", id="own-path"),
    pytest.param({"name": "own", "digest": "g" * 64}, "64 hexadecimal digits; got 'ggg", id="own-letters"),
    pytest.param({"name": "own", "digest": 5}, "digest is 5; a text is needed.", id="own-number"),
    pytest.param(
        {"name": "own", "digest": DIGEST, "classes": [0, 1]}, "0 is not a class name; own data's", id="own-int"
    ),
    pytest.param({"name": "own", "digest": DIGEST, "classes": ["a"]}, "'a' is the only class", id="own-one-class"),
    pytest.param(
        {"name": "own", "digest": DIGEST, "classes": ["a", "a"]}, "The class 'a' is given twice", id="own-twice"
    ),
    pytest.param({"ntrain": 5}, "The data description has no field 'ntrain'. Did you mean n_train?", id="field"),
]


@pytest.mark.parametrize(("fields", "message"), WRONG)
def test_wrong_description(fields, message):
    with pytest.raises(SpecError) as caught:
        DataSpec(**fields)
    text = str(caught.value)
    assert message in text
    assert text.endswith(".")
    assert "pydantic" not in text
    assert "\n" not in text


def test_a_wrong_name_is_the_only_objection():
    """What depends on the name is not objected to as well."""
    with pytest.raises(SpecError) as caught:
        DataSpec(name="imagenet", classes=("Shirt", "Coat"), size=10, n_train=10**9)
    assert str(caught.value).count("choose") == 1
    assert str(caught.value).endswith("'own'.")


def test_all_objections_at_once():
    with pytest.raises(SpecError, match=r"n_train is 1; .* size is 10, .* divide 28"):
        DataSpec(n_train=1, size=10)
