"""A gated model whose gate is held open or closed: an ungated adapter as a `Generator`.

The gate is not asked, so its readings say nothing about the answers and are left out of them.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch

from prism_core.adapters import LoraWeights
from prism_core.gate import Gate
from prism_core.gated_model import GatedModel, GateMode
from prism_core.generator import Seed
from prism_core.models import LocalModel
from prism_core.types import ChoiceScore, Completion, Prompt, Sampling, TokenScore


class HeldGate:
    """`Generator` and `TokenScorer` with every row routed alike."""

    def __init__(self, gated: GatedModel, mode: GateMode = "open") -> None:
        self.gated = gated
        self.mode: GateMode = mode

    @property
    def name(self) -> str:
        """Base, adapter and how its gate is held."""
        return f"{self.gated.name} ({self.mode})"

    @property
    def fingerprint(self) -> str:
        """Identity of base, adapter and the gate's position."""
        return f"{self.gated.fingerprint}-{self.mode}"

    @property
    def has_system_role(self) -> bool:
        """Whether the chat template takes a system turn."""
        return self.gated.has_system_role

    def generate(
        self,
        prompts: Sequence[Prompt],
        sampling: Sampling,
        seed: Seed = 0,
        *,
        cancel: threading.Event | None = None,
    ) -> list[Completion]:
        """Answer every prompt. See `Generator.generate`."""
        answers = self.gated.generate(prompts, sampling, seed, cancel=cancel, gates=self.mode)
        return [replace(a, gate=None) for a in answers]

    def stream(
        self,
        prompts: Sequence[Prompt],
        sampling: Sampling,
        seed: Seed = 0,
        *,
        cancel: threading.Event | None = None,
    ) -> Iterator[list[Completion]]:
        """Yield all answers so far after every token. See `Generator.stream`."""
        stream = self.gated.stream(prompts, sampling, seed, cancel=cancel, gates=self.mode)
        for answers in stream:
            yield [replace(a, gate=None) for a in answers]

    def score_choices(
        self,
        prompts: Sequence[Prompt],
        choices: Sequence[Sequence[str]],
        *,
        cancel: threading.Event | None = None,
    ) -> list[list[ChoiceScore]]:
        """Log-likelihood of each choice. See `Generator.score_choices`."""
        return self.gated.score_choices(prompts, choices, cancel=cancel, gates=self.mode)

    def score_tokens(
        self, prompts: Sequence[Prompt], answers: Sequence[str]
    ) -> list[list[TokenScore]]:
        """Log p of each token of given answers. See `TokenScorer.score_tokens`."""
        return self.gated.score_tokens(prompts, answers, gates=self.mode)


def without_gate(base: LocalModel, lora: LoraWeights, label: str, adapter_hash: str) -> HeldGate:
    """An adapter that was trained without a gate, always on."""
    size = base.model.config.get_text_config(decoder=True).hidden_size
    with torch.random.fork_rng(devices=[]):  # the gate's random beginning is never read
        gate = Gate(size).to(base.model.device).eval().requires_grad_(False)
    return HeldGate(GatedModel(base, lora, gate, label=label, adapter_hash=adapter_hash))
