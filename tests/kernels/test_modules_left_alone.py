"""Whoever looks at a module leaves it as it was: buffers, modes, hooks, gradients and flags, also when it refuses."""

import threading
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import ntkcore as ntk
from ntkcore.analysis.tangent import fit_tangent
from ntkcore.looking import left_alone
from ntkcore.training import FiniteNet

X = torch.rand(6, 3, 8, 8, generator=torch.Generator().manual_seed(0))
Y = torch.tensor([[1.0], [-1.0]]).repeat(3, 1)


class Counter(nn.Module):
    """Counts its calls in a buffer, in place or by a new one."""

    def __init__(self, in_place: bool):
        super().__init__()
        self.in_place, self.dense = in_place, nn.Linear(192, 1)
        self.register_buffer("calls", torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        if self.in_place:
            self.calls += 1
        else:
            self.calls = self.calls + 1
        return self.dense(x.flatten(1))


class Stumbles(Counter):
    """Stops in the middle, as a user does."""

    def forward(self, x: Tensor) -> Tensor:
        super().forward(x)
        raise KeyboardInterrupt


class Overwrites(nn.Module):
    """Writes into what it is given."""

    def __init__(self):
        super().__init__()
        self.dense = nn.Linear(192, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.dense(x.sub_(0.5).relu_().flatten(1))


MODULES = {
    "InstanceNorm": lambda: nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.InstanceNorm2d(4, True, True, True), nn.Flatten(), nn.Linear(144, 1)
    ),
    "counter in place": lambda: Counter(True),
    "counter anew": lambda: Counter(False),
    "interrupted": lambda: Stumbles(True),
    "overwrites": Overwrites,
    "spectral_norm": lambda: nn.Sequential(nn.Flatten(), nn.utils.parametrizations.spectral_norm(nn.Linear(192, 1))),
    "BatchNorm": lambda: nn.Sequential(nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(192, 1)),
    "dropout": lambda: nn.Sequential(nn.Flatten(), nn.Dropout(), nn.Linear(192, 1)),
    "mixed modes": lambda: nn.Sequential(nn.BatchNorm2d(3).eval(), nn.Flatten(), nn.Dropout(), nn.Linear(192, 1)),
    "noise": lambda: nn.Sequential(nn.Flatten(), nn.RReLU(), nn.Linear(192, 1)),
    "frozen": lambda: nn.Sequential(nn.Flatten(), nn.Linear(192, 2).requires_grad_(False), nn.Linear(2, 1)),
    "PReLU": lambda: nn.Sequential(nn.Flatten(), nn.PReLU(), nn.Linear(192, 1)),
}
LOOKS: dict[str, Callable[[FiniteNet], object]] = {
    "prediction": lambda net: net(X),
    "attack": lambda net: ntk.pgd(0.05, 2)(net, X, Y),
    "empirical": lambda net: ntk.empirical_ntk(net.module, X),
    "traced": lambda net: ntk.empirical_kernel_fn(net.module)(X, X[:2]),
    "tangent": lambda net: [ntk.tangent_kernel(net)(X), ntk.tangent_kernel(net)(X.double())],
    "fit": lambda net: ntk.fit(ntk.tangent_kernel(net), X, Y, ridge=0.1)(X),
    "fit_tangent": lambda net: fit_tangent(net, X, Y, ridge=0.1)(X),
    "centred": lambda net: ntk.finite_net(net.module, centred=True)(X),
    "training not begun": lambda net: next(ntk.train_epochs(net, X, Y, ntk.Schedule(), 1)),
}


def state(module: nn.Module) -> list[object]:
    parts, weights = list(module.modules()), list(module.parameters())
    return [
        {name: value.tolist() for name, value in module.state_dict().items()},
        [id(value) for value in (*weights, *module.buffers())],
        [(part.training, len(part._forward_hooks)) for part in parts],
        [(p.requires_grad, None if p.grad is None else p.grad.tolist()) for p in weights],
    ]


@pytest.mark.parametrize("look", LOOKS)
@pytest.mark.parametrize("name", MODULES)
def test_a_look_leaves_no_trace(name: str, look: str) -> None:
    torch.manual_seed(1)
    module, images, generator = MODULES[name](), X.clone(), torch.get_rng_state()
    for p in module.parameters():
        p.grad = torch.ones_like(p)
    before = state(module)
    try:
        LOOKS[look](ntk.finite_net(module))
    except (ntk.NTKError, KeyboardInterrupt):
        assert name in ("interrupted", "spectral_norm", "BatchNorm", "dropout", "mixed modes", "noise")
    assert state(module) == before
    assert torch.equal(X, images)
    assert torch.equal(torch.get_rng_state(), generator)


def test_a_cancelled_kernel_leaves_no_trace() -> None:
    def stop(done: float, total: float, note: str) -> None:
        raise ntk.Cancelled

    for name in ("InstanceNorm", "counter in place"):
        module = MODULES[name]()
        before = state(module)
        with pytest.raises(ntk.Cancelled):
            ntk.empirical_ntk(module, X, progress=stop)
        assert state(module) == before


def test_a_buffer_at_two_places_stays_one_and_is_given_back() -> None:
    one, two = nn.BatchNorm1d(2), nn.BatchNorm1d(2)
    two.running_mean = one.running_mean
    module = nn.Sequential(one, two)
    with left_alone(module):
        assert module[0].running_mean is module[1].running_mean
        module[0].running_mean += 1
        assert float(module[1].running_mean[0]) == 1
    assert float(one.running_mean[0]) == 0
    assert one.running_mean is two.running_mean


def test_threads_that_look_at_one_module_in_training() -> None:
    """None of them sees another's modes, and the last one leaves it in training."""
    torch.manual_seed(0)
    module = MODULES["mixed modes"]()
    net, found = ntk.finite_net(module), []
    wanted = net(X)

    def work() -> None:
        found.extend(net(X) for _ in range(30))

    workers = [threading.Thread(target=work) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(found) == 90
    assert all(torch.equal(out, wanted) for out in found)
    assert [part.training for part in module] == [False, True, True, True]


# -- a net in training mode -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["BatchNorm", "dropout", "mixed modes", "noise", "InstanceNorm"])
def test_a_prediction_is_that_of_evaluation_mode(name: str) -> None:
    torch.manual_seed(0)
    module = MODULES[name]()
    net = ntk.finite_net(module)
    images = ntk.pgd(0.05, 2)(net, X, Y)
    nothing = ntk.fgsm(0.0)(net, X, Y)
    assert nothing.accuracy == nothing.clean_accuracy == ntk.accuracy(net(X), Y)
    torch.testing.assert_close(torch.cat([net(x[None]) for x in X]), net(X))
    K = ntk.tangent_kernel(net)(X)
    centred = ntk.finite_net(module, centred=True)
    assert float(centred(X).abs().max().detach()) == 0
    module.eval()
    assert torch.equal(net(X), module(X))
    assert torch.equal(ntk.pgd(0.05, 2)(net, X, Y).x_adv, images.x_adv)
    assert torch.equal(ntk.empirical_kernel_fn(module)(X), K)
    assert float(centred(X).abs().max().detach()) == 0


@pytest.mark.parametrize("mode", [True, False], ids=["training", "evaluation"])
def test_training_takes_its_steps_in_training_mode_and_restores_the_mode(mode: bool) -> None:
    seen: list[bool] = []

    class Watched(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            seen.append(self.training)
            return super().forward(x)

    def adversary(net: FiniteNet, x: Tensor, y: Tensor, draw: int) -> Tensor:
        assert not net.module.training
        return x

    module = nn.Sequential(nn.Flatten(), Watched(192, 1)).train(mode)
    net, recipe = ntk.finite_net(module), ntk.Training(lr=0.01, lr_unit="absolute", steps=3, centred=False)
    for _ in ntk.train(net, X, Y, recipe):
        assert module.training == module[1].training == mode
    for _ in ntk.train_epochs(net, X, Y, ntk.Schedule(batch=3), 2, adversary):
        assert module.training == module[1].training == mode
    assert seen == [True] * 8

    def stop(done: float, total: float, note: str) -> None:
        raise ntk.Cancelled

    with pytest.raises(ntk.Cancelled):
        list(ntk.train_epochs(net, X, Y, ntk.Schedule(), 1, progress=stop))
    assert module.training == module[1].training == mode


def test_training_moves_the_statistics_that_a_prediction_then_uses() -> None:
    net = ntk.finite_net(MODULES["BatchNorm"]().eval())
    list(ntk.train_epochs(net, X, Y, ntk.Schedule(lr=1e-9, batch=6), 1))
    norm = net.module[0]
    torch.testing.assert_close(norm.running_mean, 0.1 * X.mean((0, 2, 3)))
    assert int(norm.num_batches_tracked) == 1


def test_another_thread_may_draw_random_numbers_meanwhile() -> None:
    module = ntk.fc(1).module((3, 8, 8), 64)
    net, kernel, done = ntk.finite_net(module), ntk.empirical_kernel_fn(module), threading.Event()

    def draw() -> None:
        while not done.is_set():
            torch.rand(10)

    wanted = net(X), kernel(X)
    thread = threading.Thread(target=draw)
    thread.start()
    try:
        for _ in range(30):
            torch.testing.assert_close((net(X), kernel(X)), wanted)
    finally:
        done.set()
        thread.join()
