"""What the transfers of a story say together: accuracies, recovered shares and cosines, with their intervals.

Transfers come as they are ready; a group of nets (a width, an architecture) has as many seeds as are there::

    line = Storyline({("width 512", 0, "kernel_fgsm"): arrays, ...})     # arrays of the transfer stage
    line.accuracy("width 512", "kernel_fgsm")                            # Band of [E]
    line.recovered("width 512", "kernel_fgsm", at=3)                     # Band of one number: of white-box FGSM's drop
"""

from collections.abc import Mapping

import numpy as np

from ntkcore.analysis.resampling import Band, Resampling

Key = tuple[str, int, str]  # group, seed, source
NOTHING = Band(*(np.full(1, np.nan),) * 3)


class Storyline:
    """The transfers that are there. Intervals: 95 % over test points and seeds (``ntkcore.analysis.resampling``)."""

    def __init__(self, transfers: Mapping[Key, Mapping[str, np.ndarray]]):
        self._transfers = transfers
        self._draws: dict[tuple[int, int], Resampling] = {}

    @property
    def groups(self) -> list[str]:
        """Groups that have at least one transfer, in the order of their first."""
        return list(dict.fromkeys(group for group, _, _ in self._transfers))

    def sources(self, group: str) -> list[str]:
        return list(dict.fromkeys(source for other, _, source in self._transfers if other == group))

    def clean(self, group: str) -> Band:
        """Accuracy on clean images, one number."""
        nets = {seed: arrays["right_before"] for (other, seed, _), arrays in self._transfers.items() if other == group}
        if not nets:
            return NOTHING
        before = np.stack([np.asarray(nets[seed]) for seed in sorted(nets)])
        draw = self._draw(before)
        return draw.band(draw.mean(before)[:, None])

    def accuracy(self, group: str, source: str) -> Band | None:
        """Accuracy under the source at every radius, [E]; None when it is not there."""
        after = self._stack(group, source, "right_after")
        if after is None:
            return None
        draw = self._draw(after)
        return draw.band(draw.mean(after))

    def recovered(self, group: str, source: str, at: int) -> Band:
        """Accuracy lost to the source over that lost to white-box FGSM, at radius number ``at``."""
        return self._against_white(group, source, at, "recovered")

    def strength(self, group: str, source: str, at: int) -> Band:
        """Transfer rate of the source over the target's own white-box rate (FGSM), at radius number ``at``."""
        return self._against_white(group, source, at, "strength")

    def rate(self, group: str, source: str, at: int) -> Band:
        """Share of the images right before that the source turns wrong, at radius number ``at``."""
        after = self._stack(group, source, "right_after")
        if after is None:
            return NOTHING
        draw = self._draw(after)
        return draw.band(draw.rate(self._stack(group, source, "right_before"), after[:, [at]]))

    def cosine(self, group: str, source: str = "kernel_fgsm") -> Band:
        """Mean cosine of the loss gradients of source and target at the clean images, one number."""
        cosine = self._stack(group, source, "cosine")
        if cosine is None:
            return NOTHING
        draw = self._draw(cosine)
        return draw.band(draw.mean(cosine)[:, None])

    def worst(self, group: str, at: int) -> Band:
        """Share of the images that no source turns wrong, at radius number ``at``: the worst of all attacks."""
        sources = [source for source in self.sources(group) if source != "noise"]
        seeds = self._seeds(group, *sources) if sources else []
        if not seeds:
            return NOTHING
        right = [self._stack(group, source, "right_after", seeds)[:, [at]] for source in sources]
        left = np.logical_and.reduce(right)
        draw = self._draw(left)
        return draw.band(draw.mean(left))

    def worst_noise(self) -> float:
        """Points of accuracy that random signs cost at worst, over groups and radii; nan without any."""
        costs = []
        for group in self.groups:
            noise = self.accuracy(group, "noise")
            if noise is not None:
                clean = self._stack(group, "noise", "right_before").mean()  # of the very seeds that have noise
                costs.append(100 * float((clean - noise.mean).max()))
        return max(costs, default=float("nan"))

    def zero_share(self, source: str = "kernel_fgsm") -> float:
        """Share of (net, image) pairs at which the source's gradient is exactly zero."""
        stuck = [arrays["zero_gradient"] for (_, _, name), arrays in self._transfers.items() if name == source]
        return float(np.concatenate([np.asarray(s, dtype=float) for s in stuck]).mean()) if stuck else 0.0

    def _against_white(self, group: str, source: str, at: int, kind: str) -> Band:
        seeds = self._seeds(group, source, "white_fgsm")
        if not seeds:
            return NOTHING
        before, after = (self._stack(group, source, name, seeds) for name in ("right_before", "right_after"))
        white = self._stack(group, "white_fgsm", "right_after", seeds)
        draw = self._draw(before)
        after, white = after[:, [at]], white[:, [at]]
        if kind == "recovered":
            return draw.band(draw.recovered(before, after, white))
        return draw.band(draw.ratio(draw.rate(before, after), draw.rate(before, white)))

    def _seeds(self, group: str, *sources: str) -> list[int]:
        """Seeds for which all these sources are there."""
        there = [{seed for other, seed, name in self._transfers if (other, name) == (group, s)} for s in sources]
        return sorted(set.intersection(*there))

    def _stack(self, group: str, source: str, name: str, seeds: list[int] | None = None) -> np.ndarray | None:
        """One array of every seed, [S, ...]; None when there is none."""
        seeds = self._seeds(group, source) if seeds is None else seeds
        found = [self._transfers[group, seed, source] for seed in seeds]
        return np.stack([np.asarray(arrays[name]) for arrays in found]) if found and name in found[0] else None

    def _draw(self, values: np.ndarray) -> Resampling:
        shape = (values.shape[-1], len(values))
        if shape not in self._draws:
            self._draws[shape] = Resampling(*shape)
        return self._draws[shape]


def joined(bands: list[Band]) -> Band:
    """Bands of one number each, one after the other: along widths, say."""
    return Band(*(np.concatenate([np.atleast_1d(getattr(b, name)) for b in bands]) for name in ("mean", "low", "high")))


def along_steps(steps: np.ndarray, cosines: list[np.ndarray]) -> tuple[np.ndarray, Band]:
    """Mean cosine along training: cosines, one [P, m] a seed -> (steps [P], Band of [P])."""
    stacked = np.stack([np.asarray(c) for c in cosines])
    draw = Resampling(stacked.shape[-1], len(stacked))
    return np.asarray(steps), draw.band(draw.mean(stacked))
