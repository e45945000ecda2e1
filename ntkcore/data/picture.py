"""A PNG or JPEG of one's own, made into an image of a data set's shape; whatever is done to it is said in words.

Other formats never reach a decoder. What viewers do is done: EXIF's orientation, colour profile (ICC, to sRGB), PNG's
gamma, 16 bits. Transparent parts are laid over white, so that no hidden colour shows. A picture of another shape is
cropped to its middle; pixels are averaged over areas, as pooled data sets are::

    own = read_picture(Path("shirt.png").read_bytes(), task.image_shape)
    own.image                   # [C, H, W] float32 in [0, 1]
    own.changes                 # ("cropped from 400x300 to its middle 300x300 pixels", "resized to 28x28", ...)
"""

import io
import warnings
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image, ImageCms, ImageOps

from ntkcore.errors import DataError

MAX_PIXELS = 50_000_000
"""Pixels of a picture; a small file can announce many."""
MEND = "Give a PNG or a JPEG."
_SCREEN_GAMMA = 0.45455  # what PNG's gAMA chunk holds for pixels that are meant as they are


@dataclass(frozen=True, eq=False)
class OwnPicture:
    """image: [C, H, W] float32 in [0, 1]. changes: what was done to the picture, a few words each."""

    image: torch.Tensor
    changes: tuple[str, ...]

    def __str__(self) -> str:
        """A sentence on what was done; empty when nothing was."""
        if not self.changes:
            return ""
        words = ", ".join(self.changes)
        return f"{words[0].upper()}{words[1:]}."


def read_picture(content: bytes, image_shape: tuple[int, int, int]) -> OwnPicture:
    """The picture in ``content``, a PNG or JPEG, as an image of ``image_shape`` (C, H, W), C being 1 or 3.

    Raises DataError in words for what is no such picture, is damaged, or has more than MAX_PIXELS pixels.
    """
    channels, height, width = image_shape
    if channels not in (1, 3):
        raise DataError(f"The data set's images have {channels} channels; a picture can have 1 or 3. Choose another.")
    changes: list[str] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what Pillow warns of is judged here, or is in the picture's side notes
        picture = _opened(content)
        try:
            pixels = _upright(picture, changes)
            pixels = _on_white(_true_colours(pixels, picture, changes), changes)
        except DataError:
            raise
        except Exception:  # Pillow's decoders and readers of side notes each have their own kinds
            raise DataError(f"The picture is damaged or incomplete. Save it again. {MEND}") from None
    if channels == 1 and pixels.mode == "RGB":
        levels = np.asarray(pixels)
        changes += ["turned grey"] if (levels != levels[..., :1]).any() else []
        pixels = pixels.convert("L")
    elif channels == 3 and pixels.mode != "RGB":
        pixels = _eight_bits(pixels).convert("RGB")
    fitted = _fitted(pixels, width, height, changes)
    scale = 1.0 if fitted.mode == "F" else 255.0
    x = torch.from_numpy(np.asarray(fitted, dtype=np.float32) / np.float32(scale)).clamp(0, 1)
    return OwnPicture(x[None] if channels == 1 else x.permute(2, 0, 1).contiguous(), tuple(changes))


def _opened(content: bytes) -> Image.Image:
    """The picture, its size and kind known, its pixels not yet decoded."""
    try:
        picture = Image.open(io.BytesIO(content), formats=("PNG", "JPEG"))
    except Image.DecompressionBombError:
        raise DataError(f"The picture has too many pixels; at most {_millions()} are read. Scale it down.") from None
    except Exception:
        raise DataError(f"The file is no PNG or JPEG, or its beginning is damaged. {MEND}") from None
    if picture.width * picture.height > MAX_PIXELS:
        raise DataError(
            f"The picture is {picture.width}x{picture.height} pixels; at most {_millions()} are read. Scale it down."
        )
    return picture


def _millions() -> str:
    return f"{MAX_PIXELS // 1_000_000} million"


def _upright(picture: Image.Image, changes: list[str]) -> Image.Image:
    """Decoded, as its EXIF says it is to be seen; of an animation its first picture."""
    if picture.format == "PNG" and getattr(picture, "is_animated", False):
        changes.append("the first picture of an animation")
    _scale_transparent_colour(picture)
    picture.load()
    return ImageOps.exif_transpose(picture)


def _scale_transparent_colour(picture: Image.Image) -> None:
    """The one colour that a PNG declares transparent, in the 8 bits into which Pillow brings all but 16-bit grey."""
    tiles = getattr(picture, "tile", ())  # of a picture in a file
    clear, how = picture.info.get("transparency"), str(tiles[0].args) if tiles else ""
    if isinstance(clear, int) and how in ("L;2", "L;4"):
        picture.info["transparency"] = clear * (85 if how == "L;2" else 17)
    elif isinstance(clear, tuple) and how.startswith("RGB;16"):
        picture.info["transparency"] = tuple(level >> 8 for level in clear)


def _true_colours(pixels: Image.Image, picture: Image.Image, changes: list[str]) -> Image.Image:
    """In mode L, RGB or F (grey, 0 to 1), with an alpha channel where there is one: LA or RGBA."""
    if pixels.mode.startswith("I"):  # 16 bits: all of them, where Pillow's own conversion clips to 255
        return _grey_of_16_bits(pixels, picture, changes)
    clear = pixels.mode in ("LA", "PA", "RGBA", "La", "RGBa") or "transparency" in pixels.info
    profile = pixels.info.get("icc_profile")
    if pixels.mode == "CMYK":
        pixels = _to_srgb(pixels, profile, changes) if profile else pixels.convert("RGB")
        changes.append("from printing colours (CMYK)")
        return pixels
    if pixels.mode in ("1", "L", "LA", "La"):
        pixels = pixels.convert("LA" if clear else "L")
    elif pixels.mode in ("P", "PA", "RGB", "RGBA", "RGBa", "YCbCr"):
        pixels = pixels.convert("RGBA" if clear else "RGB")
    else:
        raise DataError(f"Pixels of the kind {pixels.mode} are not read. Save the picture as plain grey or RGB.")
    return _to_srgb(pixels, profile, changes) if profile else _with_gamma(pixels, picture)


def _grey_of_16_bits(pixels: Image.Image, picture: Image.Image, changes: list[str]) -> Image.Image:
    """Mode F, 0 to 1; the one grey that is declared transparent becomes white at once."""
    levels = np.asarray(pixels).astype(np.float32)
    x = (levels / 65535) ** _gamma(picture)
    clear = picture.info.get("transparency")
    if isinstance(clear, int) and (levels == clear).any():
        x[levels == clear] = 1.0
        changes.append("transparent parts laid over white")
    return Image.fromarray(x.astype(np.float32))


def _gamma(picture: Image.Image) -> float:
    """The exponent that brings samples to a screen's: 1 unless the PNG says that they are meant otherwise."""
    gamma = picture.info.get("gamma")
    if picture.format != "PNG" or "srgb" in picture.info or not gamma or not 0.01 < gamma < 10:
        return 1.0
    exponent = _SCREEN_GAMMA / gamma
    return exponent if abs(exponent - 1) > 0.02 else 1.0


def _with_gamma(pixels: Image.Image, picture: Image.Image) -> Image.Image:
    exponent = _gamma(picture)
    if exponent == 1.0:
        return pixels
    curve = [round(255 * (level / 255) ** exponent) for level in range(256)]
    as_it_is = list(range(256))
    return pixels.point([entry for band in pixels.getbands() for entry in (as_it_is if band == "A" else curve)])


def _to_srgb(pixels: Image.Image, profile: bytes, changes: list[str]) -> Image.Image:
    """Colours by the picture's own profile; alpha stays. A profile that is of no use is left aside, in words."""
    alpha, mode = (
        (pixels.getchannel("A") if "A" in pixels.getbands() else None),
        "L" if pixels.mode[0] == "L" else "RGB",
    )
    colours = pixels.convert(mode) if alpha is not None else pixels
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        target = ImageCms.createProfile("sRGB")
        colours = ImageCms.profileToProfile(colours, source, target, outputMode="RGB") or colours
    except (ImageCms.PyCMSError, OSError, ValueError):
        changes.append("its colour profile could not be used")
    colours = colours.convert(mode)
    if alpha is not None:
        colours.putalpha(alpha)
    return colours


def _on_white(pixels: Image.Image, changes: list[str]) -> Image.Image:
    """Without transparency: laid over white, as most viewers show it."""
    if "A" not in pixels.getbands():
        return pixels
    mode = "L" if pixels.mode == "LA" else "RGB"
    if pixels.getchannel("A").getextrema() == (255, 255):
        return pixels.convert(mode)
    paper = Image.new("RGBA", pixels.size, "white")
    changes.append("transparent parts laid over white")
    return Image.alpha_composite(paper, pixels.convert("RGBA")).convert(mode)


def _eight_bits(pixels: Image.Image) -> Image.Image:
    """Grey of mode L."""
    if pixels.mode != "F":
        return pixels
    return Image.fromarray(np.rint(np.asarray(pixels) * 255).astype(np.uint8))


def _fitted(pixels: Image.Image, width: int, height: int, changes: list[str]) -> Image.Image:
    """Cropped to its middle where its shape is another, then averaged over areas to ``width`` x ``height``."""
    w, h = pixels.size
    inner_w, inner_h = min(w, max(1, round(h * width / height))), min(h, max(1, round(w * height / width)))
    if (inner_w, inner_h) != (w, h):
        left, top = (w - inner_w) // 2, (h - inner_h) // 2
        pixels = pixels.crop((left, top, left + inner_w, top + inner_h))
        changes.append(f"cropped from {w}x{h} to its middle {inner_w}x{inner_h} pixels")
    if pixels.size == (width, height):
        return pixels
    enlarged = inner_w < width or inner_h < height
    start = f" from {w}x{h}" if (inner_w, inner_h) == (w, h) else ""
    changes.append(f"{'enlarged' if enlarged else 'resized'}{start} to {width}x{height}")
    return pixels.resize((width, height), Image.Resampling.BOX)
