"""Training of finite nets: by hand step by step, against an exact case, and against the kernel as the net widens."""

import copy
import re

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import ntkcore as ntk
from ntkcore import NTKError, SpecError, fc, fit_steps, input_map, kernel_fn, spectrum
from ntkcore.analysis.attacks.attack import loss_gradient
from ntkcore.nets import Dense, Flatten, Net
from ntkcore.training import LAZY, PLAIN, Descent, FiniteNet, Training, finite_net, train, training_loss

SHAPE = (1, 4, 4)
ABSOLUTE = Training(lr=0.3, lr_unit="absolute", momentum=0.9, steps=12)
LINEAR = Net((Flatten(), Dense(1.3, 0.4)), "linear")  # linear in its weights: its tangent kernel never moves


def images(n=20, seed=0):
    return torch.rand(n, *SHAPE, generator=torch.Generator().manual_seed(seed))


def labels(n=20, outputs=1, seed=1):
    g = torch.Generator().manual_seed(seed)
    if outputs == 1:
        return torch.randn(n, 1, generator=g).sign()
    return F.one_hot(torch.randint(0, outputs, (n,), generator=g), outputs).float()


def fresh(centred=True, outputs=1, seed=0, inputs=None):
    module = fc(2).module(SHAPE, width=16, outputs=outputs, seed=seed)
    return finite_net(module, inputs or input_map("centre", images()), centred)


def run(net, x, y, recipe, **options):
    return [(c.step, c.loss) for c in train(net, x, y, recipe, **options)]


def same_weights(one: FiniteNet, two: FiniteNet) -> bool:
    return all(map(torch.equal, one.module.parameters(), two.module.parameters()))


# ----------------------------------------------------------------------------------------------- the steps themselves


@pytest.mark.parametrize("outputs", [1, 3], ids=["binary", "three classes"])
@pytest.mark.parametrize("centred", [True, False], ids=["f - f_0", "f"])
@pytest.mark.parametrize("momentum", [0.0, 0.9], ids=lambda mu: f"momentum {mu}")
def test_full_batch_squared_loss_equals_the_steps_written_out_bit_for_bit(outputs, centred, momentum):
    x, y = images(), labels(outputs=outputs)
    net = fresh(centred, outputs)
    module, z = copy.deepcopy(net.module), net.inputs(x)
    losses = run(net, x, y, ABSOLUTE.replace(momentum=momentum, centred=centred))

    start = module(z).detach() if centred else torch.zeros(())
    velocity = [torch.zeros_like(w) for w in module.parameters()]
    for step in range(13):
        loss = ((module(z) - start - y) ** 2).sum() / (2 * len(y))
        assert losses[step] == (step, loss.item())
        if step == 12:
            break
        gradients = torch.autograd.grad(loss, list(module.parameters()))
        for w, v, g in zip(module.parameters(), velocity, gradients, strict=True):
            v.mul_(momentum).add_(g)
            w.data.add_(v, alpha=-0.3)
    assert all(map(torch.equal, net.module.parameters(), module.parameters()))
    assert losses[-1][1] < 0.9 * losses[0][1]


@pytest.mark.parametrize("recipe", [LAZY, LAZY.replace(lr=1.7, momentum=0.0, steps=31)], ids=str)
@pytest.mark.parametrize("outputs", [1, 3], ids=["binary", "three classes"])
@pytest.mark.parametrize("inputs", ["raw", "standardise"])
def test_a_net_that_is_linear_in_its_weights_is_the_kernel_predictor_at_any_width(recipe, outputs, inputs):
    x, y, x_test = images(), labels(outputs=outputs), images(7, seed=5)
    seen = input_map(inputs, x)
    k = kernel_fn(LINEAR, inputs=seen)
    lam_max = spectrum(k(x.double())).values[0].item()
    net = finite_net(LINEAR.module(SHAPE, width=1, outputs=outputs), seen, centred=True)
    run(net, x, y, recipe, unit=len(x) / lam_max)
    expected = fit_steps(k, x, y, recipe.lr, recipe.momentum, recipe.steps)(x_test)
    torch.testing.assert_close(net(x_test).double(), expected, rtol=1e-4, atol=2e-5)


def test_learning_rate_of_unit_kernel_is_counted_in_the_unit():
    x, y, one, two = images(), labels(), fresh(), fresh()
    run(one, x, y, LAZY.replace(lr=2.0, steps=5), unit=0.125)
    run(two, x, y, ABSOLUTE.replace(lr=0.25, steps=5), unit=77.0)
    assert same_weights(one, two)


def test_centred_net_is_exactly_zero_before_the_first_step_and_what_it_subtracts_never_moves():
    x, y = images(), labels(outputs=3)
    net, other = fresh(outputs=3), images(5, seed=9)
    before = net.module(net.inputs(other)).detach()
    assert net(x).abs().max().item() == 0
    assert fresh(False, 3)(x).abs().max().item() > 0.1
    run(net, x, y, ABSOLUTE)
    torch.testing.assert_close(net(other), net.module(net.inputs(other)) - before, rtol=0, atol=0)
    assert net(other).abs().max().item() > 0.01


def test_net_sees_pixels_through_its_map_and_is_differentiable_in_them():
    inputs = input_map("standardise", images())
    net, x = fresh(False, inputs=inputs), images(3, seed=4)
    torch.testing.assert_close(net(x.double()), net.module((x - inputs.shift.float()) / inputs.scale))
    direction, h = torch.randn(x.shape, generator=torch.Generator().manual_seed(0)), 1e-3
    y = labels(3)
    slope = (loss_gradient(net, x, y) * direction).sum()
    difference = (F.softplus(-y * net(x + h * direction)) - F.softplus(-y * net(x - h * direction))).sum() / (2 * h)
    torch.testing.assert_close(slope, difference, rtol=2e-2, atol=1e-3)


# ------------------------------------------------------------------------------------------ generator of checkpoints


def test_checkpoints_tell_the_loss_of_the_weights_as_they_are_and_stopping_stops():
    x, y, net = images(), labels(), fresh()
    for checkpoint in train(net, x, y, ABSOLUTE):
        assert checkpoint.net is net
        with torch.no_grad():
            assert checkpoint.loss == pytest.approx(training_loss(net(x), y, "squared").item(), rel=1e-6)
        if checkpoint.step == 4:
            break
    whole = fresh()
    assert [step for step, _ in run(whole, x, y, ABSOLUTE.replace(steps=4))] == [0, 1, 2, 3, 4]
    assert same_weights(net, whole)


def test_no_steps_leave_the_weights_alone():
    net, untouched = fresh(), fresh()
    assert [step for step, _ in run(net, images(), labels(), ABSOLUTE.replace(steps=0))] == [0]
    assert same_weights(net, untouched)


def test_until_stops_at_the_first_loss_at_or_below():
    x, y = images(), labels()
    losses = [loss for _, loss in run(fresh(), x, y, ABSOLUTE)]
    goal = losses[5]
    assert min(losses[:5]) > goal
    assert run(fresh(), x, y, ABSOLUTE.replace(until=goal)) == list(enumerate(losses[:6]))


# -------------------------------------------------------------------------------------------------- batches and seeds


@pytest.mark.parametrize("batch", [None, 6], ids=["all images", "batches of 6"])
@pytest.mark.parametrize("loss", ["squared", "cross_entropy"])
def test_same_seed_gives_the_same_weights_bit_for_bit(batch, loss):
    x, y, nets = images(), labels(), [fresh(), fresh(), fresh()]
    recipe = ABSOLUTE.replace(batch=batch, loss=loss, lr=0.05)
    losses = [run(net, x, y, recipe, seed=seed) for net, seed in zip(nets, (3, 3, 4), strict=True)]
    assert losses[0] == losses[1]
    assert same_weights(nets[0], nets[1])
    assert same_weights(nets[0], nets[2]) == (batch is None)  # the seed is only that of the batches


class Recorder(nn.Module):
    """Remembers which images it was shown; their first pixel is their number."""

    def __init__(self):
        super().__init__()
        self.weight, self.shown = nn.Parameter(torch.zeros(1, 1)), []

    def forward(self, x):
        self.shown.append([round(v) for v in x[:, 0, 0, 0].tolist()])
        return x[:, 0, 0, :1] * 0 + self.weight


@pytest.mark.parametrize(
    ("batch", "sizes"), [(6, [6, 6, 6, 2]), (5, [5] * 4), (1, [1] * 20), (20, [20]), (50, [20]), (None, [20])], ids=str
)
def test_batches_cover_every_image_once_an_epoch(batch, sizes):
    x, recorder = images(), Recorder()
    x[:, 0, 0, 0] = torch.arange(20)
    epochs = 3
    recipe = ABSOLUTE.replace(batch=batch, steps=epochs * len(sizes) - 1, centred=False)
    run(finite_net(recorder), x, labels(), recipe)
    assert [len(shown) for shown in recorder.shown] == sizes * epochs
    orders = [order.tolist() for order in np.concatenate(recorder.shown).reshape(epochs, 20)]
    assert all(sorted(order) == list(range(20)) for order in orders)
    if len(sizes) > 1:
        assert orders[0] != orders[1] != orders[2]


def test_a_batch_is_trained_on_its_own_labels_and_start():
    """Minibatches equal a loop over the rows that the recorder saw."""
    x, y = images(), labels()
    net, recorder = fresh(), Recorder()
    numbered = x.clone()
    numbered[:, 0, 0, 0] = torch.arange(20)
    recipe = ABSOLUTE.replace(batch=7, steps=6, lr=0.05)
    run(finite_net(recorder), numbered, y, recipe.replace(centred=False), seed=2)
    module, z = copy.deepcopy(net.module), net.inputs(x)
    run(net, x, y, recipe, seed=2)
    start, optimiser = module(z).detach(), torch.optim.SGD(module.parameters(), lr=0.05, momentum=0.9)
    for rows in recorder.shown[:6]:
        optimiser.zero_grad()
        (F.mse_loss(module(z[rows]) - start[rows], y[rows], reduction="sum") / (2 * len(rows))).backward()
        optimiser.step()
    for trained, expected in zip(net.module.parameters(), module.parameters(), strict=True):
        torch.testing.assert_close(trained, expected, rtol=1e-5, atol=1e-6)


# ------------------------------------------------------------------------------------------------------------- losses


@pytest.mark.parametrize("scale", [1.0, 60.0], ids=["small outputs", "large outputs"])
def test_cross_entropy_is_logistic_for_one_output_and_softmax_for_several(scale):
    g = torch.Generator().manual_seed(0)
    one, several = scale * torch.randn(9, 1, generator=g), scale * torch.randn(9, 4, generator=g)
    y, classes = labels(9), torch.arange(9) % 4
    logistic = F.binary_cross_entropy_with_logits(one, (y + 1) / 2)
    softmax = F.cross_entropy(several, classes)
    torch.testing.assert_close(training_loss(one, y, "cross_entropy"), logistic)
    torch.testing.assert_close(training_loss(several, F.one_hot(classes, 4).float(), "cross_entropy"), softmax)


@pytest.mark.parametrize("outputs", [1, 3], ids=["logistic", "softmax"])
def test_cross_entropy_lowers_torchs_own_loss_step_by_step(outputs):
    x, y, net = images(), labels(outputs=outputs), fresh(False, outputs)
    recipe = ABSOLUTE.replace(loss="cross_entropy", lr=0.1, momentum=0.0, centred=False)
    module, z, losses = copy.deepcopy(net.module), net.inputs(x), run(net, x, y, recipe)
    optimiser = torch.optim.SGD(module.parameters(), lr=0.1)
    for _, loss in losses:
        f = module(z)
        mine = F.cross_entropy(f, y.argmax(1)) if outputs > 1 else F.binary_cross_entropy_with_logits(f, (y + 1) / 2)
        assert loss == pytest.approx(mine.item(), rel=1e-5)
        optimiser.zero_grad()
        mine.backward()
        optimiser.step()
    assert losses[-1][1] < losses[0][1]


# ------------------------------------------------------------------------------------------------ what a recipe says


def test_a_rate_in_units_of_a_kernel_needs_the_unit():
    with pytest.raises(SpecError, match="give that number as unit"):
        run(fresh(), images(), labels(), LAZY)


@pytest.mark.parametrize("centred", [True, False], ids=["f - f_0", "f"])
def test_a_net_that_is_not_centred_as_the_recipe_says_is_refused(centred):
    with pytest.raises(SpecError, match=f"make it with finite_net\\(..., centred={centred}\\)"):
        run(fresh(not centred), images(), labels(), ABSOLUTE.replace(centred=centred))


@pytest.mark.parametrize("recipe", [ABSOLUTE.replace(lr=1e3), ABSOLUTE.replace(lr=1e6, batch=5)], ids=str)
def test_divergence_is_told_with_its_step_and_advice(recipe):
    reached, advice = [], rf"diverged: at step \d+ .* smaller learning rate than {re.escape(f'{recipe.lr:g}')}"
    with pytest.raises(NTKError, match=advice) as caught:
        reached.extend(c.step for c in train(fresh(), images(), labels(), recipe))
    assert f"at step {reached[-1] + 1} " in str(caught.value)
    assert reached[-1] < recipe.steps


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"parameterisation": "standard"}, "Set lr_unit to 'absolute'"),
        ({"lr": 0}, "lr is 0; it must be greater than 0"),
        ({"momentum": 1.0}, "momentum is 1.0; it must be less than 1"),
        ({"batch": 0}, "batch is 0; it must be at least 1"),
        ({"loss": "hinge"}, "'squared' or 'cross_entropy'"),
        ({"steps": -1}, "steps is -1"),
        ({"until": float("nan")}, "until is nan"),
    ],
    ids=str,
)
def test_impossible_recipes_are_refused_in_words(fields, words):
    with pytest.raises(SpecError, match=words):
        Training(**fields)


@pytest.mark.parametrize(
    ("change", "follows"),
    [
        ({}, Descent(lr=1.0, momentum=0.9, steps=100)),
        ({"lr": 0.5, "momentum": 0.0, "steps": 7}, Descent(lr=0.5, momentum=0.0, steps=7)),
        ({"loss": "cross_entropy"}, None),
        ({"batch": 50}, None),
        ({"centred": False}, None),
        ({"lr_unit": "absolute"}, None),
        ({"lr_unit": "absolute", "parameterisation": "standard"}, None),
    ],
    ids=str,
)
def test_a_kernel_follows_lazy_training_only(change, follows):
    assert LAZY.replace(**change).descent == follows
    assert PLAIN.descent is None


def test_each_field_of_a_recipe_is_in_its_words():
    base = Training(lr_unit="absolute")
    changes = ({"loss": "cross_entropy"}, {"lr": 0.5}, {"momentum": 0.5}, {"steps": 7}, {"until": 0.1}, {"batch": 9})
    forms = ({}, *changes, {"lr_unit": "kernel"}, {"centred": False}, {"parameterisation": "standard"})
    assert len({str(base.replace(**change)) for change in forms}) == len(forms)


# -------------------------------------------------------------------------------------------------- wide nets are lazy

TASKS = {"binary": {}, "three classes": {"classes": ("T-shirt/top", "Shirt", "Coat")}}


@pytest.mark.parametrize("name", TASKS)
def test_wider_twins_come_closer_to_the_kernel_predictor_after_the_same_steps(name):
    """Outputs differ by ~ 1/sqrt(width): by a factor of 2.8 from each of the widths to the next."""
    task = ntk.load(ntk.DataSpec(n_train=100, n_test=50, **TASKS[name]))
    x, y, inputs = task.x_train, task.y_train, input_map("centre", task.x_train)
    k = kernel_fn(fc(1), inputs=inputs)
    s = spectrum(k(x.double()))
    f = {steps: fit_steps(k, x, y, steps=steps, spectrum_of_train=s) for steps in (5, 100)}
    wanted = {steps: predictor(task.x_test) for steps, predictor in f.items()}
    gradient = loss_gradient(f[100], task.x_test.double(), task.y_test.double())
    apart, cosines = {5: [], 100: []}, []
    for width in (64, 512, 4096):
        net = finite_net(fc(1).module(task.image_shape, width, y.shape[1], seed=0), inputs, centred=True)
        for checkpoint in train(net, x, y, LAZY, unit=task.n / s.values[0].item()):
            if checkpoint.step in f:
                target = wanted[checkpoint.step]
                with torch.no_grad():
                    apart[checkpoint.step].append(((net(task.x_test) - target).norm() / target.norm()).item())
        own = loss_gradient(net, task.x_test, task.y_test).double()
        cosines.append(F.cosine_similarity(own.flatten(1), gradient.flatten(1)).mean().item())
    for errors in apart.values():
        assert errors[1] < errors[0] / 1.6
        assert errors[2] < errors[1] / 1.6
        assert errors[2] < 0.12
    assert cosines[0] + 0.1 < cosines[1] < cosines[2] - 0.1
    assert cosines[2] > 0.7
    # so close only after as many steps: five and a hundred are worlds apart
    assert ((wanted[5] - wanted[100]).norm() / wanted[100].norm()).item() > 0.3
