"""A standard PEFT folder: what its files are called, and in which precision they are kept."""

from __future__ import annotations

from typing import Literal

WEIGHTS_FILE = "adapter_model.safetensors"
CONFIG_FILE = "adapter_config.json"
SaveDtype = Literal["float32", "float16", "bfloat16"]
