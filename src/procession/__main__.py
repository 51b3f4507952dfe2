"""`python -m procession`: the command line, for when the `procession` script is not on PATH."""

import sys

from procession.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
