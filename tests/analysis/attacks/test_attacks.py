"""Attacks against closed cases: on a linear predictor the worst perturbation is known."""

import pytest
import torch

from ntkcore import NTKError, SpecError, fgsm, pgd
from ntkcore.analysis.attacks.attack import Attack, loss_gradient

G = torch.Generator().manual_seed(0)
W = torch.randn(48, generator=G, dtype=torch.float64)
X = 0.3 + 0.4 * torch.rand(6, 3, 4, 4, generator=G, dtype=torch.float64)  # far from 0 and 1: no clipping
Y = torch.tensor([[1.0], [-1.0]] * 3, dtype=torch.float64)


def linear(x):
    return x.flatten(1) @ W[:, None]


def test_fgsm_on_a_linear_predictor_is_the_worst_case():
    r = fgsm(0.1)(linear, X, Y)
    torch.testing.assert_close(r.x_adv, X - 0.1 * Y.view(-1, 1, 1, 1) * W.sign().view(3, 4, 4))
    torch.testing.assert_close(r.attacked, linear(X) - 0.1 * Y * W.abs().sum())


def test_l2_step_goes_along_the_normalised_gradient():
    r = fgsm(0.1, norm="l2")(linear, X, Y)
    torch.testing.assert_close(r.attacked, linear(X) - 0.1 * Y * W.norm())
    torch.testing.assert_close((r.x_adv - X).flatten(1).norm(dim=1), torch.full((6,), 0.1).double())


def test_fgsm_is_pgd_with_one_step():
    assert torch.equal(fgsm(0.1)(linear, X, Y).x_adv, pgd(0.1, steps=1, step_size=0.1)(linear, X, Y).x_adv)


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("random_start", [False, True], ids=["from the image", "random start"])
def test_pgd_reaches_the_worst_case_and_stays_in_the_ball(norm, random_start):
    r = pgd(0.1, steps=20, norm=norm, random_start=random_start)(linear, X, Y)
    worst = linear(X) - 0.1 * Y * (W.abs().sum() if norm == "linf" else W.norm())
    torch.testing.assert_close(r.attacked, worst, rtol=2e-2, atol=1e-3)
    delta = (r.x_adv - X).flatten(1)
    size = delta.abs().amax(1) if norm == "linf" else delta.norm(dim=1)
    assert size.max().item() <= 0.1 + 1e-9


def test_perturbed_images_stay_in_range():
    x = torch.rand(4, 3, 4, 4, dtype=torch.float64).round()
    r = pgd(0.5, steps=5)(linear, x, Y[:4])
    assert r.x_adv.min() >= 0
    assert r.x_adv.max() <= 1


def test_each_field_reaches_the_attack():
    base = Attack(eps=0.1, steps=3, step_size=0.02, random_start=True, seed=0)

    def curved(x):
        return torch.sin(3 * x).flatten(1) @ W[:, None]

    reference = base(curved, X, Y).x_adv
    for change in (
        {"eps": 0.05},
        {"steps": 7},
        {"step_size": 0.03},
        {"norm": "l2"},
        {"random_start": False},
        {"seed": 1},
    ):
        assert not torch.equal(base.model_copy(update=change)(curved, X, Y).x_adv, reference), change


def test_zero_gradients_are_counted_not_hidden():
    r = fgsm(0.1)(lambda x: torch.relu(linear(x) - 1e6), X, Y)
    assert r.zero_gradient_share == 1
    assert fgsm(0.1)(linear, X, Y).zero_gradient_share == 0


def test_multiclass_gradient_is_that_of_softmax_cross_entropy():
    weights = torch.randn(48, 5, generator=G, dtype=torch.float64)
    labels = torch.arange(6) % 5

    def f(x):
        return x.flatten(1) @ weights

    z = X.clone().requires_grad_()
    torch.nn.functional.cross_entropy(f(z), labels, reduction="sum").backward()
    onehot = torch.nn.functional.one_hot(labels, 5).double()
    torch.testing.assert_close(loss_gradient(f, X, onehot), z.grad)


def test_eps_zero_changes_nothing():
    for attack in (fgsm(0), pgd(0, steps=3), fgsm(0, norm="l2")):
        assert torch.equal(attack(linear, X, Y).x_adv, X)


def test_a_radius_per_image():
    radii = torch.tensor([0.0, 0.01, 0.02, 0.03, 0.04, 0.05], dtype=torch.float64)
    z, _ = fgsm(0.1).perturb(linear, X, Y, radii)
    torch.testing.assert_close((z - X).flatten(1).abs().amax(1), radii)


@pytest.mark.parametrize(
    "fields", [{"eps": -0.1}, {"steps": 0}, {"norm": "l1"}, {"eps": float("nan")}, {"epz": 1}], ids=str
)
def test_impossible_attacks_are_refused(fields):
    with pytest.raises(SpecError):
        Attack(**fields)


def test_a_predictor_without_gradient_is_refused_in_words():
    with pytest.raises(NTKError, match="cannot be differentiated"):
        fgsm(0.1)(lambda x: linear(x).detach(), X, Y)


@pytest.mark.parametrize(
    ("attack", "words"),
    [
        (fgsm(8 / 255), "FGSM ℓ∞ eps 8/255"),
        (fgsm(0.5, norm="l2"), "FGSM ℓ2 eps 0.5"),
        (
            pgd(8 / 255, steps=20, step_size=2 / 255, random_start=True),
            "PGD ℓ∞ eps 8/255, 20 steps of 2/255, random start",
        ),
    ],
    ids=str,
)
def test_attacks_say_what_they_are(attack, words):
    assert str(attack) == words
