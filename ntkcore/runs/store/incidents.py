"""Artifacts that were found damaged: what was wrong, when, and where they are now.

::

    judge(folder, "kernel", key)        # "arrays.safetensors is missing"; empty when nothing is wrong
    str(incident)                       # "kernel/3f... is damaged: arrays.safetensors is missing. It was set aside ..."
"""

import json
from dataclasses import dataclass
from pathlib import Path

from ntkcore.runs.store import cachedir
from ntkcore.runs.store.artifact import Broken, read


@dataclass(frozen=True)
class Incident:
    """An artifact that was found broken: what was wrong, when (seconds since the epoch), where it is now."""

    stage: str
    key: str
    reason: str
    when: float
    path: str

    def __str__(self) -> str:
        moved = Path(self.path).parent.name == cachedir.BROKEN
        how = "is damaged" if moved else "cannot be used"
        what = "was set aside and is computed again when it is needed" if moved else "cannot be moved and stays there"
        return f"{self.stage}/{self.key} {how}: {self.reason}. It {what}."


@dataclass(frozen=True)
class Report:
    """Outcome of ``Store.verify``: artifacts read, their bytes, and those that were found broken."""

    checked: int
    bytes: int
    broken: tuple[Incident, ...]

    @property
    def ok(self) -> bool:
        return not self.broken


def read_incident(aside: Path) -> Incident | None:
    """What the folder of something set aside tells; None when it is being removed.

    A record that is damaged itself costs the reason alone: the rest stands in the folder's name.
    """
    stage, key, when = cachedir.name_of_aside(aside)
    try:
        record = json.loads((aside / cachedir.INCIDENT).read_bytes())
        reason = record["reason"]
        if not isinstance(reason, str):
            raise TypeError
    except OSError:
        return None
    except (ValueError, TypeError, KeyError, RecursionError):
        reason = "the record of what was wrong is damaged too"
    return Incident(stage, key, " ".join(reason.split())[:300], when, str(aside))


def judge(folder: Path, stage: str, key: str) -> str:
    """What is wrong with the artifact in ``folder``; empty when nothing is."""
    try:
        read(folder, stage, key).arrays.verify()
    except FileNotFoundError as error:
        return f"{Path(error.filename).name} is missing"
    except OSError as error:
        return f"it cannot be read ({error.strerror})"
    except Broken as error:
        return str(error)
    return ""
