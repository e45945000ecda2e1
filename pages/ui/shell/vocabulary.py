"""The options of the sidebar and of pages, as controls and links have them in plain words.

What the session and the specs know by a short name is written by these words, in lists and in the address; links take
the short name, too::

    in_words("norm", "l2")          # "ℓ2 of all pixels"
    in_words("net", "FC")           # "FC": it has no other
"""

from collections.abc import Mapping

from ntkcore import data
from ntkcore.runs.specs import ALL_UP_TO, LEADING

OPTIONS: Mapping[str, Mapping[str, str]] = {
    "data": {**{name: source.title for name, source in data.SOURCES.items()}, "own": "Your own images"},
    "order": {"balanced": "as many of each class", "own": "the first of the set"},
    "act": {"relu": "ReLU"},
    "kind": {"ntk": "NTK", "nngp": "NNGP", "empirical": "of a trained net"},
    "inputs": {"raw": "as they are", "centre": "centred", "standardise": "standardised"},
    "precision": {"float64": "double", "float32": "single"},
    "leading": {"usual": f"all; {LEADING} if n > {ALL_UP_TO:,}"},
    "norm": {"linf": "ℓ∞ of each pixel", "l2": "ℓ2 of all pixels"},
    "form": {"ntk": "NTK"},
    "init": {"he": "He et al. 2015", "torch": "PyTorch's own"},
    "loss": {"cross_entropy": "cross-entropy", "squared": "squared error"},
}


def in_words(control: str, option: object) -> str:
    """An option of the control with that key, as it is shown and stands in links."""
    words = OPTIONS.get(control, {})
    return words.get(option, str(option)) if isinstance(option, str) else str(option)
