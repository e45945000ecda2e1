"""Training epoch by epoch: against torch.optim.SGD by hand, resumed, on attacked images, and linearised."""

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, jacrev

from ntkcore.analysis.attacks.attack import Attack, fgsm, loss_gradient, pgd
from ntkcore.architectures import build
from ntkcore.errors import Cancelled, NTKError, SpecError
from ntkcore.kernels import input_map
from ntkcore.training import FiniteNet, Linearised, Schedule, Start, finite_net, train_epochs, training_loss
from ntkcore.training.epochs import order

N, SHAPE = 24, (1, 8, 8)


@pytest.fixture
def images() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    y = torch.tensor([-1.0, 1.0]).repeat(N // 2)[:, None]
    x = 0.4 + 0.3 * torch.rand(N, *SHAPE, generator=generator)
    x[:, :, :4] += 0.2 * y[:, :, None, None]
    return x, y


def small(seed: int = 0, outputs: int = 1) -> FiniteNet:
    return finite_net(build("cnn-small", SHAPE, outputs, seed))


def weights(net: FiniteNet) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in net.module.state_dict().items()}


def adversary_of(attack: Attack):
    return lambda net, x, y, draw: attack.replace(seed=draw).perturb(net, x, y, attack.eps)[0]


def run(net: FiniteNet, x: Tensor, y: Tensor, schedule: Schedule, epochs: int, **kind: object) -> list[float]:
    return [checkpoint.loss for checkpoint in train_epochs(net, x, y, schedule, epochs, **kind)]


@pytest.mark.parametrize("loss", ["cross_entropy", "squared"])
def test_by_hand(images: tuple[Tensor, Tensor], loss: str) -> None:
    """v <- mu v + grad, w <- w - lr v, over the rows of each epoch's order."""
    x, y = images
    schedule = Schedule(loss=loss, lr=0.03, momentum=0.5, batch=10, seed=3)
    net, other = small(), small()
    losses = run(net, x, y, schedule, 3)
    v = {name: torch.zeros_like(p) for name, p in other.module.named_parameters()}
    expected = []
    for epoch in (1, 2, 3):
        seen = []
        for rows in order(N, schedule, epoch):
            value = training_loss(other(x[rows]), y[rows], loss)
            seen.append(float(value.detach()))
            gradients = torch.autograd.grad(value, list(other.module.parameters()))
            with torch.no_grad():
                for (name, p), g in zip(other.module.named_parameters(), gradients, strict=True):
                    v[name] = schedule.momentum * v[name] + g
                    p -= schedule.lr * v[name]
        expected.append(sum(seen) / len(seen))
    assert losses[1:] == pytest.approx(expected, rel=1e-5)
    for name, p in other.module.named_parameters():
        torch.testing.assert_close(net.module.get_parameter(name), p, rtol=1e-4, atol=1e-6)


def test_every_image_once_an_epoch() -> None:
    schedule = Schedule(batch=7)
    for epoch in (1, 2):
        assert sorted(torch.cat(order(N, schedule, epoch)).tolist()) == list(range(N))
    first, second = (torch.cat(order(N, schedule, epoch)).tolist() for epoch in (1, 2))
    assert first != second
    assert torch.cat(order(N, schedule.replace(seed=1), 1)).tolist() != first


def test_no_image_is_left_alone() -> None:
    """A batch of one is what was asked for, or none."""
    sizes = {size: [len(rows) for rows in order(N + 1, Schedule(batch=size), 1)] for size in (1, 8, 24, 25)}
    assert sizes == {1: [1] * 25, 8: [8, 8, 9], 24: [25], 25: [25]}


def test_batch_norm_needs_more_than_one_number(images: tuple[Tensor, Tensor]) -> None:
    net = finite_net(build("resnet18", SHAPE, 1, 0))
    with pytest.raises(NTKError, match=r"cannot be trained on 1 image of this size .* larger batches"):
        run(net, *images, Schedule(batch=1), 1)
    net = finite_net(build("resnet18", SHAPE, 1, 0))
    assert len(run(net, images[0][:9], images[1][:9], Schedule(batch=4), 1)) == 2


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("attack", [None, pgd(0.05, 2, random_start=True)], ids=["clean", "pgd"])
def test_resumed_is_uninterrupted(images: tuple[Tensor, Tensor], momentum: float, attack: Attack | None) -> None:
    """Bit for bit, from the weights and the momentum of a checkpoint."""
    x, y = images
    schedule = Schedule(lr=0.02, momentum=momentum, batch=10)
    kind = {"adversary": adversary_of(attack) if attack else None}
    whole, first = small(), small()
    losses = run(whole, x, y, schedule, 4, **kind)
    for checkpoint in train_epochs(first, x, y, schedule, 2, **kind):
        kept = Start(checkpoint.epoch, {name: v.clone() for name, v in checkpoint.momentum.items()})
    again = small(seed=9)
    again.module.load_state_dict(weights(first))
    assert run(again, x, y, schedule, 4, start=kept, **kind)[1:] == losses[3:]
    assert all(torch.equal(a, b) for a, b in zip(weights(again).values(), weights(whole).values(), strict=True))


def test_a_momentum_of_other_weights_is_refused(images: tuple[Tensor, Tensor]) -> None:
    with pytest.raises(SpecError, match=r"The net has no weights 'net\.0'"):
        train_epochs(small(), *images, Schedule(), 4, start=Start(1, {"net.0": torch.zeros(1)}))


def test_the_adversary_is_what_is_trained_on(images: tuple[Tensor, Tensor]) -> None:
    """The loss is that of the images it returns, made with the net of the moment in evaluation mode."""
    x, y = images
    net, schedule, seen = small(), Schedule(lr=0.01, batch=N), []

    def adversary(net: FiniteNet, images: Tensor, labels: Tensor, draw: int) -> Tensor:
        assert not net.module.training
        assert draw == 1 + len(seen)
        z = images + 0.1 * loss_gradient(net, images, labels).sign()
        seen.append(float(training_loss(net(z), labels, schedule.loss).detach()))
        return z

    assert run(net, x, y, schedule, 2, adversary=adversary)[1:] == pytest.approx(seen, rel=1e-5)
    assert len(seen) == 2


@pytest.mark.parametrize(
    "change", [{"eps": 0.02}, {"steps": 4}, {"step_size": 0.001}, {"norm": "l2"}, {"random_start": True}], ids=str
)
def test_each_field_of_an_attack_reaches_the_training(images: tuple[Tensor, Tensor], change: dict) -> None:
    x, y = images
    attack = pgd(0.1, 2, 0.04)
    results = []
    for one in (attack, attack.replace(**change)):
        net = small()
        run(net, x, y, Schedule(lr=0.1, batch=12), 1, adversary=adversary_of(one))
        results.append(weights(net)["0.weight"])
    assert not torch.equal(*results)


def test_trained_on_attacks_is_more_robust(images: tuple[Tensor, Tensor]) -> None:
    x, y = images
    robust = {}
    for name, attack in (("standard", None), ("fgsm", fgsm(0.1))):
        net = small()
        run(net, x, y, Schedule(lr=0.1, batch=8), 100, adversary=adversary_of(attack) if attack else None)
        robust[name] = pgd(0.1, 5)(net, x, y)
    loss = {name: float(training_loss(result.attacked, y, "cross_entropy")) for name, result in robust.items()}
    assert loss["fgsm"] < loss["standard"]


def test_divergence_is_said(images: tuple[Tensor, Tensor]) -> None:
    with pytest.raises(NTKError, match=r"diverged: in epoch 1 .* smaller learning rate than 100000"):
        run(small(), *images, Schedule(lr=1e5, batch=4, loss="squared"), 3)


def test_cancel_within_an_epoch(images: tuple[Tensor, Tensor]) -> None:
    def stop(done: float, total: float, note: str) -> None:
        assert total == 3
        if "epoch 2, step 2" in note:
            raise Cancelled

    checkpoints = train_epochs(small(), *images, Schedule(batch=10), 5, progress=stop)
    assert [next(checkpoints).epoch for _ in range(2)] == [0, 1]
    with pytest.raises(Cancelled):
        next(checkpoints)


# -- linearised ---------------------------------------------------------------------------------------------------


@pytest.fixture(params=["cnn-small", "cnn-large", "resnet18"])
def trained(request: pytest.FixtureRequest) -> nn.Module:
    module = build(request.param, SHAPE, 2, 0)
    x = torch.rand(6, *SHAPE, generator=torch.Generator().manual_seed(5))
    module.train()
    module(x)  # moves the running statistics of BatchNorm
    return module.eval()


def test_linearised_where_it_is_taken(trained: nn.Module) -> None:
    """f_lin is f there, and so are its gradients in the images and in the weights."""
    x = torch.rand(3, *SHAPE, generator=torch.Generator().manual_seed(1), requires_grad=True)
    linear = Linearised(copy.deepcopy(trained)).eval()
    torch.testing.assert_close(linear(x), trained(x), rtol=1e-5, atol=1e-5)
    direction = torch.rand(3, 2, generator=torch.Generator().manual_seed(2))
    ours, theirs = (torch.autograd.grad((f(x) * direction).sum(), x)[0] for f in (linear, trained))
    torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-5)
    one, other = (torch.autograd.grad((f(x) * direction).sum(), list(f.parameters())) for f in (linear, trained))
    for a, b in zip(one, other, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4)


def test_linearised_elsewhere() -> None:
    """f(w_e) + J (w - w_e) with the Jacobian written out, and a gradient in the images that knows the second term."""
    module = build("cnn-small", SHAPE, 2, 0).double().eval()
    linear, centred = Linearised(copy.deepcopy(module)), Linearised(copy.deepcopy(module), centred=True)
    generator = torch.Generator().manual_seed(3)
    change = {n: 0.1 * torch.randn(p.shape, generator=generator).double() for n, p in module.named_parameters()}
    for one in (linear, centred):
        one.move({name: p.detach() + change[name] for name, p in module.named_parameters()})
    x = torch.rand(3, *SHAPE, generator=generator, dtype=torch.float64)
    anchor = {name: p.detach() for name, p in module.named_parameters()}

    def by_hand(z: Tensor) -> Tensor:
        jacobians = jacrev(lambda w: functional_call(module, w, (z,)))(anchor)
        return sum((jacobians[name].flatten(2) @ change[name].flatten()) for name in anchor)

    torch.testing.assert_close(centred(x), by_hand(x))
    torch.testing.assert_close(linear(x), module(x) + by_hand(x))
    z = x.clone().requires_grad_()
    (slope,) = torch.autograd.grad(linear(z).sum(), z)
    step = torch.zeros_like(x)
    step[0, 0, 4, 4] = 1e-6
    rise = (linear(x + step).sum() - linear(x - step).sum()).detach() / 2e-6
    assert float(slope[0, 0, 4, 4]) == pytest.approx(float(rise), rel=1e-5)


def test_a_linearised_net_trains_linearly(images: tuple[Tensor, Tensor]) -> None:
    """Squared loss, one full step after another: f_lin follows the recursion of its own tangent kernel."""
    x, y = images
    module = build("cnn-small", SHAPE, 1, 0).eval()
    linear = Linearised(module)
    net, lr = FiniteNet(linear, input_map("raw", x)), 0.02
    with torch.no_grad():
        f = net(x).double()
    jacobian = jacrev(lambda w: functional_call(module, w, (x,)))({n: p.detach() for n, p in module.named_parameters()})
    J = torch.cat([j.reshape(N, -1) for j in jacobian.values()], 1).double()
    for checkpoint in train_epochs(net, x, y, Schedule(loss="squared", lr=lr, batch=N), 5):
        if checkpoint.epoch:
            f = f - lr * (J @ J.T) @ (f - y.double()) / N
    with torch.no_grad():
        torch.testing.assert_close(net(x).double(), f, rtol=1e-4, atol=1e-5)
