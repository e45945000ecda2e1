"""Arrays to pictures: images, signed images, enlargement without blur, montages.

An image is ``[C, H, W]`` with C = 1 or 3 and values in [0, 1]; a signed image (a perturbation, an input
gradient) is ``[C, H, W]`` of any values, drawn on a diverging scale that is symmetric about 0. Signed images
of three channels are averaged over channels: colours mixed channel by channel around grey have no order, so
no sign can be read::

    png(to_rgb(x), scale=8)                           # bytes of a PNG, each pixel 8 x 8
    png(signed_rgb(delta), scale=8)
    png(montage(images, columns=10))                  # images [n, C, H, W]
"""

import base64
import io
from collections.abc import Sequence

import numpy as np
from PIL import Image

from ntkcore.errors import DataError
from ntkcore.figures.drawing.palette import DIVERGING

_STOPS = np.array([[int(c[k : k + 2], 16) for k in (1, 3, 5)] for c in DIVERGING], dtype=np.float64)  # [9, 3]
_SLACK = 1e-3  # rounding that a pixel may be outside [0, 1]


def to_rgb(image: np.ndarray) -> np.ndarray:
    """``[C, H, W]`` in [0, 1], C = 1 or 3, to ``uint8 [H, W, 3]``, rounded to the nearest of 256 levels."""
    image = _checked(image)
    if image.min() < -_SLACK or image.max() > 1 + _SLACK:
        raise DataError(
            f"The image has values from {image.min():.3g} to {image.max():.3g}; pixels in [0, 1] are needed. "
            "For signed images use signed_rgb."
        )
    levels = np.rint(np.clip(image, 0, 1) * 255).astype(np.uint8).transpose(1, 2, 0)  # [H, W, C]
    return np.ascontiguousarray(np.broadcast_to(levels, (*levels.shape[:2], 3)))


def signed_plane(image: np.ndarray) -> np.ndarray:
    """``[C, H, W]`` of any values to ``[H, W]``: the mean over channels."""
    return _checked(image).mean(axis=0)


def symmetric_scale(images: Sequence[np.ndarray]) -> float:
    """The largest absolute value over signed images (channel means): one scale for all; 1 if all are zero."""
    return max((float(np.abs(signed_plane(image)).max()) for image in images), default=0.0) or 1.0


def signed_rgb(image: np.ndarray, scale: float | None = None) -> np.ndarray:
    """A signed ``[C, H, W]`` to ``uint8 [H, W, 3]``: -scale is blue, 0 near-white, +scale red.

    ``scale`` is the value at the ends (larger ones are clipped); by default the image's own largest absolute
    value.
    """
    plane = signed_plane(image)
    scale = symmetric_scale([image]) if scale is None else float(scale)
    if not scale > 0:
        raise DataError(f"scale is {scale}; the value at the ends of the colour scale must be above zero.")
    position = (np.clip(plane / scale, -1, 1) + 1) / 2 * (len(DIVERGING) - 1)
    grid = np.arange(len(DIVERGING))
    channels = [np.interp(position, grid, _STOPS[:, k]) for k in range(3)]
    return np.rint(np.stack(channels, axis=-1)).astype(np.uint8)


def amplify(delta: np.ndarray, factor: float) -> np.ndarray:
    """A perturbation made visible as an image: ``clip(1/2 + factor * delta, 0, 1)``, of the same shape."""
    return np.clip(0.5 + factor * np.asarray(delta, dtype=np.float64), 0.0, 1.0)


def png(picture: np.ndarray, scale: int = 1) -> bytes:
    """PNG bytes of ``uint8 [H, W]``, ``[H, W, 3]`` or ``[H, W, 4]``, each pixel ``scale x scale`` exactly."""
    picture = np.asarray(picture)
    if picture.dtype != np.uint8 or picture.ndim not in (2, 3) or scale < 1:
        raise DataError(
            f"A picture of type {picture.dtype} and shape {picture.shape} at scale {scale} was given; uint8 "
            "[H, W, 3] and a scale of at least 1 are needed. to_rgb and signed_rgb make such pictures."
        )
    buffer = io.BytesIO()
    Image.fromarray(picture.repeat(scale, axis=0).repeat(scale, axis=1)).save(buffer, format="PNG")
    return buffer.getvalue()


def data_uri(picture: np.ndarray, scale: int = 1) -> str:
    """The PNG of ``png`` as a ``data:`` address, for HTML and for plotly."""
    return "data:image/png;base64," + base64.b64encode(png(picture, scale)).decode("ascii")


def montage(images: np.ndarray, columns: int, gap: int = 2) -> np.ndarray:
    """Images ``[n, C, H, W]`` in rows of ``columns``: ``uint8 [height, width, 4]``, gaps transparent.

    Image ``k`` begins at row ``gap + (k // columns) (H + gap)`` and column ``gap + (k % columns) (W + gap)``.
    """
    images = image_stack(images)
    count, _, height, width = images.shape
    rows = -(-count // columns)
    sheet = np.zeros((gap + rows * (height + gap), gap + columns * (width + gap), 4), dtype=np.uint8)
    for k, image in enumerate(images):
        top, left = gap + k // columns * (height + gap), gap + k % columns * (width + gap)
        sheet[top : top + height, left : left + width, :3] = to_rgb(image)
        sheet[top : top + height, left : left + width, 3] = 255
    return sheet


def image_stack(images: np.ndarray) -> np.ndarray:
    """``images`` as an array ``[n, C, H, W]``, n at least 1; DataError otherwise."""
    images = np.asarray(images)
    if images.ndim != 4 or len(images) == 0:
        raise DataError(f"The images have shape {images.shape}; [n, C, H, W] with n of at least 1 is needed.")
    return images


def _checked(image: np.ndarray) -> np.ndarray:
    image = np.asarray(image, dtype=np.float64)
    if image.ndim != 3 or image.shape[0] not in (1, 3) or image.size == 0:
        raise DataError(f"The image has shape {image.shape}; [C, H, W] with 1 or 3 channels is needed.")
    if not np.isfinite(image).all():
        raise DataError("The image holds values that are not finite; it cannot be drawn.")
    return image
