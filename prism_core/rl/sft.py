"""The supervised arm: the same questions and personas, with the gold answer as the target.

One gold answer a question and `spec.prompts` questions a step, so that all arms see the same
questions in the same order for the same number of steps. Gold answers are used, not answers of the
model's own that the verifier passed. Checkpoints, resuming and stopping are as in
`prism_core.rl.trainer`.
"""

from __future__ import annotations

from typing import Any

import torch
from datasets import Dataset
from torch.utils.data import Sampler, SequentialSampler
from transformers import Trainer, TrainingArguments

from prism_core.lora.training import stoppable_training
from prism_core.models.chat import encode_prompt, encode_text
from prism_core.models.local import LocalModel
from prism_core.rl.records import RlInputs
from prism_core.rl.training import JournalCallback, Training, common_settings, train_on

_IGNORED = -100
"""What PyTorch's cross-entropy skips."""


def train_sft(work: Training) -> None:
    """Train the LoRA in place, from the last whole checkpoint if there is one.

    Raises:
        CancelledError: stopped on request; the last checkpoint is kept.
    """
    args = TrainingArguments(
        **common_settings(work),
        per_device_train_batch_size=work.spec.prompts,
        remove_unused_columns=False,
    )
    with stoppable_training(work.model.model, work.progress):
        trainer = InOrder(
            model=work.peft,
            args=args,
            train_dataset=Dataset.from_list(_rows(work.inputs, work.model)),
            data_collator=_collate,
            processing_class=work.model.tokenizer,
            callbacks=[JournalCallback(work)],
        )
        train_on(trainer, work)
    work.model.model.eval()


class InOrder(Trainer):
    """A trainer that reads the plan from top to bottom."""

    def _get_train_sampler(self, train_dataset: Dataset | None = None) -> Sampler[int]:
        return SequentialSampler(self.train_dataset)  # type: ignore[arg-type]


def _rows(inputs: RlInputs, model: LocalModel) -> list[dict[str, list[int]]]:
    """Build token ids and labels; only the answer and its end are learnt."""
    rows = []
    eos = model.tokenizer.eos_token_id
    end = sorted(model.stop_ids)[:1] if eos is None else [int(eos)]
    for number, question in enumerate(inputs.questions):
        prompt = encode_prompt(model.tokenizer, inputs.prompt(number, 0))
        answer = encode_text(model.tokenizer, question.item.reference) + end
        ids = prompt + answer
        labels = [_IGNORED] * len(prompt) + answer
        rows.append({"ids": ids, "labels": labels, "mask": [1] * len(ids)})
    return rows


def _collate(rows: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
    """Pad rows on the right."""
    width = max(len(r["ids"]) for r in rows)

    def padded(key: str, fill: int) -> torch.Tensor:
        return torch.tensor([r[key] + [fill] * (width - len(r[key])) for r in rows])

    return {
        "input_ids": padded("ids", 0),
        "labels": padded("labels", _IGNORED),
        "attention_mask": padded("mask", 0),
    }
