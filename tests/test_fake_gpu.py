"""The GPU that is none refuses what a real one refuses, and computes what the processor computes."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from tests.fake_gpu import There, fake_gpu

CPU, FEW = torch.ones(3, 4), torch.tensor([0, 2])
REFUSED = {
    "product": lambda x: x @ CPU.T,
    "sum": lambda x: x + CPU,
    "a number there, a matrix here": lambda x: CPU + x[0, 0],
    "in place": lambda x: CPU.clone().add_(x),
    "side by side": lambda x: torch.cat([x, CPU]),
    "numbers in a stack": lambda x: torch.stack([x[0, 0], CPU[0, 0]]),
    "comparison": lambda x: torch.equal(x, CPU),
    "index there, matrix here": lambda x: CPU[FEW.to("cuda")],
    "generator": lambda x: torch.rand(3, device=x.device, generator=torch.Generator()),
}


@pytest.fixture
def x():
    with fake_gpu():
        yield torch.arange(12.0).view(3, 4).to("cuda")


@pytest.mark.parametrize("name", REFUSED)
def test_devices_do_not_mix(name: str, x) -> None:
    with pytest.raises(RuntimeError, match=r"device|generator"):
        REFUSED[name](x)


@pytest.mark.parametrize("read", [lambda x: x.numpy(), np.asarray, lambda x: x.max().numpy()])
def test_no_array_without_the_way_back(read, x) -> None:
    with pytest.raises(TypeError, match="can't convert cuda:0"):
        read(x)
    assert read(x.cpu()).max() == 11


def test_what_may_meet(x) -> None:
    number = torch.tensor(2.0)
    x[FEW] = x[FEW] * number
    x[1] = CPU[1]
    assert x.tolist() == [[0, 2, 4, 6], [1, 1, 1, 1], [16, 18, 20, 22]]
    assert torch.where(x > number, torch.nan, x).isnan().sum().item() == 6
    assert (float(x[0, 1]), bool(x.any()), int(x.argmax())) == (2.0, True, 11)


def test_where_things_are(x) -> None:
    there = (x.sum(0), x.new_zeros(2), torch.zeros_like(x), torch.zeros(2, device=x.device), CPU.to(x), x[CPU > 0])
    assert all(isinstance(t, There) and t.is_cuda and t.device == torch.device("cuda", 0) for t in there)
    here = (x.cpu(), x.to("cpu"), torch.zeros(2), x.new_zeros(2, device="cpu"), CPU.to(x.cpu()))
    assert all(type(t) is torch.Tensor and t.device.type == "cpu" for t in here)


def test_a_net_learns_as_it_does_here(x) -> None:
    here = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(24, 1))
    there = copy.deepcopy(copy.deepcopy(here).to("cuda", memory_format=torch.channels_last))
    for net, z in ((here, x.cpu()), (there, x)):
        step = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9)
        for _ in range(3):
            step.zero_grad()
            net(z.view(1, 1, 3, 4)).square().sum().backward()
            step.step()
    for a, b in zip(here.parameters(), there.parameters(), strict=True):
        assert isinstance(b, nn.Parameter)
        torch.testing.assert_close(b.detach().cpu(), a.detach(), rtol=1e-5, atol=1e-6)
