"""A GPU where there is none: tensors that say they are on "cuda", computed by the processor, kept apart from its own.

For tests of what would crash on a real one: a tensor there that meets one of the CPU, ``.numpy()`` without ``.cpu()``,
a generator of another device. As in torch, a single CPU number may meet tensors of the GPU in pointwise operations,
and indices on the CPU may choose from them. Autograd and ``torch.func`` work::

    with fake_gpu():
        x = torch.rand(3, 4).to("cuda")
        x @ x.T                          # on "cuda:0"
        x @ torch.rand(4, 2)             # RuntimeError, as on a GPU
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import numpy as np
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing
from torch.utils._pytree import tree_leaves, tree_map

HERE = torch.device("cuda", 0)
BETWEEN_DEVICES = ("aten::copy_", "aten::_to_copy")
INDEXED = ("aten::index", "aten::index_put", "aten::index_put_", "aten::_index_put_impl_", "aten::_unsafe_index")
NUMBERS_WELCOME = ("aten::where", "aten::fill_", "aten::masked_fill", "aten::masked_fill_")


class There(Tensor):
    """A tensor on the GPU. Underneath torch takes it for one of the device "meta", so that nothing skips this class."""

    inner: Tensor

    @staticmethod
    def __new__(cls, inner: Tensor) -> "There":
        made = torch.Tensor._make_wrapper_subclass(
            cls,
            inner.shape,
            strides=inner.stride(),
            storage_offset=inner.storage_offset(),
            dtype=inner.dtype,
            device="meta",
        )
        made.inner = inner
        return made

    __torch_function__ = torch._C._disabled_torch_function_impl

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        return on_its_device(func, args, kwargs or {})

    @property
    def device(self) -> torch.device:
        return HERE

    is_cuda = property(lambda self: True)
    is_cpu = is_meta = property(lambda self: False)

    def numpy(self, *, force: bool = False) -> np.ndarray:
        if not force:
            raise TypeError("can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu() first.")
        return self.detach().cpu().numpy()

    def __array__(self, dtype=None, copy=None) -> np.ndarray:
        return self.numpy()

    def tolist(self) -> Any:
        return self.detach().cpu().tolist()

    def __repr__(self, **options) -> str:
        return f"There({self.detach().cpu()!r})"

    def __format__(self, spec: str) -> str:
        return format(self.detach().cpu(), spec)

    def __deepcopy__(self, memo: dict) -> Tensor:
        copied = self.detach().clone().requires_grad_(self.requires_grad)
        if isinstance(self, torch.nn.Parameter):
            copied = torch.nn.Parameter(copied, self.requires_grad)
        return memo.setdefault(id(self), copied)


class Gpu(TorchDispatchMode):
    """What is asked for on "cuda" is made there."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        return on_its_device(func, args, kwargs or {})


def on_its_device(func, args: tuple, kwargs: dict) -> Any:
    """Run one operation of torch by the processor, if it may be run at all, and give its results a device."""
    name, leaves = func._schema.name, tree_leaves((args, kwargs))
    there = [x for x in leaves if isinstance(x, There)]
    asked = kwargs.get("device")
    if asked is not None:
        kwargs = kwargs | {"device": torch.device("cpu")}
    made_there = bool(there) if asked is None else torch.device(asked).type in ("cuda", "meta")
    if not there and not made_there:
        return func(*args, **kwargs)
    if there:
        check_devices(func, name, args, leaves)
    if made_there and kwargs.get("generator") is not None:
        raise RuntimeError(f"Expected a 'cuda' device type for generator but found 'cpu' ({name}).")
    if name == "aten::copy_" and not isinstance(args[0], There):
        return args[0].copy_(args[1].inner)  # from the GPU into a tensor of the CPU
    if name == "aten::_efficientzerotensor":  # of forward mode: has no numbers that the processor could read
        func = torch.ops.aten.zeros.default
    out = func(*tree_map(unwrapped, args), **tree_map(unwrapped, kwargs))
    if not made_there:
        return out
    out = tree_map(lambda x: There(x) if isinstance(x, Tensor) else x, out)
    return return_and_correct_aliasing(func, args, kwargs, out) if there else out


def check_devices(func, name: str, args: tuple, leaves: list) -> None:
    """As torch has it for tensors of which at least one is on the GPU."""
    if name in BETWEEN_DEVICES:
        return
    if name in INDEXED:
        if not isinstance(args[0], There):
            raise RuntimeError(f"indices should be either on cpu or on the same device as the indexed tensor ({name})")
        leaves = [x for x in tree_leaves(args) if x is not None and not any(x is i for i in args[1])]
    here = [x for x in leaves if isinstance(x, Tensor) and not isinstance(x, There)]
    alone = torch.Tag.pointwise in func.tags or name in INDEXED or name in NUMBERS_WELCOME
    written = isinstance(args[0], Tensor) and not isinstance(args[0], There) and func._schema.is_mutable
    if any(x.ndim > 0 or not alone for x in here) or written:
        raise RuntimeError(
            "Expected all tensors to be on the same device, but found at least two devices, cuda:0 and cpu! "
            f"({name}: {[tuple(x.shape) for x in here]} on the CPU)"
        )


def unwrapped(x: Any) -> Any:
    return x.inner if isinstance(x, There) else x


def via_the_cpu(build: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """``torch.tensor`` and the like look for the driver of a GPU before anything could keep them from it."""

    def made(data: Any, dtype: torch.dtype | None = None, device: torch.device | str | None = None) -> Tensor:
        return build(data, dtype=dtype) if device is None else build(data, dtype=dtype).to(device)

    return made


@contextmanager
def fake_gpu() -> Iterator[None]:
    """Inside there is a device "cuda". Not for compiled passes, which take the address of what lies there."""
    state = torch.zeros(16, dtype=torch.uint8)
    torch._C._ensureCUDADeviceGuardSet()  # torch asks which GPU is the current one: none, where there is none
    with (
        mock.patch("torch.cuda.is_available", return_value=True),
        mock.patch("torch.cuda.device_count", return_value=1),
        mock.patch("torch.cuda._lazy_init"),
        mock.patch("torch.cuda.get_rng_state", return_value=state),
        mock.patch("torch.__future__.get_overwrite_module_params_on_conversion", return_value=True),
        mock.patch("torch.tensor", via_the_cpu(torch.tensor)),
        mock.patch("torch.as_tensor", via_the_cpu(torch.as_tensor)),
        mock.patch("ntkcore.kernels.infinite.gpu.fused.covers", return_value=False),
        Gpu(),
    ):
        yield
