"""`python -m ampswarm`: the command `ampswarm`."""

import sys

from ampswarm.cli import main

sys.exit(main())
