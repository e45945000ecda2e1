"""The data sets the library knows: names, classes, sizes, licences, and where their files lie.

Class names are torchvision's own, in its order. Counts are images per class, so that a description that asks for
more images than there are is refused before anything is downloaded. All paths are relative to the data root: the
folder in ``NTK_DATA``, or ``ntkcore/data`` in the user's cache folder::

    SOURCES["cifar10"].classes                     # ("airplane", "automobile", ...)
    SOURCES["svhn"].limits(("1", "7"))             # images there are: (19456, 7118)
    available("cifar10", root="~/data")            # all of its files are there
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from ntkcore import checks
from ntkcore.writing import user_data

SetName = Literal[
    "fashion-mnist-sample",
    "mnist",
    "fashion-mnist",
    "kmnist",
    "cifar10",
    "cifar100",
    "svhn",
    "toy",
    "own",
]
USUAL = (1000, 2000)  # training and test images where none are given
IDX_FILES = {  # the four files of the MNIST family and their sizes in bytes (header and 60000 or 10000 entries)
    "train-images-idx3-ubyte": 16 + 60000 * 784,
    "train-labels-idx1-ubyte": 8 + 60000,
    "t10k-images-idx3-ubyte": 16 + 10000 * 784,
    "t10k-labels-idx1-ubyte": 8 + 10000,
}


@dataclass(frozen=True)
class Source:
    """A data set as it is before anything is chosen from it.

    image_shape: (C, H, W). train_counts, test_counts: images per class, in the order of ``classes``.
    default_classes: what a description takes when it names none. download_mb: size of the download in MB, 0 when
    nothing has to be fetched. files: what is read, relative to the data root, each with its size in bytes where the
    format fixes it (None where a checksum guards the file instead). credit: authors and licence in one line.
    """

    name: str
    title: str
    classes: tuple[str, ...]
    image_shape: tuple[int, int, int]
    train_counts: tuple[int, ...]
    test_counts: tuple[int, ...]
    default_classes: tuple[str, ...]
    credit: str
    download_mb: int = 0
    files: tuple[tuple[str, int | None], ...] = ()

    @property
    def n_train(self) -> int:
        """Training images of all classes."""
        return sum(self.train_counts)

    @property
    def n_test(self) -> int:
        """Test images of all classes."""
        return sum(self.test_counts)

    @property
    def sizes(self) -> tuple[int, ...]:
        """Sides that average pooling can bring the images to, largest first; the full side is not among them."""
        return pooled_sides(self.image_shape)

    def limits(self, classes: Sequence[str]) -> tuple[int, int]:
        """Numbers of training and of test images of the chosen classes (canonical names)."""
        chosen = [self.classes.index(name) for name in classes]
        return sum(self.train_counts[i] for i in chosen), sum(self.test_counts[i] for i in chosen)

    def usual(self, classes: Sequence[str]) -> tuple[int, int]:
        """Numbers of training and of test images that are taken where none are given; no more than there are."""
        n_train, n_test = self.limits(classes)
        return min(USUAL[0], n_train), max(1, min(USUAL[1], n_test))


def pooled_sides(image_shape: tuple[int, int, int]) -> tuple[int, ...]:
    """Divisors of the side of square images (C, H, W) from half the side down to 2; none for other images."""
    _, height, width = image_shape
    return tuple(s for s in range(height // 2, 1, -1) if height % s == 0) if height == width else ()


def data_root(root: str | os.PathLike[str] | None = None) -> Path:
    """The folder data sets are kept in: ``root``, else ``NTK_DATA``, else ``ntkcore/data`` in the user's cache."""
    if root is not None:
        checks.instance(root, (str, os.PathLike), "root", "It is the folder of the data sets.")
    return Path(root).expanduser() if root else user_data()


def available(name: str, root: str | os.PathLike[str] | None = None) -> bool:
    """Whether every file of a set is in the data root, of the right size where the format fixes it."""
    folder = data_root(root)
    return all(is_there(folder / path, size) for path, size in SOURCES[name].files)


def is_there(path: Path, size: int | None) -> bool:
    """Whether a file is there, of that size in bytes, or of any but 0 when None is given."""
    try:
        found = path.stat().st_size
    except OSError:
        return False
    return found == size if size is not None else found > 0


def _names(text: str) -> tuple[str, ...]:
    return tuple(text.split())


def _idx(folder: str) -> tuple[tuple[str, int | None], ...]:
    return tuple((f"{folder}/raw/{name}", size) for name, size in IDX_FILES.items())


def _files(*names: str) -> tuple[tuple[str, int | None], ...]:
    return tuple((name, None) for name in names)


_DIGITS = tuple("0123456789")
_FASHION = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip
_CIFAR10 = _names("airplane automobile bird cat deer dog frog horse ship truck")
_CIFAR100 = _names(
    """
    apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly camel can castle
    caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup dinosaur dolphin elephant
    flatfish forest fox girl hamster house kangaroo keyboard lamp lawn_mower leopard lion lizard lobster man
    maple_tree motorcycle mountain mouse mushroom oak_tree orange orchid otter palm_tree pear pickup_truck pine_tree
    plain plate poppy porcupine possum rabbit raccoon ray road rocket rose sea seal shark shrew skunk skyscraper
    snail snake spider squirrel streetcar sunflower sweet_pepper table tank telephone television tiger tractor train
    trout tulip turtle wardrobe whale willow_tree wolf woman worm
    """
)

_ALL = (
    Source(
        name="fashion-mnist-sample",
        title="Fashion-MNIST sample (bundled)",
        classes=_FASHION,
        image_shape=(1, 28, 28),
        train_counts=(600,) * 10,
        test_counts=(1000,) * 10,
        default_classes=("T-shirt/top", "Shirt"),
        credit="H. Xiao, K. Rasul, R. Vollgraf 2017 (Zalando Research); MIT licence. The first 600 training "
        "images of each class, and all test images.",
    ),
    Source(
        name="mnist",
        title="MNIST",
        classes=tuple(
            f"{i} - {word}" for i, word in enumerate(_names("zero one two three four five six seven eight nine"))
        ),
        image_shape=(1, 28, 28),
        train_counts=(5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949),
        test_counts=(980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009),
        default_classes=("4 - four", "9 - nine"),
        credit="Y. LeCun, C. Cortes, C. J. C. Burges; CC BY-SA 3.0.",
        download_mb=12,
        files=_idx("MNIST"),
    ),
    Source(
        name="fashion-mnist",
        title="Fashion-MNIST",
        classes=_FASHION,
        image_shape=(1, 28, 28),
        train_counts=(6000,) * 10,
        test_counts=(1000,) * 10,
        default_classes=("T-shirt/top", "Shirt"),
        credit="H. Xiao, K. Rasul, R. Vollgraf 2017 (Zalando Research); MIT licence.",
        download_mb=31,
        files=_idx("FashionMNIST"),
    ),
    Source(
        name="kmnist",
        title="Kuzushiji-MNIST",
        classes=_names("o ki su tsu na ha ma ya re wo"),
        image_shape=(1, 28, 28),
        train_counts=(6000,) * 10,
        test_counts=(1000,) * 10,
        default_classes=("o", "ki"),
        credit="T. Clanuwat et al. 2018 (ROIS-DS Center for Open Data in the Humanities); CC BY-SA 4.0.",
        download_mb=21,
        files=_idx("KMNIST"),
    ),
    Source(
        name="cifar10",
        title="CIFAR-10",
        classes=_CIFAR10,
        image_shape=(3, 32, 32),
        train_counts=(5000,) * 10,
        test_counts=(1000,) * 10,
        default_classes=("airplane", "automobile"),
        credit="A. Krizhevsky 2009; published for research, without a stated licence.",
        download_mb=170,
        files=_files(
            *(f"cifar-10-batches-py/data_batch_{i}" for i in range(1, 6)),
            "cifar-10-batches-py/test_batch",
            "cifar-10-batches-py/batches.meta",
        ),
    ),
    Source(
        name="cifar100",
        title="CIFAR-100",
        classes=_CIFAR100,
        image_shape=(3, 32, 32),
        train_counts=(500,) * 100,
        test_counts=(100,) * 100,
        default_classes=("maple_tree", "oak_tree", "palm_tree", "pine_tree", "willow_tree"),
        credit="A. Krizhevsky 2009; published for research, without a stated licence.",
        download_mb=169,
        files=_files("cifar-100-python/train", "cifar-100-python/test", "cifar-100-python/meta"),
    ),
    Source(
        name="svhn",
        title="Street View House Numbers",
        classes=_DIGITS,
        image_shape=(3, 32, 32),
        train_counts=(4948, 13861, 10585, 8497, 7458, 6882, 5727, 5595, 5045, 4659),
        test_counts=(1744, 5099, 4149, 2882, 2523, 2384, 1977, 2019, 1660, 1595),
        default_classes=("1", "7"),
        credit="Y. Netzer et al. 2011; for non-commercial use.",
        download_mb=246,
        files=_files("train_32x32.mat", "test_32x32.mat"),
    ),
    Source(
        name="toy",
        title="Planted features (synthetic)",
        classes=("minus", "plus"),
        image_shape=(1, 8, 8),
        train_counts=(2500, 2500),
        test_counts=(1000, 1000),
        default_classes=("minus", "plus"),
        credit="Made here, after D. Tsipras et al. 2019 (arXiv 1805.12152).",
    ),
)
SOURCES: Mapping[str, Source] = MappingProxyType({source.name: source for source in _ALL})
"""Every set but one's own images, by name, in the order to offer them in."""
