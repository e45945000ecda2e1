"""``python -m ntkcore``, and the command ``ntkcore`` of an installed library: see ``ntkcore.cli``."""

import sys


def run() -> int:
    """Run one command of the command line; returns its exit status, 130 also when interrupted while it is loaded."""
    try:
        from ntkcore.cli import main
    except KeyboardInterrupt:
        return 130
    return main()


if __name__ == "__main__":
    sys.exit(run())
