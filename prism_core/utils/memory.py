"""How much memory this process may take and has taken."""

from __future__ import annotations

import sys

CACHE_BYTES = 3_000_000_000
"""Memory that one batch's key-value cache may take."""


def peak_memory_bytes() -> int | None:
    """Return the process's largest resident size so far, in bytes; None where unknown."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(peak if sys.platform == "darwin" else peak * 1024)
