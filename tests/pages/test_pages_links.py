"""Links that are wrong in every way: a sentence and a working page, never an exception; the rest of the link holds."""

from collections.abc import Callable

import pytest
from streamlit.testing.v1 import AppTest

from ntkcore.runs.specs import Experiment
from visits import CHARTS, RESULTS, charts, complaints, working

Open = Callable[..., AppTest]

# The parameters of the sidebar that no control can take, each with the value that stands instead.
SIDEBAR = {
    "unknown-data-set": ("data", "imagenet", "fashion-mnist-sample"),
    "markup-for-a-data-set": ("data", "<script>alert(1)</script>", "fashion-mnist-sample"),
    "very-long": ("data", "x" * 5000, "fashion-mnist-sample"),
    "n-larger-than-available": ("n", "1201", 1000),
    "n-astronomical": ("n", "9" * 40, 1000),
    "n-0": ("n", "0", 1000),
    "n-negative": ("n", "-5", 1000),
    "n-nan": ("n", "nan", 1000),
    "n-infinite": ("n", "inf", 1000),
    "n-beyond-every-number": ("n", "1e999", 1000),
    "draw-infinite": ("draw", "-Infinity", None),
    "eps-infinite": ("eps", "inf", 8.0),
    "keep-infinite": ("keep", "inf", 0.5),
    "n-text": ("n", "many", 1000),
    "n-fraction": ("n", "60.5", 60),
    "m-larger-than-available": ("m", "2001", 2000),
    "size-that-does-not-divide": ("size", "5", "full"),
    "unknown-order": ("order", "random", "balanced"),
    "draw-negative": ("draw", "-1", None),
    "draw-too-large": ("draw", str(2**32), None),
    "net-empty": ("net", "", "FC"),
    "unknown-net": ("net", "ResNet", "FC"),
    "too-deep": ("depth", "11", 1),
    "w-0": ("w", "0", pytest.approx(2**0.5)),
    "w-nan": ("w", "nan", pytest.approx(2**0.5)),
    "b-negative": ("b", "-1", 0.1),
    "unknown-activation": ("act", "tanh", "relu"),
    "unknown-kernel": ("kind", "cntk", "ntk"),
    "unknown-input-map": ("inputs", "whiten", "raw"),
    "unknown-precision": ("precision", "float16", "float64"),
    "ridge-negative": ("ridge", "-1", 0.0),
    "ridge-inf": ("ridge", "inf", 0.0),
    "unknown-attack": ("attack", "CW", "FGSM"),
    "unknown-norm": ("norm", "l1", "linf"),
    "eps-negative": ("eps", "-1", 8.0),
    "eps-nan": ("eps", "nan", 8.0),
    "eps-too-large": ("eps", "256", 8.0),
    "rate-not-offered": ("fdr", "0.5", 0.05),
    "keep-0": ("keep", "0", 0.5),
}

# The pages' own parameters, several in one link; where a default depends on the data, None.
PAGE = {
    "features-beyond-the-last": (
        "eigenfeatures",
        {"feature": ("60", None), "k": ("61", 20), "nth": ("20", 0), "features": (["0", "500", "abc"], [0])},
    ),
    "features-below-the-first": (
        "eigenfeatures",
        {
            "feature": ("-1", None),
            "k": ("0", 20),
            "nth": ("-1", 0),
            "features": ([str(i) for i in range(12)], None),
        },
    ),
    "features-not-numbers": (
        "eigenfeatures",
        {
            "feature": ("nan", None),
            "k": ("inf", 20),
            "colour": ("pink", "class"),
            "shown": (["Unicorn"], None),
        },
    ),
    "image-beyond-the-last": ("attack", {"image": ("20", 0), "amplify": ("3", 10), "show": ("lost", "all")}),
    "image-not-a-number": ("attack", {"image": ("nan", 0), "amplify": ("nan", 10)}),
    "eigenvectors": ("spectrum", {"vi": ("60", 1), "vj": ("-1", 2)}),
    "eigenvectors-not-a-number": ("spectrum", {"vi": ("1e400", 1), "vj": ("", 2)}),
}

# What stops a page: no experiment can be made of it.
STOPS = {
    "one-class": ({"classes": ["Shirt"]}, "at least two classes"),
    "no-class": ({"classes": ""}, "at least two classes"),
    "unknown-class": ({"classes": ["Shirt", "Unicorn"]}, "at least two classes"),
    "the-same-class-twice": ({"classes": ["Shirt", "Shirt"]}, "at least two classes"),
    "own-data-without-any": ({"data": "own"}, "Upload an .npz"),
    "own-data-garbage": ({"data": "own", "digest": "../../etc/passwd"}, "64 hexadecimal digits"),
    "own-data-nul": ({"data": "own", "digest": "a\x00b"}, "64 hexadecimal digits"),
    "own-data-unknown": ({"data": "own", "digest": "a" * 64}, "Import the .npz again"),
    "class-without-images": ({"n": "3", "order": "own"}, "none is of class 'Shirt'"),
}


@pytest.mark.parametrize("case", SIDEBAR)
def test_sidebar_parameter(case: str, opened: Open) -> None:
    """It falls back with a notice that names it, and nothing else is lost."""
    name, value, stands = SIDEBAR[case]
    at = opened("runs", {"classes": ["Coat", "Bag"], name: value})
    assert not at.exception
    (notice,) = complaints(at)
    assert f"The link's {name} could not be used" in notice
    assert at.session_state[name] == stands
    if name != "data":
        assert at.session_state.experiment.data.classes == ("Coat", "Bag")


def test_several_parameters_in_one_notice(opened: Open) -> None:
    at = opened("spectrum", {"n": "nan", "eps": "-1", "vi": "x", "vj": "4"})
    assert "The link's n, eps and vi could not be used" in complaints(at)[0]
    assert at.number_input(key="vj").value == 4


@pytest.mark.parametrize("case", PAGE)
def test_page_parameters(case: str, opened: Open) -> None:
    page, parameters = PAGE[case]
    at = opened(page, {name: value for name, (value, _) in parameters.items()})
    assert not at.exception
    assert charts(at) == CHARTS[page]
    (notice,) = complaints(at)
    assert all(name in notice for name in parameters)
    for name, (_, stands) in parameters.items():
        assert stands is None or at.session_state[name] == stands, name


@pytest.mark.parametrize("case", STOPS)
def test_no_experiment(case: str, opened: Open) -> None:
    query, sentence = STOPS[case]
    at = opened(RESULTS[len(case) % len(RESULTS)], query)
    assert not at.exception
    assert sentence in at.error[0].value
    assert len(at.error) == 1
    assert charts(at) == []


@pytest.mark.parametrize(
    "query",
    [
        pytest.param({"foo": "bar", "__proto__": "1"}, id="unknown-parameter"),
        pytest.param({"n": ["60", "70"]}, id="twice"),
        pytest.param({"digest": "a" * 64}, id="digest-of-another-set"),
        pytest.param({"steps": "3", "start": "true"}, id="steps-of-fgsm"),
        pytest.param({"ridge": "1e300"}, id="huge-ridge"),
    ],
)
def test_harmless_parameter(query: dict, opened: Open) -> None:
    at = opened("overview", query)
    assert complaints(at) == []
    assert not at.exception
    assert isinstance(at.session_state.experiment, Experiment)


def test_depth_of_another_family(opened: Open) -> None:
    """Myrtle has no depth 6; the page opens and offers the run, whose cost is said first."""
    at = opened("overview", {"net": "Myrtle", "depth": "6", "n": "200"}, wait=False)
    assert "The link's depth could not be used" in complaints(at)[0]
    assert at.session_state.experiment.net.depth == 5
    assert "about" in at.info[0].value
    assert "of memory" in at.info[0].value
    assert not working(at)


def test_notice_stays_until_the_experiment_changes(opened: Open) -> None:
    at = opened("spectrum", {"eps": "nan"})
    at.number_input(key="vj").set_value(1).run()
    assert complaints(at), "the notice went with the first click"
    at.number_input(key="eps").set_value(4.0).run()
    assert complaints(at) == []


def test_parameter_of_another_page_is_no_fault(opened: Open) -> None:
    """A link to Spectrum may carry the image of Attack; going there later is no reason for a notice."""
    at = opened("spectrum", {"image": "5000"})
    assert complaints(at) == []
    at.switch_page("pages/attack.py").run()
    assert complaints(at) == []
