"""The empirical tangent kernel of whole networks, against the torch.func tutorial's way and neural-tangents.

The tutorial's function (docs.pytorch.org, "Neural Tangent Kernels", "Jacobian contraction") makes per-sample Jacobians
of all weights by ``vmap(jacrev(functional_call))`` for x1 and again for x2, then ``einsum('Naf,Mbf->NMab')`` a
parameter, summed. Here x1 = x2 = x, and it is also said how it would fare if it knew that and made one Jacobian.
neural-tangents has the same weights and computes, compiled by jit, in that of its three ways (Novak et al. 2022) that
is fastest here. All take turns in one run, in float32, so that a busy moment meets all; on a busy machine compare the
processor time. Memory is the process's peak during a call, less what it held before (Linux; results count, images do
not), and an error the largest difference over the largest entry.
"""

import argparse
import contextlib
import ctypes
import gc
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call, jacrev, vmap

import ntkcore as ntk
from bench.measure import Seconds, forget_peak, memory, timed
from bench.peers import MISSING, Peer, neural_tangents
from ntkcore.architectures import build


@dataclass(frozen=True)
class Case:
    """A network by name, image shape (C, H, W), images, outputs."""

    name: str
    shape: tuple[int, int, int] = (3, 32, 32)
    n: int = 64
    outputs: int = 10

    def make(self, device: str = "cpu") -> tuple[nn.Module, Tensor]:
        x = torch.rand(self.n, *self.shape, generator=torch.Generator().manual_seed(0))
        return build(self.name, self.shape, self.outputs).eval().to(device), x.to(device)

    def __str__(self) -> str:
        channels, height, width = self.shape
        return f"{self.name}, {channels}x{height}x{width}, n = {self.n}, {self.outputs} outputs"


CASES = (Case("cnn-small"), Case("cnn-large"))


WAYS = ("JACOBIAN_CONTRACTION", "NTK_VECTOR_PRODUCTS", "STRUCTURED_DERIVATIVES")  # of neural-tangents
LAYERS = {nn.Conv2d: "conv", nn.Linear: "dense", nn.ReLU: "relu", nn.Flatten: "flatten"}
POOLS = {nn.AvgPool2d: "avgpool", nn.MaxPool2d: "maxpool"}


def main(options: argparse.Namespace) -> None:
    """Measure and print; options: rounds, device."""
    print(f"full empirical kernels [n, n, c, c]; medians of {options.rounds} rounds (fastest to slowest)")
    with neural_tangents() as peer:
        if peer is None:
            print(f"  {MISSING}")
        for case in CASES:
            print(f"  {case}")
            measure(case, options.rounds, options.device, peer)


def measure(case: Case, rounds: int, device: str = "cpu", peer: Peer | None = None) -> None:
    """All ways in turn, after calls of each that also give the memory and the error."""
    module, x = case.make(device)
    torch.backends.cudnn.allow_tf32 = False  # the tutorial's way in single precision too
    ours, theta = peak(lambda: ntk.empirical_ntk(module, x))
    theirs, expected = peak(lambda: jacobian_contraction(module, x, x)[0])
    print(f"    product: error {_error(theta, expected):.1e}, peak memory {ours}")
    print(f"    peak memory of the tutorial's way {theirs}")
    if peer is not None:
        peer, words = fastest_way(peer, module, x, theta)
        print(f"    neural-tangents: {words}", flush=True)
    del theta, expected
    seconds: dict[str, list[float]] = defaultdict(list)
    for _ in range(rounds):
        start = time.process_time()
        seconds["product"].append(timed(lambda: ntk.empirical_ntk(module, x))[0])
        seconds["product, of all cores"].append(time.process_time() - start)
        start = time.process_time()
        whole, (_, second) = timed(lambda: jacobian_contraction(module, x, x))
        seconds["tutorial"].append(whole)
        seconds["tutorial, of all cores"].append(time.process_time() - start)
        seconds["tutorial, one Jacobian"].append(whole - second)
        if peer is not None:
            seconds["neural-tangents"].append(peer.seconds())
    for name, taken in seconds.items():
        print(f"    {name:<31} {Seconds(taken)}")
    median = {name: Seconds(taken).median for name, taken in seconds.items()}
    words = f"    product: {median['tutorial'] / median['product']:.1f} times as fast as the tutorial's way"
    words += f" ({median['tutorial, of all cores'] / median['product, of all cores']:.1f} in processor time,"
    words += f" {median['tutorial, one Jacobian'] / median['product']:.1f} if one Jacobian did)"
    if peer is not None:
        words += f", {median['neural-tangents'] / median['product']:.1f} times as neural-tangents"
    print(words, flush=True)


def fastest_way(peer: Peer, module: nn.Sequential, x: Tensor, theta: Tensor) -> tuple[Peer | None, str]:
    """The peer with its fastest way prepared (None: no way fits in memory); its three ways in words, with how far each
    is from our kernel."""
    layers = [LAYERS.get(type(part)) or POOLS[type(part)] for part in module]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        np.save(folder / "x.npy", x.cpu().numpy())
        for number, weights in enumerate(module.parameters()):
            np.save(folder / f"{number}.npy", weights.detach().cpu().numpy())
        seconds, words = {}, []
        for way in WAYS:
            found, told = peer.prepare_empirical(layers, way, folder), way.lower().replace("_", " ")
            if found is None:
                words.append(f"{told}: out of memory")
                continue
            seconds[way] = min(peer.seconds(), peer.seconds())
            words.append(f"{told} {seconds[way]:.3g} s, error {_error(theta, torch.from_numpy(found)):.1e}")
        if not seconds:
            return None, "; ".join(words)
        peer.prepare_empirical(layers, min(seconds, key=seconds.get), folder)
    return peer, "; ".join(words)


def _error(theta: Tensor, expected: Tensor) -> float:
    """Largest difference over the largest entry."""
    return ((theta.to(expected) - expected).abs().max() / expected.abs().max()).item()


def jacobian_contraction(module: nn.Module, x1: Tensor, x2: Tensor) -> tuple[Tensor, float]:
    """The tutorial's kernel [n1, n2, c, c], and the seconds that the Jacobian of x2 took."""
    weights = {name: p.detach() for name, p in module.named_parameters()}

    def one(weights: dict[str, Tensor], image: Tensor) -> Tensor:
        return functional_call(module, weights, (image[None],))[0]

    def jacobian(x: Tensor) -> Sequence[Tensor]:
        return [j.flatten(2) for j in vmap(jacrev(one), (None, 0))(weights, x).values()]

    j1 = jacobian(x1)
    second, j2 = timed(lambda: jacobian(x2))
    parts = [torch.einsum("Naf,Mbf->NMab", a, b) for a, b in zip(j1, j2, strict=True)]
    return torch.stack(parts).sum(0), second


def peak(work: Callable[[], Tensor]) -> tuple[str, Tensor]:
    """The most memory a call held beyond what there was before, in words, and what it returned."""
    work()  # what the libraries allocate once
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)  # what the allocator has kept of freed memory
    try:
        forget_peak()
        before = memory()
        value = work()
        return f"{memory('VmHWM') - before:.0f} MB", value
    except OSError:
        return "unknown", work()
