"""Where tensors live: CPU or CUDA by choice; ``auto`` takes CUDA when there is one.

The device changes how long a result takes, not what it is (up to rounding), so it is no part of any spec. For that
reason convolutions on CUDA keep single precision here, where torch would choose products of ten bits (TF32)::

    choose_device("auto")        # torch.device("cuda") or torch.device("cpu")
"""

import torch

from ntkcore.errors import SpecError


def devices() -> tuple[str, ...]:
    """The names that can be chosen here: "auto", "cpu", and "cuda" where there is one."""
    return ("auto", "cpu", "cuda") if torch.cuda.is_available() else ("auto", "cpu")


def choose_device(name: str = "auto") -> torch.device:
    """ "auto", "cpu" or "cuda" -> torch.device. Raises SpecError for CUDA where there is none, or another name."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name not in ("cpu", "cuda"):
        raise SpecError(f"device is {name!r}; choose 'auto', 'cpu' or 'cuda'.")
    if name == "cuda" and not torch.cuda.is_available():
        raise SpecError("There is no CUDA device here. Choose 'auto' or 'cpu'.")
    if name == "cuda":
        torch.backends.cudnn.allow_tf32 = False
    return torch.device(name)
