"""Makes the bundled sample from the full Fashion-MNIST: the first training images of each class and all test images.

They keep the set's own order. The file comes out the same, byte for byte, whenever it is made with the same zlib: time
stamps are fixed. (LZMA would save a seventh of it and take four times as long to read.) ::

    python -m ntkcore.data.make_sample --root ~/data       # reads FashionMNIST/raw, fetching it when missing
"""

import argparse
import io
import sys
import zipfile
from pathlib import Path

import numpy as np

from ntkcore.data import vision
from ntkcore.data.sample import SAMPLE
from ntkcore.data.sources import data_root
from ntkcore.errors import NTKError

N_TRAIN, N_TEST = 600, 1000  # per class


def first_of_each_class(labels: np.ndarray, count: int) -> np.ndarray:
    """Ascending positions of the first ``count`` entries of each value in ``labels`` [N]."""
    return np.sort(np.concatenate([np.flatnonzero(labels == value)[:count] for value in np.unique(labels)]))


def make(root: str | None, out: Path) -> None:
    """Write the sample to ``out``. Raises DataError when the full set is neither there nor to be had."""
    folder = data_root(root)
    vision.ensure("fashion-mnist", folder)
    full = vision.read("fashion-mnist", folder)
    stored = {}
    for name, x, labels, count in (
        ("train", full.x_train, full.labels_train, N_TRAIN),
        ("test", full.x_test, full.labels_test, N_TEST),
    ):
        chosen = first_of_each_class(labels, count)
        stored[f"x_{name}"] = x[chosen, 0]
        stored[f"y_{name}"] = labels[chosen].astype(np.uint8)
        stored[f"i_{name}"] = chosen.astype(np.uint16)
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, array in stored.items():
            member = io.BytesIO()
            np.lib.format.write_array(member, array, allow_pickle=False)
            entry = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
            archive.writestr(entry, member.getvalue(), zipfile.ZIP_DEFLATED, compresslevel=9)


def main() -> int:
    """The command line of this script."""
    parser = argparse.ArgumentParser(description="Make the bundled sample of Fashion-MNIST.")
    parser.add_argument("--root", help="data root (default: NTK_DATA or the user's cache folder)")
    parser.add_argument("--out", type=Path, default=SAMPLE, help=f"file to write (default: {SAMPLE.name})")
    options = parser.parse_args()
    try:
        make(options.root, options.out)
    except NTKError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{options.out}: {options.out.stat().st_size / 1e6:.1f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
