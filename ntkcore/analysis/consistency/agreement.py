"""How far kernels of the same images agree, how sure that is, and what images paired at random would give.

Two numbers for each pair of kernels, from ``similarity``: their alignment, and the overlap of their k
leading eigenspaces. Both are statistics of n training images. Their intervals come from leaving out a tenth of the
images at a time (``intervals.jackknife``). What they are compared with: the same kernels, the images of one of them in
random order. That keeps what all images have in common, which is most of a kernel that is not centred and nearly all of
its first eigenvector, so that neither counts as agreement::

    a = agreement([K_fc, K_conv, K_myrtle])
    a.overlap.mean, a.overlap.low, a.overlap.high     # [pairs, P] along a.ks [P]
    a.chance                                          # [pairs, P], the mean over all orders
    a.p_values                                        # [pairs], of the overlap at a.ks[a.at]
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import scipy
import torch
from torch import Tensor

from ntkcore import checks
from ntkcore.analysis.consistency.similarity import Match, alignment_matrix, name_pairs, subspace_overlap
from ntkcore.analysis.features.tradeoff import counts
from ntkcore.analysis.intervals import Band, jackknife, mean_band
from ntkcore.analysis.spectrum import Spectrum, centred_kernel, spectrum
from ntkcore.errors import SpecError
from ntkcore.kernels.blocks import Progress
from ntkcore.modes import plain

LEADING = 20  # eigenvectors whose space is read aloud: there the paper finds the robust features
GROUPS = 10  # of images, left out in turn
PERMUTATIONS = 999
TOGETHER = 50  # permutations at a time
HALF = 0.5
SURE = 0.05  # of a test, for all pairs together


@dataclass(frozen=True, eq=False)
class Agreement:
    """Every pair of A kernels, compared. alignment (centred) and uncentred: Bands of [A, A], and what each would be on
    average with images paired at random, [A, A]; ks [P]; overlap, a Band of [pairs, P] with pairs in the order of
    ``name_pairs``; chance [pairs, P]; p_values [pairs], of the overlap at ``ks[at]``; n images."""

    alignment: Band
    uncentred: Band
    chance_alignment: np.ndarray
    chance_uncentred: np.ndarray
    ks: np.ndarray
    overlap: Band
    chance: np.ndarray
    p_values: np.ndarray
    n: int

    def curves(self, names: Sequence[str]) -> tuple[np.ndarray, dict[str, Band], np.ndarray]:
        """What is drawn along k: ks [P], the overlap of each pair by its name, and the largest chance [P]."""
        sides = (self.overlap.mean, self.overlap.low, self.overlap.high)
        bands = {pair: Band(*(side[row] for side in sides)) for row, (pair, _, _) in enumerate(name_pairs(names))}
        return self.ks, bands, self.chance.max(0)

    @property
    def at(self) -> int:
        """The place in ``ks`` of the number of eigenvectors whose space is read aloud."""
        return leading(self.ks)


def leading(ks: Sequence[int] | np.ndarray) -> int:
    """The place in ks, ascending, of the largest number up to LEADING and half of the last: spaces that are more than
    half of everything overlap whatever they are."""
    most = min(LEADING, int(ks[-1]) // 2)
    return max(int(np.searchsorted(np.asarray(ks), most, side="right")) - 1, 0)


@plain
def agreement(kernels: Sequence[Tensor], progress: Progress | None = None, vectors: int | None = None) -> Agreement:
    """Compare kernel matrices [n, n] of the same images, in the order of the draw, each with each other.

    Groups to be left out are neighbours in that order, which a balanced draw makes balanced, too. progress counts
    groups. vectors: how many leading eigenvectors are computed of each, and compared at most; None: all. Raises
    SpecError for kernels that have no alignment or fewer than 4 images.
    """
    checks.progress(progress)
    alignment_matrix(kernels, centred=True)  # says what does not fit
    n = len(kernels[0])
    if n < 4:
        raise SpecError(f"The kernels are of {n} images; comparing them takes 4 at least.")
    pairs, groups = list(combinations(range(len(kernels)), 2)), min(GROUPS, n)
    measured, spectra = [_measured(kernels)], [[_pairs(K, vectors) for K in kernels]]
    for group, out in enumerate(torch.arange(n, device="cpu").tensor_split(groups)):
        if progress is not None:
            progress(group, groups, "kernels without some of the images")
        kept = torch.ones(n, dtype=torch.bool, device="cpu")
        kept[out] = False
        smaller = [K[kept][:, kept] for K in kernels]
        measured.append(_measured(smaller))
        spectra.append([_pairs(K, vectors) for K in smaller])
    ks = counts(min(s.rank for part in spectra for s in part))  # those that are there without some of the images, too
    overlaps = np.stack(
        [[subspace_overlap(part[a].vectors, part[b].vectors, ks).cpu().numpy() for a, b in pairs] for part in spectra]
    ).reshape(1 + groups, len(pairs), len(ks))
    alignment, uncentred, overlap = (
        _share(jackknife(found[0], found[1:])) for found in (*map(np.stack, zip(*measured, strict=True)), overlaps)
    )
    V = [s.vectors[:, : ks[-1]] for s in spectra[0]]
    return Agreement(
        alignment,
        uncentred,
        chance_alignment(kernels, centred=True),
        chance_alignment(kernels, centred=False),
        np.array(ks),
        overlap,
        np.array([chance_overlap(V[a], V[b], ks) for a, b in pairs]).reshape(len(pairs), len(ks)),
        np.array([overlap_p_value(V[a], V[b], ks[leading(ks)]) for a, b in pairs]),
        n,
    )


def _measured(kernels: Sequence[Tensor]) -> tuple[np.ndarray, np.ndarray]:
    """Alignments [A, A], centred and not."""
    return alignment_matrix(kernels, True).cpu().numpy(), alignment_matrix(kernels, False).cpu().numpy()


def _share(band: Band) -> Band:
    """With its interval, what lies between 0 and 1 by its nature."""
    return Band(*(np.clip(side, 0, 1) for side in (band.mean, band.low, band.high)))


# -- images paired at random -------------------------------------------------------------------------------------


def chance_alignment(kernels: Sequence[Tensor], centred: bool) -> np.ndarray:
    """The alignment of each pair of kernels [n, n], averaged over all orders of one's images: [A, A].

    A random order leaves the trace and the sum of a matrix as they are, and spreads them evenly over the diagonal and
    what is beside it (Kazi-Aoual et al. 1995).
    """
    one = [_trace_and_sum(K.detach().double(), centred) for K in kernels]
    return np.array([[_at_random(*a, *b, len(kernels[0])) for b in one] for a in one])


def _pairs(K: Tensor, k: int | None) -> Spectrum:
    return spectrum(K, None if k is None else min(k, len(K)))


def _trace_and_sum(K: Tensor, centred: bool) -> tuple[float, float]:
    """Of a kernel, centred or not, scaled to norm 1."""
    if centred:
        K = centred_kernel(K)
    size = K.norm()
    return float(K.trace() / size), 0.0 if centred else float(K.sum() / size)


def _at_random(trace1: float, sum1: float, trace2: float, sum2: float, n: int) -> float:
    """Mean of ``<A, P B P^T>`` over all permutations P."""
    return trace1 * trace2 / n + (sum1 - trace1) * (sum2 - trace2) / (n * (n - 1))


def chance_overlap(V1: Tensor, V2: Tensor, ks: Sequence[int]) -> np.ndarray:
    """``subspace_overlap`` averaged over all orders of one's images, [P]: about k/n, but for what all images share."""
    n = len(V1)
    shared = [V.detach().double().sum(0).square().cumsum(0).cpu().numpy() for V in (V1, V2)]  # 1^T P_k 1
    return np.array([_at_random(k, shared[0][k - 1], k, shared[1][k - 1], n) / k for k in ks])


def overlap_p_value(V1: Tensor, V2: Tensor, k: int, permutations: int = PERMUTATIONS, seed: int = 0) -> float:
    """Share of random orders of one's images, and of the true one, that overlap at least as much as the true one.

    A permutation test: 1 / (permutations + 1) at the least (Phipson & Smyth 2010).
    """
    permutations = checks.whole(permutations, "permutations", 1)
    found = float(subspace_overlap(V1, V2, [k])[0])
    V1, V2 = (V[:, :k].detach().double() for V in (V1, V2))
    generator, beyond = np.random.default_rng(checks.seed(seed)), 0
    orders = np.stack([generator.permutation(len(V1)) for _ in range(permutations)])
    for some in torch.from_numpy(orders).split(TOGETHER):
        squares = (V1.T @ V2[some.to(V2.device)]).square()  # [some, k, k]: sum over images
        beyond += int((squares.sum((1, 2)) / k >= found - 1e-12).sum())
    return (1 + beyond) / (1 + permutations)


def chance_product(n: int, count: int) -> float:
    """The size of ``<v, w>`` that the largest of ``count`` products of random directions in R^n exceeds in at most 5 %.

    Its square is Beta(1/2, (n - 1)/2); Bonferroni's bound.
    """
    n, count = checks.whole(n, "n", 2), checks.whole(count, "count", 1)
    return float(scipy.stats.beta.isf(SURE / count, 0.5, (n - 1) / 2) ** 0.5)


def agreeing(match: Match, n: int) -> np.ndarray:
    """Which matched eigenvectors of n images are one direction more than not, and not by chance: [F] bool."""
    overlap = match.product.abs().cpu().numpy()
    return overlap >= max(HALF, chance_product(n, len(overlap) ** 2))


def mean_cosine(cosines: np.ndarray) -> Band:
    """Mean over features, image by image, then over images, with its interval: cosines [F, m] -> a Band of one number.

    nan, of features without a gradient, counts as absent.
    """
    return mean_band(mean_band(np.asarray(cosines).T).mean)
