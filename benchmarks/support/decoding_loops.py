"""The loops that can decode the same prompts on a GPU: ours, and what transformers offers."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from typing import Any

import torch
from transformers import ContinuousBatchingConfig, GenerationConfig

from prism_core.inference.padding import pad_left
from prism_core.models.chat import encode_prompt
from prism_core.models.local import LocalModel
from prism_core.types import Prompt, Sampling


@dataclass
class Loops(AbstractContextManager["Loops"]):
    """Ways to answer prompts with `sampling`; each returns how many tokens it wrote.

    Nothing ends a row early in the loops of transformers, and hardly anything in ours: one token of
    the whole vocabulary does, and what was written is counted.
    """

    model: LocalModel
    prompts: list[Prompt]
    sampling: Sampling
    _stack: ExitStack = field(default_factory=ExitStack)

    def __post_init__(self) -> None:
        self.rows = [encode_prompt(self.model.tokenizer, prompt) for prompt in self.prompts]
        self.device = self.model.model.device

    def __exit__(self, *_error: object) -> None:
        self._stack.close()

    def arms(self) -> dict[str, Callable[[], int]]:
        """Return the loops by name; the first is what the others are compared with."""
        return {
            "model.generate": self.generate,
            "ours": self.ours,
            "static cache, CUDA graphs": lambda: self.generate("static"),
            "continuous batching": self.continuous,
        }

    def ours(self) -> int:
        """Answer by the product's own loop."""
        seeds = list(range(len(self.prompts)))
        return sum(a.tokens for a in self.model.generate(self.prompts, self.sampling, seeds))

    def generate(self, cache: str | None = None) -> int:
        """Answer by `model.generate`; a static cache makes it compile and capture CUDA graphs."""
        ids, mask = pad_left(self.rows, self.device)
        with torch.inference_mode():
            out = self.model.model.generate(
                input_ids=ids, attention_mask=mask, generation_config=self.config(cache)
            )
        return (out.shape[1] - ids.shape[1]) * len(self.rows)

    def continuous(self) -> int:
        """Answer by continuous batching, whose manager and graphs are kept between calls."""
        model: Any = self.model.model  # transformers hides the types of what it mixes in
        on_cpu = self.device.type == "cpu"
        found = model.generate_batch(
            self.rows,
            generation_config=self.config(None),
            # A processor has no GPU memory to measure the cache by, and no flash attention.
            continuous_batching_config=ContinuousBatchingConfig(
                num_blocks=64 if on_cpu else None, auto_switch_to_flash=not on_cpu
            ),
            persistent_manager=True,
        )
        self._stack.callback(model.destroy_cached_continuous_batching_manager)
        return sum(len(one.generated_tokens) for one in found.values())

    def config(self, cache: str | None) -> GenerationConfig:
        """Return the settings of `sampling` as transformers takes them."""
        chosen = self.sampling
        warm = chosen.temperature > 0
        drawn = {"temperature": chosen.temperature, "top_p": chosen.top_p, "top_k": chosen.top_k}
        return GenerationConfig(
            max_new_tokens=chosen.max_new_tokens,
            do_sample=warm,
            pad_token_id=self.model.tokenizer.pad_token_id,
            cache_implementation=cache,
            **(drawn if warm else {}),
        )
