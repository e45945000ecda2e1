"""All eigenpairs of a symmetric matrix, by the LAPACK that is fast on this processor.

torch has MKL, which is slow on AMD's processors: on two cores of an EPYC it takes 10.3 s for n = 4,000, and numpy's
OpenBLAS 6.7 s::

    values, vectors = eigenpairs(K)         # K [n, n] -> [n] ascending, [n, n] columns, in K's precision and place
"""

import numpy as np
import torch
from torch import Tensor

from ntkcore.kernels.loops.registers import feature

AMD = feature("sse4a")  # no other maker's processors have it


def eigenpairs(K: Tensor) -> tuple[Tensor, Tensor]:
    """Of K [n, n], whose lower triangle counts."""
    if not AMD or K.device.type != "cpu":
        values, vectors = torch.linalg.eigh(K)
        return values, vectors
    found = np.linalg.eigh(K.detach().numpy())
    return torch.from_numpy(found.eigenvalues), torch.from_numpy(found.eigenvectors)
