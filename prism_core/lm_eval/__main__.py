"""`python -m prism_core.lm_eval`."""

import sys

from prism_core.lm_eval.harness import main

if __name__ == "__main__":
    sys.exit(main())
