"""The kernel's evolution read aloud: who becomes lazy, who concentrates, who is robust, with the run's own numbers.

The paper's claim (Tsilivis & Kempe 2022, section 5): under adversarial training the kernel becomes lazy much earlier,
and its mass moves into the top eigenspaces much more, than under standard training. Each part of it *holds*, *does not
hold here*, or *cannot tell*, by an interval or a test over seeds (``ntkcore.analysis.evolution.seed_tests``); the whole
holds when all parts do. Nothing is rounded before it is compared, and fewer than three seeds tell nothing of a
training. Regimes are named as given, and all others are compared with "standard"; of each there is a value a seed,
[S]::

    read_lazy({"FGSM": [4, 5, 4], "standard": [11, 9, inf]}, share=0.1, epochs=20)    # "Velocity stays below 10 % ..."
    read_concentration({"FGSM": [concentration(values), ...], "standard": ...}, epochs=20)
    read_frozen([Frozen(5, clean, attacked, train)], whole=Frozen(20, ...))           # [S, m] bool each
"""

from collections.abc import Callable, Mapping, Sequence, Sized
from math import inf
from typing import NamedTuple, TypeVar

import numpy as np

from ntkcore.analysis.evolution.motion import TOP, Concentration
from ntkcore.analysis.evolution.seed_tests import (
    FEWEST,
    HOLDS,
    IN_PART,
    NOT_HERE,
    UNKNOWN,
    Change,
    difference,
    earlier,
    gain,
    ratio,
    together,
)
from ntkcore.readings.words import percent, signed, within

BASE = "standard"
UNDERFIT = 5.0  # points: a frozen net that fits its training images this much worse than the whole run is underfit
RUNS = 3  # pieces of a range of thresholds that a sentence lists

BySeed = Mapping[str, Sequence[float]]  # regime -> a number a seed, nan where it is not known
Verdict = tuple[str, str]  # HOLDS and the like, and the numbers behind it in words
Value = TypeVar("Value")  # of one seed


class Calmed(NamedTuple):
    """Whether an adversarial training calms the kernel more than standard training: the whole, and each part by its
    name, a verdict and the numbers behind it."""

    verdict: str
    parts: dict[str, Verdict]


class Frozen(NamedTuple):
    """Which images a net whose kernel is frozen from ``epoch`` on gets right: test images clean and under attack
    [S, m], training images [S, n], bool."""

    epoch: int
    clean: np.ndarray
    attacked: np.ndarray
    train: np.ndarray


# -- the claim -----------------------------------------------------------------------------------------------------


def judge_calm(
    name: str, lazy: BySeed, late: BySeed, gathered: Mapping[str, Sequence[Concentration | None]], share: float
) -> Calmed:
    """Of the training ``name`` beside the standard one: arguments as of the sentences below."""
    parts = {
        f"lazy earlier, below {percent(share)}": _lazy(lazy[name], lazy[BASE]),
        "slower late in training": _late(late[name], late[BASE]),
        "more concentrated": _gathered(gathered[name], gathered[BASE]),
    }
    return Calmed(together([verdict for verdict, _ in parts.values()]), parts)


def read_claim(lazy: BySeed, late: BySeed, gathered: Mapping[str, Sequence[Concentration | None]], share: float) -> str:
    """The page's answer, a sentence a training: arguments as of the sentences below. Empty without a partner."""

    def answer(name: str) -> str:
        whole, parts = judge_calm(name, lazy, late, gathered, share)
        told = "; ".join(f"{part}: {verdict}" for part, (verdict, _) in parts.items())
        seeds = len(lazy[name])
        few = f"; {_seeds(seeds)} cannot tell, {FEWEST} may" if seeds < FEWEST else f"; {_seeds(seeds)}"
        return f"{name} training calms the kernel more than standard training does: **{whole}** ({told}{few})."

    return _compared(lazy, answer).strip()


# -- lazy ----------------------------------------------------------------------------------------------------------


def read_lazy(regimes: BySeed, share: float, epochs: int) -> str:
    """From which epoch on the kernel is slow: regimes -> ``lazy_epoch`` of each seed, inf where not within the run.

    The median seed's epoch is told, and all of them. ``share`` of the first velocity is slow.
    """
    lazy = {name: known for name, seeds in regimes.items() if len(known := _known(seeds))}
    if not lazy:
        return "No velocity is known yet: a kernel of at least two epochs is needed."
    parts = [f"{_since(seeds, epochs)} under {name} training{_spread(seeds)}" for name, seeds in lazy.items()]
    words = f"Velocity stays below {percent(share)} of its first value {', '.join(parts)}."
    return words + _judged("The kernel becomes lazy earlier", lazy, regimes, _lazy)


def _lazy(one: Sequence[float], base: Sequence[float]) -> Verdict:
    a, b = np.asarray(one, dtype=float), np.asarray(base, dtype=float)
    known = ~(np.isnan(a) | np.isnan(b))
    a, b = a[known], b[known]
    counts = {
        "earlier": int((a < b).sum()),
        "later": int((a > b).sum()),
        "at the same epoch": int(((a == b) & (a < inf)).sum()),
        "at no point of either run": int(((a == b) & (a == inf)).sum()),
    }
    if len(a) == 1:
        return (
            UNKNOWN,
            f"as one seed gives one epoch a training (here {next(how for how, count in counts.items() if count)})",
        )
    told = " and ".join(f"{how} for {count} of {len(a)} seeds" for how, count in counts.items() if count)
    if len(a) < FEWEST:
        return UNKNOWN, f"{told}, which are too few"
    way = earlier(a, b)
    test = "by an exact rank test at 5 %" if way else "not enough for an exact rank test at 5 %"
    return {1: HOLDS, -1: NOT_HERE, 0: UNKNOWN}[way], f"{told}, {test}"


def median_seed(seeds: Sequence[float] | np.ndarray) -> float:
    """The epoch by which at least half of the seeds are lazy, inf when that is not within the run: the lower median."""
    known = np.sort(_known(seeds))
    return float(known[(len(known) - 1) // 2]) if len(known) else inf


def _since(seeds: np.ndarray, epochs: int) -> str:
    middle = median_seed(seeds)
    return f"at no point of {_epochs(epochs)}" if middle == inf else f"from epoch {middle:.0f} on"


def _spread(seeds: np.ndarray) -> str:
    """`` (median of 4, 5, never)``, when there are several."""
    if len(seeds) == 1:
        return ""
    if len(set(seeds.tolist())) == 1:
        return f" (all {len(seeds)} seeds)"
    return f" (median of {', '.join('never' if t == inf else f'{t:.0f}' for t in seeds)})"


def read_thresholds(regimes: Mapping[str, np.ndarray], thresholds: Sequence[float]) -> str:
    """Whether the order of the trainings hangs on what is called lazy: regimes -> lazy epochs [S, K] at K thresholds.

    An order is told where all seeds have it.
    """
    t = np.asarray(thresholds, dtype=float)

    def verdict(name: str) -> str:
        one, base = np.asarray(regimes[name], dtype=float), np.asarray(regimes[BASE], dtype=float)
        before, after = (one < base).all(0), (one > base).all(0)  # [K]: over seeds
        never = ((one == inf) & (base == inf)).all(0)
        rest = ~(before | after | never)
        seeds = len(one)
        whom = f" for all {seeds} seeds" if seeds > 1 else ""
        parts = {
            f"earlier{whom}": before,
            f"later{whom}": after,
            "in an order that depends on the seed" if seeds > 1 else "at the same epoch": rest,
            "never in either": never,
        }
        told = [f"{words} at {_runs(mask, t)}" for words, mask in parts.items() if mask.any()]
        if before.any() and after.any():
            order = "The order of the two depends on the threshold"
        elif before.all() or after.all():
            order = "The order of the two does not depend on the threshold"
        elif before.any() or after.any():
            some = f"at {(before | after).sum()} of {len(t)} thresholds"
            order = (
                f"All seeds agree {some}, on one order" if seeds > 1 else f"There is an order {some}, always the same"
            )
        else:
            order = f"At no threshold is there an order{' that all seeds agree on' if seeds > 1 else ''}"
        of = f"{name} against standard training, {'one seed' if seeds == 1 else _seeds(seeds)}"
        return f"Lazy by the threshold, {of}: {'; '.join(told)}. {order}."

    return _compared({name: lazy for name, lazy in regimes.items() if len(lazy)}, verdict).strip()


def _runs(mask: np.ndarray, thresholds: np.ndarray) -> str:
    """``"4 to 22 %, 25 %"``: where the mask is set."""
    edges = np.flatnonzero(np.diff(np.r_[False, mask, False]))
    pieces = [(thresholds[a], thresholds[b - 1]) for a, b in edges.reshape(-1, 2)]
    if len(pieces) > RUNS:
        return f"{mask.sum()} of {len(mask)} thresholds between {percent(pieces[0][0])} and {percent(pieces[-1][1])}"
    return ", ".join(percent(a) if a == b else f"{percent(a).removesuffix(' %')} to {percent(b)}" for a, b in pieces)


def read_late_velocity(regimes: BySeed) -> str:
    """How fast the kernel still moves: regime -> ``late_velocity`` of each seed."""
    late = {name: known for name, seeds in regimes.items() if len(known := _known(seeds))}
    if not late:
        return "No velocity of the second half of training is known yet."
    told = [f"{v.mean():.2g} under {name} training" for name, v in late.items()]
    words = (
        f"Over the second half of training the kernel moves by {_listed(told)} per epoch "
        f"(1 − similarity{_mean_of(late)})."
    )
    return words + _judged("It is slower", late, regimes, _late)


def _late(one: Sequence[float], base: Sequence[float]) -> Verdict:
    change = ratio(one, base)
    if np.isnan(change.value):
        return UNKNOWN, "in no seed do both kernels move"
    return {-1: HOLDS, 1: NOT_HERE, 0: UNKNOWN}[change.way], _by(change, "times as fast")


# -- concentration -------------------------------------------------------------------------------------------------


def read_concentration(regimes: Mapping[str, Sequence[Concentration | None]], epochs: int, top: int = TOP) -> str:
    """Whether the kernel of the last epoch sits in few directions: regime -> ``concentration`` of each seed.

    More concentrated is a larger share, a smaller rank and less left of the squares: it holds where all say so, in part
    where some do, and does not where all say the opposite.
    """
    known = {name: rows for name, seeds in regimes.items() if len(rows := [c for c in seeds if c is not None])}
    if not known:
        return "No kernel's spectrum is known yet."
    mean = {name: Concentration(*np.mean([(c.mass, c.share, c.rank) for c in rows], 0)) for name, rows in known.items()}
    shares = [f"{percent(c.share)} of the trace under {n} training" for n, c in mean.items()]
    shares = [shares[0], *(words.replace(" of the trace", "") for words in shares[1:])]
    ranks, rests = [f"{c.rank:.1f}" for c in mean.values()], [f"{1 - c.mass:.2g}" for c in mean.values()]
    versus = " against ".join if len(mean) == 2 else _listed
    words = (
        f"After {_epochs(epochs)} the {top} largest eigenvalues hold {_listed(shares)} "
        f"(effective rank {versus(ranks)}; of the sum of squared eigenvalues they leave {versus(rests)}"
        f"{_mean_of(known)})."
    )
    return words + _judged("The kernel is more concentrated", known, regimes, _gathered)


def _gathered(one: Sequence[Concentration | None], base: Sequence[Concentration | None]) -> Verdict:
    def pair(measure: Callable[[Concentration], float]) -> list[list[float]]:
        return [[np.nan if c is None else measure(c) for c in seeds] for seeds in (one, base)]

    measures = [
        (difference(*pair(lambda c: 100 * c.share)), 1, "points of the trace more", ".1f"),
        (ratio(*pair(lambda c: c.rank)), -1, "times the effective rank", ".2f"),
        (ratio(*pair(lambda c: 1 - c.mass)), -1, "times what is left of the squares", ".2f"),
    ]
    signs = {change.way * sense for change, sense, _, _ in measures if change.seeds}
    told = [_with_interval(change, number) + f" {words}" for change, _, words, number in measures if change.seeds]
    seeds = measures[0][0].seeds
    verdict = {(1,): HOLDS, (-1,): NOT_HERE, (0,): UNKNOWN, (-1, 0): UNKNOWN}.get(tuple(sorted(signs)), IN_PART)
    return verdict, f"{_listed(told)} ({_over(seeds)})"


# -- accuracy ------------------------------------------------------------------------------------------------------


def read_accuracy(regimes: Mapping[str, tuple[np.ndarray, np.ndarray]], attack: str = "attack") -> str:
    """What each regime's nets get right after the last epoch: regime -> (clean, attacked), [S, m] bool each."""
    known = {name: (clean, hit) for name, (clean, hit) in regimes.items() if np.size(clean) and np.size(hit)}
    if not known:
        return "No accuracy is known yet."
    told = [
        f"{percent(np.mean(clean))} and {percent(np.mean(hit))} after {n} training" for n, (clean, hit) in known.items()
    ]
    words = f"Accuracy at the last epoch, clean and under {attack}: {', '.join(told)}."

    def verdict(name: str) -> str:
        (clean, hit), (base_clean, base_hit) = known[name], known[BASE]
        robust, cost = gain(hit, base_hit), gain(clean, base_clean)
        holds = {1: HOLDS, -1: NOT_HERE, 0: UNKNOWN}[robust.way]
        same = "" if cost.way or cost.seeds < FEWEST else ", which cannot be told from none"
        more, price = (_with_interval(change, "+.1f") for change in (robust, cost))
        return (
            f"{name} training makes the net more robust: {holds}, {more} points under {attack}, and {price} points "
            f"clean{same} ({_over(*np.shape(hit))})."
        )

    return words + _compared(known, verdict)


def read_frozen(frozen: Sequence[Frozen], whole: Frozen) -> str:
    """Whether the kernel of an early epoch is enough: nets frozen at some epochs beside the whole run.

    whole: the same of the runs without freezing, at their last epoch. Robust is judged on ``attacked``; a frozen net
    that fits its training images less than the whole run (by UNDERFIT) looks robust for the wrong reason and is not
    counted.
    """
    rows = [row for row in sorted(frozen, key=lambda row: row.epoch) if np.size(row.attacked)]
    if not rows or not np.size(whole.attacked):
        return "No frozen net can be compared with the whole run yet."
    told = [f"{percent(np.mean(row.attacked))} at epoch {row.epoch} ({_beside(row)})" for row in rows]
    words = (
        f"Frozen, the net gets right under attack: {_listed(told)}. "
        f"The whole run of {_epochs(whole.epoch)} gets {percent(np.mean(whole.attacked))} ({_beside(whole)})."
    )
    fit = [row for row in rows if 100 * (np.mean(whole.train) - np.mean(row.train)) <= UNDERFIT]
    changes = {row.epoch: gain(row.attacked, whole.attacked) for row in fit}
    if fit:
        beside = [f"{_with_interval(change, '+.1f')} points at epoch {epoch}" for epoch, change in changes.items()]
        words += f" Beside the whole run that is {_listed(beside)} ({_over(*np.shape(whole.attacked))})."
    groups = {-1: "it is less robust", 1: "it is more robust", 0: "a difference cannot be told"}
    for way, said in groups.items():
        epochs = [epoch for epoch, change in changes.items() if change.way == way]
        words += f" Frozen at {_at(epochs)} {said}." if epochs else ""
    unfit = [row.epoch for row in rows if row.epoch not in changes]
    if unfit:
        words += f" Frozen at {_at(unfit)} the net is underfit: it does not count."
    return words


def _beside(row: Frozen) -> str:
    return f"{percent(np.mean(row.clean))} clean, {percent(np.mean(row.train))} of the training images"


def _at(epochs: Sequence[int]) -> str:
    return f"epoch{'s' * (len(epochs) > 1)} {_listed([str(epoch) for epoch in epochs])}"


# -- words ---------------------------------------------------------------------------------------------------------


def _compared(regimes: Mapping[str, object], verdict: Callable[[str], str]) -> str:
    """A sentence for each training beside the standard one, " ..."; empty when there is nothing to compare."""
    others = [name for name in regimes if name != BASE] if BASE in regimes else []
    return "".join(f" {verdict(name)}" for name in others)


def _judged(
    claim: str,
    known: Mapping[str, object],
    regimes: Mapping[str, Sequence[Value]],
    judge: Callable[[Sequence[Value], Sequence[Value]], Verdict],
) -> str:
    """Whether a claim holds of each training of which something is known, beside the standard one."""

    def verdict(name: str) -> str:
        holds, why = judge(regimes[name], regimes[BASE])
        return f"{claim} under {name} training: {holds}, {why}."

    return _compared(known, verdict)


def _known(seeds: Sequence[float] | np.ndarray) -> np.ndarray:
    values = np.asarray(seeds, dtype=float)
    return values[~np.isnan(values)]


def _with_interval(change: Change, form: str) -> str:
    """``"0.65 [0.45, 0.95]"``, or without the interval where there is none."""
    if np.isnan(change.low):
        return signed(change.value, form)
    return within(change.value, change.low, change.high, form)


def _by(change: Change, words: str) -> str:
    return f"{_with_interval(change, '.2f')} {words} ({_over(change.seeds)})"


def _over(seeds: int, images: int = 0) -> str:
    """What an interval covers: ``"95 % intervals over 200 images and 3 seeds"``."""
    if images:
        return f"95 % intervals over {images} images" + (f" and {_seeds(seeds)}" if seeds > 1 else ", one seed")
    return f"95 % intervals over {_seeds(seeds)}" if seeds > 1 else "one seed, no interval"


def _mean_of(known: Mapping[str, Sized]) -> str:
    most = max(map(len, known.values()))
    return f"; means of {most} seeds" if most > 1 else ""


def _seeds(count: int) -> str:
    return f"{count} seed{'s' * (count != 1)}"


def _listed(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def _epochs(count: int) -> str:
    return f"{count} epoch{'s' * (count != 1)}"
