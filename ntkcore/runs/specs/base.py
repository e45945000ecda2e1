"""What every spec has: a canonical JSON text and a key; what every stage's spec has: a stage's name and a version.

A key covers all fields, defaults too, and the stage's name and integer version::

    key(SpectrumSpec())                         # 32 hex digits: names the artifact
"""

import hashlib
import json
from typing import ClassVar

from ntkcore.validation import Spec


class StageSpec(Spec):
    """A description of one stage's result. ``stage`` and ``version`` are part of its key."""

    stage: ClassVar[str]
    version: ClassVar[int]


def canonical(spec: Spec) -> str:
    """The one JSON text of a spec: all fields, sorted, no white space."""
    return json.dumps(spec.model_dump(mode="json"), sort_keys=True, separators=(",", ":"), allow_nan=False)


def key(spec: StageSpec) -> str:
    """Name of the artifact: the first 32 hex digits of the SHA-256 of stage, version and canonical JSON."""
    text = f"{spec.stage}\n{spec.version}\n{canonical(spec)}"
    return hashlib.sha256(text.encode()).hexdigest()[:32]
