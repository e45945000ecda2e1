"""Pieces of the line that says a description in words, in which settings that have their default are not mentioned.

::

    data_in_words(DataSpec(), "raw")            # "Fashion-MNIST sample (bundled): T-shirt/top / Shirt, 1000 ..."
    unusual(spec, "ridge", "time")              # ["ridge 0.5"]
"""

from collections.abc import Mapping

from ntkcore.analysis.attacks.attack import Attack
from ntkcore.data import SOURCES, DataSpec
from ntkcore.validation import Spec


def unusual(spec: Spec, *names: str) -> list[str]:
    """The named fields (all by default) that the spec has and that do not have their default: "ridge 0.5"."""
    fields = type(spec).model_fields
    found = [name for name in names or fields if name in fields and getattr(spec, name) != fields[name].default]
    return [f"{name} {_value(getattr(spec, name))}" for name in found]


def _value(value: object) -> str:
    if isinstance(value, tuple):
        return " ".join(map(str, value))
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def data_in_words(data: DataSpec, inputs: str) -> str:
    """Images, classes and sizes, and the map through which a net sees them."""
    name = f"own {data.digest[:8]}" if data.digest else SOURCES[data.name].title
    classes = " / ".join(data.classes) if 0 < len(data.classes) <= 3 else f"{len(data.classes) or 'all'} classes"
    words = [f"{name}: {classes}", f"{data.n_train} training and {data.n_test} test images"]
    words += [f"{data.size}x{data.size} pixels"] if data.size else []
    words += draw_in_words(data)
    words += [] if inputs == "raw" else [f"inputs {inputs}d"]
    return ", ".join(words)


def draw_in_words(data: DataSpec) -> list[str]:
    """How the images were chosen, where that is not the usual way."""
    words = [] if data.seed is None else [f"draw {data.seed}"]
    return words + ([] if data.order == "balanced" else ["in the set's own order"])


def attack_in_words(attack: Attack) -> str:
    """An attack with all that changes it."""
    return f"{attack}, seed {attack.seed}" if attack.random_start and attack.seed else str(attack)


def balance_in_words(counts: Mapping[str, int]) -> str:
    """The test images of each class in words: "Test images: 58 of cat, 42 of dog."; empty where all have as many."""
    if len(set(counts.values())) == 1:
        return ""
    if len(counts) <= 3:
        each = [f"{count or 'none'} of {name}" for name, count in counts.items()]
        return f"Test images: {', '.join(each)}."
    present, lacking = set(filter(None, counts.values())), [name for name, count in counts.items() if not count]
    words = " to ".join(map(str, sorted({min(present), max(present)})))
    if lacking:
        words += f"; none of {' or '.join(lacking) if len(lacking) <= 3 else f'{len(lacking)} classes'}"
    return f"Test images of a class: {words}."
