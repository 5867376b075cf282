"""PRISM (Hu, Rostami, Thomason 2026): five stages in order, and what they leave behind."""

from typing import TYPE_CHECKING

from prism_core.utils.lazy import lazy

if TYPE_CHECKING:
    from prism_core.prism.bundle import load_bundle
    from prism_core.prism.gating.gate import Gate
    from prism_core.prism.gating.gated_model import GatedModel
    from prism_core.prism.pipeline import TrainResult, train
    from prism_core.prism.spec import PRESETS, TrainSpec
    from prism_core.prism.speed_probe import probe_speed

__all__ = [
    "PRESETS",
    "Gate",
    "GatedModel",
    "TrainResult",
    "TrainSpec",
    "load_bundle",
    "probe_speed",
    "train",
]
__getattr__ = lazy(
    __name__,
    {
        "spec": "PRESETS TrainSpec",
        "pipeline": "TrainResult train",
        "bundle": "load_bundle",
        "gating.gate": "Gate",
        "gating.gated_model": "GatedModel",
        "speed_probe": "probe_speed",
    },
)
