"""Specs are right or refused in a sentence, whichever way they are built."""

import copy
import json
import math
from typing import Literal

import pytest
from pydantic import Field, field_validator

from ntkcore.errors import SpecError
from ntkcore.validation import Spec


class Disc(Spec):
    """A spec with one field of each kind."""

    title = "disc description"

    radius: float = Field(1.0, gt=0, le=10, allow_inf_nan=False)
    count: int = Field(3, ge=2, lt=100)
    kind: Literal["solid", "ring"] = "solid"
    tags: tuple[str, ...] = Field((), max_length=2)
    open: bool = False

    @field_validator("count")
    @classmethod
    def _even_is_unlucky(cls, count: int) -> int:
        if count == 4:
            raise ValueError("4 is unlucky; choose another count.")
        return count


class Pair(Spec):
    """A spec that holds another."""

    disc: Disc = Disc()
    name: str


WRONG = [
    pytest.param({"radius": -1}, "radius is -1; it must be greater than 0.0.", id="too-small"),
    pytest.param({"radius": 11}, "radius is 11; it must be at most 10.0.", id="too-large"),
    pytest.param({"radius": math.nan}, "radius is nan; a finite number is needed.", id="nan"),
    pytest.param({"radius": "wide"}, "radius is 'wide'; a number is needed.", id="not-a-number"),
    pytest.param({"count": 1}, "count is 1; it must be at least 2.", id="below-least"),
    pytest.param({"count": 100}, "count is 100; it must be less than 100.", id="at-bound"),
    pytest.param({"count": 2.5}, "count is 2.5; a whole number is needed.", id="fraction"),
    pytest.param({"count": None}, "count is None; a whole number is needed.", id="none"),
    pytest.param({"count": 4}, "4 is unlucky; choose another count.", id="own-sentence"),
    pytest.param({"kind": "flat"}, "kind is 'flat'; choose 'solid' or 'ring'.", id="choice"),
    pytest.param({"tags": "abc"}, "tags is 'abc'; a list is needed.", id="text-for-list"),
    pytest.param({"tags": ["a", 1]}, "tags[1] is 1; a text is needed.", id="entry-of-list"),
    pytest.param({"tags": ["a"] * 3}, "tags has 3 entries; it must have at most 2.", id="too-many-entries"),
    pytest.param({"open": "perhaps"}, "open is 'perhaps'; true or false is needed.", id="bool"),
    pytest.param(
        {"raduis": 1},
        "The disc description has no field 'raduis'. Did you mean radius? "
        "Its fields are radius, count, kind, tags, open.",
        id="misspelt-field",
    ),
    pytest.param(
        {"radius": 0, "count": 0},
        "radius is 0; it must be greater than 0.0. count is 0; it must be at least 2.",
        id="two-at-once",
    ),
]


@pytest.mark.parametrize("build", ["constructor", "model_validate", "model_validate_json", "replace"])
@pytest.mark.parametrize(("fields", "message"), WRONG)
def test_each_way_to_build_gives_the_same_sentence(fields, message, build):
    ways = {
        "constructor": lambda: Disc(**fields),
        "model_validate": lambda: Disc.model_validate(fields),
        "model_validate_json": lambda: Disc.model_validate_json(json.dumps(fields)),
        "replace": lambda: Disc().replace(**fields),
    }
    with pytest.raises(SpecError) as caught:
        ways[build]()
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        pytest.param({"disc": {"count": 1}, "name": "a"}, "count is 1; it must be at least 2.", id="bound"),
        pytest.param({"disc": {"count": 4}, "name": "a"}, "4 is unlucky; choose another count.", id="sentence"),
        pytest.param({"disc": {"raduis": 1}, "name": "a"}, "The disc description has no field 'raduis'.", id="field"),
        pytest.param({"disc": 3, "name": "a"}, "disc is 3; an object with named fields is needed.", id="kind"),
        pytest.param({}, "name is missing from the Pair; give it a value.", id="missing"),
    ],
)
def test_nested_spec(fields, message):
    for build in (lambda: Pair(**fields), lambda: Pair.model_validate(fields)):
        with pytest.raises(SpecError) as caught:
            build()
        assert str(caught.value).startswith(message)


@pytest.mark.parametrize("text", ["", "{", "[1]", "null", '{"count": 1', "\x00"])
def test_text_that_is_no_spec(text):
    with pytest.raises(SpecError, match="disc description"):
        Disc.model_validate_json(text)


def test_long_input_is_cut():
    with pytest.raises(SpecError) as caught:
        Disc(kind="x" * 10_000)
    assert len(str(caught.value)) < 200


def test_frozen_hashable_comparable_copyable():
    disc = Disc(radius=2, tags=["a"])
    assert disc == Disc(radius=2.0, tags=("a",))
    assert hash(disc) == hash(Disc(radius=2.0, tags=("a",)))
    assert disc != Disc(radius=2)
    assert copy.deepcopy(disc) == disc
    assert Disc.model_validate_json(disc.model_dump_json()) == disc
    with pytest.raises(ValueError, match="frozen"):
        disc.radius = 3


def test_replace_keeps_the_rest():
    disc = Disc(radius=2, tags=("a", "b"))
    assert disc.replace(count=7) == Disc(radius=2, tags=("a", "b"), count=7)
    assert disc.count == 3
