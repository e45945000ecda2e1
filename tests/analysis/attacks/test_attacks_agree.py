"""Our attacks against Foolbox (Rauber et al. 2020): same nets, same settings.

The nets are small, trained briefly with plain torch. A binary net has one output f and the logistic loss; Foolbox
gets the logits (-f/2, f/2), whose cross-entropy is that very loss. In float64, so that rounding decides no sign.
"""

import functools
import warnings
from types import ModuleType

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import ntkcore as ntk
from ntkcore.analysis.attacks.attack import Attack, fgsm, loss, loss_gradient, pgd
from ntkcore.architectures import build

WHOLE = ntk.DataSpec(n_train=300, n_test=100)
SMALL = ntk.DataSpec(n_train=300, n_test=100, size=14)
THREE = ntk.DataSpec(n_train=300, n_test=100, size=14, classes=("T-shirt/top", "Dress", "Shirt"))
VICTIMS = {  # net, task, learning rate
    "fc": (lambda: ntk.fc(1).module((1, 28, 28), width=64), WHOLE, 0.03),
    "cnn-small": (lambda: build("cnn-small", (1, 14, 14)), SMALL, 0.003),
    "cnn-small-three-classes": (lambda: build("cnn-small", (1, 14, 14), outputs=3), THREE, 0.003),
}
ATTACKS = {
    "fgsm-linf": fgsm(8 / 255),
    "pgd-linf": pgd(8 / 255, steps=10, step_size=2 / 255),
    "fgsm-l2": fgsm(0.6, norm="l2"),
    "pgd-l2": pgd(0.6, steps=10, step_size=0.15, norm="l2"),
}


@pytest.fixture(scope="module")
def foolbox() -> ModuleType:
    """The library. It imports a function of SciPy from its old place, which warns, and GitPython, which wants git."""
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        patch.setenv("GIT_PYTHON_REFRESH", "quiet")
        warnings.filterwarnings("ignore", "Please import `gaussian_filter` from", DeprecationWarning)
        import foolbox

        return foolbox


class TwoLogits(nn.Module):
    """A net of one output f as two logits (-f/2, f/2); others as they are."""

    def __init__(self, net: nn.Module):
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        f = self.net(x)
        return torch.cat([-f / 2, f / 2], 1) if f.shape[1] == 1 else f


@functools.cache
def victim(name: str) -> tuple[nn.Module, Tensor, Tensor]:
    """A net after 25 steps of Adam on the cross-entropy, and its test images and labels."""
    make, data, rate = VICTIMS[name]
    net, task = make(), ntk.load(data)
    x, y = task.x_train, task.y_train
    optimiser = torch.optim.Adam(net.parameters(), lr=rate)
    for _ in range(25):
        optimiser.zero_grad()
        if y.shape[1] == 1:
            F.binary_cross_entropy_with_logits(net(x), (y + 1) / 2).backward()
        else:
            F.cross_entropy(net(x), y).backward()
        optimiser.step()
    return net.double().eval().requires_grad_(False), task.x_test.double(), task.y_test.double()


def classes(y: Tensor) -> Tensor:
    """Labels of -1 and +1, or one-hot, as class numbers."""
    return (y[:, 0] > 0).long() if y.shape[1] == 1 else y.argmax(1)


def theirs(foolbox: ModuleType, ours: Attack):
    """The attack of Foolbox with the settings of ours."""
    name = {"linf": "Linf", "l2": "L2"}[ours.norm]
    if ours.steps == 1:
        return getattr(foolbox.attacks, f"{name}FastGradientAttack")()
    attack = getattr(foolbox.attacks, f"{name}ProjectedGradientDescentAttack")
    return attack(abs_stepsize=ours.step_size, steps=ours.steps, random_start=ours.random_start)


@pytest.mark.parametrize("name", VICTIMS)
def test_both_see_the_same_loss(name):
    net, x, y = victim(name)
    torch.testing.assert_close(loss(net(x), y), F.cross_entropy(TwoLogits(net)(x), classes(y), reduction="none"))


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("name", VICTIMS)
def test_our_attacks_agree_with_foolbox(foolbox, name, attack):
    net, x, y = victim(name)
    ours = ATTACKS[attack]
    result = ours(net, x, y)
    model = foolbox.PyTorchModel(TwoLogits(net).eval(), bounds=(0, 1), device="cpu")
    _, x_adv, success = theirs(foolbox, ours)(model, x, classes(y), epsilons=ours.eps)
    moved = loss_gradient(net, x, y) != 0  # where it is exactly zero, rounding may decide the sign
    assert moved.double().mean() > 0.9
    torch.testing.assert_close(result.x_adv[moved], x_adv[moved], rtol=0, atol=1e-6)
    assert result.accuracy == pytest.approx(1 - success.double().mean().item(), abs=0.02)
    assert result.accuracy < result.clean_accuracy - 0.03, "an attack that changes nothing agrees with any"
