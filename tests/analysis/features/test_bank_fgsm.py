"""Sweeps by expansions decide every pair as sweeps by gradients and kernels of each image do."""

import pytest
import torch

import ntkcore as ntk
from ntkcore.analysis.features import bank_fgsm
from ntkcore.analysis.features.fgsm_expansion import Expansion
from ntkcore.errors import Cancelled

CASES = {
    "binary": (ntk.fc(1), 2, ntk.fgsm(8 / 255)),
    "deep": (ntk.fc(5), 2, ntk.fgsm(3 / 255)),
    "ten classes": (ntk.fc(2), 10, ntk.fgsm(4 / 255)),
    "a step shorter than eps": (ntk.fc(1), 2, ntk.Attack(eps=8 / 255, steps=1, step_size=2 / 255)),
    "hardly any step": (ntk.fc(1), 2, ntk.fgsm(1e-4)),
}


def task_of(classes: int) -> ntk.Task:
    names = None if classes == 2 else ntk.data.info(ntk.DataSpec()).classes
    spec = (
        ntk.DataSpec(n_train=120, n_test=90) if names is None else ntk.DataSpec(classes=names, n_train=120, n_test=90)
    )
    return ntk.load(spec)


@pytest.mark.parametrize(("net", "classes", "attack"), CASES.values(), ids=list(CASES))
def test_verdicts_are_those_of_the_plain_way(net, classes, attack, monkeypatch):
    task, kernel = task_of(classes), ntk.kernel_fn(net)
    monkeypatch.setattr(bank_fgsm, "IMAGES", 50)  # two portions, one smaller
    monkeypatch.setattr(bank_fgsm, "PREDICTORS", 80)
    monkeypatch.setattr(bank_fgsm, "BLOCK_BYTES", 1e6)
    monkeypatch.setattr(bank_fgsm, "ROUGH_PAIRS", 700)
    arguments = (kernel, task.x_train, task.y_train, task.x_test, task.y_test, attack)
    found = ntk.eigenfeatures(*arguments)
    taken, plain = [], Expansion.of
    monkeypatch.setattr(Expansion, "of", lambda *rest: taken.append(plain(*rest)))
    expected = ntk.eigenfeatures(*arguments)
    assert taken[0] is not None  # this case is one of those
    assert torch.equal(found.right_before, expected.right_before)
    assert torch.equal(found.right_after, expected.right_after)
    assert torch.equal(found.zero_gradient, expected.zero_gradient)


@pytest.mark.parametrize("shift", [0.0, 1 / 255, -0.001], ids=["the same", "brighter", "darker by a thousandth"])
@pytest.mark.parametrize("net", [ntk.fc(1), ntk.fc(5)], ids=str)
def test_images_that_nearly_coincide_get_the_verdicts_of_double_precision(net, shift):
    """In training and under attack: gradients change fast where two images meet."""
    task, kernel, eps = task_of(2), ntk.kernel_fn(net), 8 / 255
    x, y = task.x_train[:60], task.y_train[:60]
    near = x * (1 + shift) if shift < 0 else (x + shift).clamp(0, 1)
    x_train, y_train, x_test, y_test = torch.cat([x, near]), torch.cat([y, y]), x[:40], y[:40]
    sweep = ntk.eigenfeatures(kernel, x_train, y_train, x_test, y_test, ntk.fgsm(eps))

    z = x_test.double().requires_grad_()
    s = sweep.spectrum
    vectors, values = s.vectors[:, : s.rank], s.values[: s.rank]
    weights = vectors * (vectors.T @ y_train.double()).T / values
    outputs = kernel(z, x_train.double()) @ weights
    gradients = [torch.autograd.grad(-(y_test * outputs)[:, f].sum(), z, retain_graph=True)[0] for f in range(s.rank)]
    right = (y_test * outputs > 0).detach()
    for f, g in enumerate(gradients):
        with torch.no_grad():
            after = kernel((z + eps * g.sign()).clamp(0, 1), x_train.double()) @ weights[:, f]
            right[:, f] &= y_test[:, 0] * after > 0
    assert int((sweep.right_after != right).sum()) <= right.numel() / 2000


def test_other_attacks_take_the_plain_way():
    task = task_of(2)
    bank = ntk.analysis.features.eigenfeatures.feature_bank(
        ntk.spectrum(ntk.kernel_fn(ntk.fc(1))(task.x_train.double())), task.y_train
    )
    assert bank_fgsm.covers(bank, ntk.fgsm(8 / 255))
    for attack in (ntk.pgd(8 / 255), ntk.fgsm(1.0, norm="l2"), ntk.pgd(8 / 255, steps=1, random_start=True)):
        assert not bank_fgsm.covers(bank, attack)


def test_progress_ends_at_its_total_and_may_stop(monkeypatch):
    task, kernel, seen = task_of(2), ntk.kernel_fn(ntk.fc(1)), []
    monkeypatch.setattr(bank_fgsm, "BLOCK_BYTES", 1e6)
    monkeypatch.setattr(bank_fgsm, "ROUGH_PAIRS", 700)
    arguments = (kernel, task.x_train, task.y_train, task.x_test, task.y_test)
    ntk.eigenfeatures(*arguments, progress=lambda done, total, note: seen.append((done, total)))
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert seen[-1][0] == seen[-1][1]
    assert len(seen) > 5

    def stop(done: float, total: float, note: str) -> None:
        if done > 0:
            raise Cancelled

    with pytest.raises(Cancelled):
        ntk.eigenfeatures(*arguments, progress=stop)
