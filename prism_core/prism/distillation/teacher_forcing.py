"""Teacher forcing: one answer after two prompts, and the states that predict it.

The teacher reads the prompt *with* the persona, the student the neutral one; both are forced along
the persona's answer. A prompt and n answer tokens predict n + 1 distributions: one for each token
and one for what follows, which is the end of the turn unless the answer was cut at its limit.
Only those positions go through the head, whose vocabulary is what costs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import DynamicCache, PreTrainedModel, PreTrainedTokenizerBase
from transformers.cache_utils import DynamicLayer

from prism_core.errors import ModelError
from prism_core.inference.shared_beginnings import shared_prefix
from prism_core.models.chat import PROBE, encode_prompt, encode_text, render
from prism_core.models.local import LocalModel
from prism_core.personas.prompts import VariantOf, build_prompt
from prism_core.prism.records import AnswerPair
from prism_core.types import Message, PromptVariant

BATCH_TOKENS = 2_048
"""Padded tokens that are read together where nothing is trained."""
_WORTH_SHARING = 64
"""Tokens that have to be saved before a beginning is read apart from the rows' ends."""


@dataclass(frozen=True)
class ForcedAnswer:
    """One persona answer as token ids, ready to be read after either prompt."""

    key: str
    teacher: tuple[int, ...]
    student: tuple[int, ...]
    answer: tuple[int, ...]
    """The persona's answer, without the end of the turn."""
    end: int | None
    """The token that ends the turn; None where the answer was cut at its limit."""

    @property
    def positions(self) -> int:
        """Distributions that are predicted: one for each answer token and one after them."""
        return len(self.answer) + 1


def force(
    pairs: Sequence[AnswerPair], variant_of: VariantOf, model: LocalModel, max_tokens: int
) -> list[ForcedAnswer]:
    """Encode the persona's answers after both prompts; answers are cut to fit `max_tokens`.

    Answers without text, or whose prompts leave no room within the token limit, are left out.
    """
    end = end_of_turn(model.tokenizer)
    samples = [_force(p, variant_of(p.query.persona), model, max_tokens, end) for p in pairs]
    return [sample for sample in samples if sample is not None]


def _force(
    pair: AnswerPair, variant: PromptVariant, model: LocalModel, max_tokens: int, end: int
) -> ForcedAnswer | None:
    def ids(chosen: PromptVariant) -> tuple[int, ...]:
        prompt = build_prompt(pair.query.text, chosen, model.has_system_role)
        return tuple(encode_prompt(model.tokenizer, prompt))

    teacher, student = ids(variant), ids(PromptVariant())
    answer = encode_text(model.tokenizer, pair.persona.text)
    room = min(max_tokens, model.context_tokens) - max(len(teacher), len(student))
    if not answer or room < 1:
        return None
    whole = pair.persona.finish == "stop" and len(answer) <= room
    return ForcedAnswer(
        pair.query.id, teacher, student, tuple(answer[:room]), end if whole else None
    )


def end_of_turn(tokenizer: PreTrainedTokenizerBase) -> int:
    """Return the token that the chat template writes after an assistant's turn.

    It is not always the tokenizer's end-of-text token; where the template writes none, it is.
    """
    prompt = (Message("user", "x"), Message("assistant", PROBE))
    after = render(tokenizer, prompt).partition(PROBE)[2]
    specials = set(tokenizer.all_special_ids) | set(tokenizer.added_tokens_decoder)
    ids = tokenizer(after, add_special_tokens=False)["input_ids"]
    found = next((int(i) for i in ids if i in specials), tokenizer.eos_token_id)
    return int(found)


def pad_forced(
    prompts: Sequence[Sequence[int]], samples: Sequence[ForcedAnswer], device: torch.device
) -> tuple[torch.Tensor, torch.Tensor]:
    """Pad a batch on the right, where causal attention cannot see the padding.

    Returns:
        Ids of shape (B, T), and the indices into the flattened (B * T) states that predict the
        answers, in the order of the samples.
    """
    width = max(len(p) + len(s.answer) for p, s in zip(prompts, samples, strict=True))
    ids = torch.zeros((len(samples), width), dtype=torch.long)
    index: list[int] = []
    for row, (prompt, sample) in enumerate(zip(prompts, samples, strict=True)):
        tokens = [*prompt, *sample.answer]
        ids[row, : len(tokens)] = torch.tensor(tokens)
        first = row * width + len(prompt) - 1
        index.extend(range(first, first + sample.positions))
    return ids.to(device), torch.tensor(index, device=device)


class AnswerStates(torch.nn.Module):
    """A decoder that returns the states in front of its head at chosen positions alone."""

    def __init__(self, decoder: torch.nn.Module) -> None:
        super().__init__()
        self.decoder = decoder

    def forward(self, ids: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
        """States (N, h) at the flat indices (N,) of a batch of ids (B, T), see `pad_forced`.

        What all rows begin with (a persona, a template) is read once, gradients included.
        """
        rows, width = ids.shape
        shared = _shared(ids, int((index % width).min()))
        config: Any = self.decoder.config
        cache = DynamicCache(config=config) if shared else None
        if cache is not None and not all(type(layer) is DynamicLayer for layer in cache.layers):
            cache, shared = None, 0
        if cache is not None:
            self.decoder(input_ids=ids[:1, :shared], past_key_values=cache, use_cache=True)
            cache.batch_repeat_interleave(rows)
        # Without a mask attention is purely causal, so padding on the right changes nothing.
        states = self.decoder(
            input_ids=ids[:, shared:], past_key_values=cache, use_cache=cache is not None
        ).last_hidden_state
        column = index % width - shared
        return states.flatten(0, 1).index_select(0, index // width * (width - shared) + column)


def _shared(ids: torch.Tensor, most: int) -> int:
    """Count the columns from the left that are alike in all rows of ids (B, T), if that pays."""
    alike = min(shared_prefix(ids.tolist()), most)
    return alike if alike * (len(ids) - 1) >= _WORTH_SHARING else 0


def head_of(model: PreTrainedModel) -> Callable[[torch.Tensor], torch.Tensor]:
    """Return the map from states (N, h) to logits (N, V), checked against the model itself.

    Raises:
        ModelError: the model does something between its states and its logits that is not known.
    """
    head: Any = model.get_output_embeddings()
    cap = getattr(model.config.get_text_config(decoder=True), "final_logit_softcapping", None)

    def logits_of(states: torch.Tensor) -> torch.Tensor:
        logits = head(states)
        return torch.tanh(logits / cap) * cap if cap else logits

    probe = torch.arange(1, 5, device=model.device)[None]
    with torch.no_grad():
        states = model.get_decoder()(input_ids=probe, use_cache=False).last_hidden_state[0]
        ours, theirs = logits_of(states).float(), model(input_ids=probe).logits[0].float()
    if not torch.allclose(ours, theirs, rtol=1e-2, atol=1e-2):
        raise ModelError(
            f"{type(model).__name__} scales its logits in a way that distillation does not know."
        )
    return logits_of
