"""What an .npz of one's own images must hold, and reading it: each thing that does not fit is refused in words.

Images x_train, x_test: [n, H, W, C], [n, C, H, W] or [n, H, W], uint8 (0 to 255) or float (0 to 1), 1 or 3 channels.
Labels y_train, y_test: [n] whole numbers of any kind. Optional classes: texts, ``classes[label]`` is a label's name.
Shapes and types are judged from the headers, before anything is unpacked::

    with open("birds.npz", "rb") as file:
        arrays = read_images(NpzFile(file))         # Arrays; labels are positions in arrays.classes
"""

from dataclasses import dataclass

import numpy as np

from ntkcore.data.arrays import Arrays
from ntkcore.data.npz import Header, NpzFile
from ntkcore.errors import DataError

MAX_CLASSES, MAX_SIDE, MAX_NAME = 1000, 1024, 100
_NEEDED = ("x_train", "y_train", "x_test", "y_test")
_SAVE = "numpy.savez_compressed(file, x_train=..., y_train=..., x_test=..., y_test=...)"


@dataclass(frozen=True, eq=False)
class Contents:
    """All but the images. layout: "NHW", "NHWC" or "NCHW"; labels [n] int64: positions in ``classes``."""

    layout: str
    image_shape: tuple[int, int, int]
    classes: tuple[str, ...]
    labels_train: np.ndarray
    labels_test: np.ndarray


def read_contents(file: NpzFile) -> Contents:
    """Check everything but the pixels. Raises DataError in words."""
    missing = [name for name in _NEEDED if name not in file.names]
    if missing:
        found = ", ".join(file.names[:10]) or "nothing"
        is_are = "is" if len(missing) == 1 else "are"
        raise DataError(
            f"{' and '.join(missing)} {is_are} missing from the file, which holds {found}. Save with {_SAVE}."
        )
    file.check_size((*_NEEDED, *(name for name in ("classes",) if name in file.names)))
    headers = {name: file.header(name) for name in _NEEDED}
    layout, image_shape = _common_layout(headers)
    for split in ("train", "test"):
        _check_labels_header(headers, split)
    train, test = (_labels(file.array(name), name) for name in ("y_train", "y_test"))
    values = _label_set(train, test)
    classes = _class_names(file.array("classes") if "classes" in file.names else None, values)
    return Contents(layout, image_shape, classes, np.searchsorted(values, train), np.searchsorted(values, test))


def read_images(file: NpzFile) -> Arrays:
    """Check and read everything. Raises DataError in words."""
    contents = read_contents(file)
    x_train, x_test = (_images(file.array(name), contents.layout, name) for name in ("x_train", "x_test"))
    return Arrays(x_train, contents.labels_train, x_test, contents.labels_test, contents.classes)


# ------------------------------------------------------------------------------------------------ images


def _common_layout(headers: dict[str, Header]) -> tuple[str, tuple[int, int, int]]:
    """The layout and (C, H, W) of both image arrays, from their headers alone."""
    for name in ("x_train", "x_test"):
        shape, dtype = headers[name].shape, headers[name].dtype
        if len(shape) not in (3, 4):
            raise DataError(
                f"{name} has the shape {shape}; [n, H, W], [n, H, W, C] or [n, C, H, W] is needed. "
                f"Reshape it{', flat rows with x.reshape(n, H, W)' if len(shape) == 2 else ''}."
            )
        if dtype != np.uint8 and dtype.kind != "f":
            raise DataError(
                f"{name} has the type {dtype}; uint8 (0 to 255) or float (0 to 1) is needed. "
                f"Convert it with {name}.astype('uint8') or divide it by its largest possible value."
            )
        if 0 in shape:
            raise DataError(f"{name} is empty: its shape is {shape}. Save at least one image.")
    train, test = headers["x_train"].shape, headers["x_test"].shape
    if train[1:] != test[1:]:
        raise DataError(
            f"The training images have the shape {train[1:]}, the test images {test[1:]}; bring both to the same one."
        )
    if train[0] < 2:
        raise DataError("x_train has 1 image; at least 2 are needed, of 2 classes. Add training images.")
    layout = "NHW" if len(train) == 3 else _channels_first_or_last(train)
    channels, height, width = {
        "NHW": (1, *train[1:]), "NCHW": train[1:], "NHWC": (train[-1], *train[1:3]),
    }[layout]  # fmt: skip
    if max(height, width) > MAX_SIDE:
        raise DataError(
            f"The images are {height}x{width} pixels; at most {MAX_SIDE} a side are read. Scale them down first."
        )
    return layout, (channels, height, width)


def _channels_first_or_last(shape: tuple[int, ...]) -> str:
    first, last = shape[1] in (1, 3), shape[3] in (1, 3)
    if first and last:
        raise DataError(
            f"The images' shape {shape[1:]} can be read as [C, H, W] and as [H, W, C]. "
            "Drop the channel axis of grey images, or pad the images."
        )
    if not (first or last):
        raise DataError(
            f"The images have the shape {shape[1:]}; 1 or 3 channels are needed, on the first or the last of these "
            "axes. Keep 3 channels, or average them to 1."
        )
    return "NCHW" if first else "NHWC"


def _images(x: np.ndarray, layout: str, name: str) -> np.ndarray:
    """[n, C, H, W], uint8 or float32 in [0, 1]."""
    if x.dtype != np.uint8:
        low, high = float(x.min()), float(x.max())
        if not np.isfinite(low + high) and not np.isfinite(x).all():
            count = int(x.size - np.isfinite(x).sum())
            raise DataError(f"{name} is not finite in {count} places. Replace NaN and infinity first.")
        if low < -1e-6 or high > 1 + 1e-6:
            mend = "Divide by 255." if low > -1e-6 and 1 < high <= 255 else "Shift and scale it into that range."
            raise DataError(f"{name} ranges from {low:.4g} to {high:.4g}; float images must lie in 0 to 1. {mend}")
        x = np.clip(x, 0, 1).astype(np.float32)
    if layout == "NHW":
        return x[:, None]
    return x if layout == "NCHW" else x.transpose(0, 3, 1, 2)


# ------------------------------------------------------------------------------------------------ labels


def _check_labels_header(headers: dict[str, Header], split: str) -> None:
    x, y, name = headers[f"x_{split}"], headers[f"y_{split}"], f"y_{split}"
    if len(y.shape) == 2 and y.shape[1] > 1:
        raise DataError(
            f"{name} has the shape {y.shape}; one whole number per image is needed. "
            f"Turn one-hot rows into numbers with {name}.argmax(1)."
        )
    if len(y.shape) not in (1, 2):
        raise DataError(f"{name} has the shape {y.shape}; one whole number per image is needed: shape [n].")
    if y.shape[0] != x.shape[0]:
        raise DataError(
            f"There are {x.shape[0]} images in x_{split} but {y.shape[0]} labels in {name}; give each image one label."
        )
    if y.dtype.kind not in "iufb":
        raise DataError(
            f"{name} has the type {y.dtype}; whole numbers are needed. Number the classes from 0 and put their names "
            "into an array called classes."
        )


def _labels(y: np.ndarray, name: str) -> np.ndarray:
    """[n] int64."""
    y = y.reshape(-1)
    if y.dtype.kind == "f" and not (np.isfinite(y).all() and (y == np.round(y)).all()):
        raise DataError(f"{name} has values that are not whole numbers. Number the classes 0, 1, 2, ...")
    if np.abs(y.astype(np.float64)).max() > 2**31:
        raise DataError(f"{name} has labels beyond 2**31. Number the classes 0, 1, 2, ...")
    return y.astype(np.int64)


def _label_set(train: np.ndarray, test: np.ndarray) -> np.ndarray:
    """[classes] ascending: the labels that have training images."""
    values = np.unique(train)
    if len(values) < 2:
        raise DataError(f"y_train holds one label only, {values[0]}; at least 2 classes are needed. Add another.")
    if len(values) > MAX_CLASSES:
        raise DataError(
            f"y_train holds {len(values)} different labels; at most {MAX_CLASSES} classes are read. "
            "Labels must be classes, not measured values."
        )
    unknown = np.setdiff1d(test, values)
    if len(unknown):
        listed = ", ".join(map(str, unknown[:5])) + (", ..." if len(unknown) > 5 else "")
        raise DataError(
            f"y_test holds labels without a training image: {listed}. Remove those test images, or add training images."
        )
    return values


def _class_names(names: np.ndarray | None, values: np.ndarray) -> tuple[str, ...]:
    """[classes] names of the labels: ``classes[label]``, or the numbers themselves."""
    if names is None:
        return tuple(map(str, values))
    if names.ndim != 1 or names.dtype.kind not in "US":
        raise DataError(
            f"classes has the type {names.dtype} and the shape {names.shape}; a list of texts is needed: "
            "numpy.array(['cat', 'dog'])."
        )
    if values[0] < 0 or values[-1] >= len(names):
        raise DataError(
            f"classes has {len(names)} names, so labels must be 0 to {len(names) - 1}, but they are {values[0]} to "
            f"{values[-1]}. Give classes[label] for every label."
        )
    try:
        texts = [n.decode() if isinstance(n, bytes) else str(n) for n in names[values].tolist()]
    except (UnicodeDecodeError, ValueError, SystemError):  # numpy does not check its texts before they are read
        raise DataError("classes holds bytes that are no text. Save it as numpy.array(names, dtype=str).") from None
    for text in texts:
        if not text.strip() or len(text) > MAX_NAME or not text.isprintable():
            raise DataError(f"classes holds the name {text[:40]!r}; names are 1 to {MAX_NAME} printable characters.")
    repeated = sorted({text for text in texts if texts.count(text) > 1})
    if repeated:
        raise DataError(f"classes holds the name {repeated[0]!r} more than once. Give each class its own name.")
    return tuple(texts)
