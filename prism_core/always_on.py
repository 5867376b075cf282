"""A base model with an adapter that is on for everything: for measuring, one caller at a time.

`GatedModel` routes rows one by one, and so must read a beginning that they share again for each.
Where nothing is routed, the LoRA can be on for the whole call and the beginning is read once. The
base is locked meanwhile, so this is for runs and the command line, not for an app with visitors.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

from prism_core.adapters import LoraWeights
from prism_core.bundle import bundle_hash, check_base, read_info
from prism_core.generator import Seed
from prism_core.models import LocalModel
from prism_core.types import ChoiceScore, Completion, Prompt, Sampling


class AlwaysOn:
    """A `Generator` whose adapter answers every prompt."""

    def __init__(self, base: LocalModel, lora: LoraWeights, label: str, adapter_hash: str) -> None:
        self.base, self.lora, self.label, self.adapter_hash = base, lora, label, adapter_hash

    @classmethod
    def load(cls, folder: Path, base: LocalModel) -> AlwaysOn:
        """Put a saved adapter on its base; a gate, if it has one, is left out.

        Raises:
            NotFoundError, ModelError: the folder is no adapter, is damaged, or is for another base.
        """
        info = read_info(folder)
        check_base(info, base)
        lora = LoraWeights.load(folder, base.model)
        return cls(base, lora, info.name, bundle_hash(folder))

    @property
    def name(self) -> str:
        """Base and adapter as shown to people."""
        return f"{self.base.name} + {self.label}"

    @property
    def fingerprint(self) -> str:
        """Identity of base and adapter."""
        parts = f"{self.base.fingerprint} {self.adapter_hash} always"
        return hashlib.sha256(parts.encode()).hexdigest()[:16]

    @property
    def has_system_role(self) -> bool:
        """Whether the chat template takes a system turn."""
        return self.base.has_system_role

    def generate(
        self,
        prompts: Sequence[Prompt],
        sampling: Sampling,
        seed: Seed = 0,
        *,
        cancel: threading.Event | None = None,
    ) -> list[Completion]:
        """Answer every prompt with the adapter on. See `Generator.generate`."""
        with self.base.lock, self.lora.active(self.base.model):
            return self.base.generate(prompts, sampling, seed, cancel=cancel)

    def stream(
        self,
        prompts: Sequence[Prompt],
        sampling: Sampling,
        seed: Seed = 0,
        *,
        cancel: threading.Event | None = None,
    ) -> Iterator[list[Completion]]:
        """Yield all answers so far after every token. See `Generator.stream`."""
        with self.base.lock, self.lora.active(self.base.model):
            yield from self.base.stream(prompts, sampling, seed, cancel=cancel)

    def score_choices(
        self,
        prompts: Sequence[Prompt],
        choices: Sequence[Sequence[str]],
        *,
        cancel: threading.Event | None = None,
    ) -> list[list[ChoiceScore]]:
        """Log-likelihood of each choice, with the adapter on."""
        with self.base.lock, self.lora.active(self.base.model):
            return self.base.score_choices(prompts, choices, cancel=cancel)
