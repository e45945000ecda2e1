"""The benchmarks run and say what they measured; how long anything takes is no test."""

import argparse
import re
import time

import pytest
import torch

import ntkcore as ntk
from bench import claims, costs, empirical, estimates, features, kernels, large, pages, peers, story, sweep
from bench.measure import Seconds, machine, put_section, section, timed
from ntkcore.runs.specs import Experiment, Story


def test_the_sweep_alternates_with_single_features_and_compares_their_counts(capsys):
    sweep.main(argparse.Namespace(n=30, m=8, features=4, rounds=2))
    out = capsys.readouterr().out
    assert "30 training and 8 test images" in out
    for name in (*sweep.STAGES, "all of it, cold", "all of it, warm", "one feature alone, float32"):
        assert re.search(rf"^  {name} +\d+\.\d+ s  \(\d+\.\d+ to \d+\.\d+\)$", out, re.MULTILINE), name
    assert len(re.findall(r"x 30 features = \S+ s, \S+ times the sweep", out)) == 2
    float64 = out.partition("one feature alone, float64")[2].partition("one feature alone")[0]
    assert "usefulness counts differ for 0 of 4 (0 of 32 verdicts)" in float64
    assert "robustness counts differ for 0 of 4 (0 of 32 verdicts)" in float64


def test_a_count_that_differs_is_reported():
    ours = {0: (torch.tensor([True, True]), torch.tensor([True, False]))}
    theirs = {"right_before": torch.tensor([[True], [True]]), "right_after": torch.tensor([[False], [False]])}
    words = sweep._agreement(ours, theirs)
    assert "usefulness counts differ for 0 of 1 (0 of 2 verdicts)" in words
    assert "robustness counts differ for 1 of 1 (1 of 2 verdicts)" in words


def test_kernels_are_timed_per_entry(capsys, monkeypatch, tmp_path):
    """Without the peer it says how to get it, and measures its own."""
    monkeypatch.setattr(peers, "PYTHON", tmp_path / "python")
    monkeypatch.setattr(kernels, "CASES", (kernels.Case("conv", 1, (3, 4, 4), 5, 5),))
    kernels.main(argparse.Namespace(rounds=2, device="cpu"))
    out = capsys.readouterr().out
    assert "make peer" in out
    assert re.search(r"^  Conv\(1\) 3x4x4, n = 5 +\S+ \(\S+ to \S+\), error \de-\d\d$", out, re.MULTILINE)


@pytest.mark.skipif(not peers.PYTHON.exists(), reason="no environment with neural-tangents: make peer")
def test_kernels_beside_neural_tangents(capsys, monkeypatch):
    monkeypatch.setattr(kernels, "CASES", (kernels.Case("myrtle", 5, (3, 4, 4), 5, 3),))
    kernels.main(argparse.Namespace(rounds=2, device="cpu"))
    assert re.search(r"neural-tangents \(n = 3\) \S+ \(\S+ to \S+\): \d+ times", capsys.readouterr().out)


def test_the_story_says_when_each_width_is_complete(capsys, monkeypatch):
    monkeypatch.setattr(story, "COMPARED", story.COMPARED[:2])
    tiny = {"widths": (8, 16), "seeds": 1}
    monkeypatch.setattr(story, "Story", lambda kernel, **own: Story(kernel=kernel, **(tiny | own)))
    story.main(argparse.Namespace(n=20, m=6, rounds=2))
    out = capsys.readouterr().out
    assert "20 training and 6 test images" in out
    assert out.splitlines()[0].endswith("width 8, width 16; 1 seed; medians of 2 rounds")
    seconds = {}
    for name in ("width 8", "width 16", "all of it, cold", "all of it, warm", "consistency"):
        line = re.search(rf"^  {name} +(\d+\.\d+) s  \(\d+\.\d+ to \d+\.\d+\)$", out, re.MULTILINE)
        assert line, name
        seconds[name] = float(line[1])
    assert seconds["width 8"] < seconds["width 16"] == seconds["all of it, cold"]
    assert seconds["all of it, warm"] < seconds["all of it, cold"]


def test_the_claims_are_timed_one_by_one(capsys, monkeypatch):
    monkeypatch.setattr(claims, "EXPERIMENT", Experiment(data=ntk.DataSpec(n_train=20, n_test=6)))
    monkeypatch.setattr(claims, "CLAIMS", claims.CLAIMS[2:5])
    claims.main(argparse.Namespace())
    lines = capsys.readouterr().out.splitlines()
    found = [re.fullmatch(r"  (.+?) +(\d+\.\d) s, +(\d+\.\d) s of processors", line) for line in lines[1:]]
    assert [line and line[1] for line in found] == [*(claim.name for claim in claims.CLAIMS), "all of it, cold"]
    *parts, whole = (float(line[2]) for line in found if line)
    assert whole == pytest.approx(sum(parts), abs=0.2)


def test_a_story_has_at_most_three_rounds_and_says_so(capsys, monkeypatch):
    """Each into an empty store, and read once more; before them one that warms up."""
    roots = []

    def told(_, store):
        roots.append(store.root)
        return {"width 8": 1.0}

    monkeypatch.setattr(story, "told", told)
    monkeypatch.setattr(story, "result", lambda *_: None)
    story.main(argparse.Namespace(n=20, m=6, rounds=50))
    assert "medians of 3 rounds, at most 3 because each is long" in capsys.readouterr().out
    warm_up, *rounds = roots
    assert rounds[::2] == rounds[1::2]
    assert len({warm_up, *rounds}) == 1 + 3


def test_a_measurement_is_a_median_with_its_range():
    assert str(Seconds([3.0, 1.0, 2.0])).split() == ["2.000", "s", "(1.000", "to", "3.000)"]
    seconds, value = timed(lambda: "done")
    assert value == "done"
    assert seconds > 0
    assert re.search(r"\d+ cores, \d+ threads, load .* before the start; .*torch", machine())


@pytest.mark.parametrize("case", kernels.CASES, ids=str)
def test_every_case_is_a_kernel_of_its_images(case):
    x = case.images(2)
    assert x.shape == (2, *case.shape)
    assert ntk.kernel_fn(case.net)(x).shape == (2, 2)


def test_features_are_swept_without_the_peer_too(capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(peers, "PYTHON", tmp_path / "python")
    monkeypatch.setenv("NTK_DATA", str(tmp_path))
    monkeypatch.setattr(features, "CASES", (features.Case("fc", 1, None, 30, 6, 6, 2),))
    features.main(argparse.Namespace(rounds=2))
    out = capsys.readouterr().out
    assert "FC(1), fashion-mnist-sample 1x28x28, n = 30, m = 6, 30 features" in out
    assert re.search(r"^    all features +\d+\.\d+ s", out, re.MULTILINE)


@pytest.mark.skipif(not peers.PYTHON.exists(), reason="no environment with neural-tangents: make peer")
def test_features_beside_neural_tangents(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("NTK_DATA", str(tmp_path))
    monkeypatch.setattr(features, "CASES", (features.Case("fc", 1, None, 30, 6, 6, 2),))
    features.main(argparse.Namespace(rounds=2))
    assert re.search(r"all \d+ s: \d+\.\d times; counts differ for 0 of 10 features$", capsys.readouterr().out, re.M)


@pytest.mark.skipif(not peers.PYTHON.exists(), reason="no environment with neural-tangents: make peer")
def test_empirical_kernels_beside_neural_tangents(capsys, monkeypatch):
    monkeypatch.setattr(
        empirical, "CASES", tuple(empirical.Case(n, (3, 8, 8), 3, 2) for n in ("cnn-small", "cnn-large"))
    )
    empirical.main(argparse.Namespace(rounds=1, device="cpu"))
    out = capsys.readouterr().out
    errors = re.findall(r"error (\S+?)[,;\n]", out)
    assert len(errors) == 8
    assert all(float(error) < 1e-5 for error in errors)
    assert len(re.findall(r"times as fast as the tutorial's way .*, \S+ times as neural-tangents", out)) == 2


def test_costs_say_how_work_grows_and_what_fits_in_a_minute(capsys, monkeypatch):
    def squares(n: int):
        return lambda: time.sleep(1e-6 * n**2)

    monkeypatch.setattr(costs, "SERIES", (costs.Series("squares", costs.IMAGES, (50, 100, 200), squares, "images"),))
    monkeypatch.setattr(costs, "stream", lambda n: f"streamed {n}")
    costs.main(argparse.Namespace(rounds=1, docs=None))
    out = capsys.readouterr().out
    assert re.search(r"squares +50: \S+ s, 100: \S+ s, 200: \S+ s; grows like images n\^\d", out)
    assert re.search(r"^\| squares \| [\d,]+\* \| [\d,]+\* \| [\d,]+\* \|$", out, re.MULTILINE)
    assert "streamed 20000" in out


def test_a_law_reads_between_and_beyond_what_was_measured():
    law = costs.Law((100, 200, 400), (1.0, 4.0, 16.0), 2.0)
    assert law.exponent == pytest.approx(2)
    assert [law.reached(seconds) for seconds in (2.0, 16.0, 64.0)] == pytest.approx([141, 400, 800], abs=1)
    flat = costs.Law((100, 200, 400), (1.0, 1.1, 1.2), 2.0)
    assert flat.reached(4.8) == pytest.approx(800, abs=1)  # by the exponent that it must have at last


def test_a_kernel_is_streamed_killed_and_gone_on_with(monkeypatch):
    assert re.search(r"killed after \d+ s, gone on with from \d+% and complete", costs.stream(200))


def test_estimates_stand_beside_what_runs_take(capsys, monkeypatch):
    small = Experiment(data=ntk.DataSpec(n_train=20, n_test=6))
    monkeypatch.setattr(estimates, "CASES", {"tiny": small.stages()})
    estimates.main(argparse.Namespace())
    out = capsys.readouterr().out
    assert re.search(r"^  tiny +said +\d+\.\d\d s, took +\d+\.\d\d s: \d+\.\d\d$", out, re.MULTILINE)


def test_the_pages_that_are_measured_have_the_controls_that_are_moved(root):
    assert {visit.page for visit in pages.VISITS} == {file.stem for file in root.glob("pages/*.py")}
    for visit in (v for v in pages.VISITS if v.control is not None):
        page = (root / f"pages/{visit.page}.py").read_text()
        parts = (file for file in root.glob("pages/ui/sections/*.py") if re.search(rf"\b{file.stem}\b", page))
        assert f'key="{visit.control}"' in page + "".join(part.read_text() for part in parts), visit


def test_whole_data_sets_become_a_section_of_the_costs(monkeypatch, tmp_path):
    pair, ten = ntk.DataSpec(n_train=40, n_test=20), ntk.DataSpec(classes=(), n_train=60, n_test=20)
    for name, value in {"PAIR": pair, "TEN": ten, "LEADING": (5, 5), "CHECKED": 30}.items():
        monkeypatch.setattr(large, name, value)
    (tmp_path / "costs.md").write_text("# Costs\n\n## Before\n\nis kept\n")
    for _ in range(2):
        large.main(argparse.Namespace(docs=str(tmp_path)))
    text = "\n".join(section(tmp_path / "costs.md", large.TITLE))
    assert (
        (tmp_path / "costs.md").read_text().startswith("# Costs\n\n## Before\n\nis kept\n\n## Whole data sets\n\nMeas")
    )
    assert (tmp_path / "costs.md").read_text().count(large.TITLE) == 1
    assert re.search(r"fit to a residual of 0.001 \| \d+ s \| \d+ s \| [\d.]+ GB \| residual [\d.]+e-\d\d", text)
    assert text.count("of the trace left out") == 2
    put_section(tmp_path / "costs.md", "Before", ["is new"])
    assert "## Before\n\nis new\n\n## Whole" in (tmp_path / "costs.md").read_text()
