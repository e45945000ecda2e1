"""An experiment in one short line of text, as links have it: the fields that differ from their defaults.

::

    shorten(Experiment(net=NetSpec(depth=5)))           # "net.depth=5"
    lengthen("net.depth=5&attack.eps=0.0157")           # an Experiment; SpecError in words
    shorten(Experiment())                               # "default"
"""

import json
from collections.abc import Iterator
from contextlib import suppress
from typing import Any
from urllib.parse import parse_qsl, urlencode

from ntkcore.errors import SpecError
from ntkcore.runs.specs.experiment import Experiment
from ntkcore.validation import shown

DEFAULT = "default"
_LONGEST = 4000  # letters that are read


def shorten(experiment: Experiment) -> str:
    """The fields that are not as by default, by their dotted names; values as in JSON, texts without quotes."""
    fields = dict(_flat(experiment.model_dump(mode="json", exclude_defaults=True)))
    usual = dict(_flat(Experiment().model_dump(mode="json")))
    fewer = {name: value for name, value in fields.items() if name not in usual or usual[name] != value}
    with suppress(SpecError):  # what a spec fills in by itself, as the classes of a data set, need not be said
        if lengthen(_written(fewer)) == experiment:
            return _written(fewer)
    return _written(fields)


def lengthen(text: str) -> Experiment:
    """The experiment that ``shorten`` has written. Raises SpecError for anything else, in words."""
    if text == DEFAULT:
        return Experiment()
    fields: dict[str, Any] = {}
    try:
        pairs = parse_qsl(text, keep_blank_values=True, strict_parsing=True)
    except ValueError:
        pairs = []
    if not pairs or len(text) > _LONGEST:
        raise SpecError(f"{shown(text)} is not the short form of an experiment; net.depth=5&data.n_train=500 is one.")
    for name, value in pairs:
        *above, last = name.split(".")
        inner = fields
        for part in above:
            inner = inner.setdefault(part, {})
            if not isinstance(inner, dict):
                raise SpecError(f"{shown(name)} is a field of something that has a value of its own.")
        if last in inner:
            raise SpecError(f"The short form names {shown(name)} twice; keep one of them.")
        inner[last] = _value(value)
    return Experiment.model_validate(fields)


def _written(fields: dict[str, Any]) -> str:
    return urlencode([(name, _text(value)) for name, value in fields.items()], safe="/[],") or DEFAULT


def _flat(fields: dict[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in fields.items():
        if isinstance(value, dict) and value:
            yield from _flat(value, f"{above}{name}.")
        else:
            yield above + name, value


def _text(value: Any) -> str:
    """A value as JSON; a text that cannot be mistaken for anything else as it is."""
    plain = isinstance(value, str) and _value(value) == value
    return value if plain else json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text
