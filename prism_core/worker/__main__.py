"""`python -m prism_core.worker`."""

import sys

from prism_core.worker.process import main

if __name__ == "__main__":
    sys.exit(main())
