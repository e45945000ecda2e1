"""A control in one row: its key, its label, the field of a spec that it sets, its widget and its bounds.

All that is done with controls reads these rows: drawing them, making a spec of their values, and setting them to a spec
(presets, Open on Runs). The key is the widget's in the session and its parameter's in links, which Streamlit keeps::

    EVOLUTION = Controls(Evolution(), Number("epochs", "Epochs", "epochs", 1, 10_000), ...)
    chosen = EVOLUTION.row(2, "epochs", "eseeds")        # drawn side by side: {"epochs": 15, "eseeds": 3}
    Evolution(**EVOLUTION.fields(chosen))                # epochs=15, seeds=3
    EVOLUTION.values(Evolution(epochs=4))                # {"epochs": 4, "eseeds": 3, ...}: what the controls show
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import KW_ONLY, dataclass, fields, replace
from functools import partial, reduce
from typing import Any

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from pages.ui.shell.terms import with_terms
from pages.ui.shell.vocabulary import in_words


@dataclass(frozen=True)
class Control:
    """field: its dotted name in the spec; none where several controls make one field. read: what it is in a spec, where
    that is not the field as it stands. start: what is shown at first; left out, what the default spec has. absent: what
    stands for None. Labels, bounds, options and so on may be functions of what the page hands over when it draws.
    """

    key: str
    label: Any
    field: str = ""
    _: KW_ONLY
    help: str | None = None
    read: Callable[[Any], Any] | None = None
    start: Any = None
    absent: Any = None
    disabled: Any = False
    on_change: Callable[[], None] | None = None

    def shown(self, value: Any) -> Any:
        """A field's value as the control shows it."""
        return self.absent if value is None else value

    def taken(self, shown: Any) -> Any:
        """What the control shows as the field's value."""
        return None if shown == self.absent else shown

    def value(self, spec: Any) -> Any:
        """What the control shows of a spec; raises AttributeError where the spec has no such field."""
        return self.shown(self.read(spec) if self.read else reduce(getattr, self.field.split("."), spec))

    def draw(self, place: DeltaGenerator, default: Any, of: Any, disabled: bool) -> Any:
        """Draw the widget; the field's value. of: what labels, bounds and so on are functions of."""
        names = {field.name for field in fields(self)} - {"read", "on_change"}
        one = replace(self, **{name: value(of) for name in names if callable(value := getattr(self, name))})
        start = one.value(default) if one.start is None else one.start
        help_ = with_terms(one.help, *self.in_words(one.label))
        common = {"key": one.key, "bind": "query-params", "help": help_, "disabled": disabled or one.disabled}
        return one.taken(one.widget(place, start, common | ({"on_change": one.on_change} if one.on_change else {})))

    def in_words(self, label: str) -> tuple[str, ...]:
        """The texts whose terms are explained on hover."""
        return (label,)

    def widget(self, place: DeltaGenerator, start: Any, common: Mapping[str, Any]) -> Any:
        """Draw Streamlit's widget; what it shows."""
        raise NotImplementedError


@dataclass(frozen=True)
class Number(Control):
    """A number between bounds, at first as near to its start as they allow; on a line if it is a slider."""

    low: Any = None
    high: Any = None
    step: Any = None
    format: str | None = None
    placeholder: str | None = None
    slider: bool = False

    def widget(self, place: DeltaGenerator, start: Any, common: Mapping[str, Any]) -> Any:
        high = None if self.high is None else max(self.low, self.high)
        if start is not None:
            start = max(self.low, start if high is None else min(high, start))
        bounds = self.low, high, start, self.step
        if self.slider:
            return place.slider(self.label, *bounds, format=self.format, **common)
        return place.number_input(self.label, *bounds, format=self.format, placeholder=self.placeholder, **common)


@dataclass(frozen=True)
class Choice(Control):
    """One of several, of a list, or side by side as segments.

    options: as the session has them, shown in the words of ``vocabulary``; or with the field's value of each.
    """

    options: Any = ()
    segments: str = ""  # how wide: "content" or "stretch"

    def in_words(self, label: str) -> tuple[str, ...]:
        return (label,) if callable(self.options) else (label, *(in_words(self.key, one) for one in self.options))

    def shown(self, value: Any) -> Any:
        named = isinstance(self.options, Mapping)
        return {own: shown for shown, own in self.options.items()}[value] if named else super().shown(value)

    def taken(self, shown: Any) -> Any:
        return self.options[shown] if isinstance(self.options, Mapping) else super().taken(shown)

    def widget(self, place: DeltaGenerator, start: Any, common: Mapping[str, Any]) -> Any:
        options, common = list(self.options), {"format_func": partial(in_words, self.key), **common}
        if not self.segments:
            return place.selectbox(self.label, options, options.index(start), **common)
        common = {"default": start, "required": True, "width": self.segments, **common}
        return place.segmented_control(self.label, options, **common)


@dataclass(frozen=True)
class Several(Choice):
    """Any of several, at most so many."""

    most: int | None = None
    placeholder: str | None = None

    def shown(self, value: Any) -> Any:
        return [super(Several, self).shown(one) for one in value]

    def taken(self, shown: Any) -> Any:
        return tuple(super(Several, self).taken(one) for one in shown)

    def widget(self, place: DeltaGenerator, start: Any, common: Mapping[str, Any]) -> Any:
        more = {"max_selections": self.most, "placeholder": self.placeholder}
        return place.multiselect(self.label, list(self.options), start, **more, **common)


class Toggle(Control):
    """On or off."""

    def widget(self, place: DeltaGenerator, start: Any, common: Mapping[str, Any]) -> Any:
        return place.toggle(self.label, start, **common)


@dataclass(frozen=True)
class Text(Control):
    """A line of text."""

    placeholder: str | None = None

    def widget(self, place: DeltaGenerator, start: Any, common: Mapping[str, Any]) -> Any:
        return place.text_input(self.label, start, placeholder=self.placeholder, **common)


class Controls:
    """The controls of a spec, and the spec whose values they have at first."""

    def __init__(self, default: Any, *controls: Control):
        self.default, self.by_key = default, {control.key: control for control in controls}

    def draw(self, *keys: str, of: Any = None, disabled: bool = False) -> dict[str, Any]:
        """Draw controls below each other; the values of their fields by key."""
        return {key: self.by_key[key].draw(st, self.default, of, disabled) for key in keys}

    def row(self, widths: int | Sequence[int], *keys: str, of: Any = None, align: str = "top") -> dict[str, Any]:
        """Draw controls side by side; the values of their fields by key."""
        places = dict(zip(keys, st.columns(widths, vertical_alignment=align), strict=False))
        return {key: self.by_key[key].draw(place, self.default, of, False) for key, place in places.items()}

    def fields(self, chosen: Mapping[str, Any]) -> dict[str, Any]:
        """The fields of a spec, inner ones as dictionaries, for the values that were drawn."""
        found: dict[str, Any] = {}
        for key, value in chosen.items():
            *above, name = self.by_key[key].field.split(".")
            if name:
                reduce(lambda inner, part: inner.setdefault(part, {}), above, found)[name] = value
        return found

    def values(self, spec: Any, *keys: str) -> dict[str, Any]:
        """What the controls show of a spec; those left out whose field the spec does not have."""
        found = {}
        for key in keys or self.by_key:
            with suppress(AttributeError):
                found[key] = self.by_key[key].value(spec)
        return found
