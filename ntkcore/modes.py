"""Torch's modes at the library's doors: what a caller has set for the thread or the process must not change a result.

Inside ``torch.inference_mode()`` the library computes as inside ``torch.no_grad()``, so that what it gives back can be
used outside; ``torch.autocast`` is off, since results are promised in the precision of the images; a tensor made in
inference mode is copied where it comes in. Whether gradients are recorded stays the caller's choice. The default dtype
and device are not looked at: every tensor that is made inside names its own. Layers of torch, which do look at them,
are made inside ``torch_defaults``::

    @plain
    def accuracy_of(f, x, y): ...                # a public function that gives back numbers

    with plain_modes(): ...                      # the same for a part of a generator
"""

import functools
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from threading import RLock
from typing import Any, ParamSpec, TypeVar

import torch
from torch import Tensor
from torch.autograd import forward_ad

from ntkcore.errors import SpecError

DEVICES = ("cpu", "cuda")  # where the library computes
P = ParamSpec("P")
R = TypeVar("R")


def free_after_fork(lock: Any) -> Any:
    """A lock that is free in a forked process, where nobody would give back what another thread held."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=lock._at_fork_reinit)
    return lock


_DEFAULTS = free_after_fork(RLock())  # torch's default dtype is one for all threads
ALONE = free_after_fork(RLock())
"""Held by one thread at a time: for torch's random numbers and levels of forward derivatives, which are one for all."""


def plain(function: Callable[P, R]) -> Callable[P, R]:
    """``function`` in torch's plain modes, with tensors that gradients may pass through."""

    @functools.wraps(function)
    def inside(*args: P.args, **kwargs: P.kwargs) -> R:
        if _is_plain() and not any(map(_inferred, args)) and not any(map(_inferred, kwargs.values())):
            return function(*args, **kwargs)
        with plain_modes():
            return function(*map(usual, args), **{name: usual(value) for name, value in kwargs.items()})

    return inside


@contextmanager
def plain_modes() -> Iterator[None]:
    """Inside, no inference mode and no autocast."""
    with ExitStack() as stack:
        if torch.is_inference_mode_enabled():
            stack.enter_context(torch.inference_mode(False))  # which would record gradients again
            stack.enter_context(torch.no_grad())
        for device in DEVICES:
            if torch.is_autocast_enabled(device):
                stack.enter_context(torch.autocast(device, enabled=False))
        yield


def usual(value: Any) -> Any:
    """A tensor made in inference mode as one that gradients may pass through; anything else as it is."""
    return value.clone() if _inferred(value) else value


def untransformed(x: Tensor, name: str = "x") -> Tensor:
    """Images outside torch.func's transforms and forward-mode derivatives, which compiled loops do not see."""
    if torch._C._functorch.is_functorch_wrapped_tensor(x) or forward_ad.unpack_dual(x).tangent is not None:
        raise SpecError(
            f"{name} is inside a transform of torch.func (grad, jacrev, jvp, vmap), which this kernel cannot "
            "follow. It takes all images at once, and torch.autograd.grad gives its gradients."
        )
    return x


@contextmanager
def torch_defaults() -> Iterator[None]:
    """Inside, torch makes tensors in float32 and on the CPU, as it does where nothing else was set."""
    with _DEFAULTS, ExitStack() as stack:
        if torch.get_default_device().type != "cpu":
            stack.enter_context(torch.device("cpu"))
        stack.callback(torch.set_default_dtype, torch.get_default_dtype())
        torch.set_default_dtype(torch.float32)
        yield


def _is_plain() -> bool:
    return not torch.is_inference_mode_enabled() and not any(map(torch.is_autocast_enabled, DEVICES))


def _inferred(value: Any) -> bool:
    return isinstance(value, Tensor) and value.is_inference()
