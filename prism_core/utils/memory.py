"""How much memory this process has needed at its peak."""

from __future__ import annotations

import sys


def peak_memory_bytes() -> int | None:
    """Return the process's largest resident size so far, in bytes; None where unknown."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(peak if sys.platform == "darwin" else peak * 1024)
