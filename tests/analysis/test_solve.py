"""Conjugate gradients beside a direct solution, from memory and from a file, with leading eigenpairs and without."""

import numpy as np
import pytest
import torch

import ntkcore as ntk
from ntkcore.analysis.features.tradeoff import trade_offs
from ntkcore.analysis.solve import solve
from ntkcore.kernels.products import square

generator = torch.Generator().manual_seed(0)
FALLING = torch.arange(1, 26) ** -1.5  # so that eigenvalues fall as those of real images do
X, X_TEST = (0.5 + 0.1 * (torch.randn(n, 25, generator=generator) * FALLING).view(n, 1, 5, 5) for n in (500, 20))
Y = torch.eye(3)[torch.arange(500) % 3]
k = ntk.kernel_fn(ntk.fc(1))
K = k(X.double())


@pytest.mark.parametrize("ridge", [0.0, 0.3])
@pytest.mark.parametrize("where", ["memory", "file", "single", "tiles"])
def test_the_residual_is_what_was_asked_for(where, ridge, tmp_path) -> None:
    at_hand = {"memory": K, "tiles": None}.get(where)
    if where in ("file", "single"):
        at_hand = ntk.kernel_to_file(k, X.double() if where == "file" else X, tmp_path / "K.npy")
    s, told = ntk.spectrum(K, 20), list[float]()
    own = torch.from_numpy(np.array(at_hand, float)) if where == "single" else K
    exact = torch.linalg.solve(own + ridge * torch.eye(500), Y.double())
    for residual in (1e-2, 1e-8):
        f = ntk.fit(
            k, X, Y, ridge=ridge, spectrum_of_train=s, residual=residual, K=at_hand,
            progress=lambda done, total, _: told.append(done / total),
        )  # fmt: skip
        left = (Y - own @ f.alpha - ridge * f.alpha).norm(dim=0) / Y.norm(dim=0)
        assert left.max() <= residual
        assert f.residual == pytest.approx(float(left.max()), rel=1e-3)
    torch.testing.assert_close(f.alpha, exact, rtol=0, atol=1e-5 * float(exact.abs().max()))
    if where != "single":  # whose kernel is another one in its last digits
        result = ntk.fgsm(8 / 255)(f, X_TEST, Y[:20])
        direct = ntk.fgsm(8 / 255)(ntk.fit(k, X, Y, ridge=ridge), X_TEST, Y[:20])
        torch.testing.assert_close(result.attacked, direct.attacked, rtol=0, atol=1e-4)
    assert min(told) >= 0
    assert max(told) <= 1


def test_leading_eigenpairs_save_products() -> None:
    counts = [
        solve(square(K), Y.double(), 0.0, 1e-6, s).products for s in (None, ntk.spectrum(K, 10), ntk.spectrum(K, 50))
    ]
    assert counts[0] > counts[1] > counts[2]
    assert solve(square(K), Y.double(), 0.0, 1e-6, ntk.spectrum(K)).products <= 3


def test_a_residual_that_rounding_forbids_is_not_claimed() -> None:
    singular = K[:50, :1] @ K[:1, :50]
    with pytest.raises(ntk.NTKError, match="was asked for"):
        solve(square(singular), Y[:50].double(), 0.0, 1e-6, None)


def test_leading_eigenpairs_know_early_times_and_say_where_they_end() -> None:
    s, t = ntk.spectrum(K, 20), 0.04 / float(ntk.spectrum(K).values[20])
    early, exact = (ntk.fit(k, X, Y, time=t, spectrum_of_train=one)(X_TEST) for one in (s, None))
    torch.testing.assert_close(early, exact, rtol=0, atol=1e-3)
    without = ntk.subset_predictor(k, s, X, Y, range(20))
    assert (ntk.KernelPredictor(k, X.double(), without.alpha)(X_TEST) - exact).abs().max() > 1e-2
    for late in ({"time": 100 * t}, {"time": t, "ridge": 1.0}, {}):
        with pytest.raises(ntk.SpecError, match="leading"):
            ntk.fit(k, X, Y, spectrum_of_train=s, **late)


def test_a_leading_part_says_nothing_of_the_smallest_and_of_late_times() -> None:
    y, y_test = 2 * Y[:, :1] - 1, 2 * Y[:20, :1] - 1
    data = (X.clamp(0, 1), y, X_TEST.clamp(0, 1), y_test)
    sweep = ntk.eigenfeatures(k, *data, k=12)
    assert sweep.usefulness.shape == (12,)
    assert 0 < sweep.spectrum.left_out < 1
    part, whole = (
        trade_offs(k, s, *data, ntk.fgsm(), np.zeros(s.rank, int))
        for s in (sweep.spectrum, ntk.spectrum(k(X.clamp(0, 1).double())))
    )
    assert whole.keys() - part.keys() == {"bottom"}
    assert (part["top"].before[:, :4] == whole["top"].before[:, :4]).all()
    assert part["time"].k[-1] < 0.1 / float(sweep.spectrum.values[-1]) < whole["time"].k[-1]


def test_what_is_no_kernel_of_these_images_is_refused() -> None:
    x, y, none = X[:40], Y[:40], ntk.tiled(lambda x1, x2=None: torch.zeros(len(x1), len(x1 if x2 is None else x2)))
    part = ntk.spectrum(K[:40, :40], 5)
    for call, said in (
        (lambda: ntk.fit(k, x, y, residual=1e-3, K=K[40:80, 40:80]), "K is not this kernel"),
        (lambda: ntk.fit(k, x, y, K=K[40:80, 40:80]), "not that of this kernel"),
        (lambda: ntk.fit(none, x, y, residual=1e-3), "in 1 products"),
        (lambda: ntk.fit(none, x, y, residual=1e-3, spectrum_of_train=ntk.spectrum(K[:5, :5] * 0, 1)), "of 5 training"),
        (lambda: ntk.fit_steps(k, x, y, spectrum_of_train=part), "need all of them"),
        (lambda: ntk.eigenfeatures(k, x, y, x, y, spectrum_of_train=part, k=6), "k is 6"),
    ):
        with pytest.raises(ntk.NTKError, match=said):
            call()
    large = ntk.fit(k, x, 1e200 * y.double(), residual=1e-6)
    torch.testing.assert_close(large.alpha / 1e200, ntk.fit(k, x, y, residual=1e-6).alpha)
