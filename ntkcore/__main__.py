"""``python -m ntkcore``: the command line of the library; see ``ntkcore.cli``."""

import sys

try:
    from ntkcore.cli import main
except KeyboardInterrupt:
    sys.exit(130)

sys.exit(main())
