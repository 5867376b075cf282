"""Ways into the engine: decode by the library's layers, count what is read, step by hand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from torch import nn

from prism_core.inference.cpu.fused_batch import FusedBatch
from prism_core.inference.cpu.fused_llama import FusedDecoder
from prism_core.inference.library_batch import LibraryBatch
from prism_core.inference.rows import Row
from prism_core.inference.scheduler import Job, Scheduler
from prism_core.lora.weights import PROJECTIONS, LoraPair, LoraWeights, decoder_layers
from prism_core.models.local import LocalModel
from prism_core.progress import Cancel
from prism_core.types import Sampling

NEVER: frozenset[int] = frozenset()
"""No token ends an answer."""


def by_library(model: LocalModel) -> LocalModel:
    """Return the same weights, decoded by the library's layers, with an engine of their own."""
    return LocalModel(model.weights, fast=lambda _model: None)


def is_fused(model: LocalModel) -> bool:
    """Tell which way the model decodes now."""
    batch = model._backend.batch()
    assert isinstance(batch, FusedBatch | LibraryBatch)
    return isinstance(batch, FusedBatch)


def answers(
    model: LocalModel,
    rows: Sequence[Sequence[int]],
    sampling: Sampling,
    seeds: Sequence[int] | None = None,
    adapters: Sequence[LoraWeights | None] | None = None,
    stop_ids: frozenset[int] | None = NEVER,
) -> list[list[int]]:
    """The token ids that answer each token row; nothing ends them unless `stop_ids` says so."""
    used = range(len(rows)) if seeds is None else seeds
    steps = model.write(rows, sampling, list(used), stop_ids=stop_ids, adapters=adapters)
    return [row.answer for row in list(steps)[-1]]


def random_lora(model: LocalModel, seed: int, parts: Sequence[str] = PROJECTIONS) -> LoraWeights:
    """An adapter on layers 1..L-1 that visibly changes what the model writes."""
    random = torch.Generator().manual_seed(seed)
    first = decoder_layers(model.model)[0]
    inside = {id(m) for m in first.modules()}
    pairs = {}
    for path, module in model.model.named_modules():
        if (
            isinstance(module, nn.Linear)
            and id(module) not in inside
            and path.endswith(tuple(parts))
        ):
            down = torch.randn(4, module.in_features, generator=random) * 0.2
            up = torch.randn(module.out_features, 4, generator=random) * 0.2
            pairs[path] = LoraPair(down, up, 2.0)
    return LoraWeights(pairs)


@dataclass
class Reads:
    """Tokens of prompts that forward passes read, pass by pass; steps of decoding are left out."""

    passes: list[int] = field(default_factory=list)

    def take(self) -> int:
        """Return how many were read since the last call."""
        total = sum(self.passes)
        self.passes.clear()
        return total


def count_fused(monkeypatch: pytest.MonkeyPatch) -> Reads:
    """Count the tokens given to `FusedDecoder.read`."""
    reads, true_read = Reads(), FusedDecoder.read

    def read(self: FusedDecoder, cache: Any, first: int, pieces: Any, *rest: Any) -> torch.Tensor:
        reads.passes.append(sum(len(piece) for piece in pieces))
        return true_read(self, cache, first, pieces, *rest)

    monkeypatch.setattr(FusedDecoder, "read", read)
    return reads


def count_library(monkeypatch: pytest.MonkeyPatch, model: LocalModel) -> Reads:
    """Count the tokens that the library's layers read; run it with answers of one token.

    The pass itself is watched, not by hooks: those would switch the prefix cache off.
    """
    kind = type(model.model.get_decoder())
    reads, true_forward = Reads(), kind.forward

    def forward(self: nn.Module, *arguments: Any, **named: Any) -> Any:
        reads.passes.append(named["input_ids"].numel())
        return true_forward(self, *arguments, **named)

    monkeypatch.setattr(kind, "forward", forward)
    return reads


def row_of(prompt: Sequence[int], tokens: int, **more: Any) -> Row:
    """A row that nothing but its length ends; `more` holds settings of its sampling, and others."""
    seed, adapter = more.pop("seed", 0), more.pop("adapter", None)
    return Row(list(prompt), Sampling(max_new_tokens=tokens, **more), seed, NEVER, adapter)


def scheduler_of(model: LocalModel, most_cells: int = 1_000_000) -> Scheduler:
    """A scheduler without a thread, for a test to step by hand."""
    return Scheduler(model._backend.batch, model._backend.give_up, most_cells)


def finish(scheduler: Scheduler, each: Callable[[], None] = lambda: None) -> int:
    """Step until nothing is left to do; return how many steps it took."""
    count = 0
    with torch.inference_mode():
        while not scheduler.is_idle:
            scheduler.step()
            each()
            count += 1
            assert count < 10_000, "the scheduler never comes to an end"
    return count


def submitted(
    scheduler: Scheduler, rows: Sequence[Row], owner: object = None, cancel: Cancel = None
) -> Job:
    """Submit rows as one job."""
    job = Job(rows, owner if owner is not None else object(), cancel)
    scheduler.submit(job)
    return job
