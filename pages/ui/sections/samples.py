"""The experiment's images, and choosing and labelling some of them: examples of each class, captions of thumbnails;
rows of labelled pictures of its features.

::

    strip(class_pictures(task, per_class=3))
    strip(feature_rows({"Coat": arrays, "Shirt": others}, (0, 1, 5)), columns=4)
"""

from collections.abc import Mapping, Sequence

import streamlit as st
import torch
from torch import Tensor

from ntkcore.analysis.features.classes import WORDS
from ntkcore.analysis.features.pictures import GROUPS
from ntkcore.analysis.predict import class_numbers
from ntkcore.data import Task
from ntkcore.errors import NTKError
from ntkcore.figures.drawing.strip import Picture
from ntkcore.runs.specs import Experiment
from pages.ui.shell.plain import complaint
from pages.ui.shell.results import need_data
from pages.ui.shell.services import load_task


def task_of(experiment: Experiment) -> Task:
    """The experiment's images; stops the page with a sentence, or an offer to download, when they are not there."""
    task = task_if_there(experiment)
    if task is None:
        st.stop()
    return task


def task_if_there(experiment: Experiment) -> Task | None:
    """The experiment's images; None, with that sentence or offer, when they are not there."""
    try:
        if need_data(experiment.data):
            with st.spinner("Loading the images"):
                return load_task(experiment.data)
    except NTKError as error:
        st.error(complaint(error))
    return None


def class_pictures(task: Task, per_class: int | None = None) -> list[Picture]:
    """The first training images of each class, labelled; three of each, fewer when there are many classes."""
    count = per_class or (3 if task.n_classes <= 4 else 1)
    pictures = []
    for code, name in enumerate(task.classes):
        rows = torch.nonzero(task.labels_train == code).squeeze(1)[:count]
        pictures += [Picture(task.x_train[row].numpy(), name) for row in rows]
    return pictures


def examples(task: Task, nth: int) -> dict[str, int]:
    """For each class the index of its nth test image (counted from 0, wrapped around)."""
    out = {}
    for code, name in enumerate(task.classes):
        rows = torch.nonzero(task.labels_test == code).squeeze(1)
        if len(rows):
            out[name] = int(rows[nth % len(rows)])
    return out


def predicted_classes(outputs: torch.Tensor, task: Task) -> list[str]:
    """The name of the class that each row of outputs [m, c] predicts."""
    return [task.classes[code] for code in class_numbers(outputs).tolist()]


def feature_rows(of_class: Mapping[str, Mapping[str, Tensor]], features: Sequence[int]) -> list[Picture]:
    """For each class one row: the image, then every feature's picture."""
    rows = []
    for label, arrays in of_class.items():
        rows.append(Picture(arrays["image"].numpy(), label))
        rows += [
            Picture(picture.numpy(), f"feature {index}", signed=True)
            for index, picture in zip(features, arrays["pictures"], strict=True)
        ]
    return rows


def perturbation_row(arrays: Mapping[str, Tensor], label: str) -> list[Picture]:
    """The image, the perturbation, the adversarial image, and the loss gradient split by class of feature."""
    image, x_adv = arrays["image"].numpy(), arrays["x_adv"].numpy()
    groups = arrays["group_gradients"].numpy()
    words = [f"{WORDS[kind]} part" for kind in GROUPS]
    return [
        Picture(image, label),
        Picture(x_adv - image, "perturbation", signed=True),
        Picture(x_adv, "adversarial"),
        *(Picture(group, name, signed=True) for group, name in zip(groups, words, strict=True)),
    ]
