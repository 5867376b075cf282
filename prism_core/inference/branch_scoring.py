"""All choices of a question in one forward pass.

A row is the question followed by all its choices. A mask lets each choice
see the question and itself, not its neighbours, and its positions begin where the question ends, so
every choice is scored as if it stood alone. What all prompts begin with (a persona) is read once.
Only for decoders whose attention is full everywhere and takes a mask of its own for every token.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from transformers import DynamicCache, PreTrainedModel

from prism_core.inference.branches import branch_mask, takes_branches
from prism_core.inference.kv_cache import new_cache
from prism_core.inference.prefill import ALIKE, read_head
from prism_core.inference.rows import Rows
from prism_core.inference.shared_beginnings import groups_alike, shared_prefix
from prism_core.inference.widths import batches_by_width

PASS_TOKENS = (640, 8_192)
"""Tokens of one pass, on a CPU and on anything else: enough to keep it busy, little padding."""
_FAMILIES = frozenset(
    ("llama", "mistral", "qwen2", "qwen3", "phi3", "smollm3", "olmo", "olmo2", "granite", "gemma")
)
"""Model types whose masks and positions are plain, so that four-dimensional masks are honoured."""


def can_branch(model: PreTrainedModel) -> bool:
    """Tell whether all choices of a question can be read in one pass."""
    return model.config.model_type in _FAMILIES and takes_branches(model)


@torch.inference_mode()
def branch_logprobs(
    model: PreTrainedModel, prompts: Rows, choices: Sequence[Rows]
) -> list[list[float]]:
    """Sum log p over the tokens of each choice after its prompt, in nats.

    The model is one that `can_branch` accepts; prompts and choices have at least one token each.
    """
    found: list[list[float]] = [[] for _ in prompts]
    for group in groups_alike(prompts, ALIKE):
        rows = [prompts[i] for i in group]
        shared = shared_prefix(rows) if len(rows) > 1 else 0
        shared = shared if shared >= ALIKE else 0
        head = read_head(model, rows[0][:shared])
        width = [len(prompts[i]) - shared + sum(len(c) - 1 for c in choices[i]) for i in group]
        for chosen in batches_by_width(width, PASS_TOKENS[model.device.type != "cpu"]):
            batch = [group[k] for k in chosen]
            layout = _Layout([prompts[i][shared:] for i in batch], [choices[i] for i in batch])
            for i, sums in zip(batch, _score(model, layout, head, shared), strict=True):
                found[i] = sums
    return found


def _score(
    model: PreTrainedModel, layout: _Layout, head: DynamicCache, shared: int
) -> list[list[float]]:
    """Score a batch in one forward pass behind the shared beginning."""
    cache = new_cache(model.config)
    rows = len(layout.choices)
    if shared:
        layers: list[tuple[Any, Any]] = list(zip(cache.layers, head.layers, strict=True))
        for layer, read in layers:
            layer.update(read.keys.expand(rows, -1, -1, -1), read.values.expand(rows, -1, -1, -1))
    out = model(
        input_ids=layout.ids.to(model.device),
        attention_mask=branch_mask(layout.part.to(model.device), model.dtype, shared),
        position_ids=(layout.positions + shared).to(model.device),
        past_key_values=cache,
        use_cache=True,
        logits_to_keep=layout.kept,
    )
    return layout.sums(out.logits)


class _Layout:
    """Lay out a batch: questions end in one column, their choices begin behind it.

    A choice's last token predicts nothing that is asked for, so it is not fed.
    """

    def __init__(self, questions: Rows, choices: Sequence[Rows]) -> None:
        self.choices = choices
        self.front = max(len(q) for q in questions)
        self.back = max(sum(len(c) - 1 for c in row) for row in choices)
        shape = (len(questions), self.front + self.back)
        self.ids = torch.zeros(shape, dtype=torch.long)
        self.positions = torch.zeros(shape, dtype=torch.long)
        # Which part a column belongs to: -1 padding, 0 the question, then choice 1, 2, ...
        self.part = torch.full(shape, -1, dtype=torch.long)
        for i, (question, row) in enumerate(zip(questions, choices, strict=True)):
            self._place(i, question, 0, self.front - len(question), 0)
            column = self.front
            for j, choice in enumerate(row, start=1):
                self._place(i, choice[:-1], j, column, len(question))
                column += len(choice) - 1

    def _place(self, row: int, tokens: Sequence[int], part: int, column: int, start: int) -> None:
        span = slice(column, column + len(tokens))
        self.ids[row, span] = torch.tensor(list(tokens), dtype=torch.long)
        self.positions[row, span] = torch.arange(start, start + len(tokens))
        self.part[row, span] = part

    @property
    def kept(self) -> int:
        """How many columns from the right need logits."""
        return self.back + 1

    def sums(self, logits: torch.Tensor) -> list[list[float]]:
        """Sum log p of each choice from the logits (B, back + 1, V) of the kept columns."""
        rows, columns, targets, owners = [], [], [], []
        for i, row in enumerate(self.choices):
            column = 0
            for j, choice in enumerate(row):
                rows += [i] * len(choice)
                # The question's last column predicts every choice's first token.
                columns += [0, *range(column + 1, column + len(choice))]
                targets += list(choice)
                owners += [(i, j)] * len(choice)
                column += len(choice) - 1
        at = (torch.tensor(rows), torch.tensor(columns))
        norm = logits.float().logsumexp(dim=-1).cpu()
        chosen = logits[at[0], at[1], torch.tensor(targets)].float().cpu()
        found = [[0.0] * len(row) for row in self.choices]
        for (i, j), value in zip(owners, (chosen - norm[at]).tolist(), strict=True):
            found[i][j] += value
        return found
