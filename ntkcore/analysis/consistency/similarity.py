"""Consistency across architectures: do two kernels of the same images have the same eigenfeatures?

From coarse to fine: alignment of whole kernels, ``<A, B> / (|A| |B|)`` (CKA; Cortes et al. 2012, Kornblith et al.
2019); overlap of leading eigenspaces, ``|V_A^T V_B|_F^2 / k``, the mean squared cosine of their principal angles;
single eigenvectors, ``|<v_i^A, v_j^B>|``, each matched with a partner; and what matched features
``f^(i)(x) = lam_i^-1 K(x, X) v_i v_i^T Y`` (Tsilivis & Kempe 2022, section 4) look at: the cosine of their input
gradients. An eigenvector's sign is free, and so is that of ``v_i^T Y`` where it is near 0, so features are compared
without the label, each turned the way of its partner. All kernels are of the same n training images in the same order;
everything is float64::

    alignment_matrix([K_fc, K_conv], centred=True)                    # [2, 2], ones on the diagonal
    match = match_features(s_fc.vectors, s_conv.vectors, 20)          # match.partner[i] is feature i's in the second
    matched_gradient_cosine(gradients_fc, gradients_conv, match)      # [20, m], from feature_gradients of each
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import scipy
import torch
from torch import Tensor

from ntkcore import checks
from ntkcore.analysis.features.classes import BETWEEN, BRITTLE, ROBUST, WEAK, classify, falling
from ntkcore.analysis.features.eigenfeatures import Selection, Sweep, chosen_features
from ntkcore.analysis.features.pictures import differentiating, pair_gradients
from ntkcore.analysis.intervals import Band
from ntkcore.analysis.spectrum import CONSTANT, Spectrum, centred_kernel, train_spectrum
from ntkcore.errors import SpecError
from ntkcore.kernels.blocks import prepared
from ntkcore.kernels.protocols import KernelFunction, Progress
from ntkcore.modes import plain
from ntkcore.validation import shown


def name_pairs(names: Sequence[str]) -> list[tuple[str, int, int]]:
    """Every pair of architectures: ("FC(1) and Conv(2)", 0, 1), ..."""
    return [(f"{names[a]} and {names[b]}", a, b) for a in range(len(names)) for b in range(a + 1, len(names))]


# -- whole kernels -----------------------------------------------------------------------------------------------


def kernel_alignment(K1: Tensor, K2: Tensor, centred: bool) -> float:
    """CKA of two kernel matrices [n, n] of the same images: 1 when one is a multiple of the other.

    centred: of ``H K H`` with ``H = I - 11^T/n``, which takes out what all pairs of images have in common; without
    it any two kernels of positive entries look alike. Raises SpecError for kernels that are not square, not of one
    size, not finite or, centred, constant.
    """
    return float(alignment_matrix([K1, K2], centred)[0, 1])


def alignment_matrix(kernels: Sequence[Tensor], centred: bool) -> Tensor:
    """``kernel_alignment`` of every pair of A kernels [n, n]: [A, A], symmetric, ones on the diagonal."""
    if not isinstance(kernels, list | tuple) or not kernels:
        raise SpecError(f"kernels is {shown(kernels)}; give a list of kernel matrices [n, n].")
    shapes = {tuple(checks.tensor(K, "A kernel").shape) for K in kernels}
    if len(shapes) > 1:
        raise SpecError(
            f"The kernels have shapes {', '.join(map(str, sorted(shapes)))}; all must be of the same training images."
        )
    units = [_unit(K, centred) for K in kernels]
    out = torch.eye(len(units), dtype=torch.float64, device="cpu")
    for a in range(len(units)):
        for b in range(a):
            out[a, b] = out[b, a] = units[a] @ units[b]  # sum over image pairs
    return out


def _unit(K: Tensor, centred: bool) -> Tensor:
    """A kernel, centred or not, flattened and scaled to norm 1: [n n]."""
    if K.ndim != 2 or K.shape[0] != K.shape[1] or len(K) == 0:
        raise SpecError(f"Alignment needs square kernel matrices [n, n]; got shape {tuple(K.shape)}.")
    K = K.detach().double()
    size = K.norm()
    if not torch.isfinite(size) or size == 0:
        raise SpecError("A kernel is zero or has entries that are not finite. Check W_std, b_std and the images.")
    if centred:
        K = centred_kernel(K)
        if K.norm() <= CONSTANT * size:
            raise SpecError("A kernel gives every pair of images the same value, so nothing is left of it centred.")
    return K.flatten() / K.norm()


# -- eigenspaces and eigenvectors --------------------------------------------------------------------------------


def subspace_overlap(V1: Tensor, V2: Tensor, ks: Sequence[int]) -> Tensor:
    """``|V1_k^T V2_k|_F^2 / k`` for each k: [len(ks)]; 1 when the k leading vectors span one space, k/n by chance.

    V1, V2 [n, r]: orthonormal columns, largest eigenvalue first. Raises SpecError for a k that neither has.
    """
    most = _most(V1, V2)
    if isinstance(ks, str) or not isinstance(ks, Iterable) or not (numbers := list(ks)):
        raise SpecError(f"ks are {shown(ks)}; give numbers of leading eigenvectors, a list of them from 1 to {most}.")
    k = torch.tensor([checks.whole(k, "A number in ks", 1, most) for k in numbers], device=V1.device)
    squares = _products(V1, V2, int(k.max())).square()
    sums = squares.cumsum(0).cumsum(1).diagonal()  # [k - 1]: sum over i, j < k
    return sums[k - 1] / k


def vector_overlap(V1: Tensor, V2: Tensor, top: int) -> Tensor:
    """``|<v_i, v_j>|`` of the leading eigenvectors, the first's along the rows: [top, top].

    Eigenvectors of (nearly) equal eigenvalues turn freely among themselves; ``subspace_overlap`` does not mind.
    """
    top = checks.whole(top, "top", 1, _most(V1, V2))
    return _products(V1, V2, top).abs()


@dataclass(frozen=True, eq=False)
class Match:
    """partner [F]: for each of the leading features of one kernel the index of another's; product [F]: ``<v_i,
    v_partner(i)>``, whose size is the overlap and whose sign turns one the way of the other."""

    partner: Tensor
    product: Tensor


def match_features(V1: Tensor, V2: Tensor, top: int) -> Match:
    """For each of the ``top`` leading features of the first its partner among those of the second.

    One to one, such that the sum of ``|<v_i, v_partner(i)>|`` is largest (assignment problem; Kuhn 1955). Every
    feature gets a partner, a poor one where there is no better: look at its overlap.
    """
    top = checks.whole(top, "top", 1, _most(V1, V2))
    products = _products(V1, V2, top).cpu()
    row, partner = scipy.optimize.linear_sum_assignment(products.abs().numpy(), maximize=True)
    return Match(torch.from_numpy(partner).long(), products[row, partner])


def _most(V1: Tensor, V2: Tensor) -> int:
    """How many leading eigenvectors both have."""
    checks.tensor(V1, "V1"), checks.tensor(V2, "V2")
    if V1.ndim != 2 or V2.ndim != 2 or len(V1) != len(V2):
        raise SpecError(
            f"Eigenvectors must be [n, r] over the same n training images; got {tuple(V1.shape)} and {tuple(V2.shape)}."
        )
    return min(V1.shape[1], V2.shape[1])


def _products(V1: Tensor, V2: Tensor, k: int) -> Tensor:
    """``<v_i, v_j>`` of the k leading columns: [k, k]."""
    return V1[:, :k].detach().double().T @ V2[:, :k].detach().double()  # sum over images


# -- what features look at ---------------------------------------------------------------------------------------


@plain
def feature_gradients(
    kernel: KernelFunction,
    s: Spectrum,
    x: Tensor,
    images: Tensor,
    features: Selection,
    progress: Progress | None = None,
) -> Tensor:
    """Input gradient of each feature at each image, without its label: of ``lam_i^-1 K(x, X) v_i``, [F, m, C, H, W].

    s: spectrum of ``kernel`` on the training images x [n, C, H, W]; images [m, C, H, W]; F ``features``. In the images'
    own precision. progress counts images. Raises SpecError for a feature that does not exist, or a kernel without
    gradients for pairs of images.
    """
    checks.progress(progress)
    x = checks.images(x).detach()
    images = checks.images(images, "images", shape=x.shape[1:]).detach().to(x.dtype)
    train_spectrum(kernel, x, checks.instance(s, Spectrum, "s", "spectrum(kernel(x)) makes one."))
    differentiating(kernel)
    index = chosen_features(s, features)
    weights = s.vectors[:, index].T / s.values[index, None]  # [F, n]
    given = prepared(kernel, x)
    out = weights.new_empty(len(weights), len(images), images[0].numel())
    for i in range(len(images)):
        if progress is not None:
            progress(i, len(images), "gradients of features")
        out[:, i] = weights @ pair_gradients(kernel, images[i], given).double()  # sum over training images
    if progress is not None:
        progress(len(images), len(images), "gradients of features")
    return out.view(len(weights), *images.shape)


def matched_gradient_cosine(gradients1: Tensor, gradients2: Tensor, match: Match) -> Tensor:
    """Cosine between the input gradients of matched features at each image: [F, m].

    gradients1 [F, m, ...], gradients2 [F2, m, ...], match of F features. The second of a pair is turned by the sign of
    ``<v_i, v_partner(i)>``, so that both rise together on the training images: 1 when they look at the same pixels in
    the same way, about 0 when they have nothing to do with each other. The labels' part in a feature, ``v_i^T Y``, has
    no say: where it is near 0 its sign is noise. nan where either gradient is exactly zero.
    """
    checks.tensor(gradients1, "gradients1"), checks.tensor(gradients2, "gradients2")
    checks.instance(match, Match, "match", "match_features makes one.")
    if min(gradients1.ndim, gradients2.ndim) < 3 or gradients1.shape[1:] != gradients2.shape[1:]:
        raise SpecError(
            "Gradients must be [F, m, ...] at the same m images; "
            f"got {tuple(gradients1.shape)} and {tuple(gradients2.shape)}."
        )
    positions = torch.from_numpy(checks.codes(match.partner, len(gradients1), range(len(gradients2)), "partner"))
    one, two = gradients1.double().flatten(2), gradients2.double().flatten(2)[positions]
    sizes = one.norm(dim=2) * two.norm(dim=2)  # [F, m]
    cosine = (one * two).sum(2) / sizes * match.product.sign().to(one.device)[:, None]  # sum over pixels
    return torch.where(sizes > 0, cosine, torch.nan)


# -- classes of features -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class FeatureCount:
    """How many features of each class one architecture has, and how many among its ``top`` largest eigenvalues.

    spearman: rank correlation of eigenvalue index and share kept among its useful features, a Band of one number
    (``features.classes.falling``).
    """

    robust: int
    between: int
    brittle: int
    weak: int
    top: int
    top_robust: int
    top_between: int
    top_brittle: int
    top_weak: int
    spearman: Band

    @property
    def features(self) -> int:
        return self.robust + self.between + self.brittle + self.weak


def tally(sweep: Sweep, fdr: float = 0.05, keep: float = 0.5, top: int = 20) -> FeatureCount:
    """Count the classes of features (``classify`` at ``fdr`` and ``keep``), over all and over the ``top`` largest."""
    classes = classify(sweep, fdr, keep)
    top = min(checks.whole(top, "top", 1), len(classes))
    kinds = (ROBUST, BETWEEN, BRITTLE, WEAK)
    whole, first = ([int((part == kind).sum()) for kind in kinds] for part in (classes, classes[:top]))
    (robust, between, brittle, weak), spearman = whole, falling(sweep, fdr).spearman
    return FeatureCount(robust, between, brittle, weak, top, first[0], first[1], first[2], first[3], spearman)
