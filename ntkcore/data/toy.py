"""Synthetic images whose robust and non-robust features are known: the ground truth for the method itself.

After Tsipras, Santurkar, Engstrom, Turner, Madry, "Robustness May Be at Odds with Accuracy" (ICLR 2019,
arXiv 1805.12152, eq. 3): a label y, one strong feature that is right with probability p only, and many weak ones
``N(eta y, 1)`` with ``eta = c / sqrt(k)``, each nearly worthless alone, together nearly perfect, all gone under a
small l-infinity perturbation. Here a feature is not one coordinate but one pattern P of +1 and -1 over an 8x8
image (products of Walsh functions: orthogonal to each other and to the constant image), so a perturbation of size
eps along sign P changes the feature's coefficient ``<x - 1/2, P> / 64`` by exactly eps::

    x = 1/2 + A s R + a_h sum_i z_i P_i + a_v sum_j z_j Q_j + noise,      z = (c / sqrt(k)) y + N(0, 1)

    R     robust       1 pattern   left half against right half; s = y with probability p, else -y;  A = 0.1
    P_i   horizontal   4 patterns  fine horizontal stripes; c = 0.8 (79 % right together),  a_h = 0.005
    Q_j   vertical    16 patterns  fine vertical stripes; c = 2.9 (99.8 % right together),  a_v = 0.001
    noise of standard deviation 1e-4 in every pixel

The three scales A >> a_h >> a_v are there to be seen by a kernel. The top eigenvectors of an NTK follow the
directions in which the data vary most: eigenfeature 0 is the constant (useless), 1 the robust feature, and the
next useful ones are the label directions of the stripes, ``sum P_i`` and ``sum Q_j``. Those two sums are again
patterns of one magnitude (the signs are chosen so), which makes them exact targets of the attack. Measured with
FC(1), 500 training and 1000 test images, usefulness / robustness under FGSM: index 1 (halves) 0.76 / 0.76, index 2
(horizontal) 0.77 / 0.00, index 10 (vertical) 0.73 / 0.00; a kernel that uses everything: 0.997 / 0.000. The same
three indices for n = 300 to 2000 and for FC(3).

Why the stripes do not reach 79 % and 99.8 %: eigenvectors of K decorrelate them from each other and from the
robust feature, and uncorrelated features have to share the label (their squared correlations with it sum to at
most 1). Any eps from 0.02 to 0.09 tells the kinds apart: more than the stripes' coefficients, less than A; at A
itself the robust feature falls too. The recommended one is ``EPS`` = 8/255::

    truth = toy_truth()
    truth.features[0].name, truth.features[0].robust, truth.features[0].label_direction    # [8, 8]
"""

from dataclasses import dataclass
from functools import cache
from math import sqrt
from statistics import NormalDist

import numpy as np

from ntkcore.data.arrays import Arrays
from ntkcore.data.sources import SOURCES

EPS = 8 / 255
"""Recommended l-infinity radius: flips the weak features, not the strong one."""

SIDE = 8
STRONG, RIGHT = 0.1, 0.75  # A and p
NOISE = 1e-4  # per pixel
_SEEDS = {"train": 1805_12152, "test": 2210_05577}


@dataclass(frozen=True, eq=False)
class ToyFeature:
    """One planted feature: a group of k patterns and the part of the label that it carries.

    patterns [k, 8, 8]: +1 and -1, orthogonal. mean, noise: mean and standard deviation of y times the coefficient
    of each pattern, in pixel units. amplitude: the l-infinity radius that moves the feature, where it is right and
    of typical strength, to 0: A, or a c for a group of weak ones. accuracy: share of images on which the sign of
    the projection onto ``label_direction`` is the label. robust: keeps that accuracy under the recommended EPS.
    """

    name: str
    patterns: np.ndarray
    mean: float
    noise: float
    amplitude: float
    accuracy: float
    robust: bool

    @property
    def label_direction(self) -> np.ndarray:
        """[8, 8] of unit norm: where the label moves this feature, from the minus to the plus class."""
        total = self.patterns.sum(0)
        return total / np.linalg.norm(total)


@dataclass(frozen=True, eq=False)
class ToyTruth:
    """What is planted: the features, strongest first, and the radius that tells robust from non-robust."""

    features: tuple[ToyFeature, ...]
    eps: float

    @property
    def names(self) -> tuple[str, ...]:
        """Of the features, in order."""
        return tuple(feature.name for feature in self.features)

    @property
    def robust(self) -> np.ndarray:
        """[features] bool."""
        return np.array([feature.robust for feature in self.features])

    @property
    def directions(self) -> np.ndarray:
        """[features, 8, 8]: label directions of unit norm, orthogonal to each other."""
        return np.stack([feature.label_direction for feature in self.features])


@cache
def toy_truth() -> ToyTruth:
    """The planted features of the toy set."""
    left_right = _products((0,), (1,))
    horizontal, vertical = _products((6, 7), (0, 1)), _products((0, 1, 2, 3), (4, 5, 6, 7))
    # y s is 1 with probability p, else -1: mean 2p - 1, standard deviation 2 sqrt(p (1 - p))
    mean, noise = STRONG * (2 * RIGHT - 1), 2 * STRONG * sqrt(RIGHT * (1 - RIGHT))
    features = (
        ToyFeature("left and right halves", left_right, mean, noise, STRONG, RIGHT, robust=True),
        _weak("horizontal stripes", horizontal, together=0.8, scale=0.005),
        _weak("vertical stripes", vertical, together=2.9, scale=0.001),
    )
    return ToyTruth(features, EPS)


def _weak(name: str, patterns: np.ndarray, together: float, scale: float) -> ToyFeature:
    """A group with coefficients ``scale * N(eta y, 1)``, eta = c / sqrt(k), whose sum has mean c in its own noise."""
    mean = scale * together / sqrt(len(patterns))
    accuracy = NormalDist().cdf(together)
    return ToyFeature(name, patterns, mean, scale, scale * together, accuracy, robust=False)


@cache
def toy_arrays() -> Arrays:
    """The whole set: 5000 training and 2000 test images [n, 1, 8, 8], classes in turn. Always the same."""
    source = SOURCES["toy"]
    x_train, labels_train = _draw(source.n_train, _SEEDS["train"])
    x_test, labels_test = _draw(source.n_test, _SEEDS["test"])
    return Arrays(x_train, labels_train, x_test, labels_test, source.classes).frozen()


def _draw(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 2
    y = 2.0 * labels - 1
    robust, *weak = toy_truth().features
    s = np.where(rng.random(n) < RIGHT, y, -y)
    x = 0.5 + STRONG * s[:, None, None] * robust.patterns[0]
    for feature in weak:
        z = feature.mean * y[:, None] + feature.noise * rng.standard_normal((n, len(feature.patterns)))
        x += np.einsum("nk,khw->nhw", z, feature.patterns)
    x += NOISE * rng.standard_normal(x.shape)
    return x[:, None].astype(np.float32), labels


def _products(rows: tuple[int, ...], columns: tuple[int, ...]) -> np.ndarray:
    """[k, 8, 8]: patterns w_r w_c^T of chosen Walsh functions, the one of positions (i, j) with sign (-1)^(i . j).

    i . j counts the bits that i and j share. As i . j is a bent function, all the products of 2 with 2 or of 4
    with 4 functions sum to a pattern of one magnitude instead of cancelling in most pixels.
    """
    w = _walsh(SIDE)
    found = [
        (-1) ** (i & j).bit_count() * np.outer(w[r], w[c]) for i, r in enumerate(rows) for j, c in enumerate(columns)
    ]
    return np.stack(found).astype(float)


def _walsh(n: int) -> np.ndarray:
    """[n, n]: Walsh functions, row r with r changes of sign (Hadamard's matrix in order of sequency)."""
    h = np.ones((1, 1), dtype=int)
    while len(h) < n:
        h = np.block([[h, h], [h, -h]])
    return h[np.argsort((np.diff(h, axis=1) != 0).sum(1))]
