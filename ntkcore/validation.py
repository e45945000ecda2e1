"""Descriptions that are right or refused in words: the base class of every spec, and what turns errors to sentences.

A spec is frozen, hashable, comparable, refuses unknown fields, and raises :class:`ntkcore.errors.SpecError` with
sentences fit for a user, whichever way it is built::

    class Disc(Spec):
        radius: float = Field(1.0, gt=0)

    Disc(radius=-1)                      # SpecError: radius is -1; it must be greater than 0.
    Disc.model_validate_json("{")        # SpecError: The Disc is not valid JSON: ...
    Disc().replace(radius=2.0)           # a new, validated Disc

A validator of a spec raises ValueError with a whole sentence; it is passed on as it is.
"""

import json
from collections.abc import Mapping
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, ClassVar, Self, get_args

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from ntkcore.errors import SpecError

_KINDS = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "string": "a text",
    "tuple": "a list",
    "list": "a list",
    "dict": "an object with named fields",
    "model": "an object with named fields",
}
_BOUNDS = {
    "greater_than": ("gt", "greater than"),
    "greater_than_equal": ("ge", "at least"),
    "less_than": ("lt", "less than"),
    "less_than_equal": ("le", "at most"),
}
_MOST = 3  # faults of one description that are told
_FOLLOWS = {"default_factory_not_called"}  # the field it depends on has already been objected to


class Spec(BaseModel):
    """A frozen, validated description; see the module. Raises SpecError, never pydantic's ValidationError."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    title: ClassVar[str] = ""  # what messages call it; the class name when empty

    @model_validator(mode="before")
    @classmethod
    def _numbers_are_no_truth_values(cls, given: Any) -> Any:
        """True is not the number 1, as it would be to Python and so to pydantic."""
        for name, value in given.items() if isinstance(given, Mapping) else ():
            field = cls.model_fields.get(name)
            kinds = set() if field is None else _plain_types(field.annotation)
            if bool not in kinds and kinds & {int, float}:
                for entry in value if isinstance(value, list | tuple) else (value,):
                    if isinstance(entry, bool) or str(getattr(entry, "dtype", "")) in ("bool", "torch.bool"):
                        raise ValueError(f"{name} is {shown(entry)}; a number is needed.")
        return given

    if not TYPE_CHECKING:  # type checkers see the fields, not this signature

        def __init__(self, /, **fields: Any) -> None:
            try:
                super().__init__(**fields)
            except ValidationError as error:
                raise spec_error(error, type(self)) from None

    @classmethod
    def model_validate(cls, obj: Any) -> Self:  # type: ignore[override]
        """A spec from a mapping of fields (or a spec of this class, given back)."""
        try:
            return super().model_validate(obj)
        except ValidationError as error:
            raise spec_error(error, cls) from None

    @classmethod
    def model_validate_json(cls, json_data: str | bytes) -> Self:  # type: ignore[override]
        """A spec from JSON text."""
        try:
            made = super().model_validate_json(json_data)
        except ValidationError as error:
            raise spec_error(error, cls) from None
        fields_of_json(json_data, cls.title or cls.__name__)
        return made

    def replace(self, **changes: Any) -> Self:
        """A copy with some fields changed, validated as a whole (pydantic's ``model_copy`` is not)."""
        return type(self)(**{**{name: getattr(self, name) for name in type(self).model_fields}, **changes})


def _plain_types(annotation: Any) -> set[Any]:
    """The types in an annotation: ``tuple[int, ...] | None`` has int and None's."""
    inside = get_args(annotation)
    return {annotation} if not inside else set().union(*map(_plain_types, inside))


def fields_of_json(text: str | bytes, title: str) -> Any:
    """What a JSON text says. Raises SpecError in words when it is none, or names a field twice in one place."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        fields = dict(pairs)
        if len(fields) < len(pairs):
            names = [name for name, _ in pairs]
            twice = next(name for name in names if names.count(name) > 1)
            raise SpecError(f"The {title} names {shown(twice)} twice in one place; keep one of them.")
        return fields

    try:
        return json.loads(text, object_pairs_hook=once)
    except RecursionError:
        raise SpecError(f"The {title} is not valid JSON: it is nested too deeply.") from None
    except SpecError:
        raise
    except ValueError as error:
        raise SpecError(f"The {title} is not valid JSON: {error}.") from None


def spec_error(error: ValidationError, spec: type[BaseModel]) -> SpecError:
    """A validation error as the error of this library: one sentence for each field that does not fit."""
    title = getattr(spec, "title", "") or spec.__name__
    errors = error.errors(include_url=False)
    found = [_sentence(e, spec, title) for e in errors[:_MOST] if e["type"] not in _FOLLOWS]
    more = [f"There are {len(errors) - _MOST} more such faults."] if len(errors) > _MOST else []
    return SpecError(" ".join([*dict.fromkeys(found), *more]))


def _sentence(error: Any, spec: type[BaseModel], title: str) -> str:
    kind, given, context = error["type"], shown(error["input"]), error.get("ctx", {})
    where = _path(error["loc"]) or f"The {title}"
    if kind in ("value_error", "assertion_error"):
        return str(context["error"])
    if kind == "extra_forbidden":
        return _unknown_field(error["loc"], spec, title)
    if kind == "missing":
        return f"{where} is missing from the {title}; give it a value."
    if kind in _BOUNDS:
        key, words = _BOUNDS[kind]
        return f"{where} is {given}; it must be {words} {context[key]}."
    if kind == "literal_error":
        return f"{where} is {given}; choose {context['expected']}."
    if kind == "json_invalid":
        return f"The {title} is not valid JSON: {context['error']}."
    if kind == "finite_number":
        return f"{where} is {given}; a finite number is needed."
    if kind in ("too_short", "too_long"):
        words = f"at least {context['min_length']}" if kind == "too_short" else f"at most {context['max_length']}"
        return f"{where} has {context['actual_length']} entries; it must have {words}."
    for start, needed in _KINDS.items():
        if kind.startswith(start + "_"):
            return f"{where} is {given}; {needed} is needed."
    return f"{where} is {given}: {error['msg']}."


def _unknown_field(loc: tuple[int | str, ...], spec: type[BaseModel], title: str) -> str:
    name, fields = str(loc[-1]), list(spec.model_fields)
    close = get_close_matches(name, fields, n=1)
    hint = f"Did you mean {close[0]}? " if close else ""
    return f"The {title} has no field {shown(name)}. {hint}Its fields are {', '.join(fields)}."


def _path(loc: tuple[int | str, ...]) -> str:
    """("classes", 2) -> classes[2]; the names of nested fields are joined by dots."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in loc).lstrip(".")


def shown(value: Any, longest: int = 60) -> str:
    """A value as it is written in Python, on one line of bounded length."""
    try:
        text = " ".join(repr(value).split())
    except Exception as error:  # numbers of thousands of digits, objects that cannot be written
        text = f"a {type(value).__name__} ({error})"
    return text if len(text) <= longest else text[: longest - 3] + "..."
