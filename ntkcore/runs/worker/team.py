"""Who computes the run of this process beside it: told by ``runs.scheduler``, shown on the Runs page.

::

    team.present = Team("tcp://10.0.0.1:8786", workers=2)       # in the worker process
    Job.team                                                     # the same in the app, as it was last told
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Team:
    """The workers of a scheduler, and the tiles that they were asked for.

    problem: why they cannot be asked. asked, ended: tiles; done: those that came back, by who computed them.
    """

    address: str
    problem: str = ""
    workers: int = 0
    asked: int = 0
    ended: int = 0
    done: Counter[str] = field(default_factory=Counter)

    def in_words(self) -> str:
        if self.problem:
            return f"{self.problem} This machine computes alone."
        who = f"{self.workers} worker{'' if self.workers == 1 else 's'} of {self.address}"
        done, open_ = self.done.total(), self.asked - self.ended
        return f"Computed by {who}: {done} tile{'' if done == 1 else 's'} done, {open_ or 'none'} on the way."

    def as_json(self) -> dict[str, Any]:
        return vars(self) | {"done": dict(self.done)}

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> "Team":
        return cls(**{**fields, "done": Counter(fields["done"])})


present: Team | None = None
"""Of the work that this process does now, or did last."""
