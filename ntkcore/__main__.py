"""``python -m ntkcore``: the command line of the library; see ``ntkcore.cli``."""

import os
import sys

# As for the worker (ntkcore.runs.process): threads that spin while they wait are slow on a shared machine. Read by
# OpenMP when torch is imported, and by numpy.
os.environ.setdefault("GOMP_SPINCOUNT", "1000")
os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", "4")

try:
    from ntkcore.cli import main
except KeyboardInterrupt:
    sys.exit(130)

sys.exit(main())
