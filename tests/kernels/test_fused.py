"""The passes that a GPU makes over covariances, on the processor by Triton's interpreter: against the plain way."""

import os
import sys

import pytest
import torch

import ntkcore as ntk
from ntkcore import Cancelled
from ntkcore.kernels.infinite import InfiniteKernel
from ntkcore.kernels.infinite.gpu import fused, planes, steps
from ntkcore.nets import Activation, AvgPool, Conv, Dense, Flatten, GlobalAvgPool, Net

pytest.importorskip("triton", reason="torch comes without Triton here")

CONV, DENSE, RELU = Conv(1.5, 0.1), Dense(1.4, 0.2), Activation("relu")
NETS = {
    "fc": ntk.fc(2),
    "fc without a layer": Net((Flatten(), DENSE)),
    "two dense layers at once": Net((Flatten(), DENSE, DENSE, RELU, DENSE)),
    "conv": ntk.conv(2),
    "conv without a ReLU": Net((CONV, Flatten(), DENSE)),
    "myrtle": ntk.myrtle(5),
    "deep conv": ntk.conv(4),
    "pooled": Net((CONV, RELU, AvgPool(), CONV, RELU, GlobalAvgPool(), DENSE)),
    "pool first": Net((AvgPool(), CONV, CONV, RELU, Flatten(), DENSE, DENSE)),
    "ends with a convolution": Net((CONV, RELU, CONV, GlobalAvgPool(), DENSE)),
}
TOLERANCE = {torch.float64: 1e-12, torch.float32: 2e-6}


@pytest.fixture(autouse=True, scope="module")
def interpreted():
    """Triton reads this when the passes are defined."""
    before = os.environ.get("TRITON_INTERPRET"), sys.modules.pop("ntkcore.kernels.infinite.gpu.passes", None)
    os.environ["TRITON_INTERPRET"] = "1"
    steps.passes.cache_clear()
    kept = fused.BLOCK, planes.LANES
    fused.BLOCK = planes.LANES = 1 << 12  # the interpreter takes its time for each program
    yield
    fused.BLOCK, planes.LANES = kept
    os.environ.pop("TRITON_INTERPRET") if before[0] is None else os.environ.update(TRITON_INTERPRET=before[0])
    sys.modules.pop("ntkcore.kernels.infinite.gpu.passes", None)
    steps.passes.cache_clear()


def images(n: int, height: int = 5, width: int = 4, channels: int = 2, seed: int = 0) -> torch.Tensor:
    return torch.rand(n, channels, height, width, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def by_passes(net: Net, x: torch.Tensor, y: torch.Tensor | None = None, kind: str = "ntk", **more) -> torch.Tensor:
    two = None if y is None else fused.prepare(net, y)
    return fused.matrix(net, kind, fused.prepare(net, x), two, **more)


def plainly(net: Net, x: torch.Tensor, y: torch.Tensor, kind: str = "ntk") -> torch.Tensor:
    """The plain way, taken where gradients are to come back."""
    return InfiniteKernel(net, kind)(x.double().requires_grad_(), y.double()).detach()


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize("net", NETS.values(), ids=list(NETS))
def test_a_rectangle_is_that_of_the_plain_way(net, dtype):
    x, y = images(3).to(dtype), images(2, seed=1).to(dtype)
    for kind in ("ntk", "nngp"):
        found = by_passes(net, x, y, kind)
        assert found.dtype == dtype
        torch.testing.assert_close(found.double(), plainly(net, x, y, kind), rtol=TOLERANCE[dtype], atol=0)


@pytest.mark.parametrize("net", [NETS["fc"], NETS["conv"], NETS["pooled"]], ids=["fc", "conv", "pooled"])
def test_tiles_make_one_exactly_symmetric_matrix(net, monkeypatch):
    x, seen = images(5), []
    whole = by_passes(net, x)
    monkeypatch.setattr(fused, "_at_once", lambda net, images, **_: 4)
    found = by_passes(net, x, report=lambda done, total: seen.append((done, total)))
    assert torch.equal(found, found.T)
    torch.testing.assert_close(found, whole, rtol=1e-13, atol=0)
    torch.testing.assert_close(found, plainly(net, x, x), rtol=1e-12, atol=0)
    assert seen[0][0] == 0
    assert seen[-1][0] == seen[-1][1]
    assert len(seen) == 7  # six tiles of at most two by two images
    torch.testing.assert_close(by_passes(net, x, x[:3]), whole[:, :3], rtol=1e-13, atol=0)

    def stop(done: float, total: float) -> None:
        raise Cancelled

    with pytest.raises(Cancelled):
        by_passes(net, x, report=stop)


@pytest.mark.parametrize("net", [NETS["fc"], NETS["conv"], NETS["pooled"]], ids=["fc", "conv", "pooled"])
@pytest.mark.parametrize("others", ["near", "sharing a region"])
@pytest.mark.parametrize("many", [0.1, 1.0], ids=["all in double", "some in double"])
def test_images_that_nearly_coincide_or_share_a_region_keep_their_digits_in_single_precision(
    net, others, many, monkeypatch
):
    monkeypatch.setattr(fused, "MANY", many)
    x = images(3, 4, 4).float()
    more = x[1:].clone()
    more[..., :3] = x[:1, ..., :3]
    x = torch.cat([x, x[:2] + 1e-3, x[:1]]) if others == "near" else torch.cat([x, more])
    expected = plainly(net, x, x)
    torch.testing.assert_close(by_passes(net, x).double(), expected, rtol=2e-6, atol=0)
    torch.testing.assert_close(by_passes(net, x, x[2:]).double(), expected[:, 2:], rtol=2e-6, atol=0)


def test_matched_pairs_and_the_variances(monkeypatch):
    net, x, y = NETS["pooled"], images(5, 4, 4), images(5, 4, 4, seed=1)
    for size in (100, 2):
        monkeypatch.setattr(fused, "_at_once", lambda net, images, size=size, **_: size)
        one, two = fused.prepare(net, x), fused.prepare(net, y)
        for q, expected in zip(one.variances, InfiniteKernel(net).prepare(x.requires_grad_()).variances, strict=True):
            torch.testing.assert_close(q, expected.detach(), rtol=1e-12, atol=0)
        x = x.detach()
        found = fused.matched(net, "ntk", one, two)
        torch.testing.assert_close(found, plainly(net, x, y).diagonal(), rtol=1e-12, atol=0)


def test_nothing_on_one_side():
    assert by_passes(NETS["conv"], images(2), images(0)).shape == (2, 0)
    assert by_passes(NETS["myrtle"], images(2).float(), images(0).float()).shape == (2, 0)


def test_where_triton_does_not_run_the_plain_way_is_left(monkeypatch):
    class Broken:
        def __getitem__(self, grid):
            raise RuntimeError("Failed to find C compiler")

    fused._work_on.cache_clear()
    assert fused._work_on(torch.device("cpu"))
    fused._work_on.cache_clear()
    monkeypatch.setattr(steps.passes(), "layer", Broken())
    with pytest.warns(UserWarning, match="plain way on cpu.*C compiler"):
        assert not fused._work_on(torch.device("cpu"))
    fused._work_on.cache_clear()
    monkeypatch.setattr(fused, "passes", lambda: None)
    assert not fused._work_on(torch.device("cpu"))
    fused._work_on.cache_clear()


def test_the_processor_keeps_its_own_loops():
    assert not fused.covers(NETS["conv"], images(2))
    assert fused.ready(torch.float32)
