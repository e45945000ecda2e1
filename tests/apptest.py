"""The app in this process, as if opened by a link, by Streamlit's AppTest.

::

    at = opened("attack", {"data": "toy"}, cache)
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from unittest.mock import patch

if TYPE_CHECKING:
    from streamlit.testing.v1 import AppTest

ROOT = Path(__file__).resolve().parent.parent


@contextmanager
def as_later() -> Iterator[None]:
    """Have every run of an AppTest be like one after a server's first.

    AppTest forgets between its runs that ``app.py`` declares the pages itself, takes the folder ``pages/`` for an
    app of the old kind and would run a page without ``app.py`` around it. A server knows after the first visit.
    """
    from streamlit.runtime.pages_manager import PagesManager

    begin = PagesManager.__init__

    def begin_as_later(self: PagesManager, *arguments: object, **options: object) -> None:
        begin(self, *arguments, **options)
        PagesManager.uses_pages_directory = False

    PagesManager.__init__ = begin_as_later
    try:
        yield
    finally:
        PagesManager.__init__ = begin


def visit(
    query: Mapping[str, str | Sequence[str]] | None = None,
    page: str | None = None,
    script: Path = ROOT / "app.py",
    timeout: float = 60.0,
) -> "AppTest":
    """The app after its first run; ``page``: "pages/attack.py", with its Python lines unfolded."""
    from streamlit.testing.v1 import AppTest

    test = AppTest.from_file(str(script), default_timeout=timeout)
    for name, value in (query or {}).items():
        test.query_params[name] = value if isinstance(value, str) else list(value)
    if page is not None:
        test.switch_page(page)
        test.session_state[f"{'lines' if 'runs' in page else 'explained'}-{Path(page).stem}"] = True
    return test.run()


def opened(page: str, query: Mapping[str, str | Sequence[str]], cache: Path) -> "AppTest":
    """A page with ``cache`` as its cache, after its first run."""
    with patch.dict(os.environ, NTK_CACHE=str(cache)), as_later():
        return visit(query, f"pages/{page}.py")
