"""A base model with an adapter that is on for everything: an ungated adapter as a `Generator`.

No gate is asked. So a beginning that prompts share is read once for all of them, which `GatedModel`
cannot do while it generates, since it decides row by row from what it reads.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

import torch

from prism_core.lora.weights import LoraWeights
from prism_core.models.generator import Seed
from prism_core.models.local import LocalModel
from prism_core.prism.bundle import bundle_hash, check_base, read_info
from prism_core.prism.gating.gated_model import GatedModel
from prism_core.types import ChoiceScore, Completion, Prompt, Sampling, TokenScore


class AlwaysOn:
    """`Generator` and `TokenScorer` whose adapter answers every prompt."""

    def __init__(self, base: LocalModel, lora: LoraWeights, name: str, fingerprint: str) -> None:
        """Put an adapter on a base; the fingerprint tells both from all others."""
        self.base, self.lora, self.name, self.fingerprint = base, lora, name, fingerprint

    @classmethod
    def load(cls, folder: Path, base: LocalModel) -> AlwaysOn:
        """Put a saved adapter on its base; a gate, if it has one, is left out.

        Raises:
            NotFoundError, ModelError: the folder is no adapter, is damaged, or is for another base.
        """
        info = read_info(folder)
        check_base(info, base)
        lora = LoraWeights.load(folder, base.model)
        parts = f"{base.fingerprint} {bundle_hash(folder)} always"
        fingerprint = hashlib.sha256(parts.encode()).hexdigest()[:16]
        return cls(base, lora, f"{base.name} + {info.name}", fingerprint)

    @classmethod
    def held_open(cls, gated: GatedModel) -> AlwaysOn:
        """A gated model whose gate is open for every prompt."""
        return cls(gated.base, gated.lora, f"{gated.name} (open)", f"{gated.fingerprint}-open")

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
        return self.base.generate(prompts, sampling, seed, cancel=cancel, router=self._router)

    def stream(
        self,
        prompts: Sequence[Prompt],
        sampling: Sampling,
        seed: Seed = 0,
        *,
        cancel: threading.Event | None = None,
    ) -> Iterator[list[Completion]]:
        """Yield all answers so far after every token. See `Generator.stream`."""
        return self.base.stream(prompts, sampling, seed, cancel=cancel, router=self._router)

    def score_choices(
        self,
        prompts: Sequence[Prompt],
        choices: Sequence[Sequence[str]],
        *,
        cancel: threading.Event | None = None,
    ) -> list[list[ChoiceScore]]:
        """Log-likelihood of each choice. See `Generator.score_choices`."""
        return self.base.score_choices(prompts, choices, cancel=cancel, adapter=self.lora)

    def score_tokens(
        self, prompts: Sequence[Prompt], answers: Sequence[str]
    ) -> list[list[TokenScore]]:
        """Log p of each token of given answers. See `TokenScorer.score_tokens`."""
        return self.base.score_tokens(prompts, answers, adapter=self.lora)

    def _router(self, rows: Sequence[int]) -> _AllOpen:
        return _AllOpen(self.base, self.lora, len(rows))


class _AllOpen:
    """Every row uses the adapter; see `prism_core.inference.decoding.Router`."""

    decides = False

    def __init__(self, base: LocalModel, lora: LoraWeights, rows: int) -> None:
        self._model, self.lora = base.model, lora
        self.is_open = torch.ones(rows, dtype=torch.bool)

    def prefill(self, _mask: torch.Tensor, _rows: Sequence[int]) -> AbstractContextManager[None]:
        return self.decode()

    def decode(self) -> AbstractContextManager[None]:
        return self.lora.active(self._model)

    def select(self, rows: torch.Tensor) -> None:
        self.is_open = self.is_open[rows.cpu()]
