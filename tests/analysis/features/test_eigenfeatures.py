"""Eigenfeatures: the shared sweep against the feature-by-feature way, sums, classes and intervals."""

import sys

import numpy as np
import pytest
import torch
from scipy.stats import binomtest

from ntkcore import (
    SpecError,
    conv,
    eigenfeatures,
    empirical_kernel_fn,
    fc,
    fgsm,
    fit,
    kernel_fn,
    myrtle,
    pgd,
    spectrum,
    subset_predictor,
)
from ntkcore.analysis.attacks.margin_path import margin_along_eps
from ntkcore.analysis.features.classes import BRITTLE, ROBUST
from ntkcore.analysis.features.halves import halves
from ntkcore.analysis.features.pictures import GROUPS, damage, feature_pictures
from ntkcore.analysis.features.tradeoff import Judged, along_time, band_sums, bands, counts, kept_features, reported
from ntkcore.analysis.predict import accuracy, class_numbers, correct

NETS = {"fc1": fc(1), "conv1": conv(1), "myrtle5": myrtle(5)}


def problem(classes=2, n=24, m=7, side=4, seed=0):
    g = torch.Generator().manual_seed(seed)
    prototypes = torch.rand(classes, 1, side, side, generator=g)
    labels, labels_test = torch.arange(n) % classes, torch.arange(m) % classes

    def draw(of):
        return (prototypes[of] + 0.25 * torch.randn(len(of), 1, side, side, generator=g)).clamp(0, 1)

    def code(of):
        if classes == 2:
            return (2.0 * of - 1)[:, None]
        return torch.nn.functional.one_hot(of, classes).float()

    return draw(labels), code(labels), draw(labels_test), code(labels_test)


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("classes", [2, 3], ids=["binary", "three classes"])
@pytest.mark.parametrize("attack", [fgsm(0.05), pgd(0.05, steps=3), fgsm(0.5, norm="l2")], ids=str)
def test_sweep_equals_attacking_each_feature_by_itself(name, classes, attack):
    """The notebook way: every feature as a predictor of its own, attacked through the public attack in float64."""
    x, y, x_test, y_test = problem(classes)
    k = kernel_fn(NETS[name])
    sweep = eigenfeatures(k, x, y, x_test, y_test, attack)
    s = sweep.spectrum
    for i in range(s.rank):
        r = attack(subset_predictor(k, s, x, y, [i]), x_test.double(), y_test)
        assert torch.equal(r.right_before, sweep.right_before[:, i]), i
        assert torch.equal(r.right_before & r.right_after, sweep.right_after[:, i]), i


@pytest.mark.parametrize("classes", [2, 3], ids=["binary", "three classes"])
def test_features_sum_to_the_prediction(classes):
    x, y, x_test, _ = problem(classes)
    k = kernel_fn(fc(1))
    s = spectrum(k(x.double()))
    total = sum(subset_predictor(k, s, x, y, [i])(x_test) for i in range(s.rank))
    torch.testing.assert_close(total, fit(k, x, y)(x_test))


def test_images_converted_by_parts_give_the_same_sweep(monkeypatch):
    x, y, x_test, y_test = problem()
    k = kernel_fn(fc(1))
    for s in (spectrum(k(x.double())), spectrum(k(x.double()), 6)):
        whole = eigenfeatures(k, x, y, x_test, y_test, spectrum_of_train=s)
        with monkeypatch.context() as small:
            for module in ("kernels.blocks", "analysis.features.eigenfeatures"):
                small.setattr(sys.modules[f"ntkcore.{module}"], "CONVERTED", 5)
            parts = eigenfeatures(k, x, y, x_test, y_test, spectrum_of_train=s)
        assert torch.equal(parts.right_before, whole.right_before)
        assert torch.equal(parts.right_after, whole.right_after)
        np.testing.assert_allclose(parts.usefulness, whole.usefulness)


def test_duplicate_images_leave_features_without_a_value_out():
    x, y, x_test, y_test = problem()
    k = kernel_fn(fc(1))
    sweep = eigenfeatures(k, torch.cat([x, x]), torch.cat([y, y]), x_test, y_test)
    assert len(sweep.usefulness) == len(x)
    with pytest.raises(SpecError, match="does not exist"):
        subset_predictor(k, sweep.spectrum, torch.cat([x, x]), torch.cat([y, y]), [len(x)])


def test_labels_that_do_not_fit_are_refused():
    x, y, x_test, _ = problem()
    with pytest.raises(SpecError, match="y_test must be"):
        eigenfeatures(kernel_fn(fc(1)), x, y, x_test, torch.ones(3, 1))


@pytest.mark.parametrize("classes", [2, 3], ids=["binary", "three classes"])
def test_answers_are_those_of_each_feature_and_the_p_values_theirs(classes):
    x, y, x_test, y_test = problem(classes, m=30)
    k = kernel_fn(fc(1))
    sweep = eigenfeatures(k, x, y, x_test, y_test)
    assert torch.equal(sweep.labels, class_numbers(y_test))
    for i in range(sweep.spectrum.rank):
        out = subset_predictor(k, sweep.spectrum, x, y, [i])(x_test)
        assert torch.equal(class_numbers(out).to(sweep.answers), sweep.answers[:, i]), i
    part = sweep.part(np.arange(30) < 20)
    assert (part.m, len(part.p_values)) == (20, sweep.spectrum.rank)
    assert torch.equal(part.right_before, sweep.right_before[:20])
    assert sweep.permuted(5).usefulness.shape == (5, sweep.spectrum.rank)


def test_kept_features_end_at_the_whole_predictor_and_agree_with_direct_attacks():
    x, y, x_test, y_test = problem(m=20)
    k, attack = kernel_fn(fc(1)), fgsm(0.05)
    sweep = eigenfeatures(k, x, y, x_test, y_test, attack)
    s, classes = sweep.spectrum, np.array([ROBUST, BRITTLE] * 12)
    curves = kept_features(k, s, x, y, x_test, y_test, attack, classes)
    order = {
        "top": range(24),
        "bottom": range(23, -1, -1),
        "robust": range(0, 24, 2),
        "brittle": range(1, 24, 2),
        "rest": range(1, 24, 2),
    }
    for kind, judged in curves.items():
        curve = judged.curve()
        assert curve.k.tolist() == counts(len(order[kind]))
        for k_kept, clean, attacked in zip(curve.k, curve.clean.mean, curve.attacked.mean, strict=True):
            r = attack(subset_predictor(k, s, x, y, list(order[kind])[:k_kept]), x_test.double(), y_test)
            assert clean == pytest.approx(r.clean_accuracy)
            assert attacked == pytest.approx((r.right_before & r.right_after).double().mean().item())


def test_accuracy_along_time_agrees_with_fits():
    x, y, x_test, y_test = problem(m=20)
    k, attack = kernel_fn(fc(1)), fgsm(0.05)
    s = spectrum(k(x.double()))
    curve = along_time(k, s, x, y, x_test, y_test, attack, points=4).curve()
    for t, clean in zip(curve.k, curve.clean.mean, strict=True):
        assert clean == pytest.approx(accuracy(fit(k, x, y, time=t)(x_test), y_test))


def test_before_the_first_time_the_answers_are_those_of_the_limit():
    """``f_t / t`` tends to ``K(x, X) Y``; ten classes, so that small changes of the outputs are seen."""
    x, y, x_test, y_test = problem(classes=10, n=100, m=400)
    k = kernel_fn(fc(1))
    judged = along_time(k, spectrum(k(x.double())), x, y, x_test, y_test, fgsm(0.0), points=2)
    limit = correct(k(x_test.double(), x.double()) @ y.double(), y_test)
    assert np.array_equal(judged.before[:, 0], limit)
    assert np.mean(judged.before[:, 0] != judged.before[:, 1]) > 0


def test_reported_is_what_chose_nothing():
    labels = np.arange(8) % 2
    first = halves(labels)
    before = np.stack([first, ~first], 1)
    judged = dict.fromkeys(("top", "robust"), Judged(np.arange(2), before, before))
    assert reported(judged, first)["robust"].clean.mean.tolist() == [0, 1]
    assert list(reported(judged, np.ones(8, dtype=bool))) == ["top"]
    assert reported(judged, np.ones(8, dtype=bool))["top"].clean.mean.tolist() == [0.5, 0.5]


def test_bands_are_sums_of_their_features():
    x, y, x_test, y_test = problem(m=20)
    k, attack = kernel_fn(fc(1)), fgsm(0.05)
    s = spectrum(k(x.double()))
    judged = band_sums(k, s, x, y, x_test, y_test, attack)
    assert judged.k.tolist() == [0, 1, 2, 4, 8, 16]
    for b, (start, stop) in enumerate(bands(s.rank)):
        r = attack(subset_predictor(k, s, x, y, range(start, stop)), x_test.double(), y_test)
        assert np.array_equal(judged.before[:, b], r.right_before)
        assert np.array_equal(judged.after[:, b], r.right_before & r.right_after)


@pytest.mark.parametrize("features", [1, 2, 3, 4, 5, 64, 1000])
def test_every_feature_is_in_one_band(features):
    spans = bands(features)
    assert [i for start, stop in spans for i in range(start, stop)] == list(range(features))
    assert all(stop - start <= max(1, start) for start, stop in spans)


def test_a_curve_is_of_the_images_that_are_asked_for():
    before = np.array([[1, 1], [1, 0], [0, 0], [1, 1]], dtype=bool)
    judged = Judged(np.array([3, 5]), before, before & [True, False])
    assert judged.curve().clean.mean.tolist() == [0.75, 0.5]
    assert judged.curve([True, True, False, False]).attacked.mean.tolist() == [1.0, 0.0]
    expected = binomtest(3, 4).proportion_ci(0.95, method="wilson")
    clean = judged.curve().clean
    assert (clean.low[0], clean.high[0]) == pytest.approx((expected.low, expected.high))
    assert np.isnan(judged.curve(np.zeros(4, dtype=bool)).clean.mean).all()


def test_pictures_of_a_kernel_without_gradients_of_pairs_are_refused():
    x, y, x_test, y_test = problem()
    k = empirical_kernel_fn(fc(1).module(x.shape[1:], width=4))
    s = spectrum(k(x))
    with pytest.raises(SpecError, match="closed-form"):
        feature_pictures(k, s, x, y, x_test[0], y_test[0], fgsm(0.05), [0], np.zeros(s.rank, dtype=int))


@pytest.mark.parametrize("classes", [2, 3], ids=["binary", "three classes"])
def test_pictures_and_the_split_of_a_perturbation_add_up(classes):
    x, y, x_test, y_test = problem(classes)
    k, attack, i = kernel_fn(fc(1)), fgsm(0.05), 3
    sweep = eigenfeatures(k, x, y, x_test, y_test, attack)
    s = sweep.spectrum
    groups = np.arange(s.rank) % 4
    p = feature_pictures(k, s, x, y, x_test[i], y_test[i], attack, [0, 2], groups)
    f = fit(k, x, y, spectrum_of_train=s)
    z = x_test[i : i + 1].double().requires_grad_()
    from ntkcore.analysis.attacks.attack import loss

    (whole,) = torch.autograd.grad(loss(f(z), y_test[i : i + 1]).sum(), z)
    torch.testing.assert_close(p.group_gradients.sum(0), whole[0], rtol=1e-6, atol=1e-9)
    feature = subset_predictor(k, s, x, y, [2])
    (picture,) = torch.autograd.grad((feature(z) * y_test[i]).sum(), z)
    torch.testing.assert_close(p.pictures[1], picture[0], rtol=1e-6, atol=1e-9)
    torch.testing.assert_close(p.outputs[1], feature(z)[0])
    if classes == 2:
        assert p.contributions.sum().item() == pytest.approx(p.margin_after - p.margin_before)
    d = damage(k, s, x, y, x_test, y_test, attack, groups)
    assert d.parts.shape == (len(x_test), len(GROUPS))
    torch.testing.assert_close(d.parts[i], torch.stack([p.contributions[groups == kind].sum() for kind in GROUPS]))
    assert [d.before[i].item(), d.after[i].item()] == pytest.approx([p.margin_before, p.margin_after])


def test_smallest_flipping_radius_is_the_distance_on_a_linear_predictor():
    w = torch.randn(16, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    image, label = torch.full((1, 4, 4), 0.5, dtype=torch.float64), torch.ones(1, dtype=torch.float64)
    offset = 0.05 * w.abs().sum() - (image.flatten() * w).sum()

    def f(z):
        return z.flatten(1) @ w[:, None] + offset

    path = margin_along_eps(f, image, label, fgsm(), torch.linspace(0, 0.2, 9, dtype=torch.float64))
    assert path.flip_eps == pytest.approx(0.05, rel=1e-3)
    assert path.margins[0].item() > 0 > path.margins[-1].item()
    assert margin_along_eps(f, image, label, fgsm(), torch.tensor([0, 0.04]).double()).flip_eps == float("inf")
    assert margin_along_eps(f, image, -label, fgsm(), torch.tensor([0, 0.04]).double()).flip_eps == 0


def test_verdict_uses_the_sign():
    assert correct(torch.tensor([[0.1]]), torch.tensor([[1.0]])).item()
