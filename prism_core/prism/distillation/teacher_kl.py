"""How far the student is from the teacher while it is trained: the KL of the teacher's top tokens.

Answers that are not trained on are forced behind the neutral prompt, and the KL is averaged over an
answer's positions at temperature 1. It is the KL of the teacher's cached top tokens and "any other
token": cheap, and a close lower bound of the full one, which `ablation.answer_kl` measures.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from transformers import PreTrainedModel

from prism_core.prism.distillation.losses import CHUNK, topk_kl
from prism_core.prism.distillation.teacher import Teacher
from prism_core.prism.distillation.teacher_forcing import (
    AnswerStates,
    ForcedAnswer,
    head_of,
    pad_forced,
)
from prism_core.prism.distillation.training_plan import micro_batches


@torch.no_grad()
def mean_kls(
    model: PreTrainedModel,
    samples: Sequence[ForcedAnswer],
    teacher: Teacher,
    which: Sequence[int],
    max_tokens: int,
) -> list[float]:
    """KL from teacher to student at temperature 1, in nats a token, for the samples `which`.

    The model is read as it stands, with whatever LoRA is on it, in batches of at most `max_tokens`.
    """
    states_of, logits_of = AnswerStates(model.get_decoder()), head_of(model)
    lengths = [len(s.student) + len(s.answer) for s in samples]
    found: dict[int, float] = {}
    for part in micro_batches(which, lengths, max_tokens):
        chosen = [samples[i] for i in part]
        ids, index = pad_forced([s.student for s in chosen], chosen, model.device)
        states, rows = states_of(ids, index), teacher.of(part, model.device)
        logprobs = rows.logprobs(1.0)
        chunks = []
        for start in range(0, len(states), CHUNK):
            span = slice(start, start + CHUNK)
            chunks.append(topk_kl(logits_of(states[span]), rows.ids[span], logprobs[span]))
        lines = torch.cat(chunks).split([s.positions for s in chosen])
        found.update((i, float(kl.double().mean())) for i, kl in zip(part, lines, strict=True))
    return [found[i] for i in which]
