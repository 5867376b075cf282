"""What a study was made with: versions of the libraries that decide its numbers, and the device."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

from prism_core import __version__

PACKAGES = ("torch", "transformers", "tokenizers", "pandas", "math-verify")


def versions_here() -> dict[str, str]:
    """Name -> version, of this program, its libraries and the device."""
    import torch

    found = {"prism-studio": __version__, "python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    cuda = torch.cuda.is_available()
    found["device"] = torch.cuda.get_device_name() if cuda else f"CPU ({platform.machine()})"
    return found
