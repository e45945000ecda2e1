"""Made-up results of the sizes the app draws, and every figure function with its options on, as fixtures."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go
import pytest
import torch

from ntkcore import figures
from ntkcore.analysis.consistency.similarity import Match
from ntkcore.analysis.features.classes import BETWEEN, BRITTLE, ROBUST, WEAK

NAMES = ("T-shirt/top", "Ankle boot")
ARCHITECTURES = ("FC(1)", "Conv(2)", "Myrtle(10)")
PAIRS = (("FC(1)", "Conv(2)"), ("FC(1)", "Myrtle(10)"), ("Conv(2)", "Myrtle(10)"))
ALIGNMENT = np.array([[1.0, 0.93, 0.61], [0.93, 1.0, 0.78], [0.61, 0.78, 1.0]])


@dataclass(frozen=True)
class Results:
    """What an experiment with ``n`` training and ``m`` test images would hand to the figures."""

    values: np.ndarray  # [n]
    energy: np.ndarray  # [n]
    vectors: np.ndarray  # [n, 2]
    kernel: np.ndarray  # [n, n]
    labels: np.ndarray  # [n]
    rho: np.ndarray  # [n]
    gamma: np.ndarray  # [n]
    codes: np.ndarray  # [n]
    contributions: np.ndarray  # [n]
    images: np.ndarray  # [m, 1, 28, 28]
    status: np.ndarray  # [m]

    @property
    def n(self) -> int:
        return len(self.values)


def make_results(n: int, m: int) -> Results:
    rng = np.random.default_rng(5)
    index = np.arange(1, n + 1)
    energy = index**-1.1 * rng.uniform(0.1, 1, n)
    labels = rng.integers(0, 2, n)
    vectors = rng.normal(size=(n, 2)) + labels[:, None]
    rho = rng.integers(m // 3, 9 * m // 10, n) / m
    gamma = np.floor(rho * m * np.exp(-index / 40)) / m
    kept = gamma / rho
    codes = np.select([rho <= 0.6, kept >= 0.5, kept <= 0.05], [WEAK, ROBUST, BRITTLE], BETWEEN)
    kernel = 1 + vectors @ vectors.T / 4
    images = rng.uniform(size=(m, 1, 28, 28))
    status = np.array(["right", "flipped", "wrong"])[rng.integers(0, 3, m)]
    return Results(
        values=500.0 * index**-1.3,
        energy=energy / energy.sum(),
        vectors=vectors,
        kernel=kernel,
        labels=labels,
        rho=rho,
        gamma=gamma,
        codes=codes,
        contributions=rng.normal(size=n) / index,
        images=images,
        status=status,
    )


def band(*mean: float, reach: float = 0.03) -> figures.Band:
    mean = np.array(mean)
    return figures.Band(mean, mean - reach, mean + reach)


def _subsets(r: Results, dark: bool) -> go.Figure:
    ks = np.array([1, 2, 5, 10, 50, r.n])
    curve = figures.Curve(ks, band(*np.linspace(0.5, 0.9, 6)), band(*np.linspace(0.4, 0.05, 6)))
    return figures.kept_subsets({"top": curve, "bottom": curve, "robust": curve}, k=5, chance=0.5, dark=dark)


def _time(r: Results, dark: bool) -> go.Figure:
    curve = figures.Curve(np.logspace(-1, 4, 20), band(*np.linspace(0.5, 0.9, 20)), band(*np.linspace(0.4, 0.03, 20)))
    return figures.along_time(curve, t=3.0, chance=0.5, dark=dark)


def _bands(r: Results, dark: bool) -> go.Figure:
    first = np.array([0, *2 ** np.arange(int(np.log2(r.n - 1)) + 1)])
    curve = figures.Curve(first, band(*np.full(len(first), 0.6)), band(*np.linspace(0.55, 0.03, len(first))))
    return figures.feature_bands(curve, count=r.n, chance=0.5, dark=dark)


def _over_null(r: Results, dark: bool) -> go.Figure:
    null = np.random.default_rng(6).binomial(40, 0.5, (100, r.n)) / 40
    return figures.usefulness_over_null(r.rho, null, m=40, classes=r.codes, chance=0.5, useful_from=0.7, dark=dark)


def _margin(r: Results, dark: bool) -> go.Figure:
    eps = np.linspace(0, 16, 9) / 255
    margins = {"fgsm": 1 - 40 * eps, "pgd": 1 - 50 * eps, "noise": 1 - eps, "white_box": 1 - 60 * eps}
    return figures.margin_along_eps(eps, margins, eps_mark=8 / 255, dark=dark)


def _attacked(r: Results, dark: bool) -> go.Figure:
    eps, image = np.linspace(0, 16, 9) / 255, np.clip(r.images[0], 0.1, 0.9)
    images = image + eps[:, None, None, None] * np.sign(image - 0.5)
    says, margin = ["Coat"] * 6 + ["Bag"] * 3, 1 - 45 * eps
    return figures.attacked_image(image, images, eps, says, margin, {"fgsm": margin}, at=4, factor=10, dark=dark)


def _strip(r: Results, dark: bool) -> go.Figure:
    image = r.images[0]
    pictures = [figures.Picture(image, "image"), figures.Picture(image - 0.5, "signed", signed=True)]
    return figures.strip(pictures, colorbar=True, dark=dark)


def _accuracy_panels(r: Results, dark: bool) -> go.Figure:
    falls = {"white_fgsm": 0.1, "kernel_fgsm": 0.2, "kernel_pgd": 0.15, "white_pgd": 0.05, "noise": 0.85}
    lines = {key: band(*np.linspace(0.9, end, 9)) for key, end in falls.items()}
    panels = {"width 32": lines, "width 512": {"other_seed": lines["noise"], **lines}, "width 4096": {}}
    return figures.accuracy_along_eps(np.linspace(0, 16, 9) / 255, panels, eps_mark=8 / 255, chance=0.5, dark=dark)


def _strength(r: Results, dark: bool) -> go.Figure:
    recovered = {"kernel_fgsm": band(0.6, 0.8, 0.95), "white_pgd": band(1.2, 1.3, 1.3), "noise": band(0, 0.1, -0.01)}
    return figures.strength_along_width([32, 512, 4096], recovered, band(0.4, 0.7, 0.95), dark=dark)


def _cosine(r: Results, dark: bool) -> go.Figure:
    curve = [0, 1, 10, 100, 1000], band(0.95, 0.9, 0.8, 0.7, 0.6)
    names = ("width 32", "width 32, by SGD", "width 512", "width 512, by SGD")
    return figures.cosine_along_training(dict.fromkeys(names, curve), dark=dark)


def _losses(r: Results, dark: bool) -> go.Figure:
    steps = np.arange(r.n)
    curves = {f"width {width}, seed {seed}": (steps, np.exp(-steps / width)) for width in (32, 512) for seed in (0, 1)}
    return figures.training_curves(curves, dark=dark)


def _matrix(r: Results, dark: bool) -> go.Figure:
    shares = np.array([[0.9, 0.4, 0.3], [0.35, 0.8, np.nan]])
    targets = ["fc, depth 1", "conv, depth 3", "myrtle, depth 5"]
    return figures.transfer_matrix(targets[:2], targets, shares, value_name="transfer rate", dark=dark)


def _overlaps(r: Results, dark: bool) -> go.Figure:
    ks = np.unique(np.geomspace(1, r.n, 40).astype(int))
    curves = {f"{a} and {b}": (ks / r.n) ** power for (a, b), power in zip(PAIRS, (0.1, 0.3, 0.6), strict=True)}
    bands = {pair: figures.Band(curve, 0.9 * curve, curve) for pair, curve in curves.items()}
    return figures.overlap_along_k(ks, bands, ks / r.n, dark=dark)


def _matched(r: Results, dark: bool) -> go.Figure:
    index = torch.arange(r.n // 2)
    match = Match(index, torch.cos(index / 9.0).double())
    cosines = match.product[:, None].numpy() * np.array([0.5, 0.6, 0.8])
    return figures.matched_features(match, cosines, n=r.n, dark=dark)


REGIMES = ("standard", "fgsm", "pgd")
EPOCHS = np.arange(201)  # the longest training the app runs has 200 epochs


def _by_regime(length: int, start: float, *ends: float) -> dict[str, figures.Band]:
    return {key: band(*np.linspace(start, end, length)) for key, end in zip(REGIMES, ends, strict=True)}


def _accuracy_epochs(r: Results, dark: bool) -> go.Figure:
    kinds = ("clean", "fgsm", "pgd")
    curves = {key: dict.fromkeys(kinds, line) for key, line in _by_regime(201, 0.1, 0.8, 0.5, 0.4).items()}
    frozen = {"pgd": {5: dict.fromkeys(kinds, band(*np.full(196, 0.3)))}}
    return figures.accuracy_along_epochs(EPOCHS, curves, train=curves, frozen=frozen, chance=0.1, dark=dark)


def _frozen(r: Results, dark: bool) -> go.Figure:
    lines = _by_regime(4, 0.1, 0.05, 0.3, 0.4)
    curves = {key: {"clean": line, "attacked": line, "train": line} for key, line in lines.items()}
    whole = {"fgsm": 0.35, "pgd": 0.45}
    return figures.frozen_accuracy([0, 1, 5, 20], curves, whole, chance=0.1, dark=dark)


def _distances(r: Results, dark: bool) -> go.Figure:
    at = EPOCHS / 200
    matrices = {
        key: 1 - np.cos(turn * np.subtract.outer(at, at)) for key, turn in zip(REGIMES, (1, 0.7, 0.4), strict=True)
    }
    return figures.kernel_distances(EPOCHS, matrices, dark=dark)


def _velocity(r: Results, dark: bool) -> go.Figure:
    fall = {key: np.geomspace(0.1, end, 200) for key, end in zip(REGIMES, (1e-2, 1e-4, 1e-5), strict=True)}
    bands = {key: figures.Band(line, line * 0.8, line * 1.2) for key, line in fall.items()}
    lazy = {"standard": None, "fgsm": 40, "pgd": 20}
    return figures.kernel_velocity(EPOCHS, bands, lazy=lazy, share=0.1, seeds=3, dark=dark)


def _thresholds(r: Results, dark: bool) -> go.Figure:
    thresholds = np.arange(1, 51) / 100
    fall = {key: np.rint(end / thresholds) for key, end in zip(REGIMES, (20, 4, 2), strict=True)}
    lazy = {key: np.stack([np.where(t + k < 200, t + k, np.inf) for k in range(3)]) for key, t in fall.items()}
    return figures.lazy_by_threshold(thresholds, lazy, 200, share=0.1, dark=dark)


def _polar(r: Results, dark: bool) -> go.Figure:
    at = EPOCHS / 200
    paths = {key: (at**0.5, turn * at) for key, turn in zip(REGIMES, (1.2, 0.9, 0.6), strict=True)}
    return figures.polar_paths(EPOCHS, {"whole kernel": paths, "top 20": paths, "bottom": paths}, dark=dark)


def _concentration(r: Results, dark: bool) -> go.Figure:
    mass = {key: {10: line, 20: line} for key, line in _by_regime(201, 0.9, 0.92, 0.95, 0.96).items()}
    share, rank = _by_regime(201, 0.6, 0.7, 0.8, 0.9), _by_regime(201, 60, 50, 30, 12)
    return figures.concentration(EPOCHS, mass, share, rank, dark=dark)


def _alignment(r: Results, dark: bool) -> go.Figure:
    lines, special = _by_regime(201, 0.1, 0.7, 0.5, 0.4), _by_regime(201, 1.0, 1.7, 1.5, 1.4)
    return figures.alignment_along_epochs(EPOCHS, lines, special, dark=dark)


def _spectra(r: Results, dark: bool) -> go.Figure:
    values = {key: scale * r.values for key, scale in zip(REGIMES, (1, 3, 10), strict=True)}
    return figures.spectra_at_epoch(values, 20, first=dict.fromkeys(REGIMES, r.values), dark=dark)


def _moving_spectra(r: Results, dark: bool) -> go.Figure:
    values = {key: [(1 + epoch) * r.values for epoch in range(41)] for key in REGIMES}
    return figures.spectra_along_epochs(range(41), values, at=20, dark=dark)


# name -> (results, dark) -> figure: every figure function, with its options on
FIGURES: dict[str, Callable[[Results, bool], go.Figure]] = {
    "eigenvalues": lambda r, d: figures.eigenvalues(r.values, r.energy, selected=3, dark=d),
    "eigenvalues-by-class": lambda r, d: figures.eigenvalues(r.values, r.energy, classes=r.codes, dark=d),
    "cumulative": lambda r, d: figures.cumulative(r.values, r.energy, effective_rank=7.5, dark=d),
    "learned-modes": lambda r, d: figures.learned_modes(r.values, 2.0, dark=d),
    "modes-along-time": lambda r, d: figures.modes_along_time(r.values, dark=d),
    "eigenvectors": lambda r, d: figures.eigenvectors(*r.vectors.T, r.labels, NAMES, i=0, j=1, selected=4, dark=d),
    "kernel-heatmap": lambda r, d: figures.kernel_heatmap(r.kernel, r.labels, NAMES, dark=d),
    "usefulness-robustness": lambda r, d: figures.usefulness_robustness(
        r.rho, r.gamma, classes=r.codes, selected=2, m=40, chance=0.5, useful_from=0.6, keep=0.5, dark=d
    ),
    "usefulness-over-null": _over_null,
    "feature-bands": _bands,
    "shares-along-index": lambda r, d: figures.shares_along_index(r.rho, r.gamma, m=40, chance=0.5, selected=2, dark=d),
    "class-shares": lambda r, d: figures.class_shares(r.codes, dark=d),
    "perturbation-split": lambda r, d: figures.perturbation_split(r.contributions, classes=r.codes, dark=d),
    "kept-subsets": _subsets,
    "along-time": _time,
    "margin-along-eps": _margin,
    "attacked-image": _attacked,
    "contact-sheet": lambda r, d: figures.contact_sheet(r.images, r.status, selected=1, dark=d),
    "strip": _strip,
    "alignment": lambda r, d: figures.alignment_heatmap(
        ARCHITECTURES, figures.Band(ALIGNMENT, 0.9 * ALIGNMENT, ALIGNMENT), dark=d
    ),
    "overlap-along-k": _overlaps,
    "vector-overlap": lambda r, d: figures.vector_overlap_heatmap(
        np.abs(np.cos(np.add.outer(np.arange(40), np.arange(40) ** 2))), *ARCHITECTURES[:2], dark=d
    ),
    "matched-features": _matched,
    "accuracy-along-eps": _accuracy_panels,
    "strength-along-width": _strength,
    "cosine-along-training": _cosine,
    "training-curves": _losses,
    "transfer-matrix": _matrix,
    "accuracy-along-epochs": _accuracy_epochs,
    "frozen-accuracy": _frozen,
    "kernel-distances": _distances,
    "kernel-velocity": _velocity,
    "lazy-by-threshold": _thresholds,
    "polar-paths": _polar,
    "concentration": _concentration,
    "alignment-along-epochs": _alignment,
    "spectra-at-epoch": _spectra,
    "spectra-along-epochs": _moving_spectra,
}


@pytest.fixture(scope="session")
def results() -> Results:
    return make_results(n=200, m=40)


@pytest.fixture(scope="session")
def large_results() -> Results:
    """The largest the app draws: n = 2000 training images, 300 test images."""
    return make_results(n=2000, m=300)


@pytest.fixture(params=FIGURES.items(), ids=FIGURES.keys())
def figure_function(request: pytest.FixtureRequest) -> tuple[str, Callable[[Results, bool], go.Figure]]:
    """Each figure function in turn: its name and a function of (results, dark)."""
    return request.param


@pytest.fixture
def draw(results: Results) -> Callable[..., go.Figure]:
    """A figure by name: ``draw("eigenvalues", dark=True)``."""

    def build(name: str, dark: bool = False) -> go.Figure:
        return FIGURES[name](results, dark)

    return build
