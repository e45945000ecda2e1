"""The worker process, beside the app. Begin with ``worker``: jobs in a queue, and who watches over the process.

A job as its viewers see it is in ``jobs``, the app's end of the process in ``process``, the process itself in
``child``::

    Worker("cache").submit(key, request).wait(60)
"""

from ntkcore.runs.worker.jobs import Job
from ntkcore.runs.worker.worker import Worker

__all__ = ["Job", "Worker"]
