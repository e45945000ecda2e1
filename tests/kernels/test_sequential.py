"""Passes through chains of known parts, against autograd through the same module."""

import pytest
import torch
from torch import nn

from ntkcore import conv, empirical_ntk, myrtle
from ntkcore.architectures import build
from ntkcore.kernels.empirical import layerwise, sequential
from ntkcore.kernels.empirical.layers import calls, dissect
from ntkcore.kernels.empirical.sequential import chain_of


def images(n, *shape):
    return torch.rand(n, *(shape or (2, 9, 7)), generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def two(*parts, **options):
    """A convolution 2 -> 5, some parts, and a dense layer to 3 outputs."""
    return nn.Sequential(nn.Conv2d(2, 5, 3, padding=1, **options), *parts, nn.Flatten(), nn.LazyLinear(3))


CHAINS = {
    "mean": lambda: two(nn.ReLU(), nn.AvgPool2d(2), nn.Conv2d(5, 4, 3, padding=1), nn.ReLU()),
    "largest": lambda: two(nn.ReLU(), nn.MaxPool2d(2, 2), nn.Conv2d(5, 4, 3, padding=1), nn.ReLU()),
    "in place": lambda: two(nn.ReLU(inplace=True), nn.Conv2d(5, 5, 1), nn.ReLU(inplace=True), nn.MaxPool2d((2, 2))),
    "first a relu in place": lambda: nn.Sequential(nn.ReLU(inplace=True), *two(nn.ReLU())),
    "stride": lambda: two(nn.ReLU(), nn.Conv2d(5, 4, (3, 2), stride=(2, 1), padding=(1, 0)), nn.ReLU()),
    "dilation": lambda: two(nn.ReLU(), nn.Conv2d(5, 4, 3, dilation=2, padding=2), nn.ReLU(), bias=False),
    "nested, global": lambda: two(
        nn.Sequential(nn.ReLU(), nn.Sequential(nn.Conv2d(5, 6, 3))), nn.Identity(), nn.AdaptiveAvgPool2d(1)
    ),
    "dense layers": lambda: nn.Sequential(nn.Flatten(), nn.Linear(126, 9), nn.ReLU(), nn.Linear(9, 9), nn.Linear(9, 3)),
    "dense at every row": lambda: nn.Sequential(nn.Linear(7, 4), nn.ReLU(), nn.Flatten(), nn.Linear(72, 3)),
    "a twin": lambda: myrtle(5).module((2, 9, 8), 4, 3, 0),
    "the twin of another": lambda: conv(2).module((2, 9, 7), 4, 3, 0, "standard"),
    "a relu at the end": lambda: nn.Sequential(nn.Flatten(), nn.Linear(126, 9), nn.ReLU(), nn.Linear(9, 3), nn.ReLU()),
    "cnn-large": lambda: build("cnn-large", (2, 9, 7), 3),
}
OTHERS = {
    "a pool before the relu": lambda: two(nn.AvgPool2d(2), nn.ReLU()),
    "a pool of three": lambda: two(nn.ReLU(), nn.MaxPool2d(3)),
    "a pool that overlaps": lambda: two(nn.ReLU(), nn.AvgPool2d(2, stride=1)),
    "a pool to the end": lambda: two(nn.ReLU(), nn.AvgPool2d(2, ceil_mode=True)),
    "a padded pool": lambda: two(nn.ReLU(), nn.MaxPool2d(2, padding=1)),
    "a pool with a divisor": lambda: two(nn.ReLU(), nn.AvgPool2d(2, divisor_override=3)),
    "another activation": lambda: two(nn.Tanh()),
    "a norm": lambda: two(nn.BatchNorm2d(5), nn.ReLU()).eval(),
    "an even window": lambda: two(nn.ReLU(), nn.Conv2d(5, 4, 2, padding="same")),
    "flattened images": lambda: nn.Sequential(nn.Flatten(2), nn.Linear(63, 4), nn.Flatten(), nn.Linear(8, 3)),
}


def made(make):
    module, x = make(), images(5, *((2, 9, 8) if make is CHAINS["a twin"] else ()))
    with torch.no_grad():
        module(x.float())  # for the lazy layers
    return module.double(), x


def by_autograd(module, x, parts):
    """For each part: its input, gradients [n, outputs, ...] at its output."""
    with calls(parts) as seen:
        out = module(x.clone().requires_grad_().clone())
    edges = [seen[part][0].edge for part in parts]
    each = [torch.autograd.grad(out[:, a].sum(), edges, retain_graph=True) for a in range(out.shape[1])]
    return {
        p: (seen[p][0].input.detach(), torch.stack(of, 1)) for p, of in zip(parts, zip(*each, strict=True), strict=True)
    }


pytestmark = pytest.mark.filterwarnings("ignore:Lazy modules")


@pytest.mark.parametrize("name", CHAINS)
def test_every_layer_gets_the_gradients_of_autograd(name):
    module, x = made(CHAINS[name])
    before = x.clone()
    found = dissect(module, x)
    chain = chain_of(found, x)
    parts = [layer.part for layer in found.layers]
    for wanted in (parts, parts[1:2]):
        expected = by_autograd(module, x, wanted)
        with torch.no_grad():
            seen = {part: (i.clone(), g.clone()) for part, i, g in chain.back(x, set(wanted), found.outputs)}
        assert list(seen) == wanted[::-1]
        for part, (inputs, gradients) in seen.items():
            torch.testing.assert_close(inputs, expected[part][0], rtol=1e-12, atol=1e-12)
            torch.testing.assert_close(gradients, expected[part][1], rtol=1e-9, atol=1e-12)
    assert torch.equal(x, before)


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel:UserWarning")
@pytest.mark.parametrize("name", OTHERS)
def test_other_modules_are_left_to_autograd(name, monkeypatch):
    module, x = made(OTHERS[name])
    assert chain_of(dissect(module, x), x) is None
    monkeypatch.setattr(sequential.Chain, "back", None)
    empirical_ntk(module, x)


def test_hooks_on_parts_without_weights_count():
    module, x = made(CHAINS["mean"])
    module[1].register_forward_hook(lambda part, arguments, output: output * 2)
    assert chain_of(dissect(module, x), x) is None
    module, x = made(CHAINS["nested, global"])
    module[1].register_forward_hook(lambda part, arguments, output: output * 2)
    assert chain_of(dissect(module, x), x) is None


def test_hooks_on_all_modules_count():
    module, x = made(CHAINS["mean"])
    found = dissect(module, x)
    doubled = lambda part, arguments, output: output * 2 if isinstance(part, nn.ReLU) else None  # noqa: E731
    handle = nn.modules.module.register_module_forward_hook(doubled)
    try:
        assert chain_of(found, x) is None
    finally:
        handle.remove()
    assert chain_of(found, x) is not None


@pytest.mark.parametrize("pool", [nn.AvgPool2d(2), nn.MaxPool2d(2), nn.AdaptiveAvgPool2d(1)], ids=str)
def test_images_of_two_axes_are_channels_to_a_pool(pool):
    x = images(5, 8, 6)
    module = nn.Sequential(nn.Linear(6, 7), nn.ReLU(), pool, nn.Flatten(), nn.LazyLinear(3)).double()
    with torch.no_grad():
        module(x)
    assert chain_of(dissect(module, x), x) is None
    theta, slow = empirical_ntk(module, x), empirical_ntk(Unknown(module), x)
    torch.testing.assert_close(theta, slow, rtol=1e-9, atol=1e-12)


class Unknown(nn.Module):
    """The same module, of which nothing is known: its weights belong to one that is called in another way."""

    def __init__(self, module):
        super().__init__()
        self.module = module

    def forward(self, x):
        return torch.cat([self.module(x[:1]), self.module(x[1:])]) if len(x) > 1 else self.module(x)


@pytest.mark.parametrize("pool", [nn.AvgPool2d, nn.MaxPool2d])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_a_pool_and_its_relu_at_once(pool, dtype):
    """Equal numbers in a window too, where torch's choice is the first."""
    y = torch.randint(-2, 3, (2, 3, 7, 6), generator=torch.Generator().manual_seed(1)).to(dtype)
    module = nn.Sequential(nn.ReLU(), pool(2))
    leaf = y.clone().requires_grad_()
    out = module(leaf)
    g = torch.randn(2, 4, *out.shape[1:], generator=torch.Generator().manual_seed(2)).to(dtype)
    expected = [torch.autograd.grad(out, leaf, g[:, a], retain_graph=True)[0] for a in range(4)]
    with sequential.ThreadPoolExecutor(2) as threads:
        found = sequential._back_through_pool(module[1], g, y.relu(), threads)
    assert found.dtype == dtype
    torch.testing.assert_close(found, torch.stack(expected, 1), rtol=1e-6, atol=0)


@pytest.mark.parametrize("size", [1, 5, 16, 50])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_a_relu(dtype, size):
    y = torch.randn(3, 2, size, 1, dtype=dtype).relu()
    g = torch.randn(3, 4, 2, size, 1).to(dtype)
    with sequential.ThreadPoolExecutor(2) as threads:
        found = sequential._back_through_relu(g.clone(), y, threads)
    assert torch.equal(found, g * (y > 0)[:, None])


@pytest.mark.parametrize(
    ("most", "chained"), [(5e4, True), (1e4, False)], ids=["an image at a time", "too many outputs"]
)
def test_divisions_of_the_work_make_no_difference(most, chained, monkeypatch):
    module, x = made(CHAINS["mean"])
    whole = empirical_ntk(module, x)
    monkeypatch.setattr(layerwise, "PASS_BYTES", most)
    found = dissect(module, x)
    plan = layerwise.plan(found, layerwise.KernelShape(5, 5, True, 3), x.dtype, chain_of(found, x))
    assert plan.block < 5
    assert (plan.chain is not None) == chained
    torch.testing.assert_close(empirical_ntk(module, x), whole, rtol=1e-12, atol=1e-12)
