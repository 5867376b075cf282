"""`python -m prism_core`."""

import sys

from prism_core.cli import main

if __name__ == "__main__":
    sys.exit(main())
