"""Microseconds per entry of closed-form square kernels ``k(x)``, float32, beside neural-tangents.

An entry is one number of the matrix that is returned; images are uniform noise of 256 levels.
Both take turns in one run, so that a busy moment meets both; each has as many images as fit in a second or two, since
neural-tangents needs hundreds of times as long for some; on a GPU (``--device cuda``) four times as many, in float32
throughout at the peer too. The error is that of the float32 entries against float64, each
relative to itself, diagonal and near copies of images included.
"""

import argparse
from dataclasses import dataclass, replace
from statistics import median

import numpy as np
import torch
from torch import Tensor

import ntkcore as ntk
from bench.measure import timed
from bench.peers import MISSING, Peer, neural_tangents
from ntkcore.nets import FAMILIES


@dataclass(frozen=True)
class Case:
    """A kernel to time: family and depth, image shape (C, H, W), images here, images at the peer."""

    family: str
    depth: int
    shape: tuple[int, int, int]
    n: int
    peers: int

    @property
    def net(self) -> ntk.Net:
        return FAMILIES[self.family].make(self.depth)

    def images(self, n: int, device: str = "cpu") -> Tensor:
        levels = np.random.default_rng(0).integers(0, 256, (n, *self.shape)).astype(np.float32)
        return torch.from_numpy(levels / np.float32(255)).to(device)

    def __str__(self) -> str:
        return f"{self.net} {'x'.join(map(str, self.shape))}, n = {self.n}"


CASES = (
    Case("fc", 1, (3, 32, 32), 2000, 2000),
    Case("fc", 5, (3, 32, 32), 2000, 2000),
    Case("conv", 2, (3, 32, 32), 500, 100),
    Case("conv", 5, (3, 32, 32), 300, 60),
    *(Case("myrtle", depth, (3, 8, 8), 400, 32) for depth in (5, 7, 10)),
    *(Case("myrtle", depth, (3, 16, 16), 100, 8) for depth in (5, 7, 10)),
    *(Case("myrtle", depth, (3, 32, 32), 20, 2) for depth in (5, 7, 10)),
)


WIDER = 4  # times as many images on a GPU


def main(options: argparse.Namespace) -> None:
    """Measure and print; options: rounds, device."""
    print(f"microseconds per entry, medians of {options.rounds} rounds (fastest to slowest)")
    with neural_tangents() as peer:
        if peer is None:
            print(f"  {MISSING}")
        for case in CASES:
            if options.device == "cuda":
                case = replace(case, n=WIDER * case.n, peers=WIDER * case.peers)
            print(f"  {case!s:<30} {line(case, options.rounds, peer, options.device)}", flush=True)


def line(case: Case, rounds: int, peer: Peer | None, device: str = "cpu") -> str:
    """Both in turn, after one call of each; and the error."""
    kernel, x = ntk.kernel_fn(case.net), case.images(case.n, device)
    kernel(x)
    if peer is not None:
        corner = torch.tensor(peer.prepare(case.family, case.depth, case.shape, case.peers))
        found = kernel(x[:3])[0, : len(corner)].cpu()
        far = (found - corner).abs() > torch.tensor([1e-2, 1e-3, 1e-3])[: len(corner)] * corner
        if far.any():  # of an image with itself neural-tangents has fewer digits
            raise RuntimeError(f"{case}: neural-tangents computes another kernel, so its time means nothing")
    ours, theirs = [], []
    for _ in range(rounds):
        ours.append(timed(lambda: kernel(x))[0] / case.n**2 * 1e6)
        if peer is not None:
            theirs.append(peer.seconds() / case.peers**2 * 1e6)
    words = f"{_spread(ours)}, error {error(case, device):.0e}"
    if not theirs:
        return words
    return f"{words}; neural-tangents (n = {case.peers}) {_spread(theirs)}: {median(theirs) / median(ours):.0f} times"


def error(case: Case, device: str) -> float:
    """Largest error of float32 relative to the float64 entry; a few images, copies of them in other brightness, and
    some that share half of their pixels."""
    x = case.images(6, device)
    half = x[1:].clone()
    half[..., : x.shape[-1] // 2] = x[:1, ..., : x.shape[-1] // 2]
    x = torch.cat([x, x[:2] + 1e-3, x[:1] * 0.999, half])
    kernel = ntk.kernel_fn(case.net)
    double = kernel(x.double())
    return ((kernel(x) - double) / double).abs().max().item()


def _spread(values: list[float]) -> str:
    return f"{median(values):.3g} ({min(values):.3g} to {max(values):.3g})"
