"""Microseconds per entry of closed-form kernels: ``k(x)`` (symmetric, half of it mirrored) and ``k(x1, x2)``.

One line a case: a net, an image shape and a number of images small enough for a second or so. An entry is one number
of the matrix that is returned; images are uniform noise, on which the work does not depend.
"""

import argparse
from dataclasses import dataclass
from statistics import median

import torch

import ntkcore as ntk
from bench.measure import timed


@dataclass(frozen=True)
class Case:
    """A kernel to time: net, image shape (C, H, W), images on each side."""

    net: ntk.Net
    shape: tuple[int, int, int]
    n: int

    def images(self, dtype: torch.dtype, seed: int) -> torch.Tensor:
        generator = torch.Generator().manual_seed(seed)
        return torch.rand(self.n, *self.shape, generator=generator, dtype=dtype)

    def __str__(self) -> str:
        channels, height, width = self.shape
        return f"{self.net}, {channels}x{height}x{width}, n = {self.n}"


CASES = (
    Case(ntk.fc(1), (3, 32, 32), 1000),
    Case(ntk.conv(2), (3, 32, 32), 64),
    Case(ntk.myrtle(5), (3, 8, 8), 64),
    Case(ntk.myrtle(5), (3, 16, 16), 16),
)


def main(options: argparse.Namespace) -> None:
    """Measure and print; options: rounds."""
    print(f"microseconds per entry, medians of {options.rounds} rounds")
    print(f"  {'':<32}{'float32':>20}{'float64':>20}")
    print(f"  {'':<32}{'k(x)  k(x1, x2)':>20}{'k(x)  k(x1, x2)':>20}")
    for case in CASES:
        square, rectangular = per_entry(case, torch.float32, options.rounds)
        square64, rectangular64 = per_entry(case, torch.float64, options.rounds)
        print(f"  {case!s:<32}{square:>9.3g}{rectangular:>11.3g}{square64:>9.3g}{rectangular64:>11.3g}", flush=True)


def per_entry(case: Case, dtype: torch.dtype, rounds: int) -> tuple[float, float]:
    """Median microseconds per entry of k(x1) and of k(x1, x2), after one call of each."""
    kernel = ntk.kernel_fn(case.net)
    x1, x2 = case.images(dtype, 0), case.images(dtype, 1)
    calls = (lambda: kernel(x1), lambda: kernel(x1, x2))
    seconds: list[list[float]] = [[], []]
    for call in calls:
        call()
    for _ in range(rounds):
        for taken, call in zip(seconds, calls, strict=True):
            taken.append(timed(call)[0])
    square, rectangular = (median(taken) / case.n**2 * 1e6 for taken in seconds)
    return square, rectangular
