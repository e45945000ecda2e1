"""Pictures of the dashboard's pages: light and dark, wide and narrow, in full height.

Without ``--url`` it serves the app itself, with the cache folder given (kept, so that a second run is fast).
Addresses are paths of the app, with parameters: ``/ /spectrum /attack?eps=0.05``.

    python tests/browser/screenshots.py --out screenshots / /spectrum
    python tests/browser/screenshots.py --out screenshots --themes dark --widths 400 --wait 5 /eigenfeatures
"""

import argparse
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, Error

from driver import chromium, exceptions, serve, settle, show_all

ROOT = Path(__file__).resolve().parents[2]
HEIGHTS = {True: 900, False: 800}  # by whether the window is wide


def default_paths() -> list[str]:
    """One path a file in pages/; the overview is the app's first page."""
    names = sorted(path.stem for path in (ROOT / "pages").glob("*.py") if not path.name.startswith("_"))
    return ["/" if name == "overview" else f"/{name}" for name in names]


def file_name(path: str, theme: str, width: int) -> str:
    """``/attack?eps=0.05`` in dark at 400 px -> ``attack-eps-0.05-dark-400.png``."""
    stem = re.sub(r"[^A-Za-z0-9.]+", "-", path).strip("-") or "overview"
    return f"{stem}-{theme}-{width}.png"


def shoot(browser: Browser, url: str, out: Path, theme: str, width: int, wait_s: float, fold: bool) -> str:
    """Take one picture; returns one line about it."""
    window = {"width": width, "height": HEIGHTS[width >= 800]}
    context = browser.new_context(viewport=window, color_scheme=theme, reduced_motion="reduce")
    try:
        page = context.new_page()
        page.goto(url)
        page.wait_for_timeout(1000 * wait_s)
        note = ""
        try:
            settle(page, timeout_s=60)
            if not fold:
                show_all(page)
        except Error as error:  # a picture of an unfinished page is still worth looking at
            note = f" NOT SETTLED ({str(error).splitlines()[0]})"
        page.screenshot(path=out)
        overflow = page.evaluate("document.documentElement.scrollWidth > window.innerWidth")
        note += " WIDER THAN THE WINDOW" if overflow else ""
        note += " EXCEPTION ON THE PAGE" if exceptions(page) else ""
        return f"{out}  {page.viewport_size['width']} x {page.viewport_size['height']}{note}"
    finally:
        context.close()


def themes(text: str) -> list[str]:
    """``light,dark`` -> its parts."""
    names = text.split(",")
    if not set(names) <= {"light", "dark"}:
        raise argparse.ArgumentTypeError(f"got {text!r}; a theme is light or dark, several with a comma")
    return names


def widths(text: str) -> list[int]:
    """``1440,400`` -> its parts."""
    try:
        sizes = [int(part) for part in text.split(",")]
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"got {text!r}; widths are pixels, several with a comma") from error
    if min(sizes) < 200:
        raise argparse.ArgumentTypeError(f"got {text!r}; a window is at least 200 px wide")
    return sizes


@contextmanager
def address(arguments: argparse.Namespace) -> Iterator[str]:
    """The address of a running app: the one named, or one started here."""
    if arguments.url:
        yield arguments.url.rstrip("/")
        return
    arguments.cache.mkdir(parents=True, exist_ok=True)
    with serve(arguments.app, cache=arguments.cache, log=arguments.out / "app.log") as server:
        yield server.url


def main(argv: Sequence[str] | None = None) -> int:
    """Read the options, take the pictures; 1 when a page was not as it should be."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("paths", nargs="*", help="paths of the app (default: every page)")
    parser.add_argument("--out", type=Path, default=Path("screenshots"), help="folder for the pictures")
    parser.add_argument("--url", help="address of an app that is already running")
    parser.add_argument("--app", type=Path, default=ROOT / "app.py", help="script to serve without --url")
    parser.add_argument("--cache", type=Path, help="cache folder of the served app (default: OUT/cache)")
    parser.add_argument("--themes", type=themes, default="light,dark", help="light,dark")
    parser.add_argument("--widths", type=widths, default="1440,400", help="window widths in px, 1440,400")
    parser.add_argument("--wait", type=float, default=0.0, help="seconds to wait before looking (long runs)")
    parser.add_argument("--fold", action="store_true", help="one window only, not the page's full height")
    arguments = parser.parse_args(argv)
    arguments.out.mkdir(parents=True, exist_ok=True)
    arguments.cache = arguments.cache or arguments.out / "cache"
    lines = []
    with address(arguments) as url, chromium() as browser:
        for path in arguments.paths or default_paths():
            for theme in arguments.themes:
                for width in arguments.widths:
                    out = arguments.out / file_name(path, theme, width)
                    line = shoot(browser, url + path, out, theme, width, arguments.wait, arguments.fold)
                    lines.append(line)
                    print(line, flush=True)
    return int(any(word in line for line in lines for word in ("NOT SETTLED", "WIDER", "EXCEPTION")))


if __name__ == "__main__":
    sys.exit(main())
