"""Models behind OpenAI-compatible endpoints: which there are, what they can, their answers."""

from typing import TYPE_CHECKING

from prism_core.utils.lazy import lazy

if TYPE_CHECKING:
    from prism_core.models.remote.catalogue import find_endpoint, load_endpoints
    from prism_core.models.remote.endpoint import Endpoint
    from prism_core.models.remote.generator import RemoteGenerator, from_environment
    from prism_core.models.remote.probe import Probe

__all__ = [
    "Endpoint",
    "Probe",
    "RemoteGenerator",
    "find_endpoint",
    "from_environment",
    "load_endpoints",
]
__getattr__ = lazy(
    __name__,
    {
        "catalogue": "find_endpoint load_endpoints",
        "endpoint": "Endpoint",
        "generator": "RemoteGenerator from_environment",
        "probe": "Probe",
    },
)
