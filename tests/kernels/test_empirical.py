"""Empirical tangent kernels against the two ways of the torch.func tutorial, written out here in our own words."""

import argparse
import re
import subprocess
import sys
import textwrap

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.func import functional_call, jacrev, jvp, vjp, vmap

from bench import empirical as benchmark
from bench import peers
from ntkcore import Cancelled, SpecError, conv, empirical_kernel_fn, empirical_ntk, fc, kernel_fn, myrtle
from ntkcore.architectures import build
from ntkcore.kernels.empirical import layerwise, records
from ntkcore.kernels.empirical.layers import dissect

# ------------------------------------------------------------------------------------------- the two references


def single(module):
    """The module as a function of its weights and one image, and its weights."""
    weights = {name: p.detach() for name, p in module.named_parameters()}
    return lambda weights, image: functional_call(module, weights, (image[None].clone(),))[0], weights


def jacobian_contraction(module, x1, x2):
    """All per-sample Jacobians, multiplied: [n1, n2, c, c]."""
    f, weights = single(module)
    j1, j2 = (vmap(jacrev(f), (None, 0))(weights, x) for x in (x1, x2))
    return sum(torch.einsum("iap,jbp->ijab", j1[name].flatten(2), j2[name].flatten(2)) for name in weights)


def vector_products(module, x1, x2):
    """Column b of an image pair's block is J1 (J2^T e_b): a vjp at x2 and a jvp at x1."""
    f, weights = single(module)

    def block(image1, image2):
        out, pull = vjp(lambda w: f(w, image2), weights)
        column = lambda e: jvp(lambda w: f(w, image1), (weights,), pull(e))[1]  # noqa: E731
        return vmap(column)(torch.eye(len(out), dtype=out.dtype)).T

    return torch.stack([torch.stack([block(one, two) for two in x2]) for one in x1])


def assert_near(got, expected, tolerance):
    """Largest difference over the largest entry."""
    assert got.shape == expected.shape
    assert ((got.double() - expected).abs().max() / expected.abs().max()).item() < tolerance


# ------------------------------------------------------------------------------------------------- the modules


def trained(module):
    """In eval mode, with running statistics, scales and shifts as if it had been trained."""
    for part in module.modules():
        if isinstance(part, nn.modules.batchnorm._BatchNorm):
            part.running_mean.normal_(0, 0.2)
            part.running_var.uniform_(0.5, 2)
            nn.init.uniform_(part.weight, 0.5, 1.5)
            nn.init.normal_(part.bias, 0, 0.2)
    return module.eval()


class InPlace(nn.Module):
    """Operations in place on the image, on a layer's output, on a sum of two layers' outputs."""

    def __init__(self):
        super().__init__()
        self.one, self.two, self.last = nn.Conv2d(2, 3, 3, padding=1), nn.Conv2d(3, 3, 1), nn.Linear(3, 2)

    def forward(self, x):
        x.sub_(0.3)
        identity = F.relu_(self.one(x).mul_(1.5))
        out = self.two(identity)
        out += identity
        return self.last(F.relu_(out).mean((2, 3)))


class Tokens(nn.Module):
    """Dense layers at every position, a BatchNorm of vectors."""

    def __init__(self):
        super().__init__()
        self.embed, self.norm, self.out = nn.Linear(2, 5), nn.BatchNorm1d(5), nn.Linear(5, 3)

    def forward(self, x):
        return self.out(self.norm(torch.tanh(self.embed(x.flatten(2).mT)).mT).mT.sigmoid()).mean(1)


def convolution(*arguments, **options):
    pool = nn.AdaptiveAvgPool2d(2)
    return lambda: nn.Sequential(
        nn.Conv2d(2, 4, *arguments, **options), nn.Tanh(), pool, nn.Flatten(), nn.Linear(16, 3)
    )


def twin(net, parameterisation="ntk", outputs=2):
    return lambda: net.module((2, 8, 8), 6, outputs, 0, parameterisation)


TWINS = {
    f"{net} {parameterisation}{' no bias' * (not b_std)}": twin(net, parameterisation)
    for b_std in (0.3, 0.0)
    for net in (fc(2, b_std=b_std), conv(2, b_std=b_std), myrtle(5, b_std=b_std))
    for parameterisation in ("ntk", "standard")
}
LAYERWISE = {
    "cnn-small": lambda: build("cnn-small", (2, 8, 8), 3),
    "cnn-large": lambda: build("cnn-large", (2, 8, 8), 3),
    "resnet18": lambda: trained(build("resnet18", (2, 4, 4), 2)),
    **TWINS,
    "one output": twin(fc(1), outputs=1),
    "stride": convolution(3, stride=2, padding=1),
    "dilation": convolution((3, 2), dilation=(1, 3), stride=(2, 1), padding=(2, 0)),
    "same, even window": convolution(4, padding="same", bias=False),
    "valid, 1x1, stride": convolution(1, stride=2, padding="valid"),
    "in place": InPlace,
    "tokens": lambda: trained(Tokens()),
    "no scales": lambda: nn.Sequential(nn.BatchNorm2d(2, affine=False), nn.Flatten(), nn.Linear(128, 2)).eval(),
    "channels last": lambda: build("cnn-small", (2, 8, 8), 2).to(memory_format=torch.channels_last),
}


class Twice(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer, self.last = nn.Linear(128, 128), nn.Linear(128, 2)

    def forward(self, x):
        return self.last(torch.tanh(self.layer(torch.tanh(self.layer(x.flatten(1))))))


class Own(nn.Module):
    """A parameter of its own, in a module that is no leaf."""

    def __init__(self):
        super().__init__()
        self.scale, self.last = nn.Parameter(torch.rand(128)), nn.Linear(128, 2)

    def forward(self, x):
        return self.last(x.flatten(1) * self.scale)


class Tied(nn.Module):
    """A weight that is used once more, outside its layer, where no call tells of it."""

    def __init__(self):
        super().__init__()
        self.layer, self.last = nn.Linear(128, 5), nn.Linear(5, 2)

    def forward(self, x):
        return self.last(torch.tanh(self.layer(x.flatten(1)))) * self.layer.weight.mean()


class SequenceFirst(nn.Module):
    """Positions, of which there are two, along the first axis where images are expected."""

    def __init__(self):
        super().__init__()
        self.layer, self.last = nn.Linear(64, 4), nn.Linear(8, 2)

    def forward(self, x):
        h = torch.tanh(self.layer(x.flatten(2).transpose(0, 1)))
        return self.last(h.transpose(0, 1).flatten(1))


class Squared(nn.Linear):
    """A subclass: its forward is not the one that is known."""

    def forward(self, x):
        return super().forward(x) ** 2


class ByKeyword(nn.Module):
    def __init__(self):
        super().__init__()
        self.last = nn.Linear(128, 2)

    def forward(self, x):
        return self.last(input=x.flatten(1))


class Unused(ByKeyword):
    """A layer that is never called."""

    def __init__(self):
        super().__init__()
        self.other = nn.Linear(3, 3)

    def forward(self, x):
        return self.last(x.flatten(1))


def shared():
    module = nn.Sequential(
        nn.Flatten(), nn.Linear(128, 128), nn.Tanh(), nn.Linear(128, 128), nn.Tanh(), nn.Linear(128, 2)
    )
    module[3].weight = module[1].weight
    return module


def hooked():
    module = nn.Sequential(nn.Flatten(), nn.Linear(128, 2))
    module[1].register_forward_hook(lambda part, arguments, output: output**2)
    return module


def replaced():
    module = nn.Sequential(nn.Flatten(), nn.Linear(128, 2))
    module[1].forward = lambda x: F.linear(x, module[1].weight) ** 2 + module[1].bias
    return module


FALLBACK = {
    "a module twice": Twice,
    "a shared weight": shared,
    "a parameter of its own": Own,
    "a weight used outside": Tied,
    "sequence first": SequenceFirst,
    "by keyword": ByKeyword,
    "a part not used": Unused,
    "a subclass": lambda: nn.Sequential(nn.Flatten(), Squared(128, 2)),
    "a hook": hooked,
    "a forward of its own": replaced,
    "groups": convolution(3, groups=2),
    "circular": convolution(3, padding=1, padding_mode="circular"),
    "another layer": lambda: nn.Sequential(nn.Flatten(), nn.Linear(128, 4), nn.LayerNorm(4), nn.Linear(4, 2)),
}


def images(n, seed=0, shape=(2, 8, 8), dtype=torch.float64):
    return torch.rand(n, *shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def trace(theta):
    return theta.diagonal(dim1=2, dim2=3).mean(-1)


# --------------------------------------------------------------------------------------------------- the numbers


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:FutureWarning")  # torch's own, at its first jvp
@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel:UserWarning")
@pytest.mark.parametrize("name", [*LAYERWISE, *FALLBACK])
def test_agrees_with_both_ways_of_the_tutorial(name):
    module = (LAYERWISE | FALLBACK)[name]().double()
    n = 2 if name == "resnet18" else 3
    x1, x2 = images(n), images(n - 1, seed=1)
    assert (dissect(module, x1) is not None) == (name in LAYERWISE)
    expected = jacobian_contraction(module, torch.cat([x1, x2]), x1)
    square, rectangle = expected[:n], expected[n:]
    assert_near(vector_products(module, x2[:1], x1[:2]), rectangle[:1, :2], 1e-9)
    for dtype, tolerance in ((torch.float64, 1e-9), (torch.float32, 1e-4)):
        module, x1, x2 = module.to(dtype), x1.to(dtype), x2.to(dtype)
        kernel = empirical_kernel_fn(module)
        theta, traced = empirical_ntk(module, x1), kernel(x1)
        assert theta.dtype == traced.dtype == dtype
        assert_near(theta, square, tolerance)
        assert_near(empirical_ntk(module, x2, x1), rectangle, tolerance)
        assert_near(traced, trace(square), tolerance)
        assert_near(kernel(x2, x1), trace(rectangle), tolerance)
        assert torch.equal(traced, traced.T)
        assert torch.equal(theta, theta.permute(1, 0, 3, 2)) or name in FALLBACK


@pytest.mark.parametrize("family", [fc, conv, myrtle], ids=lambda family: family.__name__)
def test_twins_tend_to_the_closed_form_as_they_widen(family):
    net, x = family(), images(4)
    exact = kernel_fn(net)(x)
    errors = []
    for width in (8, 64, 512 if family is fc else 256):
        nets = [net.module((2, 8, 8), width, 1, seed).double() for seed in range(4)]
        errors.append(sum((empirical_kernel_fn(one)(x) - exact).norm().item() for one in nets) / 4)
    assert errors[0] > 1.5 * errors[1] > 2 * errors[2]
    assert errors[2] < 0.15 * exact.norm().item()


@pytest.mark.parametrize("traced", [False, True], ids=["full", "traced"])
@pytest.mark.parametrize("kind", ["StoredJacobian", "FactoredJacobian", "PositionPairs"])
def test_every_way_of_taking_a_layer_gives_the_same(kind, traced, monkeypatch):
    module = trained(nn.Sequential(*convolution(3, padding=1)()[:2], nn.BatchNorm2d(4), *convolution(3)()[2:])).double()
    x1, x2 = images(5, shape=(2, 4, 4)), images(4, seed=1, shape=(2, 4, 4))
    kernel = empirical_kernel_fn(module) if traced else lambda *x: empirical_ntk(module, *x)
    expected = jacobian_contraction(module, x1, x2)
    chosen = lambda layer, task: records.NormGradients if layer.part is module[2] else getattr(records, kind)  # noqa: E731
    monkeypatch.setattr(layerwise, "_kind", chosen)
    assert_near(kernel(x1, x2), trace(expected) if traced else expected, 1e-12)
    assert_near(kernel(x1), kernel(x1, x1.clone()), 1e-12)


@pytest.mark.parametrize("most", [2e4, 6e4])
@pytest.mark.parametrize("traced", [False, True], ids=["full", "traced"])
def test_any_division_of_the_work_gives_the_same(most, traced, monkeypatch):
    """Groups of layers, parts of a layer's channels, tiles and blocks of images, strips of rows, small chunks."""
    layers = (nn.Conv2d(2, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 12, 3), nn.ReLU(), nn.MaxPool2d(2))
    module = trained(nn.Sequential(*layers, nn.Conv2d(12, 9, 2), nn.Flatten(), nn.Linear(9, 2))).double()
    x1, x2 = images(7), images(5, seed=1)
    found = dissect(module, x1)
    task = layerwise.KernelShape(7, 7, True, 2, traced)
    kernel = empirical_kernel_fn(module) if traced else lambda *x: empirical_ntk(module, *x)
    square, rectangle = kernel(x1), kernel(x1, x2)
    assert len(layerwise.plan(found, task, x1.dtype).groups) == 1
    for where, name, value in (
        (layerwise, "RECORD_BYTES", most),
        (layerwise, "PASS_BYTES", 4e4),
        (layerwise, "CHUNK_BYTES", most / 10),
        (records, "CHUNK_BYTES", most / 10),
        (records, "PATCH_BYTES", 1e4),
        (records, "STRIP_ROWS", 3),
    ):
        monkeypatch.setattr(where, name, value)
    made = layerwise.plan(found, task, x1.dtype)
    assert len(made.groups) > 1
    assert made.block < 7
    assert (made.tile < 7) == (most < 6e4)
    assert_near(kernel(x1), square, 1e-12)
    assert_near(kernel(x1, x2), rectangle, 1e-12)
    assert torch.equal(kernel(x1), kernel(x1).transpose(0, 1) if traced else kernel(x1).permute(1, 0, 3, 2))


# -------------------------------------------------------------------------------------------------------- memory


@pytest.mark.parametrize("traced", [False, True], ids=["full", "traced"])
@pytest.mark.parametrize("n", [3, 64, 1000, 30000])
@pytest.mark.parametrize("name", ["cnn-small", "cnn-large", "resnet18"])
def test_a_plan_keeps_to_the_bound(name, n, traced):
    module = build(name, (3, 32, 32), 10).eval()
    found = dissect(module, torch.rand(2, 3, 32, 32))
    for task in (layerwise.KernelShape(n, n, True, 10, traced), layerwise.KernelShape(n, 50, False, 10, traced)):
        made = layerwise.plan(found, task, torch.float32)
        on_both_sides = min(n, made.tile) + (0 if task.same and n <= made.tile else min(task.columns, made.tile))
        taken = {layer: [] for layer in found.layers}
        for group in made.groups:
            numbers = 0
            for unit in group:
                fixed, each = unit.kind.sizes(unit.layer, 10)
                numbers += fixed + each * (unit.channels.stop - unit.channels.start)
                taken[unit.layer] += range(unit.channels.start, unit.channels.stop)
            assert 4 * numbers * on_both_sides <= layerwise.RECORD_BYTES
        assert all(sorted(channels) == list(range(layer.outputs)) for layer, channels in taken.items())
        images_at_a_time = layerwise.PASS_BYTES / (4 * sum(layer.outputs * layer.positions for layer in found.layers))
        assert 1 <= made.block <= images_at_a_time


MEASURE = """
    import torch
    from pathlib import Path
    from ntkcore import empirical_ntk
    from ntkcore.architectures import build
    from ntkcore.kernels.empirical import layerwise, records

    def held(field):
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(1e3 * int(line.split()[1]) for line in lines if line.startswith(field))

    layerwise.RECORD_BYTES, layerwise.PASS_BYTES, records.PATCH_BYTES = 40e6, 24e6, 1e6
    layerwise.CHUNK_BYTES = records.CHUNK_BYTES = 8e6
    bound = 40e6 + 24e6 + 3e6
    module, x = build("cnn-small", (3, 32, 32), 10), torch.rand(48, 3, 32, 32)
    empirical_ntk(module, x[:4])
    before = held("VmRSS")
    theta = empirical_ntk(module, x)
    print(held("VmHWM") - before - theta.numel() * 4, bound, 48 * 10 * sum(p.numel() for p in module.parameters()) * 4)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_the_peak_of_memory_is_within_the_bound(root):
    """Of a process of its own, with a bound that is far below the size of the Jacobian and of all records."""
    command = [sys.executable, "-c", textwrap.dedent(MEASURE)]
    out = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True).stdout
    extra, bound, jacobian = map(float, out.split())
    assert 5e6 < extra < bound + 25e6  # 25 MB: what the libraries and the allocator take
    assert jacobian > 25 * bound


# ------------------------------------------------------------------------------------------------- good manners


def state(module):
    """What a caller could notice."""
    hooks = [len(part._forward_hooks) + len(part._forward_pre_hooks) for part in module.modules()]
    return (
        hooks,
        [part.training for part in module.modules()],
        [(p.requires_grad, p.grad, id(p)) for p in module.parameters()],
        {name: value.clone() for name, value in module.state_dict().items()},
    )


def assert_same_state(module, before):
    after = state(module)
    assert after[:3] == before[:3]
    assert all(torch.equal(value, before[3][name]) for name, value in after[3].items())


@pytest.mark.parametrize("name", ["resnet18", "in place", "a weight used outside"])
def test_the_module_and_the_images_are_left_as_they_were(name):
    module = (LAYERWISE | FALLBACK)[name]()
    next(module.parameters()).requires_grad_(False)
    x = images(3, dtype=torch.float32)
    kept, before = x.clone(), state(module)
    empirical_ntk(module, x)
    empirical_kernel_fn(module)(x, x[:2])
    assert_same_state(module, before)
    assert torch.equal(x, kept)
    assert not x.requires_grad


@pytest.mark.parametrize("frozen", [False, True], ids=["trainable", "frozen"])
@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode, torch.enable_grad], ids=lambda m: m.__name__)
def test_gradients_off_or_weights_frozen_make_no_difference(mode, frozen):
    module = trained(nn.Sequential(nn.BatchNorm2d(2), *convolution(3)())).double()
    expected = jacobian_contraction(module, images(2), images(2))
    module.requires_grad_(not frozen)
    with mode():
        x = images(2)
        theta = empirical_ntk(module, x)
        rest = empirical_kernel_fn(module)(x, x[:1].clone().requires_grad_(mode is torch.enable_grad))
    assert_near(theta, expected, 1e-9)
    assert not theta.requires_grad
    assert not rest.requires_grad


@pytest.mark.parametrize("name", ["cnn-small", "a module twice"])
def test_progress_rises_to_its_total_and_may_cancel(name, monkeypatch):
    monkeypatch.setattr(layerwise, "PASS_BYTES", 1e5)
    module = (LAYERWISE | FALLBACK)[name]().float()
    x = images(12, dtype=torch.float32)
    seen = []
    full = empirical_ntk(module, x, progress=lambda done, total, note: seen.append((done, total, note)))
    shares = [done / total for done, total, _ in seen]
    assert shares == sorted(shares)
    assert (shares[0], shares[-1]) == (0, 1)
    assert len({note for *_, note in seen}) == 1
    told = []
    kernel = empirical_kernel_fn(module).with_progress(lambda done, total, note: told.append(done / total))
    assert_near(kernel(x), trace(full).double(), 1e-5)
    assert told[-1] == 1

    def cancel(done, total, note):
        if done / total >= shares[len(shares) // 2]:
            raise Cancelled

    before = state(module)
    with pytest.raises(Cancelled):
        empirical_ntk(module, x, x[:3], cancel)
    assert_same_state(module, before)


def test_an_error_inside_the_module_leaves_no_hooks():
    class Stumbles(nn.Sequential):
        def forward(self, x):
            super().forward(x)
            raise RuntimeError("stumbled")

    module = Stumbles(nn.Flatten(), nn.Linear(128, 2))
    before = state(module)
    with pytest.raises(RuntimeError, match="stumbled"):
        empirical_ntk(module, images(2, dtype=torch.float32))
    assert_same_state(module, before)


def mixing():
    class Centred(nn.Sequential):
        def forward(self, x):
            return super().forward(x - x.mean(0))

    return Centred(nn.Flatten(), nn.Linear(128, 2))


@pytest.mark.parametrize(
    ("make", "n", "words"),
    [
        pytest.param(
            lambda: nn.Sequential(nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(128, 1)),
            3,
            r"0 is .*training mode.*module\.eval",
            id="batchnorm",
        ),
        pytest.param(
            lambda: nn.Sequential(nn.BatchNorm2d(2, track_running_stats=False), nn.Flatten()).eval(),
            3,
            "track_running_stats",
            id="no statistics",
        ),
        pytest.param(
            lambda: nn.Sequential(nn.Flatten(), nn.Dropout(), nn.Linear(128, 1)),
            3,
            r"1 is a Dropout.*module\.eval",
            id="dropout",
        ),
        pytest.param(mixing, 3, "depends on the other images", id="mixing"),
        pytest.param(lambda: nn.Conv2d(2, 3, 3), 3, r"\(2, 3, 6, 6\)", id="shape"),
        pytest.param(nn.Flatten, 3, "no parameters", id="no parameters"),
        pytest.param(lambda: nn.Sequential(nn.Flatten(), nn.Linear(128, 1)), 0, "no images", id="no images"),
    ],
)
def test_what_has_no_kernel_is_refused(make, n, words):
    with pytest.raises(SpecError, match=words):
        empirical_ntk(make(), images(n, dtype=torch.float32))
    with pytest.raises(SpecError, match=words):
        empirical_kernel_fn(make())(images(n, dtype=torch.float32))


def test_the_benchmark_compares_times_memory_and_numbers(capsys, monkeypatch, tmp_path):
    case = benchmark.Case("cnn-small", (1, 8, 8), 3, 2)
    monkeypatch.setattr(benchmark, "CASES", (case,))
    monkeypatch.setattr(peers, "PYTHON", tmp_path / "python")
    benchmark.main(argparse.Namespace(rounds=2, device="cpu"))
    out = capsys.readouterr().out
    assert f"  {case}\n" in out
    assert "tutorial, one Jacobian " in out
    assert float(re.search(r"error (\S+),", out)[1]) < 1e-5
    module, x = case.make()
    assert_near(
        benchmark.jacobian_contraction(module, x, x[:2])[0], jacobian_contraction(module, x, x[:2]).double(), 1e-5
    )
