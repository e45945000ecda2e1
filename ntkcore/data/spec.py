"""Which images an experiment is about: a data set, classes, numbers of images, a draw and a size.

The chosen classes take turns: the first image of each in the set's own order, the second of each, and so on, so that
every beginning of a draw is as balanced as it can be. A seed draws other images at random without replacement. Two
classes make a binary task, whose first class is -1; more make a one-hot task. Whatever can be checked without the data
is checked here, so a form or a link fails before anything is downloaded::

    DataSpec()                                                       # T-shirt/top against Shirt, 1000 and 2000
    DataSpec(name="cifar10", classes=("cat", "dog"), n_train=2000)   # names, in any case, or indices
    DataSpec(name="mnist", classes=(), size=14)                      # all classes, pooled to 14x14
"""

import operator
import re
from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any, Literal

from pydantic import Field, ValidationInfo, field_validator

from ntkcore.data.sources import SOURCES, USUAL, SetName, pooled_sides
from ntkcore.validation import Spec

Order = Literal["balanced", "own"]
_DIGEST = re.compile(r"[0-9a-f]{64}")


def _default_classes(fields: dict[str, Any]) -> tuple[str, ...]:
    """Of the set that the description names; one's own data have none: all classes are taken."""
    source = SOURCES.get(fields["name"])
    return source.default_classes if source else ()


def _usual(fields: dict[str, Any]) -> tuple[int, int]:
    """Numbers of images; how many there are of one's own data is not known before they are loaded."""
    source = SOURCES.get(fields["name"])
    return source.usual(fields["classes"]) if source else USUAL


class DataSpec(Spec):
    """The data of an experiment: every field that changes the images or labels, and nothing else.

    name: one of ``ntkcore.data.SOURCES``, or "own". classes: at least two; class names in any case, or indices; kept as
    canonical names. Their order matters: the first is label -1 (binary) or column 0. An empty list means all classes
    and becomes their names, except for own data, whose classes are known when they are loaded. Left out, each set has
    its default pair (CIFAR-100: the five trees). n_train, n_test: images in total, over the chosen classes; 1000 and
    2000, or as many as there are, where left out. order: "balanced", the classes take turns, one that has no more
    images is passed over; or "own", the first images of all chosen classes as they come in the set. seed: None for the
    set's own sequence of images, or 0 to 2**32 - 1 for one at random. size: side in pixels after average pooling, a
    proper divisor of the side; None keeps the size. digest: SHA-256 of own data as ``import_npz`` gives it; with name
    "own" only.

    Raises SpecError in sentences.
    """

    title = "data description"

    name: SetName = "fashion-mnist-sample"
    classes: tuple[str, ...] = Field(default_factory=_default_classes)
    n_train: int = Field(default_factory=lambda fields: _usual(fields)[0], ge=2, lt=2**31, validate_default=True)
    n_test: int = Field(default_factory=lambda fields: _usual(fields)[1], ge=1, lt=2**31, validate_default=True)
    order: Order = "balanced"
    seed: int | None = Field(None, ge=0, lt=2**32)
    size: int | None = Field(None, ge=2, lt=2**31)
    digest: str | None = Field(None, validate_default=True)

    @field_validator("classes", mode="before")
    @classmethod
    def _canonical_classes(cls, given: Any, info: ValidationInfo) -> Any:
        if "name" not in info.data:
            return ()
        if not isinstance(given, list | tuple):
            raise ValueError(f"classes is {given!r}; give a list of class names, such as ['cat', 'dog'].")
        source = SOURCES.get(info.data["name"])
        if source is None:
            names = tuple(_own_name(entry) for entry in given)
        else:
            names = tuple(canonical_class(entry, source.classes, source.title) for entry in given)
            names = names or source.classes
        check_distinct(names)
        return names

    @field_validator("n_train", "n_test")
    @classmethod
    def _there_are_enough(cls, wanted: int, info: ValidationInfo) -> int:
        source, classes = SOURCES.get(info.data.get("name", "")), info.data.get("classes")
        if source and classes:
            is_test = info.field_name == "n_test"
            check_enough(wanted, source.limits(classes)[is_test], is_test, source.title, classes)
        return wanted

    @field_validator("size")
    @classmethod
    def _divides_the_side(cls, size: int | None, info: ValidationInfo) -> int | None:
        source = SOURCES.get(info.data.get("name", ""))
        return check_size(size, source.image_shape, source.title) if source else size

    @field_validator("digest")
    @classmethod
    def _digest_of_own_data(cls, digest: str | None, info: ValidationInfo) -> str | None:
        name = info.data.get("name")
        if name is None:
            return digest
        if name != "own":
            if digest is not None:
                raise ValueError(f"A digest goes with own data only, not with {name}. Leave it out.")
            return None
        if digest is None or not _DIGEST.fullmatch(digest.lower()):
            got = "there is none" if digest is None else f"got {digest[:70]!r}"
            raise ValueError(
                f"Own data are named by their digest, 64 hexadecimal digits; {got}. "
                "Import the .npz file first; that gives its digest."
            )
        return digest.lower()


def canonical_class(given: Any, names: Sequence[str], title: str) -> str:
    """The name of a class given by name (in any case) or by index. Raises ValueError in words."""
    if isinstance(given, str):
        folded = [name.casefold() for name in names]
        if given in names:
            return given
        if given.casefold() in folded:
            return names[folded.index(given.casefold())]
        if not re.fullmatch("[0-9]{1,6}", given):
            raise ValueError(_no_such_class(given, names, title))
        given = int(given)
    try:
        if isinstance(given, bool):
            raise TypeError
        index = operator.index(given)
    except TypeError:
        raise ValueError(f"{given!r} is not a class of {title}; give class names or whole numbers.") from None
    if not 0 <= index < len(names):
        raise ValueError(f"There is no class {index} in {title}; its classes are 0 to {len(names) - 1}.")
    return names[index]


def check_distinct(names: Sequence[str]) -> None:
    """Refuse repeated classes and a single class with a ValueError in words; none at all stands for all."""
    repeated = [name for i, name in enumerate(names) if name in names[:i]]
    if repeated:
        raise ValueError(f"The class {repeated[0]!r} is given twice; name each class once.")
    if len(names) == 1:
        raise ValueError(f"{names[0]!r} is the only class; at least 2 are needed. Add another class.")


def check_enough(wanted: int, there: int, is_test: bool, title: str, classes: Sequence[str]) -> None:
    """Refuse more images than there are, or too few for all classes, with a ValueError that says how many it takes."""
    if not is_test and wanted < len(classes):
        raise ValueError(
            f"n_train is {wanted}, but each of the {len(classes)} classes needs a training image. "
            f"Choose at least {len(classes)}, or fewer classes."
        )
    if wanted > there:
        field, kind = ("n_test", "test") if is_test else ("n_train", "training")
        which = " and ".join(classes) if len(classes) == 2 else f"the {len(classes)} chosen classes"
        most = f"at most {there}, or more" if there else "other"
        raise ValueError(
            f"{field} is {wanted}, but {title} has {there or 'no'} {kind} images of {which}. Choose {most} classes."
        )


def check_size(size: int | None, image_shape: tuple[int, int, int], title: str) -> int | None:
    """The side to pool to, None when that is the full side. Raises ValueError in words when it cannot be reached."""
    _, height, width = image_shape
    if size is None or (size == height == width):
        return None
    if height != width:
        raise ValueError(f"size is {size}, but the images of {title} are {height}x{width}, not square. Leave size out.")
    if size > height or height % size:
        sides = pooled_sides(image_shape)
        choice = f"Choose one of {', '.join(map(str, sides))}, or leave it out" if sides else "Leave it out"
        raise ValueError(f"size is {size}, which does not divide {height}, the side of {title}. {choice}.")
    return size


def _own_name(given: Any) -> str:
    if not isinstance(given, str) or not given:
        raise ValueError(f"{given!r} is not a class name; own data's classes are chosen by their names.")
    return given


def _no_such_class(given: str, names: Sequence[str], title: str) -> str:
    folded = {name.casefold(): name for name in names}
    close = get_close_matches(given.casefold(), folded, n=1)
    hint = f"Did you mean {folded[close[0]]!r}? " if close else ""
    listed = ", ".join(names) if len(names) <= 20 else f"{', '.join(names[:8])}, ... ({len(names)} in all)"
    return f"There is no class {given[:60]!r} in {title}. {hint}Its classes are {listed}."
