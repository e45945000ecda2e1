"""AutoAttack on our predictors: inside the ball, at least as strong as PGD, and PGD nearly as strong as it."""

import pytest
import torch

import ntkcore as ntk
from ntkcore.analysis.attacks import autoattack as module
from ntkcore.analysis.attacks.autoattack import autoattack


@pytest.fixture(scope="module")
def net():
    """A small trained net on garments of two or three classes: (predictor, images, labels)."""

    def trained(classes):
        task = ntk.load(ntk.DataSpec(classes=classes, n_train=120, n_test=40, size=14))
        recipe = ntk.Training(lr=0.1, lr_unit="absolute", steps=60)
        twin = ntk.finite_net(
            ntk.fc(1).module(task.image_shape, 64, task.y_train.shape[1]),
            ntk.input_map("centre", task.x_train),
            centred=True,
        )
        list(ntk.train(twin, task.x_train, task.y_train, recipe))
        return twin, task.x_test, task.y_test

    return trained


@pytest.mark.parametrize(
    ("classes", "norm", "eps"),
    [
        pytest.param(("T-shirt/top", "Shirt"), "linf", 0.03, id="binary"),
        pytest.param(("Coat", "Bag", "Shirt"), "l2", 0.5, id="three classes"),
    ],
)
def test_stronger_than_pgd_but_not_by_much(net, classes, norm, eps):
    f, x, y = net(classes)
    x_adv = autoattack(f, x, y, eps, norm)
    delta = (x_adv - x).flatten(1)
    size = delta.abs().amax(1) if norm == "linf" else delta.norm(dim=1)
    assert size.max() <= eps * (1 + 1e-4)
    assert x_adv.min() >= 0
    assert x_adv.max() <= 1
    strong, ours = ntk.accuracy(f(x_adv), y), ntk.pgd(eps, 40, norm=norm)(f, x, y)
    assert strong <= ours.accuracy
    assert strong >= ours.accuracy - 0.075  # three images of forty
    assert strong < ours.clean_accuracy


def test_no_radius_no_change_and_a_sentence_without_the_package(net, monkeypatch):
    f, x, y = net(("T-shirt/top", "Shirt"))
    assert torch.equal(autoattack(f, x, y, 0.0), x)
    monkeypatch.setattr(module, "PACKAGE", "no_such_package")
    assert not module.available()
    with pytest.raises(ntk.NTKError, match="AutoAttack needs no_such_package, which is not installed: pip install"):
        autoattack(f, x, y, 0.1)
