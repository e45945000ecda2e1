"""The empirical tangent kernel of whole networks, against the way of the torch.func tutorial, "Jacobian contraction".

The peer is the tutorial's function (docs.pytorch.org, "Neural Tangent Kernels"): per-sample Jacobians of all weights by
``vmap(jacrev(functional_call))`` for x1 and again for x2, then ``einsum('Naf,Mbf->NMab')`` a parameter, summed. Here
x1 = x2 = x, and it is also said how the peer would fare if it knew that and made one Jacobian. Both alternate in one
run, in float32, so that a busy moment meets both; on a busy machine compare the processor time. Memory is the process's
peak during a call, less what it held before (Linux; results count, images do not), and the error the largest difference
over the largest entry.
"""

import argparse
import contextlib
import ctypes
import gc
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import functional_call, jacrev, vmap

import ntkcore as ntk
from bench.measure import Seconds, forget_peak, memory, timed
from ntkcore.architectures import build


@dataclass(frozen=True)
class Case:
    """A network by name, image shape (C, H, W), images, outputs."""

    name: str
    shape: tuple[int, int, int] = (3, 32, 32)
    n: int = 64
    outputs: int = 10

    def make(self) -> tuple[nn.Module, Tensor]:
        x = torch.rand(self.n, *self.shape, generator=torch.Generator().manual_seed(0))
        return build(self.name, self.shape, self.outputs).eval(), x

    def __str__(self) -> str:
        channels, height, width = self.shape
        return f"{self.name}, {channels}x{height}x{width}, n = {self.n}, {self.outputs} outputs"


CASES = (Case("cnn-small"), Case("cnn-large"))


def main(options: argparse.Namespace) -> None:
    """Measure and print; options: rounds."""
    print(f"full empirical kernels [n, n, c, c]; medians of {options.rounds} rounds (fastest to slowest)")
    for case in CASES:
        print(f"  {case}")
        measure(case, options.rounds)


def measure(case: Case, rounds: int) -> None:
    """Both ways in turn, after calls of each that also give the memory and the error."""
    module, x = case.make()
    ours, theta = peak(lambda: ntk.empirical_ntk(module, x))
    peers, expected = peak(lambda: jacobian_contraction(module, x, x)[0])
    error = ((theta - expected).abs().max() / expected.abs().max()).item()
    del theta, expected
    seconds: dict[str, list[float]] = defaultdict(list)
    for _ in range(rounds):
        start = time.process_time()
        seconds["product"].append(timed(lambda: ntk.empirical_ntk(module, x))[0])
        seconds["product, of all cores"].append(time.process_time() - start)
        start = time.process_time()
        whole, (_, second) = timed(lambda: jacobian_contraction(module, x, x))
        seconds["peer"].append(whole)
        seconds["peer, of all cores"].append(time.process_time() - start)
        seconds["peer, one Jacobian"].append(whole - second)
    for name, taken in seconds.items():
        held = {"product": f", peak memory {ours}", "peer": f", peak memory {peers}"}.get(name, "")
        print(f"    {name:<22} {Seconds(taken)}{held}")
    median = {name: Seconds(taken).median for name, taken in seconds.items()}
    print(
        f"    {median['peer'] / median['product']:.1f} times as fast"
        f" ({median['peer, of all cores'] / median['product, of all cores']:.1f} in processor time,"
        f" {median['peer, one Jacobian'] / median['product']:.1f} if one Jacobian did); error {error:.1e}",
        flush=True,
    )


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
