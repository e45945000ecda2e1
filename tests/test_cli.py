"""The command line: what it runs, what it prints, its exit status; a sentence on stderr for whatever goes wrong."""

import io
import json
import os
import re
import runpy
import signal
import subprocess
import sys
from collections.abc import Iterator
from functools import cache as kept
from pathlib import Path

import numpy as np
import pytest
import torch

from ntkcore import cli
from ntkcore.errors import LONGEST, Cancelled
from ntkcore.runs import consent, rates
from ntkcore.runs.presets import PRESETS
from ntkcore.runs.specs import Evolution, Experiment, Story
from ntkcore.runs.stages import result
from ntkcore.runs.store import Store

ROOT = Path(__file__).resolve().parent.parent
TINY = {"data": {"n_train": 20, "n_test": 10, "size": 4}, "net": {"depth": 2}}
STORY = {"kernel": {"data": {"n_train": 60, "n_test": 20}}, "widths": [8, 16], "seeds": 1, "eps": [4 / 255, 8 / 255]}


@pytest.fixture(autouse=True, scope="module")
def measured_once() -> Iterator[None]:
    """Each test has a cache of its own, for which the machine would be measured again."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rates, "_measure", kept(rates._measure))
        yield


@pytest.fixture
def cache(tmp_path) -> Path:
    return tmp_path / "results"


@pytest.fixture
def spec_file(tmp_path) -> Path:
    file = tmp_path / "tiny.json"
    file.write_text(json.dumps(TINY))
    return file


@pytest.fixture
def story_file(tmp_path) -> Path:
    file = tmp_path / "story.json"
    file.write_text(json.dumps(STORY))
    return file


@pytest.fixture
def call(cache, capsys):
    """Run a command in this process: (exit status, stdout, stderr)."""

    def run(*arguments: object) -> tuple[int, str, str]:
        status = cli.main(["--cache", str(cache), *map(str, arguments)])
        return status, *capsys.readouterr()

    return run


def start(*arguments: object) -> subprocess.Popen[str]:
    """``python -m ntkcore ...`` as a process of its own, to which Ctrl-C means what it means in a terminal."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # were it ignored here, it would be there
    try:
        return subprocess.Popen(
            [sys.executable, "-m", "ntkcore", *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
    finally:
        signal.signal(signal.SIGINT, before)


def is_whole(root: Path) -> bool:
    store = Store(root)
    return store.verify().ok and not store.incidents() and not list((store.root / ".tmp").glob("*"))


def save_own(file: Path, **changes: np.ndarray) -> Path:
    rng = np.random.default_rng(0)
    x = {f"x_{part}": rng.integers(0, 256, (24, 5, 5, 3), dtype=np.uint8) for part in ("train", "test")}
    y = {f"y_{part}": np.arange(24) % 2 for part in ("train", "test")}
    np.savez(file, **{**x, **y, "classes": np.array(["owl", "wren"]), **changes})
    return file


# -- what it does --------------------------------------------------------------------------------------------------


def test_presets_are_listed(call):
    status, out, err = call("presets")
    assert (status, err) == (0, "")
    for preset in PRESETS.values():
        assert all(words in out for words in (preset.name, preset.title, preset.look_for))


def test_run_a_spec_file_in_a_process_then_again(call, cache, spec_file):
    process = start("--cache", cache, "run", spec_file)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, "")
    lines = out.splitlines()
    assert lines[0] == Experiment(**TINY).in_words()
    assert [line.split()[0] for line in lines[1:-1]] == ["kernel", "spectrum", "predict", "sweep", "curves"]
    predicted = result(Experiment(**TINY).predict(), Store(cache)).arrays
    clean, attacked = (predicted[name].double().mean() for name in ("right", "attack_right"))
    assert lines[-1] == f"clean accuracy {clean:.3f}, under FGSM ℓ∞ eps 8/255 {attacked:.3f}"
    created = {artifact.key: artifact.created for artifact in Store(cache).entries()}
    status, again, _ = call("run", spec_file)
    assert status == 0
    assert again.splitlines()[-1] == lines[-1]
    assert {artifact.key: artifact.created for artifact in Store(cache).entries()} == created


def table(out: str) -> tuple[list[str], list[list[str]]]:
    """What `transfer` prints: the names of the columns, and for each net its name, seed and numbers."""
    _, head, *rows = out.splitlines()
    return head.split(), [[row[:28].strip(), *row[28:].split()] for row in rows]


def test_a_story_is_told_net_by_net_then_again(call, cache, story_file):
    status, out, err = call("transfer", story_file)
    assert (status, err) == (0, "")
    story = Story.model_validate(STORY)
    assert out.splitlines()[0] == f"{story.predictor.in_words()}; accuracy at eps 0.03137"
    sources = ["white_fgsm", "white_pgd", "kernel_fgsm", "kernel_pgd", "noise"]
    names, rows = table(out)
    assert names == ["net", "seed", "clean", *sources, "cosine"]
    assert [row[:2] for row in rows] == [["width 8", "0"], ["width 16", "0"]]
    wanted, store = story.transfers(), Store(cache)
    created = {artifact.key: artifact.created for artifact in store.entries()}
    for group, _, *numbers in rows:
        found = {source: result(wanted[group, 0, source], store).arrays for source in sources}
        expected = [found["noise"]["right_before"].double().mean()]
        expected += [found[source]["right_after"][1].double().mean() for source in sources]
        expected.append(found["kernel_fgsm"]["cosine"].nanmean())
        assert [float(number) for number in numbers] == pytest.approx([float(value) for value in expected], abs=6e-4)
    assert call("transfer", story_file) == (0, out, "")
    assert {artifact.key: artifact.created for artifact in store.entries()} == created


def test_the_largest_radius_is_told_whatever_the_order(call, story_file, tmp_path):
    other = tmp_path / "other.json"
    other.write_text(json.dumps(STORY | {"eps": STORY["eps"][::-1]}))
    assert call("transfer", story_file)[1] == call("transfer", other)[1]


def test_an_l2_story_has_no_noise_and_two_seeds_have_another_seed(call, tmp_path):
    file = tmp_path / "l2.json"
    file.write_text(json.dumps(STORY | {"norm": "l2", "eps": [1.0], "seeds": 2, "widths": [8]}))
    status, out, err = call("transfer", file)
    assert (status, err) == (0, "")
    names, rows = table(out)
    assert names[3:-1] == ["white_fgsm", "white_pgd", "kernel_fgsm", "kernel_pgd", "other_seed"]
    assert [row[:2] for row in rows] == [["width 8", "0"], ["width 8", "1"]]


@pytest.mark.parametrize("name", ["story", "toy"])
def test_the_story_of_a_preset(name, call, monkeypatch):
    """Its own, or the default one of its kernel."""
    preset, told = PRESETS[name], []

    def tell(spec, *_):
        told.append(spec)
        raise Cancelled

    monkeypatch.setattr(cli.stages, "result", tell)
    status, out, _ = call("transfer", "--preset", name, "--yes")
    assert status == 130
    assert told == [next(iter((preset.story or Story(kernel=preset.experiment.ntk())).transfers().values()))]
    assert out.startswith(told[0].target.comparable.in_words())


MOTION = {
    "data": {"n_train": 20, "n_test": 10, "size": 7},
    "seeds": 1,
    "epochs": 2,
    "probe": 10,
    "judged": 5,
    "fgsm": {"eps": 0.1, "step_size": 0.1},
    "pgd": {"eps": 0.1, "steps": 2, "step_size": 0.05},
}


def test_an_evolution_is_told_epoch_by_epoch_and_goes_on(call, cache, tmp_path, monkeypatch):
    """Stopped in the second epoch of one training, then started again: nothing that was there is computed again."""
    file, e = tmp_path / "motion.json", Evolution.model_validate(MOTION)
    file.write_text(json.dumps(MOTION))
    compute, seen = cli.stages.result, []

    def stop(spec, *rest):
        seen.append(spec)
        if len(seen) == 7:
            raise Cancelled
        return compute(spec, *rest)

    monkeypatch.setattr(cli.stages, "result", stop)
    assert call("evolve", file)[0] == 130
    monkeypatch.undo()
    created = {artifact.key: artifact.created for artifact in Store(cache).entries()}
    assert created
    status, out, err = call("evolve", file)
    assert (status, err) == (0, "")
    assert {artifact.key: artifact.created for artifact in Store(cache).entries()}.items() >= created.items()
    _, head, *rows = out.splitlines()
    assert head.split() == ["training", "seed", "epoch", "clean", "FGSM", "PGD", "velocity", "rank"]
    assert [row.split()[:3] for row in rows] == [[r, "0", str(t)] for t in range(3) for r in ("standard", "fgsm")]
    score = result(e.wanted()["fgsm", 0, 2, "score"], Store(cache)).arrays
    expected = [float(score[f"test_{kind}"].double().mean()) for kind in ("clean", "fgsm", "pgd")]
    assert [float(share) for share in rows[-1].split()[3:6]] == pytest.approx(expected, abs=6e-4)
    assert call("evolve", file)[1].splitlines()[1:] == out.splitlines()[1:]


@pytest.mark.parametrize("name", ["evolution", "toy"])
def test_the_evolution_of_a_preset(name, call, monkeypatch):
    """Its own, or the default one of its images."""
    preset, told = PRESETS[name], []

    def tell(spec, *_):
        told.append(spec)
        raise Cancelled

    monkeypatch.setattr(cli.stages, "result", tell)
    status, out, _ = call("evolve", "--preset", name, "--yes")
    assert status == 130
    e = preset.evolution or Evolution(data=preset.experiment.data)
    assert told == [next(iter(e.wanted().values()))]
    assert out.startswith(e.in_words())


def test_the_kernel_as_npz(call, cache, spec_file, tmp_path):
    status, out, err = call("kernel", spec_file, "--out", tmp_path / "k.npz")
    assert (status, err) == (0, "")
    assert "K (20, 20), K_test (10, 20)" in out
    spec = Experiment(**TINY).kernel()
    expected = result(spec, Store(cache)).arrays
    with np.load(tmp_path / "k.npz", allow_pickle=False) as file:
        assert np.array_equal(file["K"], expected["K"].numpy())
        assert np.array_equal(file["K_test"], expected["K_test"].numpy())
        assert file["y_train"].shape == (20, 1)
        assert file["y_test"].shape == (10, 1)
        assert json.loads(str(file["spec"])) == spec.model_dump(mode="json")
    assert [path.name for path in tmp_path.glob("*.npz*")] == ["k.npz"]
    assert not list(tmp_path.glob(".*"))


def test_the_kernel_as_npz_after_a_kill(call, spec_file, tmp_path):
    """What a killed command left is taken over; what somebody else left is not."""
    part = tmp_path / ".k.npz.part"
    part.write_bytes(b"PK\3\4 half of it")
    assert call("kernel", spec_file, "--out", tmp_path / "k.npz")[0] == 0
    assert not part.exists()
    part.write_text("a diary")
    status, _, err = call("kernel", spec_file, "--out", tmp_path / "k.npz")
    assert (status, part.read_text()) == (1, "a diary")
    assert f"{part} is in the way" in err


def test_a_damaged_unfinished_kernel_is_told_of(call, spec_file, tmp_path):
    """In a sentence on stderr; the kernel is right."""
    assert call("kernel", spec_file, "--out", tmp_path / "k.npy")[0] == 0
    whole = (tmp_path / "k.npy").read_bytes()
    (tmp_path / "k.npy").replace(tmp_path / "k.npy.begun")
    (tmp_path / "k.npy.begun.json").write_text('{"images": 3, "done": "all"}')
    status, _, err = call("kernel", spec_file, "--out", tmp_path / "k.npy")
    assert status == 0
    assert "The list of finished tiles" in err
    assert "begun anew" in err
    assert (tmp_path / "k.npy").read_bytes() == whole
    assert {path.name for path in tmp_path.glob("*k.npy*")} == {"k.npy"}


def test_the_kernel_by_tiles(call, spec_file, tmp_path):
    """An .npy: the training images' kernel, the same numbers."""
    assert call("kernel", spec_file, "--out", tmp_path / "k.npz")[0] == 0
    status, out, err = call("kernel", spec_file, "--out", tmp_path / "k.npy", "--memory", "0.01")
    assert (status, err) == (0, "")
    assert "K (20, 20)" in out
    with np.load(tmp_path / "k.npz", allow_pickle=False) as file:
        np.testing.assert_allclose(np.load(tmp_path / "k.npy"), file["K"], rtol=1e-12)


def test_the_kernel_of_a_preset(call, tmp_path):
    status, out, _ = call("kernel", "--preset", "toy", "--out", tmp_path / "k.npz")
    assert status == 0
    assert "K (500, 500)" in out


def test_own_images_are_taken_in_and_run(call, tmp_path):
    data = tmp_path / "data"
    status, out, err = call("--data", data, "import", save_own(tmp_path / "birds.npz"))
    assert (status, err) == (0, "")
    assert out.startswith("24 training and 24 test images of 5x5 pixels and 3 channels, 2 classes: owl, wren")
    fields = json.loads(out.splitlines()[-1].removeprefix("Use it as: "))
    spec = Experiment(**fields).data
    assert (spec.classes, spec.n_train, spec.n_test) == (("owl", "wren"), 24, 24)  # as the app has it
    (tmp_path / "birds.json").write_text(json.dumps(fields))
    status, out, err = call("--data", data, "run", tmp_path / "birds.json")
    assert (status, err) == (0, "")
    assert "clean accuracy" in out


def test_the_cache_is_listed_verified_and_cleared(call, cache):
    assert call("cache", "ls")[1].endswith(f"0.0 MB in {cache}\n")
    result(Experiment(**TINY).spectrum(), Store(cache))
    status, out, _ = call("cache", "ls")
    assert status == 0
    assert [line.split()[0] for line in out.splitlines()[:-1]] == ["spectrum", "kernel"]
    assert out.count(Experiment(**TINY).in_words().split(", FGSM")[0]) == 2
    assert call("cache", "verify")[:2] == (0, "2 artifacts read, 0.0 MB.\n")

    kernel = next(artifact for artifact in Store(cache).entries() if artifact.stage == "kernel")
    file = kernel.path / "arrays.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    status, out, _ = call("cache", "verify")
    assert status == 1
    assert f"kernel/{kernel.key} is damaged" in out
    assert call("cache", "clear")[:2] == (0, "1 artifact deleted.\n")
    assert Store(cache).entries() == []
    assert call("cache", "verify")[0] == 0


# -- what goes wrong -----------------------------------------------------------------------------------------------

WRONG = [
    pytest.param(["run", "{tmp}/none.json"], "Cannot read {tmp}/none.json: No such file", id="no file"),
    pytest.param(["run", "{tmp}"], "Cannot read {tmp}: Is a directory", id="a folder"),
    pytest.param(["run", "{tmp}/broken.json"], "The experiment is not valid JSON", id="no json"),
    pytest.param(["run", "{tmp}/misspelt.json"], "no field 'dta'. Did you mean data?", id="unknown field"),
    pytest.param(["run", "{tmp}/many.json"], "has 1200 training images", id="too many images"),
    pytest.param(["run", "{tmp}/lost.json"], "Import the .npz again", id="own data that are not there"),
    pytest.param(["run", "--preset", "stat"], "There is no preset 'stat'; choose one of start,", id="unknown preset"),
    pytest.param(["transfer", "{tmp}/none.json"], "Cannot read {tmp}/none.json: No such file", id="no story"),
    pytest.param(["transfer", "{tmp}/broken.json"], "The Story is not valid JSON", id="story no json"),
    pytest.param(["transfer", "{tmp}/list.json"], "The Story is [1, 2]; an object with", id="story a list"),
    pytest.param(["transfer", "{tmp}/tiny.json"], "The Story has no field 'data'", id="story an experiment"),
    pytest.param(["transfer", "{tmp}/wide.json"], "no field 'widhts'. Did you mean widths?", id="story misspelt"),
    pytest.param(["transfer", "{tmp}/far.json"], "eps is 2.0; pixels lie in [0, 1]", id="story beyond pixels"),
    pytest.param(["transfer", "{tmp}/near.json"], "eps has 0 entries; it must have at least 1", id="story no radius"),
    pytest.param(["transfer", "{tmp}/fast.json"], "a learning rate of 100 n/lam_max diverges", id="story diverges"),
    pytest.param(["transfer", "{tmp}/vgg.json"], "There is no net 'vgg' to stand beside", id="story unknown net"),
    pytest.param(["transfer", "--preset", "stori"], "There is no preset 'stori'; choose one of", id="story preset"),
    pytest.param(["evolve", "{tmp}/broken.json"], "The Evolution is not valid JSON", id="evolution no json"),
    pytest.param(["evolve", "{tmp}/late.json"], "cannot be linearised after epoch 9 of 2", id="evolution freeze"),
    pytest.param(["evolve", "{tmp}/steep.json"], "Choose a smaller learning rate", id="evolution diverges"),
    pytest.param(["kernel", "{tmp}/tiny.json", "--out", "{tmp}/no/k.npz"], "Cannot write {tmp}/no/k.npz", id="out"),
    pytest.param(["kernel", "{tmp}/tiny.json", "--out", "{tmp}/folder"], "Is a directory. Choose", id="out a folder"),
    pytest.param(["import", "{tmp}/none.npz"], "none.npz cannot be read: No such file", id="no npz"),
    pytest.param(["import", "{tmp}/broken.json"], "The file is not an .npz archive", id="no archive"),
    pytest.param(["import", "{tmp}/bad.npz"], "y_train holds one label only", id="one class"),
]


@pytest.fixture
def mistakes(tmp_path, spec_file) -> Path:
    """A folder of files that are not what they should be."""
    (tmp_path / "broken.json").write_text('{"data": ')
    (tmp_path / "late.json").write_text(json.dumps(MOTION | {"freeze": [9]}))
    steep = {"lr": 1e6, "loss": "squared"}
    (tmp_path / "steep.json").write_text(json.dumps(MOTION | {"schedule": steep}))
    (tmp_path / "misspelt.json").write_text('{"dta": {}}')
    (tmp_path / "many.json").write_text('{"data": {"n_train": 1201}}')
    (tmp_path / "lost.json").write_text(json.dumps({"data": {"name": "own", "digest": "0" * 64}}))
    (tmp_path / "list.json").write_text("[1, 2]")
    stories = {
        "wide": {"widhts": [8]},
        "far": {"eps": [2.0]},
        "near": {"eps": []},
        "fast": {"training": {"lr": 100}},
        "vgg": {"outside": ["vgg"]},
    }
    for name, fields in stories.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(STORY | fields))
    save_own(tmp_path / "bad.npz", y_train=np.zeros(24, dtype=int))
    (tmp_path / "folder").mkdir()
    return tmp_path


@pytest.mark.parametrize(("arguments", "words"), WRONG)
def test_a_mistake_is_one_sentence_on_stderr(arguments, words, call, mistakes):
    status, _, err = call(*(argument.format(tmp=mistakes) for argument in arguments))
    assert status == 1
    assert words.format(tmp=mistakes) in err
    assert len(err.splitlines()) == 1
    assert "Traceback" not in err
    assert not list(mistakes.glob(".*"))  # nothing half-written is left


LONG = "x" * 5000
ODD = {
    "no out": ["kernel", "{tmp}/tiny.json", "--out", ""],
    "blank out": ["kernel", "{tmp}/tiny.json", "--out", "  "],
    "out that is the description": ["kernel", "{tmp}/tiny.json", "--out", "{tmp}/tiny.json"],
    "long out": ["kernel", "{tmp}/tiny.json", "--out", LONG],
    "long out by tiles": ["kernel", "{tmp}/tiny.json", "--out", f"{LONG}.npy"],
    "out with a NUL": ["kernel", "{tmp}/tiny.json", "--out", "a\0.npz"],
    "out a folder by tiles": ["kernel", "{tmp}/tiny.json", "--out", "{tmp}/folder.npy"],
    **{f"memory {x}": ["kernel", "{tmp}/tiny.json", "--out", "{tmp}/k.npy", f"--memory={x}"]
       for x in ("inf", "nan", "1e300", "-1", "0")},
    "long spec": ["run", LONG],
    "long story": ["transfer", LONG],
    "spec without a name": ["run", ""],
    "spec with a NUL": ["run", "a\0b"],
    "spec without end": ["run", "/dev/zero"],
    "spec of bytes": ["run", "{tmp}/bytes.json"],
    "story of bytes": ["transfer", "{tmp}/bytes.json"],
    "deep spec": ["run", "{tmp}/deep.json"],
    "deep story": ["transfer", "{tmp}/deep.json"],
    "deep field": ["run", "{tmp}/field.json"],
    "a field twice": ["run", "{tmp}/twice.json"],
    "a field of a story twice": ["transfer", "{tmp}/again.json"],
    "not a number": ["run", "{tmp}/nan.json"],
    "many wrong entries": ["transfer", "{tmp}/widths.json"],
    "many wrong classes": ["run", "{tmp}/classes.json"],
    "many wrong fields": ["run", "{tmp}/fields.json"],
    "long preset": ["run", "--preset", "x" * 10_000],
    "preset with a colour": ["run", "--preset", "\x1b[31mred"],
    "no cache": ["--cache", "", "cache", "ls"],
    "long cache": ["--cache", LONG, "cache", "ls"],
    "cache with a NUL": ["--cache", "a\0b", "cache", "ls"],
    "cache of nobody": ["--cache", "~no-such-user/x", "cache", "ls"],
    "no data": ["--data", "", "run", "{tmp}/tiny.json"],
    "long data": ["--data", LONG, "run", "{tmp}/tiny.json"],
    "data of nobody": ["--data", "~no-such-user/x", "run", "{tmp}/tiny.json"],
    "long npz": ["import", LONG],
    "npz with a NUL": ["import", "a\0b"],
    "npz of nobody": ["import", "~no-such-user/x.npz"],
    "npz with a colour": ["import", "\x1b[31m\u202ered\n.npz"],
    "a folder for an npz": ["import", "{tmp}"],
}  # fmt: skip


@pytest.mark.parametrize("case", ODD)
def test_odd_arguments_are_one_short_sentence(case, call, mistakes):
    """Whatever is given: status 1, nothing on stdout, at most 500 printable characters on one line of stderr."""
    (mistakes / "bytes.json").write_bytes(bytes(range(256)))
    (mistakes / "deep.json").write_text("[" * 40_000)
    (mistakes / "field.json").write_text('{"data": ' + "[" * 900 + "]" * 900 + "}")
    (mistakes / "twice.json").write_text('{"ridge": 1, "ridge": 2}')
    (mistakes / "again.json").write_text('{"training": {"lr": 1, "lr": 2}}')
    (mistakes / "nan.json").write_text('{"attack": {"eps": NaN}}')
    (mistakes / "widths.json").write_text(json.dumps({"widths": ["x"] * 3000}))
    (mistakes / "classes.json").write_text(json.dumps({"data": {"classes": ["\x1b[31m" + "x" * 999] * 3000}}))
    (mistakes / "fields.json").write_text(json.dumps({f"\x1b[2J{i}": i for i in range(3000)}))
    (mistakes / "folder.npy").mkdir()
    status, out, err = call(*(argument.format(tmp=mistakes) for argument in ODD[case]))
    assert (status, out) == (1, "")
    assert err.endswith(".\n")
    assert err[:-1].isprintable()
    assert 20 < len(err) <= LONGEST + 1
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("NTK_CACHE", LONG, "NTK_CACHE x"),
        ("NTK_CACHE", "~no-such-user/x", "NTK_CACHE ~no-such-user/x cannot be used"),
        ("NTK_DATA", LONG, "NTK_DATA x"),
        ("NTK_CACHE_MAX_GB", "nan", "a number above 0 is needed"),
        ("NTK_CACHE_MAX_GB", LONG, "a number above 0 is needed"),
    ],
    ids=lambda text: text[:20],
)
def test_odd_settings_are_one_short_sentence(name, value, words, monkeypatch, capsys):
    monkeypatch.setenv(name, value)
    assert cli.main(["cache", "ls"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert words in err
    assert len(err) <= LONGEST + 1


def test_empty_settings_are_none(monkeypatch, capsys):
    for name in ("NTK_CACHE", "NTK_DATA"):
        monkeypatch.setenv(name, "")
    assert cli.main(["presets"]) == 0
    assert capsys.readouterr().err == ""


def test_what_is_typed_does_not_reach_the_terminal_raw(capsys):
    with pytest.raises(SystemExit):
        cli.main(["run", "--preset", "start", "\x1b[31m" + LONG])
    err = capsys.readouterr().err
    assert "\x1b" not in err
    assert len(err.splitlines()[-1]) < 600


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_an_output_that_takes_nothing_is_no_traceback():
    done = subprocess.run(
        f"{sys.executable} -m ntkcore presets >/dev/full", shell=True, cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("closed", ["stdout", "stderr"])
def test_an_output_that_is_closed_is_no_traceback(closed, monkeypatch, capsys):
    """Python has None for what was closed (``>&-``) before it began."""
    monkeypatch.setattr(sys, closed, None)
    assert cli.main(["presets"]) == 0
    assert capsys.readouterr().err == ""


def test_a_cache_that_is_a_file_and_cuda_where_there_is_none(call, cache, spec_file, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    status, _, err = call("--device", "cuda", "run", spec_file)
    assert (status, err) == (1, "There is no CUDA device here. Choose 'auto' or 'cpu'.\n")
    cache.touch()
    status, _, err = call("cache", "ls")
    assert status == 1
    assert "is a file; a folder is needed" in err


@pytest.mark.parametrize(
    "arguments", [[], ["run"], ["dance"], ["transfer"], ["cache", "burn"], ["kernel", "--preset", "toy"]], ids=" ".join
)
@pytest.mark.parametrize(
    ("program", "name"), [("lib/ntkcore/__main__.py", "python -m ntkcore"), ("bin/ntkcore", "ntkcore")]
)
def test_an_incomplete_command_shows_its_usage(arguments, program, name, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [program, *arguments])
    with pytest.raises(SystemExit) as ended:
        cli.main(arguments)
    assert ended.value.code == 2
    assert f"usage: {name} " in capsys.readouterr().err


def test_a_mistake_ends_the_program_with_its_status(mistakes, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["ntkcore", "run", str(mistakes / "broken.json")])
    with pytest.raises(SystemExit) as ended:
        runpy.run_module("ntkcore", run_name="__main__")
    out, err = capsys.readouterr()
    assert (ended.value.code, out) == (1, "")
    assert len(err.splitlines()) == 1
    assert "The experiment is not valid JSON" in err


def test_a_reader_that_leaves_early_is_no_error(monkeypatch):
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)  # so that the last words are still to be written at the end
    process = start("presets")
    process.stdout.close()
    err = process.stderr.read()
    assert (process.wait(60), err) == (0, "")
    process.stderr.close()


LARGE = {"data": {"n_train": 300, "n_test": 20}, "net": {"family": "myrtle", "depth": 5}}  # at 28 x 28: an hour
MANY = LARGE | {"data": {"n_train": 1000}}
LONG_EVOLUTION = {"data": {"n_train": 800}, "net": {"name": "resnet18"}, "epochs": 10}


@pytest.mark.parametrize(
    ("arguments", "spec"),
    [
        pytest.param(("run",), LARGE, id="run"),
        pytest.param(("kernel", "--out", "K.npz"), MANY, id="kernel"),
        pytest.param(("kernel", "--out", "K.npy"), MANY, id="kernel by tiles"),
        pytest.param(("transfer",), {"kernel": LARGE, "widths": [64]}, id="transfer"),
        pytest.param(("evolve",), LONG_EVOLUTION, id="evolve"),
    ],
)
def test_long_work_wants_a_yes(arguments, spec, call, cache, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "long.json"
    file.write_text(json.dumps(spec))
    status, _, err = call(arguments[0], file, *arguments[1:])
    assert status == 1
    (said,) = err.splitlines()
    assert re.match(r"This takes about [\d.]+ (min|h|days) and [\d.]+ (MB|GB) of memory\.", said)
    assert said.endswith("It was not started: give --yes to run it.")
    assert Store(cache).entries() == []
    assert list(tmp_path.glob("K*")) == []


@pytest.mark.parametrize(("answer", "begins"), [("n", False), ("", False), ("y", True), ("Yes", True)])
def test_at_a_terminal_it_is_asked(answer, begins, cache, spec_file, monkeypatch):
    monkeypatch.setattr(consent, "LONG", 0.0)
    screen = Terminal()
    monkeypatch.setattr("sys.stdin", Terminal(f"{answer}\n"))
    monkeypatch.setattr("sys.stderr", screen)
    assert cli.main(["--cache", str(cache), "run", str(spec_file)]) == (0 if begins else 1)
    question, *_ = screen.getvalue().partition("[y/N] ")
    assert question.startswith("This takes about ")
    assert ("It was not started." in screen.getvalue()) != begins
    assert bool(Store(cache).entries()) == begins


def test_yes_is_given_beforehand(call, cache, spec_file, monkeypatch):
    monkeypatch.setattr(consent, "LONG", 0.0)
    status, out, err = call("run", spec_file, "--yes")
    assert status == 0
    assert err.startswith("This takes about ")
    assert "clean accuracy" in out


@pytest.mark.skipif(os.name != "posix", reason="needs a signal that stands for Ctrl-C")
def test_ctrl_c_keeps_what_is_finished_and_nothing_half(call, cache, tmp_path):
    """Stopped in the middle of a sweep that would take minutes."""
    file = tmp_path / "long.json"
    file.write_text(json.dumps({"data": {"name": "toy", "n_train": 900, "n_test": 2000}, "attack": {"steps": 50}}))
    process = start("--cache", cache, "run", file, "--yes")
    lines = [process.stdout.readline() for _ in range(3)]
    assert [line.split()[0] for line in lines[1:]] == ["kernel", "spectrum"]
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err.splitlines()[-1] == "Stopped. What was finished before is kept."
    assert "accuracy" not in out
    assert is_whole(cache)
    assert {artifact.stage for artifact in Store(cache).entries()} >= {"kernel", "spectrum"}
    assert not {artifact.stage for artifact in Store(cache).entries()} & {"sweep", "curves"}


@pytest.mark.skipif(os.name != "posix", reason="needs a signal that stands for Ctrl-C")
def test_ctrl_c_in_a_training_keeps_the_nets_that_are_told(call, cache, tmp_path):
    """Stopped while the second net is trained, which would take minutes; what was told is there again at once."""
    file = tmp_path / "long.json"
    file.write_text(json.dumps(STORY | {"widths": [8, 8192], "training": {"steps": 1500}}))
    process = start("--cache", cache, "transfer", file, "--yes")
    lines = [process.stdout.readline() for _ in range(3)]
    assert lines[2].startswith("width 8 ")
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, "")
    assert err.splitlines()[-1] == "Stopped. What was finished before is kept."
    assert is_whole(cache)
    stages = [artifact.stage for artifact in Store(cache).entries()]
    assert (stages.count("twin"), stages.count("transfer")) == (1, 5)
    file.write_text(json.dumps(STORY | {"widths": [8], "training": {"steps": 1500}}))
    assert call("transfer", file)[1] == "".join(lines)
    assert len(Store(cache).entries()) == len(stages)


# -- the progress bar ----------------------------------------------------------------------------------------------


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_bar_in_a_terminal_is_drawn_and_wiped(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    with cli.Bar("sweep") as bar:
        bar(0, 4, "first")
        bar(1, 4, "too soon to be drawn")
        bar(4, 4, "last")
    drawn = sys.stderr.getvalue()
    assert "  0% first" in drawn
    assert "too soon" not in drawn
    assert "100% last" in drawn
    assert drawn.endswith("\r\033[K")


def test_a_bar_elsewhere_is_silent(capsys):
    with cli.Bar("sweep") as bar:
        bar(1, 1, "done")
    assert capsys.readouterr() == ("", "")
