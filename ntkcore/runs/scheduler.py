"""The workers of a Dask scheduler, on this machine or on others, as an executor.

::

    with workers("tcp://10.0.0.1:8786") as executor:
        kernel_to_file(k, x, "kernel.npy", executor=executor)

Needs ``distributed`` here and there (docs/many-machines.md).
"""

from collections.abc import Iterator
from contextlib import contextmanager

from ntkcore.errors import NTKError, brief, optional, reason
from ntkcore.kernels.executors import Executor

PATIENCE = 10  # seconds that a scheduler has to answer, and to have a worker


@contextmanager
def workers(address: str) -> Iterator[Executor]:
    """Raises NTKError where nobody answers at the address within a few seconds, or no worker is there."""
    with optional("distributed", "--scheduler"):
        from distributed import Client
    try:
        client = Client(address, timeout=PATIENCE)
    except (OSError, ValueError, RuntimeError) as error:  # out of reach, no address, another protocol
        raise NTKError(
            f"No scheduler answers at {brief(address, 100)}: {brief(reason(error), 200)}. Start one: "
            "`dask scheduler` prints its address."
        ) from None
    with client:
        try:
            client.wait_for_workers(1, timeout=PATIENCE)
        except TimeoutError:
            raise NTKError(
                f"The scheduler at {address} has no workers. Start some: `dask worker {address} --nthreads 1`."
            ) from None
        yield client.get_executor(pure=False)
