"""A package's short list of names, each imported when it is first asked for.

`from prism_core.models import open_model` should be all that a notebook needs, and reading a list
of personas should not import torch. Type checkers read the imports under `TYPE_CHECKING` instead.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def lazy(package: str, names: Mapping[str, str]) -> Callable[[str], Any]:
    """Return a module's `__getattr__` (PEP 562) that finds names in a package's modules.

    `names` are, for each module of the package, the names that it gives, separated by spaces.
    """
    home = {name: module for module, listed in names.items() for name in listed.split()}

    def find(name: str) -> Any:
        if name not in home:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(import_module(f"{package}.{home[name]}"), name)

    return find
