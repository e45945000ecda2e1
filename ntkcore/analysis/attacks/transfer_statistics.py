"""What the transfers of a story say together: accuracies, recovered shares and cosines, with their intervals.

Transfers come as they are ready; a group of nets (a width, an architecture) has as many seeds as are there::

    line = TransferStatistics({("width 512", 0, "kernel_fgsm"): arrays, ...})     # arrays of the transfer stage
    line.accuracy("width 512", "kernel_fgsm")                            # Band of [E]
    line.recovered("width 512", "kernel_fgsm", at=3)                     # Band of one number: of white-box FGSM's drop
    line.recovered_along((32, 512), at=3).rise                           # how much more the widest net gives away
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from ntkcore.analysis.intervals import UNKNOWN, Band, Resampling

Key = tuple[str, int, str]  # group, seed, source
COMPUTED_ONCE = ("clean", "accuracy", "recovered", "more", "drop", "worst", "noise_cost", "_against_white", "_cosine")


@dataclass(frozen=True, eq=False)
class AlongWidth:
    """A quantity along the width: widths [W], ascending; its band [W], nan where it is not known; rise: its last known
    value minus its first, a Band of one number whose two ends are drawn on the same resamples of the test points."""

    widths: np.ndarray
    band: Band
    rise: Band


class TransferStatistics:
    """The transfers that are there. Intervals: 95 % over test points and seeds (``ntkcore.analysis.intervals``).

    The answers of the methods named in COMPUTED_ONCE are computed once.
    """

    def __init__(self, transfers: Mapping[Key, Mapping[str, np.ndarray]]):
        self._transfers = transfers
        self._draws: dict[tuple[int, int, int], Resampling] = {}
        for name in COMPUTED_ONCE:
            setattr(self, name, cache(getattr(self, name)))

    @property
    def groups(self) -> list[str]:
        """Groups that have at least one transfer, in the order of their first."""
        return list(dict.fromkeys(group for group, _, _ in self._transfers))

    @property
    def points(self) -> int:
        """How many test images every transfer is judged on; 0 without any."""
        return next((len(arrays["right_before"]) for arrays in self._transfers.values()), 0)

    @property
    def seeds(self) -> int:
        """How many seeds every group has at least; 0 without any."""
        return min((len({s for other, s, _ in self._transfers if other == group}) for group in self.groups), default=0)

    def sources(self, group: str) -> list[str]:
        return list(dict.fromkeys(source for other, _, source in self._transfers if other == group))

    def clean(self, group: str) -> Band:
        """Accuracy on clean images, one number."""
        nets = {seed: arrays["right_before"] for (other, seed, _), arrays in self._transfers.items() if other == group}
        if not nets:
            return UNKNOWN
        before = np.stack([np.asarray(nets[seed]) for seed in sorted(nets)])
        draw = self._resampling(group, before)
        return draw.band_of_shares(draw.mean(before)[:, None])

    def right(self, group: str, source: str, at: int | None = None) -> np.ndarray:
        """Which images each seed's net gets right, [S, m]: clean ones, or under the source at radius number ``at``."""
        if at is None:
            return self._over_seeds(group, source, "right_before")
        return self._over_seeds(group, source, "right_after")[:, at]

    def accuracy(self, group: str, source: str) -> Band | None:
        """Accuracy under the source at every radius, [E]; None when it is not there."""
        if not self._seeds(group, source):
            return None
        after = self._over_seeds(group, source, "right_after")
        draw = self._resampling(group, after)
        return draw.band_of_shares(draw.mean(after))

    def recovered(self, group: str, source: str, at: int) -> Band:
        """Accuracy lost to the source over that lost to white-box FGSM, at radius number ``at``."""
        drawn, white = self._against_white(group, source, at), self.accuracy(group, "white_fgsm")
        if drawn is None or white is None:
            return UNKNOWN
        taken = self.clean(group).mean[0] - white.mean[at]
        unit = 1 / taken if taken > 0 else np.nan  # alike in all draws, it reaches as far as none of all images can
        draw = self._resampling(group, self._over_seeds(group, source, "right_before"))
        return draw.band_of_shares(drawn, unit, (-np.inf, np.inf))

    def cosine(self, group: str, source: str = "kernel_fgsm") -> Band:
        """Mean cosine of the loss gradients of source and target at the clean images, one number."""
        return _band(self._cosine(group, source))

    def recovered_along(self, widths: Sequence[int], at: int, source: str = "kernel_fgsm") -> AlongWidth:
        """``recovered`` along the width, of the groups "width 32" and so on, at radius number ``at``."""
        groups = {width: f"width {width}" for width in sorted(widths)}
        draws = {width: self._against_white(group, source, at) for width, group in groups.items()}
        return _along(draws, [self.recovered(group, source, at) for group in groups.values()])

    def cosine_along(self, widths: Sequence[int], source: str = "kernel_fgsm") -> AlongWidth:
        """``cosine`` along the width, of the groups "width 32" and so on."""
        draws = {width: self._cosine(f"width {width}", source) for width in sorted(widths)}
        return _along(draws, [_band(drawn) for drawn in draws.values()])

    def more(self, group: str, strong: str, weak: str, at: int, share: float = 1.0) -> Band:
        """Accuracy that one source, or ``share`` of what it takes, takes more than another: of the seeds that have
        both, at radius number ``at``."""
        seeds = self._seeds(group, strong, weak)
        if not seeds:
            return UNKNOWN
        left, less = (self._over_seeds(group, source, "right_after", seeds)[:, [at]] for source in (weak, strong))
        draw, before = self._resampling(group, left), self._over_seeds(group, strong, "right_before", seeds)
        spared = (1 - share) * (draw.mean(before)[:, None] - draw.mean(less))
        return draw.band_of_shares(draw.mean(left) - draw.mean(less) - spared, ends=(-1, 1))

    def drop(self, group: str, source: str, at: int) -> Band:
        """Accuracy that a source takes of a group's nets, at radius number ``at``."""
        if not self._seeds(group, source):
            return UNKNOWN
        after = self._over_seeds(group, source, "right_after")
        draw, before = self._resampling(group, after), self._over_seeds(group, source, "right_before")
        return draw.band_of_shares(draw.mean(before)[:, None] - draw.mean(after[:, [at]]), ends=(-1, 1))

    def worst(self, group: str, at: int) -> Band:
        """Share of the images that no source turns wrong, at radius number ``at``: the worst of all attacks."""
        sources = [source for source in self.sources(group) if source != "noise"]
        seeds = self._seeds(group, *sources) if sources else []
        if not seeds:
            return UNKNOWN
        right = [self._over_seeds(group, source, "right_after", seeds)[:, [at]] for source in sources]
        left = np.logical_and.reduce(right)
        draw = self._resampling(group, left)
        return draw.band_of_shares(draw.mean(left))

    def noise_cost(self, at: int) -> Band:
        """Accuracy that random signs take of the group that they hit hardest, at radius number ``at``."""
        costs = []
        for group in self.groups:
            if self._seeds(group, "noise"):
                after = self._over_seeds(group, "noise", "right_after")
                draw, before = self._resampling(group, after), self._over_seeds(group, "noise", "right_before")
                costs.append(draw.mean(before)[:, None] - draw.mean(after[:, [at]]))
        return draw.band_of_shares(np.max(costs, axis=0), ends=(-1, 1)) if costs else UNKNOWN

    def zero_share(self, source: str = "kernel_fgsm") -> float:
        """Share of (net, image) pairs at which the source's gradient is exactly zero."""
        stuck = [arrays["zero_gradient"] for (_, _, name), arrays in self._transfers.items() if name == source]
        return float(np.concatenate([np.asarray(s, dtype=float) for s in stuck]).mean()) if stuck else 0.0

    def _against_white(self, group: str, source: str, at: int) -> np.ndarray | None:
        """Draws [D, 1] of the share of white-box FGSM's drop; None when source or white box is not there."""
        seeds = self._seeds(group, source, "white_fgsm")
        if not seeds:
            return None
        before, after = (self._over_seeds(group, source, name, seeds) for name in ("right_before", "right_after"))
        white = self._over_seeds(group, "white_fgsm", "right_after", seeds)
        return self._resampling(group, before).recovered(before, after[:, [at]], white[:, [at]])

    def _cosine(self, group: str, source: str) -> np.ndarray | None:
        """Draws [D, 1] of the mean cosine; None when there is none."""
        seeds = self._seeds(group, source)
        if not seeds or "cosine" not in self._transfers[group, seeds[0], source]:
            return None
        cosine = self._over_seeds(group, source, "cosine", seeds)
        return self._resampling(group, cosine).mean(cosine)[:, None]

    def _seeds(self, group: str, *sources: str) -> list[int]:
        """Seeds for which all these sources are there."""
        there = [{seed for other, seed, name in self._transfers if (other, name) == (group, s)} for s in sources]
        return sorted(set.intersection(*there))

    def _over_seeds(self, group: str, source: str, name: str, seeds: list[int] | None = None) -> np.ndarray:
        """One array of every seed, [S, ...], of the source's own where none are given."""
        seeds = self._seeds(group, source) if seeds is None else seeds
        return np.stack([np.asarray(self._transfers[group, seed, source][name]) for seed in seeds])

    def _resampling(self, group: str, values: np.ndarray) -> Resampling:
        """Resamples for values [S, ..., m] of a group: its points are those of every other, its seeds are its own."""
        shape = (values.shape[-1], len(values), self.groups.index(group))
        if shape not in self._draws:
            points, seeds, number = shape
            self._draws[shape] = Resampling(points, seeds, group=number)
        return self._draws[shape]


def mean_cosines(steps: np.ndarray, cosines: list[np.ndarray]) -> tuple[np.ndarray, Band]:
    """Mean cosine along training: cosines, one [P, m] a seed -> (steps [P], Band of [P])."""
    stacked = np.stack([np.asarray(c) for c in cosines])
    draw = Resampling(stacked.shape[-1], len(stacked))
    return np.asarray(steps), draw.band(draw.mean(stacked))


def difference_of_means(one: np.ndarray, other: np.ndarray) -> tuple[Band, Band, Band]:
    """Means of one net and of another, [S, m] and [S', m] on the same test points, and one minus other: three Bands.

    nan counts as absent.
    """
    draws = []
    for group, values in enumerate((one, other)):
        values = np.asarray(values)
        draws.append(Resampling(values.shape[-1], len(values), group=group).mean(values)[:, None])
    return _band(draws[0]), _band(draws[1]), _band(draws[0] - draws[1])


def _band(drawn: np.ndarray | None) -> Band:
    return UNKNOWN if drawn is None else Resampling.band(drawn)


def _along(draws: Mapping[int, np.ndarray | None], bands: Sequence[Band]) -> AlongWidth:
    """From draws by width, ascending, and their bands."""
    band = Band(*(np.concatenate([getattr(b, name) for b in bands]) for name in ("mean", "low", "high")))
    known = [drawn for drawn, there in zip(draws.values(), band.known, strict=True) if there and drawn is not None]
    rise = _band(known[-1] - known[0]) if len(known) > 1 else UNKNOWN
    return AlongWidth(np.array(list(draws)), band, rise)
