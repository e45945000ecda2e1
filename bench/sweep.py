"""The Eigenfeatures page's work on the bundled default, against attacking feature by feature.

A round is: the whole chain of stages into a fresh store (what a click computes), the same chain again through another
store on the same folder (what a later visit reads, checksums verified), then some eigenfeatures one by one as the
paper's notebook does it: ``f_i(x) = K(x, X) v_i (v_i . y) / lam_i``, its gradient at all test images by autograd
through the kernel, FGSM, the kernel at the adversarial images. Rounds alternate, so that a busy moment meets all.
After them, the page itself on results that are there: the server's part of a visit, the script from top to bottom,
figures and pictures.

The feature-by-feature way is batched over the test images and starts from the same spectrum; it runs in float64 (the
public calls as they are) and in float32 (the notebook's precision). The ratio is its median for one feature, times
the number of features, over the median of the sweep stage alone.
"""

import argparse
import os
import tempfile
from collections import defaultdict
from pathlib import Path

import numpy as np
import torch
from streamlit.testing.v1 import AppTest

import ntkcore as ntk
from bench.measure import Seconds, timed
from ntkcore.runs.specs import Experiment, StageSpec
from ntkcore.runs.stages import kernel_of, result
from ntkcore.runs.store import Store
from pages.ui.shell.services import services

APP = Path(__file__).resolve().parent.parent / "app.py"
PICTURED = (0, 1, 2, 3, 20, 200)  # the features that the page shows at first
STAGES = ("kernel", "spectrum", "sweep", "curves", "picture 1", "picture 2")

Verdicts = tuple[torch.Tensor, torch.Tensor]  # right before, right after the attack: [m] bool each


def main(options: argparse.Namespace) -> None:
    """Measure and print; options: n, m, features, rounds."""
    experiment = Experiment(data=ntk.DataSpec(n_train=options.n, n_test=options.m))
    task = ntk.load(experiment.data)
    stages = chain(experiment, task)
    _warm_up(experiment, task)
    seconds: dict[str, list[float]] = defaultdict(list)
    verdicts: dict[str, dict[int, Verdicts]] = {"float64": {}, "float32": {}}
    for i in range(options.rounds):
        with tempfile.TemporaryDirectory() as folder:
            arrays = []
            for name, spec in zip(STAGES, stages, strict=True):
                took, value = timed(lambda spec=spec, folder=folder: dict(result(spec, Store(folder)).arrays))
                seconds[name].append(took)
                arrays.append(value)
            seconds["cold"].append(sum(seconds[name][-1] for name in STAGES))
            seconds["warm"].append(timed(lambda folder=folder: _read_all(stages, Store(folder)))[0])
        spectrum, swept = ntk.Spectrum(arrays[1]["values"], arrays[1]["vectors"]), arrays[2]
        chosen = np.unique(np.linspace(0, spectrum.rank - 1, options.features).round().astype(int))
        for feature in chosen[i :: options.rounds].tolist():
            for precision, found in verdicts.items():
                f = one_feature(experiment, task, spectrum, feature, getattr(torch, precision))
                took, found[feature] = timed(lambda f=f: attacked(f, experiment.attack, task))
                seconds[precision].append(took)
    seconds["page"] = page_seconds(experiment, stages, options.rounds)
    _report(experiment, seconds, verdicts, swept, spectrum.rank)


def chain(experiment: Experiment, task: ntk.Task) -> tuple[StageSpec, ...]:
    """What the Eigenfeatures page asks for: kernel, spectrum, sweep, curves, pictures at an image of each class."""
    images = [int((task.labels_test == label).nonzero()[0]) for label in (0, 1)]
    features = tuple(index for index in PICTURED if index < task.n)
    pictures = (experiment.pictures(index, features) for index in images)
    return (experiment.kernel(), experiment.spectrum(), experiment.sweep(), experiment.curves(), *pictures)


def one_feature(
    experiment: Experiment, task: ntk.Task, spectrum: ntk.Spectrum, feature: int, dtype: torch.dtype
) -> ntk.KernelPredictor:
    """One eigenfeature as a predictor of its own, in the given precision."""
    kernel = kernel_of(experiment.kernel(), task)
    f = ntk.subset_predictor(kernel, spectrum, task.x_train, task.y_train, [feature])
    return ntk.KernelPredictor(kernel, task.x_train.to(dtype), f.alpha.to(dtype))


def attacked(f: ntk.KernelPredictor, attack: ntk.Attack, task: ntk.Task) -> Verdicts:
    """Attack one predictor at all test images together."""
    r = attack(f, task.x_test, task.y_test)
    return r.right_before, r.right_after


def page_seconds(experiment: Experiment, stages: tuple[StageSpec, ...], rounds: int) -> list[float]:
    """Seconds of each of several runs of the Eigenfeatures page's script, all its results being there."""
    with tempfile.TemporaryDirectory() as folder:
        _read_all(stages, Store(folder))
        os.environ["NTK_CACHE"] = folder
        app = AppTest.from_file(str(APP), default_timeout=60)
        app.query_params["n"], app.query_params["m"] = str(experiment.data.n_train), str(experiment.data.n_test)
        app.run()
        app.switch_page("pages/eigenfeatures.py").run()
        if app.exception or any(button.label == "Cancel" for button in app.button):
            raise RuntimeError("the page does not show the results that were computed for it")
        seconds = [timed(app.run)[0] for _ in range(rounds)]
        services().worker.close()
        return seconds


def _read_all(stages: tuple[StageSpec, ...], store: Store) -> None:
    for spec in stages:
        dict(result(spec, store).arrays)


def _warm_up(experiment: Experiment, task: ntk.Task) -> None:
    """Touch every library and start the threads, as in a worker that waits for its first job."""
    small = Experiment(data=ntk.DataSpec(n_train=20, n_test=4))
    with tempfile.TemporaryDirectory() as folder:
        _read_all(chain(small, ntk.load(small.data)), Store(folder))
    kernel = kernel_of(experiment.kernel(), task)
    # at full size: the first gradient through tiles loads a compiler
    whole = ntk.KernelPredictor(kernel, task.x_train.double(), task.y_train.double())
    attacked(whole, experiment.attack, task)


def _report(
    experiment: Experiment,
    seconds: dict[str, list[float]],
    verdicts: dict[str, dict[int, Verdicts]],
    swept: dict[str, torch.Tensor],
    features: int,
) -> None:
    print(f"{experiment.in_words()}; medians of {len(seconds['cold'])} rounds (fastest to slowest)")
    for name in STAGES:
        print(f"  {name:<28} {Seconds(seconds[name])}")
    print(f"  {'all of it, cold':<28} {Seconds(seconds['cold'])}")
    print(f"  {'all of it, warm':<28} {Seconds(seconds['warm'])}")
    print(f"  {'the page, warm (server)':<28} {Seconds(seconds['page'])}")
    sweep = Seconds(seconds["sweep"]).median
    for precision, found in verdicts.items():
        one = Seconds(seconds[precision])
        print(f"  {f'one feature alone, {precision}':<28} {one}")
        whole = one.median * features
        print(f"    x {features} features = {whole:.1f} s, {whole / sweep:.1f} times the sweep")
        print(f"    {_agreement(found, swept)}")


def _agreement(found: dict[int, Verdicts], swept: dict[str, torch.Tensor]) -> str:
    """Whether the features that were attacked alone have the same counts in the sweep, and the same verdicts."""
    index = sorted(found)
    before, after = (torch.stack([found[i][part] for i in index], 1) for part in (0, 1))
    theirs_before, theirs_after = swept["right_before"][:, index], swept["right_after"][:, index]
    pairs = {"usefulness": (before, theirs_before), "robustness": (before & after, theirs_before & theirs_after)}
    words = []
    for name, (own, theirs) in pairs.items():
        other, verdicts = int((own.sum(0) != theirs.sum(0)).sum()), int((own != theirs).sum())
        words.append(f"{name} counts differ for {other} of {len(index)} ({verdicts} of {own.numel()} verdicts)")
    return "; ".join(words)
