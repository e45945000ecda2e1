"""Gradients of convolutions' weights in bfloat16, against double precision, and exactly where numbers are small."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import nn

from ntkcore import empirical_kernel_fn, empirical_ntk
from ntkcore.kernels import bfloat16, filtered, filters, winograd
from ntkcore.kernels.leaves import dissect
from ntkcore.kernels.vectors import LANES
from tests.kernels.loops import without_instructions

LOOPS = (
    (filters, "_pairs_of_positions"),
    (winograd, "_store_places"),
    (filters, "transform_gradients"),
    (winograd, "_store_three"),
    (filters, "store_taps"),
    (winograd, "transform_images"),
    (filters, "_form_row"),
    (filters, "_form_rows"),
    (filters, "_form_panels"),
)
LAYERS = {  # a convolution, height and width of the image, and whether Winograd's filtering forms the gradients
    "tiles": (nn.Conv2d(32, 16, 3, padding=1), (6, 4), True),
    "tiles, odd sizes": (nn.Conv2d(32, 32, 3, padding=1), (5, 7), True),
    "tiles, one": (nn.Conv2d(32, 16, 3, padding=1), (1, 2), True),
    "tiles, channels filled up": (nn.Conv2d(49, 27, 3, padding=1), (8, 8), True),
    "few channels": (nn.Conv2d(3, 16, 3, padding=1), (6, 5), False),
    "no margin": (nn.Conv2d(11, 16, 3), (6, 7), False),
    "strides": (nn.Conv2d(5, 14, (3, 5), stride=(2, 1), padding=(1, 2)), (7, 5), False),
    "holes": (nn.Conv2d(32, 16, 3, dilation=2, padding=2), (6, 6), False),
    "one by one": (nn.Conv2d(70, 16, 1), (3, 3), False),
}


def layer_of(convolution, size):
    x = torch.zeros(2, convolution.in_channels, *size)
    return dissect(nn.Sequential(convolution, nn.AdaptiveAvgPool2d(1), nn.Flatten()), x).layers[0]


def numbers(*shape, seed, most=None):
    """Normal ones, or integers of at most this size."""
    generator = torch.Generator().manual_seed(seed)
    if most is None:
        return torch.randn(shape, generator=generator)
    return torch.randint(-most, most + 1, shape, generator=generator) * 1.0


def expected(layer, g, x):
    """J [n, c, o, K] in double precision."""
    patches = layer.rule.patches(x.double())  # [n, K, P]
    return torch.einsum("ncop,nkp->ncok", g.double().flatten(3), patches)


def unpacked(layer, j, outputs):
    """Words [..., words] -> [..., o, K]; all that is filled up must be zero."""
    taps = filters._taps(layer)
    columns = layer.window // taps
    j = j.view(torch.bfloat16).unflatten(-1, (-1, LANES // 2, taps, filters.filled(columns, filters.COLUMNS), 2))
    j = j.movedim(-1, -3).flatten(-5, -3).transpose(-1, -2)  # [..., o, columns, taps]
    assert not j[..., outputs:, :, :].any()
    assert not j[..., columns:, :].any()
    return j[..., :outputs, :columns, :].flatten(-2).float()


@pytest.fixture(params=["as it is", "anywhere"])
def loops(request, monkeypatch):
    if request.param == "anywhere":
        without_instructions(monkeypatch, *LOOPS)


def rows(layer, g, x, n=3, c=2):
    """J by form_rows, and its sums."""
    laid = filters.laid_out(layer, g)
    room = filters.room(layer, n, laid)
    room[:, :, : laid.shape[2], : laid.shape[3], : laid.shape[4]] = laid
    j = torch.empty(n, c, filters.words_of_row(layer, g.shape[2]), dtype=torch.int32)
    sums = torch.empty(n, c, filters.filled(g.shape[2]))
    with ThreadPoolExecutor(2) as pool:
        filters.form_rows(layer, room, x, j, sums, pool)
    return room, j, sums


def sized(layer, convolution, size, most=None, n=3, c=2):
    """Gradients and images for a layer."""
    height, width = convolution(torch.zeros(1, convolution.in_channels, *size)).shape[2:]
    g = numbers(n, c, layer.outputs, height, width, seed=0, most=most)
    return g.bfloat16(), numbers(n, layer.inputs, *size, seed=1, most=most)


@pytest.mark.parametrize("name", LAYERS)
def test_gradients_are_those_of_double_precision(name, loops):
    convolution, size, tiles = LAYERS[name]
    layer = layer_of(convolution, size)
    assert filters.serves(layer, layer.outputs) == (layer.positions >= 16)
    assert filters._minimal(layer) == tiles
    g, x = sized(layer, convolution, size)
    _, j, sums = rows(layer, g, x)
    found, exact = unpacked(layer, j, layer.outputs), expected(layer, g, x)
    assert (found - exact).norm() < 6e-3 * exact.norm()
    torch.testing.assert_close(sums[..., : layer.outputs].double(), g.double().sum((3, 4)), rtol=1e-5, atol=1e-5)
    assert not sums[..., layer.outputs :].any()


@pytest.mark.parametrize("name", LAYERS)
def test_small_integers_are_exact(name, loops):
    convolution, size, _ = LAYERS[name]
    layer = layer_of(convolution, size)
    g, x = sized(layer, convolution, size, most=2)
    _, j, _ = rows(layer, g, x)
    exact = expected(layer, g, x)
    assert exact.abs().max() < 256  # integers that bfloat16 has
    assert torch.equal(unpacked(layer, j, layer.outputs).double(), exact)


@pytest.mark.parametrize("name", ["tiles, odd sizes", "few channels", "strides"])
@pytest.mark.parametrize("traced", [False, True])
@pytest.mark.parametrize("most", [1e9, 1.0], ids=["at once", "in parts"])
def test_panels_are_the_rows(name, traced, most, monkeypatch):
    monkeypatch.setattr(filters, "TRANSFORMED_BYTES", most)
    n, c = 37, 2
    convolution, size, _ = LAYERS[name]
    layer = layer_of(convolution, size)
    g, x = sized(layer, convolution, size, n=n, c=c)
    room, j, sums = rows(layer, g, x, n, c)
    again = torch.full_like(sums, torch.nan)
    side = filters.Side(layer, room, x, again)
    count = n if traced else n * c
    theta, whole = torch.zeros(count, count), j.view(torch.bfloat16).double()
    parts = list(filters.parts(layer, layer.outputs, count, c, traced, most))
    columns = layer.window // filters._taps(layer)
    divided = filters.filled(layer.outputs) // LANES * -(-columns // filters.COLUMNS)
    assert len(parts) == (c if traced else 1) * (divided if most == 1 else 1)
    with ThreadPoolExecutor(2) as pool:
        for part in parts:
            packed = side.panels(part, pool)
            bfloat16.add_panels(theta, packed, packed, 1.0, False, pool)
    flat = whole.flatten(1) if traced else whole.flatten(0, 1)
    exact = flat @ flat.T
    torch.testing.assert_close(theta.double(), exact, rtol=0, atol=2e-5 * exact.max().item())
    assert torch.equal(again, sums)


def test_layers_that_would_be_mostly_zeros_are_left_out():
    for convolution in (nn.Conv2d(32, 8, 3, padding=1), nn.Conv2d(2, 16, 3), nn.Conv2d(4, 4, 1), nn.Conv2d(32, 32, 5)):
        layer = layer_of(convolution, (6, 6))
        assert not filters.serves(layer, layer.outputs)
    dense = dissect(nn.Sequential(nn.Flatten(), nn.Linear(64, 64)), torch.zeros(2, 64)).layers[0]
    assert not filters.serves(dense, 64)


NETS = {
    "a chain": lambda: nn.Sequential(
        nn.Conv2d(3, 32, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(32, 32, 3, padding=1, bias=False),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(32, 48, 3, stride=2),
        nn.ReLU(),
        nn.Conv2d(48, 16, 1),
        nn.ReLU(),
        nn.Flatten(),
        nn.LazyLinear(3),
    ),
    "dense layers between": lambda: nn.Sequential(
        nn.Linear(10, 12),
        nn.ReLU(),
        nn.Conv2d(3, 32, 3, padding=1),
        nn.ReLU(),
        nn.Linear(12, 6),
        nn.ReLU(),
        nn.Conv2d(32, 32, 3, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.LazyLinear(3),
    ),
    "by autograd": lambda: nn.Sequential(
        nn.Conv2d(3, 32, 3, padding=1),
        nn.Tanh(),
        nn.Conv2d(32, 32, 3, padding=1),
        nn.Tanh(),
        nn.Flatten(),
        nn.LazyLinear(3),
    ),
}


@pytest.mark.filterwarnings("ignore:Lazy modules")
@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("traced", [False, True], ids=["full", "traced"])
@pytest.mark.parametrize("records", [320e6, 2e6], ids=["at once", "in groups and tiles"])
def test_kernels_of_nets(name, traced, records, monkeypatch):
    monkeypatch.setattr("ntkcore.kernels.layerwise.RECORD_BYTES", records)
    monkeypatch.setattr(bfloat16, "fast", lambda: True)
    used, put = set(), filtered._Filtered._put
    monkeypatch.setattr(filtered._Filtered, "_put", lambda self, *a: (used.add(type(self).__name__), put(self, *a))[1])
    torch.manual_seed(0)
    module, x = NETS[name](), numbers(12, 3, 9, 10, seed=2)
    module(x)
    kernel = empirical_kernel_fn if traced else lambda m, a=False: lambda *x: empirical_ntk(m, *x, None, a)
    for sides in ((x, None), (x[:5], x[3:])):
        exact = kernel(module.double())(*(s if s is None else s.double() for s in sides))
        rough = kernel(module.float(), True)(*sides)
        assert 1e-7 < (rough - exact).abs().max() / exact.abs().max() < 2e-3  # few numbers are summed
    assert used


def test_nothing_is_rounded_at_few_channels():
    """Not on the way back either: all gradients pass through one channel here."""
    module = nn.Sequential(
        nn.Conv2d(1, 32, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(32, 1, 3, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(25, 1),
    )
    x = numbers(3, 1, 10, 10, seed=0)
    assert torch.equal(empirical_ntk(module, x, allow_bfloat16=True), empirical_ntk(module, x))
