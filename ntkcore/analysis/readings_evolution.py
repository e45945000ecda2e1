"""The kernel's evolution read aloud: who becomes lazy, who concentrates, who is robust, with the run's own numbers.

The paper's claim (Tsilivis & Kempe 2022, section 5): under adversarial training the kernel becomes lazy much earlier,
and its mass moves into the top eigenspaces much more, than under standard training. Where the numbers do not show it,
the sentence says so; a verdict compares numbers as they are shown. Regimes are named as given, and all others are
compared with "standard"::

    read_lazy({"FGSM": [4, 5, 4], "standard": [11]}, share=0.1, epochs=20)   # "Velocity stays below 10 % of its ..."
    read_concentration({"FGSM": concentration(values), "standard": ...}, epochs=20)
    read_frozen([Frozen(5, 0.6, 0.3, 0.99)], whole=Frozen(20, 0.62, 0.31, 0.99))
"""

from collections.abc import Callable, Mapping, Sequence
from math import inf, isfinite
from statistics import median_low
from typing import NamedTuple

from ntkcore.analysis.evolution import TOP, Concentration
from ntkcore.analysis.words import percent

BASE = "standard"
ADVERSARIAL = {"FGSM", "PGD"}
NEAR = 1.0  # points of accuracy: a frozen net this close to the whole run, or better, is as robust
UNDERFIT = 5.0  # points: a frozen net that fits its training images this much worse than the whole run is underfit


class Frozen(NamedTuple):
    """Shares right of a net whose kernel is frozen from ``epoch`` on: clean, under attack, on its training images."""

    epoch: int
    clean: float
    attacked: float
    train: float


# -- lazy --------------------------------------------------------------------------------------------------------


def read_lazy(regimes: Mapping[str, Sequence[int | None]], share: float, epochs: int) -> str:
    """From which epoch on the kernel is slow: regimes -> ``lazy_epoch`` of each seed, None where not within the run.

    Of several seeds the (lower) median is told, and all of them. ``share`` of the first velocity counts as slow.
    """
    lazy = {name: [inf if t is None else t for t in seeds] for name, seeds in regimes.items() if len(seeds)}
    if not lazy:
        return "No velocity is known yet: a kernel of at least two epochs is needed."
    parts = [f"{_since(seeds, epochs)} under {name} training{_spread(seeds)}" for name, seeds in lazy.items()]
    words = f"Velocity stays below {percent(share)} of its first value {', '.join(parts)}."

    def verdict(name: str) -> str:
        one, base = lazy[name], lazy[BASE]
        mine, other = median_low(one), median_low(base)
        if mine == other == inf:
            return "Whether the kernel becomes lazy earlier under {} cannot be told: it does not within this run."
        if mine == other:
            return "The kernel does not become lazy earlier under {}, but at the same epoch as under standard training."
        if mine > other:
            return "The kernel does not become lazy earlier under {}, but later than under standard training."
        seeds = ", though not for all seeds" if max(one) >= min(base) else ""
        return f"The kernel becomes lazy earlier under {{}} than under standard training{seeds}."

    return words + _verdicts(lazy, verdict)


def _since(seeds: Sequence[float], epochs: int) -> str:
    middle = median_low(seeds)
    return f"at no point of {_epochs(epochs)}" if middle == inf else f"from epoch {middle} on"


def _spread(seeds: Sequence[float]) -> str:
    """`` (4, 5, never over seeds)``, when there are several."""
    if len(seeds) == 1:
        return ""
    if len(set(seeds)) == 1:
        return f" (all {len(seeds)} seeds)"
    return f" ({', '.join('never' if t == inf else str(t) for t in seeds)} over seeds)"


def read_late_velocity(regimes: Mapping[str, float]) -> str:
    """How fast the kernel still moves: regime -> ``late_velocity``, mean over seeds."""
    late = {name: float(f"{v:.2g}") for name, v in regimes.items() if isfinite(v)}
    if not late:
        return "No velocity of the second half of training is known yet."
    told = [f"{v:.2g} under {name} training" for name, v in late.items()]
    words = f"Over the second half of training the kernel moves by {_listed(told)} per epoch (1 - similarity)."

    def verdict(name: str) -> str:
        if late[name] == late[BASE]:
            return "It is as fast under {} as under standard training."
        if late[name] > late[BASE]:
            return "It is not slower under {}, but faster than under standard training."
        return "It is slower under {} than under standard training."

    return words + _verdicts(late, verdict)


# -- concentration -----------------------------------------------------------------------------------------------


def read_concentration(regimes: Mapping[str, Concentration], epochs: int, top: int = TOP) -> str:
    """Whether the kernel of the last epoch sits in few directions: regime -> ``concentration``, means over seeds.

    More concentrated is a larger share, a smaller rank and a larger mass; where these disagree, it is said which.
    """
    known = {n: c for n, c in regimes.items() if all(map(isfinite, (c.mass, c.share, c.rank)))}
    if not known:
        return "No kernel's spectrum is known yet."
    shares = [f"{c.share:.2f} of the trace under {n} training" for n, c in known.items()]
    shares = [shares[0], *(words.replace(" of the trace", "") for words in shares[1:])]
    ranks, rests = [_rank(c.rank) for c in known.values()], [f"{1 - c.mass:.2g}" for c in known.values()]
    versus = " against ".join if len(known) == 2 else _listed
    words = (
        f"After {_epochs(epochs)} the {top} largest eigenvalues hold {_listed(shares)} "
        f"(effective rank {versus(ranks)}; of the sum of squared eigenvalues they leave {versus(rests)})."
    )

    def verdict(name: str) -> str:
        one, base = known[name], known[BASE]
        signs = {
            "share": _sign(f"{one.share:.2f}", f"{base.share:.2f}"),
            "effective rank": _sign(_rank(base.rank), _rank(one.rank)),
            "mass of squares": _sign(f"{1 - base.mass:.2g}", f"{1 - one.mass:.2g}"),
        }
        more, less = ([m for m, sign in signs.items() if sign == way] for way in (1, -1))
        if more and less:
            return (
                "The measures disagree on whether {} concentrates the kernel more than standard training: "
                f"by {_listed(more)} it does, by {_listed(less)} it does the opposite."
            )
        if more:
            return "The kernel is more concentrated under {} than under standard training."
        if less:
            return "The kernel is not more concentrated under {}, but less than under standard training."
        return "The kernel is as concentrated under {} as under standard training."

    return words + _verdicts(known, verdict)


def _rank(rank: float) -> str:
    return f"{rank:.0f}" if rank >= 9.95 else f"{rank:.1f}"


def _sign(one: str, other: str) -> int:
    """1, 0 or -1 as the first of two shown numbers is larger, the same or smaller."""
    return (float(one) > float(other)) - (float(one) < float(other))


# -- accuracy ----------------------------------------------------------------------------------------------------


def read_accuracy(regimes: Mapping[str, tuple[float, float]], attack: str = "attack") -> str:
    """What each regime's net gets right after its last epoch: regime -> (clean, attacked), shares, means over seeds."""
    known = {n: (clean, hit) for n, (clean, hit) in regimes.items() if isfinite(clean) and isfinite(hit)}
    if not known:
        return "No accuracy is known yet."
    told = [f"{percent(clean)} and {percent(hit)} after {n} training" for n, (clean, hit) in known.items()]
    words = f"Accuracy at the last epoch, clean and under {attack}: {', '.join(told)}."

    def verdict(name: str) -> str:
        (clean, hit), (base_clean, base_hit) = known[name], known[BASE]
        gain, cost = round(100 * (hit - base_hit), 1), round(100 * (base_clean - clean), 1)
        if gain <= 0:
            change = f"it loses {_points(-gain)}" if gain else "the numbers are the same"
            return f"Here {name} training does not make the net more robust: under {attack} {change}."
        price = f"costs {_points(cost)} clean" if cost > 0 else "costs nothing clean"
        return f"{name} training gains {_points(gain)} under {attack} over standard training and {price}."

    return words + _verdicts(known, verdict)


def read_frozen(frozen: Sequence[Frozen], whole: Frozen) -> str:
    """Whether the kernel of an early epoch is enough: nets frozen at some epochs beside the whole run.

    frozen: (epoch, clean, attacked, train accuracy) of nets trained on with the kernel of that epoch; whole: the same
    of the run without freezing, at its last epoch. Robust is judged on ``attacked``; a frozen net that fits its
    training images less than the whole run (by UNDERFIT) looks robust for the wrong reason and is not counted.
    """
    rows, whole = sorted(Frozen(*row) for row in frozen), Frozen(*whole)
    rows = [row for row in rows if all(map(isfinite, row))]
    if not rows or not all(map(isfinite, whole)):
        return "No frozen net can be compared with the whole run yet."
    told = [f"{percent(row.attacked)} at epoch {row.epoch} ({_beside(row)})" for row in rows]
    words = (
        f"Frozen, the net gets right under attack: {_listed(told)}. "
        f"The whole run of {_epochs(whole.epoch)} gets {percent(whole.attacked)} ({_beside(whole)})."
    )
    lacks = {row: round(100 * (whole.attacked - row.attacked), 1) for row in rows}  # points under attack
    fit = [row for row in rows if round(100 * (whole.train - row.train), 1) <= UNDERFIT]
    near = [row for row in fit if lacks[row] <= NEAR]
    steady = [row for row in near if all(later in near for later in fit if later.epoch > row.epoch)]
    if steady:
        words += f" From epoch {steady[0].epoch} on the frozen net is as robust as the whole run to {_points(NEAR)}"
        gain = -min(lacks[row] for row in steady)
        words += f"; the best is more robust by {_points(gain)}." if gain > NEAR else "."
    elif near:
        words += f" Frozen at {_at(near)} it is as robust as the whole run, frozen at {_at(fit[-1:])} it is not."
    elif fit:
        words += f" No frozen net is as robust as the whole run; the best lacks {_points(min(map(lacks.get, fit)))}."
    if len(fit) < len(rows):
        words += f" Frozen at {_at([row for row in rows if row not in fit])} the net is underfit: it does not count."
    return words


def _beside(row: Frozen) -> str:
    return f"{percent(row.clean)} clean, {percent(row.train)} of the training images"


def _at(rows: Sequence[Frozen]) -> str:
    return f"epoch{'s' * (len(rows) > 1)} {_listed([str(row.epoch) for row in rows])}"


# -- words -------------------------------------------------------------------------------------------------------


def _verdicts(regimes: Mapping[str, object], verdict: Callable[[str], str]) -> str:
    """One sentence for all regimes of one verdict, " ..."; empty when there is nothing to compare.

    A verdict is a sentence with {} for the training, or one of its own without.
    """
    others = [name for name in regimes if name != BASE] if BASE in regimes else []
    grouped: dict[str, list[str]] = {}
    for name in others:
        grouped.setdefault(verdict(name), []).append(name)
    return "".join(f" {words.replace('{}', _training(names, others))}" for words, names in grouped.items())


def _training(names: Sequence[str], others: Sequence[str]) -> str:
    """``"FGSM and PGD training"``, or ``"adversarial training"`` when that is all there is."""
    adversarial = list(names) == list(others) and set(names) <= ADVERSARIAL
    return f"{'adversarial' if adversarial else _listed(names)} training"


def _listed(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def _epochs(count: int) -> str:
    return f"{count} epoch{'s' * (count != 1)}"


def _points(value: float) -> str:
    """``"1 point"``, ``"28.5 points"`` of accuracy."""
    text = f"{value:.0f}" if value == round(value) else f"{value:.1f}"
    return f"{text} point{'s' * (text != '1')}"
