"""One file from the network: streamed with progress, checked, and put in its place only when it is whole.

::

    fetch(("https://example.org/a.gz",), Path("data/a.gz"), md5="...", report=print, scratch=Path("data/.tmp"))
"""

import hashlib
import http.client
import os
import ssl
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path

_TIMEOUT = 30.0  # seconds without an answer
_CHUNK = 1 << 18  # bytes between two reports
_NETWORK = (urllib.error.URLError, http.client.HTTPException, ConnectionError, TimeoutError, ssl.SSLError)


class NotFetched(Exception):
    """No address gave the file; ``str(error)`` says why, address by address."""


def fetch(urls: Sequence[str], target: Path, md5: str, report: Callable[[int], None] | None, scratch: Path) -> None:
    """Download ``target`` from the first of ``urls`` that has it.

    md5: hex digest the file must have. report: called with the bytes received so far; what it raises ends the
    download. scratch: folder for the unfinished file, on the file system of ``target``. Raises NotFetched, or
    OSError from the disk; ``target`` is then as it was.
    """
    part, reasons = scratch / f"{target.name}.part", []
    try:
        for url in urls:
            try:
                if _stream(url, part, report) == md5:
                    target.parent.mkdir(parents=True, exist_ok=True)
                    os.replace(part, target)
                    return
                reasons.append(f"{url}: what arrived is incomplete or is another file")
            except _NETWORK as error:
                reasons.append(f"{url}: {_reason(error)}")
        raise NotFetched("; ".join(reasons))
    finally:
        part.unlink(missing_ok=True)


def md5_of(path: Path) -> str:
    """Hex digest of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, _md5).hexdigest()


def _md5() -> "hashlib._Hash":
    return hashlib.md5(usedforsecurity=False)  # guards against accidents; also there where MD5 is ruled out


def _stream(url: str, part: Path, report: Callable[[int], None] | None) -> str:
    request = urllib.request.Request(url, headers={"User-Agent": "ntkcore"})
    opener = urllib.request.build_opener()  # a new one each time: it looks up the proxies of this moment
    digest, received = _md5(), 0
    with opener.open(request, timeout=_TIMEOUT) as response, open(part, "wb") as file:
        while chunk := response.read(_CHUNK):
            file.write(chunk)
            digest.update(chunk)
            received += len(chunk)
            if report:
                report(received)
    return digest.hexdigest()


def _reason(error: BaseException) -> str:
    if isinstance(error, urllib.error.HTTPError):
        return f"HTTP {error.code}"
    if isinstance(error, urllib.error.URLError):
        error = error.reason if isinstance(error.reason, BaseException) else error
    return str(getattr(error, "strerror", None) or error or type(error).__name__)
