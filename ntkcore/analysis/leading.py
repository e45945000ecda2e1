"""Leading eigenpairs of a kernel by products with it alone: block Lanczos, with all vectors kept orthogonal.

From a random block X the space of ``X, K X, K^2 X, ...`` is made orthonormal block by block; the eigenpairs of K
restricted to it are Rayleigh-Ritz's (Golub & Underwood 1977; Musco & Musco 2015, arXiv 1504.05477). A product with a
block costs little more than one with a vector, which is why ARPACK's single vectors (``scipy.sparse.linalg.eigsh``)
read a kernel some thirty times as often::

    found = leading(square(K), k=200)         # None: did not converge within half of n dimensions
    values, vectors = found                   # [k] descending, [n, k]

An eigenvalue is off by at most its residual ``|K v - lam v|``, which is made smaller than RESIDUAL of it. Of one that
occurs more often than a block has vectors, a block sees no more of its vectors than that: PROBES random vectors say
whether anything as large is left.
"""

import torch
from torch import Tensor

from ntkcore.analysis.eigenpairs import eigenpairs
from ntkcore.kernels.products import SquareKernel
from ntkcore.kernels.protocols import Progress

RESIDUAL = 1e-9  # relative to the eigenvalue
NOISE = 1e-12  # relative to the largest one: eigenvalues below are rounding noise, and so are their vectors
BLOCK, PROBES = 32, 8
MOST = 0.5  # of n: dimensions of the space; above, a full decomposition costs no more
DIMENSIONS, BLOCKS = 4, 12  # for each eigenpair, and blocks beside: what kernels of images take
PROBED = 6  # products of the probes
TIGHT = 1 + 1e-6  # times the smallest eigenvalue that was found: what is larger than that was missed


def dimensions(k: int) -> int:
    """Of the space that k eigenpairs are likely to be found in."""
    return DIMENSIONS * k + BLOCKS * BLOCK


def worthwhile(n: int, k: int) -> bool:
    """Whether the leading k are likely to cost less than all n."""
    return dimensions(k) <= MOST * n


def most_leading(n: int) -> int:
    """The largest k that is, or 1."""
    return max(1, int((MOST * n - BLOCKS * BLOCK) / DIMENSIONS))


def leading(K: SquareKernel, k: int, progress: Progress | None = None) -> tuple[Tensor, Tensor] | None:
    """The k largest eigenvalues, descending, and their vectors [n, k], float64; None where they do not converge."""
    expected = -(-dimensions(k) // BLOCK) + PROBED
    done = 0

    def part(share: float, of: float, note: str) -> None:
        if progress is not None:
            progress(min(done + share / of, expected - 0.5), expected, note)

    n, most = len(K), int(MOST * len(K))
    random = _Random(n, K.device)
    block = torch.linalg.qr(random(min(BLOCK, n)))[0]
    p = block.shape[1]
    space = block.new_empty(0, n)  # one row a dimension
    H = block.new_empty(0, 0)
    asked = k
    while len(space) + p <= most:
        product = K.times(block, part)
        space = torch.cat([space, block.T])
        inside = space @ product  # [dimensions, p]
        H = torch.cat([torch.cat([H, inside[:-p]], 1), inside.T])
        block, R = torch.linalg.qr(_outside(product - space.T @ inside, space))
        done += 1
        if len(space) >= asked:
            values, S = eigenpairs((H + H.T) / 2)
            values, S = values[-k:].flip(0), S[:, -k:].flip(1)
            residuals = (R @ S[-p:]).norm(dim=0)
            if (residuals <= torch.maximum(RESIDUAL * values.abs(), NOISE * values[0].abs())).all():
                vectors = space.T @ S
                missed = _largest_beside(K, values, vectors, random(PROBES), part)
                return (values, vectors) if missed <= TIGHT * values[-1] + NOISE * values[0] else None
            asked = int(1.1 * len(space))
        weak = R.diagonal().abs() <= NOISE * H.diagonal().abs().max()
        if weak.any():  # products that do not leave the space: other directions in their place
            block[:, weak] = random(int(weak.sum()))
            block = torch.linalg.qr(_outside(_outside(block, space), space))[0]
    return None


def _largest_beside(K: SquareKernel, values: Tensor, vectors: Tensor, block: Tensor, progress: Progress) -> Tensor:
    """The largest eigenvalue that some random vectors [n, p] find outside of the eigenpairs, from below."""
    space = vectors.T
    found: list[Tensor] = []
    for i in range(PROBED):
        block = torch.linalg.qr(_outside(_outside(block, space), space))[0]
        space = torch.cat([space, block.T])

        def part(done: float, of: float, note: str, before: int = i) -> None:
            progress(before + done / of, 1, note)

        block = K.times(block, part)
        found.append(block)
    own, products = space[len(values) :], torch.cat(found, 1)
    H = own @ products
    return torch.linalg.eigvalsh((H + H.T) / 2)[-1]


def _outside(vectors: Tensor, space: Tensor) -> Tensor:
    """Without what lies in the space: vectors [n, p], space [d, n]."""
    return vectors - space.T @ (space @ vectors)


class _Random:
    """The same vectors each time, [n, p] normal numbers."""

    def __init__(self, n: int, device: torch.device):
        self.n, self.device, self.generator = n, device, torch.Generator().manual_seed(0)

    def __call__(self, count: int) -> Tensor:
        found = torch.randn(self.n, count, generator=self.generator, dtype=torch.float64, device="cpu")
        return found.to(self.device)
