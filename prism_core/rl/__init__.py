"""PerMix-RLVR: reinforcement learning with verifiable rewards under mixed personas."""

from typing import TYPE_CHECKING

from prism_core.utils.lazy import lazy

if TYPE_CHECKING:
    from prism_core.rl.result import RlResult
    from prism_core.rl.run import train_rl
    from prism_core.rl.spec import RL_PRESETS, RlSpec

__all__ = ["RL_PRESETS", "RlResult", "RlSpec", "train_rl"]
__getattr__ = lazy(__name__, {"spec": "RL_PRESETS RlSpec", "result": "RlResult", "run": "train_rl"})
