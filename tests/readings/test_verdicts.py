"""Verdicts by their rules, on answers whose truth is known."""

import numpy as np
import pytest
import torch

from ntkcore.analysis.consistency.agreement import agreement
from ntkcore.readings.verdicts import HOLDS, IN_PART, NOT_HERE, UNKNOWN, judge_agree, judge_seen, judge_training_free


def answers(right: int, of: int) -> np.ndarray:
    """So many right answers first, the others wrong."""
    return np.arange(of) < right


@pytest.mark.parametrize(
    ("clean", "attacked", "of", "verdict"),
    [
        pytest.param(450, 20, 500, HOLDS, id="nearly all is taken"),
        pytest.param(450, 350, 500, UNKNOWN, id="about half is taken"),
        pytest.param(450, 440, 500, NOT_HERE, id="little is taken"),
        pytest.param(255, 10, 500, UNKNOWN, id="no better than guessing"),
        pytest.param(8, 4, 10, UNKNOWN, id="so few images"),
    ],
)
def test_training_free(clean: int, attacked: int, of: int, verdict: str) -> None:
    judged = judge_training_free(answers(clean, of), answers(attacked, of), 0.5, "FGSM")
    assert judged.verdict == verdict
    assert judged.number == f"{100 * clean / of:.0f} % → {100 * attacked / of:.0f} %"
    assert f"of {of} test images right, before and under FGSM" in judged.of_what


def test_training_free_says_how_much_is_taken() -> None:
    """Half of the 40 points beyond guessing is 20; below the guess, the share would be above 1 and is not told."""
    taken = judge_training_free(answers(450, 500), answers(300, 500), 0.5, "FGSM")
    assert "takes 75 % [" in taken.reason
    assert "worse than a guess" in judge_training_free(answers(450, 500), answers(100, 500), 0.5, "FGSM").reason


@pytest.mark.parametrize(
    ("falls", "counts", "verdict", "number"),
    [
        pytest.param((0.1, 0.1, 0.7, 0.1), (9, 5, 2, 3), HOLDS, "90 %", id="brittle ones do most"),
        pytest.param((0.1, 0.1, 0.1, 0.7), (9, 5, 2, 3), IN_PART, "90 %", id="weak ones do most"),
        pytest.param((0.7, 0.1, 0.1, 0.1), (9, 5, 2, 3), NOT_HERE, "30 %", id="robust ones do most"),
        pytest.param((0.0, 0.2, 0.1, 0.7), (9, 5, 2, 0), UNKNOWN, "100 %", id="nothing is robust"),
        pytest.param((0.5, 0.2, 0.0, 0.3), (9, 0, 2, 3), UNKNOWN, "50 %", id="nothing is brittle"),
        pytest.param((0.0, 0.0, 0.0, 0.0), (9, 5, 2, 3), UNKNOWN, "none", id="no damage"),
    ],
)
def test_seen(falls: tuple[float, ...], counts: tuple[int, ...], verdict: str, number: str) -> None:
    """Every image's margin falls by so much through robust, in between, brittle and weak features."""
    parts = -np.outer(np.linspace(0.5, 1.5, 50), falls)
    judged = judge_seen(parts, np.array(counts), "FGSM")
    assert (judged.verdict, judged.number) == (verdict, number)
    assert "FGSM does to 50 test images" in judged.of_what


def _kernel(vectors: torch.Tensor) -> torch.Tensor:
    """A kernel with these eigenvectors [n, n], of falling eigenvalues."""
    return vectors @ torch.diag(0.7 ** torch.arange(len(vectors)).double()) @ vectors.T


@pytest.mark.parametrize(
    ("alike", "verdict"), [((True, True), HOLDS), ((True, False), IN_PART), ((False,), NOT_HERE)], ids=str
)
def test_agree(alike: tuple[bool, ...], verdict: str) -> None:
    """Kernels with the eigenvectors of the first one, or with others."""
    g = torch.Generator().manual_seed(0)
    own, *others = (torch.linalg.qr(torch.randn(60, 60, generator=g).double()).Q for _ in range(1 + len(alike)))
    kernels = [_kernel(own), *(_kernel(own if same else other) for same, other in zip(alike, others, strict=True))]
    judged = judge_agree([f"net {i}" for i in range(len(kernels))], agreement(kernels))
    assert judged.verdict == verdict
    assert "the least similar pair" in judged.of_what
