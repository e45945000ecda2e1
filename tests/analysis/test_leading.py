"""Leading eigenpairs, from products alone, beside full decompositions by LAPACK."""

import os
from functools import cache

import numpy as np
import pytest
import torch

import ntkcore as ntk
from ntkcore.analysis.leading import leading, most_leading
from ntkcore.kernels.products import KernelMatrix, square

N = 900
POWER = np.arange(1.0, N + 1) ** -1.5
VALUES = {
    "a power law": POWER,
    "one and all others alike": np.r_[5.0, np.full(N - 1, 0.5)],
    "thirty coincide": np.r_[np.ones(30), np.full(N - 30, 0.3)],
    "more coincide than a block has vectors": np.r_[np.ones(90), np.full(N - 90, 0.3)],
    "all coincide": np.ones(N),
    "rank ten": np.r_[POWER[:10], np.zeros(N - 10)],
    "rounding noise among the leading ones": np.r_[POWER[:10], 1e-14 * np.linspace(1, -1, N - 10)],
    "nothing": np.zeros(N),
}


@cache
def directions() -> np.ndarray:
    return np.linalg.qr(np.random.default_rng(0).normal(size=(N, N)))[0]


def with_values(values: np.ndarray) -> torch.Tensor:
    Q = directions()
    K = (Q * values) @ Q.T
    return torch.from_numpy((K + K.T) / 2)


@pytest.mark.parametrize("values", VALUES.values(), ids=VALUES.keys())
def test_leading_eigenpairs_are_those_of_the_full_decomposition(values: np.ndarray) -> None:
    K = with_values(values)
    expected, largest = np.linalg.eigvalsh(K.numpy())[::-1], values[0]
    for k in (1, most_leading(N), most_leading(N) + 1, N)[: 4 if values is POWER else 2]:
        s = ntk.spectrum(K, k)
        np.testing.assert_allclose(s.values, expected[:k], rtol=1e-8, atol=1e-11 * largest)
        assert (s.values.diff() <= 0).all()
        eye = torch.eye(k, dtype=torch.float64)
        torch.testing.assert_close(s.vectors.T @ s.vectors, eye, rtol=0, atol=1e-12)
        torch.testing.assert_close(K @ s.vectors, s.vectors * s.values, rtol=0, atol=1e-9 * largest)
        assert (s.vectors.gather(0, s.vectors.abs().argmax(0, keepdim=True)) > 0).all()
        assert s.rank == (values[:k] > 1e-12 * largest).sum()
        assert s.whole == (k == N)
        assert s.left_out == pytest.approx(values[k:].sum() / max(values.sum(), 1e-300), abs=1e-10)


def test_what_products_do_not_find_is_not_given_out() -> None:
    """A quarter of all is too much; and of an eigenvalue that occurs 90 times a block sees 32."""
    assert leading(square(with_values(POWER)), N // 4) is None
    falling = np.r_[np.ones(90), np.linspace(0.4, 0, N - 90) ** 2]
    assert leading(square(with_values(falling)), 20) is not None
    assert leading(square(with_values(falling)), 40) is None


def test_the_same_from_memory_from_a_file_and_from_tiles(tmp_path) -> None:
    x = torch.rand(1000, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    k = ntk.kernel_fn(ntk.fc(1))
    held = ntk.spectrum(k(x), 12)
    file = ntk.kernel_to_file(k, x, tmp_path / "kernel.npy")
    told: list[float] = []
    for other in (file, KernelMatrix(k, x)):
        s = ntk.spectrum(other, 12, progress=lambda done, total, _: told.append(done / total))
        torch.testing.assert_close(s.values, held.values, rtol=1e-6, atol=0)
        assert s.left_out == pytest.approx(held.left_out, abs=1e-6)
        overlap = (s.vectors * held.vectors).sum(0)
        torch.testing.assert_close(overlap, torch.ones_like(overlap), rtol=0, atol=1e-6)
    assert min(told) >= 0
    assert max(told) < 1


def test_a_file_that_is_no_kernel_is_refused(tmp_path) -> None:
    K = with_values(POWER).numpy()
    K[3:, :3] += 1
    np.save(tmp_path / "K.npy", K)
    with pytest.raises(ntk.SpecError, match="not symmetric"):
        ntk.spectrum(np.load(tmp_path / "K.npy", mmap_mode="r"), 5)


def test_a_spectrum_of_another_kernel_is_refused_when_it_is_a_part(tmp_path) -> None:
    x = torch.rand(200, 1, 4, 4, generator=torch.Generator().manual_seed(0)).double()
    y = torch.ones(200, 1)
    s = ntk.spectrum(ntk.kernel_fn(ntk.fc(1))(x), 5)
    with pytest.raises(ntk.SpecError, match="not that of this kernel"):
        ntk.subset_predictor(ntk.kernel_fn(ntk.fc(3)), s, x, y, [0])
    assert ntk.subset_predictor(ntk.kernel_fn(ntk.fc(1)), s, x, y, [0])(x[:3]).shape == (3, 1)


def test_entries_that_no_probe_of_a_file_sees_are_still_refused(tmp_path) -> None:
    K = np.eye(900)
    K[1, 2] = K[2, 1] = np.nan
    for n in (300, 900):  # as a whole, and by products
        np.save(tmp_path / f"{n}.npy", K[:n, :n])
        with pytest.raises(ntk.SpecError, match="not finite"):
            ntk.spectrum(np.load(tmp_path / f"{n}.npy", mmap_mode="r"), 3)
    file = np.load(tmp_path / "900.npy", mmap_mode="r")
    os.truncate(tmp_path / "900.npy", 100_000)
    with pytest.raises(ntk.DataError, match="shorter"):
        ntk.spectrum(file, 3)


@pytest.mark.parametrize("given", [torch.rand, lambda n, m: torch.full((n, m), torch.nan), lambda n, m: torch.ones(m)])
def test_a_kernel_that_is_none_is_refused(given) -> None:
    x = torch.rand(70, 1, 2, 2)
    with pytest.raises(ntk.SpecError, match=r"symmetric|not finite|gives shape"):
        ntk.spectrum(KernelMatrix(lambda x1, x2=None: given(len(x1), len(x1 if x2 is None else x2)), x), 3)
