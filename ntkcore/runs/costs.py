"""What a run will cost, said before it starts: seconds and memory, from counted work and measured rates.

Each stage counts its own work (``StageSpec.cost``); what earlier runs of the same kind took beside their estimates
corrects its time (``experience``). Stages that are already in the store cost nothing::

    rates = calibrate(store.root)
    estimate(experiment.sweep(), rates, store)       # Estimate(seconds=5.2, bytes=3.1e8)
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from ntkcore.runs.experience import factors, kind
from ntkcore.runs.rates import Rates
from ntkcore.runs.stages import StageSpec, key
from ntkcore.runs.stages.sizes import LEAST_MEMORY, NOTHING, Estimate
from ntkcore.runs.store import Store

__all__ = ["NOTHING", "Estimate", "estimate", "estimate_all"]


def estimate(spec: StageSpec, rates: Rates, store: Store) -> Estimate:
    """Cost of ``spec`` and of every input that is not in the store yet."""
    return estimate_all([spec], rates, store)[0]


def estimate_all(wanted: Sequence[StageSpec], rates: Rates, store: Store) -> list[Estimate]:
    """What each of several specs adds when they are computed in this order: an input is counted once."""
    counted: set[str] = set()
    learned = factors(store.root, rates)

    def add(node: _Node) -> Estimate:
        if node.name in counted or store.has(node.stage, node.name):
            return NOTHING
        counted.add(node.name)
        own = Estimate(node.own.seconds * learned.get(node.kind, 1.0), max(node.own.bytes, LEAST_MEMORY))
        return sum(map(add, node.inputs), own)

    return [add(_node(spec, rates)) for spec in wanted]


@dataclass(frozen=True, eq=False)
class _Node:
    """A spec's place in the store, its kind of work, its own cost and its inputs."""

    stage: str
    name: str
    kind: str
    own: Estimate
    inputs: tuple["_Node", ...]


@lru_cache(16384)  # a page asks for the same again with every control that moves
def _node(spec: StageSpec, rates: Rates) -> _Node:
    inputs = tuple(_node(before, rates) for before in spec.reads())
    return _Node(spec.stage, key(spec), kind(spec, rates), spec.cost(rates), inputs)
