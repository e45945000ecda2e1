"""An artifact as a zip: its two files, a README that says how to read them, and what else is handed in.

::

    zip_of(artifact, {"figures/scatter.html": page})        # bytes
"""

import io
import time
import zipfile
from collections.abc import Mapping
from pathlib import PurePosixPath

from ntkcore.errors import StoreError
from ntkcore.runs.store.artifact import ARRAYS, META, Artifact

_README = """A run of ntkcore: arrays.safetensors holds the arrays, meta.json how they came about.

    from safetensors.numpy import load_file      # or safetensors.torch
    arrays = load_file("arrays.safetensors")     # a dict of arrays by name
"""
_EARLIEST, _LATEST = 315_619_200.0, 4.0e9  # seconds since the epoch that a zip can tell as a time, nearly


def zip_of(artifact: Artifact, extra_files: Mapping[str, bytes]) -> bytes:
    """``artifact`` and ``extra_files``, by their names relative to the zip's top.

    Raises StoreError for a name that leads out of the zip or is taken, OSError when the artifact is gone.
    """
    content = {name: (artifact.path / name).read_bytes() for name in (ARRAYS, META)}
    content["README.txt"] = _README.encode()
    for name, data in extra_files.items():
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts or "\\" in name or name in content or not path.parts:
            raise StoreError(f"{name!r} cannot be a file of the zip; a new relative name is needed.")
        content[name] = bytes(data)
    buffer, when = io.BytesIO(), time.localtime(min(max(artifact.created, _EARLIEST), _LATEST))[:6]
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in content.items():
            info = zipfile.ZipInfo(name, date_time=when)
            info.external_attr = 0o644 << 16
            method = zipfile.ZIP_STORED if name == ARRAYS else zipfile.ZIP_DEFLATED
            archive.writestr(info, data, compress_type=method)
    return buffer.getvalue()
