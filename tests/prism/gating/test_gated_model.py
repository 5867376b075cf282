"""Gated inference: closed is the base to the bit, open is PEFT, mixed is each row alone."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from peft import PeftModel
from support.gated_parts import save_random_lora
from support.tiny_models import TINY_CONFIGS, tiny_model
from transformers import AutoModelForCausalLM, PreTrainedTokenizerBase

from prism_core.errors import InputError, ModelError
from prism_core.inference.cpu.fused_llama import FusedDecoder
from prism_core.inference.cpu.fused_lora import row_lora
from prism_core.inference.cpu.slot_cache import SlotCache
from prism_core.inference.decoding import decode
from prism_core.inference.prefill import _by_width, pad_left, prefill
from prism_core.lora.weights import LoraWeights
from prism_core.models.chat import encode_prompt
from prism_core.models.generator import Generator, TokenScorer
from prism_core.models.local import LocalModel
from prism_core.prism.gating.gate import Gate, read_features
from prism_core.prism.gating.gated_model import GatedModel, RowRouter
from prism_core.types import GateMode, Message, Prompt, Sampling

QUESTIONS = ("Tell me of the sea.", "2 + 2?", "Name a flightless bird.", "Why is the sky blue?")
PROMPTS: list[Prompt] = [(Message("user", q),) for q in QUESTIONS]
SHORT = Sampling(max_new_tokens=8)
KINDS = sorted(TINY_CONFIGS)
FUSED = [kind for kind in KINDS if kind != "gemma"]
"""Those that decode by fused steps; Gemma decodes by the library's layers."""
fused_kinds = pytest.mark.parametrize("pair", FUSED, indirect=True)


@pytest.fixture(scope="module", params=KINDS)
def pair(
    request: pytest.FixtureRequest,
    tokenizer: PreTrainedTokenizerBase,
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[GatedModel, Path]:
    """A tiny gated model of each kind and its adapter's folder."""
    base = tiny_model(request.param, tokenizer)
    folder = tmp_path_factory.mktemp(request.param)
    save_random_lora(base, folder)
    torch.manual_seed(5)
    gate = Gate(base.model.config.hidden_size, "last").eval().requires_grad_(False)
    features = read_features(base.model, [encode_prompt(tokenizer, p) for p in PROMPTS], "last")
    gate.mean, gate.spread = features.mean(0), features.std(0) + 1e-6
    middle = float(gate(features).sort().values[1:3].mean())  # two rows open, two closed
    return GatedModel(base, LoraWeights.load(folder, base.model), gate, threshold=middle), folder


def rows_of(model: GatedModel) -> list[list[int]]:
    return [encode_prompt(model.base.tokenizer, p) for p in PROMPTS]


def router_of(model: GatedModel, mode: str, rows: int = 4) -> RowRouter:
    modes = [mode] * rows
    return RowRouter(model.base.model, model.lora, model.gate, model.threshold, modes)


@torch.inference_mode()
def logits_of(model: GatedModel, mode: str) -> torch.Tensor:
    return prefill(model.base.model, rows_of(model), router_of(model, mode))[0]


def test_it_is_a_generator_and_a_token_scorer(pair: tuple[GatedModel, Path]) -> None:
    assert isinstance(pair[0], Generator)
    assert isinstance(pair[0], TokenScorer)


def test_closed_equals_the_base_to_the_bit(pair: tuple[GatedModel, Path]) -> None:
    model, _ = pair
    with torch.inference_mode():
        base, _, _ = prefill(model.base.model, rows_of(model))
    assert torch.equal(logits_of(model, "closed"), base)
    closed = model.generate(PROMPTS, SHORT, gates="closed")
    assert [c.text for c in closed] == [c.text for c in model.base.generate(PROMPTS, SHORT)]
    assert not any(c.gate.is_open for c in closed if c.gate)


def test_open_equals_peft(pair: tuple[GatedModel, Path]) -> None:
    model, folder = pair
    fresh = AutoModelForCausalLM.from_config(model.base.model.config)
    fresh.load_state_dict(model.base.model.state_dict())
    peft = PeftModel.from_pretrained(fresh, folder).eval()
    ids, mask = pad_left(rows_of(model), torch.device("cpu"))
    with torch.inference_mode():
        theirs = peft(
            input_ids=ids, attention_mask=mask, position_ids=(mask.cumsum(1) - 1).clamp(min=0)
        ).logits[:, -1]
    ours = logits_of(model, "open")
    assert torch.allclose(ours, theirs, atol=1e-4)
    assert not torch.allclose(ours, logits_of(model, "closed"), atol=1e-2), "the adapter does act"


def greedy_ids(model: GatedModel, mode: str, is_fused: bool) -> list[list[int]]:
    """Sixteen greedy tokens of each row, by fused steps or by the library's."""
    written: list[list[int]] = [[] for _ in PROMPTS]
    how = model.base._fused() if is_fused else None
    assert (how is not None) is is_fused
    steps = decode(
        model.base.model,
        rows_of(model),
        Sampling(max_new_tokens=16),
        [0] * 4,
        frozenset(),
        router=router_of(model, mode),
        fused=how,
    )
    for step in steps:
        for row, token in step:
            written[row].append(token)
    return written


@pytest.mark.parametrize("kind", KINDS)
def test_which_kinds_decode_by_fused_steps(tokenizer: PreTrainedTokenizerBase, kind: str) -> None:
    assert (tiny_model(kind, tokenizer)._fused() is not None) is (kind in FUSED)


@fused_kinds
@pytest.mark.parametrize("mode", ["open", "auto"])
def test_fused_steps_write_what_the_library_s_write(
    pair: tuple[GatedModel, Path], mode: str
) -> None:
    fused = greedy_ids(pair[0], mode, is_fused=True)
    assert fused == greedy_ids(pair[0], mode, is_fused=False)
    assert fused != greedy_ids(pair[0], "closed", is_fused=True)


@fused_kinds
@torch.inference_mode()
def test_fused_steps_write_what_peft_writes(pair: tuple[GatedModel, Path]) -> None:
    model, folder = pair
    fresh = AutoModelForCausalLM.from_config(model.base.model.config)
    fresh.load_state_dict(model.base.model.state_dict())
    peft = PeftModel.from_pretrained(fresh, folder).eval()
    for row, ours in zip(rows_of(model), greedy_ids(model, "open", is_fused=True), strict=True):
        ids = list(row)
        for _ in ours:
            ids.append(int(peft(torch.tensor([ids])).logits[0, -1].argmax()))
        assert ids[len(row) :] == ours


@fused_kinds
@pytest.mark.parametrize("part", ["_proj", "v_proj", "up_proj", "layers.2"])
@torch.inference_mode()
def test_a_fused_step_updates_the_open_rows_alone(pair: tuple[GatedModel, Path], part: str) -> None:
    model, _ = pair
    base, opened = model.base.model, torch.tensor([True, False, False, True])
    lora = LoraWeights({path: p for path, p in model.lora.pairs.items() if part in path})
    fused, new = FusedDecoder(base), torch.tensor([[7, 8], [9, 10], [11, 12], [13, 14]])

    def logits(is_open: torch.Tensor | None, *, draft: bool = False) -> torch.Tensor:
        _, cache, mask = prefill(base, rows_of(model))
        rows = None if is_open is None else row_lora(lora, base, is_open)
        return fused.step(SlotCache.from_prefill(cache, mask), new, lora=rows, draft=draft)

    mixed, plain, all_open = logits(opened), logits(None), logits(torch.ones(4, dtype=torch.bool))
    assert torch.equal(mixed[~opened], plain[~opened]), "closed rows keep the base to the bit"
    assert torch.allclose(mixed[opened], all_open[opened], atol=1e-4)
    _, cache, mask = prefill(base, rows_of(model))
    with lora.active(base):
        whole = base(
            new,
            attention_mask=torch.cat([mask, mask.new_ones(4, 2)], dim=1),
            position_ids=mask.sum(1, keepdim=True) + torch.arange(2),
            past_key_values=cache,
        ).logits
    assert torch.allclose(all_open, whole, atol=1e-3)
    if part == "_proj":  # guesses have the adapter too
        gap = (logits(opened, draft=True) - mixed)[opened].std()
        assert gap < (logits(None, draft=True) - mixed)[opened].std()


def test_an_adapter_outside_the_layers_takes_the_library_s_steps(
    pair: tuple[GatedModel, Path],
) -> None:
    model, _ = pair
    head = LoraWeights({"lm_head": next(iter(model.lora.pairs.values()))})
    assert row_lora(head, model.base.model, torch.ones(4, dtype=torch.bool)) is None


def test_a_mixed_batch_equals_each_row_alone(pair: tuple[GatedModel, Path]) -> None:
    model, _ = pair
    together = model.generate(PROMPTS, SHORT)
    opened = [c.gate.is_open for c in together if c.gate]
    assert sorted(opened) == [False, False, True, True]
    for prompt, answer, is_open in zip(PROMPTS, together, opened, strict=True):
        alone = model.generate([prompt], SHORT, gates="open" if is_open else "closed")[0]
        assert answer.text == alone.text
        assert answer.gate and alone.gate
        assert answer.gate.probability == pytest.approx(alone.gate.probability, abs=1e-5)


def test_rows_of_different_lengths_keep_their_own_gates(pair: tuple[GatedModel, Path]) -> None:
    model, _ = pair
    long = [(Message("user", "Tell me all about the sea. " * 12 + q),) for q in QUESTIONS[:2]]
    prompts: list[Prompt] = [PROMPTS[0], long[0], PROMPTS[1], long[1]]
    rows = [encode_prompt(model.base.tokenizer, p) for p in prompts]
    assert len(_by_width([len(row) for row in rows])) == 2
    read = model.generate(prompts, SHORT)
    said = [c.gate.probability for c in read if c.gate]
    assert said == pytest.approx(model.probabilities(prompts), abs=1e-5)
    modes: list[GateMode] = ["open", "closed", "closed", "open"]
    for prompt, mode, c in zip(
        prompts, modes, model.generate(prompts, SHORT, gates=modes), strict=True
    ):
        assert c.gate and c.gate.is_open is (mode == "open")
        assert c.text == model.generate([prompt], SHORT, gates=mode)[0].text


def test_closed_rows_of_a_mixed_batch_keep_the_base_to_the_bit(
    pair: tuple[GatedModel, Path],
) -> None:
    model, _ = pair
    mixed, base = logits_of(model, "auto"), logits_of(model, "closed")
    router = router_of(model, "auto")
    with torch.inference_mode():
        prefill(model.base.model, rows_of(model), router)
    for i, reading in enumerate(router.readings):
        assert torch.equal(mixed[i], base[i]) is not reading.is_open


def test_streamed_equals_generated_and_shows_the_gate_from_the_first_token(
    pair: tuple[GatedModel, Path],
) -> None:
    model, _ = pair
    snapshots = list(model.stream(PROMPTS, SHORT))
    assert all(c.gate is not None for c in snapshots[0])
    assert [c.text for c in snapshots[-1]] == [c.text for c in model.generate(PROMPTS, SHORT)]


def test_probabilities_need_only_layer_0_and_agree(pair: tuple[GatedModel, Path]) -> None:
    model, _ = pair
    answers = model.generate(PROMPTS, Sampling(max_new_tokens=1))
    read = [c.gate.probability for c in answers if c.gate]
    assert model.probabilities(PROMPTS) == pytest.approx(read, abs=1e-5)


@pytest.mark.parametrize("mode", ["open", "closed", "auto"])
def test_token_scores_follow_the_gate(pair: tuple[GatedModel, Path], mode: str) -> None:
    model, _ = pair
    answers = ["a bird of the sea", "four", "The kiwi", "Light scatters."]
    together = model.score_tokens(PROMPTS, answers, gates=mode)
    for prompt, answer, line in zip(PROMPTS, answers, together, strict=True):
        alone = model.score_tokens([prompt], [answer], gates=mode)[0]
        assert [t.logprob for t in line] == pytest.approx([t.logprob for t in alone], abs=1e-4)
        choice = model.score_choices([prompt], [[answer]], gates=mode)[0][0]
        assert choice.logprob == pytest.approx(sum(t.logprob for t in line), abs=1e-3)
    if mode == "closed":
        base = model.base.score_tokens(PROMPTS, answers)
        for line, plain in zip(together, base, strict=True):
            assert [t.logprob for t in line] == pytest.approx([t.logprob for t in plain], abs=1e-4)


def test_no_hook_is_left_behind(pair: tuple[GatedModel, Path]) -> None:
    model, _ = pair
    stream = model.stream(PROMPTS, SHORT)
    next(stream)
    stream.close()
    with pytest.raises(InputError):
        model.generate(PROMPTS, Sampling(max_new_tokens=0))
    assert not any(m._forward_hooks for m in model.base.model.modules())


def test_a_gate_survives_saving(pair: tuple[GatedModel, Path], tmp_path: Path) -> None:
    model, _ = pair
    model.gate.save(tmp_path)
    again = Gate.load(tmp_path, model.base.model)
    features = torch.randn(5, model.base.model.config.hidden_size)
    assert torch.equal(model.gate(features), again(features))


def test_an_adapter_of_another_shape_is_refused(
    pair: tuple[GatedModel, Path], model: LocalModel
) -> None:
    with pytest.raises(ModelError, match="trained for another base model"):
        LoraWeights.load(pair[1], model.model)
    with pytest.raises(ModelError, match=r"gate\.safetensors cannot be read"):
        Gate.load(pair[1], model.model)


def test_wrong_modes_and_thresholds_are_quoted(pair: tuple[GatedModel, Path]) -> None:
    model, _ = pair
    with pytest.raises(InputError, match="'ajar' is unknown"):
        model.generate(PROMPTS[:1], SHORT, gates=["ajar"])  # type: ignore[list-item]
    with pytest.raises(InputError, match="4 prompts need as many gate modes; 1"):
        model.generate(PROMPTS, SHORT, gates=["open"])
    with pytest.raises(InputError, match=r"threshold is 1\.5"):
        model.with_threshold(1.5)
