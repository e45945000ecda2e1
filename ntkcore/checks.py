"""Checks at the library's doors: images, labels, selections, modules and numbers, each right or refused in words.

A door checks, a room trusts: a public function passes what it was given through one of these once, works with what
comes back, and nothing inside looks again. Each returns its argument in one form and raises SpecError with a sentence
that says what was got, what is needed and how to mend it. What is right comes back as it is, without a copy::

    x = images(x, "x_test", pixels=True)         # float tensor [n, C, H, W], finite, in [0, 1]
    y = labels(y, len(x), "y_test")              # [n, 1] of -1 and +1, or one-hot [n, c]
    index = selection(features, s.rank)          # int64 [k], from indices or a mask
    eps = number(eps, "eps", least=0)            # a float, from anything that stands for one number

Descriptions (``ntkcore.validation.Spec``) check their own fields; numbers that stand for a field of one pass here too.
"""

import operator
import sys
from collections.abc import Callable, Sequence
from numbers import Real
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from ntkcore.errors import SpecError
from ntkcore.validation import shown

ROUNDING = 1e-6  # how far arithmetic in float32 may leave a pixel outside [0, 1]: a four-thousandth of a grey level


# -- tensors -------------------------------------------------------------------------------------------------------


def tensor(x: Any, name: str) -> Tensor:
    """A plain torch tensor of real numbers, of any shape."""
    if not isinstance(x, Tensor):
        raise SpecError(f"{name} must be a torch tensor; got {_kind(x)}. torch.as_tensor makes one.")
    if x.layout != torch.strided or x.is_meta or x.is_quantized or x.is_complex():
        raise SpecError(f"{name} must be a plain tensor of real numbers; got {_kind(x)}.")
    return x


def image_form(
    x: Any, name: str = "x", axes: int | None = 4, shape: Sequence[int] | None = None, empty: bool = False
) -> Tensor:
    """Images as a kernel or a predictor takes them: float32 or float64 [n, C, H, W], n and every side at least 1.

    Looks at the form alone, so that it costs nothing inside a loop; values that are not finite pass, as they do through
    any function of torch. axes None: any number of them. shape: of one image, where known. empty: there may be none.
    """
    tensor(x, name)
    if x.dtype not in (torch.float32, torch.float64):
        own = _as_code(name)
        mend = f"{own}.float()" if x.is_floating_point() else f"for pixels of 0 to 255, {own}.float() / 255"
        raise SpecError(f"{name} must be a float tensor, float32 or float64; got {x.dtype}. Convert: {mend}.")
    if axes is not None and x.ndim != axes:
        own = _as_code(name)
        mend = f" For one image: {own}[None]; for images of one channel: {own}[:, None]." if x.ndim == 3 else ""
        raise SpecError(f"{name} must be a float tensor [n, C, H, W]; got shape {_shape(x)}.{mend}")
    if x.ndim == 0 or (len(x) == 0 and not empty):
        raise SpecError(f"There are no images in {name}: shape {_shape(x)}. Give at least one.")
    if 0 in x.shape[1:]:
        raise SpecError(f"{name} has no pixels: shape {_shape(x)}.")
    if shape is not None and tuple(x.shape[1:]) != tuple(shape):
        raise SpecError(f"{name} holds images of shape {_shape(x)[1:]}; {tuple(shape)} is needed, as the others have.")
    return x


def images(x: Any, name: str = "x", pixels: bool = False, shape: Sequence[int] | None = None) -> Tensor:
    """Finite images [n, C, H, W], float32 or float64; with ``pixels`` in [0, 1], as attacks and data have them.

    A pixel that rounding has put outside [0, 1], by at most ROUNDING, is set to the border here, once, so that every
    number is about the same images; anything farther is refused. shape: of one image, where known.
    """
    image_form(x, name, 4, shape)
    low, high = (float(bound) for bound in torch.aminmax(x.detach()))  # one pass; not finite where a pixel is not
    if not (np.isfinite(low) and np.isfinite(high)):
        bad = int((~torch.isfinite(x.detach())).flatten(1).any(1).sum())
        raise SpecError(
            f"{name} has pixels that are not finite, in {bad} of {len(x)} images. Mend or leave out those images."
        )
    if not pixels or (low >= 0 and high <= 1):
        return x
    if low < -ROUNDING or high > 1 + ROUNDING:
        own = _as_code(name)
        grey_levels = low >= 0 and 1.5 < high <= 255
        mend = f"{own} / 255" if grey_levels else f"undo what moved them, such as {own} * std + mean"
        raise SpecError(
            f"{name} must be pixels in [0, 1]; got values from {low:.6g} to {high:.6g}. Convert: {mend}. To centre or "
            "scale them for the kernel or the net alone, use input_map."
        )
    return x.clamp(0, 1)


def image(x: Any, name: str = "image", pixels: bool = False, shape: Sequence[int] | None = None) -> Tensor:
    """One image [C, H, W]; otherwise as ``images``."""
    if tensor(x, name).ndim != 3:
        raise SpecError(f"{name} must be one image [C, H, W]; got shape {_shape(x)}. For the first of several: x[0].")
    return images(x[None], name, pixels, shape)[0]


def targets(y: Any, count: int, name: str = "y") -> Tensor:
    """What a kernel or a net is fitted to: finite numbers [n, c] for n = ``count`` images, any real ones."""
    if _columns(y, count, name).dtype == torch.bool:
        raise SpecError(f"{name} must be numbers; got {y.dtype}. {_how_to_convert(y, name)}")
    if not torch.isfinite(y).all():
        raise SpecError(f"{name} has entries that are not finite. Mend or leave out those images.")
    return y


def labels(y: Any, count: int, name: str = "y", outputs: int | None = None) -> Tensor:
    """Labels that an answer can be right or wrong by: [n, 1] of -1 and +1, or one-hot [n, c] with c at least 2.

    n = ``count`` images; outputs: c, where something else has set it. Whole numbers come back as float32.
    """
    if _columns(y, count, name).shape[1] == 1:
        right = y.dtype != torch.bool and bool(((y == 1) | (y == -1)).all())
    else:
        right = bool(((y == 0) | (y == 1)).all() & (y.sum(1) == 1).all())
    if not right:
        got = f"{list(y.shape)} of {y.dtype} with a row {shown([round(value, 4) for value in y[0].tolist()])}"
        raise SpecError(
            f"{name} must be labels [n, 1] of -1 and +1, or one-hot [n, c]; got {got}. {_how_to_convert(y, name)}"
        )
    if outputs is not None and y.shape[1] != outputs:
        raise SpecError(
            f"{name} has {y.shape[1]} column{'s' * (y.shape[1] > 1)}, the predictions {outputs}; both need the same "
            "classes: one column of -1 and +1 for two, one-hot for more."
        )
    return y if y.is_floating_point() else y.float()


def label(y: Any, name: str = "label", outputs: int | None = None) -> Tensor:
    """The label [c] of one image; otherwise as ``labels``."""
    if tensor(y, name).ndim != 1:
        raise SpecError(f"{name} must be one label, [c]; got shape {_shape(y)}. For the first of several: y[0].")
    return labels(y[None], 1, name, outputs)[0]


def judged(out: Any, y: Any) -> tuple[Tensor, Tensor]:
    """Outputs and labels, both [m, c] of the same m images, at least one of them, on one device."""
    answer_form(out)
    y = labels(y, len(out), outputs=out.shape[1])
    return answers(out, y.shape), y.to(out.device)


def answers(out: Any, shape: Sequence[int], name: str = "outputs") -> Tensor:
    """What a predictor said, [m, c] as ``shape`` of the labels has it: finite, so that it is right or wrong."""
    answer_form(out, shape, name)
    if not torch.isfinite(out).all():
        bad = int((~torch.isfinite(out)).any(1).sum())
        raise SpecError(
            f"{name} are not finite for {bad} of {len(out)} images, which are neither right nor wrong. Look at the "
            "weights (did the training diverge?) and at the images' range."
        )
    return out


def answer_form(out: Any, shape: Sequence[int] | None = None, name: str = "outputs") -> Tensor:
    """The form alone: [m, c], one row an image and one column a class. Costs nothing inside a loop."""
    tensor(out, name)
    if (out.ndim != 2 or out.numel() == 0) if shape is None else (out.shape != torch.Size(shape)):
        mend = " For one output an image: f(x)[:, None]." if out.ndim == 1 else ""
        needed = "m and c at least 1" if shape is None else f"{list(shape)}, as the labels are"
        raise SpecError(f"{name} must be [m, c], {needed}; got shape {_shape(out)}.{mend}")
    return out


# -- selections ----------------------------------------------------------------------------------------------------


def selection(which: Any, count: int, noun: str = "feature", why: str = "") -> Tensor:
    """Indices int64 [k], each once and from 0 to ``count - 1``: from a list, range, array or tensor of them, or from a
    mask (of bools, ``count`` long), in the order given. why: what makes their number."""
    mixed = isinstance(which, list | tuple) and len({isinstance(entry, bool | np.bool_) for entry in which}) > 1
    if mixed or not isinstance(which, list | tuple | range | np.ndarray | Tensor):
        raise SpecError(f"Give {noun}s as a list of indices or as a mask; got {_kind(which)}, {shown(which)}.")
    array = _array(which)
    if array.ndim != 1:
        raise SpecError(
            f"Give {noun}s as one list of indices or one mask; got shape {array.shape}. For a single one: [index]."
        )
    if array.dtype == bool:
        if len(array) != count:
            raise SpecError(f"The mask of {noun}s is {len(array)} long; one entry for each of {count} is needed.")
        return torch.from_numpy(np.flatnonzero(array))
    if array.size == 0:
        return torch.zeros(0, dtype=torch.long, device="cpu")
    if array.dtype.kind not in "iu":
        raise SpecError(
            f"Give {noun}s as whole numbers (or as a mask of bools); got {shown(array.tolist())}, {array.dtype}."
        )
    beyond = array[(array < 0) | (array >= count)]
    if beyond.size:
        there = f"Choose indices from 0 to {count - 1}." if count else ""
        raise SpecError(f"{noun.capitalize()} {beyond[0]} does not exist: there are {count}{why}. {there}".rstrip())
    values, times = np.unique(array, return_counts=True)
    if (times > 1).any():
        raise SpecError(f"{noun.capitalize()} {values[times > 1][0]} is given {times.max()} times; give each once.")
    return torch.from_numpy(array.astype(np.int64))


def codes(values: Any, length: int, allowed: Sequence[int], name: str) -> np.ndarray:
    """``length`` whole numbers, one for each thing, out of ``allowed``: classes of images or of features."""
    array = _array(values)
    if array.shape != (length,) or length == 0:
        raise SpecError(f"{name} have shape {array.shape}; ({length},) is needed, one code each.")
    if array.dtype.kind not in "iu" or not np.isin(array, list(allowed)).all():
        raise SpecError(f"{name} are {shown(array.tolist())}; whole numbers out of {shown(list(allowed))} are needed.")
    return array


# -- numbers -------------------------------------------------------------------------------------------------------


def number(
    value: Any,
    name: str,
    least: float | None = None,
    most: float | None = None,
    *,
    above: float | None = None,
    below: float | None = None,
    inf: bool = False,
) -> float:
    """A float from anything that stands for one real number: Python's, numpy's, a 0-d tensor; within bounds that it may
    reach (least, most) or may not (above, below). inf: infinity counts as a number."""
    found = _real(value)
    if found is None or (abs(found) > sys.float_info.max and not (inf and found == float("inf"))):
        raise SpecError(f"{name} is {shown(value)}; a {'number' if inf else 'finite number'} is needed.")
    return _bounded(float(found), name, least, most, above, below)


def whole(value: Any, name: str, least: int | None = None, most: int | None = None) -> int:
    """An int from anything that stands for one whole number: Python's, numpy's, a 0-d tensor."""
    found = _real(value)
    if found is None or abs(found) == float("inf") or int(found) != found:
        raise SpecError(f"{name} is {shown(value)}; a whole number is needed.")
    return _bounded(int(found), name, least, most)


def seed(value: Any, name: str = "seed") -> int:
    """What torch's generators are seeded with."""
    return whole(value, name, 0, 2**63 - 1)


def truth(value: Any, name: str) -> bool:
    """True or false, Python's or numpy's."""
    if not isinstance(value, bool | np.bool_):
        raise SpecError(f"{name} is {shown(value)}; True or False is needed.")
    return bool(value)


def choice(value: Any, name: str, allowed: Sequence[str]) -> str:
    """One of a few words."""
    if not isinstance(value, str) or value not in allowed:
        raise SpecError(f"{name} is {shown(value)}; choose {_or(allowed)}.")
    return value


# -- things --------------------------------------------------------------------------------------------------------


def module(value: Any, name: str = "module") -> nn.Module:
    """A torch module."""
    if not isinstance(value, nn.Module):
        raise SpecError(f"{name} must be a torch module; got {_kind(value)}.")
    return value


def initialised(module: nn.Module) -> nn.Module:
    """A module whose layers all have weights."""
    if any(map(is_lazy, module.parameters())):
        raise SpecError("The module has lazy layers without weights. Call it once with images, module(x), first.")
    return module


def weights(module: nn.Module, images: Tensor) -> None:
    """Of a module that can take these images: there, real, on their device and in their precision."""
    found = list(initialised(module).parameters())
    for p in found:
        if p.device != images.device:
            mend = "Give it weights first, by module.to_empty and load_state_dict." if p.is_meta else "Move one."
            raise SpecError(f"The module's weights are on {p.device}, the images on {images.device}. {mend}")
        if p.is_inference():
            raise SpecError("The module was made inside torch.inference_mode() and has no gradients. Make it outside.")
        if not p.is_floating_point():
            raise SpecError(f"The module has weights of {p.dtype}; real numbers, float32 or float64, are needed.")
    if found and images.dtype not in {p.dtype for p in found}:
        names = ", ".join(sorted({str(p.dtype) for p in found}))
        how = "Convert one, as with x.to(dtype) or module.float()."
        raise SpecError(f"The module's weights are {names}, the images {images.dtype}. {how}")


def trainable(module: nn.Module, images: Tensor) -> None:
    """Refuses a module of which nothing can be trained on these images."""
    weights(module, images)
    if not any(p.requires_grad for p in module.parameters()):
        raise SpecError(
            "The module has nothing to train: all its weights are frozen (requires_grad is False), or there are none. "
            "Thaw some, as with module.requires_grad_(True)."
        )


def instance(value: Any, kind: type | tuple[type, ...], name: str, how: str) -> Any:
    """A thing of a class of this library; how: a sentence that says where one is had from."""
    if not isinstance(value, kind):
        kinds = kind if isinstance(kind, tuple) else (kind,)
        raise SpecError(f"{name} must be {_or([k.__name__ for k in kinds], str)}; got {_kind(value)}. {how}")
    return value


def function(value: Any, name: str, how: str, optional: bool = False) -> Any:
    """Something that can be called; how: what it must map. optional: or None."""
    if not callable(value) and not (optional and value is None):
        raise SpecError(f"{name} must be a function{' or None' if optional else ''}; got {_kind(value)}. {how}")
    return value


def progress(value: Any) -> Any:
    """What is told how far a computation is, or None."""
    return function(value, "progress", "It is called with (done, total, note).", optional=True)


# -- words ---------------------------------------------------------------------------------------------------------


def _array(values: Any) -> np.ndarray:
    if isinstance(values, Tensor):
        values = tensor(values, "A list of numbers").detach().cpu()
        return (values.double() if values.is_floating_point() else values).numpy()
    try:
        return np.asarray(values)
    except (ValueError, TypeError, RuntimeError):  # rows of different lengths
        return np.empty((), dtype=object)


def _real(value: Any) -> Any:
    """Python's own number (a Real) for one that is not NaN; None for anything else, truth values too."""
    if isinstance(value, np.generic) or (isinstance(value, np.ndarray | Tensor) and value.ndim == 0):
        value = value.item()
    return value if isinstance(value, Real) and not isinstance(value, bool) and value == value else None


def _bounded(found: Any, name: str, least: Any, most: Any, above: Any = None, below: Any = None) -> Any:
    bounds = (
        ("at least", least, operator.ge),
        ("greater than", above, operator.gt),
        ("at most", most, operator.le),
        ("less than", below, operator.lt),
    )
    given = [(words, bound, holds) for words, bound, holds in bounds if bound is not None]
    if not all(holds(found, bound) for _, bound, holds in given):
        needed = " and ".join(f"{words} {bound}" for words, bound, _ in given)
        raise SpecError(f"{name} is {shown(found)}; it must be {needed}.")
    return found


def _how_to_convert(y: Tensor, name: str) -> str:
    """What makes labels of these."""
    if y.ndim == 2 and y.shape[1] > 1:
        return f"For the largest entry as the class: F.one_hot({name}.argmax(1), {y.shape[1]})."
    if bool(((y == 1) | (y == -1)).all()) and y.dtype != torch.bool:
        return f"Convert: {name}[:, None]."
    flat = name if y.ndim == 1 else f"{name}[:, 0]"
    if bool(((y == 0) | (y == 1)).all()):
        return f"For 0 and 1 of two classes: (2.0 * {flat} - 1)[:, None]."
    return f"For class indices: F.one_hot({flat}.long(), c) with c classes; for two classes: -1 and +1, [n, 1]."


def _columns(y: Any, count: int, name: str) -> Tensor:
    if tensor(y, name).ndim != 2 or len(y) != count or y.shape[1] == 0:
        mend = f" {_how_to_convert(y, name)}" if y.ndim == 1 and len(y) == count else ""
        raise SpecError(f"{name} must be [n, c] for n = {count} images; got shape {_shape(y)}.{mend}")
    return y


def _as_code(name: str) -> str:
    """How a line of Python calls what a sentence calls ``name``."""
    return name if name.isidentifier() else "x"


def _kind(x: Any) -> str:
    if isinstance(x, Tensor):
        return f"{x.dtype} of shape {_shape(x)}" + ("" if x.layout == torch.strided else f", {x.layout}")
    return "None" if x is None else type(x).__name__


def _shape(x: Tensor) -> tuple[int, ...]:
    return tuple(x.shape)


def _or(words: Sequence[str], write: Callable[[str], str] = repr) -> str:
    written = [write(word) for word in words]
    return written[0] if len(written) == 1 else f"{', '.join(written[:-1])} or {written[-1]}"
