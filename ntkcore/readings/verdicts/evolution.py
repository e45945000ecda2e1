"""The verdict on the seventh claim: under adversarial training the kernel turns lazy earlier, and concentrates.

::

    judge_evolution("FGSM", {"FGSM": [4, 5, 4], "standard": [11, 9, inf]}, late, gathered, 0.1, 15).verdict
"""

from collections.abc import Mapping, Sequence
from math import inf

from ntkcore.analysis.evolution.motion import Concentration
from ntkcore.readings.evolution import BASE, BySeed, judge_calm, median_seed
from ntkcore.readings.verdicts.judgement import Judgement
from ntkcore.readings.words import percent


def judge_evolution(
    name: str,
    lazy: BySeed,
    late: BySeed,
    gathered: Mapping[str, Sequence[Concentration | None]],
    share: float,
    epochs: int,
) -> Judgement:
    """The training ``name`` beside the standard one; of each a value a seed, as of ``readings.evolution``."""
    calmed = judge_calm(name, lazy, late, gathered, share)
    both = lazy[name], lazy[BASE]
    medians, listed = [median_seed(seeds) for seeds in both], [", ".join(map(_epoch, seeds)) for seeds in both]
    slow = f"Lazy: slower than {percent(share)} of its first step"
    if set(medians) == {inf}:
        number = "neither is lazy"
        seeds = f"by seed: {name} {listed[0]}, standard {listed[1]}"
        if min(min(one) for one in both) == inf:
            seeds = f"in any of {len(both[0])} seeds" if len(both[0]) > 1 else "with the one seed"
        of_what = f"of {name} training and standard training, within {epochs} epochs, {seeds}. {slow}."
    else:
        first, second = map(_epoch, medians)
        number = f"lazy: never against {second}" if medians[0] == inf else f"lazy: epoch {first} against {second}"
        of_what = (
            f"in {name} training against standard training: median epochs of seeds, {listed[0]} against {listed[1]}. "
            f"{slow}."
        )
    told = "; ".join(f"{part}: {verdict}" for part, (verdict, _) in calmed.parts.items())
    return Judgement(calmed.verdict, number, of_what, f"{told[0].upper()}{told[1:]}.")


def _epoch(epoch: float) -> str:
    return "never" if epoch == inf else f"{epoch:.0f}"
