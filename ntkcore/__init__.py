"""ntkcore: neural tangent kernels, their eigenfeatures, and adversarial robustness, in PyTorch.

The library behind the dashboard on Tsilivis & Kempe, "What Can the Neural Tangent Kernel Tell Us About Adversarial
Robustness?" (NeurIPS 2022). Images are float tensors [n, C, H, W] in [0, 1]; labels [n, 1] of -1 and +1, or
one-hot [n, c] for more than two classes::

    import ntkcore as ntk
    k = ntk.kernel_fn(ntk.fc(depth=1))
    f = ntk.fit(k, x, y)
    x_adv = ntk.fgsm(eps=8 / 255)(f, x_test, y_test).x_adv
"""

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

from ntkcore.version import __version__

# Threads that spin while they wait slow down those that work, up to threefold on two cores. Read by OpenMP and OpenBLAS
# when torch and numpy are imported: whoever imports those before this package sets them in the shell.
os.environ.setdefault("GOMP_SPINCOUNT", "1000")
os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", "4")
if "NTK_THREADS" in os.environ:  # a limit of the user's, which torch is told where it works
    os.environ.setdefault("OPENBLAS_NUM_THREADS", os.environ["NTK_THREADS"])

if TYPE_CHECKING:
    from ntkcore.analysis.attacks.attack import Attack, AttackResult, fgsm, pgd
    from ntkcore.analysis.features.classes import classify
    from ntkcore.analysis.features.eigenfeatures import Sweep, eigenfeatures, subset_predictor
    from ntkcore.analysis.predict import KernelPredictor, accuracy, fit, fit_steps, margin
    from ntkcore.analysis.spectrum import Spectrum, spectrum
    from ntkcore.analysis.tangent import tangent_kernel
    from ntkcore.data import DataSpec, Task, import_npz, load
    from ntkcore.errors import Cancelled, DataError, NTKError, SpecError, StoreError, WorkerError
    from ntkcore.kernels import (
        InputMap,
        KernelMatrix,
        TiledKernel,
        empirical_kernel_fn,
        empirical_ntk,
        input_map,
        kernel_fn,
        kernel_to_file,
        tiled,
    )
    from ntkcore.nets import Net, conv, fc, myrtle
    from ntkcore.training import Schedule, Training, finite_net, train, train_epochs


# Each name is imported when it is first used, so that a process that needs no torch does not wait for it.
_HOME = {
    "ntkcore.analysis.attacks.attack": ("Attack", "AttackResult", "fgsm", "pgd"),
    "ntkcore.analysis.features.classes": ("classify",),
    "ntkcore.analysis.features.eigenfeatures": ("Sweep", "eigenfeatures", "subset_predictor"),
    "ntkcore.analysis.predict": ("KernelPredictor", "accuracy", "fit", "fit_steps", "margin"),
    "ntkcore.analysis.spectrum": ("Spectrum", "spectrum"),
    "ntkcore.analysis.tangent": ("tangent_kernel",),
    "ntkcore.data": ("DataSpec", "Task", "import_npz", "load"),
    "ntkcore.errors": ("Cancelled", "DataError", "NTKError", "SpecError", "StoreError", "WorkerError"),
    "ntkcore.kernels": (
        "InputMap",
        "KernelMatrix",
        "TiledKernel",
        "empirical_kernel_fn",
        "empirical_ntk",
        "input_map",
        "kernel_fn",
        "kernel_to_file",
        "tiled",
    ),
    "ntkcore.nets": ("Net", "conv", "fc", "myrtle"),
    "ntkcore.training": ("Schedule", "Training", "finite_net", "train", "train_epochs"),
}
_MODULE = {name: module for module, names in _HOME.items() for name in names}
__all__ = sorted(_MODULE)


def __getattr__(name: str) -> Any:
    if name not in _MODULE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_MODULE[name]), name)
    return value


def __dir__() -> list[str]:
    return [*globals(), *__all__]
