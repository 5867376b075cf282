"""Choice scoring: one pass for all choices gives what a plain pass for each would."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from support.gated_parts import tiny_gated
from support.tiny_models import tiny_model
from transformers import PreTrainedTokenizerBase

from prism_core.errors import InputError
from prism_core.inference import branch_scoring
from prism_core.inference.branch_scoring import branch_logprobs, can_branch
from prism_core.models.chat import encode_prompt, encode_text
from prism_core.models.local import LocalModel
from prism_core.personas.library import load_personas
from prism_core.personas.prompts import build_prompt
from prism_core.study.choice_scoring import (
    choice_question,
    choice_texts,
    probe_scoring,
    score_choice_items,
)
from prism_core.study.choices import ChoiceScores, p_right, picked
from prism_core.tasks import Item, get_task, pick_items
from prism_core.types import PromptVariant

PERSONA = PromptVariant(load_personas()["math"], "long", "system")
ITEM = Item("i", "t", "stem", "choice", "What is big?", ("A very large house", "Ant", "A mouse"), 0)


@torch.inference_mode()
def plainly(model: LocalModel, item: Item, variant: PromptVariant, way: str) -> list[float]:
    """Sum of log p of each choice by one whole forward pass a choice."""
    prompt = build_prompt(choice_question(item, way), variant, model.has_system_role)
    front = encode_prompt(model.tokenizer, prompt)
    sums = []
    for text in choice_texts(item, way):
        tail = encode_text(model.tokenizer, text)
        logits = model.model(input_ids=torch.tensor([front + tail])).logits[0].float()
        logprobs = logits.log_softmax(dim=-1)
        places = range(len(front) - 1, len(front) + len(tail) - 1)
        sums.append(sum(logprobs[p, t].item() for p, t in zip(places, tail, strict=True)))
    return sums


@pytest.mark.parametrize("kind", ["llama", "qwen2", "gemma"])
@pytest.mark.parametrize("way", ["letters", "cloze"])
def test_one_branching_pass_equals_a_pass_for_each_choice(
    kind: str, way: str, tokenizer: PreTrainedTokenizerBase
) -> None:
    model = tiny_model(kind, tokenizer)
    assert can_branch(model.model)
    items = [*pick_items(get_task("knowledge"), 2), ITEM]
    for variant in (PERSONA, PromptVariant()):
        found = score_choice_items(model, variant, items, way)
        for item, scores in zip(items, found, strict=True):
            assert scores.logprobs == pytest.approx(plainly(model, item, variant, way), abs=2e-4)


@pytest.mark.parametrize("way", ["letters", "cloze"])
@pytest.mark.parametrize("kind", ["llama", "gemma"])
def test_a_gated_model_scores_each_row_with_its_own_adapter_or_none(
    kind: str, way: str, tokenizer: PreTrainedTokenizerBase, tmp_path: Path
) -> None:
    base = tiny_model(kind, tokenizer)
    items = [*pick_items(get_task("knowledge"), 1), ITEM]
    gated = tiny_gated(base, tmp_path)
    for variant in (PERSONA, PromptVariant()):
        prompts = [build_prompt(choice_question(i, way), variant, True) for i in items]
        ranked = sorted(gated.probabilities(prompts))
        model = gated.with_threshold((ranked[1] + ranked[2]) / 2)
        found = score_choice_items(model, variant, items, way)
        assert sorted(s.gate.is_open for s in found if s.gate) == [False] * 2 + [True] * 3
        for item, scores in zip(items, found, strict=True):
            assert scores.gate is not None
            with base._with(model.lora if scores.gate.is_open else None):
                right = plainly(base, item, variant, way)
            assert scores.logprobs == pytest.approx(right, abs=5e-4)
        closed = score_choice_items(model, variant, items, way, gates="closed")
        plain = score_choice_items(base, variant, items, way)
        assert [s.logprobs for s in closed] == [s.logprobs for s in plain], "to the bit"


def test_small_batches_and_mixed_beginnings_change_nothing(
    tiny: LocalModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [[1, *range(100, 160), 7, 8], [1, *range(100, 160), 9], [5, 6, 7], [2] * 70]
    choices = [[[3], [4, 5, 6]], [[9, 9]], [[1, 2], [3], [4, 5]], [[8]]]
    whole = branch_logprobs(tiny.model, rows, choices)
    monkeypatch.setattr(branch_scoring, "PASS_TOKENS", (1, 1))
    for line, other in zip(branch_logprobs(tiny.model, rows, choices), whole, strict=True):
        assert line == pytest.approx(other, abs=2e-4)


def test_the_real_model_picks_the_same_choices_as_a_plain_pass(model: LocalModel) -> None:
    items = pick_items(get_task("knowledge"), 2)
    found = score_choice_items(model, PromptVariant(), items, "cloze")
    for item, scores in zip(items, found, strict=True):
        plain = plainly(model, item, PromptVariant(), "cloze")
        assert scores.logprobs == pytest.approx(plain, abs=1e-3)
        assert scores.prompt_tokens > 10 and scores.gate is None


def test_cloze_counts_a_token_and_letters_count_the_sum() -> None:
    scores = ChoiceScores((-4.0, -3.0), (4, 1))
    assert picked(scores, "cloze") == 0  # -4 / 4 = -1 against -3 / 1 = -3
    assert picked(scores, "letters") == 1
    # 1 / (1 + exp(-3 - -1)) = 1 / (1 + exp(-2))
    assert p_right(scores, "cloze", 0) == pytest.approx(1 / (1 + math.exp(-2)))
    assert p_right(ChoiceScores((-2000.0, -1000.0), (1, 1)), "letters", 1) == 1.0
    with pytest.raises(InputError, match="Choice 2 does not exist"):
        p_right(scores, "cloze", 2)


def test_the_probe_prefers_log_likelihoods_for_the_embedded_model(model: LocalModel) -> None:
    probe = probe_scoring(model, pick_items(get_task("knowledge"), 4))
    assert probe.scoring == "cloze" and probe.chance == 0.25
    assert probe.cloze.n == probe.letters.n == 16
    assert (probe.cloze.value or 0) > (probe.letters.value or 0)
    assert "log-likelihood (cloze)" in probe.sentence and "16 probe questions" in probe.sentence


def test_wrong_items_and_ways_are_refused(tiny: LocalModel) -> None:
    with pytest.raises(InputError, match="no scoring 'guess'"):
        score_choice_items(tiny, PromptVariant(), [ITEM], "guess")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="kind 'open'"):
        score_choice_items(tiny, PromptVariant(), get_task("open").load()[:1], "cloze")
    with pytest.raises(InputError, match="at least one"):
        probe_scoring(tiny, [])


def test_letters_list_every_choice() -> None:
    text = choice_question(ITEM, "letters")
    assert "A. A very large house\nB. Ant\nC. A mouse" in text
    assert choice_texts(ITEM, "letters") == ("A", "B", "C")
    assert choice_question(ITEM, "cloze") == "What is big?"
