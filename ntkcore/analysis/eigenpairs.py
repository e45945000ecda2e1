"""All eigenpairs of a symmetric matrix, by the LAPACK that is fast on this processor.

torch has MKL, which is slow on AMD's processors: where it takes 10.3 s (n = 4,000, two cores of an EPYC), numpy's
OpenBLAS takes 6.7 s. That has the threads that OPENBLAS_NUM_THREADS or OMP_NUM_THREADS said when numpy was imported,
whatever ``torch.set_num_threads`` says::

    values, vectors = eigenpairs(K)         # K [n, n] -> [n] ascending, [n, n] columns, in K's precision and place
"""

import numpy as np
import torch
from torch import Tensor

from ntkcore.kernels.loops.registers import feature

AMD = feature("sse4a")  # Intel's have never had it


def eigenpairs(K: Tensor) -> tuple[Tensor, Tensor]:
    """Of K [n, n], whose lower triangle counts."""
    if not AMD or K.device.type != "cpu":
        values, vectors = torch.linalg.eigh(K)
        return values, vectors
    found = np.linalg.eigh(K.numpy())
    return torch.from_numpy(found.eigenvalues), torch.from_numpy(found.eigenvectors)
