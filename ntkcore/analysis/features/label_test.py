"""Do a feature's answers know the labels? An exact test of each feature, and what chance alone would give.

Null hypothesis: the answers on the m test images do not depend on their labels, so that any permutation of the labels
is as likely. An eigenfeature gives only two answers, u and v (the largest and the smallest entry of its readout), so
its number of right answers is then ``X + m_v - Y``: of the a images answered u, X have the label u and Y the label v,
multivariate hypergeometric. With two classes that is Fisher's exact one-sided test. Which features are called useful is
controlled by the false discovery rate (Benjamini & Hochberg 1995), and what the same procedure finds among permuted
labels is counted::

    p = p_values(answers, labels, right)             # [F]; answers [m, F], labels [m], right [F] counts
    useful(p, fdr=0.05)                              # [F] bool
    permuted(sweep).useful(0.05)                     # [P]: how many it calls useful when nothing is there to be found
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
import scipy

PERMUTATIONS = 200
REACH = 9  # standard deviations of a hypergeometric count that are looked at; beyond lies less than 1e-18
MODEST = 1.2  # times as often right as chance: a feature that one would not want to miss


def p_values(answers: np.ndarray, labels: np.ndarray, right: np.ndarray) -> np.ndarray:
    """P(at least as many right under permuted labels), exact: right [F] or [P, F] counts -> of the same shape.

    answers [m, F] and labels [m]: class numbers from 0; each feature gives at most two different answers.
    """
    right, m = np.asarray(right), len(labels)
    counts = np.bincount(labels, minlength=int(answers.max(initial=0)) + 1)
    first, second = answers.max(0), answers.min(0)
    of_first = (answers == first).sum(0)
    tails: dict[tuple[int, int, int], tuple[int, np.ndarray]] = {}
    found = np.empty(right.shape)
    for f in range(answers.shape[1]):
        a, u = int(of_first[f]), int(counts[first[f]])
        v = int(counts[second[f]]) if second[f] != first[f] else 0
        if (a, u, v) not in tails:
            tails[a, u, v] = _tail(m, u, v, a)
        lowest, tail = tails[a, u, v]
        found[..., f] = tail[np.clip(right[..., f] - lowest, 0, len(tail) - 1)]
    return found


def _tail(m: int, u: int, v: int, a: int) -> tuple[int, np.ndarray]:
    """``P(right >= lowest + i)`` for i = 0, 1, ...: a of m images are answered with a label that u of them have, the
    others with one that v have."""
    i, log_p = _hypergeometric(m, u, a)
    if u + v == m:
        right = 2 * i + v - a
    else:  # of the a, given i of label u, j have label v: again hypergeometric
        j, rest = _around(a * v / m, _deviation(m, v, a), 0, min(v, a)), m - u
        others = (a - i)[:, None]
        log_p = log_p[:, None] + _log_choose(v, j) + _log_choose(rest - v, others - j) - _log_choose(rest, others)
        right, log_p = (i[:, None] - j + v).ravel(), log_p.ravel()
    lowest = int(right.min())
    mass = np.bincount(right - lowest, np.exp(log_p))
    return lowest, np.append(np.minimum(mass[::-1].cumsum()[::-1], 1.0), 0.0)


def _hypergeometric(m: int, u: int, a: int) -> tuple[np.ndarray, np.ndarray]:
    """Likely numbers i of marked ones when a are drawn of m, u of them marked; and the logarithms of their chances."""
    i = _around(a * u / m, _deviation(m, u, a), max(0, a + u - m), min(u, a))
    return i, _log_choose(u, i) + _log_choose(m - u, a - i) - _log_choose(m, a)


def _deviation(m: int, u: int, a: int) -> float:
    return np.sqrt(a * (u / m) * (1 - u / m) * (m - a) / max(1, m - 1))


def _around(mean: float, deviation: float, low: int, high: int) -> np.ndarray:
    reach = REACH * deviation + 5
    return np.arange(max(low, int(mean - reach)), min(high, int(mean + reach) + 1) + 1)


def _log_choose(n: int | np.ndarray, k: int | np.ndarray) -> np.ndarray:
    """log of n over k, -inf where there is no way."""
    n, k = np.asarray(n), np.asarray(k)
    table = _log_factorials(1 << int(n.max()).bit_length())
    possible = (k >= 0) & (k <= n)
    k = np.where(possible, k, 0)
    return np.where(possible, table[n] - table[k] - table[n - k], -np.inf)


@cache
def _log_factorials(size: int) -> np.ndarray:
    """log of 0!, 1!, ...: [size]."""
    return scipy.special.gammaln(np.arange(size) + 1.0)


def useful(p: np.ndarray, fdr: float) -> np.ndarray:
    """Which of the p-values [..., F] are discoveries at the false discovery rate ``fdr``: bool, same shape."""
    return (
        scipy.stats.false_discovery_control(p, axis=-1) <= fdr if np.shape(p)[-1] else np.zeros(np.shape(p), dtype=bool)
    )


def cutoff(p: np.ndarray, fdr: float) -> float:
    """The p-value up to which a further feature would be called useful too, beside those of p [F] that are."""
    return fdr * min(len(p), 1 + int(useful(p, fdr).sum())) / max(1, len(p))


@dataclass(frozen=True, eq=False)
class Null:
    """The same F features under P permutations of the test labels: p_values [P, F], usefulness [P, F]."""

    p_values: np.ndarray
    usefulness: np.ndarray

    def useful(self, fdr: float) -> np.ndarray:
        """How many features are called useful in each permutation: [P]."""
        return useful(self.p_values, fdr).sum(-1)


def null_of(answers: np.ndarray, labels: np.ndarray, permutations: int = PERMUTATIONS, seed: int = 0) -> Null:
    """What permuted labels give: the same permutations for all features, so that their dependence is kept."""
    generator, m = np.random.default_rng(seed), len(labels)
    drawn = np.stack([generator.permutation(labels) for _ in range(permutations)])  # [P, m]
    right = sum(
        (drawn == c).astype(np.float32) @ (answers == c).astype(np.float32) for c in np.unique(answers)
    )  # sum over images
    right = np.rint(right).astype(np.int64)
    return Null(p_values(answers, labels, right), right / m)


# -- how many images it takes ------------------------------------------------------------------------------------


def smallest_passing(labels: np.ndarray, level: float) -> float:
    """The smallest usefulness with a p-value of at most ``level``, of a feature that halves the images between the two
    most frequent labels [m]; above 1 when none passes."""
    u, v = np.sort(np.bincount(labels, minlength=2))[::-1][:2]
    return _smallest(len(labels), int(u), int(v), level)


def images_needed(classes: int, features: int, fdr: float, most: int = 10**7) -> int:
    """How many balanced test images it takes for a feature MODEST times as often right as chance to be called useful
    among ``features`` of which no other is."""
    level = fdr / max(1, features)
    low, high = 1, 2
    while not _passes(high, classes, level) and high * classes < most:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if _passes(middle, classes, level) else (middle, high)
    return high * classes


def _passes(each: int, classes: int, level: float) -> bool:
    return _smallest(each * classes, each, each, level) <= MODEST / classes


def _smallest(m: int, u: int, v: int, level: float) -> float:
    lowest, tail = _tail(m, u, v, m // 2)
    passing = np.flatnonzero(tail <= level)
    return (lowest + int(passing[0])) / m if passing[0] < len(tail) - 1 else 1 + 1 / m
