"""How much memory this process has needed at its peak."""

from __future__ import annotations

import sys


def peak_memory_bytes() -> int | None:
    """The largest resident size of this process so far, in bytes; None where nobody can tell."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(peak if sys.platform == "darwin" else peak * 1024)
