"""``python -m ntkcore``: the command line of the library; see ``ntkcore.cli``."""

import sys

from ntkcore.cli import main

sys.exit(main())
