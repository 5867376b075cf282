"""`python -m prism_core`."""

import sys

from prism_core.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
