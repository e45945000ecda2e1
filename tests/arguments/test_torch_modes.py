"""Torch's modes: what is set for a thread or the whole process changes no result, and the library sets nothing."""

import os
import random
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache

import pytest
import torch
from torch import Tensor, nn

import ntkcore as ntk
from ntkcore.analysis.attacks.transfer import judge, perturb_along
from ntkcore.architectures import build
from ntkcore.training import Schedule, Training

SHAPE = (1, 4, 4)
KERNELS = {"fc": ntk.fc(1), "conv": ntk.conv(1), "myrtle": ntk.myrtle(5), "erf": ntk.fc(1, activation="erf")}


@cache
def data() -> tuple[Tensor, ...]:
    """Images and labels for fitting and for testing, made in torch's plain modes."""
    generator = torch.Generator().manual_seed(0)
    x, x_test = (torch.rand(n, *SHAPE, generator=generator) for n in (8, 4))
    y, y_test = (torch.tensor([[1.0], [-1.0]]).repeat(n // 2, 1) for n in (8, 4))
    return x, y, x_test, y_test


def batch_norm() -> nn.Module:
    generator = torch.Generator().manual_seed(1)
    module = nn.Sequential(nn.Flatten(), nn.Linear(16, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 1))
    with torch.no_grad():
        for p in module.parameters():
            p.copy_(torch.randn(p.shape, generator=generator, dtype=torch.float32))
    return module


MODULE = batch_norm()  # made once, in plain modes
torch.manual_seed(2)
BY_JACOBIANS = nn.Sequential(nn.Flatten(), nn.Linear(16, 3), nn.PReLU(), nn.Linear(3, 2))


def weights(module: nn.Module) -> list[Tensor]:
    return [value.detach() for value in module.state_dict().values()]


def twin() -> nn.Module:
    return ntk.fc(1).module(SHAPE, width=8, seed=3)


# -- everything that gives back numbers ---------------------------------------------------------------------------


def whole(net: ntk.Net, kind: str) -> list[Tensor]:
    x, _, x_test, _ = data()
    k = ntk.kernel_fn(net, kind, ntk.input_map("centre", x))
    return [k(x), k(x_test, x), k(x.double()), k.kernel.pair_gradients(x_test[0], x)]


def fitted(kernel: Callable) -> list[Tensor]:
    x, y, x_test, y_test = data()
    f = ntk.fit(kernel, x, y, ridge=1e-3)
    late = ntk.fit_steps(kernel, x, y, steps=5)
    result = ntk.pgd(0.1, 2, random_start=True)(f, x_test, y_test)
    return [f(x_test).detach(), late(x_test).detach(), result.x_adv, result.attacked]


def swept(kernel: Callable, attack: ntk.Attack) -> list[Tensor]:
    sweep = ntk.eigenfeatures(kernel, *data(), attack=attack)
    return [sweep.right_before, sweep.right_after, sweep.spectrum.values]


def transferred() -> list[Tensor]:
    x, y, x_test, y_test = data()
    p = perturb_along(ntk.finite_net(twin()), x_test, y_test, ntk.fgsm(0.1), (0.05, 0.1))
    v = judge(ntk.fit(ntk.kernel_fn(ntk.fc(1)), x, y), x_test, p.x_adv, y_test)
    return [p.x_adv, p.gradient, v.attacked]


def empirical() -> list[Tensor]:
    x = data()[0]
    small = build("cnn-small", SHAPE, 2)
    return [ntk.empirical_kernel_fn(twin())(x), ntk.empirical_ntk(small, x, x[:3]), ntk.empirical_ntk(BY_JACOBIANS, x)]


def trained() -> list[Tensor]:
    x, y, x_test, _ = data()
    net = ntk.finite_net(twin(), centred=True)
    for _ in ntk.train(net, x, y, Training(lr=0.1, lr_unit="absolute", steps=3, batch=5)):
        pass
    return [*weights(net.module), net(x_test).detach()]


def trained_by_epochs() -> list[Tensor]:
    x, y, x_test, _ = data()
    net = ntk.finite_net(build("cnn-small", SHAPE))
    for _ in ntk.train_epochs(net, x, y, Schedule(batch=5, momentum=0.5), 2, lambda net, x, y, draw: x * 0.9):
        pass
    return [*weights(net.module), net(x_test).detach()]


def loaded() -> list[Tensor]:
    task = ntk.load(ntk.DataSpec(n_train=6, n_test=4))
    return [task.x_train, task.y_train, task.x_test, task.y_test]


OPERATIONS: dict[str, Callable[[], list[Tensor]]] = {
    **{
        f"{name} {kind}": lambda net=net, kind=kind: whole(net, kind)
        for name, net in KERNELS.items()
        for kind in ("ntk", "nngp")
    },
    **{f"prediction {name}": lambda net=net: fitted(ntk.kernel_fn(net)) for name, net in KERNELS.items()},
    "prediction tangent": lambda: fitted(ntk.tangent_kernel(ntk.finite_net(twin()))),
    "features fc": lambda: swept(ntk.kernel_fn(ntk.fc(1)), ntk.fgsm(0.1)),
    "features conv": lambda: swept(ntk.kernel_fn(ntk.conv(1)), ntk.pgd(0.1, 2)),
    "features tangent": lambda: swept(ntk.tangent_kernel(ntk.finite_net(twin())), ntk.fgsm(0.1)),
    "transfer": transferred,
    "empirical": empirical,
    "predicted": lambda: [ntk.finite_net(MODULE)(data()[2]).detach()],
    "train": trained,
    "train_epochs": trained_by_epochs,
    "twin": lambda: [*weights(twin()), *weights(ntk.myrtle(5).module(SHAPE, 4, 2, parameterisation="standard"))],
    "cnn": lambda: weights(build("cnn-large", SHAPE, 2, init="he")),
    "resnet18": lambda: weights(build("resnet18", SHAPE, 2, seed=4)),
    "load": loaded,
}


@cache
def expected(name: str) -> list[Tensor]:
    return OPERATIONS[name]()


# -- the modes ----------------------------------------------------------------------------------------------------


@contextmanager
def default_dtype(dtype: torch.dtype) -> Iterator[None]:
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)


@contextmanager
def default_device(device: str) -> Iterator[None]:
    torch.set_default_device(device)
    try:
        yield
    finally:
        torch.set_default_device(None)


@contextmanager
def deterministic() -> Iterator[None]:
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(False)


@contextmanager
def without_gradients() -> Iterator[None]:
    torch.set_grad_enabled(False)
    try:
        yield
    finally:
        torch.set_grad_enabled(True)


@contextmanager
def flushed() -> Iterator[None]:
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)


MODES = {
    "inference mode": torch.inference_mode,
    "no_grad": torch.no_grad,
    "gradients off": without_gradients,
    "default float64": lambda: default_dtype(torch.float64),
    "default bfloat16": lambda: default_dtype(torch.bfloat16),
    "default device": lambda: default_device("meta"),  # a tensor made there has no numbers at all
    "autocast": lambda: torch.autocast("cpu", torch.bfloat16),
    "deterministic": deterministic,
    "denormals flushed": flushed,
}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", OPERATIONS)
def test_no_mode_changes_a_result(name: str, mode: str) -> None:
    wanted = expected(name)
    data()
    with MODES[mode]():
        found = OPERATIONS[name]()
    assert len(found) == len(wanted)
    for a, b in zip(found, wanted, strict=True):
        assert a.dtype == b.dtype
        assert not a.is_inference()
        assert torch.equal(a, b)


@pytest.mark.parametrize("name", OPERATIONS)
def test_no_random_state_is_drawn_from_or_looked_at(name: str) -> None:
    wanted = expected(name)
    for seed in (1, 2):
        torch.manual_seed(seed)
        random.seed(seed)
        before, others = torch.get_rng_state(), random.getstate()
        found = OPERATIONS[name]()
        assert all(map(torch.equal, found, wanted))
        assert torch.equal(torch.get_rng_state(), before)
        assert random.getstate() == others


def test_a_thread_more_or_less_changes_rounding_at_most() -> None:
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        found = [OPERATIONS[name]() for name in ("fc ntk", "myrtle ntk", "prediction fc")]
    finally:
        torch.set_num_threads(threads)
    for results, name in zip(found, ("fc ntk", "myrtle ntk", "prediction fc"), strict=True):
        for a, b in zip(results, expected(name), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)


# -- tensors of another kind --------------------------------------------------------------------------------------


class Marked(Tensor):
    """A tensor of a user's own class."""


def predictors() -> dict[str, Callable[[Tensor], Tensor]]:
    x, y, *_ = data()
    found = {name: ntk.fit(ntk.kernel_fn(net), x, y, ridge=1e-3) for name, net in KERNELS.items()}
    net = ntk.finite_net(twin())
    return found | {"tangent": ntk.fit(ntk.tangent_kernel(net), x, y, ridge=1e-3), "net": net}


PREDICTORS = predictors()


@pytest.mark.parametrize("kind", [Marked, nn.Parameter, "inference"], ids=["subclass", "parameter", "inference"])
@pytest.mark.parametrize("name", PREDICTORS)
def test_images_may_be_tensors_of_another_kind(name: str, kind) -> None:
    f, (_, _, x, y) = PREDICTORS[name], data()
    if kind == "inference":
        with torch.inference_mode():
            z = x.clone()
    else:
        z = x.clone().as_subclass(kind) if kind is Marked else kind(x.clone())
    with torch.no_grad():
        assert torch.equal(f(z).as_subclass(Tensor), f(x))
    assert torch.equal(ntk.fgsm(0.1)(f, z, y).x_adv.as_subclass(Tensor), ntk.fgsm(0.1)(f, x, y).x_adv)


def test_what_is_made_in_inference_mode_is_used_outside() -> None:
    x, y, x_test, y_test = data()
    k = ntk.kernel_fn(ntk.conv(1))
    with torch.inference_mode():
        f, net = ntk.fit(k, x.clone(), y.clone()), ntk.finite_net(twin(), ntk.input_map("centre", x.clone()))
    assert torch.equal(ntk.fgsm(0.1)(f, x_test, y_test).x_adv, ntk.fgsm(0.1)(ntk.fit(k, x, y), x_test, y_test).x_adv)
    assert [c.epoch for c in ntk.train_epochs(net, x, y, Schedule(), 1)] == [0, 1]


def test_a_module_made_in_inference_mode_is_refused() -> None:
    x, y, *_ = data()
    with torch.inference_mode():
        module = batch_norm()
    net = ntk.finite_net(module)
    for do in (
        lambda: net(x),
        lambda: ntk.empirical_ntk(module.eval(), x),
        lambda: next(ntk.train_epochs(net, x, y, Schedule(), 1)),
    ):
        with pytest.raises(ntk.SpecError, match=r"made inside torch\.inference_mode"):
            do()


# -- torch's transforms and other processes -----------------------------------------------------------------------

TRANSFORMS = {
    "jacrev": lambda f, z: torch.func.jacrev(lambda z: f(z).sum())(z),
    "vmap grad": lambda f, z: torch.func.vmap(torch.func.grad(lambda one: f(one[None]).sum()))(z),
    "jvp": lambda f, z: torch.func.jvp(lambda z: f(z).sum(), (z,), (torch.ones_like(z),))[1],
}


@pytest.mark.parametrize("transform", TRANSFORMS)
@pytest.mark.parametrize("name", PREDICTORS)
def test_a_transform_of_torch_is_followed_or_refused(name: str, transform: str) -> None:
    f, z = PREDICTORS[name], data()[2].double()
    z_ = z.clone().requires_grad_()
    (wanted,) = torch.autograd.grad(f(z_).sum(), z_)
    if name in ("fc", "conv", "myrtle"):
        with pytest.raises(ntk.SpecError, match=r"torch\.autograd\.grad gives its gradients"):
            TRANSFORMS[transform](f, z)
        return
    found = TRANSFORMS[transform](f, z)
    torch.testing.assert_close(found.double(), wanted.sum() if transform == "jvp" else wanted, rtol=1e-3, atol=1e-4)


def test_a_derivative_in_forward_mode_is_not_lost_in_silence() -> None:
    x = data()[0]
    with torch.autograd.forward_ad.dual_level():
        dual = torch.autograd.forward_ad.make_dual(x, torch.ones_like(x))
        with pytest.raises(ntk.SpecError, match="transform"):
            ntk.kernel_fn(ntk.conv(1))(dual)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:This process.*is multi-threaded:DeprecationWarning")
def test_a_forked_process_computes_the_same() -> None:
    """Its threads are gone, and waiting for them would never end."""
    x = torch.rand(200, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    k = ntk.kernel_fn(ntk.fc(1))
    wanted = k(x)
    torch.linalg.eigvalsh(wanted)
    child = os.fork()
    if child == 0:
        signal.alarm(30)
        right = torch.allclose(k(x), wanted, rtol=1e-5) and bool(torch.linalg.eigvalsh(k(x)).isfinite().all())
        os._exit(0 if right else 1)
    assert os.waitpid(child, 0)[1] == 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:This process.*is multi-threaded:DeprecationWarning")
def test_a_forked_process_does_not_wait_for_what_another_thread_held() -> None:
    x, module = data()[0], ntk.fc(1).module(SHAPE, 8)
    held, done = threading.Event(), threading.Event()

    def look(*_: object) -> None:
        held.set()
        done.wait(60)

    thread = threading.Thread(target=ntk.empirical_ntk, args=(module, x), kwargs={"progress": look})
    thread.start()
    held.wait(60)
    child = os.fork()
    if child == 0:
        signal.alarm(30)
        right = ntk.empirical_ntk(module, x).isfinite().all() and build("cnn-small", (1, 8, 8))
        os._exit(0 if right else 1)
    done.set()
    thread.join()
    assert os.waitpid(child, 0)[1] == 0
