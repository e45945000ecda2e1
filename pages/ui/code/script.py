"""A script in the making: what it imports and its lines; calls written as one would write them.

::

    script = Script()
    script.use("ntkcore.analysis.spectrum", "top_mass")
    script.add(f"net = {call('ntk.fc', depth=1, W_std=2**0.5)}")
    str(script)                                   # imports first, then the lines
"""

import textwrap
from collections.abc import Mapping, Sequence

WIDE = 110  # letters in a line before its arguments go below each other
ROOT_OF_TWO = 2**0.5
STANDARD = {"copy", "math"}


class Raw(str):
    """An expression as it stands, not a text to be quoted."""


class Script:
    """Lines of Python, and what they import."""

    def __init__(self):
        self._modules: set[str] = set()
        self._names: dict[str, set[str]] = {}
        self._lines: list[str] = []

    def use(self, module: str, *names: str) -> None:
        """Import names of a module; without any, the module under its usual short name."""
        if names:
            self._names.setdefault(module, set()).update(names)
        else:
            self._modules.add({"numpy": "numpy as np"}.get(module, module))

    def add(self, text: str, inside: int = 0) -> None:
        """One or more lines; their common indentation goes. inside: how far they stand inside what is above them."""
        self._lines.append(textwrap.indent(textwrap.dedent(text).strip("\n").rstrip(), " " * inside))

    def space(self) -> None:
        """An empty line; two of them are one."""
        if self._lines and self._lines[-1]:
            self._lines.append("")

    def define(self, text: str) -> None:
        """A function, with air around it."""
        self.space()
        self.add(text)
        self.space()

    def __str__(self) -> str:
        modules = sorted(self._modules, key=lambda name: (name not in STANDARD, name))
        at = sum(name in STANDARD for name in modules)  # the library before torch: it tells it how threads are to wait
        own = ["ntkcore as ntk"] if any("ntk." in line for line in self._lines) else []
        plain = [f"import {name}" for name in (*modules[:at], *own, *modules[at:])]
        named = [_import(module, sorted(self._names[module], key=_as_sorted)) for module in sorted(self._names)]
        return "\n".join([*plain, *named, "", *self._lines, ""])


def call(name: str, /, *positional: object, **named: object) -> str:
    """``name(positional, named=...)``; the arguments below each other where they do not fit in one line."""
    arguments = [literal(value) for value in positional]
    arguments += [f"{field}={literal(value)}" for field, value in named.items()]
    line = f"{name}({', '.join(arguments)})"
    return line if len(line) <= WIDE and "\n" not in line else f"{name}(\n{_below(arguments)})"


def entries(name: str, values: Mapping[str, str]) -> str:
    """``name = {...}``, an entry a line; values are expressions."""
    return f"{name} = {{\n{_below([f'{literal(key)}: {value}' for key, value in values.items()])}}}"


def literal(value: object) -> str:
    """A value as one would write it."""
    if isinstance(value, Raw):
        return value
    if isinstance(value, tuple | list):
        inside = ", ".join(map(literal, value))
        if isinstance(value, list):
            return f"[{inside}]"
        return f"({inside},)" if len(value) == 1 else f"({inside})"
    if value == ROOT_OF_TWO:
        return "2**0.5"
    return (
        f'"{value}"' if isinstance(value, str) and not set(value) & set('"\\') and value.isprintable() else repr(value)
    )


def pixels(size: float, norm: str = "linf") -> Raw:
    """A radius: of linf ``8 / 255`` where it is that, the number itself otherwise."""
    levels = round(size * 255)
    whole = norm == "linf" and 0 < levels < 255 and levels / 255 == size
    return Raw(f"{levels} / 255" if whole else repr(float(size)))


def _import(module: str, names: list[str]) -> str:
    line = f"from {module} import {', '.join(names)}"
    return line if len(line) <= WIDE else f"from {module} import (\n{_below(names)})"


def _below(parts: Sequence[str]) -> str:
    return "".join(textwrap.indent(f"{part},\n", "    ") for part in parts)


def _as_sorted(name: str) -> tuple[bool, bool, str]:
    """Constants first, then classes, then functions: as formatters have it."""
    return (not name.isupper(), not name[0].isupper(), name)
