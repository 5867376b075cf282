"""`python -m prism_core`."""

import sys

from prism_core.threads import wait_actively

if __name__ == "__main__":
    wait_actively()  # before anything imports torch
    from prism_core.cli import main

    sys.exit(main())
