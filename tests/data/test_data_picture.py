"""Pictures of one's own: every kind of PNG and JPEG is the image that the formats' specifications say, or refused.

PNGs are written here byte by byte and what they hold is worked out from the specification (W3C PNG, third edition),
so that nothing is compared with the decoder itself.
"""

import io
import re
import struct
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms

from ntkcore.data.picture import MAX_PIXELS, read_picture
from ntkcore.errors import DataError

GREY, RGB, PALETTE, GREY_ALPHA, RGBA = 0, 2, 3, 4, 6  # PNG's colour types


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(samples: np.ndarray, colour: int, depth: int, *chunks: bytes, size: tuple[int, int] | None = None) -> bytes:
    """A PNG of samples [H, W, channels], ``depth`` bits each; size: another (W, H) than it has."""
    height, width, _ = samples.shape
    lines = b""
    for row in samples.reshape(height, -1):
        bits = "".join(format(int(level), f"0{depth}b") for level in row)
        bits += "0" * (-len(bits) % 8)
        lines += b"\0" + int(bits, 2).to_bytes(len(bits) // 8, "big")
    head = struct.pack(">IIBBBBB", *(size or (width, height)), depth, colour, 0, 0, 0)
    body = chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + b"".join(chunks) + body


def levels(colour: int, depth: int) -> np.ndarray:
    """Samples [4, 4, channels] over the whole range."""
    channels = {GREY: 1, RGB: 3, PALETTE: 1, GREY_ALPHA: 2, RGBA: 4}[colour]
    x = np.random.default_rng(depth).integers(0, 2**depth, (4, 4, channels))
    x[0, 0], x[0, 1] = 0, 2**depth - 1
    return x


def pixels(content: bytes, channels: int, height: int = 4, width: int = 4) -> np.ndarray:
    """What is read: [H, W, C]."""
    image = read_picture(content, (channels, height, width)).image
    assert image.shape == (channels, height, width)
    return image.permute(1, 2, 0).numpy()


def encoded(image: Image.Image, kind: str = "PNG", **how: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **how)
    return buffer.getvalue()


PLAIN = [(GREY, depth) for depth in (1, 2, 4, 8, 16)] + [(RGB, 8), (RGB, 16)]
CLEAR = [(GREY_ALPHA, 8), (GREY_ALPHA, 16), (RGBA, 8), (RGBA, 16)]


@pytest.mark.parametrize(("colour", "depth"), PLAIN + CLEAR)
def test_every_kind_of_png(colour: int, depth: int) -> None:
    """Samples over their largest value; transparent ones over white; colours of 16 bits to within one of 255."""
    samples = levels(colour, depth)
    x = samples / (2**depth - 1)
    if colour in (GREY_ALPHA, RGBA):
        x = x[..., :-1] * x[..., -1:] + 1 - x[..., -1:]
    found = pixels(png(samples, colour, depth), x.shape[-1])
    near = 1e-6 if (colour, depth) in PLAIN[:-1] else 1.5 / 255
    np.testing.assert_allclose(found, x, atol=near)
    assert len(np.unique(found)) > 3 or depth == 1


@pytest.mark.parametrize(("colour", "depth"), PLAIN)
def test_the_colour_that_is_declared_transparent(colour: int, depth: int) -> None:
    samples = levels(colour, depth)
    key = samples[0, 0]
    clear = (samples == key).all(-1, keepdims=True)
    own = png(samples, colour, depth, chunk(b"tRNS", b"".join(struct.pack(">H", int(level)) for level in key)))
    expected = np.where(clear, 1.0, samples / (2**depth - 1))
    np.testing.assert_allclose(pixels(own, samples.shape[-1]), expected, atol=1 / 255)
    assert "transparent parts laid over white" in read_picture(own, (1, 4, 4)).changes


@pytest.mark.parametrize("depth", [1, 2, 4, 8])
@pytest.mark.parametrize("clear", [False, True], ids=["opaque", "transparent"])
def test_palettes(depth: int, clear: bool) -> None:
    colours = np.random.default_rng(1).integers(0, 256, (2**depth, 3))
    alpha = np.linspace(0, 255, 2**depth).astype(int) if clear else np.full(2**depth, 255)
    samples = levels(PALETTE, depth)
    chunks = [chunk(b"PLTE", bytes(colours.ravel().tolist()))]
    chunks += [chunk(b"tRNS", bytes(alpha.tolist()))] if clear else []
    share = alpha[samples[..., 0], None] / 255
    expected = colours[samples[..., 0]] / 255 * share + 1 - share
    np.testing.assert_allclose(pixels(png(samples, PALETTE, depth, *chunks), 3), expected, atol=1 / 255)


@pytest.mark.parametrize(("colour", "depth"), [(GREY, 8), (GREY, 16), (RGB, 8), (RGBA, 8)])
def test_gamma_is_applied_and_srgb_goes_before_it(colour: int, depth: int) -> None:
    """Linear samples (gamma 1) shown on a screen of 1 / 0.45455; alpha has no gamma."""
    samples = levels(colour, depth)
    samples[..., 3:] = 2**depth - 1
    linear = chunk(b"gAMA", struct.pack(">I", 100_000))
    x = samples[..., :3] / (2**depth - 1)
    np.testing.assert_allclose(pixels(png(samples, colour, depth, linear), x.shape[-1]), x**0.45455, atol=1 / 255)
    srgb = chunk(b"sRGB", b"\0")
    np.testing.assert_allclose(pixels(png(samples, colour, depth, linear, srgb), x.shape[-1]), x, atol=1e-6)


def test_hidden_colours_do_not_show() -> None:
    """A secret under full transparency is white paper, also after averaging."""
    secret = np.random.default_rng(0).integers(0, 256, (8, 8, 4))
    secret[..., 3] = 0
    assert pixels(png(secret, RGBA, 8), 3).min() == 1
    assert pixels(png(secret, RGBA, 8), 1, 8, 8).min() == 1


def test_a_jpeg_in_each_kind() -> None:
    """Grey, colour and printing colours; one colour all over is that colour."""
    for mode, colour, expected in (
        ("L", 100, (100, 100, 100)),
        ("RGB", (200, 30, 60), (200, 30, 60)),
        ("CMYK", (0, 255, 255, 0), (255, 0, 0)),
    ):
        found = pixels(encoded(Image.new(mode, (16, 16), colour), "JPEG", quality=100), 3)
        np.testing.assert_allclose(found, np.broadcast_to(np.array(expected) / 255, found.shape), atol=3 / 255)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_a_picture_is_seen_upright(orientation: int, kind: str) -> None:
    """The camera wrote it turned and says so; each of EXIF's eight ways."""
    upright = np.zeros((16, 16), np.uint8)
    upright[:8], upright[8:, :8] = 255, 80
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.T,
        6: np.rot90(upright, 1),
        7: upright[::-1, ::-1].T,
        8: np.rot90(upright, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    how = {"quality": 100} if kind == "JPEG" else {}
    content = encoded(Image.fromarray(np.ascontiguousarray(stored)), kind, exif=exif.tobytes(), **how)
    np.testing.assert_allclose(pixels(content, 1, 2, 2)[..., 0], [[1, 1], [80 / 255, 0]], atol=2 / 255)


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L"])
def test_a_profile_says_what_colours_mean(kind: str, mode: str) -> None:
    """Linear sRGB primaries: the same light needs higher samples; a grey picture has no use for such a profile."""
    if (kind, mode) == ("JPEG", "RGBA"):
        mode = "RGB"
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    grey = (120, 120, 120, 255)[: len(mode)] if mode != "L" else 120
    kept = read_picture(encoded(Image.new(mode, (8, 8), grey), kind, icc_profile=profile), (3, 8, 8))
    np.testing.assert_allclose(kept.image, 120 / 255, atol=2 / 255)
    assert bool(kept.changes) == (mode == "L")
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    for broken in (profile[:200], lab, b"no profile"):
        own = read_picture(encoded(Image.new(mode, (8, 8), grey), kind, icc_profile=broken), (3, 8, 8))
        np.testing.assert_allclose(own.image, 120 / 255, atol=2 / 255)
        assert own.changes == ("its colour profile could not be used",)


def test_of_an_animation_the_first_picture() -> None:
    frames = [Image.new("L", (4, 4), level) for level in (50, 200)]
    own = read_picture(encoded(frames[0], save_all=True, append_images=frames[1:]), (1, 4, 4))
    np.testing.assert_allclose(own.image, 50 / 255, atol=1e-6)
    assert own.changes == ("the first picture of an animation",)


@pytest.mark.parametrize(
    ("size", "shape", "sentence"),
    [
        pytest.param((4, 4), (3, 4, 4), "", id="as-it-is"),
        pytest.param((40, 40), (3, 4, 4), "Resized from 40x40 to 4x4.", id="smaller"),
        pytest.param((2, 2), (3, 4, 4), "Enlarged from 2x2 to 4x4.", id="larger"),
        pytest.param((8, 4), (3, 4, 4), "Cropped from 8x4 to its middle 4x4 pixels.", id="wide"),
        pytest.param((4, 90), (3, 2, 2), "Cropped from 4x90 to its middle 4x4 pixels, resized to 2x2.", id="tall"),
        pytest.param((5, 5), (3, 4, 2), "Cropped from 5x5 to its middle 2x5 pixels, resized to 2x4.", id="not-square"),
        pytest.param((4, 4), (1, 4, 4), "Turned grey.", id="grey"),
        pytest.param((9, 1), (3, 1, 1), "Cropped from 9x1 to its middle 1x1 pixels.", id="a-line"),
    ],
)
def test_what_is_done_to_it_is_said(size: tuple[int, int], shape: tuple[int, int, int], sentence: str) -> None:
    """Never squeezed: columns of the middle keep their colours."""
    width, height = size
    samples = np.zeros((height, width, 3), np.uint8)
    samples[..., 0] = np.arange(width) * 20 % 256
    own = read_picture(png(samples, RGB, 8), shape)
    if shape[0] == 3:
        middle = samples[:, (width - 1) // 2 : width // 2 + 1, 0].mean() / 255
        assert float(own.image[0].mean()) == pytest.approx(middle, abs=0.2)
        assert float(own.image[1:].max()) == 0
    assert str(own) == sentence


def test_areas_are_averaged() -> None:
    x = np.random.default_rng(0).integers(0, 2**16, (8, 8, 1))
    expected = (x / 65535).reshape(4, 2, 4, 2).mean((1, 3))
    np.testing.assert_allclose(pixels(png(x, GREY, 16), 1)[..., 0], expected, atol=1e-5)


OTHERS = {
    kind: encoded(Image.new("RGB", (4, 4), (1, 2, 3)), kind)
    for kind in ("TIFF", "GIF", "BMP", "EPS", "WEBP", "ICO", "PPM", "TGA")
}
SMALL = levels(RGB, 8)
UNFOLDING = chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(9 << 20)))
WRONG = {
    **{f"a {kind}": (content, "no PNG or JPEG") for kind, content in OTHERS.items()},
    "empty": (b"", "no PNG or JPEG"),
    "words": (b"hello", "no PNG or JPEG"),
    "cut off": (png(SMALL, RGB, 8)[:-30], "damaged or incomplete"),
    "cut off JPEG": (encoded(Image.new("RGB", (64, 64)), "JPEG")[:300], "damaged|no PNG"),
    "no pixels": (png(SMALL, RGB, 8, size=(0, 4)), "PNG or JPEG"),
    "many pixels": (png(SMALL, RGB, 8, size=(MAX_PIXELS // 5000 + 1, 5000)), "at most 50 million are read"),
    "a bomb": (png(SMALL, RGB, 8, size=(2**31 - 1, 2**31 - 1)), "at most 50 million are read"),
    "more than it has": (png(SMALL, RGB, 8, size=(64, 64)), "damaged or incomplete"),
    "words that unfold": (
        png(SMALL, RGB, 8, UNFOLDING),
        "PNG or a JPEG",
    ),
    "a name with markup": (b"![](http://example.org/a.png)<b>$x$", "no PNG or JPEG"),
}


@pytest.mark.parametrize("case", WRONG)
def test_whatever_else_is_refused_in_words(case: str) -> None:
    """No object of Python, no bytes, nothing of the file itself in the sentence."""
    content, words = WRONG[case]
    with pytest.raises(DataError) as caught:
        read_picture(content, (3, 4, 4))
    sentence = str(caught.value)
    assert re.search(words, sentence)
    assert re.fullmatch(r"[A-Za-z0-9 ,.;-]{20,160}", sentence)


def test_a_data_set_of_other_channels_takes_no_picture() -> None:
    with pytest.raises(DataError, match="2 channels"):
        read_picture(png(SMALL, RGB, 8), (2, 4, 4))


def test_damage_is_a_sentence_or_an_image() -> None:
    """400 files with flipped bytes, of every kind: nothing else is raised, nothing outside [0, 1] comes out."""
    rng = np.random.default_rng(0)
    exif = Image.Exif()
    exif[0x0112] = 6
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    photo = Image.fromarray(rng.integers(0, 256, (16, 16, 3), dtype=np.uint8))
    whole = [
        *(png(levels(colour, depth), colour, depth) for colour, depth in PLAIN + CLEAR),
        encoded(photo, "JPEG", exif=exif.tobytes(), icc_profile=profile),
        encoded(photo, "JPEG", progressive=True),
        encoded(photo.convert("CMYK"), "JPEG"),
        encoded(photo, icc_profile=profile, exif=exif.tobytes()),
        encoded(photo, save_all=True, append_images=[photo.rotate(90)]),
    ]
    refused = 0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for number in range(400):
            content = bytearray(whole[number % len(whole)])
            for place in rng.integers(0, len(content), 1 + number % 3):
                content[place] = rng.integers(0, 256)
            try:
                image = read_picture(bytes(content), (3, 4, 4)).image
            except DataError:
                refused += 1
            else:
                assert 0 <= float(image.min()) <= float(image.max()) <= 1
    assert 50 < refused < 390
