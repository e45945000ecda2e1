"""Whole data sets on one machine: a pair of CIFAR-10's classes with every feature, all ten classes with the leading
ones, from a kernel in a file, and the prediction by conjugate gradients.

Steps are timed one by one: wall time says what a reader would wait on a machine as busy as this one, processor time
(user and system, all threads) what the work itself takes. Memory is what the process holds at most, pages of files not
counted::

    NTK_DATA=/your/data python -m bench large                # print; a quarter of an hour on two idle cores
    NTK_DATA=/your/data python -m bench large --docs docs    # and write that part of docs/costs.md
"""

import argparse
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter, process_time

import numpy as np
import torch

import ntkcore as ntk
from bench.measure import machine, put_section
from ntkcore.analysis.features.classes import ROBUST
from ntkcore.data.sources import data_root
from ntkcore.runs.memory import held

TITLE = "Whole data sets"
PAIR = ntk.DataSpec(name="cifar10", classes=("airplane", "automobile"), n_train=10_000, n_test=2000)
TEN = ntk.DataSpec(name="cifar10", classes=(), n_train=50_000, n_test=1000)
RESIDUAL = 1e-3
LEADING, CHECKED = (500, 200), 8000  # features of the pair and of all classes; images of a direct solution


@dataclass
class Steps:
    """Seconds of each step, of wall and of processor time, and the most memory that it holds, in GB."""

    rows: list[tuple[str, float, float, float, str]] = field(default_factory=list)

    @property
    def most(self) -> float:
        """Memory of all steps."""
        return max((row[3] for row in self.rows), default=0.0)

    @contextmanager
    def step(self, name: str, found: list[str] | None = None) -> Iterator[None]:
        """found: what the step tells in words, filled while it works."""
        wall, busy, done, seen = perf_counter(), process_time(), threading.Event(), [held() / 1e9]

        def look() -> None:
            while not done.wait(0.2):
                seen.append(held() / 1e9)

        watch = threading.Thread(target=look)
        watch.start()
        try:
            yield
        finally:
            done.set()
            watch.join()
        row = name, perf_counter() - wall, process_time() - busy, max(seen), "; ".join(found or [])
        self.rows.append(row)
        print(f"  {row[0]:<48} {row[1]:7.0f} s, processor {row[2]:7.0f} s, {row[3]:4.1f} GB  {row[4]}", flush=True)

    def table(self, title: str) -> list[str]:
        total = ("all of it", sum(row[1] for row in self.rows), sum(row[2] for row in self.rows), self.most, "")
        lines = [
            f"| {name} | {wall:.0f} s | {busy:.0f} s | {most:.1f} GB | {words} |"
            for name, wall, busy, most, words in [*self.rows, total]
        ]
        return [f"| {title} | wall | processor | at most | |", "|---|---|---|---|---|", *lines]


def main(options: argparse.Namespace) -> None:
    """Measure and print; options: docs."""
    if PAIR.name == "cifar10" and not (data_root() / "cifar-10-batches-py").exists():
        print("  CIFAR-10 is not there; NTK_DATA says where it is.")
        return
    one, part, all_of_them = Steps(), Steps(), Steps()
    pair(one, part)
    ten(all_of_them)
    text = [f"Measured by `python -m bench large --docs docs` on: {machine()}. FC(1), FGSM at 8/255.", ""]
    text += [*one.table(f"{PAIR.n_train:,} images of two classes, every feature"), ""]
    text += [*part.table(f"the same, {LEADING[0]} leading features"), ""]
    text += all_of_them.table(f"{TEN.n_train:,} images of ten classes, {LEADING[1]} leading features")
    if options.docs:
        put_section(Path(options.docs) / "costs.md", TITLE, text)


def pair(every: Steps, part: Steps) -> None:
    """All features, then the leading ones, from the same kernel."""
    task, k = ntk.load(PAIR), ntk.kernel_fn(ntk.fc(1))
    x, x_test = task.x_train.double(), task.x_test.double()
    kernels = []
    for steps in (every, part):
        with steps.step("kernel"):
            kernels = [k(x), k(x_test, x)]
    told: list[str] = []
    with part.step("leading eigenpairs", told):
        leading = ntk.spectrum(kernels[0], LEADING[0])
        told.append(f"{leading.left_out:.1%} of the trace left out")
    _sweep(part, k, task, leading, kernels[1])
    with every.step("eigenpairs"):
        whole = ntk.spectrum(kernels.pop(0))
    error = float(((leading.values - whole.values[: LEADING[0]]) / leading.values).abs().max())
    print(f"  leading eigenvalues beside the full decomposition: within {error:.0e} of each")
    _sweep(every, k, task, whole, kernels[0])


def ten(steps: Steps) -> None:
    """From a file: leading eigenpairs, their features, and the prediction by conjugate gradients."""
    task, k, told = ntk.load(TEN), ntk.kernel_fn(ntk.fc(1)), list[str]()
    with tempfile.TemporaryDirectory() as folder:
        with steps.step("kernel to a file"):
            K = ntk.kernel_to_file(k, task.x_train, Path(folder) / "kernel.npy")
        with steps.step(f"{LEADING[1]} leading eigenpairs", told):
            s = ntk.spectrum(K, LEADING[1])
            told.append(f"{s.left_out:.1%} of the trace left out")
        np.savez(Path(folder) / "s.npz", values=s.values, vectors=s.vectors)
        _sweep(steps, k, task, s)
        predict(steps, k, task, K, s)
    direct(steps, task, k)


def _sweep(
    steps: Steps, k: ntk.TiledKernel, task: ntk.Task, s: ntk.Spectrum, K_test: torch.Tensor | None = None
) -> None:
    told: list[str] = []
    with steps.step(f"usefulness and robustness of {s.rank} features, {task.m} test images", told):
        data = (task.x_train, task.y_train, task.x_test, task.y_test)
        sweep = ntk.eigenfeatures(k, *data, spectrum_of_train=s, K_test=K_test)
        useful = ntk.classify(sweep) > 0
        told.append(f"{int(useful.sum())} of use, {int((ntk.classify(sweep) == ROBUST).sum())} robust")


def predict(steps: Steps, k: ntk.TiledKernel, task: ntk.Task, K: np.memmap, s: ntk.Spectrum) -> None:
    """To RESIDUAL, and its accuracy."""
    told: list[str] = []
    with steps.step(f"fit to a residual of {RESIDUAL:g}", told):
        f = ntk.fit(k, task.x_train, task.y_train, spectrum_of_train=s, residual=RESIDUAL, K=K)
        told.append(f"residual {f.residual:.1e}")
    with steps.step(f"its prediction of {task.m} test images", told := []):
        outputs = f(task.x_test)
        told.append(f"accuracy {ntk.accuracy(outputs, task.y_test):.1%}")


def direct(steps: Steps, task: ntk.Task, k: ntk.TiledKernel) -> None:
    """On as many images as fit: the residual's solution beside one by Cholesky."""
    x, y, told = task.x_train[:CHECKED].double(), task.y_train[:CHECKED].double(), list[str]()
    with steps.step(f"fit beside a direct solution, {len(x):,} images", told):
        K, K_test = k(x), k(task.x_test.double(), x)
        exact = K_test @ torch.cholesky_solve(y, torch.linalg.cholesky(K))
        f = ntk.fit(k, x, y, spectrum_of_train=ntk.spectrum(K, LEADING[1]), residual=RESIDUAL, K=K)
        by_residual = K_test @ f.alpha
        accuracies = [f"{ntk.accuracy(found, task.y_test):.1%}" for found in (by_residual, exact)]
        same = float((by_residual.argmax(1) == exact.argmax(1)).double().mean())
        told.append(f"accuracy {accuracies[0]}, directly {accuracies[1]}; {same:.1%} of the answers are the same")
