"""One kernel read aloud: its spectrum, its prediction before and under attack, what it takes to flip one image.

::

    read_spectrum(values, energy, n=1000)       # "The largest of 1000 eigenvalues holds 88 % of their sum, ..."
"""

import numpy as np

from ntkcore.analysis.spectrum import effective_rank, top_mass
from ntkcore.analysis.words import percent


def read_spectrum(values, energy, n: int) -> str:
    """Concentration of the spectrum and of the labels."""
    k = min(10, len(values))
    first = np.flatnonzero(np.cumsum(np.asarray(energy)) >= 0.5)
    half = f"half of the labels' energy lies in the first {first[0] + 1} of them" if len(first) else ""
    return (
        f"The largest of {n} eigenvalues holds {percent(top_mass(values, 1, 1))} of their sum, the {k} largest "
        f"{percent(top_mass(values, k, 1))}; the effective rank is {effective_rank(values):.1f}; {half}."
    )


def read_prediction(
    clean: float, attacked: float, pgd: float, majority: float, attack: str, m: int, trained: bool = False
) -> str:
    """The kernel's accuracy before and under attack. trained: it is the tangent kernel of a net in training."""
    verdict = (
        ""
        if clean > majority + 2 * np.sqrt(majority * (1 - majority) / m)
        else (" That is no better than guessing the most frequent label.")
    )
    untrained = "" if trained else "; no network was trained"
    return (
        f"The kernel gets {percent(clean)} of {m} test images right (guessing: {percent(majority)}). Under {attack} "
        f"{percent(attacked)} are left, under PGD of the same radius {percent(pgd)}{untrained}.{verdict}"
    )


def read_flip(fgsm: float, pgd: float, right: bool, largest: float, norm: str, who: str = "kernel") -> str:
    """The smallest radius that flips one image; who: whose prediction it is."""
    if not right:
        return f"The {who} gets this image wrong before any attack."

    def radius(eps: float) -> str:
        if not np.isfinite(eps):
            return f"not up to {largest:.3g}"
        return f"at {255 * eps:.2f}/255" if norm == "linf" else f"at {eps:.3g}"

    return f"The {who} gets this image right. FGSM flips it {radius(fgsm)}, PGD {radius(pgd)}."
