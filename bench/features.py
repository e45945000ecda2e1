"""Usefulness and FGSM robustness of every eigenfeature, beside neural-tangents taking them one by one.

The peer's way for one feature, compiled as a whole (jit): the kernel between test and training images times the
feature's weights, the gradient of the loss at the test images, a step of signs, the kernel at the attacked images. Its
time for one feature (medians over several), times the number of features, stands against our whole sweep; where one of
its features takes minutes, it gets fewer test images and its time is scaled up. Both start from the same eigenvectors
and alternate in one run; counts are compared feature by feature. Images are CIFAR-10's airplanes and automobiles where
they are on the disk (``NTK_DATA``), else the bundled garments.
"""

import argparse
import tempfile
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np

import ntkcore as ntk
from bench.measure import Seconds, timed
from bench.peers import MISSING, Peer, neural_tangents
from ntkcore.analysis.features.eigenfeatures import Sweep, feature_bank
from ntkcore.data.sources import data_root
from ntkcore.nets import FAMILIES

CIFAR = ntk.DataSpec(name="cifar10", classes=("airplane", "automobile"), n_train=2000, n_test=100)


@dataclass(frozen=True)
class Case:
    """A sweep: family and depth, side of the images (None: as they are), n, m; test images at the peer."""

    family: str
    depth: int
    side: int | None
    n: int
    m: int
    peers: int
    rounds: int = 5

    @property
    def net(self) -> ntk.Net:
        return FAMILIES[self.family].make(self.depth)


CASES = (
    Case("fc", 1, None, 2000, 100, 100),
    Case("fc", 5, None, 2000, 100, 100),
    Case("conv", 2, None, 500, 100, 10, 1),
    Case("myrtle", 5, 8, 500, 100, 2, 1),
)


def main(options: argparse.Namespace) -> None:
    """Measure and print; options: rounds."""
    with neural_tangents() as peer:
        if peer is None:
            print(f"  {MISSING}")
        for case in CASES:
            measure(case, min(options.rounds, case.rounds), peer)


def measure(case: Case, rounds: int, peer: Peer | None) -> None:
    """Our sweep and some of the peer's features in turn."""
    data = task_of(case)
    kernel = ntk.kernel_fn(case.net)
    s = ntk.spectrum(kernel(data.x_train.double()))
    chosen = np.unique(np.linspace(0, s.rank - 1, 5 * rounds).round().astype(int)).tolist()
    shape = "x".join(map(str, data.image_shape))
    print(f"  {case.net}, {data.spec.name} {shape}, n = {case.n}, m = {case.m}, {s.rank} features", flush=True)
    if rounds > 1:  # what is compiled at first use
        ntk.eigenfeatures(kernel, data.x_train, data.y_train, data.x_test[:4], data.y_test[:4], spectrum_of_train=s)
    ours, theirs, counts = [], [], {}
    with tempfile.TemporaryDirectory() as folder:
        if peer is not None:
            save(case, data, s, Path(folder))
            peer.prepare_features(case.family, case.depth, Path(folder))
        for turn in range(rounds):
            took, sweep = timed(
                lambda: ntk.eigenfeatures(
                    kernel, data.x_train, data.y_train, data.x_test, data.y_test, spectrum_of_train=s
                )
            )
            ours.append(took)
            for feature in chosen[turn::rounds] if peer is not None else ():
                seconds, *counts[feature] = peer.feature(feature)
                theirs.append(seconds * case.m / case.peers)
        exact = in_double(case, chosen, Path(folder)) if peer is not None and rounds > 1 else {}
    print(f"    all features {Seconds(ours)}")
    if theirs:
        whole = median(theirs) * s.rank
        scaled = "" if case.peers == case.m else f" (from {case.peers} test images)"
        print(f"    neural-tangents, one feature {Seconds(theirs)}{scaled}; all {whole:.0f} s", end="")
        print(f": {whole / median(ours):.1f} times; {agreement(counts, sweep, case.peers)}", flush=True)
    if exact:
        print(f"    neural-tangents in double precision: {agreement(exact, sweep, case.peers)}", flush=True)


def task_of(case: Case) -> ntk.Task:
    if (data_root() / "cifar-10-batches-py").exists():
        return ntk.load(CIFAR.model_copy(update={"n_train": case.n, "n_test": case.m, "size": case.side}))
    return ntk.load(ntk.DataSpec(n_train=case.n, n_test=case.m, size=case.side and 7))


def save(case: Case, data: ntk.Task, s: ntk.Spectrum, folder: Path) -> None:
    """For the peer; a feature's readout goes into its weights, but for the sign."""
    bank = feature_bank(s, data.y_train)
    readout = bank.readout[:, 0, 0]
    arrays = {
        "x_train": data.x_train,
        "x_test": data.x_test[: case.peers],
        "y_test": data.y_test[: case.peers, 0],
        "weights": bank.weights[:, :, 0] * readout.abs()[:, None],
        "signs": readout.sign(),
    }
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array.double().numpy())


def in_double(case: Case, features: list[int], folder: Path) -> dict[int, list[int]]:
    """Counts of some features from what was saved, by the peer in double precision."""
    with neural_tangents(double=True) as peer:
        peer.prepare_features(case.family, case.depth, folder)
        return {feature: list(peer.feature(feature)[1:]) for feature in features}


def agreement(counts: dict[int, list[int]], sweep: Sweep, m: int) -> str:
    """Whether the features that were taken alone have the same counts in the sweep."""
    ours = {f: [int(side[:m, f].sum()) for side in (sweep.right_before, sweep.right_after)] for f in counts}
    other = [f for f in counts if counts[f] != ours[f]]
    most = max((abs(a - b) for f in other for a, b in zip(counts[f], ours[f], strict=True)), default=0)
    images = f", by at most {most} image{'s' * (most > 1)}" if other else ""
    return f"counts differ for {len(other)} of {len(counts)} features{images}"
