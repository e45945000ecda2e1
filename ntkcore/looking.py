"""Looking at a torch module without a trace: whoever asks what a module says finds it as it was.

A forward pass may write into buffers (running statistics, counters, the vectors of ``spectral_norm``), and a module
has to be put into evaluation mode to be a function of one image. ``left_alone`` gives a module copies of its buffers
for as long as it is looked at, and its own ones and its modes back, also after an error or an interrupt::

    with left_alone(module, evaluated=True):
        outputs = module(x)                  # of one fixed function; module's statistics and modes are as before
"""

import copy
import os
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock, RLock
from typing import TypeVar
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from ntkcore import checks
from ntkcore.errors import SpecError
from ntkcore.modes import plain

LOOKS = 3  # at a call beside which random numbers are drawn
Said = TypeVar("Said")
_locks: "WeakKeyDictionary[nn.Module, RLock]" = WeakKeyDictionary()
_locks_lock = Lock()


@contextmanager
def left_alone(module: nn.Module, evaluated: bool = False) -> Iterator[None]:
    """Inside, ``module`` may be called; afterwards its buffers and modes are what they were.

    evaluated: all its parts are in evaluation mode inside. One thread at a time looks at a module.
    """
    with _lock_of(module):
        parts = list(module.modules())
        learning = [part for part in parts if part.training] if evaluated else []
        buffers = [(part._buffers, dict(part._buffers)) for part in parts if type(part._buffers) is dict]
        buffers = [(now, own) for now, own in buffers if own]
        copies: dict[int, Tensor] = {}  # a buffer that stands at two places stays one
        try:
            for part in learning:
                part.training = False
            for now, own in buffers:
                for name, buffer in own.items():
                    if buffer is not None and id(buffer) not in copies:
                        copies[id(buffer)] = buffer.clone()
                    now[name] = copies.get(id(buffer))
            yield
        finally:
            for now, own in buffers:
                now.clear()
                now.update(own)
            for part in learning:
                part.training = True


def inner(module: nn.Module) -> nn.Module:
    """The module that ``torch.compile`` or ``DataParallel`` was put around, which has the same weights."""
    while True:
        if isinstance(module, nn.DataParallel):
            module = module.module
        elif "_orig_mod" in getattr(module, "_modules", ()):
            module = module.get_submodule("_orig_mod")
        else:
            return module


@contextmanager
def modes_kept(module: nn.Module) -> Iterator[None]:
    """Afterwards each part of ``module`` is in the mode, training or evaluation, that it was in."""
    before = [(part, part.training) for part in module.modules()]
    try:
        yield
    finally:
        for part, training in before:
            part.training = training


@plain
def copy_of(module: nn.Module) -> nn.Module:
    """A copy that does not follow the module's weights. Raises SpecError for a module that cannot be copied."""
    try:
        return copy.deepcopy(inner(module))
    except (RuntimeError, TypeError, NotImplementedError) as error:
        raise SpecError(
            f"This module cannot be copied ({str(error).splitlines()[0]}), and its weights of now have to be kept. "
            "Give a module that copy.deepcopy can copy: for weight_norm or spectral_norm, those of "
            "torch.nn.utils.parametrizations."
        ) from error


def predicted(module: nn.Module, x: Tensor) -> Tensor:
    """What ``module`` says of images in evaluation mode, [n, c], leaving it as it was.

    Raises SpecError for a module that cannot take these images, that draws random numbers or that has BatchNorm without
    statistics, and for what is not one vector an image.
    """
    checks.weights(module, x)
    for name, part in module.named_modules():
        if isinstance(part, nn.modules.batchnorm._BatchNorm) and part.running_mean is None:
            raise SpecError(
                f"{name or 'The module'} is a BatchNorm layer without running statistics, whose output depends on the "
                "whole batch, so it is no predictor of an image. Keep track_running_stats."
            )

    def said() -> Tensor:
        with left_alone(module, evaluated=True), in_words(x):
            return module(x)

    out, chance = watched(said, x.device)
    if chance:
        raise SpecError(
            "The module draws random numbers in evaluation mode too (dropout or noise in its forward pass), so it is "
            "no predictor. Take that part out, or let it follow self.training."
        )
    if not isinstance(out, Tensor) or out.ndim != 2 or len(out) != len(x):
        got = tuple(out.shape) if isinstance(out, Tensor) else type(out).__name__
        raise SpecError(f"For {len(x)} images the module returns {got}; one vector an image, ({len(x)}, c), is needed.")
    return out


@contextmanager
def in_words(x: Tensor) -> Iterator[None]:
    """Inside, what torch says of a layer that images x do not fit becomes a SpecError; a module's own errors pass."""
    try:
        yield
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        *_, (last, _) = traceback.walk_tb(error.__traceback__)
        if not last.f_globals.get("__name__", "").startswith("torch."):
            raise
        said = (str(error) or type(error).__name__).splitlines()[0]
        raise SpecError(f"The module cannot take images {tuple(x.shape[1:])} of {x.dtype}: {said}.") from error


def watched(call: Callable[[], Said], device: torch.device) -> tuple[Said, bool]:
    """What a call says, and whether it draws random numbers; torch's generator is then set back.

    Other threads may draw, too: a call beside which numbers are drawn is made again, and where they are drawn without
    it as well, it counts as drawing only when it then says something else.
    """
    first: Said | None = None
    for _ in range(LOOKS):
        before, start = _random_state(device), time.perf_counter()
        out = call()
        if torch.equal(before, _random_state(device)):
            return out, False
        first = out if first is None else first
    quiet = _random_state(device)
    time.sleep(max(time.perf_counter() - start, 0.01))
    if not torch.equal(quiet, _random_state(device)):
        return out, not agree(first, out)
    _set_random_state(before, device)
    return out, True


def agree(one: object, two: object) -> bool:
    """Whether two answers are the same numbers; what is no tensor is judged elsewhere."""
    if isinstance(one, Tensor) and isinstance(two, Tensor):
        return torch.equal(one.nan_to_num(), two.nan_to_num())
    return not isinstance(one, Tensor) and not isinstance(two, Tensor)


def _random_state(device: torch.device) -> Tensor:
    """Of torch's own generator there, which a module without chance in it does not move."""
    return torch.cuda.get_rng_state(device) if device.type == "cuda" else torch.get_rng_state()


def _set_random_state(state: Tensor, device: torch.device) -> None:
    torch.cuda.set_rng_state(state, device) if device.type == "cuda" else torch.set_rng_state(state)


def _lock_of(module: nn.Module) -> RLock:
    with _locks_lock:
        return _locks.setdefault(module, RLock())


def _without_threads() -> None:
    """In a forked process nobody gives back a lock that another thread held, and torch would wait for threads that are
    not there."""
    global _locks_lock
    torch.set_num_threads(1)
    _locks_lock = Lock()
    _locks.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_without_threads)
