"""Whether a run may just begin, is asked for once or twice, or is refused: its cost beside what there is, in words.

Short work begins by itself. Above ``AUTOMATIC`` seconds the app shows a Run button; above ``LONG`` seconds or half of
the free memory whoever runs it is asked again, told the cost and what would be smaller; what is known not to fit into
the memory it may take is refused, with what would fit::

    demand = Demand.of(wanted, rates, store, allowance=worker.allowance)
    demand.fits, demand.heavy, demand.light
    demand.question(rates, store)            # "Nets of ...: about 13 h and 6.6 GB of memory. That is long. ..."
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from ntkcore import data
from ntkcore.analysis.leading import worthwhile
from ntkcore.errors import NTKError
from ntkcore.nets import FAMILIES
from ntkcore.runs import costs, memory, specs
from ntkcore.runs.costs import Estimate
from ntkcore.runs.device import devices
from ntkcore.runs.rates import Rates
from ntkcore.runs.stages import StageSpec
from ntkcore.runs.store import Store
from ntkcore.validation import Spec

AUTOMATIC = 20.0  # seconds; estimates are good to a factor of two, and what takes ten should just run
FEATURES = (500, 200, 100)  # that may be smaller choices
LONG = 600.0  # seconds from which on a run is asked for twice
SHARE = 0.5  # of the free memory, the same


@dataclass(frozen=True)
class Demand:
    """What several specs cost together; allowance: bytes that their process may hold; free: bytes free on the machine,
    beside what the process holds already."""

    specs: tuple[specs.StageSpec, ...]
    cost: Estimate
    allowance: float
    free: float

    @classmethod
    def of(
        cls, wanted: Sequence[StageSpec], rates: Rates, store: Store, allowance: float, most: float = 0.0
    ) -> "Demand":
        """most: bytes, where the work keeps to a bound of its own. Beside a GPU nothing is known not to fit: there the
        estimate, which is of the processor, says nothing of the memory."""
        allowance = float("inf") if "cuda" in devices() else allowance
        cost = sum(costs.estimate_all(wanted, rates, store), costs.NOTHING)
        return cls(tuple(wanted), Estimate(cost.seconds, most or cost.bytes), allowance, memory.available())

    @property
    def fits(self) -> bool:
        return self.cost.bytes <= self.allowance

    @property
    def heavy(self) -> bool:
        """Whether it has to be asked for twice."""
        return self._heavy(self.cost)

    @property
    def light(self) -> bool:
        """Whether it begins without being asked for."""
        return self.cost.seconds <= AUTOMATIC and not self.heavy

    def _heavy(self, cost: Estimate) -> bool:
        return cost.seconds > LONG or cost.bytes > min(SHARE * self.free, self.allowance)

    def question(self, rates: Rates, store: Store, advice: str = "") -> str:
        """What is said before it is asked for again; advice: instead of what would be smaller, where that is known."""
        reasons = []
        if self.cost.seconds > LONG:
            reasons.append("The machine is busy all that time")
        if self.cost.bytes > SHARE * self.free:
            reasons.append(f"that is more than half of the {amount(self.free)} that are free")
        why = " and ".join(reasons)
        less = f" {advice}" if advice else self._less(rates, store)
        return f"This takes {cost_in_words(self.cost)}. {why[:1].upper()}{why[1:]}.{less}"

    def refusal(self, rates: Rates, store: Store) -> str:
        """What is said of a run that does not fit."""
        need = f"This needs about {amount(self.cost.bytes)} of memory; {memory.may_take(self.allowance)}."
        return f"{need} It was not started.{self._less(rates, store)}"

    def _less(self, rates: Rates, store: Store) -> str:
        """What would be asked for once at most, each choice by itself."""
        found = [f"{words} ({cost_in_words(cost)})" for words, cost in self._smaller(rates, store)]
        if not found:
            return " Choose fewer images, smaller images, narrower nets or fewer architectures."
        return f" Smaller choices: {'; or '.join(found)}."

    def _smaller(self, rates: Rates, store: Store) -> Iterator[tuple[str, Estimate]]:
        """For each way to make it smaller, the first step along it that is not heavy; if there is none, the last one
        that takes much less."""
        for steps in (_fewer_features, _fewer_images, _smaller_images, _narrower_nets, _fewer_nets):
            last = None
            for words, smaller in steps(self.specs):
                cost = sum(costs.estimate_all(smaller, rates, store), costs.NOTHING)
                if self._heavy(cost) and (cost.seconds > self.cost.seconds / 2 or cost.bytes > self.allowance):
                    continue
                last = words, cost
                if not self._heavy(cost):
                    break
            if last is not None:
                yield last


def cost_in_words(cost: Estimate) -> str:
    return f"about {duration(cost.seconds)} and {amount(cost.bytes)} of memory"


def duration(seconds: float) -> str:
    """Seconds in words: "3 s", "2 min", "1.5 h"."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    if seconds < 5400:
        return f"{round(seconds / 60)} min"
    return f"{seconds / 3600:.1f} h" if seconds < 172800 else f"{seconds / 86400:.0f} days"


def amount(size: float) -> str:
    """Bytes in words."""
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{max(1, round(size / 1e6))} MB"


# -- what would be smaller: (words, specs) step by step ---------------------------------------------------------------

AnySpec = TypeVar("AnySpec", bound=Spec)
Steps = Iterator[tuple[str, list[specs.StageSpec]]]
Fields = dict[str, Any]


def _fewer_features(wanted: Sequence[specs.StageSpec]) -> Steps:
    for k in FEATURES:
        fewer = [_of_leading(spec, k) for spec in wanted]
        if fewer != list(wanted):
            yield f"the {k} leading features", fewer


def _of_leading(spec: AnySpec, k: int) -> AnySpec:
    """From the k leading eigenpairs, as far as it is made of more, and these of so many images that it is worth it."""
    own = dict(spec)
    changes: Fields = {name: _of_leading(value, k) for name, value in own.items() if isinstance(value, Spec)}
    if isinstance(spec, specs.StageSpec) and "leading" in own:
        n = specs.experiment_of(spec).data.n_train
        if worthwhile(n, k) and k < (own["leading"] or n):
            changes["leading"] = k
    return spec.replace(**changes) if changes else spec


def _fewer_images(wanted: Sequence[specs.StageSpec]) -> Steps:
    def fewer(most: int, fields: Fields) -> Fields:
        return fields | {"n_train": min(fields["n_train"], most)} if "n_train" in fields and "classes" in fields else {}

    for most in _round_numbers(max(spec.n_train for spec in _data_of(wanted)), 50):
        yield from _changed(f"{most} training images", wanted, partial(fewer, most))


def _smaller_images(wanted: Sequence[specs.StageSpec]) -> Steps:
    def resized(size: int, fields: Fields) -> Fields:
        return fields | {"size": size} if "n_train" in fields else {}

    spec = next(iter(_data_of(wanted)))
    side = max(data.image_shape(spec)[1:])
    for size in sorted((size for size in data.info(spec).sizes if 7 <= size < side), reverse=True):
        yield from _changed(f"images of {size}x{size} pixels", wanted, partial(resized, size))


def _narrower_nets(wanted: Sequence[specs.StageSpec]) -> Steps:
    def narrower(most: int, fields: Fields) -> Fields:
        return fields | {"width": min(fields["width"], most)} if "width" in fields else {}

    parts = (part for spec in wanted for part in _parts(spec.model_dump(mode="json")))
    widths = [part["width"] for part in parts if "width" in part]
    for most in _round_numbers(max(widths, default=0), 8):
        yield from _changed(f"nets of width {most}", wanted, partial(narrower, most))


def _fewer_nets(wanted: Sequence[specs.StageSpec]) -> Steps:
    """Without the nets of largest covariances, one after the other, as long as two are left."""
    nets = {spec: _nets(spec) for spec in wanted}
    order = list(FAMILIES)
    every = sorted({net for found in nets.values() for net in found}, key=lambda n: (order.index(n.family), n.depth))
    left_out: list[specs.NetSpec] = []
    while len(every) > 2:
        left_out.append(every.pop())
        *names, last = sorted(str(net.build()) for net in left_out)
        told = f"{', '.join(names)} and {last}" if names else last
        yield f"without {told}", [spec for spec, found in nets.items() if found.isdisjoint(left_out)]


def _changed(words: str, wanted: Sequence[specs.StageSpec], change: Callable[[Fields], Fields]) -> Steps:
    """All specs with ``change`` made to each part of their fields that it answers for; none where that fits nowhere."""
    try:
        yield words, [specs.parse(spec.stage, _replaced(spec.model_dump(mode="json"), change)) for spec in wanted]
    except NTKError:
        return


def _replaced(value: Any, change: Callable[[Fields], Fields]) -> Any:
    if isinstance(value, dict):
        inner = {name: _replaced(part, change) for name, part in value.items()}
        return change(inner) or inner
    return [_replaced(part, change) for part in value] if isinstance(value, list) else value


def _parts(value: Any) -> Iterator[Fields]:
    if isinstance(value, dict):
        yield value
        value = list(value.values())
    if isinstance(value, list):
        for part in value:
            yield from _parts(part)


def _data_of(wanted: Sequence[specs.StageSpec]) -> list[data.DataSpec]:
    return [specs.experiment_of(spec).data for spec in wanted]


def _nets(spec: specs.StageSpec) -> frozenset[specs.NetSpec]:
    return frozenset(
        specs.NetSpec.model_validate(part["net"])
        for part in _parts(spec.model_dump(mode="json"))
        if "family" in (part.get("net") or {})
    )


def _round_numbers(below: int, least: int) -> list[int]:
    """1, 2 and 5 times powers of ten, downwards."""
    found = (base * 10**power for power in range(6, -1, -1) for base in (5, 2, 1))
    return [number for number in found if least <= number < below]
