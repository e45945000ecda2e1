"""One's own images: uploads good and bad, and tasks that are degenerate on purpose."""

import io
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image
from streamlit.testing.v1 import AppTest

from ntkcore import data
from ntkcore.runs.presets import PRESETS
from pages.ui.shell.services import services
from visits import CHARTS, RESULTS, charts, complaints, least, number, run_until_ready, stored, text

Open = Callable[..., AppTest]


def npz(**arrays: np.ndarray) -> bytes:
    """The content of an .npz with these arrays."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


def noise(n: int, shape: tuple[int, ...] = (8, 8), seed: int = 0) -> np.ndarray:
    """n images of uniform noise, uint8."""
    return np.random.default_rng(seed).integers(0, 256, (n, *shape), dtype=np.uint8)


def labels(n: int, classes: int = 2) -> np.ndarray:
    """0, 1, ..., 0, 1, ... of length n."""
    return np.arange(n) % classes


def as_file(x_train: np.ndarray, x_test: np.ndarray, classes: int = 2) -> bytes:
    """An .npz of images whose labels take turns."""
    return npz(
        x_train=x_train,
        y_train=labels(len(x_train), classes),
        x_test=x_test,
        y_test=labels(len(x_test), classes),
    )


def contradiction() -> bytes:
    """Ten different images, each four times, twice with either label; tested on themselves."""
    return npz(
        x_train=np.repeat(noise(10), 4, axis=0),
        y_train=labels(40),
        x_test=noise(10),
        y_test=np.zeros(10, dtype=int),
    )


DEGENERATE = {
    "duplicates-with-opposite-labels": contradiction(),
    "all-images-the-same": as_file(np.full((20, 8, 8), 128, np.uint8), np.full((6, 8, 8), 128, np.uint8)),
    "all-images-black": as_file(np.zeros((20, 8, 8), np.uint8), np.zeros((6, 8, 8), np.uint8)),
    "not-square-colour-three-classes": as_file(noise(30, (6, 9, 3)), noise(9, (6, 9, 3), 1), classes=3),
    "one-pixel": as_file(noise(12, (1, 1)), noise(4, (1, 1), 1)),
    "one-class-in-the-test": npz(x_train=noise(20), y_train=labels(20), x_test=noise(5, seed=1), y_test=np.ones(5)),
}
SINGULAR = list(DEGENERATE)[:3]
VARIANTS = {
    **{task: (task, {}) for task in DEGENERATE},
    **{f"{task}-no-bias-standardised": (task, {"b": "0", "inputs": "standardise"}) for task in SINGULAR},
}


def link(own: data.OwnData) -> dict[str, str]:
    """The link to all images of own data."""
    return {"data": "own", "digest": own.digest, "n": str(own.n_train), "m": str(own.n_test)}


@pytest.mark.parametrize("variant", VARIANTS)
def test_degenerate_task(variant: str, opened: Open) -> None:
    """The right pages, or a sentence in their place; with ridge 0."""
    task, more = VARIANTS[variant]
    own = data.import_npz(DEGENERATE[task])
    for page in RESULTS:
        at = opened(page, least(page, own.n_train, own.n_test) | link(own) | more)
        assert not at.exception, page
        if charts(at) != CHARTS[page]:
            assert complaints(at), f"{page} shows neither its figures nor a reason: {text(at)}"
        assert "nan" not in text(at).lower().split(), page


def test_duplicates_are_left_out_not_divided_by(opened: Open) -> None:
    """Thirty of forty eigenvalues are zero; what is left contradicts itself, so nothing is learned."""
    own = data.import_npz(contradiction())
    at = opened("overview", link(own))
    assert number(r"(\d+) eigenvalues are zero up to rounding", text(at)) == 30
    arrays = stored(at.session_state.experiment.predict()).arrays
    assert float(arrays["outputs"].abs().max()) < 1e-6
    assert "Singular" not in text(at)


def test_upload(opened: Open) -> None:
    """The sidebar takes the file's classes and sizes; the link carries its fingerprint."""
    at = opened("overview", {"data": "own"})
    file = as_file(noise(50), noise(12, seed=1), classes=3)
    at.file_uploader[0].set_value(("mine.npz", file, "application/octet-stream")).run()
    run_until_ready(at)
    assert complaints(at) == []
    spec = at.session_state.experiment.data
    assert (spec.classes, spec.n_train, spec.n_test) == (("0", "1", "2"), 50, 12)
    assert at.query_params["digest"] == [spec.digest] or at.query_params["digest"] == spec.digest
    assert at.session_state.experiment.in_words() in text(at)
    assert len(at.metric) == 3


@pytest.mark.parametrize(
    ("y_test", "more", "words"),
    [
        pytest.param([0, 1, 1, 0], {}, "", id="equal"),
        pytest.param([0, 0, 0, 0, 1], {}, "Test images: 4 of 0, 1 of 1.", id="uneven"),
        pytest.param([0, 0, 0, 0, 1], {"m": "2"}, "", id="as-balanced-as-it-can-be"),
        pytest.param([0, 0, 0, 0, 1], {"m": "2", "order": "own"}, "Test images: 2 of 0, none of 1.", id="own-order"),
        pytest.param([1, 1, 1], {}, "Test images: none of 0, 3 of 1.", id="one-class"),
    ],
)
def test_how_many_test_images_each_class_has(y_test: list[int], more: dict, words: str, opened: Open) -> None:
    own = data.import_npz(npz(x_train=noise(8), y_train=labels(8), x_test=noise(len(y_test)), y_test=y_test))
    at = opened("overview", link(own) | more, wait=False)
    assert not at.exception
    told = at.main.caption[0].value
    assert told.endswith(words)
    assert ("Test images" in told) == bool(words)


def test_classes_without_test_images(opened: Open) -> None:
    own = data.import_npz(npz(x_train=noise(9), y_train=labels(9, 3), x_test=noise(2), y_test=[0, 0]))
    at = opened("overview", link(own) | {"classes": ["1", "2"], "n": "6"}, wait=False)
    assert not at.exception
    assert any("this data set has no test images of 1 and 2. Choose other classes." in one for one in complaints(at))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        pytest.param(b"", "", id="empty"),
        pytest.param(b"this is no archive", "", id="text"),
        pytest.param(as_file(noise(20), noise(5))[:-40], "", id="cut-off"),
        pytest.param(npz(x_train=noise(4), y_train=labels(4)), "x_test", id="arrays-missing"),
        pytest.param(as_file(noise(6), noise(2)[:, :4]), "", id="shapes-differ"),
        pytest.param(as_file(noise(6) / 10, noise(2) / 10), "", id="values-above-1"),
        pytest.param(as_file(np.full((6, 4, 4), np.nan), np.zeros((2, 4, 4))), "", id="nan"),
        pytest.param(as_file(noise(6), noise(2), classes=1), "", id="one-class"),
    ],
)
def test_broken_upload(content: bytes, words: str, opened: Open) -> None:
    """A sentence beside the uploader; the data that were there before stay."""
    own = data.import_npz(as_file(noise(20), noise(6, seed=1)))
    at = opened("overview", link(own))
    before = at.session_state.experiment
    at.file_uploader[0].set_value(("mine.npz", content, "application/octet-stream")).run()
    (sentence,) = (error.value for error in at.sidebar.error)
    assert sentence.endswith(".")
    assert words in sentence
    assert not at.exception
    assert at.session_state.experiment == before


def png(picture: np.ndarray) -> bytes:
    """The content of a PNG of these pixels."""
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "PNG")
    return buffer.getvalue()


def test_an_image_of_ones_own(opened: Open) -> None:
    """16 bits of grey, twice as wide as high: its middle, at its own brightness, is what is attacked, in words."""
    at = opened("attack", {"size": "4"})
    across = np.broadcast_to(np.linspace(0, 65535, 8).astype(np.uint16), (4, 8))
    at.file_uploader(key="own-image").set_value(("mine.png", png(across.copy()), "image/png")).run()
    run_until_ready(at)
    assert complaints(at) == []
    assert "Your image: Cropped from 8x4 to its middle 4x4 pixels." in text(at)
    made = max((one for one in services().store.entries() if one.stage == "upload"), key=lambda one: one.created)
    shown = services().store.get("upload", made.key).arrays["image"].numpy()
    np.testing.assert_allclose(shown[0], across[:, 2:6] / 65535, atol=1e-6)


def test_an_image_that_is_none(opened: Open) -> None:
    """A sentence, at every look, until the file is gone; it never looks accepted."""
    at = opened("attack")
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8)).save(buffer, "TIFF")
    at.file_uploader(key="own-image").set_value(("mine.png", buffer.getvalue(), "image/png")).run()
    for _ in range(2):
        assert complaints(at) == ["The file is no PNG or JPEG, or its beginning is damaged. Give a PNG or a JPEG."]
        assert charts(at) == CHARTS["attack"]
        at.number_input(key="image").set_value(3).run()
        run_until_ready(at)
    at.file_uploader(key="own-image").set_value(None).run()
    assert complaints(at) == []


def test_data_that_went_away(opened: Open) -> None:
    """The images are deleted between the first look and the run: a reason and a Retry, and Retry helps."""
    own = data.import_npz(as_file(noise(24, seed=5), noise(6, seed=6)))
    opened("overview", link(own))
    place = data.data_root() / "own" / f"{own.digest}.npz"
    content = place.read_bytes()
    place.unlink()
    at = opened("overview", link(own) | {"b": "0.7"})
    assert not at.exception
    assert "Import the .npz again" in complaints(at)[0]
    place.write_bytes(content)
    at = opened("overview", link(own) | {"b": "0.7"})
    for button in at.button:
        if button.label == "Retry":
            run_until_ready(button.click().run())
    assert len(at.metric) == 3
    assert complaints(at) == []


def test_what_was_refused_stays_refused(opened: Open) -> None:
    """On every page and after other choices, as long as the file stands in the field; then it is forgotten."""
    own = data.import_npz(as_file(noise(20), noise(6, seed=1)))
    at = opened("overview", link(own), wait=False)
    at.file_uploader(key="upload").set_value(("mine.npz", b"no archive", "application/octet-stream")).run()
    (first,) = (error.value for error in at.sidebar.error)
    for page in ("runs", "attack", "overview"):
        at.switch_page(f"pages/{page}.py").run()
        at.number_input(key="eps").set_value(at.number_input(key="eps").value + 1).run()
        assert [error.value for error in at.sidebar.error] == [first], page
    good = as_file(noise(24, seed=9), noise(6, seed=1))
    at.file_uploader(key="upload").set_value(("good.npz", good, "application/octet-stream")).run()
    assert not at.sidebar.error
    at.file_uploader(key="upload").set_value(("mine.npz", b"no archive", "application/octet-stream")).run()
    assert at.sidebar.error
    at.file_uploader(key="upload").set_value(None).run()
    assert not at.sidebar.error


@pytest.mark.parametrize("query", [{"data": "own"}, {"data": "own", "digest": "b" * 64}], ids=["no-file", "lost-file"])
def test_without_data_there_is_still_where_to_start(query: dict[str, str], opened: Open) -> None:
    """The Overview explains itself and offers its presets, Runs lists what there is; each says what is missing."""
    at = opened("overview", query, wait=False)
    assert len(complaints(at)) == 1
    assert [one.value for one in at.main.code] == ([] if "digest" in query else [data.EXAMPLE.strip()])
    assert "neural tangent kernel" in text(at)
    at.button(key="preset-start").click().run()
    assert complaints(at) == []
    assert at.session_state.experiment.data.classes == PRESETS["start"].experiment.data.classes
    opened("overview")
    at = opened("runs", query, wait=False)
    assert len(complaints(at)) == 1
    assert len(at.dataframe) == 1
