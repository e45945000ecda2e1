"""Data: a description becomes images and labels; the only code that downloads.

``DataSpec`` says which set, classes, numbers of images, draw and size; ``load`` gives the ``Task``: images float32
[n, C, H, W] in [0, 1], labels [n, 1] of -1 and +1 or one-hot [n, c]. ``SOURCES`` lists the sets and ``info`` says
whether one is there; ``import_npz`` takes in one's own data, as EXAMPLE makes them in six lines, ``read_picture`` a
single picture; ``toy_truth`` knows what is planted in the toy set::

    from ntkcore.data import DataSpec, load
    task = load(DataSpec(classes=("Sneaker", "Ankle boot"), n_train=500, n_test=100, size=14))
    task.x_train, task.y_train           # [500, 1, 14, 14], [500, 1]
"""

from ntkcore.data.own import OwnData, import_npz, own_sets
from ntkcore.data.own_example import EXAMPLE, example_npz
from ntkcore.data.picture import OwnPicture, read_picture
from ntkcore.data.sources import SOURCES, Source, available, data_root
from ntkcore.data.spec import DataSpec
from ntkcore.data.task import Info, Task, count_test_images, image_shape, info, load
from ntkcore.data.toy import ToyFeature, ToyTruth, toy_truth

__all__ = [
    "EXAMPLE",
    "SOURCES",
    "DataSpec",
    "Info",
    "OwnData",
    "OwnPicture",
    "Source",
    "Task",
    "ToyFeature",
    "ToyTruth",
    "available",
    "count_test_images",
    "data_root",
    "example_npz",
    "image_shape",
    "import_npz",
    "info",
    "load",
    "own_sets",
    "read_picture",
    "toy_truth",
]
