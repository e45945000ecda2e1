"""Transfer: perturbations against the public attack radius by radius, and verdicts and shares against plain loops."""

import math

import numpy as np
import pytest
import torch

from ntkcore import Cancelled, SpecError, conv, fc, fgsm, finite_net, fit, fit_steps, input_map, kernel_fn, pgd, tiled
from ntkcore.analysis.attacks.attack import loss_gradient
from ntkcore.analysis.attacks.transfer import (
    ROWS,
    Perturbation,
    Verdicts,
    gradient_cosine,
    judge,
    perturb_along,
    recovered,
    sign_noise,
)
from ntkcore.analysis.predict import KernelPredictor

RADII = (0.0, 0.01, 0.05, 0.3)
ATTACKS = {  # name -> the attack at a radius
    "fgsm linf": lambda eps: fgsm(eps),
    "fgsm l2": lambda eps: fgsm(eps, norm="l2"),
    "pgd linf": lambda eps: pgd(eps, steps=4),
    "pgd l2": lambda eps: pgd(eps, steps=4, norm="l2"),
}
CLASSES = pytest.mark.parametrize("classes", [2, 3], ids=["binary", "three classes"])
SOURCES = ["kernel", "kernel after steps", "net", "centred net"]


def problem(classes=2, n=20, m=7, seed=0):
    g = torch.Generator().manual_seed(seed)
    of, of_test = torch.arange(n) % classes, torch.arange(m) % classes
    prototypes = torch.rand(classes, 1, 4, 4, generator=g)

    def code(which):
        return (2.0 * which - 1)[:, None] if classes == 2 else torch.nn.functional.one_hot(which, classes).float()

    def draw(which):
        return (prototypes[which] + 0.25 * torch.randn(len(which), 1, 4, 4, generator=g)).clamp(0, 1)

    return draw(of), code(of), draw(of_test), code(of_test)


def predictor(kind, x, y, seed=0):
    inputs = input_map("centre", x)
    if kind == "kernel":
        return fit(kernel_fn(conv(1), inputs=inputs), x, y)
    if kind == "kernel after steps":
        return fit_steps(kernel_fn(fc(1), inputs=inputs), x, y, steps=20)
    net = finite_net(fc(2).module((1, 4, 4), 32, y.shape[1], seed), inputs, centred=kind == "centred net")
    if net.base is not None:
        for w in net.module.parameters():
            w.data += 0.2 * torch.randn(w.shape, generator=torch.Generator().manual_seed(seed))
    return net


# ------------------------------------------------------------------------------------------------------- perturbations


@pytest.mark.parametrize("kind", SOURCES)
@pytest.mark.parametrize("name", ATTACKS)
@CLASSES
def test_all_radii_equal_the_public_attack_one_by_one(kind, name, classes):
    x, y, x_test, y_test = problem(classes)
    f, attack = predictor(kind, x, y), ATTACKS[name]
    p = perturb_along(f, x_test, y_test, attack(0.3), RADII)
    assert p.x_adv.shape == (4, *x_test.shape)
    for images, eps in zip(p.x_adv, RADII, strict=True):
        torch.testing.assert_close(images, attack(eps)(f, x_test, y_test).x_adv, rtol=0, atol=1e-6)
    assert torch.equal(p.x_adv[0], x_test)
    torch.testing.assert_close(p.gradient, loss_gradient(f, x_test, y_test), rtol=0, atol=0)
    assert not p.zero_gradient.any()
    reach = (p.x_adv - x_test).abs().amax((1, 2, 3, 4))
    assert (reach.diff() > 0).all()


def test_radius_of_the_attack_sets_only_the_ratio_of_step_and_radius():
    x, y, x_test, y_test = problem()
    f = predictor("net", x, y)
    one = perturb_along(f, x_test, y_test, pgd(0.4, steps=3, step_size=0.2), (0.1,))
    torch.testing.assert_close(one.x_adv[0], pgd(0.1, steps=3, step_size=0.05)(f, x_test, y_test).x_adv)
    other = perturb_along(f, x_test, y_test, pgd(0.4, steps=3, step_size=0.4), (0.1,))
    assert not torch.allclose(one.x_adv, other.x_adv, atol=1e-3)


@pytest.mark.parametrize("name", ["fgsm linf", "pgd l2"])
@pytest.mark.parametrize("tile_bytes", [16e6, 3e3], ids=["one tile", "many tiles"])
def test_more_images_than_are_attacked_together_and_tiled_kernels_change_nothing(name, tile_bytes):
    x, y, _, _ = problem()
    _, _, x_test, y_test = problem(m=ROWS + 31, seed=1)
    whole = predictor("kernel after steps", x, y)
    f = KernelPredictor(tiled(whole.kernel.kernel, tile_bytes), whole.x_train, whole.alpha)
    images = x_test.double()
    p = perturb_along(f, images, y_test, ATTACKS[name](0.1), (0.05, 0.1))
    for z, eps in zip(p.x_adv, (0.05, 0.1), strict=True):
        torch.testing.assert_close(z, ATTACKS[name](eps)(whole, images, y_test).x_adv, rtol=0, atol=1e-9)
    torch.testing.assert_close(p.gradient, loss_gradient(whole, images, y_test), rtol=1e-9, atol=1e-12)
    assert p.zero_gradient.shape == (ROWS + 31,)


def test_first_gradient_serves_all_radii():
    x, y, x_test, y_test = problem()
    net, calls = predictor("net", x, y), []

    def counted(z):
        calls.append(len(z))
        return net(z)

    perturb_along(counted, x_test, y_test, fgsm(0.3), RADII)
    assert calls == [7]
    perturb_along(counted, x_test, y_test, pgd(0.3, steps=3), RADII)
    assert calls == [7] + [7] * (1 + 2 * len(RADII))


def test_dead_points_are_marked_and_do_not_move():
    x, y, x_test, y_test = problem()
    net, dead = predictor("net", x, y), torch.tensor([0, 3])

    def f(z):
        return net(z) * torch.ones(len(z), 1).index_fill(0, dead, 0.0)

    p = perturb_along(f, x_test, y_test, fgsm(0.3), (0.1, 0.3))
    assert p.zero_gradient.nonzero().flatten().tolist() == [0, 3]
    still = (p.x_adv == x_test).flatten(2).all(2)
    assert [row.nonzero().flatten().tolist() for row in still] == [[0, 3]] * 2


@pytest.mark.parametrize("name", ["fgsm linf", "fgsm l2", "pgd l2"])
def test_gradients_of_confident_nets_too_small_for_squares_still_give_a_direction(name):
    x, y, x_test, y_test = problem()
    net = predictor("net", x, y)

    def confident(z):
        return 70 * y_test + 1e-6 * net(z)  # softplus' is about 1e-30, the net's slope 1e-6

    p = perturb_along(confident, x_test, y_test, ATTACKS[name](0.3), (0.1,))
    assert p.gradient.abs().max().item() < 1e-34
    plain = ATTACKS[name](0.1)(lambda z: 1e-3 * net(z), x_test, y_test).x_adv
    torch.testing.assert_close(p.x_adv[0], plain, rtol=0, atol=1e-3)
    assert (p.x_adv[0] - x_test).abs().max().item() > 0.02


def test_progress_counts_to_its_total_and_may_cancel():
    x, y, _, _ = problem()
    _, _, x_test, y_test = problem(m=ROWS + 5)
    net, seen = predictor("net", x, y), []
    perturb_along(net, x_test, y_test, fgsm(0.3), RADII, lambda done, total, note: seen.append((done, total)))
    assert seen[0] == (0, 5 * (ROWS + 5))
    assert seen[-1] == (5 * (ROWS + 5),) * 2
    assert [done for done, _ in seen] == sorted({done for done, _ in seen})

    def stop(done, total, note):
        if done > 0:
            raise Cancelled("stop")

    with pytest.raises(Cancelled):
        perturb_along(net, x_test, y_test, fgsm(0.3), RADII, stop)


def test_random_signs_stay_in_range_keep_their_signs_and_are_drawn_from_the_seed():
    x = 0.2 + 0.6 * torch.rand(40, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    x[0], x[1] = 0.0, 1.0  # at the ends
    noise = sign_noise(x, (0.0, 0.05, 0.1, 0.9), seed=3)
    assert noise.shape == (4, *x.shape)
    assert noise.dtype == x.dtype
    assert noise.min().item() == 0
    assert noise.max().item() == 1
    assert torch.equal(noise[0], x)
    inside = noise[:, 2:] - x[2:]
    assert torch.equal(inside[1].sign(), inside[2].sign())
    assert torch.equal(inside[2].sign(), inside[3].sign())
    torch.testing.assert_close(inside[2].abs(), torch.full_like(x[2:], 0.1))
    assert inside[1].sign().mean().abs().item() < 4 / math.sqrt(inside[1].numel())
    assert inside[1].sign().mean(0).abs().max().item() < 0.8  # not the same signs in every image
    assert torch.equal(sign_noise(x, (0.1,), seed=3)[0], noise[2])
    assert not torch.equal(sign_noise(x, (0.1,), seed=4)[0], noise[2])


# ------------------------------------------------------------------------------------------------- verdicts and shares


@pytest.mark.parametrize("kind", SOURCES)
@CLASSES
def test_verdicts_equal_a_loop_over_images(kind, classes):
    x, y, x_test, y_test = problem(classes, m=12)
    f = predictor(kind, x, y, seed=3)
    x_adv = sign_noise(x_test, (0.0, 0.3, 0.8))
    v = judge(f, x_test, x_adv, y_test)

    def right(z, i):
        output, label = f(z[None]).detach()[0].numpy(), y_test[i].numpy()
        return bool(output[0] * label[0] > 0) if classes == 2 else bool(output.argmax() == label.argmax())

    before = [right(x_test[i], i) for i in range(12)]
    after = [[right(z[i], i) for i in range(12)] for z in x_adv]
    assert v.right_before.tolist() == before
    assert v.right_after.tolist() == after
    assert v.clean_accuracy == pytest.approx(sum(before) / 12)
    assert v.accuracy.tolist() == pytest.approx([sum(row) / 12 for row in after])
    turned = [sum(b and not a for b, a in zip(before, row, strict=True)) for row in after]
    assert v.rate.tolist() == pytest.approx([t / sum(before) for t in turned])
    assert v.rate[0].item() == 0
    assert v.rate[2].item() > 0


def made_up(before, *after):
    return Verdicts(torch.tensor(before).bool(), torch.tensor(after).bool())


def test_rate_counts_only_images_that_were_right():
    v = made_up([1, 1, 1, 1, 0, 0], [1, 1, 0, 0, 0, 0], [1, 1, 1, 0, 1, 1], [0, 0, 0, 0, 1, 0])
    assert v.rate.tolist() == [0.5, 0.25, 1.0]
    assert v.accuracy.tolist() == pytest.approx([2 / 6, 5 / 6, 1 / 6])


def test_rate_is_not_known_when_nothing_was_right():
    assert made_up([0, 0], [0, 1], [0, 0]).rate.isnan().tolist() == [True, True]


def test_recovered_share_is_of_the_accuracy_that_the_own_attack_takes():
    white = made_up([1, 1, 1, 1, 0], [1, 1, 1, 1, 0], [1, 0, 0, 0, 0], [0, 0, 0, 0, 0], [1, 1, 1, 1, 1])
    source = made_up([1, 1, 1, 1, 0], [1, 1, 1, 0, 0], [1, 1, 1, 0, 0], [0, 0, 0, 0, 0], [1, 1, 1, 0, 0])
    share = recovered(source, white)
    assert share[1:3].tolist() == pytest.approx([1 / 3, 1.0])
    assert share.isnan().tolist() == [True, False, False, True]  # white box takes nothing, or even gives


def test_perturbed_images_of_another_shape_are_refused():
    x, y, x_test, y_test = problem()
    f = predictor("net", x, y)
    with pytest.raises(SpecError, match=r"x_adv has shape \(7, 1, 4, 4\); \[E, 7, 1, 4, 4\] is needed"):
        judge(f, x_test, x_test, y_test)


@CLASSES
def test_a_white_box_attack_beats_random_signs_and_transfers_between_like_nets(classes):
    x, y, x_test, y_test = problem(classes, m=60)
    f, target = predictor("kernel", x, y), predictor("kernel after steps", x, y)
    p = perturb_along(target, x_test, y_test, fgsm(0.15), (0.15,))
    q = perturb_along(f, x_test, y_test, fgsm(0.15), (0.15,))
    assert isinstance(q, Perturbation)
    white, source = judge(target, x_test, p.x_adv, y_test), judge(target, x_test, q.x_adv, y_test)
    noise = judge(target, x_test, sign_noise(x_test, (0.15,)), y_test)
    assert white.accuracy[0] <= source.accuracy[0] < noise.accuracy[0] - 0.2
    assert 0.3 < recovered(source, white)[0].item() <= 1
    assert gradient_cosine(p.gradient, q.gradient).mean().item() > 0.3


# ------------------------------------------------------------------------------------------------------------- cosines


def gradients(seed):
    return torch.randn(6, 2, 3, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize(
    ("scale1", "scale2", "dtype"),
    [
        (1.0, 1.0, torch.float64),
        (1e-40, 1.0, torch.float32),
        (1e-40, 1e-40, torch.float32),
        (1e30, 1e-30, torch.float32),
        (1e-200, 1e-250, torch.float64),
        (1e200, 1e-200, torch.float64),
    ],
    ids=str,
)
def test_cosine_image_by_image_whatever_the_size(scale1, scale2, dtype):
    a, b = gradients(0), gradients(1) + 0.5 * gradients(0)
    got = gradient_cosine((scale1 * a).to(dtype), (scale2 * b).to(dtype))
    expected = [
        np.dot(u, v) / math.sqrt(np.dot(u, u) * np.dot(v, v))
        for u, v in zip(a.flatten(1).numpy(), b.flatten(1).numpy(), strict=True)
    ]
    assert got.dtype == torch.float64
    np.testing.assert_allclose(got, expected, atol=1e-4)  # a float32 of 1e-40 has five digits
    assert np.ptp(expected) > 0.1


def test_cosine_with_a_zero_gradient_is_not_known():
    a, b = gradients(0), gradients(1)
    a[1], b[2], a[4], b[4] = 0, 0, 0, 0
    assert gradient_cosine(a, b).isnan().tolist() == [False, True, True, False, True, False]


def test_cosine_knows_equal_and_opposite():
    a = gradients(0)
    torch.testing.assert_close(gradient_cosine(a, 3 * a), torch.ones(6).double())
    torch.testing.assert_close(gradient_cosine(a, -a), -torch.ones(6).double())


@pytest.mark.parametrize("attack", [pgd(0.1, random_start=True), fgsm(0.0)], ids=str)
def test_an_attack_that_cannot_be_scaled_is_refused(attack):
    x = torch.zeros(2, 1, 2, 2)
    with pytest.raises(SpecError, match="cannot be scaled to other radii"):
        perturb_along(lambda z: z.flatten(1)[:, :1], x, torch.ones(2, 1), attack, (0.1, 0.2))
