"""Modules and images of the empirical kernel that need care, or words."""

import threading

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import ntkcore as ntk
from ntkcore import SpecError
from ntkcore.kernels.empirical.layers import dissect


class Chance(nn.Module):
    """A random part that is no layer of its own."""

    def __init__(self, kind: str):
        super().__init__()
        self.kind, self.dense = kind, nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.dense(x.flatten(1))
        if self.kind == "depth":  # a layer now and then left out: two passes may well agree
            return x if torch.rand(()) < 0.95 else -x
        return x + 0.1 * torch.randn_like(x) if self.kind == "noise" else F.dropout(x, 0.5, self.training)


@pytest.mark.parametrize("kind", ["noise", "dropout", "depth"])
def test_chance_inside_a_forward_is_refused(kind):
    with pytest.raises(SpecError, match="drawn anew at each call"):
        ntk.empirical_ntk(Chance(kind), torch.rand(8, 1, 2, 2))


class Alternating(nn.Module):
    """A tensor at one call, a tuple at the next."""

    def __init__(self):
        super().__init__()
        self.dense, self.calls = nn.Linear(4, 2), 0

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor]:
        self.calls += 1
        out = self.dense(x.flatten(1))
        return out if self.calls % 2 else (out,)


def test_what_is_another_kind_of_answer_at_the_next_call_is_refused():
    with pytest.raises(SpecError, match="drawn anew at each call"):
        ntk.empirical_ntk(Alternating(), torch.rand(3, 1, 2, 2))


class Constant(nn.Module):
    """Its weight, whatever it is given."""

    def __init__(self):
        super().__init__()
        self.dense = nn.Linear(3, 2, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.dense.weight


def test_a_module_that_returns_its_weight_is_not_taken_apart():
    assert dissect(Constant(), torch.rand(2, 1, 2, 2)) is None


class Scaled(nn.Module):
    """A parameter that is one number without an axis."""

    def __init__(self):
        super().__init__()
        self.dense, self.factor = nn.Linear(4, 2), nn.Parameter(torch.tensor(2.0))

    def forward(self, x: Tensor) -> Tensor:
        return self.factor * self.dense(x.flatten(1))


@pytest.mark.parametrize(
    "module",
    [Scaled(), nn.Sequential(nn.Flatten(), nn.Linear(4, 6), nn.PReLU(6), nn.Linear(6, 2))],
    ids=["scalar parameter", "layer that vmap cannot take"],
)
def test_parameters_that_need_care(module):
    x = torch.rand(5, 1, 2, 2)
    rows = []
    for image in x:
        for output in module(image[None])[0]:
            gradients = torch.autograd.grad(output, list(module.parameters()), retain_graph=True)
            rows.append(torch.cat([g.reshape(-1) for g in gradients]))
    j = torch.stack(rows)
    theta = ntk.empirical_ntk(module, x).transpose(1, 2).reshape(10, 10)
    torch.testing.assert_close(theta, j @ j.T, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("module", "arguments", "words"),
    [
        (lambda x: x, (torch.rand(2, 1, 2, 2),), "torch module"),
        (nn.Linear(4, 2), (np.ones((2, 4)),), "torch tensor; got ndarray"),
        (nn.Linear(4, 2), (torch.rand(2, 4), torch.rand(2, 5)), "one shape and dtype"),
        (nn.Linear(4, 2), (torch.rand(2, 4), torch.rand(2, 4).double()), "one shape and dtype"),
    ],
    ids=["function", "array", "shape", "dtype"],
)
def test_what_is_no_module_or_no_images(module, arguments, words):
    with pytest.raises(SpecError, match=words):
        ntk.empirical_ntk(module, *arguments)


def test_a_part_at_two_places_keeps_its_weights():
    part = nn.Linear(4, 4)
    weight, bias = part.weight, part.bias
    module = nn.Sequential(nn.Flatten(), nn.Linear(12, 4), nn.ReLU(), part, nn.ReLU(), part, nn.Linear(4, 2))
    ntk.empirical_ntk(module, torch.rand(5, 3, 2, 2))
    assert part.weight is weight
    assert part.bias is bias
    module(torch.rand(5, 3, 2, 2)).sum().backward()
    assert weight.grad is not None


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_half_precision_is_refused_in_words(dtype):
    with pytest.raises(ntk.SpecError, match="float32 or float64"):
        ntk.empirical_ntk(nn.Sequential(nn.Flatten(), nn.Linear(12, 2)).to(dtype), torch.rand(5, 3, 2, 2).to(dtype))


@pytest.mark.parametrize("outputs", [1, 17])
def test_a_module_that_is_not_known_has_as_exact_a_kernel(outputs):
    """Traced it is a sum of very many numbers for very few entries."""
    torch.manual_seed(0)
    grouped = nn.Conv2d(4, 48, 1, groups=2)  # no layer that could be taken by itself
    module, x = (
        nn.Sequential(grouped, nn.Flatten(), nn.Linear(3072, 300), nn.Linear(300, outputs)),
        torch.randn(4, 4, 8, 8),
    )
    theta, traced = ntk.empirical_ntk(module, x), ntk.empirical_kernel_fn(module)(x)
    assert torch.equal(theta, theta.permute(1, 0, 3, 2))
    assert torch.equal(traced, traced.T)
    exact = ntk.empirical_ntk(module.double(), x.double())
    mean = exact.diagonal(dim1=2, dim2=3).mean(-1)
    assert (theta - exact).abs().max() < 1e-5 * exact.abs().max()
    assert (traced - mean).abs().max() < 1e-5 * mean.abs().max()


def test_one_module_from_several_threads():
    module = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(512, 5))
    images = [torch.rand(6, 3, 8, 8, generator=torch.Generator().manual_seed(seed)) for seed in range(2)]
    expected, found = [ntk.empirical_ntk(module, x) for x in images], [[], []]

    def work(number: int) -> None:
        found[number] += [ntk.empirical_ntk(module, images[number]) for _ in range(10)]

    workers = [threading.Thread(target=work, args=(number,)) for number in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    for each, theta in zip(found, expected, strict=True):
        assert len(each) == 10
        assert all(torch.equal(other, theta) for other in each)
