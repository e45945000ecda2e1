"""Every kind of torch module, in every use: right, or a sentence that says what is needed."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.autograd.function import once_differentiable

import ntkcore as ntk
from ntkcore.analysis.tangent import fit_tangent
from ntkcore.training import Linearised, Schedule, Training

generator = torch.Generator().manual_seed(0)
X, Z = (torch.rand(n, 1, 4, 4, generator=generator) for n in (8, 3))
Y = torch.tensor([[1.0], [-1.0]]).repeat(4, 1)


class Attention(nn.Module):
    """Rows of the image as tokens; torch has no forward-mode derivative of it."""

    def __init__(self):
        super().__init__()
        self.embed, self.attend = nn.Linear(4, 8), nn.MultiheadAttention(8, 2, batch_first=True)
        self.head = nn.Linear(8, 1)

    def forward(self, x: Tensor) -> Tensor:
        t = self.embed(x[:, 0])
        return self.head((t + self.attend(t, t, t, need_weights=False)[0]).mean(1))


class Squared(Function):
    """Of the old kind, which torch.func does not know."""

    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(ctx, g: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return 2 * x * g


class SquaredOnce(Squared):
    """And not to be differentiated twice."""

    backward = staticmethod(once_differentiable(Squared.backward))


class Head(nn.Module):
    """A dense layer, and what a test makes of its output."""

    def __init__(self, after: Callable[[Tensor], object], sparse: bool = False):
        super().__init__()
        self.after, self.dense = after, nn.Linear(16, 1)
        self.embed = nn.Embedding(4, 1, sparse=sparse)

    def forward(self, x: Tensor) -> object:
        index = (3.9 * x.detach()).long().flatten(1)
        return self.after(self.dense(x.flatten(1)) + self.embed(index).sum(1))


def stack(*parts: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Flatten(), *parts)


def tied() -> nn.Module:
    part = nn.Linear(16, 16)
    return stack(part, nn.ReLU(), part, nn.Linear(16, 1))


def some_frozen() -> nn.Module:
    return stack(nn.Linear(16, 4).requires_grad_(False), nn.ReLU(), nn.Linear(4, 1))


parametrised = nn.utils.parametrizations
RIGHT: dict[str, Callable[[], nn.Module]] = {
    "dense": lambda: stack(nn.Linear(16, 4), nn.ReLU(), nn.Linear(4, 1)),
    "first layer frozen": some_frozen,
    "all frozen": lambda: some_frozen().requires_grad_(False),
    "attention": Attention,
    "transformer": lambda: nn.Sequential(
        nn.Flatten(1, 2), nn.TransformerEncoderLayer(4, 2, 8, batch_first=True), nn.Flatten(), nn.Linear(16, 1)
    ),
    "weight_norm": lambda: stack(parametrised.weight_norm(nn.Linear(16, 4)), nn.ReLU(), nn.Linear(4, 1)),
    "spectral_norm": lambda: stack(parametrised.spectral_norm(nn.Linear(16, 4)), nn.Linear(4, 1)),
    "orthogonal": lambda: stack(parametrised.orthogonal(nn.Linear(16, 4)), nn.Linear(4, 1)),
    "old function": lambda: Head(Squared.apply),
    "embedding": lambda: Head(torch.tanh),
    "sparse embedding": lambda: Head(torch.tanh, sparse=True),
    "tied": tied,
    "DataParallel": lambda: nn.DataParallel(some_frozen()),
    "compiled": lambda: torch.compile(some_frozen(), backend="eager"),
    "linearised": lambda: Linearised(stack(nn.Linear(16, 4), nn.Tanh(), nn.Linear(4, 1))),
}


def by_hand(module: nn.Module, x1: Tensor, x2: Tensor) -> Tensor:
    """``<df(x)/dw, df(x')/dw>`` over all weights, frozen or not, by autograd image by image: [n1, n2], float64."""
    weights = list(module.parameters())
    flags = [p.requires_grad for p in weights]
    for p in weights:
        p.requires_grad_(True)
    rows = []
    for x in torch.cat([x1, x2]):
        gradients = torch.autograd.grad(module(x[None])[0, 0], weights, allow_unused=True, materialize_grads=True)
        rows.append(torch.cat([g.to_dense().flatten().double() for g in gradients]))
    for p, flag in zip(weights, flags, strict=True):
        p.requires_grad_(flag)
    J = torch.stack(rows)
    return J[: len(x1)] @ J[len(x1) :].T


@pytest.mark.parametrize("name", RIGHT)
def test_all_ways_agree(name: str) -> None:
    """Values, sums over training images, pair gradients, predictors: one meaning of the kernel, all weights counted."""
    torch.manual_seed(1)
    module = RIGHT[name]().eval()
    net = ntk.finite_net(module)
    k, K = ntk.tangent_kernel(net), by_hand(module, Z, X)
    scale = float(K.abs().max())

    def near(found: Tensor, wanted: Tensor, size: float = scale) -> None:
        torch.testing.assert_close(found.detach().double(), wanted, rtol=1e-3, atol=1e-4 * size)

    near(ntk.empirical_ntk(module, Z, X)[:, :, 0, 0], K)
    near(k(Z, X), K)
    near(k(Z.double(), X.double()), K)
    weights = torch.linspace(-1, 1, 8, dtype=torch.float64)[:, None]
    near(k.kernel.combine(X, weights)(Z), K @ weights)
    pairs = k.kernel.pair_gradients(Z[0], X)
    step = torch.zeros_like(Z[:1])
    at = tuple(int(i) for i in torch.unravel_index(pairs.abs().sum(0).argmax(), Z[0].shape))
    step[(0, *at)] = 2e-2
    if name != "embedding":  # whose index jumps
        slope = (by_hand(module, Z[:1] + step, X) - by_hand(module, Z[:1] - step, X))[0] / 4e-2
        torch.testing.assert_close(pairs[(slice(None), *at)].double(), slope, rtol=0.1, atol=0.05 * scale)
    f = ntk.fit(k, X, Y, ridge=0.1)
    near(f(Z), K @ f.alpha, float(f.alpha.abs().sum()) * scale)
    assert ntk.fgsm(0.0)(f, Z, Y[:3]).accuracy == ntk.accuracy(f(Z), Y[:3].double())
    unit = float(by_hand(module, X, X).diagonal().mean())  # that solve counts a ridge in
    near(fit_tangent(net, X, Y, ridge=0.1 / unit)(Z), f(Z).detach(), 1.0)


def test_training_moves_what_is_not_frozen() -> None:
    net = ntk.finite_net(some_frozen())
    before = [p.detach().clone() for p in net.module.parameters()]
    recipe = Training(lr=0.1, lr_unit="absolute", steps=2, centred=False)
    for run in (ntk.train(net, X, Y, recipe), ntk.train_epochs(net, X, Y, Schedule(momentum=0.5), 1)):
        list(run)
        moved = [not torch.equal(p, w) for p, w in zip(net.module.parameters(), before, strict=True)]
        assert moved == [False, False, True, True]


# -- refused in words ---------------------------------------------------------------------------------------------


def made_on_meta() -> nn.Module:
    with torch.device("meta"):
        return stack(nn.Linear(16, 1))


def called_once() -> nn.Module:
    """With a weight that is computed, and kept with its history."""
    module = stack(nn.utils.spectral_norm(nn.Linear(16, 1)))
    module(X)
    return module


def mixed() -> nn.Module:
    return stack(nn.Linear(16, 4).double(), nn.Linear(4, 1))


ALWAYS = ("net", "kernel", "fit", "train", "train_epochs")
REFUSED: dict[str, tuple[Callable[[], nn.Module], str, tuple[str, ...]]] = {
    "all frozen": (lambda: some_frozen().requires_grad_(False), "nothing to train", ("train", "train_epochs")),
    "double": (lambda: some_frozen().double(), r"weights are torch\.float64, .* module\.float\(\)", ALWAYS),
    "half": (lambda: some_frozen().half(), r"weights are torch\.float16", ALWAYS),
    "complex": (lambda: stack(nn.Linear(16, 1, dtype=torch.complex64)), r"weights of torch\.complex64", ALWAYS),
    "mixed": (mixed, r"cannot take images \(1, 4, 4\) of torch\.float32: .*same dtype", ALWAYS),
    "lazy": (lambda: stack(nn.LazyLinear(1)), r"lazy layers without weights.*module\(x\)", ALWAYS),
    "meta": (made_on_meta, "weights are on meta, the images on cpu", ALWAYS),
    "other size": (lambda: stack(nn.Linear(9, 1)), r"cannot take images \(1, 4, 4\)", ALWAYS),
    "tuple": (lambda: Head(lambda y: (y, y)), "tuple", ALWAYS),
    "dict": (lambda: Head(lambda y: {"y": y}), "dict", ALWAYS),
    "vector": (lambda: Head(lambda y: y[:, 0]), r"\(\d,\)", ALWAYS),
    "noise": (lambda: Head(lambda y: y + torch.randn_like(y)), "drawn anew|draws random", ("net", "kernel", "fit")),
    "dropout for ever": (
        lambda: Head(lambda y: nn.functional.dropout(y, 0.5)),
        "drawn anew|draws random",
        ("net", "kernel", "fit"),
    ),
    "no statistics": (
        lambda: stack(nn.BatchNorm1d(16, track_running_stats=False), nn.Linear(16, 1)),
        "track_running_stats",
        ("net", "kernel", "fit"),
    ),
    "differentiable once": (lambda: Head(SquaredOnce.apply), "neither forward nor twice", ("fit",)),
    "cannot be copied": (
        called_once,
        r"cannot be copied .*nn\.utils\.parametrizations",
        ("fit",),
    ),
    "no weights": (lambda: stack(nn.AdaptiveAvgPool1d(1)), "no parameters|nothing to train", ALWAYS[1:]),
}


def uses(module: nn.Module) -> dict[str, Callable[[], object]]:
    net = ntk.finite_net(module)
    recipe = Training(lr=1e-4, lr_unit="absolute", steps=2, centred=False)
    return {
        "net": lambda: net(X),
        "kernel": lambda: ntk.empirical_ntk(module, X),
        "fit": lambda: ntk.fit(ntk.tangent_kernel(net), X, Y, ridge=0.1)(X),
        "train": lambda: list(ntk.train(net, X, Y, recipe)),
        "train_epochs": lambda: list(ntk.train_epochs(net, X, Y, Schedule(), 1)),
    }


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_is_refused_in_words_and_all_else_works(name: str) -> None:
    make, words, refused = REFUSED[name]
    for use in ALWAYS:
        do = uses(make().eval())[use]
        if use in refused:
            with pytest.raises(ntk.NTKError, match=words):
                do()
        else:
            do()


def test_the_errors_of_a_module_are_its_own() -> None:
    def stumble(y: Tensor) -> Tensor:
        raise RuntimeError("stumbled")

    for use, do in uses(Head(stumble)).items():
        with pytest.raises(RuntimeError, match="stumbled"):
            do()
        assert use in ALWAYS


def test_a_torchscript_module_predicts_and_has_no_kernel() -> None:
    module = some_frozen()
    with pytest.warns(FutureWarning, match="deprecated"):
        scripted = torch.jit.script(module)
    assert torch.equal(ntk.finite_net(scripted)(X), ntk.finite_net(module)(X))
    with pytest.raises(ntk.SpecError, match="TorchScript"):
        ntk.tangent_kernel(ntk.finite_net(scripted))(X)
