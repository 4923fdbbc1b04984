"""`python -m vaultprov`."""

import sys

from vaultprov.cli import main

sys.exit(main())
