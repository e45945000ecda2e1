"""The Python lines of every page, taken from the page and run: they print the numbers that the page shows.

What the page shows comes from the worker's results in the store; the lines know only the library. Sentences must be the
page's own, letter for letter (but for the digits of what was trained), numbers those of its tables, tiles and figures.
"""

import ast
import io
import math
import re
import subprocess
import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from streamlit.testing.v1 import AppTest

from ntkcore import data
from ntkcore.figures.drawing.palette import SOURCES
from ntkcore.readings.words import signed
from ntkcore.runs.specs import TWIN_PLAIN, ConsistencySpec, EpochSpec, Evolution, key
from ntkcore.runs.store import Store
from pages.ui.code import runs_lines
from pages.ui.controls.evolution import TWIN
from pages.ui.sections.attack import ITSELF, largest_radius
from pages.ui.shell.plain import plain
from visits import drawn, number, over_pictures, run_until_ready, select, small, stored, text

ROOT = Path(__file__).parents[2]
Open = Callable[..., AppTest]
FEW = {"n": "30", "m": "10", "size": "14"}
THREE = {"classes": ["Coat", "Bag", "Shirt"], "draw": "7"}
FAR = {"norm": "l2", "eps": "20"}
L2_RANDOM = {"norm": "l2", "eps": "1.5", "attack": "PGD", "steps": "12", "start": "true"}
CONV = {"net": "Conv", "depth": "2", "size": "7", "inputs": "standardise", "precision": "float32", "ridge": "0.5"}
KERNELS = {
    "binary": {},
    "three-classes-pgd": THREE | {"attack": "PGD", "steps": "3"},
    "l2-random-start-many-images": L2_RANDOM | {"n": "30", "m": "120"},
    "conv-standardised-float32-ridge": CONV,
    "l2-far": FAR,
    "myrtle": {"net": "Myrtle", "depth": "5", "size": "7", "n": "12", "m": "4"},
    "leading-features": {"n": "120", "leading": "100"},
    "erf-nngp-centred": {"act": "erf", "kind": "nngp", "depth": "3", "inputs": "centre", "w": "1.2", "b": "0.3"},
}
TRAINED = 0.03  # relative: how far velocities of a net trained twice, with other threads, may differ
NUMBER = re.compile(r"\d+(?:\.\d+)?")


def printed(at: AppTest) -> list[str]:
    """What the page's lines print, line by line."""
    (block,) = at.main.code
    said = io.StringIO()
    with redirect_stdout(said):
        exec(compile(block.value, "<the page's lines>", "exec"), {"__name__": "__main__"})
    return said.getvalue().splitlines()


def same(sentence: str, shown: str, tolerance: float) -> bool:
    """Whether a sentence is among those shown, its numbers within a relative tolerance."""
    words = re.escape(sentence)
    for found in re.finditer(re.sub(r"\d+(\\\.\d+)?", r"(\\d+(?:\\.\\d+)?)", words), shown):
        pairs = zip(NUMBER.findall(sentence), NUMBER.findall(found[0]), strict=True)
        if all(math.isclose(float(a), float(b), rel_tol=tolerance) for a, b in pairs):
            return True
    return False


def agreed(at: AppTest, tolerance: float = 0.0) -> list[str]:
    """What the lines print; every sentence is one of the page, and no paragraph with numbers is left out."""
    said = printed(at)
    told = [line.split(": ", 1)[1] if re.match(r"[\w -]+: [A-Z]", line) else line for line in said]
    told = [line for line in told if line.endswith(".")]
    shown = text(at)
    assert told, "no sentence is printed"
    for sentence in told:
        assert same(sentence, shown, tolerance), sentence
    for paragraph in (element.value for element in at.main.markdown):
        if re.search(r"\d", paragraph) and not paragraph.startswith(("####", "**Feature")):
            assert any(same(sentence, paragraph, tolerance) for sentence in told), f"not printed: {paragraph}"
    return said


def listed(said: list[str], name: str) -> np.ndarray:
    """The list of numbers that is printed after a name."""
    (line,) = (line for line in said if line.startswith(name))
    return np.array(ast.literal_eval(line[line.index("[", len(name)) :]))


def digits(at: AppTest) -> float:
    """How closely eigenvalues agree: the kernel's precision, across numbers of threads."""
    return 1e-9 if at.session_state.experiment.precision == "float64" else 1e-4


# -- one kernel ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KERNELS)
def test_overview(kind: str, opened: Open) -> None:
    at = opened("overview", KERNELS[kind])
    said = printed(at)
    assert [line.rsplit(": ", 1)[1] for line in said[:3]] == [metric.value for metric in at.metric]
    assert said[1].startswith(f"{at.session_state.experiment.attack}: ")
    assert said[3] in text(at)


@pytest.mark.parametrize("kind", KERNELS)
def test_spectrum(kind: str, opened: Open) -> None:
    at = opened("spectrum", KERNELS[kind] | {"vi": "3"})
    said, arrays = agreed(at), stored(at.session_state.experiment.spectrum()).arrays
    K = stored(at.session_state.experiment.kernel()).arrays["K"].numpy()
    np.testing.assert_allclose(listed(said, "kernel"), K[0, :5], rtol=digits(at))
    np.testing.assert_allclose(
        listed(said, "eigenvectors"), arrays["vectors"][:3, [3, 2]].numpy(), atol=1e3 * digits(at)
    )
    values, energy = arrays["values"].numpy(), arrays["label_energy"].numpy()
    np.testing.assert_allclose(listed(said, "eigenvalues"), values[:5], rtol=digits(at))
    np.testing.assert_allclose(listed(said, "label energy"), energy[:5], rtol=1e3 * digits(at), atol=1e-12)
    (line,) = (line for line in said if "more than half learned" in line)
    count, time = re.fullmatch(r"(\d+) modes are more than half learned at t = (\S+)", line).groups()
    assert int(count) == (-np.expm1(-values * float(time)) > 0.5).sum() > 0
    assert ("the 100 leading of 120 eigenvalues, which hold 9" in text(at)) == (kind == "leading-features")


@pytest.mark.parametrize("kind", [kind for kind in KERNELS if kind != "myrtle"])
def test_eigenfeatures(kind: str, opened: Open) -> None:
    link = KERNELS[kind] | {"m": "20", "feature": "2", "nth": "1", "fdr": "0.1", "keep": "0.7"}
    at = opened("eigenfeatures", link)
    experiment, shown = at.session_state.experiment, text(at)
    said = [line for line in printed(at) if line]
    sentences = [line for line in said if line.endswith(".")]
    splits = len(experiment.data.classes[:2])  # of which the page tells the one at an image of the first class
    for sentence in sentences[: len(sentences) - splits + 1]:
        assert sentence in shown, sentence
    assert len(sentences) - splits == (8 if experiment.data.n_train > 21 else 7)
    assert any(sentence.startswith("**Feature 2** (") for sentence in sentences)
    assert ("Of the 100 leading of 120 features, which hold 9" in shown) == (kind == "leading-features")
    sweep = stored(experiment.sweep()).arrays
    stuck = float(sweep["zero_gradient"].sum() / sweep["right_before"].sum())
    assert f"no gradient at {stuck:.1%} of the right answers" in said


@pytest.mark.parametrize("kind", [kind for kind in KERNELS if kind != "myrtle"])
def test_attack(kind: str, opened: Open) -> None:
    """The kernel through itself: one image, its margins along the radius, and the tally of all."""
    at = opened("attack", KERNELS[kind] | {"image": "2"})
    said, experiment = agreed(at), at.session_state.experiment
    flip = stored(experiment.flip(2, eps_max=largest_radius(experiment))).arrays
    for name in ("fgsm", "pgd"):
        margins = listed(said, f"margins under {name.upper()}")
        np.testing.assert_allclose(margins, flip[f"{name}_margin"].numpy(), rtol=1e-6, atol=10 * digits(at))
    assert whom(said) == [lines[1] for lines in over_pictures(at)[::2]]
    assert said[-1] in text(at)
    a = stored(experiment.predict()).arrays
    assert f"margin {float(a['margin'][2]):+.2f} to {float(a['attack_margin'][2]):+.2f}" in said[-2]


def whom(said: list[str]) -> list[str]:
    """The two classes that are told of the image and of the adversarial one."""
    (line,) = (line for line in said if ", of the adversarial image: " in line)
    return list(re.fullmatch(r"\w+: (.*), of the adversarial image: (.*)", line).groups())


def test_own_data(opened: Open) -> None:
    """Images of the reader's own, found by their fingerprint."""
    draw = np.random.default_rng(0)
    images = {
        f"x_{part}": draw.integers(0, 256, (n, 6, 9, 3), dtype=np.uint8) for part, n in (("train", 24), ("test", 9))
    }
    file = io.BytesIO()
    np.savez(file, **images, y_train=np.arange(24) % 3, y_test=np.arange(9) % 3)
    own = data.import_npz(file.getvalue())
    link = {"data": "own", "digest": own.digest, "n": "24", "m": "9"}
    assert [line.rsplit(": ", 1)[1] for line in printed(opened("overview", link))][:3] == [
        metric.value for metric in opened("overview", link).metric
    ]
    agreed(opened("spectrum", link))
    agreed(opened("attack", link))


@pytest.mark.parametrize(
    "kind", [pytest.param({}, id="binary"), pytest.param(THREE | L2_RANDOM, id="three-classes-random-start")]
)
def test_own_image(kind: dict, opened: Open) -> None:
    """A picture of the reader's own, as the app has kept it; whatever target is chosen, the kernel answers."""
    at = opened("attack", kind | {"target": "width 8"})
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(1).integers(0, 256, (40, 40), dtype=np.uint8)).save(file, "PNG")
    at.file_uploader(key="own-image").set_value(("mine.png", file.getvalue(), "image/png")).run()
    at.selectbox(key="own-class").set_value("Shirt").run()
    said = agreed(run_until_ready(at))
    assert whom(said) == [lines[1] for lines in over_pictures(at)[::2]]
    curves = list(drawn(at, "margins").values())
    for name in ("FGSM", "PGD"):
        margins = listed(said, f"margins under {name}")
        assert any(len(curve) == len(margins) and np.allclose(curve, margins, atol=1e-5) for curve in curves), name


# -- nets ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param({"target": "width 8"}, id="net-through-itself"),
        pytest.param({"target": "kernel after 100 steps", "source": "width 16", "inputs": "centre"}, id="descent-net"),
        pytest.param(
            THREE | L2_RANDOM | {"source": "kernel", "target": "width 16", "ridge": "0.3"}, id="net-kernel-l2"
        ),
        pytest.param(
            CONV | {"source": "kernel after 100 steps", "target": "kernel", "attack": "PGD"}, id="conv-kernel-descent"
        ),
        pytest.param({"kind": "nngp", "source": "width 8", "target": "width 16", "act": "erf"}, id="nngp-two-nets"),
    ],
)
def test_attack_of_nets(kind: dict, opened: Open) -> None:
    """The sentence, the pictures' classes, the table, the figure's margins, and the tally of all images."""
    at = opened("attack", FEW | {"source": ITSELF, "image": "1"} | kind)
    said, shown = agreed(at), text(at)
    assert whom(said) == [lines[1] for lines in over_pictures(at)[::2]]
    assert said[-1] in shown
    curves = list(drawn(at, "margins").values())
    for name in ("FGSM", "PGD"):
        margins = listed(said, f"margins under {name}")
        assert any(len(curve) == len(margins) and np.allclose(curve, margins, atol=1e-3) for curve in curves), name
    told = {}
    for line in said:
        found = re.fullmatch(r"(.*): (.*) ([+-]\d+\.\d\d), perturbed (.*) ([+-]\d+\.\d\d)", line)
        if found:
            told[found[1]] = found.groups()[1:]
    rows = at.main.dataframe[0].value.to_dict("records")
    assert list(told) == [row["Predictor"].removeprefix("net of ") for row in rows]
    for row, (says, margin, perturbed, after) in zip(rows, told.values(), strict=True):
        assert (row["Says"], row["Perturbed, says"]) == (says, perturbed)
        assert [row["Margin"], row["Margin, perturbed"]] == pytest.approx([float(margin), float(after)], abs=0.0051)


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param({"seeds": "2", "at": "eps 4/255"}, id="two-seeds"),
        pytest.param(THREE | {"inputs": "centre", "beside": [TWIN_PLAIN], "b": "0.3"}, id="three-classes-beside"),
        pytest.param({"norm": "l2", "eps": "1", "act": "erf", "kind": "nngp", "radius": "4"}, id="l2-erf"),
        pytest.param({"architectures": ["FC(1)", "FC(3)"], "mwidth": "8", "widths": ["8"]}, id="matrix"),
        pytest.param(
            {"widths": ["8"], "strong": "true", "n": "20", "m": "4", "size": "7"},
            id="autoattack",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_transfer(kind: dict, opened: Open) -> None:
    at = opened("transfer", FEW | kind)
    said = agreed(at)
    table = at.main.dataframe[0].value.set_index("Net")
    for name, row in table.iterrows():
        (line,) = (line for line in said if line.startswith(f"{name}: clean "))
        found = re.search(r"clean (\S+)%, worst of all (\S+)% (\{.*)", line)
        assert [float(found[1]), float(found[2])] == pytest.approx(
            [100 * row["clean"], 100 * row["worst of all"]], abs=0.006
        )
        told = {SOURCES[source].words: float(share[:-1]) for source, share in ast.literal_eval(found[3]).items()}
        assert told == pytest.approx({words: 100 * row[words] for words in told}, abs=0.006)
        assert len(told) == row.notna().sum() - 2
    flips = number(r"(\d+) of \d+ test images flip", text(at))
    assert any(line.startswith(f"{flips:.0f} of ") for line in said)
    crossed = [line for line in said if "share of white-box" in line]
    assert len(crossed) == len(kind.get("architectures", ()))


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param({"inputs": "centre", "share": "0.5"}, id="cnn"),
        pytest.param(
            THREE
            | {"regimes": ["standard", "PGD"], "eseeds": "2", "trained": TWIN, "ewidth": "8", "freeze": ["0", "1"]},
            id="twin-three-classes-frozen",
        ),
        pytest.param(
            {
                "attacked": "true",
                "epochs": "3",
                "every": "2",
                "probe": "20",
                "regimes": ["PGD"],
                "elr": "0.01",  # with larger steps rounding decides
                "norm": "l2",
                "eps": "1",
            },
            id="l2-attacked-probe",
        ),
        pytest.param(
            {"loss": "squared", "emomentum": "0.5", "init": "torch", "batch": "7", "elr": "0.01"}, id="schedule"
        ),
    ],
)
def test_evolution(kind: dict, opened: Open) -> None:
    """Curves of all trainings, to a part in a thousand; velocities as far as rounding leaves them; a table of
    to the image."""
    at = opened("evolution", FEW | {"size": "7"} | kind)
    said = agreed(at, TRAINED)
    accuracies, speeds = drawn(at, "accuracies"), drawn(at, "velocity")
    aligned, spectra = drawn(at, "aligned"), drawn(at, "spectra")
    epochs = int(at.session_state["epochs"])
    for regime in at.session_state["regimes"]:
        head = f"{regime} training"
        np.testing.assert_allclose(listed(said, f"{head}, clean: "), accuracies[f"{head}, clean accuracy"])
        np.testing.assert_allclose(listed(said, f"{head}, pgd: "), accuracies[f"{head}, PGD accuracy"])
        np.testing.assert_allclose(listed(said, f"{head}, velocity: "), speeds[head], rtol=TRAINED)
        np.testing.assert_allclose(
            listed(said, f"{head}, alignment: "), aligned[f"{head}, alignment with the labels"], rtol=1e-3
        )
        np.testing.assert_allclose(
            listed(said, f"{head}, eigenvalues: "), spectra[f"{head}, epoch {epochs}"][:5], rtol=1e-3
        )
    rows = at.main.dataframe[0].value.to_dict("records") if "freeze" in kind else []
    for row in rows:
        head = f"{row['Training']} training, seed {row['Seed']}, frozen after epoch {row['Frozen after epoch']}"
        (line,) = (line for line in said if line.startswith(f"{head}, {row['By']}"))
        told = ast.literal_eval(line[line.index("{") :])
        names = {"Clean": "test_clean", "FGSM": "test_fgsm", "PGD": "test_pgd", "Training images, clean": "train_clean"}
        assert {name: told[kind] for name, kind in names.items()} == pytest.approx({name: row[name] for name in names})


@pytest.mark.parametrize("page", ["overview", "spectrum", "eigenfeatures", "attack"])
def test_a_net_in_training(page: str, opened: Open) -> None:
    """The kernel of a checkpoint, which the lines train again, on other images than it was trained on."""
    link = {"n": "40", "m": "10", "epochs": "1", "regimes": ["FGSM"], "inputs": "centre", "size": "7"}
    at = opened("evolution", link)
    e = Evolution(
        data=at.session_state.experiment.data, inputs="centre", seeds=1, epochs=1, regimes=("fgsm",), probe=40
    )
    checkpoint = EpochSpec.at(e.run("fgsm"), 1)
    assert Store().has("epoch", key(checkpoint))
    at = opened(page, {"n": "20", "m": "10", "size": "7", "kind": "empirical", "checkpoint": key(checkpoint)})
    assert at.session_state.experiment.checkpoint == checkpoint
    if page == "overview":
        said = [line.rsplit(": ", 1)[1] for line in printed(at)]
        assert said[:3] == [metric.value for metric in at.metric]
    elif page == "eigenfeatures":
        assert sum(sentence in text(at) for sentence in printed(at) if sentence.endswith(".")) >= 4
    else:
        agreed(at)


# -- architectures ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param({}, id="binary"),
        pytest.param(
            THREE | {"inputs": "centre", "compared": ["FC(1)", "FC(3)", "Conv(2)"], "pair": "FC(1) and Conv(2)"},
            id="three-classes-another-pair",
        ),
        pytest.param(
            {"kind": "nngp", "precision": "float32", "norm": "l2", "eps": "1", "cside": "7", "cn": "20", "cm": "6"},
            id="nngp-float32-smaller",
        ),
    ],
)
def test_consistency(kind: dict, opened: Open) -> None:
    at = opened("consistency", FEW | kind)
    said, e = agreed(at), at.session_state.experiment
    names = kind.get("compared", ["FC(1)", "Conv(2)"])
    table = at.main.dataframe[0].value.set_index("Architecture")
    for name, row in table.iterrows():
        (line,) = (line for line in said if line.startswith(f"{name} FeatureCount"))
        counted = [int(found) for found in re.findall(r"(?:robust|between|brittle|weak)=(\d+)", line)[:4]]
        assert counted == row[["Robust", "In between", "Brittle", "Weak alone"]].tolist()
        spearman = number(r"spearman=Band\(mean=array\(\[\s*([^\],]+)\]", line)
        told = signed(spearman, "+.2f") if np.isfinite(spearman) else "too few useful ones"
        assert row["Spearman of index and share kept"] == told
    if kind.get("cside"):
        return
    found = stored(ConsistencySpec(kernels=tuple(e.kernel() for e in small(at, *names, test=10)))).arrays
    assert e.precision == "float64"
    centred, plain = (np.array(ast.literal_eval(line)) for line in said if line.startswith("[["))
    np.testing.assert_allclose(centred, found["alignment"].numpy(), atol=1e-9)
    np.testing.assert_allclose(plain, found["uncentred"].numpy(), atol=1e-9)
    row, pair = (1, kind["pair"]) if "pair" in kind else (0, "FC(1) and Conv(2)")
    assert listed(said, "partners").tolist() == found["partner"][row].tolist()
    (heights,) = (line for name, line in drawn(at, "matched").items() if name.startswith("cosine"))
    np.testing.assert_allclose(listed(said, "cosines").mean(1), heights, atol=1e-4)
    assert listed(said, "leading eigenvectors").tolist() == found["ks"].tolist()
    np.testing.assert_allclose(listed(said, f"overlap of {pair}"), found["overlap"][row].numpy(), atol=1e-6)


# -- what is in the cache --------------------------------------------------------------------------------------------


def test_runs(opened: Open) -> None:
    """All results as the table has them, and one of them with its arrays."""
    opened("spectrum", FEW)
    at = opened("runs")
    said, entries = printed(at), Store().entries()
    assert number(r"(\d+) results", text(at)) == number(r"(\d+) results", said[0]) == len(entries)
    sizes = {line.split(", ")[0]: number(r", (\S+) MB:", line) for line in said[1:]}
    assert sizes == {f"{entry.stage} {entry.key}": round(entry.bytes / 1e6, 2) for entry in entries}
    rows = at.main.dataframe[0].value
    (row,) = (rows["Stage"] == "spectrum").to_numpy().nonzero()[0][:1]
    select(at, "runs", rows=[int(row)])
    said = printed(at)
    assert plain(said[0]) == at.main.subheader[0].value
    run = Store().get("spectrum", re.search(r"spectrum ([0-9a-f]{32})", text(at))[1])
    assert said[1:] == [
        f"{name} {shape} {run.arrays[name].flatten()[:3].tolist()}" for name, shape in run.shapes.items()
    ]


def test_lines_on_the_cache_run_by_themselves(tmp_path) -> None:
    """In a process that has imported nothing of the app."""
    lines = runs_lines(tmp_path, None)
    done = subprocess.run([sys.executable, "-c", lines], capture_output=True, text=True, timeout=100, cwd=ROOT)
    assert (done.stdout, done.stderr) == ("0 results, 0.0 MB\n", "")
