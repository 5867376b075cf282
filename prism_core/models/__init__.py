"""Language models behind one protocol: local, remote, cached."""

from typing import TYPE_CHECKING

from prism_core.utils.lazy import lazy

if TYPE_CHECKING:
    from prism_core.models.generator import Generator, TokenScorer
    from prism_core.models.local import LocalModel
    from prism_core.models.remote import RemoteGenerator
    from prism_core.models.sources import open_model

__all__ = ["Generator", "LocalModel", "RemoteGenerator", "TokenScorer", "open_model"]
__getattr__ = lazy(
    __name__,
    {
        "generator": "Generator TokenScorer",
        "local": "LocalModel",
        "remote": "RemoteGenerator",
        "sources": "open_model",
    },
)
